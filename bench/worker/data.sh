# Sourced by the SQL benchmarks of the worker: a table item (id, embedding) of so many rows.
# shellcheck shell=bash
#
# The text embeddings of the shared data (SEMTOK_SHARED, or shared beside the checkout), repeated, with
# another first value each time, so that a sample, which is drawn by content, is spread over them;
# without them made-up ones of the same shape.

vectors=${SEMTOK_SHARED:-../shared}/data/beauty/minilm384.fvecs distinct=12101

sql() { psql -XAtq -v ON_ERROR_STOP=1 "$@"; }

# make_items SCHEMA ROWS: the schema made anew, with the extension.
make_items() {
  sql -v schema="$1" <<'SQL'
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS semtok;
DROP SCHEMA IF EXISTS :schema CASCADE;
CREATE SCHEMA :schema;
CREATE TABLE :schema.vector (id int, embedding real[]);
CREATE TABLE :schema.timing (what text, seconds float8, wal float8);
SQL
  if [ -r "$vectors" ]; then
    data="text embeddings, $distinct of them repeated with another first value each time"
    demo/fvecs "$vectors" | sql -c "COPY $1.vector FROM STDIN (FORMAT binary)"
  else
    data='made-up embeddings (normal numbers): the real ones are not here'
    sql -v schema="$1" -v distinct=$distinct <<'SQL'
SELECT setseed(0.42) \g /dev/null
INSERT INTO :schema.vector
	SELECT i, (SELECT array_agg((sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()))::real)
			   FROM generate_series(1, 384) WHERE i > 0)
	FROM generate_series(1, :distinct) i;
SQL
  fi
  sql -v schema="$1" -v rows="$2" -v distinct=$distinct <<'SQL'
SET search_path = :schema, public;
CREATE TABLE item AS
	SELECT g AS id, array[(g / 1e8)::real] || embedding[2:] AS embedding
	FROM generate_series(1, :rows) g JOIN vector ON vector.id = 1 + (g - 1) % :distinct;
VACUUM (FREEZE, ANALYZE) item;
SQL
}
