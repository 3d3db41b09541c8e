#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: overhead.sh BUILD [ROUNDS]
#
# "make bench-overhead" builds all that is compared, and calls it. Measures what probes,
# accounting and vmm trace record cost, in instructions and in time, in 30 rounds, and
# writes it into Documentation/benchmarks.md. As root, on a machine that does nothing else.
set -euo pipefail

(($# == 1 || $# == 2)) || { sed -n 's/^# usage/usage/p' "$0" >&2; exit 2; }
build=$(realpath "$1")
rounds=${2-30}
cd "$(dirname "$0")/../.."
results=$build/overhead/results
facts=$build/overhead/facts
image=$build/overhead/image

die() {
	echo "${0##*/}: $1" >&2
	exit 1
}

[ "$(id -u)" -eq 0 ] || die "must be run as root"
[ "$(nproc)" -ge 2 ] || die "needs two CPUs: one for the guest, one for its disk"
[ -c /dev/kvm ] || die "there is no /dev/kvm"

tracefs=/sys/kernel/tracing
mounted=
trap '[ -z "$mounted" ] || umount "$tracefs"' EXIT
trap 'exit 130' INT TERM HUP
if [ ! -e "$tracefs/events" ]; then
	mount -t tracefs tracefs "$tracefs"
	mounted=1
fi

# instructions VARIANT BUILD BATCH
instructions() {
	tests/bench/requests.sh "$2" "$3" | while read -r ring layout count; do
		printf 'overhead/instructions/%s %s/%s\t%s\tinstructions_per_request\t1\t%s\n' \
			"$ring" "${layout%:}" "$3" "$1" "$count"
	done >> "$results"
}

mkdir -p "$build/overhead"
: > "$results"
cat > "$facts" << END
Date	$(date -u +%F)
CPU	$(lscpu | sed -n 's/^Model name: *//p')
Kernel	$(uname -sr)
vmm	$("$build/vmm" version | sed 's/^vmm //'), $(git describe --always --dirty --abbrev=12 || echo 'no git')
perf	$(perf version | sed 's/^perf version //')
END
head -c 256M /dev/urandom > "$image" # which leaves it in the page cache
for batch in 1 32; do
	echo "instructions, in batches of $batch"
	instructions off "$build/overhead/off" $batch
	instructions accounting "$build/overhead/accounting" $batch
	instructions default "$build" $batch
done
tests/bench/overhead.pl "$build" "$image" "$results" "$rounds"
tests/bench/report.pl --overhead "$results" "$facts" Documentation/benchmarks.md
