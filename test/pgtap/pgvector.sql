-- Embeddings in pgvector's types, where pgvector is installed: every place that takes an embedding.
SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'vector') AS installed \gset
\if :installed
SELECT plan(183);
CREATE EXTENSION vector;
-- small whole numbers and halves, which half precision holds exactly
CREATE TABLE items (id int, x real[], v vector(3), h halfvec(3), w vector, by_x semid, by_v semid, by_h semid, by_w semid);
INSERT INTO items (id, x, v, h, w) SELECT i, x, x, x, x
	FROM generate_series(1, 200) AS i, LATERAL (SELECT array[i % 16, i * 7 % 32, i % 8 + 0.5]::real[] AS x) AS s;
INSERT INTO items (id) VALUES (0);
CREATE DOMAIN meaning AS vector(3);
SET client_min_messages = error;

-- Training: the same rows of another type are the same codebook
SELECT semtok.train('items', 'SELECT x FROM items', levels => 2, codes => 16) AS by_x \gset
SELECT semtok.train('items', 'SELECT v FROM items', levels => 2, codes => 16) AS by_v \gset
SELECT semtok.train('items', 'SELECT h FROM items', levels => 2, codes => 16) AS by_h \gset
SELECT semtok.train('items', 'SELECT w FROM items', levels => 2, codes => 16) AS by_w \gset
SELECT semtok.train('items', 'SELECT v::meaning FROM items', levels => 2, codes => 16) AS by_d \gset
SELECT is(count(DISTINCT hash), 1::bigint, 'vector, halfvec, vector of any dimension and a domain train the same codebook as real[]')
	FROM semtok.tokenizers WHERE id IN (:by_x, :by_v, :by_h, :by_w, :by_d);
CREATE FUNCTION trained(how text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE kind text;
BEGIN
	FOREACH kind IN ARRAY '{x,v,h}'::text[] LOOP
		EXECUTE format(how, kind);
	END LOOP;
	RETURN NEXT is(count(DISTINCT hash), 1::bigint, how) FROM semtok.tokenizers WHERE name = 'other';
	RETURN NEXT is(count(*), 3::bigint, 'three of them') FROM semtok.tokenizers WHERE name = 'other';
	PERFORM semtok.drop_tokenizer('other');
END $$;
SELECT trained($$SELECT semtok.train('other', 'SELECT %s FROM items', codes => array[8,4], metric => 'cosine')$$);
SELECT trained($$SELECT semtok.train('other', 'SELECT %s FROM items', levels => 2, codes => 8, sample => 100, metric => 'ip')$$);
SELECT trained($$SELECT semtok.train('other', 'SELECT %s FROM items', levels => 2, codes => 8, method => 'ema', batch_size => 64)$$);
SELECT trained($$SELECT semtok.train('other', 'SELECT %1$s FROM items WHERE id %% 4 > 0', levels => 2, codes => 8,
	options => '{"eval_source": "SELECT %1$s FROM items WHERE id %% 4 = 0", "refine": 1}')$$);
SELECT semtok.partial_fit('items', 'SELECT x FROM items WHERE id % 3 = 0') AS fit_x \gset
SELECT semtok.partial_fit('items', 'SELECT v FROM items WHERE id % 3 = 0') AS fit_v \gset
SELECT semtok.partial_fit('items', 'SELECT h FROM items WHERE id % 3 = 0') AS fit_h \gset
SELECT is(count(DISTINCT hash), 1::bigint, 'partial_fit reads vectors and halfvecs')
	FROM semtok.tokenizers WHERE id IN (:fit_x, :fit_v, :fit_h);
SELECT isnt(f.hash, t.hash, 'and has moved') FROM semtok.tokenizers AS f, semtok.tokenizers AS t
	WHERE f.id = :fit_x AND t.id = :by_x;

-- Values: a vector by itself, a halfvec with a cast
CREATE TEMP TABLE codebook AS SELECT codebook FROM semtok.tokenizer WHERE id = :by_x;
CREATE FUNCTION valued(call text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE kind text; same bigint;
BEGIN
	FOREACH kind IN ARRAY '{v,w,h::real[],v::meaning}'::text[] LOOP
		EXECUTE format('SELECT count(*) FROM items WHERE x IS NOT NULL AND (%s)::text = (%s)::text',
			format(call, kind), format(call, 'x')) INTO same;
		RETURN NEXT is(same, 200::bigint, format(call, kind));
	END LOOP;
END $$;
SELECT valued($$semtok.encode('items', %s)$$);
SELECT valued(format($$semtok.encode(%s, %%s)$$, :by_x));
SELECT valued($$semtok.encode((SELECT codebook FROM codebook), %s, beam => 4)$$);
SELECT valued($$semtok.neighbors('items', %s)$$);
SELECT valued(format($$semtok.neighbors(%s, %%s)$$, :by_x));
SELECT valued($$(SELECT array_agg(t) FROM semtok.encode_trace('items', %s) t)$$);
SELECT valued(format($$(SELECT array_agg(t) FROM semtok.encode_trace(%s, %%s) t)$$, :by_x));
SELECT valued($$(SELECT array_agg(t) FROM semtok.encode_candidates('items', %s, 3) t)$$);
SELECT valued(format($$(SELECT array_agg(t) FROM semtok.encode_candidates(%s, %%s, 3) t)$$, :by_x));
SELECT throws_ok($$SELECT semtok.encode('items', h) FROM items$$, '42883', NULL, 'a halfvec without a cast is no argument');
SELECT is(count(*), 0::bigint, 'what is decoded compares with a vector')
	FROM items WHERE semtok.decode('items', semtok.encode('items', v))::vector <-> v > 8;
SELECT is(count(*), 200::bigint, 'at the distance that it is away')
	FROM items, LATERAL (SELECT semtok.decode('items', semtok.encode('items', v)) AS d) AS s,
		LATERAL (SELECT sqrt(sum((a - b) ^ 2)) AS away FROM unnest(d, x) AS u (a, b)) AS t
	WHERE abs((d::vector <-> v) - away) < 1e-5;
SELECT is(codebook_agg(0, id, v), codebook_agg(0, id, x), 'codebook_agg takes vectors')
	FROM (SELECT id - 1 AS id, v, x FROM items WHERE id > 0) AS s;

-- Tables
CALL semtok.tokenize('items', 'x', 'by_x', 'items');
CALL semtok.tokenize('items', 'v', 'by_v', 'items');
CALL semtok.tokenize('items', 'h', 'by_h', 'items', batch_size => 7);
CALL semtok.tokenize('items', 'w', 'by_w', 'items', collisions => 'append');
SELECT is(count(by_v), 200::bigint, 'tokenize reads vectors') FROM items WHERE by_v = by_x;
SELECT is(count(by_h), 200::bigint, 'tokenize reads halfvecs') FROM items WHERE by_h = by_x;
SELECT is(count(DISTINCT by_w), 200::bigint, 'tokenize tells vectors apart') FROM items WHERE semid_prefix(by_w, 2) = by_x;
SELECT results_eq(format('SELECT e.*::text FROM semtok.evaluate(%L, %L) AS e', 'items', 'SELECT v FROM items'),
	format('SELECT e.*::text FROM semtok.evaluate(%L, %L) AS e', 'items', 'SELECT x FROM items'), 'evaluate reads vectors');
SELECT results_eq(format('SELECT e.*::text FROM semtok.evaluate(%s, %L) AS e', :by_h, 'SELECT h FROM items'),
	format('SELECT e.*::text FROM semtok.evaluate(%L, %L) AS e', 'items', 'SELECT x FROM items'), 'evaluate reads halfvecs');
SELECT is(count(*), 200::bigint, 'encode_batch reads ' || type) FROM (VALUES ('v', 'vectors'), ('h', 'halfvecs'), ('w', 'vectors of any dimension'), ('v::meaning', 'a domain')) AS t (value, type),
	semtok.encode_batch('items', format('SELECT id, %s FROM items', value)) AS b JOIN items ON id = key::int WHERE b.sid = by_x GROUP BY type;

-- The trigger: an insert, a new embedding, none
CREATE TABLE kept (id int, v vector(3), h halfvec(3), by_v semid, by_h semid);
CREATE TRIGGER keep_v BEFORE INSERT OR UPDATE ON kept FOR EACH ROW EXECUTE FUNCTION semtok.tokenize_trigger('v', 'by_v', 'items');
CREATE TRIGGER keep_h BEFORE INSERT OR UPDATE ON kept FOR EACH ROW EXECUTE FUNCTION semtok.tokenize_trigger('h', 'by_h', 'items');
INSERT INTO kept (id, v, h) SELECT id, v, h FROM items;
SELECT is(count(*), 200::bigint, 'the trigger keeps ids of vectors') FROM kept JOIN items USING (id) WHERE kept.by_v = items.by_x;
SELECT is(count(*), 200::bigint, 'and of halfvecs') FROM kept JOIN items USING (id) WHERE kept.by_h = items.by_x;
UPDATE kept SET (v, h) = (SELECT items.v, items.h FROM items WHERE items.id = kept.id % 200 + 1);
SELECT is(count(*), 201::bigint, 'new embeddings have new ids') FROM kept JOIN items ON items.id = kept.id % 200 + 1
	WHERE kept.by_v = items.by_x AND kept.by_h = items.by_x;
UPDATE kept SET v = NULL, h = NULL;
SELECT is(count(by_v) + count(by_h), 0::bigint, 'no embedding, no id') FROM kept;
CREATE TABLE kept_any (w vector, sid semid);
CREATE TRIGGER keep BEFORE INSERT ON kept_any FOR EACH ROW EXECUTE FUNCTION semtok.tokenize_trigger('w', 'sid', 'items');
SELECT throws_ok($$INSERT INTO kept_any VALUES ('[1,2]')$$, '22023', 'expected 3 dimensions, not 2', 'the trigger refuses another dimension');

-- The index, by a vector in a prepared statement
CREATE INDEX items_by_x ON items USING semtrie (by_x);
ANALYZE items;
SET enable_seqscan = off;
SET enable_sort = off;
PREPARE like_this(vector) AS
	SELECT id FROM items ORDER BY by_x <~> (SELECT semtok.neighbors('items', $1)) LIMIT 5;
SELECT is((SELECT count(*) FROM items WHERE by_x <~> semtok.neighbors('items', v) >= 0), 200::bigint, 'costs by vectors');
CREATE TEMP TABLE found AS EXECUTE like_this('[1,2,3]');
SELECT is(array_agg(by_x <~> q ORDER BY by_x <~> q), (SELECT array_agg(c ORDER BY c) FROM (
		SELECT by_x <~> semtok.neighbors('items', '{1,2,3}') AS c FROM items ORDER BY 1 LIMIT 5) AS s), 'an ordered scan by a vector')
	FROM found JOIN items USING (id), (SELECT semtok.neighbors('items', '[1,2,3]'::vector) AS q OFFSET 0) AS r;
-- candidates by the ids, their order by the vectors themselves
SELECT is(array_length(array_agg(id), 1), 5, 'ranked again by pgvector') FROM (
	SELECT id FROM (SELECT id, v FROM items
		ORDER BY by_x <~> semtok.neighbors('items', '[1,2,3]'::vector) LIMIT 50) AS s
	ORDER BY v <-> '[1,2,3]' LIMIT 5) AS t;

-- What is refused
SELECT throws_ok($$SELECT semtok.train('items', $q$VALUES ('[1,2,3]'::vector), ('[1,2]')$q$)$$,
	'22023', NULL, 'vectors of several dimensions are refused');
SELECT throws_ok($$SELECT semtok.encode('items', '[1,2]'::vector)$$, '22023', 'expected 3 dimensions, not 2', 'a vector of another dimension is refused');
SELECT throws_ok($$SELECT semtok.partial_fit('items', $q$VALUES ('[1,2]'::vector)$q$)$$, '22023', NULL, 'partial_fit as well');
SELECT throws_ok($$SELECT semtok.train('items', $q$VALUES ('{1:1,3:2}/3'::sparsevec)$q$)$$, NULL, NULL, 'a sparse vector is not read');

-- Reading without pgvector's cast: the same bits, for every finite half and floats of all sizes
CREATE DOMAIN short AS halfvec;
CREATE FUNCTION same_bits(a real[], b real[]) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT array_send(a) = array_send(b)';
CREATE TABLE halves AS SELECT part, array_agg(x ORDER BY n)::real[] AS x, array_agg(x ORDER BY n)::real[]::halfvec AS h
	FROM generate_series(0, 63487) AS n, LATERAL (SELECT n % 31744 / 1024 AS e, n % 1024 AS f) AS s,
		LATERAL (SELECT (CASE WHEN n < 31744 THEN 1 ELSE -1 END * CASE e WHEN 0 THEN f * 2::float8 ^ -24 ELSE (1024 + f) * 2::float8 ^ (e - 25) END)::real AS x) AS t,
		LATERAL (SELECT n / 15872 AS part) AS u GROUP BY part;
SELECT results_eq('SELECT sum(cardinality(semtok.embedding_of(h))), bool_and(same_bits(semtok.embedding_of(h), h::real[])), bool_and(semtok.embedding_of(h) = x),
	bool_and(semtok.embedding_of(h::short) = x) FROM halves', 'VALUES (63488::bigint, true, true, true)', 'every finite half');
SELECT setseed(0.5) \g /dev/null
CREATE TABLE wide (dim int, x real[], v vector, plain vector, small vector, main vector);
ALTER TABLE wide ALTER plain SET STORAGE extended, ALTER small SET STORAGE extended, ALTER main SET STORAGE main;
INSERT INTO wide SELECT dim, x, x::vector, x::vector, array_fill(1e-40::real, array[dim])::vector, x::vector
	FROM unnest('{1,2,3,29,30,31,32,384,499,500,1999,2000,15999,16000}'::int[]) AS dim, generate_series(1, 3), LATERAL (
		SELECT array_agg((CASE i % 7 WHEN 0 THEN '-0' WHEN 1 THEN '1e-45' WHEN 2 THEN '-3.4028235e38' WHEN 3 THEN ((random() - 0.5) * 1e-38)::text
			ELSE (random() - 0.5)::text END)::real) AS x FROM generate_series(dim, 1, -1) AS i) AS s;
INSERT INTO wide (dim) VALUES (0);
SELECT is(count(*), 42::bigint, 'vectors of 1 to 16000 dimensions, toasted and not, subnormal values and negative zeros') FROM wide
	WHERE same_bits(semtok.embedding_of(v), x) AND same_bits(semtok.embedding_of(v), v::real[]) AND same_bits(semtok.embedding_of(plain), x)
		AND same_bits(semtok.embedding_of(main), x) AND same_bits(semtok.embedding_of(small), small::real[]);
SELECT results_eq('SELECT min(pg_column_size(v)) < 100, max(pg_column_size(v)) > 64000, bool_or(pg_column_size(small) < dim) FROM wide WHERE dim > 0',
	'VALUES (true, true, true)', 'short, out of line and compressed ones among them');
SELECT results_eq('SELECT semtok.embedding_of(v), semtok.embedding_of(NULL::halfvec), semtok.embedding_of(NULL) FROM wide WHERE dim = 0',
	'VALUES (NULL::real[], NULL::real[], NULL::real[])', 'null is null');
SELECT results_eq('SELECT semtok.embedding_of(v::meaning), array_lower(semtok.embedding_of(v), 1) FROM items WHERE id = 1', $$VALUES ('{1,7,1.5}'::real[], 1)$$, 'a domain over vector');
SELECT throws_ok(format('SELECT semtok.embedding_of(%s) FROM items', value), '42804', 'expected pgvector''s vector or halfvec, not ' || type, type)
	FROM (VALUES ('x', 'real[]'), ('''[1]''', 'unknown'), ('v::text', 'text'), ('vector_send(v)', 'bytea'), ('items', 'items'), ('row(v)', 'record'), ('v::sparsevec', 'sparsevec'),
		('binary_quantize(v)', 'bit'), ('array[v]', 'vector[]'), ('by_x', 'semid'), ('id', 'integer')) AS t (value, type);

-- The planner puts it in the place of the cast, and nowhere else
CREATE FUNCTION planned(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE line text; plan text := '';
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (VERBOSE, COSTS OFF) ' || query LOOP
		plan := plan || line || E'\n';
	END LOOP;
	RETURN plan;
END $$;
SELECT matches(planned(format(query, value)), 'embedding_of\(', format(query, value))
	FROM (VALUES ('v'), ('w'), ('h::real[]'), ('v::meaning'), ('h::vector'), ('v::vector(3)::real[]')) AS t (value), unnest(array[
		$$SELECT semtok.encode('items', %s) FROM items$$, format('SELECT semtok.encode(%s, %%s, 4) FROM items', :by_x), 'SELECT semtok.encode(codebook, %s) FROM items, codebook',
		$$SELECT semtok.neighbors('items', embedding => %s) FROM items$$,
		format('SELECT semtok.neighbors(%s, %%s) FROM items', :by_x), 'SELECT semtok.neighbors(codebook, %s) FROM items, codebook',
		$$SELECT e.* FROM items, semtok.encode_trace('items', %s) AS e$$, format('SELECT e.* FROM items, semtok.encode_trace(%s, %%s) AS e', :by_x),
		$$SELECT e.* FROM items, semtok.encode_candidates('items', %s, 2) AS e$$, format('SELECT semtok.encode_candidates(%s, %%s, 2) FROM items', :by_x)]) AS query;
SELECT doesnt_match(planned(format($$SELECT semtok.encode('items', %s) FROM items$$, value)), 'embedding_of\(', value || ' is read as it is')
	FROM unnest('{x,x::float8[]::real[],"vector_to_float4(v, id, false)","vector_to_float4(v, NULL, false)","vector_to_float4(v, 1, random() < 2)",v::text::real[],"array_cat(v::real[], x)"}'::text[]) AS value;
SELECT is(count(semtok.encode('items', vector_to_float4(v, nullif(id, 1), false))), 199::bigint, 'a null beside the vector counts as before') FROM items;
SET plan_cache_mode = force_generic_plan;
PREPARE of_parameter(vector) AS SELECT semtok.encode('items', $1);
SELECT matches(planned('EXECUTE of_parameter(''[1,2,3]'')'), 'embedding_of\(\$1\)', 'a parameter');
CREATE FUNCTION by_parameter(vector) RETURNS semid LANGUAGE plpgsql AS $$ BEGIN RETURN semtok.encode('items', $1); END $$;
SELECT is(count(*), 200::bigint, 'as in a function') FROM items WHERE by_parameter(v) = by_x AND id > 0;
RESET plan_cache_mode;
CREATE TABLE made (v vector(3), sid semid GENERATED ALWAYS AS (semtok.encode('{"dim":3,"sizes":[1],"metric":"l2","data":"AACAPwAAgD8AAIA/"}'::public.codebook, v)) STORED);
INSERT INTO made SELECT v FROM items;
CREATE INDEX made_sid ON made (semtok.encode('{"dim":3,"sizes":[1],"metric":"l2","data":"AACAPwAAgD8AAIA/"}'::public.codebook, v));
SELECT matches(planned(format('SELECT FROM made WHERE semtok.encode(%L::public.codebook, v) = %L', '{"dim":3,"sizes":[1],"metric":"l2","data":"AACAPwAAgD8AAIA/"}', '[0]')),
	'made_sid', 'an index on such an expression serves');
SELECT is(count(sid), 200::bigint, 'and a generated column') FROM made WHERE sid = '[0]';

-- Verbs that read tables use it as well
SET track_functions = 'all';
CREATE FUNCTION reads() RETURNS bigint LANGUAGE sql AS 'SELECT coalesce(pg_stat_get_xact_function_calls(''semtok.embedding_of("any")''::regprocedure), 0)';
CREATE FUNCTION reads_with(statement text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE before bigint := reads();
BEGIN
	EXECUTE statement;
	RETURN reads() - before;
END $$;
SELECT is(reads_with(format(statement, value)), 200::bigint, format(statement, value))
	FROM unnest('{v,w,h,v::meaning}'::text[]) AS value, unnest(array[$$SELECT semtok.evaluate('items', 'SELECT %s FROM items WHERE id > 0')$$,
		$$SELECT count(*) FROM semtok.encode_batch('items', 'SELECT id, %s FROM items WHERE id > 0')$$,
		$$SELECT semtok.train('other', 'SELECT %s FROM items WHERE id > 0', levels => 1, codes => 4)$$, $$SELECT semtok.partial_fit('items', 'SELECT %s FROM items WHERE id > 0;')$$]) AS statement;
SELECT is(reads_with('INSERT INTO kept (id, v, h) SELECT id, v, h FROM items'), 400::bigint, 'two triggers');
SELECT is(reads_with($$SELECT semtok.evaluate('items', 'SELECT x FROM items')$$), 0::bigint, 'not for real[]');
SELECT semtok.drop_tokenizer('other');
UPDATE items SET by_h = NULL;
SELECT pg_stat_force_next_flush() \g /dev/null
SELECT coalesce(pg_stat_get_function_calls('semtok.embedding_of("any")'::regprocedure), 0) AS before \gset
CALL semtok.tokenize('items', 'h', 'by_h', 'items');
SELECT pg_stat_force_next_flush() \g /dev/null
SELECT is(pg_stat_get_function_calls('semtok.embedding_of("any")'::regprocedure) - :before, 200::bigint, 'tokenize');
RESET track_functions;

-- Who may not execute one of both functions meets what was there before
CREATE ROLE vector_reader;
GRANT SELECT ON items, semtok.tokenizer TO vector_reader;
REVOKE EXECUTE ON FUNCTION semtok.embedding_of FROM PUBLIC;
SET ROLE vector_reader;
SELECT doesnt_match(planned($$SELECT semtok.encode('items', v) FROM items$$), 'embedding_of\(', 'without the right the cast stays');
SELECT is(count(semtok.encode('items', v)), 200::bigint, 'and works') FROM items;
SELECT lives_ok($$SELECT semtok.evaluate('items', 'SELECT v FROM items')$$, 'evaluate, too');
RESET ROLE;
GRANT EXECUTE ON FUNCTION semtok.embedding_of TO PUBLIC;
REVOKE EXECUTE ON FUNCTION vector_to_float4 FROM PUBLIC;
SET ROLE vector_reader;
SELECT throws_ok($$SELECT semtok.encode('items', v) FROM items$$, '42501', 'permission denied for function vector_to_float4', 'no way around a right on the cast');
RESET ROLE;
GRANT EXECUTE ON FUNCTION vector_to_float4 TO PUBLIC;
DROP OWNED BY vector_reader;
DROP ROLE vector_reader;
SELECT * FROM finish();
\else
SELECT plan(1);
SELECT skip('pgvector is not installed', 1);
SELECT * FROM finish();
\endif
