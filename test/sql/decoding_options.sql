-- beam_search's options, one by one, on catalogs small enough to check each answer by hand. The set
-- and the table must agree in all of them.
CREATE TABLE o_items (id int, sid semid);
CREATE FUNCTION o_both(q semquery, k int DEFAULT 10, beam_size int DEFAULT 50, top_k int DEFAULT NULL, top_p float8 DEFAULT NULL,
  norm text DEFAULT NULL, length_penalty float8 DEFAULT 0, exact boolean DEFAULT false, exclude semset DEFAULT NULL, max_per_prefix jsonb DEFAULT NULL,
  OUT from_table text, OUT from_set text) LANGUAGE sql AS $$
  SELECT (SELECT string_agg(format('%s %s', b.sid, round(b.logprob::numeric, 4)), '; ' ORDER BY b.rank)
            FROM semtok.beam_search('o_items', q, k, beam_size, top_k => top_k, top_p => top_p, norm => norm, length_penalty => length_penalty,
                                    exact => exact, exclude => exclude, max_per_prefix => max_per_prefix) b),
         (SELECT CASE WHEN bool_and(b.items = 1) THEN string_agg(format('%s %s', b.sid, round(b.logprob::numeric, 4)), '; ' ORDER BY b.rank) END
            FROM semtok.beam_search_set((SELECT semset_agg(sid) FROM o_items), q, k, beam_size, top_k => top_k, top_p => top_p, norm => norm, length_penalty => length_penalty,
                                    exact => exact, exclude => exclude, max_per_prefix => max_per_prefix) b)
$$;
INSERT INTO o_items SELECT i, semid(c) FROM (VALUES (1, '{0,0}'::int[]), (2, '{0,1}'), (3, '{0,2}'), (4, '{1,0}'), (5, '{1,2}'), (6, '{2,1}'), (7, '{0,0}')) t(i, c);
CREATE INDEX o_items_sid ON o_items USING semtrie (sid);
-- scores are sums: 3 2 0 for the first code, 0 1 3 for the second
CREATE VIEW o_query AS SELECT semtok.logits('{{3,2,0},{0,1,3}}', norm => 'none') AS q;

-- k and beam_size: the best by score; of a shared id the rows are counted, and can be ordered by a column
SELECT b.* FROM o_query, semtok.beam_search('o_items', q) b;
SELECT b.* FROM o_query, semtok.beam_search('o_items', q, 2) b;
SELECT b.rank, i.sid, i.id FROM o_query, semtok.beam_search('o_items', q, 5) b JOIN o_items i USING (sid) ORDER BY b.rank, i.id DESC;
SELECT i.id FROM o_query, o_items i ORDER BY i.sid <~> q, i.id DESC;
-- one beam follows the best first code: there it is right, in the second catalog it is not; exact is
SELECT o.* FROM o_query, o_both(q, 1, 1) o;
SELECT beam_size, exact, b.sid, b.logprob FROM (VALUES (1, false), (2, false), (1, true)) v(beam_size, exact),
  semtok.beam_search_set('{[0,0],[0,1],[1,2]}', semtok.logits('{{3,2},{0,1}}', '{2,2}', norm => 'none'), 1, beam_size, exact => exact) b;
SELECT beam_size, exact, b.sid, b.logprob FROM (VALUES (1, false), (2, false), (1, true)) v(beam_size, exact),
  semtok.beam_search_set('{[0,0],[0,1],[1,2]}', semtok.logits('{{3,2,0},{0,1,3}}', norm => 'none'), 1, beam_size, exact => exact) b;
-- exact needs no beam as wide as k
SELECT count(*) FROM o_query, semtok.beam_search('o_items', q, 10, 1, exact => true);

-- top_k: of each prefix the best codes that exist
SELECT o.* FROM o_query, o_both(q, top_k => 1) o;
SELECT o.* FROM o_query, o_both(q, top_k => 2) o;
SELECT o.* FROM o_query, o_both(q, top_k => 1000000) o;
-- after the constraint: what is excluded does not take the place of what exists
SELECT o.* FROM o_query, o_both(q, top_k => 1, exclude => '{[0,2]}') o;
SELECT o.* FROM o_query, o_both(q, top_k => 1, exclude => '{[0,0],[0,1],[0,2]}') o;

-- top_p: the fewest codes whose probability, among those that exist, reaches it. First codes: 0.7054,
-- 0.2595, 0.0351; below 0: 0.0420, 0.1142, 0.8438; below 1: 0.0474, 0.9526; below 2: 1
SELECT p, o.from_table, o.from_table = o.from_set AS same FROM o_query, unnest('{0.01,0.7,0.71,0.9,0.96,0.97,1}'::float8[]) p, o_both(q, top_p => p) o;
SELECT o.* FROM o_query, o_both(q, top_p => 0.01, exclude => '{[0,2]}') o;
SELECT o.* FROM o_query, o_both(q, top_k => 2, top_p => 0.9) o;

-- norm: the same logits, normalised over all codes or over those that exist
SELECT norm, o.* FROM o_query, unnest('{none,full,masked}'::text[]) norm, o_both(q, 3, norm => norm) o;
-- exact is so too where the probabilities depend on what exists
SELECT o.* FROM o_query, o_both(q, 3, norm => 'masked', exact => true) o;
-- masked leaves out of the sum what is excluded: below 0 only 1 is left, and its probability is 1
SELECT o.* FROM o_query, o_both(q, norm => 'masked', exclude => '{[0,0],[0,2],[2,1],[9,9]}') o;

-- exclude: what is excluded does not fill the beam
SELECT o.* FROM o_query, o_both(q, 1, 1, exclude => '{[0,2]}') o;
SELECT o.* FROM o_query, o_both(q, 2, 2, exclude => '{[0,2],[0,1],[0,0]}') o;
SELECT o.* FROM o_query, o_both(q, exclude => '{}') o;
SELECT o.* FROM o_query, o_both(q, exclude => (SELECT semset_agg(sid) FROM o_items)) o;
-- an id of another tokenizer, a prefix and an extension are other ids
SELECT o.* FROM o_query, o_both(q, 2, exclude => '{[0,2]@1,[0],[0,2,0]}') o;
-- already bought, in one statement
CREATE TABLE o_bought (customer int, item int);
INSERT INTO o_bought VALUES (1, 3), (1, 5), (2, 1);
SELECT b.rank, b.sid FROM o_query,
  semtok.beam_search('o_items', q, 3, exclude => (SELECT semset_agg(i.sid) FROM o_bought JOIN o_items i ON i.id = item WHERE customer = 1)) b;
SELECT b.rank, b.sid FROM o_query,
  semtok.beam_search('o_items', q, 3, exclude => (SELECT semset_agg(i.sid) FROM o_bought JOIN o_items i ON i.id = item WHERE customer = 99)) b;

-- max_per_prefix: at most so many that begin with the same codes
SELECT o.* FROM o_query, o_both(q, max_per_prefix => '{"1": 1}') o;
SELECT o.* FROM o_query, o_both(q, max_per_prefix => '{"1": 2}') o;
SELECT o.* FROM o_query, o_both(q, max_per_prefix => '{"1": 2, "2": 1}', exact => true) o;
SELECT o.* FROM o_query, o_both(q, max_per_prefix => '{}') o;
SELECT o.* FROM o_query, o_both(q, max_per_prefix => '{"32": 1, "2": 9223372036854775807}') o;
SELECT o.* FROM o_query, o_both(q, 3, 3, exclude => '{[0,2]}', max_per_prefix => '{"1": 1}') o;
-- what is full does not fill the beam
SELECT o.* FROM o_query, o_both(q, 3, 3, max_per_prefix => '{"1": 1}') o;
-- a limit that the rows of a table decide: by a window over more results than are wanted
SELECT x.sid, x.brand FROM (
  SELECT b.rank, i.sid, i.id % 2 AS brand, row_number() OVER (PARTITION BY i.id % 2 ORDER BY b.rank, i.id) AS n
    FROM o_query, semtok.beam_search('o_items', q, 50) b JOIN o_items i USING (sid)) x
 WHERE x.n <= 2 ORDER BY x.rank;

-- nothing that costs infinity; no rows is an answer
SELECT o.* FROM o_both(semtok.logits('{{3,-Infinity,0},{0,-Infinity,3}}', norm => 'none')) o;
SELECT o.* FROM o_both(semtok.logits('{{-Infinity,-Infinity,-Infinity},{0,1,3}}', norm => 'none')) o;
SELECT o.* FROM o_both(semtok.logits('{{-Infinity,-Infinity,-Infinity},{0,1,3}}', norm => 'masked')) o;
SELECT o.* FROM o_both(semtok.logits('{{-Infinity,-Infinity,-Infinity},{0,1,3}}', norm => 'masked'), exact => true) o;
SELECT o.* FROM o_both(semtok.logits('{{-Infinity,-Infinity,-Infinity},{0,1,3}}', norm => 'none'), norm => 'full') o;
SELECT o.* FROM o_both(semtok.logits('{{3,2,0},{0,-Infinity,-Infinity}}', norm => 'none'), norm => 'full') o;
-- a beam of prefixes that lead nowhere is no reason for no rows: the search is done again, exactly
SELECT o.* FROM o_both(semtok.logits('{{5,1,0},{-Infinity,-Infinity,3}}', norm => 'none'), 1, 1, exclude => '{[0,2]}') o;
SELECT o.* FROM o_both(semtok.logits('{{5,1,0},{-Infinity,2,-Infinity}}', norm => 'masked'), 1, 1, exclude => '{[0,1]}') o;
-- a beam of huge numbers
SELECT o.from_table, o.from_table = o.from_set AS same FROM o_both(semtok.logits('{{3e38,-3e38,3e38},{3e38,3e38,-3e38}}', norm => 'none'), exact => true) o;
SELECT o.* FROM o_both(semtok.logits('{{3e38,-3e38,3e38},{3e38,3e38,-3e38}}', norm => 'masked')) o;
-- queries that fit nothing: another tokenizer, more levels than the ids have, fewer codes
SELECT o.* FROM o_both(semtok.logits('{{3,2,0},{0,1,3}}', tokenizer => 7)) o;
SELECT o.* FROM o_both(semtok.logits('{{3,2,0},{0,1,3},{0,1,3}}')) o;
SELECT o.* FROM o_both(semtok.logits('{{3},{0}}', norm => 'none')) o;

-- ids of unlike length and of several tokenizers: an id below an id, ties by the id
TRUNCATE o_items;
INSERT INTO o_items SELECT i, c::semid
  FROM (VALUES (1, '[0]'), (2, '[0,0]'), (3, '[0,0,1]'), (4, '[0,1]@3'), (5, '[1,1,1]@3'), (6, '[1,1]'), (7, '[0,0,1]')) t(i, c);
SELECT o.* FROM o_query, o_both(q) o;
SELECT o.* FROM o_both(semtok.logits('{{3,2,0},{0,1,3}}', tokenizer => 3, norm => 'none')) o;
SELECT o.* FROM o_both(semtok.logits('{{3,2,0}}', norm => 'none')) o;
SELECT o.* FROM o_both(semtok.logits('{{3,2,0}}', norm => 'none'), exclude => '{[0],[0,0,1]}') o;
SELECT o.* FROM o_both(semtok.logits('{{3,2,0}}', norm => 'none'), max_per_prefix => '{"1": 2}') o;
-- a length penalty divides the cost by levels ^ penalty: for probabilities the longer rise
SELECT penalty, o.from_table, o.from_table = o.from_set AS same
  FROM unnest('{0,1,2,-1}'::float8[]) penalty, o_both(semtok.logits('{{0,0,0}}'), length_penalty => penalty) o;
SELECT penalty, o.from_table, o.from_table = o.from_set AS same
  FROM unnest('{0,1}'::float8[]) penalty, o_both(semtok.logits('{{3,2,0},{0,1,3}}'), 3, length_penalty => penalty, exact => true) o;

-- neighbors: by distance, with the options that need no probabilities
WITH n AS (SELECT semtok.neighbors(codebook_agg(l, c, array[c, l]::real[]), '{0.9,1}') AS q FROM generate_series(0, 1) l, generate_series(0, 2) c)
SELECT o.* FROM n, o_both(n.q, exclude => '{[0,0]}', max_per_prefix => '{"2": 1}') o;

-- nulls: no items or no query, no rows; no exclusion, no limits
SELECT count(*) FROM o_query, semtok.beam_search(NULL, q);
SELECT count(*) FROM semtok.beam_search_set('{[0,0]}', NULL);
SELECT count(*) FROM o_query, semtok.beam_search('o_items', q, seed => NULL, top_k => NULL, top_p => NULL, norm => NULL, exclude => NULL, max_per_prefix => NULL, candidates => NULL);

DROP VIEW o_query;
DROP TABLE o_items, o_bought;
DROP FUNCTION o_both;
