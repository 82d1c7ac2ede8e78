-- Import sid2pid JSON: an object of semantic ID to the items that have it. The id is a mixed-radix
-- number, "378529993943", for sizes=… (default {8192,8192,8192}, OneRec's), its codes, "12,7,255", as
-- semset_to_json writes them, or tokens, "<s_a_12><s_b_7><s_c_255>", with or without <|sid_begin|> and
-- <|sid_end|>. The items are one value, a list of values, or a list of objects with "pid" or "iid".
--
--   psql -v table=items -v key=item_id -f examples/import/sid2pid.sql DATABASE < sid2pid.json
\set ON_ERROR_STOP on
\set SHOW_CONTEXT never
\set QUIET on
\if :{?tokenizer}
\else
\set tokenizer sid2pid
\endif
\if :{?sizes}
\else
\set sizes ''
\endif
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS semtok;
SELECT set_config('import.sizes', :'sizes', true) AS sizes_given \gset
CREATE TEMP TABLE import_line (n bigint GENERATED ALWAYS AS IDENTITY, line text) ON COMMIT DROP;
\copy import_line (line) FROM pstdin WITH (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02')
CREATE TEMP TABLE import_id (n bigint GENERATED ALWAYS AS IDENTITY, item text, codes text[]) ON COMMIT DROP;
DO $$
DECLARE
	document json := string_agg(line, E'\n' ORDER BY n)::json FROM import_line;
	sizes int[] := coalesce(nullif(current_setting('import.sizes'), '')::int[], '{8192,8192,8192}');
	entry record;
	item record;
	codes text[];
	pid text;
	flat boolean := false;
BEGIN
	IF json_typeof(document) IS DISTINCT FROM 'object' THEN
		RAISE EXCEPTION 'expected an object of ids, not %', coalesce(json_typeof(document), 'nothing');
	END IF;
	BEGIN
		FOR entry IN SELECT key, value FROM json_each(document) LOOP
			IF entry.key ~ '^[0-9]+$' THEN
				flat := true;
				codes := semid_codes(semid_unflat(entry.key::numeric, sizes))::text[];
			ELSIF entry.key ~ '^[0-9]+(,[0-9]+)+$' THEN
				codes := string_to_array(entry.key, ',');
			ELSE
				codes := semid_codes(semid_from_tokens(
					regexp_replace(entry.key, '^<\|sid_begin\|>(.*)<\|sid_end\|>$', '\1')))::text[];
			END IF;
			FOR item IN SELECT json_typeof(value) AS type, value FROM json_array_elements(
				CASE json_typeof(entry.value) WHEN 'array' THEN entry.value
				ELSE json_build_array(entry.value) END) AS v (value)
			LOOP
				pid := CASE item.type
					WHEN 'object' THEN coalesce(item.value ->> 'pid', item.value ->> 'iid')
					WHEN 'string' THEN item.value #>> '{}' WHEN 'number' THEN item.value #>> '{}' END;
				IF pid IS NULL THEN
					RAISE EXCEPTION 'id "%": expected a number, a string, or an object with pid or iid, not %',
						entry.key, item.value;
				END IF;
				INSERT INTO import_id (item, codes) VALUES (pid, codes);
			END LOOP;
		END LOOP;
	EXCEPTION WHEN data_exception OR program_limit_exceeded THEN
		RAISE EXCEPTION 'id "%": %', entry.key, SQLERRM;
	END;
	-- Numbers were read by these sizes, so the tokenizer has them.
	IF flat THEN
		PERFORM set_config('import.sizes', sizes::text, true);
	END IF;
END $$;
SELECT current_setting('import.sizes') AS sizes \gset
\ir load.sql
