#!/bin/bash
# Giving a whole table its ids, heap to heap, with a semtrie index on the column: CALL semtok.tokenize,
# an UPDATE that writes a constant, and a Python client that reads, encodes by FAISS and writes back.
# The runs alternate, each on a copy of the table made anew; fsync and synchronous_commit are on.
#
#   ROWS=1000000 RUNS=3 bench/worker/tokenize.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
. bench/lib.sh
. bench/worker/data.sh
rows=${ROWS:-1000000} runs=${RUNS:-3}

make_items tokenizing "$rows"
fsync=$(sql -c 'SHOW fsync')
sql -c 'ALTER SYSTEM SET fsync = on' -c 'SELECT pg_reload_conf()' >/dev/null
restore() {
  sql -c "ALTER SYSTEM SET fsync = $fsync" -c 'SELECT pg_reload_conf()' \
    -c 'SET client_min_messages = warning' -c 'DROP SCHEMA tokenizing CASCADE' \
    -c "SELECT semtok.drop_tokenizer('tokenizing')" >/dev/null
}
trap restore EXIT
tokenizer=$(sql -c 'SET client_min_messages = warning' -c "SELECT semtok.train('tokenizing',
  'SELECT embedding FROM tokenizing.vector', epochs => 5, init => 'random')")

# A fresh copy with room for new versions nowhere but at its end; a checkpoint, so that no run pays
# for another's pages.
fresh_copy() {
  sql <<'SQL'
SET client_min_messages = warning;
SET search_path = tokenizing, public;
DROP TABLE IF EXISTS copy;
CREATE TABLE copy (id int, embedding real[], sid semid) WITH (fillfactor = 100, autovacuum_enabled = off);
CREATE INDEX ON copy USING semtrie (sid);
INSERT INTO copy SELECT id, embedding FROM item;
VACUUM (FREEZE, ANALYZE) copy;
CHECKPOINT;
SQL
}

time_statement() {
  sql <<SQL
SET client_min_messages = warning;
SET search_path = tokenizing, public;
SET synchronous_commit = on;
SELECT clock_timestamp() AS began, pg_current_wal_insert_lsn() AS lsn \\gset
$2 \\g /dev/null
INSERT INTO timing SELECT '$1', extract(epoch FROM clock_timestamp() - :'began'),
	pg_wal_lsn_diff(pg_current_wal_insert_lsn(), :'lsn');
SQL
}

time_client() {
  local lsn seconds
  lsn=$(sql -c 'SELECT pg_current_wal_insert_lsn()')
  seconds=$(tmp/rivals/bin/python bench/rivals/faiss_tokenize.py dsn='' \
    table=tokenizing.copy tokenizer="$tokenizer" write="$1" batch=10000 threads=2 |
    awk '/^seconds/ {print $2}')
  sql -c "INSERT INTO tokenizing.timing SELECT 'client $1', $seconds,
    pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '$lsn')"
}

for ((i = 0; i < runs; i++)); do
  fresh_copy
  time_statement update "UPDATE copy SET sid = '[1,2,3]@$tokenizer'"
  fresh_copy
  time_statement tokenize "CALL semtok.tokenize('copy', 'embedding', 'sid', 'tokenizing')"
  [ "$(sql -c 'SELECT count(*) FROM tokenizing.copy WHERE sid IS NULL')" = 0 ] || { echo 'rows without an id' >&2; exit 1; }
done
if [ -x tmp/rivals/bin/python ]; then
  for write in copy many; do
    fresh_copy
    time_client $write
    sql -c "INSERT INTO tokenizing.timing SELECT 'wrong', count(*) FROM tokenizing.copy
      WHERE sid IS DISTINCT FROM semtok.encode($tokenizer, embedding)"
  done
fi

{
  bench_header "Tokenizing a table: $rows rows of 384 dimensions, 3 levels of 256 codes, heap to heap"
  echo "$data; a semtrie index on the ids; median of $runs runs that alternate, the client's one each"
  [ -x tmp/rivals/bin/python ] || echo 'no Python client: bench/rivals/setup installs what it needs'
  psql -Xq -v ON_ERROR_STOP=1 <<SQL
SET search_path = tokenizing, public;
\pset footer off
WITH m AS (SELECT what, percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS seconds,
			percentile_cont(0.5) WITHIN GROUP (ORDER BY wal) AS wal FROM timing WHERE what <> 'wrong' GROUP BY what),
	 n (what, name, place) AS (VALUES ('update', 'UPDATE, a constant', 1), ('tokenize', 'CALL semtok.tokenize', 2),
		('client copy', 'Python client, COPY and UPDATE', 3), ('client many', 'Python client, executemany', 4))
SELECT name AS "how", round(seconds::numeric, 1) AS seconds, round(($rows / seconds)::numeric) AS rows_a_second,
	round((wal / $rows)::numeric) AS wal_bytes_a_row,
	round(((SELECT seconds FROM m WHERE what = 'update') / seconds)::numeric, 2) AS of_update
FROM m JOIN n USING (what) ORDER BY place;
\pset tuples_only on
\pset format unaligned
SELECT 'rows to which FAISS, in binary32, gives another id: ' || round(max(seconds)) FROM timing WHERE what = 'wrong' HAVING count(*) > 0;
WITH m AS (SELECT what, percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS seconds FROM timing GROUP BY what),
	 f AS (SELECT max(seconds) FILTER (WHERE what = 'update') / max(seconds) FILTER (WHERE what = 'tokenize') AS share,
		min(seconds) FILTER (WHERE what LIKE 'client %') / max(seconds) FILTER (WHERE what = 'tokenize') AS times FROM m)
SELECT CASE WHEN share >= 0.6 THEN 'met   ' ELSE 'MISSED' END || '  at least 0.6 of the rate of a plain UPDATE: ' || round(share::numeric, 2) FROM f
UNION ALL
SELECT CASE WHEN times >= 3 THEN 'met   ' ELSE 'MISSED' END || '  at least 3 times as fast as a Python client: ' || round(times::numeric, 2) FROM f WHERE times IS NOT NULL;
SQL
} | bench_keep worker-tokenize
