-- The contract of the SQL surface, entry by entry, in its order, called with the names, types and
-- defaults that it promises, and the answer checked (test/lib/checks.sql says how). At the end every
-- object of the extension must have a check that notices when it is gone (test/lib/every_object.sql).
--
-- Called elsewhere: device => 'cuda' (test/t/730_cuda_engine.pl), for it is an error where there is no
-- engine. Not there at all: an index scan for <@, method rq-vae.
--
-- Where the surface says more than was promised first: train starts from kmeans||; beam is null by
-- default, which is the tokenizer's own width, and 1 for a codebook.
SELECT * FROM no_plan();
\ir ../lib/checks.sql
SET client_min_messages = error;

CREATE TABLE books AS
SELECT codebook_agg(l, c, v) AS book
  FROM (VALUES (0, 0, '{0,0}'::real[]), (0, 1, '{10,0}'), (1, 0, '{0,0}'), (1, 1, '{0,1}')) t(l, c, v);
CREATE TABLE points (id int PRIMARY KEY, embedding real[], sid semid, note text);
INSERT INTO points SELECT i, array[i % 2 * 10, i / 2 % 2]::real[], NULL, 'n' || i FROM generate_series(0, 7) i;
SELECT semtok.train('points', 'SELECT embedding FROM points', levels => 2, codes => 2) AS points_id \gset
UPDATE points SET sid = semid(array[id % 2, id / 2 % 2]) WHERE id < 6;
CREATE INDEX points_sid ON points USING semtrie (sid);
CREATE TABLE many AS
SELECT i AS id, semid(array[i % 20, i / 20 % 20, i % 7], 101 + i % 2) AS sid FROM generate_series(1, 4000) i;
ANALYZE many;
-- The lines of a plan.
CREATE FUNCTION plan_of(statement text, options text DEFAULT 'COSTS OFF') RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
	RETURN QUERY EXECUTE format('EXPLAIN (%s) %s', options, statement);
END $$;
-- A value of a type out by its binary form and in again.
CREATE FUNCTION through_copy(value anyelement) RETURNS anyelement LANGUAGE plpgsql AS $$
DECLARE
	file text := current_setting('data_directory') || '/semtok_contract';
	back value%TYPE;
BEGIN
	EXECUTE format('CREATE TEMP TABLE came_back (v %s)', pg_typeof(value));
	EXECUTE format('COPY (SELECT %L::%s) TO %L (FORMAT binary)', value, pg_typeof(value), file);
	EXECUTE format('COPY came_back FROM %L (FORMAT binary)', file);
	SELECT v INTO back FROM came_back;
	DROP TABLE came_back;
	RETURN back;
END $$;

--
-- schemas
--
SELECT checks($$SELECT 'semid'::regtype, 'semset'::regtype, 'semquery'::regtype, 'codebook'::regtype$$,
	'semid semset semquery codebook', 'types are in the schema of CREATE EXTENSION');
SELECT checks($$SELECT has_schema_privilege('public', 'semtok', 'USAGE'), has_schema_privilege('public', 'semtok', 'CREATE'),
	has_table_privilege('public', 'semtok.tokenizer', 'SELECT'), has_table_privilege('public', 'semtok.tokenizer', 'INSERT, UPDATE, DELETE, TRUNCATE')$$,
	'true false true false', 'everybody reads schema semtok and the catalog, nobody writes it');
SELECT checks($$SELECT count(*) FROM pg_depend d WHERE refobjid = (SELECT oid FROM pg_extension WHERE extname = 'semtok')
	AND deptype = 'e' AND obj_description(objid, classid::regclass::name) IS NULL
	-- members in their own right from PostgreSQL 17 on
	AND NOT (classid = 'pg_type'::regclass AND EXISTS (SELECT FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
		WHERE t.oid = objid AND (t.typcategory = 'A' OR c.relkind <> 'c')))$$, '0', 'every object has a comment');
SELECT checks($$SELECT DISTINCT owner FROM semtok.tokenizers WHERE name = 'points'$$, 'pg_database_owner', 'semtok.set_owner', $$SELECT semtok.set_owner('points', 'pg_database_owner')$$);
SELECT checks($$SELECT semtok.library_version() = extversion FROM pg_extension WHERE extname = 'semtok'$$, 'true', 'semtok.library_version is the extension''s');

--
-- semid
--
SELECT checks($$SELECT '[12,7,255]'::semid, '[12,7,255]@3'::semid, ' [ 12 , 7,255 ] @ 3 '::semid, '[1]@0'::semid$$,
	'[12,7,255] [12,7,255]@3 [12,7,255]@3 [1]', 'semid: text');
SELECT checks($$SELECT '[65536]'::semid$$,
	'ERROR 22003: invalid input syntax for type semid: "[65536]"', 'semid: codes up to 65535');
SELECT checks($$SELECT semid_levels(array_fill(65535, array[32])::semid)$$, '32', 'semid: 32 levels');
SELECT checks($$SELECT array_fill(1, array[33])::semid$$, 'ERROR 54000: expected 1 to 32 levels, not 33', 'semid: no more');
SELECT checks($$SELECT '[1,3]'::semid(2,4), format_type('semid'::regtype, t.atttypmod)
	FROM pg_attribute t WHERE attrelid = 'shaped'::regclass AND attname = 'sid'$$, '[1,3] semid(2,4)', 'semid(levels, codes)',
	'CREATE TABLE shaped (sid semid(2, 4))');
SELECT checks($$SELECT '[1,2,3]'::semid::semid(2,4)$$, 'ERROR 22023: expected 2 levels, not 3', 'semid(levels, codes): the cast is enforced');
SELECT checks($$INSERT INTO shaped VALUES ('[1,4]') RETURNING sid$$, 'ERROR 22023: expected codes below 4, not 4', 'semid(levels, codes): so is the column',
	'CREATE TABLE shaped (sid semid(2, 4))');
SELECT checks($$SELECT through_copy('[12,7,255]@3'::semid), semid_send('[12,7,255]@3')$$,
	'[12,7,255]@3 \x00000003000c000700ff', 'semid: binary, semid_recv and semid_send');
SELECT checks($$SELECT '{12,7}'::int[]::semid, '[12,7]@3'::semid::int[]$$, '[12,7] [12,7]', 'semid: casts from and to int[]');
SELECT checks($$SELECT string_agg(castcontext::text, '') FROM pg_cast WHERE 'semid'::regtype IN (castsource, casttarget) AND castsource <> casttarget$$,
	'ee', 'semid: which are explicit only');
SELECT checks($$SELECT amproc FROM pg_amproc p JOIN pg_opfamily f ON f.oid = amprocfamily WHERE opfname = 'semid_ops' AND amprocnum = 4 AND opfmethod = 403$$,
	'btequalimage', 'semid: one canonical representation');
SELECT checks($$SELECT pg_column_size(sid), typstorage FROM many, pg_type WHERE typname = 'semid' LIMIT 1$$, '11 m', 'semid: short header, storage main');
SELECT checks($$SELECT round(n_distinct::numeric, 2) <> 0, histogram_bounds IS NOT NULL FROM pg_stats WHERE tablename = 'many' AND attname = 'sid'$$,
	'true true', 'semid: statistics', 'ANALYZE many');

SELECT checks($$SELECT semid(codes => '{12,7,255}'), semid(codes => '{1,2}', tokenizer => 3), semid(array[1]), semid(array[1], 2)$$,
	'[12,7,255] [1,2]@3 [1] [1]@2', 'semid(codes int[], tokenizer int default 0)');
SELECT checks($$SELECT semid('{1,2}')$$, 'ERROR 22P02: invalid input syntax for type semid: "{1,2}"', 'semid(unknown) is a cast from text');
SELECT checks($$SELECT semid_codes('[12,7]@3'), pg_typeof(semid_codes('[12,7]@3'))$$, '[12,7] integer[]', 'semid_codes');
SELECT checks($$SELECT semid_code('[12,7]@3', level => 0), semid_code(semid => '[12,7]@3', level => 1)$$, '12 7', 'semid_code: levels count from 0');
SELECT checks($$SELECT semid_levels('[12,7]@3'), semid_tokenizer('[12,7]@3'), semid_tokenizer('[12,7]')$$, '2 3 0', 'semid_levels, semid_tokenizer');
SELECT checks($$SELECT semid_prefix('[12,7,255]@3', n => 2), semid_prefix('[12,7]', 5)$$, '[12,7]@3 [12,7]', 'semid_prefix');
SELECT checks($$SELECT '[12,7]@3'::semid || 1, semid_append('[12,7]', 1), '[1]'::semid || 2::semcode$$, '[12,7,1]@3 [12,7,1] [1,2]', 'semid || int');
SELECT checks($$SELECT semid_unflat(45, sizes => '{4,5,6}'), semid_unflat(flat => 119, sizes => '{4,5,6}', tokenizer => 7), semid_unflat(120, '{4,5,6}')$$,
	'ERROR 22003: expected a number below the product of the sizes', 'semid_unflat refuses what no id has');
SELECT checks($$SELECT semid_unflat(semid_flat(s, z), z) = s FROM (SELECT array_fill(65535, array[32])::semid AS s, array_fill(65536, array[32]) AS z) t$$, 'true', 'there and back, as far as it goes');
SELECT checks($$SELECT '[1]'::semid = '[1]', '[1]'::semid <> '[1]@1', '[1,2]'::semid < '[2]', '[1]'::semid <= '[1,0]', '[9]@1'::semid > '[9,9]', '[1,0]'::semid >= '[1]'$$,
	'true true true true true true', 'semid: = <> < <= > >=');
SELECT checks($$SELECT array_agg(s ORDER BY s) FROM unnest('{"[0]@2","[2]@1","[1,2]@1","[1]@1","[9]"}'::semid[]) s$$,
	'["[9]","[1]@1","[1,2]@1","[2]@1","[0]@2"]', 'semid: by tokenizer, then codes, a prefix first');
SELECT checks($$SELECT count(*) FROM (SELECT sid FROM many GROUP BY sid) s$$, (SELECT count(DISTINCT sid::text)::text FROM many),
	'semid: hash opclass', 'SET LOCAL enable_sort = off');
SELECT checks($$SELECT (SELECT count(*) FROM by_hash_0) + (SELECT count(*) FROM by_hash_1), (SELECT count(*) FROM by_hash_0) BETWEEN 1000 AND 3000$$, '4000 true',
	'semid: extended hash for partition keys', $$CREATE TABLE by_hash (id int, sid semid) PARTITION BY HASH (sid);
	CREATE TABLE by_hash_0 PARTITION OF by_hash FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE by_hash_1 PARTITION OF by_hash FOR VALUES WITH (MODULUS 2, REMAINDER 1);
	INSERT INTO by_hash SELECT * FROM many$$);
SELECT checks($$SELECT '[1,2,3]@4'::semid ^@ '[1,2]@4', '[1,2,3]@4'::semid ^@ '[1,2]', '[1,2,3]@4'::semid ^@ '[1,2]@5', '[1]'::semid ^@ '[1,2]'$$,
	'true true false false', 'semid ^@ semid');
SELECT checks($$SELECT * FROM plan_of($q$SELECT * FROM many WHERE sid ^@ '[3]@102'$q$)$$,
	E'Index Scan using many_sid_idx on many\n  Index Cond: ((sid >= \'[3]@102\'::semid) AND (sid < \'[4]@102\'::semid))', 'semid ^@ semid: by a btree',
	'CREATE INDEX ON many (sid); SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off');
SELECT checks($$SELECT substring(line from 'rows=(\d+)')::int BETWEEN 150 AND 250 FROM plan_of($q$SELECT * FROM many WHERE sid ^@ '[3]@102'$q$, 'COSTS ON') line WHERE line ~ 'Seq Scan'$$,
	'true', 'semid ^@ semid: estimated from statistics', 'ANALYZE many');
SELECT checks($$SELECT semid_flat('[1,2,3]@4', '{256,256,256}'), semid_flat(semid => '[1,2,3]', sizes => '{2,3,4}'), pg_typeof(semid_flat('[1]', '{2}'))$$, '66051 23 numeric', 'semid_flat(semid, sizes int[]) → numeric');
SELECT checks($$SELECT semid_unflat(66051, '{256,256,256}'), semid_unflat(flat => 23, sizes => '{2,3,4}', tokenizer => 4)$$, '[1,2,3] [1,2,3]@4', 'semid_unflat(numeric, sizes int[])');
SELECT checks($$SELECT semid_tokens('[12,7]@3')$$, '<item_L0_C12><item_L1_C7>', 'semid_tokens');
SELECT checks($$SELECT semid_from_tokens('<item_L0_C12><item_L1_C7>'), semid_from_tokens('<a_12><b_7>'), semid_from_tokens(tokens => '<s_a_12><s_b_7>', tokenizer => 3)$$, '[12,7] [12,7] [12,7]@3', 'semid_from_tokens');
SELECT checks($$SELECT count(*) FROM many WHERE sid ^@ '[1,2]@102'$$, '10',
	'which answers alike', 'CREATE INDEX ON many (sid); SET LOCAL enable_seqscan = off');
SELECT checks($$SELECT count(*) FROM plan_of($q$SELECT 1 FROM many WHERE sid ^@ '[1,2]'$q$) l WHERE l ~ 'Index Cond'$$, '0', 'but not with tokenizer 0, which is no range',
	'CREATE INDEX ON many (sid); SET LOCAL enable_seqscan = off');
SELECT checks($$SELECT '[1]@3'::semid <@ '{[1]@3,[2]}', '[1]'::semid <@ '{[1]@3,[2]}'$$, 'true false', 'semid <@ semset');
SELECT checks($$SELECT round(('[0,1]'::semid <~> semtok.logits('{{0,0},{0,0}}'))::numeric, 12), '[1]'::semid <~> semtok.logits('{{0,0},{0,0}}')$$,
	'1.386294361120 Infinity', 'semid <~> semquery');
SELECT checks($$SELECT string_agg(oprname, ' ' ORDER BY oprname COLLATE "C") FROM pg_operator o JOIN pg_proc p ON p.oid = oprcode
	WHERE oprleft = 'semid'::regtype AND proleakproof$$, '< <= <> = > >= ^@', 'comparisons and ^@ are leakproof');

--
-- codebook
--
SELECT checks($$SELECT '{"dim":1,"sizes":[2,1],"metric":"l2","data":"AAAAAAAAgD8AAABA"}'::codebook::text$$,
	'{"dim":1,"sizes":[2,1],"metric":"l2","data":"AAAAAAAAgD8AAABA"}', 'codebook: text');
SELECT checks($$SELECT '{"data":"AACAPw==","metric":"ip","sizes":[1],"dim":1}'::json::codebook::json ->> 'metric'$$, 'ip', 'codebook: JSON');
SELECT checks($$SELECT through_copy(book) = book, length(codebook_send(book)) > 32 FROM books$$, 'true true', 'codebook: binary, codebook_recv and codebook_send');
SELECT checks($$SELECT codebook_levels(book), codebook_sizes(book), codebook_dim(book), codebook_latent_dim(book), codebook_metric(book) FROM books$$, '2 [2,2] 2 2 l2',
	'codebook_levels, codebook_sizes, codebook_dim, codebook_latent_dim, codebook_metric');
SELECT checks($$SELECT codebook_hash(book) ~ '^[0-9a-f]{64}$', codebook_hash(book) = codebook_hash(book::text::codebook) FROM books$$, 'true true', 'codebook_hash');
SELECT checks($$SELECT codebook_vector(codebook => book, level => 1, code => 1) FROM books$$, '[0,1]', 'codebook_vector');
SELECT checks($$SELECT level, code, vector FROM books, codebook_entries(book) ORDER BY level, code$$,
	E'0 0 [0,0]\n0 1 [10,0]\n1 0 [0,0]\n1 1 [0,1]', 'codebook_entries → setof (level, code, vector)');
SELECT checks($$SELECT codebook_agg(level, code, vector) = book FROM books, codebook_entries(book) GROUP BY book$$, 'true', 'codebook_agg(level, code, vector)');
SELECT checks($$SELECT codebook_metric(codebook_agg(level, code, vector, 'cosine')) FROM books, codebook_entries(book) GROUP BY book$$, 'cosine', 'codebook_agg with a metric');
SELECT checks($$SELECT book = '{"dim":1,"sizes":[1],"metric":"l2","data":"AACAPw=="}', book <> book, count(*) FROM (SELECT book FROM books UNION ALL SELECT book FROM books) b GROUP BY book$$,
	'false false 2', 'codebook: equality by content', 'SET LOCAL enable_sort = off');
SELECT checks($$SELECT codebook_from_safetensors(codebook_to_safetensors(book), metric => 'l2') = book,
	codebook_metric(codebook_from_safetensors(codebook_to_safetensors(book), 'ip')) FROM books$$, 'true ip', 'codebook_from_safetensors(bytea, metric), codebook_to_safetensors');

--
-- semset
--
SELECT checks($$SELECT ' { [2] , [1,2]@3,[1,2]@3 } '::semset, '{}'::semset$$, '{[2],[1,2]@3} {}', 'semset: text');
SELECT checks($$SELECT through_copy('{[2],[1,2]@3}'::semset), length(semset_send('{[1]}')) > 16$$, '{[2],[1,2]@3} true', 'semset: binary, semset_recv and semset_send');
SELECT checks($$SELECT semset_agg(s) FROM unnest('{"[2]","[1,2]@3",NULL,"[2]"}'::semid[]) s$$, '{[2],[1,2]@3}', 'semset_agg(semid)');
SELECT checks($$SELECT semset(array['[2]', '[1]']::semid[])$$, '{[1],[2]}', 'semset(semid[])');
SELECT checks($$SELECT semset_size('{[1,2],[1,3],[1]}'), semset_nodes('{[1,2],[1,3],[1]}')$$, '3 3', 'semset_size, semset_nodes');
SELECT checks($$SELECT * FROM semset_members('{[2],[1,2]@3}')$$, E'[2]\n[1,2]@3', 'semset_members → setof semid');
SELECT checks($$SELECT '{[1],[2]}'::semset = '{[2],[1]}', '{[1],[2]}'::semset <> '{[2]}', count(*) FROM unnest('{"{[1]}","{[1]}"}'::semset[]) s GROUP BY s$$,
	'true true 2', 'semset: =', 'SET LOCAL enable_sort = off');
SELECT checks($$SELECT '{[1],[2]@3}'::semset | '{[1],[4]}', '{[1],[2]@3}'::semset & '{[1],[2]}', '{[1],[2]@3}'::semset - '{[1],[2]}'$$, '{[1],[4],[2]@3} {[1]} {[2]@3}', 'semset: | & -');
-- The NumPy array of this name: its values, little-endian words of the width that its header tells.
CREATE FUNCTION words(file bytea, name text) RETURNS int[] LANGUAGE plpgsql AS $$
DECLARE
	start int := position(convert_to(name || '.npy', 'UTF8') in file) + length(name || '.npy');
	header int := get_byte(file, start + 7) + 256 * get_byte(file, start + 8);
	described text := convert_from(substr(file, start + 10, header), 'UTF8');
	width int := substring(described from '''descr'': ''..?(\d)''');
	n int := (SELECT coalesce(round(exp(sum(ln(v::int))))::int, 1) FROM regexp_matches(substring(described from 'shape'': \(([^)]*)\)'), '\d+', 'g') m(m), unnest(m) v);
BEGIN
	RETURN array(SELECT CASE WHEN get_byte(file, start + 9 + header + i * width + width - 1) > 127 THEN -1 ELSE get_byte(file, start + 9 + header + i * width) END
	               FROM generate_series(0, n - 1) i);
END $$;
SELECT checks($$SELECT words(f, 'row_ptrs'), words(f, 'stacked_cols_vals'), words(f, 'layer_max_branches'), position('dense_mask_by_layer' in encode(f, 'escape')) > 0, position('dense_states' in encode(f, 'escape')) > 0
	FROM semset_to_npz('{[1,2,1],[3,1,2],[3,1,3]}', vocab => 4, dense_layers => 2, layout => 'rectokens', offsets => NULL, dense_bytes => 268435456) f$$,
	'[0,2,3,4,5,7,7,7] [1,3,2,1,1,2,3,-1,1,2,3,4,5,6,7,-1] [2,1,2] true true', 'semset_to_npz, layout rectokens');
SELECT checks($$SELECT semset_from_npz(semset_to_npz(s, 4, 1, 'static')) = s, semset_from_npz(file => semset_to_npz(s, 5, 1, 'rectokens', '{1,1,1}'), tokenizer => 3, offsets => '{1,1,1}')
	FROM (SELECT '{[1,2,1],[3,1,2]}'::semset s) t$$, 'true {[1,2,1]@3,[3,1,2]@3}', 'semset_to_npz, layout static and offsets; semset_from_npz');
SELECT checks($$SELECT semset_to_npz('{[1,2,1]}', 2048, 2, 'static', dense_bytes => 1000)$$, 'ERROR 54000: could not export semset: dense tables of 2 layers over 2048 tokens take at least 20973568 bytes, dense_bytes allows 1000', 'dense tables beyond dense_bytes are an error');
SELECT checks($$SELECT semset_to_json('{[12,7],[3]}', 'index.json'), semset_to_json('{[12,7],[3]}', format => 'sid2pid')$$,
	'{"0": ["<a_3>"], "1": ["<a_12>", "<b_7>"]} {"3": [0], "12,7": [1]}', 'semset_to_json');

--
-- semquery
--
SELECT checks($$SELECT semquery_kind(q), semquery_norm(q), semquery_tokenizer(q), semquery_levels(q), semquery_sizes(q)
	FROM semtok.logits('{1,2,3}', sizes => '{2,1}', tokenizer => 7, norm => 'none') q$$, 'levels none 7 2 [2,1]', 'semquery_kind, _norm, _tokenizer, _levels, _sizes');
SELECT checks($$SELECT q::text::semquery::text = q::text, through_copy(q)::text = q::text, length(semquery_send(q)) > 40 FROM semtok.logits('{{1,2},{3,4}}') q$$,
	'true true true', 'semquery: text and binary, semquery_recv and semquery_send');
SELECT checks($$SELECT pg_get_function_arguments('semtok.logits'::regproc), pg_get_function_result('semtok.logits'::regproc)$$,
	'logits real[], sizes integer[] DEFAULT NULL::integer[], tokenizer integer DEFAULT 0, norm text DEFAULT ''full''::text, within semset DEFAULT NULL::semset semquery', 'semtok.logits as promised');
SELECT checks($$SELECT '[0,1]'::semid <~> semtok.logits('{{1,2},{3,4}}', norm => 'none'), '[1]@3'::semid <~> semtok.logits('{1,2}', '{2}', 4, 'none'),
	'[1]@3'::semid <~> semtok.logits('{1,2}', '{2}', 3, 'none')$$, '-5 Infinity -2', 'semtok.logits, norm none; tokenizer 0 means any');
SELECT checks($$SELECT round(('[0]'::semid <~> semtok.logits('{0,0,0,0}', '{4}'))::numeric, 12)$$, '1.386294361120', 'semtok.logits, norm full: log-softmax over the level');
SELECT checks($$SELECT round(('[0]'::semid <~> semtok.logits('{0,0,0,0}', '{4}', 0, 'masked', '{[0],[3]}'))::numeric, 12), '[1]'::semid <~> semtok.logits('{0,0,0,0}', '{4}', 0, 'masked', '{[0],[3]}')$$,
	'0.693147180560 Infinity', 'semtok.logits, norm masked: over the children in within');
SELECT checks($$SELECT '[0]'::semid <~> semtok.logits('{0,0}', '{2}', norm => 'masked')$$,
	'ERROR 22023: a semquery with norm masked and without a set has no cost of its own', 'masked without within has no cost');
SELECT checks($$SELECT '[0,1,5]'::semid <~> semtok.logits('{{1,2},{3,4}}', norm => 'none'), '[0]'::semid <~> semtok.logits('{{1,2},{3,4}}', norm => 'none')$$,
	'-5 Infinity', 'levels beyond the query cost nothing, too few cannot be scored');
SELECT checks($$SELECT '[1,1]'::semid <~> semtok.neighbors(book, embedding => '{10,0}'), '[0,0]'::semid <~> semtok.neighbors(codebook => book, embedding => '{3,4}') FROM books$$,
	'1 25', 'semtok.neighbors(codebook, embedding): squared distance');
SELECT checks(format($$SELECT semtok.encode('points', '{10,1}') <~> semtok.neighbors(name => 'points', embedding => '{10,1}'),
	semtok.encode('points', '{10,1}') <~> semtok.neighbors(tokenizer => %s, embedding => '{10,2}')$$, :points_id), '0 1', 'semtok.neighbors(name | tokenizer, embedding)');
SELECT checks($$SELECT string_agg(provolatile::text, '' ORDER BY oid::regprocedure::text COLLATE "C") FROM pg_proc WHERE pronamespace = 'semtok'::regnamespace AND proname IN ('logits', 'neighbors')$$,
	'iiss', 'logits and neighbors(codebook) are immutable, the others stable');

--
-- the index
--
SELECT checks($$SELECT id, cost FROM (SELECT id, sid <~> semtok.logits('{5,4,1,0}', '{2,2}', norm => 'none') AS cost FROM points WHERE note <> 'n0'
	ORDER BY sid <~> semtok.logits('{5,4,1,0}', '{2,2}', norm => 'none') LIMIT 2) t$$, E'4 -6\n2 -5', 'USING semtrie: ORDER BY <~> with any predicate', 'SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off');
SELECT checks($$SELECT l FROM plan_of($q$SELECT id FROM points ORDER BY sid <~> semtok.logits('{{5,4},{1,0}}')$q$) l LIMIT 1$$,
	'Index Scan using points_sid on points', 'the index serves it', 'SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off');
SELECT checks($$SELECT id FROM points WHERE sid ^@ '[1]' ORDER BY id$$, E'1\n3\n5', 'USING semtrie: WHERE sid ^@', 'SET LOCAL enable_seqscan = off');
SELECT checks($$SELECT id FROM points WHERE sid = '[1,1]'$$, '3', 'USING semtrie: WHERE sid =', 'SET LOCAL enable_seqscan = off');
SELECT checks('SELECT', 'ERROR 0A000: access method "semtrie" does not support unique indexes', 'no UNIQUE', $$CREATE UNIQUE INDEX ON points USING semtrie (sid)$$);
SELECT checks('SELECT', 'ERROR 0A000: access method "semtrie" does not support included columns', 'no INCLUDE', $$CREATE INDEX ON points USING semtrie (sid) INCLUDE (id)$$);
SELECT checks('SELECT', 'ERROR 0A000: access method "semtrie" does not support ASC/DESC options', 'no DESC', $$CREATE INDEX ON points USING semtrie (sid DESC)$$);
SELECT checks('SELECT', replace('ERROR 42804: collations are not supported by type semid', 'semid',
	CASE WHEN current_setting('server_version_num')::int >= 170000 THEN 'public.semid' ELSE 'semid' END), 'no COLLATE', $$CREATE INDEX ON points USING semtrie (sid COLLATE "C")$$);
SELECT checks('SELECT', 'ERROR 0A000: access method "semtrie" does not support exclusion constraints', 'no EXCLUDE', $$ALTER TABLE points ADD EXCLUDE USING semtrie (sid WITH =)$$);

--
-- decoding verbs
--
SELECT checks($$SELECT rank, sid, logprob, items FROM semtok.beam_search(items => 'points', query => semtok.logits('{5,4,1,0}', '{2,2}', norm => 'none'), k => 2, beam_size => 3, temperature => 0, seed => 1, norm => 'none')$$,
	E'1 [0,0] 6 2\n2 [0,1] 5 1', 'semtok.beam_search over a table');
SELECT checks($$SELECT rank, sid, logprob, items FROM semtok.beam_search('points_sid', semtok.logits('{5,4,1,0}', '{2,2}', norm => 'none')) WHERE rank <= 2$$,
	E'1 [0,0] 6 2\n2 [0,1] 5 1', 'over an index, with defaults');
SELECT checks($$SELECT rank, sid, logprob, items FROM semtok.beam_search_set(items => '{[0,0],[1,0],[1,1]}', query => semtok.logits('{5,4,1,0}', '{2,2}', norm => 'none'), k => 2, beam_size => 2)$$,
	E'1 [0,0] 6 1\n2 [1,0] 5 1', 'semtok.beam_search_set');
SELECT checks($$SELECT rank, sid, logprob, items FROM semtok.beam_search(items => 'points', query => semtok.logits('{5,4,1,0}', '{2,2}', norm => 'none'), k => 2, beam_size => 3, temperature => 0, seed => 1, top_k => 1, top_p => 1, norm => 'none', length_penalty => 1, exact => false, exclude => '{[0,0]}', max_per_prefix => '{"1": 1}', sampler => 'gumbel', candidates => NULL)$$,
	'1 [0,1] 5 1', 'semtok.beam_search, every option');
SELECT checks($$SELECT count(*), count(DISTINCT sid), bool_and(sid <@ '{[0,0],[1,0],[1,1]}') FROM semtok.beam_search_set('{[0,0],[1,0],[1,1]}', semtok.logits('{5,4,1,0}', '{2,2}', norm => 'none'), temperature => 0.5, sampler => 'gumbel')$$,
	'3 3 true', 'semtok.beam_search_set draws whole items, none twice');
SELECT checks($$SELECT query, rank, sid, logprob, items FROM semtok.beam_search_batch(items => 'points', queries => array[semtok.logits('{5,4,1,0}', '{2,2}', norm => 'none'), NULL, semtok.logits('{5,4,1,0}', '{2,2}', norm => 'none')], k => 1, beam_size => 2, norm => 'none', exclude => '{[0,0]}')$$,
	E'1 1 [0,1] 5 1\n3 1 [0,1] 5 1', 'semtok.beam_search_batch');
SELECT checks($$SELECT query, rank, sid, logprob, items FROM semtok.beam_search_batch_set(items => '{[0,0],[1,0],[1,1]}', queries => array[semtok.logits('{5,4,1,0}', '{2,2}', norm => 'none')], k => 2, exact => true)$$,
	E'1 1 [0,0] 6 1\n1 2 [1,0] 5 1', 'semtok.beam_search_batch_set');
SELECT checks($$SELECT round(sum(exp(logprob))::numeric, 12) FROM semtok.beam_search_set('{[0,0],[1,0],[1,1]}', semtok.logits('{5,4,1,0}', '{2,2}'), norm => 'masked')$$,
	'1.000000000000', 'norm masked over a set sums to 1');
SELECT checks($$SELECT code, items FROM semtok.next_codes(items => 'points', prefix => '[0]')$$, E'0 2\n1 1', 'semtok.next_codes');
SELECT checks($$SELECT code, items FROM semtok.next_codes_set(items => '{[0,0],[1,0],[1,1]}', prefix => NULL)$$, E'0 1\n1 2', 'semtok.next_codes_set');
SELECT checks($$SELECT prefix, code, items FROM semtok.next_codes_batch(items => 'points', prefixes => '{"[0]"}')$$, E'1 0 2\n1 1 1', 'semtok.next_codes_batch');
SELECT checks($$SELECT prefix, code, items FROM semtok.next_codes_batch_set(items => '{[0,0],[1,0],[1,1]}', prefixes => '{"[0]",NULL}')$$, E'1 0 1\n2 0 1\n2 1 2', 'semtok.next_codes_batch_set');
SELECT checks($$SELECT semtok.mask(items => 'points', prefixes => '{NULL}', vocab => 4, offsets => '{1,0}', end_token => NULL, tokenizer => 0, within => NULL, exclude => NULL),
	semtok.mask('points', '{"[1]"}', 2), semtok.mask_set(items => '{[0,0],[1,0]}', prefixes => '{"[1]"}', vocab => 2), semtok.mask_set('{[0,0],[1,0]}', '{"[1,0]"}', 3, end_token => 2, exclude => '{[0,0]}', within => '{[1,0]}')$$,
	'["0110"] ["11"] ["10"] ["001"]', 'semtok.mask, semtok.mask_set');
SELECT checks($$SELECT semtok.mask_packed(items => 'points', prefixes => '{NULL}', vocab => 33, offsets => '{31,0}', end_token => NULL, tokenizer => 0, within => NULL, exclude => NULL),
	semtok.mask_packed_set(items => '{[0,0],[1,0]}', prefixes => '{"[1]"}', vocab => 2)$$, '\x0000008001000000 \x01000000', 'semtok.mask_packed, semtok.mask_packed_set');
SELECT checks($$SELECT count(*), (SELECT count(DISTINCT sid) FROM semtok.sample('points', 100, uniform_over => 'ids') sid) FROM semtok.sample(items => 'points', n => 100, seed => 1, uniform_over => 'items')$$, '6 4', 'semtok.sample');
SELECT checks($$SELECT string_agg(sid::text, ' ' ORDER BY sid) FROM semtok.sample_set(items => '{[1],[2]}', n => 3, seed => 1) sid$$, '[1] [2]', 'semtok.sample_set');
SELECT checks($$SELECT group_name, metric, cutoff, value, low, high, queries FROM semtok.evaluate_ranking(query => 'SELECT 1, array[2,1]', cutoffs => '{2}', sample => NULL, seed => 42, groups => NULL) WHERE metric = 'mrr'$$,
	'NULL mrr 2 0.5 0.5 0.5 1', 'semtok.evaluate_ranking');
SELECT checks($$SELECT rank, sid, logprob, items FROM semtok.beam_search_with(items => 'points', scorer => 'flat(jsonb, semid[], int)', context => '[[5,4],[1,0]]', k => 2, beam_size => 3, temperature => 0, seed => 1,
	top_k => 2, top_p => 1, norm => 'none', length_penalty => 0, exact => false, levels => NULL, within => NULL, exclude => NULL, max_per_prefix => NULL, sampler => 'gumbel', candidates => NULL)$$,
	E'1 [0,0] 6 2\n2 [0,1] 5 1', 'semtok.beam_search_with: n x K logits for each level', $$CREATE FUNCTION flat(context jsonb, prefixes semid[], level int) RETURNS real[] LANGUAGE sql AS
	'SELECT array_agg((context -> level ->> code)::real ORDER BY n, code) FROM generate_subscripts(prefixes, 1) n, generate_series(0, 1) code'$$);
SELECT checks($$SELECT rank, sid, logprob, items FROM semtok.beam_search_set_with(items => '{[0,0],[1,0],[1,1]}', scorer => 'flat(jsonb, semid[], int)', context => '[[5,4],[1,0]]', k => 1, norm => 'none', exclude => '{[0,0]}')$$,
	'1 [1,0] 5 1', 'semtok.beam_search_set_with', $$CREATE FUNCTION flat(context jsonb, prefixes semid[], level int) RETURNS real[] LANGUAGE sql AS
	'SELECT array_agg((context -> level ->> code)::real ORDER BY n, code) FROM generate_subscripts(prefixes, 1) n, generate_series(0, 1) code'$$);
SELECT checks($$SELECT * FROM semtok.beam_search_with('points', 'flat(jsonb, semid[], int)')$$,
	'ERROR 22023: scorer flat(jsonb,semid[],integer) is for tokenizer 7, but the items are of tokenizer 0', 'semtok.scorer_tokenizer: a mismatch is an error naming both',
	$$CREATE FUNCTION flat(context jsonb, prefixes semid[], level int) RETURNS real[] LANGUAGE sql AS
	'SELECT array_agg((context -> level ->> code)::real ORDER BY n, code) FROM generate_subscripts(prefixes, 1) n, generate_series(0, 1) code'; ALTER FUNCTION flat SET semtok.scorer_tokenizer = 7$$);
SELECT checks($$SELECT parent, sid, logprob, key, complete FROM semtok.beam_step(items => 'points', beams => '{[0],[1]}', logprobs => '{-1,-2}', logits => '{{3,1},{2,9}}', beam_size => 2, temperature => 0, seed => 1,
	top_k => 2, top_p => 1, norm => 'none', keys => '{-1,-2}', queries => '{1,1}', tokenizer => 0, within => NULL, exclude => NULL, sampler => 'gumbel', candidates => NULL)$$,
	E'2 [1,1] 7 7 true\n1 [0,0] 2 2 true', 'semtok.beam_step');
SELECT checks($$SELECT parent, sid, logprob, key, complete FROM semtok.beam_step_set(items => '{[0,0],[1,0],[2]}', beams => '{NULL}', logprobs => '{0}', logits => '{3,1,2}', norm => 'none')$$,
	E'1 [0] 3 3 false\n1 [2] 2 2 true\n1 [1] 1 1 false', 'semtok.beam_step_set');
SELECT checks($$SELECT count(*) FROM semtok.changes(items => 'points', since => semtok.catalog_version(items => 'points')) WHERE NOT present$$, '0', 'semtok.catalog_version and semtok.changes');
SELECT checks($$SELECT sid, present FROM semtok.changes('points', -1)$$, 'ERROR 55000: version -1 of index "points_sid" is too old', 'semtok.changes since what is not known');
SELECT checks($$SELECT level, code, round(logprob::numeric, 6), rank, siblings FROM semtok.explain(sid => '[1,0]', query => semtok.logits('{0,1,5,0}', '{2,2}', norm => 'none'), within => '{[1,0],[0,1]}')$$,
	E'0 1 1.000000 1 2\n1 0 5.000000 1 1', 'semtok.explain within a set');

--
-- tokenizers
--
SELECT checks($$SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'semtok.tokenizer'::regclass AND attnum > 0$$,
	'id name version method metric dim sizes active owner created_at trained_rows options hash counts codebook owner_id owner_cluster state', 'table semtok.tokenizer');
SELECT checks($$SELECT last_value >= id FROM semtok.tokenizer, semtok.tokenizer_id_seq$$, 'true', 'its ids are of a sequence');
SELECT checks($$SELECT name, version, active, method, metric, dim, sizes, owner = current_user FROM semtok.tokenizers$$, 'points 1 true rqkmeans l2 2 [2,2] true', 'view semtok.tokenizers');
SELECT checks($$SELECT count(*) FROM pg_attribute WHERE attrelid = 'semtok.tokenizers'::regclass AND attname = 'codebook'$$, '0', 'without the codebook');
SELECT checks($$SELECT pg_get_function_arguments(oid), pg_get_function_result(oid) FROM pg_proc WHERE oid = 'semtok.train(text,text,text,int,int,text,int,int,text,bigint,bigint,text,jsonb)'::regprocedure$$,
	'name text, source text, method text DEFAULT ''rqkmeans''::text, levels integer DEFAULT 3, codes integer DEFAULT 256, metric text DEFAULT ''l2''::text, epochs integer DEFAULT 25, batch_size integer DEFAULT NULL::integer, '
	'init text DEFAULT ''kmeans||''::text, seed bigint DEFAULT 42, sample bigint DEFAULT NULL::bigint, device text DEFAULT NULL::text, options jsonb DEFAULT NULL::jsonb integer', 'semtok.train as promised');
SELECT checks($$SELECT pg_get_function_arguments(oid), pg_get_function_result(oid) FROM pg_proc WHERE oid = 'semtok.train(text,text,int[],text,int,text,int,int,text,bigint,bigint,text,jsonb)'::regprocedure$$,
	'name text, source text, codes integer[], method text DEFAULT ''rqkmeans''::text, levels integer DEFAULT NULL::integer, metric text DEFAULT ''l2''::text, epochs integer DEFAULT 25, batch_size integer DEFAULT NULL::integer, '
	'init text DEFAULT ''kmeans||''::text, seed bigint DEFAULT 42, sample bigint DEFAULT NULL::bigint, device text DEFAULT NULL::text, options jsonb DEFAULT NULL::jsonb integer', 'semtok.train with codes third, without a default');
SELECT checks($$SELECT name, version, active, method, metric, sizes, id > made FROM semtok.tokenizers, last WHERE name <> 'points'$$, 'own 1 true rqkmeans cosine [4] true', 'semtok.train, every argument',
	$$CREATE TABLE last AS SELECT max(id) AS made FROM semtok.tokenizer; SELECT semtok.train(name => 'own', source => 'SELECT embedding FROM points WHERE id % 4 > 0', method => 'rqkmeans', levels => 1, codes => 4,
	metric => 'cosine', epochs => 3, batch_size => NULL, init => 'kmeans++', seed => 7, sample => 8, device => NULL, options => NULL)$$);
SELECT checks($$SELECT name, version, active, method, sizes FROM semtok.tokenizers ORDER BY id$$, E'points 1 true rqkmeans [2,2]\npoints 2 false ema [3,2]', 'semtok.train, levels of different size',
	$$SELECT semtok.train('points', 'SELECT embedding FROM points', codes => array[3,2], method => 'ema', epochs => 1, batch_size => 4)$$);
SELECT checks($$SELECT semtok.train('x', 'SELECT embedding FROM points', codes => array[3,2], levels => 3)$$, 'ERROR 22023: expected codes of 3 levels, not 2', 'levels must agree with codes');
SELECT checks($$SELECT version, active, trained_rows FROM semtok.tokenizers ORDER BY id$$, E'1 true 8\n2 false 12', 'semtok.partial_fit makes a new version',
	$$SELECT semtok.partial_fit(name => 'points', source => 'SELECT embedding FROM points LIMIT 4')$$);
SELECT checks($$SELECT id, name, version, active, method, metric, dim, sizes, options, codebook_hash(codebook) = codebook_hash(book), counts FROM semtok.tokenizer, books WHERE name = 'own'$$, '900001 own 1 true imported l2 2 [2,2] {"beam": 3} true [1,2,3,4]',
	'semtok.import_tokenizer, every argument', $$SELECT semtok.import_tokenizer(name => 'own', codebook => book, id => 900001, counts => '{1,2,3,4}', options => '{"beam": 3}') FROM books$$);
SELECT checks($$SELECT semtok.import_tokenizer('own', book, 900001), (SELECT count(*) FROM semtok.tokenizers) FROM books$$, '900001 2', 'which twice is as once', $$SELECT semtok.import_tokenizer('own', book, 900001) FROM books$$);
SELECT checks($$SELECT semtok.import_tokenizer('own', book, 900001) FROM books$$, 'ERROR 42710: tokenizer with id 900001 exists already', 'and refused when that id has another content hash',
	$$SELECT semtok.import_tokenizer('own', codebook_agg(0, 0, '{1}'), 900001)$$);
SELECT checks($$SELECT version, trained_rows, counts[1:4] FROM semtok.tokenizer WHERE name = 'own' ORDER BY version$$, E'1 NULL [1,2,3,4]\n2 2 [3,2,5,4]', 'counts let partial_fit continue a foreign one',
	$$SELECT semtok.import_tokenizer('own', book, counts => '{1,2,3,4}') FROM books; SELECT semtok.partial_fit('own', 'SELECT embedding FROM points WHERE id IN (0, 4)')$$);
SELECT checks(format($$SELECT codebook_hash(t.codebook) = codebook_hash(f.codebook), t.counts = f.counts, f.id, f.options = t.options, codebook_hash(codebook_from_safetensors(semtok.export_safetensors('points'))) = t.hash
	FROM semtok.tokenizer f, (SELECT codebook, counts, options, encode(hash, 'hex') AS hash FROM semtok.tokenizer WHERE id = %s) t WHERE name = 'own'$$, :points_id), 'true true 900002 true true', 'semtok.import_safetensors, semtok.export_safetensors',
	format($$SELECT semtok.import_safetensors(name => 'own', file => semtok.export_safetensors(tokenizer => %s), config => '{"metric": "l2"}', id => 900002)$$, :points_id));
SELECT checks($$SELECT id, version, active, sizes, codebook FROM semtok.tokenizer WHERE name = 'own'$$, '900003 1 true [8,8,8] NULL', 'semtok.register_tokenizer', $$SELECT semtok.register_tokenizer(name => 'own', sizes => '{8,8,8}', id => 900003)$$);
SELECT checks($$SELECT semtok.encode('own', '{1,2}')$$, 'ERROR 55000: version 1 of tokenizer "own" has no codebook', 'with which encode refuses', $$SELECT semtok.register_tokenizer('own', '{8,8,8}')$$);
SELECT checks($$SELECT id > 5000000 AND id <= 6000000, current_setting('semtok.tokenizer_id_base') FROM semtok.tokenizers WHERE name = 'own'$$, 'true 5000000', 'semtok.tokenizer_id_base separates nodes',
	$$SET LOCAL semtok.tokenizer_id_base = 5000000; SELECT semtok.register_tokenizer('own', '{8,8,8}')$$);
SELECT checks($$SELECT version FROM semtok.tokenizers WHERE active$$, '2', 'semtok.activate', $$SELECT semtok.partial_fit('points', 'SELECT embedding FROM points'); SELECT semtok.activate(name => 'points', version => 2)$$);
SELECT checks($$SELECT count(*) FROM semtok.tokenizers$$, '1', 'semtok.drop_tokenizer, a version', $$SELECT semtok.partial_fit('points', 'SELECT embedding FROM points'); SELECT semtok.drop_tokenizer(name => 'points', version => 2)$$);
SELECT checks($$SELECT count(*) FROM semtok.tokenizers$$, '0', 'semtok.drop_tokenizer, all versions', $$DROP TABLE IF EXISTS bulk, again; SELECT semtok.drop_tokenizer('points')$$);
SELECT checks($$SELECT semtok.encode(codebook => book, embedding => '{9,2}'), semtok.encode(book, '{9,2}', beam => 1) FROM books$$, '[1,1] [1,1]', 'semtok.encode(codebook, real[])');
SELECT checks(format($$SELECT semtok.encode(name => 'points', embedding => '{9,2}') = semtok.encode(tokenizer => %s, embedding => '{9,2}', beam => 2),
	semid_tokenizer(semtok.encode('points', '{9,2}')) = %1$s, semtok.decode('points', semtok.encode('points', '{9,2}'))$$, :points_id), 'true true [10,1]', 'semtok.encode(tokenizer | name, real[]): carries its tokenizer');
SELECT checks(format($$SELECT number, key, sid = semtok.encode('points', '{9,2}') FROM semtok.encode_batch(tokenizer => %s, source => 'VALUES (''{9,2}''::real[]), (null)', beam => 2)$$, :points_id),
	E'1 NULL true\n2 NULL NULL', 'semtok.encode_batch(tokenizer, source)');
SELECT checks($$SELECT number, key, b.sid = semtok.encode('points', p.embedding) FROM semtok.encode_batch(name => 'points', source => 'SELECT note, embedding FROM points WHERE id < 3 ORDER BY id') b
	JOIN points p ON note = key ORDER BY number$$, E'1 n0 true\n2 n1 true\n3 n2 true', 'semtok.encode_batch(name, source): keys and embeddings');
SELECT checks($$SELECT semtok.encode_batch('points', 'VALUES (''{9}''::real[])')$$, 'ERROR 22023: expected 2 dimensions, not 1', 'semtok.encode_batch refuses what encode refuses');
SELECT checks($$SELECT semtok.embedding_of(vector => '{1,2}'::real[])$$, 'ERROR 42804: expected pgvector''s vector or halfvec, not real[]', 'semtok.embedding_of reads pgvector''s types only');
SELECT checks($$SELECT bool_and(semtok.sample_candidate(embedding => embedding, seed => 1, bar => -1)), count(*) FILTER (WHERE semtok.sample_candidate(embedding, 1, 0)) FROM points$$, 'true 3', 'semtok.sample_candidate: the first, zero vectors, and by the hash');
SELECT checks(format($$SELECT b.level, b.code = semid_code(semtok.encode('points', '{9,2}'), b.level), b.second_code <> b.code, a = b
	FROM semtok.encode_trace(%s, '{9,2}') a JOIN semtok.encode_trace('points', '{9,2}') b USING (level) ORDER BY level$$, :points_id),
	E'0 true true true\n1 true true true', 'semtok.encode_trace(tokenizer, real[])');
SELECT checks(format($$SELECT semtok.decode(b.sid), b.distortion, a = b FROM semtok.encode_candidates(%s, '{9,2}', 2) a JOIN semtok.encode_candidates('points', '{9,2}', 2) b USING (sid) ORDER BY 2$$, :points_id),
	E'[10,1] 2 true\n[10,0] 5 true', 'semtok.encode_candidates(tokenizer, real[], n)');
SELECT checks(format($$SELECT semtok.decode(tokenizer => %s, sid => s), semtok.decode(name => 'points', sid => s), semtok.decode(s) FROM semtok.encode('points', '{9,2}') s$$, :points_id),
	'[10,1] [10,1] [10,1]', 'semtok.decode(tokenizer | name, semid), and by the tokenizer that the id names');
SELECT checks($$SELECT semtok.decode(codebook => book, sid => '[1,1]'), semtok.decode(book, '[0,1]') FROM books$$, '[10,1] [0,1]', 'semtok.decode(codebook, semid)');
SELECT checks($$SELECT string_agg(DISTINCT proname || ' ' || CASE proargtypes[0] WHEN 'codebook'::regtype THEN 'codebook' ELSE 'catalog' END || ' ' || provolatile::text, ', ')
	FROM pg_proc WHERE pronamespace = 'semtok'::regnamespace AND proname IN ('encode', 'decode')$$,
	'decode catalog s, decode codebook i, encode catalog s, encode codebook i', 'what reads the catalog is stable');
SELECT checks('SELECT', 'ERROR 2D000: semtok.tokenize() cannot run inside a transaction block', 'CALL semtok.tokenize refuses a transaction block',
	$$CALL semtok.tokenize(relation => 'points', embedding => 'embedding', into_column => 'sid', tokenizer => 'points', version => NULL, batch_size => 10000, collisions => 'keep', where_clause => NULL)$$);
CREATE TABLE bulk AS SELECT * FROM points;
UPDATE bulk SET embedding = NULL WHERE id = 7;
CALL semtok.tokenize(relation => 'bulk', embedding => 'embedding', into_column => 'sid', tokenizer => 'points', version => 1, batch_size => 3, collisions => 'append', where_clause => 'id <> 6');
SELECT checks($$SELECT count(*) FILTER (WHERE semtok.decode(semid_prefix(sid, 2)) = embedding), count(*) FILTER (WHERE semid_levels(sid) = 3), count(DISTINCT sid), min(id) FILTER (WHERE sid IS NULL) FROM bulk$$,
	'6 2 6 6', 'CALL semtok.tokenize, every argument');
CREATE TABLE again AS SELECT * FROM bulk;
CALL semtok.tokenize('again', 'embedding', 'sid', 'points');
SELECT checks($$SELECT count(*) FILTER (WHERE semtok.decode(semid_prefix(sid, 2)) = embedding), count(*) FILTER (WHERE semid_levels(sid) = 3), min(id) FILTER (WHERE sid IS NULL) FROM again$$,
	'7 2 7', 'CALL semtok.tokenize with defaults keeps what is there');
SELECT checks($$SELECT id, semid_levels(sid), sid = semtok.encode('points', embedding::real[]) FROM kept ORDER BY id$$, E'1 2 true\n2 1 false\n3 NULL NULL\n4 2 true\n5 1 false', 'trigger semtok.tokenize_trigger',
	$$CREATE TABLE kept (id int, embedding float8[], sid semid);
	CREATE TRIGGER keep BEFORE INSERT OR UPDATE ON kept FOR EACH ROW EXECUTE FUNCTION semtok.tokenize_trigger('embedding', 'sid', 'points');
	INSERT INTO kept VALUES (1, '{10,1}', NULL), (2, '{10,1}', '[5]'), (3, NULL, NULL), (4, '{10,0}', NULL), (5, '{10,0}', NULL);
	UPDATE kept SET embedding = '{0,1}' WHERE id = 4; UPDATE kept SET embedding = '{0,1}', sid = '[6]' WHERE id = 5; UPDATE kept SET id = id$$);
SELECT checks($$SELECT semtok.drop_tokenizer('points')$$, 'ERROR 2BP01: cannot drop version 1 of tokenizer "points": its ids are in use', 'drop_tokenizer is refused while columns hold its ids');
SELECT checks(format($$SELECT e.level, e.rows, e.mse, e.relative_error, e.codes, e.used, e.dead_codes, e.usage, round(e.entropy::numeric, 6) AS entropy, round(e.perplexity::numeric, 6) AS perplexity, e.gini, e.unique_fraction, e.collision_rate, e.largest_collision
	FROM semtok.evaluate(tokenizer => %s, source => 'SELECT embedding FROM points WHERE id < 6') e WHERE level IS NULL$$, :points_id), 'NULL 6 0 0 NULL 4 NULL NULL 1.329661 3.779763 NULL 0.6666666666666666 0.6666666666666666 2', 'semtok.evaluate(tokenizer, source)');
SELECT checks($$SELECT e.level, (e::semtok.evaluation).used, e.dead_codes FROM semtok.evaluate(name => 'points', source => 'SELECT embedding FROM points') e ORDER BY level$$,
	E'0 2 0\n1 2 0\nNULL 4 NULL', 'semtok.evaluate(name, source), of type semtok.evaluation');
SELECT checks($$SELECT sid, items FROM semtok.collisions(relation => 'points', column_name => 'sid')$$, E'[0,0] 2\n[1,0] 2', 'semtok.collisions');
SELECT checks($$SELECT count(*) > 4, bool_and(value >= 0), count(*) FILTER (WHERE metric = 'objective' AND level = 0 AND epoch = 1) FROM semtok.training_log$$, 'true true 1', 'table semtok.training_log');
SELECT checks($$SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'semtok.training_log'::regclass AND attnum > 0$$,
	'tokenizer step level epoch metric value at', 'semtok.training_log (tokenizer, step, epoch, metric, value, at)');

--
-- rights
--
SELECT checks($$SELECT count(*) FROM pg_proc WHERE pronamespace = 'semtok'::regnamespace AND (prosecdef OR proconfig IS NOT NULL)$$, '0', 'verbs run as the caller and have no SET clause');
SELECT checks('SELECT', 'ERROR 42602: invalid configuration parameter name "semtok.unheard"', 'the prefix semtok is reserved', 'SET semtok.unheard = 1');
SELECT checks($$SELECT current_setting('semtok.simd'), current_setting('semtok.codebook_cache'), current_setting('semtok.beam_width'), semtok.encode(book, '{9,2}') FROM books$$,
	'scalar 64kB 7 [1,1]', 'settings', 'SET LOCAL semtok.simd = scalar; SET LOCAL semtok.codebook_cache = 64; SET LOCAL semtok.beam_width = 7');
SELECT checks($$SELECT current_setting('semtok.device'), current_setting('semtok.offload'), current_setting('semtok.worker_timeout'), current_setting('semtok.max_worker_bytes'), codebook_metric(book) FROM books$$,
	'cpu off 7s 64kB l2', 'settings of a session that has heavy work done',
	$$SET LOCAL semtok.device = cpu; SET LOCAL semtok.offload = off; SET LOCAL semtok.worker_timeout = 7000; SET LOCAL semtok.max_worker_bytes = 64$$);
SELECT checks($$SELECT current_setting('semtok.worker_memory'), current_setting('semtok.worker_threads'), current_setting('semtok.batch_max'), current_setting('semtok.batch_wait_us'), current_setting('semtok.cuda_devices'), codebook_metric(book) FROM books$$,
	'1GB 0 64 0 all l2', 'settings of worker processes');
SELECT checks($$SELECT bool_and(kind IN ('shared', 'private')) IS NOT FALSE FROM semtok.workers$$, 'true', 'view semtok.workers');
SELECT checks($$SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'semtok.workers'::regclass AND attnum > 0$$,
	'kind pid backend engine device device_memory device_memory_limit threads memory memory_limit codebooks tries cache_bytes clients requests batches rows searches fallbacks restarts round_trip_us offload_above_us last_error started_at state', 'its columns');
SELECT checks($$SELECT count(*) FROM semtok.stat_progress$$, '0', 'view semtok.stat_progress without work');
SELECT checks($$SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = 'semtok.stat_progress'::regclass AND attnum > 0$$,
	'pid datname usename verb subject phase computed level levels epoch epochs rows_done rows_total loss rate began eta', 'its columns');
SELECT checks($$SELECT has_table_privilege('public', v, 'SELECT'), has_table_privilege('public', v, 'INSERT') FROM unnest('{semtok.workers,semtok.stat_progress}'::regclass[]) v$$,
	E'true false\ntrue false', 'everybody reads the views');

--
-- what is behind the entries: planner, parallel plans, index support
--
SELECT checks($$SELECT count(*) FROM (SELECT 1 FROM many ORDER BY sid <~> semtok.logits(array(SELECT sin(i)::real FROM generate_series(1, 47) i), '{20,20,7}')) t$$, '1', 'semtok.beam_width bounds the nodes of a level',
	'CREATE INDEX ON many USING semtrie (sid); SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; SET LOCAL semtok.beam_width = 1');
-- A table whose aggregates the planner computes in parallel.
CREATE FUNCTION in_parallel() RETURNS void LANGUAGE sql AS $$
	SELECT set_config(name, '0', true) FROM unnest('{parallel_setup_cost,parallel_tuple_cost,min_parallel_table_scan_size}'::text[]) name
$$;
SELECT checks($$SELECT ids::text = (SELECT format('{%s}', string_agg(DISTINCT sid::text, ',' ORDER BY sid::text)) FROM few) FROM made$$, 'true', 'semset_agg in parallel',
	$$CREATE TABLE few AS SELECT semid(array[i % 5]) AS sid FROM generate_series(1, 2000) i; SELECT in_parallel(); CREATE TABLE made AS SELECT semset_agg(sid) AS ids FROM few$$);
SELECT checks($$SELECT codebook_sizes(m.book), codebook_metric(m.book), count(*) FILTER (WHERE e.vector = array[e.code]::real[]) FROM made m, codebook_entries(m.book) e GROUP BY 1, 2$$, '[2000] cosine 2000', 'codebook_agg in parallel',
	$$CREATE TABLE entries AS SELECT 0 AS level, i - 1 AS code, array[i - 1]::real[] AS vector FROM generate_series(1, 2000) i; SELECT in_parallel();
	CREATE TABLE made AS SELECT codebook_agg(level, code, vector, 'cosine') AS book FROM entries$$);
SELECT checks($$SELECT satisfies_hash_partition('by_set'::regclass, 2, 0, '{[1]}'::semset) <> satisfies_hash_partition('by_set'::regclass, 2, 1, '{[1]}'::semset),
	satisfies_hash_partition('by_book'::regclass, 2, 0, book) <> satisfies_hash_partition('by_book'::regclass, 2, 1, book) FROM books$$, 'true true', 'semset and codebook: extended hashes',
	'CREATE TABLE by_set (ids semset) PARTITION BY HASH (ids); CREATE TABLE by_book (book codebook) PARTITION BY HASH (book)');
SELECT checks($$SELECT array['[1,2]']::semid[] < array['[1,3]']::semid[], '[1]'::semid < '[1]@1'$$, 'true true', 'semid: comparison');
SELECT checks($$SELECT string_agg(id::text, ' ' ORDER BY n) FROM (SELECT id, row_number() OVER (ORDER BY sid, id DESC) n FROM points WHERE sid IS NOT NULL) t$$, '4 0 2 5 1 3', 'semid: a sort');
SELECT checks($$SELECT bool_and(l !~ 'Seq Scan'), count(*) > 0 FROM plan_of($q$SELECT 1 FROM many WHERE sid = '[1,2,3]@102'$q$) l$$, 'true true', 'semid: a btree index', 'CREATE INDEX ON many (sid)');
SELECT checks($$SELECT l FROM plan_of($q$SELECT 1 FROM many WHERE sid = '[1,2,3]@102'$q$) l WHERE l ~ 'Cond'$$, '  Index Cond: (sid = ''[1,2,3]@102''::semid)', 'semid: a hash index',
	'CREATE INDEX ON many USING hash (sid)');
SELECT checks($$SELECT relation_runs >= 0, ids, items, nulls, bytes > 0 FROM (SELECT runs AS relation_runs, * FROM semtok.index_info(index => 'points_sid')) i$$, 'true 4 6 2 true', 'semtok.index_info');
SELECT checks($$SELECT semtok.index_check(index => 'points_sid', heapallindexed => true), semtok.index_check('points_sid')$$, ' ', 'semtok.index_check');

\ir ../lib/every_object.sql
SELECT * FROM finish();
