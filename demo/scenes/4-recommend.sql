\echo » A recommender in SQL. What shoppers bought next, counted over the training part of their histories, gives every code of every level a probability; the index finds the items whose codes are the most probable together.
:show
CREATE TABLE transition AS    -- which item followed which, how often
SELECT item_id, next_id, count(*)::float8 / sum(count(*)) OVER (PARTITION BY item_id) AS p
FROM (SELECT item_id, lead(item_id) OVER (PARTITION BY shopper ORDER BY place) AS next_id
      FROM bought WHERE training) AS pair
WHERE next_id IS NOT NULL GROUP BY item_id, next_id;

CREATE TABLE code AS          -- the codes of an item
SELECT item_id, level, code
FROM items, unnest(semid_codes(sid)) WITH ORDINALITY AS c(code, level) WHERE level <= :levels;

CREATE TABLE popularity AS    -- every code's share of the purchases
SELECT level, code, count(shopper)::float8 / sum(count(shopper)) OVER (PARTITION BY level) AS p
FROM generate_series(1, :levels) AS level CROSS JOIN generate_series(0, :codes - 1) AS code
     LEFT JOIN code AS c USING (level, code)
     LEFT JOIN (SELECT shopper, item_id FROM bought WHERE training) AS b USING (item_id)
GROUP BY level, code;
:hide
CREATE INDEX ON transition (item_id);
CREATE INDEX ON code (item_id);
ANALYZE transition, code, popularity, bought;
:show
CREATE FUNCTION next_purchase(who int) RETURNS semquery LANGUAGE sql STABLE AS $$
    WITH recent AS (          -- the last five purchases; the latest counts most
        SELECT item_id, 0.7 ^ (row_number() OVER (ORDER BY place DESC) - 1) AS weight
        FROM bought WHERE shopper = who AND NOT test ORDER BY place DESC LIMIT 5
    ), wanted AS (            -- what followed them elsewhere, and a little of the same kind
        SELECT next_id AS item_id, weight * p AS weight FROM recent JOIN transition USING (item_id)
        UNION ALL
        SELECT item_id, 0.1 * weight FROM recent
    ), mass AS (
        SELECT level, code, sum(weight) / sum(sum(weight)) OVER (PARTITION BY level) AS p
        FROM wanted JOIN code USING (item_id) GROUP BY level, code
    ), logits AS (            -- mixed with what everybody buys
        SELECT level, array_agg(ln(0.9 * coalesce(m.p, 0) + 0.1 * popularity.p + 1e-9)::real
                                ORDER BY code) AS row
        FROM popularity LEFT JOIN mass AS m USING (level, code) GROUP BY level
    )
    SELECT semtok.logits(array_agg(row ORDER BY level)) FROM logits
$$;
:hide

SELECT shopper FROM bought WHERE NOT test GROUP BY shopper HAVING count(*) BETWEEN 6 AND 8
ORDER BY shopper LIMIT 1 \gset
\echo » What shopper :shopper bought so far:
:show
SELECT place, left(title, 80) AS title FROM bought JOIN items USING (item_id)
WHERE shopper = :shopper AND NOT test ORDER BY place;
:hide

\echo » And what to offer next, without what is bought already:
:show
CREATE TABLE question AS SELECT next_purchase(:shopper) AS q;

SELECT left(title, 92) AS title FROM items
WHERE item_id NOT IN (SELECT item_id FROM bought WHERE shopper = :shopper AND NOT test)
ORDER BY sid <~> (SELECT q FROM question) LIMIT 10;

EXPLAIN (COSTS OFF)
SELECT left(title, 92) AS title FROM items
WHERE item_id NOT IN (SELECT item_id FROM bought WHERE shopper = :shopper AND NOT test)
ORDER BY sid <~> (SELECT q FROM question) LIMIT 10;
:hide

\echo » Why the first of them? The rank of its codes among all codes of their level:
:show
SELECT e.* FROM question,
    (SELECT sid FROM items
     WHERE item_id NOT IN (SELECT item_id FROM bought WHERE shopper = :shopper AND NOT test)
     ORDER BY sid <~> (SELECT q FROM question) LIMIT 1) AS first,
    semtok.explain(first.sid, q) AS e;
:hide
SELECT format('item_id NOT IN (SELECT item_id FROM bought WHERE shopper = %s AND NOT test)', :shopper)
       AS allowed, format('SELECT next_purchase(%s)', :shopper) AS asking \gset
SELECT format('» What the shopper bought next in fact: “%s”.', title) FROM bought JOIN items USING (item_id)
WHERE shopper = :shopper AND test \g (format=unaligned tuples_only=on)
