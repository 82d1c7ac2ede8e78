-- Embeddings in pgvector's types, where pgvector is installed.
SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector') AS installed \gset
\if :installed
SELECT plan(9);
CREATE EXTENSION vector;
CREATE TABLE items (id int, x real[], v vector(3), h halfvec(3), by_v semid, by_h semid);
INSERT INTO items SELECT i, x, x, x, null, null
	FROM generate_series(1, 200) AS i, LATERAL (SELECT array[i % 16, i * 7 % 32, i % 8]::real[] AS x) AS s;
SET client_min_messages = error;
SELECT semtok.train('items', 'SELECT x FROM items', levels => 2, codes => 16) AS by_x \gset
SELECT semtok.train('items', 'SELECT v FROM items', levels => 2, codes => 16) AS by_v \gset
SELECT semtok.train('items', 'SELECT h FROM items', levels => 2, codes => 16) AS by_h \gset
RESET client_min_messages;
SELECT is(count(DISTINCT hash), 1::bigint, 'vector and halfvec train the same codebook as real[]')
	FROM semtok.tokenizers WHERE id IN (:by_x, :by_v, :by_h);
SELECT is(count(*), 0::bigint, 'a vector is encoded as real[] is, by name')
	FROM items WHERE semtok.encode('items', v) <> semtok.encode('items', x);
SELECT is(count(*), 0::bigint, 'a vector is encoded as real[] is, by id')
	FROM items WHERE semtok.encode(:by_x, v) <> semtok.encode(:by_x, x);
SELECT is(count(*), 0::bigint, 'a vector is encoded as real[] is, by codebook')
	FROM items, semtok.tokenizer AS t WHERE t.id = :by_x AND semtok.encode(t.codebook, v) <> semtok.encode(t.codebook, x);
SELECT is(count(*), 0::bigint, 'a halfvec is, with a cast')
	FROM items WHERE semtok.encode('items', h::real[]) <> semtok.encode('items', x);
CALL semtok.tokenize('items', 'v', 'by_v', 'items');
CALL semtok.tokenize('items', 'h', 'by_h', 'items');
SELECT is(count(by_v), 200::bigint, 'tokenize reads vectors') FROM items WHERE by_v = semtok.encode('items', x);
SELECT is(count(by_h), 200::bigint, 'tokenize reads halfvecs') FROM items WHERE by_h = semtok.encode('items', x);
SELECT is((SELECT e.mse FROM semtok.evaluate('items', 'SELECT h FROM items') AS e WHERE level IS NULL),
	(SELECT e.mse FROM semtok.evaluate('items', 'SELECT x FROM items') AS e WHERE level IS NULL),
	'evaluate reads halfvecs');
SELECT throws_ok($$SELECT semtok.train('items', $q$VALUES ('[1,2,3]'::vector), ('[1,2]')$q$)$$,
	'22023', 'expected 3 dimensions, not 2', 'vectors of several dimensions are refused');
SELECT * FROM finish();
\else
SELECT plan(1);
SELECT skip('pgvector is not installed', 1);
SELECT * FROM finish();
\endif
