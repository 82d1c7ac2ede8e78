-- A database for sqlsmith, which makes expressions of columns, functions and operators: columns of
-- every type that the verbs take, with values that they can work on, and NULLs.
SET statement_timeout = 0;
SET client_min_messages = error;
CREATE EXTENSION semtok;
CREATE ROLE smith LOGIN;
GRANT CREATE ON SCHEMA public TO smith;
SET SESSION AUTHORIZATION smith;
CREATE TABLE items (id int PRIMARY KEY, embedding real[], sid semid, shaped semid(2, 4), note text);
INSERT INTO items SELECT i, array[i % 10, i % 7, i % 3]::real[], semid(array[i % 4, i % 3]), semid(array[i % 4, i % 3]), 'n' || i FROM generate_series(1, 500) i;
UPDATE items SET embedding = NULL, sid = NULL, note = NULL WHERE id % 20 = 0;
SELECT semtok.train('items', 'SELECT embedding FROM items', levels => 2, codes => 4, epochs => 2);
CALL semtok.tokenize('items', 'embedding', 'shaped', 'items');
CREATE INDEX items_sid ON items USING semtrie (sid);
CREATE INDEX items_order ON items (sid);
CREATE INDEX items_hash ON items USING hash (shaped);
CREATE TABLE parts (id int, sid semid) PARTITION BY HASH (sid);
CREATE TABLE part0 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE part1 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE INDEX ON parts USING semtrie (sid);
INSERT INTO parts SELECT id, sid FROM items WHERE sid IS NOT NULL;
CREATE TABLE books AS SELECT id, codebook AS book, sizes, codebook_to_safetensors(codebook) AS file, codebook::json AS json FROM semtok.tokenizer;
INSERT INTO books SELECT 2, codebook_agg(0, i, array[i, 1]::real[], 'ip'), '{5}', '\x00', '{}' FROM generate_series(0, 4) i;
CREATE TABLE sets AS SELECT i AS id, semset_agg(sid) AS ids, array_agg(sid) AS list FROM items, generate_series(1, 3) i WHERE items.id % i = 0 GROUP BY i;
INSERT INTO sets VALUES (4, '{}', '{}'), (5, NULL, NULL);
CREATE TABLE queries (id int, query semquery, logits real[], sizes int[], norm text, k int, temperature float8, seed bigint);
INSERT INTO queries VALUES
	(1, semtok.logits('{{1,2,3,4},{4,3,2,1}}'), '{{1,2,3,4},{4,3,2,1}}', NULL, 'full', 10, 0, 1),
	(2, semtok.logits('{1,2,3}', '{2,1}', norm => 'none'), '{1,2,3}', '{2,1}', 'none', 1, 1, NULL),
	(3, semtok.logits('{{1,2},{3,4}}', norm => 'masked', within => '{[0,1],[1,1]}'), '{{1,2},{3,4}}', '{2,2}', 'masked', 3, 0.5, 3),
	(4, semtok.neighbors('items', '{1,2,3}'), '{NaN}', '{1}', 'best', 0, -1, 4);
CREATE TABLE words AS SELECT * FROM (VALUES ('items', 'SELECT embedding FROM items'), ('nobody', 'SELECT sid FROM items'), ('cpu', 'VALUES (array[1,2,3]::real[])'),
	('keep', 'id > 3'), ('static', '<item_L0_C1><item_L1_C2>'), ('rqkmeans', '<a_1>')) w(name, source);
CREATE TABLE relations (relation regclass, column_name name, options jsonb, row_id tid);
INSERT INTO relations VALUES ('items', 'sid', NULL, '(0,1)'), ('items_sid', 'embedding', '{"beam": 2}', '(9,9)'), ('parts', 'nothing', '[]', NULL), (0, NULL, '{"refine": 1}', NULL);
ANALYZE;
RESET SESSION AUTHORIZATION;
-- What does not work on the types above, or has errors, effects or patience of its own, is hidden
-- from sqlsmith, which leaves window functions alone, and operators without a result. Views that are
-- there go on to call them.
CREATE TEMP TABLE used AS
SELECT oid FROM pg_type WHERE oid = ANY ('{boolean,int2,int4,int8,float4,float8,numeric,text,name,oid,bytea,json,jsonb,regclass,tid,regtype,regproc,regnamespace,int4[],float4[],float8[],semid[]}'::regtype[])
	OR typname IN ('semid', 'semset', 'semquery', 'codebook', 'semcode', 'char');
UPDATE pg_proc SET prokind = 'w'
 WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind IN ('a', 'f')
   AND proname NOT IN ('format', 'quote_ident', 'array_agg', 'unnest', 'version')
   AND (proname ~ '^(pg_|lo_|lo|txid|bin|has_|row_sec|query_to|table_to|schema_to|database_to|cursor_to|set_config|nextval|setval|currval|lastval|generate_series|repeat|lpad|rpad|array_fill|array_|json|to_json|regexp|gin_|brin_|amvalidate)'
	OR EXISTS (SELECT FROM pg_aggregate WHERE pg_proc.oid IN (aggtransfn, aggfinalfn, aggmtransfn, aggminvtransfn, aggmfinalfn, aggcombinefn))
	OR NOT prorettype IN (SELECT oid FROM used)
	OR EXISTS (SELECT FROM unnest(proargtypes) t WHERE t NOT IN (SELECT oid FROM used)));
UPDATE pg_operator SET oprresult = 0
 WHERE oprleft <> 0 AND NOT (oprleft IN (SELECT oid FROM used) AND oprright IN (SELECT oid FROM used) AND oprresult IN (SELECT oid FROM used));
