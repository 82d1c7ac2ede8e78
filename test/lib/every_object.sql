-- Every object of the extension has a check that notices when it is gone. Each is taken away in turn
-- (a C function: the symbol that it calls), the checks are run again, likely ones first, until one
-- answers otherwise, and all is undone. So an object counts when a check that passes needs it, by
-- whatever way: an operator class by a sort, a serialization function by a parallel aggregate.
CREATE FUNCTION members() RETURNS TABLE (class regclass, object oid, what text, word text) LANGUAGE sql AS $$
	SELECT classid, objid, pg_describe_object(classid, objid, 0),
	       coalesce((SELECT proname FROM pg_proc WHERE oid = objid AND classid = 'pg_proc'::regclass),
	                (SELECT oprname FROM pg_operator WHERE oid = objid AND classid = 'pg_operator'::regclass),
	                (pg_identify_object(classid, objid, 0)).name, '')
	  FROM pg_depend
	 WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
	   AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'semtok')
	   -- array and row types come with others, and are members in their own right from 17 on
	   AND NOT (classid = 'pg_type'::regclass AND EXISTS (SELECT FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
			WHERE t.oid = objid AND (t.typcategory = 'A' OR c.relkind <> 'c')))
$$;

CREATE FUNCTION take_away(class regclass, object oid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	CASE class::text
		WHEN 'pg_proc' THEN
			UPDATE pg_proc SET prosrc = 'taken_away' WHERE oid = object AND prokind <> 'a';
			UPDATE pg_proc SET proname = 'taken_away' WHERE oid = object AND prokind = 'a';
		WHEN 'pg_operator' THEN UPDATE pg_operator SET oprname = '<!taken!>' WHERE oid = object;
		WHEN 'pg_cast' THEN DELETE FROM pg_cast WHERE oid = object;
		WHEN 'pg_type' THEN UPDATE pg_type SET typname = 'taken_away' WHERE oid = object;
		WHEN 'pg_opclass' THEN DELETE FROM pg_opclass WHERE oid = object;
		WHEN 'pg_opfamily' THEN DELETE FROM pg_amop WHERE amopfamily = object;
		WHEN 'pg_am' THEN UPDATE pg_am SET amname = 'taken_away' WHERE oid = object;
		WHEN 'pg_class' THEN UPDATE pg_class SET relname = 'taken_away' WHERE oid = object;
		WHEN 'pg_namespace' THEN UPDATE pg_namespace SET nspname = 'taken_away' WHERE oid = object;
	END CASE;
END $$;

-- The first check that notices, or null.
CREATE FUNCTION noticed(class regclass, object oid, word text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
	c checked;
	found int;
BEGIN
	PERFORM take_away(class, object);
	FOR c IN SELECT * FROM checked
		ORDER BY position(noticed.word IN query || setup) = 0, position(split_part(noticed.word, '_', 1) IN query || setup) = 0, n
	LOOP
		IF answer(c.query, c.setup) <> c.answer THEN
			found := c.n;
			EXIT;
		END IF;
	END LOOP;
	RAISE EXCEPTION SQLSTATE 'ZZZZZ';
EXCEPTION WHEN SQLSTATE 'ZZZZZ' THEN
	RETURN found;
END $$;

-- A setting cannot be taken away: checks that name it are run with another name.
CREATE FUNCTION noticed(setting text) RETURNS int LANGUAGE sql AS $$
	SELECT n FROM checked
	 WHERE position(setting IN query || setup) > 0
	   AND answer(replace(query, setting, 'semtok.taken_away'), replace(setup, setting, 'semtok.taken_away')) <> answer
	 LIMIT 1
$$;

SELECT cmp_ok(count(*), '>', 100::bigint, 'the extension has its objects') FROM members();
SELECT is((SELECT string_agg(format('%s: answered %s', query, answer(query, setup)), E'\n')
             FROM checked WHERE answer(query, setup) <> answer), NULL, 'every check answers twice alike');
SELECT is(string_agg(what, E'\n' ORDER BY what), NULL, 'every object has a check that notices when it is gone')
  FROM members() m WHERE noticed(class, object, word) IS NULL;
SELECT is(string_agg(name, E'\n' ORDER BY name), NULL, 'so has every setting')
  FROM pg_settings WHERE name LIKE 'semtok.%' AND noticed(name) IS NULL;
SELECT is((SELECT string_agg(format('%s: answered %s', query, answer(query, setup)), E'\n')
             FROM checked WHERE answer(query, setup) <> answer), NULL, 'and all are back');
