-- The semtrie access method as a citizen: every kind of table, every kind of DDL, planner choices.
SET client_min_messages = warning;
SET max_parallel_workers_per_gather = 0;
CREATE SCHEMA semtrie_ddl;
SET search_path = semtrie_ddl, public;

-- A query of two levels of ten codes; low codes are likely, and no two pairs cost the same.
CREATE TABLE asked AS SELECT semtok.logits(
	(SELECT array_agg((-c * (CASE l WHEN 1 THEN 10 ELSE 1 END))::real ORDER BY l, c)
	 FROM generate_series(1, 2) l, generate_series(0, 9) c), '{10,10}', 0, 'none') AS q;

\getenv test PG_ABS_SRCDIR
\set explain :test '/lib/explain.sql'
\i :explain

-- The index's answer beside the sequential plan's: rows by id in order, ties by id.
CREATE FUNCTION agree(relation regclass) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	got text[];
	expected text[];
	members text[];
	statement text := format('SELECT array_agg(r) FROM (SELECT concat(sid <~> (SELECT q FROM asked), '' '', sid) AS r
		FROM %s ORDER BY sid <~> (SELECT q FROM asked) %%s) s', relation);
	wanted text := format('SELECT array_agg(id ORDER BY id) FROM %s WHERE sid ^@ ''[3]''', relation);
BEGIN
	SET LOCAL enable_indexscan = off;
	SET LOCAL enable_bitmapscan = off;
	EXECUTE format(statement, ', sid') INTO expected;
	EXECUTE wanted INTO members;
	SET LOCAL enable_indexscan = on;
	SET LOCAL enable_seqscan = off;
	SET LOCAL enable_sort = off;
	EXECUTE format(statement, '') INTO got;
	IF got IS DISTINCT FROM expected THEN
		RETURN format('order differs: %s and %s', got[1:5], expected[1:5]);
	END IF;
	EXECUTE wanted INTO got;
	IF got IS DISTINCT FROM members THEN
		RETURN format('prefix differs: %s and %s', got[1:5], members[1:5]);
	END IF;
	RESET enable_seqscan;
	RESET enable_sort;
	RETURN format('%s rows agree', coalesce(cardinality(expected), 0));
END
$$;

-- Empty
CREATE TABLE item (id int PRIMARY KEY, sid semid, price int) WITH (autovacuum_enabled = off);
CREATE INDEX item_sid ON item USING semtrie (sid);
SELECT agree('item');
VACUUM item;
SELECT agree('item');

-- Filled by inserts, then built, then both
INSERT INTO item SELECT i, semid(array[i % 10, i / 10 % 10]), i FROM generate_series(1, 150) i;
INSERT INTO item VALUES (1000, NULL, 0), (1001, '[3]', 0), (1002, '[3,3,3]@4', 0);
SELECT agree('item');
REINDEX INDEX item_sid;
SELECT agree('item');
INSERT INTO item SELECT i, semid(array[i % 10, i / 10 % 10], 4), i FROM generate_series(2001, 2050) i;
SELECT agree('item');
REINDEX INDEX CONCURRENTLY item_sid;
SELECT agree('item');
REINDEX TABLE item;
SELECT agree('item');
VACUUM FULL item;
SELECT agree('item');
CLUSTER item USING item_pkey;
SELECT agree('item');
TRUNCATE item;
SELECT agree('item');
INSERT INTO item SELECT i, semid(array[i % 10, i / 10 % 10]), i FROM generate_series(1, 1000) i;
SELECT agree('item');
CREATE INDEX CONCURRENTLY item_other ON item USING semtrie (sid);
DROP INDEX item_sid;
SELECT agree('item');
DROP INDEX CONCURRENTLY item_other;
CREATE INDEX item_sid ON item USING semtrie (sid) WITH (pending_limit = 64);
ALTER INDEX item_sid SET (pending_limit = 128);
ALTER INDEX item_sid RESET (pending_limit);
SELECT agree('item');
CLUSTER item USING item_sid;

-- Rows of transactions that did not happen, in whole and in part
BEGIN;
INSERT INTO item VALUES (5000, '[3,3]', 0);
SAVEPOINT a;
INSERT INTO item VALUES (5001, '[3,3]', 0);
ROLLBACK TO a;
SAVEPOINT b;
INSERT INTO item VALUES (5002, '[3,3]', 0);
RELEASE b;
SELECT agree('item');
COMMIT;
BEGIN;
INSERT INTO item VALUES (5003, '[3,3]', 0);
DELETE FROM item WHERE sid ^@ '[4]';
UPDATE item SET sid = '[3,9]' WHERE sid ^@ '[5]';
SELECT agree('item');
ROLLBACK;
SELECT id FROM item WHERE id >= 5000 ORDER BY id;
SELECT agree('item');

-- HOT: an update of another column adds no entry, and is found
UPDATE item SET price = price + 1 WHERE id % 3 = 0;
SELECT agree('item');
UPDATE item SET price = price + 1;
SELECT agree('item');
VACUUM item;
SELECT agree('item');

-- Planner's choices
ANALYZE item;
SELECT pg_temp.explain('SELECT id FROM item ORDER BY sid <~> (SELECT q FROM asked) LIMIT 10');
SELECT pg_temp.explain('SELECT id FROM item WHERE price > 10 ORDER BY sid <~> (SELECT q FROM asked) LIMIT 10');
-- no LIMIT: the whole table is read in any case
SELECT pg_temp.explain('SELECT id FROM item ORDER BY sid <~> (SELECT q FROM asked)');
-- the other directions are not the index's
SELECT pg_temp.explain('SELECT id FROM item ORDER BY sid <~> (SELECT q FROM asked) DESC LIMIT 10');
SELECT pg_temp.explain('SELECT id FROM item ORDER BY sid <~> (SELECT q FROM asked) NULLS FIRST LIMIT 10');
SELECT pg_temp.explain('SELECT id FROM item ORDER BY sid LIMIT 10');
-- prefixes and equality
SELECT pg_temp.explain('SELECT id FROM item WHERE sid = ''[3,7]''');
SELECT pg_temp.explain('SELECT id FROM item WHERE sid ^@ ''[3,7]''');
SELECT pg_temp.explain('SELECT id FROM item WHERE sid IS NULL');
-- a prefix that every id has
SELECT pg_temp.explain('SELECT id FROM item WHERE sid ^@ ''[3]'' OR price >= 0');
SET enable_bitmapscan = off;
SELECT pg_temp.explain('SELECT id FROM item WHERE sid ^@ ''[3,7]'' ORDER BY sid <~> (SELECT q FROM asked) LIMIT 2');
SET enable_indexscan = off;
SET enable_bitmapscan = on;
SELECT pg_temp.explain('SELECT id FROM item WHERE sid ^@ ''[3,7]''');
RESET enable_indexscan;
RESET enable_bitmapscan;
-- never index-only
SELECT pg_temp.explain('SELECT sid FROM item WHERE sid = ''[3,7]''');
CREATE TABLE counted AS SELECT null::semid AS sid FROM generate_series(1, 100);
CREATE INDEX ON counted USING semtrie (sid);
BEGIN;
SET LOCAL enable_seqscan = off;
SET LOCAL enable_bitmapscan = off;
SELECT count(*) FROM counted;
COMMIT;
DROP TABLE counted;
-- a cursor that scrolls back
SELECT pg_temp.explain('DECLARE c SCROLL CURSOR FOR SELECT id FROM item ORDER BY sid <~> (SELECT q FROM asked) LIMIT 10');
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT id FROM item ORDER BY sid <~> (SELECT q FROM asked) LIMIT 10;
FETCH 3 FROM c;
FETCH BACKWARD 1 FROM c;
FETCH ABSOLUTE 1 FROM c;
COMMIT;
-- a nested loop with a prefix from the outer side
SELECT pg_temp.explain('SELECT count(*) FROM (VALUES (''[1,1]''::semid), (''[1,2]'')) v (p) JOIN item ON sid ^@ p');
SELECT count(*) FROM (VALUES ('[1,1]'::semid), ('[1,2]'), (NULL)) v (p) JOIN item ON sid ^@ p;

-- Eight levels of 256 codes: best-first would visit most of the trie
CREATE TABLE deep (id int, sid semid) WITH (autovacuum_enabled = off);
INSERT INTO deep SELECT i, semid((SELECT array_agg(hashint4(i * 8 + l) & 255) FROM generate_series(1, 8) l))
	FROM generate_series(1, 5000) i;
CREATE INDEX deep_sid ON deep USING semtrie (sid);
ANALYZE deep;
CREATE TABLE asked_deep AS SELECT semtok.logits(
	(SELECT array_agg(((hashint4(c) & 1023) / 256.0)::real ORDER BY c) FROM generate_series(1, 8 * 256) c),
	array_fill(256, array[8])) AS q;
SELECT pg_temp.explain('SELECT id FROM deep ORDER BY sid <~> (SELECT q FROM asked_deep) LIMIT 10');
-- a prefix leaves one row of 5,000
SET enable_bitmapscan = off;
SELECT pg_temp.explain('SELECT id FROM deep WHERE sid ^@ ''[3,7]'' ORDER BY sid <~> (SELECT q FROM asked_deep)');
RESET enable_bitmapscan;

-- Partial and expression indexes
CREATE TABLE part_of (id int, raw int[], sid semid, price int);
INSERT INTO part_of SELECT i, array[i % 10, i / 10 % 10], semid(array[i % 10, i / 10 % 10]), i
	FROM generate_series(1, 1000) i;
CREATE INDEX part_of_cheap ON part_of USING semtrie (sid) WHERE price < 500;
CREATE INDEX part_of_raw ON part_of USING semtrie ((semid(raw)));
ANALYZE part_of;
SELECT pg_temp.explain('SELECT id FROM part_of WHERE price < 500 ORDER BY sid <~> (SELECT q FROM asked) LIMIT 3');
SELECT id, sid FROM part_of WHERE price < 500 ORDER BY sid <~> (SELECT q FROM asked) LIMIT 3;
SELECT pg_temp.explain('SELECT id FROM part_of WHERE price < 600 ORDER BY sid <~> (SELECT q FROM asked) LIMIT 3');
SELECT pg_temp.explain('SELECT id FROM part_of ORDER BY semid(raw) <~> (SELECT q FROM asked) LIMIT 3');
UPDATE part_of SET price = price + 250, raw = '{0,1}' WHERE id % 2 = 0;
SELECT array_agg(id ORDER BY id) FROM (SELECT id FROM part_of WHERE price < 500
	ORDER BY sid <~> (SELECT q FROM asked) LIMIT 5) s;
SELECT DISTINCT semid(raw) FROM (SELECT raw FROM part_of ORDER BY semid(raw) <~> (SELECT q FROM asked) LIMIT 5) s;
SELECT count(*) >= 0 AS checked FROM semtok.index_check('part_of_cheap', true);
SELECT count(*) >= 0 AS checked FROM semtok.index_check('part_of_raw', true);

-- Partitioned: a merge of ordered scans
CREATE TABLE shop (id int, region int, sid semid) PARTITION BY LIST (region);
CREATE TABLE shop_1 PARTITION OF shop FOR VALUES IN (1);
CREATE INDEX shop_sid ON shop USING semtrie (sid);
CREATE TABLE shop_2 PARTITION OF shop FOR VALUES IN (2);
CREATE TABLE shop_3 (id int, region int, sid semid);
INSERT INTO shop_3 SELECT i, 3, semid(array[i % 10, i / 10 % 10]) FROM generate_series(2001, 2500) i;
ALTER TABLE shop ATTACH PARTITION shop_3 FOR VALUES IN (3);
INSERT INTO shop SELECT i, 1 + i % 2, semid(array[i % 10, i / 10 % 10]) FROM generate_series(1, 1000) i;
ANALYZE shop;
SELECT pg_temp.explain('SELECT id FROM shop ORDER BY sid <~> (SELECT q FROM asked) LIMIT 5');
SELECT agree('shop');
UPDATE shop SET region = 3 WHERE id % 10 = 1;
SELECT agree('shop');
ALTER TABLE shop DETACH PARTITION shop_2;
SELECT agree('shop');

-- Unlogged, and changed to logged and back
CREATE UNLOGGED TABLE passing (id int, sid semid);
CREATE INDEX passing_sid ON passing USING semtrie (sid);
INSERT INTO passing SELECT i, semid(array[i % 10, i / 10 % 10]) FROM generate_series(1, 500) i;
SELECT agree('passing');
ALTER TABLE passing SET LOGGED;
SELECT agree('passing');
ALTER TABLE passing SET UNLOGGED;
INSERT INTO passing VALUES (9999, '[3,3]');
VACUUM passing;
SELECT agree('passing');

-- Temporary
CREATE TEMP TABLE mine (id int, sid semid);
CREATE INDEX mine_sid ON mine USING semtrie (sid) WITH (pending_limit = 64);
INSERT INTO mine SELECT i, semid(array[i % 10, i / 10 % 10]) FROM generate_series(1, 10000) i;
DELETE FROM mine WHERE id % 2 = 0;
VACUUM mine;
SELECT agree('mine');
CREATE TEMP TABLE brief (id int, sid semid) ON COMMIT DELETE ROWS;
CREATE INDEX brief_sid ON brief USING semtrie (sid);
BEGIN;
INSERT INTO brief SELECT i, semid(array[i % 10, 1]) FROM generate_series(1, 50) i;
SELECT agree('brief');
COMMIT;
SELECT agree('brief');

-- A materialized view
CREATE MATERIALIZED VIEW likely AS SELECT id, sid FROM item WHERE id < 300;
CREATE UNIQUE INDEX ON likely (id);
CREATE INDEX likely_sid ON likely USING semtrie (sid);
SELECT agree('likely');
DELETE FROM item WHERE id < 50;
REFRESH MATERIALIZED VIEW CONCURRENTLY likely;
SELECT agree('likely');
REFRESH MATERIALIZED VIEW likely;
SELECT agree('likely');

-- Column types that change or go
ALTER TABLE part_of ALTER sid TYPE semid(2, 10);
SELECT count(*) FROM part_of WHERE price < 500 AND sid ^@ '[3]';
ALTER TABLE part_of DROP raw;
SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'part_of'::regclass;

-- What a semtrie index cannot be is said when it is defined
CREATE UNIQUE INDEX ON item USING semtrie (sid);
CREATE INDEX ON item USING semtrie (sid DESC);
CREATE INDEX ON item USING semtrie (sid NULLS FIRST);
\set VERBOSITY sqlstate
CREATE INDEX ON item USING semtrie (sid COLLATE "C");
\set VERBOSITY default
CREATE INDEX ON item USING semtrie (sid) INCLUDE (price);
CREATE INDEX ON item USING semtrie (sid, sid);
CREATE INDEX ON item USING semtrie (price);
ALTER TABLE item ADD EXCLUDE USING semtrie (sid WITH =);
CREATE INDEX ON item USING semtrie (sid) WITH (pending_limit = 1);
CREATE INDEX ON item USING semtrie (sid) WITH (fillfactor = 50);

-- The verbs that show an index's inside
SELECT semtok.index_check('item', true);
SELECT semtok.index_check('item_pkey', true);
SELECT * FROM semtok.index_info('item');

SET client_min_messages = warning;
DROP SCHEMA semtrie_ddl CASCADE;
