-- Checks: a query and what it answers. They are kept, so that every_object.sql can see which of them
-- notice that an object of the extension is missing.
--
--   SELECT checks(query, answer, what [, setup]);
--
-- is a pgTAP assertion. The answer is text: a line a row, its values with spaces between, each as its
-- type prints it inside JSON; or 'ERROR 22023: …' when the query must fail. setup runs before the
-- query. Both are undone, so checks do not meet one another.
CREATE TABLE checked (n int GENERATED ALWAYS AS IDENTITY, query text, answer text, setup text);

CREATE FUNCTION answer(query text, setup text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	line record;
	lines text[] := '{}';
BEGIN
	EXECUTE 'SET LOCAL client_min_messages = error;' || setup;
	FOR line IN EXECUTE query LOOP
		lines := lines || (SELECT string_agg(coalesce(value, 'NULL'), ' ') FROM json_each_text(row_to_json(line)));
	END LOOP;
	RAISE EXCEPTION SQLSTATE 'ZZZZZ'; -- undoes it all but the lines
EXCEPTION
	WHEN SQLSTATE 'ZZZZZ' THEN RETURN array_to_string(lines, E'\n');
	WHEN OTHERS THEN RETURN format('ERROR %s: %s', SQLSTATE, SQLERRM);
END $$;

-- Only a check that passes is kept.
CREATE FUNCTION checks(query text, expected text, what text, setup text DEFAULT '') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	got text := answer(query, setup);
BEGIN
	IF got = expected THEN
		INSERT INTO checked (query, answer, setup) VALUES (query, expected, setup);
	END IF;
	RETURN is(got, expected, what);
END $$;
