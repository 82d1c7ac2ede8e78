-- A training gives the same tokenizer wherever it is computed: in a worker and in the session, for
-- every method and option, to the last bit of the codebook, its counts and the log.
-- A worker that was lost would tell by a WARNING.
SET client_min_messages = warning;

CREATE TABLE items (id int, x real[]);
INSERT INTO items SELECT i, array(SELECT (hashint4(i * 16 + j) / 1e9)::real FROM generate_series(1, 7) AS j) FROM generate_series(1, 900) AS i;
-- many rows a place, some of them twice, some null
CREATE TABLE places AS SELECT i, CASE WHEN i % 50 > 0 THEN array[i % 40 * 10, i % 6, i % 3]::real[] END AS x FROM generate_series(1, 1000) AS i;

CREATE TABLE heldout AS SELECT x FROM items WHERE id <= 101;

-- Carry out a training with semtok.offload off, then on. What is compared is all that the catalog
-- keeps of it but the id, the version and the times.
CREATE FUNCTION kept(tokenizer int) RETURNS text LANGUAGE sql AS $$
	SELECT t::text || (SELECT string_agg(l::text, '' ORDER BY step, level, epoch, metric) FROM (SELECT step, level, epoch, metric, value FROM semtok.training_log WHERE training_log.tokenizer = $1) AS l)
	FROM (SELECT method, metric, dim, sizes, trained_rows, options, hash, counts, codebook FROM semtok.tokenizer WHERE id = $1) AS t
$$;
CREATE FUNCTION everywhere(statement text, OUT same boolean, OUT lines bigint) LANGUAGE plpgsql AS $$
DECLARE
	here int;
	there int;
BEGIN
	PERFORM set_config('semtok.offload', 'off', true);
	EXECUTE statement INTO here;
	PERFORM set_config('semtok.offload', 'on', true);
	EXECUTE statement INTO there;
	same := here <> there AND kept(here) = kept(there);
	lines := (SELECT count(*) FROM semtok.training_log WHERE tokenizer = there);
END $$;

SELECT what, b.* FROM (VALUES
	('lloyd', $$$$), ('random', $$init => 'random'$$), ('kmeans++', $$init => 'kmeans++', seed => 7$$), ('inner product', $$metric => 'ip'$$), ('cosine', $$metric => 'cosine'$$),
	('batches', $$batch_size => 100$$), ('batches, cosine', $$batch_size => 64, metric => 'cosine', seed => -1$$),
	('ema', $$method => 'ema', batch_size => 100$$), ('ema, all at once', $$method => 'ema', options => '{"decay": 0.5, "restart_after": 2}'$$), ('ema, inner product', $$method => 'ema', metric => 'ip'$$),
	('refined', $$options => '{"refine": 4}'$$), ('refined batches', $$batch_size => 100, options => '{"refine": 3, "beam": 3}'$$), ('refined ema', $$method => 'ema', metric => 'cosine', options => '{"refine": 2, "beam": 1}'$$),
	('balance', $$options => '{"balance": 1.1}'$$), ('split', $$options => '{"empty": "split"}'$$), ('farthest', $$options => '{"empty": "farthest", "beam": 4}'$$),
	('sample', $$sample => 300$$), ('sample, refined', $$sample => 211, seed => 3, options => '{"refine": 2}'$$),
	('held out', $$options => '{"eval_source": "TABLE heldout"}'$$), ('held out, often', $$options => '{"eval_source": "TABLE heldout", "eval_every": 1}'$$),
	('held out, batches', $$batch_size => 100, options => '{"eval_source": "TABLE heldout", "eval_every": 2, "beam": 3}'$$), ('held out, ema', $$method => 'ema', options => '{"eval_source": "TABLE heldout", "eval_every": 3}'$$),
	('held out, refined', $$options => '{"eval_source": "TABLE heldout", "eval_every": 1, "refine": 3}'$$)) AS v(what, args),
	LATERAL everywhere(format($q$SELECT semtok.train('a', 'SELECT x FROM items WHERE id > 100', levels => 3, codes => 12, epochs => 5 %s)$q$, ', ' || nullif(args, ''))) AS b;
-- One row, fewer rows than codes, rows that repeat, nulls between them, levels of several sizes. Their
-- ids tell few rows apart, which is a WARNING too.
SET client_min_messages = error;
SELECT what, b.* FROM (VALUES
	('one row', $$'VALUES (array[1, 2])', levels => 2, codes => 3$$), ('few rows', $$'SELECT x FROM items WHERE id < 9', codes => array[16, 4, 300]$$),
	('repeated', $$'SELECT x FROM places', codes => array[60, 8], epochs => 9$$), ('repeated, sampled', $$'SELECT x FROM places', codes => array[60, 8], sample => 400$$),
	('repeated, farthest', $$'SELECT x FROM places', codes => array[60, 8], options => '{"empty": "farthest", "eval_source": "SELECT x FROM places WHERE i < 5"}'$$)) AS v(what, args),
	LATERAL everywhere(format($q$SELECT semtok.train('b', %s)$q$, args)) AS b;

SET client_min_messages = warning;

-- Going on from a version, which is the start that the worker gets.
SELECT semtok.train('c', 'SELECT x FROM items WHERE id < 500', levels => 3, codes => 12, epochs => 5, batch_size => 50) IS NOT NULL AS ok;
SELECT what, b.* FROM (VALUES ('batches', $$$$), ('epochs', $$epochs => 3, batch_size => 77, seed => 5$$), ('sample', $$sample => 100$$),
	('held out', $$epochs => 4, options => '{"beam": 3, "eval_source": "TABLE heldout", "eval_every": 2}'$$)) AS v(what, args),
	LATERAL everywhere(format($q$SELECT semtok.partial_fit('c', 'SELECT x FROM items WHERE id >= 500' %s)$q$, ', ' || nullif(args, ''))) AS b;

-- A training that cannot be ends alike, and blames the same row.
CREATE FUNCTION refusal(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	context text;
BEGIN
	EXECUTE statement;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS context = PG_EXCEPTION_CONTEXT;
	-- 18 quotes the setting
	RETURN concat_ws(' | ', sqlstate, replace(sqlerrm, '"temp_file_limit"', 'temp_file_limit'),
		substring(context FROM 'row \d+ of the \w+ query'));
END $$;
CREATE FUNCTION alike(statement text, OUT same boolean, OUT told text) LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('semtok.offload', 'off', true);
	told := refusal(statement);
	PERFORM set_config('semtok.offload', 'on', true);
	same := told = refusal(statement);
END $$;
\pset format unaligned
SELECT a.* FROM unnest(array[
	$$SELECT semtok.train('x', 'SELECT array[CASE WHEN i = 5 THEN -3.4e38 ELSE 3.4e38 END] FROM generate_series(1, 9) AS i', levels => 2, codes => 1)$$,
	$$SELECT semtok.train('x', 'SELECT CASE WHEN i > 2 THEN array[CASE WHEN i = 12 THEN -3.4e38 ELSE 3.4e38 END, i] END FROM generate_series(1, 12) AS i', levels => 2, codes => 1, sample => 9, seed => 4)$$,
	$$SELECT semtok.train('x', 'SELECT array[CASE WHEN i = 5 THEN -3.4e38 ELSE 3.4e38 END] FROM generate_series(1, 9) AS i', levels => 2, codes => 1, method => 'ema', batch_size => 4)$$,
	$$SELECT semtok.train('x', 'VALUES (array[3.4e38]), (array[-1e38])', levels => 2, codes => 1, options => '{"eval_source": "VALUES (array[0]), (null), (array[-3.4e38]), (array[1])"}')$$,
	$$SELECT semtok.train('x', 'SELECT array_fill(1::real, array[16000])', codes => array[65536])$$]) AS statement,
	LATERAL alike(statement) AS a;
\pset format aligned

-- The device: none named, or one that is here. Another is an error before a row is read.
SELECT device, b.* FROM unnest(array['null', $$'auto'$$, $$'cpu'$$]) AS device, LATERAL everywhere(format($q$SELECT semtok.train('d', 'TABLE heldout', codes => 4, device => %s)$q$, device)) AS b;
SELECT count(DISTINCT hash) AS codebooks FROM semtok.tokenizers WHERE name = 'd';
SELECT refusal($$SELECT semtok.train('d', 'SELECT 1 / 0', device => 'cuda')$$) ~ '^0A000 ' AS refused;
SELECT refusal($$SELECT semtok.partial_fit('c', 'SELECT 1 / 0', device => 'cuda')$$) ~ '^0A000 ' AS refused;
SET semtok.device = cuda;
SELECT refusal($$SELECT semtok.train('d', 'SELECT 1 / 0')$$) ~ '^0A000 ' AS refused;
SELECT refusal($$SELECT semtok.train('d', 'SELECT 1 / 0', device => 'auto')$$) ~ '^0A000 ' AS refused;
SELECT semtok.train('d', 'TABLE heldout', codes => 4, device => 'cpu') IS NOT NULL AS ok;
RESET semtok.device;

-- More rows than temporary files may hold: the error names the setting, and no file is left.
CREATE FUNCTION files() RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT count(*) FROM pg_ls_tmpdir() AS f WHERE f.name LIKE ''pgsql_tmp'' || pg_backend_pid() || ''.%''';
SET semtok.offload = on;
SET temp_file_limit = '128kB';
SELECT refusal($$SELECT semtok.train('t', 'SELECT x FROM items, generate_series(1, 10)')$$) AS refusal, files();
SELECT refusal($$SELECT semtok.train('t', 'SELECT x FROM items LIMIT 100', options => '{"eval_source": "SELECT x FROM items, generate_series(1, 10)"}')$$) AS refusal, files();
SELECT semtok.train('d', 'SELECT x FROM items, generate_series(1, 10)', codes => 4, sample => 900) IS NOT NULL AS ok, files();
RESET temp_file_limit;
RESET semtok.offload;

SELECT count(semtok.drop_tokenizer(name)) AS dropped FROM (SELECT DISTINCT name FROM semtok.tokenizers WHERE name IN ('a', 'b', 'c', 'd')) AS n;
DROP TABLE items, places, heldout;
DROP FUNCTION kept, everywhere, refusal, alike, files;
