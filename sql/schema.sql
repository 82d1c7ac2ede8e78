
-- Verbs, the catalog and views live in schema semtok; types, operators and operator classes in the
-- schema that CREATE EXTENSION names. When that is semtok itself, it exists already.
DO $$
BEGIN
	IF '@extschema@' <> 'semtok' THEN
		CREATE SCHEMA semtok;
		COMMENT ON SCHEMA semtok IS 'semtok: tokenizers, encoding, decoding';
	END IF;
END
$$;
GRANT USAGE ON SCHEMA semtok TO PUBLIC;

CREATE FUNCTION semtok.library_version() RETURNS text
	AS 'MODULE_PATHNAME', 'semtok_library_version' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION semtok.library_version() IS
	'version of the library that this session has loaded; pg_extension has that of the SQL objects';
