#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: load.sh VMM KIT
#
# The bench guest (guest/kit/bench.h) measures what it says it does: every kind
# of load for a moment, on an image whose content it compares. No figure is
# judged, but they must fit together. TAP, then "N passed, N failed".
set -euo pipefail

[ $# -eq 2 ] || { echo "usage: ${0##*/} VMM KIT" >&2; exit 2; }
vmm=$(realpath "$1")
kit=$(realpath "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM HUP
cd "$work"

readonly ms=20
readonly reads=randread/512/32/1,read/64k/4/2,randread/4k/1/4,read/1m/2/1
readonly mixed=randwrite/512/8/1,write/4k/32/2,randrw/4k/16/1,randread/4k/128/2,flush/512/2/1

number=0 passed=0 failed=0

# result ok|'not ok' TEXT: and what the kit and vmm said, if it is not
result() {
	number=$((number + 1))
	echo "$1 $number - load/$2"
	if [ "$1" = ok ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		sed 's/^/# /' console errors why 2>/dev/null || true
	fi
}

# The pattern of the kit: 8-byte word n holds n.
pattern() {
	perl -e 'binmode STDOUT; print pack("Q<", $_) for 0 .. (4 << 20) / 8 - 1' >disk.img
}

# kit DISK-KEYS OPTIONS: its exit status is vmm's
kit() {
	: >why
	timeout --kill-after=5 60 "$vmm" run -k "$kit" -m 128M -c 1 -d "disk.img$1" \
		-p "$2 bench-ms=$ms warm-ms=2" </dev/null >console 2>errors
}

# figures CASES WAIT RING: one line for each case, in order, and its figures agree.
#
# All slots are in flight from the first submission until no more are made, bench-ms
# later: the sum of all times is between that and what it took to the last completion.
figures() {
	perl -e 'my ($ms, $cases, $wait, $ring) = @ARGV;
		my %unit = ("" => 1, k => 1024, m => 1048576);
		my @lines = grep /^bench: /, <STDIN>;
		for my $case (split /,/, $cases) {
			my ($op, $size, $unit, $depth, $queues) = $case =~ m{(\w+)/(\d+)([km]?)/(\d+)/(\d+)};
			my $line = shift @lines // "";
			my $n = qr/(\d+)/;
			$size *= $unit{$unit};
			$line =~ m{^bench:\ op=$op\ size=$size\ depth=$depth\ queues=$queues\ wait=$wait\ ring=$ring
				\ requests=$n\ ms=(\d+\.\d)\ iops=$n\ mean_ns=$n\ p50_ns=$n\ p90_ns=$n\ p99_ns=$n
				\ p999_ns=$n\ max_ns=$n\ doorbells=$n\ interrupts=$n\ errors=0\s*$}x
				or die "$case: unexpected: $line\n";
			my ($requests, $took, $iops, $mean, $p50, $p90, $p99, $p999, $max, $bells, $interrupts) =
				($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);
			my $inflight = $depth * $queues;
			my $sum = $requests * $mean / 1e6 / $inflight;
			$p50 <= $p90 && $p90 <= $p99 && $p99 <= $p999 && $p999 <= $max && $mean <= $max
				or die "$case: disorder: $line";
			$requests >= $inflight or die "$case: slots were left unused: $line";
			abs($requests / $took * 1000 - $iops) <= 0.02 * $iops + 1 or die "$case: iops: $line";
			$sum >= $ms * 0.99 && $sum <= ($took + 0.1) * 1.01 or die "$case: times: $line";
			$bells <= $requests or die "$case: doorbells: $line";
			$wait eq "poll" ? !$interrupts : $interrupts >= 1 && $interrupts <= $requests
				or die "$case: interrupts: $line";
		}
		!@lines or die "more lines than cases\n"' $ms "$1" "$2" "$3" <console 2>why
}

# Sequential writes began at block 0, and have the pattern only at its ends.
block_0_written() {
	perl -e 'my @words = unpack "Q<512", do { local $/ = \4096; <STDIN> };
		$words[0] == 0 && $words[511] == 511 && $words[1] != 1 or die "block 0: not as written\n"' \
		<disk.img 2>why
}

# measured RING WAIT INDIRECT
measured() {
	local options="verify=on ring=$1 wait=$2 indirect=$3" keys=,queues=4,queue-size=512
	[ "$1" = split ] || keys+=,packed=on
	pattern
	if kit "$keys" "bench=$reads $options" && figures "$reads" "$2" "$1"; then
		result ok "reads, $1, $2, indirect=$3"
	else
		result 'not ok' "reads, $1, $2, indirect=$3"
	fi
	if kit "$keys" "bench=$mixed $options" && figures "$mixed" "$2" "$1" && block_0_written; then
		result ok "mixed, $1, $2, indirect=$3"
	else
		result 'not ok' "mixed, $1, $2, indirect=$3"
	fi
}

# An image without the pattern is noticed.
wrong_data() {
	truncate -s 0 disk.img
	truncate -s 4M disk.img
	if kit '' 'bench=randread/4k/4/1 verify=on' && grep -q 'errors=[1-9]' console; then
		result ok "wrong data"
	else
		result 'not ok' "wrong data"
	fi
}

# refused DISK-KEYS OPTIONS REASON: the kit gives up and says why
refused() {
	if kit "$1" "$2" && grep -q "^Bail out! .*$3" console && ! grep -q '^bench: ' console; then
		result ok "refused: $2"
	else
		result 'not ok' "refused: $2"
	fi
}

echo "TAP version 13"
for ring in split packed; do
	for wait in poll interrupt halt; do
		measured $ring $wait on
	done
	measured $ring poll off
done
wrong_data
for bad in '' readrand/4k/1/1 randread randread/4k/1 randread/4k/1/1/1 'randread/4k/1/1,' \
	randread/4k/1/1,x randread/511/1/1 randread/2m/1/1 randread/4g/1/1 randread/4k/0/1 \
	randread/4k/129/1 randread/4k/1/0 randread/4k/1/17; do
	refused '' "bench=$bad" 'OP/SIZE/DEPTH/QUEUES'
done
refused '' 'bench=randread/4k/1/2' 'fewer queues'
refused ,queue-size=16 'bench=randread/4k/17/1' 'too short'
refused ,cache=unsafe 'bench=flush/512/1/1' 'no FLUSH'
refused '' 'bench=randread/1m/128/1' 'memory'
refused '' 'bench=randread/4k/1/1 wait=sleep' 'wait='
refused '' 'bench=randread/4k/1/1 indirect=maybe' 'indirect='
refused '' 'bench=randread/4k/1/1 bench-ms=1s' 'bench-ms='
echo "1..$number"
echo "$passed passed, $failed failed"
((failed == 0))
