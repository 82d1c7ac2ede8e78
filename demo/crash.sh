# Sourced by demo/run: what scene 7 is about, killing the server under load.
# shellcheck shell=bash disable=SC2154

# Insert items one by one, each its own transaction, and note what the server acknowledged.
insert_until_killed() {
  local writer=$1 noted=$2
  {
    echo '\set ON_ERROR_STOP on'
    perl -e 'printf "INSERT INTO items (item_id, title, embedding, sid)
               SELECT %d, title, embedding, sid FROM items WHERE item_id = %d RETURNING item_id;\n",
               1000000 + $_ * 4 + $ARGV[0], 1 + $_ % $ARGV[1] for 0 .. 200000' "$writer" "$items" 2>/dev/null
  } | run_psql >"$noted" 2>/dev/null
}

# A process's state (R, S, T, Z …) and parent, of which nothing is printed when there is no process.
state_and_parent() { sed -E 's/^.*\) (\S+) (\S+) .*/\1 \2/' "/proc/$1/stat" 2>/dev/null; }

# Is a process running? One that died is not, though nobody may have reaped it.
running() {
  local state
  state=$(state_and_parent "$1") || return 1
  [ "${state:0:1}" != Z ]
}

children_of() {
  local dir state
  for dir in /proc/[0-9]*; do
    state=$(state_and_parent "${dir#/proc/}") || continue
    [ "${state#* }" != "$1" ] || echo "${dir#/proc/}"
  done
}

# Sets the table acknowledged.
crash() {
  local noted postmaster pids pid writer writers=()
  noted=$(mktemp -d)
  for writer in 0 1 2 3; do
    insert_until_killed "$writer" "$noted/$writer" &
    writers+=($!)
  done
  while [ "$(cat "$noted"/? 2>/dev/null | wc -l)" -lt 500 ] && running "${writers[0]}"; do
    sleep 0.05
  done
  postmaster=$(head -1 "$place/data/postmaster.pid")
  # Stopped first, it cannot start a child that the list would miss.
  kill -STOP "$postmaster"
  while [[ $(state_and_parent "$postmaster") == [RSD]* ]]; do sleep 0.01; done
  pids=$(children_of "$postmaster")
  # shellcheck disable=SC2086
  kill -9 "$postmaster" $pids 2>/dev/null || true
  wait "${writers[@]}" || true
  for pid in $postmaster $pids; do
    while running "$pid"; do sleep 0.05; done
  done
  # PostgreSQL takes a dead postmaster for a running one until its parent has reaped it, which the
  # first process of some containers never does.
  for _ in {1..40}; do
    [ -e "/proc/$postmaster" ] || break
    sleep 0.05
  done
  [ ! -e "/proc/$postmaster" ] || rm -f "$place/data/postmaster.pid" "$place"/.s.PGSQL.*.lock
  # pg_ctl warns of the lock file that the killed server left.
  scripts/server start "$place" 2>"$place/restart.log" || { cat "$place/restart.log"; return 1; }
  cat "$noted"/? >"$noted/all"
  run_psql -c 'CREATE TABLE acknowledged (item_id int)'
  run_psql -c 'COPY acknowledged FROM STDIN' <"$noted/all"
  rm -r "$noted"
}
