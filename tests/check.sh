#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: check.sh BUILD
#
# All tiers of tests, the cheap ones first, and one line of totals at the end:
# each tier's own last line is
# "N passed, N failed".
set -euo pipefail

[ $# -eq 1 ] || { echo "usage: check.sh BUILD" >&2; exit 2; }
build=$1
log=$(mktemp)
trap 'rm -f "$log"' EXIT

passed=0 failed=0
for tier in unit cli direct lifecycle stock; do
	echo "== $tier"
	status=0
	make --no-print-directory "O=$build" "check-$tier" 2>&1 | tee "$log" || status=$?
	totals=$(grep -E '[0-9]+ passed, [0-9]+ failed' "$log" | tail -n 1) || true
	if [[ $totals =~ ([0-9]+)\ passed,\ ([0-9]+)\ failed ]]; then
		passed=$((passed + BASH_REMATCH[1]))
		failed=$((failed + BASH_REMATCH[2]))
		((status == 0 || BASH_REMATCH[2] > 0)) || failed=$((failed + 1))
	else
		echo "check.sh: $tier ended without totals, with status $status"
		failed=$((failed + 1))
	fi
done
echo "$passed passed, $failed failed"
((failed == 0))
