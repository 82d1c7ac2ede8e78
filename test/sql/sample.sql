-- Items drawn at random without replacement.
SET client_min_messages = warning;
\set VERBOSITY terse
CREATE TABLE s_items (id int, sid semid);
CREATE INDEX s_items_sid ON s_items USING semtrie (sid);
-- 200 ids of two tokenizers and several lengths: one row each, but every tenth has 10 rows; 380 rows
INSERT INTO s_items SELECT i, CASE WHEN i % 4 = 0 THEN semid(array[i % 9, i], 1 + i % 2) WHEN i % 4 = 1 THEN semid(array[7, 7, 7, i], 1) ELSE semid(array[i % 5, i / 20, i], 2) END
	FROM generate_series(1, 200) i, LATERAL generate_series(1, CASE WHEN i % 10 = 0 THEN 10 ELSE 1 END);
INSERT INTO s_items VALUES (0, NULL);
CREATE VIEW s_set AS SELECT semset_agg(sid) AS items FROM s_items;

-- n rows, all of them there, none more often than it is; the same seed, the same answer
SELECT n, over, count(*), bool_and(sid <@ items) AS exist, max(times) AS most, bool_and(times <= rows) AS none_too_often
FROM s_set, unnest('{0,1,10,40,100,1000}'::int[]) n, unnest('{items,ids}'::text[]) over, LATERAL (SELECT sid, count(*) AS times FROM semtok.sample('s_items', n, 7, over) sid GROUP BY sid) s
	JOIN (SELECT sid, count(*) AS rows FROM s_items GROUP BY sid) i USING (sid) GROUP BY 1, 2 ORDER BY 2, 1;
SELECT n, sum(times) AS rows, count(*) AS ids, bool_and(sid <@ items) AS exist FROM s_set, unnest('{1,20,40,100,200,380,1000}'::int[]) n,
	LATERAL (SELECT sid, count(*) AS times FROM semtok.sample('s_items', n, 3) sid GROUP BY sid) s GROUP BY 1 ORDER BY 1;
SELECT n, count(*) AS ids, count(DISTINCT sid) AS distinct_ids FROM unnest('{1,20,40,100,200,1000}'::int[]) n, semtok.sample('s_items', n, 3, 'ids') sid GROUP BY 1 ORDER BY 1;
SELECT n, over, bool_and(same) AS repeated FROM unnest('{1,20,40,100,380}'::int[]) n, unnest('{items,ids}'::text[]) over, generate_series(1, 20) seed,
	LATERAL (SELECT array(SELECT semtok.sample('s_items', n, seed, over)) = array(SELECT semtok.sample('s_items_sid', n, seed, over)) AS same) x GROUP BY 1, 2 ORDER BY 2, 1;
-- whatever holds the same rows gives the same: an index not merged yet, partitions, and of ids without duplicates a set
CREATE TABLE s_once AS SELECT DISTINCT sid FROM s_items WHERE sid IS NOT NULL;
CREATE INDEX s_once_sid ON s_once USING semtrie (sid);
CREATE TABLE s_pending (sid semid);
CREATE INDEX ON s_pending USING semtrie (sid);
INSERT INTO s_pending SELECT * FROM s_once ORDER BY sid DESC;
CREATE TABLE s_parts (sid semid) PARTITION BY HASH (sid);
CREATE TABLE s_part0 PARTITION OF s_parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE s_part1 PARTITION OF s_parts FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE INDEX ON s_parts USING semtrie (sid);
INSERT INTO s_parts SELECT * FROM s_once;
SELECT n, count(DISTINCT drawn) = count(DISTINCT seed) AS same FROM unnest('{1,10,25,26,100,200}'::int[]) n, generate_series(1, 10) seed, LATERAL (
	SELECT array(SELECT semtok.sample('s_once', n, seed)) AS drawn UNION ALL SELECT array(SELECT semtok.sample('s_pending', n, seed))
	UNION ALL SELECT array(SELECT semtok.sample('s_parts', n, seed, 'ids')) UNION ALL SELECT array(SELECT semtok.sample_set(items, n, seed)) FROM s_set) x GROUP BY 1 ORDER BY 1;
-- without a seed another answer each time
SELECT count(DISTINCT drawn) AS different FROM generate_series(1, 5) g, LATERAL (SELECT array_agg(sid::text) AS drawn FROM (SELECT semtok.sample('s_items', 20 + 0 * g) sid) x) y;

-- Uniform: chi-square over 200 ids, each seed a sample; draws by number (n = 5, 40) and by walking (n = 60).
-- The statistic of m samples of n, sum (count - e)^2 / e / (1 - n / total) over weights e, has about
-- the chi-square distribution of 199 degrees (mean 199, 0.1 % beyond 267 and below 141).
CREATE FUNCTION uneven(items regclass, n int, over text, samples int) RETURNS text LANGUAGE sql AS $$
	WITH expected AS (SELECT sid, CASE over WHEN 'ids' THEN 1 ELSE count(*) END AS weight FROM s_items WHERE sid IS NOT NULL GROUP BY sid),
	drawn AS (SELECT sid, count(*) AS times FROM generate_series(1, samples) seed, LATERAL (SELECT semtok.sample(items, n, seed, over) AS sid) x GROUP BY sid),
	compared AS (SELECT coalesce(times, 0)::float8 AS times, samples * n * weight / (SELECT sum(weight) FROM expected)::float8 AS e FROM expected LEFT JOIN drawn USING (sid))
	SELECT CASE WHEN chi BETWEEN 141 AND 267 THEN 'uniform' ELSE 'chi-square ' || round(chi) END
	FROM (SELECT sum((times - e) ^ 2 / e) / (1 - n / (SELECT sum(weight) FROM expected)::float8) AS chi FROM compared) c $$;
SELECT n, over, uneven('s_items', n, over, 100000 / n) FROM unnest('{5,20,40,60}'::int[]) n, unnest('{items,ids}'::text[]) over ORDER BY 2, 1;
-- pairs are as likely as each other: of two ids drawn out of six, each of the 15 pairs
SELECT CASE WHEN sum((times - 200) ^ 2 / 200.0) BETWEEN 3 AND 36 THEN 'uniform' ELSE 'chi-square ' || sum((times - 200) ^ 2 / 200.0) END AS pairs, count(*) FROM (
	SELECT count(*) AS times FROM generate_series(1, 3000) seed, LATERAL (SELECT array_agg(sid ORDER BY sid) AS pair FROM semtok.sample_set('{[1],[1,2],[1,3],[2,1],[2,2,1],[9]}', 2, seed) sid) x GROUP BY pair) p;

-- rows that are gone do not count, though the index has them: nine of ten, then all
DELETE FROM s_items WHERE id % 10 <> 0;
SELECT n, over, count(*), count(DISTINCT sid) AS ids FROM unnest('{1,5,20,30,400}'::int[]) n, unnest('{items,ids}'::text[]) over, semtok.sample('s_items', n, 1, over) sid GROUP BY 1, 2 ORDER BY 2, 1;
SELECT over, CASE WHEN chi BETWEEN 5 AND 44 THEN 'uniform' ELSE 'chi-square ' || chi END FROM unnest('{items,ids}'::text[]) over, LATERAL (
	SELECT sum((times - 500) ^ 2 / 500) / (1 - CASE over WHEN 'ids' THEN 2 / 20.0 ELSE 2 / 200.0 END) AS chi FROM (
		SELECT count(*) AS times FROM generate_series(1, 5000) seed, LATERAL (SELECT semtok.sample('s_items', 2, seed, over) AS sid) x GROUP BY sid) t) c ORDER BY 1;
BEGIN;
DELETE FROM s_items;
SELECT count(*) FROM semtok.sample('s_items', 3, 1);
INSERT INTO s_items VALUES (1, '[5]');
SELECT semtok.sample('s_items', 3, 1);
ROLLBACK;
SELECT count(*) FROM semtok.sample('s_items', 3, 1);
-- VACUUM leaves as many
VACUUM (INDEX_CLEANUP on) s_items;
SELECT n, over, count(*), count(DISTINCT sid) AS ids FROM unnest('{1,20,400}'::int[]) n, unnest('{items,ids}'::text[]) over, semtok.sample('s_items', n, 1, over) sid GROUP BY 1, 2 ORDER BY 2, 1;
-- a row that was updated is one
UPDATE s_items SET id = id + 1000;
SELECT over, count(*) FROM unnest('{items,ids}'::text[]) over, semtok.sample('s_items', 1000, 1, over) GROUP BY 1 ORDER BY 1;
-- one id with most of the rows: ids are as likely as each other all the same
CREATE TABLE s_skewed (sid semid);
INSERT INTO s_skewed SELECT semid(array[1, CASE WHEN i <= 50 THEN i ELSE 0 END]) FROM generate_series(1, 20000) i;
CREATE INDEX ON s_skewed USING semtrie (sid);
SELECT count(*) FILTER (WHERE sid = '[1,0]') BETWEEN 2 AND 40 AS not_always, count(DISTINCT sid) > 45 AS others FROM generate_series(1, 200) seed, LATERAL (SELECT semtok.sample('s_skewed', 5, seed, 'ids') AS sid) x;
SELECT count(*) FILTER (WHERE sid = '[1,0]') > 190 AS mostly FROM generate_series(1, 40) seed, LATERAL (SELECT semtok.sample('s_skewed', 5, seed) AS sid) x;

-- none to draw from; nulls; what cannot be
SELECT count(*) FROM semtok.sample_set('{}', 5);
SELECT count(*) FROM semtok.sample(NULL, 5) UNION ALL SELECT count(*) FROM semtok.sample_set(NULL, 5);
TRUNCATE s_items;
SELECT count(*) FROM semtok.sample('s_items', 5);
SELECT semtok.sample('s_items', NULL);
SELECT semtok.sample('s_items', -1);
SELECT semtok.sample('s_items', 1, 1, NULL);
SELECT semtok.sample('s_items', 1, 1, 'rows');
SELECT semtok.sample_set('{[1]}', NULL);
SELECT semtok.sample_set('{[1]}', -1);
SELECT semtok.sample('pg_class', 1);
DROP VIEW s_set;
DROP TABLE s_items, s_once, s_pending, s_parts, s_skewed;
DROP FUNCTION uneven;
