-- Every verb takes untyped literals: no overload is ambiguous.
SET client_min_messages = error;
CREATE TABLE u_items (id int, embedding real[], sid semid);
INSERT INTO u_items SELECT i, array[i % 10, i % 7, i % 3]::real[] FROM generate_series(1, 100) i;
CREATE INDEX u_items_sid ON u_items USING semtrie (sid);
CREATE FUNCTION u_model(context jsonb, prefixes semid[], level int) RETURNS real[] LANGUAGE sql AS 'SELECT array_fill(0::real, array[cardinality(prefixes), 4])';
CREATE TABLE u_calls (i int GENERATED ALWAYS AS IDENTITY, verb text, call text);
INSERT INTO u_calls (verb, call) VALUES
('train', $$SELECT semtok.train(name => 'u_one', source => 'SELECT embedding FROM u_items', method => 'rqkmeans', levels => '2', codes => 4, metric => 'l2', epochs => '5', batch_size => '50', init => 'kmeans++', seed => '1', sample => '80', device => 'cpu', options => '{}')$$),
('train', $$SELECT semtok.train('u_three', 'SELECT embedding FROM u_items', 'rqkmeans')$$),
('train', $$SELECT semtok.train('u_two', 'SELECT embedding FROM u_items', codes => array[4,3], epochs => '3')$$),
('train', $$SELECT semtok.train('u_one', 'SELECT embedding FROM u_items', levels => '2', codes => 4, epochs => '2')$$),
('train', $$SELECT semtok.train('u_two', 'SELECT embedding FROM u_items', codes => array[4,3], method => 'ema', epochs => '3', batch_size => '20', init => 'kmeans||', options => '{"decay": 0.9, "restart_after": 5, "beam": 2}')$$),
('partial_fit', $$SELECT semtok.partial_fit('u_three', 'SELECT embedding FROM u_items')$$),
('partial_fit', $$SELECT semtok.partial_fit('u_three', 'SELECT embedding FROM u_items', '2', '10', '1', '50', 'cpu', '{"beam": 2}')$$),
('import_tokenizer', $$SELECT semtok.import_tokenizer('u_imported', '{"dim":1,"sizes":[1],"metric":"l2","data":"AACAPw=="}')$$),
('import_tokenizer', $$SELECT semtok.import_tokenizer('u_imported', '{"dim":1,"sizes":[1],"metric":"l2","data":"AACAPw=="}', '700004', '{3}', '{"beam": 2}')$$),
('export_safetensors', $$SELECT semtok.export_safetensors('u_imported')$$),
('export_safetensors', $$SELECT semtok.export_safetensors(tokenizer => '700004')$$),
('import_safetensors', $$SELECT semtok.import_safetensors('u_imported', semtok.export_safetensors('u_imported'))$$),
('import_safetensors', $$SELECT semtok.import_safetensors('u_imported', semtok.export_safetensors('u_imported'), '{"metric": "l2"}', '700005')$$),
('register_tokenizer', $$SELECT semtok.register_tokenizer('u_registered', '{4,3}')$$),
('register_tokenizer', $$SELECT semtok.register_tokenizer('u_registered', '{4,3}', '700003')$$),
('activate', $$SELECT semtok.activate('u_one', '2')$$),
('encode', $$SELECT semtok.encode('u_one', '{1,2,3}')$$),
('encode', $$SELECT semtok.encode('u_one', '{1,2,3}', '2')$$),
('encode', $$SELECT semtok.encode(tokenizer => (SELECT id FROM semtok.tokenizers WHERE name = 'u_two' AND version = 1), embedding => '{1,2,3}')$$),
('encode_trace', $$SELECT semtok.encode_trace('u_one', '{1,2,3}')$$),
('encode_trace', $$SELECT semtok.encode_trace(tokenizer => '700004', embedding => '{1}')$$),
('encode_candidates', $$SELECT semtok.encode_candidates('u_one', '{1,2,3}', '5')$$),
('encode_candidates', $$SELECT semtok.encode_candidates(tokenizer => '700004', embedding => '{1}', n => '5')$$),
('encode_batch', $$SELECT semtok.encode_batch('u_one', 'SELECT embedding FROM u_items')$$),
('encode_batch', $$SELECT semtok.encode_batch('u_one', 'SELECT id, embedding FROM u_items', '2')$$),
('encode_batch', $$SELECT semtok.encode_batch(tokenizer => (SELECT id FROM semtok.tokenizers WHERE name = 'u_two' AND version = 1), source => 'SELECT embedding FROM u_items', beam => NULL)$$),
('embedding_of', $$SELECT semtok.embedding_of(NULL)$$),
('sample_candidate', $$SELECT semtok.sample_candidate('{1,2,3}', '42', '0')$$),
('encode', $$SELECT semtok.encode((SELECT codebook FROM semtok.tokenizer WHERE name = 'u_two' AND version = 1), '{1,2,3}')$$),
('decode', $$SELECT semtok.decode('u_one', '[0,1]')$$),
('decode', $$SELECT semtok.decode((SELECT codebook FROM semtok.tokenizer WHERE name = 'u_two' AND version = 1), '[0,1]')$$),
('decode', $$SELECT semtok.decode((SELECT id FROM semtok.tokenizers WHERE name = 'u_two' AND version = 1), '[0,1]')$$),
('tokenize', $$CALL semtok.tokenize('u_items', 'embedding', 'sid', 'u_one')$$),
('tokenize', $$CALL semtok.tokenize('u_items', 'embedding', 'sid', 'u_one', '2', '1000', 'append', 'id > 0')$$),
('evaluate', $$SELECT semtok.evaluate('u_one', 'SELECT embedding FROM u_items')$$),
('collisions', $$SELECT semtok.collisions('u_items', 'sid')$$),
('', $$SELECT semid_flat('[1,2]', '{4,4}'), semid_unflat('6', '{4,4}'), semid_unflat('6', '{4,4}', '1'), semid_tokens('[1,2]'), semid_from_tokens('<a_1>'), semid_from_tokens('<a_1>', '1')$$),
('logits', $$SELECT semtok.logits('{{1,2},{3,4}}')$$),
('logits', $$SELECT semtok.logits('{1,2,3,4}', '{2,2}', '0', 'masked', semset('{"[0,1]"}'::semid[]))$$),
('neighbors', $$SELECT semtok.neighbors('u_one', '{1,2,3}')$$),
('neighbors', $$SELECT semtok.neighbors((SELECT id FROM semtok.tokenizers WHERE name = 'u_two' AND version = 1), '{1,2,3}')$$),
('neighbors', $$SELECT semtok.neighbors((SELECT codebook FROM semtok.tokenizer WHERE name = 'u_two' AND version = 1), '{1,2,3}')$$),
('beam_search', $$SELECT semtok.beam_search('u_items', semtok.logits('{{1,2},{3,4}}'), '3', '5', '0.5', '1', '2', '0.9', 'masked', '0', 'false', '{[1]}', '{"1": 3}', 'rectokens', '4')$$),
('beam_search_set', $$SELECT semtok.beam_search_set('{[0,1]}', semtok.logits('{{1,2},{3,4}}'), '3', '5', '0.5', '1', '2', '0.9', 'masked', '0', 'false', '{[1]}', '{"1": 3}', 'rectokens', '4')$$),
('beam_search_batch', $$SELECT semtok.beam_search_batch('u_items', array[semtok.logits('{{1,2},{3,4}}')], '3', '5', '0.5', '1', '2', '0.9', 'masked', '0', 'false', '{[1]}', '{"1": 3}', 'rectokens', '4')$$),
('beam_search_batch', $$SELECT semtok.beam_search_batch('u_items', '{}')$$),
('beam_search_batch_set', $$SELECT semtok.beam_search_batch_set('{[0,1]}', array[semtok.logits('{{1,2},{3,4}}')], '3', '5', '0.5', '1', '2', '0.9', 'masked', '0', 'false', '{[1]}', '{"1": 3}', 'rectokens', '4')$$),
('next_codes', $$SELECT semtok.next_codes('u_items', '[1]')$$),
('next_codes', $$SELECT semtok.next_codes('u_items', NULL)$$),
('next_codes_set', $$SELECT semtok.next_codes_set(semset('{"[0,1]"}'::semid[]), '[0]')$$),
('next_codes_batch', $$SELECT semtok.next_codes_batch('u_items', '{NULL,"[0]"}')$$),
('next_codes_batch_set', $$SELECT semtok.next_codes_batch_set('{[0,1]}', '{NULL,"[0]"}')$$),
('mask', $$SELECT semtok.mask('u_items', '{NULL}', '10', '{0,4}', '9', '1', '{[0,1]}', '{[1,1]}')$$),
('mask_set', $$SELECT semtok.mask_set('{[0,1]}', '{NULL}', '10', '{0,4}', '9', '1', '{[0,1]}', '{[1,1]}')$$),
('mask_packed', $$SELECT semtok.mask_packed('u_items', '{NULL}', '10', NULL, NULL, '0', NULL, NULL)$$),
('mask_packed_set', $$SELECT semtok.mask_packed_set('{[0,1]}', '{NULL}', '10', '{0,4}', '9', '1', '{[0,1]}', '{[1,1]}')$$),
('sample', $$SELECT semtok.sample('u_items', '1', '2', 'ids')$$),
('sample_set', $$SELECT semtok.sample_set('{[0,1]}', '1', '2')$$),
('', $$SELECT semset_from_npz(semset_to_npz('{[0,1]}', '4', '1', 'static', '{0,2}', '1000'), '3', '{0,2}')$$),
('', $$SELECT semset_to_json('{[0,1]}', 'sid2pid')$$),
('', $$SELECT ('{[0,1]}'::semset | '{[1,1]}') & '{[0,1]}', '{[0,1]}'::semset - '{[2]}'$$),
('beam_search_with', $$SELECT semtok.beam_search_with('u_items', 'u_model(jsonb,semid[],int)', '{}', '3', '5', '0', '1', NULL, NULL, 'masked', '0', 'true', '2', '{[0,1]}', '{[1]}', '{"1": 2}', 'gumbel', NULL)$$),
('beam_search_set_with', $$SELECT semtok.beam_search_set_with('{[0,1]}', 'u_model(jsonb,semid[],int)', NULL, '3', '5', '1', NULL, NULL, NULL, 'masked', '0', 'false', NULL, NULL, NULL, NULL, 'rectokens', NULL)$$),
('beam_step', $$SELECT semtok.beam_step('u_items', '{NULL}', '{0}', '{1,2,3,4}', '5', '1', '1', '2', '0.5', 'masked', '{0}', '{1}', (SELECT min(semid_tokenizer(sid)) FROM u_items), '{[0,1]}', '{[1]}', 'rectokens', '3')$$),
('beam_step_set', $$SELECT semtok.beam_step_set('{[0,1]}', '{[0]}', '{-1}', '{1,2,3,4}', '5', '0', NULL, NULL, NULL, 'none', NULL, NULL, '0', NULL, NULL, 'rectokens', NULL)$$),
('explain', $$SELECT semtok.explain('[0,1]', semtok.logits('{{1,2},{3,4}}'), NULL)$$),
('catalog_version', $$SELECT semtok.catalog_version('u_items')$$),
('changes', $$SELECT semtok.changes('u_items', semtok.catalog_version('u_items'))$$),
('index_info', $$SELECT semtok.index_info('u_items_sid')$$),
('index_check', $$SELECT semtok.index_check('u_items_sid', 'true')$$),
('evaluate_ranking', $$SELECT semtok.evaluate_ranking('SELECT 1, array[1]', '{1}', '1', '7', 'SELECT 1, 1')$$),
('library_version', $$SELECT semtok.library_version()$$),
('worker_list', $$SELECT semtok.worker_list()$$),
('progress_list', $$SELECT semtok.progress_list()$$),
('set_owner', $$SELECT semtok.set_owner('u_one', 'pg_database_owner')$$),
('', $$UPDATE u_items SET sid = NULL$$),
('activate', $$SELECT semtok.activate('u_one', '1')$$),
('drop_tokenizer', $$SELECT semtok.drop_tokenizer('u_one', '2')$$),
('drop_tokenizer', $$SELECT semtok.drop_tokenizer('u_two')$$),
('drop_tokenizer', $$SELECT semtok.drop_tokenizer('u_three')$$),
('drop_tokenizer', $$SELECT semtok.drop_tokenizer('u_registered')$$),
('drop_tokenizer', $$SELECT semtok.drop_tokenizer('u_imported')$$),
('drop_tokenizer', $$SELECT semtok.drop_tokenizer('u_one', NULL)$$);

-- Each call is a statement of its own, since a procedure that commits cannot run in a block. What
-- they answer is other tests' matter: an error would show.
SELECT call FROM u_calls ORDER BY i
\o /dev/null
\gexec
\o

-- the list above is complete
SELECT DISTINCT p.proname AS not_called FROM pg_proc p
 WHERE p.pronamespace = 'semtok'::regnamespace AND p.prorettype <> 'trigger'::regtype
   AND NOT EXISTS (SELECT FROM u_calls WHERE verb = p.proname)
 ORDER BY 1;
DROP TABLE u_items, u_calls;
DROP FUNCTION u_model;
