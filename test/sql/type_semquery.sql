-- semquery: making, I/O, parts, cost.
\set VERBOSITY terse
SET extra_float_digits = 1;

-- every literal form
SELECT semquery_kind(q), semquery_norm(q), semquery_tokenizer(q), semquery_levels(q), semquery_sizes(q) FROM (VALUES
	(semtok.logits('{1,2,3,4}', '{2,2}')),
	(semtok.logits('{{1,2},{3,4}}')),
	(semtok.logits('{{1,2},{3,4}}', '{2,2}', 5)),
	(semtok.logits('{1,2,3}', '{1,2}', 5, 'none')),
	(semtok.logits('{1,2,3}', '{1,2}', norm => 'masked')),
	(semtok.logits('{1,2,3}', '{1,2}', 5, 'masked', '{[0,1]@5}')),
	(semtok.logits('{1,2,3}', '{1,2}', within => '{[0,1]@5}')),
	(semtok.logits(logits => '{1,2,3}', sizes => '{1,2}', tokenizer => 7, norm => 'full', within => NULL)),
	(semtok.neighbors('{"dim":1,"sizes":[2,1],"metric":"l2","data":"AACAPwAAAEAAAEBA"}'::codebook, '{1}'))) t(q);
SELECT semtok.logits(NULL) IS NULL AS logits, semtok.neighbors(NULL::codebook, '{1}') IS NULL AS codebook,
	semtok.neighbors('{"dim":1,"sizes":[1],"metric":"l2","data":"AACAPw=="}'::codebook, NULL) IS NULL AS embedding;

-- costs; ids shorter than the query, of another tokenizer, or beyond its codes cannot be scored
CREATE TABLE ids AS SELECT i AS id FROM unnest('{"[0,0]","[0,1]","[1,0]","[1,1]","[1,1]@5","[1,1,9]","[2,0]","[1]",NULL}'::semid[]) i;
SELECT id, id <~> semtok.logits('{1,2,3,4}', '{2,2}') AS full_, id <~> semtok.logits('{1,2,3,4}', '{2,2}', norm => 'none') AS none,
	id <~> semtok.logits('{1,2,3,4}', '{2,2}', 5) AS of_5,
	id <~> semtok.logits('{1,2,3,4}', '{2,2}', 0, 'full', '{[0,0],[0,1],[1,1]}') AS within_,
	id <~> semtok.logits('{1,2,3,4}', '{2,2}', 0, 'masked', '{[0,0],[0,1],[1,1]}') AS masked,
	id <~> semtok.logits('{-Infinity,2,3,4}', '{2,2}') AS never
FROM ids;
SELECT id, id <~> semtok.logits('{1,2,3,4}', '{2,2}') AS cost FROM ids ORDER BY 2, 1;
SELECT NULL::semid <~> semtok.logits('{1}', '{1}') IS NULL AS no_id, '[1]'::semid <~> NULL IS NULL AS no_query;
SELECT id <~> semtok.logits('{1,2,3,4}', '{2,2}', norm => 'masked') FROM ids;
-- neighbors: squared distance to the reconstruction; minus the product for ip
SELECT codebook_agg(l, c, array[l + c, 1 - l]::real[], 'l2') AS cb, codebook_agg(l, c, array[l + c, 1 - l]::real[], 'ip') AS ip
FROM generate_series(0, 1) l, generate_series(0, 1) c \gset
SELECT id, id <~> semtok.neighbors(:'cb'::codebook, '{2,3}') AS l2, id <~> semtok.neighbors(:'ip'::codebook, '{2,3}') AS ip FROM ids;
SELECT semid_codes(id) AS codes, (2 - a[1] - b[1]) ^ 2 + (3 - a[2] - b[2]) ^ 2 AS l2, -(2 * (a[1] + b[1]) + 3 * (a[2] + b[2])) AS ip
FROM ids, LATERAL (SELECT codebook_vector(:'cb', 0, semid_code(id, 0)) a, codebook_vector(:'cb', 1, semid_code(id, 1)) b) t
WHERE id IN ('[0,0]', '[0,1]', '[1,0]', '[1,1]');

-- text and binary form round-trip exactly
CREATE TABLE queries (n int, q semquery);
INSERT INTO queries VALUES (1, semtok.logits('{0.1,2,3,-Infinity}', '{2,2}')), (2, semtok.logits('{1,2,3}', '{1,2}', 9, 'none')),
	(3, semtok.logits('{1,2,3}', '{1,2}', norm => 'masked')), (4, semtok.logits('{1,2,3}', '{1,2}', 0, 'masked', '{[0,1]@5,[0,0]}')),
	(5, semtok.logits('{1,2,3}', '{1,2}', 0, 'none', '{}')), (6, semtok.neighbors(:'cb'::codebook, '{1,2}')), (7, semtok.neighbors(:'ip'::codebook, '{1,2}'));
SELECT q FROM queries WHERE n = 1;
CREATE TABLE copies (n int, q semquery);
\copy queries to 'test/results/type_semquery.copy' (format binary)
\copy copies from 'test/results/type_semquery.copy' (format binary)
SELECT n, semquery_kind(a.q), semquery_send(a.q) = semquery_send(b.q) AS binary, semquery_send(a.q::text::semquery) = semquery_send(a.q) AS text
FROM queries a JOIN copies b USING (n) ORDER BY n;
DROP TABLE copies;

-- a query of a table is toasted; of a call it changes from row to row
INSERT INTO queries SELECT 100 + i, semtok.logits(array_agg((i * g * 7919 % 1000 / 100.0)::real ORDER BY g), '{900,900}') FROM generate_series(1, 3) i, generate_series(1, 1800) g GROUP BY i;
CREATE TABLE many AS SELECT semid(array[i % 900, i * 7 % 900]) AS id FROM generate_series(1, 3000) i;
SELECT n, sum(id <~> q)::numeric(20,6) FROM queries, many WHERE n > 100 GROUP BY n ORDER BY n;
SELECT n, sum(id <~> q)::numeric(20,6) FROM queries, many WHERE n > 100 GROUP BY n ORDER BY n DESC;
SELECT sum(id <~> (SELECT q FROM queries WHERE n = 102))::numeric(20,6) FROM many;
SELECT sum(id <~> semtok.logits((SELECT array_agg((2 * g * 7919 % 1000 / 100.0)::real ORDER BY g) FROM generate_series(1, 1800) g), '{900,900}'))::numeric(20,6) FROM many;
PREPARE cost(semquery) AS SELECT sum(id <~> $1)::numeric(20,6) FROM many;
SET plan_cache_mode = force_generic_plan;
SELECT q AS q1 FROM queries WHERE n = 101 \gset
SELECT q AS q2 FROM queries WHERE n = 102 \gset
EXECUTE cost(:'q1');
EXECUTE cost(:'q2');
RESET plan_cache_mode;
DO $$
DECLARE
	q semquery;
	costs text := '';
BEGIN
	FOR i IN 1..3 LOOP
		q := semtok.logits(array[i, 1]::real[], '{2}', norm => 'none');
		costs := costs || ('[0]'::semid <~> q)::text || ' ';
	END LOOP;
	RAISE NOTICE '%', costs;
END $$;
SET jit = on; SET jit_above_cost = 0; SET jit_inline_above_cost = 0; SET jit_optimize_above_cost = 0;
SELECT n, sum(id <~> q)::numeric(20,6) FROM queries, many WHERE n > 100 GROUP BY n ORDER BY n;
SELECT id, id <~> semtok.neighbors(:'cb'::codebook, '{2,3}') AS l2 FROM ids;
RESET jit; RESET jit_above_cost; RESET jit_inline_above_cost; RESET jit_optimize_above_cost;
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
ALTER TABLE many SET (parallel_workers = 2);
SELECT sum((id <~> (SELECT q FROM queries WHERE n = 102))::numeric(20,6)) FROM many;
DROP TABLE ids, queries, many;
