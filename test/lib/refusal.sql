\set ECHO none
-- What a statement that cannot work says: SQLSTATE, message, detail and hint.
CREATE FUNCTION pg_temp.refusal(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
	hint text;
BEGIN
	EXECUTE statement;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' ', sqlstate, sqlerrm, '| ' || nullif(detail, ''), '| ' || nullif(hint, ''));
END
$$;
\set ECHO all
