#!/usr/bin/env bash
# The whole test suite, in phases: what runs in real time, drives a browser or kills databases comes when nothing else
# does. Every phase runs, also after one that failed. Arguments go to each pytest.
#
#   tools/test.sh [-k word …]     from the checkout, with .venv made (`make test` does both)
#   PHASES="real time" …          of "unit", "real neighbours" and "real time", those named
#   TESTS="tests/e2e …" …         of the two latter, the tests of these folders and files
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
cores=$(getconf _NPROCESSORS_ONLN)
read -ra tests <<<"${TESTS:-tests}"
failed=()

phase() { # name, then pytest's arguments
  [[ ${PHASES:-$1} == *"$1"* ]] || return 0
  echo "== $1 =="
  local began=$SECONDS status=0
  "$python" -m pytest "${@:2}" || status=$?
  [ "$status" -eq 5 ] && status=0 # no test of this phase was asked for
  echo "== $1: $((SECONDS - began)) s =="
  [ "$status" -eq 0 ] || failed+=("$1")
}

# Where nothing may be written beside the sources, each of some hundred processes compiles them anew.
unset PYTHONDONTWRITEBYTECODE

if [ "${PHASES:-}" != unit ]; then
  echo "== what the tests build or fetch, once =="
  PYTHONPATH=tests "$python" -m support.builds || exit 1
fi
phase "unit" -n "$cores" --dist worksteal tests/unit "$@"
# Beside a server, a test waits more than it computes (CONTRIBUTING.md has the shares).
phase "real neighbours" -n "$((2 * cores))" --dist loadfile -m "not realtime" "${tests[@]}" --ignore tests/unit "$@"
# A test in real time mostly listens: one process uses about half a core (CONTRIBUTING.md).
phase "real time" -n "$((cores + 1))" --dist worksteal -m realtime "${tests[@]}" "$@"

if [ "${#failed[@]}" -gt 0 ]; then
  echo "failed: ${failed[*]}"
  exit 1
fi
