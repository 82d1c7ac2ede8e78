\echo » A semantic ID is a short path of codes that items with similar embeddings share. Training finds the codewords level by level (residual k-means); encoding picks the nearest one at every level.
:show
SELECT semtok.train('items', 'SELECT embedding FROM items', levels => :levels, codes => :codes);
:hide
:show
ALTER TABLE items ADD sid semid;
CALL semtok.tokenize('items', 'embedding', 'sid', 'items');
:hide
:show
CREATE INDEX items_sid ON items USING semtrie (sid);
:hide
ANALYZE items;
:show
SELECT item_id, left(title, 66) AS title, sid FROM items ORDER BY item_id LIMIT 5;
:hide

\echo » How well do the ids keep the embeddings? Per level: the mean squared error of what the codes so far say, the same relative to the spread of the embeddings, and how the codewords are used.
:show
SELECT coalesce(level::text, 'all') AS level, round(mse::numeric, 4) AS mse,
       round(relative_error::numeric, 4) AS relative_error,
       round(perplexity::numeric, 1) AS perplexity, dead_codes,
       round(unique_fraction::numeric, 3) AS unique_fraction, largest_collision
FROM semtok.evaluate('items', 'SELECT embedding FROM items') ORDER BY level;
:hide

SELECT format('» %s items have %s distinct ids (%s); the others share theirs (scene 3). The index takes %s.',
              count(*), count(DISTINCT sid), demo.percent(count(DISTINCT sid)::float8 / count(*), 1),
              pg_size_pretty(pg_relation_size('items_sid')))
FROM items \g (format=unaligned tuples_only=on)
SELECT demo.check('every item has an id of this tokenizer', bool_and(semid_tokenizer(sid) = 1))
FROM items \g (format=unaligned tuples_only=on)
SELECT demo.check('the index agrees with the table: index_check finds nothing wrong', true)
FROM (SELECT semtok.index_check('items_sid', true)) AS checked \g (format=unaligned tuples_only=on)

\echo » Training and tokenizing computed in semtokd, a process of its own. Had it failed, sessions would have computed the same by themselves, and warned.
:show
SELECT kind, state, engine, threads, requests, rows, fallbacks, restarts FROM semtok.workers;
:hide
SELECT demo.check('a worker computed, and no session in its place', requests > 0 AND fallbacks = 0)
FROM semtok.workers WHERE kind = 'shared' \g (format=unaligned tuples_only=on)
