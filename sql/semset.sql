
-- semset: a set of semantic IDs as a value, a compact trie.

CREATE TYPE semset;

CREATE FUNCTION semset_in(cstring) RETURNS @extschema@.semset
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semset_in(cstring) IS
	'text input of semset';

CREATE FUNCTION semset_out(@extschema@.semset) RETURNS cstring
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semset_out(@extschema@.semset) IS
	'text output of semset';

CREATE FUNCTION semset_recv(internal) RETURNS @extschema@.semset
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semset_recv(internal) IS
	'binary input of semset';

CREATE FUNCTION semset_send(@extschema@.semset) RETURNS bytea
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semset_send(@extschema@.semset) IS
	'binary output of semset';

CREATE TYPE semset (
	INPUT = @extschema@.semset_in,
	OUTPUT = @extschema@.semset_out,
	RECEIVE = @extschema@.semset_recv,
	SEND = @extschema@.semset_send,
	STORAGE = extended,
	ALIGNMENT = double
);
COMMENT ON TYPE @extschema@.semset IS 'set of semantic IDs, stored as a compact trie';

-- Making sets

CREATE FUNCTION semset(ids @extschema@.semid[]) RETURNS @extschema@.semset
	AS 'MODULE_PATHNAME', 'semset_from_array' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semset(@extschema@.semid[]) IS
	'set of these semantic IDs; NULL elements are left out';

CREATE FUNCTION semset_agg_transition(internal, @extschema@.semid) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semset_agg_transition(internal, @extschema@.semid) IS
	'transition function of semset_agg';

CREATE FUNCTION semset_agg_combine(internal, internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semset_agg_combine(internal, internal) IS
	'combine function of semset_agg';

CREATE FUNCTION semset_agg_serialize(internal) RETURNS bytea
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semset_agg_serialize(internal) IS
	'serialization function of semset_agg';

CREATE FUNCTION semset_agg_deserialize(bytea, internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semset_agg_deserialize(bytea, internal) IS
	'deserialization function of semset_agg';

CREATE FUNCTION semset_agg_final(internal) RETURNS @extschema@.semset
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semset_agg_final(internal) IS
	'final function of semset_agg';

CREATE AGGREGATE semset_agg(@extschema@.semid) (
	SFUNC = @extschema@.semset_agg_transition,
	STYPE = internal,
	FINALFUNC = @extschema@.semset_agg_final,
	COMBINEFUNC = @extschema@.semset_agg_combine,
	SERIALFUNC = @extschema@.semset_agg_serialize,
	DESERIALFUNC = @extschema@.semset_agg_deserialize,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE @extschema@.semset_agg(@extschema@.semid) IS
	'set of the semantic IDs of all rows; NULLs are left out';

-- Contents

CREATE FUNCTION semset_size(@extschema@.semset) RETURNS bigint
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semset_size(@extschema@.semset) IS
	'number of semantic IDs in a set';

CREATE FUNCTION semset_nodes(@extschema@.semset) RETURNS bigint
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semset_nodes(@extschema@.semset) IS
	'number of trie nodes of a set: the distinct prefixes of its semantic IDs, tokenizers told apart';

CREATE FUNCTION semset_members(@extschema@.semset) RETURNS SETOF @extschema@.semid
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 1000;
COMMENT ON FUNCTION @extschema@.semset_members(@extschema@.semset) IS
	'semantic IDs of a set, ascending';

CREATE FUNCTION semid_in_semset(semid @extschema@.semid, ids @extschema@.semset) RETURNS boolean
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semid_in_semset(@extschema@.semid, @extschema@.semset) IS
	'is a semantic ID in a set?';

CREATE OPERATOR <@ (
	LEFTARG = @extschema@.semid, RIGHTARG = @extschema@.semset,
	FUNCTION = @extschema@.semid_in_semset,
	RESTRICT = matchingsel, JOIN = matchingjoinsel
);
COMMENT ON OPERATOR @extschema@.<@ (@extschema@.semid, @extschema@.semset) IS 'is in the set';

-- Equality

CREATE FUNCTION semset_eq(@extschema@.semset, @extschema@.semset) RETURNS boolean
	AS 'MODULE_PATHNAME', 'content_eq' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semset_eq(@extschema@.semset, @extschema@.semset) IS
	'implementation of = operator';

CREATE FUNCTION semset_ne(@extschema@.semset, @extschema@.semset) RETURNS boolean
	AS 'MODULE_PATHNAME', 'content_ne' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semset_ne(@extschema@.semset, @extschema@.semset) IS
	'implementation of <> operator';

CREATE FUNCTION semset_hash(@extschema@.semset) RETURNS integer
	AS 'MODULE_PATHNAME', 'content_hash' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semset_hash(@extschema@.semset) IS
	'hash';

CREATE FUNCTION semset_hash_extended(@extschema@.semset, bigint) RETURNS bigint
	AS 'MODULE_PATHNAME', 'content_hash_extended' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semset_hash_extended(@extschema@.semset, bigint) IS
	'hash with a seed';

CREATE OPERATOR = (
	LEFTARG = @extschema@.semset, RIGHTARG = @extschema@.semset,
	FUNCTION = @extschema@.semset_eq,
	COMMUTATOR = OPERATOR(@extschema@.=), NEGATOR = OPERATOR(@extschema@.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES
);
COMMENT ON OPERATOR @extschema@.= (@extschema@.semset, @extschema@.semset) IS 'same members';

CREATE OPERATOR <> (
	LEFTARG = @extschema@.semset, RIGHTARG = @extschema@.semset,
	FUNCTION = @extschema@.semset_ne,
	COMMUTATOR = OPERATOR(@extschema@.<>), NEGATOR = OPERATOR(@extschema@.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR @extschema@.<> (@extschema@.semset, @extschema@.semset) IS 'different members';

CREATE OPERATOR CLASS semset_ops DEFAULT FOR TYPE @extschema@.semset USING hash AS
	OPERATOR 1 @extschema@.=,
	FUNCTION 1 @extschema@.semset_hash(@extschema@.semset),
	FUNCTION 2 @extschema@.semset_hash_extended(@extschema@.semset, bigint);
COMMENT ON OPERATOR FAMILY @extschema@.semset_ops USING hash IS 'equality of sets of semantic IDs';
COMMENT ON OPERATOR CLASS @extschema@.semset_ops USING hash IS 'equality of sets of semantic IDs';

-- Algebra

CREATE FUNCTION semset_union(@extschema@.semset, @extschema@.semset) RETURNS @extschema@.semset
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semset_union(@extschema@.semset, @extschema@.semset) IS
	'implementation of | operator';

CREATE FUNCTION semset_intersect(@extschema@.semset, @extschema@.semset)
	RETURNS @extschema@.semset
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semset_intersect(@extschema@.semset, @extschema@.semset) IS
	'implementation of & operator';

CREATE FUNCTION semset_except(@extschema@.semset, @extschema@.semset) RETURNS @extschema@.semset
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semset_except(@extschema@.semset, @extschema@.semset) IS
	'implementation of - operator';

CREATE OPERATOR | (
	LEFTARG = @extschema@.semset, RIGHTARG = @extschema@.semset,
	FUNCTION = @extschema@.semset_union,
	COMMUTATOR = OPERATOR(@extschema@.|)
);
COMMENT ON OPERATOR @extschema@.| (@extschema@.semset, @extschema@.semset) IS
	'members of either set';

CREATE OPERATOR & (
	LEFTARG = @extschema@.semset, RIGHTARG = @extschema@.semset,
	FUNCTION = @extschema@.semset_intersect,
	COMMUTATOR = OPERATOR(@extschema@.&)
);
COMMENT ON OPERATOR @extschema@.& (@extschema@.semset, @extschema@.semset) IS
	'members of both sets';

CREATE OPERATOR - (
	LEFTARG = @extschema@.semset, RIGHTARG = @extschema@.semset,
	FUNCTION = @extschema@.semset_except
);
COMMENT ON OPERATOR @extschema@.- (@extschema@.semset, @extschema@.semset) IS
	'members of the left set that are not in the right one';

-- Files of inference servers

CREATE FUNCTION semset_to_npz(ids @extschema@.semset, vocab integer, dense_layers integer,
		layout text, offsets integer[] DEFAULT NULL, dense_bytes bigint DEFAULT 268435456)
	RETURNS bytea
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION @extschema@.semset_to_npz(@extschema@.semset, integer, integer, text,
	integer[], bigint) IS
	'NumPy file of a set as a trie for constrained decoding; layouts: static, rectokens';

CREATE FUNCTION semset_from_npz(file bytea, tokenizer integer DEFAULT 0,
		offsets integer[] DEFAULT NULL)
	RETURNS @extschema@.semset
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION @extschema@.semset_from_npz(bytea, integer, integer[]) IS
	'set of semantic IDs from a NumPy file in layout static or rectokens';

CREATE FUNCTION semset_to_json(ids @extschema@.semset, format text) RETURNS json
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 1000;
COMMENT ON FUNCTION @extschema@.semset_to_json(@extschema@.semset, text) IS
	'JSON file of a set, its ids numbered from 0; formats: index.json, sid2pid';
