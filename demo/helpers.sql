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

-- The ten best items for what the table question asks, among those that a condition allows. Without
-- the index ties are broken as the index breaks them.
CREATE FUNCTION demo.ten_best(condition text, plan text) RETURNS text
LANGUAGE sql IMMUTABLE
RETURN format('SELECT item_id FROM items WHERE %s ORDER BY sid <~> (SELECT q FROM question)%s LIMIT 10',
              condition, CASE plan WHEN 'index' THEN '' ELSE ', sid, ctid' END);

-- Plan the rest of this transaction by the index, or without it.
CREATE FUNCTION demo.use_plan(plan text) RETURNS void
LANGUAGE sql
BEGIN ATOMIC
	SELECT set_config('enable_seqscan', CASE plan WHEN 'index' THEN 'off' ELSE 'on' END, true),
	       set_config('enable_indexscan', CASE plan WHEN 'index' THEN 'on' ELSE 'off' END, true),
	       set_config('enable_bitmapscan', CASE plan WHEN 'index' THEN 'on' ELSE 'off' END, true);
END;

-- A query's rows under a plan, in the order in which they come.
CREATE FUNCTION demo.rows(query text, plan text) RETURNS text[]
LANGUAGE plpgsql AS $$
DECLARE
	answer text[];
BEGIN
	PERFORM demo.use_plan(plan);
	EXECUTE format('SELECT array_agg(r::text) FROM (%s) AS r', query) INTO answer;
	RETURN answer;
END
$$;

-- The median time of a query under a plan in milliseconds, over warm runs.
CREATE FUNCTION demo.milliseconds(query text, plan text, runs int DEFAULT 21) RETURNS numeric
LANGUAGE plpgsql AS $$
DECLARE
	times float8[];
	began timestamptz;
BEGIN
	PERFORM demo.use_plan(plan);
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

-- The planner's choice for a query, line by line.
CREATE FUNCTION demo.plan(query text) RETURNS SETOF text
LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE 'EXPLAIN (COSTS OFF) ' || query;
END
$$;
