#!/bin/bash
# Masks: what may follow each of PREFIXES prefixes of ITEMS items of 8 levels of 2048 codes, by mask_packed
# in one call, warm, measured inside the server; at every depth, and as rows of a vocabulary of 151,936
# tokens in which each level has its own (offsets). Beside it the masking steps of STATIC and RecTokens in
# PyTorch on the CPU, over the trie that semset_to_npz writes of the same items: STATIC=checkout and
# RECTOKENS=checkout name them, bench/rivals/setup torch installs PyTorch.
#
# Items: uniform random codes, from PostgreSQL's random() (xoroshiro128**) after setseed(0.42). Prefixes:
# those of every so-manieth item. The rivals are told the node of each prefix and given logits to mask;
# mask finds the nodes itself, and makes bits.
#
#   ITEMS=1000000 PREFIXES=256 RUNS=50 [STATIC=… RECTOKENS=…] bench/decode/mask.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
. bench/lib.sh
items=${ITEMS:-1000000} prefixes=${PREFIXES:-256} runs=${RUNS:-50}
python=tmp/rivals/bin/python
offsets='{135552,137600,139648,141696,143744,145792,147840,149888}'

sql() { psql -XAtq -v ON_ERROR_STOP=1 -c 'SET client_min_messages = warning' "$@"; }

sql -v items="$items" -v prefixes="$prefixes" -f - <<'SQL'
CREATE EXTENSION IF NOT EXISTS semtok;
DROP SCHEMA IF EXISTS mask_bench CASCADE;
CREATE SCHEMA mask_bench;
SET search_path = mask_bench, public;
SET max_parallel_workers_per_gather = 0;
SELECT setseed(0.42) \g /dev/null
CREATE TABLE item AS
	SELECT i AS id, semid(array(SELECT floor(random() * 2048)::int FROM generate_series(1, 8) WHERE i > 0), 1) AS sid
	FROM generate_series(1, :items) i;
CREATE INDEX item_sid ON item USING semtrie (sid);
VACUUM (FREEZE, ANALYZE) item;
CREATE TABLE catalog AS SELECT semset_agg(sid) AS ids FROM item;
CREATE TABLE asked AS
	SELECT depth, array_agg(CASE WHEN depth > 0 THEN semid_prefix(sid, depth) END ORDER BY id) AS prefixes
	FROM item, generate_series(0, 7) depth WHERE id % (:items / :prefixes) = 0 AND id / (:items / :prefixes) <= :prefixes GROUP BY depth;
CREATE TABLE timing (what text, depth int, vocab int, ms float8);

CREATE PROCEDURE measure(what text, call text, depth int, vocab int, offsets int[], runs int) LANGUAGE plpgsql AS $$
DECLARE
	p semid[];
	started timestamptz;
	mask bytea;
BEGIN
	SELECT prefixes INTO p FROM asked WHERE asked.depth = measure.depth;
	FOR i IN 0 .. runs LOOP
		started := clock_timestamp();
		EXECUTE call INTO mask USING p, vocab, offsets;
		IF i > 0 THEN
			INSERT INTO timing VALUES (what, depth, vocab, extract(epoch FROM clock_timestamp() - started) * 1000);
		END IF;
	END LOOP;
END
$$;
SQL

run() { sql -c 'SET search_path = mask_bench, public' "$@"; }

measure() { # WHAT CALL VOCAB OFFSETS RUNS
  for depth in 0 1 2 3 4 5 6 7; do
    run -c "CALL measure('$1', '$2', $depth, $3, $4, $5)"
  done
}
for vocab in 2048 151936; do
  by=NULL
  [ $vocab = 2048 ] || by="'$offsets'"
  measure table 'SELECT semtok.mask_packed($q$mask_bench.item$q$, $1, $2, $3)' $vocab "$by" "$runs"
  measure set 'SELECT semtok.mask_packed_set(ids, $1, $2, $3) FROM mask_bench.catalog' $vocab "$by" "$((runs / 10 + 1))"
done

# One line for each rival: name, depth, vocab, ms; or what is missing.
absent=
rival() { # NAME LAYOUT CHECKOUT
  [ -n "$3" ] || { absent+="$1: no checkout is named"$'\n'; return; }
  "$python" -c 'import torch, numpy' 2>/dev/null || { absent+="$1: no PyTorch (bench/rivals/setup torch)"$'\n'; return; }
  local file
  file=$(mktemp -d)
  for vocab in 2048 151936; do
    local by=NULL dense=2
    [ $vocab = 2048 ] || { by="'$offsets'"; dense=1; }
    run -c "SELECT encode(semset_to_npz(ids, $vocab, $dense, '$2', $by), 'base64') FROM catalog" | base64 -d >"$file/trie.npz"
    run -c "SELECT depth, translate(p::text, '[]@', '{} ') FROM asked, unnest(prefixes) WITH ORDINALITY u(p, n) WHERE depth > 0 ORDER BY depth, n" |
      sed 's/ 1$//' >"$file/prefixes"
    "$python" bench/rivals/mask.py "$2" "$3" "$file/trie.npz" "$file/prefixes" "$vocab" "$by" "$dense" "$runs" |
      while read -r depth ms; do run -c "INSERT INTO timing VALUES ('$1', $depth, $vocab, $ms)"; done
  done
  rm -r "$file"
}
rival STATIC static "${STATIC:-}"
rival RecTokens rectokens "${RECTOKENS:-}"

{
  bench_header "Masks: what may follow each of $prefixes prefixes, $items items, 8 levels of 2048 codes"
  [ -z "$absent" ] || printf 'not measured beside:\n%s\n' "$absent"
  [ ! -x $python ] || "$python" -c 'import torch; print("PyTorch", torch.__version__, "on", torch.get_num_threads(), "threads; SQL in one process\n")' 2>/dev/null || true
  psql -Xq -v ON_ERROR_STOP=1 <<'SQL'
SET search_path = mask_bench, public;
\pset footer off
\pset null '-'
\echo 'ms a call, medians: mask_packed of the table and of a set; the masking step of the others'
SELECT vocab, depth, round((percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FILTER (WHERE what = 'table'))::numeric, 3) AS "table",
	round((percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FILTER (WHERE what = 'set'))::numeric, 3) AS "set",
	round((percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FILTER (WHERE what = 'STATIC'))::numeric, 3) AS "STATIC",
	round((percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) FILTER (WHERE what = 'RecTokens'))::numeric, 3) AS "RecTokens"
FROM timing GROUP BY vocab, depth ORDER BY vocab, depth;
SELECT 'all ' || count(*) || ' depths within 1 ms at V = 2048: ' || bool_and(ms <= 1) || '; mean ' || round(avg(ms)::numeric, 3) || ' ms (goal: 1)' AS answer
FROM (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) AS ms FROM timing WHERE what = 'table' AND vocab = 2048 GROUP BY depth) t;
SELECT 'table and set give the same bits: ' || bool_and(semtok.mask_packed('mask_bench.item', prefixes, 2048) = semtok.mask_packed_set(ids, prefixes, 2048)) AS answer
FROM asked, catalog;
SQL
} | bench_keep decode-mask
sql -c 'DROP SCHEMA mask_bench CASCADE'
