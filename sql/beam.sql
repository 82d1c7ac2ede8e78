-- Beam search: the most probable items, of one query or of many.

CREATE FUNCTION semtok.beam_search(
	items regclass, query @extschema@.semquery, k int DEFAULT 10, beam_size int DEFAULT 50,
	temperature float8 DEFAULT 0, seed bigint DEFAULT NULL, top_k int DEFAULT NULL,
	top_p float8 DEFAULT NULL, norm text DEFAULT NULL, length_penalty float8 DEFAULT 0,
	exact boolean DEFAULT false, exclude @extschema@.semset DEFAULT NULL,
	max_per_prefix jsonb DEFAULT NULL, sampler text DEFAULT 'gumbel', candidates int DEFAULT NULL,
	OUT rank int, OUT sid @extschema@.semid, OUT logprob float8, OUT items bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'semtok_beam_search'
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 10;
COMMENT ON FUNCTION semtok.beam_search(regclass, @extschema@.semquery, int, int, float8, bigint, int, float8, text, float8, boolean, @extschema@.semset, jsonb, text, int) IS
'k best ids of a semtrie index or its table by beam search, or k drawn ones, with the number of visible rows of each';

CREATE FUNCTION semtok.beam_search_set(
	items @extschema@.semset, query @extschema@.semquery, k int DEFAULT 10, beam_size int DEFAULT 50,
	temperature float8 DEFAULT 0, seed bigint DEFAULT NULL, top_k int DEFAULT NULL,
	top_p float8 DEFAULT NULL, norm text DEFAULT NULL, length_penalty float8 DEFAULT 0,
	exact boolean DEFAULT false, exclude @extschema@.semset DEFAULT NULL,
	max_per_prefix jsonb DEFAULT NULL, sampler text DEFAULT 'gumbel', candidates int DEFAULT NULL,
	OUT rank int, OUT sid @extschema@.semid, OUT logprob float8, OUT items bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'semtok_beam_search_set'
LANGUAGE C VOLATILE PARALLEL SAFE ROWS 10;
COMMENT ON FUNCTION semtok.beam_search_set(@extschema@.semset, @extschema@.semquery, int, int, float8, bigint, int, float8, text, float8, boolean, @extschema@.semset, jsonb, text, int) IS
'k best ids of a set by beam search, or k drawn ones';

CREATE FUNCTION semtok.beam_search_batch(
	items regclass, queries @extschema@.semquery[], k int DEFAULT 10, beam_size int DEFAULT 50,
	temperature float8 DEFAULT 0, seed bigint DEFAULT NULL, top_k int DEFAULT NULL,
	top_p float8 DEFAULT NULL, norm text DEFAULT NULL, length_penalty float8 DEFAULT 0,
	exact boolean DEFAULT false, exclude @extschema@.semset DEFAULT NULL,
	max_per_prefix jsonb DEFAULT NULL, sampler text DEFAULT 'gumbel', candidates int DEFAULT NULL,
	OUT query int, OUT rank int, OUT sid @extschema@.semid, OUT logprob float8, OUT items bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'semtok_beam_search_batch'
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 1000;
COMMENT ON FUNCTION semtok.beam_search_batch(regclass, @extschema@.semquery[], int, int, float8, bigint, int, float8, text, float8, boolean, @extschema@.semset, jsonb, text, int) IS
'beam_search for many queries at once, numbered from 1';

CREATE FUNCTION semtok.beam_search_batch_set(
	items @extschema@.semset, queries @extschema@.semquery[], k int DEFAULT 10,
	beam_size int DEFAULT 50, temperature float8 DEFAULT 0, seed bigint DEFAULT NULL,
	top_k int DEFAULT NULL, top_p float8 DEFAULT NULL, norm text DEFAULT NULL,
	length_penalty float8 DEFAULT 0, exact boolean DEFAULT false,
	exclude @extschema@.semset DEFAULT NULL, max_per_prefix jsonb DEFAULT NULL,
	sampler text DEFAULT 'gumbel', candidates int DEFAULT NULL,
	OUT query int, OUT rank int, OUT sid @extschema@.semid, OUT logprob float8, OUT items bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'semtok_beam_search_batch_set'
LANGUAGE C VOLATILE PARALLEL SAFE ROWS 1000;
COMMENT ON FUNCTION semtok.beam_search_batch_set(@extschema@.semset, @extschema@.semquery[], int, int, float8, bigint, int, float8, text, float8, boolean, @extschema@.semset, jsonb, text, int) IS
'beam_search_set for many queries at once, numbered from 1';
