#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: check.sh BUILD [TIER]...
#
# All tiers of tests, the cheap ones first, and one line of totals at the end.
# Each tier ends with a line of its own, "N passed, N failed".
set -euo pipefail

[ $# -ge 1 ] || { echo "usage: check.sh BUILD [TIER]..." >&2; exit 2; }
build=$1
shift
[ $# -gt 0 ] || set -- unit sanitized cli bench direct lifecycle hangs load stats probes trace stock conformance
log=$(mktemp)
trap 'rm -f "$log"' EXIT

passed=0 failed=0
for tier in "$@"; do
	echo "== $tier"
	begin=$SECONDS status=0
	make -j"$(nproc)" --no-print-directory "O=$build" "check-$tier" 2>&1 | tee "$log" || status=$?
	totals=$(grep -E '[0-9]+ passed, [0-9]+ failed' "$log" | tail -n 1) || true
	if [[ $totals =~ ([0-9]+)\ passed,\ ([0-9]+)\ failed ]]; then
		passed=$((passed + BASH_REMATCH[1]))
		failed=$((failed + BASH_REMATCH[2]))
		((status == 0 || BASH_REMATCH[2] > 0)) || failed=$((failed + 1))
	else
		echo "check.sh: $tier ended without totals, with status $status"
		failed=$((failed + 1))
	fi
	echo "== $tier took $((SECONDS - begin)) s"
done
echo "$passed passed, $failed failed"
((failed == 0))
