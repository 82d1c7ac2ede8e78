-- How an embedding is encoded

CREATE FUNCTION semtok.encode_trace(tokenizer int, embedding real[])
	RETURNS TABLE (level int, code int, distance float8, residual_norm float8, second_code int,
		margin float8)
	AS 'MODULE_PATHNAME', 'semtok_encode_trace_id' LANGUAGE C STABLE STRICT PARALLEL SAFE
	COST 1000 ROWS 3 SUPPORT @extschema@.semtok_embedding_support;
COMMENT ON FUNCTION semtok.encode_trace(int, real[]) IS
	'what every level does when an embedding is encoded greedily by the tokenizer with this id';

CREATE FUNCTION semtok.encode_trace(name text, embedding real[])
	RETURNS TABLE (level int, code int, distance float8, residual_norm float8, second_code int,
		margin float8)
	AS 'MODULE_PATHNAME', 'semtok_encode_trace_name' LANGUAGE C STABLE STRICT PARALLEL SAFE
	COST 1000 ROWS 3 SUPPORT @extschema@.semtok_embedding_support;
COMMENT ON FUNCTION semtok.encode_trace(text, real[]) IS
	'what every level does when an embedding is encoded greedily by the active version of a tokenizer';

CREATE FUNCTION semtok.encode_candidates(tokenizer int, embedding real[], n int)
	RETURNS TABLE (sid @extschema@.semid, distortion float8)
	AS 'MODULE_PATHNAME', 'semtok_encode_candidates_id' LANGUAGE C STABLE STRICT PARALLEL SAFE
	COST 1000 ROWS 10 SUPPORT @extschema@.semtok_embedding_support;
COMMENT ON FUNCTION semtok.encode_candidates(int, real[], int) IS
	'the n ids that fit an embedding best, by the tokenizer with this id, found by a beam search';

CREATE FUNCTION semtok.encode_candidates(name text, embedding real[], n int)
	RETURNS TABLE (sid @extschema@.semid, distortion float8)
	AS 'MODULE_PATHNAME', 'semtok_encode_candidates_name' LANGUAGE C STABLE STRICT PARALLEL SAFE
	COST 1000 ROWS 10 SUPPORT @extschema@.semtok_embedding_support;
COMMENT ON FUNCTION semtok.encode_candidates(text, real[], int) IS
	'the n ids that fit an embedding best, by the active version of a tokenizer, found by a beam search';
