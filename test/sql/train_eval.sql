-- Held-out rows in the log of a training (options eval_source and eval_every), and the warnings that
-- end a training whose levels collapsed.
SET client_min_messages = warning;

CREATE TABLE items (id int, x real[]);
INSERT INTO items SELECT i, array(SELECT (hashint4(i * 16 + j) / 1e9)::real FROM generate_series(1, 6) AS j) FROM generate_series(1, 600) AS i;

-- What the log says of held-out rows at the end is what evaluate says of them; what it says of the
-- rows trained on has the names it always had.
CREATE FUNCTION agrees(tokenizer int, source text, prefix text) RETURNS TABLE (same boolean, lines bigint) LANGUAGE sql AS $$
	SELECT bool_and(l.value = CASE substr(l.metric, length(prefix) + 1) WHEN 'mse' THEN e.mse WHEN 'relative_error' THEN e.relative_error
			WHEN 'dead_codes' THEN e.dead_codes WHEN 'entropy' THEN e.entropy WHEN 'perplexity' THEN e.perplexity
			WHEN 'p_unique' THEN e.unique_fraction WHEN 'collision_rate' THEN e.collision_rate END), count(*)
		FROM semtok.training_log AS l, semtok.evaluate(tokenizer, source) AS e
		WHERE l.tokenizer = $1 AND e.level IS NOT DISTINCT FROM l.level AND l.epoch IS NULL AND l.metric LIKE prefix || '%'
			AND (prefix <> '' OR l.metric NOT LIKE 'eval%')
$$;
SELECT semtok.train('h', 'SELECT x FROM items WHERE id > 100', levels => 3, codes => 8, epochs => 6, method => m, batch_size => b,
		options => '{"eval_source": "SELECT x FROM items WHERE id <= 100", "eval_every": 2}' || coalesce(o, '{}')::jsonb) IS NOT NULL AS ok
	FROM (VALUES ('rqkmeans', null::int, null), ('rqkmeans', 90, null), ('ema', 90, null), ('rqkmeans', null, '{"refine": 21, "beam": 3}'), ('rqkmeans', null, '{"eval_every": 4, "balance": 1.5}')) AS v(m, b, o);
SELECT semtok.partial_fit('h', 'SELECT x FROM items WHERE id > 100', epochs => 3, options => '{"eval_source": "SELECT x FROM items WHERE id <= 100", "eval_every": 1}') IS NOT NULL AS ok;
SELECT semtok.train('h', 'SELECT x FROM items WHERE id > 100', levels => 3, codes => 8, epochs => 6, metric => 'cosine', options => '{"eval_source": "SELECT x FROM items WHERE id <= 100"}') IS NOT NULL AS ok;
SELECT version, trained.*, heldout.* FROM semtok.tokenizers AS t, agrees(t.id, 'SELECT x FROM items WHERE id > 100', '') AS trained,
	agrees(t.id, 'SELECT x FROM items WHERE id <= 100', 'eval_') AS heldout WHERE name = 'h' ORDER BY version;

-- On the way: every so many epochs, for levels that learn one after the other the one that learns (and
-- the ids with the last), for levels that learn together all; for rounds of refinement all.
SELECT version, epoch, count(DISTINCT level) AS levels, string_agg(DISTINCT level::text, ',' ORDER BY level::text) AS which, count(*) FILTER (WHERE level IS NULL) AS whole, count(*) AS lines
	FROM semtok.training_log AS l JOIN semtok.tokenizers AS t ON t.id = l.tokenizer
	WHERE name = 'h' AND epoch IS NOT NULL AND l.metric LIKE 'eval%' AND version NOT IN (1, 4, 5) GROUP BY version, epoch ORDER BY version, epoch;
SELECT version, level, string_agg(epoch::text, ',' ORDER BY epoch) AS epochs, bool_and(epoch % (CASE version WHEN 5 THEN 4 ELSE 2 END) = 0) AS every
	FROM semtok.training_log AS l JOIN semtok.tokenizers AS t ON t.id = l.tokenizer
	WHERE name = 'h' AND epoch IS NOT NULL AND l.metric = 'eval_mse' AND version IN (1, 4, 5) GROUP BY version, level ORDER BY version, level;
-- Where nothing follows, the last one on the way is the one at the end: for the last level, for batches
-- and for refinement (of which the round after the last refit is the last).
SELECT t.version, bool_and(l.value = f.value) AS same, count(*) AS lines
	FROM semtok.tokenizers AS t JOIN semtok.training_log AS l ON l.tokenizer = t.id JOIN semtok.training_log AS f ON f.tokenizer = t.id AND f.metric = l.metric AND f.level IS NOT DISTINCT FROM l.level
	WHERE t.name = 'h' AND l.metric LIKE 'eval%' AND f.epoch IS NULL AND l.epoch = CASE WHEN t.version IN (2, 3) THEN 6 WHEN t.version = 4 THEN 22 WHEN t.version = 6 THEN 3 END
		AND (t.version <> 4 OR l.step > (SELECT max(step) FROM semtok.training_log AS o WHERE o.tokenizer = t.id AND o.level = 2 AND o.metric = 'objective'))
	GROUP BY t.version ORDER BY t.version;
-- A level on the way is measured behind the finished ones: as a tokenizer of so many levels and epochs.
SELECT semtok.train('short', 'SELECT x FROM items WHERE id > 100', levels => 2, codes => 8, epochs => 6) AS short \gset
SELECT l.value = e.mse AS as_trained_so_far FROM semtok.tokenizers AS t JOIN semtok.training_log AS l ON l.tokenizer = t.id, semtok.evaluate(:short, 'SELECT x FROM items WHERE id <= 100') AS e
	WHERE t.name = 'h' AND t.version = 1 AND l.metric = 'eval_mse' AND l.level = 1 AND l.epoch = 6 AND e.level = 1;
SELECT semtok.train('short', 'SELECT x FROM items WHERE id > 100', levels => 3, codes => 8, epochs => 2, method => 'ema', batch_size => 90) AS short \gset
SELECT bool_and(l.value = e.mse) AS as_trained_so_far, count(*) FROM semtok.tokenizers AS t JOIN semtok.training_log AS l ON l.tokenizer = t.id, semtok.evaluate(:short, 'SELECT x FROM items WHERE id <= 100') AS e
	WHERE t.name = 'h' AND t.version = 3 AND l.metric = 'eval_mse' AND l.epoch = 2 AND e.level IS NOT DISTINCT FROM l.level;
-- Steps are those of the training, held-out rows do not change what is learnt, and the query is not kept.
SELECT semtok.train('plain', 'SELECT x FROM items WHERE id > 100', levels => 3, codes => 8, epochs => 6) AS plain \gset
SELECT (SELECT max(step) FROM semtok.training_log WHERE tokenizer = :plain) = (SELECT max(step) FROM semtok.training_log WHERE tokenizer = t.id) AS steps,
	hash = (SELECT hash FROM semtok.tokenizers WHERE id = :plain) AS codebook, options::text ~ 'eval' AS kept FROM semtok.tokenizers AS t WHERE name = 'h' AND version = 1;
-- Null rows are skipped; the rights and the search_path are the caller's; the training's own rows will do.
CREATE ROLE semtok_eval_user;
GRANT SELECT (id) ON items TO semtok_eval_user;
CREATE FUNCTION public.open() RETURNS SETOF real[] LANGUAGE sql SECURITY DEFINER AS 'SELECT x FROM public.items';
SET ROLE semtok_eval_user;
\set VERBOSITY terse
SELECT semtok.train('mine', 'SELECT open()', levels => 1, codes => 4, options => '{"eval_source": "SELECT x FROM items"}');
SELECT semtok.train('mine', 'SELECT open()', levels => 1, codes => 4, options => '{"eval_source": "SELECT open() UNION ALL SELECT null"}') AS mine \gset
\set VERBOSITY default
RESET ROLE;
SELECT l.value = o.value AS same FROM semtok.training_log AS l JOIN semtok.training_log AS o USING (tokenizer) WHERE tokenizer = :mine AND l.metric = 'mse' AND o.metric = 'eval_mse' AND l.level IS NULL AND l.epoch IS NULL AND o.level IS NULL;

\set VERBOSITY terse
SELECT semtok.train('x', 'SELECT x FROM items', options => '{"eval_every": 2}');
SELECT semtok.train('x', 'SELECT x FROM items', options => '{"eval_source": 7}');
SELECT semtok.train('x', 'SELECT x FROM items', options => '{"eval_source": null}');
SELECT semtok.train('x', 'SELECT x FROM items', options => '{"eval_source": "SELECT x FROM items", "eval_every": 0}');
SELECT semtok.train('x', 'SELECT x FROM items', options => '{"eval_source": "SELECT x FROM items", "eval_every": 1.5}');
SELECT semtok.train('x', 'SELECT x FROM items', options => '{"eval_source": "SELECT array[1, 2]"}');
SELECT semtok.train('x', 'SELECT x FROM items', options => '{"eval_source": "SELECT x FROM items WHERE false"}');
SELECT semtok.train('x', 'SELECT x FROM items', metric => 'cosine', options => '{"eval_source": "SELECT array[0, 0, 0, 0, 0, 0]"}');
SELECT semtok.partial_fit('h', 'SELECT x FROM items', options => '{"eval_source": ""}');
\set VERBOSITY default

-- Collapse: perplexity below a tenth of the codes, or less than half of the ids unique; train and
-- partial_fit tell each by itself, and neither when there is no reason. 400 rows that spread evenly over
-- 20 places, told apart by a second level or not.
CREATE TABLE places AS SELECT i, array[i % 20 * 100, 0]::real[] AS even, array[i % 20 * 100, i / 20]::real[] AS told_apart,
	array[CASE WHEN i < 20 THEN i * 1000 ELSE 0 END, CASE WHEN i < 20 THEN 0 ELSE i / 400.0 END]::real[] AS uneven FROM generate_series(0, 399) AS i;
-- nothing to warn of
SELECT semtok.train('w', 'SELECT told_apart FROM places', levels => 2, codes => 20) IS NOT NULL AS ok;
SELECT semtok.partial_fit('w', 'SELECT told_apart FROM places') IS NOT NULL AS ok;
-- ids: 20 of 400; its levels use all codes that they have
SELECT semtok.train('w', 'SELECT told_apart FROM places', levels => 1, codes => 20) IS NOT NULL AS ok;
SELECT semtok.activate('w', 3);
SELECT semtok.partial_fit('w', 'SELECT told_apart FROM places') IS NOT NULL AS ok;
-- a level: nearly all rows have one of 20 codes; a second level tells them apart
SELECT semtok.train('w', 'SELECT uneven FROM places', codes => array[20, 380]) IS NOT NULL AS ok;
SELECT semtok.activate('w', 5);
SELECT semtok.partial_fit('w', 'SELECT uneven FROM places', batch_size => 400) IS NOT NULL AS ok;
-- both
SELECT semtok.train('w', 'SELECT even FROM places WHERE i % 20 = 0', levels => 2, codes => 20) IS NOT NULL AS ok;
-- at the borders: perplexity exactly a tenth of the codes, ids exactly half of the rows
SELECT semtok.train('w', 'SELECT array[i] FROM generate_series(1, 2) AS i', levels => 1, codes => 20) IS NOT NULL AS ok;
SELECT semtok.train('w', 'SELECT array[i / 2] FROM generate_series(0, 39) AS i', levels => 1, codes => 20) IS NOT NULL AS ok;
-- one more row than half with an id of its own, one less
SELECT semtok.train('w', 'SELECT array[i / 2] FROM generate_series(1, 40) AS i', levels => 1, codes => 21) IS NOT NULL AS ok;
SELECT semtok.train('w', 'SELECT array[i / 2] FROM generate_series(0, 40) AS i UNION ALL SELECT array[0] FROM generate_series(1, 2)', levels => 1, codes => 21) IS NOT NULL AS ok;
-- held-out rows are not what is warned of
SELECT semtok.train('w', 'SELECT told_apart FROM places', levels => 2, codes => 20, options => '{"eval_source": "SELECT told_apart FROM places WHERE i = 0"}') IS NOT NULL AS ok;

SELECT count(semtok.drop_tokenizer(name)) FROM (SELECT DISTINCT name FROM semtok.tokenizers WHERE name IN ('h', 'short', 'plain', 'mine', 'w')) AS t;
DROP FUNCTION agrees, public.open;
DROP TABLE items, places;
DROP ROLE semtok_eval_user;
