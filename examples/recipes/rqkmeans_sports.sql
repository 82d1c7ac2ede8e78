-- RecTokens' recipe train_rqkmeans_sports.gin: mini-batch residual k-means, 3 levels of 256 codes.
--
--   psql -f examples/recipes/rqkmeans_sports.sql DATABASE
--
-- It wants a table items (id int, embedding real[]) of Amazon's sports items. Every twentieth item
-- is held out, as there; 20 epochs unless -v epochs=… says otherwise.
\if :{?epochs}
\else
\set epochs 20
\endif
SELECT semtok.train('sports_rqkmeans', 'SELECT embedding FROM items WHERE id % 20 > 0',
	method => 'rqkmeans', levels => 3, codes => 256, epochs => :epochs,
	batch_size => 640, init => 'kmeans++',
	options => '{"eval_source": "SELECT embedding FROM items WHERE id % 20 = 0"}') AS tokenizer;
SELECT level, mse, relative_error, usage, entropy, unique_fraction
	FROM semtok.evaluate('sports_rqkmeans', 'SELECT embedding FROM items')
	ORDER BY level NULLS FIRST;
