-- Many queries at once: a batch answers as its queries do one by one.
CREATE TABLE ba_items (id int, sid semid);
INSERT INTO ba_items SELECT i, semid(array[i % 7, i / 7 % 9, i * 13 % 11], 1 + (i % 10 = 0)::int) FROM generate_series(1, 800) i;
CREATE INDEX ba_items_sid ON ba_items USING semtrie (sid);
CREATE TABLE ba_set AS SELECT semset_agg(sid) AS items FROM ba_items;
-- queries of several norms, shapes and tokenizers; some null, one that nothing fits
CREATE TABLE ba_queries AS
SELECT i AS number, CASE
    WHEN i % 9 = 0 THEN NULL
    WHEN i % 13 = 0 THEN semtok.logits('{1,2}', '{2}', 77)
    WHEN i % 5 = 0 THEN semtok.logits(array(SELECT ((i * l * 7) % 23 / 9.0)::real FROM generate_series(1, 16) l), '{7,9}', 0, 'full')
    WHEN i % 7 = 0 THEN semtok.neighbors(codebook_agg(l, c, array[c + l, i - c]::real[]), array[i, 2]::real[])
    ELSE semtok.logits(array(SELECT ((i * l * 5) % 29 / 7.0)::real FROM generate_series(1, 27) l), '{7,9,11}', i % 3,
                       CASE i % 4 WHEN 0 THEN 'none' WHEN 1 THEN 'full' ELSE 'masked' END) END AS q
  FROM generate_series(1, 40) i, generate_series(0, 1) l, generate_series(0, 8) c GROUP BY i;

SELECT b.query, b.rank, b.sid, round(b.logprob::numeric, 4) AS logprob, b.items
  FROM semtok.beam_search_batch('ba_items', array(SELECT q FROM ba_queries WHERE number BETWEEN 7 AND 11 ORDER BY number), 2) b;
-- rows come in order of query and rank
SELECT count(*), bool_and(coalesce(query > before OR (query = before AND rank = rank_before + 1), true)) AS in_order
  FROM (SELECT query, rank, lag(query) OVER (ORDER BY n) AS before, lag(rank) OVER (ORDER BY n) AS rank_before
          FROM semtok.beam_search_batch('ba_items', array(SELECT q FROM ba_queries ORDER BY number)) WITH ORDINALITY b(query, rank, sid, logprob, items, n)) x;

CREATE FUNCTION ba_differ(VARIADIC options text[]) RETURNS TABLE (what text, n bigint, of_table bigint, of_set bigint) LANGUAGE plpgsql AS $$
BEGIN
	FOREACH what IN ARRAY options LOOP
		EXECUTE format($f$
			WITH a AS (SELECT array_agg(q ORDER BY number) AS q FROM ba_queries),
			one AS (SELECT number::int, b.* FROM ba_queries, LATERAL semtok.beam_search('ba_items', q, %1$s) b),
			many AS (SELECT b.* FROM a, LATERAL semtok.beam_search_batch('ba_items', a.q, %1$s) b),
			one_set AS (SELECT number::int, b.* FROM ba_set, ba_queries, LATERAL semtok.beam_search_set(items, q, %1$s) b),
			many_set AS (SELECT b.* FROM ba_set, a, LATERAL semtok.beam_search_batch_set(items, a.q, %1$s) b)
			SELECT (SELECT count(*) FROM many),
			       (SELECT count(*) FROM ((TABLE one EXCEPT TABLE many) UNION ALL (TABLE many EXCEPT TABLE one)) x),
			       (SELECT count(*) FROM ((TABLE one_set EXCEPT TABLE many_set) UNION ALL (TABLE many_set EXCEPT TABLE one_set)) x)$f$, what)
		INTO n, of_table, of_set;
		RETURN NEXT;
	END LOOP;
END $$;
SELECT * FROM ba_differ('k => 10', 'k => 3, beam_size => 3', 'exact => true', 'top_k => 2', 'exclude => ''{[0,0,2]@1,[1,1,5]@1}''', 'max_per_prefix => ''{"1": 1, "2": 1}''');
-- with a norm for all; neighbors have none
UPDATE ba_queries SET q = NULL WHERE number % 7 = 0;
SELECT * FROM ba_differ('norm => ''masked''', 'norm => ''none'', exact => true', 'k => 100, beam_size => 1000, norm => ''full''');

-- no queries, only nulls, an array of two dimensions
SELECT count(*) FROM semtok.beam_search_batch('ba_items', '{}');
SELECT count(*) FROM semtok.beam_search_batch('ba_items', NULL);
SELECT count(*) FROM semtok.beam_search_batch(NULL, array(SELECT q FROM ba_queries));
SELECT count(*) FROM semtok.beam_search_batch('ba_items', array[NULL, NULL]::semquery[]);
SELECT count(*) FROM semtok.beam_search_batch_set(NULL, array(SELECT q FROM ba_queries));
SELECT DISTINCT b.query FROM ba_queries, semtok.beam_search_batch_set('{[1,0]}', array[[q, NULL], [q, q]]) b WHERE number = 5 ORDER BY 1;
SELECT b.query, b.sid FROM semtok.beam_search_batch_set('{[1],[0]}', array[[semtok.logits('{{1,2}}'), NULL], [semtok.logits('{{2,1}}'), NULL]], 1) b;

-- more queries than work_mem holds the index for: it is opened again and again, the rows are the same
CREATE TABLE ba_many AS SELECT semid(array[i % 50, i / 50 % 50, i % 97, i / 100], 1) AS sid FROM generate_series(1, 20000) i;
CREATE INDEX ba_many_sid ON ba_many USING semtrie (sid);
CREATE VIEW ba_rows AS
SELECT b.* FROM semtok.beam_search_batch('ba_many', array(SELECT semtok.logits(array(SELECT ((i * l * 37) % 101 / 10.0)::real FROM generate_series(1, 400) l), '{100,100,100,100}')
                                                            FROM generate_series(1, 60) i)) b;
INSERT INTO ba_many SELECT semid(array[i % 50, i / 7 % 50, i % 97, i / 100], 1) FROM generate_series(1, 500) i;
CREATE TABLE ba_kept AS TABLE ba_rows;
SET work_mem = '64kB';
SELECT count(*) FROM ((TABLE ba_rows EXCEPT TABLE ba_kept) UNION ALL (TABLE ba_kept EXCEPT TABLE ba_rows)) x;
RESET work_mem;

-- LATERAL over a table of queries, and of what each customer has bought
CREATE TABLE ba_customers (customer int, q semquery, bought semid[]);
INSERT INTO ba_customers
SELECT i, semtok.logits(array(SELECT ((i * l * 11) % 17 / 5.0)::real FROM generate_series(1, 27) l), '{7,9,11}', 1),
       CASE WHEN i % 2 = 0 THEN array(SELECT sid FROM ba_items WHERE id % 3 = i % 3) END
  FROM generate_series(1, 6) i;
SELECT c.customer, array_agg(b.sid ORDER BY b.rank) AS best, bool_or(b.sid = ANY (c.bought)) AS again
  FROM ba_customers c CROSS JOIN LATERAL semtok.beam_search('ba_items', c.q, 3, exclude => semset(c.bought)) b
 GROUP BY c.customer ORDER BY c.customer;
SELECT count(*) AS differences
  FROM (SELECT b.* FROM semtok.beam_search_batch('ba_items', array(SELECT q FROM ba_customers ORDER BY customer), 3) b
        EXCEPT SELECT c.customer, b.* FROM ba_customers c, LATERAL semtok.beam_search('ba_items', c.q, 3) b) x;
-- the rest of a join that a cursor gives up
BEGIN;
DECLARE c CURSOR FOR SELECT c.customer, b.sid FROM ba_customers c, LATERAL semtok.beam_search('ba_items', c.q) b;
FETCH 3 FROM c;
CLOSE c;
COMMIT;

-- Sets in a table, one after the other and again: each call has its own.
CREATE TABLE ba_sets (g int, ids semset);
ALTER TABLE ba_sets ALTER ids SET STORAGE EXTERNAL;
INSERT INTO ba_sets SELECT g, semset_agg(semid(array[g, i], 1)) FROM generate_series(0, 2) g, generate_series(0, 2999) i GROUP BY g;
SELECT count(*) AS calls, count(*) FILTER (WHERE get_bit(semtok.mask_packed_set(s.ids, '{NULL}', 32), s.g) = 1) AS own FROM generate_series(1, 2) again, ba_sets s;
SELECT count(*) AS calls, count(*) FILTER (WHERE n.code = s.g) AS own FROM generate_series(1, 2) again, ba_sets s, LATERAL semtok.next_codes_set(s.ids, NULL) n;
DROP TABLE ba_sets;

DROP VIEW ba_rows;
DROP TABLE ba_items, ba_set, ba_queries, ba_many, ba_kept, ba_customers;
DROP FUNCTION ba_differ;
