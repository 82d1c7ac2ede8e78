-- semid: I/O, casts, parts, typmod, order, indexes, statistics.
\set VERBOSITY terse

-- text: spaces are accepted and never printed
SELECT '[12,7,255]'::semid, ' [ 12 , 7,255 ] @ 3 '::semid, '[0]'::semid, '[65535]@2147483647'::semid;
SELECT array_agg(i % 65536 ORDER BY i)::int[]::semid FROM generate_series(65530, 65561) i;

-- constructor, casts and parts
SELECT semid('{1,2}'::int[]), semid('{1,2}'::int[], 3), semid(array[1,2], tokenizer => 4), semid(codes => '{5}');
SELECT semid('[1,2]@3');
SELECT '{1,2,3}'::int[]::semid, '[1,2,3]@9'::semid::int[], semid_codes('[1,2,3]@9');
SELECT semid_code(s, 0), semid_code(s, 2), semid_levels(s), semid_tokenizer(s) FROM (SELECT '[7,8,9]@5'::semid) t(s);
SELECT n, semid_prefix('[7,8,9]@5', n) FROM generate_series(1, 4) n;
SELECT '[7,8]@5'::semid || 9, '[7]'::semid || 8 || 9, '[7]'::semid || 8::smallint, '[7]'::semid || '8';
-- and leaves text's || alone
SELECT 'abc' || 1 AS int4, 'abc' || 1::smallint AS int2, 'abc' || 1::bigint AS int8, 1 || 'abc' AS prefix, 'a' || 'b' AS text_, array[1] || 2 AS array_,
	'{1}' || array[2] AS array_literal, 'id ' || '[1]'::semid AS before_id, '[1]'::semid || ' id'::text AS after_id;
-- the casts are explicit only
CREATE TABLE explicit_only (s semid, a int[]);
INSERT INTO explicit_only (s) VALUES (array[1]);
INSERT INTO explicit_only (a) VALUES ('[1]'::semid);
DROP TABLE explicit_only;
-- NULL in, NULL out
SELECT num_nulls(semid(NULL::int[]), semid('{1}'::int[], NULL), semid_codes(NULL), semid_prefix(NULL, 1), NULL::semid || 1,
	semid('[1]') || NULL, NULL::semid = '[1]', NULL::semid ^@ '[1]');

-- typmod
CREATE TABLE typed (s semid(3,256));
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'typed'::regclass AND attnum > 0;
INSERT INTO typed VALUES ('[1,2,255]'), ('[1,2]'::semid || 3), ('{4,5,6}'::int[]::semid);
COPY typed FROM stdin;
[7,8,9]@4
\.
INSERT INTO typed VALUES ('[1,2]');
INSERT INTO typed VALUES ('[1,2,256]');
INSERT INTO typed VALUES ('[1,2]'::semid || 256);
COPY typed FROM stdin;
[7,8,256]
\.
UPDATE typed SET s = s || 1;
SELECT '{1,2,300}'::int[]::semid(3,256);
SELECT '[1,2,300]@5'::semid(3,301), '[65535]'::semid(1,65536), '[0]'::semid(1,1);
SELECT '[1]'::semid(3);
SELECT '[1]'::semid(0,1);
SELECT '[1]'::semid(33,1);
SELECT '[1]'::semid(1,0);
SELECT '[1]'::semid(1,65537);
SELECT '[1]'::semid(1,2,3);
ALTER TABLE typed ALTER s TYPE semid(3,9);
ALTER TABLE typed ALTER s TYPE semid;
SELECT * FROM typed ORDER BY s;
CREATE TABLE typed_expression AS SELECT s::semid(3,256) AS s FROM typed LIMIT 0;
SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'typed_expression'::regclass AND attnum > 0;
DROP TABLE typed, typed_expression;

-- order: tokenizer, then codes, a prefix before its extensions
CREATE TABLE items (s semid);
INSERT INTO items VALUES ('[1,2]'), ('[1]'), ('[1,2,3]'), ('[256]'), ('[2]'), ('[1]@1'), ('[0]@256'), ('[9]@2'), ('[1,256]'), ('[1,3]'), (NULL), ('[1]');
SELECT array_agg(s ORDER BY s) FROM items;
SELECT array_agg(s ORDER BY s DESC NULLS LAST) FROM items;
SELECT min(a.s::text) FROM items a, items b
WHERE (a.s < b.s) <> (semid_cmp(a.s, b.s) < 0) OR (a.s <= b.s) <> (semid_cmp(a.s, b.s) <= 0)
	OR (a.s > b.s) <> (semid_cmp(b.s, a.s) < 0) OR (a.s >= b.s) <> (semid_cmp(b.s, a.s) <= 0)
	OR (a.s = b.s) <> (a.s::text = b.s::text) OR (a.s <> b.s) <> (a.s::text <> b.s::text)
	OR (a.s = b.s AND (semid_hash(a.s) <> semid_hash(b.s) OR semid_hash_extended(a.s, 7) <> semid_hash_extended(b.s, 7)));
SELECT count(DISTINCT s), count(DISTINCT semid_hash(s)), count(DISTINCT semid_hash_extended(s, 1)) FROM items;
SELECT semid_hash(s)::bigint & 4294967295 = semid_hash_extended(s, 0) & 4294967295 AS same FROM items WHERE s = '[1,2,3]';

-- starts with; tokenizer 0 in the prefix is any tokenizer
SELECT p, array_agg(s ORDER BY s) FROM items, (VALUES ('[1]'::semid), ('[1]@1'), ('[1,2]'), ('[1,2,3,4]'), ('[9]'), ('[9]@1'), ('[9]@2')) t(p)
WHERE s ^@ p GROUP BY p ORDER BY p;

-- indexes, grouping, joins; compiled expressions too
INSERT INTO items SELECT semid(array[i % 256, i % 7, i % 3], i % 4) FROM generate_series(1, 6000) i;
CREATE INDEX items_btree ON items (s);
CREATE INDEX items_hash ON items USING hash (s);
ANALYZE items;
SELECT amname, amvalidate(c.oid) FROM pg_opclass c JOIN pg_am a ON a.oid = c.opcmethod
WHERE opcname IN ('semid_ops', 'codebook_ops', 'semset_ops') AND amname IN ('btree', 'hash') ORDER BY 1;
SELECT null_frac > 0 AS nulls, n_distinct < -0.5 AS distinct_values, most_common_vals IS NOT NULL AS mcv,
	histogram_bounds IS NOT NULL AS histogram, correlation IS NOT NULL AS correlation
FROM pg_stats WHERE tablename = 'items' AND attname = 's';
-- the estimate of ^@ comes from the column's statistics
CREATE FUNCTION estimate(query text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
	RETURN plan->0->'Plan'->'Plan Rows';
END $$;
SELECT estimate($$SELECT FROM items WHERE s ^@ '[1]'$$) BETWEEN 1 AND 100 AS few,
	estimate($$SELECT FROM items WHERE s = '[1,1,1]@1'$$) BETWEEN 1 AND 20 AS equal,
	estimate($$SELECT FROM items WHERE s < '[0]@2'$$) BETWEEN 2000 AND 4000 AS half;
DROP FUNCTION estimate;
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT * FROM items WHERE s >= '[1,1]@1' AND s < '[1,2]@1' ORDER BY s;
SELECT count(*) FROM items WHERE s >= '[1,1]@1' AND s < '[1,2]@1';
DROP INDEX items_btree;
EXPLAIN (COSTS OFF) SELECT * FROM items WHERE s = '[1,1,1]@1';
SELECT count(*) FROM items WHERE s = '[1,1,1]@1';
RESET enable_seqscan;
RESET enable_bitmapscan;
SELECT count(*), count(DISTINCT s), (SELECT count(*) FROM (SELECT s FROM items GROUP BY s) g) AS groups FROM items;
SET enable_hashjoin = on; SET enable_mergejoin = off; SET enable_nestloop = off;
SELECT count(*) FROM items a JOIN items b USING (s);
SET enable_hashjoin = off; SET enable_mergejoin = on;
SET jit = on; SET jit_above_cost = 0; SET jit_inline_above_cost = 0; SET jit_optimize_above_cost = 0;
SELECT count(*) FROM items a JOIN items b USING (s);
SELECT count(*), sum(semid_code(s, 0)), min(semid_levels(s)), max(semid_tokenizer(s)) FROM items WHERE s ^@ '[1]';
RESET jit; RESET jit_above_cost; RESET jit_inline_above_cost; RESET jit_optimize_above_cost;
RESET enable_hashjoin; RESET enable_mergejoin; RESET enable_nestloop;
-- equal ids have equal bytes, so btree keeps duplicates once
CREATE INDEX items_dedup ON items ((semid_prefix(s, 1)));
CREATE INDEX items_plain ON items ((semid_prefix(s, 1))) WITH (deduplicate_items = off);
SELECT pg_relation_size('items_dedup') < pg_relation_size('items_plain') AS smaller;
DROP TABLE items;

-- leakproof are these and no others
SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_depend d ON d.objid = p.oid AND d.classid = 'pg_proc'::regclass
	AND d.deptype = 'e' AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'semtok')
WHERE proleakproof ORDER BY p.oid::regprocedure::text COLLATE "C";
-- a domain and a range of ids work as of any type with a btree order
CREATE DOMAIN short_id AS semid CHECK (semid_levels(VALUE) <= 2);
SELECT '[1,2]'::short_id;
SELECT '[1,2,3]'::short_id;
DROP DOMAIN short_id;
CREATE TYPE semid_range AS RANGE (subtype = semid);
SELECT '[1,2]'::semid <@ semid_range('[1]', '[2]'), '[2]'::semid <@ semid_range('[1]', '[2]');
DROP TYPE semid_range;
