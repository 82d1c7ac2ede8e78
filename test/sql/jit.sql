-- Compiled expressions give the same codes and costs: contraction in a just-in-time copy would show
-- here. Where PostgreSQL was built without LLVM the settings do nothing and the test says the same.
CREATE TABLE j_items AS
SELECT i AS id, array(SELECT (mod((sin(i * 12.9898 + d * 78.233) * 43758.5453)::numeric, 1))::real FROM generate_series(1, 9) d) AS embedding
  FROM generate_series(1, 400) i;
CREATE TABLE j_codebook AS
SELECT codebook_agg(l, k, array(SELECT (mod((cos(l * 31.1 + k * 17.7 + d * 5.3) * 43758.5453)::numeric, 1) / (l + 1))::real
                                  FROM generate_series(1, 9) d)) AS codebook
  FROM generate_series(0, 2) l, generate_series(0, 15) k;
CREATE FUNCTION j_results() RETURNS TABLE (id int, sid semid, beamed semid, logits_cost bigint, neighbors_cost bigint)
LANGUAGE sql AS $$
  SELECT e.id, e.sid, e.beamed,
         ('x' || encode(float8send(e.sid <~> q.logits), 'hex'))::bit(64)::bigint,
         ('x' || encode(float8send(e.sid <~> q.neighbors), 'hex'))::bit(64)::bigint
    FROM (SELECT i.id, semtok.encode(c.codebook, i.embedding) AS sid,
                 semtok.encode(c.codebook, i.embedding, 4) AS beamed
            FROM j_items i, j_codebook c OFFSET 0) e,
         (SELECT semtok.logits(array(SELECT (sin(x) * 3)::real FROM generate_series(1, 48) x), '{16,16,16}') AS logits,
                 semtok.neighbors(codebook, array[1,2,3,4,5,-6,7,8,9]::real[]) AS neighbors
            FROM j_codebook OFFSET 0) q
$$;
SET jit = off;
CREATE TABLE j_plain AS SELECT * FROM j_results();
SET jit = on;
SET jit_above_cost = 0;
SET jit_inline_above_cost = 0;
SET jit_optimize_above_cost = 0;
CREATE TABLE j_compiled AS SELECT * FROM j_results();
SELECT count(*), count(DISTINCT sid) > 100 AS varied FROM j_plain;
(TABLE j_plain EXCEPT TABLE j_compiled) UNION ALL (TABLE j_compiled EXCEPT TABLE j_plain);
RESET jit;
RESET jit_above_cost;
RESET jit_inline_above_cost;
RESET jit_optimize_above_cost;
DROP FUNCTION j_results;
DROP TABLE j_items, j_codebook, j_plain, j_compiled;
