-- Tokenizers from elsewhere, and to there

CREATE FUNCTION semtok.import_tokenizer(name text, codebook @extschema@.codebook,
	id int DEFAULT NULL, counts float8[] DEFAULT NULL, options jsonb DEFAULT NULL) RETURNS int
	AS 'MODULE_PATHNAME', 'semtok_import_tokenizer' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION semtok.import_tokenizer(text, @extschema@.codebook, int, float8[], jsonb) IS
	'a codebook as the next version of a tokenizer; an id that is given is kept, on every node the same';

CREATE FUNCTION semtok.import_safetensors(name text, file bytea, config jsonb DEFAULT NULL,
	id int DEFAULT NULL) RETURNS int
	AS 'MODULE_PATHNAME', 'semtok_import_safetensors' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION semtok.import_safetensors(text, bytea, jsonb, int) IS
	'codebooks, and counts, of a safetensors file as the next version of a tokenizer';

CREATE FUNCTION semtok.export_safetensors(tokenizer int) RETURNS bytea
	AS 'MODULE_PATHNAME', 'semtok_export_safetensors_id' LANGUAGE C STABLE STRICT PARALLEL SAFE
	COST 1000;
COMMENT ON FUNCTION semtok.export_safetensors(int) IS
	'the tokenizer with this id as a safetensors file: codebooks, counts, options';

CREATE FUNCTION semtok.export_safetensors(name text) RETURNS bytea
	AS 'MODULE_PATHNAME', 'semtok_export_safetensors_name' LANGUAGE C STABLE STRICT PARALLEL SAFE
	COST 1000;
COMMENT ON FUNCTION semtok.export_safetensors(text) IS
	'the active version of a tokenizer as a safetensors file: codebooks, counts, options';

CREATE FUNCTION semtok.register_tokenizer(name text, sizes int[], id int DEFAULT NULL) RETURNS int
	AS 'MODULE_PATHNAME', 'semtok_register_tokenizer' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION semtok.register_tokenizer(text, int[], int) IS
	'a tokenizer without a codebook, for ids that come from elsewhere';
