-- Models outside the search: functions that it asks for logits, and single steps for applications.

CREATE FUNCTION semtok.beam_search_with(
	items regclass, scorer regprocedure, context jsonb DEFAULT NULL, k int DEFAULT 10,
	beam_size int DEFAULT 50, temperature float8 DEFAULT 0, seed bigint DEFAULT NULL, top_k int DEFAULT NULL,
	top_p float8 DEFAULT NULL, norm text DEFAULT 'masked',
	length_penalty float8 DEFAULT 0, exact boolean DEFAULT false, levels int DEFAULT NULL,
	within @extschema@.semset DEFAULT NULL, exclude @extschema@.semset DEFAULT NULL,
	max_per_prefix jsonb DEFAULT NULL, sampler text DEFAULT 'gumbel', candidates int DEFAULT NULL,
	OUT rank int, OUT sid @extschema@.semid, OUT logprob float8, OUT items bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'semtok_beam_search_with'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10 COST 10000;
COMMENT ON FUNCTION semtok.beam_search_with(regclass, regprocedure, jsonb, int, int, float8, bigint, int, float8, text, float8, boolean, int, @extschema@.semset, @extschema@.semset, jsonb, text, int) IS
'k best ids of a semtrie index or its table under a model of yours: a function that is asked for logits level by level';

CREATE FUNCTION semtok.beam_search_set_with(
	items @extschema@.semset, scorer regprocedure, context jsonb DEFAULT NULL, k int DEFAULT 10,
	beam_size int DEFAULT 50, temperature float8 DEFAULT 0, seed bigint DEFAULT NULL, top_k int DEFAULT NULL,
	top_p float8 DEFAULT NULL, norm text DEFAULT 'masked',
	length_penalty float8 DEFAULT 0, exact boolean DEFAULT false, levels int DEFAULT NULL,
	within @extschema@.semset DEFAULT NULL, exclude @extschema@.semset DEFAULT NULL,
	max_per_prefix jsonb DEFAULT NULL, sampler text DEFAULT 'gumbel', candidates int DEFAULT NULL,
	OUT rank int, OUT sid @extschema@.semid, OUT logprob float8, OUT items bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'semtok_beam_search_set_with'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 10 COST 10000;
COMMENT ON FUNCTION semtok.beam_search_set_with(@extschema@.semset, regprocedure, jsonb, int, int, float8, bigint, int, float8, text, float8, boolean, int, @extschema@.semset, @extschema@.semset, jsonb, text, int) IS
'k best ids of a set under a model of yours';

CREATE FUNCTION semtok.beam_step(
	items regclass, beams @extschema@.semid[], logprobs float8[], logits real[],
	beam_size int DEFAULT 50, temperature float8 DEFAULT 0, seed bigint DEFAULT NULL, top_k int DEFAULT NULL,
	top_p float8 DEFAULT NULL, norm text DEFAULT 'masked',
	keys float8[] DEFAULT NULL, queries int[] DEFAULT NULL, tokenizer int DEFAULT 0,
	within @extschema@.semset DEFAULT NULL, exclude @extschema@.semset DEFAULT NULL,
	sampler text DEFAULT 'gumbel', candidates int DEFAULT NULL,
	OUT parent int, OUT sid @extschema@.semid, OUT logprob float8, OUT key float8,
	OUT complete boolean)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'semtok_beam_step'
LANGUAGE C VOLATILE PARALLEL RESTRICTED ROWS 50;
COMMENT ON FUNCTION semtok.beam_step(regclass, @extschema@.semid[], float8[], real[], int, float8, bigint, int, float8, text, float8[], int[], int, @extschema@.semset, @extschema@.semset, text, int) IS
'one step of a beam search over a semtrie index or its table, for an application that runs its model itself';

CREATE FUNCTION semtok.beam_step_set(
	items @extschema@.semset, beams @extschema@.semid[], logprobs float8[], logits real[],
	beam_size int DEFAULT 50, temperature float8 DEFAULT 0, seed bigint DEFAULT NULL, top_k int DEFAULT NULL,
	top_p float8 DEFAULT NULL, norm text DEFAULT 'masked',
	keys float8[] DEFAULT NULL, queries int[] DEFAULT NULL, tokenizer int DEFAULT 0,
	within @extschema@.semset DEFAULT NULL, exclude @extschema@.semset DEFAULT NULL,
	sampler text DEFAULT 'gumbel', candidates int DEFAULT NULL,
	OUT parent int, OUT sid @extschema@.semid, OUT logprob float8, OUT key float8,
	OUT complete boolean)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'semtok_beam_step_set'
LANGUAGE C VOLATILE PARALLEL SAFE ROWS 50;
COMMENT ON FUNCTION semtok.beam_step_set(@extschema@.semset, @extschema@.semid[], float8[], real[], int, float8, bigint, int, float8, text, float8[], int[], int, @extschema@.semset, @extschema@.semset, text, int) IS
'one step of a beam search over a set';
