-- A codebook of 20 MB is fetched and parsed once per query, not once per row; what a backend keeps
-- of parsed codebooks is bounded.
SET statement_timeout = '60s';
CREATE TABLE books (id int PRIMARY KEY, cb codebook);
-- 4096 codewords of 1280 dimensions; every value of codeword c is c
INSERT INTO books SELECT 1, codebook_agg(0, c, array_fill(c::real, array[1280])) FROM generate_series(0, 4095) c;
SELECT pg_column_size(cb), codebook_sizes(cb), codebook_dim(cb), codebook_vector(cb, 0, 4095) = array_fill(4095::real, array[1280]) AS last FROM books;
SELECT octet_length(cb::text), cb::text::codebook = cb AS text, codebook_from_safetensors(codebook_to_safetensors(cb)) = cb AS safetensors FROM books;
CREATE TABLE embeddings AS SELECT i AS id, array_fill((i * 20 % 4096 + 0.25)::real, array[1280]) AS v FROM generate_series(1, 200) i;

-- how often a query reads the table that the codebook is toasted in
CREATE FUNCTION toast_reads() RETURNS bigint LANGUAGE sql VOLATILE AS $$
	SELECT coalesce(sum(idx_scan), 0)::bigint FROM pg_stat_xact_all_tables WHERE relid = (SELECT reltoastrelid FROM pg_class WHERE oid = 'books'::regclass)
$$;
BEGIN;
SELECT toast_reads() AS before \gset
SELECT count(*), bool_and(semid_code(semtok.encode(cb, v), 0) = e.id * 20 % 4096) AS right_code FROM books, embeddings e;
SELECT toast_reads() - :before BETWEEN 1 AND 4 AS join_reads_it_once;
COMMIT;
BEGIN;
SELECT toast_reads() AS before \gset
SELECT count(*), bool_and(semid_code(semtok.encode((SELECT cb FROM books), v), 0) = e.id * 20 % 4096) AS right_code FROM embeddings e;
SELECT toast_reads() - :before BETWEEN 1 AND 4 AS subquery_reads_it_once;
COMMIT;
BEGIN;
SELECT toast_reads() AS before \gset
SELECT min('[7]'::semid <~> semtok.neighbors(cb, v)) FROM books, embeddings e WHERE e.id <= 50;
SELECT toast_reads() - :before BETWEEN 1 AND 4 AS neighbors_reads_it_once;
COMMIT;

-- another codebook in every other row is never taken for the first
CREATE TABLE pairs AS SELECT i AS id, CASE WHEN i % 2 = 0 THEN codebook_agg(0, c, array[c]::real[]) ELSE codebook_agg(0, c, array[-c]::real[]) END AS cb
FROM generate_series(1, 6) i, generate_series(0, 9) c GROUP BY i;
SELECT id, semtok.encode(cb, array[(-1) ^ id * 7]::real[]) FROM pairs ORDER BY id;
UPDATE pairs SET cb = codebook_agg FROM (SELECT codebook_agg(0, c, array_fill((1000 - c)::real, array[800])) FROM generate_series(0, 9) c) t WHERE id % 3 = 0;
SELECT id, semtok.encode(cb, CASE WHEN id % 3 = 0 THEN array_fill(993::real, array[800]) ELSE array[(-1) ^ id * 7]::real[] END) FROM pairs ORDER BY id;
DO $$
DECLARE
	cb codebook;
	ids text := '';
BEGIN
	FOR i IN 1..3 LOOP
		cb := codebook_agg(0, c, array[i * c]::real[]) FROM generate_series(0, 9) c;
		ids := ids || semtok.encode(cb, '{6}')::text || ' ';
	END LOOP;
	RAISE NOTICE '%', ids;
END $$;

-- the cache: entries in use do not count, the rest is kept up to semtok.codebook_cache
CREATE FUNCTION cached() RETURNS bigint LANGUAGE sql VOLATILE AS $$ SELECT count(*) FROM pg_backend_memory_contexts WHERE name = 'semtok codebook' $$;
\c -
SELECT cached();
SELECT count(semtok.encode(cb, '{1}')) FROM pairs WHERE id % 3 <> 0;
SELECT cached();
SELECT count(semtok.encode(cb, array_fill(1::real, array[1280]))) FROM books;
SELECT cached();
SET semtok.codebook_cache = '1MB';
SELECT count(semtok.encode(cb, array_fill(1::real, array[1280]))) FROM books;
SELECT cached();
SET semtok.codebook_cache = 0;
SELECT count(semtok.encode(cb, '{1}')), max(cached()) > 0 AS kept_while_in_use FROM pairs WHERE id % 3 <> 0;
SELECT cached();
-- an error in the middle of a query lets go of what it held
SELECT semtok.encode(cb, '{1,2}') FROM pairs WHERE id = 1;
SELECT cached();
DROP TABLE books, embeddings, pairs;
DROP FUNCTION toast_reads, cached;
