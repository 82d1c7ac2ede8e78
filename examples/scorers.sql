-- Models as functions: what semtok.beam_search_with asks for logits, level by level.
--
--   psql -f examples/scorers.sql shop
--
-- A scorer is any function (context jsonb, prefixes semid[], level int) that returns real[]: for each
-- prefix a logit for each code that may come next, one row after the other (or a two-dimensional
-- array). The context is what the caller hands to the search. The first call has the prefixes '{NULL}',
-- the empty one; the search asks once a level, for all prefixes that are still in it, and only those
-- that items have.
--
-- It shows a scorer in SQL, one in PL/Python where that is installed, and an n-gram model of shoppers'
-- histories in tables. All of it is in schema scorers, which it makes anew.
\set ON_ERROR_STOP on
\set QUIET on
SET client_min_messages = warning;
DROP SCHEMA IF EXISTS scorers CASCADE;
CREATE SCHEMA scorers;
SET search_path = scorers, public;

-- A small shop: ids of 3 levels of 4 codes, as tokenizer 1 has made them.
CREATE TABLE items (id int PRIMARY KEY, title text, sid semid);
INSERT INTO items VALUES
  (1, 'tent',          '[0,0,0]@1'), (2, 'sleeping bag', '[0,0,1]@1'), (3, 'camping mat', '[0,0,2]@1'),
  (4, 'gas stove',     '[0,1,0]@1'), (5, 'lantern',      '[0,1,1]@1'), (6, 'rain jacket', '[1,0,0]@1'),
  (7, 'hiking boots',  '[1,0,1]@1'), (8, 'wool socks',   '[1,1,0]@1'), (9, 'sun hat',     '[1,1,1]@1'),
  (10, 'road bike',    '[2,0,0]@1'), (11, 'bike helmet', '[2,0,1]@1'), (12, 'bike lamp',  '[2,1,0]@1'),
  (13, 'inner tube',   '[2,1,1]@1'), (14, 'bike pump',   '[2,1,2]@1'), (15, 'kayak',      '[3,0,0]@1'),
  (16, 'paddle',       '[3,0,1]@1'), (17, 'dry bag',     '[3,1,0]@1'), (18, 'life vest',  '[3,1,1]@1');
CREATE INDEX ON items USING semtrie (sid);

\echo 1. In SQL: what is like the item in the context. A code counts the more, the nearer it is to that
\echo '   item''s, as long as the prefix is that item''s too.'
CREATE FUNCTION like_item(context jsonb, prefixes semid[], level int) RETURNS real[]
LANGUAGE sql STABLE AS $$
  SELECT array_agg((CASE WHEN p.prefix IS NULL OR context ->> 'sid' IS NULL OR (context ->> 'sid')::semid ^@ p.prefix
                         THEN - abs(code - semid_code((context ->> 'sid')::semid, level)) ELSE 0 END)::real
                   ORDER BY p.n, code)
  FROM unnest(prefixes) WITH ORDINALITY AS p(prefix, n), generate_series(0, 3) AS code
$$;
-- The ids that it knows are tokenizer 1's: items of another are an error, not nonsense.
ALTER FUNCTION like_item SET semtok.scorer_tokenizer = 1;
SELECT f.rank, i.title, round(f.logprob::numeric, 3) AS logprob
FROM semtok.beam_search_with('items', 'like_item(jsonb, semid[], int)', '{"sid": "[2,1,1]@1"}', k => 4) AS f
JOIN items i USING (sid) ORDER BY f.rank, i.id;

\echo 2. In PL/Python, where a model of any library can be called: it would be loaded once a session.
SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'plpython3u') AS has_python \gset
\if :has_python
CREATE EXTENSION IF NOT EXISTS plpython3u;
CREATE FUNCTION in_python(context jsonb, prefixes semid[], level int) RETURNS real[]
LANGUAGE plpython3u STABLE AS $$
import json
# A prefix comes as its text, [2,1]@1; SD keeps what a model needs from call to call.
if "liked" not in SD:
    SD["liked"] = {}
wanted = json.loads(context)["codes"]
logits = []
for prefix in prefixes:
    logits += [-abs(code - wanted[level]) for code in range(4)]
return logits
$$;
SELECT f.rank, i.title, round(f.logprob::numeric, 3) AS logprob
FROM semtok.beam_search_with('items', 'in_python(jsonb, semid[], int)', '{"codes": [0, 1, 1]}', k => 3) AS f
JOIN items i USING (sid) ORDER BY f.rank, i.id;
\else
\echo '   PL/Python (postgresql-plpython3) is not installed: left out.'
\endif

\echo 3. An n-gram model, made of what shoppers bought, oldest first.
CREATE TABLE histories (shopper int, items int[]);
INSERT INTO histories VALUES
  (1, '{1,2,3,5}'), (2, '{1,2,4}'), (3, '{2,3,5}'), (4, '{7,8,6}'), (5, '{7,8,1,2}'), (6, '{10,11,12}'),
  (7, '{10,11,14,13}'), (8, '{10,13,14}'), (9, '{15,16,18}'), (10, '{15,18,16,17}'), (11, '{6,7,8}'),
  (12, '{1,3,2,5}'), (13, '{11,12,13}'), (14, '{15,16,17}'), (15, '{7,9}'), (16, '{2,5,4}');

-- How often each code came after a prefix of the next item's id: of all items (context null), given the
-- first codes of the item before, given that item. What is not counted backs off to the less special.
CREATE TABLE counts AS
SELECT c.context, (semid_codes(next.sid))[1:l] AS prefix, semid_code(next.sid, l) AS code, count(*) AS n
FROM histories h
CROSS JOIN LATERAL unnest(h.items) WITH ORDINALITY AS bought(id, at)
JOIN items next ON next.id = bought.id
LEFT JOIN items last ON last.id = h.items[bought.at - 1]
CROSS JOIN LATERAL (SELECT NULL::semid UNION ALL
                    SELECT last.sid WHERE last.id IS NOT NULL UNION ALL
                    SELECT semid_prefix(last.sid, 1) WHERE last.id IS NOT NULL) AS c(context)
CROSS JOIN generate_series(0, 2) AS l
GROUP BY 1, 2, 3;
CREATE INDEX ON counts (prefix, context);

-- The logarithm of a mixture of the three, the special ones weighing most, and a little for codes that
-- never came: an item that nobody bought has a chance too. The context: {"last": the id bought last}.
CREATE FUNCTION ngram(context jsonb, prefixes semid[], level int) RETURNS real[]
LANGUAGE sql STABLE AS $$
  WITH p AS (SELECT coalesce(semid_codes(prefix), '{}') AS prefix, n
             FROM unnest(prefixes) WITH ORDINALITY AS u(prefix, n)),
       orders (context, weight) AS (VALUES (NULL::semid, 0.15), (semid_prefix((context ->> 'last')::semid, 1), 0.25),
                                           ((context ->> 'last')::semid, 0.59)),
       seen AS (SELECT p.n, c.code, o.weight * c.n / sum(c.n) OVER (PARTITION BY p.n, o.context) AS share
                FROM p JOIN counts c USING (prefix) JOIN orders o ON o.context IS NOT DISTINCT FROM c.context)
  SELECT array_agg(ln(0.01 / 4 + coalesce(s.share, 0))::real ORDER BY p.n, code)
  FROM p CROSS JOIN generate_series(0, 3) AS code
  LEFT JOIN (SELECT n, code, sum(share) AS share FROM seen GROUP BY n, code) s USING (n, code)
$$;
ALTER FUNCTION ngram SET semtok.scorer_tokenizer = 1;

\echo '   After the road bike, what is bought next?'
SELECT f.rank, i.title, round(exp(f.logprob)::numeric, 3) AS probability
FROM semtok.beam_search_with('items', 'ngram(jsonb, semid[], int)', '{"last": "[2,0,0]@1"}', k => 3, exact => true) AS f
JOIN items i USING (sid) ORDER BY f.rank, i.id;

\echo '   For each of three shoppers, without what they have, at most one of a kind (the first code).'
SELECT h.shopper, f.rank, i.title, round(exp(f.logprob)::numeric, 3) AS probability
FROM histories h
CROSS JOIN LATERAL (SELECT jsonb_build_object('last', last.sid) AS context FROM items last
                    WHERE last.id = h.items[cardinality(h.items)]) AS c
CROSS JOIN LATERAL (SELECT semset_agg(had.sid) AS ids FROM items had WHERE had.id = ANY (h.items)) AS had
CROSS JOIN LATERAL semtok.beam_search_with('items', 'ngram(jsonb, semid[], int)', c.context, k => 2,
                                           exclude => had.ids, max_per_prefix => '{"1": 1}') AS f
JOIN items i USING (sid)
WHERE h.shopper IN (2, 5, 9) ORDER BY h.shopper, f.rank, i.id;

\echo '   All probabilities together: the model is one over the items that exist.'
SELECT count(*) AS items, round(sum(exp(logprob))::numeric, 6) AS probability
FROM semtok.beam_search_with('items', 'ngram(jsonb, semid[], int)', '{"last": "[0,0,0]@1"}', k => 50);
