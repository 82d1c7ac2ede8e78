#!/bin/bash
# Beam searches in a set, SQL end to end: in the session, by the worker's cores and, on a machine
# with a CUDA device, on that: queries a second and how long calls take, with one session and with
# many. The rows must be the same.
#
#   bench/gpu-trie/sql.sh BUNDLE
#
#   BUNDLE  a folder whose setup.sh starts a private PostgreSQL with semtok, and defines pg (run one
#           of its programs), pg_conf (add lines to postgresql.conf), pg_restart and pg_log
#
# ITEMS=1000000 LEVELS=3 CODES=256 QUERIES=4096 BATCH=256 BEAM=50 K=10 SESSIONS="1 16"
# SECONDS_EACH=10 DEVICES="session cpu cuda". Builds nothing, and needs no network.
set -euo pipefail
items=${ITEMS:-1000000} levels=${LEVELS:-3} codes=${CODES:-256} queries=${QUERIES:-4096} batch=${BATCH:-256}
beam=${BEAM:-50} k=${K:-10} sessions=${SESSIONS:-1 16} each=${SECONDS_EACH:-10} devices=${DEVICES:-session cpu cuda}
# shellcheck disable=SC1091
. "${1:?a folder with setup.sh}/setup.sh"

export PGOPTIONS='-c client_min_messages=error'
ask() { pg psql -XAtq -v ON_ERROR_STOP=1 -c "$1"; }

pg_conf "shared_preload_libraries = 'semtok'" "shared_buffers = 1GB" "autovacuum = off" "jit = off" \
  "max_connections = 100" "work_mem = '64MB'"
pg_restart
ask 'CREATE EXTENSION IF NOT EXISTS semtok'
echo "server: $(ask 'SHOW server_version'), $(nproc) cores, $(lscpu | sed -n 's/^Model name: *//p')"
for _ in $(seq 100); do
  [ -n "$(ask "SELECT pid FROM semtok.workers WHERE pid IS NOT NULL")" ] && break
  sleep 0.1
done
ask "SELECT 'worker: engine ' || engine || ' on ' || device || ', ' || threads || ' threads' FROM semtok.workers WHERE kind = 'shared'"

ask "
  SELECT setseed(0.5);
  DROP TABLE IF EXISTS bench_set, bench_batches;
  CREATE TABLE bench_set AS
    SELECT semset_agg(semid(array(SELECT (random() * $codes + i * 0)::int % $codes FROM generate_series(1, $levels)))) AS ids
    FROM generate_series(1, $items) AS i;
  ALTER TABLE bench_set ALTER ids SET STORAGE external;
  CREATE TABLE bench_batches AS
    SELECT b AS id, array_agg(q) AS queries FROM generate_series(1, $queries / $batch) AS b, LATERAL (
      SELECT semtok.logits(array(SELECT (random() * 10 + i * 0)::real FROM generate_series(1, $codes * $levels)),
                           array_fill($codes, array[$levels])) AS q
      FROM generate_series(1, $batch + b * 0) AS i) AS x GROUP BY b" >/dev/null
echo "set: $(ask 'SELECT semset_size(ids) FROM bench_set') ids, $(ask 'SELECT pg_size_pretty(pg_column_size(ids)::bigint) FROM bench_set'); calls of $batch queries, beam $beam, k $k"

calls=$(mktemp -d)
chmod 777 "$calls"
trap 'rm -rf "$calls"' EXIT
echo "\\set b random(1, $((queries / batch)))
SELECT count(*) FROM bench_set, bench_batches, semtok.beam_search_batch_set(ids, queries, $k, $beam) WHERE id = :b;" >"$calls/call.sql"
chmod 644 "$calls/call.sql"

settings() { # DEVICE: what a session sets
  case $1 in
    session) echo '-c semtok.offload=off' ;;
    *) echo "-c semtok.offload=on -c semtok.device=$1" ;;
  esac
}

printf '%-10s %9s %12s %12s %12s  %s\n' '' sessions queries/s 'p50, ms' 'p99, ms' rows
expected=
for device in $devices; do
  export PGOPTIONS="-c client_min_messages=error $(settings "$device")"
  if ! rows=$(ask "SELECT md5(string_agg(b::text, ',' ORDER BY id, query, rank)) FROM bench_set, bench_batches, semtok.beam_search_batch_set(ids, queries, $k, $beam) AS b WHERE id <= 2" 2>&1); then
    printf '%-10s %s\n' "$device" "${rows%%$'\n'*}"
    continue
  fi
  expected=${expected:-$rows}
  for n in $sessions; do
    rm -f "$calls"/log.*
    # each session fetches the set and connects to the worker once before it is timed
    pg pgbench -n -c "$n" -j "$n" -T 2 -f "$calls/call.sql" >/dev/null
    tps=$(pg pgbench -n -c "$n" -j "$n" -T "$each" -l --log-prefix="$calls/log" -f "$calls/call.sql" | sed -n 's/^tps = \([0-9.]*\).*/\1/p')
    cat "$calls"/log.* | awk '{ print $3 }' | sort -n >"$calls/times"
    awk -v device="$device" -v n="$n" -v tps="$tps" -v batch="$batch" -v same="$([ "$rows" = "$expected" ] && echo same || echo DIFFERENT)" \
      '{ t[NR] = $1 / 1000 } END { printf "%-10s %9d %12.0f %12.2f %12.2f  %s\n", device, n, tps * batch, t[int(NR / 2 + 0.5)], t[int(NR * 0.99 + 0.99)], same }' "$calls/times"
  done
done
