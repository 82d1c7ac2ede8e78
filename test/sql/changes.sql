-- catalog_version and changes: keeping a copy of the ids up to date.
SET client_min_messages = warning;
-- temporary, so that no other session decides what VACUUM may remove
CREATE TEMPORARY TABLE ch (id int PRIMARY KEY, sid semid, note int DEFAULT 0);
CREATE INDEX ON ch (note);
INSERT INTO ch SELECT i, semid(array[i % 5, i % 7, i], 1 + i % 2) FROM generate_series(1, 500) i;
INSERT INTO ch VALUES (1000, NULL);
CREATE INDEX ch_sid ON ch USING semtrie (sid) WITH (pending_limit = 64, history_limit = 1024);

-- What is known since a version: how many ids may have changed, or why not.
CREATE FUNCTION known(items regclass, since bigint) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN count(*) < 1000000 FROM semtok.changes(items, since);
EXCEPTION WHEN object_not_in_prerequisite_state THEN
	RETURN regexp_replace(SQLERRM, '\d+', 'N');
END
$$;
-- A copy, brought up to date: what it has that semset_agg has not, and the other way round. Version,
-- changes and set belong to one snapshot.
CREATE TABLE copy (version bigint, ids semset);
CREATE FUNCTION refresh(OUT missing semset, OUT left_over semset) LANGUAGE sql AS $$
	WITH version AS MATERIALIZED (SELECT semtok.catalog_version('ch') AS v),
	changed AS MATERIALIZED (SELECT c.* FROM copy, semtok.changes('ch', version) c),
	applied AS MATERIALIZED (
		SELECT (ids | coalesce((SELECT semset_agg(sid) FROM changed WHERE present), '{}'))
			- coalesce((SELECT semset_agg(sid) FROM changed WHERE NOT present), '{}') AS ids, v
		FROM copy, version)
	UPDATE copy SET ids = applied.ids, version = applied.v
		FROM applied, (SELECT semset_agg(sid) AS now FROM ch) agg
		RETURNING agg.now - applied.ids, applied.ids - agg.now
$$;
INSERT INTO copy SELECT semtok.catalog_version('ch'), semset_agg(sid) FROM ch;
SELECT * FROM refresh();

-- new rows, several of an id, rows without, of other tokenizers, rows rolled back
INSERT INTO ch VALUES (2001, '[9,9]'), (2002, '[9,9]'), (2003, NULL), (2004, '[9]@7'), (2005, '[1,1,1]@2');
SELECT * FROM semtok.changes('ch', (SELECT version FROM copy)) WHERE semid_code(sid, 0) = 9;
SELECT * FROM refresh();
BEGIN;
INSERT INTO ch VALUES (2006, '[8,8]');
SAVEPOINT s;
INSERT INTO ch VALUES (2007, '[8,7]');
ROLLBACK TO s;
SELECT * FROM semtok.changes('ch', (SELECT version FROM copy)) WHERE semid_code(sid, 0) = 8;
ROLLBACK;
SELECT * FROM semtok.changes('ch', (SELECT version FROM copy)) WHERE semid_code(sid, 0) = 8;
SELECT * FROM refresh();

-- one row of two; then the other: until VACUUM has removed it the index has not heard of it
DELETE FROM ch WHERE id = 2001;
VACUUM (INDEX_CLEANUP ON) ch;
SELECT * FROM semtok.changes('ch', (SELECT version FROM copy)) WHERE sid = '[9,9]';
SELECT * FROM refresh();
DELETE FROM ch WHERE id = 2002;
SELECT * FROM refresh();
VACUUM (INDEX_CLEANUP ON) ch;
SELECT * FROM semtok.changes('ch', (SELECT version FROM copy)) WHERE sid = '[9,9]';
SELECT * FROM refresh();

-- an id that changes, and back; a row that changes in other columns; through merges
UPDATE ch SET sid = '[7,7,7]@1' WHERE id <= 10;
UPDATE ch SET note = note + 1 WHERE id BETWEEN 100 AND 300;
VACUUM (INDEX_CLEANUP ON) ch;
SELECT * FROM refresh();
UPDATE ch SET sid = semid(array[id % 5, id % 7, id], 1 + id % 2) WHERE id <= 10;
INSERT INTO ch SELECT 10000 + i, semid(array[i % 50, i % 49], 3) FROM generate_series(1, 9000) i;
SELECT generation > 2 AS merged, history_pages > 1 AS kept FROM semtok.index_info('ch_sid');
SELECT missing, semset_size(left_over) FROM refresh();
VACUUM (INDEX_CLEANUP ON) ch;
SELECT * FROM refresh();

-- dead rows in families and postings that run over several pages, of many tokenizers
INSERT INTO ch SELECT 100000 + i, semid(array[i], 4) FROM generate_series(0, 20000) i;
INSERT INTO ch SELECT 200000 + i, '[5]@5' FROM generate_series(1, 3000) i;
INSERT INTO ch SELECT 300000 + i, semid(array[i % 3, i / 3, i], 6) FROM generate_series(1, 3000) i;
INSERT INTO ch SELECT 400000 + i, semid(array[i], 100 + i) FROM generate_series(1, 1500) i;
INSERT INTO ch SELECT 500000 + i, NULL FROM generate_series(1, 3000) i;
ALTER INDEX ch_sid SET (history_limit = 8192);
VACUUM (INDEX_CLEANUP ON) ch;
UPDATE copy SET (version, ids) = (SELECT semtok.catalog_version('ch'), semset_agg(sid) FROM ch);
DELETE FROM ch WHERE id > 100000 AND id % 10 = 1;
VACUUM (INDEX_CLEANUP ON) ch;
SELECT * FROM refresh();
DELETE FROM ch WHERE sid = '[5]@5' OR sid = '[20000]@4' OR sid = '[0]@4' OR semid_tokenizer(sid) IN (100, 1599);
VACUUM (INDEX_CLEANUP ON) ch;
SELECT * FROM semtok.changes('ch', (SELECT version FROM copy)) WHERE sid IN ('[5]@5', '[20000]@4', '[0]@4');
SELECT * FROM refresh();
DELETE FROM ch WHERE id % 3 = 0;
VACUUM (INDEX_CLEANUP ON) ch;
SELECT * FROM refresh();
SELECT semtok.index_check('ch_sid', true);

-- in the transaction that builds an index, versions are too old from the start; afterwards new ones begin
BEGIN;
REINDEX INDEX ch_sid;
SELECT known('ch', semtok.catalog_version('ch'));
ROLLBACK;
SELECT * FROM refresh();
REINDEX INDEX ch_sid;
SELECT known('ch', version) FROM copy;
UPDATE copy SET (version, ids) = (SELECT semtok.catalog_version('ch'), semset_agg(sid) FROM ch);
SELECT * FROM refresh();

-- more than is kept is too old: of inserts, and of removals
ALTER INDEX ch_sid SET (history_limit = 64);
DELETE FROM ch WHERE id > 1000;
VACUUM (INDEX_CLEANUP ON) ch;
SELECT known('ch', version) FROM copy;
UPDATE copy SET (version, ids) = (SELECT semtok.catalog_version('ch'), semset_agg(sid) FROM ch);
INSERT INTO ch SELECT 10000 + i, semid(array[i % 50, i % 49], 3) FROM generate_series(1, 1000) i;
VACUUM ch;
SELECT known('ch', version) FROM copy;
SELECT * FROM refresh();
INSERT INTO ch SELECT 20000 + i, semid(array[i % 50, i], 3) FROM generate_series(1, 9000) i;
VACUUM ch;
SELECT known('ch', version) FROM copy;
SELECT history_pages = 8 AS bounded FROM semtok.index_info('ch_sid');
UPDATE copy SET (version, ids) = (SELECT semtok.catalog_version('ch'), semset_agg(sid) FROM ch);
DELETE FROM ch WHERE id BETWEEN 20001 AND 24500;
VACUUM ch;
SELECT known('ch', version) FROM copy;
TRUNCATE ch;
SELECT known('ch', version) FROM copy;

-- who is refused
SELECT semtok.catalog_version(NULL), (SELECT count(*) FROM semtok.changes('ch', NULL));
CREATE UNLOGGED TABLE ch_unlogged (sid semid);
CREATE INDEX ON ch_unlogged USING semtrie (sid);
SELECT semtok.catalog_version('ch_unlogged');
SELECT * FROM semtok.changes('ch_unlogged', 1);
CREATE TABLE ch_parts (id int, sid semid) PARTITION BY RANGE (id);
CREATE TABLE ch_part PARTITION OF ch_parts DEFAULT;
CREATE INDEX ON ch_parts USING semtrie (sid);
SELECT semtok.catalog_version('ch_parts');
SELECT * FROM semtok.changes('ch_parts', 1);
SELECT semtok.catalog_version('ch_part') > 0 AS of_a_partition;
-- a partial index has versions of its own rows
CREATE INDEX ch_partial ON ch USING semtrie (sid) WHERE note = 1;
SELECT semtok.catalog_version('ch_partial') AS since \gset
INSERT INTO ch VALUES (1, '[1]', 1), (2, '[2]', 0);
SELECT * FROM semtok.changes('ch_partial', :since);
-- a temporary table has them too, until it is emptied
CREATE TEMPORARY TABLE ch_temporary (sid semid) ON COMMIT DELETE ROWS;
CREATE INDEX ON ch_temporary USING semtrie (sid);
SELECT semtok.catalog_version('ch_temporary') AS since \gset
SELECT known('ch_temporary', :since);
INSERT INTO ch_temporary VALUES ('[1]');
SELECT count(*) FROM semtok.changes('ch_temporary', semtok.catalog_version('ch_temporary'));
DROP TABLE ch, copy, ch_unlogged, ch_parts;
DROP FUNCTION refresh, known;
