-- Models of the caller's and rows that he may not see: the same calls before and after such a row is
-- added have the same answer, to the byte, under row security and without the right to read.
CREATE TABLE om_items (id int, owner name DEFAULT 'regress_semtok_own_model', sid semid);
INSERT INTO om_items (id, sid) SELECT i, semid(array[i % 4, i / 4 % 4, i % 3], 1) FROM generate_series(1, 100) i;
CREATE INDEX om_items_sid ON om_items USING semtrie (sid);
CREATE FUNCTION om_model(context jsonb, prefixes semid[], level int) RETURNS real[] LANGUAGE sql AS $$
  SELECT array_agg((n * 7 + code * 5 + level) % 11 / 3.0 ORDER BY n, code)::real[] FROM generate_subscripts(prefixes, 1) n, generate_series(0, 7) code
$$;
CREATE ROLE regress_semtok_own_model;
GRANT SELECT ON om_items TO regress_semtok_own_model;
CREATE TABLE om_state (state text, n int, call text, answer text);
GRANT ALL ON om_state TO regress_semtok_own_model;
CREATE FUNCTION om_answer(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text; state text; message text; detail text; hint text; context text;
BEGIN
	EXECUTE format('SELECT string_agg(x::text, E''\n'') FROM (%s) x', call) INTO answer;
	RETURN coalesce(answer, 'nothing');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT;
	RETURN concat_ws(E'\n', state, message, detail, hint, context);
END $$;
CREATE FUNCTION om_remember(state text) RETURNS void LANGUAGE sql AS $$
  INSERT INTO om_state
  SELECT state, row_number() OVER (), call, om_answer(call)
    FROM unnest('{om_items,om_items_sid}'::text[]) relation, unnest(array[
      'SELECT * FROM semtok.beam_search_with(%L, ''om_model(jsonb, semid[], int)'')',
      'SELECT * FROM semtok.beam_search_with(%L, ''om_model(jsonb, semid[], int)'', exact => true)',
      'SELECT * FROM semtok.beam_search_with(%L, ''om_model(jsonb, semid[], int)'', temperature => 1, seed => 1)',
      'SELECT * FROM semtok.beam_search_with(%L, ''om_model(jsonb, semid[], int)'', within => ''{[0,1]@1}'')',
      'SELECT * FROM semtok.beam_search_with(%L, ''om_model(jsonb, semid[], int)'', levels => 1)',
      'SELECT * FROM semtok.beam_search_with(%L, ''om_answer(text)'')',
      'SELECT * FROM semtok.beam_step(%L, ''{NULL}'', ''{0}'', ''{1,2,3,4,5,6}'')',
      'SELECT * FROM semtok.beam_step(%L, ''{[0],[7]}'', ''{0,0}'', ''{1,2,3,4}'', queries => ''{1,2}'')',
      'SELECT * FROM semtok.beam_step(%L, ''{NULL}'', ''{0}'', ''{1,2,3,4}'', tokenizer => 2)',
      'SELECT * FROM semtok.beam_step(%L, ''{NULL}'', ''{0}'', ''{1,NaN}'')',
      'SELECT s.* FROM (SELECT semset_agg(sid) AS seen FROM om_items WHERE %L <> '''') x, semtok.beam_search_set_with(x.seen, ''om_model(jsonb, semid[], int)'', k => 50) s',
      'SELECT s.* FROM (SELECT semset_agg(sid) AS seen FROM om_items WHERE %L <> '''') x, semtok.beam_step_set(x.seen, ''{NULL,[3]}'', ''{0,0}'', ''{1,2,3,4,5,6,7,8}'') s'
    ]) template, format(template, relation) call
$$;
CREATE FUNCTION om_different() RETURNS TABLE (calls bigint, different bigint) LANGUAGE sql AS $$
  SELECT count(*), count(*) FILTER (WHERE a.answer IS DISTINCT FROM b.answer)
    FROM om_state a JOIN om_state b USING (n) WHERE a.state = 'before' AND b.state = 'after'
$$;
-- what is seen where nothing hides: the rows to be added do make a difference
SELECT om_remember('before');
BEGIN;
INSERT INTO om_items VALUES (5000, 'somebody else', '[0,1,1]@1'), (5001, 'somebody else', '[7,7]@1'), (5002, 'somebody else', '[1]@2');
SELECT om_remember('after');
SELECT * FROM om_different();
ROLLBACK;

-- row security
ALTER TABLE om_items ENABLE ROW LEVEL SECURITY;
CREATE POLICY om_own ON om_items USING (owner = current_user);
TRUNCATE om_state;
SET ROLE regress_semtok_own_model;
SELECT om_remember('before');
RESET ROLE;
INSERT INTO om_items VALUES (5000, 'somebody else', '[0,1,1]@1'), (5001, 'somebody else', '[7,7]@1'), (5002, 'somebody else', '[1]@2');
SET ROLE regress_semtok_own_model;
SELECT om_remember('after');
RESET ROLE;
SELECT * FROM om_different();
SELECT n, split_part(answer, E'\n', 1) AS state, split_part(answer, E'\n', 2) AS message, split_part(answer, E'\n', 3) || split_part(answer, E'\n', 4) AS more FROM om_state WHERE state = 'after' AND n <= 12 AND answer NOT LIKE '(%' ORDER BY n;
SELECT n, array_length(string_to_array(answer, E'\n'), 1) AS rows FROM om_state WHERE state = 'after' AND n <= 12 AND answer LIKE '(%' ORDER BY n;

-- no right to read
TRUNCATE om_state;
ALTER TABLE om_items DISABLE ROW LEVEL SECURITY;
REVOKE SELECT ON om_items FROM regress_semtok_own_model;
SET ROLE regress_semtok_own_model;
SELECT om_remember('before');
RESET ROLE;
DELETE FROM om_items WHERE id >= 5000;
VACUUM (INDEX_CLEANUP on) om_items;
SET ROLE regress_semtok_own_model;
SELECT om_remember('after');
RESET ROLE;
SELECT * FROM om_different();
SELECT DISTINCT split_part(answer, E'\n', 1) AS state, split_part(answer, E'\n', 2) AS message FROM om_state ORDER BY 1, 2;
-- nor to execute the scorer
GRANT SELECT ON om_items TO regress_semtok_own_model;
REVOKE EXECUTE ON FUNCTION om_model FROM PUBLIC;
SET ROLE regress_semtok_own_model;
SELECT * FROM semtok.beam_search_with('om_items', 'om_model(jsonb, semid[], int)');
SELECT * FROM semtok.beam_search_set_with('{}', 'om_model(jsonb, semid[], int)');
RESET ROLE;
DROP TABLE om_items, om_state;
DROP FUNCTION om_model, om_answer, om_remember, om_different;
DROP ROLE regress_semtok_own_model;
