-- semtok.encode_batch.

SET client_min_messages = error;
CREATE TABLE shapes (id int, name text, x real[]);
INSERT INTO shapes SELECT i, 'shape ' || i, array[i * 37 % 101, i * 61 % 97, i % 10]::real[] FROM generate_series(1, 2000) AS i;
UPDATE shapes SET x = null WHERE id % 100 = 7;
UPDATE shapes SET name = null WHERE id % 50 = 3;
SELECT semtok.train('shapes', 'SELECT x FROM shapes', levels => 3, codes => 16, options => '{"beam": 4}') AS shapes \gset
SELECT semtok.train('turned', 'SELECT x FROM shapes', levels => 2, codes => 16, metric => 'cosine') AS turned \gset
SET client_min_messages = warning; -- not how far it is after a while

-- Rows as the query has them: numbered, in its order, with a key where it gives one.
SELECT number, key, sid IS NULL AS none FROM semtok.encode_batch('shapes', 'SELECT name, x FROM shapes WHERE id BETWEEN 3 AND 8 ORDER BY id DESC');
SELECT count(*), count(key), count(b.sid), bool_and(b.sid = semtok.encode('shapes', s.x)) AS same
	FROM semtok.encode_batch('shapes', 'SELECT id, x FROM shapes ORDER BY id') AS b JOIN shapes AS s ON s.id = key::int;
SELECT count(*), count(key), count(b.sid), bool_and(b.sid = semtok.encode(:shapes, s.x)) AS same
	FROM semtok.encode_batch(:shapes, 'SELECT x FROM shapes ORDER BY id -- no key') AS b JOIN shapes AS s ON s.id = number;
SELECT array_agg(number ORDER BY ordinality) = array_agg(ordinality ORDER BY ordinality) AS in_order
	FROM semtok.encode_batch('shapes', 'SELECT x FROM shapes') WITH ORDINALITY;
-- The tokenizer's own width, or another.
SELECT beam, bool_and(b.sid = semtok.encode('shapes', s.x, beam)) AS same, count(*) FILTER (WHERE b.sid <> semtok.encode('shapes', s.x)) > 0 AS others
	FROM unnest('{null,1,2,16}'::int[]) AS beam, semtok.encode_batch('shapes', 'SELECT id, x FROM shapes;', beam) AS b
	JOIN shapes AS s ON s.id = key::int GROUP BY beam ORDER BY beam;
-- Keys of any type, as text; a key that is null; columns of other types with a cast to real[].
SELECT key, number FROM semtok.encode_batch('turned', $$VALUES (date '2001-02-03', '{1,2,3}'::float8[]), (null, '{1,2,3}')$$) ORDER BY number;
SELECT key FROM semtok.encode_batch('turned', $$SELECT row(1, array['a', null]), '{1,2,3}'::text$$);
SELECT key = repeat('long', 100000) AS whole FROM semtok.encode_batch('turned', $$SELECT repeat('long', 100000), x FROM shapes WHERE x IS NOT NULL LIMIT 3$$);
-- Nothing to encode.
SELECT * FROM semtok.encode_batch('shapes', 'SELECT id, x FROM shapes WHERE false');
SELECT * FROM semtok.encode_batch('shapes', 'SELECT id, x FROM shapes WHERE x IS NULL ORDER BY id LIMIT 2');
-- One row waits for its codes, and very many without an embedding behind it.
SELECT count(*), count(sid), min(number) FILTER (WHERE sid IS NOT NULL) AS first
	FROM semtok.encode_batch('shapes', $$SELECT repeat('k', 100), CASE WHEN i % 90000 = 2 THEN '{1,2,3}'::real[] END FROM generate_series(1, 100000) AS i$$);
-- More than fits into memory.
SET work_mem = '64kB';
SELECT count(*), count(DISTINCT key), count(*) FILTER (WHERE number <> key::int) AS moved
	FROM semtok.encode_batch('shapes', 'SELECT row_number() OVER (), x FROM shapes, generate_series(1, 10)');
RESET work_mem;
-- Once for a statement, and in a query for each of its rows.
SELECT t, count(*), count(DISTINCT sid) > 1 AS ids FROM unnest(array['shapes', 'turned']) AS t, semtok.encode_batch(t, 'SELECT x FROM shapes WHERE x IS NOT NULL') GROUP BY t ORDER BY t;
-- A query that encodes in batches itself.
SELECT count(*) FROM semtok.encode_batch('shapes', $$SELECT semtok.decode(sid) FROM semtok.encode_batch('turned', 'SELECT x FROM shapes')$$);

-- An error names the row, one that is found while it is encoded, too.
SELECT * FROM semtok.encode_batch('shapes', $$SELECT CASE i WHEN 700 THEN '{1,2}'::real[] ELSE '{1,2,3}' END FROM generate_series(1, 1000) AS i$$);
SELECT * FROM semtok.encode_batch('turned', $$SELECT i, CASE i WHEN 700 THEN '{0,0,0}'::real[] ELSE '{1,2,3}' END FROM generate_series(1, 1000) AS i$$);
SELECT semtok.import_tokenizer('wide', codebook_agg(l, 0, array[3e38 * (2 * l - 1)]::real[])) IS NOT NULL AS ok FROM generate_series(0, 1) AS l;
SELECT * FROM semtok.encode_batch('wide', $$SELECT CASE i WHEN 700 THEN '{3e38}'::real[] WHEN 3 THEN null ELSE '{0}' END FROM generate_series(1, 1000) AS i$$);
SELECT semtok.drop_tokenizer('wide');

-- The source may only read, with the caller's rights.
CREATE FUNCTION grow() RETURNS real[] LANGUAGE sql AS $$ INSERT INTO shapes VALUES (0) RETURNING '{1,2,3}'::real[] $$;
\set VERBOSITY terse
SELECT count(*) FROM semtok.encode_batch('shapes', 'SELECT grow()');
SELECT count(*) FROM semtok.encode_batch('shapes', 'SELECT id, x FROM shapes FOR SHARE');
SELECT count(*) FROM semtok.encode_batch('shapes', 'UPDATE shapes SET id = id RETURNING x');
SELECT count(*) FROM semtok.encode_batch('shapes', 'SELECT id, name, x FROM shapes');
SELECT count(*) FROM semtok.encode_batch('shapes', 'SELECT FROM shapes');
SELECT count(*) FROM semtok.encode_batch('shapes', 'SELECT x FROM shapes; SELECT x FROM shapes');
SELECT count(*) FROM semtok.encode_batch('shapes', 'SELECT x, name FROM shapes');
SELECT count(*) FROM semtok.encode_batch('shapes', 'SELECT x, id FROM shapes');
SELECT count(*) FROM semtok.encode_batch('shapes', 'SELECT id, name FROM shapes WHERE id = 1');
SELECT count(*) FROM semtok.encode_batch('shapes', 'SELECT x FROM shapes', 0);
SELECT count(*) FROM semtok.encode_batch('shapes', 'SELECT x FROM shapes', 4097);
SELECT count(*) FROM semtok.encode_batch('shapes', null);
SELECT count(*) FROM semtok.encode_batch(null::int, 'SELECT x FROM shapes');
SELECT count(*) FROM semtok.encode_batch('nosuch', 'SELECT x FROM shapes');
CREATE ROLE semtok_batch_reader;
SET ROLE semtok_batch_reader;
SELECT count(*) FROM semtok.encode_batch('shapes', 'SELECT x FROM shapes');
SELECT count(sid) FROM semtok.encode_batch('shapes', $$VALUES ('{1,2,3}'::real[])$$);
RESET ROLE;
BEGIN READ ONLY;
SELECT count(sid) FROM semtok.encode_batch('shapes', 'SELECT x FROM shapes');
COMMIT;
\set VERBOSITY default

DROP ROLE semtok_batch_reader;
DROP FUNCTION grow;
DROP TABLE shapes;
SELECT semtok.drop_tokenizer('shapes'), semtok.drop_tokenizer('turned');
