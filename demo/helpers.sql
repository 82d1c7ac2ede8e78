-- What the scenes use to check and to measure; nothing of it is part of semtok.
CREATE SCHEMA demo;

-- A scene's check: its text, or the end of the scene.
CREATE FUNCTION demo.check(what text, ok boolean) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
	IF ok IS NOT TRUE THEN
		RAISE EXCEPTION 'FAILED: %', what;
	END IF;
	RETURN '[ok] ' || what;
END
$$;

CREATE FUNCTION demo.percent(share float8, digits int DEFAULT 0) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN round((100 * share)::numeric, digits) || ' %';

-- The ten best items for what the table question asks, among those that a condition allows; as
-- users write it, or so that no index can give the order (ties broken as the index breaks them).
CREATE FUNCTION demo.ten_best(condition text, plan text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN format('SELECT sid <~> (SELECT q FROM question) AS cost, item_id FROM items WHERE %s ORDER BY %s LIMIT 10', condition,
              CASE plan WHEN 'sequential' THEN '(sid <~> (SELECT q FROM question)) + 0, sid, ctid'
                        ELSE 'sid <~> (SELECT q FROM question)' END);

-- A query's rows, in the order in which they come.
CREATE FUNCTION demo.rows(query text) RETURNS text[]
LANGUAGE plpgsql AS $$
DECLARE
	answer text[];
BEGIN
	EXECUTE format('SELECT array_agg(r::text) FROM (%s) AS r', query) INTO answer;
	RETURN answer;
END
$$;

-- Does the planner answer a query by an index?
CREATE FUNCTION demo.uses_index(query text, index_name text) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
		IF line LIKE '%Index Scan using ' || index_name || ' %' THEN
			RETURN true;
		END IF;
	END LOOP;
	RETURN false;
END
$$;

-- Without the index a sort leaves ties as they fall, so then only the costs can be compared.
CREATE FUNCTION demo.same_ten(condition text) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
	planned text := demo.ten_best(condition, 'index');
	sorted text := demo.ten_best(condition, 'sequential');
BEGIN
	IF NOT demo.uses_index(planned, 'items_sid') THEN
		planned := format('SELECT cost FROM (%s) AS s', planned);
		sorted := format('SELECT cost FROM (%s) AS s', sorted);
	END IF;
	RETURN demo.rows(planned) = demo.rows(sorted);
END
$$;

-- The median time of a query in milliseconds, over warm runs.
CREATE FUNCTION demo.milliseconds(query text, runs int DEFAULT 21) RETURNS numeric
LANGUAGE plpgsql AS $$
DECLARE
	times float8[];
	began timestamptz;
BEGIN
	FOR i IN 0..runs LOOP
		began := clock_timestamp();
		EXECUTE query;
		IF i > 0 THEN
			times := times || extract(epoch FROM clock_timestamp() - began)::float8;
		END IF;
	END LOOP;
	RETURN (SELECT round((1000 * percentile_cont(0.5) WITHIN GROUP (ORDER BY t))::numeric, 2)
	        FROM unnest(times) AS t);
END
$$;
