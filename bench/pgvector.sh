#!/bin/bash
# What pgvector's types cost where embeddings are read: vector, and halfvec by ::real[], beside real[],
# one backend. Needs a server with pgvector.
#
# Rows: the text embeddings of the shared data (SEMTOK_SHARED, or shared beside the checkout),
# repeated; without them made-up ones of the same shape.
#
#   ROWS=10000 bench/pgvector.sh
set -euo pipefail
cd "$(dirname "$0")/.."
. bench/lib.sh
rows=${ROWS:-10000} distinct=12101 times=5
vectors=${SEMTOK_SHARED:-../shared}/data/beauty/minilm384.fvecs

sql() { psql -XAtq -v ON_ERROR_STOP=1 -v rows="$rows" -v distinct="$distinct" "$@"; }

if [ "$(sql -c "SELECT count(*) FROM pg_available_extensions WHERE name = 'vector'")" = 0 ]; then
  echo "pgvector: not installed on this server, nothing measured"
  exit 0
fi
sql <<'SQL'
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS semtok;
CREATE EXTENSION IF NOT EXISTS vector;
DROP SCHEMA IF EXISTS pgvector CASCADE;
CREATE SCHEMA pgvector;
SET search_path = pgvector, public;
CREATE TABLE given (id int, embedding real[]);
CREATE TABLE timing (what text, type text, ms float8);
SQL
if [ -r "$vectors" ]; then
  data="text embeddings, $distinct of them repeated"
  demo/fvecs "$vectors" | sql -c 'COPY pgvector.given FROM STDIN (FORMAT binary)'
else
  data='made-up embeddings (normal numbers): the real ones are not here'
  sql <<'SQL'
SELECT setseed(0.42) \g /dev/null
INSERT INTO pgvector.given
	SELECT i, (SELECT array_agg((sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()))::real)
			   FROM generate_series(1, 384) WHERE i > 0)
	FROM generate_series(1, :distinct) i;
SQL
fi
# A table for each type, so that each reads its own column only.
for type in real vector halfvec; do
  column=$type'(384)'
  [ $type != real ] || column='real[]'
  sql <<SQL
SET client_min_messages = warning;
SET search_path = pgvector, public;
CREATE TABLE item_$type (id int, embedding $column, sid semid);
INSERT INTO item_$type
	SELECT g, embedding FROM generate_series(1, :rows) g JOIN given ON given.id = 1 + (g - 1) % :distinct ORDER BY g;
VACUUM (FREEZE, ANALYZE) item_$type;
SQL
done
tokenizer=$(sql -c "SET client_min_messages = warning" -c "SELECT semtok.train('pgvector', 'SELECT embedding FROM pgvector.given',
  levels => 3, codes => 256, epochs => 5, init => 'random')")

# One after the other in each round, so that a disturbance meets all types.
{
  echo 'SET search_path = pgvector, public; SET max_parallel_workers_per_gather = 0; SET client_min_messages = error;'
  for ((i = 0; i <= times; i++)); do
    for type in real vector halfvec; do
      cast=
      [ $type != halfvec ] || cast='::real[]'
      for what in cast encode evaluate tokenize train; do
        case $what in
          cast) statement="SELECT count((embedding$([ $type = real ] || echo ::real[]))[1]) FROM item_$type" ;;
          encode) statement="SELECT count(semtok.encode($tokenizer, embedding$cast)) FROM item_$type" ;;
          evaluate) statement="SELECT count(*) FROM semtok.evaluate($tokenizer, 'SELECT embedding FROM pgvector.item_$type')" ;;
          train) statement="SELECT semtok.train('tried', 'SELECT embedding FROM pgvector.item_$type', epochs => 2)" ;;
          tokenize)
            # the rows of a fresh copy
            echo "CREATE TABLE copy AS SELECT * FROM item_$type; VACUUM (FREEZE, ANALYZE) copy; CHECKPOINT;"
            statement="CALL semtok.tokenize('copy', 'embedding', 'sid', 'pgvector', batch_size => 1000000)" ;;
        esac
        echo "SELECT clock_timestamp() AS began \\gset"
        echo "$statement \\g /dev/null"
        # the first round is to warm up
        [ $i = 0 ] || echo "INSERT INTO timing SELECT '$what', '$type', extract(epoch FROM clock_timestamp() - :'began') * 1000;"
        [ $what != tokenize ] || echo 'DROP TABLE copy;'
        [ $what != train ] || echo "SELECT semtok.drop_tokenizer('tried') \\g /dev/null"
      done
    done
  done
} | sql

{
  bench_header "Embeddings in pgvector's types: $rows rows of 384 dimensions, 3 levels of 256 codes, one backend"
  echo "pgvector $(sql -c "SELECT extversion FROM pg_extension WHERE extname = 'vector'"); $data"
  psql -Xq -v ON_ERROR_STOP=1 <<SQL
SET search_path = pgvector, public;
\pset footer off
\echo 'ms, the fastest of $times, warm; beside real[]'
CREATE TEMP TABLE fastest AS
	SELECT what, type, min(ms) AS ms FROM timing GROUP BY what, type;
SELECT CASE what WHEN 'cast' THEN 'reading it as real[] alone' WHEN 'encode' THEN 'SELECT semtok.encode' WHEN 'evaluate' THEN 'semtok.evaluate'
		WHEN 'train' THEN 'semtok.train, 2 epochs' ELSE 'CALL semtok.tokenize' END AS verb,
	round(max(ms) FILTER (WHERE type = 'real')) AS "real[]",
	round(max(ms) FILTER (WHERE type = 'vector')) AS vector,
	round(max(ms) FILTER (WHERE type = 'halfvec')) AS halfvec,
	round((max(ms) FILTER (WHERE type = 'vector') / max(ms) FILTER (WHERE type = 'real'))::numeric, 2) AS vector_beside,
	round((max(ms) FILTER (WHERE type = 'halfvec') / max(ms) FILTER (WHERE type = 'real'))::numeric, 2) AS halfvec_beside
FROM fastest GROUP BY what ORDER BY array_position('{cast,encode,tokenize,evaluate,train}', what);
\pset tuples_only on
\pset format unaligned
SELECT CASE WHEN share <= 1.2 THEN 'met   ' ELSE 'MISSED' END || '  ' || m.type || ' at most 1.2 of real[] in ' || m.what
		|| ': ' || round(share::numeric, 2)
FROM fastest AS m JOIN fastest AS r ON r.what = m.what AND r.type = 'real', LATERAL (SELECT m.ms / r.ms AS share) AS s
WHERE m.type <> 'real' AND m.what <> 'cast' ORDER BY array_position('{encode,tokenize,evaluate,train}', m.what), m.type DESC;
SQL
} | bench_keep pgvector

sql -c 'SET client_min_messages = warning' -c "DROP SCHEMA pgvector CASCADE" -c "SELECT semtok.drop_tokenizer('pgvector')"
