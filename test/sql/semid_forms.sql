-- semid as one number and as tokens of a vocabulary; neither form has a place for the tokenizer.
\set VERBOSITY terse

-- a number: level 0 is the most significant digit
SELECT semid_flat('[1,2,3]', '{256,256,256}'), 1 * 65536 + 2 * 256 + 3 AS same, semid_flat('[1,2,3]@7', '{2,3,4}'), (1 * 3 + 2) * 4 + 3 AS same, pg_typeof(semid_flat('[0]', '{1}'));
SELECT semid_unflat(66051, '{256,256,256}'), semid_unflat(66051, '{256,256,256}', 7), semid_unflat(flat => 66051.000, sizes => '{256,256,256}', tokenizer => 7), semid_unflat(0, '{1,1}');
-- one radix for all levels, as RecTokens' to_flat_ids(base) has it
SELECT semid_flat(s, array_fill(256, array[semid_levels(s)])), semid_unflat(semid_flat(s, array_fill(256, array[semid_levels(s)])), array_fill(256, array[semid_levels(s)])) = s AS back
FROM (VALUES ('[1,2,3]'::semid), ('[255]'), ('[0,0,0,255]')) t(s);
-- 32 levels of 65536 codes
SELECT semid_flat(array_fill(65535, array[32])::semid, array_fill(65536, array[32])) = 2::numeric ^ 512 - 1 AS largest,
	semid_unflat(2::numeric ^ 512 - 1, array_fill(65536, array[32])) = array_fill(65535, array[32])::semid AS back;
-- the order of numbers is that of ids, and every number below the product has its id
SELECT count(*), count(DISTINCT semid_unflat(n, '{3,4,5}')) AS distinct, bool_and(semid_flat(semid_unflat(n, '{3,4,5}', 2), '{3,4,5}') = n) AS back,
	array_agg(n ORDER BY semid_unflat(n, '{3,4,5}')) = array_agg(n ORDER BY n) AS ordered FROM generate_series(0, 59) n;
SELECT bool_and(semid_unflat(semid_flat(s, z), z, 5) = s) AS back FROM (SELECT semid(array_agg((l * 7919 + i * 104729) % (z[l]) ORDER BY l), 5) AS s, min(z) AS z
	FROM generate_series(1, 200) i, LATERAL (SELECT (SELECT array_agg(1 + (i * 131 + k * 7907) % 65536 ORDER BY k) FROM generate_series(1, 1 + i % 32) k)) zz(z), generate_series(1, array_length(z, 1)) l GROUP BY i) t;
SELECT semid_flat(NULL, '{1}'), semid_flat('[1]', NULL), semid_unflat(NULL, '{1}'), semid_unflat(0, NULL), semid_unflat(0, '{1}', NULL);

-- a code beyond its size, and sizes of another number of levels
SELECT semid_flat('[1,2,3]', '{4,2,4}');
SELECT semid_flat('[1,2,3]', '{4,4}');
SELECT semid_flat('[1,2,3]', '{4,4,4,4}');
-- no number of these sizes
SELECT semid_unflat(60, '{3,4,5}');
SELECT semid_unflat(2::numeric ^ 512, array_fill(65536, array[32]));
SELECT semid_unflat('1e130000', array_fill(65536, array[32]));
SELECT semid_unflat(-1, '{3,4,5}');
SELECT semid_unflat(-0.5, '{3,4,5}');
SELECT semid_unflat(1.5, '{3,4,5}');
SELECT semid_unflat(1e-1000, '{3,4,5}');
SELECT semid_unflat('NaN', '{3,4,5}');
SELECT semid_unflat('Infinity', '{3,4,5}');
SELECT semid_unflat('-Infinity', '{3,4,5}');
SELECT semid_unflat(1, '{3,4,5}', -1);
-- sizes that are none
SELECT semid_unflat(0, '{}');
SELECT semid_unflat(0, '{0}');
SELECT semid_unflat(0, '{-1}');
SELECT semid_unflat(0, '{65537}');
SELECT semid_unflat(0, '{1,NULL}');
SELECT semid_unflat(0, '{{1,2}}');
SELECT semid_unflat(0, array_fill(1, array[33]));
SELECT semid_flat('[0]', '{}');
SELECT semid_flat('[0]', '{0}');
SELECT semid_flat('[0]', '{65537}');
SELECT semid_flat('[0]', '{NULL}');
SELECT semid_flat('[0]', '{{1}}');
-- lower bounds other than 1 are no matter
SELECT semid_flat('[1,2]', '[0:1]={4,5}'::int[]), semid_unflat(7, '[-3:-2]={4,5}'::int[]);

-- tokens
SELECT semid_tokens('[12,7,255]'), semid_tokens('[12,7]@3');
SELECT semid_from_tokens(t), semid_from_tokens(t, 3) FROM (VALUES ('<item_L0_C12><item_L1_C7>'), ('<a_12><b_7>'), ('<s_a_12><s_b_7>'), (E' <a_12>\n\t<b_7> ')) v(t);
SELECT bool_and(semid_from_tokens(semid_tokens(s), semid_tokenizer(s)) = s) AS back
FROM (SELECT semid(array_agg((i * 7919 + k * 104729) % 65536 ORDER BY k), i) AS s FROM generate_series(1, 64) i, generate_series(1, 1 + (i - 1) % 32) k GROUP BY i) t;
SELECT semid_from_tokens(NULL), semid_from_tokens('<a_1>', NULL), semid_tokens(NULL);
-- of letters there are 26
SELECT semid_from_tokens(string_agg('<' || chr(97 + i) || '_' || i || '>', '' ORDER BY i)) FROM generate_series(0, 25) i;
SELECT semid_from_tokens(string_agg('<s_' || chr(97 + i) || '_' || i || '>', ' ' ORDER BY i)) FROM generate_series(0, 18) i;
\set VERBOSITY default
SELECT semid_from_tokens('<a_1><c_2>');
SELECT semid_from_tokens('<item_L0_C1><b_2>');
SELECT semid_from_tokens('<a_1>, <b_2>');
SELECT semid_from_tokens('<a_01>');
SELECT semid_from_tokens('<a_65536>');
SELECT semid_from_tokens('');
SELECT semid_from_tokens('[1,2]');
SELECT semid_from_tokens('<a_1', 1);
SELECT semid_from_tokens('<a_1>', -1);
SELECT semid_flat('[1,2,3]', '{4,2,4}');
