-- semtok.encode and semtok.decode, in all their forms.

SET client_min_messages = error;
CREATE TABLE vectors (id int, x real[]);
INSERT INTO vectors
	SELECT i, array[i * 37 % 101 - 50, i * 61 % 97 - 40, i * 13 % 29 - 14, 7 + i * 7 % 11, i % 3]::real[]
	FROM generate_series(1, 300) AS i;
SELECT semtok.train('l2', 'SELECT x FROM vectors', levels => 3, codes => 12) AS l2 \gset
SELECT semtok.train('ip', 'SELECT x FROM vectors', levels => 2, codes => 12, metric => 'ip') AS ip \gset
SELECT semtok.train('cosine', 'SELECT x FROM vectors', levels => 2, codes => 12, metric => 'cosine') AS cosine \gset
SELECT semtok.train('uneven', 'SELECT x FROM vectors', codes => array[9, 5, 3]) AS uneven \gset

-- By brute force in SQL: at each level the best codeword of the residual.
CREATE FUNCTION pg_temp.greedy(tokenizer int, x real[]) RETURNS int[] LANGUAGE plpgsql AS $$
DECLARE
	cb codebook := (SELECT t.codebook FROM semtok.tokenizer AS t WHERE t.id = tokenizer);
	metric text := codebook_metric(cb);
	codes int[] := '{}';
	best record;
BEGIN
	IF metric = 'cosine' THEN
		x := (SELECT array_agg((v::float8 / n)::real ORDER BY o) FROM unnest(x) WITH ORDINALITY AS u(v, o),
			(SELECT sqrt(sum(w::float8 * w)) AS n FROM unnest(x) AS w) AS norm);
	END IF;
	FOR l IN 0 .. codebook_levels(cb) - 1 LOOP
		SELECT e.code, e.vector INTO best FROM codebook_entries(cb) AS e WHERE e.level = l
		ORDER BY (SELECT CASE WHEN metric = 'ip' THEN -sum(v::float8 * c) ELSE sum((v::float8 - c) ^ 2) END
			FROM unnest(x, e.vector) AS u(v, c)), e.code LIMIT 1;
		codes := codes || best.code;
		x := (SELECT array_agg(v - c ORDER BY o) FROM unnest(x, best.vector) WITH ORDINALITY AS u(v, c, o));
	END LOOP;
	RETURN codes;
END
$$;
SELECT t.name, count(*), count(*) FILTER (WHERE semid_codes(semtok.encode(t.id, x)) = pg_temp.greedy(t.id, x)) AS equal
	FROM vectors, semtok.tokenizers AS t WHERE t.id IN (:l2, :ip, :cosine, :uneven) GROUP BY 1 ORDER BY 1;

-- The three forms agree; the id carries the tokenizer, unless a codebook alone made it.
SELECT bool_and(semtok.encode('l2', x) = semtok.encode(:l2, x)) AS name_and_id,
	bool_and(semid_tokenizer(semtok.encode('l2', x)) = :l2) AS carries,
	bool_and(semid(semid_codes(semtok.encode(:l2, x))) = semtok.encode(t.codebook, x)) AS codebook
	FROM vectors, semtok.tokenizer AS t WHERE t.id = :l2;
SELECT semid_codes(semtok.encode('uneven', '{1,2,3,4,5}')) IS NOT NULL AS name,
	semid_codes(semtok.encode('uneven', '{1,2,3,4,5}', '4')) IS NOT NULL AS beam,
	semid_codes(semtok.encode(tokenizer => :uneven, embedding => '{1,2,3,4,5}', beam => 4)) IS NOT NULL AS named;

-- A wider beam is never further off, and sometimes nearer.
CREATE FUNCTION pg_temp.distance(a real[], b real[]) RETURNS float8 LANGUAGE sql AS
	$$SELECT sum((v::float8 - w) ^ 2) FROM unnest(a, b) AS u(v, w)$$;
SELECT count(*) FILTER (WHERE wide > narrow + 1e-6) AS worse, count(*) FILTER (WHERE wide < narrow - 1e-6) > 0 AS better
	FROM vectors, LATERAL (SELECT
		pg_temp.distance(x, semtok.decode('l2', semtok.encode('l2', x))) AS narrow,
		pg_temp.distance(x, semtok.decode('l2', semtok.encode('l2', x, 8))) AS wide) AS d;
-- A beam as wide as all ids finds the best of them.
SELECT count(*) FILTER (WHERE pg_temp.distance(x, semtok.decode('uneven', semtok.encode('uneven', x, 135)))
		> (SELECT min(pg_temp.distance(x, semtok.decode('uneven', semid(array[a, b, c]))))
			FROM generate_series(0, 8) AS a, generate_series(0, 4) AS b, generate_series(0, 2) AS c) + 1e-4) AS not_best
	FROM vectors WHERE id <= 20;

-- Decoding: the sum of the codewords; an id that is shorter gives a coarser sum, an appended code counts nothing.
SELECT semtok.decode(t.codebook, semid('{3,1,2}'::int[])) = array(
		SELECT a + b + c FROM unnest(codebook_vector(t.codebook, 0, 3), codebook_vector(t.codebook, 1, 1),
			codebook_vector(t.codebook, 2, 2)) AS u(a, b, c)) AS sum,
	semtok.decode(t.id, semid('{3}'::int[], t.id)) = codebook_vector(t.codebook, 0, 3) AS prefix,
	semtok.decode('uneven', semid('{3,1,2,77}'::int[], t.id)) = semtok.decode(t.id, '[3,1,2]') AS appended,
	semtok.decode(semid('{3,1,2}'::int[], t.id)) = semtok.decode(t.id, '[3,1,2]') AS by_itself
	FROM semtok.tokenizer AS t WHERE t.id = :uneven;
SELECT semtok.decode('uneven', '[1,1,1]') IS NOT NULL AS untyped;

-- The active version is read by every statement anew, in a function that stays as well.
SELECT semtok.train('l2', 'SELECT x FROM vectors WHERE id < 200', levels => 2, codes => 4) AS l2_2 \gset
CREATE FUNCTION pg_temp.follow() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	told text := '';
	levels int;
BEGIN
	FOR v IN 1 .. 4 LOOP
		PERFORM semtok.activate('l2', 1 + v % 2);
		levels := semid_levels(semtok.encode('l2', '{1,2,3,4,5}'));
		told := told || levels;
	END LOOP;
	BEGIN
		PERFORM semtok.activate('l2', 2);
		levels := semid_levels(semtok.encode('l2', '{1,2,3,4,5}'));
		told := told || levels;
		RAISE 'back';
	EXCEPTION WHEN OTHERS THEN
		told := told || levels;
	END;
	levels := semid_levels(semtok.encode('l2', '{1,2,3,4,5}'));
	RETURN told || levels;
END
$$;
SELECT pg_temp.follow();
-- A tokenizer that was dropped is an error wherever its id or name is looked up again: at a call
-- site that has just used it, in a prepared statement, in a transaction that sees the drop undone.
CREATE FUNCTION pg_temp.outlive(what text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	id int := semtok.train('brief', 'SELECT x FROM vectors', levels => 1, codes => 2);
	told text := '';
BEGIN
	FOR round IN 1 .. 4 LOOP
		BEGIN
			IF round = 2 THEN
				PERFORM semtok.drop_tokenizer('brief');
			END IF;
			IF what = 'id' THEN
				told := told || semid_levels(semtok.encode(id, '{1,2,3,4,5}'));
			ELSE
				told := told || semid_levels(semtok.encode('brief', '{1,2,3,4,5}'));
			END IF;
		EXCEPTION WHEN undefined_object THEN
			told := told || regexp_replace(sqlerrm, '\d+', 'N', 'g');
		END;
	END LOOP;
	RETURN told;
END
$$;
SELECT pg_temp.outlive('id'), pg_temp.outlive('name');
SELECT semtok.drop_tokenizer('brief');
SELECT semtok.train('brief', 'SELECT x FROM vectors', levels => 1, codes => 2) AS brief \gset
PREPARE by_id AS SELECT semid_levels(semtok.encode(:brief, x)) FROM vectors WHERE id = 1;
PREPARE by_name AS SELECT semid_levels(semtok.encode('brief', x)) FROM vectors WHERE id = 1;
SET plan_cache_mode = force_generic_plan;
EXECUTE by_id;
EXECUTE by_name;
SELECT semtok.drop_tokenizer('brief');
\set VERBOSITY sqlstate
EXECUTE by_id;
EXECUTE by_name;
\set VERBOSITY default
RESET plan_cache_mode;
DEALLOCATE ALL;

-- What a subtransaction saw of its own is not seen after it, though the snapshot is the same: the
-- inner one has ended before the ids are asked for and has the later number.
CREATE FUNCTION pg_temp.meant() RETURNS int LANGUAGE plpgsql AS $$
BEGIN
	RETURN semid_tokenizer(semtok.encode('brief', '{1,2,3,4,5}'));
END
$$;
DO $$
DECLARE
	ids int[];
BEGIN
	PERFORM semtok.train('brief', 'SELECT x FROM vectors', levels => 1, codes => 2) FROM generate_series(1, 2);
	ids := array[pg_temp.meant()];
	BEGIN
		PERFORM semtok.activate('brief', 2);
		BEGIN
			PERFORM semtok.activate('brief', 1);
			RAISE EXCEPTION 'undone';
		EXCEPTION WHEN raise_exception THEN
			NULL;
		END;
		ids := ids || pg_temp.meant();
		RAISE EXCEPTION 'undone';
	EXCEPTION WHEN raise_exception THEN
		NULL;
	END;
	ids := ids || pg_temp.meant();
	ASSERT ids[1] <> ids[2] AND ids[3] = ids[1], ids::text;
	PERFORM semtok.drop_tokenizer('brief');
END
$$;

-- Many tokenizers at one call site.
SELECT count(DISTINCT semid_tokenizer(sid)) AS tokenizers, bool_and(sid = semtok.encode(t.name, v.x)) AS same
	FROM vectors AS v, semtok.tokenizers AS t, semtok.encode(t.id, v.x) AS sid
	WHERE t.active AND t.id IN (:l2, :ip, :cosine, :uneven) AND v.id <= 20;

-- In parallel workers (16 renamed the setting).
SELECT name AS parallel FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query') \gset
SET :parallel = on;
SELECT count(*) FILTER (WHERE semtok.encode('l2', x) <> semtok.encode(:l2, x)) AS different FROM vectors;
SELECT count(semtok.decode(semtok.encode('l2', x))) FROM vectors;
RESET :parallel;

-- Nulls.
SELECT semtok.encode('l2', null) IS NULL, semtok.encode(null::text, '{1}') IS NULL, semtok.decode('l2', null) IS NULL;

\getenv test PG_ABS_SRCDIR
\set refusal :test '/lib/refusal.sql'
\i :refusal
\pset format unaligned
SELECT statement || E'\n  ' || pg_temp.refusal(statement) AS refusal FROM unnest(array[
	$$SELECT semtok.encode('nosuch', '{1}')$$,
	$$SELECT semtok.encode(2147483647, '{1}')$$,
	$$SELECT semtok.encode(0, '{1}')$$,
	$$SELECT semtok.encode('l2', '{1,2}')$$,
	$$SELECT semtok.encode('l2', '{}')$$,
	$$SELECT semtok.encode('l2', '{{1,2,3,4,5}}')$$,
	$$SELECT semtok.encode('l2', '{1,2,3,4,null}')$$,
	$$SELECT semtok.encode('l2', '{1,2,3,4,nan}')$$,
	$$SELECT semtok.encode('l2', '{1,2,3,4,infinity}')$$,
	$$SELECT semtok.encode('cosine', '{0,0,0,0,0}')$$,
	$$SELECT semtok.encode('l2', '{1,2,3,4,5}', 0)$$,
	$$SELECT semtok.encode('l2', '{1,2,3,4,5}', 4097)$$,
	$$SELECT semtok.encode('{}'::codebook, '{1}')$$,
	$$SELECT semtok.decode('nosuch', '[1]')$$,
	$$SELECT semtok.decode(2147483647, '[1]')$$,
	$$SELECT semtok.decode('uneven', '[9]')$$,
	$$SELECT semtok.decode('uneven', '[1,1,3]')$$,
	$$SELECT semtok.decode('[1]')$$,
	$$SELECT semtok.decode('[1]@2147483647')$$
]) AS statement;
\pset format aligned
DO $$
BEGIN
	PERFORM semtok.decode('uneven', (SELECT semtok.encode('ip', '{1,2,3,4,5}')));
EXCEPTION WHEN invalid_parameter_value THEN
	RAISE EXCEPTION '%', regexp_replace(sqlerrm, '\d+', 'N', 'g');
END
$$;

SELECT semtok.drop_tokenizer(name) FROM unnest(array['l2', 'ip', 'cosine', 'uneven']) AS name;
DROP TABLE vectors;
