-- RecTokens' recipe train_rqvae_sports.gin: an RQ-VAE with hidden layers of 512, 3 levels of 256
-- codes.
--
--   psql -f examples/recipes/rqvae_sports.sql DATABASE
--
-- It wants a table items (id int, embedding real[]) of Amazon's sports items. Every twentieth item
-- is held out, as there; 100 epochs unless -v epochs=… says otherwise.
\if :{?epochs}
\else
\set epochs 100
\endif
-- Interrupted, the same call with "resume": true goes on from its checkpoint.
SELECT semtok.train('sports_rqvae', 'SELECT embedding FROM items WHERE id % 20 > 0',
	method => 'rqvae', levels => 3, codes => 256, epochs => :epochs,
	batch_size => 640, init => 'kmeans++',
	options => '{"preset": "rectokens", "encoder": [512, 512], "latent": 64,
		"learning_rate": 0.001, "weight_decay": 0.0001, "checkpoint_every": 10,
		"eval_source": "SELECT embedding FROM items WHERE id % 20 = 0"}')
	AS tokenizer;
SELECT level, mse, relative_error, usage, entropy, unique_fraction
	FROM semtok.evaluate('sports_rqvae', 'SELECT embedding FROM items')
	ORDER BY level NULLS FIRST;
