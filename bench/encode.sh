#!/bin/bash
# Encoding in SQL: what semtok.encode costs a row, 3 levels of 256 codes and 384 dimensions, one
# backend; and tokenizing a table beside an UPDATE that writes the same column.
#
# Rows: the text embeddings of the shared data (SEMTOK_SHARED, or shared beside the checkout),
# repeated; without them made-up ones of the same shape.
#
#   ROWS=100000 bench/encode.sh
set -euo pipefail
cd "$(dirname "$0")/.."
. bench/lib.sh
rows=${ROWS:-100000} distinct=12101 times=5
vectors=${SEMTOK_SHARED:-../shared}/data/beauty/minilm384.fvecs

sql() { psql -XAtq -v ON_ERROR_STOP=1 -v rows="$rows" -v distinct="$distinct" "$@"; }

sql <<'SQL'
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS semtok;
DROP SCHEMA IF EXISTS encoding CASCADE;
CREATE SCHEMA encoding;
SET search_path = encoding, public;
CREATE TABLE vector (id int, embedding real[]);
CREATE TABLE timing (what text, ms float8);
SQL
if [ -r "$vectors" ]; then
  data="text embeddings, $distinct of them repeated"
  demo/fvecs "$vectors" | sql -c 'COPY encoding.vector FROM STDIN (FORMAT binary)'
else
  data='made-up embeddings (normal numbers): the real ones are not here'
  sql <<'SQL'
SELECT setseed(0.42) \g /dev/null
INSERT INTO encoding.vector
	SELECT i, (SELECT array_agg((sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()))::real)
			   FROM generate_series(1, 384) WHERE i > 0)
	FROM generate_series(1, :distinct) i;
SQL
fi
# Items as they come: encoded by nobody yet.
sql <<'SQL'
SET client_min_messages = warning;
SET search_path = encoding, public;
CREATE TABLE item AS
	SELECT g AS id, embedding, NULL::semid AS sid
	FROM generate_series(1, :rows) g JOIN vector ON vector.id = 1 + (g - 1) % :distinct ORDER BY g;
VACUUM (FREEZE, ANALYZE) item;
SQL
tokenizer=$(sql -c "SET client_min_messages = warning" -c "SELECT semtok.train('encoding', 'SELECT embedding FROM encoding.vector',
  levels => 3, codes => 256, epochs => 5, init => 'random')")

# What to time, as lines of SQL: once to warm up, then so many times in the same session.
repeat() {
  local what=$1 statement=$2 i
  echo "$statement \\g /dev/null"
  for ((i = 0; i < times; i++)); do
    echo "SELECT clock_timestamp() AS began \\gset"
    echo "$statement \\g /dev/null"
    echo "INSERT INTO timing SELECT '$what', extract(epoch FROM clock_timestamp() - :'began') * 1000;"
  done
}
{
  echo 'SET search_path = encoding, public; SET max_parallel_workers_per_gather = 0;'
  repeat read 'SELECT count(embedding[1]) FROM item'
  repeat encode "SELECT count(semtok.encode($tokenizer, embedding)) FROM item"
  repeat beam "SELECT count(semtok.encode($tokenizer, embedding, 5)) FROM item"
} | sql

# Each writes every row of a fresh copy once; a checkpoint first, so that none pays for another.
for ((i = 0; i < 3; i++)); do
  for what in update tokenize; do
    if [ $what = update ]; then statement="UPDATE copy SET sid = '[1,2,3]@$tokenizer'"
    else statement="CALL semtok.tokenize('copy', 'embedding', 'sid', 'encoding')"; fi
    sql <<SQL
SET client_min_messages = warning;
SET search_path = encoding, public;
CREATE TABLE copy AS SELECT * FROM item;
VACUUM (FREEZE, ANALYZE) copy;
CHECKPOINT;
SELECT clock_timestamp() AS began \\gset
$statement \\g /dev/null
INSERT INTO timing SELECT '$what', extract(epoch FROM clock_timestamp() - :'began') * 1000;
DROP TABLE copy;
SQL
  done
done

{
  bench_header "Encoding in SQL: $rows rows of 384 dimensions, 3 levels of 256 codes, one backend"
  echo "$data"
  psql -Xq -v ON_ERROR_STOP=1 <<SQL
SET search_path = encoding, public;
\pset footer off
\echo 'median of $times, warm; us a row: beyond reading the embeddings'
SELECT CASE what WHEN 'read' THEN 'count(embedding[1])' WHEN 'encode' THEN 'count(semtok.encode($tokenizer, embedding))'
		ELSE 'count(semtok.encode($tokenizer, embedding, 5))' END AS query,
	round(median::numeric, 1) AS ms,
	round(((median - first_value(median) OVER w) * 1000 / $rows)::numeric, 2) AS us_a_row
FROM (SELECT what, percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) AS median FROM timing
	  WHERE what IN ('read', 'encode', 'beam') GROUP BY what) s
WINDOW w AS (ORDER BY array_position('{read,encode,beam}', what));
\echo 'every row of a table written, median of 3'
SELECT CASE what WHEN 'update' THEN 'UPDATE, a constant' ELSE 'CALL semtok.tokenize' END AS statement,
	round(median::numeric) AS ms, round(($rows * 1000 / median)::numeric) AS rows_a_second,
	round((first_value(median) OVER (ORDER BY what DESC) / median)::numeric, 2) AS of_update
FROM (SELECT what, percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) AS median FROM timing
	  WHERE what IN ('update', 'tokenize') GROUP BY what) s ORDER BY what DESC;
\pset tuples_only on
\pset format unaligned
WITH m AS (SELECT what, percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) AS ms FROM timing GROUP BY what),
	 f AS (SELECT (max(ms) FILTER (WHERE what = 'encode') - max(ms) FILTER (WHERE what = 'read')) * 1000 / $rows AS us,
		max(ms) FILTER (WHERE what = 'update') / max(ms) FILTER (WHERE what = 'tokenize') AS share FROM m)
SELECT CASE WHEN us <= 10 THEN 'met   ' ELSE 'MISSED' END || '  encode at most 10 us a row: ' || round(us::numeric, 2) FROM f
UNION ALL
SELECT CASE WHEN share >= 0.6 THEN 'met   ' ELSE 'MISSED' END || '  tokenize at least 0.6 of a plain UPDATE: ' || round(share::numeric, 2) FROM f;
SQL
} | bench_keep encode

sql -c 'SET client_min_messages = warning' -c "DROP SCHEMA encoding CASCADE" -c "SELECT semtok.drop_tokenizer('encoding')"
