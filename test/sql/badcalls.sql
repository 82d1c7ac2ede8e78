-- What calls that cannot work say: SQLSTATE and message.
SET client_min_messages = warning;
CREATE TABLE b_items (id int, embedding real[], sid semid, short semid(2,4));
INSERT INTO b_items (id, embedding) SELECT i, array[i % 10, i % 7, i % 3]::real[] FROM generate_series(1, 50) i;
SELECT semtok.train('b_one', 'SELECT embedding FROM b_items', levels => 2, codes => 4, epochs => 2) > 0 AS trained;
UPDATE b_items SET sid = semtok.encode('b_one', embedding);
CREATE TABLE b_plain AS SELECT * FROM b_items;
CREATE INDEX b_items_sid ON b_items USING semtrie (sid);
CREATE FUNCTION b_writes() RETURNS real[] LANGUAGE sql AS 'UPDATE b_items SET id = id RETURNING embedding';
CREATE FUNCTION b_locks() RETURNS real[] LANGUAGE plpgsql AS 'BEGIN LOCK TABLE b_items IN SHARE MODE; RETURN array[1,2,3]; END';
CREATE TABLE b_calls (i int GENERATED ALWAYS AS IDENTITY, call text);
INSERT INTO b_calls (call) VALUES
-- semid
($$SELECT ''::semid$$),
($$SELECT '[]'::semid$$),
($$SELECT '[1,2'::semid$$),
($$SELECT '[1,2]x'::semid$$),
($$SELECT '[1,,2]'::semid$$),
($$SELECT '[-1]'::semid$$),
($$SELECT '[65536]'::semid$$),
($$SELECT '[1]@'::semid$$),
($$SELECT '[1]@-1'::semid$$),
($$SELECT '[1]@2147483648'::semid$$),
($$SELECT ('[' || repeat('1,', 32) || '1]')::semid$$),
($$SELECT '[1,2,3]'::semid(2,4)$$),
($$SELECT '[1,4]'::semid(2,4)$$),
($$SELECT '[1]'::semid(0,4)$$),
($$SELECT '[1]'::semid(2)$$),
($$SELECT '[1]'::semid(2,65537)$$),
($$UPDATE b_items SET short = '[1,9]'$$),
($$SELECT semid('{}'::int[])$$),
($$SELECT semid('{1,NULL}'::int[])$$),
($$SELECT semid('{{1},{2}}'::int[])$$),
($$SELECT semid('{70000}'::int[])$$),
($$SELECT semid('{1}'::int[], -1)$$),
($$SELECT semid_code('[1,2]', 2)$$),
($$SELECT semid_code('[1,2]', -1)$$),
($$SELECT semid_prefix('[1,2]', 0)$$),
($$SELECT '[1]'::semid || 65536$$),
($$SELECT ('[' || repeat('1,', 31) || '1]')::semid || 1$$),
($$SELECT semid_flat('[1,2]', '{4}')$$),
($$SELECT semid_flat('[1,2]', '{4,2}')$$),
($$SELECT semid_flat('[1,2]', '{4,0}')$$),
($$SELECT semid_flat('[1,2]', '{4,65537}')$$),
($$SELECT semid_flat('[1,2]', '{4,NULL}')$$),
($$SELECT semid_flat('[1,2]', '{{4,4}}')$$),
($$SELECT semid_unflat(16, '{4,4}')$$),
($$SELECT semid_unflat(-1, '{4,4}')$$),
($$SELECT semid_unflat(0.5, '{4,4}')$$),
($$SELECT semid_unflat('NaN', '{4,4}')$$),
($$SELECT semid_unflat('Infinity', '{4,4}')$$),
($$SELECT semid_unflat(1, '{}')$$),
($$SELECT semid_unflat(1, '{4,4}', -1)$$),
($$SELECT semid_from_tokens('')$$),
($$SELECT semid_from_tokens('<a_1')$$),
($$SELECT semid_from_tokens('<b_1>')$$),
($$SELECT semid_from_tokens('<a_1><s_b_1>')$$),
($$SELECT semid_from_tokens('<item_L0_C65536>')$$),
($$SELECT semid_from_tokens('<a_1>', -1)$$),
($$SELECT '[1]'::semid::text::semset$$),
-- codebook
($$SELECT ''::codebook$$),
($$SELECT '{}'::codebook$$),
($$SELECT '{"dim":0,"sizes":[1],"metric":"l2","data":""}'::codebook$$),
($$SELECT '{"dim":1,"sizes":[],"metric":"l2","data":""}'::codebook$$),
($$SELECT '{"dim":1,"sizes":[1],"metric":"l9","data":"AAAAAA=="}'::codebook$$),
($$SELECT '{"dim":1,"sizes":[2],"metric":"l2","data":"AAAAAA=="}'::codebook$$),
($$SELECT '{"dim":1,"sizes":[1],"metric":"l2","data":"AADAfw=="}'::codebook$$),
($$SELECT codebook_agg(0, 1, '{1}')$$),
($$SELECT codebook_agg(1, 0, '{1}')$$),
($$SELECT codebook_agg(0, 0, '{}')$$),
($$SELECT codebook_agg(0, 0, '{NaN}')$$),
($$SELECT codebook_agg(0, k, array_fill(1, array[1 + k])::real[]) FROM generate_series(0, 1) k$$),
($$SELECT codebook_agg(0, 0, '{1}') FROM generate_series(1, 2)$$),
($$SELECT codebook_vector(codebook, 2, 0) FROM semtok.tokenizer WHERE name = 'b_one'$$),
($$SELECT codebook_vector(codebook, 0, 4) FROM semtok.tokenizer WHERE name = 'b_one'$$),
($$SELECT codebook_from_safetensors('\x00', 'l2')$$),
($$SELECT codebook_from_safetensors('\x0200000000000000' || '{}'::bytea, 'l2')$$),
-- semset, semquery
($$SELECT ''::semset$$),
($$SELECT 'x'::semset$$),
($$SELECT ''::semquery$$),
($$SELECT 'x'::semquery$$),
($$SELECT '[1,2]'::semid <~> semtok.logits('{{1,2},{3,4}}', norm => 'masked')$$),
($$SELECT semtok.logits('{}')$$),
($$SELECT semtok.logits('{1,2}')$$),
($$SELECT semtok.logits('{1,2}', '{}')$$),
($$SELECT semtok.logits('{1,2}', '{3}')$$),
($$SELECT semtok.logits('{1,2}', '{2,0}')$$),
($$SELECT semtok.logits('{1,2}', '{1,NULL}')$$),
($$SELECT semtok.logits('{1,NULL}', '{2}')$$),
($$SELECT semtok.logits('{NaN,1}', '{2}')$$),
($$SELECT semtok.logits('{Infinity,1}', '{2}')$$),
($$SELECT semtok.logits('{-Infinity,-Infinity}', '{2}')$$),
($$SELECT semtok.logits('{{{1,2}}}')$$),
($$SELECT semtok.logits('{1,2}', '{2}', -1)$$),
($$SELECT semtok.logits('{1,2}', '{2}', 0, 'best')$$),
($$SELECT semtok.neighbors('b_none', '{1,2,3}')$$),
($$SELECT semtok.neighbors('b_one', '{1,2}')$$),
($$SELECT semtok.neighbors('b_one', '{1,2,NaN}')$$),
($$SELECT semtok.neighbors('b_one', '{1,2,NULL}')$$),
($$SELECT semtok.neighbors(2147483647, '{1,2,3}')$$),
-- train, partial_fit
($$SELECT semtok.train('', 'SELECT embedding FROM b_items')$$),
($$SELECT semtok.train(repeat('x', 64), 'SELECT embedding FROM b_items')$$),
($$SELECT semtok.train(NULL, 'SELECT embedding FROM b_items')$$),
($$SELECT semtok.train('b_bad', NULL)$$),
($$SELECT semtok.train('b_bad', 'SELECT nothing FROM b_items')$$),
($$SELECT semtok.train('b_bad', 'SELECT id, embedding FROM b_items')$$),
($$SELECT semtok.train('b_bad', 'SELECT id FROM b_items')$$),
($$SELECT semtok.train('b_bad', 'SELECT embedding FROM b_items WHERE false')$$),
($$SELECT semtok.train('b_bad', 'DELETE FROM b_items')$$),
($$SELECT semtok.train('b_bad', 'SELECT 1; SELECT 2')$$),
($$SELECT semtok.train('b_bad', 'SELECT array[''NaN'']::real[]', levels => 1, codes => 1)$$),
($$SELECT semtok.train('b_bad', 'SELECT array_fill(1::real, array[1 + id % 2]) FROM b_items', levels => 1, codes => 1)$$),
($$SELECT semtok.train('b_bad', 'SELECT embedding FROM b_items', 'magic')$$),
($$SELECT semtok.train('b_bad', 'SELECT embedding FROM b_items', levels => 0)$$),
($$SELECT semtok.train('b_bad', 'SELECT embedding FROM b_items', levels => 33)$$),
($$SELECT semtok.train('b_bad', 'SELECT embedding FROM b_items', codes => 0)$$),
($$SELECT semtok.train('b_bad', 'SELECT embedding FROM b_items', codes => 65537)$$),
($$SELECT semtok.train('b_bad', 'SELECT embedding FROM b_items', codes => array[4,0])$$),
($$SELECT semtok.train('b_bad', 'SELECT embedding FROM b_items', codes => array[4,4], levels => 3)$$),
($$SELECT semtok.train('b_bad', 'SELECT embedding FROM b_items', metric => 'l3')$$),
($$SELECT semtok.train('b_bad', 'SELECT embedding FROM b_items', epochs => -1)$$),
($$SELECT semtok.train('b_bad', 'SELECT embedding FROM b_items', batch_size => 0)$$),
($$SELECT semtok.train('b_bad', 'SELECT embedding FROM b_items', init => 'zero')$$),
($$SELECT semtok.train('b_bad', 'SELECT embedding FROM b_items', sample => 0)$$),
($$SELECT semtok.train('b_bad', 'SELECT embedding FROM b_items', device => 'abacus')$$),
($$SELECT semtok.train('b_bad', 'SELECT embedding FROM b_items', options => '{"unheard": 1}')$$),
($$SELECT semtok.train('b_bad', 'SELECT ''{0,0}''::real[]', metric => 'cosine', levels => 1, codes => 1)$$),
($$SELECT semtok.train('b_bad', 'SELECT embedding FROM b_items', method => 'ema', options => '{"decay": 1}')$$),
($$SELECT semtok.train('b_bad', 'SELECT embedding FROM b_items', batch_size => 10, options => '{"balance": 1.5}')$$),
($$SELECT semtok.partial_fit('b_none', 'SELECT embedding FROM b_items')$$),
($$SELECT semtok.partial_fit('b_one', 'SELECT id FROM b_items')$$),
($$SELECT semtok.partial_fit('b_one', 'SELECT array[1,2]::real[]')$$),
($$SELECT semtok.partial_fit('b_one', 'SELECT embedding FROM b_items', batch_size => NULL)$$),
($$SELECT semtok.partial_fit('b_one', 'SELECT embedding FROM b_items', options => '{"refine": 1}')$$),
-- sources
($$SELECT semtok.train('b_bad', 'SHOW work_mem')$$),
($$SELECT semtok.train('b_bad', 'SELECT embedding, embedding FROM b_items')$$),
($$SELECT semtok.train('b_bad', 'SELECT array[1, 2, 3 / (id - 40)] FROM b_items')$$),
($$SELECT semtok.train('b_bad', 'SELECT ''{{1,2,3}}''::real[]')$$),
($$SELECT semtok.train('b_bad', 'SELECT array[1, 2, NULL]::real[]')$$),
($$SELECT semtok.train('b_bad', 'SELECT ''{}''::real[]')$$),
($$SELECT semtok.train('b_bad', 'SELECT array_fill(1::real, array[16001])')$$),
($$SELECT semtok.train('b_bad', 'SELECT embedding FROM b_items UNION ALL SELECT array[1,2]')$$),
($$SELECT semtok.train('b_bad', 'DELETE FROM b_items RETURNING embedding')$$),
($$SELECT semtok.train('b_bad', 'WITH d AS (DELETE FROM b_items RETURNING embedding) SELECT embedding FROM d')$$),
($$SELECT semtok.train('b_bad', 'SELECT embedding FROM b_items FOR UPDATE')$$),
($$SELECT semtok.train('b_bad', 'SELECT b_writes()')$$),
($$SELECT semtok.train('b_bad', 'SELECT b_locks()')$$),
($$SELECT semtok.partial_fit('b_one', 'SELECT 1; SELECT 2')$$),
($$SELECT semtok.partial_fit('b_one', 'SHOW work_mem')$$),
($$SELECT semtok.partial_fit('b_one', 'SELECT embedding, embedding FROM b_items')$$),
($$SELECT semtok.partial_fit('b_one', 'SELECT embedding FROM b_items WHERE false')$$),
($$SELECT semtok.partial_fit('b_one', 'SELECT array[1, 2, 3 / (id - 40)] FROM b_items')$$),
($$SELECT semtok.partial_fit('b_one', 'SELECT ''{{1,2,3}}''::real[]')$$),
($$SELECT semtok.partial_fit('b_one', 'SELECT array[1, 2, NULL]::real[]')$$),
($$SELECT semtok.partial_fit('b_one', 'SELECT ''{}''::real[]')$$),
($$SELECT semtok.partial_fit('b_one', 'SELECT array_fill(1::real, array[16001])')$$),
($$SELECT semtok.partial_fit('b_one', 'SELECT embedding FROM b_items UNION ALL SELECT array[1,2]')$$),
($$SELECT semtok.partial_fit('b_one', 'DELETE FROM b_items RETURNING embedding')$$),
($$SELECT semtok.partial_fit('b_one', 'WITH d AS (DELETE FROM b_items RETURNING embedding) SELECT embedding FROM d')$$),
($$SELECT semtok.partial_fit('b_one', 'SELECT embedding FROM b_items FOR UPDATE')$$),
($$SELECT semtok.partial_fit('b_one', 'SELECT b_writes()')$$),
($$SELECT semtok.partial_fit('b_one', 'SELECT b_locks()')$$),
($$SELECT semtok.evaluate('b_one', 'SELECT 1; SELECT 2')$$),
($$SELECT semtok.evaluate('b_one', 'SHOW work_mem')$$),
($$SELECT semtok.evaluate('b_one', 'SELECT embedding, embedding FROM b_items')$$),
($$SELECT semtok.evaluate('b_one', 'SELECT embedding FROM b_items WHERE false')$$),
($$SELECT semtok.evaluate('b_one', 'SELECT array[1, 2, 3 / (id - 40)] FROM b_items')$$),
($$SELECT semtok.evaluate('b_one', 'SELECT ''{{1,2,3}}''::real[]')$$),
($$SELECT semtok.evaluate('b_one', 'SELECT array[1, 2, NULL]::real[]')$$),
($$SELECT semtok.evaluate('b_one', 'SELECT ''{}''::real[]')$$),
($$SELECT semtok.evaluate('b_one', 'SELECT array_fill(1::real, array[16001])')$$),
($$SELECT semtok.evaluate('b_one', 'SELECT embedding FROM b_items UNION ALL SELECT array[1,2]')$$),
($$SELECT semtok.evaluate('b_one', 'DELETE FROM b_items RETURNING embedding')$$),
($$SELECT semtok.evaluate('b_one', 'WITH d AS (DELETE FROM b_items RETURNING embedding) SELECT embedding FROM d')$$),
($$SELECT semtok.evaluate('b_one', 'SELECT embedding FROM b_items FOR UPDATE')$$),
($$SELECT semtok.evaluate('b_one', 'SELECT b_writes()')$$),
($$SELECT semtok.evaluate('b_one', 'SELECT b_locks()')$$),
($$SELECT semtok.train('b_bad', 'SELECT embedding FROM b_items', options => jsonb_build_object('eval_source', 'SELECT 1; SELECT 2'))$$),
($$SELECT semtok.partial_fit('b_one', 'SELECT embedding FROM b_items', options => jsonb_build_object('eval_source', 'SELECT 1; SELECT 2'))$$),
($$SELECT semtok.train('b_bad', 'SELECT embedding FROM b_items', options => jsonb_build_object('eval_source', 'SELECT array[1,2]'))$$),
($$SELECT semtok.partial_fit('b_one', 'SELECT embedding FROM b_items', options => jsonb_build_object('eval_source', 'SELECT array[1,2]'))$$),
($$SELECT semtok.train('b_bad', 'SELECT embedding FROM b_items', options => jsonb_build_object('eval_source', 'SELECT array[1, 2, 3 / (id - 40)] FROM b_items'))$$),
($$SELECT semtok.partial_fit('b_one', 'SELECT embedding FROM b_items', options => jsonb_build_object('eval_source', 'SELECT array[1, 2, 3 / (id - 40)] FROM b_items'))$$),
($$SELECT semtok.train('b_bad', 'SELECT embedding FROM b_items', options => jsonb_build_object('eval_source', 'DELETE FROM b_items RETURNING embedding'))$$),
($$SELECT semtok.partial_fit('b_one', 'SELECT embedding FROM b_items', options => jsonb_build_object('eval_source', 'DELETE FROM b_items RETURNING embedding'))$$),
($$SELECT semtok.train('b_bad', 'SELECT embedding FROM b_items', options => jsonb_build_object('eval_source', 'SELECT b_writes()'))$$),
($$SELECT semtok.partial_fit('b_one', 'SELECT embedding FROM b_items', options => jsonb_build_object('eval_source', 'SELECT b_writes()'))$$),
($$SELECT semtok.train('b_bad', 'SELECT embedding FROM b_items', options => jsonb_build_object('eval_source', 'SELECT b_locks()'))$$),
($$SELECT semtok.partial_fit('b_one', 'SELECT embedding FROM b_items', options => jsonb_build_object('eval_source', 'SELECT b_locks()'))$$),
($$SELECT semtok.train('b_bad', 'SELECT embedding FROM b_items', options => '{"eval_every": 1}')$$),
($$SELECT semtok.train('b_bad', 'SELECT array[CASE id WHEN 1 THEN -3e38 ELSE 3e38 END]::real[] FROM b_items', levels => 2, codes => 1)$$),
-- activate, drop_tokenizer
($$SELECT semtok.activate('b_none', 1)$$),
($$SELECT semtok.activate('b_one', 9)$$),
($$SELECT semtok.drop_tokenizer('b_none')$$),
($$SELECT semtok.drop_tokenizer('b_one', 9)$$),
-- encode, decode, evaluate, collisions
($$SELECT semtok.encode('b_none', '{1,2,3}')$$),
($$SELECT semtok.encode(2147483647, '{1,2,3}')$$),
($$SELECT semtok.encode('b_one', '{1,2}')$$),
($$SELECT semtok.encode('b_one', '{}')$$),
($$SELECT semtok.encode('b_one', '{1,2,Infinity}')$$),
($$SELECT semtok.encode('b_one', '{1,2,NULL}')$$),
($$SELECT semtok.encode('b_one', '{{1,2,3}}')$$),
($$SELECT semtok.encode('b_one', '{1,2,3}', 0)$$),
($$SELECT semtok.encode_row('2147483647', '{1,2,3}', '(0,1)')$$),
($$SELECT semtok.encode(codebook_agg(l, 0, '{-3e38}'), '{3e38}') FROM generate_series(0, 1) l$$),
($$SELECT semtok.decode('b_one', '[9,1]')$$),
($$SELECT semtok.decode('[1,1]')$$),
($$SELECT semtok.decode('[1,1]@2147483647')$$),
($$SELECT semtok.decode('b_one', '[1,1]@2147483647')$$),
($$SELECT semtok.decode('b_none', '[1,1]')$$),
($$SELECT semtok.evaluate('b_none', 'SELECT embedding FROM b_items')$$),
($$SELECT semtok.evaluate('b_one', 'SELECT id FROM b_items')$$),
($$SELECT semtok.evaluate('b_one', 'SELECT array[1,2]::real[]')$$),
($$SELECT semtok.collisions('b_items', 'nothing')$$),
($$SELECT semtok.collisions('b_items', 'id')$$),
-- tokenize: refused in a block before it does anything
($$CALL semtok.tokenize('b_items', 'embedding', 'sid', 'b_one')$$),
-- decoding
($$SELECT semtok.beam_search('b_plain', semtok.logits('{{1,2}}'))$$),
($$SELECT semtok.beam_search('b_calls', semtok.logits('{{1,2}}'))$$),
($$SELECT semtok.beam_search('pg_type_oid_index', semtok.logits('{{1,2}}'))$$),
($$SELECT semtok.beam_search('semtok.tokenizer_id_seq', semtok.logits('{{1,2}}'))$$),
($$SELECT semtok.beam_search('b_nothing', semtok.logits('{{1,2}}'))$$),
($$SELECT semtok.beam_search(4294967295, semtok.logits('{{1,2}}'))$$),
($$SELECT semtok.beam_search('b_items', semtok.logits('{{1,2}}'), 0)$$),
($$SELECT semtok.beam_search('b_items', semtok.logits('{{1,2}}'), NULL)$$),
($$SELECT semtok.beam_search('b_items', semtok.logits('{{1,2}}'), 100)$$),
($$SELECT semtok.beam_search('b_items', semtok.logits('{{1,2}}'), 1, 0)$$),
($$SELECT semtok.beam_search('b_items', semtok.logits('{{1,2}}'), 1, 1000001)$$),
($$SELECT semtok.beam_search('b_items', semtok.logits('{{1,2}}'), temperature => 0.5)$$),
($$SELECT semtok.beam_search('b_items', semtok.logits('{{1,2}}'), temperature => -1)$$),
($$SELECT semtok.beam_search('b_items', semtok.logits('{{1,2}}'), temperature => 'NaN')$$),
($$SELECT semtok.beam_search('b_items', semtok.logits('{{1,2}}'), temperature => NULL)$$),
($$SELECT semtok.beam_search('b_items', semtok.logits('{{1,2}}'), norm => 'best')$$),
($$SELECT semtok.beam_search('b_items', semtok.neighbors('b_one', '{1,2,3}'), norm => 'full')$$),
($$SELECT semtok.beam_search_set(semset('{"[1]"}'::semid[]), semtok.logits('{{1,2}}'), 0)$$),
($$SELECT semtok.beam_search_set(semset('{"[1]"}'::semid[]), semtok.logits('{{1,2}}'), 60)$$),
($$SELECT semtok.beam_search_set(semset('{"[1]"}'::semid[]), semtok.logits('{{1,2}}'), temperature => 1)$$),
($$SELECT semtok.next_codes('b_plain', NULL)$$),
($$SELECT semtok.next_codes('semtok.tokenizers', NULL)$$),
($$SELECT semtok.next_codes_set('x', NULL)$$),
($$SELECT semtok.explain('[1,2]', semtok.neighbors('b_one', '{1,2,3}'))$$),
($$SELECT semtok.explain('[1]', semtok.logits('{{1,2}}', norm => 'masked'))$$),
-- the index
($$CREATE INDEX ON b_items USING semtrie (id)$$),
($$CREATE INDEX ON b_items USING semtrie (sid, id)$$),
($$CREATE INDEX ON b_items USING semtrie (sid, sid)$$),
($$CREATE INDEX ON b_items USING semtrie (sid COLLATE "C")$$),
($$CREATE INDEX ON b_items USING semtrie (sid DESC)$$),
($$CREATE INDEX ON b_items USING semtrie (sid NULLS FIRST)$$),
($$CREATE UNIQUE INDEX ON b_items USING semtrie (sid)$$),
($$CREATE INDEX ON b_items USING semtrie (sid) INCLUDE (id)$$),
($$ALTER TABLE b_items ADD EXCLUDE USING semtrie (sid WITH =)$$),
($$CREATE INDEX ON b_items USING semtrie (sid) WITH (fillfactor = 50)$$),
($$CREATE INDEX ON b_items USING semtrie (sid) WITH (pending_limit = 0)$$),
($$CREATE INDEX ON b_items USING semtrie (sid text_ops)$$),
($$CLUSTER b_items USING b_items_sid$$),
($$SELECT semtok.index_info('b_items')$$),
($$SELECT semtok.index_info('pg_type_oid_index')$$),
($$SELECT semtok.library_version(1)$$),
($$SELECT semtok.index_info(0)$$),
($$SELECT semtok.index_check('b_items', true)$$),
($$SELECT semtok.index_check(4294967295)$$),
($$SELECT semtok.index_check('pg_type_oid_index', true)$$),
-- settings
($$SET semtok.beam_width = -1$$),
($$SET semtok.simd = best$$),
($$SET semtok.codebook_cache = -1$$),
($$SET semtok.unheard = 1$$);

CREATE TABLE b_answers (i int, sqlstate text, message text, hint text);
DO $$
DECLARE c record; state text; text_said text; hinted text;
BEGIN
  FOR c IN SELECT * FROM b_calls ORDER BY i LOOP
    BEGIN
      EXECUTE c.call;
      RAISE EXCEPTION SQLSTATE 'ZZZZZ';
    EXCEPTION
      WHEN SQLSTATE 'ZZZZZ' THEN
        INSERT INTO b_answers VALUES (c.i, '-----', 'worked', '');
      WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, text_said = MESSAGE_TEXT, hinted = PG_EXCEPTION_HINT;
        -- 17 says schemas and units where 15 did not
        text_said := replace(text_said, 'type public.semid', 'type semid');
        text_said := regexp_replace(text_said, '\((\d+) kB \.\. (\d+) kB\)', '(\1 .. \2)');
        INSERT INTO b_answers VALUES (c.i, state, text_said, hinted);
    END;
  END LOOP;
END $$;
\pset format unaligned
\pset fieldsep '\n   '
\pset tuples_only on
\pset recordsep '\n'
-- what the sequence of ids has got to depends on other tests
SELECT c.call, a.sqlstate || ' ' || regexp_replace(a.message, 'of tokenizer \d+, not', 'of tokenizer N, not') || CASE WHEN a.hint <> '' THEN E'\n   hint: ' || a.hint ELSE '' END
  FROM b_calls c JOIN b_answers a USING (i) ORDER BY i;
\pset format aligned
\pset tuples_only off

-- none of them worked, none died of something nobody foresaw
SELECT c.call, a.sqlstate, a.message FROM b_calls c JOIN b_answers a USING (i)
 WHERE a.sqlstate = '-----' OR a.sqlstate LIKE 'XX%' ORDER BY i;
-- and every verb is among them
SELECT DISTINCT p.proname AS not_called FROM pg_proc p
 WHERE p.pronamespace = 'semtok'::regnamespace AND p.prorettype <> 'trigger'::regtype
   AND NOT EXISTS (SELECT FROM b_calls WHERE call ~ ('semtok\.' || p.proname || '\('))
 ORDER BY 1;
DROP FUNCTION b_writes, b_locks;
DROP TABLE b_items, b_plain, b_calls, b_answers;
SELECT semtok.drop_tokenizer('b_one');
