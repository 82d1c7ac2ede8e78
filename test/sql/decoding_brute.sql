-- beam_search against brute force over all items, on catalogs and queries made by chance: the same
-- ids in the same order, and the same bits. A beam as wide as the catalog, exact, and the table all
-- answer as sorting does. (Core's tests do the same for more cases.)
CREATE TABLE br_items (sid semid);
CREATE INDEX br_items_sid ON br_items USING semtrie (sid);

-- some number of 0 .. n - 1
CREATE FUNCTION br_number(n int) RETURNS int LANGUAGE sql VOLATILE AS $$ SELECT floor(random() * n)::int $$;
-- levels x codes logits; few values, so that there are ties; some never
CREATE FUNCTION br_logits(levels int, codes int) RETURNS real[] LANGUAGE sql VOLATILE AS $$
  SELECT array_agg(CASE WHEN c > 1 AND random() < 0.08 THEN '-Infinity' ELSE floor(random() * 9) * 0.7 - 2 END::real ORDER BY l, c)
    FROM generate_series(1, levels) l, generate_series(1, codes) c
$$;
-- of the ids, those of which every code is among the n best of its siblings
CREATE FUNCTION br_best(ids semid[], q semquery, n int) RETURNS semid[] LANGUAGE sql IMMUTABLE AS $$
  SELECT array_agg(sid) FROM unnest(ids) sid
   WHERE n IS NULL OR (SELECT bool_and(e.rank <= n) FROM semtok.explain(sid, q, semset(ids)) e)
$$;
-- the k cheapest, at most m with the same first code and m2 with the same two, taken in order
CREATE FUNCTION br_brute(ids semid[], q semquery, k int, m int, m2 int)
RETURNS TABLE (rank int, sid semid, logprob float8) LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	taken jsonb := '{}';
	one text;
	two text;
BEGIN
	rank := 0;
	FOR sid, logprob IN
		SELECT x.id, 0 - x.cost FROM (SELECT id, id <~> q AS cost FROM unnest(ids) id GROUP BY id) x WHERE x.cost < 'Infinity' ORDER BY x.cost, x.id
	LOOP
		one := semid_prefix(sid, 1);
		two := semid_prefix(sid, 2);
		CONTINUE WHEN (taken->>one)::int >= m OR (taken->>two)::int >= m2;
		taken := taken || jsonb_build_object(one, coalesce((taken->>one)::int, 0) + 1, two, coalesce((taken->>two)::int, 0) + 1);
		rank := rank + 1;
		RETURN NEXT;
		EXIT WHEN rank = k;
	END LOOP;
END $$;

-- Runs that differ, of `runs` with this norm.
CREATE FUNCTION br_check(norm text, runs int, OUT rows bigint, OUT different bigint, OUT differing_run int) LANGUAGE plpgsql AS $$
DECLARE
	levels int; codes int; n int; k int; m int; m2 int; top int;
	ids semid[]; out_ids semid[]; left_ids semid[];
	q semquery; given semquery; exclude semset; items semset; limits jsonb;
	want text; got text; way text; numbers real[];
BEGIN
	rows := 0; different := 0;
	PERFORM setseed(0.25);
	FOR run IN 1 .. runs LOOP
		levels := 2 + br_number(2);
		codes := 2 + br_number(6);
		k := 1 + br_number(20);
		-- every eighth id has a level more; every fifth catalog has ids of three tokenizers
		SELECT array_agg(x.sid) INTO ids
		  FROM (SELECT semid(array_agg(br_number(codes)), CASE WHEN run % 5 = 0 THEN i % 3 ELSE 1 END) AS sid
		          FROM generate_series(0, br_number(60)) i, generate_series(1, levels + 1) l WHERE l <= levels OR i % 8 = 7 GROUP BY i) x;
		out_ids := CASE WHEN run % 3 = 0 THEN array(SELECT i FROM unnest(ids) i WHERE random() < 0.25) END;
		exclude := semset(out_ids);
		left_ids := array(SELECT i FROM unnest(ids) i WHERE NOT coalesce(i = ANY (out_ids), false));
		m := CASE WHEN run % 4 = 0 THEN 1 + br_number(3) END;
		m2 := CASE WHEN run % 8 = 0 THEN 1 + br_number(2) END;
		limits := jsonb_strip_nulls(jsonb_build_object('1', m, '2', m2));
		-- ids of several lengths and tokenizers would compete with each other in explain, not in the trie
		top := CASE WHEN run % 7 = 0 AND run % 5 > 0 THEN 1 + br_number(3) END;
		numbers := br_logits(levels, codes);
		given := semtok.logits(numbers, array_fill(codes, array[levels]), CASE WHEN run % 11 = 0 THEN 0 ELSE 1 END, norm);
		q := CASE WHEN norm = 'masked' THEN semtok.logits(numbers, array_fill(codes, array[levels]), CASE WHEN run % 11 = 0 THEN 0 ELSE 1 END, norm, semset(left_ids)) ELSE given END;
		SELECT count(*), string_agg(format('%s %s %s', b.rank, b.sid, b.logprob), ',' ORDER BY b.rank) INTO STRICT n, want
		  FROM br_brute(br_best(left_ids, q, top), q, k, m, m2) b;
		rows := rows + n;
		TRUNCATE br_items;
		INSERT INTO br_items SELECT unnest(ids);
		items := semset(ids);
		FOR way, got IN
			SELECT 'beam over a set', string_agg(format('%s %s %s', b.rank, b.sid, b.logprob), ',' ORDER BY b.rank)
			  FROM semtok.beam_search_set(items, given, k, 1000, top_k => top, exclude => exclude, max_per_prefix => limits) b WHERE m IS NULL
			UNION ALL
			SELECT 'exact over a set', string_agg(format('%s %s %s', b.rank, b.sid, b.logprob), ',' ORDER BY b.rank)
			  FROM semtok.beam_search_set(items, given, k, exact => true, top_k => top, exclude => exclude, max_per_prefix => limits) b
			UNION ALL
			SELECT 'beam over a table', string_agg(format('%s %s %s', b.rank, b.sid, b.logprob), ',' ORDER BY b.rank)
			  FROM semtok.beam_search('br_items', given, k, 1000, top_k => top, exclude => exclude, max_per_prefix => limits) b WHERE m IS NULL
			UNION ALL
			SELECT 'exact over a table', string_agg(format('%s %s %s', b.rank, b.sid, b.logprob), ',' ORDER BY b.rank)
			  FROM semtok.beam_search('br_items', given, k, exact => true, top_k => top, exclude => exclude, max_per_prefix => limits) b
		LOOP
			IF got IS DISTINCT FROM want AND NOT (m IS NOT NULL AND way LIKE 'beam%') THEN
				different := different + 1;
				differing_run := coalesce(differing_run, run);
				RAISE NOTICE '% %: % is not %', run, way, got, want;
			END IF;
		END LOOP;
		-- a beam with limits gives what they allow, however narrow it is
		IF m IS NOT NULL AND (SELECT max(c) > m FROM (SELECT count(*) AS c FROM semtok.beam_search_set(items, given, k, k, exclude => exclude, max_per_prefix => limits) b
		                                                GROUP BY semid_prefix(b.sid, 1)) x) THEN
			different := different + 1;
			RAISE NOTICE '%: more than % of a prefix', run, m;
		END IF;
		-- and as many rows as there can be
		IF (SELECT count(*) FROM semtok.beam_search('br_items', given, k, k, top_k => top, exclude => exclude, max_per_prefix => limits) b) <> n THEN
			different := different + 1;
			RAISE NOTICE '%: not % rows of a narrow beam', run, n;
		END IF;
	END LOOP;
END $$;
SELECT norm, c.rows > 500 AS enough, c.different, c.differing_run FROM unnest('{full,none,masked}'::text[]) norm, br_check(norm, 100) c;

DROP TABLE br_items;
DROP FUNCTION br_check, br_brute, br_best, br_logits, br_number;
