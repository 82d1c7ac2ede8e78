# Sourced by demo/run: playing scenes and loading items.
# shellcheck shell=bash disable=SC2154

as_demo_server() { (cd "$place" && PGBIN=$PGBIN "$root/scripts/server" run "$place" "$@"); }
run_psql() { as_demo_server psql -XAtq -v ON_ERROR_STOP=1 "$@"; }

# Sentences (lines that begin with ») are wrapped to the page; tables and statements have their
# width already. A blank line after each statement.
on_page() {
  perl -Mutf8 -CSD -MText::Wrap -ne '
    BEGIN { $| = 1; $Text::Wrap::columns = 99; $Text::Wrap::huge = "overflow" }
    next if /^$/ && $blank;
    print "\n" if /^»/ && !$blank;
    $blank = /^$|^»|^Time: /;
    if (s/^» ?//) { print wrap("", "", $_), "\n" }
    else { print; print "\n" if /^Time: / }'
}

# play NUMBER TITLE FILE[,FILE] [VARIABLE=VALUE…]: one scene, from files of SQL.
play() {
  local number=$1 title=$2 variable
  local -a files variables=()
  IFS=, read -ra files <<<"$3"
  shift 3
  for variable in "$@"; do variables+=(-v "$variable"); done
  printf '\n\n(%s) %s\n' "$number" "$title"
  printf '%.0s─' {1..98}
  printf '\n'
  files=("${files[@]/#/$root/demo/scenes/}")
  cat "$root/demo/prelude.sql" "${files[@]/%/.sql}" |
    as_demo_server psql -Xq "${variables[@]}" 2>&1 | on_page || scene_failed "$number" "$title"
}

scene_failed() {
  failures=$((failures + 1))
  printf 'FAILED: scene (%s) %s\n' "$1" "$2"
}

load_functions() {
  run_psql -f - <"$root/demo/functions.sql"
}

# The .fvecs file of a dataset folder with most dimensions.
widest_fvecs() {
  local file dim best=0 widest=
  for file in "$1"/*.fvecs; do
    [ -e "$file" ] || continue
    dim=$("$root/demo/fvecs" -d "$file")
    [ "$dim" -le "$best" ] || { best=$dim; widest=$file; }
  done
  [ -n "$widest" ] || die "$1 holds no .fvecs file; name one: VECTORS=file"
  echo "$widest"
}

# load_dataset FOLDER VECTORS
load_dataset() {
  local folder=$1 vectors=$2 column columns=
  [ -r "$folder/items.tsv" ] || die "$folder/items.tsv cannot be read"
  # Whatever columns the file has, in its order.
  for column in $(head -1 "$folder/items.tsv" | tr -d '\r' | tr '\t' ' '); do
    case $column in
      item_id) columns+="$column int, " ;;
      *) columns+="\"$column\" text, " ;;
    esac
  done
  run_psql -c "CREATE TABLE staging_items (${columns%, })" \
    -c 'CREATE TABLE vectors (item_id int, embedding real[])' \
    -c 'CREATE TABLE staging_sequences (line text)'
  # No character of the text means anything: not a quote, not a backslash.
  run_psql -c "COPY staging_items FROM STDIN (FORMAT csv, DELIMITER E'\t', QUOTE E'\b', HEADER)" \
    <"$folder/items.tsv"
  "$root/demo/fvecs" "$vectors" | run_psql -c 'COPY vectors FROM STDIN (FORMAT binary)'
  [ ! -r "$folder/sequences.txt" ] ||
    run_psql -c 'COPY staging_sequences FROM STDIN' <"$folder/sequences.txt"
  run_psql -f - <"$root/demo/dataset.sql"
}
