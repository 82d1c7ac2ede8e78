-- Malformed input: every parser, cast, constructor and aggregate of the types refuses it with the
-- right SQLSTATE and says why.
\pset format unaligned
\pset tuples_only on
\set VERBOSITY terse

-- SQLSTATE, message and detail of a statement that must fail
CREATE FUNCTION refuse(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	why text;
BEGIN
	EXECUTE statement;
	RETURN 'ACCEPTED: ' || statement;
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS why = PG_EXCEPTION_DETAIL;
	RETURN concat_ws(' | ', SQLSTATE, SQLERRM, nullif(why, ''));
END $$;
-- the same for a literal of a type, and for its binary form (hex), which comes in by COPY
CREATE FUNCTION refuse_text(type text, literal text) RETURNS text LANGUAGE sql AS $$
	SELECT refuse(format('SELECT %L::%s', literal, type))
$$;
CREATE FUNCTION copy_binary(type text, hex text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
	file bytea := '\x5047434f50590aff0d0a00' || '\x0000000000000000'::bytea || '\x0001'::bytea || int4send(length(hex) / 2) || decode(hex, 'hex') || '\xffff'::bytea;
	octal text;
BEGIN
	SELECT string_agg('\' || (get_byte(file, i) >> 6) || (get_byte(file, i) >> 3 & 7) || (get_byte(file, i) & 7), '' ORDER BY i)
	INTO octal FROM generate_series(0, length(file) - 1) i;
	EXECUTE format('CREATE TEMP TABLE received (v %s)', type);
	EXECUTE format('COPY received FROM PROGRAM %L (FORMAT binary)', 'printf ''' || octal || '''');
END $$;
CREATE FUNCTION refuse_binary(type text, hex text) RETURNS text LANGUAGE sql AS $$
	SELECT refuse(format('SELECT copy_binary(%L, %L)', type, hex))
$$;
-- the way of COPY itself works
SELECT copy_binary('semid', '00000003000c000700ff');
SELECT * FROM received;
DROP TABLE received;

-- semid
SELECT format('%-24s', t) || refuse_text('semid', t) FROM unnest(array['', ' ', '[', '[]', '[ ]', '1', '1,2', '[1', '[1,', '[1,]', '[,1]', '[1 2]', '[-1]', '[+1]', '[1.0]', '[1e2]', '[0x1]',
	'[65536]', '[4294967297]', '[99999999999999999999]', '[1]]', '[1]x', '[1]@', '[1]@-1', '[1]@x', '[1]@2147483648', '[1]@99999999999', '[1]@1@2', '[1]3', '{1}', '[a]', '[NaN]', '[1]@1.5']) WITH ORDINALITY t(t, n) ORDER BY n;
SELECT refuse(format('SELECT %L::semid', array_to_json(array_agg(i))::text)) FROM generate_series(1, 33) i;
SELECT rpad(h, 20) || refuse_binary('semid', h) FROM unnest(array['', '00', '000000', '00000000', '0000000000', '00000000000100', '800000000001', 'ffffffff0001']) WITH ORDINALITY t(h, n) ORDER BY n;
SELECT refuse_binary('semid', repeat('00', 4 + 2 * 33)), refuse_binary('semid(2,5)', '000000000001'), refuse_binary('semid(1,5)', '000000000005');
SELECT refuse(q) FROM unnest(array[$$SELECT semid('{}'::int[])$$, $$SELECT semid('{1,NULL}'::int[])$$, $$SELECT semid('{{1,2}}'::int[])$$, $$SELECT semid('{1,65536}'::int[])$$, $$SELECT semid('{-1}'::int[])$$,
	$$SELECT semid('{1}'::int[], -1)$$, $$SELECT semid(array_fill(1, array[33]))$$,
	$$SELECT '{}'::int[]::semid$$, $$SELECT '{NULL}'::int[]::semid$$, $$SELECT '{{1}}'::int[]::semid$$, $$SELECT '{65536}'::int[]::semid$$, $$SELECT array_fill(1, array[33])::semid$$,
	$$SELECT semid_code('[1,2]', -1)$$, $$SELECT semid_code('[1,2]', 2)$$, $$SELECT semid_prefix('[1,2]', 0)$$, $$SELECT semid_prefix('[1,2]', -2147483648)$$,
	$$SELECT '[1]'::semid || 65536$$, $$SELECT '[1]'::semid || -1$$, $$SELECT array_fill(1, array[32])::semid || 1$$]) WITH ORDINALITY t(q, n) ORDER BY n;
-- its other forms
SELECT format('%-28s', t) || refuse(format('SELECT semid_from_tokens(%L)', t)) FROM unnest(array['', ' ', '<', '<>', '<a>', '<a_>', '<a_1', 'a_1', '<a_1>x', '<a_1>,<b_1>', '<A_1>', '<a_01>', '<a_-1>', '<a_1.0>', '<a_65536>', '<a_99999999999999999999>', '<b_1>', '<a_1><a_1>', '<a_1><c_1>',
	'<a_1><s_b_1>', '<s_1>', '<s_a_>', '<s_a_1><b_1>', '<item_L0_C1><b_1>', '<item_L1_C1>', '<item_L0_C1><item_L2_C1>', '<item_L00_C1>', '<item_L0_C65536>', '<item_L0C1>', '<item_L_C1>', '[1,2]']) WITH ORDINALITY t(t, n) ORDER BY n;
SELECT refuse(format('SELECT semid_from_tokens(%L)', string_agg(format('<item_L%s_C1>', l), '' ORDER BY l))) FROM generate_series(0, 32) l;
SELECT refuse(q) FROM unnest(array[$$SELECT semid_flat('[1,2]', '{4}')$$, $$SELECT semid_flat('[1,2]', '{4,2}')$$, $$SELECT semid_flat('[1,2]', '{4,0}')$$, $$SELECT semid_flat('[1,2]', '{}')$$, $$SELECT semid_flat('[1,2]', '{{4,4}}')$$, $$SELECT semid_flat('[1,2]', '{4,NULL}')$$,
	$$SELECT semid_unflat(16, '{4,4}')$$, $$SELECT semid_unflat('1e1000', '{4,4}')$$, $$SELECT semid_unflat(-1, '{4,4}')$$, $$SELECT semid_unflat(0.5, '{4,4}')$$, $$SELECT semid_unflat('NaN', '{4,4}')$$, $$SELECT semid_unflat('-Infinity', '{4,4}')$$,
	$$SELECT semid_unflat(1, '{65537}')$$, $$SELECT semid_unflat(1, array_fill(1, array[33]))$$, $$SELECT semid_unflat(1, '{4,4}', -1)$$, $$SELECT semid_from_tokens('<a_1>', -1)$$]) WITH ORDINALITY t(q, n) ORDER BY n;

-- codebook: text
SELECT refuse_text('codebook', t) FROM unnest(array['', 'x', '1', '"a"', 'null', '[]', '{}', '{"dim":1',
	'{"dim":1,"sizes":[1],"metric":"l2"}', '{"dim":1,"sizes":[1],"data":"AACAPw=="}', '{"dim":1,"metric":"l2","data":"AACAPw=="}', '{"sizes":[1],"metric":"l2","data":"AACAPw=="}',
	'{"dim":1,"sizes":[1],"metric":"l2","data":"AACAPw==","extra":1}', '{"dim":1,"dim":1,"sizes":[1],"metric":"l2","data":"AACAPw=="}',
	'{"dim":"1","sizes":[1],"metric":"l2","data":"AACAPw=="}', '{"dim":1.5,"sizes":[1],"metric":"l2","data":"AACAPw=="}', '{"dim":99999999999,"sizes":[1],"metric":"l2","data":"AACAPw=="}',
	'{"dim":[1],"sizes":[1],"metric":"l2","data":"AACAPw=="}', '{"dim":0,"sizes":[1],"metric":"l2","data":""}', '{"dim":16001,"sizes":[1],"metric":"l2","data":""}', '{"dim":null,"sizes":[1],"metric":"l2","data":""}',
	'{"dim":1,"sizes":1,"metric":"l2","data":"AACAPw=="}', '{"dim":1,"sizes":[],"metric":"l2","data":""}', '{"dim":1,"sizes":[0],"metric":"l2","data":""}', '{"dim":1,"sizes":[65537],"metric":"l2","data":""}',
	'{"dim":1,"sizes":[[1]],"metric":"l2","data":"AACAPw=="}', '{"dim":1,"sizes":[{}],"metric":"l2","data":"AACAPw=="}', '{"dim":1,"sizes":["1"],"metric":"l2","data":"AACAPw=="}', '{"dim":1,"sizes":[true],"metric":"l2","data":"AACAPw=="}',
	'{"dim":1,"sizes":[1],"metric":"L2","data":"AACAPw=="}', '{"dim":1,"sizes":[1],"metric":2,"data":"AACAPw=="}', '{"dim":1,"sizes":[1],"metric":{},"data":"AACAPw=="}',
	'{"dim":1,"sizes":[1],"metric":"l2","data":"AACAPw="}', '{"dim":1,"sizes":[1],"metric":"l2","data":"*"}', '{"dim":1,"sizes":[1],"metric":"l2","data":""}', '{"dim":1,"sizes":[1],"metric":"l2","data":"AACAPwAA"}',
	'{"dim":16000,"sizes":[65536,65536,65536,65536],"metric":"l2","data":"AACAPw=="}', '{"dim":1,"sizes":[1],"metric":"l2","data":"AADAfw=="}', '{"dim":1,"sizes":[1],"metric":"l2","data":"AACAfw=="}',
	'{"dim":1,"sizes":[1],"metric":"l2","data":"AACAPw=="} x']) WITH ORDINALITY t(t, n) ORDER BY n;
SELECT refuse_text('codebook', format('{"dim":1,"sizes":%s,"metric":"l2","data":""}', array_to_json(array_fill(1, array[33]))));
-- nesting is refused at the first level that does not belong, however deep it is
SELECT refuse_text('codebook', '{"dim":' || repeat('[', 100000));
-- codebook: binary, aggregate, parts
SELECT refuse_binary('codebook', h) FROM unnest(array['', '01', '0100010001000000', '03000100010000000100000000000000', '01030100010000000100000000000000', '01000000010000000100000000000000',
	'01002100010000000100000000000000', '01000100000000000100000000000000', '0100010001000000000000000000000000', '010001000100000001000100', '01000100010000000100000000', '0100010001000000010000000000803f00',
	'0100010001000000010000000000c07f', '010001000100000001000000000080ff', '0100010001000000ffffffff0000803f', '01000100ffffffff010000000000803f']) WITH ORDINALITY t(h, n) ORDER BY n;
SELECT refuse('SELECT ' || q) FROM unnest(array[$$codebook_agg(NULL, 0, '{1}')$$, $$codebook_agg(0, NULL, '{1}')$$, $$codebook_agg(0, 0, NULL)$$, $$codebook_agg(0, 0, '{1}', NULL)$$, $$codebook_agg(0, 0, '{1}', 'L1')$$,
	$$codebook_agg(-1, 0, '{1}')$$, $$codebook_agg(32, 0, '{1}')$$, $$codebook_agg(0, -1, '{1}')$$, $$codebook_agg(0, 65536, '{1}')$$, $$codebook_agg(0, 0, '{}')$$, $$codebook_agg(0, 0, '{{1}}')$$, $$codebook_agg(0, 0, '{1,NULL}')$$,
	$$codebook_agg(0, 0, '{NaN}')$$, $$codebook_agg(0, 0, '{1,-Infinity}')$$, $$codebook_agg(0, 0, array_fill(0::real, array[16001]))$$, $$codebook_agg(1, 0, '{1}')$$, $$codebook_agg(0, 1, '{1}')$$,
	$$codebook_agg(l, 0, '{1}') FROM (VALUES (0), (2)) t(l)$$, $$codebook_agg(0, c, '{1}') FROM (VALUES (0), (1), (3)) t(c)$$, $$codebook_agg(0, 0, '{1}') FROM generate_series(1, 2)$$,
	$$codebook_agg(0, c, array_fill(1::real, array[c + 1])) FROM generate_series(0, 1) c$$, $$codebook_agg(0, c, '{1}', CASE c WHEN 0 THEN 'l2' ELSE 'ip' END) FROM generate_series(0, 1) c$$]) WITH ORDINALITY t(q, n) ORDER BY n;
SELECT refuse(format('SELECT codebook_vector(%L, %s)', '{"dim":1,"sizes":[2,1],"metric":"l2","data":"AACAPwAAAEAAAEBA"}', a)) FROM unnest(array['-1, 0', '2, 0', '0, -1', '0, 2', '1, 1']) WITH ORDINALITY t(a, n) ORDER BY n;

-- codebook: safetensors
CREATE FUNCTION safetensors(header text, data text) RETURNS bytea LANGUAGE sql AS $$
	SELECT decode(string_agg(lpad(to_hex(octet_length(header)::bigint >> 8 * i & 255), 2, '0'), '' ORDER BY i), 'hex') || convert_to(header, 'UTF8') || decode(data, 'hex')
	FROM generate_series(0, 7) i
$$;
SELECT refuse(format('SELECT codebook_from_safetensors(%L)', decode(h, 'hex'))) FROM unnest(array['', '00', '01000000000000', '0000000000000000', '01000000000000007b', 'ffffffffffffffff7b7d', '01e1f505000000007b7d', '0300000000000000', '02000000000000007b7d', '02000000000000007b7d00'])
	WITH ORDINALITY t(h, n) ORDER BY n;
SELECT refuse(format('SELECT codebook_from_safetensors(safetensors(%L, %L))', h, d)) FROM (VALUES
	(1, '[]', ''), (2, ' {}', ''), (3, '{"codebooks.0":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}', '00000000'), (4, '{"codebooks.0":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]},}', '00000000'),
	(5, '{"codebooks.0":{"dtype":"F99","shape":[1,1],"data_offsets":[0,4]}}', '00000000'), (6, '{"codebooks.0":{"dtype":"F32","shape":[1,2],"data_offsets":[0,4]}}', '00000000'),
	(7, '{"codebooks.0":{"dtype":"F32","shape":[1,1],"data_offsets":[0,8]}}', '0000000000000000'), (8, '{"codebooks.0":{"dtype":"F32","shape":[1,1],"data_offsets":[4,0]}}', '00000000'),
	(9, '{"codebooks.0":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}', '0000000000'), (10, '{"codebooks.0":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}', '000000'),
	(11, '{"codebooks.0":{"dtype":"F32","shape":[1,1],"data_offsets":[4,8]}}', '0000000000000000'), (12, '{"codebooks.0":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]},"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', '00000000'),
	(13, '{"codebooks.0":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]},"codebooks.0":{"dtype":"F32","shape":[1,1],"data_offsets":[4,8]}}', '0000000000000000'),
	(14, '{"codebooks.0":{"dtype":"F32","dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}', '00000000'), (15, '{"codebooks.0":{"dtype":"F32","shape":[1,1]}}', ''), (16, '{"codebooks.0":{}}', ''),
	(17, '{"codebooks.0":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4],"x":1}}', '00000000'), (18, '{"codebooks.0":[]}', ''), (19, '{"codebooks.0":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', '00000000'),
	(20, '{"codebooks.0":{"dtype":"F32","shape":[01],"data_offsets":[0,4]}}', '00000000'), (21, '{"codebooks.0":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}', '00000000'), (22, '{"codebooks.0":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}}', '00000000'),
	(23, '{"codebooks.0":{"dtype":"F32","shape":[18446744073709551615,2],"data_offsets":[0,4]}}', '00000000'), (24, '{"codebooks.0":{"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,4]}}', '00000000'), (25, '{"codebooks.0":{"dtype":"F32","shape":[4611686018427387905],"data_offsets":[0,4]}}', '00000000'),
	(26, '{"codebooks.0":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]}}', '00000000'), (27, '{"__metadata__":{"a":1}}', ''), (28, '{"__metadata__":{"a":"b","a":"c"}}', ''), (29, '{"__metadata__":{},"__metadata__":{}}', ''),
	(30, '{"\ud800":{}}', ''), (31, '{"\u0000":{}}', ''), (32, '{"\x":{}}', ''), (33, E'{"a\nb":{}}', ''), (34, '{"a', ''), (35, '{} x', ''),
	(36, '{"codebooks.0":{"dtype":"I32","shape":[1,1],"data_offsets":[0,4]}}', '00000000'), (37, '{"codebooks.0":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', '00000000'), (38, '{"codebooks":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}', '00000000'),
	(39, '{"codebooks.0":{"dtype":"F32","shape":[0,1],"data_offsets":[0,0]}}', ''), (40, '{"codebooks.0":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}', '0000c07f'), (41, '{"codebooks.0":{"dtype":"F64","shape":[1,1],"data_offsets":[0,8]}}', 'ffffffffffffef7f'),
	(42, '{"codebooks.1":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}', '00000000'), (43, '{"codebooks.0":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]},"codebooks":{"dtype":"F32","shape":[1,1,1],"data_offsets":[4,8]}}', '0000000000000000'),
	(44, '{"codebooks.0":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]},"codebooks.1":{"dtype":"F32","shape":[1,2],"data_offsets":[4,12]}}', '000000000000000000000000'), (45, '{"x":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}', '00000000'),
	(46, '{"codebooks":{"dtype":"F32","shape":[33,1,1],"data_offsets":[0,132]}}', repeat('00', 132)), (47, '{"__metadata__":{"metric":"x"},"codebooks.0":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}', '00000000')
) t(n, h, d) ORDER BY n;
SELECT refuse($$SELECT codebook_from_safetensors(safetensors('{"codebooks.0":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}', '00000000'), 'manhattan')$$);

-- semset
SELECT format('%-16s', t) || refuse_text('semset', t) FROM unnest(array['', '[1]', '{', '{[1]', '{[1],', '{[1],}', '{,[1]}', '{[1][2]}', '{[1];[2]}', '{1}', '{[]}', '{[1],[65536]}', '{[1]@2147483648}', '{[1]}x', '{[1]}}', '{{[1]}}', '{[1', '{[1,}'])
	WITH ORDINALITY t(t, n) ORDER BY n;
SELECT refuse_binary('semset', h) FROM unnest(array['', '01', '00000000000000000000000000000000', '02000000000000000000000000000000', '01000100000000000000000000000000', '01210000000000000000000000000000', '0100000000000000000000000000000000000000',
	'01000000000000000100000000000000', '010100000100000001000000010000000000000000000000010000000700000001', '010100000100000002000000010000000000000000000000010000000700000001000000', '010100000100000001000000010000000000000000000000010000000700000000000000',
	'010100000100000001000000010000000000000000000000010000000700010001000000', '010100000100000001000000010000000000000000000000010000000700000003000000', '010100000100000001000000010000000000008000000000010000000700000001000000',
	'010100000100000001000000010000000000000001000000010000000700000001000000', '010100000100000002000000020000000000000000000000020000000700070003000000', '01010000010000000100000001000000000000000000000002000000070000000100000000', '0101000001000000ffffffffffffffff0000000000000000ffffffff0700000001000000'])
	WITH ORDINALITY t(h, n) ORDER BY n;

-- semquery: text and binary
SELECT refuse_text('semquery', t) FROM unnest(array['', '{}', '[]', '{"kind":"levels","norm":"none","tokenizer":0,"sizes":[1]}', '{"kind":"levels","norm":"none","tokenizer":0,"sizes":[1],"data":""}', '{"kind":"levels","norm":"none","tokenizer":0,"sizes":[1],"data":"?"}'])
	WITH ORDINALITY t(t, n) ORDER BY n;
SELECT semtok.logits('{1}', '{1}', 0, 'none') AS q \gset
SELECT :'q';
SELECT refuse_text('semquery', replace(:'q', a, b)) FROM (VALUES ('"kind":"levels"', '"kind":"within"'), ('"norm":"none"', '"norm":"full"'), ('"tokenizer":0', '"tokenizer":1'), ('"tokenizer":0', '"tokenizer":-1'), ('"sizes":[1]', '"sizes":[1,1]'), ('"sizes":[1]', '"sizes":[2]'),
	('"sizes":[1]', '"sizes":[]'), ('"data":', '"data":"","data":')) t(a, b);
-- every cut of a valid one, every version and kind but its own, values that cannot be
CREATE FUNCTION hex(semquery) RETURNS text LANGUAGE sql AS $$ SELECT encode(semquery_send($1), 'hex') $$;
SELECT count(*), count(*) FILTER (WHERE refuse_binary('semquery', left(h, 2 * n)) ~ '^22P03') AS refused
FROM (SELECT hex(semtok.logits('{1,2,3}', '{1,2}', 0, 'masked', '{[0,1]@5,[0,0]}')) h) q, LATERAL generate_series(0, length(h) / 2 - 1, 3) n;
SELECT refuse_binary('semquery', t.h) FROM (SELECT hex(semtok.logits('{1}', '{1}', 0, 'none')) h) q, LATERAL (VALUES
	(1, '02' || substr(q.h, 3)), (2, '0104' || substr(q.h, 5)), (3, overlay(q.h placing '03' from 5)), (4, overlay(q.h placing '00' from 7)), (5, overlay(q.h placing '21' from 7)), (6, overlay(q.h placing '00000080' from 9)), (7, overlay(q.h placing '08000000' from 17)),
	(8, overlay(q.h placing '00000000' from 25)), (9, overlay(q.h placing 'ffffffff' from 25)), (10, q.h || '00'), (11, overlay(q.h placing '000000000000f87f' from 41)), (13, overlay(q.h placing '01' from 33)), (12, overlay(q.h placing '0000c07f' from 57))) t(n, h) ORDER BY n;

-- making queries
SELECT refuse('SELECT semtok.' || q) FROM unnest(array[$$logits('{}')$$, $$logits('{1,2}')$$, $$logits('{}', '{}')$$, $$logits('{1,2}', '{}')$$, $$logits('{1,2}', '{0,2}')$$, $$logits('{1,2}', '{65537}')$$, $$logits('{1,2}', '{1,NULL}')$$, $$logits('{1,2}', '{{1,1}}')$$,
	$$logits('{1,2}', '{1,2}')$$, $$logits('{{1,2},{3,4}}', '{1,3}')$$, $$logits('{{1,2},{3,4}}', '{2,1}')$$, $$logits('{{{1}}}')$$, $$logits('{1,NULL}', '{2}')$$, $$logits('{1,NaN}', '{2}')$$, $$logits('{1,2,Infinity}', '{1,2}')$$, $$logits('{1,-Infinity}', '{1,1}')$$,
	$$logits('{1}', '{1}', -1)$$, $$logits('{1}', '{1}', NULL)$$, $$logits('{1}', '{1}', norm => 'softmax')$$, $$logits('{1}', '{1}', norm => NULL)$$, $$logits(array_fill(0::real, array[33,1]))$$, $$logits(array_fill(0::real, array[1,65537]))$$, $$logits(array_fill(0::real, array[33]), array_fill(1, array[33]))$$,
	$$neighbors('{"dim":2,"sizes":[1],"metric":"l2","data":"AACAPwAAgD8="}', '{1}')$$, $$neighbors('{"dim":2,"sizes":[1],"metric":"l2","data":"AACAPwAAgD8="}', '{1,2,3}')$$, $$neighbors('{"dim":2,"sizes":[1],"metric":"l2","data":"AACAPwAAgD8="}', '{1,NaN}')$$,
	$$neighbors('{"dim":2,"sizes":[1],"metric":"l2","data":"AACAPwAAgD8="}', '{Infinity,1}')$$, $$neighbors('{"dim":2,"sizes":[1],"metric":"l2","data":"AACAPwAAgD8="}', '{1,NULL}')$$, $$neighbors('{"dim":2,"sizes":[1],"metric":"l2","data":"AACAPwAAgD8="}', '{{1,2}}')$$,
	$$neighbors('{"dim":2,"sizes":[1],"metric":"cosine","data":"AACAPwAAgD8="}', '{0,0}')$$]) WITH ORDINALITY t(q, n) ORDER BY n;
SELECT refuse($$SELECT '[1]'::semid <~> semtok.logits('{1}', '{1}', norm => 'masked')$$);
-- products of levels that no value could hold are refused before they are computed
SELECT refuse($$SELECT semtok.neighbors(codebook_agg(l, c, '{1}'), '{1}') FROM generate_series(0, 1) l, generate_series(0, 29999) c$$);

DROP FUNCTION safetensors, hex(semquery), refuse_binary, copy_binary, refuse_text, refuse;
