-- Rows that a search must pass over: dead ones, which the index still has, and those that the caller
-- may not see. As many results come as there are rows; and where row security hides a row, nothing
-- tells whether it is there.
CREATE TABLE hi_items (id int, owner name DEFAULT 'regress_semtok_hidden', sid semid);
INSERT INTO hi_items SELECT i, 'regress_semtok_hidden', semid(array[i % 10, i / 10 % 10, i % 4]) FROM generate_series(1, 1000) i;
INSERT INTO hi_items SELECT 1000 + i, 'regress_semtok_hidden', semid(array[i, i, i % 4, i]) FROM generate_series(1, 9) i;
CREATE INDEX hi_items_sid ON hi_items USING semtrie (sid);
CREATE FUNCTION hi_query(norm text DEFAULT 'full') RETURNS semquery LANGUAGE sql IMMUTABLE AS $$
  SELECT semtok.logits(array(SELECT ((l * 7) % 10 / 3.0)::real FROM generate_series(1, 24) l), '{10,10,4}', norm => norm)
$$;
-- all the rows there are, in order, as the ordered query has them
CREATE FUNCTION hi_expected(n int) RETURNS text LANGUAGE sql AS $$
  SELECT string_agg(x::text, ' ') FROM (SELECT i.sid, 0 - (i.sid <~> hi_query()), count(*) FROM hi_items i GROUP BY 1, 2 ORDER BY 2 DESC, 1 LIMIT n) x
$$;
CREATE FUNCTION hi_rows(n int, beam_size int) RETURNS text LANGUAGE sql AS $$
  SELECT string_agg(x::text, ' ') FROM (SELECT b.sid, b.logprob, b.items FROM semtok.beam_search('hi_items', hi_query(), n, beam_size) b ORDER BY b.rank) x
$$;

-- a beam full of dead rows is searched again: the best rows that live come, however many have died
BEGIN;
DELETE FROM hi_items WHERE sid IN (SELECT b.sid FROM semtok.beam_search('hi_items', hi_query(), 150, 1000) b);
SELECT hi_rows(10, 10) = hi_expected(10) AS narrow, hi_rows(10, 1000) = hi_expected(10) AS wide, hi_rows(100, 100) = hi_expected(100) AS all_that_live;
SELECT count(*), bool_and(EXISTS (SELECT FROM hi_items i WHERE i.sid = b.sid)) AS visible
  FROM semtok.beam_search('hi_items', hi_query('masked'), 10, 10) b;
SELECT count(*), bool_and(EXISTS (SELECT FROM hi_items i WHERE i.sid = b.sid)) AS visible
  FROM semtok.beam_search_batch('hi_items', array[hi_query(), NULL, hi_query('masked')], 10, 10) b;
-- limits count rows that live
SELECT count(*), max(n) FROM (SELECT count(*) AS n FROM semtok.beam_search('hi_items', hi_query(), 20, 20, max_per_prefix => '{"1": 2}') b GROUP BY semid_prefix(b.sid, 1)) x;
SELECT b.sid FROM semtok.beam_search('hi_items', hi_query(), 20, 20, max_per_prefix => '{"1": 2}') b
EXCEPT SELECT sid FROM (SELECT i.sid, row_number() OVER (PARTITION BY semid_prefix(i.sid, 1) ORDER BY i.sid <~> hi_query(), i.sid) AS n FROM (SELECT DISTINCT sid FROM hi_items) i) x WHERE n <= 2;
ROLLBACK;
BEGIN;
DELETE FROM hi_items;
SELECT count(*) FROM semtok.beam_search('hi_items', hi_query(), 10, 10);
SELECT count(*) FROM semtok.beam_search('hi_items', hi_query('masked'), 10, 10, temperature => 1);
ROLLBACK;

-- Two states: the same calls before and after a row is added that the caller may not see. The row has
-- the best id of all, once with codes that exist and once with new ones.
CREATE ROLE regress_semtok_hidden;
GRANT SELECT ON hi_items TO regress_semtok_hidden;
ALTER TABLE hi_items ENABLE ROW LEVEL SECURITY;
CREATE POLICY hi_own ON hi_items USING (owner = current_user);
CREATE TABLE hi_state (state text, n int, call text, answer text);
GRANT ALL ON hi_state TO regress_semtok_hidden;
-- what a call answers: its rows, or its error with everything that is told
CREATE FUNCTION hi_answer(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	answer text; state text; message text; detail text; hint text; context text;
BEGIN
	EXECUTE format('SELECT string_agg(x::text, E''\n'') FROM (%s) x', call) INTO answer;
	RETURN coalesce(answer, 'nothing');
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT, context = PG_EXCEPTION_CONTEXT;
	RETURN concat_ws(E'\n', state, message, detail, hint, context);
END $$;
CREATE FUNCTION hi_remember(state text) RETURNS void LANGUAGE sql AS $$
  INSERT INTO hi_state
  SELECT state, row_number() OVER (), call, hi_answer(call)
    FROM unnest('{hi_items,hi_items_sid}'::text[]) relation, unnest(array[
      'SELECT * FROM semtok.beam_search(%L, hi_query(), 5)',
      'SELECT * FROM semtok.beam_search(%L, hi_query(''none''), 1000, 1000)',
      'SELECT * FROM semtok.beam_search(%L, hi_query(), 5, exact => true)',
      'SELECT * FROM semtok.beam_search(%L, hi_query(), 5, exclude => semset(''{"[9,9,3]","[1,1,1]"}''::semid[]))',
      'SELECT * FROM semtok.beam_search(%L, hi_query(), 30, max_per_prefix => ''{"1": 2, "2": 1}'')',
      'SELECT * FROM semtok.beam_search(%L, hi_query(), 5, length_penalty => 1)',
      'SELECT * FROM semtok.beam_search(%L, semtok.logits(''{1,2}'', ''{2}''), 5)',
      'SELECT * FROM semtok.beam_search(%L, semtok.logits(''{1,2}'', ''{2}'', 5), 5)',
      'SELECT * FROM semtok.beam_search(%L, hi_query(''masked''), 5)',
      'SELECT * FROM semtok.beam_search(%L, hi_query(), 5, norm => ''masked'')',
      'SELECT * FROM semtok.beam_search(%L, hi_query(), 5, norm => ''masked'', exact => true)',
      'SELECT * FROM semtok.beam_search(%L, hi_query(), 5, top_k => 1)',
      'SELECT * FROM semtok.beam_search(%L, hi_query(), 5, top_p => 0.5)',
      'SELECT * FROM semtok.beam_search(%L, hi_query(), 5, temperature => 1, seed => 1)',
      'SELECT * FROM semtok.beam_search(%L, hi_query(''masked''), 5, temperature => 1, seed => 1, sampler => ''rectokens'')',
      'SELECT * FROM semtok.beam_search(%L, hi_query(), 5, 3)',
      'SELECT * FROM semtok.beam_search_batch(%L, array[hi_query(), NULL, hi_query(''none'')], 5)',
      'SELECT * FROM semtok.beam_search_batch(%L, array[hi_query(), hi_query(''masked'')], 5)',
      'SELECT * FROM semtok.beam_search_batch(%L, array[hi_query()], 5, top_k => 3)',
      'SELECT * FROM semtok.beam_search_batch(%L, ''{}'', 5, temperature => 2)',
      'SELECT s.* FROM (SELECT semset_agg(sid) AS seen FROM hi_items WHERE %L <> '''') x, semtok.beam_search_set(x.seen, hi_query(), 5, norm => ''masked'', temperature => 1, seed => 1) s',
      'SELECT s.* FROM (SELECT semset_agg(sid) AS seen FROM hi_items WHERE %L <> '''') x, semtok.beam_search_batch_set(x.seen, array[hi_query()], 5, norm => ''masked'', top_k => 2) s'
    ]) template, format(template, relation) call
$$;
SET ROLE regress_semtok_hidden;
SELECT hi_remember('before');
RESET ROLE;
INSERT INTO hi_items SELECT 5000, 'somebody else', sid FROM semtok.beam_search('hi_items', hi_query(), 1);
INSERT INTO hi_items SELECT 5001, 'somebody else', semid(array[(SELECT l FROM generate_series(0, 9) l ORDER BY (((l + 1) * 7) % 10) DESC LIMIT 1), 9, 3, 9]);
INSERT INTO hi_items VALUES (5002, 'somebody else', '[0]'), (5003, 'somebody else', '[1,2]@5'), (5004, 'somebody else', '[9,9,3]');
SET ROLE regress_semtok_hidden;
SELECT hi_remember('after');
RESET ROLE;
SELECT count(*) AS calls, count(*) FILTER (WHERE a.answer IS DISTINCT FROM b.answer) AS different
  FROM hi_state a JOIN hi_state b USING (n) WHERE a.state = 'before' AND b.state = 'after';
-- the answers themselves: those by the name of the table
SELECT call, split_part(answer, E'\n', 1) AS state, split_part(answer, E'\n', 2) AS message, split_part(answer, E'\n', 4) AS hint
  FROM hi_state WHERE state = 'after' AND n <= 22 AND answer NOT LIKE '(%' ORDER BY n;
SELECT call FROM hi_state WHERE state = 'after' AND n <= 22 AND answer LIKE '(%' ORDER BY n;
-- they are those of a table without the rows, exclusion and limits included
CREATE TABLE hi_own (sid semid);
INSERT INTO hi_own SELECT sid FROM hi_items WHERE owner = 'regress_semtok_hidden';
CREATE INDEX ON hi_own USING semtrie (sid);
SELECT count(*) AS calls, count(*) FILTER (WHERE x.answer IS DISTINCT FROM s.answer) AS different
  FROM hi_state s, hi_answer(replace(replace(s.call, 'hi_items_sid', 'hi_own_sid_idx'), 'hi_items', 'hi_own') || ' ') a, LATERAL (SELECT a AS answer) x
 WHERE s.state = 'after' AND s.call ~ 'beam_search(_batch)?\(''' AND s.answer LIKE '(%' AND s.call !~ ', 5\)';

-- Without the right to read, nothing but that is told.
TRUNCATE hi_state;
REVOKE SELECT ON hi_items FROM regress_semtok_hidden;
ALTER TABLE hi_items DISABLE ROW LEVEL SECURITY;
SET ROLE regress_semtok_hidden;
SELECT hi_remember('before');
RESET ROLE;
DELETE FROM hi_items WHERE id % 3 = 0;
SET ROLE regress_semtok_hidden;
SELECT hi_remember('after');
RESET ROLE;
SELECT count(*) AS calls, count(*) FILTER (WHERE a.answer IS DISTINCT FROM b.answer) AS different
  FROM hi_state a JOIN hi_state b USING (n) WHERE a.state = 'before' AND b.state = 'after';
SELECT DISTINCT split_part(answer, E'\n', 1), split_part(answer, E'\n', 2) FROM hi_state ORDER BY 1, 2;

-- Row security with a partial index and with partitions: exclusion and limits there too.
ALTER TABLE hi_items ENABLE ROW LEVEL SECURITY;
GRANT SELECT ON hi_items TO regress_semtok_hidden;
CREATE INDEX hi_partial ON hi_items USING semtrie (sid) WHERE id % 2 = 0;
SET ROLE regress_semtok_hidden;
SELECT count(*), bool_and(EXISTS (SELECT FROM hi_items i WHERE i.sid = b.sid AND i.id % 2 = 0)) AS of_the_index, bool_or(b.sid ^@ '[0,0]') AS excluded
  FROM semtok.beam_search('hi_partial', hi_query(), 40, exclude => (SELECT semset_agg(sid) FROM hi_items WHERE sid ^@ '[0,0]'), max_per_prefix => '{"1": 5}') b;
RESET ROLE;

DROP TABLE hi_items, hi_state, hi_own;
DROP FUNCTION hi_query, hi_expected, hi_rows, hi_answer, hi_remember;
DROP ROLE regress_semtok_hidden;
