# Sourced by demo/run, test/run and the scripts: where things are, and who runs the server.
# shellcheck shell=bash

# A make that called us is not the make that we call, and the caller's own server is none of ours.
unset MAKEFLAGS MAKELEVEL MFLAGS
for variable in "${!PG@}"; do
  case $variable in PG_CONFIG | PGBIN) ;; *) unset "$variable" ;; esac
done
unset variable

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# PostgreSQL refuses to run as root, so root lends the server to an unprivileged user.
server_user() {
  if [ "$(id -u)" != 0 ]; then id -un
  elif id -u postgres >/dev/null 2>&1; then echo postgres
  else echo nobody; fi
}

# Run a command as the server's user.
as_server_user() {
  local user; user=$(server_user)
  if [ "$(id -u)" = 0 ]; then
    setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups "$@"
  else
    "$@"
  fi
}

# The pg_config of a PostgreSQL with a server and its build files: PG_CONFIG, the one in PATH, or
# the newest of Debian's. Prints nothing and fails when there is none.
find_pg_config() {
  local candidate version
  local -a candidates=("${PG_CONFIG:-pg_config}")
  if [ -z "${PG_CONFIG:-}" ]; then
    for version in $(ls /usr/lib/postgresql 2>/dev/null | sort -rn); do
      candidates+=("/usr/lib/postgresql/$version/bin/pg_config")
    done
  fi
  for candidate in "${candidates[@]}"; do
    candidate=$(command -v "$candidate") || continue
    [ -e "$("$candidate" --pgxs)" ] && [ -x "$("$candidate" --bindir)/postgres" ] &&
      [ -e "$("$candidate" --includedir-server)/postgres.h" ] || continue
    [ "$("$candidate" --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')" -ge 15 ] || continue
    echo "$candidate"
    return 0
  done
  return 1
}

# The folder for the private PostgreSQL and the throw-away clusters: ./tmp, or, where the server's
# user cannot reach that (a checkout under /root, say) or a socket's path would grow too long for
# the system (107 bytes), one of our own under /var/tmp, remembered in ./tmp/place.
work_dir() {
  local place
  mkdir -p "$root/tmp"
  if [ ${#root} -le 70 ] && as_server_user test -x "$root/tmp" -a -r "$root/tmp"; then
    echo "$root/tmp"
    return 0
  fi
  place=$(cat "$root/tmp/place" 2>/dev/null || true)
  if [ -z "$place" ] || [ ! -d "$place" ] || [ ! -O "$place" ]; then
    place=$(mktemp -d /var/tmp/semtok.XXXXXX)
    chmod 755 "$place"
    echo "$place" >"$root/tmp/place"
  fi
  echo "$place"
}
