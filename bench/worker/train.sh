#!/bin/bash
# semtok.train from SQL, end to end, beside the same training in one process that has its rows in
# memory: 3 levels of 256 codes, all defaults, on two threads.
#
# The sample is 256 rows for each codeword of a level, 65,536 of a table of a million: FAISS's own
# limit, beyond which more rows hardly move a mean. A training of all rows would only hide what SQL
# adds.
#
#   ROWS=1000000 SAMPLE=65536 RUNS=3 bench/worker/train.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
. bench/lib.sh
. bench/worker/data.sh
rows=${ROWS:-1000000} sample=${SAMPLE:-65536} runs=${RUNS:-3}

make -s bench/core/bin/worker-train
make_items training "$rows"
restore() {
  sql -c 'SET client_min_messages = warning' -c 'DROP SCHEMA training CASCADE' \
    -c "SELECT semtok.drop_tokenizer('training')" >/dev/null
}
trap restore EXIT
sql -c "CREATE TABLE training.some AS SELECT embedding FROM training.item ORDER BY random() LIMIT $sample" \
  -c 'VACUUM (FREEZE, ANALYZE) training.some' -c 'CHECKPOINT'

# The session has its worker already: one starts in some milliseconds, once.
time_sql() {
  sql <<SQL
SET client_min_messages = warning;
${3:-}
SELECT clock_timestamp() AS began \\gset
$2 \\g /dev/null
INSERT INTO training.timing SELECT '$1', extract(epoch FROM clock_timestamp() - :'began');
SQL
}

train="SELECT semtok.train('training', 'SELECT embedding FROM training"
for ((i = 0; i < runs; i++)); do
  core=$(bench/core/bin/worker-train "$sample" "$rows")
  sql -c "INSERT INTO training.timing VALUES ('core', ${core% *})"
  time_sql all "$train.some')"
  time_sql sample "$train.item', sample => $sample)"
  time_sql session "$train.some')" 'SET semtok.offload = off;'
  time_sql read 'SELECT count(embedding[1]) FROM training.item' 'SET max_parallel_workers_per_gather = 0;'
done

{
  bench_header "Training from SQL: 3 levels of 256 codes on $sample rows of 384 dimensions, 25 epochs"
  echo "$data; shortest of $runs runs that alternate"
  psql -Xq -v ON_ERROR_STOP=1 <<SQL
SET search_path = training, public;
\pset footer off
WITH m AS (SELECT what, min(seconds) AS seconds FROM timing GROUP BY what),
	 n (what, name, place) AS (VALUES ('core', 'in one process, rows in memory, 2 threads', 1),
		('all', 'semtok.train on a table of these rows', 2), ('sample', 'semtok.train on a sample of $rows rows', 3),
		('session', 'semtok.train, semtok.offload = off, 1 thread', 4), ('read', 'reading $rows rows alone', 5))
SELECT name AS how, round(seconds::numeric, 2) AS seconds,
	round((seconds / (SELECT seconds FROM m WHERE what = 'core'))::numeric, 2) AS of_core
FROM m JOIN n USING (what) ORDER BY place;
\pset tuples_only on
\pset format unaligned
WITH m AS (SELECT max(seconds) FILTER (WHERE what = 'sample') / max(seconds) FILTER (WHERE what = 'core') AS times
		   FROM (SELECT what, min(seconds) AS seconds FROM timing GROUP BY what) s)
SELECT CASE WHEN times <= 1.1 THEN 'met   ' ELSE 'MISSED' END || '  at most 1.1 times the time of core: ' || round(times::numeric, 2) FROM m;
SQL
} | bench_keep worker-train
