-- CALL semtok.tokenize.

SET client_min_messages = error;
-- About 60 rows a page; embeddings repeat, so ids do.
CREATE TABLE goods (id int, x real[], sid semid, price int, filler text DEFAULT repeat('-', 60));
INSERT INTO goods
	SELECT i, array[i % 50 * 37 % 101, i % 50 * 61 % 97, i % 10]::real[], null, i
	FROM generate_series(1, 500) AS i;
INSERT INTO goods VALUES (501, null, null, 501);
SELECT semtok.train('goods', 'SELECT x FROM goods', levels => 2, codes => 8) IS NOT NULL AS ok;
SELECT semtok.train('goods', 'SELECT x FROM goods', levels => 2, codes => 8, seed => 1) IS NOT NULL AS ok;

CREATE VIEW state AS
	SELECT count(sid) AS ids, count(DISTINCT sid) AS distinct,
		count(*) FILTER (WHERE semid_prefix(sid, 2) = semtok.encode('goods', x)) AS right
	FROM goods;

-- All rows but the one without an embedding; a second run changes nothing.
CALL semtok.tokenize('goods', 'x', 'sid', 'goods');
SELECT * FROM state;
CREATE TEMP TABLE before AS SELECT id, ctid AS tid FROM goods;
CALL semtok.tokenize('goods', 'x', 'sid', 'goods');
CALL semtok.tokenize('goods', 'x', 'sid', 'goods', where_clause => 'false OR true');
SELECT count(*) FROM goods JOIN before USING (id) WHERE goods.ctid <> tid;

-- The other version replaces the ids of this one, and back.
CALL semtok.tokenize('goods', 'x', 'sid', 'goods', version => 2);
SELECT ids, "right" FROM state;
CALL semtok.tokenize('goods', 'x', 'sid', 'goods', 1, 100);
SELECT * FROM state;

-- Whatever is planned again.
SET plan_cache_mode = force_custom_plan;
UPDATE goods SET sid = null;
CALL semtok.tokenize('goods', 'x', 'sid', 'goods');
RESET plan_cache_mode;
SELECT * FROM state;

-- Only some rows; the condition may name the table, end in a comment and use the caller's functions.
UPDATE goods SET sid = null;
CREATE FUNCTION cheap(int) RETURNS boolean LANGUAGE sql AS 'SELECT $1 <= 100';
CALL semtok.tokenize('goods', 'x', 'sid', 'goods', where_clause => 'cheap(goods.price) OR id = 300 -- and no more');
SELECT count(*), max(price) FROM goods WHERE sid IS NOT NULL;
CALL semtok.tokenize('goods', 'x', 'sid', 'goods', where_clause => 'price > 450', collisions => 'append');
SELECT count(*), count(*) FILTER (WHERE semid_levels(sid) = 3) AS appended FROM goods WHERE sid IS NOT NULL AND price > 450;

-- Appending: every id is unique, the first row of an id has it bare, the others count on.
UPDATE goods SET sid = null;
CALL semtok.tokenize('goods', 'x', 'sid', 'goods', batch_size => 50, collisions => 'append');
SELECT * FROM state;
SELECT bool_and(n = rank) AS counted FROM (
	SELECT CASE semid_levels(sid) WHEN 2 THEN 0 ELSE semid_code(sid, 2) END AS n,
		row_number() OVER (PARTITION BY semid_prefix(sid, 2) ORDER BY sid) - 1 AS rank
	FROM goods WHERE sid IS NOT NULL) AS s;

-- A published id never moves: new rows go on after the highest number, also where ids are gone.
CREATE TEMP TABLE published AS SELECT id, sid FROM goods WHERE id <= 500;
DELETE FROM goods WHERE id BETWEEN 1 AND 50;
INSERT INTO goods SELECT 1000 + i, array[i % 50 * 37 % 101, i % 50 * 61 % 97, i % 10]::real[], null, i FROM generate_series(1, 100) AS i;
CALL semtok.tokenize('goods', 'x', 'sid', 'goods', collisions => 'append');
SELECT * FROM state;
SELECT count(*) FROM goods AS g JOIN published AS p USING (id) WHERE g.sid <> p.sid;
SELECT count(*) FROM goods AS g JOIN published AS p USING (sid) WHERE g.id <> p.id AND EXISTS (SELECT FROM goods AS o WHERE o.id = p.id);
-- Ids appended otherwise count as well.
UPDATE goods SET sid = semid_prefix(sid, 2) || 500 WHERE id = 1001;
INSERT INTO goods (id, x) SELECT 2001, x FROM goods WHERE id = 1001;
CALL semtok.tokenize('goods', 'x', 'sid', 'goods', collisions => 'append');
SELECT semid_code(sid, 2) FROM goods WHERE id = 2001;
-- At the last number the next row is refused, and keeps no id.
UPDATE goods SET sid = semid_prefix(sid, 2) || 65535 WHERE id = 1001;
INSERT INTO goods (id, x) SELECT 2002, x FROM goods WHERE id = 1001;
\set VERBOSITY terse
CALL semtok.tokenize('goods', 'x', 'sid', 'goods', collisions => 'append', batch_size => 1000000);
\set VERBOSITY default
SELECT sid FROM goods WHERE id = 2002;
DELETE FROM goods WHERE id > 2000;

-- A run that fails keeps the batches it committed; the next one goes on there.
UPDATE goods SET sid = null;
VACUUM FULL goods;
UPDATE goods SET x = '{1,2}' WHERE id = 400;
\set VERBOSITY terse
CALL semtok.tokenize('goods', 'x', 'sid', 'goods', batch_size => 1, collisions => 'append');
\set VERBOSITY default
SELECT count(sid) BETWEEN 1 AND 549 AS some FROM goods;
UPDATE goods SET x = (SELECT x FROM goods WHERE id = 399) WHERE id = 400;
CALL semtok.tokenize('goods', 'x', 'sid', 'goods', batch_size => 1, collisions => 'append');
SELECT * FROM state;

-- Column types: anything with a cast to real[], a domain over semid, odd names.
CREATE DOMAIN ids AS semid;
CREATE TABLE "Odd ""one""" ("the vector" float8[], "the id" ids);
INSERT INTO "Odd ""one""" SELECT x FROM goods;
CALL semtok.tokenize('"Odd ""one"""', 'the vector', 'the id', 'goods', collisions => 'append');
SELECT count("the id"), count(DISTINCT "the id") FROM "Odd ""one""";
DROP TABLE "Odd ""one""";
CREATE TABLE texts (x text, sid semid(2, 8));
INSERT INTO texts SELECT x::text FROM goods;
CALL semtok.tokenize('texts', 'x', 'sid', 'goods');
SELECT count(sid) FROM texts;
-- A cast that makes null of a value: the row has no id.
CREATE TYPE boxed AS (x real[]);
CREATE FUNCTION unboxed(boxed) RETURNS real[] LANGUAGE sql AS 'SELECT CASE WHEN ($1).x[1] > 50 THEN ($1).x END';
CREATE CAST (boxed AS real[]) WITH FUNCTION unboxed(boxed);
CREATE TABLE boxes AS SELECT row(x)::boxed AS x, null::semid AS sid FROM goods WHERE x IS NOT NULL;
CALL semtok.tokenize('boxes', 'x', 'sid', 'goods');
SELECT count(*) = count(sid) AS all, bool_and(sid IS NOT DISTINCT FROM semtok.encode('goods', x::real[])) AS right FROM boxes;
DROP TABLE boxes;
DROP TYPE boxed CASCADE;

-- Partitions: one numbering over all of them.
CREATE TABLE parts (id int, sid semid, gone int, x real[]) PARTITION BY RANGE (id);
ALTER TABLE parts DROP COLUMN gone;
CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (0) TO (250);
CREATE TABLE parts_high (x real[], id int, sid semid);
CREATE TABLE parts_tree PARTITION OF parts FOR VALUES FROM (250) TO (10000) PARTITION BY RANGE (id);
ALTER TABLE parts_tree ATTACH PARTITION parts_high FOR VALUES FROM (250) TO (10000);
INSERT INTO parts (id, x) SELECT id, x FROM goods;
CALL semtok.tokenize('parts', 'x', 'sid', 'goods', collisions => 'append', where_clause => 'parts.id > 100');
SELECT tableoid::regclass, count(sid), count(*) - count(sid) AS without FROM parts GROUP BY 1 ORDER BY 1;
SELECT count(*), count(DISTINCT sid) FROM parts WHERE sid IS NOT NULL;
CREATE TABLE parents (x real[], sid semid);
CREATE TABLE children () INHERITS (parents);
-- A row without an embedding, where a child has one with.
INSERT INTO parents VALUES (null);
INSERT INTO parents SELECT x FROM goods WHERE x IS NOT NULL ORDER BY id LIMIT 30;
INSERT INTO children SELECT x FROM goods WHERE x IS NOT NULL ORDER BY id DESC LIMIT 60;
CALL semtok.tokenize('parents', 'x', 'sid', 'goods');
SELECT tableoid::regclass, count(sid), count(*) FILTER (WHERE sid = semtok.encode('goods', x)) AS right FROM parents GROUP BY 1 ORDER BY 1;
UPDATE parents SET sid = null;
CALL semtok.tokenize('parents', 'x', 'sid', 'goods', collisions => 'append');
SELECT tableoid::regclass, count(DISTINCT sid), count(*) FILTER (WHERE semid_prefix(sid, 2) = semtok.encode('goods', x)) AS right FROM parents GROUP BY 1 ORDER BY 1;
SELECT count(DISTINCT sid) FROM parents;
CREATE TABLE n (id int, x real[], sid semid);
INSERT INTO n SELECT i, '{1,2,3}' FROM generate_series(1, 5) AS i;
CALL semtok.tokenize('n', 'x', 'sid', 'goods', collisions => 'append');
SELECT id, (semid_codes(sid))[3] AS appended FROM n ORDER BY id;
CREATE TABLE empty (x real[], sid semid);
CALL semtok.tokenize('empty', 'x', 'sid', 'goods');

-- In serializable transactions too, and where triggers watch.
SET default_transaction_isolation = serializable;
UPDATE goods SET sid = null;
CALL semtok.tokenize('goods', 'x', 'sid', 'goods', batch_size => 50, collisions => 'append');
SELECT * FROM state;
RESET default_transaction_isolation;

-- With nothing in the search_path.
SET search_path = '';
UPDATE public.goods SET sid = null;
CALL semtok.tokenize('public.goods', 'x', 'sid', 'goods', collisions => 'append');
SELECT * FROM public.state;
RESET search_path;

-- Not where it cannot commit.
BEGIN;
CALL semtok.tokenize('goods', 'x', 'sid', 'goods');
ROLLBACK;
CREATE FUNCTION inside() RETURNS void LANGUAGE plpgsql AS $$ BEGIN CALL semtok.tokenize('goods', 'x', 'sid', 'goods'); END $$;
SELECT inside();
-- But in a procedure or a block that may.
UPDATE goods SET sid = null;
DO $$ BEGIN CALL semtok.tokenize('goods', 'x', 'sid', 'goods'); RAISE 'afterwards'; END $$;
SELECT * FROM state;

-- Bad calls, untyped literals throughout.
CREATE VIEW goods_view AS SELECT * FROM goods;
\set VERBOSITY sqlstate
CALL semtok.tokenize('nosuch', 'x', 'sid', 'goods');
\set VERBOSITY default
CALL semtok.tokenize(0, 'x', 'sid', 'goods');
CALL semtok.tokenize(null, 'x', 'sid', 'goods');
CALL semtok.tokenize('goods', null, 'sid', 'goods');
CALL semtok.tokenize('goods', 'x', null, 'goods');
CALL semtok.tokenize('goods', 'x', 'sid', null);
CALL semtok.tokenize('goods', 'x', 'sid', 'goods', null, null);
CALL semtok.tokenize('goods', 'x', 'sid', 'goods', null, '10', null);
CALL semtok.tokenize('goods_view', 'x', 'sid', 'goods');
CALL semtok.tokenize('goods', 'nosuch', 'sid', 'goods');
CALL semtok.tokenize('goods', 'x', 'nosuch', 'goods');
CALL semtok.tokenize('goods', 'x', 'ctid', 'goods');
CALL semtok.tokenize('goods', 'x', 'x', 'goods');
CALL semtok.tokenize('goods', 'price', 'sid', 'goods');
CALL semtok.tokenize('goods', 'x', 'sid', 'nosuch');
CALL semtok.tokenize('goods', 'x', 'sid', 'goods', 3);
CALL semtok.tokenize('goods', 'x', 'sid', 'goods', '0');
CALL semtok.tokenize('goods', 'x', 'sid', 'goods', '1', '0');
CALL semtok.tokenize('goods', 'x', 'sid', 'goods', '1', '10', 'relocate');
CALL semtok.tokenize('texts', 'x', 'sid', 'goods', '1', '10', 'append');
CALL semtok.tokenize('goods', 'x', 'sid', 'goods', '1', '10', 'keep', 'nosuch = 1');
CALL semtok.tokenize('goods', 'x', 'sid', 'goods', '1', '10', 'keep', 'price');
CALL semtok.tokenize('goods', 'x', 'sid', 'goods', '1', '10', 'keep', 'true) OR (');
CALL semtok.tokenize('goods', 'x', 'sid', 'goods', '1', '10', 'keep', 'price > 0) OR (price < 0');
\set VERBOSITY sqlstate
BEGIN;
CALL semtok.tokenize('goods', 'x', 'sid', 'goods');
ROLLBACK;
SET default_transaction_read_only = on;
CALL semtok.tokenize('goods', 'x', 'sid', 'goods');
RESET default_transaction_read_only;
\set VERBOSITY default

-- A bad embedding: the error names the row, whichever way ids are given.
CREATE TABLE damaged AS SELECT 1 AS id, '{1,2,3}'::real[] AS x, NULL::semid AS sid;
INSERT INTO damaged VALUES (2, '{1,NaN,3}', NULL);
CALL semtok.tokenize('damaged', 'x', 'sid', 'goods');
\set SHOW_CONTEXT never
CALL semtok.tokenize('damaged', 'x', 'sid', 'goods', collisions => 'append');
\set SHOW_CONTEXT errors
SELECT count(sid) FROM damaged;

-- An error of a verb inside this one, in one batch or another: which of the two is let go of first
-- depends on what the batches' cursors are called.
CREATE TABLE many AS SELECT i AS id, ARRAY[i, 1, 1]::real[] AS x, NULL::semid AS sid
  FROM generate_series(1, 3000) AS i;
CREATE FUNCTION broken() RETURNS bigint LANGUAGE sql AS
  $$ SELECT rows FROM semtok.evaluate('goods', 'SELECT ARRAY[1, 1, 1 / (random() * 0)::int]::real[]') $$;
\set VERBOSITY sqlstate
SELECT format('CALL semtok.tokenize(''many'', ''x'', ''sid'', ''goods'', batch_size => 100,'
  ' where_clause => ''id < %s OR broken() > 0'')', i) FROM generate_series(100, 3000, 100) AS i \gexec
\set VERBOSITY default
SELECT count(sid) BETWEEN 2500 AND 3000 AS some FROM many;
DROP FUNCTION broken;

DROP TABLE many, damaged, before, published, goods, texts, parts, parents, n, empty CASCADE;
DROP FUNCTION cheap, inside;
DROP DOMAIN ids;
-- A view without rows yet has no ids.
CREATE MATERIALIZED VIEW unread AS SELECT '[1]@1'::semid AS sid WITH NO DATA;
SELECT semtok.drop_tokenizer('goods');
DROP MATERIALIZED VIEW unread;
