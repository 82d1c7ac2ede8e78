-- semset: union, intersection, difference.
\set VERBOSITY terse

SELECT '{[1,2],[1],[3]@7}'::semset | '{[1,2],[2],[3]@8}' AS both, '{[1,2],[1],[3]@7}'::semset & '{[1,2],[2],[3]@8}' AS common,
	'{[1,2],[1],[3]@7}'::semset - '{[1,2],[2],[3]@8}' AS less;
-- an id that goes takes no other with it, and no prefix without an id stays
SELECT '{[1],[1,2],[1,2,3]}'::semset - '{[1,2]}' AS middle, '{[1],[1,2],[1,2,3]}'::semset - '{[1,2,3]}' AS last, '{[1,2,3]}'::semset & '{[1,2]}' AS prefix,
	semset_nodes('{[1,2,3],[1,2,4],[5]}'::semset - '{[1,2,3],[1,2,4]}') AS nodes;
-- the empty set, a set itself, NULL
SELECT s | '{}' = s AND '{}' | s = s AND s & '{}' = '{}' AND '{}' & s = '{}' AND s - '{}' = s AND '{}' - s = '{}'
	AND s | s = s AND s & s = s AND s - s = '{}' AS holds
FROM unnest('{"{}","{[1]}","{[1],[1,2]@3,[4,5,6]@3}"}'::semset[]) s;
SELECT '{[1]}'::semset | NULL IS NULL AND NULL & '{[1]}'::semset IS NULL AND '{[1]}'::semset - NULL IS NULL AS nulls;
-- untyped literals take the other side's type
SELECT '{[1]}'::semset | '{[2]}', '{[1]}' & '{[1]}'::semset, '{[1]}'::semset - '{[2]}';
SELECT '[1]' <@ ('{[1]}'::semset | '{[2]}'), '{[1]}'::semset | '{[2]}' & '{[3]}' AS left_to_right;

-- against PostgreSQL's own set operations: ids of several tokenizers and lengths, one the prefix of another
CREATE TABLE rows AS
SELECT g, side, semid((array[(random() * 5)::int, (random() * 3)::int, (random() * 3)::int, (random() * 65535)::int])[1:1 + (random() * 3)::int], (random() * 2)::int) AS sid
FROM (SELECT setseed(0.4)) s, generate_series(1, 60) g, generate_series(0, 1) side, LATERAL generate_series(1, CASE WHEN g % 7 = side THEN 0 ELSE g * 2 END) i;
CREATE TABLE sets AS
SELECT g, coalesce(semset_agg(sid) FILTER (WHERE side = 0), '{}') AS a, coalesce(semset_agg(sid) FILTER (WHERE side = 1), '{}') AS b FROM rows GROUP BY g;
SELECT count(*) AS sets,
	count(*) FILTER (WHERE a | b = semset(array(SELECT sid FROM rows r WHERE r.g = s.g AND side = 0 UNION SELECT sid FROM rows r WHERE r.g = s.g AND side = 1))) AS unions,
	count(*) FILTER (WHERE a & b = semset(array(SELECT sid FROM rows r WHERE r.g = s.g AND side = 0 INTERSECT SELECT sid FROM rows r WHERE r.g = s.g AND side = 1))) AS intersections,
	count(*) FILTER (WHERE a - b = semset(array(SELECT sid FROM rows r WHERE r.g = s.g AND side = 0 EXCEPT SELECT sid FROM rows r WHERE r.g = s.g AND side = 1))) AS differences,
	sum(semset_size(a & b)) > 200 AS some_common
FROM sets s;
-- the same bytes as by the aggregate, sound ones
SELECT bool_and(semset_send(a | b) = semset_send((SELECT semset_agg(sid) FROM rows r WHERE r.g = s.g))) AS bytes,
	bool_and(semset_size(a | b) = semset_size(a) + semset_size(b) - semset_size(a & b)) AS sizes,
	bool_and((a - b) | (b - a) = (a | b) - (a & b)) AS symmetric, bool_and((a - b) & b = '{}') AS disjoint,
	bool_and((a & b)::text::semset = (a & b)) AS text
FROM sets s;

-- large sets, stored out of line, and cancelled
CREATE TABLE large AS
SELECT semset_agg(semid(array[i % 256, i / 256 % 256, i * 7 % 256])) FILTER (WHERE i % 3 > 0) AS a, semset_agg(semid(array[i % 256, i / 256 % 256, i * 7 % 256])) FILTER (WHERE i % 2 > 0) AS b
FROM generate_series(0, 199999) i;
SELECT semset_size(a | b), semset_size(a & b), semset_size(a - b), semset_size(b - a),
	(SELECT count(*) FROM (SELECT semset_members(a) FROM large INTERSECT SELECT semset_members(b) FROM large) t) AS expected FROM large;
SET statement_timeout = '50ms';
DO $$
DECLARE
	x semset;
BEGIN
	SELECT a INTO x FROM large;
	LOOP
		x := x | x;
	END LOOP;
END $$;
RESET statement_timeout;
DROP TABLE rows, sets, large;
