-- One step for models outside the database: what may follow prefixes, as rows or as bits. Samples.

CREATE FUNCTION semtok.next_codes_batch(
	items regclass, prefixes @extschema@.semid[],
	OUT prefix int, OUT code int, OUT items bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'semtok_next_codes_batch'
LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000 ROWS 1000;
COMMENT ON FUNCTION semtok.next_codes_batch(regclass, @extschema@.semid[]) IS
'next_codes for many prefixes; prefix is the number of one in the array, from 1';

CREATE FUNCTION semtok.next_codes_batch_set(
	items @extschema@.semset, prefixes @extschema@.semid[],
	OUT prefix int, OUT code int, OUT items bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'semtok_next_codes_batch_set'
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000 ROWS 1000;
COMMENT ON FUNCTION semtok.next_codes_batch_set(@extschema@.semset, @extschema@.semid[]) IS
'next_codes_set for many prefixes; prefix is the number of one in the array, from 1';

CREATE FUNCTION semtok.mask(
	items regclass, prefixes @extschema@.semid[], vocab int, offsets int[] DEFAULT NULL,
	end_token int DEFAULT NULL, tokenizer int DEFAULT 0, within @extschema@.semset DEFAULT NULL,
	exclude @extschema@.semset DEFAULT NULL)
RETURNS bit varying[]
AS 'MODULE_PATHNAME', 'semtok_mask'
LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000;
COMMENT ON FUNCTION semtok.mask(regclass, @extschema@.semid[], int, int[], int, int, @extschema@.semset, @extschema@.semset) IS
'tokens that may follow each prefix (null: the empty one): a row of vocab bits each';

CREATE FUNCTION semtok.mask_set(
	items @extschema@.semset, prefixes @extschema@.semid[], vocab int, offsets int[] DEFAULT NULL,
	end_token int DEFAULT NULL, tokenizer int DEFAULT 0, within @extschema@.semset DEFAULT NULL,
	exclude @extschema@.semset DEFAULT NULL)
RETURNS bit varying[]
AS 'MODULE_PATHNAME', 'semtok_mask_set'
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION semtok.mask_set(@extschema@.semset, @extschema@.semid[], int, int[], int, int, @extschema@.semset, @extschema@.semset) IS
'tokens that may follow each prefix (null: the empty one): a row of vocab bits each';

CREATE FUNCTION semtok.mask_packed(
	items regclass, prefixes @extschema@.semid[], vocab int, offsets int[] DEFAULT NULL,
	end_token int DEFAULT NULL, tokenizer int DEFAULT 0, within @extschema@.semset DEFAULT NULL,
	exclude @extschema@.semset DEFAULT NULL)
RETURNS bytea
AS 'MODULE_PATHNAME', 'semtok_mask_packed'
LANGUAGE C STABLE PARALLEL RESTRICTED COST 1000;
COMMENT ON FUNCTION semtok.mask_packed(regclass, @extschema@.semid[], int, int[], int, int, @extschema@.semset, @extschema@.semset) IS
'tokens that may follow each prefix: rows of 32-bit words, little-endian, bit t of a row for token t';

CREATE FUNCTION semtok.mask_packed_set(
	items @extschema@.semset, prefixes @extschema@.semid[], vocab int, offsets int[] DEFAULT NULL,
	end_token int DEFAULT NULL, tokenizer int DEFAULT 0, within @extschema@.semset DEFAULT NULL,
	exclude @extschema@.semset DEFAULT NULL)
RETURNS bytea
AS 'MODULE_PATHNAME', 'semtok_mask_packed_set'
LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION semtok.mask_packed_set(@extschema@.semset, @extschema@.semid[], int, int[], int, int, @extschema@.semset, @extschema@.semset) IS
'tokens that may follow each prefix: rows of 32-bit words, little-endian, bit t of a row for token t';

CREATE FUNCTION semtok.sample(
	items regclass, n int, seed bigint DEFAULT NULL, uniform_over text DEFAULT 'items')
RETURNS SETOF @extschema@.semid
AS 'MODULE_PATHNAME', 'semtok_sample'
LANGUAGE C VOLATILE PARALLEL RESTRICTED COST 1000 ROWS 100;
COMMENT ON FUNCTION semtok.sample(regclass, int, bigint, text) IS
'ids of n visible rows drawn at random without replacement (uniform_over items), or n ids (ids)';

CREATE FUNCTION semtok.sample_set(
	items @extschema@.semset, n int, seed bigint DEFAULT NULL)
RETURNS SETOF @extschema@.semid
AS 'MODULE_PATHNAME', 'semtok_sample_set'
LANGUAGE C VOLATILE PARALLEL SAFE COST 1000 ROWS 100;
COMMENT ON FUNCTION semtok.sample_set(@extschema@.semset, int, bigint) IS
'n ids of a set drawn at random without replacement';
