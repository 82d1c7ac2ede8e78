-- Embeddings of pgvector's types

CREATE FUNCTION semtok.embedding_of(vector "any") RETURNS real[]
	AS 'MODULE_PATHNAME', 'semtok_embedding_of' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION semtok.embedding_of("any") IS
	'embedding in a vector or halfvec of pgvector: the same as its cast to real[], read faster';

CREATE FUNCTION semtok_embedding_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME', 'semtok_embedding_support' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semtok_embedding_support(internal) IS
	'planner support of functions that take embeddings: embedding_of in place of pgvector''s cast';
