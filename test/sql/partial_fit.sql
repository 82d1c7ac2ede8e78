-- semtok.partial_fit: mini-batches from the active version, with its counts.
SET client_min_messages = error;

\getenv test PG_ABS_SRCDIR
\set refusal :test '/lib/refusal.sql'
\i :refusal

CREATE TABLE stream (id int, x real[]);
INSERT INTO stream
	SELECT i, array[i * 37 % 101, i * 61 % 97, i * 13 % 29, 7 + i * 7 % 11]::real[]
	FROM generate_series(1, 600) AS i;

-- One more epoch is one more fit, bit for bit, where an epoch is one batch; for every metric.
SELECT semtok.train('twice-' || m, 'SELECT x FROM stream', levels => 2, codes => 16, epochs => 2, batch_size => 600, metric => m) IS NOT NULL AS twice,
	semtok.train('once-' || m, 'SELECT x FROM stream', levels => 2, codes => 16, epochs => 1, batch_size => 600, metric => m) IS NOT NULL AS once
	FROM unnest(array['l2', 'cosine', 'ip']) AS m;
SELECT semtok.partial_fit('once-' || m, 'SELECT x FROM stream ORDER BY id DESC', batch_size => 600) IS NOT NULL AS ok
	FROM unnest(array['l2', 'cosine', 'ip']) AS m;
SELECT split_part(name, '-', 2) AS metric, count(DISTINCT hash) AS codebooks, count(DISTINCT counts) AS counts FROM semtok.tokenizer
	WHERE name LIKE 'twice-%' OR name LIKE 'once-%' AND version = 2 GROUP BY 1 ORDER BY 1;

-- A new version, which is not active; what it continues is said, and the rows add up.
SELECT version, active, method, trained_rows, options - 'from' AS options,
	options -> 'from' = to_jsonb(lag(id) OVER (ORDER BY version)) AS continues
	FROM semtok.tokenizers WHERE name = 'once-l2' ORDER BY version;
SELECT version, (SELECT sum(c) FROM unnest(counts[1:16]) AS c) AS counted FROM semtok.tokenizer WHERE name = 'once-l2' ORDER BY version;

-- The active version is continued, here the first again; then the second.
SELECT semtok.partial_fit('once-l2', 'SELECT x FROM stream', batch_size => 600) IS NOT NULL AS ok;
SELECT semtok.activate('once-l2', 2);
SELECT semtok.partial_fit('once-l2', 'SELECT x FROM stream', batch_size => 600) IS NOT NULL AS ok;
SELECT version, active, hash = lag(hash) OVER (ORDER BY version) AS as_before, trained_rows FROM semtok.tokenizers WHERE name = 'once-l2' ORDER BY version;
-- Two epochs at once are two fits.
SELECT semtok.activate('once-l2', 1);
SELECT semtok.partial_fit('once-l2', 'SELECT x FROM stream', epochs => 2, batch_size => 600) IS NOT NULL AS ok;
SELECT count(DISTINCT hash) FROM semtok.tokenizers WHERE name = 'once-l2' AND version IN (4, 5);

-- What a codeword becomes: (count * codeword + sum of rows) / (count + rows).
SELECT semtok.train('formula', 'SELECT x FROM stream WHERE id <= 300', levels => 1, codes => 8, epochs => 5) AS base \gset
SELECT semtok.partial_fit('formula', 'SELECT x FROM stream WHERE id > 300', batch_size => 1000) AS fitted \gset
CREATE TABLE expected AS
	WITH c AS (SELECT e.code, e.vector, t.counts[e.code + 1] AS n FROM semtok.tokenizer AS t, codebook_entries(t.codebook) AS e WHERE t.id = :base),
	r AS (SELECT semid_code(semtok.encode(:base, x), 0) AS code, x FROM stream WHERE id > 300)
	SELECT c.code, d, (c.n * c.vector[d] + coalesce(sum(r.x[d]::float8), 0)) / (c.n + count(r.x)) AS value, c.n + count(r.x) AS n
	FROM c CROSS JOIN generate_series(1, 4) AS d LEFT JOIN r USING (code) GROUP BY c.code, c.n, c.vector, d;
SELECT count(*), count(*) FILTER (WHERE abs(e.value - f.vector[e.d]) > 1e-6 * abs(e.value)) AS different,
	count(*) FILTER (WHERE e.n <> t.counts[e.code + 1]) AS different_counts
	FROM expected AS e, semtok.tokenizer AS t, codebook_entries(t.codebook) AS f WHERE t.id = :fitted AND f.code = e.code;
-- Codewords that no row chose stay.
SELECT semtok.partial_fit('formula', 'SELECT x FROM stream WHERE id = 7') AS one_row \gset
SELECT count(*) FILTER (WHERE a.vector <> b.vector) AS moved FROM semtok.tokenizer AS s, codebook_entries(s.codebook) AS a,
	semtok.tokenizer AS t, codebook_entries(t.codebook) AS b WHERE s.id = :base AND t.id = :one_row AND a.code = b.code;

-- It follows its rows: the error on new ones falls.
SELECT semtok.train('drift', 'SELECT x FROM stream', levels => 2, codes => 16) IS NOT NULL AS ok;
CREATE TABLE drifted AS SELECT array[x[1] + 50, x[2] - 20, x[3] * 2, x[4]]::real[] AS x FROM stream;
SELECT semtok.partial_fit('drift', 'TABLE drifted', epochs => 3, batch_size => 50) AS drift \gset
SELECT (SELECT mse FROM semtok.evaluate(:drift, 'TABLE drifted') WHERE level IS NULL) < 0.8 *
	(SELECT mse FROM semtok.evaluate('drift', 'TABLE drifted') WHERE level IS NULL) AS lower;
-- logged as training is
SELECT level, count(*) AS epochs FROM semtok.training_log WHERE tokenizer = :drift AND metric = 'objective' GROUP BY level ORDER BY level;
SELECT value = (SELECT mse FROM semtok.evaluate(:drift, 'TABLE drifted') WHERE level IS NULL) AS measured
	FROM semtok.training_log WHERE tokenizer = :drift AND metric = 'mse' AND level IS NULL AND epoch IS NULL;

-- Batches: every size works, the seed decides their order, the order of the rows does not.
SELECT semtok.partial_fit('drift', 'SELECT x FROM drifted ORDER BY x[1] ' || o, batch_size => 7, seed => s) IS NOT NULL AS ok
	FROM unnest(array['ASC', 'DESC']) AS o, unnest(array[1, 2]) AS s;
SELECT options ->> 'seed' AS seed, count(*) AS fits, count(DISTINCT hash) AS codebooks FROM semtok.tokenizers WHERE name = 'drift' AND options -> 'batch_size' = '7' GROUP BY 1 ORDER BY 1;
SELECT semtok.partial_fit('drift', 'TABLE drifted', 1, 1, 42, 100, 'auto', '{"beam": 3}') AS sampled \gset
SELECT trained_rows, options - 'from' AS options FROM semtok.tokenizers WHERE id = :sampled;

-- EMA: its codewords, with the rows that its averages count.
SELECT semtok.train('average', 'SELECT x FROM stream', levels => 2, codes => 16, epochs => 3, batch_size => 100, method => 'ema', options => '{"beam": 2}') IS NOT NULL AS ok;
SELECT semtok.partial_fit('average', 'TABLE drifted') AS average \gset
SELECT method, options - 'from' AS options FROM semtok.tokenizers WHERE id = :average;
SELECT round((sum(f) - sum(b))::numeric, 6) AS counted FROM semtok.tokenizer AS s, semtok.tokenizer AS t,
	LATERAL unnest(s.counts[1:16], t.counts[1:16]) AS u(b, f) WHERE s.name = 'average' AND s.version = 1 AND t.id = :average;

-- Refined tokenizers and such without counts cannot go on, and say so before the source is run.
SELECT semtok.train('refined', 'SELECT x FROM stream', levels => 2, codes => 16, epochs => 2, options => '{"refine": 1}') IS NOT NULL AS ok;
UPDATE semtok.tokenizer SET counts = null WHERE name = 'twice-ip';
UPDATE semtok.tokenizer SET counts = counts[2:] WHERE name = 'twice-l2';
UPDATE semtok.tokenizer SET counts[3] = 'nan' WHERE name = 'twice-cosine';
\pset format unaligned
SELECT statement || E'\n  ' || regexp_replace(pg_temp.refusal(statement), 'tokenizer \d+', 'tokenizer N') AS refusal FROM unnest(array[
	$$SELECT semtok.partial_fit('refined', 'SELECT 1/0')$$,
	$$SELECT semtok.partial_fit('twice-ip', 'SELECT 1/0')$$,
	$$SELECT semtok.partial_fit('twice-l2', 'SELECT 1/0')$$,
	$$SELECT semtok.partial_fit('twice-cosine', 'SELECT 1/0')$$,
	$$SELECT semtok.partial_fit('nosuch', 'SELECT 1/0')$$,
	$$SELECT semtok.partial_fit(null, 'SELECT 1/0')$$,
	$$SELECT semtok.partial_fit('', 'SELECT 1/0')$$,
	$$SELECT semtok.partial_fit('drift', null)$$,
	$$SELECT semtok.partial_fit('drift', 'SELECT 1/0')$$,
	$$SELECT semtok.partial_fit('drift', 'SELECT 1')$$,
	$$SELECT semtok.partial_fit('drift', 'VALUES (array[1, 2, 3])')$$,
	$$SELECT semtok.partial_fit('drift', 'VALUES (array[1, 2, 3, ''nan''::real])')$$,
	$$SELECT semtok.partial_fit('drift', 'SELECT x FROM stream WHERE false')$$,
	$$SELECT semtok.partial_fit('once-cosine', 'VALUES (array[0, 0, 0, 0])')$$,
	$$SELECT semtok.partial_fit('drift', 'TABLE drifted', epochs => 0)$$,
	$$SELECT semtok.partial_fit('drift', 'TABLE drifted', epochs => null)$$,
	$$SELECT semtok.partial_fit('drift', 'TABLE drifted', batch_size => 0)$$,
	$$SELECT semtok.partial_fit('drift', 'TABLE drifted', batch_size => null)$$,
	$$SELECT semtok.partial_fit('drift', 'TABLE drifted', seed => null)$$,
	$$SELECT semtok.partial_fit('drift', 'TABLE drifted', sample => 0)$$,
	$$SELECT semtok.partial_fit('drift', 'TABLE drifted', device => 'cuda')$$,
	$$SELECT semtok.partial_fit('drift', 'TABLE drifted', options => '{"refine": 1}')$$,
	$$SELECT semtok.partial_fit('drift', 'TABLE drifted', options => '{"decay": 0.5}')$$,
	$$SELECT semtok.partial_fit('drift', 'TABLE drifted', options => '{"beam": 0}')$$,
	$$SELECT semtok.partial_fit('drift', 'TABLE drifted', options => '[]')$$
]) AS statement;
\pset format aligned

-- A fit that is rolled back leaves nothing.
SELECT count(*) AS before FROM semtok.tokenizers WHERE name = 'drift' \gset
BEGIN;
SAVEPOINT s;
SELECT semtok.partial_fit('drift', 'TABLE drifted') IS NOT NULL AS ok;
ROLLBACK TO s;
SELECT count(*) - :before AS left FROM semtok.tokenizers WHERE name = 'drift';
ROLLBACK;

SELECT count(semtok.drop_tokenizer(name)) FROM (SELECT DISTINCT name FROM semtok.tokenizers
	WHERE name ~ '^(twice|once)-' OR name IN ('formula', 'drift', 'average', 'refined')) AS n;
DROP TABLE stream, drifted, expected;
