-- What the planner knows of sid ^@ prefix: how many rows, and that a btree can find them.
\getenv test PG_ABS_SRCDIR
\set explain :test '/lib/explain.sql'
\i :explain

-- a skewed table: a third of the rows share one id, codes are the rarer the larger, two tokenizers
-- and none, and NULLs
CREATE TABLE items (id int, sid semid);
INSERT INTO items SELECT i, CASE WHEN i % 3 = 0 THEN '[7,7,7]@1' WHEN i % 50 = 1 THEN NULL
	ELSE semid(array[(255 * ((i * 0.6180339887) % 1) ^ 2)::int, (255 * ((i * 0.7548776662) % 1) ^ 2)::int, (i * 31) % 256], CASE WHEN i % 7 < 4 THEN 1 WHEN i % 7 < 6 THEN 2 ELSE 0 END) END
FROM generate_series(1, 60000) i;
CREATE TABLE prefixes (p semid);
INSERT INTO prefixes SELECT p::semid FROM unnest(array['[7]', '[7]@1', '[7]@2', '[7,7]@1', '[7,7,7]@1', '[0]@1', '[0]@2', '[0]', '[1]@1', '[100]@1', '[250]@2', '[0,0]@1', '[0,0]', '[200,1]@1', '[8,0]@2', '[3,1,4]@1',
	'[255]@1', '[255,255]@1', '[256]@1', '[65535]@1', '[65535,65535]@2', '[0]@3', '[65535]@2147483647', '[1]@2147483647', '[7,7,7,7]@1']) p;
CREATE FUNCTION estimate(query text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
	RETURN plan->0->'Plan'->'Plan Rows';
END $$;
CREATE FUNCTION answer(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	result bigint;
BEGIN
	EXECUTE query INTO result;
	RETURN result;
END $$;
-- no statistics yet: the default of operators that match
SELECT round((estimate($$SELECT FROM items WHERE sid ^@ '[7]@1'$$) / estimate('SELECT FROM items'))::numeric, 3) AS share;
-- from all rows, so that the estimates are always the same
SET default_statistics_target = 200;
ANALYZE items;
-- within a factor of 2.5 of the truth, or within 0.2 % of the rows
SELECT p, estimate(format('SELECT FROM items WHERE sid ^@ %L', p)) AS estimated, answer(format('SELECT count(*) FROM items WHERE sid ^@ %L', p)) AS true
FROM prefixes t,
	LATERAL (SELECT estimate(format('SELECT FROM items WHERE sid ^@ %L', p)) AS e, greatest(answer(format('SELECT count(*) FROM items WHERE sid ^@ %L', p)), 1) AS a) v
WHERE abs(e - a) > 120 AND (e > 2.5 * a OR a > 2.5 * e);
-- the same of a domain's column, of the function by its name, and of a few values that all are common
CREATE DOMAIN item_id AS semid;
CREATE TABLE others AS SELECT sid::item_id AS sid, semid(array[id % 4, id % 2], 1) AS few, semid(array[id / 10 % 250 * 250, id / 2500 * 500], 1) AS sparse,
	CASE WHEN id % 10 = 0 THEN semid(array[id % 100 / 10, id], 1) END AS nulls FROM items;
ANALYZE others;
SELECT estimate($$SELECT FROM others WHERE sid ^@ '[7,7,7]@1'$$) BETWEEN 15000 AND 25000 AS domain,
	estimate($$SELECT FROM items WHERE semid_starts_with(sid, '[7,7,7]@1')$$) BETWEEN 15000 AND 25000 AS function,
	estimate($$SELECT FROM items WHERE semid_starts_with(sid, '[200,1]@1')$$) <= 100 AS function_of_few,
	estimate($$SELECT FROM others WHERE few ^@ '[3]@1'$$) BETWEEN 12000 AND 18000 AS few,
	estimate($$SELECT FROM others WHERE few ^@ '[3]'$$) BETWEEN 12000 AND 18000 AS few_of_any,
	estimate($$SELECT FROM others WHERE few ^@ '[4]@1'$$) <= 100 AS not_there,
	estimate($$SELECT FROM others WHERE sparse ^@ '[60000,6000]@1'$$) BETWEEN 5 AND 20 AS one_value,
	estimate($$SELECT FROM others WHERE nulls ^@ '[3]@1'$$) BETWEEN 300 AND 1200 AS nulls,
	estimate($$SELECT FROM items WHERE NOT sid ^@ '[7,7,7]@1'$$) BETWEEN 35000 AND 45000 AS negated;
-- what is not known before it runs, a prefix that is the column, NULL: no error, sane shares
SELECT estimate($$SELECT FROM items WHERE sid ^@ semid(array[(random() * 9)::int])$$) BETWEEN 100 AND 6000 AS volatile,
	estimate($$SELECT FROM items WHERE '[7,7,7]@1'::semid ^@ sid$$) BETWEEN 1 AND 60000 AS turned,
	estimate($$SELECT FROM items WHERE sid ^@ NULL$$) <= 1 AS nothing,
	estimate($$SELECT FROM items a JOIN prefixes b ON a.sid ^@ b.p$$) BETWEEN 1 AND 60000 * 25 AS joined,
	estimate($$SELECT FROM items WHERE sid ^@ sid$$) BETWEEN 1 AND 60000 AS itself;
-- a selectivity function may be given to any operator: it does not believe the types
CREATE OPERATOR ^@@ (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq, RESTRICT = semid_starts_with_sel);
CREATE OPERATOR ^@@ (LEFTARG = text, RIGHTARG = text, FUNCTION = starts_with, RESTRICT = semid_starts_with_sel);
CREATE FUNCTION longer(semid, semid) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT semid_levels($1) > semid_levels($2) $$;
CREATE OPERATOR ^@@ (LEFTARG = semid, RIGHTARG = semid, FUNCTION = longer, RESTRICT = semid_starts_with_sel);
-- texts that could be semids, byte for byte
CREATE TABLE foreigners AS SELECT i, 'prefix' || lpad(i::text, 4, '0') AS t, sid FROM generate_series(1, 1000) i, LATERAL (SELECT sid FROM items LIMIT 1) s;
ANALYZE foreigners;
SELECT estimate($$SELECT FROM foreigners WHERE i ^@@ 5$$) AS int, estimate($$SELECT FROM foreigners WHERE t ^@@ 'prefix0005'::text$$) AS text, estimate($$SELECT FROM foreigners WHERE sid ^@@ '[1]'::semid$$) AS other_operator;
DROP OPERATOR ^@@ (int, int);
DROP OPERATOR ^@@ (text, text);
DROP OPERATOR ^@@ (semid, semid);
DROP FUNCTION longer;
DROP TABLE foreigners;

-- a semtrie serves ^@ itself, with the same estimate
CREATE INDEX items_semtrie ON items USING semtrie (sid);
SET enable_seqscan = off;
SELECT pg_temp.explain($$SELECT id FROM items WHERE sid ^@ '[200,1]@1'$$);
SELECT estimate($$SELECT id FROM items WHERE sid ^@ '[7,7]@1'$$) BETWEEN 15000 AND 25000 AS same;
RESET enable_seqscan;
SELECT pg_temp.explain($$SELECT id FROM items WHERE sid ^@ '[200,1]@1'$$);
-- beside a btree too
CREATE INDEX items_btree ON items (sid);
SELECT pg_temp.explain($$SELECT id FROM items WHERE sid ^@ '[200,1]'$$);
DROP INDEX items_semtrie;

-- a btree serves it as a range, exactly
SET enable_seqscan = off;
SET enable_bitmapscan = off;
SELECT pg_temp.explain($$SELECT * FROM items WHERE sid ^@ '[200,1]@1'$$);
SELECT pg_temp.explain($$SELECT * FROM items WHERE semid_starts_with(sid, '[200,1]@1') ORDER BY sid$$);
-- the last code carries; after the last tokenizer comes nothing
SELECT pg_temp.explain($$SELECT * FROM items WHERE sid ^@ '[200,65535]@1'$$);
SELECT pg_temp.explain($$SELECT * FROM items WHERE sid ^@ '[65535,65535]@1'$$);
SELECT pg_temp.explain($$SELECT * FROM items WHERE sid ^@ '[65535]@2147483647'$$);
-- any tokenizer is no range, nor is what is not known, nor NULL, nor the column on the right
SELECT pg_temp.explain($$SELECT count(*) FROM items WHERE sid ^@ '[200,1]'$$);
SELECT pg_temp.explain($$SELECT count(*) FROM items WHERE sid ^@ semid(array[(random() * 9)::int], 1)$$);
SELECT pg_temp.explain($$SELECT count(*) FROM items WHERE sid ^@ NULL::semid$$);
SELECT pg_temp.explain($$SELECT count(*) FROM items WHERE '[200,1]@1'::semid ^@ sid$$);
SELECT pg_temp.explain($$SELECT count(*) FROM items WHERE NOT sid ^@ '[200,1]@1'$$);
SELECT pg_temp.explain($$SELECT count(*) FROM items a JOIN prefixes p ON a.sid ^@ p.p WHERE a.id < 5$$);

-- the same answers, whichever way
CREATE TABLE edges AS SELECT semid(c, t) AS sid FROM unnest(array[0, 1, 2, 255, 256, 65535, 65536, 2147483646, 2147483647]) t,
	(VALUES ('{0}'::int[]), ('{65535}'), ('{0,0}'), ('{0,65535}'), ('{65535,0}'), ('{65535,65535}'), ('{65535,65535,65535}'), ('{1}'), ('{1,65534}'), ('{1,65535}'), ('{1,65535,0}'), ('{2}'), ('{255}'), ('{256}')) c(c);
CREATE FUNCTION by_index(query text) RETURNS text LANGUAGE plpgsql SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
	result text;
BEGIN
	EXECUTE query INTO result;
	RETURN result;
END $$;
CREATE FUNCTION by_table(query text) RETURNS text LANGUAGE plpgsql SET enable_seqscan = on SET enable_indexscan = off SET enable_indexonlyscan = off SET enable_bitmapscan = off AS $$
DECLARE
	result text;
BEGIN
	EXECUTE query INTO result;
	RETURN result;
END $$;
CREATE FUNCTION disagreements(tables text, among text) RETURNS bigint LANGUAGE sql AS $$
	SELECT answer(format('SELECT count(*) FROM (SELECT format(''SELECT array_agg(sid ORDER BY sid) FROM %s WHERE sid ^@ %%L'', %s) AS q FROM %s) t WHERE by_index(q) IS DISTINCT FROM by_table(q)', tables, 'sid', among))
$$;
CREATE INDEX edges_sid ON edges (sid);
SELECT disagreements('edges', 'edges') AS up, count(*) FROM edges;
DROP INDEX edges_sid;
CREATE INDEX edges_sid ON edges (sid DESC NULLS FIRST);
SELECT pg_temp.explain($$SELECT * FROM edges WHERE sid ^@ '[1,65535]@256' ORDER BY sid DESC$$);
SELECT disagreements('edges', 'edges') AS down;
SELECT disagreements('items', '(SELECT p AS sid FROM prefixes) p') AS items;
-- as a column among others
CREATE INDEX edges_many ON edges ((semid_levels(sid)), sid DESC, (semid_tokenizer(sid)));
DROP INDEX edges_sid;
SELECT pg_temp.explain($$SELECT * FROM edges WHERE semid_levels(sid) = 2 AND sid ^@ '[1]@256' AND semid_tokenizer(sid) > 5$$);
SELECT disagreements('edges', 'edges') AS among_others;
DROP INDEX edges_many;
-- an expression, a partial index, a hash index that cannot
CREATE INDEX edges_expression ON edges ((semid_prefix(sid, 2)));
SELECT pg_temp.explain($$SELECT * FROM edges WHERE semid_prefix(sid, 2) ^@ '[1]@256'$$);
DROP INDEX edges_expression;
CREATE INDEX edges_partial ON edges (sid) WHERE sid ^@ '[1]@256';
SELECT pg_temp.explain($$SELECT * FROM edges WHERE sid ^@ '[1]@256'$$);
DROP INDEX edges_partial;
CREATE INDEX edges_hash ON edges USING hash (sid);
SELECT pg_temp.explain($$SELECT * FROM edges WHERE sid ^@ '[1]@256'$$);
DROP INDEX edges_hash;
-- a btree of somebody's own order has no such range
CREATE FUNCTION backwards(semid, semid) RETURNS int LANGUAGE sql IMMUTABLE STRICT AS $$ SELECT public.semid_cmp($2, $1) $$;
CREATE OPERATOR CLASS backwards FOR TYPE semid USING btree AS OPERATOR 1 >, OPERATOR 2 >=, OPERATOR 3 =, OPERATOR 4 <=, OPERATOR 5 <, FUNCTION 1 backwards(semid, semid);
CREATE INDEX edges_backwards ON edges (sid backwards);
SELECT pg_temp.explain($$SELECT * FROM edges WHERE sid ^@ '[1]@256'$$);
DROP INDEX edges_backwards;
DROP OPERATOR FAMILY backwards USING btree;
DROP FUNCTION backwards;

-- partitions, prepared statements: a custom plan has the range, a generic one the filter
CREATE TABLE parts (sid semid) PARTITION BY RANGE (sid);
CREATE TABLE parts_0 PARTITION OF parts FOR VALUES FROM (MINVALUE) TO ('[0]@2');
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM ('[0]@2') TO (MAXVALUE);
CREATE INDEX ON parts (sid);
INSERT INTO parts SELECT sid FROM edges;
SELECT pg_temp.explain($$SELECT * FROM parts WHERE sid ^@ '[1]@256'$$);
SELECT disagreements('parts', 'edges') AS parts;
CREATE INDEX edges_sid ON edges (sid);
PREPARE below(semid) AS SELECT count(*) FROM edges WHERE sid ^@ $1;
SET plan_cache_mode = force_custom_plan;
SELECT pg_temp.explain($$EXECUTE below('[1]@256')$$);
EXECUTE below('[1]@256');
EXECUTE below('[1]');
SET plan_cache_mode = force_generic_plan;
SELECT pg_temp.explain($$EXECUTE below('[1]@256')$$);
EXECUTE below('[1]@256');
EXECUTE below('[1]');
RESET plan_cache_mode;
RESET default_statistics_target;
DEALLOCATE below;

-- under row security the index still serves, since neither ^@ nor what stands for it can leak
ALTER TABLE edges ENABLE ROW LEVEL SECURITY;
CREATE POLICY known ON edges USING (semid_tokenizer(sid) <> 2);
CREATE ROLE planner_reader;
GRANT SELECT ON edges TO planner_reader;
SET ROLE planner_reader;
SELECT pg_temp.explain($$SELECT * FROM edges WHERE sid ^@ '[1]@256'$$);
SELECT count(*) FILTER (WHERE sid ^@ '[1]@256') AS seen, count(*) FILTER (WHERE sid ^@ '[1]@2') AS hidden FROM edges;
RESET ROLE;
DROP TABLE items, prefixes, others, edges, parts;
DROP ROLE planner_reader;
DROP DOMAIN item_id;
DROP FUNCTION disagreements, by_index, by_table, answer, estimate;
