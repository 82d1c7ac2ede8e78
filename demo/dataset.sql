-- Items from a dataset folder. Before: staging_items (item_id, title, attributes as text),
-- vectors (item_id, embedding), staging_sequences (line, empty where there is no such file).
CREATE TABLE items AS
SELECT item_id, regexp_replace(title, '\s+', ' ', 'g') AS title,
       replace(attributes, '|', ' / ') AS description,
       substring(attributes FROM '[^|]*$') AS leaf,
       split_part(attributes, '|', 1) AS facet,
       embedding
FROM staging_items JOIN vectors USING (item_id);
ALTER TABLE items ADD PRIMARY KEY (item_id);

CREATE TABLE words AS
SELECT item_id, lower(m[1]) AS word, count(*) AS weight
FROM items, regexp_matches(title || ' ' || description, '[[:alnum:]]+', 'g') AS m
GROUP BY item_id, lower(m[1]);
ANALYZE words;

-- Who bought what, oldest first. Of every shopper the last item is the test, the one before it is
-- left for tuning, and the rest is the training part.
CREATE TABLE bought AS
SELECT line[1]::int AS shopper, n AS place, line[n + 1]::int AS item_id,
       n <= cardinality(line) - 3 AS training, n = cardinality(line) - 1 AS test
FROM (SELECT string_to_array(line, ' ') AS line FROM staging_sequences) AS s,
     generate_series(1, cardinality(line) - 1) AS n;
CREATE INDEX ON bought (shopper);

DROP TABLE staging_items, staging_sequences, vectors;
