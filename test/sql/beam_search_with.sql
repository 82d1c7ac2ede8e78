-- A model of the caller's: what the search asks of it, what it makes of the answers, what it refuses.
\getenv test PG_ABS_SRCDIR
\set refusal :test '/lib/refusal.sql'
\i :refusal
CREATE TABLE w_items (id int, sid semid);
INSERT INTO w_items
SELECT i, semid(array[(i * 7) % 5, (i * 11) % 6, (i * 13) % 4], 1) FROM generate_series(1, 60) i;
CREATE INDEX w_sid ON w_items USING semtrie (sid);
SELECT semset_agg(sid) AS items FROM w_items \gset

-- A model that looks at the whole prefix: a logit is a hash of the path, 6 codes a level.
CREATE FUNCTION w_logit(prefix semid, code int) RETURNS real LANGUAGE sql IMMUTABLE AS
$$ SELECT (hashtext(coalesce(semid_codes(prefix)::text, '') || '/' || code) % 1000 / 250.0)::real $$;
CREATE FUNCTION w_model(context jsonb, prefixes semid[], level int) RETURNS real[] LANGUAGE sql IMMUTABLE AS $$
  SELECT array_agg(w_logit(p.prefix, code) ORDER BY p.n, code)
  FROM unnest(prefixes) WITH ORDINALITY AS p(prefix, n), generate_series(0, 5) AS code
$$;
-- What each id costs: the softmax over the codes that exist below each prefix, or over all, or none.
CREATE FUNCTION w_costs(items semset, norm text) RETURNS TABLE (sid semid, logprob float8) LANGUAGE sql AS $$
  SELECT i, (SELECT sum(w_logit(p.prefix, semid_code(i, l))::float8 - CASE norm WHEN 'none' THEN 0 ELSE
                        (SELECT ln(sum(exp(w_logit(p.prefix, g.code)::float8))) FROM generate_series(0, 5) g(code)
                          WHERE norm = 'full' OR EXISTS (SELECT FROM semtok.next_codes_set(items, p.prefix) c WHERE c.code = g.code)) END)
               FROM generate_series(0, 2) l, LATERAL (SELECT CASE WHEN l > 0 THEN semid_prefix(i, l) END) p(prefix))
  FROM semset_members(items) i
$$;
CREATE TABLE w_truth AS SELECT norm, c.sid, c.logprob FROM unnest('{masked,full,none}'::text[]) norm, w_costs(:'items', norm) c;
SELECT norm, count(*), round(sum(exp(logprob))::numeric, 9) AS total FROM w_truth WHERE norm <> 'none' GROUP BY norm ORDER BY norm;

-- wide enough it finds the best of all; exact does so with any beam
SELECT rank, sid, round(logprob::numeric, 6) AS logprob, items FROM semtok.beam_search_with('w_items', 'w_model(jsonb, semid[], int)', k => 4);
CREATE FUNCTION w_differ(norm text, width int, exact boolean) RETURNS bigint LANGUAGE sql AS $$
  SELECT count(*) FROM (SELECT sid, row_number() OVER (ORDER BY t.logprob DESC, sid) AS rank, t.logprob FROM w_truth t WHERE t.norm = w_differ.norm) t
    FULL JOIN semtok.beam_search_with('w_items', 'w_model(jsonb, semid[], int)', k => least(width, 100), beam_size => width, norm => norm, exact => exact) f USING (rank)
   WHERE t.sid IS DISTINCT FROM f.sid AND rank <= width OR abs(t.logprob - f.logprob) > 1e-9
$$;
SELECT norm, w_differ(norm, 100, false) AS wide FROM unnest('{masked,full,none}'::text[]) norm;
SELECT norm, width, w_differ(norm, width, true) AS exact FROM unnest('{masked,full}'::text[]) norm, unnest('{1,3,100}'::int[]) width;
-- a set and the table with the same ids: the same bits
SELECT norm, width, count(*) AS differ FROM unnest('{masked,full,none}'::text[]) norm, unnest('{1,5}'::int[]) width, LATERAL
  (SELECT rank, sid, logprob FROM semtok.beam_search_with('w_items', 'w_model(jsonb, semid[], int)', k => width, beam_size => width, norm => norm)
   EXCEPT SELECT rank, sid, logprob FROM semtok.beam_search_set_with(:'items', 'w_model(jsonb, semid[], int)', k => width, beam_size => width, norm => norm)) x
 GROUP BY 1, 2;
-- a model that does not look at the prefix: beam_search with its logits, bit for bit
CREATE FUNCTION w_flat(context jsonb, prefixes semid[], level int) RETURNS real[] LANGUAGE sql AS
$$ SELECT array_agg((context -> level ->> code)::real ORDER BY n, code) FROM generate_subscripts(prefixes, 1) n, generate_series(0, jsonb_array_length(context -> level) - 1) code $$;
SELECT count(*) AS differ FROM
  (SELECT rank, sid, logprob FROM semtok.beam_search_with('w_items', 'w_flat(jsonb, semid[], int)', '[[0.1,1.5,-0.3,0.8,0.05],[1,-1,0.5,0.3,2,-2],[0,0.7,-0.7,0.2]]', 20, 20)
   EXCEPT SELECT rank, sid, logprob FROM semtok.beam_search('w_items', semtok.logits('{0.1,1.5,-0.3,0.8,0.05,1,-1,0.5,0.3,2,-2,0,0.7,-0.7,0.2}', '{5,6,4}', 1), 20, 20, norm => 'masked')) x;

-- it is asked once a level, of all prefixes in the search and of no others; exact asks in batches
CREATE TABLE w_asked (n int GENERATED ALWAYS AS IDENTITY, level int, prefixes semid[], context jsonb);
CREATE FUNCTION w_noting(context jsonb, prefixes semid[], level int) RETURNS real[] LANGUAGE sql AS $$
  INSERT INTO w_asked (level, prefixes, context) VALUES (level, prefixes, context);
  SELECT w_model(context, prefixes, level)
$$;
SELECT count(*) FROM semtok.beam_search_with('w_items', 'w_noting(jsonb, semid[], int)', '{"who": 7}', 3, 4);
SELECT level, prefixes, context FROM w_asked ORDER BY n;
TRUNCATE w_asked;
SELECT count(*) FROM semtok.beam_search_with('w_items', 'w_noting(jsonb, semid[], int)', k => 3, beam_size => 4, exact => true);
SELECT count(*) >= 3 AS calls, max(cardinality(prefixes)) <= 4 AS no_larger FROM w_asked;
SELECT count(*) AS asked_twice FROM (SELECT p FROM w_asked, unnest(prefixes) p GROUP BY p HAVING count(*) > 1) x;
SELECT bool_and(semid_levels(p) = level OR p IS NULL AND level = 0) AS of_one_length FROM w_asked, unnest(prefixes) p;
-- levels: below the survivors all ids share their score
TRUNCATE w_asked;
SELECT count(DISTINCT semid_prefix(sid, 2)) = count(DISTINCT logprob) AS shared, count(*) FROM semtok.beam_search_with('w_items', 'w_noting(jsonb, semid[], int)', k => 20, beam_size => 20, levels => 2);
SELECT array_agg(level ORDER BY n) AS levels FROM w_asked;
-- not where there is nothing to ask for
TRUNCATE w_asked;
SELECT count(*) FROM semtok.beam_search_set_with('{}', 'w_noting(jsonb, semid[], int)');
SELECT count(*) FROM semtok.beam_search_with(NULL, 'w_noting(jsonb, semid[], int)');
SELECT count(*) FROM semtok.beam_search_with('w_items', NULL);
SELECT count(*) FROM w_asked;

-- rows: only those that are visible; where dead ones have filled the beam, a wider one, and what was
-- answered is not asked again
BEGIN;
DELETE FROM w_items WHERE sid IN (SELECT sid FROM semtok.beam_search_with('w_items', 'w_model(jsonb, semid[], int)', k => 50));
SELECT count(DISTINCT sid) AS left FROM w_items;
SELECT count(*), sum(f.items) = (SELECT count(*) FROM w_items) AS all_rows FROM semtok.beam_search_with('w_items', 'w_noting(jsonb, semid[], int)', k => 10, beam_size => 10) f;
SELECT count(*) AS asked_twice FROM (SELECT p FROM w_asked, unnest(prefixes) p GROUP BY p HAVING count(*) > 1) x;
ROLLBACK;
-- rows that the scorer itself writes are not seen by the search that calls it
CREATE FUNCTION w_inserting(context jsonb, prefixes semid[], level int) RETURNS real[] LANGUAGE sql AS $$
  INSERT INTO w_items VALUES (5000 + level, '[4,5,3]@1'), (5000 + level, semid(array[level, level, level], 1));
  SELECT w_model(context, prefixes, level)
$$;
BEGIN;
SELECT sum(items) = (SELECT count(*) FROM w_items) AS before FROM semtok.beam_search_with('w_items', 'w_inserting(jsonb, semid[], int)', k => 100, beam_size => 100);
SELECT sum(items) = (SELECT count(*) FROM w_items) AS after FROM semtok.beam_search_with('w_items', 'w_model(jsonb, semid[], int)', k => 100, beam_size => 100);
ROLLBACK;

-- constraints
SELECT f.sid FROM semtok.beam_search_with('w_items', 'w_model(jsonb, semid[], int)', within => '{[0,0,0]@1,[1,5,3]@1,[4,4,0]@1}') f
EXCEPT SELECT sid FROM w_items;
SELECT count(*), count(*) FILTER (WHERE f.sid <@ h.ids) AS excluded FROM (SELECT semset_agg(sid) AS ids FROM (SELECT sid FROM semtok.beam_search_with('w_items', 'w_model(jsonb, semid[], int)', k => 20)) b) h,
       semtok.beam_search_with('w_items', 'w_model(jsonb, semid[], int)', k => 10, beam_size => 10, exclude => h.ids) f;
SELECT max(n) FROM (SELECT count(*) AS n FROM semtok.beam_search_with('w_items', 'w_model(jsonb, semid[], int)', k => 10, max_per_prefix => '{"1": 2}') GROUP BY semid_prefix(sid, 1)) x;
-- ids of unlike length: those that end on the way have their prefix's score
SELECT sid, round(logprob::numeric, 6) AS logprob FROM semtok.beam_search_set_with('{[0],[0,1],[0,1,2],[1,1]}', 'w_model(jsonb, semid[], int)');
SELECT rank, sid FROM semtok.beam_search_set_with('{[0],[0,1],[0,1,2],[1,1]}', 'w_model(jsonb, semid[], int)', length_penalty => 2);

-- sampling: repeated by its seed, without replacement, and as often as the model says
SELECT count(*), count(DISTINCT sid) AS distinct, bool_and(same) AS repeated FROM
  (SELECT a.sid, a = b AS same FROM semtok.beam_search_with('w_items', 'w_model(jsonb, semid[], int)', k => 10, temperature => 1, seed => 3) a
     JOIN semtok.beam_search_with('w_items', 'w_model(jsonb, semid[], int)', k => 10, temperature => 1, seed => 3) b USING (rank)) x;
CREATE FUNCTION w_draw(k int, temperature float8, seed int) RETURNS TABLE (rank int, sid semid, logprob float8, items bigint) LANGUAGE sql AS $$
  SELECT * FROM semtok.beam_search_set_with('{[0,1,1],[0,1,2],[1,4,4],[2,2,2],[2,2,5],[3,0,0]}', 'w_flat(jsonb, semid[], int)',
    '[[0,0.3,0.6,-0.2],[0,0.5,0.2,0,0.1],[0.4,0,0.1,0.2,0,0.3]]', k, temperature => temperature, seed => seed)
$$;
SELECT sum((n - expected) ^ 2 / expected) < 20.52 AS as_often -- chi-square, 5 degrees of freedom, 0.001
  FROM (SELECT count(f.seed) AS n, 3000 * exp(c.logprob) AS expected FROM w_draw(6, 0, 0) c
          LEFT JOIN (SELECT seed, d.sid FROM generate_series(1, 3000) seed, LATERAL w_draw(1, 1, seed) d) f USING (sid)
         GROUP BY c.sid, c.logprob) x;
-- steps that hand their keys on draw what the search draws
CREATE FUNCTION w_steps(items semset, width int, temperature float8, seed bigint) RETURNS TABLE (rank bigint, sid semid, logprob float8) LANGUAGE plpgsql AS $$
DECLARE
	beams semid[] := '{NULL}';
	scores float8[] := '{0}';
	drawn float8[];
BEGIN
	FOR l IN 0 .. 2 LOOP
		SELECT array_agg(s.sid ORDER BY s.n), array_agg(s.logprob ORDER BY s.n), array_agg(s.key ORDER BY s.n) INTO beams, scores, drawn
		  FROM semtok.beam_step_set(items, beams, scores, w_model(NULL, beams, l), width, temperature, seed, keys => drawn) WITH ORDINALITY s(parent, sid, logprob, key, complete, n);
	END LOOP;
	RETURN QUERY SELECT u.n, u.sid, u.logprob FROM unnest(beams, scores) WITH ORDINALITY u(sid, logprob, n);
END $$;
SELECT temperature, count(*) AS differ FROM unnest('{0,0.7,2}'::float8[]) temperature, generate_series(1, 20) seed, LATERAL
  (SELECT rank, sid, logprob FROM semtok.beam_search_set_with(:'items', 'w_model(jsonb, semid[], int)', k => 8, beam_size => 8, temperature => temperature, seed => seed)
   EXCEPT SELECT * FROM w_steps(:'items', 8, temperature, seed)) x
 GROUP BY 1;

-- logits: what cannot be is refused, by name; -infinity is never
CREATE FUNCTION w_says(context jsonb, prefixes semid[], level int) RETURNS real[] LANGUAGE sql AS
$$ SELECT (context ->> level)::real[] $$;
SELECT f.sid, f.logprob FROM semtok.beam_search_set_with('{[0,1],[1,1],[2,1]}', 'w_says(jsonb, semid[], int)', '["{1,-Infinity,1}", "{{0,0},{0,-Infinity}}"]') f;
SELECT count(*) FROM semtok.beam_search_set_with('{[0,1],[1,1],[2,1]}', 'w_says(jsonb, semid[], int)', '["{-Infinity,-Infinity,-Infinity}"]');
SELECT says, pg_temp.refusal(format('SELECT semtok.beam_search_set_with(''{[0,1],[1,1],[2,1]}'', ''w_says(jsonb, semid[], int)'', %L)', says)) FROM unnest(array[
  '[null]', '["{}"]', '["{1,NULL,1}"]', '["{1,NaN,1}"]', '["{1,2,Infinity}"]', '["{{1,2,3},{1,2,3}}"]', '["{{{1,2,3}}}"]',
  '["{1,2,3}", "{1,2,3,4}"]', '["{1,2,3}", "{{1,2},{3,4}}"]', '["{1,2,3}", null]', '["{1,2,3}", "{1,2,3,4,5,NaN}"]', '["{1,2,3}", "x"]', 'null']::jsonb[]) says;
-- an error of its own passes through, and leaves nothing behind
CREATE FUNCTION w_raises(context jsonb, prefixes semid[], level int) RETURNS real[] LANGUAGE plpgsql AS
$$ BEGIN IF level = 1 THEN RAISE EXCEPTION 'the model is out' USING ERRCODE = '58030'; END IF; RETURN array_fill(0::real, array[6]); END $$;
SELECT pg_temp.refusal($$SELECT semtok.beam_search_with('w_items', 'w_raises(jsonb, semid[], int)')$$);
SELECT count(*) FROM semtok.beam_search_with('w_items', 'w_model(jsonb, semid[], int)');
-- one that calls itself
CREATE FUNCTION w_itself(context jsonb, prefixes semid[], level int) RETURNS real[] LANGUAGE plpgsql AS
$$ BEGIN RETURN (SELECT array_agg(logprob) FROM semtok.beam_search_with('w_items', 'w_itself(jsonb, semid[], int)')); END $$;
SELECT split_part(pg_temp.refusal($$SELECT semtok.beam_search_with('w_items', 'w_itself(jsonb, semid[], int)')$$), ' |', 1);
-- one that would take the items away, or empty them
CREATE FUNCTION w_dropping(context jsonb, prefixes semid[], level int) RETURNS real[] LANGUAGE plpgsql AS
$$ BEGIN EXECUTE context ->> 0; RETURN w_model(context, prefixes, level); END $$;
SELECT statement, pg_temp.refusal(format('SELECT semtok.beam_search_with(''w_items'', ''w_dropping(jsonb, semid[], int)'', %L)', jsonb_build_array(statement)))
  FROM unnest('{DROP TABLE w_items,DROP INDEX w_sid,TRUNCATE w_items,REINDEX INDEX w_sid,DROP FUNCTION w_model,VACUUM w_items,DISCARD ALL}'::text[]) statement;
SELECT count(*) FROM semtok.beam_search_with('w_items', 'w_model(jsonb, semid[], int)');
-- a strict one is not called without a context
CREATE FUNCTION w_strict(context jsonb, prefixes semid[], level int) RETURNS real[] LANGUAGE sql STRICT AS $$ SELECT w_model(context, prefixes, level) $$;
SELECT count(*) FROM semtok.beam_search_with('w_items', 'w_strict(jsonb, semid[], int)', '{}');
SELECT pg_temp.refusal($$SELECT semtok.beam_search_with('w_items', 'w_strict(jsonb, semid[], int)')$$);
-- what cannot be a scorer
CREATE FUNCTION w_doubles(jsonb, semid[], int) RETURNS float8[] LANGUAGE sql AS $$ SELECT '{1}'::float8[] $$;
CREATE FUNCTION w_short(jsonb, semid[]) RETURNS real[] LANGUAGE sql AS $$ SELECT '{1}'::real[] $$;
CREATE FUNCTION w_json(json, semid[], int) RETURNS real[] LANGUAGE sql AS $$ SELECT '{1}'::real[] $$;
CREATE FUNCTION w_one(jsonb, semid, int) RETURNS real[] LANGUAGE sql AS $$ SELECT '{1}'::real[] $$;
CREATE FUNCTION w_set(jsonb, semid[], int) RETURNS SETOF real[] LANGUAGE sql AS $$ SELECT '{1}'::real[] $$;
CREATE PROCEDURE w_procedure(jsonb, semid[], int) LANGUAGE sql AS $$ SELECT 1 $$;
SELECT scorer, pg_temp.refusal(format('SELECT semtok.beam_search_with(''w_items'', %L)', scorer)) FROM unnest(array[
  'w_doubles(jsonb, semid[], int)', 'w_short(jsonb, semid[])', 'w_json(json, semid[], int)', 'w_one(jsonb, semid, int)', 'w_set(jsonb, semid[], int)',
  'w_procedure(jsonb, semid[], int)', 'sum(int)', 'w_nothing(jsonb, semid[], int)', '0', '4294967295']) scorer;
-- before the items are looked at
SELECT pg_temp.refusal($$SELECT semtok.beam_search_with('pg_class', 'w_short(jsonb, semid[])')$$);

-- a scorer says whose ids it knows
ALTER FUNCTION w_model SET semtok.scorer_tokenizer = 2;
SELECT pg_temp.refusal($$SELECT semtok.beam_search_with('w_items', 'w_model(jsonb, semid[], int)')$$);
INSERT INTO w_items VALUES (1000, '[0,0,0]@2');
SELECT sid FROM semtok.beam_search_with('w_items', 'w_model(jsonb, semid[], int)');
ALTER FUNCTION w_model SET semtok.scorer_tokenizer = 1;
SELECT count(*) FROM semtok.beam_search_with('w_items', 'w_model(jsonb, semid[], int)', k => 50);
SELECT pg_temp.refusal($$SELECT semtok.beam_search_set_with('{[0]@3,[0]@4}', 'w_model(jsonb, semid[], int)')$$);
ALTER FUNCTION w_model RESET semtok.scorer_tokenizer;
SELECT pg_temp.refusal($$SELECT semtok.beam_search_with('w_items', 'w_model(jsonb, semid[], int)')$$);
SELECT count(*) FROM semtok.beam_search_with('w_items', 'w_model(jsonb, semid[], int)', within => '{[0,0,0]@2}');
ALTER FUNCTION w_model SET semtok.scorer_tokenizer = -1;
ALTER FUNCTION w_model SET semtok.scorer_tokenizer = 'two';
DELETE FROM w_items WHERE id = 1000;
VACUUM (INDEX_CLEANUP on) w_items;

-- partitions: as one table
CREATE TABLE w_parts (id int, sid semid) PARTITION BY HASH (id);
CREATE TABLE w_part0 PARTITION OF w_parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE w_part1 PARTITION OF w_parts FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO w_parts SELECT * FROM w_items;
CREATE INDEX ON w_parts USING semtrie (sid);
SELECT count(*) AS differ FROM
  (SELECT * FROM semtok.beam_search_with('w_items', 'w_model(jsonb, semid[], int)')
   EXCEPT SELECT * FROM semtok.beam_search_with('w_parts', 'w_model(jsonb, semid[], int)')) x;
DROP TABLE w_items, w_parts, w_truth, w_asked;
DROP PROCEDURE w_procedure;
DROP FUNCTION w_logit, w_model, w_costs, w_differ, w_flat, w_draw, w_steps, w_noting, w_inserting, w_says, w_raises, w_itself, w_dropping, w_strict,
  w_doubles, w_short, w_json, w_one, w_set;
