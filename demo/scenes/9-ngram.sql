\echo » A model that decodes code by code, in SQL too: how often each code came next after the item bought last, and over all. The search asks it once a level, for the prefixes that are still in the beam.
:show
CREATE TABLE ngram AS         -- last_id 0: after any item
SELECT last_id, level, CASE level WHEN 0 THEN '[0]' ELSE semid_prefix(sid, level) END AS prefix,
       semid_code(sid, level) AS code, count(*)::real AS times
FROM (SELECT item_id, lag(item_id) OVER (PARTITION BY shopper ORDER BY place) AS before
      FROM bought WHERE training) AS pair
     JOIN items USING (item_id), unnest(array[0, before]) AS last_id,
     generate_series(0, :levels - 1) AS level
WHERE before IS NOT NULL GROUP BY 1, 2, 3, 4;
:hide
CREATE INDEX ON ngram (last_id, level, prefix);
ANALYZE ngram;
:show
CREATE FUNCTION bigram(context jsonb, prefixes semid[], level int) RETURNS real[]
LANGUAGE sql STABLE AS $$
    WITH asked AS (
        SELECT n, coalesce(prefix, '[0]') AS prefix FROM unnest(prefixes) WITH ORDINALITY AS u(prefix, n)
    ), seen AS (              -- what came after the item bought last counts most
        SELECT n, code, weight * times / sum(times) OVER (PARTITION BY n, last_id) AS p
        FROM (VALUES (0, 0.2), ((context ->> 'last')::int, 0.8)) AS w(last_id, weight)
             CROSS JOIN asked JOIN ngram USING (last_id, prefix)
        WHERE ngram.level = bigram.level
    )
    SELECT array_agg(ln(coalesce(p, 0) + 1e-6)::real ORDER BY n, code)
    FROM asked CROSS JOIN generate_series(0, 255) AS code
         LEFT JOIN (SELECT n, code, sum(p) AS p FROM seen GROUP BY n, code) AS s USING (n, code)
$$;

INSERT INTO offered
SELECT 'bigrams', hidden, array(
    SELECT item_id FROM (SELECT item_id AS last_id FROM bought
                         WHERE shopper = trial.shopper AND NOT test ORDER BY place DESC LIMIT 1) AS l,
        semtok.beam_search_with('items', 'bigram(jsonb, semid[], int)',
            jsonb_build_object('last', last_id), k => 10, beam_size => 10, levels => :levels,
            exclude => (SELECT semset_agg(sid) FROM bought JOIN items USING (item_id)
                        WHERE shopper = trial.shopper AND NOT test))
        JOIN items USING (sid) ORDER BY rank LIMIT 10)
FROM (SELECT * FROM trial ORDER BY shopper LIMIT 400) AS trial;
:hide

\echo » All methods, the bigrams with 400 of the shoppers, by what was bought next: items that sell often (the head, the 5 % most sold), seldom (the tail), or that nobody bought before (unseen).
CREATE TABLE kinds AS
SELECT item_id, CASE WHEN sold IS NULL THEN 'unseen' WHEN place <= 0.05 THEN 'head' ELSE 'tail' END AS kind
FROM items LEFT JOIN (SELECT item_id, count(*) AS sold, percent_rank() OVER (ORDER BY count(*) DESC) AS place
                      FROM bought WHERE training GROUP BY item_id) AS s USING (item_id);
:show
CREATE TABLE figures AS
SELECT method, e.* FROM (SELECT DISTINCT method FROM offered) AS m, semtok.evaluate_ranking(
    format('SELECT hidden, list FROM offered WHERE method = %L', method), cutoffs => '{10}',
    groups => 'SELECT item_id, kind FROM kinds') AS e;

SELECT coalesce(group_name, 'all') AS bought_next, method,
       max(queries) FILTER (WHERE metric = 'recall') AS shoppers,
       max(round(value::numeric, 4)) FILTER (WHERE metric = 'recall') AS recall_at_10,
       max(format('%s … %s', round(low::numeric, 4), round(high::numeric, 4)))
           FILTER (WHERE metric = 'recall') AS interval,
       max(round(value::numeric, 4)) FILTER (WHERE metric = 'ndcg') AS ndcg,
       max(demo.percent(value, 1)) FILTER (WHERE metric = 'coverage') AS coverage
FROM figures GROUP BY group_name, method
ORDER BY group_name NULLS FIRST, recall_at_10 DESC;
:hide
SELECT demo.check('each model''s lists have ten items that exist', bool_and(cardinality(list) = 10))
FROM offered WHERE method <> 'best sellers' \g (format=unaligned tuples_only=on)
