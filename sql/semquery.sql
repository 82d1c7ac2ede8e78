
-- semquery: what to decode; a value that gives every semantic ID its cost.

CREATE TYPE semquery;

CREATE FUNCTION semquery_in(cstring) RETURNS @extschema@.semquery
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semquery_in(cstring) IS
	'text input of semquery';

CREATE FUNCTION semquery_out(@extschema@.semquery) RETURNS cstring
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semquery_out(@extschema@.semquery) IS
	'text output of semquery';

CREATE FUNCTION semquery_recv(internal) RETURNS @extschema@.semquery
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semquery_recv(internal) IS
	'binary input of semquery';

CREATE FUNCTION semquery_send(@extschema@.semquery) RETURNS bytea
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semquery_send(@extschema@.semquery) IS
	'binary output of semquery';

CREATE TYPE semquery (
	INPUT = @extschema@.semquery_in,
	OUTPUT = @extschema@.semquery_out,
	RECEIVE = @extschema@.semquery_recv,
	SEND = @extschema@.semquery_send,
	STORAGE = external,
	ALIGNMENT = double
);
COMMENT ON TYPE @extschema@.semquery IS
	'decoding query: costs of codes level by level, or of distance to an embedding';

-- Making queries

CREATE FUNCTION semtok.logits(logits real[], sizes integer[] DEFAULT NULL, tokenizer integer DEFAULT 0,
		norm text DEFAULT 'full', within @extschema@.semset DEFAULT NULL) RETURNS @extschema@.semquery
	AS 'MODULE_PATHNAME', 'semtok_logits' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION semtok.logits(real[], integer[], integer, text, @extschema@.semset) IS
	'decoding query of a model''s logits, level by level; norm full, none or masked; within limits it to a set';

CREATE FUNCTION semtok.neighbors(codebook @extschema@.codebook, embedding real[]) RETURNS @extschema@.semquery
	AS 'MODULE_PATHNAME', 'semtok_neighbors_codebook' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000
	SUPPORT @extschema@.semtok_embedding_support;
COMMENT ON FUNCTION semtok.neighbors(@extschema@.codebook, real[]) IS
	'query by example: cost is the squared distance between the embedding and an item''s reconstruction (for metric ip, minus their product)';

-- Parts

CREATE FUNCTION semquery_kind(@extschema@.semquery) RETURNS text
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semquery_kind(@extschema@.semquery) IS
	'what a decoding query holds: levels, within, masked or neighbors';

CREATE FUNCTION semquery_norm(@extschema@.semquery) RETURNS text
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semquery_norm(@extschema@.semquery) IS
	'how a decoding query is normalised: full, none or masked';

CREATE FUNCTION semquery_tokenizer(@extschema@.semquery) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semquery_tokenizer(@extschema@.semquery) IS
	'tokenizer of the semantic IDs that a decoding query scores, 0 for any';

CREATE FUNCTION semquery_levels(@extschema@.semquery) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semquery_levels(@extschema@.semquery) IS
	'number of levels of a decoding query';

CREATE FUNCTION semquery_sizes(@extschema@.semquery) RETURNS integer[]
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semquery_sizes(@extschema@.semquery) IS
	'number of codes at each level of a decoding query';

-- Cost

CREATE FUNCTION semid_cost(semid @extschema@.semid, query @extschema@.semquery) RETURNS double precision
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semid_cost(@extschema@.semid, @extschema@.semquery) IS
	'cost of a semantic ID under a decoding query, lowest first; Infinity when the query cannot score it';

CREATE OPERATOR <~> (
	LEFTARG = @extschema@.semid, RIGHTARG = @extschema@.semquery, FUNCTION = @extschema@.semid_cost
);
COMMENT ON OPERATOR @extschema@.<~> (@extschema@.semid, @extschema@.semquery) IS
	'cost under a decoding query';
