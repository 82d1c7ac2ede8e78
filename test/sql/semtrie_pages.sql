-- Records that fill pages, merges, and blocks used again.
SET client_min_messages = warning;

-- Rows of a table as the index finds them and as a sequential scan does: the same?
CREATE FUNCTION index_agrees(relation regclass, condition text DEFAULT 'true')
RETURNS boolean LANGUAGE plpgsql
SET enable_bitmapscan = off AS $$
DECLARE
	query text := format('SELECT count(*) || '':'' || sum(hashint8(id)::bigint * 2 + 1)
		FROM %s WHERE sid IS NOT NULL AND %s', relation, condition);
	by_index text;
	by_scan text;
BEGIN
	SET LOCAL enable_seqscan = off;
	EXECUTE query INTO by_index;
	SET LOCAL enable_seqscan = on;
	SET LOCAL enable_indexscan = off;
	EXECUTE query INTO by_scan;
	RETURN by_index IS NOT DISTINCT FROM by_scan;
END
$$;

-- temporary, so that no other session decides what VACUUM may remove
CREATE TEMPORARY TABLE sp (id bigint, sid semid);
-- every code of a level; one-id tails; postings of several pages; 32 levels; many tokenizers
INSERT INTO sp SELECT i, semid(array[i], 1) FROM generate_series(0, 65535) i;
INSERT INTO sp SELECT i, semid(array[i, 1, 2, 3], 2) FROM generate_series(0, 20000) i;
INSERT INTO sp SELECT i, '[1,2]' FROM generate_series(1, 5000) i;
INSERT INTO sp SELECT i, '[1,2,3]' FROM generate_series(1, 5000) i;
INSERT INTO sp SELECT i, semid(array_fill(i % 3, array[1 + i % 32])) FROM generate_series(1, 2000) i;
INSERT INTO sp SELECT i, semid(array[1, 2], i) FROM generate_series(3, 2000) i;
INSERT INTO sp SELECT i, semid(array[65535, 65534, 65533], 2147483647) FROM generate_series(1, 9) i;
INSERT INTO sp SELECT i, NULL FROM generate_series(1, 4000) i;
CREATE INDEX sp_sid ON sp USING semtrie (sid) WITH (pending_limit = 512);
SELECT tokenizers, levels, ids, items, nulls FROM semtok.index_info('sp_sid');
SELECT semtok.index_check('sp_sid', true);
SELECT index_agrees('sp'), index_agrees('sp', 'sid ^@ ''[1,2]'''),
	index_agrees('sp', 'sid = ''[1,2]'''), index_agrees('sp', 'sid ^@ ''[0,0,0,0,0,0,0,0,0]'''),
	index_agrees('sp', 'sid = ''[65535]@1'''), index_agrees('sp', 'sid ^@ ''[77,1]@2''');
SET enable_seqscan = off;
SELECT count(*) FROM sp WHERE sid IS NULL;
RESET enable_seqscan;

-- inserting as much again merges on the way
INSERT INTO sp SELECT id + 100000, sid FROM sp;
SELECT generation > 1 AS merged, items + nulls + delta_entries AS rows, delta_pages <= 65 AS bounded
	FROM semtok.index_info('sp_sid');
SELECT semtok.index_check('sp_sid', true);
SELECT index_agrees('sp'), index_agrees('sp', 'sid ^@ ''[1,2]'''),
	index_agrees('sp', 'sid = ''[1,2]'''), index_agrees('sp', 'sid ^@ ''[0,0,0,0,0,0,0,0,0]'''),
	index_agrees('sp', 'sid = ''[65535]@1'''), index_agrees('sp', 'sid ^@ ''[77,1]@2''');

-- deleting every third row, then all
DELETE FROM sp WHERE id % 3 = 0;
VACUUM sp;
SELECT items, nulls, dead, delta_entries FROM semtok.index_info('sp_sid');
SELECT semtok.index_check('sp_sid', true);
SELECT index_agrees('sp'), index_agrees('sp', 'sid = ''[1,2]''');
DELETE FROM sp WHERE id % 50 = 1;
VACUUM sp;
SELECT dead > 0 AS dead_stay, delta_entries FROM semtok.index_info('sp_sid');
SELECT semtok.index_check('sp_sid', true);
SELECT index_agrees('sp'), index_agrees('sp', 'sid ^@ ''[1]''');
DELETE FROM sp;
VACUUM sp;
SELECT runs, ids, items, nulls, dead, run_pages, delta_entries FROM semtok.index_info('sp_sid');
SELECT semtok.index_check('sp_sid', true);
INSERT INTO sp SELECT i, '[1,2]' FROM generate_series(1, 10) i;
SELECT index_agrees('sp'), index_agrees('sp', 'sid = ''[1,2]''');

-- churn does not grow the index: blocks that a merge retired serve the one after the next
CREATE TABLE sc (id bigint, sid semid);
CREATE INDEX sc_sid ON sc USING semtrie (sid);
CREATE PROCEDURE churn(rounds int) LANGUAGE plpgsql AS $$
BEGIN
	FOR round IN 1..rounds LOOP
		INSERT INTO sc SELECT i, semid(array[i % 64, (i / 64) % 64, i % 50], 1)
			FROM generate_series(1, 5000) i;
		COMMIT;
		DELETE FROM sc;
		COMMIT;
	END LOOP;
END
$$;
CALL churn(1);
VACUUM sc;
CALL churn(1);
VACUUM sc;
CALL churn(1);
VACUUM sc;
CREATE TABLE size_before AS SELECT bytes FROM semtok.index_info('sc_sid');
CALL churn(1);
VACUUM sc;
CALL churn(1);
VACUUM sc;
CALL churn(1);
VACUUM sc;
CALL churn(1);
VACUUM sc;
SELECT i.bytes <= 1.02 * b.bytes AS bounded FROM semtok.index_info('sc_sid') i, size_before b;
SELECT semtok.index_check('sc_sid', true);

DROP TABLE sp, sc, size_before;
DROP PROCEDURE churn;
DROP FUNCTION index_agrees;
