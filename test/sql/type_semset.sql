-- semset: I/O, making, size, members, membership, equality.
\set VERBOSITY terse

-- text: any order and repeated on input, ascending on output
SELECT '{[1,2],[3]@7}'::semset, ' { [3] @ 7 , [1,2],[1] ,[1,2] } '::semset, '{}'::semset, '{ }'::semset;
SELECT s::text::semset = s AS same FROM (SELECT semset_agg(semid(array[i % 5, i % 7, i % 3], i % 2)) s FROM generate_series(1, 500) i) t;

-- made from arrays and rows; NULL elements are left out
SELECT semset(array['[2]','[1,5]',NULL,'[2]']::semid[]), semset('{}'::semid[]), semset(array[NULL]::semid[]), semset(NULL::semid[]) IS NULL AS is_null;
SELECT semset('{[1],[2]}');
SELECT semset(array[array['[1]','[2]'],array['[3]','[1]']]::semid[]);
SELECT semset_agg(s) FROM (VALUES ('[3]'::semid), (NULL), ('[1,2]'), ('[3]'), ('[1]@9')) t(s);
SELECT semset_agg(s) AS only_nulls FROM (VALUES (NULL::semid), (NULL)) t(s);
SELECT semset_agg(s) IS NULL AS no_rows FROM (SELECT '[1]'::semid s WHERE false) t;
SELECT i, semset_agg(semid(array[i])) OVER (ORDER BY i DESC) FROM generate_series(1, 3) i;

-- ids below ids are members of their own
SELECT semset_size(s), semset_nodes(s), array(SELECT semset_members(s)) AS members,
	array(SELECT i FROM unnest('{"[1]","[1,2]","[1,2,3]","[1,2,4]","[1]@1","[2]@1","[2]"}'::semid[]) i WHERE i <@ s) AS contained
FROM unnest('{"{}","{[1,2,3]}","{[1],[1,2,3],[1,2]}","{[1]@1,[2]@1,[1]}"}'::semset[]) s;
SELECT NULL::semid <@ '{[1]}'::semset IS NULL AS id_null, '[1]'::semid <@ NULL IS NULL AS set_null;

-- equality and grouping
SELECT '{[1],[2]}'::semset = '{[2],[1],[1]}', '{[1]}'::semset = '{[1]@1}', '{[1]}'::semset <> '{[1,1]}', '{}'::semset = semset('{}'::semid[]);
SELECT s, count(*) FROM unnest('{"{[1],[2]}","{[2],[1]}","{}"}'::semset[]) s GROUP BY s ORDER BY s::text COLLATE "C";

-- a toasted set, against every other way to ask
CREATE TABLE items AS SELECT i AS id, CASE WHEN i % 11 > 0 THEN semid(array[i % 50, i % 20, i % 9], i % 3) END AS sid FROM generate_series(1, 4000) i;
CREATE TABLE sets (name text, ids semset);
INSERT INTO sets SELECT 'third', semset_agg(sid) FROM items WHERE id % 3 = 0;
INSERT INTO sets SELECT 'fifth', semset_agg(sid) FROM items WHERE id % 5 = 0;
INSERT INTO sets VALUES ('none', '{}');
SELECT name, semset_size(ids) = (SELECT count(*) FROM semset_members(ids)) AS counted FROM sets ORDER BY name;
SELECT name, count(*), count(*) FILTER (WHERE sid IN (SELECT semset_members(ids))) AS expected
FROM sets JOIN items ON sid <@ ids GROUP BY name ORDER BY name;
SELECT count(*) FROM items WHERE sid <@ (SELECT ids FROM sets WHERE name = 'third');
SELECT count(*) FROM items WHERE sid <@ (SELECT ids || '' FROM (SELECT ids::text ids FROM sets WHERE name = 'third') t)::semset;
SELECT count(*) FROM items WHERE sid <@ '{[1,1,1]@1,[2,2,2]@2}';
SELECT count(*) FROM items i WHERE sid <@ (SELECT semset_agg(sid) FROM items j WHERE j.id BETWEEN i.id - 1 AND i.id);
PREPARE members(semset) AS SELECT count(*) FROM items WHERE sid <@ $1;
SET plan_cache_mode = force_generic_plan;
EXECUTE members('{[1,1,1]@1}');
EXECUTE members('{[2,2,2]@2,[1,1,1]@1}');
RESET plan_cache_mode;
-- the set of a call may change from row to row and from call to call
SELECT count(*) FILTER (WHERE sid <@ (CASE WHEN id % 2 = 0 THEN '{[2,2,2]@2}' ELSE '{[1,1,1]@1}' END)::semset) AS changing,
	count(*) FILTER (WHERE sid = CASE WHEN id % 2 = 0 THEN '[2,2,2]@2' ELSE '[1,1,1]@1' END::semid) AS expected FROM items;
DO $$
DECLARE
	ids semset;
	found text := '';
BEGIN
	FOR i IN 1..3 LOOP
		ids := semset(array[semid(array[i])]);
		found := found || ('[2]'::semid <@ ids)::text || ' ';
	END LOOP;
	RAISE NOTICE '%', found;
END $$;
-- the estimate of <@ comes from the column's statistics
ANALYZE items;
EXPLAIN (COSTS OFF) SELECT FROM items WHERE sid <@ '{[1,1,1]@1}';

-- aggregated in parallel
ALTER TABLE items SET (parallel_workers = 2);
SELECT semset_agg(sid) AS serial FROM items \gset
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT semset_agg(sid) FROM items;
SELECT semset_agg(sid) = :'serial' AS same FROM items;
SELECT semset_agg(sid) AS only_nulls FROM items WHERE id % 11 = 0;
SELECT semset_agg(sid) IS NULL AS no_rows FROM items WHERE id < 0;
SELECT count(*) FROM items WHERE sid <@ (SELECT ids FROM sets WHERE name = 'third');
SET jit = on; SET jit_above_cost = 0; SET jit_inline_above_cost = 0; SET jit_optimize_above_cost = 0;
SELECT count(*) FROM items WHERE sid <@ (SELECT ids FROM sets WHERE name = 'fifth');
DROP TABLE items, sets;
