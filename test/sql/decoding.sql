-- Decoding verbs on tables and indexes: which index serves, which rows count, what a partitioned
-- table answers.
CREATE TABLE d_items (id int, sid semid);
INSERT INTO d_items
SELECT i, semid(array[(i * 7) % 5, (i * 11) % 6, (i * 13) % 4], 1) FROM generate_series(1, 300) i;
INSERT INTO d_items VALUES (1000, NULL), (1001, '[0,0]@1'), (1002, '[0,0,0,1]@1'), (1003, '[0,0,0]@2');

CREATE FUNCTION d_logits(norm text DEFAULT 'full', tokenizer int DEFAULT 1, within semset DEFAULT NULL)
RETURNS semquery LANGUAGE sql IMMUTABLE AS $$
  SELECT semtok.logits(
    '{0.1,1.5,-0.3,0.8,0.05, 1,-1,0.5,0.3,2,-2, 0,0.7,-0.7,0.2}'::real[], '{5,6,4}', tokenizer, norm, within)
$$;

-- no index, several, one
SELECT * FROM semtok.beam_search('d_items', d_logits());
CREATE INDEX d_expression ON d_items USING semtrie (semid_prefix(sid, 2));
SELECT * FROM semtok.beam_search('d_items', d_logits());
DROP INDEX d_expression;
CREATE INDEX d_partial ON d_items USING semtrie (sid) WHERE id <= 100;
SELECT * FROM semtok.beam_search('d_items', d_logits());
CREATE INDEX d_whole ON d_items USING semtrie (sid);
SELECT rank, sid, round(logprob::numeric, 6) AS logprob, items FROM semtok.beam_search('d_items', d_logits());
-- what the ordered query says: same ids, costs to the last bit, counts
CREATE FUNCTION d_expected(q semquery, n int) RETURNS TABLE (sid semid, logprob float8, items bigint)
LANGUAGE sql STABLE AS $$
  SELECT i.sid, 0 - (i.sid <~> q), count(*) FROM d_items i WHERE (i.sid <~> q) < 'Infinity'
   GROUP BY i.sid ORDER BY 2 DESC, 1 LIMIT n
$$;
CREATE FUNCTION d_same(q semquery, n int) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT NOT EXISTS (SELECT rank, sid, logprob, items FROM semtok.beam_search('d_items', q, n, 1000)
                     EXCEPT SELECT row_number() OVER (ORDER BY logprob DESC, sid), * FROM d_expected(q, n))
     AND (SELECT count(*) FROM semtok.beam_search('d_items', q, n, 1000)) = (SELECT count(*) FROM d_expected(q, n))
$$;
SELECT d_same(d_logits(), 10), d_same(d_logits(), 1000), d_same(d_logits('none'), 1000),
       d_same(d_logits('full', 0), 1000), d_same(d_logits('full', 2), 1000), d_same(d_logits('full', 3), 1000),
       d_same(d_logits('masked', 1, semset('{"[1,4,1]@1","[3,2,0]@1","[1,4]@1","[1,9,1]@1"}'::semid[])), 1000);
-- the index by its name; a partial one answers for its own rows
SELECT count(*), sum(items) FROM semtok.beam_search('d_whole', d_logits(), 1000, 1000);
SELECT count(*), sum(items) FROM semtok.beam_search('d_partial', d_logits(), 1000, 1000);
CREATE INDEX d_other ON d_items USING semtrie (sid);
SELECT * FROM semtok.beam_search('d_items', d_logits());
DROP INDEX d_other;

-- masked: the children in the index; same as over a set of the same ids
SELECT count(*) AS differences FROM
  (SELECT semset_agg(sid) AS items FROM d_items) s,
  LATERAL (SELECT rank, sid, logprob FROM semtok.beam_search('d_items', d_logits('masked'), 1000, 1000)
           EXCEPT SELECT rank, sid, logprob FROM semtok.beam_search_set(s.items, d_logits('masked'), 1000, 1000)) x;
SELECT round(sum(exp(logprob))::numeric, 9) AS total
  FROM semtok.beam_search('d_items', d_logits('masked'), 1000, 1000) WHERE semid_levels(sid) = 3;
-- norm as an argument starts from the query's logits
SELECT count(*) AS differences FROM
  (SELECT * FROM semtok.beam_search('d_items', d_logits(), 1000, 1000, norm => 'masked')
   EXCEPT SELECT * FROM semtok.beam_search('d_items', d_logits('masked'), 1000, 1000)) x;
SELECT count(*) AS differences FROM
  (SELECT * FROM semtok.beam_search('d_items', d_logits('masked'), 1000, 1000, norm => 'none')
   EXCEPT SELECT * FROM semtok.beam_search('d_items', d_logits('none'), 1000, 1000)) x;
WITH s AS (SELECT semset('{"[1,4,1]@1","[3,2,0]@1"}'::semid[]) AS items)
SELECT count(*) AS differences FROM s, LATERAL
  (SELECT * FROM semtok.beam_search('d_items', d_logits('full', 1, items), norm => 'masked')
   EXCEPT SELECT * FROM semtok.beam_search('d_items', d_logits('masked', 1, items))) x;

-- neighbors: squared distances, nearest first
WITH q AS (SELECT semtok.neighbors(codebook_agg(l, k, array[k + l * 0.25, l - k * 0.5]::real[]), '{1.5,0.5}') AS q
             FROM generate_series(0, 2) l, generate_series(0, 5) k)
SELECT b.rank, b.sid, round(b.logprob::numeric, 4) AS logprob, b.logprob = 0 - (b.sid <~> q.q) AS same
  FROM q, semtok.beam_search('d_items', q.q, 3) b;

-- rows: deleted ones and other transactions' do not count, our own do
BEGIN;
DELETE FROM d_items WHERE sid = (SELECT sid FROM semtok.beam_search('d_items', d_logits(), 1));
SELECT d_same(d_logits(), 20);
SAVEPOINT s;
INSERT INTO d_items VALUES (2000, '[1,4,1]@1'), (2001, '[1,4,1]@1');
SELECT d_same(d_logits(), 20);
UPDATE d_items SET id = id + 1 WHERE id = 2000;
UPDATE d_items SET sid = '[1,4,3]@1' WHERE id = 2001;
SELECT d_same(d_logits(), 20);
ROLLBACK TO s;
SELECT d_same(d_logits(), 20);
COMMIT;
SELECT d_same(d_logits(), 1000);
VACUUM d_items;
SELECT d_same(d_logits(), 1000);
-- a cursor keeps its snapshot
BEGIN;
DECLARE c CURSOR FOR SELECT sum(items) FROM semtok.beam_search('d_items', d_logits(), 1000, 1000);
DELETE FROM d_items WHERE id <= 200;
FETCH c;
SELECT sum(items) FROM semtok.beam_search('d_items', d_logits(), 1000, 1000);
ROLLBACK;

-- next_codes counts index entries; a prefix without a tokenizer matches every tokenizer
SELECT * FROM semtok.next_codes('d_items', NULL);
SELECT * FROM semtok.next_codes('d_items', '[0,0]');
SELECT * FROM semtok.next_codes('d_items', '[0,0]@2');
SELECT * FROM semtok.next_codes('d_items', '[0,0,0]');
SELECT * FROM semtok.next_codes('d_items', '[4,5]@3');

-- explain
SELECT level, code, round(logprob::numeric, 6) AS logprob, rank, siblings FROM semtok.explain('[1,4,1]@1', d_logits());
-- an appended level costs nothing; a code beyond the level, or another tokenizer, cannot be scored
SELECT level, code, round(logprob::numeric, 6) AS logprob, rank, siblings FROM semtok.explain('[1,4,1,7]@1', d_logits());
SELECT * FROM semtok.explain('[9,4]@1', d_logits('none'));
SELECT * FROM semtok.explain('[1,4,1]@2', d_logits('none'));
-- within: rank among the children there, log-probability still the query's
WITH s AS (SELECT semset('{"[1,4,1]@1","[1,2,0]@1","[3,2,0]@1","[1,2,3]@1"}'::semid[]) AS items)
SELECT 'full' AS norm, e.level, e.code, round(e.logprob::numeric, 6) AS logprob, e.rank, e.siblings
  FROM s, semtok.explain('[1,2,3]@1', d_logits(), s.items) e
UNION ALL
SELECT 'masked', e.level, e.code, round(e.logprob::numeric, 6), e.rank, e.siblings
  FROM s, semtok.explain('[1,2,3]@1', d_logits('masked'), s.items) e
UNION ALL
SELECT 'own', e.level, e.code, round(e.logprob::numeric, 6), e.rank, e.siblings
  FROM s, semtok.explain('[1,2,3]@1', d_logits('masked', 1, s.items)) e
UNION ALL
SELECT 'outside', e.level, e.code, round(e.logprob::numeric, 6), e.rank, e.siblings
  FROM s, semtok.explain('[1,5,3]@1', d_logits('masked', 1, s.items)) e
ORDER BY 1, 2;
-- the levels add up to the cost of <~>, to the last bit
SELECT bool_and(cost = total) FROM (
  SELECT (i.sid <~> d_logits()) AS cost, 0 - sum(e.logprob ORDER BY e.level) AS total
    FROM d_items i, semtok.explain(i.sid, d_logits()) e
   WHERE semid_levels(i.sid) >= 3 GROUP BY i.ctid, i.sid) x;

-- null arguments: nothing asked, nothing found
SELECT * FROM semtok.beam_search(NULL, d_logits());
SELECT * FROM semtok.beam_search('d_items', NULL);
SELECT * FROM semtok.beam_search_set(NULL, d_logits());
SELECT * FROM semtok.next_codes(NULL, '[1]');
SELECT * FROM semtok.next_codes_set(NULL, '[1]');
SELECT * FROM semtok.explain(NULL, d_logits());

-- a partitioned table answers as one table does
CREATE TABLE d_parts (id int, sid semid) PARTITION BY RANGE (id);
SELECT * FROM semtok.beam_search('d_parts', d_logits());
CREATE INDEX d_parts_sid ON d_parts USING semtrie (sid);
SELECT * FROM semtok.beam_search('d_parts', d_logits());
CREATE TABLE d_part1 PARTITION OF d_parts FOR VALUES FROM (0) TO (90);
CREATE TABLE d_part2 PARTITION OF d_parts FOR VALUES FROM (90) TO (1002) PARTITION BY RANGE (id);
CREATE TABLE d_part2a PARTITION OF d_part2 FOR VALUES FROM (90) TO (200);
CREATE TABLE d_part2b PARTITION OF d_part2 DEFAULT;
CREATE TABLE d_part3 PARTITION OF d_parts DEFAULT;
INSERT INTO d_parts SELECT * FROM d_items;
CREATE FUNCTION d_parts_differ(q semquery, n int, width int) RETURNS bigint LANGUAGE sql STABLE AS $$
  SELECT count(*) FROM
    (SELECT * FROM semtok.beam_search('d_items', q, n, width)
     EXCEPT SELECT * FROM semtok.beam_search('d_parts', q, n, width)
     UNION ALL
     (SELECT * FROM semtok.beam_search('d_parts_sid', q, n, width)
      EXCEPT SELECT * FROM semtok.beam_search('d_items', q, n, width))) x
$$;
VACUUM d_items;
SELECT d_parts_differ(d_logits(), 10, 10), d_parts_differ(d_logits(), 1000, 1000),
       d_parts_differ(d_logits('masked'), 3, 3), d_parts_differ(d_logits('masked', 0), 1000, 1000);
SELECT p, NOT EXISTS (SELECT * FROM semtok.next_codes('d_items', p) EXCEPT SELECT * FROM semtok.next_codes('d_parts', p)) AS same
  FROM unnest('{NULL,"[0]","[0,0]","[3,4]@1","[0,0,0]@1","[9]"}'::semid[]) p;
SELECT sum(items) = (SELECT count(*) FROM d_part2 WHERE (sid <~> d_logits()) < 'Infinity') AS partition_alone
  FROM semtok.beam_search('d_part2', d_logits(), 1000, 1000);

-- a materialized view; things that are neither table nor index; an invalid index
CREATE MATERIALIZED VIEW d_matview AS SELECT sid FROM d_items;
CREATE INDEX ON d_matview USING semtrie (sid);
SELECT count(*) FROM semtok.beam_search('d_matview', d_logits(), 1000, 1000);
CREATE VIEW d_view AS SELECT * FROM d_items;
SELECT * FROM semtok.beam_search('d_view', d_logits());
CREATE INDEX d_btree ON d_items (sid);
SELECT * FROM semtok.next_codes('d_btree', NULL);
CREATE INDEX d_invalid ON ONLY d_part2 USING semtrie (sid);
SELECT * FROM semtok.beam_search('d_invalid', d_logits());

-- a temporary and an unlogged table
CREATE TEMP TABLE d_temp AS SELECT * FROM d_items;
CREATE INDEX ON d_temp USING semtrie (sid);
SELECT count(*) FROM semtok.beam_search('d_temp', d_logits(), 1000, 1000);

-- an index younger than the transaction's snapshot does not answer for it: the executor does
BEGIN;
CREATE TABLE d_hot (id int, sid semid) WITH (fillfactor = 50);
INSERT INTO d_hot VALUES (1, '[1,4,1]@1'), (2, '[3,2,1]@1');
COMMIT;
BEGIN;
SELECT count(*) FROM d_hot;
UPDATE d_hot SET sid = '[3,4,3]@1' WHERE id = 1;
CREATE INDEX d_hot_sid ON d_hot USING semtrie (sid);
SELECT indcheckxmin FROM pg_index WHERE indexrelid = 'd_hot_sid'::regclass;
SELECT rank, sid, items FROM semtok.beam_search('d_hot', d_logits());
SELECT * FROM semtok.next_codes('d_hot', NULL);
ROLLBACK;

DROP TABLE d_hot, d_parts;
DROP VIEW d_view;
DROP MATERIALIZED VIEW d_matview;
DROP FUNCTION d_parts_differ, d_same, d_expected;
DROP TABLE d_items, d_temp;
DROP FUNCTION d_logits;

-- by a tokenizer: its own ids at their squared distance, other generations' at none
SET client_min_messages = error;
CREATE TABLE d_vectors AS
SELECT i AS id, array[i % 10, i % 7, i % 3]::real[] AS embedding FROM generate_series(1, 60) i;
SELECT semtok.train('d_near', 'SELECT embedding FROM d_vectors', levels => 2, codes => 4, epochs => 3) AS first \gset
SELECT semtok.train('d_near', 'SELECT embedding FROM d_vectors', levels => 2, codes => 4, epochs => 2) AS second \gset
RESET client_min_messages;
SELECT bool_and(abs(d.own - (SELECT sum((x - y) ^ 2) FROM unnest(d.embedding, d.decoded) u(x, y))) < 1e-4) AS squared_distance,
       bool_and(d.other = 'Infinity') AS other_generation
  FROM (SELECT v.embedding, semtok.decode(:first, semtok.encode(:first, v.embedding)) AS decoded,
               semtok.encode(:first, v.embedding) <~> semtok.neighbors(:first, v.embedding) AS own,
               semtok.encode(:second, v.embedding) <~> semtok.neighbors(:first, v.embedding) AS other
          FROM d_vectors v) d;
SELECT semquery_send(semtok.neighbors('d_near', '{1,2,3}')) = semquery_send(semtok.neighbors(:first, '{1,2,3}')) AS active_one;
SELECT semtok.activate('d_near', 2);
SELECT semquery_send(semtok.neighbors('d_near', '{1,2,3}')) = semquery_send(semtok.neighbors(:second, '{1,2,3}')) AS active_one,
       semquery_tokenizer(semtok.neighbors('d_near', '{1,2,3}')) = :second AS names_it,
       semquery_tokenizer(semtok.neighbors(codebook, '{1,2,3}')) AS a_codebook_does_not
  FROM semtok.tokenizer WHERE id = :second;
SELECT semtok.drop_tokenizer('d_near');
DROP TABLE d_vectors;
