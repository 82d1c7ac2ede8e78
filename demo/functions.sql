-- The default items: PostgreSQL's own functions, and vectors for them from their words.
CREATE TABLE items AS
SELECT row_number() OVER (ORDER BY p.oid)::int AS item_id,
       format('%s(%s) → %s', p.proname, pg_catalog.oidvectortypes(p.proargtypes),
              pg_catalog.format_type(p.prorettype, NULL)) AS title,
       d.description,
       split_part(regexp_replace(p.proname, '[0-9].*', ''), '_', 1) AS leaf,
       coalesce(pg_catalog.format_type(p.proargtypes[0], NULL), 'none') AS facet
FROM pg_catalog.pg_proc p
     JOIN pg_catalog.pg_description d
     ON d.objoid = p.oid AND d.classoid = 'pg_catalog.pg_proc'::regclass AND d.objsubid = 0
WHERE p.pronamespace = 'pg_catalog'::regnamespace;
ALTER TABLE items ADD PRIMARY KEY (item_id);

-- A function's words: of its name (twice as heavy), its description, and its types.
CREATE TABLE words AS
SELECT item_id, word, sum(weight) AS weight
FROM items,
     LATERAL (
         SELECT lower(m[1]), 2.0
         FROM regexp_matches(split_part(title, '(', 1), '[[:alpha:]]+|[0-9]+', 'g') AS m
         UNION ALL
         SELECT lower(m[1]), 1.0
         FROM regexp_matches(description, '[[:alpha:]]+', 'g') AS m
         UNION ALL
         SELECT t, 1.0
         FROM regexp_split_to_table(regexp_replace(title, '^.*\(', ''), ', |\) → ') AS t
         WHERE t <> '') AS w(word, weight)
GROUP BY item_id, word;
ANALYZE words;

-- A hashing vectorizer with TF-IDF: every word adds its weight, more when it is rare, to four of
-- 256 coordinates that its MD5 sum chooses, with signs that it chooses too. Vectors have unit length.
ALTER TABLE items ADD embedding real[];
WITH feature AS (
    SELECT word, hash & 255 AS i, idf * CASE WHEN hash < 0 THEN -1 ELSE 1 END AS x
    FROM (SELECT word, ln((SELECT count(*) FROM items)::float8 / count(*)) + 1 AS idf
          FROM words GROUP BY word) AS rarity,
         LATERAL (SELECT ('x' || substr(md5(word), n, 8))::bit(32)::int
                  FROM generate_series(1, 25, 8) AS n) AS h(hash)
), coordinate AS (
    SELECT item_id, i, sum((1 + ln(weight)) * x) AS x
    FROM words JOIN feature USING (word) GROUP BY item_id, i
), vector AS (
    SELECT item_id, array_agg((coalesce(x, 0) / length)::real ORDER BY i) AS embedding
    FROM (SELECT item_id, sqrt(sum(x * x)) AS length FROM coordinate GROUP BY item_id) AS l
         CROSS JOIN generate_series(0, 255) AS i
         LEFT JOIN coordinate USING (item_id, i)
    GROUP BY item_id
)
UPDATE items SET embedding = vector.embedding FROM vector WHERE items.item_id = vector.item_id;
