#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: check.sh
#
# Does report.pl judge as it should? It gets sample, results whose verdicts can be
# worked out by hand, and must print sample.out. TAP, then "N passed, N failed".
set -euo pipefail
cd "$(dirname "$0")"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
number=0 failed=0

# check TEXT COMMAND...
check() {
	local result=ok
	number=$((number + 1))
	"${@:2}" > "$work/diff" 2>&1 || { result="not ok"; failed=$((failed + 1)); }
	echo "$result $number - $1"
	[ "$result" = ok ] || sed 's/^/# /' "$work/diff"
}

# judge FILE: report.pl's status, and what it says in $work/out
judge() {
	status=0
	./report.pl "$1" > "$work/out" 2>&1 || status=$?
}

judge sample
check "medians, ratios and verdicts" diff -u sample.out "$work/out"
check "a target without results fails" test $status -eq 1

for case in cached/randread/4k/{1,32,32/interrupt,128} cached/read/1m/4 disk/randread/4k/32 \
	stock/fio-randread-4k-d{1,32} boot/init first-output first-run memory binary; do
	for monitor in host vmm{,-nopoll} qemu-{iothread{,-nopoll},main,q35,microvm}; do
		printf "$case\t$monitor\t%s\t1\t1\n" iops p50_ns ms kib \
			{cpu_us,syscalls,exits,interrupts}_per_request
	done
done > "$work/complete"
judge "$work/complete"
check "misses are results: status 0" test $status -eq 0
check "and all of them ran" grep -q ', 0 not run$' "$work/out"

printf 'case\tvmm\tiops\t1\tmany\n' > "$work/bad"
judge "$work/bad"
check "what is no number is refused" grep -q 'bad:1: not a result$' "$work/out"
check "with a status" test $status -gt 1

# Of ratios 1.00 to 1.29, the 10th and the 21st are where the median is by 95 %.
for round in {0..29}; do
	printf 'overhead/poll/1\toff\tus_per_request\t%d\t2\n' "$round"
	printf 'overhead/poll/1\taccounting\tus_per_request\t%d\t2.%02d\n' "$round" $((2 * round))
done > "$work/overhead"
printf 'Date\ttoday\n' > "$work/facts"
printf '# Benchmarks\n\n## What this does not show\n\n## The machine\n' > "$work/document"
cp "$work/document" "$work/before"
./report.pl --overhead "$work/overhead" "$work/facts" "$work/document" > "$work/section"
check "a median's confidence interval" \
	grep -qF '| depth 1, the guest polls | 2 | +14.5 % (+9.0 to +20.0) |' "$work/section"
check "its section is added" \
	cmp <(grep -vxFf "$work/section" "$work/document") <(grep -v '^$' "$work/before")
cp "$work/document" "$work/before"
./report.pl --overhead "$work/overhead" "$work/facts" "$work/document" > "$work/section"
check "and replaced" cmp "$work/before" "$work/document"
printf '#!/bin/sh\nexec cat > "%s/plot"\n' "$work" > "$work/gnuplot"
chmod +x "$work/gnuplot"
PATH=$work:$PATH ./report.pl "$work/complete" "$work/facts" "$work/document" "$work/plot.svg" \
	> "$work/out"
check "and kept" grep -qF '+14.5 % (+9.0 to +20.0)' "$work/document"

echo "$((number - failed)) passed, $failed failed"
((failed == 0))
