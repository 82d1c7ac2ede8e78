-- Numbers at the edges: what training and encoding make of them, or what they say.
SET client_min_messages = error;

CREATE FUNCTION pg_temp.refusal(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
	context text;
BEGIN
	EXECUTE statement;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, context = PG_EXCEPTION_CONTEXT;
	RETURN concat_ws(' ', sqlstate, sqlerrm, '| ' || nullif(detail, ''), '| ' || substring(context FROM 'row \d+ of the source query'));
END
$$;

-- Each set of rows by every way of training: the mean squared distance relative to the rows'
-- squared length, and the codes in use. ids come from the tokenizer, distances from SQL.
CREATE TABLE sets (name text, x real[]);
INSERT INTO sets
	SELECT 'few', array[i, i * i]::real[] FROM generate_series(1, 5) AS i UNION ALL
	SELECT 'one', array[3, 4]::real[] UNION ALL
	SELECT 'line', array[i % 8 * 10]::real[] FROM generate_series(1, 64) AS i UNION ALL
	SELECT 'same', array[1, 2, 3]::real[] FROM generate_series(1, 40) UNION ALL
	SELECT 'zeros', array[0, 0, -0.0]::real[] FROM generate_series(1, 10) UNION ALL
	SELECT 'denormal', array[i % 8 * 1e-44, 1e-40]::real[] FROM generate_series(1, 48) AS i UNION ALL
	SELECT 'huge', array[(i % 2 * 2 - 1) * 3.4e38, i % 4 * 1e38]::real[] FROM generate_series(1, 32) AS i UNION ALL
	SELECT 'both', array[(i % 2) * 3e38, (i % 4) * 1e-42]::real[] FROM generate_series(1, 32) AS i UNION ALL
	SELECT 'odd', array(SELECT (i % 6 * j)::real FROM generate_series(1, 17) AS j) FROM generate_series(1, 36) AS i;
CREATE TABLE ways (way int, call text);
INSERT INTO ways VALUES (1, ''), (2, $$, batch_size => 7$$), (3, $$, method => 'ema', options => '{"decay": 0}'$$),
	(4, $$, init => 'kmeans||', options => '{"empty": "split"}'$$), (5, $$, init => 'random', options => '{"empty": "farthest"}'$$),
	(6, $$, options => '{"balance": 1}'$$), (7, $$, options => '{"refine": 3}'$$);
CREATE TABLE trained (name text, way int, problem text);
DO $$
DECLARE
	s record;
	t text;
BEGIN
	FOR s IN SELECT DISTINCT name FROM sets LOOP
		FOR w IN 1 .. 7 LOOP
			t := pg_temp.refusal(format('SELECT semtok.train(%L, %L, levels => 2, codes => 8, epochs => 10%s)', s.name || w,
				format('SELECT x FROM sets WHERE name = %L', s.name), (SELECT call FROM ways WHERE way = w)));
			INSERT INTO trained VALUES (s.name, w, nullif(t, 'no error'));
		END LOOP;
	END LOOP;
END $$;
SELECT * FROM trained WHERE problem IS NOT NULL ORDER BY name, way;
-- Eight codewords reproduce up to eight distinct rows, whatever they are.
SELECT name, string_agg(way::text, '' ORDER BY way) FILTER (WHERE error <= 1e-12 * size) AS exact, string_agg(way::text, '' ORDER BY way) FILTER (WHERE error > 1e-12 * size) AS not_exact
	FROM (SELECT t.name, t.way, sum((SELECT sum((a - b) * (a - b)) FROM unnest(s.x::float8[], semtok.decode(id)::float8[]) AS u(a, b))) AS error,
		sum((SELECT sum(a * a) FROM unnest(s.x::float8[]) AS a)) AS size
		FROM trained AS t JOIN sets AS s USING (name), LATERAL semtok.encode(t.name || t.way, s.x) AS id
		WHERE t.problem IS NULL GROUP BY t.name, t.way) AS e GROUP BY name ORDER BY name;

-- One codeword is the mean.
SELECT semtok.train('mean', $$SELECT x FROM sets WHERE name = 'few'$$, levels => 1, codes => 1) IS NOT NULL AS ok;
SELECT semtok.decode('mean', '[0]'), semtok.encode('mean', '{100,-100}') = semid('{0}'::int[], id) AS only FROM semtok.tokenizers WHERE name = 'mean';

-- Ties go to the lowest code, codewords that are equal too, with every width and every path.
CREATE TABLE ties AS SELECT codebook_agg(0, k, v) AS cb FROM (VALUES (0, '{4,0}'::real[]), (1, '{0,0}'), (2, '{0,0}'), (3, '{2,2}'), (4, '{2,2}'), (5, '{4,0}')) AS c(k, v);
DO $$
DECLARE
	path text;
	told text;
BEGIN
	FOREACH path IN ARRAY (SELECT enumvals FROM pg_settings WHERE name = 'semtok.simd') LOOP
		BEGIN
			PERFORM set_config('semtok.simd', path, false);
		EXCEPTION WHEN invalid_parameter_value THEN
			CONTINUE;
		END;
		SELECT string_agg(semtok.encode(cb, v::real[], w)::text, ' ' ORDER BY w, v) INTO told
			FROM ties, unnest(array['{0,0}', '{2,0}', '{2,1}', '{2,2}', '{1,1}', '{4,0}']) AS v, unnest(array[1, 2, 6]) AS w;
		IF told <> '[1] [1] [0] [3] [3] [0] [1] [1] [0] [3] [3] [0] [1] [1] [0] [3] [3] [0]' THEN
			RAISE EXCEPTION '%: %', path, told;
		END IF;
	END LOOP;
END $$;
RESET semtok.simd;

-- Numbers whose squares leave binary32's range, against the rule in binary64.
CREATE TABLE wide AS SELECT codebook_agg(0, k, array[k * 1e37 - 1.5e38, (k % 5) * 1e-41, -1e38]::real[]) AS cb FROM generate_series(0, 30) AS k;
SELECT count(*) AS rows, count(*) FILTER (WHERE semid_code(semtok.encode(cb, x), 0) <> best) AS different
	FROM wide, generate_series(1, 200) AS i, LATERAL (SELECT array[i % 33 * 9.7e36 - 1.5e38, i * 1e-42, i * 1e36]::real[]) AS r(x),
	LATERAL (SELECT code AS best FROM codebook_entries(cb) ORDER BY (SELECT sum((a - b) * (a - b)) FROM unnest(x::float8[], vector::float8[]) AS u(a, b)), code LIMIT 1) AS b;

-- What cannot be: with the row, where it is one row's fault.
SELECT semtok.train('top', 'SELECT array[3.4e38]', levels => 2, codes => 1) IS NOT NULL AS ok;
\pset format unaligned
SELECT statement || E'\n  ' || pg_temp.refusal(statement) AS refusal FROM unnest(array[
	$$SELECT semtok.train('x', 'VALUES (array[1, 2]), (array[1, ''nan''::real])', method => 'ema')$$,
	$$SELECT semtok.train('x', 'VALUES (array[1, 2]), (null), (array[''inf''::real, 1])', options => '{"refine": 1}')$$,
	$$SELECT semtok.train('x', 'VALUES (array[1, 2]), (array[1, 2, 3])', method => 'ema')$$,
	$$SELECT semtok.train('x', 'VALUES (array[1, 2]), (array[0, -0.0])', metric => 'cosine', method => 'ema')$$,
	$$SELECT semtok.partial_fit('mean', 'VALUES (array[1, 2]), (array[1])')$$,
	$$SELECT semtok.partial_fit('mean', 'VALUES (array[1, 2]), (array[1, ''-inf''::real])')$$,
	$$SELECT semtok.train('x', 'SELECT array[CASE WHEN i = 5 THEN -3.4e38 ELSE 3.4e38 END] FROM generate_series(1, 9) AS i', levels => 2, codes => 1)$$,
	$$SELECT semtok.train('x', 'SELECT array[CASE WHEN i = 5 THEN -3.4e38 ELSE 3.4e38 END] FROM generate_series(1, 9) AS i', levels => 2, codes => 1, batch_size => 3)$$,
	$$SELECT semtok.train('x', 'SELECT array[CASE WHEN i = 5 THEN -3.4e38 ELSE 3.4e38 END] FROM generate_series(1, 9) AS i', levels => 2, codes => 1, method => 'ema')$$,
	$$SELECT semtok.train('x', 'SELECT CASE WHEN i > 2 THEN array[CASE WHEN i = 12 THEN -3.4e38 ELSE 3.4e38 END, i] END FROM generate_series(1, 12) AS i', levels => 2, codes => 1, sample => 9, seed => 4)$$,
	$$SELECT semtok.train('x', 'SELECT array[CASE WHEN i = 5 THEN -3.4e38 ELSE 3.4e38 END] FROM generate_series(1, 9) AS i', levels => 2, codes => 2, epochs => 1, init => 'random', options => '{"refine": 2}')$$,
	$$SELECT semtok.train('x', 'VALUES (array[3.4e38]), (array[-1e38])', levels => 2, codes => 1, options => '{"eval_source": "VALUES (array[0]), (null), (array[-3.4e38]), (array[1])"}')$$,
	$$SELECT semtok.partial_fit('top', 'VALUES (null), (array[3.3e38]), (array[-3e38]), (array[3.4e38])')$$
]) AS statement;
\pset format aligned

SELECT count(semtok.drop_tokenizer(name)) > 0 AS dropped FROM (SELECT DISTINCT t.name FROM semtok.tokenizers AS t JOIN trained AS n ON t.name = n.name || n.way UNION VALUES ('mean'), ('top')) AS t;
DROP TABLE sets, ways, trained, ties, wide;
