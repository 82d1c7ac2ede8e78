-- Import ids from text: a line for each item, first the item, then its codes, between blanks, tabs,
-- commas or semicolons, such as "1<TAB>166 146 232 196".
--
--   psql -v table=items -v key=item_id -v tokenizer=published -f examples/import/ids.sql DATABASE < FILE
--
-- Of a file with more columns take two: tail -n +2 items.tsv | cut -f 1,6 | psql …
\set ON_ERROR_STOP on
\set SHOW_CONTEXT never
\set QUIET on
\if :{?tokenizer}
\else
\set tokenizer imported
\endif
BEGIN;
SET LOCAL client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS semtok;
-- Lines as they are: the delimiter and the quote are characters that no text file has.
CREATE TEMP TABLE import_line (n bigint GENERATED ALWAYS AS IDENTITY, line text) ON COMMIT DROP;
\copy import_line (line) FROM pstdin WITH (FORMAT csv, DELIMITER E'\x01', QUOTE E'\x02')
CREATE TEMP TABLE import_id ON COMMIT DROP AS
	SELECT n, words[1] AS item, words[2:] AS codes
	FROM (SELECT n, regexp_split_to_array(trim(E' \t\r' FROM line), '[\s,;]+') AS words
		  FROM import_line WHERE line ~ '\S') AS s;
\ir load.sql
