-- semtok.train, method rqvae: what it makes, keeps and logs; what it goes on from; what it refuses.
SET client_min_messages = error;

\getenv test PG_ABS_SRCDIR
\set refusal :test '/lib/refusal.sql'
\i :refusal

-- Rows on a curved sheet: two numbers say all of the twelve.
CREATE TABLE sheet (id int, x real[]);
INSERT INTO sheet
	SELECT i, array(SELECT (sin(u * (j % 4 + 1)) + v * cos(j + u))::real FROM generate_series(1, 12) AS j)
	FROM generate_series(1, 900) AS i, LATERAL (SELECT (i * 37 % 101) / 16.0 AS u, (i * 61 % 97) / 97.0 AS v) AS p;

SELECT semtok.train('v', 'SELECT x FROM sheet WHERE id % 10 > 0', method => 'rqvae', levels => 2, codes => 16, epochs => 40, batch_size => 90,
	options => '{"encoder": [32, 16], "latent": 4, "learning_rate": 0.003, "warmup": 10, "average": 0.9, "eval_every": 10, "checkpoint_every": 7, "eval_source": "SELECT x FROM sheet WHERE id % 10 = 0"}') AS v \gset
SELECT version, active, method, metric, dim, sizes, trained_rows, options FROM semtok.tokenizers WHERE id = :v;
-- The codebook carries the network; a state is kept, and no counts.
SELECT codebook_dim(codebook) AS embeddings, codebook_latent_dim(codebook) AS latent, codebook_levels(codebook) AS levels,
	counts IS NULL AS no_counts, state IS NOT NULL AS state FROM semtok.tokenizer WHERE id = :v;
-- It has learnt: far below the variance of the rows, on those held out too, and says the same as evaluate.
SELECT l.metric, l.value < 0.5 AS learnt, l.value = e.relative_error AS evaluated
	FROM semtok.training_log AS l, (VALUES ('relative_error', 'SELECT x FROM sheet WHERE id % 10 > 0'), ('eval_relative_error', 'SELECT x FROM sheet WHERE id % 10 = 0')) AS v (metric, source),
	LATERAL semtok.evaluate(:v, v.source) AS e WHERE l.tokenizer = :v AND l.metric = v.metric AND l.epoch IS NULL AND l.level IS NULL AND e.level IS NULL ORDER BY 1;
-- What is logged of an epoch, and of one with a measuring.
SELECT epoch, string_agg(metric || coalesce(' ' || level, ''), ', ' ORDER BY metric COLLATE "C", level) FROM semtok.training_log
	WHERE tokenizer = :v AND epoch IN (9, 10) GROUP BY epoch ORDER BY epoch;
SELECT count(DISTINCT step), min(step), max(step), count(*) FILTER (WHERE metric = 'eval_loss') AS measurings FROM semtok.training_log WHERE tokenizer = :v AND epoch IS NOT NULL;
SELECT (array_agg(value ORDER BY epoch DESC))[1] < 0.5 * (array_agg(value ORDER BY epoch))[1] AS falls FROM semtok.training_log WHERE tokenizer = :v AND metric = 'loss';
SELECT bool_and(value BETWEEN 0 AND 1) AS shares FROM semtok.training_log WHERE tokenizer = :v AND metric IN ('usage', 'p_unique', 'eval_usage', 'eval_p_unique');

-- encode, decode and tokenize as of any tokenizer: by id, name and codebook.
SELECT count(*) FILTER (WHERE semtok.encode('v', x) <> semtok.encode(:v, x)) AS names,
	count(*) FILTER (WHERE semid_codes(semtok.encode(t.codebook, x)) <> semid_codes(semtok.encode(:v, x))) AS codebooks,
	count(*) FILTER (WHERE cardinality(semtok.decode(semtok.encode(:v, x))) <> 12) AS decoded FROM sheet, semtok.tokenizer AS t WHERE t.id = :v;
ALTER TABLE sheet ADD sid semid;
CALL semtok.tokenize('sheet', 'x', 'sid', 'v');
SELECT count(*) FILTER (WHERE sid <> semtok.encode(:v, x)) AS different, count(sid) AS given FROM sheet;
-- None of this changes what is stored.
SELECT md5(codebook_send(codebook) || state) AS before FROM semtok.tokenizer WHERE id = :v \gset
SELECT count(*) FROM semtok.evaluate(:v, 'SELECT x FROM sheet');
SELECT md5(codebook_send(codebook) || state) = :'before' AS unchanged FROM semtok.tokenizer WHERE id = :v;

-- The same rows in another order, another number of checkpoints and the default decoder said: the same bits.
SELECT semtok.train('v', 'SELECT x FROM sheet WHERE id % 10 > 0 ORDER BY id DESC', method => 'rqvae', codes => array[16, 16], epochs => 40, batch_size => 90,
	options => '{"encoder": [32, 16], "decoder": [16, 32], "latent": 4, "learning_rate": 0.003, "warmup": 10, "average": 0.9, "eval_every": 10, "eval_source": "SELECT x FROM sheet WHERE id % 10 = 0 ORDER BY id DESC"}') IS NOT NULL AS ok;
SELECT count(DISTINCT hash) AS codebooks, count(DISTINCT state) AS states FROM semtok.tokenizer WHERE name = 'v';
-- Another seed: others.
SELECT semtok.train('v', 'SELECT x FROM sheet WHERE id % 10 > 0', method => 'rqvae', levels => 2, codes => 16, epochs => 4, seed => 7, options => '{"encoder": [32, 16], "latent": 4}') IS NOT NULL AS ok;
SELECT count(DISTINCT hash) AS codebooks FROM semtok.tokenizer WHERE name = 'v';

-- Presets: RecTokens' numbers, with what is said on top.
SELECT semtok.train('p', 'SELECT x FROM sheet', method => 'rqvae', levels => 2, codes => 8, epochs => 1, options => o::jsonb) IS NOT NULL AS ok
	FROM (VALUES ('{"preset": "rectokens"}'), ('{"preset": "rectokens", "encoder": [], "latent": 3, "learnable": true, "commitment": 0.5}'),
		('{"preset": "semtok", "encoder": [8], "activation": "gelu", "standardize": "each", "schedule": "constant", "start": "first_batch", "clip": 1, "diversity": 0.1, "flow": false}')) AS v (o);
SELECT version, options FROM semtok.tokenizers WHERE name = 'p' ORDER BY version;
SELECT version, string_agg(DISTINCT l.metric, ', ' ORDER BY l.metric) FROM semtok.training_log AS l JOIN semtok.tokenizers AS t ON t.id = l.tokenizer
	WHERE name = 'p' AND l.metric IN ('codebook', 'diversity') GROUP BY version ORDER BY version;

-- partial_fit goes on with the optimizer's state, and by the same options.
SELECT semtok.activate('v', 1);
SELECT semtok.partial_fit('v', 'SELECT x FROM sheet', epochs => 2, batch_size => 300) AS fit \gset
SELECT version, active, method, trained_rows, options - 'from' AS options FROM semtok.tokenizers WHERE id = :fit;
SELECT a.hash <> b.hash AS moved, length(a.state) = length(b.state) AS as_long FROM semtok.tokenizer AS a, semtok.tokenizer AS b WHERE a.id = :v AND b.id = :fit;
SELECT (SELECT relative_error FROM semtok.evaluate(:fit, 'SELECT x FROM sheet') WHERE level IS NULL) < 0.5 AS still_learnt;
-- A training that ends is where another one begins: twice the same fit is the same.
SELECT semtok.partial_fit('v', 'SELECT x FROM sheet ORDER BY id DESC', epochs => 2, batch_size => 300) IS NOT NULL AS ok;
SELECT count(DISTINCT state) FROM semtok.tokenizer WHERE name = 'v' AND options -> 'from' = to_jsonb(:v);

-- A codebook with a network that came from elsewhere has no state.
SELECT semtok.import_tokenizer('alien', codebook) IS NOT NULL AS ok FROM semtok.tokenizer WHERE id = :v;
SELECT pg_temp.refusal(s) FROM unnest(array[$$SELECT semtok.partial_fit('alien', 'SELECT x FROM sheet')$$, $$SELECT semtok.partial_fit('v', 'SELECT x[:11]::real[] FROM sheet')$$,
	$$SELECT semtok.partial_fit('v', 'SELECT x FROM sheet', options => '{"latent": 8}')$$, $$SELECT semtok.partial_fit('v', 'SELECT x FROM sheet', options => '{"preset": "rectokens"}')$$]) AS s;

-- A checkpoint is asked for where there is none: it begins anew, and says so.
SET client_min_messages = notice;
SELECT semtok.train('r', 'SELECT x FROM sheet', method => 'rqvae', levels => 1, codes => 8, epochs => 1, options => '{"encoder": [8], "latent": 2, "resume": true}') IS NOT NULL AS ok;
SET client_min_messages = error;

-- Options: unknown ones, those of other methods, types and ranges; each is refused before a row is read.
CREATE FUNCTION refused(options text) RETURNS text LANGUAGE sql AS $$
	SELECT format($f$SELECT semtok.train('no', 'SELECT x FROM sheet', method => 'rqvae', levels => 2, codes => 8, epochs => 1, options => %L)$f$, options) $$;
SELECT o AS options, pg_temp.refusal(refused(o)) FROM unnest(array['{"hiden": 1}', '{"refine": 1}', '{"balance": 2}', '{"empty": "split"}',
	'{"preset": "tiger"}', '{"preset": 1}', '{"encoder": 512}', '{"encoder": [0]}', '{"encoder": [512, -1]}', '{"encoder": [1.5]}', '{"encoder": ["a"]}', '{"encoder": [16001]}', '{"encoder": [[1]]}',
	'{"encoder": [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]}', '{"decoder": {}}', '{"latent": 0}', '{"latent": 16001}', '{"activation": "tanh"}', '{"activation": null}', '{"standardize": true}', '{"learning_rate": 0}', '{"learning_rate": -1}',
	'{"learning_rate": 1e7}', '{"learning_rate": "fast"}', '{"beta1": 1}', '{"beta2": -0.1}', '{"epsilon": 0}', '{"weight_decay": -1}', '{"commitment": 1e7}', '{"commitment": -0.25}', '{"commitment": "Infinity"}', '{"diversity": -1}',
	'{"clip": -1}', '{"average": 1}', '{"decay": 1}', '{"restart_after": -1}', '{"warmup": 0.5}', '{"schedule": "linear"}', '{"learnable": 1}', '{"flow": "yes"}', '{"start": "random"}', '{"delay": -1}', '{"patience": -1}', '{"patience": 3}',
	'{"checkpoint_every": 0}', '{"checkpoint_every": 1.5}', '{"resume": 1}', '{"eval_every": 1}', '[]']) AS o;
SELECT pg_temp.refusal(s) FROM unnest(array[
	$$SELECT semtok.train('no', 'SELECT x FROM sheet', method => 'rqvae', metric => 'ip')$$,
	$$SELECT semtok.train('no', 'SELECT x FROM sheet', options => '{"latent": 8}')$$,
	$$SELECT semtok.train('no', 'SELECT x FROM sheet', method => 'ema', options => '{"resume": true}')$$,
	$$SELECT semtok.train('no', 'SELECT x FROM sheet', options => '{"checkpoint_every": 1}')$$,
	$$SELECT semtok.train('no', 'SELECT x FROM sheet', options => '{"preset": "rectokens"}')$$,
	$$SELECT semtok.train('no', 'SELECT x FROM sheet', method => 'rqvae', device => 'tpu')$$,
	$$SELECT semtok.train('no', 'SELECT x[: 1 + id % 12]::real[] FROM sheet', method => 'rqvae')$$,
	$$SELECT semtok.train('no', 'SELECT x FROM sheet WHERE false', method => 'rqvae')$$,
	$$SELECT semtok.train('no', 'SELECT CASE WHEN id < 500 THEN x ELSE array[1 / (id - 500)]::real[] END FROM sheet ORDER BY id', method => 'rqvae')$$,
	$$SELECT semtok.train('no', 'SELECT array[''NaN'', 1]::real[]', method => 'rqvae')$$,
	$$SELECT semtok.train('no', 'SELECT x FROM sheet', method => 'rqvae', levels => 32, codes => 65536, options => '{"latent": 16000}')$$]) AS s;
-- A loss that is no number ends the training: the step is said, and the last version stays.
SELECT hash AS before FROM semtok.tokenizers WHERE name = 'p' AND active \gset
SELECT pg_temp.refusal(s) FROM unnest(array[$$SELECT semtok.train('p', 'SELECT x FROM sheet', method => 'rqvae', levels => 1, codes => 8, epochs => 50, options => '{"encoder": [8], "latent": 2, "learning_rate": 1e6, "warmup": 0, "standardize": "none"}')$$]) AS s;
SELECT hash = :'before' AS same, version FROM semtok.tokenizers WHERE name = 'p' AND active;

-- Rows that say little: one, all the same, fewer than codes.
SELECT semtok.train('few', source, method => 'rqvae', levels => 2, codes => 16, epochs => 3, options => '{"encoder": [8], "latent": 2}') IS NOT NULL AS ok, source
	FROM unnest(array['SELECT x FROM sheet WHERE id = 1', 'SELECT array[1, 2, 3]::real[] FROM sheet', 'SELECT x FROM sheet WHERE id < 6', 'SELECT array_fill(0::real, array[4])']) AS source;
SELECT t.version, count(*), bool_and(value <> 'NaN' AND abs(value) < 'Infinity') AS finite FROM semtok.training_log AS l JOIN semtok.tokenizers AS t ON t.id = l.tokenizer WHERE t.name = 'few' GROUP BY t.version ORDER BY 1;
SELECT pg_temp.refusal(s) FROM unnest(array[$$SELECT semtok.encode('few', x) FROM sheet LIMIT 1$$]) AS s;
-- The metric is between latent vectors: an embedding may be zero.
SELECT semtok.train('few', 'SELECT x FROM sheet UNION ALL SELECT array_fill(0::real, array[12])', method => 'rqvae', metric => 'cosine', levels => 1, codes => 4, epochs => 1, options => '{"encoder": [8], "latent": 2}') IS NOT NULL AS ok;
-- Levels that collapse are warned of.
SET client_min_messages = warning;
SELECT semtok.train('few', 'SELECT array[1, 2, 3]::real[] FROM sheet', method => 'rqvae', levels => 1, codes => 32, epochs => 1, options => '{"encoder": [8], "latent": 2}') IS NOT NULL AS ok;
SET client_min_messages = error;

-- Rights: another role's name is its own; a read-only transaction makes none.
CREATE ROLE rqvae_other;
GRANT SELECT ON sheet TO rqvae_other;
SET ROLE rqvae_other;
SELECT pg_temp.refusal(s) FROM unnest(array[$$SELECT semtok.train('v', 'SELECT x FROM sheet', method => 'rqvae')$$, $$SELECT semtok.partial_fit('v', 'SELECT x FROM sheet')$$,
	$$UPDATE semtok.tokenizer SET state = null$$]) AS s;
RESET ROLE;
BEGIN READ ONLY;
SAVEPOINT s;
SELECT semtok.train('v', 'SELECT x FROM sheet', method => 'rqvae');
ROLLBACK;

DROP FUNCTION refused(text);
DROP TABLE sheet;
DROP ROLE rqvae_other;
SELECT semtok.drop_tokenizer(name) FROM (SELECT DISTINCT name FROM semtok.tokenizers WHERE name IN ('v', 'p', 'r', 'few', 'alien')) AS t;
