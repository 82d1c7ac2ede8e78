-- semtok.import_tokenizer, import_safetensors, export_safetensors: tokenizers from elsewhere, their
-- ids kept, what they were trained on continued.
SET client_min_messages = error;

\getenv test PG_ABS_SRCDIR
\set refusal :test '/lib/refusal.sql'
\i :refusal
CREATE TABLE vectors AS SELECT i, array[i * 37 % 101, i * 61 % 97, i * 13 % 29]::real[] AS x FROM generate_series(1, 300) AS i;
CREATE TABLE book AS SELECT codebook_agg(l, c, array[c * 30, c * 20, l]) AS book FROM generate_series(0, 1) AS l, generate_series(0, 3) AS c;

-- The first version of a name is active, later ones are not; nothing is known but what is said.
SELECT semtok.import_tokenizer('copy', book, 760001, array[1, 2, 3, 4, 5, 6, 7, 8], '{"beam": 3, "seed": 42}') FROM book;
SELECT semtok.import_tokenizer('copy', book) > 0 AS imported FROM book;
SELECT version, active, method, metric, dim, sizes, trained_rows, options, hash = codebook_hash(book) AS hash, counts
	FROM semtok.tokenizers JOIN (SELECT id, counts FROM semtok.tokenizer) AS c USING (id), book WHERE name = 'copy' ORDER BY version;
SELECT semtok.encode('copy', '{31,22,1}') = semtok.encode(book, '{31,22,1}', 3) AS codes_differ_in_tokenizer, semid_codes(semtok.encode('copy', '{31,22,1}')) = semid_codes(semtok.encode(book, '{31,22,1}', 3)) AS same_codes FROM book;

-- Copied twice: no more than once, whatever else is said. Another codebook or name: refused.
SELECT semtok.import_tokenizer('copy', book, 760001, options => '{"beam": 9}') FROM book;
SELECT count(*), max(options ->> 'beam') AS beam FROM semtok.tokenizers WHERE name = 'copy';
SELECT pg_temp.refusal($$SELECT semtok.import_tokenizer('copy', codebook_agg(0, 0, '{1}'), 760001)$$),
	pg_temp.refusal($$SELECT semtok.import_tokenizer('another', book, 760001) FROM book$$),
	pg_temp.refusal($$SELECT semtok.register_tokenizer('copy', '{4,4}', 760001)$$);
SELECT count(*) FROM semtok.tokenizers WHERE name IN ('another', 'copy');

-- Ids of this node's range that were imported are not given again: not after them, not when they are gone.
-- Those of another range do not move the sequence, not even a range's last.
SELECT semtok.import_tokenizer('copy', book, 2001000000) FROM book;
SELECT id = 760003 AS next FROM semtok.train('next', 'SELECT x FROM vectors', levels => 1, codes => 2) AS id;
SET semtok.tokenizer_id_base = 2000000000;
SELECT id = 2000760004 AS next FROM semtok.train('next', 'SELECT x FROM vectors', levels => 1, codes => 2) AS id;
SELECT semtok.import_tokenizer('gone', book, 2000761005) FROM book;
SELECT semtok.drop_tokenizer('gone');
SELECT id = 2000761006 AS next FROM semtok.register_tokenizer('next', '{2}') AS id;
RESET semtok.tokenizer_id_base;
-- also when the import was rolled back, and when rows came past the sequence
BEGIN;
SELECT semtok.import_tokenizer('gone', book, 761010) FROM book;
ROLLBACK;
INSERT INTO semtok.tokenizer (id, name, version, method, sizes, active, owner, options) VALUES (761011, 'past', 1, 'registered', '{2}', true, current_user, '{}');
SELECT id = 761012 AS next FROM semtok.register_tokenizer('next', '{2}') AS id;
-- when all are given there is an error
BEGIN;
SELECT last_value AS last FROM semtok.tokenizer_id_seq \gset
SELECT setval('semtok.tokenizer_id_seq', 1000000) > 0 AS at_the_end;
SELECT pg_temp.refusal($$SELECT semtok.register_tokenizer('next', '{2}')$$);
SELECT semtok.register_tokenizer('next', '{2}', 761020);
SELECT setval('semtok.tokenizer_id_seq', :last) > 0 AS back;
ROLLBACK;
-- only superusers move the base
CREATE ROLE regress_semtok_import;
SET ROLE regress_semtok_import;
SELECT pg_temp.refusal('SET semtok.tokenizer_id_base = 1000000');

-- Rights are as for train; a copy is its importer's.
SELECT pg_temp.refusal($$SELECT semtok.import_tokenizer('copy', codebook_agg(0, 0, '{1}'))$$), pg_temp.refusal($$SELECT semtok.register_tokenizer('copy', '{1}')$$),
	pg_temp.refusal($$SELECT semtok.import_safetensors('copy', semtok.export_safetensors('copy'))$$);
SELECT semtok.import_safetensors('theirs', semtok.export_safetensors('copy')) > 0 AS imported;
SELECT owner, active, options FROM semtok.tokenizers WHERE name = 'theirs';
SELECT semtok.drop_tokenizer('theirs');
RESET ROLE;
REVOKE EXECUTE ON FUNCTION semtok.import_tokenizer(text, codebook, int, float8[], jsonb), semtok.import_safetensors(text, bytea, jsonb, int), semtok.register_tokenizer(text, int[], int) FROM PUBLIC;
SET ROLE regress_semtok_import;
SELECT pg_temp.refusal($$SELECT semtok.import_tokenizer('theirs', codebook_agg(0, 0, '{1}'))$$), pg_temp.refusal($$SELECT semtok.import_safetensors('theirs', '')$$), pg_temp.refusal($$SELECT semtok.register_tokenizer('theirs', '{1}')$$);
RESET ROLE;
GRANT EXECUTE ON FUNCTION semtok.import_tokenizer(text, codebook, int, float8[], jsonb), semtok.import_safetensors(text, bytea, jsonb, int), semtok.register_tokenizer(text, int[], int) TO PUBLIC;
DROP ROLE regress_semtok_import;
BEGIN READ ONLY;
SELECT pg_temp.refusal($$SELECT semtok.import_tokenizer('copy', book) FROM book$$), pg_temp.refusal($$SELECT semtok.import_safetensors('copy', '')$$), pg_temp.refusal($$SELECT semtok.register_tokenizer('copy', '{1}')$$);
SELECT length(semtok.export_safetensors('copy')) > 0 AS exported;
COMMIT;

-- partial_fit goes on by the counts: (count * codeword + sum of rows) / (count + rows). Zero counts
-- let the first rows replace the codewords; without counts it is refused.
SELECT semtok.import_tokenizer(n, codebook_agg(0, c, array[c * 10]), counts => k) > 0 AS imported
	FROM (VALUES ('counted', '{3,1}'::float8[]), ('zero', '{0,0}'), ('uncounted', null)) AS t(n, k), generate_series(0, 1) AS c GROUP BY n, k ORDER BY n;
SELECT semtok.partial_fit(n, 'VALUES (array[4]), (array[4]), (array[8])') > 0 AS fitted FROM unnest(array['counted', 'zero']) AS n;
SELECT name, version, method, trained_rows, counts, codebook_vector(codebook, 0, 0) AS first, codebook_vector(codebook, 0, 1) AS second FROM semtok.tokenizer WHERE name IN ('counted', 'zero') AND version = 2 ORDER BY name;
SELECT pg_temp.refusal($$SELECT semtok.partial_fit('uncounted', 'SELECT 1/0')$$);
-- so a copy of a tokenizer is continued as the tokenizer is
SELECT semtok.train('origin', 'SELECT x FROM vectors WHERE i <= 200', levels => 2, codes => 8) AS origin \gset
SELECT semtok.import_safetensors('copy of origin', semtok.export_safetensors(:origin)) AS copy \gset
SELECT count(*), count(DISTINCT (hash, counts, options)) FROM semtok.tokenizer WHERE id IN (:origin, :copy);
SELECT semtok.partial_fit(n, 'SELECT x FROM vectors WHERE i > 200') > 0 AS fitted FROM unnest(array['origin', 'copy of origin']) AS n;
SELECT count(*), count(DISTINCT (hash, counts)) FROM semtok.tokenizer WHERE name IN ('origin', 'copy of origin') AND version = 2;
-- and a refined one is refused, as the original is; it keeps its width
SELECT semtok.train('refined', 'SELECT x FROM vectors', levels => 2, codes => 8, options => '{"refine": 1}') > 0 AS trained;
SELECT semtok.import_safetensors('copy of refined', semtok.export_safetensors('refined')) > 0 AS imported;
SELECT pg_temp.refusal($$SELECT semtok.partial_fit('copy of refined', 'SELECT 1/0')$$);
SELECT count(*) AS different FROM vectors WHERE semid_codes(semtok.encode('refined', x)) <> semid_codes(semtok.encode('copy of refined', x));

-- Files of others: names of tensors, numbers from 1, a dimension in front, other types.
CREATE FUNCTION safetensors(header text, data text) RETURNS bytea LANGUAGE sql AS $$
	SELECT decode(string_agg(lpad(to_hex(octet_length(header)::bigint >> 8 * i & 255), 2, '0'), '' ORDER BY i), 'hex') || convert_to(header, 'UTF8') || decode(data, 'hex')
	FROM generate_series(0, 7) i
$$;
-- layers.1 = {1, 2}, layers.2 = {3}; sizes as int64 {5, 6} and as float {7}
CREATE TABLE foreign_file AS SELECT safetensors('{"q.layers.1.embed":{"dtype":"F32","shape":[1,2,1],"data_offsets":[0,8]},"q.layers.2.embed":{"dtype":"F32","shape":[1,1],"data_offsets":[8,12]},"q.size.1":{"dtype":"I64","shape":[1,2],"data_offsets":[12,28]},'
	'"q.size.2":{"dtype":"F32","shape":[1],"data_offsets":[28,32]},"other":{"dtype":"BOOL","shape":[1],"data_offsets":[32,33]}}', '0000803f000000400000404005000000000000000600000000000000' || '0000e04001') AS file;
SELECT semtok.import_safetensors('foreign', file, '{"codebooks": "q.layers.{l}.embed", "first": 1, "counts": "q.size.{l}", "metric": "ip", "options": {"beam": 2}}', 762001) FROM foreign_file;
SELECT metric, sizes, options, counts, codebook_vector(codebook, 0, 1) AS first, codebook_vector(codebook, 1, 0) AS second FROM semtok.tokenizer WHERE id = 762001;
-- one tensor for all levels, and for all counts
SELECT semtok.import_safetensors('foreign', safetensors('{"e":{"dtype":"F32","shape":[2,1,1],"data_offsets":[0,8]},"n":{"dtype":"U8","shape":[2],"data_offsets":[8,10]}}', '0000803f000000400a14'), '{"codebooks": "e", "counts": "n"}', 762002);
SELECT metric, sizes, counts FROM semtok.tokenizer WHERE id = 762002;
\pset format unaligned
SELECT config || E'\n  ' || pg_temp.refusal(format('SELECT semtok.import_safetensors(''foreign'', file, %L) FROM foreign_file', config)) AS refusal FROM unnest(array[
	'{"codebooks": "q.layers.{l}.embed"}',
	'{"codebooks": "q.layers.{l}.embed", "first": 2, "counts": "q.size.{l}"}',
	'{"codebooks": "q.layers.{l}.embed", "first": 1, "counts": "q.layers.{l}.embed"}',
	'{"codebooks": "q.layers.{l}.embed", "first": 1, "counts": "q.layers.{l}.embed", "metric": 1}',
	'{"codebooks": "q.layers.{l}.embed", "first": 1, "counts": "nothing.{l}"}',
	'{"codebooks": "q.layers.{l}.embed", "first": 1, "counts": "other"}',
	'{"codebooks": "q.layers.1.embed"}',
	'{"codebooks": "q.size.{l}", "first": 1}',
	'{"codebooks": "nothing"}',
	'{"codebooks": 1}',
	'{"codebooks": null}',
	'{"first": -1}',
	'{"first": 1.5}',
	'{"first": "1"}',
	'{"first": 1e400}',
	'{"codebooks": "q.layers.{l}.embed", "first": 1, "options": {"beam": 0}}',
	'{"codebooks": "q.layers.{l}.embed", "first": 1, "options": {"bean": 1}}',
	'{"codebooks": "q.layers.{l}.embed", "first": 1, "options": 1}',
	'{}', '1', 'null'
]) WITH ORDINALITY AS t(config, n) ORDER BY n;
\pset format aligned
SELECT pg_temp.refusal($$SELECT semtok.import_safetensors('foreign', safetensors('{"__metadata__":{"semtok.options":"x"},"codebooks.0":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}', '0000803f'))$$),
	pg_temp.refusal($$SELECT semtok.import_safetensors('foreign', safetensors('{"__metadata__":{"semtok.options":"{\"unheard\":1}"},"codebooks.0":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}', '0000803f'))$$);

SELECT count(semtok.drop_tokenizer(name)) FROM (SELECT DISTINCT name FROM semtok.tokenizers WHERE name IN ('copy', 'next', 'past', 'counted', 'zero', 'uncounted', 'origin', 'copy of origin', 'refined', 'copy of refined', 'foreign')) AS n;
DROP TABLE vectors, book, foreign_file;
DROP FUNCTION safetensors;
