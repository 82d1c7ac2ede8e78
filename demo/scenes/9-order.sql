\echo » How true is the order of the ids? An id keeps a few bytes of an embedding. Its ten nearest items are compared with the ten truly nearest, for 50 items; ranking the best 100 again by their embeddings costs little and repairs most of it.
-- The truth: a codebook that has every embedding as a codeword knows the exact distances.
CREATE TABLE exact AS SELECT codebook_agg(0, item_id - 1, embedding) AS cb FROM items;
CREATE TABLE probe AS
SELECT item_id, (SELECT semtok.neighbors(cb, embedding) FROM exact) AS truth,
       semtok.neighbors('items', embedding) AS q
FROM (SELECT * FROM items ORDER BY md5(item_id::text) LIMIT 50) AS s;
CREATE TABLE nearest AS
SELECT probe.item_id, n.item_id AS near, n.place,
       semid(array[n.item_id - 1]) <~> truth AS distance
FROM probe, LATERAL (
    SELECT item_id, row_number() OVER () AS place
    FROM (SELECT item_id FROM items ORDER BY sid <~> q LIMIT 100) AS s) AS n;
CREATE TABLE true_ten AS
SELECT probe.item_id, n.item_id AS near
FROM probe, LATERAL (SELECT item_id FROM items ORDER BY semid(array[item_id - 1]) <~> truth LIMIT 10) AS n;
:show
SELECT method, round(count(t.near) / 500.0, 2) AS recall_at_10
FROM (SELECT 'ids alone' AS method, item_id, near FROM nearest WHERE place <= 10
      UNION ALL
      SELECT 'best 100 by ids, ranked by embeddings', item_id, near
      FROM (SELECT *, row_number() OVER (PARTITION BY item_id ORDER BY distance) AS r
            FROM nearest) AS ranked
      WHERE r <= 10) AS found
     LEFT JOIN true_ten AS t USING (item_id, near)
GROUP BY method ORDER BY recall_at_10;
:hide
DROP TABLE exact, probe;
