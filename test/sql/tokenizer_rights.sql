-- Who may do what with tokenizers.

SET client_min_messages = error;
CREATE ROLE regress_semtok_owner;
CREATE ROLE regress_semtok_member IN ROLE regress_semtok_owner;
CREATE ROLE regress_semtok_other;
CREATE TABLE wares (id int, x real[], sid semid);
INSERT INTO wares (id, x) SELECT i, array[i % 7, i % 5, i % 3]::real[] FROM generate_series(1, 100) AS i;
GRANT SELECT ON wares TO regress_semtok_owner;

CREATE FUNCTION refusal(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	EXECUTE statement;
	RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
	RETURN sqlstate || ' ' || sqlerrm;
END
$$;

SET ROLE regress_semtok_owner;
SELECT semtok.train('wares', 'SELECT x FROM wares', levels => 1, codes => 8) IS NOT NULL AS ok;
SELECT owner FROM semtok.tokenizers WHERE name = 'wares';

-- The role and its members may go on, others may use it and no more.
SET ROLE regress_semtok_member;
SELECT semtok.train('wares', 'SELECT x FROM wares', levels => 1, codes => 4) IS NOT NULL AS ok;
SELECT semtok.activate('wares', 2);
SELECT semtok.partial_fit('wares', 'SELECT x FROM wares') IS NOT NULL AS ok;
SELECT version, active, owner FROM semtok.tokenizers WHERE name = 'wares' ORDER BY version;
SET ROLE regress_semtok_other;
SELECT semtok.encode('wares', '{1,2,3}') IS NOT NULL AS encode, semtok.decode('wares', '[0]') IS NOT NULL AS decode;
SELECT count(*) FROM semtok.tokenizer WHERE name = 'wares' AND codebook IS NOT NULL;
SELECT statement, refusal(statement) FROM unnest(array[
	$$SELECT semtok.train('wares', 'SELECT array[1, 2]')$$,
	$$SELECT semtok.partial_fit('wares', 'SELECT array[1, 2, 3]')$$,
	$$SELECT semtok.activate('wares', 1)$$,
	$$SELECT semtok.drop_tokenizer('wares')$$,
	$$SELECT semtok.drop_tokenizer('wares', 1)$$,
	$$SELECT semtok.train('mine', 'SELECT x FROM wares')$$,
	$$SELECT semtok.partial_fit('mine', 'SELECT x FROM wares')$$,
	$$SELECT * FROM semtok.evaluate('wares', 'SELECT x FROM wares')$$,
	$$SELECT * FROM semtok.collisions('wares', 'sid')$$,
	$$UPDATE semtok.tokenizer SET active = true$$,
	$$DELETE FROM semtok.tokenizer$$,
	$$INSERT INTO semtok.training_log VALUES (1, 1, 1, 1, 'x', 1, now())$$,
	$$SELECT nextval('semtok.tokenizer_id_seq')$$,
	$$CREATE TABLE semtok.mine ()$$
]) AS statement;
-- Rights come before the source is run.
SELECT refusal($$SELECT semtok.train('wares', 'SELECT 1 / 0')$$);
SELECT refusal($$SELECT semtok.partial_fit('wares', 'SELECT 1 / 0')$$);

-- The source runs as the caller, who is the caller again afterwards, also after an error.
SELECT semtok.train('mine', 'SELECT array[1, 2] WHERE current_user = ''regress_semtok_other''', levels => 1, codes => 1) IS NOT NULL AS ok;
SELECT refusal($$SELECT semtok.drop_tokenizer('mine', 9)$$), current_user;
SELECT semtok.drop_tokenizer('mine'), current_user;

-- tokenize needs SELECT on both columns and UPDATE on one, and asks before it begins.
CALL semtok.tokenize('wares', 'x', 'sid', 'wares');
SET ROLE regress_semtok_owner;
CALL semtok.tokenize('wares', 'x', 'sid', 'wares');
RESET ROLE;
GRANT UPDATE (sid) ON wares TO regress_semtok_other;
SET ROLE regress_semtok_other;
CALL semtok.tokenize('wares', 'sid', 'sid', 'wares');
RESET ROLE;
REVOKE UPDATE (sid) ON wares FROM regress_semtok_other;
GRANT SELECT (id, x, sid), UPDATE (sid) ON wares TO regress_semtok_owner;
SET ROLE regress_semtok_owner;
CALL semtok.tokenize('wares', 'x', 'sid', 'wares', where_clause => 'id <= 50');
CALL semtok.tokenize('wares', 'x', 'sid', 'wares', collisions => 'append');
SELECT count(DISTINCT sid) FROM wares;
CALL semtok.tokenize('wares', 'sid', 'x', 'wares');

-- Under row-level security a row is only what the caller sees, so nothing can be told apart.
RESET ROLE;
UPDATE wares SET sid = null;
ALTER TABLE wares ENABLE ROW LEVEL SECURITY;
CREATE POLICY few ON wares USING (id <= 10);
SET ROLE regress_semtok_owner;
CALL semtok.tokenize('wares', 'x', 'sid', 'wares', collisions => 'append');
CALL semtok.tokenize('wares', 'x', 'sid', 'wares');
RESET ROLE;
SELECT count(sid), max(id) FILTER (WHERE sid IS NOT NULL) FROM wares;
-- Ids that their reader cannot see are in use all the same.
SET ROLE regress_semtok_owner;
SELECT refusal($$SELECT semtok.drop_tokenizer('wares')$$);
RESET ROLE;
DROP POLICY few ON wares;
ALTER TABLE wares DISABLE ROW LEVEL SECURITY;
UPDATE wares SET sid = null;

-- Looking for ids runs nobody's functions with greater rights than the table's owner has.
SET ROLE regress_semtok_other;
CREATE TEMP TABLE trap (x real[], sid semid);
INSERT INTO trap VALUES (null, '[1]');
CREATE FUNCTION pg_temp.spring() RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	RAISE WARNING 'planned as %', current_user;
	RETURN true;
END
$$;
SET client_min_messages = warning;
CREATE INDEX ON trap (sid) WHERE pg_temp.spring();
RESET ROLE;
SELECT semtok.drop_tokenizer('wares', 1);
SET client_min_messages = error;
DROP TABLE trap;
DROP FUNCTION pg_temp.spring();

-- Training can be taken away.
REVOKE EXECUTE ON FUNCTION semtok.train(text, text, text, int, int, text, int, int, text, bigint, bigint, text, jsonb) FROM PUBLIC;
SET ROLE regress_semtok_other;
SELECT refusal($$SELECT semtok.train('mine', 'SELECT array[1]')$$);
RESET ROLE;
GRANT EXECUTE ON FUNCTION semtok.train(text, text, text, int, int, text, int, int, text, bigint, bigint, text, jsonb) TO PUBLIC;

-- Read-only transactions: refused before the source is run.
BEGIN READ ONLY;
SELECT statement, refusal(statement) FROM unnest(array[
	$$SELECT semtok.train('wares', 'SELECT 1 / 0')$$,
	$$SELECT semtok.partial_fit('wares', 'SELECT 1 / 0')$$,
	$$SELECT semtok.activate('wares', 1)$$,
	$$SELECT semtok.drop_tokenizer('wares')$$
]) AS statement;
SELECT semtok.encode('wares', '{1,2,3}') IS NOT NULL AS encode;
COMMIT;

-- A training that takes too long ends, and leaves nothing.
\set VERBOSITY sqlstate
SET statement_timeout = 100;
SELECT semtok.train('late', 'SELECT array(SELECT (i * j) % 1009 FROM generate_series(1, 64) AS j)::real[] FROM generate_series(1, 20000) AS i', epochs => 100000);
SELECT semtok.train('late', 'SELECT array[i, i * i] FROM generate_series(1, 1000) AS i', codes => 1000, epochs => 100000, batch_size => 1);
RESET statement_timeout;
\set VERBOSITY default
SELECT count(*) FROM semtok.tokenizers WHERE name = 'late';
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND relation = 'semtok.tokenizer'::regclass;

-- A role that is renamed keeps its tokenizers; whoever is given its old name does not get them.
CREATE FUNCTION owned_by(role name) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM set_config('role', role, true);
	RETURN refusal($q$SELECT semtok.activate('wares', 2)$q$);
END
$$;
ALTER ROLE regress_semtok_owner RENAME TO regress_semtok_renamed;
CREATE ROLE regress_semtok_owner;
SELECT DISTINCT owner FROM semtok.tokenizers WHERE name = 'wares';
SELECT owned_by('regress_semtok_renamed') AS renamed, owned_by('regress_semtok_member') AS member;
RESET ROLE;
SELECT owned_by('regress_semtok_owner') AS old_name;
RESET ROLE;
-- the next version has the new name in the table, too
SELECT DISTINCT owner FROM semtok.tokenizer WHERE name = 'wares';
SELECT semtok.register_tokenizer('wares', '{4}') > 0 AS ok;
SELECT version, owner FROM semtok.tokenizer WHERE name = 'wares' ORDER BY version DESC LIMIT 1;
SELECT semtok.drop_tokenizer('wares', max(version)) FROM semtok.tokenizers WHERE name = 'wares';

-- Given away by the owner, to a role that he may become, and by superusers.
SET ROLE regress_semtok_other;
SELECT refusal($$SELECT semtok.set_owner('wares', 'regress_semtok_other')$$);
SET ROLE regress_semtok_renamed;
SELECT refusal($$SELECT semtok.set_owner('wares', 'regress_semtok_other')$$);
SELECT refusal($$SELECT semtok.set_owner('wares', 'regress_semtok_nobody')$$);
RESET ROLE;
SELECT refusal($$SELECT semtok.set_owner('wurst', 'regress_semtok_other')$$);
SELECT semtok.set_owner('wares', 'regress_semtok_other');
SELECT DISTINCT owner, (SELECT rolname FROM pg_roles WHERE oid = owner_id) AS role FROM semtok.tokenizer WHERE name = 'wares';
SELECT owned_by('regress_semtok_renamed') AS before;
RESET ROLE;
SELECT owned_by('regress_semtok_other') AS after;
RESET ROLE;
GRANT regress_semtok_renamed TO regress_semtok_other;
SET ROLE regress_semtok_other;
SELECT semtok.set_owner('wares', 'regress_semtok_renamed');
SELECT DISTINCT owner FROM semtok.tokenizers WHERE name = 'wares';
RESET ROLE;
REVOKE regress_semtok_renamed FROM regress_semtok_other;

-- In another cluster, as after a restore, and where it is not known, the name counts.
UPDATE semtok.tokenizer SET owner_cluster = 1 WHERE name = 'wares';
SELECT DISTINCT owner FROM semtok.tokenizers WHERE name = 'wares';
SELECT owned_by('regress_semtok_renamed') AS of_that_name;
RESET ROLE;
ALTER ROLE regress_semtok_renamed RENAME TO regress_semtok_again;
SELECT owned_by('regress_semtok_again') AS of_another_name;
RESET ROLE;
UPDATE semtok.tokenizer SET owner_cluster = NULL, owner_id = NULL, owner = 'regress_semtok_again' WHERE name = 'wares';
SELECT owned_by('regress_semtok_again') AS of_that_name;
RESET ROLE;
-- whatever a superuser takes to be the owner, who is changed by him is of this cluster again
SELECT semtok.set_owner('wares', 'regress_semtok_again');
DROP ROLE regress_semtok_owner;
ALTER ROLE regress_semtok_again RENAME TO regress_semtok_owner;
DROP FUNCTION owned_by;

-- What is a role's by name alone PostgreSQL does not know: neither REASSIGN nor DROP OWNED sees it.
REASSIGN OWNED BY regress_semtok_owner TO regress_semtok_other;
SELECT DISTINCT owner FROM semtok.tokenizers WHERE name = 'wares';

-- The tokenizers of a role that is gone are the superusers', also when a new one has its name.
REVOKE ALL ON wares FROM regress_semtok_owner;
REVOKE SELECT (id, x, sid), UPDATE (sid) ON wares FROM regress_semtok_owner;
DROP ROLE regress_semtok_owner;
SET ROLE regress_semtok_member;
SELECT refusal($$SELECT semtok.activate('wares', 1)$$);
RESET ROLE;
CREATE ROLE regress_semtok_owner;
SET ROLE regress_semtok_owner;
SELECT refusal($$SELECT semtok.activate('wares', 2)$$);
RESET ROLE;
DROP ROLE regress_semtok_owner;
SELECT semtok.activate('wares', 2);
DROP TABLE wares;
SELECT semtok.drop_tokenizer('wares');
DROP FUNCTION refusal;
DROP ROLE regress_semtok_member, regress_semtok_other;
