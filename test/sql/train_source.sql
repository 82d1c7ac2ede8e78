-- What a source may be, for every verb that takes one: a query that fails, returns something else than
-- embeddings, writes or locks is refused, and nothing is made.
SET client_min_messages = error;

CREATE TABLE good (id int, x real[]);
INSERT INTO good SELECT i, array[i * 37 % 101, i * 61 % 97, i * 13 % 29]::real[] FROM generate_series(1, 60) AS i;
CREATE TABLE written (n int);
CREATE TEMP TABLE scratch (x real[]);
INSERT INTO scratch SELECT x FROM good;
CREATE SEQUENCE counted;
SELECT semtok.train('base', 'SELECT x FROM good', levels => 2, codes => 4, epochs => 2) AS base \gset

-- Functions that do what a query must not, out of its sight; each returns an embedding.
CREATE FUNCTION inserts() RETURNS real[] LANGUAGE plpgsql AS $$ BEGIN INSERT INTO written VALUES (1); RETURN array[1, 2, 3]; END $$;
CREATE FUNCTION inserts_sql() RETURNS real[] LANGUAGE sql AS $$ INSERT INTO written VALUES (1) RETURNING array[1, 2, 3]::real[] $$;
CREATE FUNCTION inserts_and_hides() RETURNS real[] LANGUAGE plpgsql AS $$
BEGIN
	BEGIN INSERT INTO written VALUES (1); EXCEPTION WHEN OTHERS THEN NULL; END;
	RETURN array[1, 2, 3];
END $$;
CREATE FUNCTION escapes() RETURNS real[] LANGUAGE plpgsql AS $$
BEGIN PERFORM set_config('transaction_read_only', 'off', true); INSERT INTO written VALUES (1); RETURN array[1, 2, 3]; END $$;
CREATE FUNCTION inserts_temp() RETURNS real[] LANGUAGE plpgsql AS $$ BEGIN INSERT INTO scratch VALUES (array[1, 2, 3]); RETURN array[1, 2, 3]; END $$;
CREATE FUNCTION creates() RETURNS real[] LANGUAGE plpgsql AS $$ BEGIN CREATE TABLE made (n int); RETURN array[1, 2, 3]; END $$;
CREATE FUNCTION truncates() RETURNS real[] LANGUAGE plpgsql AS $$ BEGIN TRUNCATE written; RETURN array[1, 2, 3]; END $$;
CREATE FUNCTION locks_rows() RETURNS real[] LANGUAGE plpgsql AS $$ BEGIN PERFORM FROM good WHERE id = 1 FOR UPDATE; RETURN array[1, 2, 3]; END $$;
CREATE FUNCTION locks_temp_rows() RETURNS real[] LANGUAGE plpgsql AS $$ BEGIN PERFORM FROM scratch FOR SHARE; RETURN array[1, 2, 3]; END $$;
CREATE FUNCTION locks(mode text) RETURNS real[] LANGUAGE plpgsql AS $$ BEGIN EXECUTE format('LOCK TABLE good IN %s MODE', mode); RETURN array[1, 2, 3]; END $$;
CREATE FUNCTION trains() RETURNS real[] LANGUAGE plpgsql AS $$ BEGIN PERFORM semtok.train('inner', 'SELECT x FROM good', levels => 1, codes => 2); RETURN array[1, 2, 3]; END $$;
CREATE FUNCTION fails_at(i int, n int) RETURNS real[] LANGUAGE plpgsql AS $$ BEGIN IF i = n THEN RAISE 'failed at %', i USING ERRCODE = 'P0099'; END IF; RETURN array[i, 2, 3]; END $$;
CREATE FUNCTION rows_until(n int) RETURNS SETOF real[] LANGUAGE plpgsql AS $$ BEGIN FOR i IN 1 .. n LOOP RETURN NEXT array[i, 2, 3]; END LOOP; RAISE 'failed after %', n; END $$;

-- What a verb says to a source.
CREATE FUNCTION said(verb text, source text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
	hint text;
	context text;
BEGIN
	EXECUTE CASE verb
		WHEN 'train' THEN format('SELECT semtok.train(''x'', %L, levels => 2, codes => 4, epochs => 2)', source)
		WHEN 'partial_fit' THEN format('SELECT semtok.partial_fit(''base'', %L)', source)
		WHEN 'evaluate' THEN format('SELECT count(*) FROM semtok.evaluate(''base'', %L)', source)
		WHEN 'eval_source' THEN format('SELECT semtok.train(''x'', ''SELECT x FROM good'', levels => 2, codes => 4, epochs => 2, options => %L)', jsonb_build_object('eval_source', source))
		END;
	RETURN 'worked';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT;
	RETURN replace(concat_ws(' | ', sqlstate || ' ' || sqlerrm, nullif(detail, ''), nullif(hint, ''), substring(context FROM 'row \d+ of the \w+ query')), 'eval_source', 'source');
END
$$;

CREATE TABLE hostile (i int GENERATED ALWAYS AS IDENTITY, source text);
INSERT INTO hostile (source) VALUES
-- no query, several, or something else
(''), (';'), ('-- nothing'), ('SELECT'), ('SELECT 1 WHERE'), ('SELECT x FROM good; SELECT x FROM good'), ('SELECT x FROM good) AS q(x), (SELECT 1'), ('SELECT $1::real[]'),
('SELECT x FROM nosuchtable'), ('good'), ('SELECT nosuchcolumn FROM good'), ('SHOW work_mem'), ('EXPLAIN SELECT x FROM good'), ('FETCH ALL FROM nosuchcursor'), ('EXECUTE nosuchplan'),
('DECLARE c CURSOR FOR SELECT x FROM good'), ('CALL nosuchprocedure()'), ('DO $$BEGIN END$$'), ('COPY good TO STDOUT'), ('BEGIN'), ('COMMIT'), ('SAVEPOINT s'), ('LISTEN x'),
('SELECT x INTO made FROM good'), ('CREATE TABLE made AS SELECT x FROM good'), ('REFRESH MATERIALIZED VIEW nosuchview'), ('SET work_mem = 64'), ('LOCK TABLE good'), ('VACUUM good'),
-- other columns
('SELECT FROM good'), ('SELECT id, x FROM good'), ('SELECT good FROM good'), ('SELECT id FROM good'), ('SELECT now()'), ('SELECT ''not an array'''), ('SELECT null'),
-- embeddings that are none
('SELECT x FROM good WHERE false'), ('SELECT null::real[] FROM good'), ('SELECT ''{}''::real[]'), ('SELECT array[[1, 2, 3]]'), ('SELECT array[[1], [2], [3]]'), ('SELECT array[1, null, 3]'),
('SELECT x FROM good UNION ALL SELECT array[1, 2]'), ('SELECT x FROM good UNION ALL SELECT ''{}'''), ('SELECT x FROM good UNION ALL SELECT array[1, null, 3]'), ('SELECT x FROM good UNION ALL SELECT array[[1, 2, 3]]'),
('SELECT x FROM good UNION ALL SELECT ''{1,2,nan}'''), ('SELECT x FROM good UNION ALL SELECT ''{1,2,-inf}'''), ('SELECT array[1, 2, 1e39::float8]'),
('SELECT array_fill(1::real, array[16001])'), ('SELECT array_fill(1::real, array[10000000])'),
-- errors on the way
('SELECT array[1, 2, 3 / (id - 40)] FROM good ORDER BY id'), ('SELECT fails_at(id, 50) FROM good ORDER BY id'), ('SELECT rows_until(1000)'), ('SELECT x FROM good, LATERAL rows_until(2)'),
('SELECT (x::text || CASE id WHEN 30 THEN ''!'' ELSE '''' END)::real[] FROM good'), ('SELECT x::text || CASE id WHEN 30 THEN ''!'' ELSE '''' END FROM good'),
-- writes
('INSERT INTO written VALUES (1)'), ('INSERT INTO written VALUES (1) RETURNING array[1, 2, 3]'), ('UPDATE good SET x = x RETURNING x'), ('DELETE FROM good RETURNING x'),
('MERGE INTO written USING good ON false WHEN NOT MATCHED THEN INSERT VALUES (1)'), ('WITH w AS (DELETE FROM good RETURNING x) SELECT x FROM w'), ('WITH w AS (INSERT INTO written VALUES (1)) SELECT x FROM good'),
('SELECT x FROM (WITH w AS (DELETE FROM good RETURNING x) SELECT x FROM w) AS s'), ('SELECT inserts()'), ('SELECT inserts_sql()'), ('SELECT x FROM good WHERE id < 50 OR inserts() IS NOT NULL'), ('SELECT escapes()'),
('SELECT inserts_temp()'), ('INSERT INTO scratch SELECT x FROM good RETURNING x'), ('SELECT creates()'), ('SELECT truncates()'), ('SELECT x FROM good WHERE nextval(''counted'') > 0'), ('SELECT x FROM good WHERE setval(''counted'', 7) > 0'),
('SELECT trains()'), ('SELECT x FROM good WHERE semtok.train(''inner'', ''SELECT x FROM good'') > 0'),
-- locks
('SELECT x FROM good FOR UPDATE'), ('SELECT x FROM good FOR KEY SHARE'), ('SELECT x FROM (SELECT x FROM good FOR SHARE) AS s'), ('SELECT x FROM scratch FOR UPDATE'), ('SELECT x FROM (SELECT x FROM scratch FOR UPDATE) AS s'),
('SELECT locks_rows()'), ('SELECT locks_temp_rows()'), ('SELECT locks(''ROW SHARE'')'), ('SELECT locks(''SHARE'')'), ('SELECT locks(''ACCESS EXCLUSIVE'')'),
('SELECT x FROM good WHERE pg_advisory_xact_lock(7) IS NOT NULL'), ('SELECT x FROM good WHERE pg_try_advisory_xact_lock_shared(7)');

CREATE TABLE sayings AS SELECT i, verb, said(verb, source) AS saying FROM hostile, unnest(array['train', 'partial_fit', 'evaluate', 'eval_source']) AS verb;
\pset format unaligned
SELECT source || E'\n   ' || saying || CASE WHEN count(*) < 4 THEN ' (' || string_agg(verb, ', ' ORDER BY verb) || ')' ELSE '' END AS refusal
	FROM hostile JOIN sayings USING (i) GROUP BY i, source, saying ORDER BY i, saying;
\pset format aligned
-- None worked, none died of something nobody foresaw.
SELECT source, verb, saying FROM hostile JOIN sayings USING (i) WHERE saying = 'worked' OR saying LIKE 'XX%' ORDER BY i, verb;
-- Nothing was made, written or left locked.
SELECT (SELECT array_agg(name) FROM semtok.tokenizers) AS tokenizers, (SELECT count(*) FROM semtok.training_log WHERE tokenizer <> :base) AS log,
	(SELECT count(*) FROM written) AS written, (SELECT count(*) FROM good) AS good, (SELECT count(*) FROM scratch) AS scratch, to_regclass('made') AS made, (SELECT is_called FROM counted) AS counted,
	(SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND (locktype = 'advisory' OR locktype = 'relation' AND mode <> 'AccessShareLock')) AS locks;
-- A write that the function hides from its caller was refused all the same.
SELECT verb, said(verb, 'SELECT inserts_and_hides() FROM good') AS saying, (SELECT count(*) FROM written) AS written FROM unnest(array['train', 'partial_fit', 'evaluate', 'eval_source']) AS verb;

-- What is allowed: all that only reads, whatever it is made of, also inside a transaction that has
-- written and locked before, and large objects, whose table is locked to be read.
CREATE FUNCTION reads() RETURNS SETOF real[] LANGUAGE plpgsql AS $$ BEGIN BEGIN PERFORM 1 / 0; EXCEPTION WHEN division_by_zero THEN NULL; END; RETURN QUERY SELECT x FROM good; END $$;
CREATE FUNCTION configures() RETURNS text LANGUAGE sql AS $$ SELECT set_config('work_mem', '64kB', true) $$;
SELECT lo_from_bytea(0, '\x010203') AS lob \gset
BEGIN;
LOCK TABLE good IN SHARE MODE;
SELECT pg_advisory_xact_lock(8);
INSERT INTO written VALUES (1);
SELECT regexp_replace(source, '\d{5,}', 'N') AS source, verb, said(verb, source) AS saying FROM unnest(array['SELECT reads()', 'SELECT x FROM good WHERE configures() IS NOT NULL', 'VALUES (array[1, 2, 3]), (null), (array[4, 5, 6]) -- and no more', 'TABLE scratch;',
	'WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 9) SELECT array[n, 2, 3] FROM r', 'SELECT ''[0:2]={1,2,3}''::real[]', 'SELECT x FROM good WHERE pg_current_xact_id() IS NOT NULL', format('SELECT array[get_byte(lo_get(%s), 0), 2, 3]', :lob)]) AS source,
	unnest(array['train', 'partial_fit', 'evaluate', 'eval_source']) AS verb ORDER BY 1, 2;
-- the transaction can still write, and a cursor that was open is
DECLARE c CURSOR FOR SELECT id FROM good ORDER BY id;
FETCH c;
SELECT said('evaluate', 'SELECT x FROM good');
FETCH c;
INSERT INTO written VALUES (2);
SELECT current_setting('transaction_read_only') AS read_only, said('evaluate', 'SELECT inserts()'), current_setting('transaction_read_only') AS read_only_after_error;
INSERT INTO written VALUES (3);
SELECT count(*) FROM written;
ROLLBACK;
-- In a read-only transaction evaluate works, what makes tokenizers does not.
BEGIN READ ONLY;
SELECT said('evaluate', 'SELECT x FROM good');
SELECT said('partial_fit', 'SELECT x FROM good');
ROLLBACK;

\set VERBOSITY terse
-- A bad eval_source is told before the source is run, where that is possible without running it.
SELECT semtok.train('x', 'SELECT array[1 / 0]', options => '{"eval_source": "SELECT nosuchcolumn FROM good"}');
SELECT semtok.train('x', 'SELECT array[1 / 0]', options => '{"eval_source": "DELETE FROM good"}');

SELECT lo_unlink(:lob);
SELECT semtok.drop_tokenizer(n) FROM unnest('{base,x}'::text[]) AS n;
DROP TABLE good, written, scratch, hostile, sayings;
DROP SEQUENCE counted;
DROP FUNCTION inserts, inserts_sql, inserts_and_hides, escapes, inserts_temp, creates, truncates, locks_rows, locks_temp_rows, locks, trains, fails_at, rows_until, said, reads, configures;
