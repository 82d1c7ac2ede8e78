-- Row security: no foreign row through any scan or verb, and all of the caller's own.
SELECT plan(64);

CREATE ROLE semtok_rls_a;
CREATE ROLE semtok_rls_b;
GRANT CREATE ON SCHEMA public TO semtok_rls_b;
CREATE TABLE items (id int, tenant text, sid semid);
INSERT INTO items
SELECT i, CASE WHEN i % 50 = 0 THEN 'semtok_rls_a' ELSE 'semtok_rls_b' END,
       semid(array[i % 7, (i / 7) % 6, (i * 31) % 11])
  FROM generate_series(1, 3000) i;
CREATE INDEX items_sid ON items USING semtrie (sid);
ANALYZE items;
ALTER TABLE items ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON items USING (tenant = current_user);
GRANT SELECT ON items TO semtok_rls_a, semtok_rls_b;

CREATE FUNCTION q(norm text DEFAULT 'full') RETURNS semquery LANGUAGE sql IMMUTABLE AS $$
  SELECT semtok.logits(array(SELECT (sin(x * 1.7) * 2)::real FROM generate_series(1, 24) x), '{7,6,11}', norm => norm)
$$;
CREATE TABLE expected AS
SELECT tenant, sid, (sid <~> q()) AS cost, count(*) AS items FROM items GROUP BY tenant, sid;
CREATE TABLE allowed AS SELECT tenant, semset_agg(sid) AS ids FROM items GROUP BY tenant;
GRANT SELECT ON expected, allowed TO semtok_rls_a, semtok_rls_b;

-- The planner's choice of the index for a statement, as the current user.
CREATE FUNCTION uses_index(statement text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE line text;
BEGIN
  FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || statement LOOP
    IF line ~ 'items_sid' THEN RETURN true; END IF;
  END LOOP;
  RETURN false;
END $$;

-- scans
CREATE FUNCTION check_scans() RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
  RETURN NEXT results_eq(
    'SELECT (sid <~> q()) FROM items ORDER BY sid <~> q() LIMIT 20',
    'SELECT cost FROM expected, generate_series(1, items) WHERE tenant = current_user ORDER BY cost LIMIT 20',
    'the promised number of rows, the best of one''s own: ' || current_user);
  RETURN NEXT is_empty(
    'SELECT * FROM (SELECT tenant FROM items ORDER BY sid <~> q()) x WHERE tenant <> current_user',
    'no foreign row in order: ' || current_user);
  RETURN NEXT results_eq(
    'SELECT count(*) FROM (SELECT id FROM items ORDER BY sid <~> q()) x',
    'SELECT sum(items)::bigint FROM expected WHERE tenant = current_user', 'every own row in order: ' || current_user);
  RETURN NEXT results_eq(
    $q$SELECT count(*) FROM items WHERE sid ^@ '[3]'$q$,
    $q$SELECT sum(items)::bigint FROM expected WHERE tenant = current_user AND semid_code(sid, 0) = 3$q$,
    'own rows by prefix: ' || current_user);
  RETURN NEXT results_eq(
    $q$SELECT count(*) FROM items WHERE sid = '[1,0,9]'$q$,
    $q$SELECT coalesce(sum(items), 0)::bigint FROM expected WHERE tenant = current_user AND sid = '[1,0,9]'$q$,
    'own rows by id: ' || current_user);
END $$;

-- verbs
CREATE FUNCTION check_verbs(relation text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
  RETURN NEXT results_eq(
    format('SELECT sid, logprob, items FROM semtok.beam_search(%L, q(), 15, 1000)', relation),
    'SELECT sid, 0 - cost, items FROM expected WHERE tenant = current_user ORDER BY cost, sid LIMIT 15',
    format('beam search by %s finds own ids, counts own rows: %s', relation, current_user));
  RETURN NEXT throws_ok(
    format('SELECT * FROM semtok.beam_search(%L, q(''masked''), 5)', relation), '0A000', NULL,
    format('masked by %s would show nodes: %s', relation, current_user));
  RETURN NEXT throws_ok(
    format('SELECT * FROM semtok.beam_search(%L, q(), 5, norm => ''masked'')', relation), '0A000', NULL,
    format('masked as an argument likewise, by %s: %s', relation, current_user));
  RETURN NEXT throws_ok(
    format('SELECT * FROM semtok.next_codes(%L, NULL)', relation), '0A000', NULL,
    format('next_codes by %s would show nodes: %s', relation, current_user));
  RETURN QUERY SELECT throws_ok(format('SELECT * FROM semtok.%s', format(call, quote_literal(relation))), '0A000',
      format('%s is not available on table "items", which has row-level security', split_part(call, '(', 1)),
      format('%s by %s would too: %s', split_part(call, '(', 1), relation, current_user))
    FROM (VALUES ('next_codes_batch(%s, ''{NULL}'')'), ('mask(%s, ''{NULL}'', 20)'), ('mask_packed(%s, ''{NULL}'', 20)'), ('sample(%s, 3)')) c(call);
  RETURN NEXT throws_ok(format('SELECT semtok.catalog_version(%L)', relation), '0A000', NULL,
    format('catalog_version by %s would tell of others'' rows: %s', relation, current_user));
  RETURN NEXT throws_ok(format('SELECT semtok.changes(%L, 1)', relation), '0A000', NULL,
    format('changes by %s likewise: %s', relation, current_user));
END $$;

SET enable_seqscan = off;
SET ROLE semtok_rls_a;
SELECT check_scans();
SELECT check_verbs('items');
SELECT check_verbs('items_sid');
SELECT ok(uses_index('SELECT id FROM items ORDER BY sid <~> q() LIMIT 5'), 'an ordered scan under row security uses the index');
SELECT ok(uses_index($$SELECT id FROM items WHERE sid ^@ '[3]'$$), '^@ is leakproof, so it uses the index');
SELECT ok(uses_index($$SELECT id FROM items WHERE sid = '[3,1,2]'$$), '= is leakproof, so it uses the index');
SELECT results_eq('SELECT sid FROM semtok.collisions(''items'', ''sid'') ORDER BY sid',
  'SELECT sid FROM expected WHERE tenant = current_user AND items > 1 ORDER BY sid', 'collisions are among own rows');
SELECT results_eq('SELECT b.sid, b.items FROM allowed a, semtok.beam_search_set(a.ids, q(), 15, 1000) b WHERE a.tenant = current_user',
  'SELECT sid, 1::bigint FROM expected WHERE tenant = current_user ORDER BY cost, sid LIMIT 15',
  'what the hint says works: a semset of own rows');
SELECT results_eq('SELECT count(*) FROM semtok.beam_search(''items'', q(), 1, 1)', 'VALUES (1::bigint)',
  'one beam still finds one own row');
RESET ROLE;
CREATE INDEX items_partial ON items USING semtrie (sid) WHERE id <= 1000 AND tenant <> 'nobody';
SET ROLE semtok_rls_a;
SELECT results_eq('SELECT sum(items)::bigint FROM semtok.beam_search(''items_partial'', q(), 1000, 1000)', 'VALUES (20::bigint)',
  'a partial index stays one');
SET row_security = off;
SELECT throws_ok('SELECT * FROM semtok.beam_search(''items'', q())', '42501', NULL, 'row_security = off is an error, not a bypass');
RESET row_security;
SET ROLE semtok_rls_b;
SELECT check_scans();
SELECT check_verbs('items');
RESET ROLE;
RESET enable_seqscan;

-- the owner sees all, until row security is forced
ALTER TABLE items OWNER TO semtok_rls_b;
SET ROLE semtok_rls_b;
SELECT results_eq('SELECT sum(items)::bigint FROM semtok.beam_search(''items'', q(), 1000, 1000)', 'VALUES (3000::bigint)',
  'the owner''s search is not restricted');
SELECT isnt_empty('SELECT * FROM semtok.next_codes(''items'', NULL)', 'and may see nodes');
SELECT isnt_empty('SELECT * FROM semtok.sample(''items'', 3)', 'and samples');
ALTER TABLE items FORCE ROW LEVEL SECURITY;
SELECT results_eq('SELECT sum(items)::bigint FROM semtok.beam_search(''items'', q(), 1000, 1000)',
  'SELECT sum(items)::bigint FROM expected WHERE tenant = current_user', 'forced row security holds for the owner');
RESET ROLE;

-- Two states: what a verb says is the same before and after a row comes that the caller may not see.
CREATE FUNCTION said(call text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  answer text;
  detail text;
BEGIN
  EXECUTE format('SELECT string_agg(x::text, E''\n'') FROM semtok.%s x', call) INTO answer;
  RETURN answer;
EXCEPTION WHEN OTHERS THEN
  GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
  RETURN concat_ws('|', SQLSTATE, SQLERRM, detail);
END $$;
CREATE TABLE calls AS SELECT unnest(array['next_codes(''items'', NULL)', 'next_codes_batch(''items'', ''{"[6]"}'')', 'mask(''items'', ''{NULL}'', 5)',
  'mask_packed(''items_sid'', ''{"[99]"}'', 70000, end_token => 1)', 'mask(''items'', ''{NULL}'', 1, within => ''{[99,1]}'')', 'sample(''items'', 5, 1)', 'sample(''items'', 5000, 1, ''ids'')']) AS call;
GRANT SELECT ON calls TO semtok_rls_a;
SET ROLE semtok_rls_a;
CREATE TEMP TABLE before AS SELECT call, said(call) FROM calls;
RESET ROLE;
INSERT INTO items VALUES (9999, 'semtok_rls_b', '[99,1]'), (9999, 'semtok_rls_b', '[60000]@7');
SET ROLE semtok_rls_a;
SELECT is(said(call), before.said, call || ' says the same with a foreign row more') FROM before;
DROP TABLE before;
RESET ROLE;
DELETE FROM items WHERE id = 9999;
DROP TABLE calls;
DROP FUNCTION said;

-- a partitioned table's policy is the one of the table named
CREATE TABLE parts (id int, tenant text, sid semid) PARTITION BY LIST (tenant);
CREATE TABLE part_a PARTITION OF parts FOR VALUES IN ('semtok_rls_a');
CREATE TABLE part_b PARTITION OF parts DEFAULT;
CREATE INDEX ON parts USING semtrie (sid);
INSERT INTO parts SELECT * FROM items;
ALTER TABLE parts ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON parts USING (tenant = current_user);
GRANT SELECT ON parts TO semtok_rls_a;
SET ROLE semtok_rls_a;
SELECT results_eq('SELECT sid, items FROM semtok.beam_search(''parts'', q(), 15, 1000)',
  'SELECT sid, items FROM expected WHERE tenant = current_user ORDER BY cost, sid LIMIT 15', 'own rows of a partitioned table');
SELECT throws_ok('SELECT * FROM semtok.beam_search(''part_b'', q())', '42501', NULL, 'rights on the partitioned table are none on a partition');
RESET ROLE;

-- a function in a policy's way does not get to see foreign rows
CREATE FUNCTION spy(sid semid, cost float8) RETURNS boolean LANGUAGE plpgsql COST 0.0001 AS $$
BEGIN
  IF NOT sid <@ (SELECT ids FROM allowed WHERE tenant = current_user) THEN
    RAISE EXCEPTION 'saw %', sid;
  END IF;
  RETURN true;
END $$;
SET ROLE semtok_rls_a;
SELECT lives_ok('SELECT * FROM items WHERE spy(sid, sid <~> q()) ORDER BY sid <~> q()', 'a spying predicate sees own rows only');
SELECT throws_ok($$SELECT * FROM semtok.index_info('items_sid')$$, '42501', NULL, 'counts of the index are not shown');
SELECT throws_ok($$SELECT * FROM semtok.index_check('items_sid', true)$$, '42501', NULL, 'nor is the index checked');
RESET ROLE;

DROP TABLE items, parts, expected, allowed;
REVOKE CREATE ON SCHEMA public FROM semtok_rls_b;
DROP ROLE semtok_rls_a, semtok_rls_b;
SELECT * FROM finish();
