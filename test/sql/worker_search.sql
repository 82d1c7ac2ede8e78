-- Beam searches in a set: the same rows with semtok.offload on and off, whatever is asked.

SET client_min_messages = error;
CREATE TABLE ws_sets AS
	SELECT 'even' AS name, semset_agg(semid(array[i % 50, i / 50 % 50, i * 7 % 97, i % 3])) AS ids FROM generate_series(1, 20000) AS i
	UNION ALL SELECT 'ragged', semset_agg(semid((array[i % 19, i % 7, i * i % 11, i % 5, i % 13])[1 : 1 + i % 5])) FROM generate_series(1, 5000) AS i
	UNION ALL SELECT 'chains', semset_agg(semid(array[i % 100, i * 31 % 100, i * 57 % 100, i % 100])) FROM generate_series(1, 90) AS i
	UNION ALL SELECT 'tokenizers', semset_agg(semid(array[i % 20, i % 7, i % 11, i % 3], i % 4)) FROM generate_series(1, 3000) AS i
	UNION ALL SELECT 'one', '{[1,2,3,1]}' UNION ALL SELECT 'none', '{}';
CREATE FUNCTION ws_queries(sizes int[], tokenizer int, norm text, never int) RETURNS semquery[] LANGUAGE sql AS $$
	SELECT array_agg(CASE WHEN q % 17 = 0 THEN NULL ELSE semtok.logits(array(
			SELECT CASE WHEN never > 0 AND (q + j) % never = 0 AND j > 1 THEN '-infinity' ELSE (q * j * 37) % 101 / 10.0 END::real
				FROM generate_series(1, (SELECT sum(s) FROM unnest(sizes) AS s)) AS j), sizes, tokenizer, norm) END ORDER BY q)
		FROM generate_series(1, 150) AS q
$$;
CREATE FUNCTION ws_found(offload text, ids semset, queries semquery[], options text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('semtok.offload', offload, true);
	RETURN QUERY EXECUTE format('SELECT b::text FROM semtok.beam_search_batch_set($1, $2, %s) WITH ORDINALITY AS b', options) USING ids, queries;
END $$;
CREATE FUNCTION ws_compare(queries semquery[], options text, OUT set text, OUT rows int, OUT same boolean) RETURNS SETOF record LANGUAGE sql AS $$
	SELECT name, cardinality(here), here = away FROM ws_sets,
		LATERAL (SELECT array(SELECT ws_found('off', ids, queries, options)) AS here) AS h,
		LATERAL (SELECT array(SELECT ws_found('on', ids, queries, options)) AS away) AS a ORDER BY name
$$;
-- a request that had to be computed in the session would say so
SET client_min_messages = warning;
SET semtok.worker_timeout = '60s';
CREATE VIEW ws_worker AS SELECT sum(searches) AS searches, max(tries) AS tries FROM semtok.workers;

SELECT norm, c.* FROM unnest('{full,none,masked}'::text[]) AS norm, ws_compare(ws_queries('{100,100,100}', 0, norm, 0), 'k => 10') AS c;
-- narrow beams that end short, and are searched again exactly; codes that can never be, levels that are too small
SELECT c.* FROM ws_compare(ws_queries('{100,100,100,100}', 0, 'full', 3), 'k => 30, beam_size => 30') AS c;
SELECT c.* FROM ws_compare(ws_queries('{15,3,40,2}', 0, 'masked', 4), 'k => 3, beam_size => 4') AS c;
SELECT c.* FROM ws_compare(ws_queries('{100,100,100}', 2, 'full', 0), 'k => 10, norm => ''none''') AS c;
SELECT searches > 1000 AS searched, tries >= 4 AS kept FROM ws_worker;

-- more than a message holds: pieces follow each other
CREATE TABLE ws_many AS SELECT array_agg(q) AS queries FROM generate_series(1, 30), LATERAL unnest(ws_queries('{100,100,100,100}', 0, 'full', 0)) AS q;
SELECT cardinality(here) AS rows, here = away AS same FROM ws_sets, ws_many,
	LATERAL (SELECT array(SELECT ws_found('off', ids, queries, 'k => 5, beam_size => 20')) AS here) AS h,
	LATERAL (SELECT array(SELECT ws_found('on', ids, queries, 'k => 5, beam_size => 20')) AS away) AS a WHERE name = 'even';
-- queries of several shapes, one with a set of its own, neighbors
SELECT c.* FROM ws_compare(ws_queries('{100,100,100}', 0, 'full', 0) || ws_queries('{100,50}', 0, 'none', 0) ||
	semtok.logits(array_fill(1.0::real, array[300]), '{100,100,100}', 0, 'full', '{[1,7,14],[2,14,28,1]}') ||
	ws_queries('{100,100,100}', 0, 'masked', 5) || ws_queries('{100,100,100}', 0, 'full', 2), 'k => 7, beam_size => 9') AS c;
-- what stays in the session, options that no worker takes: none is asked
SELECT searches AS before FROM ws_worker \gset
SELECT options, c.* FROM unnest(array['top_k => 3', 'top_p => 0.9', 'length_penalty => 0.5', 'exclude => ''{[1,2,3,1]}''',
		'max_per_prefix => ''{"1": 1}''', 'temperature => 1, seed => 7']) AS options,
	ws_compare(ws_queries('{100,100,100}', 0, 'masked', 0), options) AS c WHERE c.set IN ('ragged', 'one');
SELECT searches = :before AS none FROM ws_worker;

-- semtok.max_worker_bytes: for the session, and an error where all work goes to a worker
SET semtok.max_worker_bytes = '1kB';
SET semtok.offload = auto;
SELECT count(*) FROM ws_sets, semtok.beam_search_batch_set(ids, ws_queries('{100,100,100}', 0, 'full', 0)) WHERE name = 'even';
SET semtok.offload = on;
SELECT count(*) FROM ws_sets, semtok.beam_search_batch_set(ids, ws_queries('{100,100,100}', 0, 'full', 0)) WHERE name = 'even';
RESET semtok.max_worker_bytes;
RESET semtok.offload;
DROP TABLE ws_sets CASCADE;
