-- RecTokens' trie and decoding behaviours, on its golden example. Each statement is named after the
-- upstream test it stands for; test/README.md lists all of them.
CREATE TABLE rt_items (id int PRIMARY KEY, sid semid);
INSERT INTO rt_items VALUES (1, '[1,2,1]'), (2, '[3,1,2]'), (3, '[3,1,3]');
CREATE INDEX rt_items_sid ON rt_items USING semtrie (sid);
CREATE VIEW rt_set AS SELECT semset_agg(sid) AS items FROM rt_items;

-- trie: full_tuple_lookup
SELECT c.sid, c.sid <@ s.items AS found
  FROM rt_set s, unnest('{"[1,2,1]","[3,1,2]","[3,1,3]","[1,2,2]","[1,2]"}'::semid[]) c(sid);
-- trie: valid_next_tokens
SELECT p.prefix, array_agg(n.code ORDER BY n.code) AS codes, array_agg(n.items ORDER BY n.code) AS items
  FROM rt_set s, unnest('{NULL,"[1]","[3]","[3,1]","[1,2]"}'::semid[]) WITH ORDINALITY p(prefix, i),
       semtok.next_codes_set(s.items, p.prefix) n
 GROUP BY p.i, p.prefix ORDER BY p.i;
-- the same of the index
SELECT p.prefix, array_agg(n.code ORDER BY n.code) AS codes, array_agg(n.items ORDER BY n.code) AS items
  FROM unnest('{NULL,"[1]","[3]","[3,1]","[1,2]"}'::semid[]) WITH ORDINALITY p(prefix, i),
       semtok.next_codes('rt_items', p.prefix) n
 GROUP BY p.i, p.prefix ORDER BY p.i;
-- trie: oov_prefix_returns_none
SELECT p.prefix, (SELECT count(*) FROM rt_set s, semtok.next_codes_set(s.items, p.prefix)) AS in_set,
       (SELECT count(*) FROM semtok.next_codes('rt_items_sid', p.prefix)) AS in_index
  FROM unnest('{"[2]","[1,9]","[3,1,2]","[3,1,2,0]","[65535]","[1]@7"}'::semid[]) p(prefix);
-- trie: duplicate_insertion_idempotent
SELECT semset('{"[3,1,2]","[1,2,1]","[3,1,3]","[3,1,2]"}'::semid[]) = items FROM rt_set;
-- trie: shared_prefix_branches; csr: walk
WITH RECURSIVE walk(prefix, items) AS (
  SELECT semid(array[n.code]), n.items FROM rt_set s, semtok.next_codes_set(s.items, NULL) n
  UNION ALL
  SELECT w.prefix || n.code, n.items
    FROM walk w, rt_set s, semtok.next_codes_set(s.items, w.prefix) n
)
SELECT * FROM walk ORDER BY prefix;

-- One query for all that follows: logits that would rather leave the trie at every step.
CREATE VIEW rt_query AS
SELECT semtok.logits('{{5,1,5,0.5},{5,0.25,-1,5},{5,0,1,-2}}'::real[], norm => 'masked') AS masked,
       semtok.logits('{{5,1,5,0.5},{5,0.25,-1,5},{5,0,1,-2}}'::real[]) AS plain;

-- decoding: beam_search shapes, all_outputs_valid; fewer items than beams give fewer rows
SELECT b.rank, b.sid, round(b.logprob::numeric, 6) AS logprob, b.items
  FROM rt_query q, semtok.beam_search('rt_items', q.masked, k => 10, beam_size => 20) b;
SELECT count(*), bool_and(b.sid <@ s.items) AS all_valid
  FROM rt_query q, rt_set s, semtok.beam_search_set(s.items, q.masked, k => 2, beam_size => 2) b;
-- the set gives the same rows, to the last bit
SELECT count(*) FROM rt_query q, rt_set s,
  LATERAL (SELECT * FROM semtok.beam_search_set(s.items, q.masked)
           EXCEPT SELECT * FROM semtok.beam_search('rt_items', q.masked)) x;
-- the mask comes before the softmax: over the set the probabilities sum to 1
SELECT round(sum(exp(b.logprob))::numeric, 9) AS total
  FROM rt_query q, rt_set s, semtok.beam_search_set(s.items, q.masked) b;
-- without it they do not, and every item's log-probability is lower
SELECT round(sum(exp(p.logprob))::numeric, 9) AS total, bool_and(p.logprob < m.logprob) AS lower
  FROM rt_query q, rt_set s, semtok.beam_search_set(s.items, q.plain) p
  JOIN (SELECT b.* FROM rt_query q, rt_set s, semtok.beam_search_set(s.items, q.masked) b) m USING (sid);
-- decoding: beam_search cumulative_log_probas: each score is the running sum of its levels
SELECT b.sid, b.logprob = 0::float8 + sum(e.logprob ORDER BY e.level) AS cumulative
  FROM rt_query q, rt_set s, semtok.beam_search_set(s.items, q.masked) b,
       semtok.explain(b.sid, q.masked, s.items) e
 GROUP BY b.rank, b.sid, b.logprob ORDER BY b.rank;
-- sorted by score
SELECT array_agg(rank ORDER BY logprob DESC, sid) FROM rt_query q, semtok.beam_search('rt_items', q.plain);
-- decoding: k1_beam1_is_valid, autoregressive_generation_loop: one beam is the greedy walk
SELECT b.sid FROM rt_query q, semtok.beam_search('rt_items', q.masked, 1, 1) b;
WITH RECURSIVE greedy(level, prefix) AS (
  SELECT 0, NULL::semid
  UNION ALL
  SELECT g.level + 1, CASE WHEN g.prefix IS NULL THEN semid(array[n.code]) ELSE g.prefix || n.code END
    FROM greedy g,
    LATERAL (SELECT c.code FROM semtok.next_codes('rt_items', g.prefix) c
              ORDER BY ('{{5,1,5,0.5},{5,0.25,-1,5},{5,0,1,-2}}'::real[])[g.level + 1][c.code + 1] DESC LIMIT 1) n
   WHERE g.level < 3
)
SELECT prefix FROM greedy WHERE level = 3;
-- a beam of one follows the better first code even where another item is better as a whole
SELECT b.beam_size, r.sid, round(r.logprob::numeric, 4) AS logprob
  FROM (VALUES (1), (2)) b(beam_size),
       semtok.beam_search_set(semset('{"[0,0]","[0,1]","[0,2]","[1,0]"}'::semid[]),
                              semtok.logits('{{0.2,0,-9},{0,0,0}}'::real[], norm => 'masked'),
                              k => 1, beam_size => b.beam_size) r;

-- decoding: decode_one_step_dense_path: one step is the mask, the softmax, the choice
SELECT b.sid, round(b.logprob::numeric, 6) AS logprob
  FROM semtok.beam_search_set('{[1],[3]}', semtok.logits('{{5,1,5,0.5}}'::real[], norm => 'masked'), k => 1) b;
-- sampling as RecTokens does: at each step `candidates` children of each beam without replacement,
-- then the best stay. beam_search shapes and all_outputs_valid: catalogs of few codes, of many, of both
CREATE TABLE rt_shapes AS
SELECT what, semset_agg(semid(array[i % codes[1], i / 4 % codes[2], i / 16 % codes[3]])) AS items, codes
  FROM (VALUES ('dense_only', '{4,4,4}'::int[]), ('nondense_dominated', '{3000,3000,3000}'), ('mixed_dense_nondense', '{4,3000,5}')) v(what, codes),
       generate_series(1, 500) i GROUP BY what, codes;
SELECT s.what, sampler, temperature, d.*
  FROM rt_shapes s, unnest('{gumbel,rectokens}'::text[]) sampler, unnest('{1,0.3}'::float8[]) temperature,
       LATERAL (SELECT semtok.logits(array(SELECT sin(l)::real FROM generate_series(1, codes[1] + codes[2] + codes[3]) l), codes, norm => 'masked') AS q) q,
       LATERAL (SELECT count(*) = 20 * 8 AS shape, count(DISTINCT (i, b.sid)) = 20 * 8 AS none_twice, bool_and(b.sid <@ s.items) AS all_valid, bool_and(b.logprob <= 0) AS probabilities
                  FROM generate_series(1, 20) i, semtok.beam_search_set(s.items, q.q, 8, 8, temperature => temperature, sampler => sampler, seed => i) b) d
 ORDER BY 1, 2, 3;
-- beam_search cumulative_log_probas: of the tempered softmax over the mask; sorted by score
SELECT sampler, bool_and(abs(b.logprob - e.logprob) < 1e-6) AS cumulative, bool_and(sampler = 'gumbel' OR b.logprob <= coalesce(b.before, 0)) AS sorted
  FROM rt_query q, rt_set s, unnest('{gumbel,rectokens}'::text[]) sampler, generate_series(1, 10) i,
       LATERAL (SELECT d.*, lag(d.logprob) OVER (ORDER BY d.rank) AS before
                  FROM semtok.beam_search_set(s.items, q.masked, temperature => 0.5, sampler => sampler, seed => i) d) b,
       LATERAL (SELECT sum(x.logprob) AS logprob
                  FROM semtok.explain(b.sid, semtok.logits('{{10,2,10,1},{10,0.5,-2,10},{10,0,2,-4}}'::real[], norm => 'masked'), s.items) x) e
 GROUP BY sampler ORDER BY sampler;
-- fewer children than candidates: RecTokens fails or returns what is not there; here fewer rows come
SELECT count(*), bool_and(b.sid <@ s.items) AS all_valid
  FROM rt_query q, rt_set s, semtok.beam_search_set(s.items, q.masked, 10, 20, temperature => 1, sampler => 'rectokens', candidates => 100, seed => 1) b;
-- one candidate a step is a walk by chance
SELECT count(DISTINCT b.sid), max(b.rank) FROM rt_query q, rt_set s, generate_series(1, 50) i,
       semtok.beam_search_set(s.items, q.masked, 3, 3, temperature => 2, sampler => 'rectokens', candidates => 1, seed => i) b;

DROP TABLE rt_shapes;
DROP VIEW rt_query, rt_set;
DROP TABLE rt_items;
