
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
