#!/bin/bash
# Sort support of semid: building a btree on ITEMS semids of 3 levels of 256 codes, beside one on as
# many random bigints; fresh tables each of RUNS times, the two in turns, one process.
#
# Codes and bigints are uniform, from PostgreSQL's random() (xoroshiro128**) after setseed(0.42).
#
#   ITEMS=1000000 RUNS=5 bench/semid.sh
set -euo pipefail
cd "$(dirname "$0")/.."
. bench/lib.sh
items=${ITEMS:-1000000} runs=${RUNS:-5}

sql() { psql -XAtq -v ON_ERROR_STOP=1 -c 'SET client_min_messages = warning' "$@"; }

sql -c 'CREATE EXTENSION IF NOT EXISTS semtok' -c 'DROP SCHEMA IF EXISTS semid_bench CASCADE' \
  -c 'CREATE SCHEMA semid_bench' -c 'CREATE TABLE semid_bench.build (type text, ms float8, bytes bigint)'

# measure TYPE EXPRESSION: a table of random values, read once so that it is cached, and its index.
measure() {
  sql -v type="$1" -v items="$items" -f - <<SQL
SET search_path = semid_bench, public;
SET max_parallel_maintenance_workers = 0;
SET max_parallel_workers_per_gather = 0;
SELECT setseed(0.42) \g /dev/null
DROP TABLE IF EXISTS item;
CREATE TABLE item AS SELECT $2 AS key FROM generate_series(1, :items);
VACUUM (FREEZE, ANALYZE) item;
SELECT count(key) FROM item \g /dev/null
SELECT clock_timestamp() AS started \gset
CREATE INDEX item_key ON item (key);
INSERT INTO build VALUES (:'type', extract(epoch FROM clock_timestamp() - :'started') * 1000, pg_relation_size('item_key'));
SQL
}
for _ in $(seq "$runs"); do
  measure bigint '((random() * 4294967296)::bigint << 31) + (random() * 2147483647)::bigint'
  measure semid 'semid(array[floor(random() * 256)::int, floor(random() * 256)::int, floor(random() * 256)::int], 1)'
done

{
  bench_header "Sort support: a btree on $items semids of 3 levels of 256 codes"
  psql -Xq -v ON_ERROR_STOP=1 <<SQL
SET search_path = semid_bench, public;
\pset footer off
\echo 'CREATE INDEX, median of $runs fresh tables, one process'
SELECT type, round(percentile_cont(0.5) WITHIN GROUP (ORDER BY ms)) AS build_ms, round(min(ms)) AS least_ms,
	round(max(ms)) AS most_ms, pg_size_pretty(max(bytes)) AS size FROM build GROUP BY type ORDER BY type;
SELECT 'a btree on semids takes ' || round((percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FILTER (WHERE type = 'semid') /
	percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FILTER (WHERE type = 'bigint'))::numeric, 2) || ' times the time of one on bigints (goal: 2)' AS answer
FROM build;
SQL
} | bench_keep semid
sql -c 'DROP SCHEMA semid_bench CASCADE'
