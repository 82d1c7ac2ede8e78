-- Import LC-Rec's index.json: an object of item to its tokens, {"0": ["<a_12>", "<b_7>", "<c_255>"], …}.
-- The letters tell the level.
--
--   psql -v table=items -v key=item_id -f examples/import/lcrec.sql DATABASE < index.json
--
-- -v sizes='{256,256,256,256}' where the file does not use each level's last code, or where some items
-- have a level more; -v id=1 for new items, whose ids are to be of the tokenizer 1 that is there.
\set ON_ERROR_STOP on
\set SHOW_CONTEXT never
\set QUIET on
\if :{?tokenizer}
\else
\set tokenizer lcrec
\endif
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS semtok;
CREATE TEMP TABLE import_line (n bigint GENERATED ALWAYS AS IDENTITY, line text) ON COMMIT DROP;
\copy import_line (line) FROM pstdin WITH (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02')
CREATE TEMP TABLE import_id (n bigint GENERATED ALWAYS AS IDENTITY, item text, codes text[]) ON COMMIT DROP;
DO $$
DECLARE
	-- json, not jsonb: it keeps a key that is there twice
	document json := string_agg(line, E'\n' ORDER BY n)::json FROM import_line;
	entry record;
	tokens text;
BEGIN
	IF json_typeof(document) IS DISTINCT FROM 'object' THEN
		RAISE EXCEPTION 'expected an object of items, not %', coalesce(json_typeof(document), 'nothing');
	END IF;
	BEGIN
		FOR entry IN SELECT key, value FROM json_each(document) LOOP
			IF json_typeof(entry.value) <> 'array' THEN
				RAISE EXCEPTION 'item "%": expected a list of tokens, not %', entry.key, entry.value;
			END IF;
			tokens := string_agg(token, '' ORDER BY n) FROM json_array_elements_text(entry.value)
				WITH ORDINALITY AS t (token, n);
			INSERT INTO import_id (item, codes)
				VALUES (entry.key, semid_codes(semid_from_tokens(coalesce(tokens, '')))::text[]);
		END LOOP;
	EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
		RAISE EXCEPTION 'item "%": %', entry.key, SQLERRM;
	END;
END $$;
\ir load.sql
