-- RecTokens' recipe train_rqkmeans_beauty.gin: mini-batch residual k-means, 3 levels of 256 codes.
--
--   psql -f examples/recipes/rqkmeans_beauty.sql DATABASE
--
-- It wants a table items (id int, embedding real[]) of Amazon's beauty items. Every twentieth item
-- is held out, as there; 20 epochs unless -v epochs=… says otherwise.
\if :{?epochs}
\else
\set epochs 20
\endif
SELECT semtok.train('beauty_rqkmeans', 'SELECT embedding FROM items WHERE id % 20 > 0',
	method => 'rqkmeans', levels => 3, codes => 256, epochs => :epochs,
	batch_size => 640, init => 'kmeans++',
	options => '{"eval_source": "SELECT embedding FROM items WHERE id % 20 = 0", "eval_every": 5}')
	AS tokenizer;
SELECT level, mse, relative_error, usage, entropy, unique_fraction
	FROM semtok.evaluate('beauty_rqkmeans', 'SELECT embedding FROM items')
	ORDER BY level NULLS FIRST;
