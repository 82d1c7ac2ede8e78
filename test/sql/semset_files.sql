-- semset: files of inference servers and recommendation models.
\set VERBOSITY terse

-- A file's arrays, read without the extension: name, type and shape, values.
CREATE FUNCTION le(b bytea, at int, n int) RETURNS bigint LANGUAGE sql AS $$
	SELECT CASE WHEN v >= 2 ^ (8 * n - 1)::numeric AND n = 8 THEN v - 2 ^ (8 * n)::numeric ELSE v END
	FROM (SELECT sum(get_byte(b, at + i) * 256::numeric ^ i) v FROM generate_series(0, n - 1) i) t $$;
CREATE FUNCTION npz(b bytea) RETURNS TABLE (name text, header text, vals bigint[]) LANGUAGE plpgsql AS $$
DECLARE
	at int := 0;
	npy int;
	data int;
	width int;
BEGIN
	WHILE le(b, at, 4) = 67324752 LOOP
		npy := at + 30 + le(b, at + 26, 2);
		data := npy + 10 + le(b, npy + 8, 2);
		name := convert_from(substr(b, at + 31, npy - at - 30), 'UTF8');
		header := rtrim(convert_from(substr(b, npy + 11, data - npy - 10), 'UTF8'), E' \n');
		width := substring(header FROM $r$'descr': '..(\d)'$r$);
		at := npy + le(b, at + 22, 4);
		vals := array(SELECT le(b, i, width) FROM generate_series(data, at - 1, width) i);
		RETURN NEXT;
	END LOOP;
END $$;

-- RecTokens' example
SELECT * FROM npz(semset_to_npz('{[1,2,1],[3,1,2],[3,1,3]}', 4, 2, 'rectokens'));
-- the same for STATIC, dense for one level, and with the offsets of a vocabulary
SELECT * FROM npz(semset_to_npz('{[1,2,1],[3,1,2],[3,1,3]}', 4, 1, 'static'));
SELECT * FROM npz(semset_to_npz('{[1,0],[0,1]}', 7, 1, 'static', '{2,4}'));
SELECT * FROM npz(semset_to_npz('{[1,0],[0,1]}', 7, 5, 'rectokens', '{2,4}'));
SELECT * FROM npz(semset_to_npz('{[3]}', 5, 2, 'rectokens'));
-- csr: single_token, linear_chain, branching, multi_branch, zero_tokens; rows of edges begin at the nodes,
-- breadth first, an edge's child is its number + 1
SELECT what, (SELECT vals FROM npz(file) WHERE name ^@ 'row_ptrs') AS row_ptrs, (SELECT vals FROM npz(file) WHERE name ^@ 'stacked') AS cols_vals,
	(SELECT vals FROM npz(file) WHERE name ^@ 'layer') AS layer_max_branches, semset_from_npz(file) = items AS same
FROM (VALUES ('single_token', '{[3]}'::semset), ('linear_chain', '{[1,2,3]}'), ('branching', '{[1,2],[1,3]}'), ('multi_branch', '{[1,2],[1,3],[2,1],[2,2],[2,3]}'), ('zero_tokens', '{[0,0],[0,1],[1,0]}')) v(what, items),
	LATERAL (SELECT semset_to_npz(items, 4, 1, 'rectokens') AS file) f;
-- the same set makes the same file
SELECT count(DISTINCT f) FROM (SELECT semset_to_npz('{[1,0],[0,1]}'::semset, 7, 1, 'static') f FROM generate_series(1, 3)) t;

-- there and back, with offsets and another tokenizer
SELECT layout, semset_from_npz(semset_to_npz('{[1,2,1]@7,[3,1,2]@7,[3,1,3]@7}', 40, 2, layout, '{4,12,20}'), 7, '{4,12,20}'),
	semset_from_npz(semset_to_npz('{[1,2,1]@7,[3,1,2]@7,[3,1,3]@7}', 40, 2, layout, '{4,12,20}')) AS tokens
FROM unnest('{static,rectokens}'::text[]) layout;
SELECT layout, levels, dense, count(*), bool_and(semset_from_npz(semset_to_npz(s, 16, dense, layout)) = s) AS same
FROM (SELECT setseed(0.3)) seed, LATERAL (
	SELECT levels, semset_agg(semid(array(SELECT (random() * 15)::int + 0 * (g + i + levels) FROM generate_series(1, levels)))) s
	FROM generate_series(1, 5) levels, generate_series(1, 12) g, LATERAL generate_series(1, g * 3) i GROUP BY levels, g) sets,
	unnest('{static,rectokens}'::text[]) layout, generate_series(1, 4) dense
WHERE layout = 'rectokens' OR dense < levels
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;

-- JSON: ids numbered from 0, ascending
SELECT semset_to_json('{[12,7,255],[12,7],[3]}', 'index.json'), semset_to_json('{[12,7,255],[12,7],[3]}', 'sid2pid'), semset_to_json('{}', 'sid2pid');
SELECT key, value, value ->> 2 AS third FROM json_each(semset_to_json('{[1,2,3]@4,[1,2,4]@4}', 'index.json'));

-- NULL makes NULL, but offsets may be NULL
SELECT semset_to_npz(NULL, 4, 2, 'static') IS NULL AND semset_to_npz('{[1,1]}', NULL, 1, 'static') IS NULL AND semset_to_npz('{[1,1]}', 4, NULL, 'static') IS NULL
	AND semset_to_npz('{[1,1]}', 4, 1, NULL) IS NULL AND semset_to_npz('{[1,1]}', 4, 1, 'static', dense_bytes => NULL) IS NULL AND semset_from_npz(NULL) IS NULL
	AND semset_from_npz(semset_to_npz('{[1,1]}', 4, 1, 'static', NULL), NULL) IS NULL AND semset_to_json(NULL, 'sid2pid') IS NULL AND semset_to_json('{}', NULL) IS NULL AS nulls,
	semset_from_npz(semset_to_npz('{[1,1]}', 4, 1, 'static', NULL), offsets => NULL);

-- what the layouts cannot hold
SELECT semset_to_npz('{}', 4, 1, 'static');
SELECT semset_to_npz('{}', 4, 1, 'rectokens');
SELECT semset_to_npz('{[1,1]@1,[1,1]@2}', 4, 1, 'rectokens');
SELECT semset_to_npz('{[1,1],[2]}', 4, 1, 'rectokens');
SELECT semset_to_npz('{[1,1],[1]}', 4, 1, 'static');
SELECT semset_to_npz('{[1]}', 4, 1, 'static');
SELECT semset_to_npz('{[1,1]}', 4, 2, 'static');
SELECT semset_to_npz('{[1,1]}', 4, 0, 'rectokens');
SELECT semset_to_npz('{[1,4]}', 4, 1, 'rectokens');
SELECT semset_to_npz('{[1,3]}', 6, 1, 'rectokens', '{0,3}');
SELECT semset_to_npz('{[1,3]}', 6, 1, 'rectokens', '{0}');
SELECT semset_to_npz('{[1,3]}', 6, 1, 'rectokens', '{0,2147483647}');
SELECT semset_to_npz('{[1,3]}', 6, 1, 'rectokens', '{0,-1}');
SELECT semset_to_npz('{[1,3]}', 6, 1, 'rectokens', '{0,NULL}');
SELECT semset_to_npz('{[1,3]}', 6, 1, 'rectokens', '{}');
SELECT semset_to_npz('{[1,3]}', 6, 1, 'rectokens', '{{0,1}}');
SELECT semset_to_npz('{[1,1]}', 0, 1, 'rectokens');
SELECT semset_to_npz('{[1,1]}', 4, 1, 'csr');
SELECT semset_to_npz('{[1,1]}', 4, 2, 'rectokens', dense_bytes => -1);
SELECT semset_to_npz('{[1,1]}', 4, 2, 'rectokens', dense_bytes => 4 + 16 + 8 * 16 - 1);
SELECT length(semset_to_npz('{[1,1]}', 4, 2, 'rectokens', dense_bytes => 4 + 16 + 8 * 16));
-- nothing is allocated before the size is known
SELECT semset_to_npz('{[1,1,1]}', 150000, 2, 'rectokens');
SELECT semset_to_npz('{[1,1,1]}', 150000, 2, 'static', dense_bytes => 9223372036854775807);
SELECT semset_to_npz(('{[' || repeat('1,', 31) || '1]}')::semset, 2147483647, 32, 'rectokens', dense_bytes => 9223372036854775807);
SELECT semset_to_npz('{[1,1]}', 2147483647, 1, 'static', dense_bytes => 9223372036854775807);
SELECT semset_to_json('{[1]@1,[1]@2}', 'index.json');
SELECT semset_to_json(('{[' || repeat('1,', 26) || '1]}')::semset, 'index.json');
SELECT semset_to_json('{[1]}', 'json');

-- files that are none
CREATE FUNCTION change(b bytea, at int, byte int) RETURNS bytea LANGUAGE sql AS $$ SELECT set_byte(b, (at + length(b)) % length(b), byte) $$;
SELECT semset_to_npz('{[1,0],[0,1]}', 7, 1, 'rectokens') AS f \gset
SELECT semset_from_npz('');
SELECT semset_from_npz('PK');
SELECT semset_from_npz(:'f', -1);
SELECT semset_from_npz(:'f', 0, '{0}');
SELECT semset_from_npz(:'f', 0, '{1,1}');
SELECT semset_from_npz(:'f'::bytea || '\x00');
SELECT semset_from_npz(substr(:'f'::bytea, 2));
SELECT semset_from_npz(change(:'f', 150, 9));
-- any byte changed or cut off: an error of the file's, or the same set (dense tables are not read)
CREATE FUNCTION try(b bytea) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	RETURN semset_from_npz(b)::text;
EXCEPTION WHEN OTHERS THEN
	RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT CASE WHEN said ~ '^22023 invalid npz file: ' THEN 'refused' ELSE said END AS answer, count(*) > 100 AS many FROM (SELECT said
	FROM generate_series(0, length(:'f'::bytea) - 1) i, LATERAL (VALUES (change(:'f'::bytea, i, (get_byte(:'f', i) + 1) % 256)), (substr(:'f'::bytea, 1, i))) v(b), LATERAL try(b) said) t GROUP BY 1;
DROP FUNCTION le, npz, change, try;
