-- Ranked lists: figures that can be checked by hand, groups, samples, types of items, what is refused.
CREATE TABLE r_lists (id int, wanted int[], found int[]);
INSERT INTO r_lists VALUES
 (1, '{10}', '{10,11,12,13,14}'),        -- at place 1
 (2, '{12}', '{10,11,12}'),              -- at place 3
 (3, '{99}', '{10,11,12,13,14}'),        -- not at all
 (4, '{10,14}', '{14,10,14,11}'),        -- places 1 and 2; the second 14 is none
 (5, '{13,13}', '{}');                   -- nothing found, one item wanted
CREATE VIEW r_figures AS
SELECT group_name, metric, cutoff, round(value::numeric, 4) AS value, round(low::numeric, 4) AS low,
       round(high::numeric, 4) AS high, queries
  FROM semtok.evaluate_ranking('SELECT wanted, found FROM r_lists ORDER BY id', '{1,3}');
SELECT * FROM r_figures;
-- the same by SQL: mean over lists of what each says
SELECT round(avg(recall), 4) AS recall, round(avg(ndcg), 4) AS ndcg, round(avg(coalesce(mrr, 0)), 4) AS mrr
  FROM r_lists l, LATERAL (
    SELECT count(*)::numeric / (SELECT count(DISTINCT w) FROM unnest(l.wanted) w) AS recall,
           coalesce(sum(1 / log(2.0, place + 1)), 0) /
           (SELECT sum(1 / log(2.0, p + 1)) FROM generate_series(1, least(3, (SELECT count(DISTINCT w) FROM unnest(l.wanted) w))::int) p) AS ndcg,
           1.0 / min(place) AS mrr
      FROM (SELECT item, min(place) AS place FROM unnest(l.found) WITH ORDINALITY f(item, place) GROUP BY item) f
     WHERE item = ANY (l.wanted) AND place <= 3) m;

-- by group: an item may be in none; a group nobody asks for has no figures, only coverage
CREATE TABLE r_groups (item int, kind text);
INSERT INTO r_groups VALUES (10, 'head'), (11, 'head'), (12, 'tail'), (14, 'tail'), (99, 'unseen'), (98, 'never'), (13, NULL), (10, 'head');
SELECT group_name, metric, cutoff, round(value::numeric, 4) AS value, queries
  FROM semtok.evaluate_ranking('SELECT wanted, found FROM r_lists', '{3}', groups => 'SELECT * FROM r_groups;');

-- one relevant item a row; items of other types; a list that is null is empty
SELECT metric, value FROM semtok.evaluate_ranking($$VALUES ('b', '{a,b}'::text[]), ('c', NULL)$$, '{2}');
SELECT metric, value FROM semtok.evaluate_ranking($$SELECT '[1,2]@3'::semid, '{"[1,2]","[1,2]@3"}'::semid[]$$, '{1,2}') WHERE metric = 'mrr';
SELECT metric, value FROM semtok.evaluate_ranking($$SELECT 1.0::numeric, '{2,1.00}'::numeric[]$$, '{2}') WHERE metric = 'recall';

-- long lists take no longer than their lengths
SELECT metric, cutoff, round(value::numeric, 4) AS value
  FROM semtok.evaluate_ranking('SELECT array_agg(i), array_agg(300000 - i ORDER BY i) || array_agg(i) FROM generate_series(1, 200000) i', '{100000,400000}');

-- rows without relevant items are skipped and counted
SELECT metric, value, queries FROM semtok.evaluate_ranking($$VALUES ('{1}'::int[], '{1}'::int[]), (NULL, '{1}'), ('{}', '{1}')$$, '{1}');

-- intervals: about what the normal distribution gives for 300 of 1,000; the seed decides them
CREATE TABLE r_many AS SELECT i, array[CASE WHEN i % 10 < 3 THEN 1 ELSE 2 END] AS found FROM generate_series(1, 1000) i;
SELECT value, abs(low - (0.3 - 1.96 * sqrt(0.21 / 1000))) < 0.004 AS low, abs(high - (0.3 + 1.96 * sqrt(0.21 / 1000))) < 0.004 AS high
  FROM semtok.evaluate_ranking('SELECT 1, found FROM r_many', '{1}') WHERE metric = 'recall';
SELECT count(DISTINCT f) FROM (SELECT (e).* FROM (SELECT semtok.evaluate_ranking('SELECT 1, found FROM r_many', '{1}') AS e FROM generate_series(1, 2)) s) f;
SELECT a.low <> b.low OR a.high <> b.high AS differ
  FROM semtok.evaluate_ranking('SELECT 1, found FROM r_many', '{1}') a
  JOIN semtok.evaluate_ranking('SELECT 1, found FROM r_many', '{1}', seed => 1) b USING (metric) WHERE metric = 'recall';

-- a sample: so many rows, by the seed; the lists of other rows, by a stable function, are not made
CREATE FUNCTION r_list(i int) RETURNS int[] LANGUAGE plpgsql STABLE COST 1000 AS
$$ BEGIN PERFORM set_config('r.made', (current_setting('r.made')::int + 1)::text, false); RETURN array[i % 10]; END $$;
SET r.made = 0;
SELECT queries, value BETWEEN 0.02 AND 0.3 AS plausible FROM semtok.evaluate_ranking('SELECT 1, r_list(i) FROM r_many', '{1}', 100) WHERE metric = 'recall';
SHOW r.made;
SELECT a.value = b.value AS same FROM semtok.evaluate_ranking('SELECT 1, found FROM r_many ORDER BY i', '{1}', 100) a
  JOIN semtok.evaluate_ranking('SELECT 1, found FROM r_many ORDER BY i', '{1}', 100) b USING (metric) WHERE metric = 'recall';
SELECT queries FROM semtok.evaluate_ranking('SELECT 1, found FROM r_many', '{1}', 5000) WHERE metric = 'recall';

-- what is refused
CREATE FUNCTION r_said(query text, cutoffs int[] DEFAULT '{1}', sample int DEFAULT NULL, groups text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE hint text;
BEGIN
	PERFORM semtok.evaluate_ranking(query, cutoffs, sample, 42, groups);
	RETURN 'worked';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', sqlstate || ' ' || sqlerrm, nullif(hint, ''));
END $$;
CREATE TABLE r_written (n int);
CREATE FUNCTION r_writes() RETURNS int[] LANGUAGE sql AS 'INSERT INTO r_written VALUES (1) RETURNING array[1]';
SELECT r_said(query) AS "query" FROM (VALUES ('SELECT'), (''), ('SELECT 1'), ('SELECT 1, 2'), ('SELECT 1, array[1], 2'), ('SELECT 1, array[1]; SELECT 1, array[1]'),
 ('SELECT ''a''::text, array[1]'), ('SELECT array[1]::bigint[], array[1]'), ('SELECT point ''1,1'', array[point ''1,1'']'), ('SELECT 1, array[1] WHERE false'), ('SELECT NULL::int, array[1]'),
 ('SELECT array[1,NULL], array[1]'), ('SELECT 1, array[1,NULL]'), ('SELECT 1, array[1/0]'), ('SELECT 1, r_writes()'), ('INSERT INTO r_written VALUES (1) RETURNING 1, array[1]'),
 ('DELETE FROM r_many'), ('COPY r_many TO STDOUT'), ('SELECT 1, found FROM r_many) q(a, b), (SELECT 1'), ('SELECT 1, array[1] -- works')) v(query);
SELECT count(*) AS written FROM r_written;
SELECT cutoffs, sample, r_said('SELECT 1, array[1]', cutoffs, sample)
  FROM (VALUES ('{}'::int[], 1), ('{0}', 1), ('{-5}', 1), ('{NULL}', 1), (NULL, 1), (array_fill(1, '{65}'), 1), ('{1,1,2147483647}', 1), ('{1}', 0), ('{1}', -1)) v(cutoffs, sample);
SELECT groups, r_said('SELECT 1, array[1]', groups => groups)
  FROM (VALUES ('SELECT 1'), ('SELECT 1, 2, 3'), ('SELECT NULL::int, ''a'''), ('VALUES (1, ''a''), (1, ''b'')'), ('SELECT ''x'', ''a'''), ('SELECT i, i FROM generate_series(1, 1001) i'), ('SELECT 1, ''a'' WHERE false')) v(groups);
SELECT semtok.evaluate_ranking(NULL);
SELECT semtok.evaluate_ranking('SELECT 1, array[1]', seed => NULL);

-- It can be canceled.
SET statement_timeout = '100ms';
SELECT count(*) FROM semtok.evaluate_ranking('SELECT 1, array[1] FROM generate_series(1, 30000)', array(SELECT generate_series(1, 64)));
RESET statement_timeout;
