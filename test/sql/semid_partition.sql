-- semid as a partition key, by hash and by range, and its sorts.

-- seed 0 gives the low half of the extended hash; another seed gives another hash
CREATE TABLE hostile AS SELECT semid((SELECT array_agg((array[0, 1, 255, 256, 32768, 65535])[1 + (i / 7 ^ l)::int % 6]) FROM generate_series(0, i % 5 + CASE WHEN i % 50 = 0 THEN 27 ELSE 0 END) l),
	(array[0, 1, 2, 255, 256, 32767, 32768, 65536, 2147483647])[1 + i % 9]) AS s FROM generate_series(1, 3000) i;
SELECT count(*) > 400 AS distinct_ids, bool_and(semid_hash_extended(s, 0) & 4294967295 = semid_hash(s)::bigint & 4294967295) AS seed_0,
	bool_and(semid_hash_extended(s, 0) <> semid_hash_extended(s, 1)) AS seeds_differ,
	count(DISTINCT semid_hash(s)) > 0.999 * count(*) AS spread, count(DISTINCT semid_hash_extended(s, 8816678312871386365)) = count(*) AS spread_wide
FROM (SELECT DISTINCT s FROM hostile) d;

-- by hash: rows go where satisfies_hash_partition says, and are found there
CREATE TABLE hashed (id int, s semid) PARTITION BY HASH (s);
SELECT format('CREATE TABLE hashed_%s PARTITION OF hashed FOR VALUES WITH (MODULUS 5, REMAINDER %s)', r, r) FROM generate_series(0, 4) r \gexec
INSERT INTO hashed SELECT row_number() OVER (), s FROM hostile UNION ALL SELECT 0, NULL;
SELECT bool_and(satisfies_hash_partition('hashed'::regclass, 5, right(tableoid::regclass::text, 1)::int, s)) AS routed, count(DISTINCT tableoid) AS used, min(share) > 0.1 AS even
FROM hashed, (SELECT min(n) / 3001.0 AS share FROM (SELECT count(*) AS n FROM hashed GROUP BY tableoid) c) least;
SELECT count(*) FROM hostile h WHERE NOT EXISTS (SELECT FROM hashed p WHERE p.s = h.s);
EXPLAIN (COSTS OFF) SELECT * FROM hashed WHERE s = '[1,1]@1';
-- moved by an UPDATE of the key; refused where it does not belong
UPDATE hashed SET s = s || 3 WHERE semid_levels(s) < 32;
SELECT bool_and(satisfies_hash_partition('hashed'::regclass, 5, right(tableoid::regclass::text, 1)::int, s)) AS routed FROM hashed;
DO $$ BEGIN
	FOR r IN 0..4 LOOP
		BEGIN
			EXECUTE format('INSERT INTO hashed_%s VALUES (1, ''[9,9]@9'')', r);
			ASSERT satisfies_hash_partition('hashed'::regclass, 5, r, '[9,9]@9'::semid);
		EXCEPTION WHEN check_violation THEN
			ASSERT NOT satisfies_hash_partition('hashed'::regclass, 5, r, '[9,9]@9'::semid);
		END;
	END LOOP;
END $$;
-- partitionwise joins and hash joins over it agree with plain ones
SELECT (SELECT count(*) FROM hashed a JOIN hashed b USING (s)) = (SELECT sum(n * n) FROM (SELECT count(*) AS n FROM hashed WHERE s IS NOT NULL GROUP BY s) g) AS joined;
DROP TABLE hashed;

-- by range
CREATE TABLE ranged (s semid) PARTITION BY RANGE (s);
CREATE TABLE ranged_0 PARTITION OF ranged FOR VALUES FROM (MINVALUE) TO ('[0]@1');
CREATE TABLE ranged_1 PARTITION OF ranged FOR VALUES FROM ('[0]@1') TO ('[0]@2');
CREATE TABLE ranged_2 PARTITION OF ranged FOR VALUES FROM ('[0]@2') TO (MAXVALUE);
INSERT INTO ranged SELECT s FROM hostile;
SELECT tableoid::regclass, min(semid_tokenizer(s)), max(semid_tokenizer(s)) FROM ranged GROUP BY 1 ORDER BY 1;
DROP TABLE ranged;
CREATE TABLE listed (s semid) PARTITION BY LIST (s);
CREATE TABLE listed_1 PARTITION OF listed FOR VALUES IN ('[1]', '[1]@1');
INSERT INTO listed VALUES ('[1]@1'), ('[1]');
INSERT INTO listed VALUES ('[1]@2');
DROP TABLE listed;

-- a sort's abbreviated keys agree with semid_cmp: in memory, on disk, either way round, and where
-- they are given up because nearly all ids begin alike
CREATE TABLE sorted (n bigint, s semid);
CREATE FUNCTION out_of_order() RETURNS bigint LANGUAGE sql AS $$
	SELECT count(*) FROM (SELECT s, lag(s) OVER (ORDER BY n) AS before FROM sorted) t WHERE semid_cmp(before, s) > 0
$$;
INSERT INTO sorted SELECT row_number() OVER (), s FROM (SELECT s FROM hostile ORDER BY s OFFSET 0) t;
SELECT out_of_order();
TRUNCATE sorted;
INSERT INTO sorted SELECT -row_number() OVER (), s FROM (SELECT s FROM hostile ORDER BY s DESC OFFSET 0) t;
SELECT out_of_order();
TRUNCATE sorted;
SET work_mem = '64kB';
INSERT INTO sorted SELECT row_number() OVER (), s FROM (SELECT s FROM hostile ORDER BY s OFFSET 0) t;
SELECT out_of_order();
RESET work_mem;
TRUNCATE sorted;
CREATE TABLE alike AS SELECT semid(array[5, 5, 5, 5, (i * 7919) % 65536, i % 3], 40000) AS s FROM generate_series(1, 30000) i;
INSERT INTO sorted SELECT row_number() OVER (), s FROM (SELECT s FROM alike ORDER BY s OFFSET 0) t;
SELECT out_of_order(), count(*) FROM sorted;
CREATE INDEX alike_s ON alike (s);
SET enable_seqscan = off;
SELECT count(*) FROM alike WHERE s ^@ '[5,5,5,5,7919]@40000';
SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off; SET enable_seqscan = on;
SELECT count(*) FROM alike WHERE s ^@ '[5,5,5,5,7919]@40000';
RESET enable_seqscan; RESET enable_indexscan; RESET enable_indexonlyscan; RESET enable_bitmapscan;
DROP FUNCTION out_of_order;
DROP TABLE hostile, sorted, alike;
