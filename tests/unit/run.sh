#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# Run unit test programs; print what failed and one line of totals. PROGRAM.tap
# says how each test ended.
#
#   tests/unit/run.sh PROGRAM...
set -euo pipefail

# For tests that ask for no other: Check's own 4 s are too few on a busy machine.
export CK_DEFAULT_TIMEOUT=60
# And the limits of the others are as of one that has nothing else to do.
export CK_TIMEOUT_MULTIPLIER=4

passed=0 failed=0
for program in "$@"; do
	rm -f "$program.tap"
	if output=$(CK_TAP_LOG_FILE_NAME=$program.tap "$program" 2>&1); then
		status=0
	else
		status=$?
	fi
	# Check's totals: "100%: Checks: 12, Failures: 0, Errors: 0".
	if [[ $output =~ Checks:\ ([0-9]+),\ Failures:\ ([0-9]+),\ Errors:\ ([0-9]+) ]]; then
		bad=$((BASH_REMATCH[2] + BASH_REMATCH[3]))
		passed=$((passed + BASH_REMATCH[1] - bad))
		failed=$((failed + bad))
		if ((status != 0 && bad == 0)); then
			failed=$((failed + 1))
		fi
	else
		failed=$((failed + 1))
	fi
	if ((status != 0)); then
		printf '%s (status %d):\n%s\n' "$program" "$status" "$output"
	fi
done
echo "unit: $passed passed, $failed failed"
((failed == 0 && passed > 0))
