-- Encoding many rows: the same ids, and the same measurements, with semtok.offload on and off, and row by
-- row in semtok.encode.

SET client_min_messages = error;
CREATE TABLE stones AS
	SELECT i AS id, (SELECT array_agg((i * 7919 * (d + 3) % 10007 - 5003 + d) / 1000.0::real ORDER BY d) FROM generate_series(1, 24) AS d)::real[] AS x
	FROM generate_series(1, 6000) AS i;
UPDATE stones SET x = null WHERE id % 997 = 0;
CREATE TABLE recipe (name text, beam int);
INSERT INTO recipe SELECT metric || beam, beam FROM unnest('{l2,cosine,ip}'::text[]) AS metric, unnest('{1,7}'::int[]) AS beam;
SELECT semtok.train(name, 'SELECT x FROM stones WHERE id <= 2000', levels => 3, codes => 32, metric => rtrim(name, '17'), epochs => 4,
	options => jsonb_build_object('beam', beam)) IS NOT NULL AS trained FROM recipe;
-- levels of different sizes, one of them of a single code
SELECT semtok.train('uneven', 'SELECT x FROM stones WHERE id <= 2000', codes => array[300,1,5], epochs => 2) IS NOT NULL AS trained;
INSERT INTO recipe VALUES ('uneven', 1);

CREATE FUNCTION encoded(offload text, of text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('semtok.offload', offload, true);
	RETURN QUERY SELECT b::text FROM semtok.encode_batch(of, 'SELECT id, x FROM stones ORDER BY id') AS b;
END $$;
CREATE FUNCTION evaluated(offload text, of text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('semtok.offload', offload, true);
	RETURN QUERY SELECT e::text FROM semtok.evaluate(of, 'SELECT x FROM stones ORDER BY id') AS e;
END $$;
-- a request that had to be computed in the session would say so
SET client_min_messages = warning;
SET semtok.worker_timeout = '60s';

SELECT name, array(SELECT encoded('on', name)) = array(SELECT encoded('off', name)) AS same,
	array(SELECT encoded('on', name)) = array(SELECT row(id, id, semtok.encode(name, x))::text FROM stones ORDER BY id) AS as_rows,
	array(SELECT evaluated('on', name)) = array(SELECT evaluated('off', name)) AS evaluated
	FROM recipe ORDER BY name;

-- tokenize, all ways
CREATE TABLE tokenized (id int, x real[], by_on semid, by_off semid, appended_on semid, appended_off semid);
INSERT INTO tokenized (id, x) SELECT id, x FROM stones ORDER BY id;
SET semtok.offload = on;
CALL semtok.tokenize('tokenized', 'x', 'by_on', 'l21');
CALL semtok.tokenize('tokenized', 'x', 'appended_on', 'ip7', collisions => 'append');
SET semtok.offload = off;
CALL semtok.tokenize('tokenized', 'x', 'by_off', 'l21');
CALL semtok.tokenize('tokenized', 'x', 'appended_off', 'ip7', batch_size => 700, collisions => 'append');
SELECT count(*), count(by_on) AS ids, count(*) FILTER (WHERE by_on IS DISTINCT FROM by_off OR by_on IS DISTINCT FROM semtok.encode('l21', x)) AS differ,
	count(DISTINCT appended_on) AS distinct, count(*) FILTER (WHERE semid_prefix(appended_on, 3) IS DISTINCT FROM semid_prefix(appended_off, 3)
		OR semid_prefix(appended_on, 3) IS DISTINCT FROM semtok.encode('ip7', x)) AS others
	FROM tokenized;
RESET semtok.offload;

-- The error of a row that cannot be encoded, which the worker finds, names it.
SELECT semtok.import_tokenizer('narrow', codebook_agg(l, 0, array[3e38 * (2 * l - 1)]::real[])) IS NOT NULL AS ok FROM generate_series(0, 1) AS l;
CREATE TABLE far AS SELECT i AS id, CASE i WHEN 2700 THEN '{3e38}'::real[] ELSE '{0}' END AS x, null::semid AS sid FROM generate_series(1, 3000) AS i;
CREATE TABLE farther AS SELECT * FROM far;
SELECT ctid FROM far WHERE id = 2700;
SET semtok.offload = on;
SELECT * FROM semtok.evaluate('narrow', 'SELECT x FROM far ORDER BY id');
SELECT * FROM semtok.encode_batch('narrow', 'SELECT x FROM far ORDER BY id');
CALL semtok.tokenize('far', 'x', 'sid', 'narrow', batch_size => 1);
CALL semtok.tokenize('farther', 'x', 'sid', 'narrow', batch_size => 1, collisions => 'append');
-- the batches before it are kept, and the session goes on
SELECT count(f.sid) = count(*) FILTER (WHERE f.id <= 19 * 136) AS before, count(g.sid) = count(f.sid) AS appended FROM far AS f JOIN farther AS g USING (id);
SELECT count(*) FROM semtok.encode_batch('l21', 'SELECT x FROM stones') WHERE sid IS NOT NULL;
TRUNCATE far;
INSERT INTO far SELECT id, x, null FROM farther ORDER BY id;
SET semtok.offload = off;
SELECT * FROM semtok.evaluate('narrow', 'SELECT x FROM far ORDER BY id');
SELECT * FROM semtok.encode_batch('narrow', 'SELECT x FROM far ORDER BY id');
CALL semtok.tokenize('far', 'x', 'sid', 'narrow', batch_size => 1);
RESET semtok.offload;

DROP TABLE far, farther, tokenized, stones;
SELECT semtok.drop_tokenizer(name) FROM recipe;
SELECT semtok.drop_tokenizer('narrow');
DROP TABLE recipe;
DROP FUNCTION encoded, evaluated;
