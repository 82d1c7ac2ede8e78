-- The semtrie access method: definition, scans by =, ^@ and <~>, NULLs, changes, errors.
SET client_min_messages = warning;
\getenv test PG_ABS_SRCDIR
\set explain :test '/lib/explain.sql'
\i :explain

CREATE TABLE st (id int, sid semid);
INSERT INTO st VALUES
	(1, '[1,2,3]@1'), (2, '[1,2,3]@1'), (3, '[1,2]@1'), (4, '[1,2,3,4]@1'), (5, '[1,0,9]@1'),
	(6, '[7,7,7]@1'), (7, '[1,2,3]'), (8, '[1,2,3]@2'), (9, NULL), (10, '[0]@1'), (11, NULL),
	(12, '[65535,65535,65535]@2147483647'), (13, '[7,7,6]@1');
CREATE INDEX st_sid ON st USING semtrie (sid);
SELECT amvalidate(oid) FROM pg_opclass
	WHERE opcname = 'semid_ops' AND opcmethod = (SELECT oid FROM pg_am WHERE amname = 'semtrie');

-- what the index can and cannot do
SELECT p, pg_indexam_has_property(a.oid, p) AS am
	FROM pg_am a, unnest(array['can_order', 'can_unique', 'can_multi_col', 'can_exclude',
		'can_include']) p
	WHERE amname = 'semtrie' ORDER BY p;
SELECT p, pg_index_column_has_property('st_sid', 1, p) AS column
	FROM unnest(array['asc', 'desc', 'orderable', 'distance_orderable', 'returnable',
		'search_array', 'search_nulls']) p;
SELECT p, pg_index_has_property('st_sid', p) AS index
	FROM unnest(array['clusterable', 'index_scan', 'bitmap_scan', 'backward_scan']) p;

SET enable_seqscan = off;
SET enable_bitmapscan = off;
SET enable_sort = off;

SELECT pg_temp.explain($$SELECT id FROM st WHERE sid = '[1,2,3]@1'$$);
SELECT id FROM st WHERE sid = '[1,2,3]@1';
SELECT id FROM st WHERE sid = '[1,2]@1';
SELECT id FROM st WHERE sid = '[1]@1';
SELECT id FROM st WHERE sid = '[65535,65535,65535]@2147483647';
SELECT id, sid FROM st WHERE sid ^@ '[1,2]@1';
SELECT id, sid FROM st WHERE sid ^@ '[1,2]';
SELECT id, sid FROM st WHERE sid ^@ '[7,7,7]@1';
SELECT id, sid FROM st WHERE sid ^@ '[7,7,7,7]@1';
SELECT id, sid FROM st WHERE sid ^@ '[1]' AND sid ^@ '[1,2,3]@1';
SELECT id, sid FROM st WHERE sid ^@ '[1,2]' AND sid = '[1,2,3]@2';
SELECT id, sid FROM st WHERE sid ^@ '[1,2,3]' AND sid = '[1,2]@1';
SELECT id, sid FROM st WHERE sid ^@ '[1]@1' AND sid ^@ '[1]@2';
SELECT id, sid FROM st WHERE sid = NULL::semid;
SELECT id, sid FROM st WHERE sid IS NULL;
SELECT id, sid FROM st WHERE sid IS NULL AND sid = '[1,2]@1';
SELECT id, sid FROM st WHERE sid IS NOT NULL;
SET enable_indexscan = off;
SET enable_bitmapscan = on;
SELECT pg_temp.explain($$SELECT count(*) FROM st WHERE sid ^@ '[1,2]'$$);
SELECT count(*) FROM st WHERE sid ^@ '[1,2]';
SET enable_indexscan = on;
SET enable_bitmapscan = off;

-- in order of cost: finite, infinity, NULL
CREATE TABLE st_query AS SELECT semtok.logits(
	'{-1,-2,-3,-4,-5,-6,-7,-8, -4,-3,-2,-9,-9,-9,-9,-1, -9,-9,-9,-2,-9,-9,-4,-3}'::real[],
	'{8,8,8}', 1, 'none') AS q;
SELECT pg_temp.explain($$SELECT id, sid FROM st ORDER BY sid <~> (SELECT q FROM st_query)$$);
SELECT id, sid, sid <~> q AS cost FROM st, st_query ORDER BY sid <~> (SELECT q FROM st_query);
SELECT id, sid FROM st WHERE sid ^@ '[1]@1' ORDER BY sid <~> (SELECT q FROM st_query);
SELECT id, sid FROM st WHERE sid IS NULL ORDER BY sid <~> (SELECT q FROM st_query);
SELECT id, sid FROM st WHERE sid = '[1,2,3]@1' ORDER BY sid <~> (SELECT q FROM st_query);
SELECT pg_temp.explain($$SELECT id FROM st ORDER BY sid <~> (SELECT NULL::semquery)$$);
SELECT id FROM st ORDER BY sid <~> (SELECT NULL::semquery);

-- rescans
SELECT p.sid AS prefix, array(SELECT id FROM st WHERE st.sid ^@ p.sid
		ORDER BY st.sid <~> (SELECT q FROM st_query) LIMIT 3) AS ids
	FROM (VALUES ('[1,2]@1'::semid), ('[7]@1'), ('[9]@1'), (NULL), ('[1,2,3]')) p(sid)
	ORDER BY p.sid;

-- each search counts: one a scan, one a rescan, one for each verb that reads the index
SELECT FROM pg_stat_force_next_flush();
SELECT idx_scan AS before FROM pg_stat_user_indexes WHERE indexrelname = 'st_sid' \gset
SELECT id FROM st WHERE sid = '[1,2,3]@1';
SELECT FROM pg_stat_force_next_flush();
SELECT idx_scan - :before AS scans FROM pg_stat_user_indexes WHERE indexrelname = 'st_sid';
SELECT p, (SELECT count(*) FROM st WHERE sid ^@ p) AS n FROM (VALUES ('[1,2]@1'::semid), ('[7]@1')) v(p);
SELECT FROM pg_stat_force_next_flush();
SELECT idx_scan - :before AS scans FROM pg_stat_user_indexes WHERE indexrelname = 'st_sid';
SELECT sid, items FROM semtok.beam_search('st', (SELECT q FROM st_query), 2);
SELECT FROM pg_stat_force_next_flush();
SELECT idx_scan - :before AS scans FROM pg_stat_user_indexes WHERE indexrelname = 'st_sid';
-- PostgreSQL 18 shows them in EXPLAIN too
CREATE FUNCTION pg_temp.searches(statement text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, FORMAT json) ' || statement INTO plan;
	RETURN CASE WHEN current_setting('server_version_num')::int < 180000 THEN '1'
		ELSE plan #>> '{0,Plan,Index Searches}' END;
END
$$;
SELECT pg_temp.searches('SELECT id FROM st ORDER BY sid <~> (SELECT q FROM st_query)');

BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT id FROM st ORDER BY sid <~> (SELECT q FROM st_query);
FETCH 3 FROM c;
FETCH BACKWARD 2 FROM c;
INSERT INTO st VALUES (50, '[1,2,3]@1');
FETCH 3 FROM c;
ROLLBACK;

-- beam search returns its survivors
SET semtok.beam_width = 1;
SELECT id, sid FROM st ORDER BY sid <~> (SELECT q FROM st_query);
RESET semtok.beam_width;

-- rows inserted later join the others; a tail that is parted by them stays found
INSERT INTO st VALUES (20, '[7,7,7]@1'), (21, '[7,1,7]@1'), (22, '[1,2]@1'), (23, NULL),
	(24, '[1,2,3]@5'), (25, '[0,1,1]@1'), (26, '[65535,65535,65535]@2147483647');
SELECT id, sid, sid <~> q AS cost FROM st, st_query ORDER BY sid <~> (SELECT q FROM st_query);
SELECT id FROM st WHERE sid = '[7,7,7]@1';
SELECT id FROM st WHERE sid ^@ '[65535]@2147483647';
SELECT tokenizers, items, nulls, delta_entries FROM semtok.index_info('st_sid');
UPDATE st SET sid = '[7,7,7]@1' WHERE id IN (1, 9);
DELETE FROM st WHERE id IN (2, 22, 23);
SELECT id, sid, sid <~> q AS cost FROM st, st_query ORDER BY sid <~> (SELECT q FROM st_query);
VACUUM st;
SELECT id, sid, sid <~> q AS cost FROM st, st_query ORDER BY sid <~> (SELECT q FROM st_query);
SELECT generation > 1 AS merged, tokenizers, levels, delta_entries
	FROM semtok.index_info('st_sid');
SELECT semtok.index_check('st_sid'), semtok.index_check('st_sid', true);
SELECT semtok.index_check('st_sid', heapallindexed => true);
TRUNCATE st;
SELECT id FROM st WHERE sid IS NOT NULL;
INSERT INTO st VALUES (1, '[1,2,3]@1');
SELECT id FROM st WHERE sid IS NOT NULL;

-- pending ids beside a tail of the run, each way that they can part from it
CREATE TEMPORARY TABLE st_tail (id int, sid semid);
INSERT INTO st_tail VALUES (1, '[1,1,1]'), (2, '[2,2,2]'), (3, '[3,3,3]'), (4, '[4,4,4]'), (5, '[5]');
CREATE INDEX ON st_tail USING semtrie (sid);
INSERT INTO st_tail VALUES (11, '[1,1,1]'), (12, '[1,1,2]'), (21, '[2,1,2]'), (22, '[2,2,2]'),
	(31, '[3]'), (32, '[3,3]'), (33, '[3,3,3,3]'), (41, '[4,4,4]'), (51, '[5]'), (52, '[5,6]'),
	(53, '[5,6,7]'), (61, '[6,6,6]'), (62, '[6,6,6]'), (71, '[7,7]'), (72, '[7,7,7]');
SELECT id, sid FROM st_tail WHERE sid IS NOT NULL;
SELECT id FROM st_tail WHERE sid = '[1,1,1]';
SELECT id FROM st_tail WHERE sid = '[3,3,3]';
VACUUM st_tail;
SELECT id, sid FROM st_tail WHERE sid IS NOT NULL;

-- rows that take the place of removed ones come before the run's rows of the same id
CREATE TEMPORARY TABLE st_reuse (id int, sid semid);
CREATE INDEX st_reuse_sid ON st_reuse USING semtrie (sid);
INSERT INTO st_reuse SELECT i, '[1,2]' FROM generate_series(1, 8) i;
DELETE FROM st_reuse WHERE id IN (1, 2, 5);
VACUUM st_reuse;
INSERT INTO st_reuse SELECT i, '[1,2]' FROM generate_series(11, 14) i;
SELECT id, ctid FROM st_reuse WHERE sid = '[1,2]';
SELECT items, delta_entries FROM semtok.index_info('st_reuse_sid');

-- a savepoint, a rollback
BEGIN;
INSERT INTO st VALUES (2, '[1,2,3]@1');
SAVEPOINT a;
INSERT INTO st VALUES (3, '[1,2,3]@1');
ROLLBACK TO a;
SELECT id FROM st WHERE sid = '[1,2,3]@1';
ROLLBACK;
SELECT id FROM st WHERE sid = '[1,2,3]@1';

-- partial and expression indexes, partitioned and unlogged tables, concurrent builds
CREATE INDEX st_partial ON st USING semtrie (semid_prefix(sid, 2)) WHERE id > 5;
INSERT INTO st SELECT i, semid(array[i % 3, i % 5, i]) FROM generate_series(1, 30) i;
SELECT pg_temp.explain($$SELECT id FROM st WHERE semid_prefix(sid, 2) = '[1,2]' AND id > 5$$);
SELECT id FROM st WHERE semid_prefix(sid, 2) = '[1,2]' AND id > 5;
SELECT semtok.index_check('st_partial', true);
CREATE INDEX CONCURRENTLY st_late ON st USING semtrie (sid);
REINDEX INDEX CONCURRENTLY st_late;
SELECT semtok.index_check('st_late', true);
DROP INDEX st_late;
CREATE TABLE st_parts (id int, sid semid) PARTITION BY RANGE (id);
CREATE INDEX st_parts_sid ON st_parts USING semtrie (sid) WITH (pending_limit = 128);
CREATE TABLE st_part1 PARTITION OF st_parts FOR VALUES FROM (0) TO (100);
CREATE TABLE st_part2 PARTITION OF st_parts FOR VALUES FROM (100) TO (200);
INSERT INTO st_parts SELECT i, semid(array[i % 8, i % 7, i % 5], 1) FROM generate_series(0, 199) i;
SELECT sid <~> q AS cost FROM st_parts, st_query
	ORDER BY sid <~> (SELECT q FROM st_query) LIMIT 5;
CREATE UNLOGGED TABLE st_unlogged AS SELECT * FROM st;
CREATE INDEX ON st_unlogged USING semtrie (sid);
SELECT count(*) FROM st_unlogged WHERE sid ^@ '[1]';

-- errors
CREATE UNIQUE INDEX ON st USING semtrie (sid);
CREATE INDEX ON st USING semtrie (sid DESC);
CREATE INDEX ON st USING semtrie (sid NULLS FIRST);
\set VERBOSITY sqlstate
CREATE INDEX ON st USING semtrie (sid COLLATE "C");
\set VERBOSITY default
CREATE INDEX ON st USING semtrie (sid) INCLUDE (id);
CREATE INDEX ON st USING semtrie (sid, sid);
CREATE INDEX ON st USING semtrie (id);
CREATE INDEX ON st USING semtrie (sid) WITH (pending_limit = 63);
CREATE INDEX ON st USING semtrie (sid) WITH (fillfactor = 70);
ALTER TABLE st ADD EXCLUDE USING semtrie (sid WITH =);
ALTER INDEX st_sid SET (pending_limit = 1048577);
CLUSTER st USING st_sid;
SELECT id FROM st
	ORDER BY sid <~> (SELECT semtok.logits('{0,0}', '{2}', norm => 'masked')) LIMIT 1;
SELECT semtok.index_info('st');
SELECT semtok.index_info('st_parts_sid');
SELECT semtok.index_check('st');
SELECT semtok.index_check(0);
CREATE ROLE regress_semtrie_other;
GRANT SELECT ON st TO regress_semtrie_other;
SET ROLE regress_semtrie_other;
SELECT semtok.index_info('st_sid');
SELECT semtok.index_check('st_sid');
RESET ROLE;
GRANT pg_stat_scan_tables TO regress_semtrie_other;
SET ROLE regress_semtrie_other;
SELECT runs FROM semtok.index_info('st_sid');
SELECT semtok.index_check('st_sid', true);
RESET ROLE;
REVOKE SELECT ON st FROM regress_semtrie_other;
DROP ROLE regress_semtrie_other;

DROP TABLE st, st_query, st_parts, st_unlogged;
