-- A query that calls a function for every row keeps no memory of the calls.
SET client_min_messages = error;
SET jit = off;
SET max_parallel_workers_per_gather = 0;
CREATE TABLE items AS SELECT i, array[i % 10, i % 7, i % 3]::real[] AS x, semid(array[i % 10, i % 7]) AS sid FROM generate_series(1, 5000) i;
SELECT semtok.train('items', 'SELECT x FROM items', levels => 2, codes => 4, epochs => 2) AS id \gset
CREATE TABLE ids AS SELECT semid(array[i % 10, i % 7]) AS sid FROM generate_series(1, 100) i;
CREATE INDEX ON ids USING semtrie (sid);
CREATE FUNCTION used() RETURNS bigint LANGUAGE sql VOLATILE AS 'SELECT sum(used_bytes)::bigint FROM pg_backend_memory_contexts';
-- What the calls for rows 1000 to 5000 leave behind, while their query still runs.
CREATE FUNCTION kept(call text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
	bytes bigint;
BEGIN
	EXECUTE format('SELECT max(u) FILTER (WHERE i = 5000) - min(u) FILTER (WHERE i = 1000) FROM (SELECT i, CASE WHEN i IN (1000, 5000) THEN used() END AS u FROM items, LATERAL (SELECT count(*) FROM %s AS f) AS c OFFSET 0) AS q', call) INTO bytes;
	RETURN bytes;
END $$;
SELECT call, CASE WHEN kept(call) < 4000 * 20 THEN 'nothing' ELSE kept(call) || ' bytes' END AS kept FROM unnest(array[
	$$semtok.encode_trace('items', x)$$, $$semtok.encode_candidates('items', x, 2)$$, $$semtok.encode('items', x)$$, $$semtok.encode('items', x, 4)$$, $$semtok.decode('items', semtok.encode('items', x))$$,
	$$semtok.neighbors('items', x)$$, $$semtok.export_safetensors(left('items', 4 + i))$$, $$semtok.explain(sid, semtok.logits(array[x, x]))$$, $$semtok.next_codes('ids', semid_prefix(sid, 1))$$, $$semtok.next_codes_set(semset(array[sid]), NULL)$$,
	$$semtok.next_codes_batch('ids', array[NULL, sid])$$, $$semtok.next_codes_batch_set(semset(array[sid]), array[NULL, sid])$$, $$semtok.mask('ids', array[NULL, sid], 10, exclude => semset(array[sid]))$$, $$semtok.mask_set(semset(array[sid]), array[NULL, sid], 10)$$,
	$$semtok.mask_packed('ids', array[NULL, sid], 10)$$, $$semtok.mask_packed_set(semset(array[sid]), array[NULL, sid], 10)$$, $$semtok.sample('ids', 3)$$, $$semtok.sample('ids', 60)$$, $$semtok.sample_set(semset(array[sid]), 1)$$,
	$$semtok.beam_search('ids', semtok.logits(array[x, x]), 2)$$, $$semtok.beam_search_set(semset(array[sid]), semtok.logits(array[x, x]), 2)$$, $$semset_members(semset(array[sid]))$$, $$codebook_entries((SELECT codebook FROM semtok.tokenizer WHERE name = left('items', 4 + i)))$$,
	$$semset_from_npz(semset_to_npz(semset(array[sid]), 10, 1, 'static'))$$, $$semset_from_npz(semset_to_npz(semset(array[sid]), 10, 1, 'rectokens'))$$, $$semset_to_json(semset(array[sid]) | semset(array[sid]), 'sid2pid')$$,
	$$semid_from_tokens(semid_tokens(sid))$$, $$semid_unflat(semid_flat(sid, '{10,10}'), '{10,10}')$$]) WITH ORDINALITY AS t(call, n) ORDER BY n;
SELECT semtok.drop_tokenizer('items');
DROP TABLE items, ids;
DROP FUNCTION used, kept;
