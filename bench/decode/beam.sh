#!/bin/bash
# Beam search in SQL: the ten best of ITEMS items of 3 levels of 256 codes, a beam of 50, logits given,
# warm, one backend; QUERIES queries one by one, 256 at once, and each option. Beside it, on the same
# items and logits, the decoding loops of STATIC and RecTokens in PyTorch on the CPU: STATIC=checkout and
# RECTOKENS=checkout name them, bench/rivals/setup torch installs PyTorch.
#
# Items: uniform random codes. Queries: independent normal logits of standard deviation 2 (Box-Muller).
# Both from PostgreSQL's random() (xoroshiro128**) after setseed(0.42). Times are the server's, of a
# planned statement inside a procedure; what a client adds is measured apart, by pgbench.
#
#   ITEMS=1000000 QUERIES=1000 [STATIC=… RECTOKENS=…] bench/decode/beam.sh
set -euo pipefail
cd "$(dirname "$0")/../.."
. bench/lib.sh
items=${ITEMS:-1000000} queries=${QUERIES:-1000}
together=$((queries < 256 ? queries : 256)) # in a batch, and by the rivals
python=tmp/rivals/bin/python
slow=$((queries < 50 ? queries : 50)) # calls of what takes long

sql() { psql -XAtq -v ON_ERROR_STOP=1 -c 'SET client_min_messages = warning' "$@"; }

sql -v items="$items" -v queries="$queries" -f - <<'SQL'
CREATE EXTENSION IF NOT EXISTS semtok;
DROP SCHEMA IF EXISTS beam_bench CASCADE;
CREATE SCHEMA beam_bench;
SET search_path = beam_bench, public;
SET max_parallel_workers_per_gather = 0;
SELECT setseed(0.42) \g /dev/null
CREATE TABLE item AS
	SELECT i AS id, floor(random() * 1000)::int AS shop,
		semid(array[floor(random() * 256)::int, floor(random() * 256)::int, floor(random() * 256)::int], 1) AS sid
	FROM generate_series(1, :items) i;
CREATE INDEX item_sid ON item USING semtrie (sid);
CREATE TABLE logits AS
	SELECT n, (SELECT array_agg((2 * sqrt(-2 * ln(1 - random())) * cos(2 * pi() * random()))::real)
			   FROM generate_series(1, 768) WHERE n > 0) AS z
	FROM generate_series(1, :queries) n;
CREATE TABLE timing (place bigserial, what text, n int, ms float8, found semid[]);
-- The sets: the catalog, a thousandth of it, what one shopper has bought.
CREATE TABLE ids (what text, ids semset, ms float8);
DO $$
DECLARE
	started timestamptz;
	made semset;
	statement record;
BEGIN
	FOR statement IN VALUES ('catalog', 'true'), ('few', 'shop = 7'), ('bought', 'id <= 1000') LOOP
		EXECUTE 'SELECT semset_agg(sid) FROM item WHERE ' || statement.column2 INTO made;
		started := clock_timestamp();
		EXECUTE 'SELECT semset_agg(sid) FROM item WHERE ' || statement.column2 INTO made;
		INSERT INTO ids VALUES (statement.column1, made, extract(epoch FROM clock_timestamp() - started) * 1000);
	END LOOP;
END
$$;
CREATE TABLE asked AS
	SELECT n, z, semtok.logits(z, '{256,256,256}', 1, 'masked') AS masked, semtok.logits(z, '{256,256,256}', 1) AS "full",
		semtok.logits(z, '{256,256,256}', 1, 'masked', ids) AS masked_few, semtok.logits(z, '{256,256,256}', 1, 'full', ids) AS full_few
	FROM logits, ids WHERE what = 'few';
CREATE UNIQUE INDEX ON asked (n);
VACUUM (FREEZE, ANALYZE) item;
VACUUM ANALYZE asked;
ANALYZE ids;

-- A model of a prefix: here it looks at the level only.
CREATE FUNCTION scorer(context jsonb, prefixes semid[], level int) RETURNS real[] LANGUAGE sql STABLE AS $$
	SELECT array_agg(row) FROM unnest(prefixes), LATERAL
		(SELECT z[level * 256 + 1 : level * 256 + 256] AS row FROM beam_bench.logits WHERE n = (context ->> 'n')::int) r
$$;
CREATE UNIQUE INDEX ON logits (n);

-- A procedure measures one statement, planned once; its parameters are fetched out of line before the
-- clock starts, as those of a client would be.
CREATE PROCEDURE measure(what text, statement text, first int, last int) LANGUAGE plpgsql AS $measure$
BEGIN
	EXECUTE format($create$
		CREATE OR REPLACE PROCEDURE beam_bench.measured(first int, last int) LANGUAGE plpgsql AS $$
		DECLARE
			z real[]; masked semquery; full_ semquery; masked_few semquery; full_few semquery;
			catalog semset; few semset; bought semset;
			many semquery[]; many_full semquery[];
			started timestamptz;
			took float8;
			found semid[];
		BEGIN
			SELECT ids INTO catalog FROM beam_bench.ids WHERE what = 'catalog';
			SELECT ids INTO few FROM beam_bench.ids WHERE what = 'few';
			SELECT ids INTO bought FROM beam_bench.ids WHERE what = 'bought';
			SELECT array_agg(a.masked ORDER BY n), array_agg(a."full" ORDER BY n) INTO many, many_full
				FROM beam_bench.asked a WHERE n <= 256;
			FOR i IN first .. last LOOP
				SELECT a.z, a.masked, a."full", a.masked_few, a.full_few INTO z, masked, full_, masked_few, full_few
					FROM beam_bench.asked a WHERE n = i;
				started := clock_timestamp();
				SELECT array_agg(sid) INTO found FROM (%s) AS answer;
				took := extract(epoch FROM clock_timestamp() - started) * 1000;
				INSERT INTO beam_bench.timing (what, n, ms, found) VALUES (%L, i, took, found);
			END LOOP;
		END
		$$ $create$, statement, what);
	CALL beam_bench.measured(1, least(last, 20));
	DELETE FROM beam_bench.timing t WHERE t.what = measure.what;
	CALL beam_bench.measured(first, last);
END
$measure$;
SQL

run() { sql -c 'SET search_path = beam_bench, public' -c 'SET max_parallel_workers_per_gather = 0' "$@"; }
measure() { run -c "CALL measure('$1', \$q\$$2\$q\$, 1, $3)"; } # WHAT STATEMENT CALLS

table="semtok.beam_search('beam_bench.item',"
for norm in masked full; do
  query=$norm
  many=many
  [ $norm = masked ] || { query=full_; many=many_full; }
  measure "$norm, table" "SELECT sid FROM $table $query)" "$queries"
  measure "$norm, set" "SELECT sid FROM semtok.beam_search_set(catalog, $query)" "$queries"
  measure "$norm, table, exact" "SELECT sid FROM $table $query, exact => true)" "$queries"
  measure "$norm, table, 1,000 excluded" "SELECT sid FROM $table $query, exclude => bought)" "$queries"
  measure "$norm, table, quotas 3 and 1" "SELECT sid FROM $table $query, max_per_prefix => '{\"1\": 3, \"2\": 1}')" "$queries"
  measure "$norm, table, within a thousandth" "SELECT sid FROM $table ${norm}_few)" "$queries"
  measure "$norm, set of that thousandth" "SELECT sid FROM semtok.beam_search_set(few, $query)" "$queries"
  measure "$norm, table, ids of 50" "SELECT sid FROM $table $query, k => 50)" "$queries"
  measure "$norm, 256 at once, table" "SELECT sid FROM semtok.beam_search_batch('beam_bench.item', $many)" 10
  measure "$norm, 256 by LATERAL, table" "SELECT f.sid FROM unnest($many) q, LATERAL semtok.beam_search('beam_bench.item', q) f" 10
  measure "$norm, 256 at once, set" "SELECT sid FROM semtok.beam_search_batch_set(catalog, $many)" 10
done
measure 'masked, table, query of logits made' "SELECT sid FROM $table semtok.logits(z, '{256,256,256}', 1, 'masked'))" "$queries"
measure 'masked, table, drawn' "SELECT sid FROM $table masked, temperature => 1, seed => i)" "$queries"
measure 'masked, table, drawn as RecTokens does' "SELECT sid FROM $table masked, temperature => 1, seed => i, sampler => 'rectokens')" "$queries"
measure 'masked, table, scorer in SQL' \
  "SELECT sid FROM semtok.beam_search_with('beam_bench.item', 'beam_bench.scorer(jsonb, semid[], int)', jsonb_build_object('n', i))" "$slow"
measure 'full, ordered index scan' 'SELECT sid FROM beam_bench.item ORDER BY sid <~> full_ LIMIT 10' "$queries"
measure 'full, ordered index scan, WHERE one in 1,000' 'SELECT sid FROM beam_bench.item WHERE shop = 7 ORDER BY sid <~> full_ LIMIT 10' "$slow"

# What a client sees, and what of it any statement costs.
folder=$(mktemp -d)
trap 'rm -r "$folder"' EXIT
echo 'SELECT 1;' >"$folder/nothing.sql"
echo "\\set n random(1, $queries)
SELECT f.sid FROM beam_bench.asked, semtok.beam_search('beam_bench.item', masked) f WHERE n = :n;" >"$folder/search.sql"
client() { pgbench -n -M prepared -c 1 -t "$queries" --random-seed=42 -f "$folder/$1.sql" 2>/dev/null | sed -n 's/^latency average = \(.*\) ms/\1/p'; }
client nothing >/dev/null
nothing=$(client nothing) client=$(client search)

# The rivals: their own tries of the same ids.
absent=
run -c "COPY (SELECT DISTINCT ON (sid) trim('{}' FROM semid_codes(sid)::text) FROM item ORDER BY sid) TO STDOUT" >"$folder/ids"
run -c "COPY (SELECT trim('{}' FROM z::text) FROM logits ORDER BY n LIMIT $together) TO STDOUT" >"$folder/logits"
rival() { # NAME LAYOUT CHECKOUT
  [ -n "$3" ] || { absent+="$1: no checkout is named"$'\n'; return; }
  "$python" -c 'import torch, numpy' 2>/dev/null || { absent+="$1: no PyTorch (bench/rivals/setup torch)"$'\n'; return; }
  local threads
  for threads in $(printf '1\n%s\n' "$(nproc)" | sort -un); do
    "$python" bench/rivals/decode.py "$2" "$3" "$folder/ids" "$folder/logits" 3 256 50 10 "$together" "$threads" |
      awk -v what="$1, threads $threads" '{printf "%s\t%d\t%s\t", what ($1 ? "" : ", 256 at once"), $1, $2
        sep = "{"; for (i = 3; i <= NF; i++) {printf "%s\"%s@1\"", sep, $i; sep = ","} print $1 ? "}" : "\\N"}' >"$folder/rival"
    run -c 'COPY timing (what, n, ms, found) FROM STDIN' <"$folder/rival"
  done
}
rival STATIC static "${STATIC:-}"
rival RecTokens rectokens "${RECTOKENS:-}"

{
  bench_header "Beam search in SQL: ten best of $items items, 3 levels of 256 codes, a beam of 50"
  [ -z "$absent" ] || printf 'not measured beside:\n%s\n' "$absent"
  [ ! -x $python ] || "$python" -c 'import torch; print("PyTorch", torch.__version__, "on the CPU; SQL in one process\n")' 2>/dev/null || true
  psql -Xq -v ON_ERROR_STOP=1 -v nothing="$nothing" -v client="$client" \
    -v together="$together" <<'SQL'
SET search_path = beam_bench, public;
\pset footer off
\pset null '-'
\echo 'ms a call in the server, warm'
CREATE TEMP VIEW row AS
	SELECT what, count(*) AS calls, percentile_cont(0.5) WITHIN GROUP (ORDER BY ms) AS p50,
		percentile_cont(0.99) WITHIN GROUP (ORDER BY ms) AS p99, min(place) AS place
	FROM timing GROUP BY what;
SELECT what, calls, round(p50::numeric, 3) AS p50_ms, round(p99::numeric, 3) AS p99_ms,
	CASE WHEN what LIKE '%, 256 %' THEN round((p50 / :together)::numeric, 3) END AS ms_a_query
FROM row ORDER BY place;
SELECT 'building the set: ' || string_agg(what || ', ' || semset_size(ids) || ' ids, ' || round(ms) || ' ms', '; ' ORDER BY ms DESC) AS sets FROM ids;
SELECT 'a client by pgbench -M prepared: ' || :'client' || ' ms a search on average, of which a statement that does nothing ' || :'nothing' AS client;
\pset tuples_only on
\pset format unaligned
\echo
SELECT 'same ten ids in the same order as ' || r.what || ', norm ' || t.norm || ': ' ||
	count(*) FILTER (WHERE m.found = r.found) || ' of ' || count(*) || '; the same set: ' ||
	count(*) FILTER (WHERE m.found @> r.found)
FROM timing r JOIN (VALUES ('RecTokens', 'masked'), ('STATIC', 'full')) AS t(rival, norm) ON r.what LIKE t.rival || ', threads 1'
JOIN timing m ON m.n = r.n AND m.what = t.norm || ', table' GROUP BY r.what, t.norm ORDER BY 1;
SELECT s.what || ' = ' || m.what || ': ' || count(*) FILTER (WHERE m.found = s.found) || ' of ' || count(*)
FROM timing s JOIN timing m ON m.n = s.n
WHERE (s.what, m.what) IN (('masked, set', 'masked, table'), ('full, set', 'full, table'),
	('full, set of that thousandth', 'full, table, within a thousandth'), ('masked, set of that thousandth', 'masked, table, within a thousandth'),
	('masked, 256 at once, set', 'masked, 256 at once, table'), ('masked, 256 by LATERAL, table', 'masked, 256 at once, table'),
	('full, 256 by LATERAL, table', 'full, 256 at once, table'), ('masked, table, scorer in SQL', 'masked, table'),
	('masked, table, query of logits made', 'masked, table'), ('full, table', 'full, table, exact'), ('masked, table', 'masked, table, exact'))
GROUP BY s.what, m.what ORDER BY 1;
SELECT 'rows of the ordered index scan that are among the ids of full, table, exact: ' ||
	sum((SELECT count(*) FROM unnest(s.found) f WHERE f = ANY (e.found))) || ' of ' || sum(cardinality(s.found))
FROM timing s JOIN timing e USING (n) WHERE s.what = 'full, ordered index scan' AND e.what = 'full, table, exact';
SELECT m.what || ': ' || count(*) FILTER (WHERE f <@ ids.ids) || ' of ' || count(*) || ' ids are of the set'
FROM timing m JOIN ids ON ids.what = CASE WHEN m.what LIKE '%excluded' THEN 'bought' WHEN m.what LIKE '%thousandth' THEN 'few' END,
LATERAL unnest(found) f GROUP BY m.what ORDER BY m.what;
SELECT 'plain search in the exact answer, ids of ten on average: ' || string_agg(norm || ' ' || round(share, 3), '; ')
FROM (SELECT split_part(m.what, ',', 1) AS norm, avg((SELECT count(*) FROM unnest(m.found) f WHERE f = ANY (e.found))) AS share
	FROM timing m JOIN timing e ON m.n = e.n AND e.what = m.what || ', exact' GROUP BY 1) s;
\echo
CREATE TEMP TABLE goal (place serial, what text, value numeric, most numeric);
INSERT INTO goal (what, value, most)
SELECT norm || ': ' || g.what, g.value::numeric, g.most
FROM (VALUES ('masked'), ('full')) n(norm),
LATERAL (SELECT p50 FROM row WHERE what = norm || ', table') AS plain(p50),
LATERAL (VALUES
	(1, 'one query of a table at most 0.5 ms', p50, 0.5),
	(2, 'one query of a set at most 0.5 ms', (SELECT p50 FROM row WHERE what = norm || ', set'), 0.5),
	(3, 'at most 1/20 of the rival''s time, the faster of its threads',
		(SELECT plain.p50 / min(p50) FROM row WHERE what LIKE CASE norm WHEN 'masked' THEN 'RecTokens' ELSE 'STATIC' END || ', threads _'), 0.05),
	(4, '256 at once at most 1/3 of one by one, table', (SELECT p50 / :together / plain.p50 FROM row WHERE what = norm || ', 256 at once, table'), 0.3333),
	(5, '1,000 excluded at most 1.5 of plain', (SELECT row.p50 / plain.p50 FROM row WHERE what = norm || ', table, 1,000 excluded'), 1.5),
	(6, 'quotas at most 1.5 of plain', (SELECT row.p50 / plain.p50 FROM row WHERE what = norm || ', table, quotas 3 and 1'), 1.5),
	(7, 'within a thousandth no slower', (SELECT row.p50 / plain.p50 FROM row WHERE what = norm || ', table, within a thousandth'), 1))
	AS g(n, what, value, most)
WHERE g.value IS NOT NULL ORDER BY norm DESC, g.n;
SELECT CASE WHEN value <= most THEN 'met   ' ELSE 'MISSED' END || '  ' || what || ': ' || round(value, 3) FROM goal ORDER BY place;
SQL
} | bench_keep decode-beam
sql -c 'DROP SCHEMA beam_bench CASCADE'
