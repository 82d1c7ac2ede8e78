-- Masks and next_codes_batch: what may follow each of many prefixes.
SET client_min_messages = warning;
\set VERBOSITY terse
CREATE TABLE m_items (id int PRIMARY KEY, sid semid);
INSERT INTO m_items VALUES (1, '[1,2,1]'), (2, '[3,1,2]'), (3, '[3,1,3]'), (4, '[3,1,3]'), (5, NULL);
CREATE INDEX m_items_sid ON m_items USING semtrie (sid);
CREATE VIEW m_set AS SELECT semset_agg(sid) AS items FROM m_items;
-- The tokens whose bits are set, of a row and of packed rows, which PostgreSQL's get_bit reads as numpy does.
CREATE FUNCTION tokens(b bit varying) RETURNS int[] LANGUAGE sql IMMUTABLE AS
	$$ SELECT array(SELECT t FROM generate_series(0, length(b) - 1) t WHERE get_bit(b, t) = 1) $$;
CREATE FUNCTION tokens(b bytea, vocab int) RETURNS SETOF int[] LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	row_bits bigint := (vocab + 31) / 32 * 32;
BEGIN
	RETURN QUERY SELECT array(SELECT t::int FROM generate_series(0, row_bits - 1) t WHERE get_bit(b, r * row_bits + t) = 1) FROM generate_series(0, length(b) * 8 / row_bits - 1) r;
END $$;

-- one row for each prefix; null is the empty one; a prefix that does not exist has an empty row
SELECT prefix, b AS mask FROM unnest('{NULL,"[1]","[3]","[3,1]","[3,1,2]","[2]","[3,1,2,0]"}'::semid[]) WITH ORDINALITY p(prefix, n)
	JOIN unnest(semtok.mask('m_items', '{NULL,"[1]","[3]","[3,1]","[3,1,2]","[2]","[3,1,2,0]"}', 8)) WITH ORDINALITY m(b, n) USING (n) ORDER BY n;
SELECT semtok.mask('m_items_sid', '{NULL}', 4), semtok.mask('m_items', '{}', 4), semtok.mask_packed('m_items', '{}', 4);
-- end_token where an id ends at the prefix
SELECT semtok.mask('m_items', '{NULL,"[3,1]","[3,1,2]","[3,1,2,0]"}', 9, end_token => 8);
-- a Hugging Face vocabulary: each level has its tokens
SELECT prefix, tokens(b) FROM unnest('{NULL,"[3]","[3,1]","[3,1,3]"}'::semid[]) WITH ORDINALITY p(prefix, n)
	JOIN unnest(semtok.mask('m_items', '{NULL,"[3]","[3,1]","[3,1,3]"}', 151936, '{151665,151669,151673}', 151678)) WITH ORDINALITY m(b, n) USING (n) ORDER BY n;
-- packed: words of 32 bits, little-endian, rows without a gap
SELECT semtok.mask_packed('m_items', '{NULL,"[3,1]"}', 8), semtok.mask_packed('m_items', '{NULL,"[3,1]","[2]"}', 40, '{33,0,30}', 39);
-- within and exclude: what they leave is all there is
SELECT array(SELECT tokens(unnest(semtok.mask('m_items', '{NULL,"[3,1]"}', 8, within => '{[3,1,3],[7,7,7]}')))) AS within_both,
	semtok.mask('m_items', '{NULL,"[3]","[3,1]"}', 4, exclude => '{[3,1,3]}') AS without_one,
	semtok.mask('m_items', '{NULL,"[3]","[3,1]"}', 4, exclude => '{[3,1,2],[3,1,3]}') AS without_a_subtree,
	semtok.mask('m_items', '{NULL,"[3]","[3,1]"}', 4, within => '{[3,1,2],[1,2,1]}', exclude => '{[3,1,2]}') AS both,
	semtok.mask('m_items', '{"[3,1,2]","[3,1,3]"}', 4, end_token => 0, exclude => '{[3,1,2]}') AS no_end;
SELECT semtok.mask_set(items, '{NULL,"[3,1]"}', 8), semtok.mask_packed_set(items, '{NULL,"[3,1]"}', 8) FROM m_set;

-- upstream's vtnk tests, by the mask of the golden example's nodes: batch1_root, batch2_same_root,
-- batch2_different_nodes, batch3_mixed_branching
SELECT name, semtok.mask_set(items, prefixes::semid[], 8) AS mask FROM m_set, (VALUES ('batch1_root', '{NULL}'), ('batch2_same_root', '{NULL,NULL}'),
	('batch2_different_nodes', '{"[1]","[3]"}'), ('batch3_mixed_branching', '{"[1,2]","[1,2]","[3,1]"}')) v(name, prefixes);
-- constrained_node_transition: b1_step0, b2_step0, b2_step1, b3_step2, b4_step1, b256_step0: the table's
-- rows are the set's; valid_idxs: root, step1_nodes, node4, nodes3_4
SELECT name, semtok.mask('m_items', prefixes::semid[], 8) = semtok.mask_set(items, prefixes::semid[], 8) AS same,
	array(SELECT DISTINCT tokens(b)::text FROM unnest(semtok.mask('m_items', prefixes::semid[], 8)) b ORDER BY 1) AS tokens
FROM m_set, (VALUES ('b1_step0', '{NULL}'), ('b2_step0', '{NULL,NULL}'), ('b2_step1', '{"[1]","[3]"}'), ('b3_step2', '{"[1,2]","[3,1]","[1,2]"}'),
	('b4_step1', '{"[1]","[3]","[1]","[3]"}'), ('b256_step0', array_fill(NULL::semid, array[256])::text), ('valid_idxs_node4', '{"[3,1]"}'), ('valid_idxs_nodes3_4', '{"[1,2]","[3,1]"}')) v(name, prefixes);
-- constrained_node_transition: dense_trie_step0, dense_trie_step1
WITH dense AS (SELECT semset_agg(semid(array[a, b])) AS items FROM generate_series(0, 15) a, generate_series(0, 15) b)
SELECT (SELECT bool_and(b = repeat('1', 16)::varbit) AND count(*) = 33 FROM unnest(semtok.mask_set(items, array_fill(NULL::semid, array[32]) || '[9]'::semid, 16)) b) AS all_set,
	semtok.mask_set(items, '{"[15,15]"}', 16, end_token => NULL) AS behind FROM dense;

-- many: ids of three tokenizers and several lengths, half of them in the pending list, some with several rows;
-- all prefixes that exist and some that do not, beside brute force
CREATE TABLE m_many (id int, sid semid);
INSERT INTO m_many SELECT i, semid(array[i * 7 % 13, i * i % 11, i % 17, i / 31 % 5, 1], 1 + i % 3) FROM generate_series(1, 600) i;
INSERT INTO m_many SELECT id, semid_prefix(sid, 2 + id % 3) FROM m_many WHERE id % 5 = 0;
CREATE INDEX m_many_sid ON m_many USING semtrie (sid);
INSERT INTO m_many SELECT i, semid(array[i * 3 % 13, i * i % 7, i % 19], 1 + i % 2) FROM generate_series(1, 300) i;
CREATE TABLE m_parts (id int, sid semid) PARTITION BY RANGE (id);
CREATE TABLE m_part1 PARTITION OF m_parts FOR VALUES FROM (MINVALUE) TO (200);
CREATE TABLE m_part2 PARTITION OF m_parts DEFAULT;
CREATE INDEX ON m_parts USING semtrie (sid);
INSERT INTO m_parts SELECT * FROM m_many;
CREATE TABLE m_prefixes AS SELECT row_number() OVER (ORDER BY md5(prefix::text)) AS n, prefix FROM (
	SELECT DISTINCT semid_prefix(sid, l) AS prefix FROM m_many, generate_series(1, 5) l WHERE l <= semid_levels(sid)
	UNION SELECT semid(semid_codes(semid_prefix(sid, l))) FROM m_many, generate_series(1, 4) l WHERE id % 7 = 0 AND l <= semid_levels(sid)
	UNION SELECT semid_prefix(sid, 2) || 18 FROM m_many WHERE id % 11 = 0 UNION SELECT '[99]@2') p ORDER BY n LIMIT 1300;
INSERT INTO m_prefixes SELECT 1000000 + g, CASE WHEN g = 1 THEN NULL ELSE '[3]@2'::semid END FROM generate_series(1, 3) g;
SELECT count(*) > 1024 AS several_chunks FROM m_prefixes;
CREATE FUNCTION expected(prefix semid, tokenizer int, within semset, exclude semset) RETURNS int[] LANGUAGE sql AS $$
	SELECT array(SELECT DISTINCT CASE WHEN semid_levels(sid) = coalesce(semid_levels($1), 0) THEN 99 ELSE 20 * coalesce(semid_levels($1), 0) % 60 + semid_code(sid, coalesce(semid_levels($1), 0)) END
	FROM m_many WHERE ($1 IS NULL OR sid ^@ $1) AND (tokenizer = 0 OR semid_tokenizer(sid) = tokenizer)
		AND (within IS NULL OR sid <@ within) AND NOT coalesce(sid <@ exclude, false) ORDER BY 1) $$;
CREATE TABLE m_sets AS SELECT 'none' AS name, NULL::semset AS within, NULL::semset AS exclude
	UNION ALL SELECT 'within', semset_agg(sid) FILTER (WHERE id % 3 = 0), NULL FROM m_many
	UNION ALL SELECT 'exclude', NULL, semset_agg(sid) FILTER (WHERE id % 2 = 0) FROM m_many
	UNION ALL SELECT 'both', semset_agg(sid) FILTER (WHERE id % 4 > 0), semset_agg(sid) FILTER (WHERE id % 3 > 0) FROM m_many;
-- offsets of level 3 and 4 are those of level 0 and 1 again
SELECT s.name, items, count(*), count(*) FILTER (WHERE tokens(b) = '{}') > 0 AS some_empty, bool_and(tokens(b) = expected(prefix, 0, within, exclude)) AS as_expected
FROM m_sets s, unnest('{m_many,m_many_sid,m_parts}'::text[]) items,
	LATERAL unnest(semtok.mask(items::regclass, (SELECT array_agg(prefix ORDER BY n) FROM m_prefixes), 100, '{0,20,40,0,20,40}', 99, within => within, exclude => exclude),
		(SELECT array_agg(prefix ORDER BY n) FROM m_prefixes)) m(b, prefix) GROUP BY 1, 2 ORDER BY 1, 2;
-- a set's rows are the table's, packed rows are the same tokens
SELECT s.name, semtok.mask_set(items, p, 100, '{0,20,40,0,20,40}', 99, 0, within, exclude) = semtok.mask('m_many', p, 100, '{0,20,40,0,20,40}', 99, 0, within, exclude) AS set,
	semtok.mask_packed_set(items, p, 100, '{0,20,40,0,20,40}', 99, 0, within, exclude) = semtok.mask_packed('m_parts', p, 100, '{0,20,40,0,20,40}', 99, 0, within, exclude) AS packed,
	array(SELECT tokens(b)::text FROM unnest(semtok.mask('m_many', p, 100, '{0,20,40,0,20,40}', 99, 0, within, exclude)) b)
		= array(SELECT t::text FROM tokens(semtok.mask_packed('m_many', p, 100, '{0,20,40,0,20,40}', 99, 0, within, exclude), 100) t) AS same_tokens
FROM m_sets s, (SELECT semset_agg(sid) AS items FROM m_many) i, (SELECT array_agg(prefix ORDER BY n) AS p FROM m_prefixes) p ORDER BY 1;
-- asked for twice: the same rows twice, of all tokenizers
SELECT semtok.mask('m_many', p || p, 100, '{0,20,40,0,20,40}', 99) = m || m AS twice
FROM (SELECT array_agg(prefix ORDER BY n) AS p FROM m_prefixes) p, LATERAL semtok.mask('m_many', p, 100, '{0,20,40,0,20,40}', 99) m;
-- one tokenizer's; prefixes may name it or not
SELECT tokenizer, bool_and(tokens(b) = expected(prefix, tokenizer, NULL, NULL)) AS as_expected, count(*) > 100 AS many
FROM generate_series(0, 4) tokenizer, LATERAL (SELECT array_agg(prefix ORDER BY n) AS p FROM m_prefixes WHERE coalesce(semid_tokenizer(prefix), 0) IN (0, tokenizer)) p,
	LATERAL unnest(semtok.mask('m_many', p, 100, '{0,20,40,0,20,40}', 99, tokenizer), p) m(b, prefix) GROUP BY 1 ORDER BY 1;

-- next_codes_batch is next_codes for each prefix, by prefix and code
SELECT * FROM semtok.next_codes_batch('m_items', '{NULL,"[3,1]","[2]","[3,1]"}');
SELECT * FROM m_set, semtok.next_codes_batch_set(items, '{NULL,"[3,1]","[2]","[3,1,3]"}');
SELECT items, count(*), bool_and(b IS NOT DISTINCT FROM o) AS same FROM unnest('{m_many,m_parts}'::text[]) items, LATERAL (SELECT ROW(b.prefix, b.code, b.items, n), ROW(o.prefix, o.code, o.items, n)
	FROM semtok.next_codes_batch(items::regclass, (SELECT array_agg(prefix ORDER BY n) FROM m_prefixes)) WITH ORDINALITY b(prefix, code, items, n)
	FULL JOIN (SELECT p.i::int AS prefix, c.code, c.items, row_number() OVER (ORDER BY p.i, c.code) AS n
		FROM unnest((SELECT array_agg(prefix ORDER BY n) FROM m_prefixes)) WITH ORDINALITY p(prefix, i), semtok.next_codes(items::regclass, prefix) c) o USING (n)) x(b, o) GROUP BY 1 ORDER BY 1;
SELECT count(*) AS differences FROM (SELECT semset_agg(sid) AS items FROM m_many) s, LATERAL (
	SELECT prefix, code FROM semtok.next_codes_batch_set(items, (SELECT array_agg(prefix ORDER BY n) FROM m_prefixes))
	EXCEPT SELECT prefix, code FROM semtok.next_codes_batch('m_many', (SELECT array_agg(prefix ORDER BY n) FROM m_prefixes))) d;
-- deeper prefixes and more of them than fit work_mem at once give the same
SET work_mem = '64kB';
SELECT items, md5(string_agg(b::text, ',' ORDER BY n)) = (SELECT md5(string_agg(b::text, ',' ORDER BY n)) FROM unnest(semtok.mask('m_many',
	(SELECT array_agg(prefix ORDER BY n) FROM m_prefixes), 100, '{0,20,40,0,20,40}', 99)) WITH ORDINALITY m(b, n)) AS same
FROM unnest('{m_many,m_parts}'::text[]) items, LATERAL unnest(semtok.mask(items::regclass, (SELECT array_agg(prefix ORDER BY n) FROM m_prefixes), 100, '{0,20,40,0,20,40}', 99)) WITH ORDINALITY m(b, n) GROUP BY 1 ORDER BY 1;
SELECT count(*), count(DISTINCT b), min(b::text) FROM unnest(semtok.mask('m_many', array_fill('[1,1]@2'::semid, array[1000000]), 20)) b;
RESET work_mem;

-- NULL makes NULL or no rows, but offsets, end_token, within and exclude may be NULL
SELECT semtok.mask(NULL, '{NULL}', 4) IS NULL AND semtok.mask('m_items', NULL, 4) IS NULL AND semtok.mask('m_items', '{NULL}', NULL) IS NULL
	AND semtok.mask_packed('m_items', '{NULL}', 4, tokenizer => NULL) IS NULL AND semtok.mask_set(NULL, '{NULL}', 4) IS NULL AND semtok.mask_packed_set(NULL, NULL, NULL) IS NULL AS nulls,
	semtok.mask('m_items', '{NULL}', 4, NULL, NULL, 0, NULL, NULL) AS row;
SELECT * FROM semtok.next_codes_batch(NULL, '{NULL}') UNION ALL SELECT * FROM semtok.next_codes_batch('m_items', NULL) UNION ALL SELECT * FROM semtok.next_codes_batch_set(NULL, '{NULL}')
	UNION ALL SELECT * FROM semtok.next_codes_batch_set('{[1]}', NULL) UNION ALL SELECT * FROM semtok.next_codes_batch_set('{[1]}', '{}');
-- an empty table and an empty set
CREATE TABLE m_empty (sid semid);
CREATE INDEX ON m_empty USING semtrie (sid);
SELECT semtok.mask('m_empty', '{NULL,"[1]"}', 3), semtok.mask_set('{}', '{NULL,"[1]"}', 3, end_token => 2), semtok.mask('m_items', '{NULL}', 5, within => '{}');

-- what cannot be
SELECT semtok.mask('m_items', '{NULL}', 0);
SELECT semtok.mask('m_items', '{NULL}', -1);
SELECT semtok.mask('m_items', '{NULL}', 3);
SELECT semtok.mask('m_items', '{"[3,1]"}', 8, '{0,0,5}');
SELECT semtok.mask('m_items', '{"[3,1]"}', 2147483647, '{0,0,2147483647}');
SELECT semtok.mask_packed('m_items', '{"[3,1]"}', 2147483647, '{0,0,2147483647}');
SELECT semtok.mask('m_items', '{NULL,"[3,1]"}', 8, '{0,1}');
SELECT semtok.mask('m_items', '{NULL}', 8, '{}');
SELECT semtok.mask('m_items', '{NULL}', 8, '{0,NULL,1}');
SELECT semtok.mask('m_items', '{NULL}', 8, '{0,-1,1}');
SELECT semtok.mask('m_items', '{NULL}', 8, '{{0,1,2}}');
SELECT semtok.mask('m_items', '{NULL}', 8, array_fill(0, array[33]));
SELECT semtok.mask('m_items', '{NULL}', 4, end_token => 3);
SELECT semtok.mask('m_items', '{NULL}', 4, end_token => 4);
SELECT semtok.mask('m_items', '{NULL}', 4, end_token => -1);
SELECT semtok.mask('m_items', '{NULL}', 4, tokenizer => -1);
SELECT semtok.mask('m_items', '{"[1]","[1]@2"}', 4, tokenizer => 1);
SELECT semtok.mask('m_items', '{{"[1]"},{"[2]"}}', 4);
SELECT semtok.next_codes_batch('m_items', '{{"[1]"},{"[2]"}}');
-- no more than a value may hold, and said before any work
SELECT semtok.mask('m_items', '{NULL}', 83886081);
SELECT semtok.mask('m_items', array_fill(NULL::semid, array[1000]), 83886080);
SELECT semtok.mask_packed('m_items', array_fill(NULL::semid, array[1000000]), 151936);
SELECT semtok.mask('m_prefixes', '{NULL}', 4);

DROP VIEW m_set;
DROP TABLE m_items, m_many, m_parts, m_prefixes, m_sets, m_empty;
DROP FUNCTION tokens(bit varying), tokens(bytea, int), expected;
