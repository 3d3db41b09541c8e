#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: probes.sh VMM KIT
#
# The probes, as perf sees them on /dev/kvm, against what the bench guest
# (guest/kit/bench.h) and KVM's own tracepoints say of the same run: every request
# once at each step, in order, with its own arguments; every ring of a doorbell; every
# interrupt. TAP, then "N passed, N failed". As root.
set -euo pipefail

[ $# -eq 2 ] || { echo "usage: ${0##*/} VMM KIT" >&2; exit 2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
vmm=$(realpath "$1")
kit=$(realpath "$2")

readonly tracefs=/sys/kernel/tracing
readonly group=vmmtest$$ # of our probes: others may look at the same time
readonly requests=400
work=$(mktemp -d -p "${TMPDIR:-/var/tmp}") # not a tmpfs
mounted='' vm='' perf=''

die() {
	echo "${0##*/}: $1" >&2
	exit 1
}

remove_probes() {
	local event
	for event in "$tracefs/events/$group"/*/; do
		[ ! -d "$event" ] || echo "-:$group/$(basename "$event")" >>"$tracefs/uprobe_events" || true
	done
}

cleanup() {
	[ -z "$vm" ] || kill -KILL "$vm" 2>/dev/null || true
	[ -z "$perf" ] || kill -KILL "$perf" 2>/dev/null || true
	wait || true
	remove_probes
	[ -z "$mounted" ] || umount "$tracefs"
	rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM HUP

[ "$(id -u)" -eq 0 ] || die "must be run as root"
command -v perf >/dev/null || die "no perf (Debian: linux-perf)"
if [ ! -e $tracefs/uprobe_events ]; then
	mount -t tracefs tracefs $tracefs || die "cannot mount tracefs on $tracefs"
	mounted=1
fi
[ -w $tracefs/uprobe_events ] || die "$tracefs/uprobe_events: this kernel has no uprobes (CONFIG_UPROBE_EVENTS)"
cd "$work"

# What perf makes of the program's probes, but in a group of our own.
install -m 755 "$vmm" vmm
perf --buildid-dir "$work/ids" buildid-cache --add "$work/vmm"
perf --buildid-dir "$work/ids" probe -q -D 'sdt_vmm:*' >definitions
while read -r line; do
	echo "${line/#p:sdt_vmm/p:$group}" >>"$tracefs/uprobe_events"
done <definitions
cut -d' ' -f1 definitions | sed 's/.*[/]//' | sort >defined

number=0 passed=0 failed=0

# result ok|'not ok' TEXT: and what was said, if it is not
result() {
	number=$((number + 1))
	echo "$1 $number - probes/$2"
	if [ "$1" = ok ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		tail -n 20 -q why console errors 2>/dev/null | sed "s/^/# /" || true
	fi
}

# KVM shows a doorbell as one of these, as the host's kind of it goes.
doorbells=()
for event in kvm_mmio kvm_fast_mmio kvm_pio; do
	[ ! -e "$tracefs/events/kvm/$event" ] || doorbells+=(-e "kvm:$event")
	case $event in
	kvm_mmio) doorbells+=(--filter 'gpa < 0xfee00000') ;; # not the local APIC's registers
	esac
done

# reported: what "vmm trace report" makes of the events agrees with the guest, too
reported() {
	sed "s/ $group:/ sdt_vmm:/" events | ./vmm trace report --json --slowest 100 --perf-script - \
		>report.json 2>>why &&
		"$here/check_trace.py" "$here/../../Documentation/trace.schema.json" \
			report.json console 2>>why
}

# traced NAME OPTIONS ARGUMENT...: a run of the bench guest, recorded from its first
# instruction to its last, agrees with what the guest says
traced() {
	local name=$1 options=$2
	shift 2
	: >why
	if timeout --kill-after=5 120 perf record -q -m 1024 -k CLOCK_MONOTONIC -o perf.data \
		-e "$group:*" "${doorbells[@]}" -- \
		./vmm run -k "$kit" -m 64M -c 1 -p "$options warm-ms=0 bench-ms=30000 log=on" "$@" \
		</dev/null >console 2>errors &&
		perf script -i perf.data --show-lost-events >events 2>>why &&
		"$here/probes.pl" "$group" console <events 2>>why && reported; then
		result ok "$name"
	else
		result 'not ok' "$name"
	fi
}

# hits EVENT: how often it was hit since it was defined
hits() {
	awk -v file="$work/vmm" -v event="$1" '$1 == file && $2 == event { print $3 }' \
		$tracefs/uprobe_profile
}

# until_hits EVENT COUNT
until_hits() {
	local tries
	for tries in {1..200}; do
		[ "$(hits "$1")" -lt "$2" ] || return 0
		sleep 0.05
	done
	echo "$1: $(hits "$1") hits of $2 after $tries tries" >>why
	return 1
}

# What a recording of a VM that runs needs besides: at each signal, whatever the guest
# does; here one vCPU spins, and the other was never started.
metadata() {
	local told=0 clocks tsc
	: >why
	mkfifo control ack
	./vmm run -k "$kit" -m 64M -c 2 -d first.img -d second.img,queues=2 \
		-p 'tests=none disks=2 end=spin' </dev/null >console 2>errors &
	vm=$!
	clocks=$(hits clock) tsc=$(hits vcpu_tsc)
	until grep -q '^# the end: spin' console; do
		kill -0 $vm 2>>why || return 1
		sleep 0.05
	done
	perf record -q -k CLOCK_MONOTONIC -o live.data -e "$group:*" -p $vm -D -1 \
		--control fifo:control,ack 2>>why &
	perf=$!
	exec {orders}>control {answers}<ack
	for told in 1 2; do
		if [ $told -eq 1 ]; then
			echo enable >&"$orders"
			read -r -t 20 -u "$answers" || return 1
		fi
		kill -RTMIN+1 $vm
		until_hits clock $((clocks + told)) || return 1
		until_hits vcpu_tsc $((tsc + 2 * told)) || return 1
	done
	echo stop >&"$orders"
	wait $perf || return 1
	perf=
	exec {orders}>&- {answers}<&-
	kill -TERM $vm
	wait $vm || [ $? -eq 143 ] || return 1
	vm=
	perf script -i live.data >events 2>>why
	perl -ne '
		my ($what, $values) = /:(clock|vcpu_tsc|disk): \([0-9a-f]+\) (.*)/ or next;
		my %arg = $values =~ /arg(\d+)=(-?\d+)/g;
		my ($name) = unpack "Z*", pack "q8", map $_ // 0, @arg{3 .. 10};
		push @clock, [@arg{1, 2, 3}] if $what eq "clock";
		push @got, "disk $arg{1} $arg{2} $name" if $what eq "disk";
		push @got, "vcpu $arg{1}" if $what eq "vcpu_tsc" && $arg{4} =~ /^[01]$/ && $arg{2} > 1;
		END {
			my $got = join ",", sort @got;
			my $wanted = join ",", ("disk 0 2 first.img") x 2, ("disk 1 2 second.img") x 2,
				("vcpu 0") x 2, ("vcpu 1") x 2;
			$got eq $wanted or die "$got instead of $wanted\n";
			@clock == 2 or die scalar(@clock) . " clocks\n";
			$clock[0][$_] < $clock[1][$_] or die "a clock went back\n" for 0, 1;
			$_->[2] > 0 or die "no error is told\n" for @clock;
		}' events 2>>why
}

# Every probe that the program declares is one that perf takes, whole and under its name.
declared() {
	: >why
	./vmm probes | sed -n 's/(.*//p' | grep -v '^ ' | sort | diff - defined >>why || return 1
	./vmm probes | grep '^[a-z]' | while IFS='()' read -r probe arguments; do
		[ "$(grep -o 'arg[0-9]*=' <(grep "/$probe " definitions) | wc -l)" -eq \
			"$(wc -w <<<"$arguments")" ] || { echo "$probe: not all its arguments"; exit 1; }
	done >>why
}

echo "TAP version 13"
truncate -s 64M disk.img first.img second.img
if declared; then result ok declared; else result 'not ok' declared; fi
n=bench-requests=$requests
traced "reads, one at a time" "bench=randread/4k/1/1 wait=interrupt $n" -d disk.img
traced "reads, one at a time, without polling" "bench=randread/4k/1/1 wait=halt $n" \
	-d disk.img,poll-max-us=0
traced "reads and writes, 16 at a time" "bench=randrw/4k/16/1 wait=interrupt $n" -d disk.img
traced "sequential reads, which go together" "bench=read/512/32/1 wait=interrupt $n" -d disk.img
traced "flushes" "bench=flush/512/4/1 wait=interrupt bench-requests=40" -d disk.img
traced "packed ring" "bench=randread/4k/8/1 wait=interrupt $n" -d disk.img,packed=on
traced "the guest polls" "bench=randread/4k/4/1 wait=poll $n" -d disk.img
traced "no io_uring" "bench=randread/4k/4/1 wait=interrupt $n" -d disk.img,aio=sync
traced "doorbells by exit" "bench=randread/4k/1/1 wait=interrupt $n" -d disk.img --doorbell=exit
traced "two queues on two threads" "bench=randread/4k/4/2 wait=interrupt $n" \
	-d disk.img,queues=2 --io-threads 2
if metadata; then result ok metadata; else result 'not ok' metadata; fi
echo "1..$number"
echo "$passed passed, $failed failed"
((failed == 0))
