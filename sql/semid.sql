
-- semid: a semantic ID, its codes from coarse to fine and the tokenizer that made it.

CREATE TYPE semid;

CREATE FUNCTION semid_in(cstring, oid, integer) RETURNS @extschema@.semid
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semid_in(cstring, oid, integer) IS 'text input of semid';

CREATE FUNCTION semid_out(@extschema@.semid) RETURNS cstring
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semid_out(@extschema@.semid) IS 'text output of semid';

CREATE FUNCTION semid_recv(internal, oid, integer) RETURNS @extschema@.semid
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semid_recv(internal, oid, integer) IS 'binary input of semid';

CREATE FUNCTION semid_send(@extschema@.semid) RETURNS bytea
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semid_send(@extschema@.semid) IS 'binary output of semid';

CREATE FUNCTION semid_typmod_in(cstring[]) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semid_typmod_in(cstring[]) IS 'type modifier input of semid';

CREATE FUNCTION semid_typmod_out(integer) RETURNS cstring
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semid_typmod_out(integer) IS 'type modifier output of semid';

CREATE TYPE semid (
	INPUT = @extschema@.semid_in,
	OUTPUT = @extschema@.semid_out,
	RECEIVE = @extschema@.semid_recv,
	SEND = @extschema@.semid_send,
	TYPMOD_IN = @extschema@.semid_typmod_in,
	TYPMOD_OUT = @extschema@.semid_typmod_out,
	STORAGE = main,
	ALIGNMENT = int4
);
COMMENT ON TYPE @extschema@.semid IS
	'semantic ID: 1 to 32 codes of 0 to 65535, coarse to fine, and the id of their tokenizer; semid(levels, codes) fixes the shape';

-- Constructor and casts

CREATE FUNCTION semid(codes integer[], tokenizer integer DEFAULT 0) RETURNS @extschema@.semid
	AS 'MODULE_PATHNAME', 'semid_construct' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semid(integer[], integer) IS
	'semantic ID of these codes and this tokenizer (0: none)';

CREATE FUNCTION semid(@extschema@.semid, integer, boolean) RETURNS @extschema@.semid
	AS 'MODULE_PATHNAME', 'semid_enforce_typmod' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semid(@extschema@.semid, integer, boolean) IS
	'check a semantic ID against the levels and codes of its column''s type';

CREATE FUNCTION array_to_semid(integer[], integer, boolean) RETURNS @extschema@.semid
	AS 'MODULE_PATHNAME', 'semid_from_array' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.array_to_semid(integer[], integer, boolean) IS
	'cast of an array of codes to semid';

CREATE FUNCTION semid_codes(@extschema@.semid) RETURNS integer[]
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semid_codes(@extschema@.semid) IS
	'codes of a semantic ID, coarse to fine';

CREATE CAST (@extschema@.semid AS @extschema@.semid)
	WITH FUNCTION @extschema@.semid(@extschema@.semid, integer, boolean) AS IMPLICIT;
COMMENT ON CAST (@extschema@.semid AS @extschema@.semid) IS 'enforce semid(levels, codes)';

CREATE CAST (integer[] AS @extschema@.semid)
	WITH FUNCTION @extschema@.array_to_semid(integer[], integer, boolean);
COMMENT ON CAST (integer[] AS @extschema@.semid) IS 'codes to semantic ID, without a tokenizer';

CREATE CAST (@extschema@.semid AS integer[]) WITH FUNCTION @extschema@.semid_codes(@extschema@.semid);
COMMENT ON CAST (@extschema@.semid AS integer[]) IS 'semantic ID to its codes';

-- Parts

CREATE FUNCTION semid_code(semid @extschema@.semid, level integer) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semid_code(@extschema@.semid, integer) IS
	'code of a semantic ID at a level, counted from 0';

CREATE FUNCTION semid_levels(@extschema@.semid) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semid_levels(@extschema@.semid) IS
	'number of levels of a semantic ID';

CREATE FUNCTION semid_tokenizer(@extschema@.semid) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semid_tokenizer(@extschema@.semid) IS
	'id of the tokenizer that made a semantic ID, 0 for none';

CREATE FUNCTION semid_prefix(semid @extschema@.semid, n integer) RETURNS @extschema@.semid
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semid_prefix(@extschema@.semid, integer) IS
	'first n levels of a semantic ID; the whole ID when it has no more than n';

-- Other forms, which have no place for the tokenizer

CREATE FUNCTION semid_flat(semid @extschema@.semid, sizes integer[]) RETURNS numeric
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semid_flat(@extschema@.semid, integer[]) IS
	'codes of a semantic ID as one mixed-radix number, level 0 the most significant; sizes: codes of each level';

CREATE FUNCTION semid_unflat(flat numeric, sizes integer[], tokenizer integer DEFAULT 0)
	RETURNS @extschema@.semid
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semid_unflat(numeric, integer[], integer) IS
	'semantic ID of a number that semid_flat made with these sizes, and of this tokenizer (0: none)';

CREATE FUNCTION semid_tokens(semid @extschema@.semid) RETURNS text
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semid_tokens(@extschema@.semid) IS
	'codes of a semantic ID as tokens of a vocabulary: <item_L0_C12><item_L1_C7>';

CREATE FUNCTION semid_from_tokens(tokens text, tokenizer integer DEFAULT 0)
	RETURNS @extschema@.semid
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semid_from_tokens(text, integer) IS
	'semantic ID of tokens like <item_L0_C12><item_L1_C7>, <a_12><b_7> or <s_a_12><s_b_7>, and of this tokenizer (0: none)';

-- An operator || whose right side is int itself would be the best match for 'text' || 1 everywhere
-- in the database. A domain is no exact match, so that stays what it was.
CREATE DOMAIN semcode AS integer;
COMMENT ON DOMAIN @extschema@.semcode IS
	'a code as the right side of semid || code: an int, but no int, so that ''text'' || 1 stays text';

CREATE FUNCTION semid_append(semid @extschema@.semid, code @extschema@.semcode)
	RETURNS @extschema@.semid
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semid_append(@extschema@.semid, @extschema@.semcode) IS
	'semantic ID with one more level';

CREATE OPERATOR || (
	LEFTARG = @extschema@.semid, RIGHTARG = @extschema@.semcode,
	FUNCTION = @extschema@.semid_append
);
COMMENT ON OPERATOR @extschema@.|| (@extschema@.semid, @extschema@.semcode) IS 'append a level';

-- Order: tokenizer, then codes, a prefix before its extensions

CREATE FUNCTION semid_eq(@extschema@.semid, @extschema@.semid) RETURNS boolean
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
COMMENT ON FUNCTION @extschema@.semid_eq(@extschema@.semid, @extschema@.semid) IS 'implementation of = operator';

CREATE FUNCTION semid_ne(@extschema@.semid, @extschema@.semid) RETURNS boolean
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
COMMENT ON FUNCTION @extschema@.semid_ne(@extschema@.semid, @extschema@.semid) IS 'implementation of <> operator';

CREATE FUNCTION semid_lt(@extschema@.semid, @extschema@.semid) RETURNS boolean
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
COMMENT ON FUNCTION @extschema@.semid_lt(@extschema@.semid, @extschema@.semid) IS 'implementation of < operator';

CREATE FUNCTION semid_le(@extschema@.semid, @extschema@.semid) RETURNS boolean
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
COMMENT ON FUNCTION @extschema@.semid_le(@extschema@.semid, @extschema@.semid) IS 'implementation of <= operator';

CREATE FUNCTION semid_gt(@extschema@.semid, @extschema@.semid) RETURNS boolean
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
COMMENT ON FUNCTION @extschema@.semid_gt(@extschema@.semid, @extschema@.semid) IS 'implementation of > operator';

CREATE FUNCTION semid_ge(@extschema@.semid, @extschema@.semid) RETURNS boolean
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
COMMENT ON FUNCTION @extschema@.semid_ge(@extschema@.semid, @extschema@.semid) IS 'implementation of >= operator';

CREATE FUNCTION semid_cmp(@extschema@.semid, @extschema@.semid) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
COMMENT ON FUNCTION @extschema@.semid_cmp(@extschema@.semid, @extschema@.semid) IS 'less-equal-greater';

CREATE FUNCTION semid_sortsupport(internal) RETURNS void
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semid_sortsupport(internal) IS 'sort support';

CREATE FUNCTION semid_hash(@extschema@.semid) RETURNS integer
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
COMMENT ON FUNCTION @extschema@.semid_hash(@extschema@.semid) IS 'hash';

CREATE FUNCTION semid_hash_extended(@extschema@.semid, bigint) RETURNS bigint
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF;
COMMENT ON FUNCTION @extschema@.semid_hash_extended(@extschema@.semid, bigint) IS 'hash with a seed';

CREATE FUNCTION semid_starts_with_support(internal) RETURNS internal
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semid_starts_with_support(internal) IS
	'planner support for semid_starts_with: a btree serves it as a range';

CREATE FUNCTION semid_starts_with_sel(internal, oid, internal, integer) RETURNS double precision
	AS 'MODULE_PATHNAME' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION @extschema@.semid_starts_with_sel(internal, oid, internal, integer) IS
	'restriction selectivity of ^@ on semantic IDs';

CREATE FUNCTION semid_starts_with(semid @extschema@.semid, prefix @extschema@.semid) RETURNS boolean
	AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF
	SUPPORT @extschema@.semid_starts_with_support;
COMMENT ON FUNCTION @extschema@.semid_starts_with(@extschema@.semid, @extschema@.semid) IS
	'does a semantic ID start with this prefix? Tokenizer 0 in the prefix stands for every tokenizer';

CREATE OPERATOR = (
	LEFTARG = @extschema@.semid, RIGHTARG = @extschema@.semid, FUNCTION = @extschema@.semid_eq,
	COMMUTATOR = OPERATOR(@extschema@.=), NEGATOR = OPERATOR(@extschema@.<>),
	RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
COMMENT ON OPERATOR @extschema@.= (@extschema@.semid, @extschema@.semid) IS 'equal, tokenizer included';

CREATE OPERATOR <> (
	LEFTARG = @extschema@.semid, RIGHTARG = @extschema@.semid, FUNCTION = @extschema@.semid_ne,
	COMMUTATOR = OPERATOR(@extschema@.<>), NEGATOR = OPERATOR(@extschema@.=),
	RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR @extschema@.<> (@extschema@.semid, @extschema@.semid) IS 'not equal';

CREATE OPERATOR < (
	LEFTARG = @extschema@.semid, RIGHTARG = @extschema@.semid, FUNCTION = @extschema@.semid_lt,
	COMMUTATOR = OPERATOR(@extschema@.>), NEGATOR = OPERATOR(@extschema@.>=),
	RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR @extschema@.< (@extschema@.semid, @extschema@.semid) IS 'less than';

CREATE OPERATOR <= (
	LEFTARG = @extschema@.semid, RIGHTARG = @extschema@.semid, FUNCTION = @extschema@.semid_le,
	COMMUTATOR = OPERATOR(@extschema@.>=), NEGATOR = OPERATOR(@extschema@.>),
	RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR @extschema@.<= (@extschema@.semid, @extschema@.semid) IS 'less than or equal';

CREATE OPERATOR > (
	LEFTARG = @extschema@.semid, RIGHTARG = @extschema@.semid, FUNCTION = @extschema@.semid_gt,
	COMMUTATOR = OPERATOR(@extschema@.<), NEGATOR = OPERATOR(@extschema@.<=),
	RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR @extschema@.> (@extschema@.semid, @extschema@.semid) IS 'greater than';

CREATE OPERATOR >= (
	LEFTARG = @extschema@.semid, RIGHTARG = @extschema@.semid, FUNCTION = @extschema@.semid_ge,
	COMMUTATOR = OPERATOR(@extschema@.<=), NEGATOR = OPERATOR(@extschema@.<),
	RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR @extschema@.>= (@extschema@.semid, @extschema@.semid) IS 'greater than or equal';

CREATE OPERATOR ^@ (
	LEFTARG = @extschema@.semid, RIGHTARG = @extschema@.semid,
	FUNCTION = @extschema@.semid_starts_with,
	RESTRICT = @extschema@.semid_starts_with_sel, JOIN = matchingjoinsel
);
COMMENT ON OPERATOR @extschema@.^@ (@extschema@.semid, @extschema@.semid) IS 'starts with';

CREATE OPERATOR CLASS semid_ops DEFAULT FOR TYPE @extschema@.semid USING btree AS
	OPERATOR 1 @extschema@.<,
	OPERATOR 2 @extschema@.<=,
	OPERATOR 3 @extschema@.=,
	OPERATOR 4 @extschema@.>=,
	OPERATOR 5 @extschema@.>,
	FUNCTION 1 @extschema@.semid_cmp(@extschema@.semid, @extschema@.semid),
	FUNCTION 2 @extschema@.semid_sortsupport(internal),
	FUNCTION 4 btequalimage(oid);
COMMENT ON OPERATOR FAMILY @extschema@.semid_ops USING btree IS 'order of semantic IDs';
COMMENT ON OPERATOR CLASS @extschema@.semid_ops USING btree IS 'order of semantic IDs';

CREATE OPERATOR CLASS semid_ops DEFAULT FOR TYPE @extschema@.semid USING hash AS
	OPERATOR 1 @extschema@.=,
	FUNCTION 1 @extschema@.semid_hash(@extschema@.semid),
	FUNCTION 2 @extschema@.semid_hash_extended(@extschema@.semid, bigint);
COMMENT ON OPERATOR FAMILY @extschema@.semid_ops USING hash IS 'equality of semantic IDs';
COMMENT ON OPERATOR CLASS @extschema@.semid_ops USING hash IS 'equality of semantic IDs';
