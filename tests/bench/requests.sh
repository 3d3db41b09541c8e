#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: requests.sh BUILD [BATCH]
#
# "make bench-requests" builds BUILD/bench/requests, and calls it.
# Instructions that the I/O thread executes in user space for one request of 512
# bytes, in batches of BATCH (32), by callgrind. I/O is done inline: io_uring does not run
# there. The profiles stay in BUILD/bench, for callgrind_annotate.
set -euo pipefail

(($# == 1 || $# == 2)) || { sed -n 's/^# usage/usage/p' "$0" >&2; exit 2; }
command -v valgrind > /dev/null || {
	echo "requests.sh: no valgrind (Debian: valgrind)" >&2
	exit 1
}
[ -x "$1/bench/requests" ] || {
	echo "requests.sh: no $1/bench/requests: make bench-requests" >&2
	exit 1
}
count=16000
batch=${2-32}

for ring in split packed; do
	for layout in direct indirect; do
		profile=$1/bench/callgrind.$ring-$layout
		rm -f "$profile"*
		valgrind --quiet --tool=callgrind --separate-threads=yes \
			--callgrind-out-file="$profile" "$1/bench/requests" $ring $layout $count "$batch"
		# The second thread is the one that serves.
		awk -v name="$ring $layout" -v count=$count \
			'/^(summary|totals):/ { printf "%s: %.1f\n", name, $2 / count; exit }' \
			"$profile-02"
	done
done
