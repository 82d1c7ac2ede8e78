
-- Access methods are global, so the names here cannot be qualified.
CREATE FUNCTION semtrie_handler(internal) RETURNS index_am_handler
	AS 'MODULE_PATHNAME' LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION semtrie_handler(internal) IS 'handler of the semtrie index access method';

CREATE ACCESS METHOD semtrie TYPE INDEX HANDLER @extschema@.semtrie_handler;
COMMENT ON ACCESS METHOD semtrie IS 'trie of semantic IDs: equality, prefixes, and ids in order of their cost under a query';

CREATE OPERATOR CLASS semid_ops DEFAULT FOR TYPE @extschema@.semid USING semtrie AS
	OPERATOR 1 @extschema@.= (@extschema@.semid, @extschema@.semid),
	OPERATOR 2 @extschema@.^@ (@extschema@.semid, @extschema@.semid),
	OPERATOR 3 @extschema@.<~> (@extschema@.semid, @extschema@.semquery)
		FOR ORDER BY pg_catalog.float_ops;
COMMENT ON OPERATOR CLASS semid_ops USING semtrie IS 'semantic IDs in a trie';
COMMENT ON OPERATOR FAMILY semid_ops USING semtrie IS 'semantic IDs in a trie';

CREATE FUNCTION semtok.index_info(index regclass,
	OUT generation bigint, OUT runs bigint, OUT tokenizers bigint, OUT levels bigint,
	OUT nodes bigint, OUT ids bigint, OUT items bigint, OUT nulls bigint, OUT dead bigint,
	OUT delta_entries bigint, OUT delta_dead bigint, OUT delta_pages bigint,
	OUT run_pages bigint, OUT retired_pages bigint, OUT reserved_pages bigint,
	OUT free_pages bigint, OUT bytes bigint, OUT vacuum_count bigint,
	OUT history_pages bigint)
	AS 'MODULE_PATHNAME', 'semtok_index_info' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION semtok.index_info(regclass) IS
	'what a semtrie index holds: its run (with rows that VACUUM removed as dead), its delta, its pages';

CREATE FUNCTION semtok.index_check(index regclass, heapallindexed boolean DEFAULT false)
	RETURNS void
	AS 'MODULE_PATHNAME', 'semtok_index_check' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION semtok.index_check(regclass, boolean) IS
	'verify the structure of a semtrie index, and with heapallindexed that it holds every row of its table';

CREATE FUNCTION semtok.catalog_version(items regclass) RETURNS bigint
	AS 'MODULE_PATHNAME', 'semtok_catalog_version' LANGUAGE C STABLE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION semtok.catalog_version(regclass) IS
	'version of the ids that the snapshot sees, for semtok.changes';

CREATE FUNCTION semtok.changes(items regclass, since bigint,
	OUT sid @extschema@.semid, OUT present boolean)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'semtok_changes' LANGUAGE C STABLE STRICT PARALLEL RESTRICTED;
COMMENT ON FUNCTION semtok.changes(regclass, bigint) IS
	'ids that may have come or gone since a version, and whether the snapshot sees a row of each';
