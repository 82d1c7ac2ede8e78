-- Keeping a column of ids in step with a column of embeddings

CREATE FUNCTION semtok.tokenize_trigger() RETURNS trigger
	AS 'MODULE_PATHNAME', 'semtok_tokenize_trigger' LANGUAGE C;
COMMENT ON FUNCTION semtok.tokenize_trigger() IS
	'BEFORE INSERT OR UPDATE trigger, arguments embedding column, semid column, tokenizer: encodes new embeddings';
