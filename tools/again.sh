#!/usr/bin/env bash
# The tests that run in real time, again and again, each round in another order; then a table of what failed.
#
#   tools/again.sh [-k word …]    TIMES=20 rounds; arguments go to pytest. Ends with 1 when anything failed.
#   PHASES="unit" …               another part of the suite
#   BUSY=2 …                      beside so many processes that keep a core busy each
set -uo pipefail
cd "$(dirname "$0")/.."
times=${TIMES:-20}
log=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null' EXIT
for _ in $(seq "${BUSY:-0}"); do
  while :; do :; done &
done

echo "round  seconds  passed  failed (the output of each round is in $log)"
status=0
for round in $(seq "$times"); do
  began=$SECONDS
  PHASES=${PHASES:-real time} TEST_ORDER=$round tools/test.sh "$@" >"$log/$round" 2>&1 || status=1
  passed=$(awk '{ for (i = 2; i <= NF; i++) if ($i ~ /^passed/) sum += $(i - 1) } END { print sum + 0 }' "$log/$round")
  mapfile -t failures < <(sed -nE 's/^(FAILED|ERROR) ([^ ]+).*/\2/p' "$log/$round")
  printf '%5d  %7d  %6d  %6d\n' "$round" "$((SECONDS - began))" "$passed" "${#failures[@]}"
done
echo "times  what failed"
cat "$log"/* | sed -nE 's/^(FAILED|ERROR) ([^ ]+).*/\2/p' | sort | uniq -c | sort -rn
[ "$status" -ne 0 ] || echo "       nothing in $times rounds"
exit "$status"
