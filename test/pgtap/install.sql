-- The extension installs into any schema, under any search_path, works there, and leaves nothing.
-- All in one session, so that nothing remembered from one installation is taken for the next.
SELECT plan(19);
SET client_min_messages = error;
CREATE ROLE semtok_install_user;

-- What may be left behind.
CREATE FUNCTION leftovers() RETURNS SETOF text LANGUAGE sql AS $$
  SELECT 'function ' || oid::regprocedure FROM pg_proc WHERE probin LIKE '%semtok%' UNION ALL
  SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname = 'semtok' UNION ALL
  SELECT 'type ' || typname FROM pg_type WHERE typname ~ '^_?(semid|semset|semquery|codebook)$' UNION ALL
  SELECT 'access method ' || amname FROM pg_am WHERE amname = 'semtrie' UNION ALL
  SELECT 'operator ' || oprname FROM pg_operator WHERE oprname = '<~>' UNION ALL
  SELECT 'operator family ' || opfname FROM pg_opfamily WHERE opfname ~ 'semid|codebook|semset' UNION ALL
  SELECT 'cast ' || oid FROM pg_cast WHERE castfunc <> 0 AND NOT EXISTS (SELECT FROM pg_proc p WHERE p.oid = castfunc)
$$;

-- The whole path, in names that any search_path resolves. s is the schema of the types, quoted.
CREATE FUNCTION works(s text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  found int;
  search CONSTANT text := pg_catalog.concat(
    'SELECT pg_catalog.sum(b.items) FROM semtok.beam_search(''public.works'', semtok.neighbors(''works'', ''{1,2}''), 50) b');
BEGIN
  EXECUTE pg_catalog.format($q$
    CREATE TABLE public.works (id int, embedding real[], sid %1$s.semid);
    INSERT INTO public.works (id, embedding)
    SELECT i, array[i OPERATOR(pg_catalog.%%) 10, i OPERATOR(pg_catalog.%%) 7]::real[] FROM pg_catalog.generate_series(1, 60) i;
    SELECT semtok.train('works', 'SELECT embedding FROM public.works', levels => 2, codes => 4, epochs => 2);
    UPDATE public.works SET sid = semtok.encode('works', embedding);
    CREATE INDEX works_sid ON public.works USING semtrie (sid);
    ALTER TABLE public.works ENABLE ROW LEVEL SECURITY;
    CREATE POLICY p ON public.works USING (id OPERATOR(pg_catalog.<=) 50);
    GRANT SELECT ON public.works TO semtok_install_user;
    GRANT USAGE ON SCHEMA %1$s TO semtok_install_user;
    $q$, s);
  EXECUTE search INTO found;
  IF found OPERATOR(pg_catalog.<>) 60 THEN RETURN pg_catalog.concat('by the index: ', found); END IF;
  SET LOCAL ROLE semtok_install_user;
  EXECUTE search INTO found;
  RESET ROLE;
  IF found OPERATOR(pg_catalog.<>) 50 THEN RETURN pg_catalog.concat('by the executor: ', found); END IF;
  EXECUTE pg_catalog.format($q$
    SELECT pg_catalog.count(*) FROM (SELECT %1$s.semset_agg(w.sid) AS items FROM public.works w) s,
      semtok.beam_search_set(s.items, semtok.logits('{{1,2,3,4},{4,3,2,1}}', norm => 'masked'), 50) b
     WHERE b.sid OPERATOR(%1$s.<@) s.items
    $q$, s) INTO found;
  IF found OPERATOR(pg_catalog.<) 4 THEN RETURN pg_catalog.concat('by a set: ', found); END IF;
  EXECUTE 'SELECT pg_catalog.count(*) FROM semtok.collisions(''public.works'', ''sid'')' INTO found;
  EXECUTE 'SELECT pg_catalog.count(*) FROM semtok.evaluate(''works'', ''SELECT embedding FROM public.works'')' INTO found;
  DROP TABLE public.works;
  PERFORM semtok.drop_tokenizer('works');
  EXECUTE pg_catalog.format('REVOKE ALL ON SCHEMA %s FROM semtok_install_user', s);
  RETURN 'works';
END $$;

SELECT is(works('public'), 'works', 'works in schema public');
SELECT throws_ok('ALTER EXTENSION semtok SET SCHEMA pg_catalog', '0A000', NULL, 'is not relocatable');
DROP EXTENSION semtok;
SELECT is_empty('SELECT leftovers()', 'a drop leaves nothing');

CREATE SCHEMA "an Other";
CREATE EXTENSION semtok SCHEMA "an Other";
SELECT is(works('"an Other"'), 'works', 'works in a schema that is not in the search_path');
SELECT is_empty($$SELECT * FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND probin LIKE '%semtok%'$$,
  'and puts nothing elsewhere');
CREATE TABLE dependent (id int, sid "an Other".semid);
SELECT throws_ok('DROP EXTENSION semtok', '2BP01', NULL, 'is not dropped from under a table');
SELECT lives_ok('DROP EXTENSION semtok CASCADE', 'unless told so');
SELECT has_column('dependent', 'id', 'then the table keeps its other columns');
SELECT hasnt_column('dependent', 'sid', 'and loses the one');
SELECT is_empty('SELECT leftovers()', 'a cascading drop leaves nothing');
DROP SCHEMA "an Other";

CREATE SCHEMA semtok;
CREATE EXTENSION semtok SCHEMA semtok;
SELECT is(works('semtok'), 'works', 'works with the types in schema semtok too');
DROP EXTENSION semtok;
SELECT results_eq('SELECT leftovers()', $$VALUES ('schema semtok')$$, 'a drop leaves the schema that was there before');
DROP SCHEMA semtok;

-- an empty search_path
CREATE SCHEMA other;
SET search_path = '';
CREATE EXTENSION semtok SCHEMA other;
SELECT public.works('other') AS result \gset
RESET search_path;
SELECT is(:'result'::text, 'works', 'works with an empty search_path');
DROP EXTENSION semtok;

-- a hostile one: operators and functions that a careless script or verb would find first
CREATE SCHEMA evil;
CREATE FUNCTION evil.trap() RETURNS int LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'trapped'; END$$;
DO $do$
DECLARE t text; o text; f text;
BEGIN
  FOREACH t IN ARRAY '{int,bigint,text,name,oid,float8,boolean}'::text[] LOOP
    EXECUTE format('CREATE FUNCTION evil.compare(%1$s, %1$s) RETURNS boolean LANGUAGE sql VOLATILE AS $$SELECT evil.trap() IS NULL$$', t);
    FOREACH o IN ARRAY '{=,<>,<,>,<=,>=}'::text[] LOOP
      EXECUTE format('CREATE OPERATOR evil.%s (LEFTARG = %s, RIGHTARG = %2$s, FUNCTION = evil.compare)', o, t);
    END LOOP;
  END LOOP;
  FOREACH f IN ARRAY array['now()', 'nextval(regclass)', 'quote_ident(text)', 'quote_literal(text)', 'lower(text)',
                           'octet_length(bytea)', 'octet_length(text)', 'array_length(anyarray, int)',
                           'cardinality(anyarray)', 'encode(bytea, text)'] LOOP
    EXECUTE format('CREATE FUNCTION evil.%s RETURNS int LANGUAGE sql VOLATILE AS $$SELECT evil.trap()$$', f);
  END LOOP;
  CREATE FUNCTION evil.trap_step(int) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT evil.trap()';
  CREATE AGGREGATE evil.count (*) (SFUNC = evil.trap_step, STYPE = int, INITCOND = '0');
END $do$;
GRANT USAGE ON SCHEMA evil TO semtok_install_user;
SET search_path = evil, pg_catalog;
CREATE EXTENSION semtok SCHEMA other;
SELECT public.works('other') AS result \gset
RESET search_path;
SELECT is(:'result'::text, 'works', 'works with a hostile search_path');

-- who may install
DROP EXTENSION semtok;
DO $$BEGIN EXECUTE format('GRANT CREATE ON DATABASE %I TO semtok_install_user', current_database()); END$$;
GRANT CREATE ON SCHEMA other TO semtok_install_user;
SET ROLE semtok_install_user;
SELECT throws_ok('CREATE EXTENSION semtok SCHEMA other', '42501', NULL, 'only a superuser installs it');
RESET ROLE;
SELECT is_empty('SELECT leftovers()', 'a failed installation leaves nothing');

-- a schema of the name in someone's hands
CREATE SCHEMA semtok AUTHORIZATION semtok_install_user;
SELECT throws_ok('CREATE EXTENSION semtok SCHEMA other', '42P06', NULL,
  'the types'' schema elsewhere, a schema semtok that is there is not taken over');
DROP SCHEMA semtok;

-- and back where everybody else expects it
CREATE EXTENSION semtok;
SELECT is(works('public'), 'works', 'works after all this');
BEGIN;
DROP EXTENSION semtok;
ROLLBACK;
SELECT is(works('public'), 'works', 'works after a drop that was rolled back');

DO $$BEGIN EXECUTE format('REVOKE CREATE ON DATABASE %I FROM semtok_install_user', current_database()); END$$;
DROP SCHEMA evil, other CASCADE;
DROP ROLE semtok_install_user;
SELECT * FROM finish();
