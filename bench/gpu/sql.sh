#!/bin/bash
# SQL end to end on a machine with a CUDA device: training and tokenizing a table with semtok.device
# = cpu and = cuda in the same run, heap to heap; the codebooks and the ids must be the same.
#
#   bench/gpu/sql.sh BUNDLE
#
#   BUNDLE  a folder whose setup.sh starts a private PostgreSQL with semtok and semtok_cuda.so, and
#           defines pg (run one of its programs), pg_conf (add a line to postgresql.conf),
#           pg_restart and pg_log
#
# ROWS=1000000 DIM=384 SAMPLE=200000, rows that are trained on. Builds nothing, and needs no network.
set -euo pipefail
rows=${ROWS:-1000000} dim=${DIM:-384} sample=${SAMPLE:-200000}
# shellcheck disable=SC1091
. "${1:?a folder with setup.sh}/setup.sh"

export PGOPTIONS='-c client_min_messages=error'
ask() { pg psql -XAtq -v ON_ERROR_STOP=1 -c "$1"; }

pg_conf "shared_preload_libraries = 'semtok'" "shared_buffers = 8GB" "max_wal_size = 20GB" \
  "autovacuum = off" "jit = off" "semtok.worker_memory = '8GB'" "work_mem = '256MB'" \
  "max_parallel_workers_per_gather = 0"
pg_restart
ask 'CREATE EXTENSION semtok'
echo "server: $(ask 'SHOW server_version'), $(nproc) cores, $(lscpu | sed -n 's/^Model name: *//p')"
command -v nvidia-smi >/dev/null &&
  echo "device: $(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader | head -1)"
for _ in $(seq 100); do
  [ -n "$(ask "SELECT pid FROM semtok.workers WHERE pid IS NOT NULL")" ] && break
  sleep 0.1
done
ask "SELECT 'worker: engine ' || engine || ' on ' || device || ', ' || threads || ' threads' FROM semtok.workers WHERE kind = 'shared'"

# Each row is made of parts drawn from a few thousand: the same in every run.
SECONDS=0
ask "
  SELECT setseed(0.5);
  CREATE UNLOGGED TABLE parts AS
    SELECT p AS id, array(SELECT (random() + random() + random() - 1.5 + p * 0)::real
                          FROM generate_series(1, $dim / 4)) AS x
    FROM generate_series(0, 3999) AS p;
  ALTER TABLE parts ADD PRIMARY KEY (id);
  CREATE UNLOGGED TABLE cpu_items (id int, x real[], sid semid) WITH (fillfactor = 90);
  ALTER TABLE cpu_items ALTER x SET STORAGE plain;
  INSERT INTO cpu_items
    SELECT i, a.x || b.x || c.x || d.x, NULL
    FROM generate_series(1, $rows) AS i
      JOIN parts AS a ON a.id = (hashint4(i) & 2147483647) % 4000
      JOIN parts AS b ON b.id = (hashint4(i + 100000007) & 2147483647) % 4000
      JOIN parts AS c ON c.id = (hashint4(i + 200000014) & 2147483647) % 4000
      JOIN parts AS d ON d.id = (hashint4(i + 300000021) & 2147483647) % 4000;
  CREATE UNLOGGED TABLE cuda_items WITH (fillfactor = 90) AS TABLE cpu_items;
  CREATE UNLOGGED TABLE plain_items WITH (fillfactor = 90) AS SELECT * FROM cpu_items LIMIT $rows / 4;" >/dev/null
ask 'SELECT count(*) FROM cpu_items; SELECT count(*) FROM cuda_items; SELECT count(*) FROM plain_items' >/dev/null
echo "data: $rows x $dim, $(ask "SELECT pg_size_pretty(pg_table_size('cpu_items'))"), made in $SECONDS s"

# Seconds that a statement takes, one number.
declare -A took
time_of() { # DEVICE SQL
  local from to
  from=$(date +%s.%N)
  pg psql -XAtq -v ON_ERROR_STOP=1 -c "SET semtok.device = $1" -c "$2" >/dev/null
  to=$(date +%s.%N)
  echo "$from $to" | awk '{ printf "%.2f", $2 - $1 }'
}

row() { printf '%-58s %10s %10s %8s  %s\n' "$@"; }
compare() { # NAME CPU CUDA SAME
  row "$1" "$2 s" "$3 s" "$(echo "$2 $3" | awk '{ printf "%.2f", $1 / $2 }')" "$4"
}
same() { [ "$1" = "$2" ] && echo same || echo DIFFERENT; }

row '' cpu cuda cpu/cuda ''
for device in cpu cuda; do
  took[train $device]=$(time_of $device "SELECT semtok.train('$device', 'SELECT x FROM cpu_items WHERE id <= $sample', levels => 3, codes => 256, epochs => 25)")
done
compare "train 3 x 256, 25 epochs, $sample rows" "${took[train cpu]}" "${took[train cuda]}" \
  "$(same "$(ask "SELECT hash FROM semtok.tokenizers WHERE name = 'cpu'")" "$(ask "SELECT hash FROM semtok.tokenizers WHERE name = 'cuda'")")"

for device in cpu cuda; do
  took[tokenize $device]=$(time_of $device "CALL semtok.tokenize('${device}_items', 'x', 'sid', 'cpu', batch_size => 100000)")
done
compare "tokenize, $rows rows" "${took[tokenize cpu]}" "${took[tokenize cuda]}" \
  "$(same "$(ask "SELECT md5(string_agg(sid::text, ',' ORDER BY id)) FROM cpu_items")" "$(ask "SELECT md5(string_agg(sid::text, ',' ORDER BY id)) FROM cuda_items")")"

for device in cpu cuda; do
  took[encode $device]=$(time_of $device "SELECT count(*) FROM semtok.encode_batch('cpu', 'SELECT x FROM cpu_items') AS e")
done
compare "encode_batch, $rows rows" "${took[encode cpu]}" "${took[encode cuda]}" ''

plain=$(time_of cpu "UPDATE plain_items SET sid = '[1,2,3]'::semid")
scan=$(time_of cpu "SELECT sum(cardinality(x)) FROM cpu_items")
echo "beside that: a plain UPDATE ... SET sid = constant of a quarter of the rows $plain s; a scan of all rows $scan s"
ask "SELECT format('worker: %s requests, %s batches, %s fallbacks; last error: %s', requests, batches, fallbacks, coalesce(last_error, 'none')) FROM semtok.workers WHERE kind = 'shared'"
pg_log | grep -E 'semtok' | tail -5
