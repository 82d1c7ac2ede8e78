\echo » The shop has rules: nothing above 20 (a price made up here; the data have none), nothing that is bought already, and at most three with the same first code, which are much alike. All are part of the search, so ten come.
CREATE TABLE offer AS SELECT item_id, 3 + (hashint4(item_id) & 63) AS price FROM items;
ANALYZE offer;
:show
CREATE TABLE affordable AS
SELECT semset_agg(sid) AS ids FROM items JOIN offer USING (item_id) WHERE price <= 20;

SELECT rank, sid, round(logprob::numeric, 2) AS logprob, price, left(title, 50) AS title
FROM affordable, question, semtok.beam_search_set(ids, q, k => 10, max_per_prefix => '{"1": 3}',
         exclude => (SELECT semset_agg(sid) FROM bought JOIN items USING (item_id)
                     WHERE shopper = :shopper AND NOT test))
     JOIN items USING (sid) JOIN offer USING (item_id) ORDER BY rank;
:hide
CREATE TABLE ruled AS
SELECT rank, item_id, price, semid_code(sid, 0) AS first
FROM affordable, question, semtok.beam_search_set(ids, q, k => 10, max_per_prefix => '{"1": 3}',
         exclude => (SELECT semset_agg(sid) FROM bought JOIN items USING (item_id)
                     WHERE shopper = :shopper AND NOT test))
     JOIN items USING (sid) JOIN offer USING (item_id);
SELECT demo.check('ten items keep all three rules', count(*) = 10 AND max(price) <= 20
    AND NOT bool_or(item_id IN (SELECT item_id FROM bought WHERE shopper = :shopper AND NOT test))
    AND (SELECT max(n) FROM (SELECT count(*) AS n FROM ruled GROUP BY first) AS f) <= 3)
FROM ruled \g (format=unaligned tuples_only=on)
\echo » Without the rules, how many of the ten best do they forbid?
:show
SELECT count(*) AS of_ten_best, count(*) FILTER (WHERE price > 20) AS too_dear,
       count(*) FILTER (WHERE b.item_id IS NOT NULL) AS bought_already
FROM question, semtok.beam_search('items', q, k => 10)
     JOIN items USING (sid) JOIN offer USING (item_id)
     LEFT JOIN bought AS b ON b.item_id = items.item_id AND shopper = :shopper AND NOT test;
:hide
DROP TABLE ruled, affordable, offer;
