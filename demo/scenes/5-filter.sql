SELECT facet, count(*) AS kept, demo.percent(count(*)::float8 / (SELECT count(*) FROM items), 1) AS share
FROM items WHERE facet NOT IN ('Unknown', '')
GROUP BY facet ORDER BY abs(count(*) - (SELECT 0.01 * count(*) FROM items)), facet LIMIT 1 \gset
SELECT item_id AS example, title AS example_title FROM items WHERE facet <> :'facet'
ORDER BY abs(item_id - (SELECT percentile_disc(0.5) WITHIN GROUP (ORDER BY item_id) FROM items
                        WHERE facet = :'facet')), item_id LIMIT 1 \gset
TRUNCATE question;
INSERT INTO question SELECT semtok.neighbors('items', embedding) FROM items WHERE item_id = :example;
SELECT format('» The ten items most like “%s”, but only where %s is “%s”: %s items, %s of all. Here the condition is part of the search.',
              :'example_title', :'facet_name', :'facet', :'kept', :'share') \g (format=unaligned tuples_only=on)
:show
SELECT left(title, 92) AS title FROM items
WHERE facet = :'facet'
ORDER BY sid <~> (SELECT q FROM question) LIMIT 10;
:hide
\echo » A trie outside the database decodes first, with 50 beams say, and the filter comes afterwards:
:show
SELECT left(title, 92) AS title
FROM semtok.beam_search('items', (SELECT q FROM question), k => 50, beam_size => 50)
     JOIN items USING (sid)
WHERE facet = :'facet' ORDER BY rank LIMIT 10;
:hide

SELECT count(*) AS ours FROM (SELECT FROM items WHERE facet = :'facet'
ORDER BY sid <~> (SELECT q FROM question) LIMIT 10) AS ten \gset
SELECT count(*) AS beams FROM (SELECT FROM
    semtok.beam_search('items', (SELECT q FROM question), k => 50, beam_size => 50)
    JOIN items USING (sid) WHERE facet = :'facet' LIMIT 10) AS ten \gset
SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector'
               AND string_to_array(default_version, '.')::int[] >= '{0,5}') AS pgvector \gset
\if :pgvector
CREATE EXTENSION vector;
SELECT max(cardinality(embedding)) AS dim FROM items \gset
ALTER TABLE items ADD v vector(:dim);
UPDATE items SET v = embedding;
CREATE INDEX items_v ON items USING hnsw (v vector_l2_ops);
ANALYZE items;
\echo » And an HNSW index of pgvector, with its defaults:
:show
SELECT left(title, 92) AS title FROM items WHERE facet = :'facet'
ORDER BY v <-> (SELECT v FROM items WHERE item_id = :example) LIMIT 10;
:hide
BEGIN;
SET LOCAL enable_seqscan = off;
SELECT count(*) || ' of ten' AS hnsw FROM (SELECT FROM items WHERE facet = :'facet'
ORDER BY v <-> (SELECT v FROM items WHERE item_id = :example) LIMIT 10) AS ten \gset
COMMIT;
DROP EXTENSION vector CASCADE;
\else
\set hnsw 'not installed here'
\endif
SELECT format('facet = %L', :'facet') AS allowed \gset
SELECT demo.milliseconds(demo.ten_best(:'allowed', 'index')) AS t_planned,
       demo.milliseconds(demo.ten_best(:'allowed', 'sequential')) AS t_sequential,
       CASE WHEN demo.uses_index(demo.ten_best(:'allowed', 'index'), 'items_sid')
            THEN 'by the index' ELSE 'without the index' END AS plan \gset
SELECT format('» semtok: %s of ten (%s ms as planned, %s; %s ms as a sort). Beams, then the filter: %s of ten. HNSW, then the filter: %s.',
              :ours, :t_planned, :'plan', :t_sequential, :beams, :'hnsw') \g (format=unaligned tuples_only=on)
SELECT demo.check('ten of ten pass the filter', :ours = 10) \g (format=unaligned tuples_only=on)
SELECT demo.check('decoding first and filtering afterwards finds fewer', :beams < :ours) \g (format=unaligned tuples_only=on)
SELECT demo.check('the same ten as without the index', demo.same_ten(:'allowed'))
\g (format=unaligned tuples_only=on)
