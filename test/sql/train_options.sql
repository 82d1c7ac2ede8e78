-- Methods, initial codewords and options of semtok.train: what each does, and what is refused.
SET client_min_messages = error;

\getenv test PG_ABS_SRCDIR
\set refusal :test '/lib/refusal.sql'
\i :refusal

-- Clouds of different size, so that greedy codes are neither best nor even.
CREATE TABLE cloud (id int, x real[]);
INSERT INTO cloud
	SELECT i, array(SELECT ((i % 23 % 7) * 10 * (j % 3) + ((i * 7919 + j * 104729) % 1013) / 101.3)::real
		FROM generate_series(1, 12) AS j)
	FROM generate_series(1, 1200) AS i;

-- What is stored: all that the way of training has, with defaults filled in.
SELECT semtok.train('t', 'SELECT x FROM cloud', levels => 2, codes => 16, epochs => 4, options => o::jsonb, batch_size => b, method => m) IS NOT NULL AS ok
	FROM (VALUES ('rqkmeans', null::int, '{}'), ('rqkmeans', null, '{"beam": 4, "balance": 1.25, "empty": "farthest"}'),
		('rqkmeans', null, '{"refine": 2}'), ('rqkmeans', null, '{"refine": 2, "beam": 3, "empty": "split"}'),
		('rqkmeans', 100, '{"beam": 2}'), ('ema', 100, null), ('ema', null, '{"decay": 0.5, "restart_after": 0, "beam": 2}')) AS v (m, b, o);
SELECT version, method, options FROM semtok.tokenizers WHERE name = 't' ORDER BY version;
-- counts are the rows of each code
SELECT version, method, round(s::numeric, 6) AS counted, (SELECT count(*) FROM unnest(counts) AS c WHERE c < 0) AS negative
	FROM semtok.tokenizer, LATERAL (SELECT sum(c) / 2 FROM unnest(counts) AS c) AS u(s) WHERE name = 't' AND method = 'rqkmeans' ORDER BY version;

-- The tokenizer's own width is what encode, encode_batch, evaluate and the log go by.
SELECT t.version, t.options ->> 'beam' AS beam,
	bool_and(semtok.encode(t.id, x) = semtok.encode(t.id, x, (t.options ->> 'beam')::int)) AS encode,
	(SELECT bool_and(b.sid = semtok.encode(t.id, b.key::real[], null)) FROM semtok.encode_batch(t.id, 'SELECT x, x FROM cloud') AS b) AS encode_batch,
	bool_or(semtok.encode(t.id, x) <> semtok.encode(t.id, x, 1)) AS wider_differs
	FROM semtok.tokenizers AS t, cloud WHERE t.name = 't' GROUP BY t.id, t.version, t.options ORDER BY version;
SELECT t.version, l.value = e.mse AS logged
	FROM semtok.tokenizers AS t
	JOIN semtok.training_log AS l ON l.tokenizer = t.id AND l.metric = 'mse' AND l.epoch IS NULL AND l.level IS NULL,
	LATERAL semtok.evaluate(t.id, 'SELECT x FROM cloud') AS e
	WHERE t.name = 't' AND e.level IS NULL ORDER BY version;
-- A codebook by itself has none: null is 1.
SELECT bool_and(semtok.encode(t.codebook, x, null) = semtok.encode(t.codebook, x, 1)) AS one,
	bool_and(semtok.encode(t.codebook, x) = semtok.encode(t.codebook, x, 1)) AS by_default
	FROM semtok.tokenizer AS t, cloud WHERE t.name = 't' AND version = 2;
-- tokenize gives the same ids as encode.
ALTER TABLE cloud ADD sid semid;
CALL semtok.tokenize('cloud', 'x', 'sid', 't', version => 4);
SELECT count(*) FILTER (WHERE sid <> semtok.encode(semid_tokenizer(sid), x)) AS different, count(sid) AS given FROM cloud;
UPDATE cloud SET sid = null;

-- Refinement lowers the error, beam against beam; it is logged from before its first round on to
-- after its last.
CREATE VIEW errors AS SELECT t.version, l.value AS mse FROM semtok.tokenizers AS t
	JOIN semtok.training_log AS l ON l.tokenizer = t.id AND l.metric = 'mse' AND l.epoch IS NULL AND l.level IS NULL
	WHERE t.name = 'r';
CREATE TABLE noise (id int, x real[]);
INSERT INTO noise SELECT i, array(SELECT (hashint4(i * 16 + j) / 1e9)::real FROM generate_series(1, 8) AS j) FROM generate_series(1, 1500) AS i;
SELECT semtok.train('r', 'SELECT x FROM noise', levels => 3, codes => 16, epochs => 10, options => o::jsonb) IS NOT NULL AS ok
	FROM (VALUES ('{}'), ('{"beam": 5}'), ('{"refine": 1, "beam": 5}'), ('{"refine": 20, "beam": 5}'), ('{"refine": 20}')) AS v(o);
SELECT version, mse < (SELECT mse FROM errors WHERE version = 1) AS below_greedy, mse < 0.99 * (SELECT mse FROM errors WHERE version = 2) AS below_beam FROM errors ORDER BY version;
SELECT min(epoch), max(epoch), count(*), (array_agg(value ORDER BY epoch DESC))[1] < 0.99 * (array_agg(value ORDER BY epoch))[1] AS lower
	FROM semtok.training_log AS l JOIN semtok.tokenizers AS t ON t.id = l.tokenizer
	WHERE t.name = 'r' AND t.version = 4 AND l.metric = 'objective' AND l.level IS NULL;
-- the same rows in another order give the same refined codebook
SELECT semtok.train('r', 'SELECT x FROM noise ORDER BY id DESC', levels => 3, codes => 16, epochs => 10, options => '{"refine": 20, "beam": 5}') IS NOT NULL AS ok;
SELECT count(DISTINCT hash) FROM semtok.tokenizers WHERE name = 'r' AND version IN (4, 5, 6);
SELECT semtok.train('r', 'SELECT x FROM cloud', levels => 3, codes => 16, epochs => 4, metric => 'cosine', options => '{"refine": 3}') IS NOT NULL AS cosine,
	semtok.train('r', 'SELECT x FROM cloud', levels => 3, codes => 16, epochs => 4, batch_size => 200, options => '{"refine": 3}') IS NOT NULL AS batches,
	semtok.train('r', 'SELECT x FROM cloud', levels => 3, codes => 16, epochs => 4, method => 'ema', options => '{"refine": 3}') IS NOT NULL AS ema;

-- Balance: no code of a level has more than its share of the rows it was trained on.
CREATE VIEW shares AS SELECT t.version, t.options ->> 'balance' AS balance,
	(SELECT max(c) FROM unnest(counts[1:16]) AS c) AS largest FROM semtok.tokenizer AS t WHERE t.name = 'b';
SELECT semtok.train('b', 'SELECT x FROM cloud', levels => 2, codes => 16, epochs => 10, init => 'kmeans++', options => o::jsonb) IS NOT NULL AS ok
	FROM (VALUES ('{}'), ('{"balance": 2}'), ('{"balance": 1.2}'), ('{"balance": 1}')) AS v(o);
SELECT version, balance, largest <= ceil(coalesce(balance::float8, 16) * 1200 / 16) AS within,
	largest < lag(largest) OVER (ORDER BY version) AS lower FROM shares ORDER BY version;
-- Encoding takes the nearest codeword, so it only comes near the cap.
SELECT version, largest < lag(largest) OVER (ORDER BY version) AS lower FROM (
	SELECT version, max(rows) AS largest FROM (SELECT t.version, semid_code(semtok.encode(t.id, x), 0) AS code, count(*) AS rows
		FROM semtok.tokenizers AS t, cloud WHERE t.name = 'b' GROUP BY 1, 2) AS c GROUP BY version) AS l ORDER BY version;

-- Codewords without rows: more codewords than clouds, so k-means leaves some empty.
CREATE TABLE lumps (x real[]);
INSERT INTO lumps SELECT array[i % 5 * 100, i % 5 * 70 + (i % 3 = 0)::int * 0.5, (i * i % 11) * 0.01]::real[] FROM generate_series(1, 300) AS i;
SELECT semtok.train('e', 'SELECT x FROM lumps', levels => 1, codes => 24, epochs => 12, init => 'random', options => o::jsonb) IS NOT NULL AS ok
	FROM (VALUES ('{"empty": "keep"}'), ('{"empty": "split"}'), ('{"empty": "farthest"}')) AS v(o);
CREATE VIEW dead AS SELECT t.version, t.options ->> 'empty' AS empty, d.value AS dead, m.value AS mse
	FROM semtok.tokenizers AS t
	JOIN semtok.training_log AS d ON d.tokenizer = t.id AND d.metric = 'dead_codes'
	JOIN semtok.training_log AS m ON m.tokenizer = t.id AND m.metric = 'mse' AND m.level IS NULL AND m.epoch IS NULL
	WHERE t.name = 'e';
SELECT empty, dead < first_value(dead) OVER w AS fewer_dead, mse < first_value(mse) OVER w AS lower_error
	FROM dead WINDOW w AS (ORDER BY version) ORDER BY version;

-- Initial codewords: three ways, each reproducible.
SELECT semtok.train('i', 'SELECT x FROM cloud ORDER BY id ' || o, levels => 2, codes => 16, epochs => 1, init => init) IS NOT NULL AS ok
	FROM unnest(array['kmeans++', 'kmeans||', 'random']) AS init, unnest(array['', 'DESC']) AS o;
SELECT options ->> 'init' AS init, count(*) AS trained, count(DISTINCT hash) AS codebooks FROM semtok.tokenizers WHERE name = 'i' GROUP BY 1 ORDER BY 1;
SELECT count(DISTINCT hash) FROM semtok.tokenizers WHERE name = 'i';

-- EMA: reproducible whatever the order; decay 0 with one batch an epoch is k-means.
SELECT semtok.train('m', 'SELECT x FROM cloud ORDER BY id ' || o, levels => 2, codes => 16, epochs => 5, batch_size => 128, method => 'ema') IS NOT NULL AS ok
	FROM unnest(array['', 'DESC']) AS o;
SELECT count(DISTINCT hash) FROM semtok.tokenizers WHERE name = 'm';
SELECT semtok.train('m', 'SELECT x FROM cloud', levels => 1, codes => 16, epochs => 6, method => 'ema', options => '{"decay": 0, "restart_after": 0}') AS ema,
	semtok.train('m', 'SELECT x FROM cloud', levels => 1, codes => 16, epochs => 6) AS lloyd \gset
SELECT count(DISTINCT hash) = 1 AS same_codebook FROM semtok.tokenizers WHERE id IN (:ema, :lloyd);
SELECT m.value < 0.9 * (SELECT avg(s.v) FROM (SELECT stddev_pop(x[j])^2 * 12 AS v FROM cloud, generate_series(1, 12) AS j GROUP BY j) AS s) AS learns
	FROM semtok.training_log AS m JOIN semtok.tokenizers AS t ON t.id = m.tokenizer
	WHERE t.name = 'm' AND t.version = 1 AND m.metric = 'mse' AND m.epoch IS NULL AND m.level IS NULL;

\pset format unaligned
SELECT statement || E'\n  ' || pg_temp.refusal(format('SELECT semtok.train(''x'', ''SELECT x FROM cloud'', %s)', statement)) AS refusal FROM unnest(array[
	$$options => '[]'$$,
	$$options => '7'$$,
	$$options => '"refine"'$$,
	$$options => 'null'$$,
	$$options => '{"unheard": 1}'$$,
	$$options => '{"Refine": 1}'$$,
	$$options => '{"refine": "3"}'$$,
	$$options => '{"refine": null}'$$,
	$$options => '{"refine": [3]}'$$,
	$$options => '{"refine": true}'$$,
	$$options => '{"refine": -1}'$$,
	$$options => '{"refine": 1.5}'$$,
	$$options => '{"refine": 10001}'$$,
	$$options => '{"refine": 1e20}'$$,
	$$options => '{"refine": 2}', metric => 'ip'$$,
	$$options => '{"beam": 0}'$$,
	$$options => '{"beam": 4097}'$$,
	$$options => '{"beam": {}}'$$,
	$$options => '{"balance": 0.99}'$$,
	$$options => '{"balance": 65537}'$$,
	$$options => '{"balance": "even"}'$$,
	$$options => '{"balance": 1.5, "refine": 1}'$$,
	$$options => '{"balance": 1.5}', batch_size => 100$$,
	$$options => '{"balance": 1.5}', method => 'ema'$$,
	$$options => '{"empty": "drop"}'$$,
	$$options => '{"empty": 1}'$$,
	$$options => '{"empty": "keep"}', batch_size => 100$$,
	$$options => '{"decay": 0.9}'$$,
	$$options => '{"decay": 1}', method => 'ema'$$,
	$$options => '{"decay": -0.1}', method => 'ema'$$,
	$$options => '{"decay": "slow"}', method => 'ema'$$,
	$$options => '{"restart_after": 20}', batch_size => 10$$,
	$$options => '{"restart_after": -1}', method => 'ema'$$,
	$$options => '{"restart_after": 2147483648}', method => 'ema'$$,
	$$method => 'EMA'$$,
	$$init => 'kmeans'$$
]) AS statement;
\pset format aligned
-- options are read before the source
SELECT pg_temp.refusal($$SELECT semtok.train('x', 'SELECT 1/0', options => '{"refine": -1}')$$);

SELECT count(semtok.drop_tokenizer(name)) FROM (SELECT DISTINCT name FROM semtok.tokenizers
	WHERE name IN ('t', 'r', 'b', 'e', 'i', 'm')) AS n;
DROP TABLE cloud, noise, lumps CASCADE;
DROP VIEW errors, shares;
