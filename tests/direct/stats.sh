#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: stats.sh VMM KIT
#
# What vmm says of its disks, on SIGUSR1 and in the file of --stats, while the bench
# guest (guest/kit/bench.h) loads them, is what that guest has done. TAP, then "N passed,
# N failed".
set -euo pipefail
# shellcheck source=tests/direct/cases.sh
. "$(dirname "${BASH_SOURCE[0]}")/cases.sh"

[ $# -eq 2 ] || { echo "usage: ${0##*/} VMM KIT" >&2; exit 2; }
vmm=$(realpath "$1")
kit=$(realpath "$2")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
schema=$here/../../Documentation/stats.schema.json
work=$(mktemp -d)
pid=
trap 'rm -rf "$work"' EXIT
cd "$work"

# The machine's disk.
set_up() { truncate -s 4M disk.img; }

# start OPTIONS DISK-KEYS [ARGUMENT...]: nothing is warmed up
start() {
	timeout --kill-after=5 60 "$vmm" run -k "$kit" -m 128M --stats stats.json \
		-d "disk.img$2" -p "$1 warm-ms=0" "${@:3}" < /dev/null > console 2> errors &
	pid=$!
	trap '[ -z "$pid" ] || kill -KILL "$pid" 2> killed || true' EXIT
	begun
}

# until_said PATTERN: by the guest
until_said() {
	local end=$((SECONDS + 60))
	until [ -s console ] && grep -q "$1" console; do
		kill -0 "$pid" || fail "it ended early"
		((SECONDS < end)) || fail "the guest does not say $1"
		sleep 0.01
	done
}

# The guest has begun to load its disk.
begun() { until_said '^# bench-begin'; }

# Of vmm, which is a child of timeout: that passes on no signal that it does not know.
usr1() {
	kill -USR1 "$(pgrep -P "$pid")"
}

# Another signal would be one with those that wait.
printed() {
	local end=$((SECONDS + 30))
	until [ "$(grep -c '^vmm: statistics' errors)" -ge "$1" ]; do
		((SECONDS < end)) || fail "there is no table $1"
		sleep 0.01
	done
}

# said KEY: of what the guest has printed of its bench
said() {
	sed -nE "s/^bench: .* $1=([0-9]+).*/\1/p" console
}

check() {
	python3 "$here/check_stats.py" "$schema" stats.json "$@"
}

# tables COUNT: so many are on stderr, whole, in 80 columns, and nothing else
tables() {
	perl -ne 'BEGIN { $time = qr/ +\d+(\.\d)?/; $tables = 0 }
		$tables++ if /^vmm: statistics; about one request in \d+ is timed$/;
		/^vmm:\ statistics;\ |^disk\ \x27disk.img\x27$
			|^\ \ [a-z-]+:\ \d+\ requests,\ \d+\ in\ flight,\ \d+\ failed,\ \d[\d.]*\ ([KMGTP]iB|bytes)$
			|^\ {4}microseconds\ +p50\ +p90\ +p99\ +p99\.9\ +max\ +timed$
			|^\ {4}[a-z]+\ to\ [a-z]+$time{5}\ +\d+$
			|^\ \ queue\ \ thread\ +requests\ +in\ flight\ +doorbells\ +publishes\ +interrupts$
			|^\ +\d+\ \ io\d+(\ +\d+){5}$
			|^thread\ io\d+:\ \d+\ sleeps;\ spun\ \d+\ times\ with\ work,\ \d+\ times\ without$/x
			or die "unexpected: $_";
		length $_ <= 81 or die "too wide: $_";
		END { $? ||= $tables != '"$1"' && print STDERR "$tables tables\n" }' errors
}

case_counts_are_the_guests() {
	local ring
	for ring in split packed; do
		start "bench=randread/4k/32/2 bench-ms=300 ring=$ring" ,queues=2,packed=on
		finish 0
		check "read=$(said requests)"
		[ ! -s errors ] || fail "not silent"
	done
}

case_interrupts_are_the_guests() {
	local told
	start "bench=randread/4k/1/1 bench-ms=300 wait=interrupt" ''
	finish 0
	told=$(grep -oP '"interrupts":\K\d+' stats.json)
	[ "$told" -eq "$(said interrupts)" ] || fail "$told, not $(said interrupts)"
}

case_operations() {
	start "bench=flush/512/2/1 bench-ms=200" ''
	finish 0
	check "flush=$(said requests)"
	start "bench=randwrite/4k/8/1 bench-ms=200" ''
	finish 0
	check "write=$(said requests)"
	start "bench=randread/4k/8/1 bench-ms=200" ,aio=sync
	finish 0
	check "read=$(said requests)"
}

# At most 255 rounds of an I/O thread follow each other without one that is timed.
case_some_are_timed() {
	local disk_keys
	for disk_keys in '' ,aio=sync; do
		start "bench=randread/4k/1/1 wait=interrupt bench-requests=800 bench-ms=50000 end=spin" \
			"$disk_keys"
		until_said '^# the end'
		usr1
		printed 1
		tables 1
		grep -q '^    submit to complete' errors || fail "nothing in the table"
		kill -TERM "$(pgrep -P "$pid")"
		finish 143
		check read=800
		grep -qF '"submit_to_complete"' stats.json || fail "nothing in the file"
	done
}

case_usr1_under_full_load() {
	local count
	# Ten tables take a few tenths of that, on a machine that has nothing else to do.
	start "bench=randread/4k/32/2 bench-ms=5000 verify=off" ,queues=2 --io-threads 2
	for count in {1..10}; do
		usr1
		printed "$count"
	done
	finish 0
	[ "$(said errors)" -eq 0 ] || fail "the guest has errors"
	check "read=$(said requests)"
	tables 10
}

# What is whole by its times is whole, whenever it is read.
case_file_is_never_torn() {
	start "bench=randread/4k/32/2 bench-ms=2000" ,queues=2
	while kill -0 "$pid"; do
		usr1 || true
	done 2> killed &
	perl -MJSON::PP -e 'my ($whole, $other, $last) = (0, 0, 0);
		my $end = time + 2;
		while (time < $end) {
			open(my $file, "<", "stats.json") or die;
			my ($text, $part) = ("", "");
			# In small pieces, which gives a writer time.
			$text .= $part while sysread($file, $part, 100);
			my $stats = eval { decode_json($text) };
			if (!$stats || $stats->{time_us} ne $stats->{end_time_us}) { $other++; next }
			$whole++;
			my $requests = 0;
			for my $queue (@{$stats->{disks}[0]{queues}}) {
				$requests += $_->{requests} for @{$queue->{operations}};
			}
			$requests >= $last or die "$requests requests after $last\n";
			$last = $requests;
		}
		$whole or die "never whole\n";
		print "whole $whole, other $other\n"'
	finish 0
	wait
	check "read=$(said requests)"
	tables "$(grep -c '^vmm: statistics' errors)"
}

# Nobody reads stderr, which has room for a page: the guest and the VM go on to their ends.
case_stalled_stderr() {
	local sent=0 told room=4096 size=65536 process
	mkfifo pipe
	exec 9<> pipe
	head -c $((size - room)) /dev/zero >&9
	timeout --kill-after=5 60 "$vmm" run -k "$kit" -m 128M --stats stats.json -d disk.img \
		-p "bench=randread/4k/32/1 bench-ms=1000 warm-ms=0" < /dev/null > console 2> pipe &
	pid=$!
	trap '[ -z "$pid" ] || kill -KILL "$pid" 2> killed || true' EXIT
	begun
	process=$(pgrep -P "$pid")
	while kill -USR1 "$process" 2> killed; do
		sent=$((sent + 1))
	done
	finish 0
	check "read=$(said requests)"
	(dd if=pipe iflag=nonblock bs=4k status=none || true) 2> /dev/null | # all that is there
		tail -c +$((size - room + 1)) > errors
	exec 9>&-
	told=$(grep -c '^vmm: statistics' errors)
	((told >= 1 && told < sent)) || fail "$told told of $sent"
	tables "$told"
}

# A file that cannot be written is an error, at the end at the latest.
case_file_cannot_grow() {
	local status=0
	(
		ulimit -f 1
		exec "$vmm" run -k "$kit" -m 128M --stats stats.json -d disk.img \
			-p "bench=randread/4k/1/1 bench-ms=100 warm-ms=0" < /dev/null > console 2> errors
	) || status=$?
	[ "$status" -eq 1 ] || fail "status $status"
	[ "$(cat errors)" = "vmm: --stats 'stats.json': cannot write: File too large" ] ||
		fail "other errors"
}

case_nothing_else_is_written() {
	start "bench=randread/4k/1/1 bench-ms=200" ''
	usr1
	finish 0
	[ "$(ls)" = "console
disk.img
errors
stats.json" ] || fail "$(ls)"
}

run_cases stats
