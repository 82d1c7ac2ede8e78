-- Nothing is seen or changed without the right.
SELECT plan(83);

CREATE ROLE semtok_priv_owner;
CREATE ROLE semtok_priv_reader;
CREATE ROLE semtok_priv_other;
GRANT CREATE ON SCHEMA public TO semtok_priv_owner;
SET ROLE semtok_priv_owner;
CREATE TABLE items (id int, secret text, embedding real[], sid semid);
INSERT INTO items SELECT i, 's' || i, array[i % 10, i % 7]::real[], semid(array[i % 5, i % 3]) FROM generate_series(1, 200) i;
CREATE INDEX items_sid ON items USING semtrie (sid);
CREATE TABLE parts (id int, sid semid) PARTITION BY RANGE (id);
CREATE TABLE part1 PARTITION OF parts DEFAULT;
CREATE INDEX ON parts USING semtrie (sid);
INSERT INTO parts SELECT id, sid FROM items;
RESET ROLE;
CREATE FUNCTION q() RETURNS semquery LANGUAGE sql IMMUTABLE AS $$
  SELECT semtok.logits('{{1,2,3,2,1},{3,2,1,0,0}}')
$$;
CREATE FUNCTION model(context jsonb, prefixes semid[], level int) RETURNS real[] LANGUAGE sql IMMUTABLE AS $$
  SELECT array_fill(0::real, array[cardinality(prefixes), 5])
$$;

-- reading items
CREATE FUNCTION refused(call text, what text) RETURNS text LANGUAGE sql AS $$
  SELECT throws_ok(call, '42501', NULL, what)
$$;
CREATE FUNCTION check_no_items() RETURNS SETOF text LANGUAGE sql AS $$
  SELECT refused('SELECT * FROM semtok.beam_search(''items'', q())', 'beam_search by table') UNION ALL
  SELECT refused('SELECT * FROM semtok.beam_search(''items_sid'', q())', 'beam_search by index') UNION ALL
  SELECT refused('SELECT * FROM semtok.beam_search(''items'', semtok.logits(''{{1,2}}'', norm => ''masked''))', 'beam_search, masked') UNION ALL
  SELECT refused('SELECT * FROM semtok.beam_search(''parts'', q())', 'beam_search by partitioned table') UNION ALL
  SELECT refused('SELECT * FROM semtok.beam_search(''part1'', q())', 'beam_search by partition') UNION ALL
  SELECT refused('SELECT * FROM semtok.next_codes(''items'', NULL)', 'next_codes by table') UNION ALL
  SELECT refused('SELECT * FROM semtok.next_codes(''items_sid'', NULL)', 'next_codes by index') UNION ALL
  SELECT refused('SELECT * FROM semtok.beam_search_with(''items'', ''model(jsonb, semid[], int)'')', 'beam_search_with by table') UNION ALL
  SELECT refused('SELECT * FROM semtok.beam_search_with(''items_sid'', ''model(jsonb, semid[], int)'')', 'beam_search_with by index') UNION ALL
  SELECT refused('SELECT * FROM semtok.beam_step(''items'', ''{NULL}'', ''{0}'', ''{1,2}'')', 'beam_step by table') UNION ALL
  SELECT refused('SELECT * FROM semtok.beam_step(''items_sid'', ''{NULL}'', ''{0}'', ''{1,2}'')', 'beam_step by index') UNION ALL
  SELECT refused('SELECT * FROM semtok.next_codes_batch(''items'', ''{NULL}'')', 'next_codes_batch') UNION ALL
  SELECT refused('SELECT * FROM semtok.mask(''items'', ''{NULL}'', 5)', 'mask by table') UNION ALL
  SELECT refused('SELECT * FROM semtok.mask_packed(''items_sid'', ''{NULL}'', 5)', 'mask_packed by index') UNION ALL
  SELECT refused('SELECT * FROM semtok.sample(''items'', 5)', 'sample') UNION ALL
  SELECT refused('SELECT semtok.catalog_version(''items'')', 'catalog_version') UNION ALL
  SELECT refused('SELECT * FROM semtok.changes(''items_sid'', 1)', 'changes') UNION ALL
  SELECT refused('SELECT * FROM semtok.collisions(''items'', ''sid'')', 'collisions')
$$;
SET ROLE semtok_priv_reader;
SELECT check_no_items();
RESET ROLE;
-- a right on another column is none on this one
GRANT SELECT (id, secret) ON items TO semtok_priv_reader;
GRANT SELECT (id) ON parts, part1 TO semtok_priv_reader;
SET ROLE semtok_priv_reader;
SELECT check_no_items();
RESET ROLE;
GRANT SELECT (sid) ON items, parts TO semtok_priv_reader;
SET ROLE semtok_priv_reader;
SELECT isnt_empty('SELECT * FROM semtok.beam_search(''items'', q())', 'SELECT on the column is enough for beam_search');
SELECT isnt_empty('SELECT * FROM semtok.beam_search(''items_sid'', q())', 'by the index too');
SELECT isnt_empty('SELECT * FROM semtok.next_codes(''items'', NULL)', 'and for next_codes');
SELECT isnt_empty('SELECT * FROM semtok.beam_search_with(''items'', ''model(jsonb, semid[], int)'')', 'for beam_search_with');
SELECT isnt_empty('SELECT * FROM semtok.beam_step(''items'', ''{NULL}'', ''{0}'', ''{1,2}'')', 'for beam_step');
SELECT isnt_empty('SELECT * FROM semtok.mask(''parts'', ''{NULL}'', 5)', 'for mask');
SELECT isnt_empty('SELECT * FROM semtok.sample(''items_sid'', 1)', 'and for sample');
SELECT is_empty('SELECT * FROM semtok.changes(''items'', semtok.catalog_version(''items'')) WHERE NOT present', 'and for changes');
SELECT isnt_empty('SELECT * FROM semtok.collisions(''items'', ''sid'')', 'and for collisions');
SELECT isnt_empty('SELECT * FROM semtok.beam_search(''parts'', q())', 'a right on the partitioned table covers its partitions');
SELECT refused('SELECT * FROM semtok.beam_search(''part1'', q())', 'but not when the partition is named');

RESET ROLE;

-- a partial index tells about the columns of its predicate
CREATE INDEX items_partial ON items USING semtrie (sid) WHERE secret < 's5';
GRANT SELECT (sid) ON items TO semtok_priv_other;
SET ROLE semtok_priv_other;
SELECT isnt_empty('SELECT * FROM semtok.beam_search(''items'', q())', 'SELECT on the column alone');
SELECT refused('SELECT * FROM semtok.beam_search(''items_partial'', q())', 'is not enough for a partial index');
RESET ROLE;
REVOKE SELECT (sid) ON items FROM semtok_priv_other;
SET ROLE semtok_priv_reader;
SELECT isnt_empty('SELECT * FROM semtok.beam_search(''items_partial'', q())', 'which needs its predicate''s columns too');
RESET ROLE;

-- counts of an index
SET ROLE semtok_priv_reader;
SELECT refused('SELECT * FROM semtok.index_info(''items_sid'')', 'index_info needs more than SELECT');
SELECT refused('SELECT * FROM semtok.index_check(''items_sid'', true)', 'so does index_check');
RESET ROLE;
GRANT pg_stat_scan_tables TO semtok_priv_other;
SET ROLE semtok_priv_other;
SELECT lives_ok('SELECT * FROM semtok.index_info(''items_sid'')', 'pg_stat_scan_tables may ask index_info');
SELECT lives_ok('SELECT * FROM semtok.index_check(''items_sid'', true)', 'and index_check');
SELECT refused('SELECT * FROM semtok.beam_search(''items'', q())', 'but sees no items');
RESET ROLE;
REVOKE pg_stat_scan_tables FROM semtok_priv_other;
SET ROLE semtok_priv_owner;
SELECT lives_ok('SELECT * FROM semtok.index_info(''items_sid'')', 'the owner may ask index_info');
SELECT lives_ok('SELECT * FROM semtok.index_check(''items_sid'', true)', 'and index_check');
RESET ROLE;

-- training: source runs with the caller's rights, the result is the caller's
SET client_min_messages = error;
SET ROLE semtok_priv_reader;
SELECT refused($$SELECT semtok.train('stolen', 'SELECT embedding FROM items', levels => 1, codes => 4)$$,
  'train reads with the caller''s rights');
SELECT is_empty('SELECT * FROM semtok.tokenizers', 'a failed training leaves nothing');
RESET ROLE;
SET ROLE semtok_priv_owner;
SELECT lives_ok($$SELECT semtok.train('own', 'SELECT embedding FROM items', levels => 2, codes => 4, epochs => 2)$$,
  'an ordinary role trains');
SELECT lives_ok($$SELECT semtok.train('own', 'SELECT embedding FROM items', levels => 2, codes => 4, epochs => 3)$$,
  'and trains a second version');
SELECT results_eq('SELECT DISTINCT owner FROM semtok.tokenizers', $$VALUES ('semtok_priv_owner'::name)$$, 'which it owns');
BEGIN READ ONLY;
SELECT throws_ok($$SELECT semtok.train('more', 'SELECT embedding FROM items')$$, '25006', NULL, 'not in a read-only transaction');
ROLLBACK;
SET ROLE semtok_priv_reader;
SELECT results_eq('SELECT count(*) FROM semtok.tokenizers', 'VALUES (2::bigint)', 'everybody sees the tokenizers');
SELECT lives_ok($$SELECT semtok.encode('own', '{1,2}')$$, 'everybody may encode');
SELECT lives_ok($$SELECT semtok.neighbors('own', '{1,2}')$$, 'and ask for neighbours');
SELECT refused($$SELECT semtok.activate('own', 2)$$, 'activate is the owner''s');
SELECT refused($$SELECT semtok.drop_tokenizer('own')$$, 'drop_tokenizer is the owner''s');
SELECT refused($$SELECT semtok.train('own', 'SELECT array[id, id]::real[] FROM items', levels => 1, codes => 4)$$,
  'a new version is the owner''s');
SELECT refused($$SELECT semtok.evaluate('own', 'SELECT embedding FROM items')$$, 'evaluate reads with the caller''s rights');
SELECT refused($$SELECT semtok.encode_batch('own', 'SELECT id, embedding FROM items')$$, 'encode_batch reads with the caller''s rights');
RESET ROLE;
SET ROLE semtok_priv_owner;
SELECT lives_ok($$SELECT semtok.activate('own', 2)$$, 'the owner activates');
RESET ROLE;

-- the catalog itself
SET ROLE semtok_priv_owner;
SELECT refused($$INSERT INTO semtok.tokenizer SELECT * FROM semtok.tokenizer$$, 'no INSERT into the catalog, not even by a tokenizer''s owner');
SELECT refused($$UPDATE semtok.tokenizer SET active = false$$, 'no UPDATE');
SELECT refused($$DELETE FROM semtok.tokenizer$$, 'no DELETE');
SELECT refused($$TRUNCATE semtok.tokenizer$$, 'no TRUNCATE');
SELECT refused($$SELECT nextval('semtok.tokenizer_id_seq')$$, 'no id from the sequence');
SELECT refused($$CREATE TABLE semtok.mine ()$$, 'no objects in schema semtok');
RESET ROLE;

-- EXECUTE is revocable
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA semtok FROM PUBLIC;
SET ROLE semtok_priv_owner;
SELECT refused($$SELECT semtok.train('own', 'SELECT embedding FROM items', levels => 1, codes => 4)$$, 'train without EXECUTE');
SELECT refused($$SELECT * FROM semtok.beam_search('items', q())$$, 'beam_search without EXECUTE');
RESET ROLE;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA semtok TO PUBLIC;

-- bulk tokenization writes with the caller's rights
SET ROLE semtok_priv_reader;
\set ON_ERROR_STOP 0
CALL semtok.tokenize('items', 'embedding', 'sid', 'own');
\set tokenize_state :SQLSTATE
\set ON_ERROR_STOP 1
RESET ROLE;
SELECT is(:'tokenize_state'::text, '42501', 'tokenize needs the caller''s rights on the table');
SELECT is_empty('SELECT * FROM items WHERE semid_tokenizer(sid) <> 0', 'and wrote nothing');

DROP TABLE items, parts;
SELECT lives_ok($$SELECT semtok.drop_tokenizer('own')$$, 'a superuser may drop any tokenizer');
REVOKE CREATE ON SCHEMA public FROM semtok_priv_owner;
DROP ROLE semtok_priv_owner, semtok_priv_reader, semtok_priv_other;
SELECT * FROM finish();
