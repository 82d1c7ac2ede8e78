-- A sample of a whole table that the planner reads in parallel: the rows that cannot be in it are left
-- out by semtok.sample_candidate, and nothing else changes, not even the number of a row in an error.
SET client_min_messages = error;
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
SET track_functions = 'all';
CREATE TABLE items (i int, x real[]) WITH (autovacuum_enabled = off);
INSERT INTO items SELECT i, CASE WHEN i % 100 > 0 THEN array[sin(i), cos(i * i), i / 1e4] END FROM generate_series(1, 4000) AS i;
ANALYZE items;

-- How often the filter was asked in this process. Without workers to be had that is once for each row.
CREATE FUNCTION asked() RETURNS bigint LANGUAGE sql AS
	$$SELECT coalesce(pg_stat_get_xact_function_calls('semtok.sample_candidate'::regproc), 0)$$;
-- What a training of a sample says and learns, in parallel and without, and how often the filter was asked.
CREATE TABLE learnt (what text, way text, hash text, said text, asked bigint);
CREATE FUNCTION learn(what text, arguments text DEFAULT 'sample => 200', verb text DEFAULT 'train') RETURNS SETOF learnt LANGUAGE plpgsql AS $$
DECLARE
	way record;
	before bigint;
	new int;
	place text;
	told text;
BEGIN
	FOR way IN SELECT * FROM (VALUES ('serial', '0', '0'), ('no workers', '2', '0'), ('workers', '2', '8')) AS w(name, of_plan, of_server) LOOP
		PERFORM set_config('max_parallel_workers_per_gather', way.of_plan, true), set_config('max_parallel_workers', way.of_server, true);
		before := asked();
		new := NULL;
		told := 'worked';
		BEGIN
			EXECUTE format('SELECT semtok.%s(%L, %L, %s)', verb, CASE verb WHEN 'train' THEN 'x' ELSE 'base' END, 'SELECT x FROM items', arguments) INTO new;
		EXCEPTION WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS place = PG_EXCEPTION_CONTEXT;
			told := concat_ws(' | ', sqlstate || ' ' || sqlerrm, substring(place FROM 'row \d+ of the \w+ query'));
		END;
		RETURN QUERY SELECT what, way.name, (SELECT md5(codebook::text) FROM semtok.tokenizer AS t WHERE t.id = new), told,
			CASE WHEN way.name <> 'workers' THEN asked() - before END;
	END LOOP;
END $$;
SELECT semtok.train('base', 'SELECT x FROM items', levels => 1, codes => 4) IS NOT NULL AS ok;
BEGIN;
INSERT INTO learnt SELECT * FROM learn('sample', 'sample => 200, codes => 4');
INSERT INTO learnt SELECT * FROM learn('cosine', $$sample => 200, codes => 4, metric => 'cosine', seed => -9223372036854775808$$);
INSERT INTO learnt SELECT * FROM learn('continued', 'sample => 200', 'partial_fit');
INSERT INTO learnt SELECT * FROM learn('nearly all', 'sample => 3900, codes => 4');
COMMIT;
SELECT what, way, said, asked, hash = first_value(hash) OVER (PARTITION BY what ORDER BY way DESC) AS same FROM learnt ORDER BY what, way;

-- Fewer rows than the statistics say: they are read twice.
BEGIN;
DELETE FROM items WHERE i % 100 > 5;
TRUNCATE learnt;
INSERT INTO learnt SELECT * FROM learn('shrunk', 'sample => 190, codes => 4');
SELECT what, way, said, asked, hash = first_value(hash) OVER (ORDER BY way DESC) AS same FROM learnt ORDER BY way;
ROLLBACK;

-- How many rows are null is said, and that there are no others.
SET client_min_messages = notice;
SET max_parallel_workers = 0;
SELECT semtok.train('x', 'SELECT x FROM items', sample => 200, codes => 4) IS NOT NULL AS ok;
RESET max_parallel_workers;
SET client_min_messages = error;

-- Rows at fault, wherever they are: the error names the first of them.
CREATE FUNCTION faulty(what text, changed text, arguments text DEFAULT 'sample => 200, codes => 4', verb text DEFAULT 'train')
RETURNS TABLE (fault text, way text, said text) LANGUAGE plpgsql AS $$
BEGIN
	BEGIN
		EXECUTE 'UPDATE items SET ' || changed;
		CREATE TEMP TABLE told AS SELECT l.way, l.said FROM learn(what, arguments, verb) AS l;
		RAISE EXCEPTION USING ERRCODE = 'UE001', MESSAGE = (SELECT jsonb_agg(to_jsonb(t)) FROM told AS t)::text;
	EXCEPTION WHEN SQLSTATE 'UE001' THEN
		RETURN QUERY SELECT what, r.way, r.said FROM jsonb_to_recordset(sqlerrm::jsonb) AS r(way text, said text);
	END;
END $$;
\pset format unaligned
SELECT fault, string_agg(DISTINCT said, E'\n  ') AS said, count(*) FROM (
	SELECT * FROM faulty('all null', 'x = NULL')
	UNION ALL SELECT * FROM faulty('NaN', $$x = '{1,nan,3}' WHERE i = 3217$$)
	UNION ALL SELECT * FROM faulty('infinite', $$x = '{1,2,-inf}' WHERE i >= 3977$$)
	UNION ALL SELECT * FROM faulty('a null', 'x[2] = NULL WHERE i = 17')
	UNION ALL SELECT * FROM faulty('dimensions', 'x = x || 1::real WHERE i = 3601')
	UNION ALL SELECT * FROM faulty('other dimensions', 'x = x || 1::real', 'sample => 100', 'partial_fit')
	UNION ALL SELECT * FROM faulty('of two', 'x = array[x, x] WHERE i = 2001')
	UNION ALL SELECT * FROM faulty('empty', $$x = '{}' WHERE i = 2001$$)
	UNION ALL SELECT * FROM faulty('zero', $$x = '{0,-0,0}' WHERE i IN (2001, 3001)$$, $$sample => 200, codes => 4, metric => 'cosine'$$)
	UNION ALL SELECT * FROM faulty('no fault of l2', $$x = '{0,-0,0}' WHERE i IN (2001, 3001)$$)
	UNION ALL SELECT * FROM faulty('out of range', $$x = CASE WHEN i % 7 > 0 THEN array[3.4e38, i, 0] ELSE array[-3.4e38, i, 0] END$$, 'sample => 200, levels => 2, codes => 1')
) AS f GROUP BY fault ORDER BY fault COLLATE "C";

-- By itself: of as many rows as its bar says, the same as any other way to call it.
\pset format aligned
SET max_parallel_workers_per_gather = 0;
SELECT count(*) FILTER (WHERE semtok.sample_candidate(x, 42, 1::bigint << 62)) BETWEEN 900 AND 1150 AS a_quarter,
	count(*) FILTER (WHERE semtok.sample_candidate(x, 42, 0)) AS first, count(*) FILTER (WHERE semtok.sample_candidate(x, 42, -1)) AS every
	FROM items WHERE x IS NOT NULL;
SELECT semtok.sample_candidate(NULL, 1, 0) AS null, semtok.sample_candidate('{1,2}', NULL, 0) AS seed, semtok.sample_candidate('{1,2}', 1, NULL) AS bar;

-- Who may not execute it reads all rows.
CREATE ROLE reads_all;
REVOKE EXECUTE ON FUNCTION semtok.sample_candidate FROM PUBLIC;
GRANT SELECT ON items TO reads_all;
SET max_parallel_workers_per_gather = 2;
SET ROLE reads_all;
SELECT semtok.train('reads_all', 'SELECT x FROM items', sample => 200, codes => 4) IS NOT NULL AS ok;
RESET ROLE;
GRANT EXECUTE ON FUNCTION semtok.sample_candidate TO PUBLIC;
REVOKE SELECT ON items FROM reads_all;
SELECT semtok.drop_tokenizer(name) FROM unnest(array['x', 'base', 'reads_all']) AS name;
DROP ROLE reads_all;
DROP FUNCTION asked, learn, faulty;
DROP TABLE items, learnt;
