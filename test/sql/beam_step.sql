-- One step for an application that runs its model: steps put together are a beam search, what does
-- not fit is refused.
\getenv test PG_ABS_SRCDIR
\set refusal :test '/lib/refusal.sql'
\i :refusal
CREATE TABLE st_items (id int, sid semid);
INSERT INTO st_items
SELECT i, semid(array[(i * 7) % 5, (i * 11) % 6, (i * 13) % 4], 1) FROM generate_series(1, 60) i;
CREATE INDEX st_sid ON st_items USING semtrie (sid);
CREATE FUNCTION st_logits() RETURNS real[] LANGUAGE sql IMMUTABLE AS
$$ SELECT '{0.1,1.5,-0.3,0.8,0.05, 1,-1,0.5,0.3,2,-2, 0,0.7,-0.7,0.2}'::real[] $$;

-- A search made of steps, as an application makes it; the model does not look at the prefix.
CREATE FUNCTION st_search(items semset, width int, norm text DEFAULT 'masked', of_table regclass DEFAULT NULL)
RETURNS TABLE (rank bigint, sid semid, logprob float8) LANGUAGE plpgsql AS $$
DECLARE
	beams semid[] := '{NULL}';
	scores float8[] := '{0}';
	sizes int[] := '{5,6,4}';
	first int := 0;
	logits real[];
BEGIN
	FOR l IN 1 .. 3 LOOP
		SELECT array_agg(x ORDER BY b, n) INTO logits FROM generate_subscripts(beams, 1) b,
		       unnest((st_logits())[first + 1 : first + sizes[l]]) WITH ORDINALITY u(x, n);
		IF of_table IS NULL THEN
			SELECT array_agg(s.sid ORDER BY s.n), array_agg(s.logprob ORDER BY s.n) INTO beams, scores
			  FROM semtok.beam_step_set(items, beams, scores, logits, width, norm => norm) WITH ORDINALITY s(parent, sid, logprob, key, complete, n);
		ELSE
			SELECT array_agg(s.sid ORDER BY s.n), array_agg(s.logprob ORDER BY s.n) INTO beams, scores
			  FROM semtok.beam_step(of_table, beams, scores, logits, width, norm => norm) WITH ORDINALITY s(parent, sid, logprob, key, complete, n);
		END IF;
		first := first + sizes[l];
	END LOOP;
	RETURN QUERY SELECT u.n, u.sid, u.logprob FROM unnest(beams, scores) WITH ORDINALITY u(sid, logprob, n);
END $$;
SELECT semset_agg(sid) AS items FROM st_items \gset
SELECT rank, sid, round(logprob::numeric, 6) AS logprob FROM st_search(:'items', 5);
-- the same ids and the same bits as the search in one call, by a set, a table and its index
SELECT norm, width, NOT EXISTS (
         SELECT rank, sid, logprob FROM semtok.beam_search_set(:'items', semtok.logits(st_logits(), '{5,6,4}', 1, norm), width, width)
         EXCEPT SELECT rank, sid, logprob FROM st_search(:'items', width, norm)) AS set,
       NOT EXISTS (
         SELECT rank, sid, logprob FROM st_search(:'items', width, norm)
         EXCEPT SELECT rank, sid, logprob FROM st_search(NULL, width, norm, 'st_items')) AS by_table,
       NOT EXISTS (
         SELECT rank, sid, logprob FROM st_search(:'items', width, norm)
         EXCEPT SELECT rank, sid, logprob FROM st_search(NULL, width, norm, 'st_sid')) AS by_index
  FROM unnest('{masked,full,none}'::text[]) norm, unnest('{1,4,50}'::int[]) width ORDER BY 1, 2;

-- several queries in a call: each as if it were alone; their beams need not stand together
SELECT s.parent, s.sid, round(s.logprob::numeric, 6) AS logprob, s.key = s.logprob AS key
  FROM semtok.beam_step('st_items', '{NULL,NULL}', '{0,-1}', '{{0,1,2,3,4},{4,3,2,1,0}}', 2, queries => '{7,3}') s;
WITH beams (n, query, sid, score) AS (VALUES (1, 1, '[0,0]'::semid, -1::float8), (2, 2, '[0,0]', -2), (3, 1, '[3,3]', -3), (4, 2, '[1,5]', 0)),
     logits AS (SELECT array_agg(array[n, n * n, -n, n + 9]::real[] ORDER BY n) AS all_of, array_agg(array[n, n * n, -n, n + 9]::real[] ORDER BY n) FILTER (WHERE query = 1) AS one,
                       array_agg(array[n, n * n, -n, n + 9]::real[] ORDER BY n) FILTER (WHERE query = 2) AS two FROM beams)
SELECT count(*) AS rows, count(*) FILTER (WHERE alone.sid IS NULL) AS differ FROM logits,
       LATERAL semtok.beam_step('st_items', '{"[0,0]","[0,0]","[3,3]","[1,5]"}', '{-1,-2,-3,0}', all_of, 3, queries => '{1,2,1,2}', norm => 'none') s
       LEFT JOIN LATERAL (SELECT 2 * parent - 1 AS parent, sid, logprob FROM semtok.beam_step('st_items', '{"[0,0]","[3,3]"}', '{-1,-3}', one, 3, norm => 'none')
                          UNION ALL SELECT 2 * parent, sid, logprob FROM semtok.beam_step('st_items', '{"[0,0]","[1,5]"}', '{-2,0}', two, 3, norm => 'none')) alone
         USING (parent, sid, logprob);

-- beams that lead nowhere are passed over: ids that are complete, prefixes that do not exist (any more)
SELECT s.parent, s.sid, s.complete FROM semtok.beam_step_set('{[1,2],[1,2,3],[1,4,0]}', '{[1],[7],"[1,2,3]"}', '{0,0,0}', array_fill(0::real, array[3, 5])) s;
SELECT s.parent, s.sid, s.complete FROM semtok.beam_step_set('{[1,2],[1,2,3],[1,4,0]}', '{"[1,4]","[1,2]"}', '{0,-1}', array_fill(0::real, array[2, 5])) s;
SELECT * FROM semtok.beam_step_set('{[1,2]}', '{"[1,2]",[3]}', '{0,0}', array_fill(0::real, array[2, 5]));
-- codes without a logit, and those with -infinity, cannot be; nothing left is no rows
SELECT s.sid, s.logprob FROM semtok.beam_step_set('{[0],[1],[2],[3]}', '{NULL}', '{-0.5}', '{5,-Infinity,5}') s ORDER BY 1;
SELECT * FROM semtok.beam_step_set('{[0],[1]}', '{NULL}', '{0}', '{-Infinity,-Infinity}');
SELECT * FROM semtok.beam_step_set('{[9]}', '{NULL}', '{0}', '{1,2}');
-- no beams, no items, nulls: no rows
SELECT * FROM semtok.beam_step_set('{[9]}', '{}', '{}', '{}');
SELECT * FROM semtok.beam_step_set('{}', '{NULL}', '{0}', '{1,2}');
SELECT * FROM semtok.beam_step_set(NULL, '{NULL}', '{0}', '{1,2}');
SELECT * FROM semtok.beam_step('st_items', NULL, '{0}', '{1,2}');
SELECT * FROM semtok.beam_step('st_items', '{NULL}', '{0}', NULL);

-- within and exclude: what they leave is all there is, also for the softmax
SELECT s.sid, s.logprob FROM semtok.beam_step_set('{[0,0],[1,0],[1,1],[2,0]}', '{NULL}', '{0}', '{1,1,1}', exclude => '{[0,0],[1,0]}') s ORDER BY 1;
SELECT s.sid, s.logprob = -ln(2::float8) AS half FROM semtok.beam_step_set('{[0,0],[1,0],[1,1],[2,0]}', '{NULL}', '{0}', '{1,1,1}', within => '{[0,0],[2,0],[2,1]}') s ORDER BY 1;
SELECT s.sid FROM semtok.beam_step('st_items', '{NULL}', '{0}', '{1,2,3,4,5}', within => '{[4,0,0]@1,[4,4,2]@1,[9,9,9]@1}') s;
-- top_k and top_p count what exists
SELECT s.sid, round(s.logprob::numeric, 4) AS logprob FROM semtok.beam_step_set('{[0],[2],[3]}', '{NULL}', '{0}', '{0,9,1,2}', top_k => 2) s;
SELECT s.sid, round(s.logprob::numeric, 4) AS logprob FROM semtok.beam_step_set('{[0],[2],[3]}', '{NULL}', '{0}', '{0,9,1,2}', top_p => 0.6) s;

-- sampling: the same draws for the same seed, others for other queries; keys go from step to step
WITH a AS (SELECT * FROM semtok.beam_step('st_items', '{NULL,NULL}', '{0,0}', array_fill(0::real, array[2, 5]), 3, temperature => 1, seed => 5, queries => '{0,1}')),
     b AS (SELECT * FROM semtok.beam_step('st_items', '{NULL}', '{0}', array_fill(0::real, array[1, 5]), 3, temperature => 1, seed => 5))
SELECT (SELECT array_agg(sid ORDER BY key DESC) FROM a WHERE parent = 1) = (SELECT array_agg(sid ORDER BY key DESC) FROM b) AS repeats,
       (SELECT array_agg(key ORDER BY key DESC) FROM a WHERE parent = 1) <> (SELECT array_agg(key ORDER BY key DESC) FROM a WHERE parent = 2) AS others;
SELECT pg_temp.refusal($$SELECT semtok.beam_step('st_items', '{[1]}', '{0}', '{1,2}', temperature => 1, seed => 1)$$);
SELECT count(*) AS rows, bool_and(s.key <= -0.25) AS below_the_parent, max(s.key) = -0.25 AS one_has_its_key
  FROM semtok.beam_step('st_items', '{[1]}', '{-1}', '{1,2,3,4,5,6}', temperature => 1, seed => 1, keys => '{-0.25}') s;
-- each code as often as its probability says: first draws of 4000 seeds
SELECT sum((n - expected) ^ 2 / expected) < 16.27 AS as_often -- chi-square, 3 degrees of freedom, 0.001
  FROM (SELECT count(f.seed) AS n, 4000 * exp(q.x) / sum(exp(q.x)) OVER () AS expected
          FROM (VALUES (0, 0.0), (1, 0.5), (2, 1.0), (4, -1.0)) q(code, x)
          LEFT JOIN (SELECT seed, semid_code(s.sid, 0) AS code FROM generate_series(1, 4000) seed,
                     LATERAL semtok.beam_step_set('{[0],[1],[2],[4]}', '{NULL}', '{0}', '{0,0.5,1,9,-1}', 1, temperature => 1, seed => seed) s) f USING (code)
         GROUP BY q.code, q.x) c;

-- tokenizers: one for all beams, named by them, by the argument, or the only one there is
INSERT INTO st_items VALUES (1000, '[0,0,0]@2');
SELECT s.sid FROM semtok.beam_step('st_items', '{[0]@2}', '{0}', '{1,2}') s;
SELECT s.sid FROM semtok.beam_step('st_items', '{NULL,[0]@2}', '{0,0}', array_fill(0::real, array[2, 2])) s ORDER BY 1;
SELECT s.sid FROM semtok.beam_step('st_items', '{NULL}', '{0}', '{1,2}', tokenizer => 2) s;
SELECT s.sid FROM semtok.beam_step('st_items', '{[0]}', '{0}', '{1,2}', tokenizer => 2) s;
SELECT count(*) FROM semtok.beam_step('st_items', '{NULL}', '{0}', '{1,2}', tokenizer => 3);
CREATE TEMP TABLE st_calls (i int GENERATED ALWAYS AS IDENTITY, call text);
INSERT INTO st_calls (call) VALUES
('''{NULL}'', ''{0}'', ''{1,2}'''),
('''{[0]@1,[0]@2}'', ''{0,0}'', ''{{1,2},{1,2}}'''),
('''{[0]@1}'', ''{0}'', ''{1,2}'', tokenizer => 2'),
-- shapes
('''{[0]@1,[1]@1}'', ''{0}'', ''{{1,2},{1,2}}'''),
('''{[0]@1,[1]@1}'', ''{0,0,0}'', ''{{1,2},{1,2}}'''),
('''{[0]@1,[1]@1}'', ''{0,NULL}'', ''{{1,2},{1,2}}'''),
('''{[0]@1,[1]@1}'', ''{0,NaN}'', ''{{1,2},{1,2}}'''),
('''{[0]@1,[1]@1}'', ''{0,-Infinity}'', ''{{1,2},{1,2}}'''),
('''{[0]@1,[1]@1}'', ''{{0},{0}}'', ''{{1,2},{1,2}}'''),
('''{{[0]@1},{[1]@1}}'', ''{0,0}'', ''{{1,2},{1,2}}'''),
('''{[0]@1,[1]@1}'', ''{0,0}'', ''{1,2,3}'''),
('''{[0]@1,[1]@1}'', ''{0,0}'', ''{{1,2}}'''),
('''{[0]@1,[1]@1}'', ''{0,0}'', ''{}'''),
('''{[0]@1,[1]@1}'', ''{0,0}'', ''{{{1,2},{1,2}}}'''),
('''{[0]@1}'', ''{0}'', ''{1,NULL}'''),
('''{[0]@1}'', ''{0}'', ''{1,NaN}'''),
('''{[0]@1,[1]@1}'', ''{0,0}'', ''{1,2,3,Infinity}'''),
('''{[0]@1}'', ''{0}'', array_fill(0::real, array[65537])'),
('''{[0]@1,[0]@1}'', ''{0,0}'', ''{{1,2},{1,2}}'''),
('''{NULL,[0]@1,NULL}'', ''{0,0,0}'', ''{{1,2},{1,2},{1,2}}'''),
('''{[0]@1,[1]@1}'', ''{0,0}'', ''{{1,2},{1,2}}'', queries => ''{1}'''),
('''{[0]@1,[1]@1}'', ''{0,0}'', ''{{1,2},{1,2}}'', queries => ''{1,NULL}'''),
('''{[0]@1,[1]@1}'', ''{0,0}'', ''{{1,2},{1,2}}'', keys => ''{1}'''),
('''{[0]@1,[1]@1}'', ''{0,0}'', ''{{1,2},{1,2}}'', keys => ''{1,Infinity}'''),
-- options
('''{[0]@1}'', ''{0}'', ''{1,2}'', 0'),
('''{[0]@1}'', ''{0}'', ''{1,2}'', NULL'),
('''{[0]@1}'', ''{0}'', ''{1,2}'', 1000001'),
('''{[0]@1}'', ''{0}'', ''{1,2}'', temperature => -1'),
('''{[0]@1}'', ''{0}'', ''{1,2}'', top_k => 0'),
('''{[0]@1}'', ''{0}'', ''{1,2}'', top_p => 1.5'),
('''{[0]@1}'', ''{0}'', ''{1,2}'', norm => ''best'''),
('''{[0]@1}'', ''{0}'', ''{1,2}'', sampler => ''best'''),
('''{[0]@1}'', ''{0}'', ''{1,2}'', candidates => 0'),
('''{[0]@1}'', ''{0}'', ''{1,2}'', tokenizer => -1'),
('''{[0]@1}'', ''{0}'', ''{1,2}'', tokenizer => NULL'),
('''{NULL}'', ''{0}'', ''{1,2}'', tokenizer => 1, temperature => 1, norm => ''full''');
SELECT call, pg_temp.refusal(format('SELECT semtok.beam_step(''st_items'', %s)', call)) AS says FROM st_calls ORDER BY i;

-- rows: an id whose rows are deleted leads until VACUUM has been there
DELETE FROM st_items WHERE id = 1000;
VACUUM (INDEX_CLEANUP on) st_items;
SELECT count(*) FROM semtok.beam_step('st_items', '{NULL}', '{0}', '{1,2,3,4,5}');
-- partitions: as one table
CREATE TABLE st_parts (id int, sid semid) PARTITION BY HASH (id);
CREATE TABLE st_part0 PARTITION OF st_parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE st_part1 PARTITION OF st_parts FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO st_parts SELECT * FROM st_items;
CREATE INDEX ON st_parts USING semtrie (sid);
SELECT NOT EXISTS (SELECT rank, sid, logprob FROM st_search(:'items', 7)
                   EXCEPT SELECT rank, sid, logprob FROM st_search(NULL, 7, of_table => 'st_parts')) AS partitions;
DROP TABLE st_items, st_parts;
DROP FUNCTION st_logits, st_search;
