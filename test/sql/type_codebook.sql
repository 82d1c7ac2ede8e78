-- codebook: I/O, parts, the aggregate, safetensors, equality.
\set VERBOSITY terse

-- text is JSON, keys in any order
SELECT '{"dim":2,"sizes":[2,1],"metric":"l2","data":"AACAPwAAAEAAAEBAAACAQAAAoEAAAMBA"}'::codebook;
SELECT ' { "data" : "AACAPwAAAEAAAEBAAACAQAAAoEAAAMBA", "metric" : "cosine", "sizes" : [ 2 , 1 ], "dim" : 2 } '::codebook;
SELECT '{"dim":1,"sizes":[1],"metric":"ip","data":"AAAAgA=="}'::codebook AS minus_zero;
SELECT j->'sizes' AS sizes, j::codebook::text = j::text AS same
FROM (SELECT '{"dim":1,"sizes":[1],"metric":"ip","data":"AAAAgA=="}'::json j) t;
SELECT ('{"dim":1,"sizes":[1],"metric":"ip","data":"AAAAgA=="}'::codebook)::json->>'metric' AS metric;

-- made from rows in any order
SELECT codebook_agg(level, code, vector ORDER BY random()) AS cb
FROM (VALUES (0, 0, '{1,2}'::real[]), (0, 1, '{3,4}'), (1, 0, '{5,6}')) t(level, code, vector) \gset
SELECT :'cb';
SELECT codebook_levels(:'cb'), codebook_sizes(:'cb'), codebook_dim(:'cb'), codebook_metric(:'cb'), codebook_hash(:'cb');
SELECT encode(sha256(codebook_send(:'cb')), 'hex') = codebook_hash(:'cb') AS hash_of_content;
SELECT codebook_vector(:'cb', 0, 1), codebook_vector(:'cb', 1, 0);
SELECT * FROM codebook_entries(:'cb');
SELECT codebook_agg(level, code, vector) = :'cb' AS same FROM codebook_entries(:'cb');
SELECT codebook_agg(level, code, vector, 'cosine') FROM codebook_entries(:'cb');
SELECT codebook_metric(codebook_agg(0, 0, '{1}', metric)) FROM unnest('{l2,ip,cosine}'::text[]) metric GROUP BY metric ORDER BY 1;
SELECT codebook_agg(0, 0, '{1}') IS NULL AS no_rows WHERE false;
-- as a window function the state is read again and again
SELECT c, codebook_sizes(codebook_agg(0, c, array[c]::real[]) OVER (ORDER BY c)) FROM generate_series(0, 2) c;

-- equality is of content; the metric belongs to it
SELECT :'cb'::codebook = :'cb', :'cb'::codebook <> :'cb', :'cb'::codebook = codebook_agg(level, code, vector, 'ip') AS other_metric
FROM codebook_entries(:'cb');
CREATE TABLE books (id int, cb codebook);
INSERT INTO books SELECT i, codebook_agg(0, c, array_fill((i % 3 + c)::real, array[300])) FROM generate_series(1, 9) i, generate_series(0, 7) c GROUP BY i;
SELECT count(*), count(DISTINCT codebook_hash(cb)) FROM books;
SELECT count(*) FROM (SELECT cb FROM books GROUP BY cb) g;
SET enable_mergejoin = off; SET enable_nestloop = off;
SELECT count(*) FROM books a JOIN books b USING (cb);
RESET enable_mergejoin; RESET enable_nestloop;
CREATE INDEX ON books USING hash (cb);
SET enable_seqscan = off; SET enable_bitmapscan = off;
SELECT count(*) FROM books WHERE cb = (SELECT cb FROM books ORDER BY id LIMIT 1);
RESET enable_seqscan; RESET enable_bitmapscan;
-- parts of a toasted one come from slices
SELECT codebook_levels(cb), codebook_sizes(cb), codebook_dim(cb), (codebook_vector(cb, 0, 7))[300],
	array_length(codebook_vector(cb, 0, 3), 1), pg_column_size(cb) > 9600 AS not_compressed FROM books WHERE id = 4;
DROP TABLE books;

-- aggregated in parallel
CREATE TABLE codewords AS SELECT l AS level, c AS code, array[l, c, l * c]::real[] AS vector, 'ip'::text AS metric
FROM generate_series(0, 2) l, generate_series(0, 1999) c;
SELECT codebook_hash(codebook_agg(level, code, vector, metric)) AS serial FROM codewords \gset
ALTER TABLE codewords SET (parallel_workers = 2);
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
EXPLAIN (COSTS OFF) SELECT codebook_agg(level, code, vector) FROM codewords;
SELECT codebook_sizes(cb), (SELECT bool_and(vector = array[level, code, level * code]::real[]) FROM codebook_entries(cb)) AS right_place
FROM (SELECT codebook_agg(level, code, vector) cb FROM codewords) t;
SELECT codebook_hash(codebook_agg(level, code, vector, metric)) = :'serial' AS same FROM codewords;
SELECT codebook_agg(level, least(code, 1998), vector) FROM codewords WHERE level = 0;
SELECT codebook_agg(level, code, vector) FROM codewords WHERE code <> 7;
RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size;
DROP TABLE codewords;

-- safetensors
SELECT length(f) AS bytes, get_byte(f, 0) AS header, get_byte(f, 0) % 8 AS aligned, convert_from(substr(f, 9, get_byte(f, 0)), 'UTF8') AS text
FROM (SELECT codebook_to_safetensors('{"dim":1,"sizes":[1],"metric":"ip","data":"AACAPw=="}') f) t;
SELECT metric, codebook_from_safetensors(codebook_to_safetensors(cb)) = cb AS same, codebook_metric(codebook_from_safetensors(codebook_to_safetensors(cb), 'l2')) AS overridden
FROM unnest('{l2,ip,cosine}'::text[]) metric, LATERAL (SELECT codebook_agg(level, code, vector, metric) cb FROM codebook_entries(:'cb')) t;
SELECT codebook_from_safetensors(NULL) IS NULL AS null_in;
-- files as other tools write them: a header and the tensors' bytes
CREATE FUNCTION safetensors(header text, data text DEFAULT '') RETURNS bytea LANGUAGE sql AS $$
	SELECT decode(string_agg(lpad(to_hex(octet_length(header)::bigint >> 8 * i & 255), 2, '0'), '' ORDER BY i), 'hex')
		|| convert_to(header, 'UTF8') || decode(data, 'hex') FROM generate_series(0, 7) i
$$;
SELECT name, codebook_sizes(cb), codebook_dim(cb), codebook_metric(cb), (SELECT array_agg(vector ORDER BY level, code) FROM codebook_entries(cb)) AS vectors
FROM (VALUES
	('F32', '{"codebooks.0":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}', '0000803f000000c0'),
	('F16', '{"codebooks.0":{"dtype":"F16","shape":[1,4],"data_offsets":[0,8]}}', '003c00c001000080'),
	('BF16', '{"codebooks.0":{"dtype":"BF16","shape":[1,2],"data_offsets":[0,4]}}', '803f00c0'),
	('F64', '{"codebooks.0":{"dtype":"F64","shape":[1,2],"data_offsets":[0,16]}}', '000000000000f03f9a9999999999b93f'),
	('stacked', '{"codebooks":{"dtype":"F16","shape":[2,2,1],"data_offsets":[0,8]}}   ', '003c004000420044'),
	('two levels, other tensors', '{"__metadata__":{"a":"b","metric":"cosine"},"counts.0":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},"codebooks.1":{"data_offsets":[12,20],"shape":[2,1],"dtype":"F32"},"codebooks.0":{"dtype":"F32","shape":[1,1],"data_offsets":[8,12]},"empty":{"dtype":"F32","shape":[0,7],"data_offsets":[20,20]}}',
		'01000000000000000000803f000000400000c040'),
	('escaped name', '{"\u0063odebooks.0":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}', '0000803f')
) t(name, header, data), LATERAL (SELECT codebook_from_safetensors(safetensors(header, data)) cb) c;
SELECT codebook_metric(codebook_from_safetensors(safetensors('{"codebooks.0":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}}', '0000803f'), 'ip'));
DROP FUNCTION safetensors;
