-- RecTokens' recipes in examples/recipes, each for an epoch on a small table of the shape they want.
SET client_min_messages = error;

\getenv test PG_ABS_SRCDIR
CREATE TABLE items (id int, embedding real[]);
INSERT INTO items SELECT i, array(SELECT (hashint4(i % 40 * 100 + j) / 2e9 + hashint4(i * 100 + j) / 2e10)::real FROM generate_series(1, 32) AS j)
	FROM generate_series(1, 700) AS i;
\set epochs 1
\o /dev/null
\set recipe :test '/../examples/recipes/rqkmeans_beauty.sql'
\i :recipe
\set recipe :test '/../examples/recipes/rqkmeans_sports.sql'
\i :recipe
\set recipe :test '/../examples/recipes/rqvae_beauty.sql'
\i :recipe
\set recipe :test '/../examples/recipes/rqvae_sports.sql'
\i :recipe
\o
SELECT name, method, dim, sizes, trained_rows, options ->> 'batch_size' AS batch_size, options -> 'encoder' AS encoder, options ->> 'standardize' AS standardize
	FROM semtok.tokenizers ORDER BY name COLLATE "C";
SELECT name, count(DISTINCT semtok.encode(t.id, i.embedding)) > 30 AS ids FROM semtok.tokenizers AS t, items AS i GROUP BY name ORDER BY name COLLATE "C";
SELECT semtok.drop_tokenizer(name) FROM semtok.tokenizers WHERE name ~ '^(beauty|sports)_';
DROP TABLE items;
