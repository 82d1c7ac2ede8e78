-- Embeddings of pgvector's types

CREATE FUNCTION semtok.embedding_of(vector "any") RETURNS real[]
	AS 'MODULE_PATHNAME', 'semtok_embedding_of' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION semtok.embedding_of("any") IS
	'embedding in a vector or halfvec of pgvector: the same as its cast to real[], read faster';

CREATE FUNCTION semtok_embedding_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'semtok_embedding_support' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semtok_embedding_support(internal) IS
	'planner support of functions that take embeddings: embedding_of in place of pgvector''s cast';

-- It costs more than its name says: hashing takes in the whole embedding, and workers are worth it.
CREATE FUNCTION semtok.sample_candidate(embedding real[], seed bigint, bar bigint) RETURNS boolean
	AS 'MODULE_PATHNAME', 'semtok_sample_candidate' LANGUAGE C STABLE PARALLEL SAFE COST 100;
COMMENT ON FUNCTION semtok.sample_candidate(real[], bigint, bigint) IS
	'what training reads a sample with: whether the hash of the embedding is at most the bar; true for what may be an error';
