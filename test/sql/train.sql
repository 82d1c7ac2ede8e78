-- semtok.train, its log, versions, activate and drop_tokenizer.

-- Runs a statement that must fail and tells how.
\getenv test PG_ABS_SRCDIR
\set refusal :test '/lib/refusal.sql'
\i :refusal

CREATE TABLE points (id int, embedding real[]);
INSERT INTO points
	SELECT i, array[i * 37 % 101, i * 61 % 97, i * 13 % 29, 7 + i * 7 % 11]::real[]
	FROM generate_series(1, 400) AS i;

SELECT semtok.train('points', 'SELECT embedding FROM points', levels => 2, codes => 16) AS first \gset
SELECT name, version, active, method, metric, dim, sizes, trained_rows, options, owner = current_user AS mine
	FROM semtok.tokenizers WHERE id = :first;

-- The hash is the codebook's; there is a count per codeword.
SELECT encode(hash, 'hex') = codebook_hash(codebook) AS hash, codebook_sizes(codebook) = sizes AS sizes,
	(SELECT sum(c) FROM unnest(counts) AS c) AS rows_counted, cardinality(counts) AS counts
	FROM semtok.tokenizer WHERE id = :first;

-- The log: the objective never rises within a level, and the last lines describe the whole.
SELECT level, count(*) > 1 AS epochs, bool_and(value <= before) AS falls FROM (
	SELECT level, value, lag(value, 1, value) OVER (PARTITION BY level ORDER BY step) AS before
	FROM semtok.training_log WHERE tokenizer = :first AND metric = 'objective') AS s
	GROUP BY level ORDER BY level;
SELECT level, metric, round(value::numeric, 4) AS value FROM semtok.training_log
	WHERE tokenizer = :first AND epoch IS NULL ORDER BY level NULLS LAST, metric COLLATE "C";
SELECT count(DISTINCT step) = max(step) AND min(step) = 1 AS steps FROM semtok.training_log
	WHERE tokenizer = :first;

-- What was measured is what evaluate says.
SELECT bool_and(l.value = CASE l.metric WHEN 'mse' THEN e.mse WHEN 'relative_error' THEN e.relative_error
		WHEN 'dead_codes' THEN e.dead_codes WHEN 'entropy' THEN e.entropy WHEN 'perplexity' THEN e.perplexity
		WHEN 'p_unique' THEN e.unique_fraction WHEN 'collision_rate' THEN e.collision_rate END) AS same,
	count(*)
	FROM semtok.training_log AS l
	JOIN semtok.evaluate('points', 'SELECT embedding FROM points') AS e ON e.level IS NOT DISTINCT FROM l.level
	WHERE l.tokenizer = :first AND l.epoch IS NULL;

-- The same rows in another order, under another name: the same codebook. Another seed: another.
SELECT semtok.train('mirror', 'SELECT embedding FROM points ORDER BY id DESC', levels => 2, codes => 16) AS mirror \gset
SELECT semtok.train('mirror', 'SELECT embedding FROM points', levels => 2, codes => 16, seed => 43) AS seed \gset
SELECT id = :mirror AS same_seed, hash = (SELECT hash FROM semtok.tokenizers WHERE id = :first) AS same
	FROM semtok.tokenizers WHERE id IN (:mirror, :seed) ORDER BY id;

-- Versions: the first is active until another is made so.
SELECT version, active FROM semtok.tokenizers WHERE name = 'mirror' ORDER BY version;
SELECT semtok.activate('mirror', 2);
SELECT version, active FROM semtok.tokenizers WHERE name = 'mirror' ORDER BY version;
SELECT semtok.activate('mirror', 2);
SELECT semtok.activate('mirror', 1);
SELECT version, active FROM semtok.tokenizers WHERE name = 'mirror' ORDER BY version;

-- The tokenizers from here on are too small to be good.
SET client_min_messages = error;

-- A sample depends on what the rows are, not on their order.
SELECT semtok.train('sample', 'SELECT embedding FROM points', levels => 1, codes => 8, sample => 100) AS one \gset
SELECT semtok.train('sample', 'SELECT embedding FROM points ORDER BY id DESC', levels => 1, codes => 8, sample => 100) AS two \gset
SELECT semtok.train('sample', 'SELECT embedding FROM points', levels => 1, codes => 8, sample => 100, seed => 1) AS three \gset
SELECT semtok.train('sample', 'SELECT embedding FROM points', levels => 1, codes => 8, sample => 1000) AS four \gset
SELECT version, trained_rows, options ->> 'sample' AS sample,
	hash = first_value(hash) OVER (ORDER BY version) AS as_first
	FROM semtok.tokenizers WHERE name = 'sample' ORDER BY version;

-- Nor does it depend on how many rows there seem to be: where that is too many, they are read twice.
CREATE TABLE shrinks (i int, x real[]) WITH (autovacuum_enabled = false);
INSERT INTO shrinks SELECT i, array[sin(i), cos(i * i)] FROM generate_series(1, 3000) i;
ANALYZE shrinks;
CREATE FUNCTION scans() RETURNS bigint LANGUAGE sql AS
	$$SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relname = 'shrinks'$$;
BEGIN;
SELECT scans() AS before \gset
SELECT semtok.train('shrinks', 'SELECT x FROM shrinks', levels => 1, codes => 8, sample => 100) AS one \gset
SELECT scans() - :before AS scans;
SELECT semtok.train('shrinks', 'SELECT x FROM shrinks ORDER BY i DESC', levels => 1, codes => 8, sample => 100) AS two \gset
DELETE FROM shrinks WHERE i % 20 > 0;
COMMIT;
BEGIN;
SELECT scans() AS before \gset
SELECT semtok.train('shrinks', 'SELECT x FROM shrinks', levels => 1, codes => 8, sample => 100) AS three \gset
SELECT scans() - :before AS scans;
SELECT semtok.train('shrinks', 'SELECT x FROM shrinks ORDER BY i DESC', levels => 1, codes => 8, sample => 100) AS four \gset
SELECT semtok.train('shrinks', 'SELECT x FROM shrinks', levels => 1, codes => 8, sample => 1000) AS five \gset
COMMIT;
SELECT version, trained_rows, hash = lag(hash) OVER (ORDER BY version) AS as_before
	FROM semtok.tokenizers WHERE name = 'shrinks' ORDER BY version;

-- Every argument.
SELECT semtok.train('all', 'SELECT embedding FROM points', 'rqkmeans', 3, 8, 'l2', 5, 64, 'random', 7, 300, 'cpu', '{}') IS NOT NULL AS ok;
SELECT sizes, trained_rows, options FROM semtok.tokenizers WHERE name = 'all';
SELECT semtok.train('all', 'SELECT embedding FROM points', codes => array[8, 4], metric => 'cosine', epochs => 5, device => 'auto') IS NOT NULL AS ok;
SELECT semtok.train('all', 'SELECT embedding FROM points', array[8, 4], 'rqkmeans', 2, 'ip', 5, null, 'kmeans++', 42, null, null, null) IS NOT NULL AS ok;
SELECT version, metric, sizes, (options ->> 'epochs')::int AS epochs FROM semtok.tokenizers WHERE name = 'all' ORDER BY version;
-- Cosine: trained on directions, so length does not matter.
SELECT semtok.encode((SELECT codebook FROM semtok.tokenizer WHERE name = 'all' AND version = 2), '{1,2,3,4}')
	= semtok.encode((SELECT codebook FROM semtok.tokenizer WHERE name = 'all' AND version = 2), '{10,20,30,40}') AS same;

-- Every literal untyped (codes apart, which must be typed).
SELECT semtok.train('untyped', 'SELECT embedding FROM points', 'rqkmeans') IS NOT NULL AS ok;
SELECT semtok.train(name => 'untyped', source => 'SELECT embedding FROM points', method => 'rqkmeans', levels => '2', metric => 'l2', epochs => '3', batch_size => '50', init => 'kmeans++', seed => '1', sample => '200', device => 'cpu', options => '{}') IS NOT NULL AS ok;
SELECT semtok.train('untyped', 'SELECT embedding FROM points', codes => array[4], method => 'rqkmeans', levels => '1', metric => 'l2', epochs => '3', batch_size => '50', init => 'kmeans++', seed => '1', sample => '200', device => 'cpu', options => '{}') IS NOT NULL AS ok;
SELECT semtok.activate('untyped', '2');
SELECT semtok.drop_tokenizer('untyped', '1');
SELECT semtok.drop_tokenizer('untyped');

-- What a source may be.
SET client_min_messages = notice;
CREATE TEMP TABLE numbers AS SELECT array[i, i * i]::float8[] AS x FROM generate_series(1, 20) AS i;
SELECT semtok.train('source', 'TABLE numbers ; ', levels => 1, codes => 2) IS NOT NULL AS float8_array;
SELECT semtok.train('source', 'SELECT x::text FROM numbers -- as text', levels => 1, codes => 2) IS NOT NULL AS text_and_comment;
SELECT semtok.train('source', 'VALUES (null), (array[1, 2]), (null), (array[2, 4])', levels => 1, codes => 2) IS NOT NULL AS nulls;
SELECT semtok.train('source', 'WITH n AS (TABLE numbers) SELECT x FROM n', levels => 1, codes => 2) IS NOT NULL AS cte;
SELECT version, trained_rows, hash = first_value(hash) OVER (ORDER BY version) AS as_first
	FROM semtok.tokenizers WHERE name = 'source' ORDER BY version;

-- Levels that collapse and ids that tell nothing apart are worth a warning.
SELECT semtok.train('poor', 'SELECT array[i % 2, 1]::real[] FROM generate_series(1, 100) AS i', levels => 2, codes => 32) IS NOT NULL AS ok;

SET client_min_messages = error;

-- A training that fails leaves nothing behind.
BEGIN;
SAVEPOINT s;
SELECT semtok.train('undone', 'TABLE numbers', levels => 1, codes => 2) IS NOT NULL AS ok;
ROLLBACK TO s;
SELECT semtok.train('kept', 'TABLE numbers', levels => 1, codes => 2) IS NOT NULL AS ok;
COMMIT;
SELECT name, version FROM semtok.tokenizers WHERE name IN ('undone', 'kept');

\pset format unaligned
SELECT statement || E'\n  ' || pg_temp.refusal(statement) AS refusal FROM unnest(array[
	$$SELECT semtok.train(null, 'TABLE numbers')$$,
	$$SELECT semtok.train('x', null)$$,
	$$SELECT semtok.train('', 'TABLE numbers')$$,
	$$SELECT semtok.train(repeat('x', 64), 'TABLE numbers')$$,
	$$SELECT semtok.train('x', 'TABLE numbers', method => 'rvq')$$,
	$$SELECT semtok.train('x', 'TABLE numbers', levels => 0)$$,
	$$SELECT semtok.train('x', 'TABLE numbers', levels => 33)$$,
	$$SELECT semtok.train('x', 'TABLE numbers', levels => null)$$,
	$$SELECT semtok.train('x', 'TABLE numbers', codes => 0)$$,
	$$SELECT semtok.train('x', 'TABLE numbers', codes => 65537)$$,
	$$SELECT semtok.train('x', 'TABLE numbers', codes => '{}'::int[])$$,
	$$SELECT semtok.train('x', 'TABLE numbers', codes => array[4, null])$$,
	$$SELECT semtok.train('x', 'TABLE numbers', codes => array[[4, 4]])$$,
	$$SELECT semtok.train('x', 'TABLE numbers', codes => array[4, 0])$$,
	$$SELECT semtok.train('x', 'TABLE numbers', codes => array[4, 4], levels => 3)$$,
	$$SELECT semtok.train('x', 'TABLE numbers', codes => null::int[])$$,
	$$SELECT semtok.train('x', 'TABLE numbers', metric => 'hamming')$$,
	$$SELECT semtok.train('x', 'TABLE numbers', epochs => 0)$$,
	$$SELECT semtok.train('x', 'TABLE numbers', batch_size => 0)$$,
	$$SELECT semtok.train('x', 'TABLE numbers', init => 'zeros')$$,
	$$SELECT semtok.train('x', 'TABLE numbers', seed => null)$$,
	$$SELECT semtok.train('x', 'TABLE numbers', sample => 0)$$,
	$$SELECT semtok.train('x', 'TABLE numbers', device => 'cuda')$$,
	$$SELECT semtok.train('x', 'TABLE numbers', device => 'tpu')$$,
	$$SELECT semtok.train('x', 'TABLE numbers', options => '{"eval": 1}')$$,
	$$SELECT semtok.train('x', 'TABLE numbers', options => '[]')$$,
	$$SELECT semtok.train('x', 'SELECT 1 WHERE')$$,
	$$SELECT semtok.train('x', '')$$,
	$$SELECT semtok.train('x', 'TABLE numbers; TABLE numbers')$$,
	$$SELECT semtok.train('x', 'CREATE TABLE t ()')$$,
	$$SELECT semtok.train('x', 'DELETE FROM numbers')$$,
	$$SELECT semtok.train('x', 'DELETE FROM numbers RETURNING x')$$,
	$$SELECT semtok.train('x', 'SELECT x, x FROM numbers')$$,
	$$SELECT semtok.train('x', 'SELECT now()')$$,
	$$SELECT semtok.train('x', 'TABLE nosuchtable')$$,
	$$SELECT semtok.train('x', 'SELECT x FROM numbers WHERE false')$$,
	$$SELECT semtok.train('x', 'SELECT null::real[]')$$,
	$$SELECT semtok.train('x', 'VALUES (array[1, 2]), (array[1])')$$,
	$$SELECT semtok.train('x', 'VALUES (array[1, null])')$$,
	$$SELECT semtok.train('x', 'VALUES (array[1, ''nan''::real])')$$,
	$$SELECT semtok.train('x', 'VALUES (array[1, ''-inf''::real])')$$,
	$$SELECT semtok.train('x', 'VALUES (array[1e39::float8])')$$,
	$$SELECT semtok.train('x', 'VALUES (array[[1, 2]])')$$,
	$$SELECT semtok.train('x', 'SELECT ''{}''::real[]')$$,
	$$SELECT semtok.train('x', 'VALUES (array[0, 0])', metric => 'cosine')$$,
	$$SELECT semtok.train('x', 'SELECT array_agg(1::real) FROM generate_series(1, 16000)', levels => 32, codes => 65536)$$,
	$$SELECT semtok.activate('x', 1)$$,
	$$SELECT semtok.activate('points', 2)$$,
	$$SELECT semtok.drop_tokenizer('x')$$,
	$$SELECT semtok.drop_tokenizer(null)$$,
	$$SELECT semtok.drop_tokenizer('points', 0)$$,
	$$SELECT semtok.drop_tokenizer('points', 2)$$,
	$$SELECT semtok.drop_tokenizer('mirror', 1)$$
]) AS statement;
\pset format aligned

-- The row is named.
SELECT semtok.train('x', 'VALUES (array[1, 2]), (null), (array[1])');

-- Nothing of the caller's search_path is used, except by the caller's own query.
CREATE SCHEMA hostile;
CREATE FUNCTION hostile.trap(int, int) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
CREATE FUNCTION hostile.trap(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
CREATE FUNCTION hostile.trap("char", "char") RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
CREATE FUNCTION hostile.trap(oid, oid) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
CREATE FUNCTION hostile.trap(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'trapped'; END $$;
CREATE OPERATOR hostile.= (LEFTARG = int, RIGHTARG = int, FUNCTION = hostile.trap);
CREATE OPERATOR hostile.= (LEFTARG = text, RIGHTARG = text, FUNCTION = hostile.trap);
CREATE OPERATOR hostile.= (LEFTARG = "char", RIGHTARG = "char", FUNCTION = hostile.trap);
CREATE OPERATOR hostile.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = hostile.trap);
CREATE OPERATOR hostile.> (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = hostile.trap);
CREATE OPERATOR hostile.> (LEFTARG = int, RIGHTARG = int, FUNCTION = hostile.trap);
CREATE OPERATOR hostile.<> (LEFTARG = int, RIGHTARG = int, FUNCTION = hostile.trap);
SET search_path = hostile, pg_catalog;
SELECT semtok.train('hostile', 'SELECT x FROM pg_temp.numbers', levels => 1, codes => 2) OPERATOR(pg_catalog.>) 0 AS ok;
SELECT semtok.train('hostile', 'SELECT x FROM pg_temp.numbers', levels => 1, codes => 2) OPERATOR(pg_catalog.>) 0 AS ok;
SELECT semtok.activate('hostile', 2);
SELECT semtok.drop_tokenizer('hostile', 1);
SET search_path = '';
SELECT semtok.train('hostile', 'SELECT x FROM pg_temp.numbers', levels => 1, codes => 2) > 0 AS ok;
SELECT semtok.drop_tokenizer('hostile');
RESET search_path;
DROP SCHEMA hostile CASCADE;

-- Ids in use: in any table, in a domain, in a materialized view, and only those of the version.
CREATE DOMAIN item_id AS semid CHECK (semid_levels(value) = 2);
CREATE TABLE uses_domain (sid item_id);
INSERT INTO uses_domain SELECT semtok.encode(:first, embedding) FROM points;
SELECT pg_temp.refusal($$SELECT semtok.drop_tokenizer('points')$$);
DELETE FROM uses_domain;
CREATE MATERIALIZED VIEW uses_view AS SELECT semtok.encode(:first, embedding) || 1 AS sid FROM points;
SELECT pg_temp.refusal($$SELECT semtok.drop_tokenizer('points')$$);
SELECT semtok.train('points', 'SELECT embedding FROM points', levels => 2, codes => 16) AS second \gset
SELECT semtok.activate('points', 2);
SELECT pg_temp.refusal($$SELECT semtok.drop_tokenizer('points', 2)$$);
SELECT pg_temp.refusal($$SELECT semtok.drop_tokenizer('points', 1)$$);
SELECT semtok.activate('points', 1);
SELECT semtok.drop_tokenizer('points', 2);
DROP MATERIALIZED VIEW uses_view;
SELECT semtok.drop_tokenizer('points');
SELECT count(*) FROM semtok.training_log WHERE tokenizer IN (:first, :second);

DROP TABLE uses_domain;
DROP DOMAIN item_id;
SELECT semtok.drop_tokenizer(name)
	FROM unnest(array['mirror', 'sample', 'shrinks', 'all', 'source', 'poor', 'kept']) AS name;
DROP FUNCTION scans;
DROP TABLE points, shrinks;
