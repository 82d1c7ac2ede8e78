
-- codebook: L levels of K_l codewords of dimension D.

CREATE TYPE codebook;

CREATE FUNCTION codebook_in(cstring) RETURNS @extschema@.codebook
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.codebook_in(cstring) IS
	'text input of codebook';

CREATE FUNCTION codebook_out(@extschema@.codebook) RETURNS cstring
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.codebook_out(@extschema@.codebook) IS
	'text output of codebook';

CREATE FUNCTION codebook_recv(internal) RETURNS @extschema@.codebook
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.codebook_recv(internal) IS
	'binary input of codebook';

CREATE FUNCTION codebook_send(@extschema@.codebook) RETURNS bytea
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.codebook_send(@extschema@.codebook) IS
	'binary output of codebook';

-- Floats do not compress; external also lets parts be read without the whole.
CREATE TYPE codebook (
	INPUT = @extschema@.codebook_in,
	OUTPUT = @extschema@.codebook_out,
	RECEIVE = @extschema@.codebook_recv,
	SEND = @extschema@.codebook_send,
	STORAGE = external,
	ALIGNMENT = int4
);
COMMENT ON TYPE @extschema@.codebook IS
	'codebook: 1 to 32 levels of codewords, by which a tokenizer turns embeddings into semantic IDs';

CREATE CAST (json AS @extschema@.codebook) WITH INOUT;
COMMENT ON CAST (json AS @extschema@.codebook) IS 'codebook from JSON';
CREATE CAST (@extschema@.codebook AS json) WITH INOUT;
COMMENT ON CAST (@extschema@.codebook AS json) IS 'codebook to JSON';

-- Shape and contents; levels and codes count from 0

CREATE FUNCTION codebook_levels(@extschema@.codebook) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.codebook_levels(@extschema@.codebook) IS
	'number of levels of a codebook';

CREATE FUNCTION codebook_sizes(@extschema@.codebook) RETURNS integer[]
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.codebook_sizes(@extschema@.codebook) IS
	'number of codewords at each level of a codebook';

CREATE FUNCTION codebook_dim(@extschema@.codebook) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.codebook_dim(@extschema@.codebook) IS
	'dimensions of the embeddings that a codebook encodes';

CREATE FUNCTION codebook_latent_dim(@extschema@.codebook) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.codebook_latent_dim(@extschema@.codebook) IS
	'dimensions of a codebook''s codewords: the same, unless it carries a network';

CREATE FUNCTION codebook_metric(@extschema@.codebook) RETURNS text
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.codebook_metric(@extschema@.codebook) IS
	'metric of a codebook: l2, ip or cosine';

CREATE FUNCTION codebook_hash(@extschema@.codebook) RETURNS text
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.codebook_hash(@extschema@.codebook) IS
	'SHA-256 of a codebook''s content, in hex';

CREATE FUNCTION codebook_vector(codebook @extschema@.codebook, level integer, code integer) RETURNS real[]
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.codebook_vector(@extschema@.codebook, integer, integer) IS
	'codeword of a level and code';

CREATE FUNCTION codebook_entries(codebook @extschema@.codebook) RETURNS TABLE (level integer, code integer, vector real[])
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 1000;
COMMENT ON FUNCTION @extschema@.codebook_entries(@extschema@.codebook) IS
	'all codewords of a codebook';

-- Equality of content

CREATE FUNCTION codebook_eq(@extschema@.codebook, @extschema@.codebook) RETURNS boolean
	AS 'MODULE_PATHNAME', 'content_eq' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.codebook_eq(@extschema@.codebook, @extschema@.codebook) IS
	'implementation of = operator';

CREATE FUNCTION codebook_ne(@extschema@.codebook, @extschema@.codebook) RETURNS boolean
	AS 'MODULE_PATHNAME', 'content_ne' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.codebook_ne(@extschema@.codebook, @extschema@.codebook) IS
	'implementation of <> operator';

CREATE FUNCTION codebook_hashcode(@extschema@.codebook) RETURNS integer
	AS 'MODULE_PATHNAME', 'content_hash' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.codebook_hashcode(@extschema@.codebook) IS
	'hash';

CREATE FUNCTION codebook_hashcode_extended(@extschema@.codebook, bigint) RETURNS bigint
	AS 'MODULE_PATHNAME', 'content_hash_extended' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.codebook_hashcode_extended(@extschema@.codebook, bigint) IS
	'hash with a seed';

CREATE OPERATOR = (
	LEFTARG = @extschema@.codebook, RIGHTARG = @extschema@.codebook,
	FUNCTION = @extschema@.codebook_eq,
	COMMUTATOR = OPERATOR(@extschema@.=), NEGATOR = OPERATOR(@extschema@.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES
);
COMMENT ON OPERATOR @extschema@.= (@extschema@.codebook, @extschema@.codebook) IS 'equal content';

CREATE OPERATOR <> (
	LEFTARG = @extschema@.codebook, RIGHTARG = @extschema@.codebook,
	FUNCTION = @extschema@.codebook_ne,
	COMMUTATOR = OPERATOR(@extschema@.<>), NEGATOR = OPERATOR(@extschema@.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR @extschema@.<> (@extschema@.codebook, @extschema@.codebook) IS 'different content';

CREATE OPERATOR CLASS codebook_ops DEFAULT FOR TYPE @extschema@.codebook USING hash AS
	OPERATOR 1 @extschema@.=,
	FUNCTION 1 @extschema@.codebook_hashcode(@extschema@.codebook),
	FUNCTION 2 @extschema@.codebook_hashcode_extended(@extschema@.codebook, bigint);
COMMENT ON OPERATOR FAMILY @extschema@.codebook_ops USING hash IS 'equality of codebooks';
COMMENT ON OPERATOR CLASS @extschema@.codebook_ops USING hash IS 'equality of codebooks';

-- Interchange

CREATE FUNCTION codebook_agg_transition(internal, integer, integer, real[]) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.codebook_agg_transition(internal, integer, integer, real[]) IS
	'transition function of codebook_agg';

CREATE FUNCTION codebook_agg_transition(internal, integer, integer, real[], text) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.codebook_agg_transition(internal, integer, integer, real[], text) IS
	'transition function of codebook_agg with a metric';

CREATE FUNCTION codebook_agg_combine(internal, internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.codebook_agg_combine(internal, internal) IS
	'combine function of codebook_agg';

CREATE FUNCTION codebook_agg_serialize(internal) RETURNS bytea
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.codebook_agg_serialize(internal) IS
	'serialization function of codebook_agg';

CREATE FUNCTION codebook_agg_deserialize(bytea, internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.codebook_agg_deserialize(bytea, internal) IS
	'deserialization function of codebook_agg';

CREATE FUNCTION codebook_agg_final(internal) RETURNS @extschema@.codebook
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.codebook_agg_final(internal) IS
	'final function of codebook_agg';

CREATE AGGREGATE codebook_agg(level integer, code integer, vector real[]) (
	SFUNC = @extschema@.codebook_agg_transition,
	STYPE = internal,
	FINALFUNC = @extschema@.codebook_agg_final,
	COMBINEFUNC = @extschema@.codebook_agg_combine,
	SERIALFUNC = @extschema@.codebook_agg_serialize,
	DESERIALFUNC = @extschema@.codebook_agg_deserialize,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE @extschema@.codebook_agg(integer, integer, real[]) IS
	'codebook of these codewords, with metric l2; every code of every level exactly once';

CREATE AGGREGATE codebook_agg(level integer, code integer, vector real[], metric text) (
	SFUNC = @extschema@.codebook_agg_transition,
	STYPE = internal,
	FINALFUNC = @extschema@.codebook_agg_final,
	COMBINEFUNC = @extschema@.codebook_agg_combine,
	SERIALFUNC = @extschema@.codebook_agg_serialize,
	DESERIALFUNC = @extschema@.codebook_agg_deserialize,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE @extschema@.codebook_agg(integer, integer, real[], text) IS
	'codebook of these codewords, with a metric; every code of every level exactly once';

CREATE FUNCTION codebook_from_safetensors(file bytea, metric text DEFAULT NULL) RETURNS @extschema@.codebook
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.codebook_from_safetensors(bytea, text) IS
	'codebook from a safetensors file with tensors codebooks.0, codebooks.1, ... [K, D] or codebooks [L, K, D]; metric null: the one in the file, or l2';

CREATE FUNCTION codebook_to_safetensors(@extschema@.codebook) RETURNS bytea
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.codebook_to_safetensors(@extschema@.codebook) IS
	'safetensors file of a codebook, one F32 tensor codebooks.0, codebooks.1, ... [K, D] a level';
