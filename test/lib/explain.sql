\set ECHO none
-- Plans in words that are the same from PostgreSQL 15 to 18: 17 calls the result of an init plan
-- (InitPlan 1).col1, which was $0 before; 18 counts searches and marks what is disabled.
CREATE FUNCTION pg_temp.explain(statement text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
	line text;
BEGIN
	FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || statement LOOP
		CONTINUE WHEN line ~ '^ *(Index Searches: \d+|Disabled: true)$';
		line := regexp_replace(line, '(InitPlan \d+) \(returns \$[\d,$]+\)', '\1');
		FOR i IN 1 .. 9 LOOP
			line := replace(line, format('(InitPlan %s).col1', i), '$' || i - 1);
		END LOOP;
		RETURN NEXT line;
	END LOOP;
END
$$;
\set ECHO all
