-- Codebooks that carry a network, against layers computed in SQL. All weights are small multiples of 1/32, so that every sum is exact.

CREATE SCHEMA codebook_network;
SET search_path = codebook_network, public;
CREATE FUNCTION numbers(n int, seed int) RETURNS real[] LANGUAGE sql IMMUTABLE AS
	$$SELECT array_agg((((i * 37 + seed * 11) % 63 - 31) / 32.0)::real ORDER BY i) FROM generate_series(1, n) AS i$$;
CREATE FUNCTION packed(x real[]) RETURNS text LANGUAGE sql IMMUTABLE AS
	$$SELECT translate(encode(string_agg(substring(f, 4, 1) || substring(f, 3, 1) || substring(f, 2, 1) || substring(f, 1, 1), '' ORDER BY i), 'base64'), E'\n', '')
		FROM (SELECT i, float4send(v) AS f FROM unnest(x) WITH ORDINALITY AS u(v, i)) AS f$$;
-- One layer: weights [outs][ins], then biases [outs]
CREATE FUNCTION layer(x real[], w real[], outs int, relu bool) RETURNS real[] LANGUAGE sql IMMUTABLE AS
	$$SELECT array_agg((CASE WHEN relu THEN greatest(y, 0) ELSE y END)::real ORDER BY o) FROM (SELECT o, w[outs * cardinality(x) + o] + (SELECT sum(x[i]::float8 * w[(o - 1) * cardinality(x) + i]) FROM generate_series(1, cardinality(x)) AS i) AS y
		FROM generate_series(1, outs) AS o) AS y$$;

-- 6 numbers to 5 to 4, and back by 7
CREATE TABLE parts AS SELECT numbers(30 + 5, 1) AS e0, numbers(20 + 4, 2) AS e1, numbers(28 + 7, 3) AS d0, numbers(42 + 6, 4) AS d1, numbers(4 * (8 + 8), 5) AS words;
CREATE FUNCTION encoder(x real[]) RETURNS real[] LANGUAGE sql STABLE AS $$SELECT layer(layer(x, e0, 5, true), e1, 4, false) FROM parts$$;
CREATE FUNCTION decoder(z real[]) RETURNS real[] LANGUAGE sql STABLE AS $$SELECT layer(layer(z, d0, 7, true), d1, 6, false) FROM parts$$;
CREATE TABLE book AS SELECT format('{"dim":4,"sizes":[8,8],"metric":"l2","data":"%s","inputs":6,"activation":"relu","standardized":0,"encoder":[5,4],"decoder":[7,6],"network":"%s"}',
	packed(words), packed(e0 || e1 || d0 || d1)) AS form FROM parts;
ALTER TABLE book ADD c codebook;
UPDATE book SET c = form::codebook;
SELECT c::text = form AS same_text, c::json::codebook = c AS by_json, codebook_dim(c), codebook_latent_dim(c), codebook_levels(c), codebook_sizes(c), codebook_metric(c),
	get_byte(codebook_send(c), 0) AS version, length(codebook_send(c)) AS bytes, codebook_vector(c, 1, 7) = words[61:64] AS last_codeword FROM book, parts;
ALTER TABLE book ADD plain codebook;
UPDATE book SET plain = (SELECT codebook_agg(level, code, vector) FROM codebook_entries(c));
SELECT codebook_dim(plain), codebook_latent_dim(plain), get_byte(codebook_send(plain), 0) AS version, plain = c AS same, codebook_hash(plain) = codebook_hash(c) AS same_hash FROM book;
CREATE TABLE rows AS SELECT i AS id, numbers(6, i) AS x FROM generate_series(1, 60) AS i;

-- What is encoded is what the encoder makes of it; what is decoded goes through the decoder.
SELECT count(DISTINCT semtok.encode(c, x)) > 1 AS ids, bool_and(semtok.encode(c, x) = semtok.encode(plain, encoder(x))) AS encoded,
	bool_and(semtok.encode(c, x, 5) = semtok.encode(plain, encoder(x), 5)) AS by_beam,
	bool_and(semtok.decode(c, semtok.encode(c, x)) = decoder(semtok.decode(plain, semtok.encode(c, x)))) AS decoded,
	bool_and(semtok.decode(c, semid_prefix(semtok.encode(c, x), 1)) = decoder(semtok.decode(plain, semid_prefix(semtok.encode(c, x), 1)))) AS coarser,
	bool_and(semtok.neighbors(c, x)::text = semtok.neighbors(plain, encoder(x))::text) AS neighbors
	FROM rows, book;

-- As a tokenizer of the catalog
SELECT semtok.import_tokenizer('net', c) IS NOT NULL AS imported FROM book;
SELECT semtok.import_tokenizer('latent', plain) IS NOT NULL AS imported FROM book;
SELECT name, dim, sizes FROM semtok.tokenizers WHERE name IN ('net', 'latent') ORDER BY name;
SELECT bool_and(semid_codes(semtok.encode('net', x)) = semid_codes(semtok.encode('latent', encoder(x)))) AS encoded, bool_and(semtok.decode(semtok.encode('net', x)) = decoder(semtok.decode(semtok.encode('latent', encoder(x))))) AS decoded FROM rows;
SELECT count(*) AS differ FROM rows, semtok.encode_trace('net', x) AS a FULL JOIN semtok.encode_trace('latent', encoder(x)) AS b USING (level, code, distance, residual_norm, second_code, margin) WHERE a IS NULL OR b IS NULL;
SELECT bool_and(a.distortion = b.distortion AND semid_codes(a.sid) = semid_codes(b.sid)) AS same, count(*) FROM (SELECT id, c.*, row_number() OVER (PARTITION BY id) AS n FROM rows, semtok.encode_candidates('net', x, 4) AS c) AS a
	JOIN (SELECT id, c.*, row_number() OVER (PARTITION BY id) AS n FROM rows, semtok.encode_candidates('latent', encoder(x), 4) AS c) AS b USING (id, n);
-- Errors are measured in the space of embeddings.
SELECT e.level, abs(e.mse - m.mse) <= 1e-12 * m.mse AS mse, abs(e.relative_error - m.mse / m.norm) <= 1e-12 AS relative_error
	FROM semtok.evaluate('net', 'SELECT x FROM rows ORDER BY id') AS e JOIN
	(SELECT l, avg((SELECT sum((a::float8 - b) ^ 2) FROM unnest(x, semtok.decode('net', semid_prefix(semtok.encode('net', x), l))) AS u(a, b))) AS mse, avg((SELECT sum(a::float8 ^ 2) FROM unnest(x) AS a)) AS norm
		FROM rows, generate_series(1, 2) AS l GROUP BY l) AS m ON m.l = coalesce(e.level + 1, 2) ORDER BY e.level NULLS FIRST;
-- Many rows, here and in a worker: the same ids.
CREATE TABLE items (id int, x real[], sid semid, by_worker semid);
INSERT INTO items (id, x) SELECT i, numbers(6, i) FROM generate_series(1, 3000) AS i;
SET client_min_messages = warning;
SET semtok.offload = on;
SET semtok.worker_timeout = '60s';
CALL semtok.tokenize('items', 'x', 'by_worker', 'net');
SELECT count(*) AS differ FROM semtok.encode_batch('net', 'SELECT id, x FROM items') AS b JOIN items ON items.id = key::int WHERE b.sid <> by_worker;
SET semtok.offload = off;
CALL semtok.tokenize('items', 'x', 'sid', 'net');
RESET semtok.offload;
SELECT count(*), count(*) FILTER (WHERE sid IS DISTINCT FROM by_worker OR sid IS DISTINCT FROM semtok.encode('net', x)) AS differ FROM items;
CREATE TABLE triggered (x real[], sid semid);
CREATE TRIGGER t BEFORE INSERT ON triggered FOR EACH ROW EXECUTE FUNCTION semtok.tokenize_trigger('x', 'sid', 'net');
INSERT INTO triggered SELECT x FROM rows;
SELECT count(*) FILTER (WHERE sid <> semtok.encode('net', x)) AS differ, count(sid) FROM triggered;
RESET client_min_messages;

-- Standardized, and other activations; a zero embedding is none of the metric's business.
CREATE FUNCTION book(metric text, activation text, standardized int, scale real) RETURNS codebook LANGUAGE sql STABLE AS
	$$SELECT format('{"dim":4,"sizes":[8,8],"metric":"%s","data":"%s","inputs":6,"activation":"%s","standardized":%s,"encoder":[5,4],"decoder":[7,6],"network":"%s"}', metric, packed(words), activation, standardized,
		packed(CASE standardized WHEN 1 THEN array_fill(0.5::real, '{6}') || array_fill(scale, '{6}') END || e0 || e1 || d0 || d1))::codebook FROM parts$$;
SELECT bool_and(semtok.encode(book('l2', 'relu', 1, 2), x) = semtok.encode(plain, encoder((SELECT array_agg((v - 0.5) * 2 ORDER BY i)::real[] FROM unnest(x) WITH ORDINALITY AS u(v, i))))) AS encoded,
	bool_and(semtok.decode(book('l2', 'relu', 1, 2), '[3,5]') = (SELECT array_agg(v / 2 + 0.5 ORDER BY i)::real[] FROM unnest(decoder(semtok.decode(plain, '[3,5]'))) WITH ORDINALITY AS u(v, i))) AS decoded FROM rows, book WHERE id <= 20;
SELECT activation, semtok.decode(book('l2', activation, 0, 1), '[1,6]') FROM unnest('{relu,gelu,silu}'::text[]) AS activation;
SELECT semtok.import_tokenizer('cos', book('cosine', 'silu', 0, 1)) IS NOT NULL AS imported;
SELECT number, semid_codes(sid) FROM semtok.encode_batch('cos', $$VALUES (1, '{0,0,0,0,0,0}'::real[])$$);
SELECT rows FROM semtok.evaluate('cos', $$VALUES ('{0,0,0,0,0,0}'::real[])$$) WHERE level IS NULL;

-- Refused
SELECT semtok.encode(c, '{1,2,3,4}') FROM book;
SELECT semtok.encode(c, '{1,2,3,NaN,5,6}') FROM book;
SELECT semtok.encode(c, array_fill(3e38::real, '{6}')) FROM book;
SELECT semtok.neighbors(c, array_fill(3e38::real, '{6}')) FROM book;
CREATE FUNCTION try(form text) RETURNS text LANGUAGE plpgsql AS $$DECLARE d text; BEGIN PERFORM form::codebook; RETURN 'read'; EXCEPTION WHEN OTHERS THEN GET STACKED DIAGNOSTICS d = PG_EXCEPTION_DETAIL; RETURN concat_ws(': ', sqlstate, sqlerrm, nullif(d, '')); END$$;
SELECT try(replace(form, a, b)) FROM book, (VALUES ('"inputs":6', '"inputs":7'), ('"inputs":6,', ''), ('"activation":"relu"', '"activation":"tanh"'), ('"standardized":0', '"standardized":2'), ('"standardized":0', '"standardized":1'),
	('"encoder":[5,4]', '"encoder":[]'), ('"encoder":[5,4]', '"encoder":[5,5]'), ('"encoder":[5,4]', '"encoder":[0,4]'), ('"encoder":[5,4]', '"encoder":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,4]'), ('"decoder":[7,6]', '"decoder":[7,16001,6]'),
	('"network":"', '"network":"AAAA'), (',"network":', ',"net":')) AS v(a, b);
SELECT try(format('{"dim":1,"sizes":[1],"metric":"l2","data":"%s","inputs":1,"activation":"relu","standardized":%s,"encoder":[1],"decoder":[1],"network":"%s"}', packed('{1}'), s, packed(n))) FROM
	(VALUES (0, '{1,1,1,1}'::real[]), (0, '{NaN,1,1,1}'), (0, '{1,1,1,Infinity}'), (1, '{1,0,1,1,1,1}'), (1, '{NaN,1,1,1,1,1}'), (1, '{1,1,1,1,1,1}')) AS v(s, n);

-- safetensors: the names of RecTokens' RQVAETokenizer
SELECT codebook_from_safetensors(codebook_to_safetensors(c)) = c AS same, codebook_from_safetensors(codebook_to_safetensors(book('ip', 'gelu', 1, 0.25))) = book('ip', 'gelu', 1, 0.25) AS standardized FROM book;
SELECT convert_from(substring(f, 9, get_byte(f, 0) + 256 * get_byte(f, 1)), 'UTF8') AS header FROM book, codebook_to_safetensors(c) AS f;
SELECT semtok.import_safetensors('net', semtok.export_safetensors('net')) IS NOT NULL AS imported;
SELECT count(DISTINCT hash) FROM semtok.tokenizers WHERE name = 'net';
SELECT semtok.import_safetensors('alone', codebook_to_safetensors(c), '{"encoder": null}') IS NOT NULL AS imported FROM book;
SELECT dim FROM semtok.tokenizers WHERE name = 'alone';
-- A file of tensors by name; the names of LC-Rec by config
CREATE FUNCTION tensors(names text[], shapes text[], data bytea[]) RETURNS bytea LANGUAGE sql IMMUTABLE AS
	$$WITH t AS (SELECT n, s, d, sum(length(d)) OVER (ORDER BY i) AS e, i FROM unnest(names, shapes, data) WITH ORDINALITY AS u(n, s, d, i)),
		h AS (SELECT '{' || string_agg(format('"%s":{"dtype":"F32","shape":[%s],"data_offsets":[%s,%s]}', n, s, e - length(d), e), ',' ORDER BY i) || '}' AS h FROM t)
	SELECT decode(to_hex(length(h) % 256)::text, 'hex') || decode('0' || to_hex(length(h) / 256), 'hex') || '\x000000000000'::bytea || convert_to(h, 'UTF8') || (SELECT string_agg(d, ''::bytea ORDER BY i) FROM t) FROM h$$;
CREATE FUNCTION state(encoder text, decoder text, level text, step int, start int) RETURNS TABLE (name text, shape text, data bytea) LANGUAGE sql STABLE AS
	$$SELECT v.n, v.s, decode(packed(v.d), 'base64') FROM parts, LATERAL (VALUES (replace(level, '{l}', '0'), '8,4', parts.words[1:32]), (replace(level, '{l}', '1'), '8,4', parts.words[33:64]),
		(replace(encoder, '{l}', start::text) || '.weight', '5,6', e0[1:30]), (replace(encoder, '{l}', start::text) || '.bias', '5', e0[31:35]),
		(replace(encoder, '{l}', (start + step)::text) || '.weight', '4,5', e1[1:20]), (replace(encoder, '{l}', (start + step)::text) || '.bias', '4', e1[21:24]),
		(replace(decoder, '{l}', start::text) || '.weight', '7,4', d0[1:28]), (replace(decoder, '{l}', start::text) || '.bias', '7', d0[29:35]),
		(replace(decoder, '{l}', (start + step)::text) || '.weight', '6,7', d1[1:42]), (replace(decoder, '{l}', (start + step)::text) || '.bias', '6', d1[43:48])) AS v(n, s, d)$$;
CREATE TABLE state AS SELECT * FROM state('encoder.net.{l}', 'decoder.net.{l}', 'rq._module_levels.{l}._codebook.embeddings', 2, 0);
SELECT codebook_from_safetensors(tensors(array_agg(name), array_agg(shape), array_agg(data))) = (SELECT c FROM book) AS rectokens FROM state;
SELECT semtok.import_safetensors('lcrec', (SELECT tensors(array_agg(name), array_agg(shape), array_agg(data)) FROM state('encoder.mlp_layers.{l}', 'decoder.mlp_layers.{l}', 'rq.vq_layers.{l}.embedding.weight', 3, 1)),
	'{"codebooks": "rq.vq_layers.{l}.embedding.weight", "encoder": "encoder.mlp_layers.{l}", "decoder": "decoder.mlp_layers.{l}", "activation": "relu"}') IS NOT NULL AS imported;
SELECT count(DISTINCT hash) FROM semtok.tokenizers WHERE name IN ('net', 'lcrec');
-- Missing, extra, misshapen, NaN
CREATE FUNCTION try_state(edit text) RETURNS text LANGUAGE plpgsql AS $$DECLARE d text; f bytea; BEGIN EXECUTE 'CREATE TEMP TABLE s AS SELECT * FROM state'; EXECUTE edit; EXECUTE 'SELECT tensors(array_agg(name), array_agg(shape), array_agg(data)) FROM s' INTO f;
	PERFORM codebook_from_safetensors(f); EXECUTE 'DROP TABLE s'; RETURN 'read'; EXCEPTION WHEN OTHERS THEN GET STACKED DIAGNOSTICS d = PG_EXCEPTION_DETAIL; RETURN concat_ws(': ', sqlstate, sqlerrm, nullif(d, '')); END$$;
SELECT name, try_state(format('DELETE FROM s WHERE name = %L', name)) FROM state;
SELECT name, try_state(format('UPDATE s SET data = %L WHERE name = %L', overlay(data PLACING '\x0000c07f' FROM 1), name)) FROM state;
SELECT edit, try_state(edit) FROM unnest(array[$$UPDATE s SET shape = '6,5' WHERE name = 'encoder.net.0.weight'$$, $$UPDATE s SET shape = '30' WHERE name = 'encoder.net.0.weight'$$,
	$$UPDATE s SET shape = '5,4' WHERE name = 'encoder.net.2.weight'$$, $$UPDATE s SET shape = '8,4', data = data || data WHERE name = 'encoder.net.2.bias'$$, $$UPDATE s SET name = 'encoder.net.1.weight' WHERE name = 'encoder.net.2.weight'$$,
	$$INSERT INTO s VALUES ('encoder.net.1.running_mean', '1', '\x00000000')$$, $$INSERT INTO s VALUES ('decoder.net.4.weight', '1,6', '\x000000000000000000000000000000000000000000000000'), ('decoder.net.4.bias', '1', '\x00000000')$$,
	$$INSERT INTO s VALUES ('standardize.mean', '6', '\x000000000000000000000000000000000000000000000000')$$, $$INSERT INTO s VALUES ('standardize.mean', '1', '\x00000000'), ('standardize.scale', '1', '\x00000000')$$,
	$$INSERT INTO s SELECT replace(name, 'net.2', 'net.1000000'), shape, data FROM state WHERE name LIKE 'encoder.net.2%'$$]) AS edit;
-- Layers as GRID numbers them, with a dropout behind each but the first; and others, one of which is missing then
CREATE TABLE deep AS SELECT format('{"dim":2,"sizes":[1],"metric":"l2","data":"%s","inputs":2,"activation":"relu","standardized":0,"encoder":[2,2,2,2],"decoder":[2,2,2,2],"network":"%s"}', packed(numbers(2, 8)), packed(numbers(48, 9)))::codebook AS c;
CREATE FUNCTION renamed(four text, six text) RETURNS bytea LANGUAGE sql STABLE AS
	$$SELECT decode(replace(replace(encode(codebook_to_safetensors(c), 'hex'), encode('coder.net.4.', 'hex'), encode(convert_to('coder.net.' || four || '.', 'UTF8'), 'hex')),
		encode('coder.net.6.', 'hex'), encode(convert_to('coder.net.' || six || '.', 'UTF8'), 'hex')), 'hex') FROM deep$$;
SELECT codebook_from_safetensors(renamed('4', '6')) = c AS rectokens, codebook_from_safetensors(renamed('5', '8')) = c AS grid FROM deep;
SELECT codebook_from_safetensors(renamed('4', '8'));
SELECT codebook_from_safetensors(renamed('5', '9'));
SELECT codebook_from_safetensors(renamed('7', '8'));
SELECT semtok.import_safetensors('bad', codebook_to_safetensors(c), config) FROM book, (VALUES ('{"encoder": "encoder.net.0"}'::jsonb)) AS v(config);
SELECT semtok.import_safetensors('bad', codebook_to_safetensors(c), '{"encoder": 7}') FROM book;
SELECT semtok.import_safetensors('bad', codebook_to_safetensors(c), '{"decoder": "back.{l}"}') FROM book;
SELECT semtok.import_safetensors('bad', codebook_to_safetensors(c), '{"activation": "tanh"}') FROM book;

SET client_min_messages = warning;
DROP SCHEMA codebook_network CASCADE;
SELECT count(semtok.drop_tokenizer(name)) AS dropped FROM (SELECT DISTINCT name FROM semtok.tokenizers) AS t;
