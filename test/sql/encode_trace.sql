-- semtok.encode_trace and encode_candidates: how an embedding is encoded, and its other ids.
SET client_min_messages = error;
SELECT semtok.import_tokenizer('t', codebook_agg(l, c, v), 720001), semtok.import_tokenizer('t-ip', codebook_agg(l, c, v, 'ip'), 720002), semtok.import_tokenizer('t-cosine', codebook_agg(l, c, v, 'cosine'), 720003)
	FROM (VALUES (0, 0, '{3,4}'::real[]), (0, 1, '{0.6,0.8}'), (0, 2, '{-1,0}'), (1, 0, '{0,1}'), (1, 1, '{1,0}'), (2, 0, '{0.5,0.5}')) AS t(l, c, v);

-- 1.6 = |(1,2) - (0.6,0.8)|^2, 8 = |(1,2) - (3,4)|^2, and so on; a level of one code has no second
SELECT * FROM semtok.encode_trace('t', '{1,2}');
SELECT * FROM semtok.encode_trace(720002, '{1,2}');
SELECT * FROM semtok.encode_trace('t-cosine', '{30,40}');
-- ties go to the lowest code, and the second is the next; an exact hit is at distance 0
SELECT semtok.import_tokenizer('tied', codebook_agg(0, c, v)) > 0 AS imported FROM (VALUES (0, '{5}'::real[]), (1, '{1}'), (2, '{-1}'), (3, '{1}')) AS t(c, v);
SELECT * FROM semtok.encode_trace('tied', '{0}');
SELECT * FROM semtok.encode_trace('tied', '{1}');
SELECT * FROM semtok.encode_trace('tied', '{0.1}');

-- The codes are greedy encode's, on every vector unit the same bits.
CREATE TABLE rows AS SELECT i, array(SELECT (i * j * 37 % 101 - 50) / 7.0 FROM generate_series(1, 20) AS j)::real[] AS x FROM generate_series(1, 200) AS i;
SELECT semtok.train(m, 'SELECT x FROM rows', levels => 3, codes => 16, metric => m, epochs => 3) > 0 AS trained FROM unnest(array['l2', 'ip', 'cosine']) AS m;
CREATE TABLE traced AS SELECT m, i, x, t.* FROM rows, unnest(array['l2', 'ip', 'cosine']) AS m, LATERAL semtok.encode_trace(m, x) AS t;
SELECT m, count(*), count(*) FILTER (WHERE code = semid_code(semtok.encode(m, x, 1), level)) AS same, count(*) FILTER (WHERE margin >= 0 AND second_code <> code) AS seconds
	FROM traced GROUP BY m ORDER BY m;
-- what a level leaves is as far from the codeword as it said
SELECT m, max(abs(residual_norm ^ 2 - distance)) < 1e-3 AS agrees FROM traced WHERE m <> 'ip' GROUP BY m ORDER BY m;
SET semtok.simd = scalar;
SELECT count(*) AS different FROM traced AS a LEFT JOIN LATERAL semtok.encode_trace(m, x) AS t ON t.level = a.level WHERE (t.*) IS DISTINCT FROM (a.level, a.code, a.distance, a.residual_norm, a.second_code, a.margin);
RESET semtok.simd;

-- Candidates: distinct, ascending, the first is encode's at that width.
CREATE TABLE candidates AS SELECT m, i, x, n, c.* FROM rows, unnest(array['l2', 'ip', 'cosine']) AS m, unnest(array[1, 2, 7, 40]) AS n, LATERAL semtok.encode_candidates(m, x, n) WITH ORDINALITY AS c WHERE i <= 50;
SELECT m, n, count(*), count(DISTINCT (i, sid)) AS distinct, count(*) FILTER (WHERE ordinality = 1 AND sid = semtok.encode(m, x, n)) AS encoded,
	count(*) FILTER (WHERE ordinality > 1 AND distortion < (SELECT distortion FROM candidates AS b WHERE (b.m, b.i, b.n, b.ordinality) = (a.m, a.i, a.n, a.ordinality - 1))) AS out_of_order
	FROM candidates AS a GROUP BY m, n ORDER BY m, n;
-- the distortion is the squared distance to what the id decodes to
SELECT max(abs(distortion - (SELECT sum((u.a::float8 - u.b) ^ 2) FROM unnest(x, semtok.decode(sid)) AS u(a, b)))) < 1e-3 AS agrees FROM candidates WHERE m = 'l2';
-- all ids that there are, when so many are wanted; the tokenizer's own width when that is more
SELECT sid, distortion FROM semtok.encode_candidates('t', '{1,2}', 100);
SELECT sid, distortion FROM semtok.encode_candidates(720001, '{1,2}', 4096) LIMIT 2;
SELECT semtok.import_tokenizer('wide', codebook_agg(l, c, v), options => '{"beam": 4}') > 0 AS imported
	FROM (VALUES (0, 0, '{0,0}'::real[]), (0, 1, '{3,0}'), (1, 0, '{-2,0}'), (1, 1, '{9,0}')) AS t(l, c, v);
SELECT sid = semtok.encode('wide', '{1.4,0}') AS own, sid = semtok.encode('wide', '{1.4,0}', 1) AS greedy FROM semtok.encode_candidates('wide', '{1.4,0}', 1);
SELECT distortion FROM semtok.encode_candidates('wide', '{1,0}', 1);

-- Null in, nothing out; errors; a read-only transaction.
SELECT count(*) FROM semtok.encode_trace('t', null);
SELECT count(*) FROM semtok.encode_candidates('t', '{1,2}', null);
SELECT semtok.register_tokenizer('none', '{2}', 750000);
\set VERBOSITY terse
SELECT semtok.encode_trace('none', '{1}');
SELECT semtok.encode_candidates(750000, '{1}', 1);
SELECT semtok.encode_trace('t-cosine', '{0,0}');
SELECT semtok.encode_candidates('t-cosine', '{0,0}', 3);
SELECT semtok.import_tokenizer('far', codebook_agg(l, 0, '{-3e38}')) > 0 AS imported FROM generate_series(0, 1) AS l;
SELECT semtok.encode_trace('far', '{3e38}');
SELECT semtok.encode_candidates('far', '{3e38}', 2);
SELECT semtok.encode_candidates('t', '{1,2}', -1);
BEGIN READ ONLY;
SELECT count(*) FROM semtok.encode_trace('t', '{1,2}'), semtok.encode_candidates('t', '{1,2}', 2);
COMMIT;
-- A wide search of large codebooks ends when it is told to.
SELECT semtok.import_tokenizer('slow', codebook_agg(l, c, array_fill((c + l) % 251, array[200])::real[])) > 0 AS imported FROM generate_series(0, 3) AS l, generate_series(0, 2047) AS c;
SET statement_timeout = 50;
SELECT count(*) FROM semtok.encode_candidates('slow', array_fill(1.5::real, array[200]), 4096);
RESET statement_timeout;
DROP TABLE rows, traced, candidates;
SELECT count(semtok.drop_tokenizer(name)) FROM unnest(array['t', 't-ip', 't-cosine', 'tied', 'l2', 'ip', 'cosine', 'wide', 'none', 'far', 'slow']) AS name;
