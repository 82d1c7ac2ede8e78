-- semtok.tokenize_trigger: a column of ids in step with a column of embeddings.
SET client_min_messages = error;

CREATE FUNCTION refusal(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	detail text;
	context text;
BEGIN
	EXECUTE statement;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, context = PG_EXCEPTION_CONTEXT;
	RETURN concat_ws(' ', sqlstate, regexp_replace(sqlerrm, 'id \d+', 'id N'), '| ' || nullif(detail, ''), '| ' || substring(context from 'trigger "[^\n]*'));
END
$$;

-- Two versions that give different ids: codewords 0, 10, 20, then 0, 1; and the same in another order.
CREATE TABLE books AS
	SELECT codebook_agg(l, c, v) AS up, codebook_agg(l, CASE l WHEN 0 THEN 2 - c ELSE c END, v) AS down
	FROM (VALUES (0, 0, '{0,0}'::real[]), (0, 1, '{10,0}'), (0, 2, '{20,0}'), (1, 0, '{0,0}'), (1, 1, '{1,0}')) AS t(l, c, v);
SELECT semtok.import_tokenizer('wares', up, 710001), semtok.import_tokenizer('wares', down, 710002) FROM books;

CREATE TABLE wares (gone int, id int PRIMARY KEY, x real[], price int, sid semid);
ALTER TABLE wares DROP gone;
CREATE TRIGGER tokenize BEFORE INSERT OR UPDATE ON wares FOR EACH ROW EXECUTE FUNCTION semtok.tokenize_trigger('x', 'sid', 'wares');

-- INSERT: encodes what has an embedding, and keeps an id that is given.
INSERT INTO wares VALUES (1, '{1,0}', 5, null), (2, '{11,0}', 5, null), (3, null, 5, null), (4, '{20,0}', 5, '[7,7]'), (5, null, 5, '[8,8]@1');
INSERT INTO wares (sid, x, id) SELECT null, array[i, 0], i FROM generate_series(6, 8) AS i;
SELECT id, x, sid FROM wares ORDER BY id;
SELECT count(*) FROM wares WHERE sid = semtok.encode('wares', x);

-- UPDATE: of another column, of the embedding, of the id, of both; and everything written back.
UPDATE wares SET price = 6;
SELECT id, sid FROM wares WHERE id IN (3, 4, 5) ORDER BY id;
UPDATE wares SET x = '{20,0}' WHERE id IN (1, 3, 5) RETURNING id, sid;
UPDATE wares SET sid = '[9,9]' WHERE id = 1 RETURNING sid;
UPDATE wares SET x = '{1,0}', sid = '[6,6]' WHERE id = 1 RETURNING sid;
UPDATE wares SET x = '{11,0}', price = price, sid = sid WHERE id = 1 RETURNING sid;
UPDATE wares SET x = x, sid = '[5,5]' WHERE id = 1 RETURNING sid;
UPDATE wares SET x = array[x[1], x[2]], price = 7 WHERE id = 1 RETURNING sid;
UPDATE wares SET sid = null WHERE id = 1 RETURNING sid;
UPDATE wares SET price = 8 WHERE id = 1 RETURNING sid;
UPDATE wares SET x = '{0,0}' WHERE id = 1 RETURNING sid;
-- an embedding that goes takes its id with it
UPDATE wares SET x = null WHERE id = 1 RETURNING sid;
UPDATE wares SET x = null, sid = '[4,4]' WHERE id = 1 RETURNING sid;
UPDATE wares SET x = '{1,0}', sid = null WHERE id = 1 RETURNING sid;
-- bytes count: these are equal, and yet another value, which is encoded to the same id
UPDATE wares SET x = '{0,0}', sid = '[1,1]' WHERE id = 2;
UPDATE wares SET x = '{-0,0}' WHERE id = 2 RETURNING sid;

-- ON CONFLICT, MERGE
INSERT INTO wares VALUES (1, '{21,0}', 1) ON CONFLICT (id) DO UPDATE SET x = excluded.x RETURNING sid;
INSERT INTO wares VALUES (1, '{10,0}', 1) ON CONFLICT (id) DO UPDATE SET x = excluded.x, sid = excluded.sid RETURNING sid;
INSERT INTO wares VALUES (1, '{0,0}', 1) ON CONFLICT (id) DO NOTHING RETURNING sid;
MERGE INTO wares AS w USING (VALUES (1, '{1,0}'::real[]), (99, '{11,0}')) AS v(id, x) ON v.id = w.id
	WHEN MATCHED THEN UPDATE SET x = v.x WHEN NOT MATCHED THEN INSERT (id, x) VALUES (v.id, v.x);
SELECT id, sid FROM wares WHERE id IN (1, 99) ORDER BY id;

-- COPY
COPY wares (id, x) FROM stdin;
30	{1,0}
31	\N
32	{20,1}
\.
COPY wares (id, x, sid) FROM stdin;
33	{1,0}	[3,3]
34	{1,0}	\N
\.
SELECT id, sid FROM wares WHERE id BETWEEN 30 AND 34 ORDER BY id;

-- The version that is active counts, from the next statement on; ids of both generations live together.
SELECT semtok.activate('wares', 2);
INSERT INTO wares (id, x) VALUES (40, '{0,0}') RETURNING sid;
UPDATE wares SET x = '{0,0}' WHERE id = 30 RETURNING sid;
UPDATE wares SET price = 1 WHERE id = 32 RETURNING sid;
BEGIN;
SELECT semtok.activate('wares', 1);
INSERT INTO wares (id, x) VALUES (41, '{0,0}') RETURNING sid;
SAVEPOINT s;
SELECT semtok.activate('wares', 2);
INSERT INTO wares (id, x) VALUES (42, '{0,0}') RETURNING sid;
ROLLBACK TO s;
INSERT INTO wares (id, x) VALUES (43, '{0,0}') RETURNING sid;
ROLLBACK;
DO $$
BEGIN
	FOR v IN 1..2 LOOP
		PERFORM semtok.activate('wares', v);
		INSERT INTO wares (id, x) VALUES (50 + v, '{0,0}');
	END LOOP;
END $$;
SELECT id, sid FROM wares WHERE id IN (51, 52) ORDER BY id;
SELECT semtok.activate('wares', 1);

-- An empty search_path, as in apply workers and restores.
SET search_path = '';
INSERT INTO public.wares (id, x) VALUES (60, '{11,0}') RETURNING id, sid;
UPDATE public.wares SET x = '{1,0}' WHERE id = 60 RETURNING id, sid;
RESET search_path;
-- What comes by replication keeps its id, or has none; a trigger that is always enabled adds those.
SET session_replication_role = replica;
INSERT INTO wares (id, x) VALUES (61, '{11,0}') RETURNING sid;
ALTER TABLE wares ENABLE ALWAYS TRIGGER tokenize;
INSERT INTO wares (id, x, sid) VALUES (62, '{11,0}', null), (63, '{11,0}', '[2,2]') RETURNING sid;
RESET session_replication_role;

-- Nothing needs the tokenizer where no id is made.
CREATE TABLE later (x real[], sid semid, n int);
CREATE TRIGGER tokenize BEFORE INSERT OR UPDATE ON later FOR EACH ROW EXECUTE FUNCTION semtok.tokenize_trigger('x', 'sid', 'not yet');
INSERT INTO later VALUES ('{1}', '[1]'), (null, null);
UPDATE later SET n = 1;
SELECT refusal($$INSERT INTO later VALUES ('{1}')$$);
SELECT semtok.register_tokenizer('not yet', '{2}') > 0 AS registered;
SELECT refusal($$INSERT INTO later VALUES ('{1}')$$);
SELECT semtok.drop_tokenizer('not yet');
DROP TABLE later;

-- Columns of other types: whatever casts to real[]; ids of a fixed shape; domains.
CREATE DOMAIN embedding AS float8[] CHECK (array_length(value, 1) = 2);
CREATE DOMAIN ware_id AS semid(2, 3) CHECK (semid_code(value, 0) < 2);
CREATE TABLE cast_float8 (x float8[], sid semid(2, 3));
CREATE TABLE cast_numeric (x numeric[], sid ware_id);
CREATE TABLE cast_text (x text, sid semid);
CREATE TABLE cast_domain (x embedding, sid semid);
CREATE TABLE cast_short (x real[], sid semid(1, 3));
CREATE TABLE cast_narrow (x real[], sid semid(2, 2));
DO $$
DECLARE
	t text;
BEGIN
	FOREACH t IN ARRAY array['float8', 'numeric', 'text', 'domain', 'short', 'narrow'] LOOP
		EXECUTE format('CREATE TRIGGER tokenize BEFORE INSERT OR UPDATE ON cast_%s FOR EACH ROW EXECUTE FUNCTION semtok.tokenize_trigger(''x'', ''sid'', ''wares'')', t);
	END LOOP;
END $$;
SELECT t, refusal(format('INSERT INTO cast_%s VALUES (''{1,0}''), (null), (''{11,0}'')', t)) AS in_range,
	refusal(format('INSERT INTO cast_%s VALUES (''{20,0}'')', t)) AS out_of_range
	FROM unnest(array['float8', 'numeric', 'text', 'domain', 'short', 'narrow']) AS t;
SELECT 'float8' AS t, x::text, sid FROM cast_float8 UNION ALL SELECT 'numeric', x::text, sid::semid FROM cast_numeric
	UNION ALL SELECT 'text', x, sid FROM cast_text UNION ALL SELECT 'domain', x::text, sid FROM cast_domain;
UPDATE cast_float8 SET x = '{10,0}' RETURNING sid;
SELECT refusal($$INSERT INTO cast_text VALUES ('{1,'), ('{1,0}')$$), refusal($$INSERT INTO cast_float8 VALUES ('{1e300,0}')$$);
DROP TABLE cast_float8, cast_numeric, cast_text, cast_domain, cast_short, cast_narrow;
DROP DOMAIN embedding, ware_id;

-- Partitions, whose columns may stand elsewhere; a row that moves keeps what it was given.
CREATE TABLE parts (id int, region text, x real[], sid semid) PARTITION BY LIST (region);
CREATE TABLE parts_a PARTITION OF parts FOR VALUES IN ('a');
CREATE TABLE parts_b (sid semid, gone int, x real[], region text, id int);
ALTER TABLE parts_b DROP gone;
ALTER TABLE parts ATTACH PARTITION parts_b FOR VALUES IN ('b');
CREATE TRIGGER tokenize BEFORE INSERT OR UPDATE ON parts FOR EACH ROW EXECUTE FUNCTION semtok.tokenize_trigger('x', 'sid', 'wares');
INSERT INTO parts SELECT i, CASE i % 2 WHEN 0 THEN 'a' ELSE 'b' END, array[i, 0] FROM generate_series(0, 21) AS i;
SELECT tableoid::regclass, count(*) FILTER (WHERE sid = semtok.encode('wares', x)) FROM parts GROUP BY 1 ORDER BY 1;
UPDATE parts SET region = 'b', x = '{20,0}' WHERE id = 0 RETURNING tableoid::regclass, sid;
UPDATE parts SET region = 'a', sid = '[1,0]' WHERE id = 0 RETURNING tableoid::regclass, sid;
INSERT INTO parts_b VALUES (null, '{11,0}', 'b', 50) RETURNING sid;
DROP TABLE parts;

-- Row security sees the id that the trigger made.
CREATE ROLE regress_semtok_trigger;
CREATE TABLE secured (x real[], sid semid);
GRANT SELECT, INSERT, UPDATE ON secured TO regress_semtok_trigger;
ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
CREATE POLICY first_code ON secured USING (semid_code(sid, 0) = 1);
CREATE TRIGGER tokenize BEFORE INSERT OR UPDATE ON secured FOR EACH ROW EXECUTE FUNCTION semtok.tokenize_trigger('x', 'sid', 'wares');
SET ROLE regress_semtok_trigger;
INSERT INTO secured VALUES ('{10,0}') RETURNING sid;
SELECT refusal($$INSERT INTO secured VALUES ('{0,0}')$$);
SELECT refusal($$UPDATE secured SET x = '{20,0}'$$);
RESET ROLE;
DROP TABLE secured;
-- Who may write the table needs no other right; who may not make triggers of it can be told.
REVOKE EXECUTE ON FUNCTION semtok.tokenize_trigger() FROM PUBLIC;
GRANT INSERT, SELECT ON wares TO regress_semtok_trigger;
GRANT CREATE ON SCHEMA public TO regress_semtok_trigger;
SET ROLE regress_semtok_trigger;
INSERT INTO wares (id, x) VALUES (70, '{1,0}') RETURNING sid;
CREATE TABLE theirs (x real[], sid semid);
SELECT refusal($$CREATE TRIGGER tokenize BEFORE INSERT ON theirs FOR EACH ROW EXECUTE FUNCTION semtok.tokenize_trigger('x', 'sid', 'wares')$$);
RESET ROLE;
GRANT EXECUTE ON FUNCTION semtok.tokenize_trigger() TO PUBLIC;
DROP TABLE theirs;
REVOKE ALL ON wares FROM regress_semtok_trigger;
REVOKE ALL ON SCHEMA public FROM regress_semtok_trigger;
DROP ROLE regress_semtok_trigger;

-- A tokenizer's own width is used.
SELECT semtok.import_tokenizer('wide', codebook_agg(l, c, v), options => '{"beam": 4}') > 0 AS imported
	FROM (VALUES (0, 0, '{0,0}'::real[]), (0, 1, '{3,0}'), (1, 0, '{-2,0}'), (1, 1, '{9,0}')) AS t(l, c, v);
CREATE TABLE wide (x real[], sid semid);
CREATE TRIGGER tokenize BEFORE INSERT OR UPDATE ON wide FOR EACH ROW EXECUTE FUNCTION semtok.tokenize_trigger('x', 'sid', 'wide');
INSERT INTO wide VALUES ('{1.4,0}') RETURNING sid = semtok.encode('wide', x) AS own, sid = semtok.encode('wide', x, 1) AS greedy;
DROP TABLE wide;
SELECT semtok.drop_tokenizer('wide');

-- Values that are stored apart: left alone they are the same, changed they are not.
SELECT semtok.import_tokenizer('long', codebook_agg(0, c, array_fill(c::real, array[3000]))) > 0 AS imported FROM generate_series(0, 3) AS c;
CREATE TABLE long (n int, x real[], sid semid);
CREATE TRIGGER tokenize BEFORE INSERT OR UPDATE ON long FOR EACH ROW EXECUTE FUNCTION semtok.tokenize_trigger('x', 'sid', 'long');
INSERT INTO long SELECT i, array(SELECT (i + sin(j * (i + 1)) / 4)::real FROM generate_series(1, 3000) AS j) FROM generate_series(0, 3) AS i;
SELECT n, semid_codes(sid), pg_column_size(x) > 2000 AS apart FROM long ORDER BY n;
UPDATE long SET sid = '[3]' WHERE n = 0;
UPDATE long SET n = n;
UPDATE long SET x = array(SELECT v FROM unnest(x) WITH ORDINALITY AS u(v, i) ORDER BY i);
SELECT n, semid_codes(sid) FROM long ORDER BY n;
UPDATE long SET x = array(SELECT v + 1 FROM unnest(x) WITH ORDINALITY AS u(v, i) ORDER BY i);
SELECT n, semid_codes(sid) FROM long ORDER BY n;
DROP TABLE long;
SELECT semtok.drop_tokenizer('long');

-- Errors name the trigger.
\pset format unaligned
SELECT statement || E'\n  ' || refusal(statement) AS refusal FROM unnest(array[
	$$INSERT INTO wares (id, x) VALUES (80, '{1}')$$,
	$$INSERT INTO wares (id, x) VALUES (80, '{}')$$,
	$$INSERT INTO wares (id, x) VALUES (80, '{1,NaN}')$$,
	$$INSERT INTO wares (id, x) VALUES (80, '{1,null}')$$,
	$$INSERT INTO wares (id, x) VALUES (80, '{{1,0}}')$$,
	$$UPDATE wares SET x = '{1,2,3}' WHERE id = 1$$,
	$$SELECT semtok.tokenize_trigger()$$
]) AS statement;
CREATE TABLE mistakes (id int, x real[], sid semid, n int, y real[] GENERATED ALWAYS AS (x) STORED, t semid GENERATED ALWAYS AS ('[1]'::semid) STORED);
CREATE FUNCTION mistake(definition text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	said text;
BEGIN
	EXECUTE 'CREATE TRIGGER mistake ' || definition;
	said := refusal($s$INSERT INTO mistakes (id, x) VALUES (1, '{1,0}'); DELETE FROM mistakes$s$);
	DROP TRIGGER mistake ON mistakes;
	DELETE FROM mistakes;
	RETURN said;
END $$;
SELECT definition || E'\n  ' || mistake(replace(definition, 'F(', 'ON mistakes FOR EACH ROW EXECUTE FUNCTION semtok.tokenize_trigger(')) AS mistake FROM unnest(array[
	$$AFTER INSERT F('x', 'sid', 'wares')$$,
	$$BEFORE INSERT ON mistakes EXECUTE FUNCTION semtok.tokenize_trigger('x', 'sid', 'wares')$$,
	$$BEFORE INSERT OR DELETE F('x', 'sid', 'wares')$$,
	$$BEFORE INSERT F()$$,
	$$BEFORE INSERT F('x', 'sid')$$,
	$$BEFORE INSERT F('x', 'sid', 'wares', '2')$$,
	$$BEFORE INSERT F('nothing', 'sid', 'wares')$$,
	$$BEFORE INSERT F('x', 'nothing', 'wares')$$,
	$$BEFORE INSERT F('x', 'ctid', 'wares')$$,
	$$BEFORE INSERT F('id', 'sid', 'wares')$$,
	$$BEFORE INSERT F('x', 'n', 'wares')$$,
	$$BEFORE INSERT F('x', 'x', 'wares')$$,
	$$BEFORE INSERT F('sid', 'sid', 'wares')$$,
	$$BEFORE INSERT F('y', 'sid', 'wares')$$,
	$$BEFORE INSERT F('x', 't', 'wares')$$,
	$$BEFORE INSERT F('x', 'sid', 'nobody')$$,
	$$BEFORE INSERT F('x', 'sid', '')$$
]) AS definition;
\pset format aligned
DROP TABLE mistakes;
DROP FUNCTION mistake;

-- It survives a change of its table.
ALTER TABLE wares ADD y real[];
ALTER TABLE wares RENAME x TO z;
SELECT refusal($$INSERT INTO wares (id, z) VALUES (90, '{1,0}')$$);
ALTER TABLE wares RENAME z TO x;
ALTER TABLE wares ALTER x TYPE float8[];
INSERT INTO wares (id, x) VALUES (91, '{1,0}') RETURNING sid;
DROP TABLE wares, books;
SELECT semtok.drop_tokenizer('wares');
DROP FUNCTION refusal;
