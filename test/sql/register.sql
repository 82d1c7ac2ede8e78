-- semtok.register_tokenizer: tokenizers without a codebook, for ids that come from elsewhere.
SET client_min_messages = error;

\getenv test PG_ABS_SRCDIR
\set refusal :test '/lib/refusal.sql'
\i :refusal

-- The first version of a name becomes active; an id of one's own is kept.
SELECT semtok.register_tokenizer('letter', '{256,256,256,256}', 700001) AS id;
SELECT semtok.register_tokenizer('letter', '{32}', id => 700002) AS id;
SELECT id, name, version, active, method, metric, dim, sizes, trained_rows, options, hash, owner = current_user AS own
	FROM semtok.tokenizers WHERE name = 'letter' ORDER BY id;
SELECT counts IS NULL AS counts, codebook IS NULL AS codebook FROM semtok.tokenizer WHERE id = 700001;
-- The same id, name and sizes: nothing happens, so copying twice does no harm. Anything else is refused.
SELECT semtok.register_tokenizer('letter', '{256,256,256,256}', 700001) AS id;
SELECT count(*) FROM semtok.tokenizers WHERE name = 'letter';
\pset format unaligned
SELECT statement || E'\n  ' || pg_temp.refusal(statement) AS refusal FROM unnest(array[
	$$SELECT semtok.register_tokenizer('letter', '{256,256,256}', 700001)$$,
	$$SELECT semtok.register_tokenizer('letter', '{256,256,256,255}', 700001)$$,
	$$SELECT semtok.register_tokenizer('other', '{256,256,256,256}', 700001)$$,
	$$SELECT semtok.register_tokenizer(null, '{1}')$$,
	$$SELECT semtok.register_tokenizer('', '{1}')$$,
	$$SELECT semtok.register_tokenizer(repeat('x', 64), '{1}')$$,
	$$SELECT semtok.register_tokenizer('none', null)$$,
	$$SELECT semtok.register_tokenizer('none', '{}')$$,
	$$SELECT semtok.register_tokenizer('none', '{1,null}')$$,
	$$SELECT semtok.register_tokenizer('none', '{0}')$$,
	$$SELECT semtok.register_tokenizer('none', '{65537}')$$,
	$$SELECT semtok.register_tokenizer('none', '{{1},{2}}')$$,
	$$SELECT semtok.register_tokenizer('none', array_fill(1, array[33]))$$,
	$$SELECT semtok.register_tokenizer('none', '{1}', 0)$$,
	$$SELECT semtok.register_tokenizer('none', '{1}', -1)$$,
	-- whatever needs a codebook says that there is none
	$$SELECT semtok.encode('letter', '{1}')$$,
	$$SELECT semtok.encode(700002, '{1}')$$,
	$$SELECT semtok.encode_batch(700002, 'SELECT 1/0')$$,
	$$SELECT semtok.decode('letter', '[1,2,3,4]')$$,
	$$SELECT semtok.decode('[1]@700002')$$,
	$$SELECT semtok.neighbors('letter', '{1}')$$,
	$$SELECT semtok.neighbors(700002, '{1}')$$,
	$$SELECT semtok.evaluate('letter', 'SELECT 1/0')$$,
	$$SELECT semtok.evaluate(700002, 'SELECT 1/0')$$,
	$$SELECT semtok.partial_fit('letter', 'SELECT 1/0')$$
]) AS statement;
\pset format aligned
CREATE TABLE catalogue (x real[], sid semid);
INSERT INTO catalogue VALUES ('{1}', '[1,2,3,4]@700001');
CALL semtok.tokenize('catalogue', 'x', 'sid', 'letter');

-- Ids that it made are in use like any other's; queries may name it.
SELECT semtok.activate('letter', 2);
SELECT pg_temp.refusal($$SELECT semtok.drop_tokenizer('letter', 1)$$);
SELECT sid <~> semtok.logits('{{0,1},{0,0},{0,0},{0,0}}', '{2,2,2,2}', 700001) = 'Infinity' AS beyond,
	'[1,0,1,0]@700001' <~> semtok.logits('{{0,1},{0,0},{0,0},{0,0}}', '{2,2,2,2}', 700001) < 'Infinity' AS within FROM catalogue;
DROP TABLE catalogue;
SELECT semtok.drop_tokenizer('letter', 1);
-- A version with a codebook may follow one without; then the name can encode.
SELECT semtok.train('letter', 'SELECT array[i, i % 3] FROM generate_series(1, 9) AS i', levels => 1, codes => 2) > 0 AS trained;
SELECT pg_temp.refusal($$SELECT semtok.encode('letter', '{1,2}')$$);
SELECT semtok.activate('letter', 3);
SELECT semid_levels(semtok.encode('letter', '{1,2}'));
SELECT semtok.drop_tokenizer('letter');

-- Half a codebook cannot be in the catalog.
CREATE FUNCTION half(statement text) RETURNS text LANGUAGE sql AS $$ SELECT left(pg_temp.refusal(statement), 5) $$;
SELECT semtok.register_tokenizer('half', '{2}') > 0 AS registered,
	semtok.train('whole', 'SELECT array[i] FROM generate_series(1, 9) AS i', levels => 1, codes => 2) > 0 AS trained;
SELECT set, half('UPDATE semtok.tokenizer SET ' || set || $$ WHERE name = 'half'$$) AS registered,
	half('UPDATE semtok.tokenizer SET ' || split_part(set, ' = ', 1) || $$ = null WHERE name = 'whole'$$) AS trained
	FROM unnest(array['method = ''rqkmeans''', 'metric = ''l2''', 'dim = 1', 'sizes = null', 'trained_rows = 1', 'options = null', 'hash = decode(repeat(''00'', 32), ''hex'')',
		'counts = ''{1,2}''', 'codebook = ''{"dim":1,"sizes":[1],"metric":"l2","data":"AACAPw=="}''']) AS set;
SELECT half($$UPDATE semtok.tokenizer SET method = 'registered' WHERE name = 'whole'$$);
SELECT semtok.drop_tokenizer(name) FROM unnest(array['half', 'whole']) AS name;
DROP FUNCTION half;
