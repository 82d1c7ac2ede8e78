
-- Verbs, the catalog and views live in schema semtok; types, operators and operator classes in the
-- schema that CREATE EXTENSION names. When that is semtok itself, it exists already.
DO $$
BEGIN
	IF '@extschema@' <> 'semtok' THEN
		CREATE SCHEMA semtok;
	END IF;
END
$$;
COMMENT ON SCHEMA semtok IS 'semtok: tokenizers, encoding, decoding';
GRANT USAGE ON SCHEMA semtok TO PUBLIC;
