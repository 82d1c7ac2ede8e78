# Sourced by every benchmark: what machine and what build the numbers are from.
# shellcheck shell=bash

bench_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# The SIMD extensions of this CPU that matter to numbers, widest last.
bench_simd() {
  local flags flag found=()
  flags=" $(sed -n 's/^\(flags\|Features\)[[:space:]]*: //p' /proc/cpuinfo | head -1) "
  for flag in sse4_2 avx2 fma avx512f avx512_bf16 asimd sve; do
    [[ $flags != *" $flag "* ]] || found+=("$flag")
  done
  echo "${found[*]:-none known}"
}

bench_commit() {
  local commit
  commit=$(git -C "$bench_root" rev-parse --short=12 HEAD 2>/dev/null) || { echo unknown; return; }
  [ -z "$(git -C "$bench_root" status --porcelain -uno -- . ':!bench/results' 2>/dev/null)" ] ||
    commit="$commit with local changes"
  echo "$commit"
}

# bench_header TITLE [rivals]: what ran beside core's numbers is the rivals, beside SQL's the server,
# which is asked for its version, or bench_server says it.
bench_header() {
  local cpu
  cpu=$(lscpu 2>/dev/null | awk -F': *' '/^Model name/ {name = $2} /^CPU family/ {family = $2}
    /^Model:/ {model = $2} END {printf "%s (family %s, model %s)", name, family, model}')
  cat <<END
$1

CPU         ${cpu:-unknown}
SIMD        $(bench_simd)
cores       $(nproc)
compiler    $(${CC:-cc} --version 2>/dev/null | head -1)
$([ -n "${2:-}" ] && echo "rivals      $(bench/rivals/versions)" ||
  echo "PostgreSQL  ${bench_server:-$(psql -XAtqc 'SELECT version()')}")
commit      $(bench_commit)
date        $(date -u +%Y-%m-%d)

END
}

# bench_keep NAME: show standard input and keep it as bench/results/NAME.txt where that can be written.
bench_keep() {
  local file=$bench_root/bench/results/$1.txt
  if [ -w "$bench_root/bench/results" ]; then tee "$file"; else cat; fi
}
