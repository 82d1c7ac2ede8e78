\echo » How good are these recommendations? The last purchase of a shopper is hidden; it counts as a hit when it is among the ten items offered (Recall@10). Beside it, offering everybody what sells best. A quarter of the shoppers is tried; the intervals are the 95 % ones.
CREATE TABLE popular AS
SELECT item_id, count(*) AS sold FROM bought WHERE training GROUP BY item_id ORDER BY sold DESC, item_id;
CREATE TABLE trial AS
SELECT shopper, item_id AS hidden FROM bought WHERE test AND left(md5(shopper::text), 1) IN ('0', '1', '2', '3');
SELECT clock_timestamp() AS began \gset
:show
CREATE TABLE outcome AS
SELECT hidden IN (
           SELECT item_id FROM items
           WHERE item_id NOT IN (SELECT item_id FROM bought WHERE shopper = trial.shopper AND NOT test)
           ORDER BY sid <~> (SELECT next_purchase(trial.shopper)) LIMIT 10) AS semtok,
       hidden IN (
           SELECT item_id FROM (SELECT * FROM popular ORDER BY sold DESC, item_id LIMIT 200) AS p
           WHERE item_id NOT IN (SELECT item_id FROM bought WHERE shopper = trial.shopper AND NOT test)
           ORDER BY sold DESC, item_id LIMIT 10) AS popularity
FROM trial;
:hide
SELECT clock_timestamp() AS ended \gset
:show

SELECT method, shoppers, round(recall, 4) AS recall_at_10,
       format('%s … %s', round(recall - half, 4), round(recall + half, 4)) AS interval
FROM (SELECT method, count(*) AS shoppers, avg(hit::int) AS recall,
             1.96 * sqrt(avg(hit::int) * (1 - avg(hit::int)) / count(*)) AS half
      FROM outcome, LATERAL (VALUES ('semtok', semtok), ('popularity', popularity)) AS m(method, hit)
      GROUP BY method) AS r ORDER BY recall DESC;
:hide
SELECT format('» By the index one list of ten takes %s ms here, counting the transitions included.',
              round((extract(epoch FROM :'ended'::timestamptz - :'began') * 1000 / count(*))::numeric, 2)) FROM outcome
\g (format=unaligned tuples_only=on)
SELECT avg(semtok::int) AS recall, avg(popularity::int) AS recall_popular,
       round((avg(semtok::int) / avg(popularity::int))::numeric, 1) AS ratio FROM outcome \gset
SELECT demo.check('Recall@10 is at least 0.033', :recall >= 0.033) \g (format=unaligned tuples_only=on)
SELECT demo.check(format('and at least 2.5 times that of popularity: %s times', :ratio), :ratio >= 2.5) \g (format=unaligned tuples_only=on)
