#!/bin/bash
# What it costs to keep what changed for semtok.changes: ROWS rows inserted in statements of 10,000
# into a table of ITEMS ids of 3 levels of 256 codes, every tenth row deleted, VACUUM; by
# history_limit. The smallest keeps an eighth of the trie, as every index does. The server's seconds
# of processor time (user and system), which depend least on what else the machine does; the least of
# RUNS runs.
#
#   ITEMS=1000000 ROWS=500000 RUNS=3 bench/history.sh
set -euo pipefail
cd "$(dirname "$0")/.."
. bench/lib.sh
items=${ITEMS:-1000000} rows=${ROWS:-500000} runs=${RUNS:-3}

sql() { psql -XAtq -v ON_ERROR_STOP=1 -c 'SET client_min_messages = warning' "$@"; }

# A backend's seconds of processor time.
spent() { awk -v tick="$(getconf CLK_TCK)" '{print ($14 + $15) / tick}' "/proc/$1/stat"; }

sql -c 'CREATE EXTENSION IF NOT EXISTS semtok' -c 'DROP SCHEMA IF EXISTS history_bench CASCADE' -c 'CREATE SCHEMA history_bench' \
  -c 'CREATE TABLE history_bench.timing (kb int, step int, what text, s float8)'

# One run: the statements of each step go to one session, whose process is looked at between them.
run() { # LIMIT
  coproc SESSION { sql -c 'SELECT 1' -f -; }
  local reply pid before after step=0
  ask() { echo "$1; SELECT 'done'" >&"${SESSION[1]}"; echo ';' >&"${SESSION[1]}"; while IFS= read -r reply <&"${SESSION[0]}"; do [ "$reply" != done ] || return 0; done; return 1; }
  echo 'SELECT pg_backend_pid();' >&"${SESSION[1]}"
  IFS= read -r pid <&"${SESSION[0]}"
  IFS= read -r pid <&"${SESSION[0]}"
  ask "DROP TABLE IF EXISTS history_bench.item; SELECT setseed(0.42);
    CREATE TABLE history_bench.item AS SELECT i AS id,
      semid(array[floor(random() * 256)::int, floor(random() * 256)::int, floor(random() * 256)::int], 1) AS sid
      FROM generate_series(1, $items) i;
    CREATE INDEX item_sid ON history_bench.item USING semtrie (sid) WITH (history_limit = $1);
    VACUUM (FREEZE, ANALYZE) history_bench.item; CHECKPOINT"
  measure() { # WHAT STATEMENT
    before=$(spent "$pid")
    ask "$2"
    after=$(spent "$pid")
    step=$((step + 1))
    sql -c "INSERT INTO history_bench.timing VALUES ($limit, $step, '$1', $after - $before)"
  }
  measure 'INSERT' "DO \$\$ BEGIN FOR s IN 1 .. $rows / 10000 LOOP
    INSERT INTO history_bench.item SELECT $items + s * 10000 + i,
      semid(array[floor(random() * 256)::int, floor(random() * 256)::int, floor(random() * 256)::int], 1)
      FROM generate_series(1, 10000) i; COMMIT; END LOOP; END \$\$"
  measure 'DELETE of a tenth' 'DELETE FROM history_bench.item WHERE id % 10 = 0'
  measure 'VACUUM' 'VACUUM history_bench.item'
  eval "exec ${SESSION[1]}>&-"
  wait "$SESSION_PID" || true
}
for _ in $(seq "$runs"); do
  for limit in 64 4096 65536; do run "$limit"; done
done
{
  bench_header "What keeping changes costs: $rows rows into $items, a tenth deleted, VACUUM"
  psql -Xq -v ON_ERROR_STOP=1 <<'SQL'
\pset footer off
\echo 'seconds of processor time by history_limit in kB, the least of the runs'
SELECT what, round(min(s) FILTER (WHERE kb = 64)::numeric, 2) AS "64", round(min(s) FILTER (WHERE kb = 4096)::numeric, 2) AS "4096",
	round(min(s) FILTER (WHERE kb = 65536)::numeric, 2) AS "65536"
FROM history_bench.timing GROUP BY what ORDER BY min(step);
SQL
} | bench_keep history
sql -c 'DROP SCHEMA history_bench CASCADE'
