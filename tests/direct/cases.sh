# shellcheck shell=bash
# SPDX-License-Identifier: BSD-2-Clause
#
# For scripts whose tests are functions called case_NAME. Each runs in a shell of its
# own, in an empty folder of $work, after set_up().

work='' passed=0 failed=0
# Who is told alone to end does so after the case, which has things to take away.
trap 'exit 1' INT TERM HUP

fail() {
	echo "$*"
	exit 1
}

# finish STATUS: that which the VM, $pid, ends with
finish() {
	local status=0
	wait "$pid" || status=$?
	pid=
	[ "$status" -eq "$1" ] || fail "exit status $status instead of $1"
}

set_up() { :; }

run_case() {
	local status tier=$1 name=$2
	mkdir "$work/$name"
	set +e # in a condition, "set -e" would be off in the case as well
	(set -e; cd "$work/$name"; set_up; "case_$name") > "$work/log" 2>&1
	status=$?
	set -e
	if [ "$status" -eq 0 ]; then
		passed=$((passed + 1))
		echo "ok $((passed + failed)) - $tier/$name"
	else
		failed=$((failed + 1))
		echo "not ok $((passed + failed)) - $tier/$name"
		head -n 50 -q "$work/log" "$work/$name/"{errors,said,console} 2> /dev/null |
			sed 's/^/# /' || true
	fi
	rm -rf "${work:?}/$name"
}

# run_cases TIER: all of them, as TAP, then "N passed, N failed"
run_cases() {
	local cases name
	mapfile -t cases < <(declare -F | sed -n 's/^declare -f case_//p')
	echo "TAP version 13"
	echo "1..${#cases[@]}"
	for name in "${cases[@]}"; do
		run_case "$1" "$name"
	done
	echo "$passed passed, $failed failed"
	((failed == 0))
}
