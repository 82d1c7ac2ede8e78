-- semtok.evaluate and semtok.collisions.

SET client_min_messages = error;
CREATE TABLE places (id int, x real[], sid semid);
INSERT INTO places
	SELECT i, array[i * 37 % 101, i * 61 % 97, i % 10]::real[] FROM generate_series(1, 250) AS i;
INSERT INTO places VALUES (251, '{1,1,1}'), (252, '{1,1,1}'), (253, '{1,1,1}'), (254, null);
SELECT semtok.train('places', 'SELECT x FROM places WHERE id <= 200', levels => 2, codes => 16) AS places \gset
RESET client_min_messages;

SELECT level, rows, round(mse::numeric, 3) AS mse, round(relative_error::numeric, 5) AS relative,
	codes, used, dead_codes AS dead, usage, round(entropy::numeric, 4) AS entropy,
	round(perplexity::numeric, 3) AS perplexity, round(gini::numeric, 4) AS gini,
	round(unique_fraction::numeric, 4) AS unique, round(collision_rate::numeric, 4) AS collisions,
	largest_collision AS largest
	FROM semtok.evaluate('places', 'SELECT x FROM places') ORDER BY level NULLS FIRST;

-- The same, said in SQL.
CREATE TEMP TABLE coded AS SELECT id, x, semtok.encode('places', x) AS sid FROM places WHERE x IS NOT NULL;
SELECT e.rows = s.rows AND e.used = s.ids AND e.unique_fraction = s.ids / s.rows::float8
		AND e.collision_rate = s.colliding / s.rows::float8 AND e.largest_collision = s.largest AS counts,
	abs(e.entropy - s.entropy) < 1e-9 AND abs(e.perplexity - exp(s.entropy)) < 1e-6 AS entropy,
	abs(e.mse - m.mse) < 1e-6 * m.mse AND abs(e.relative_error - m.mse / m.norm) < 1e-6 AS error
	FROM semtok.evaluate(:places, 'SELECT x FROM places') AS e,
		(SELECT sum(n) AS rows, count(*) AS ids, coalesce(sum(n) FILTER (WHERE n > 1), 0) AS colliding, max(n) AS largest,
			-sum(n / 253.0::float8 * ln(n / 253.0::float8)) AS entropy
			FROM (SELECT count(*) AS n FROM coded GROUP BY sid) AS c) AS s,
		(SELECT sum((a::float8 - b) ^ 2) / 253 AS mse, sum(a::float8 * a) / 253 AS norm
			FROM coded, unnest(x, semtok.decode(sid)) AS u(a, b)) AS m
	WHERE e.level IS NULL;
SELECT e.level, e.used = s.used AND e.dead_codes = 16 - s.used AND e.usage = s.used / 16.0 AS use,
	abs(e.entropy - s.entropy) < 1e-9 AND abs(e.perplexity - exp(s.entropy)) < 1e-6 AS entropy,
	abs(e.gini - s.gini) < 1e-9 AS gini
	FROM semtok.evaluate(:places, 'SELECT x FROM places') AS e,
	LATERAL (SELECT count(*) FILTER (WHERE n > 0) AS used,
			-sum(n / 253.0::float8 * ln(n / 253.0::float8)) FILTER (WHERE n > 0) AS entropy,
			2 * sum(r * n) / (16 * sum(n)) - 17 / 16.0 AS gini
		FROM (SELECT count(sid) AS n, row_number() OVER (ORDER BY count(sid)) AS r
			FROM generate_series(0, 15) AS k LEFT JOIN coded ON semid_code(sid, e.level) = k
			GROUP BY k) AS c) AS s
	WHERE e.level IS NOT NULL ORDER BY e.level;
SELECT e.level, abs(e.mse - m.mse) < 1e-6 * m.mse AS error
	FROM semtok.evaluate(:places, 'SELECT x FROM places') AS e,
	LATERAL (SELECT sum((a::float8 - b) ^ 2) / 253 AS mse
		FROM coded, unnest(x, semtok.decode(semid_prefix(sid, e.level + 1))) AS u(a, b)) AS m
	WHERE e.level IS NOT NULL ORDER BY e.level;

-- Collisions, the most shared first.
UPDATE places SET sid = semtok.encode('places', x);
SELECT count(*), sum(items), max(items) >= 3 AS three FROM semtok.collisions('places', 'sid');
SELECT bool_and(items <= before) AS ordered FROM (
	SELECT items, lag(items, 1, items) OVER () AS before FROM semtok.collisions('places', 'sid')) AS s;
SELECT (SELECT array_agg(row(sid, items)::text ORDER BY sid) FROM semtok.collisions('places', 'sid'))
	= (SELECT array_agg(row(sid, n)::text ORDER BY sid) FROM (
		SELECT sid, count(*) AS n FROM places WHERE sid IS NOT NULL GROUP BY sid HAVING count(*) > 1) AS s) AS same;

-- Bad calls.
SELECT * FROM semtok.evaluate('nosuch', 'SELECT x FROM places');
SELECT * FROM semtok.evaluate(0, 'SELECT x FROM places');
SELECT * FROM semtok.evaluate('places', 'SELECT array[1, 2]');
SELECT * FROM semtok.evaluate('places', 'SELECT x FROM places WHERE false');
SELECT * FROM semtok.evaluate('places', 'SELECT id, x FROM places');
SELECT * FROM semtok.collisions('nosuch', 'sid');
SELECT * FROM semtok.collisions(0, 'sid');
SELECT * FROM semtok.collisions('places', 'nosuch');
SELECT * FROM semtok.collisions('places', 'x');
SELECT * FROM semtok.collisions('places', 'ctid');
SELECT * FROM semtok.evaluate('places', null);

DROP TABLE coded, places;
SELECT semtok.drop_tokenizer('places');
