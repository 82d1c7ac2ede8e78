-- beam_search with a temperature: whole items are drawn, none twice, from the distribution that norm
-- and temperature describe. What is drawn depends on seed, query number and path of codes alone, so a
-- table and a set of the same items give the same rows.
CREATE TABLE sm_items (id int, sid semid);
INSERT INTO sm_items SELECT i, semid(array[i % 5, i / 5 % 4, i % 3], 1) FROM generate_series(0, 199) i;
INSERT INTO sm_items VALUES (500, '[0,0]@1'), (501, '[1,1,1,1]@1'), (502, '[1,1,1,2]@1'), (503, '[2,2,2]@2');
CREATE INDEX sm_items_sid ON sm_items USING semtrie (sid);
CREATE TABLE sm_set AS SELECT semset_agg(sid) AS items FROM sm_items;
CREATE VIEW sm_query AS
SELECT semtok.logits('{0.1,1.5,-0.3,0.8,0.05, 1,-1,0.5,0.3, 0,0.7,-0.7}'::real[], '{5,4,3}', 1, 'masked') AS q;

-- no id twice, none that is not there; the seed decides
SELECT b.rank, b.sid, round(b.logprob::numeric, 6) AS logprob, b.items
  FROM sm_query, semtok.beam_search('sm_items', q, 5, temperature => 1, seed => 42) b;
SELECT temperature, count(*), count(DISTINCT b.sid) AS different, bool_and(b.sid <@ s.items) AS all_valid,
       array_agg(b.rank ORDER BY b.rank) = array(SELECT generate_series(1, 20)) AS ranked
  FROM sm_query, sm_set s, unnest('{0.01,0.5,1,3,1e300}'::float8[]) temperature,
       semtok.beam_search('sm_items', q, 20, temperature => temperature, seed => 7) b GROUP BY temperature ORDER BY 1;
SELECT (SELECT array_agg(b) FROM semtok.beam_search('sm_items', q, 20, temperature => 1, seed => 7) b)
     = (SELECT array_agg(b) FROM semtok.beam_search('sm_items', q, 20, temperature => 1, seed => 7) b) AS same_seed_same_rows,
       (SELECT array_agg(b.sid) FROM semtok.beam_search('sm_items', q, 20, temperature => 1, seed => 7) b)
     = (SELECT array_agg(b.sid) FROM semtok.beam_search('sm_items', q, 20, temperature => 1, seed => 8) b) AS other_seed_same_rows
  FROM sm_query;
-- without a seed each call draws anew, also in one statement
SELECT count(DISTINCT x.ids) > 1 AS different
  FROM generate_series(1, 20) i, sm_query,
       LATERAL (SELECT array_agg(b.sid ORDER BY b.rank) AS ids FROM semtok.beam_search('sm_items', q, 10, 50 + i, temperature => 1) b) x;
-- seeds are all 64 bits
SELECT count(DISTINCT x.ids) FROM sm_query, unnest('{0,-1,4294967296,9223372036854775807,-9223372036854775808}'::bigint[]) seed,
  LATERAL (SELECT array_agg(b.sid ORDER BY b.rank) AS ids FROM semtok.beam_search('sm_items', q, 10, temperature => 1, seed => seed) b) x;

-- a set draws what a table draws, to the last bit, with every option
CREATE FUNCTION sm_differ(VARIADIC options text[]) RETURNS TABLE (what text, n bigint, differences bigint) LANGUAGE plpgsql AS $$
BEGIN
	FOREACH what IN ARRAY options LOOP
		EXECUTE format('SELECT count(*), count(*) FILTER (WHERE t IS DISTINCT FROM s)
			FROM sm_query, sm_set x, generate_series(1, 20) i,
			LATERAL semtok.beam_search(''sm_items'', q, seed => i, %1$s) b
			FULL JOIN LATERAL semtok.beam_search_set(x.items, q, seed => i, %1$s) c USING (rank),
			LATERAL (SELECT ROW(b.sid, b.logprob), ROW(c.sid, c.logprob)) y(t, s)', what) INTO n, differences;
		RETURN NEXT;
	END LOOP;
END $$;
SELECT * FROM sm_differ('temperature => 1', 'temperature => 0.2', 'k => 60, beam_size => 60, temperature => 2', 'temperature => 1, top_k => 2',
  'temperature => 1, top_p => 0.6', 'temperature => 1, top_k => 3, top_p => 0.9', 'temperature => 1, exclude => ''{[0,0,0]@1,[1,1,1]@1}''',
  'temperature => 1, max_per_prefix => ''{"1": 2}''', 'temperature => 1, sampler => ''rectokens''', 'temperature => 1, sampler => ''rectokens'', candidates => 2',
  'k => 3, beam_size => 3, temperature => 1, sampler => ''rectokens'', candidates => 1');
-- the beam's width decides nothing: more of the same order
SELECT k, beam_size, count(*), count(*) FILTER (WHERE b.sid <> w.sid OR b.logprob <> w.logprob) AS differences
  FROM sm_query, (VALUES (1, 1), (5, 5), (5, 50), (20, 20), (20, 1000000)) v(k, beam_size),
       LATERAL semtok.beam_search('sm_items', q, k, beam_size, temperature => 1, seed => 3) b
  JOIN LATERAL semtok.beam_search('sm_items', q, 1000, 1000, temperature => 1, seed => 3) w USING (rank)
 GROUP BY 1, 2 ORDER BY 1, 2;
-- with more than there are, all come, each once; those that no code leads to never
SELECT count(*), count(DISTINCT b.sid), (SELECT count(DISTINCT sid) FROM sm_items WHERE sid ^@ '[1]@1' AND semid_levels(sid) >= 3) AS there_are
  FROM semtok.beam_search('sm_items', semtok.logits('{-Infinity,1,-Infinity,-Infinity,-Infinity, 0,0,0,0, 0,0,0}', '{5,4,3}', 1, 'masked'), 1000, 1000, temperature => 1, seed => 1) b;
SELECT count(*) FROM semtok.beam_search('sm_items', semtok.logits(array_fill('-Infinity'::real, '{12}'), '{5,4,3}', 1, 'masked'), temperature => 1, seed => 1) b;
-- options limit what is drawn
SELECT bool_and(b.sid IN ('[1,0,1]@1', '[1,0,0]@1', '[1,0,2]@1')) AS greedy
  FROM sm_query, generate_series(1, 50) i, semtok.beam_search('sm_items', q, 1, temperature => 1, top_k => 1, seed => i) b;
SELECT max(n) FROM (SELECT i, count(*) AS n FROM sm_query, generate_series(1, 20) i,
  semtok.beam_search('sm_items', q, 10, temperature => 5, max_per_prefix => '{"1": 2}', seed => i) b GROUP BY i, semid_prefix(b.sid, 1)) x;
SELECT count(*) FROM sm_query, generate_series(1, 50) i, sm_set s,
  semtok.beam_search('sm_items', q, 10, temperature => 5, exclude => '{[1,0,1]@1,[3,0,1]@1}', seed => i) b WHERE b.sid IN ('[1,0,1]@1', '[3,0,1]@1');
SELECT count(DISTINCT b.sid) FROM sm_query, generate_series(1, 300) i, sm_set s,
  semtok.beam_search_set(s.items, q, 1, temperature => 1e6, exclude => s.items - '{[0,0,0]@1,[1,0,1]@1,[0,0]@1}', seed => i) b;

-- How often: 20,000 draws against the distribution itself. A chi-square of 60 - 1 degrees of freedom
-- is above 107.9 once in 10,000; these seeds are fixed, so it is the same number always.
CREATE FUNCTION sm_chi(norm text, temperature float8, sampler text DEFAULT 'gumbel') RETURNS numeric LANGUAGE sql AS $$
  WITH given AS (SELECT semtok.logits('{0.1,1.5,-0.3,0.8,0.05, 1,-1,0.5,0.3, 0,0.7,-0.7}'::real[], '{5,4,3}', 1, norm) AS q),
  hot AS (SELECT semtok.logits(array(SELECT (l / temperature)::real FROM unnest('{0.1,1.5,-0.3,0.8,0.05, 1,-1,0.5,0.3, 0,0.7,-0.7}'::real[]) l), '{5,4,3}', 1, norm) AS q),
  ids AS (SELECT semset_agg(sid) AS items FROM sm_items WHERE id < 500),
  p AS (SELECT b.sid, exp(b.logprob) / sum(exp(b.logprob)) OVER () AS p
          FROM hot, ids, semtok.beam_search_set(items, q, 1000, 1000) b),
  drawn AS (SELECT b.sid, count(*) AS n FROM given, ids, generate_series(1, 20) i,
            LATERAL semtok.beam_search_batch_set(items, array_fill(q, '{1000}'), 1, 1, temperature => temperature, sampler => sampler, seed => i) b GROUP BY b.sid)
  SELECT round(sum((coalesce(n, 0) - 20000 * p) ^ 2 / (20000 * p))::numeric, 1) FROM p LEFT JOIN drawn USING (sid)
$$;
SELECT sm_chi('masked', 1) < 107.9 AS masked, sm_chi('masked', 0.5) < 107.9 AS colder, sm_chi('full', 1) < 107.9 AS "full", sm_chi('full', 3) < 107.9 AS hotter,
       sm_chi('none', 1) < 107.9 AS "none", sm_chi('masked', 1, 'rectokens') < 107.9 AS rectokens;
-- full and none are the same distribution: one of all items, which must be at hand
SELECT count(*) AS differences FROM sm_set s, sm_query, generate_series(1, 20) i,
  LATERAL (SELECT rank, sid FROM semtok.beam_search_set(s.items, q, temperature => 1, norm => 'full', seed => i)
           EXCEPT SELECT rank, sid FROM semtok.beam_search_set(s.items, q, temperature => 1, norm => 'none', seed => i)) x;
SELECT * FROM sm_query, semtok.beam_search('sm_items', q, temperature => 1, norm => 'full');
SELECT * FROM sm_query, semtok.beam_search('sm_items_sid', q, temperature => 1, norm => 'none');
SELECT * FROM sm_query, semtok.beam_search_batch('sm_items', array[q], temperature => 1, norm => 'none');
-- logprob: of the distribution that was drawn from
SELECT norm, round(sum(exp(b.logprob))::numeric, 9) AS total FROM sm_set s, sm_query, unnest('{masked,full,none}'::text[]) norm,
  semtok.beam_search_set(s.items, q, 1000, 1000, temperature => 0.7, norm => norm, seed => 1) b WHERE b.sid <> '[1,1,1,1]@1' AND b.sid <> '[1,1,1,2]@1' GROUP BY norm ORDER BY 1;

-- a batch: its first query draws as a single one does, the second otherwise, and as in any other batch
WITH b AS (SELECT b.* FROM sm_query, semtok.beam_search_batch('sm_items', array[q, q, NULL, q], 5, temperature => 1, seed => 9) b)
SELECT (SELECT array_agg(sid ORDER BY rank) FROM b WHERE query = 1) = (SELECT array_agg(s.sid ORDER BY rank) FROM sm_query, semtok.beam_search('sm_items', q, 5, temperature => 1, seed => 9) s) AS first_as_alone,
       (SELECT count(DISTINCT ids) FROM (SELECT array_agg(sid ORDER BY rank) AS ids FROM b GROUP BY query) x) AS different,
       (SELECT array_agg(sid ORDER BY rank) FROM b WHERE query = 4) = (SELECT array_agg(s.sid ORDER BY rank) FROM sm_query, semtok.beam_search_batch('sm_items', array[NULL, NULL, NULL, q], 5, temperature => 1, seed => 9) s) AS by_number;

-- rows that are dead or not visible are drawn and passed over: as many as there are still come
BEGIN;
DELETE FROM sm_items WHERE id % 10 > 0;
SELECT count(*) = (SELECT count(DISTINCT i.sid) FROM sm_items i, sm_query WHERE (i.sid <~> semtok.logits(array_fill(0::real, '{12}'), '{5,4,3}', 1)) < 'Infinity') AS all_of_them,
       bool_and(EXISTS (SELECT FROM sm_items i WHERE i.sid = b.sid)) AS visible
  FROM sm_query, semtok.beam_search('sm_items', q, 100, 100, temperature => 1, seed => 4) b;
SELECT sampler, count(*), bool_and(EXISTS (SELECT FROM sm_items i WHERE i.sid = b.sid)) AS visible
  FROM sm_query, unnest('{gumbel,rectokens}'::text[]) sampler, semtok.beam_search('sm_items', q, 5, 5, temperature => 1, seed => 4, sampler => sampler) b GROUP BY 1 ORDER BY 1;
ROLLBACK;

DROP VIEW sm_query;
DROP TABLE sm_items, sm_set;
DROP FUNCTION sm_differ, sm_chi;
