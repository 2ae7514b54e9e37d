#!/usr/bin/env bash
# A copy of what git tracks, with its history, in build/compiled: compiled there with mypyc, then tested as tools/test.sh
# does, with the same variables and arguments. The checkout stays as it is.
#
#   tools/compiled.sh [-k word …]     PHASES=unit for the unit tests only, PHASES=none for none
set -euo pipefail
cd "$(dirname "$0")/.."
checkout=$PWD copy=$PWD/build/compiled
rm -rf "$copy"
git clone --quiet --shared --no-checkout . "$copy"
git ls-files -z | while IFS= read -r -d '' name; do
  [ ! -e "$name" ] && [ ! -L "$name" ] || printf '%s\0' "$name"
done | xargs -0 cp -P --parents -t "$copy"
cd "$copy"
git reset --quiet
ln -s "$checkout/.venv" .venv
for folder in $(git ls-files '*package-lock.json' | xargs dirname); do # fetched there already, as a rule
  [ ! -d "$checkout/$folder/node_modules" ] || ln -s "$checkout/$folder/node_modules" "$folder/node_modules"
done

GATEWAY_COMPILED=1 .venv/bin/python setup.py --quiet build_ext --inplace
.venv/bin/python -m gateway version
export TESTED=compiled # which test_version.py holds the modules to
[ "${PHASES:-}" = none ] || exec tools/test.sh "$@"
