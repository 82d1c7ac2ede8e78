-- semtok.simd: whichever way is chosen, every code and codebook is the same; one that this
-- processor has not got is refused. Which it has depends on the machine, so only counts are shown.
SET client_min_messages = error;
CREATE TABLE v_items (id int, x real[]);
INSERT INTO v_items SELECT i, array(SELECT ((i * j * 7919) % 1009 - 500)::real / (1 + j % 7) FROM generate_series(1, 37) j)
	FROM generate_series(1, 500) i;
LOAD 'semtok';
SHOW semtok.simd;
SELECT semtok.train('v_auto', 'SELECT x FROM v_items', levels => 3, codes => 21, epochs => 5) AS id \gset
CREATE TABLE v_ids AS SELECT id, semtok.encode(:id, x) AS greedy, semtok.encode(:id, x, 5) AS beam FROM v_items;

CREATE TABLE v_paths (path text, chosen boolean, different int, codebook_same boolean);
DO $$
DECLARE
	path text;
	detail text;
	hint text;
	tokenizer int := (SELECT id FROM semtok.tokenizers WHERE name = 'v_auto');
BEGIN
	FOREACH path IN ARRAY (SELECT enumvals FROM pg_settings WHERE name = 'semtok.simd') LOOP
		BEGIN
			PERFORM set_config('semtok.simd', path, false);
		EXCEPTION WHEN invalid_parameter_value THEN
			GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
			IF sqlerrm <> format('invalid value for parameter "semtok.simd": "%s"', path)
				OR detail NOT LIKE 'This processor or build has no ' || path || '%.' OR hint NOT LIKE '%auto%' THEN
				RAISE EXCEPTION '% % %', sqlerrm, detail, hint;
			END IF;
			INSERT INTO v_paths VALUES (path, false);
			CONTINUE;
		END;
		PERFORM semtok.train('v_' || path,
			'SELECT x FROM v_items', codes => array[21, 21, 21], epochs => 5);
		INSERT INTO v_paths VALUES (path, true,
			(SELECT count(*) FROM v_items JOIN v_ids USING (id)
				WHERE semtok.encode(tokenizer, x) <> greedy OR semtok.encode(tokenizer, x, 5) <> beam),
			(SELECT count(DISTINCT hash) = 1 FROM semtok.tokenizers t WHERE name IN ('v_auto', 'v_' || path)));
	END LOOP;
END $$;
RESET semtok.simd;
SELECT enumvals FROM pg_settings WHERE name = 'semtok.simd';
SELECT path, different, codebook_same FROM v_paths WHERE path IN ('auto', 'scalar');
SELECT path, different, codebook_same FROM v_paths WHERE chosen AND (different > 0 OR NOT codebook_same);
-- no processor is of both families
SELECT count(*) > 0 AS refused, bool_or(path = 'auto' OR path = 'scalar') AS portable_refused FROM v_paths WHERE NOT chosen;
SET semtok.simd = mmx;
SHOW semtok.simd;

-- A codebook that the session keeps is prepared anew for the path chosen: AVX2's takes other memory.
SELECT semtok.train('v_large', 'SELECT x FROM v_items', levels => 1, codes => 400, epochs => 1) AS large \gset
-- Memory that was used before is laid out otherwise than new memory.
SELECT count(semtok.encode(:large, x)) AS prepared FROM v_items;
CREATE FUNCTION v_bytes(path text, tokenizer int) RETURNS numeric LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('semtok.simd', path, false);
	PERFORM semtok.encode(tokenizer, x) FROM v_items LIMIT 1;
	RETURN (SELECT sum(used_bytes) FROM pg_backend_memory_contexts WHERE name = 'semtok codebook');
EXCEPTION WHEN invalid_parameter_value THEN
	RETURN NULL;
END $$;
SELECT coalesce(avx2 <> scalar AND again = scalar, true) AS anew
FROM v_bytes('scalar', :large) scalar, v_bytes('avx2', :large) avx2, v_bytes('scalar', :large) again;
RESET semtok.simd;
DROP FUNCTION v_bytes;

DROP TABLE v_items, v_ids, v_paths;
SELECT count(semtok.drop_tokenizer(name)) > 1 AS dropped
	FROM (SELECT DISTINCT name FROM semtok.tokenizers WHERE name LIKE 'v\_%') t;
