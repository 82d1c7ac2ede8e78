-- When the planner takes the index, and when not.
SET client_min_messages = warning;
SET max_parallel_workers_per_gather = 0;
SET jit = off;
\getenv test PG_ABS_SRCDIR
\set explain :test '/lib/explain.sql'
\i :explain

-- Codes that look random and are the same everywhere.
CREATE FUNCTION code(item int, level int) RETURNS int LANGUAGE sql IMMUTABLE
	RETURN (hashint8extended(item, level) & 255)::int;
CREATE TABLE shallow AS
	SELECT i AS id, semid(array[code(i, 1), code(i, 2), code(i, 3)], 1) AS sid
	FROM generate_series(1, 50000) i;
CREATE INDEX ON shallow USING semtrie (sid);
CREATE TABLE deep AS
	SELECT i AS id, semid(array[code(i, 1), code(i, 2), code(i, 3), code(i, 4), code(i, 5),
		code(i, 6), code(i, 7), code(i, 8)], 1) AS sid
	FROM generate_series(1, 50000) i;
CREATE INDEX ON deep USING semtrie (sid);
VACUUM ANALYZE shallow, deep;

PREPARE best(semquery) AS SELECT id FROM shallow ORDER BY sid <~> $1 LIMIT 10;
SET plan_cache_mode = force_generic_plan;
SELECT pg_temp.explain($$EXECUTE best(NULL)$$);
-- all rows in order, or levels so many that best-first would visit most of the trie: a sort
SELECT pg_temp.explain($$SELECT id FROM shallow ORDER BY sid <~> (SELECT NULL::semquery)$$);
SELECT pg_temp.explain($$SELECT id FROM deep ORDER BY sid <~> (SELECT NULL::semquery) LIMIT 10$$);
SET semtok.beam_width = 50;
SELECT pg_temp.explain($$SELECT id FROM deep ORDER BY sid <~> (SELECT NULL::semquery) LIMIT 10$$);
RESET semtok.beam_width;
-- a filter on other columns keeps the order
SELECT pg_temp.explain($$SELECT id FROM shallow WHERE id % 4 = 1
	ORDER BY sid <~> (SELECT NULL::semquery) LIMIT 10$$);
-- selective conditions, and those that are not
SELECT pg_temp.explain($$SELECT id FROM shallow WHERE sid = '[1,2,3]@1'$$);
SELECT pg_temp.explain($$SELECT id FROM shallow WHERE sid ^@ '[1,2]@1'$$);
SELECT pg_temp.explain($$SELECT id FROM shallow WHERE sid IS NOT NULL$$);
SELECT pg_temp.explain($$SELECT id FROM shallow WHERE sid IS NULL$$);
-- orders that the index does not have
SELECT pg_temp.explain($$SELECT id FROM shallow ORDER BY sid <~> (SELECT NULL::semquery) DESC LIMIT 10$$);
SELECT pg_temp.explain($$SELECT id FROM shallow
	ORDER BY sid <~> (SELECT NULL::semquery) NULLS FIRST LIMIT 10$$);
SELECT pg_temp.explain($$SELECT id FROM shallow
	ORDER BY sid <~> (SELECT NULL::semquery), sid <~> (SELECT NULL::semquery OFFSET 0) LIMIT 10$$);
-- nor when everything else is disabled
SET enable_seqscan = off;
SET enable_sort = off;
SELECT pg_temp.explain($$SELECT id FROM shallow
	ORDER BY sid <~> (SELECT NULL::semquery), sid <~> (SELECT NULL::semquery OFFSET 0) LIMIT 10$$);
RESET enable_seqscan;
RESET enable_sort;

DROP TABLE shallow, deep;
DROP FUNCTION code;
