-- The oracle: whatever a semtrie index answers must be what the sequential plan answers, rows,
-- order and costs, to the last bit. Random catalogs, random queries, forced plans.
--
--   oracle.make(seed)           a new catalog in oracle.item, its shape drawn from the seed
--   oracle.churn(n)             n random inserts, deletes and updates, some rolled back
--   oracle.check(phase, n)      n random cases; returns how many ran, keeps failures in oracle.failure
--
-- VACUUM cannot run inside a function, so the caller strings these together.
CREATE SCHEMA oracle;

CREATE TABLE oracle.failure (seed int, phase text, what text, detail text);

-- The current catalog's shape: one row.
CREATE TABLE oracle.shape (
	seed int,
	sizes int[],            -- codes of each level
	ragged bool,            -- ids shorter than the shape exist
	tokenizers int[],
	nulls float8,           -- share of NULL ids
	repeats float8,         -- share of rows that repeat an id that exists
	hot bool                -- updates may be HOT: then ctid is not what the index holds
);

-- Queries of one round, so that plans can join them.
CREATE TABLE oracle.query (id int PRIMARY KEY, kind text, query semquery);

CREATE FUNCTION oracle.pick(int[]) RETURNS int LANGUAGE sql VOLATILE
	AS $$ SELECT $1[1 + floor(random() * cardinality($1))::int] $$;

CREATE FUNCTION oracle.random_sid() RETURNS semid LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	s oracle.shape;
	codes int[] := '{}';
	levels int;
	existing semid;
BEGIN
	SELECT * INTO STRICT s FROM oracle.shape;
	IF random() < s.nulls THEN
		RETURN NULL;
	END IF;
	IF random() < s.repeats THEN
		SELECT sid INTO existing FROM oracle.item
			WHERE id >= (SELECT floor(random() * max(id))::bigint FROM oracle.item) AND sid IS NOT NULL
			ORDER BY id LIMIT 1;
		IF FOUND THEN
			RETURN existing;
		END IF;
	END IF;
	levels := cardinality(s.sizes);
	IF s.ragged THEN
		levels := 1 + floor(random() * levels);
	END IF;
	FOR l IN 1 .. levels LOOP
		-- skewed towards low codes, so that subtrees differ in size
		codes := codes || floor(s.sizes[l] * random() * random())::int;
	END LOOP;
	RETURN semid(codes, oracle.pick(s.tokenizers));
END
$$;

CREATE FUNCTION oracle.fill(n int) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
	FOR i IN 1 .. n LOOP
		INSERT INTO oracle.item (sid, extra, note)
			VALUES (oracle.random_sid(), floor(random() * 100), floor(random() * 1000));
	END LOOP;
END
$$;

CREATE FUNCTION oracle.make(this_seed int) RETURNS text LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	n int := (array[0, 1, 5, 40, 150, 400])[1 + this_seed % 6] * (0.5 + random());
	timing int := this_seed % 3;
	sizes int[] := '{}';
	hot bool;
	pending int;
BEGIN
	PERFORM setseed((this_seed * 7919 % 10007) / 10007.0);
	FOR l IN 1 .. 1 + floor(random() * 5)::int LOOP
		sizes := sizes || (CASE WHEN random() < 0.1 THEN 1 + floor(random() * 1500)
						   ELSE 1 + floor(random() * 9) END)::int;
	END LOOP;
	hot := random() < 0.2;
	DELETE FROM oracle.shape;
	INSERT INTO oracle.shape VALUES (
		this_seed, sizes, random() < 0.6,
		CASE WHEN random() < 0.5 THEN array[oracle.pick('{0,1,7}')]
		ELSE '{0,1,2,2147483647}'::int[] END,
		oracle.pick('{0,0,10,50}') / 100.0, oracle.pick('{0,20,80}') / 100.0, hot);
	SET LOCAL client_min_messages = warning;
	DROP TABLE IF EXISTS oracle.item;
	CREATE TABLE oracle.item (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, sid semid,
		extra int, note int) WITH (fillfactor = 60, autovacuum_enabled = off);
	IF NOT hot THEN
		-- an index on a column that every update changes keeps updates from being HOT
		CREATE INDEX ON oracle.item (note);
	END IF;
	pending := oracle.pick('{64,64,4096}');
	IF timing < 2 THEN
		PERFORM oracle.fill(CASE timing WHEN 0 THEN n ELSE n / 2 END);
	END IF;
	EXECUTE format('CREATE INDEX item_sid ON oracle.item USING semtrie (sid) WITH (pending_limit = %s)',
				   pending);
	IF timing > 0 THEN
		PERFORM oracle.fill(CASE timing WHEN 2 THEN n ELSE n - n / 2 END);
	END IF;
	RETURN format('seed %s: sizes %s, %s rows, pending_limit %s', this_seed, sizes,
				  (SELECT count(*) FROM oracle.item), pending);
END
$$;

-- A row that no other session is changing: sessions that churn at once must not deadlock.
CREATE FUNCTION oracle.some_row() RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	some bigint;
BEGIN
	SELECT id INTO some FROM oracle.item OFFSET floor(random() * 20) LIMIT 1 FOR UPDATE SKIP LOCKED;
	RETURN some;
END
$$;

CREATE FUNCTION oracle.churn(n int) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	dice float8;
	target bigint;
BEGIN
	FOR i IN 1 .. n LOOP
		dice := random();
		target := oracle.some_row();
		BEGIN
			IF dice < 0.45 THEN
				PERFORM oracle.fill(1);
			ELSIF dice < 0.7 THEN
				DELETE FROM oracle.item WHERE id = target;
			ELSIF dice < 0.85 THEN
				UPDATE oracle.item SET sid = oracle.random_sid(), note = note + 1
					WHERE id = target;
			ELSE
				UPDATE oracle.item SET note = note + 1, extra = extra + 1
					WHERE id = target;
			END IF;
			IF random() < 0.1 THEN
				RAISE EXCEPTION USING errcode = 'SO001';
			END IF;
		EXCEPTION WHEN SQLSTATE 'SO001' THEN
			NULL; -- the row stays in the index, aborted
		END;
	END LOOP;
END
$$;

-- A random query that fits the catalog, or nearly.
CREATE FUNCTION oracle.random_query(kind text) RETURNS semquery LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	s oracle.shape;
	sizes int[] := '{}';
	logits real[];
	levels int;
	coarse bool := random() < 0.5;
	never float8 := oracle.pick('{0,0,20,70}') / 100.0;
	tokenizer int;
	members semset;
BEGIN
	SELECT * INTO STRICT s FROM oracle.shape;
	levels := greatest(1, cardinality(s.sizes) + oracle.pick('{-2,-1,0,0,0,0,0,1}'));
	FOR l IN 1 .. levels LOOP
		sizes := sizes || greatest(1, coalesce(s.sizes[l], 3) + oracle.pick('{-1,0,0,0,2}'));
	END LOOP;
	IF kind = 'nothing' THEN
		RETURN NULL;
	END IF;
	IF kind = 'neighbors' THEN
		RETURN semtok.neighbors(
			(SELECT codebook_agg(l - 1, c, array[(random() * 4)::int, random() * 4, 1]::real[])
			 FROM generate_subscripts(sizes, 1) l, generate_series(0, sizes[l] - 1) c),
			array[random() * 6, random() * 6, 2]::real[]);
	END IF;
	-- the first code of a level stays possible: an impossible level has no softmax
	SELECT array_agg((CASE WHEN c > 0 AND random() < never THEN '-Infinity'
					  WHEN coarse THEN floor(random() * 4)
					  ELSE 8 * random() - 4 END)::real ORDER BY l, c)
		INTO logits
		FROM generate_subscripts(sizes, 1) l, generate_series(0, sizes[l] - 1) c;
	tokenizer := CASE WHEN random() < 0.5 THEN 0 WHEN random() < 0.8 THEN oracle.pick(s.tokenizers)
				 ELSE 5 END;
	IF kind IN ('full', 'none') AND random() < 0.8 THEN
		RETURN semtok.logits(logits, sizes, tokenizer, kind);
	END IF;
	-- a part of the catalog and ids that may not be in it
	SELECT semset_agg(sid) INTO members
		FROM (SELECT sid FROM oracle.item WHERE sid IS NOT NULL AND random() < 0.5
			  UNION ALL
			  SELECT oracle.random_sid() FROM generate_series(1, 5)) m
		WHERE sid IS NOT NULL;
	IF members IS NULL THEN
		members := semset(array[semid(array_fill(0, array[levels]), tokenizer)]);
	END IF;
	RETURN semtok.logits(logits, sizes, tokenizer, kind, members);
END
$$;

CREATE FUNCTION oracle.plan(which text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
	PERFORM set_config('enable_seqscan', CASE which WHEN 'sequential' THEN 'on' ELSE 'off' END, false),
		set_config('enable_sort', CASE which WHEN 'index' THEN 'off' ELSE 'on' END, false),
		set_config('enable_indexscan', CASE which WHEN 'index' THEN 'on' ELSE 'off' END, false),
		set_config('enable_indexonlyscan', 'off', false),
		set_config('enable_bitmapscan', CASE which WHEN 'bitmap' THEN 'on' ELSE 'off' END, false),
		set_config('enable_hashjoin', 'off', false),
		set_config('enable_mergejoin', 'off', false),
		set_config('max_parallel_workers_per_gather', '0', false),
		-- plans that are forced cost more than any limit for compiling them
		set_config('jit', coalesce(current_setting('oracle.jit', true), 'off'), false);
END
$$;

CREATE FUNCTION oracle.fail(phase text, what text, detail text) RETURNS void LANGUAGE sql VOLATILE
	AS $$ INSERT INTO oracle.failure SELECT seed, phase, what, detail FROM oracle.shape $$;

-- Where two listings part.
CREATE FUNCTION oracle.difference(a text, b text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
	SELECT format('line %s: index "%s", sequential "%s" (%s and %s lines)', n, x.l, y.l,
				  cardinality(string_to_array(a, E'\n')), cardinality(string_to_array(b, E'\n')))
	FROM string_to_table(a, E'\n') WITH ORDINALITY x (l, n)
		FULL JOIN string_to_table(b, E'\n') WITH ORDINALITY y (l, n) USING (n)
	WHERE x.l IS DISTINCT FROM y.l ORDER BY n LIMIT 1
$$;

CREATE FUNCTION oracle.sorted(listing text) RETURNS text LANGUAGE sql IMMUTABLE
	AS $$ SELECT string_agg(l, E'\n' ORDER BY l) FROM string_to_table(listing, E'\n') l $$;

CREATE FUNCTION oracle.without_tid(listing text) RETURNS text LANGUAGE sql IMMUTABLE
	AS $$ SELECT regexp_replace(listing, '\(\d+,\d+\)', '', 'g') $$;

-- Does the plan of the statement scan the semtrie index as the forced plan asks?
CREATE FUNCTION oracle.uses_index(statement text, which text, q semquery, p semid) RETURNS bool
	LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	plan json;
BEGIN
	EXECUTE 'EXPLAIN (FORMAT JSON, COSTS OFF) ' || statement INTO plan USING q, p;
	RETURN plan::text ~ '"Index Name": "item_sid"'
		AND (which <> 'ordered' OR (plan::text ~ '"Order By"' AND plan::text !~ '"Sort Key"'))
		AND (which <> 'bitmap' OR plan::text ~ '"Bitmap Index Scan"');
END
$$;

-- Rows of a statement (c, sid, ctid) as text, in the order they come; costs bit by bit.
CREATE FUNCTION oracle.listing(statement text, q semquery, p semid) RETURNS text
	LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	listing text;
BEGIN
	EXECUTE $s$SELECT coalesce(string_agg(format('%s|%s|%s', encode(float8send(c), 'hex'), sid, ctid),
		E'\n'), '') FROM ($s$ || statement || ') s' INTO listing USING q, p;
	RETURN listing;
END
$$;

-- The same through a cursor, while the table changes under it.
CREATE FUNCTION oracle.cursor_listing(statement text, q semquery, p semid) RETURNS text
	LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	c refcursor;
	r record;
	lines text[] := '{}';
	pause int := floor(random() * 10);
BEGIN
	OPEN c NO SCROLL FOR EXECUTE statement USING q, p;
	LOOP
		IF cardinality(lines) = pause THEN
			PERFORM oracle.churn(8), oracle.fill(oracle.pick('{0,5,5,20,400}'));
		END IF;
		FETCH c INTO r;
		EXIT WHEN NOT FOUND;
		lines := lines || format('%s|%s|%s', encode(float8send(r.c), 'hex'), r.sid, r.ctid);
	END LOOP;
	CLOSE c;
	RETURN array_to_string(lines, E'\n');
END
$$;

CREATE FUNCTION oracle.check_ordered(phase text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	kinds text[] := '{full,full,none,none,masked,neighbors,nothing}';
	kind text := kinds[1 + floor(random() * 7)];
	q semquery := oracle.random_query(kind);
	p semid := oracle.random_sid();
	hot bool := (SELECT s.hot FROM oracle.shape s);
	filter text;
	query text;
	base text;
	lim text;
	what text;
	expected text;
	got text;
	through_cursor bool := random() < 0.1;
BEGIN
	IF p IS NOT NULL THEN
		p := semid_prefix(p, 1 + floor(random() * semid_levels(p))::int);
		IF random() < 0.3 THEN
			p := semid(semid_codes(p), 0);
		END IF;
	END IF;
	filter := (array['true', 'true', 'true', 'extra % 5 = 0', 'sid ^@ $2', 'sid = $2',
		'sid IS NOT NULL', 'sid IS NULL', 'sid ^@ $2 AND extra % 2 = 0',
		'sid IS NOT NULL AND sid ^@ $2'])[1 + floor(random() * 10)::int];
	-- a parameter whose value the planner does not know, or one that it does
	IF q IS NULL OR random() < 0.5 THEN
		query := '(SELECT query FROM oracle.query WHERE id = 0)';
	ELSE
		query := '$1';
	END IF;
	lim := CASE WHEN random() < 0.5 THEN format(' LIMIT %s', floor(random() * 30)) ELSE '' END;
	DELETE FROM oracle.query WHERE id = 0;
	INSERT INTO oracle.query VALUES (0, kind, q);
	base := format('SELECT sid <~> %s AS c, sid, ctid FROM oracle.item WHERE %s ORDER BY sid <~> %1$s',
				   query, filter);
	what := format('ordered %s, WHERE %s, query %s%s%s', kind, filter, query, lim,
				   CASE WHEN through_cursor THEN ', cursor' ELSE '' END);

	-- In the sequential plan the output columns are the sort's keys: the cost is not computed twice.
	PERFORM oracle.plan('sequential');
	expected := oracle.listing(format('SELECT * FROM (SELECT sid <~> %s AS c, sid, ctid FROM oracle.item '
		'WHERE %s OFFSET 0) i ORDER BY c, sid, ctid %s', query, filter, lim), q, p);
	PERFORM oracle.plan('index');
	IF NOT (p IS NULL AND filter ~ '\$2') AND NOT oracle.uses_index(base || lim, 'ordered', q, p) THEN
		PERFORM oracle.fail(phase, what, 'the plan does not use the index');
	END IF;
	IF through_cursor THEN
		got := oracle.cursor_listing(base || lim, q, p);
	ELSE
		got := oracle.listing(base || lim, q, p);
	END IF;
	-- HOT chains: the index holds the chain's root, so ties may come in another order
	IF hot AND (lim <> '' OR oracle.sorted(got) = oracle.sorted(expected)) THEN
		got := oracle.without_tid(got);
		expected := oracle.without_tid(expected);
	END IF;
	IF got IS DISTINCT FROM expected THEN
		PERFORM oracle.fail(phase, what, oracle.difference(got, expected));
	END IF;
END
$$;

-- Without an order: rows that satisfy index conditions, by index scan and bitmap scan.
CREATE FUNCTION oracle.check_quals(phase text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	p semid := oracle.random_sid();
	filter text := (array['sid ^@ $2', 'sid ^@ $2', 'sid = $2', 'sid IS NULL', 'sid ^@ $2 AND sid = $2',
		'sid ^@ $2 AND sid ^@ semid_prefix($2, 1)', 'sid = $2 OR sid IS NULL',
		'sid IS NOT NULL AND sid ^@ $2', 'sid ^@ (SELECT $2)', 'sid IS NULL AND extra > 50'])
		[1 + floor(random() * 10)::int];
	which text := CASE WHEN random() < 0.5 AND filter !~ ' OR ' THEN 'index' ELSE 'bitmap' END;
	statement text := format('SELECT 0::float8 AS c, sid, ctid FROM oracle.item WHERE %s', filter);
	expected text;
	got text;
BEGIN
	IF p IS NOT NULL AND random() < 0.8 THEN
		p := semid_prefix(p, 1 + floor(random() * semid_levels(p))::int);
		IF random() < 0.5 THEN
			p := semid(semid_codes(p), 0);
		END IF;
	END IF;
	PERFORM oracle.plan('sequential');
	expected := oracle.listing(statement, NULL, p);
	PERFORM oracle.plan(which);
	IF p IS NOT NULL AND NOT oracle.uses_index(statement, which, NULL, p) THEN
		PERFORM oracle.fail(phase, which || ' ' || filter, 'the plan does not use the index');
	END IF;
	got := oracle.listing(statement, NULL, p);
	IF oracle.sorted(got) IS DISTINCT FROM oracle.sorted(expected) THEN
		PERFORM oracle.fail(phase, format('%s scan, %s, prefix %s', which, filter, p),
							oracle.difference(oracle.sorted(got), oracle.sorted(expected)));
	END IF;
END
$$;

-- Rescans with another query, and with another prefix, for each outer row.
CREATE FUNCTION oracle.check_rescans(phase text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	hot bool := (SELECT s.hot FROM oracle.shape s);
	lateral_join text := $s$SELECT string_agg(format('%s: %s', q.id, x.rows), E'\n' ORDER BY q.id)
		FROM oracle.query q, LATERAL (SELECT string_agg(format('%s|%s|%s', encode(float8send(c), 'hex'),
			sid, ctid), E'\n') AS rows FROM (<scan>) s) x$s$;
	prefix_join text := $s$SELECT string_agg(format('%s %s %s', p.n, i.sid, i.ctid), E'\n'
			ORDER BY p.n, i.ctid)
		FROM unnest($1) WITH ORDINALITY p (prefix, n) JOIN oracle.item i ON i.sid ^@ p.prefix$s$;
	prefixes semid[];
	expected text;
	got text;
	plan text;
BEGIN
	DELETE FROM oracle.query;
	INSERT INTO oracle.query
		SELECT n, kind, oracle.random_query(kind)
		FROM (SELECT n, (array['full', 'none', 'masked', 'neighbors', 'nothing'])[1 + n % 5] AS kind
			  FROM generate_series(1, 6) n) k;
	PERFORM oracle.plan('sequential');
	EXECUTE replace(lateral_join, '<scan>', 'SELECT i.sid <~> q.query AS c, i.sid, i.ctid FROM oracle.item i '
		'ORDER BY i.sid <~> q.query, i.sid, i.ctid LIMIT 12') INTO expected;
	PERFORM oracle.plan('index');
	got := replace(lateral_join, '<scan>', 'SELECT i.sid <~> q.query AS c, i.sid, i.ctid FROM oracle.item i '
		'ORDER BY i.sid <~> q.query LIMIT 12');
	-- sorting the outer side is part of both
	EXECUTE 'EXPLAIN (FORMAT JSON, COSTS OFF) ' || got INTO plan;
	IF plan !~ '"Order By"' THEN
		PERFORM oracle.fail(phase, 'lateral', 'the plan does not use the index');
	END IF;
	EXECUTE got INTO got;
	IF hot THEN
		got := oracle.without_tid(got);
		expected := oracle.without_tid(expected);
	END IF;
	IF got IS DISTINCT FROM expected THEN
		PERFORM oracle.fail(phase, 'lateral', oracle.difference(got, expected));
	END IF;

	SELECT array_agg(semid_prefix(sid, 1 + floor(random() * semid_levels(sid))::int)) || NULL::semid
		INTO prefixes
		FROM (SELECT oracle.random_sid() AS sid FROM generate_series(1, 8)) s;
	PERFORM oracle.plan('sequential');
	EXECUTE prefix_join INTO expected USING prefixes;
	PERFORM oracle.plan('index');
	EXECUTE 'EXPLAIN (FORMAT JSON, COSTS OFF) ' || prefix_join INTO plan USING prefixes;
	IF plan !~ 'item_sid' THEN
		PERFORM oracle.fail(phase, 'join by prefix', 'the plan does not use the index');
	END IF;
	EXECUTE prefix_join INTO got USING prefixes;
	IF got IS DISTINCT FROM expected THEN
		PERFORM oracle.fail(phase, 'join by prefix', oracle.difference(got, expected));
	END IF;
END
$$;

-- A beam so wide that nothing falls off is exact; a narrow one gives true costs, ascending.
CREATE FUNCTION oracle.check_beam(phase text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	q semquery := oracle.random_query((array['full', 'none', 'masked', 'neighbors'])
									  [1 + floor(random() * 4)::int]);
	statement text := 'SELECT sid <~> $1 AS c, sid, ctid FROM oracle.item ORDER BY sid <~> $1';
	exact text;
	got text;
	costs float8[];
BEGIN
	PERFORM oracle.plan('index');
	exact := oracle.listing(format('SELECT * FROM (%s) i WHERE c < ''Infinity''', statement), q, NULL);
	PERFORM set_config('semtok.beam_width', '1000000', false);
	got := oracle.listing(format('SELECT * FROM (%s) i WHERE c < ''Infinity''', statement), q, NULL);
	IF got IS DISTINCT FROM exact THEN
		PERFORM oracle.fail(phase, 'a beam that holds everything', oracle.difference(got, exact));
	END IF;
	PERFORM set_config('semtok.beam_width', (1 + floor(random() * 4))::int::text, false);
	got := oracle.listing(format('SELECT * FROM (%s) i WHERE c < ''Infinity''', statement), q, NULL);
	IF EXISTS (SELECT l FROM string_to_table(got, E'\n') l
			   EXCEPT SELECT l FROM string_to_table(exact, E'\n') l) THEN
		PERFORM oracle.fail(phase, 'narrow beam', 'a row that the exact scan does not give');
	END IF;
	EXECUTE format('SELECT array_agg(c) FROM (%s) s', statement) INTO costs USING q;
	IF costs IS DISTINCT FROM (SELECT array_agg(c ORDER BY c) FROM unnest(costs) c) THEN
		PERFORM oracle.fail(phase, 'narrow beam', 'costs are not ascending');
	END IF;
	PERFORM set_config('semtok.beam_width', '0', false);
END
$$;

CREATE FUNCTION oracle.check(phase text, n int) RETURNS int LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	cases int := 0;
BEGIN
	FOR i IN 1 .. n LOOP
		PERFORM oracle.check_ordered(phase);
		cases := cases + 1;
		IF i % 2 = 0 THEN
			PERFORM oracle.check_quals(phase);
			cases := cases + 1;
		END IF;
		IF i % 8 = 0 THEN
			PERFORM oracle.check_rescans(phase);
			cases := cases + 7; -- six queries, one join
		END IF;
		IF i % 8 = 4 THEN
			PERFORM oracle.check_beam(phase);
			cases := cases + 2;
		END IF;
	END LOOP;
	PERFORM oracle.plan('any');
	RETURN cases;
END
$$;

-- Index against sequential plan for one query, without writing anything: for standbys and for
-- tables that other sessions change. Both see one snapshot, the caller's: run it in a REPEATABLE
-- READ transaction. Returns NULL when they agree.
CREATE FUNCTION oracle.compare(item regclass, q semquery, most int) RETURNS text
	LANGUAGE plpgsql VOLATILE AS $$
DECLARE
	expected text;
	got text;
BEGIN
	PERFORM oracle.plan('sequential');
	expected := oracle.listing(format('SELECT * FROM (SELECT sid <~> $1 AS c, sid, ctid FROM %s OFFSET 0) i '
		'ORDER BY c, sid, ctid LIMIT %s', item, most), q, NULL);
	PERFORM oracle.plan('index');
	got := oracle.listing(format('SELECT sid <~> $1 AS c, sid, ctid FROM %s ORDER BY sid <~> $1 LIMIT %s',
		item, most), q, NULL);
	PERFORM oracle.plan('any');
	RETURN oracle.difference(got, expected);
END
$$;
