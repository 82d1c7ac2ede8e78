#!/bin/bash
# Ordered search: the ten best of ITEMS items of 3 levels of 256 codes, warm, measured inside the
# server, beside the sequential plan on the same rows; index size and build time beside a btree on
# the same column.
#
# Items: uniform random codes. Queries: independent standard normal logits (Box-Muller), log-softmax
# per level. Both from PostgreSQL's random() (xoroshiro128**) after setseed(0.42).
#
#   ITEMS=1000000 QUERIES=1000 SEQUENTIAL=20 bench/ordered.sh
set -euo pipefail
cd "$(dirname "$0")/.."
. bench/lib.sh
items=${ITEMS:-1000000} queries=${QUERIES:-1000} sequential=${SEQUENTIAL:-20}

sql() { psql -XAtq -v ON_ERROR_STOP=1 "$@"; }

sql -v items="$items" -v queries="$queries" <<'SQL'
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS semtok;
DROP SCHEMA IF EXISTS ordered CASCADE;
CREATE SCHEMA ordered;
SET search_path = ordered, public;
SET max_parallel_workers_per_gather = 0;
SELECT setseed(0.42) \g /dev/null
CREATE TABLE item AS
	SELECT i AS id, semid(array[floor(random() * 256)::int, floor(random() * 256)::int,
								floor(random() * 256)::int], 1) AS sid
	FROM generate_series(1, :items) i;
CREATE TABLE asked AS
	SELECT n, semtok.logits((SELECT array_agg((sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()))::real)
							 FROM generate_series(1, 768) WHERE n > 0), '{256,256,256}', 1) AS q
	FROM generate_series(1, :queries) n;
CREATE TABLE timing (what text, n int, ms float8, found semid[]);
CREATE TABLE build (what text, ms float8, bytes bigint);
VACUUM (FREEZE, ANALYZE) item;
VACUUM ANALYZE asked;

-- A procedure, so that PL/pgSQL fetches the query out of line before the clock starts, as a
-- parameter from a client would be.
CREATE PROCEDURE measure(what text, first int, last int) LANGUAGE plpgsql AS $$
DECLARE
	query semquery;
	started timestamptz;
	found semid[];
BEGIN
	FOR i IN first .. last LOOP
		SELECT q INTO query FROM asked WHERE asked.n = i;
		started := clock_timestamp();
		SELECT array_agg(sid) INTO found FROM (SELECT sid FROM item ORDER BY sid <~> query LIMIT 10) s;
		INSERT INTO timing VALUES (what, i, extract(epoch FROM clock_timestamp() - started) * 1000, found);
	END LOOP;
END
$$;
CREATE PROCEDURE build(what text, statement text) LANGUAGE plpgsql AS $$
DECLARE
	started timestamptz := clock_timestamp();
BEGIN
	EXECUTE statement;
	INSERT INTO build VALUES (what, extract(epoch FROM clock_timestamp() - started) * 1000,
		pg_relation_size(('ordered.' || what)::regclass));
END
$$;
SQL

run() { sql -c 'SET client_min_messages = warning' -c 'SET search_path = ordered, public' "$@"; }

# The first build reads the table into memory; each index is built twice, the faster one counts.
for _ in 1 2; do
  for am in btree semtrie; do
    run -c "DROP INDEX IF EXISTS item_$am" \
      -c 'SET max_parallel_maintenance_workers = 0' \
      -c "CALL build('item_$am', 'CREATE INDEX item_$am ON ordered.item USING $am (sid)')"
  done
done
run -c 'ANALYZE item'

run -c 'SET enable_indexscan = off' -c 'SET enable_indexonlyscan = off' -c 'SET max_parallel_workers_per_gather = 0' \
  -c "CALL measure('warm up', 1, 2)" -c "CALL measure('sequential', 1, $sequential)"
run -c "CALL measure('warm up', 1, $queries)" -c "CALL measure('index', 1, $queries)"

plan=$(run -c 'EXPLAIN (COSTS OFF) SELECT id FROM item ORDER BY sid <~> (SELECT q FROM asked WHERE n = 1) LIMIT 10')
[[ $plan == *item_semtrie* ]] || { echo "the planner does not choose the index:"; echo "$plan"; exit 1; } >&2

# What one scan does: nodes expanded are reported by the scan itself at DEBUG1.
expanded=$(run -c 'SET client_min_messages = debug1' \
  -c "CALL measure('counted', 1, $queries)" 2>&1 | sed -n 's/.*expanded \([0-9]*\) nodes.*/\1/p' | sort -n)
percentile() { awk -v p="$1" '{v[NR] = $1} END {if (NR) print v[int((NR - 1) * p) + 1]; else print "-"}' <<<"$expanded"; }

{
  bench_header "Ordered search: ten best of $items items, 3 levels of 256 codes"
  psql -Xq -v ON_ERROR_STOP=1 <<SQL
SET search_path = ordered, public;
\pset footer off
\echo '$queries queries warm, one session, one process; sequential: the first $sequential of them'
SELECT what AS plan, count(*) AS queries,
	round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)::numeric, 3) AS p50_ms,
	round(percentile_cont(0.99) WITHIN GROUP (ORDER BY ms)::numeric, 3) AS p99_ms,
	round(((SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FROM timing WHERE what = 'sequential')
		/ percentile_cont(0.5) WITHIN GROUP (ORDER BY ms))::numeric, 1) AS times_sequential
FROM timing WHERE what IN ('index', 'sequential') GROUP BY what ORDER BY what;
\echo 'nodes expanded by a query: p50 $(percentile 0.5), p99 $(percentile 0.99)'
SELECT 'same ids as the sequential plan: ' || count(*) FILTER (WHERE i.found = s.found) || ' of ' || count(*) AS answers
FROM timing i JOIN timing s USING (n) WHERE i.what = 'index' AND s.what = 'sequential';
SELECT what AS index, round(min(ms)) AS build_ms, pg_size_pretty(min(bytes)) AS size,
	round(min(bytes) / $items.0, 2) AS bytes_an_item,
	round(min(bytes)::numeric / first_value(min(bytes)) OVER w, 2) AS size_of_btree,
	round((min(ms) / first_value(min(ms)) OVER w)::numeric, 2) AS time_of_btree
FROM build GROUP BY what WINDOW w AS (ORDER BY what ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) ORDER BY what;
SQL
} | bench_keep ordered

ok=$(run -c "SELECT count(*) FILTER (WHERE i.found = s.found) = count(*) FROM timing i JOIN timing s USING (n)
  WHERE i.what = 'index' AND s.what = 'sequential'")
[ "$ok" = t ] || { echo "the plans disagree" >&2; exit 1; }
sql -c 'SET client_min_messages = warning' -c 'DROP SCHEMA ordered CASCADE'
