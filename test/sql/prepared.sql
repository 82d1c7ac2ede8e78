-- Prepared statements, generic plans, cursors, joins and loops keep the index.
SET client_min_messages = warning;
SET max_parallel_workers_per_gather = 0;
SET jit = off;
\getenv test PG_ABS_SRCDIR
\set explain :test '/lib/explain.sql'
\i :explain

CREATE FUNCTION code(item int, level int) RETURNS int LANGUAGE sql IMMUTABLE
	RETURN (hashint8extended(item, level) & 63)::int;
CREATE TABLE items AS
	SELECT i AS id, array[code(i, 4), code(i, 5), code(i, 6), code(i, 7)]::real[] AS embedding
	FROM generate_series(1, 20000) i;
SELECT semtok.train('items', 'SELECT embedding FROM items', levels => 3, codes => 64, epochs => 2) AS id \gset
ALTER TABLE items ADD sid semid;
CALL semtok.tokenize('items', 'embedding', 'sid', 'items');
CREATE INDEX items_sid ON items USING semtrie (sid);
CREATE TABLE shopper (name text, likes real[]);
INSERT INTO shopper VALUES ('ann', '{1,2,3,4}'), ('bob', '{60,5,30,9}'), ('cat', '{40,40,1,1}');
VACUUM ANALYZE items, shopper;

-- The first line that names a scan of items: which index, or none.
CREATE FUNCTION scan_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || statement LOOP
		IF line ~ 'Bitmap Index Scan on items_sid' THEN RETURN 'bitmap, items_sid'; END IF;
		IF line ~ 'Index Scan using items_sid' THEN RETURN 'items_sid'; END IF;
		IF line ~ 'Seq Scan on items' THEN RETURN 'sequential'; END IF;
	END LOOP;
	RETURN 'none';
END $$;

-- What each kind of statement must answer: the sequential plan's answer.
CREATE FUNCTION sequential(statement text) RETURNS SETOF text LANGUAGE plpgsql
	SET enable_indexscan = off SET enable_bitmapscan = off AS $$
BEGIN
	RETURN QUERY EXECUTE statement;
END $$;

PREPARE best(semquery) AS
	SELECT format('%s %s', sid, sid <~> $1) FROM items ORDER BY sid <~> $1 LIMIT 5;
PREPARE best_of(semquery, int) AS
	SELECT format('%s %s', sid, sid <~> $1) FROM items ORDER BY sid <~> $1 LIMIT $2;
PREPARE near(real[]) AS
	SELECT sid::text FROM items ORDER BY sid <~> (SELECT semtok.neighbors('items', $1)) LIMIT 5;
PREPARE near_id(int, real[]) AS
	SELECT sid::text FROM items ORDER BY sid <~> (SELECT semtok.neighbors($1, $2)) LIMIT 5;
PREPARE filtered(semquery, int) AS
	SELECT sid::text FROM items WHERE id % $2 = 0 ORDER BY sid <~> $1 LIMIT 5;
PREPARE starts(semid) AS SELECT sid::text FROM items WHERE sid ^@ $1 ORDER BY sid, id;
PREPARE equals(semid) AS SELECT sid::text FROM items WHERE sid = $1;
PREPARE missing AS SELECT id::text FROM items WHERE sid IS NULL;

SELECT quote_literal(semtok.neighbors('items', '{1,2,3,4}')) AS q,
	quote_literal(semid_prefix(sid, 2)) AS prefix, quote_literal(sid) AS sid
	FROM items WHERE id = 7 \gset

-- generic plans
SET plan_cache_mode = force_generic_plan;
SELECT name, scan_of('EXECUTE ' || call) FROM (VALUES (1, 'best', 'best(null)'),
	(2, 'best_of', 'best_of(null, 5)'), (3, 'near', $$near('{1,2,3,4}')$$),
	(4, 'near_id', format($$near_id(%s, '{1,2,3,4}')$$, :id)), (5, 'filtered', 'filtered(null, 2)'),
	(6, 'starts', 'starts(null)'), (7, 'equals', 'equals(null)'), (8, 'missing', 'missing'))
	AS s (n, name, call) ORDER BY n;
EXPLAIN (COSTS OFF) EXECUTE best(null);
-- and what they answer is right
CREATE TEMP TABLE answer (how text, line text);
CREATE FUNCTION ask(how text, statement text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE line text; n bigint := 0;
BEGIN
	FOR line IN EXECUTE statement LOOP
		INSERT INTO answer VALUES (how, line);
		n := n + 1;
	END LOOP;
	RETURN n;
END $$;
SELECT ask('best', format('EXECUTE best(%L)', :q)), ask('near', $$EXECUTE near('{1,2,3,4}')$$),
	ask('starts', format('EXECUTE starts(%L)', :prefix)) > 1 AS starts,
	ask('equals', format('EXECUTE equals(%L)', :sid)) >= 1 AS equals;
SELECT how, array_agg(line ORDER BY line) = CASE how
	WHEN 'best' THEN (SELECT array_agg(s ORDER BY s) FROM sequential(format(
		'SELECT format(''%%s %%s'', sid, sid <~> %1$L) FROM items ORDER BY sid <~> %1$L LIMIT 5', :q)) s)
	WHEN 'near' THEN (SELECT array_agg(s ORDER BY s) FROM sequential(format(
		'SELECT sid::text FROM items ORDER BY sid <~> %L LIMIT 5', :q)) s)
	WHEN 'starts' THEN (SELECT array_agg(s ORDER BY s) FROM sequential(format(
		'SELECT sid::text FROM items WHERE sid ^@ %L', :prefix)) s)
	ELSE (SELECT array_agg(s ORDER BY s) FROM sequential(format(
		'SELECT sid::text FROM items WHERE sid = %L', :sid)) s) END AS right
	FROM answer GROUP BY how ORDER BY how;

-- by itself: after five executions the server weighs the generic plan
RESET plan_cache_mode;
CREATE FUNCTION often(call text, times int) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	FOR i IN 1..times LOOP
		EXECUTE 'EXECUTE ' || call;
	END LOOP;
	RETURN scan_of('EXECUTE ' || call);
END $$;
SELECT name, often(call, 1) AS first, often(call, 6) AS later FROM (VALUES
	(1, 'best', format('best(%L)', :q)), (2, 'best_of', format('best_of(%L, 5)', :q)),
	(3, 'near', $$near('{1,2,3,4}')$$), (4, 'filtered', format('filtered(%L, 2)', :q)),
	(5, 'starts', format('starts(%L)', :prefix)), (6, 'equals', format('equals(%L)', :sid)),
	(7, 'missing', 'missing')) AS s (n, name, call) ORDER BY n;
SELECT name FROM pg_prepared_statements WHERE generic_plans > 2
	AND name IN ('best', 'near', 'equals', 'missing') ORDER BY name;

-- one ordered scan for each outer row
SELECT replace(line, format('(%s,', :id), '(id,') AS plan FROM pg_temp.explain(format($$SELECT * FROM shopper,
	LATERAL (SELECT id FROM items ORDER BY sid <~> semtok.neighbors(%s, likes) LIMIT 3) AS best$$, :id)) line;
SELECT name, array_agg(cost ORDER BY cost) = (SELECT array_agg(c ORDER BY c) FROM (
		SELECT sid <~> semtok.neighbors(:id, likes) AS c FROM items ORDER BY 1 LIMIT 3) s) AS right
	FROM shopper, LATERAL (SELECT sid <~> semtok.neighbors(:id, likes) AS cost FROM items
		ORDER BY sid <~> semtok.neighbors(:id, likes) LIMIT 3) AS best
	GROUP BY name, likes ORDER BY name;

-- cursors: forwards from the index, backwards from what the server keeps
BEGIN;
DECLARE forwards NO SCROLL CURSOR FOR SELECT sid <~> :q AS cost FROM items ORDER BY sid <~> :q LIMIT 6;
DECLARE back SCROLL CURSOR FOR SELECT sid <~> :q AS cost FROM items ORDER BY sid <~> :q LIMIT 6;
SELECT scan_of('DECLARE c NO SCROLL CURSOR FOR SELECT id FROM items ORDER BY sid <~> (SELECT null::semquery) LIMIT 6'),
	scan_of('DECLARE c SCROLL CURSOR FOR SELECT id FROM items ORDER BY sid <~> (SELECT null::semquery) LIMIT 6');
CREATE FUNCTION costs(name refcursor, direction text, n int) RETURNS float8[] LANGUAGE plpgsql AS $$
DECLARE cost float8; costs float8[] := '{}';
BEGIN
	FOR i IN 1..n LOOP
		EXECUTE format('FETCH %s FROM %I', direction, name) INTO cost;
		costs := costs || cost;
	END LOOP;
	RETURN costs;
END $$;
SELECT costs('forwards', 'NEXT', 6) = costs('back', 'NEXT', 6) AS same;
FETCH NEXT FROM back;
SELECT costs('back', 'BACKWARD', 6) = (SELECT array_agg(c ORDER BY c DESC) FROM (
	SELECT sid <~> :q AS c FROM items ORDER BY 1 LIMIT 6) s) AS backwards;
SAVEPOINT s;
FETCH BACKWARD 1 FROM forwards;
ROLLBACK TO s;
MOVE ABSOLUTE 3 IN back;
SELECT costs('back', 'RELATIVE 1', 1) = (SELECT array[c] FROM (
	SELECT sid <~> :q AS c FROM items ORDER BY 1 OFFSET 3 LIMIT 1) s) AS fourth;
COMMIT;
-- a cursor that outlives its transaction
BEGIN;
DECLARE held CURSOR WITH HOLD FOR SELECT sid <~> :q AS cost FROM items ORDER BY sid <~> :q LIMIT 6;
COMMIT;
UPDATE items SET sid = NULL WHERE id <= 2;
SELECT array_length(costs('held', 'NEXT', 6), 1) AS held;
CLOSE held;

-- PL/pgSQL: a loop over a query with variables, each call with another value
CREATE FUNCTION walk(query semquery, most int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE item record; last float8 := '-Infinity'; n int := 0;
BEGIN
	FOR item IN SELECT id, sid <~> query AS cost FROM items ORDER BY sid <~> query LIMIT most LOOP
		IF item.cost < last THEN RETURN 'out of order'; END IF;
		last := item.cost;
		n := n + 1;
	END LOOP;
	RETURN n || ' in order';
END $$;
SET enable_seqscan = off;
SET enable_sort = off;
SELECT walk(semtok.neighbors(:id, array[i, i, i, i]::real[]), i) FROM generate_series(1, 8) i;
RESET enable_seqscan;
RESET enable_sort;
-- a loop that is left early
CREATE FUNCTION first_of(query semquery) RETURNS text LANGUAGE plpgsql AS $$
DECLARE item record;
BEGIN
	FOR item IN SELECT sid FROM items WHERE sid IS NOT NULL ORDER BY sid <~> query LOOP
		RETURN semid_levels(item.sid) || ' levels';
	END LOOP;
END $$;
SELECT first_of(:q);

DEALLOCATE ALL;
DROP TABLE items, shopper, answer;
DROP FUNCTION code, scan_of, sequential, ask, costs, walk, often, first_of;
SELECT semtok.drop_tokenizer('items');
