\echo » How good are these recommendations? The last purchase of a shopper is hidden; it counts as a hit when it is among the ten items offered (Recall@10). Beside it, offering everybody what sells best. A quarter of the shoppers is tried.
CREATE TABLE trial AS
SELECT shopper, item_id AS hidden FROM bought
WHERE test AND left(md5(shopper::text), 1) IN ('0', '1', '2', '3');
CREATE TABLE best_seller AS
SELECT item_id, count(*) AS sold FROM bought WHERE training
GROUP BY item_id ORDER BY sold DESC, item_id LIMIT 300;
CREATE TABLE offered (method text, hidden int, list int[]);
SELECT clock_timestamp() AS began \gset
:show
INSERT INTO offered
SELECT 'transitions', hidden, array(
    SELECT item_id FROM items
    WHERE item_id NOT IN (SELECT item_id FROM bought WHERE shopper = trial.shopper AND NOT test)
    ORDER BY sid <~> (SELECT next_purchase(trial.shopper)) LIMIT 10)
FROM trial;
:hide
SELECT clock_timestamp() AS ended \gset
:show
INSERT INTO offered
SELECT 'best sellers', hidden, array(
    SELECT item_id FROM best_seller
    WHERE item_id NOT IN (SELECT item_id FROM bought WHERE shopper = trial.shopper AND NOT test)
    ORDER BY sold DESC, item_id LIMIT 10)
FROM trial;
:hide
SELECT format('» One list of ten took %s ms, counting its transitions included.',
              round((extract(epoch FROM :'ended'::timestamptz - :'began') * 1000 / count(*))::numeric, 2))
FROM trial \g (format=unaligned tuples_only=on)
SELECT avg((hidden = ANY (list))::int) FILTER (WHERE method = 'transitions') AS recall,
       round(avg((hidden = ANY (list))::int) FILTER (WHERE method = 'transitions')
             / avg((hidden = ANY (list))::int) FILTER (WHERE method = 'best sellers'), 1) AS ratio FROM offered \gset
SELECT demo.check('Recall@10 is at least 0.033', :recall >= 0.033) \g (format=unaligned tuples_only=on)
SELECT demo.check(format('and at least 2.5 times that of the best sellers: %s times', :ratio), :ratio >= 2.5)
\g (format=unaligned tuples_only=on)
