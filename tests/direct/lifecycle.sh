#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: lifecycle.sh VMM KIT
#
# How a VM starts and ends, as seen from outside: exit statuses, signals, what
# is said and what is left behind. The guest is the test kit with no tests, told
# how to end. TAP, then "N passed, N failed".
set -euo pipefail
# shellcheck source=tests/direct/cases.sh
. "$(dirname "${BASH_SOURCE[0]}")/cases.sh"

[ $# -eq 2 ] || { echo "usage: ${0##*/} VMM KIT" >&2; exit 2; }
# What nohup(1) ignores, vmm would ignore.
[ -n "${VMM_DEFAULT_HUP-}" ] || VMM_DEFAULT_HUP=1 exec env --default-signal=HUP "$0" "$@"
vmm=$(realpath "$1")
kit=$(realpath "$2")
work=$(mktemp -d)
pid=
trap 'rm -rf "$work"' EXIT
cd "$work"

# A VM outlives no case that fails.
set_up() { trap '[ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null || true' EXIT; }

# start KIT-OPTIONS ARGUMENT...: vmm in the background, ready when the kit is
start() {
	local options=$1
	shift
	truncate -s 1M disk.img
	"$vmm" run -k "$kit" -m 64M -d disk.img -p "tests=none $options" "$@" \
		</dev/null >console 2>errors &
	pid=$!
}

# The kit has printed its plan: it runs, and ends as it was told.
until_it_runs() {
	local tries
	for tries in {1..300}; do
		! grep -q '^1\.\.0' console || return 0
		kill -0 "$pid" 2>/dev/null || fail "vmm ended early"
		sleep 0.1
	done
	fail "no word from the kit after $tries tries"
}

silent() {
	[ ! -s errors ] || fail "unexpected messages"
}

case_power_off() { start end=off; finish 0; silent; }
case_acpi_reset() { start end=reset; finish 4; silent; }
case_i8042_reset() { start end=i8042; finish 4; silent; }

case_triple_fault() {
	start end=fault
	finish 3
	# Where KVM emulates the guest's kernel, it gives up on the instruction.
	grep -qE 'vCPU 0: the guest died: KVM exit (8 .SHUTDOWN.: triple fault|17 .INTERNAL_ERROR.: cannot emulate)' \
		errors || fail "no exit reason"
	grep -q 'rip [0-9a-f]\{16\}  rsp' errors || fail "no registers"
}

# signal NAME STATUS GUEST: also while the guest spins, or has halted for good
signal() {
	start "end=$3" -c 2
	until_it_runs
	kill "-$1" "$pid"
	finish "$2"
	silent
}

case_sigterm() { signal TERM 143 spin; }
case_sigint_halted() { signal INT 130 halt; }
case_sighup() { signal HUP 129 spin; }
case_sigquit_halted() { signal QUIT 131 halt; }

# Not deadly: statistics, a look at the images, and what recordings need.
case_sigusr() {
	start end=spin
	until_it_runs
	kill -USR1 "$pid"
	kill -USR2 "$pid"
	kill -RTMIN+1 "$pid"
	kill -TERM "$pid"
	finish 143
}

# From signal to end within 0.1 s, in the best of five tries on a busy machine.
case_stops_at_once() {
	local best=999999999999 begin took
	for _ in {1..5}; do
		start end=spin -c 4
		until_it_runs
		begin=$(date +%s%N)
		kill -TERM "$pid"
		finish 143
		took=$(($(date +%s%N) - begin))
		[ "$took" -ge "$best" ] || best=$took
	done
	[ "$best" -lt 100000000 ] || fail "$best ns"
}

case_254_vcpus() {
	start end=off -c 254
	finish 0
	silent
}

case_32_mebibytes() {
	start end=off -m 32M
	finish 0
	silent
}

# A lock that a killed vmm held is free again.
case_killed_and_started_again() {
	start end=spin
	until_it_runs
	kill -KILL "$pid"
	finish 137
	start end=off
	finish 0
	silent
}

case_locked_image() {
	start end=spin
	until_it_runs
	if "$vmm" run -k "$kit" -m 64M -d disk.img >other 2>&1; then
		fail "the image was used twice"
	fi
	[ "$(cat other)" = "vmm: disk 'disk.img': locked by another process" ] || fail "$(cat other)"
	kill -TERM "$pid"
	finish 143
}

# Read-only use is shared.
case_shared_image() {
	truncate -s 1M disk.img
	start end=spin -d disk.img,ro
	finish 1 # twice in one VM is a mistake all the same
	"$vmm" run -k "$kit" -m 64M -d disk.img,ro -p 'tests=none end=spin' </dev/null >console &
	pid=$!
	until_it_runs
	"$vmm" run -k "$kit" -m 64M -d disk.img,ro -p tests=none </dev/null >/dev/null
	kill -TERM "$pid"
	finish 143
}

case_hidden_tail() {
	truncate -s $((1048576 + 100)) disk.img
	"$vmm" run -k "$kit" -m 64M -d disk.img -p tests=none </dev/null >/dev/null 2>errors
	[ "$(cat errors)" = "vmm: warning: disk 'disk.img': size is not a multiple of 512 bytes; the last 100 are hidden" ] ||
		fail "$(cat errors)"
}

# task NAME: the id of the thread of that name
task() {
	local file
	file=$(grep -lx "$1" "/proc/$pid/task/"*/comm)
	file=${file%/comm}
	echo "${file##*/}"
}

# until_thread COMMAND...: wait for it, with a deadline
until_thread() {
	local tries
	for tries in {1..300}; do
		! "$@" || return 0
		sleep 0.1
	done
	fail "not so after $tries tries: $*"
}

in_futex() { grep -q '^202 ' "$1/syscall"; }
gone() { [ ! -e "$1" ]; }

# A vCPU waits in a register write for an I/O thread, which a tracer has stopped: the
# vCPU ends at once all the same, and vmm when the thread goes on.
case_vcpu_waits_for_queue() {
	local vcpu io tracer
	truncate -s 1M mmio.img
	start 'end=resets mmio=0xfeb00000' -d mmio.img,transport=mmio
	until_it_runs
	vcpu=/proc/$pid/task/$(task vcpu0)
	io=$(task io0)
	mkfifo go
	# PTRACE_SEIZE and PTRACE_INTERRUPT; __WALL
	perl -e 'alarm 60; my $task = shift() + 0; syscall(101, 0x4206, $task, 0, 0) == 0 or die "seize: $!";
		syscall(101, 0x4207, $task, 0, 0) == 0 or die "interrupt: $!";
		waitpid($task, 0x40000000); open(my $go, "<", "go") or die "go: $!"' "$io" &
	tracer=$!
	until_thread in_futex "$vcpu"
	kill -TERM "$pid"
	until_thread gone "$vcpu"
	[ -e "/proc/$pid/task/$io" ] || fail "the I/O thread was not stopped"
	: >go
	wait "$tracer"
	finish 143
	silent
}

# ran: what the main thread and the I/O thread did so far, as switches and CPU time
ran() {
	local task
	for task in "$pid" "$(task io0)"; do
		grep ctxt_switches "/proc/$pid/task/$task/status"
		cut -d' ' -f14,15 "/proc/$pid/task/$task/stat"
	done
}

# Each thread sleeps, no timer of theirs runs or has rung, and meanwhile nobody woke.
at_rest() {
	local before
	before=$(ran)
	! grep -h '^State:' "/proc/$pid/task/"*/status | grep -v sleeping || return
	! grep -hE '^(ticks|it_value):.*[1-9]' "/proc/$pid/fdinfo/"* || return
	[ "$(ran)" = "$before" ]
}

# The guest has used its disk and halted: for 10 s, neither thread runs at all, nor does
# anybody look whether I/O hangs.
case_idle() {
	local before
	truncate -s 1M disk.img
	"$vmm" run -k "$kit" -m 64M -d disk.img -p 'tests=blk/get-id end=halt' --io-warn 1 \
		</dev/null >console 2>errors &
	pid=$!
	until_thread grep -q '^# the end: halt' console
	! grep '^not ok' console || fail "in the guest"
	until_thread at_rest
	before=$(ran)
	sleep 10
	[ "$(ran)" = "$before" ] || fail "$(diff <(echo "$before") <(ran))"
	kill -TERM "$pid"
	finish 143
	silent
}

# stdout closed, or with nobody at the other end: the guest still runs to its end.
case_no_stdout() {
	truncate -s 1M disk.img
	"$vmm" run -k "$kit" -m 64M -d disk.img -p tests=none </dev/null >&-
	"$vmm" run -k "$kit" -m 64M -d disk.img -p tests=none </dev/null 2>errors >/dev/full
	grep -q "stdout: No space left on device; the guest's output is dropped" errors ||
		fail "no warning"
}

runs() { grep -qsx vcpu0 "/proc/$pid/task/"*/comm; }

# A reader that never reads does not keep a signal from ending the VM.
case_stalled_reader() {
	mkfifo pipe
	exec 5<>pipe
	yes | dd of=pipe oflag=nonblock status=none 2>/dev/null || true # it is full now
	truncate -s 1M disk.img
	"$vmm" run -k "$kit" -m 64M -d disk.img -p 'tests=none end=spin' </dev/null >pipe 2>errors &
	pid=$!
	until_thread runs
	kill -TERM "$pid"
	finish 143
}

case_40_disks() {
	local disks=() i
	for i in {1..39}; do
		truncate -s 1M "$i.img"
		disks+=(-d "$i.img,ro")
	done
	start "disks=40" "${disks[@]}"
	finish 0
	silent
}

case_too_many_disks() {
	local disks=() i
	for i in {1..248}; do
		truncate -s 512 "$i.img"
		disks+=(-d "$i.img,ro")
	done
	start end=off "${disks[@]}"
	finish 1
	grep -q 'the PCI bus has no place for one more disk' errors || fail "$(cat errors)"
}

case_fixed_buffers() {
	local kib
	truncate -s 1M disk.img
	"$vmm" run -k "$kit" -m 64M -d disk.img,fixed-buffers=on -p 'tests=none end=halt' \
		</dev/null >console 2>errors &
	pid=$!
	until_it_runs
	kib=$(awk '$1 == "VmPin:" { print $2 }' "/proc/$pid/status")
	kill -TERM "$pid"
	finish 143
	silent
	[ "$kib" -ge 65536 ] || fail "$kib KiB pinned"
}

# Without the privilege to exceed it, the limit ends the start.
case_fixed_buffers_refused() {
	truncate -s 1M disk.img
	(
		ulimit -l 64
		! setpriv --bounding-set=-ipc_lock --inh-caps=-ipc_lock "$vmm" run -k "$kit" -m 64M \
			-d disk.img,fixed-buffers=on -p 'tests=none' </dev/null >console 2>errors
	) || fail "it started"
	[ ! -s console ] || fail "the guest ran"
	[ "$(cat errors)" = "vmm: io0: fixed-buffers=on: cannot pin 64 MiB of guest memory for io_uring: \
Cannot allocate memory (see RLIMIT_MEMLOCK)" ] || fail "$(cat errors)"
}

# Beside the guest's RAM, the mapping of 64 MiB, which is mostly untouched here.
case_memory_under_2_mebibytes() {
	local kib
	start end=halt
	until_it_runs
	kib=$(awk '$1 == "Size:" { counts = $2 < 65536 }
		/^Private_(Clean|Dirty):/ && counts { sum += $2 }
		END { print sum + 0 }' "/proc/$pid/smaps")
	kill -TERM "$pid"
	finish 143
	[[ $kib -gt 0 && $kib -lt 2048 ]] || fail "$kib KiB of private memory"
}

case_binary_under_300_kibibytes() {
	local bytes
	strip -o stripped "$vmm"
	bytes=$(stat -c %s stripped)
	[ "$bytes" -lt $((300 << 10)) ] || fail "$bytes bytes"
}

# report: each line of errors as "STEP|STEP'S OWN MS|MS SINCE START|WHO"; any may be
# empty. It is one report, whose steps follow in time and add up.
report() {
	[ "$(grep -c '^vmm: boot report' errors)" -eq 1 ] || fail "not one report: $(cat errors)"
	perl -ne 'next if $. == 1; chomp;
		/^  (\S.*?) +(not reached|\d+\.\d{3})(?: +(\d+\.\d{3}))?(?:  (\S.*))?$/ or die "line: $_\n";
		my ($step, $own, $at, $who) = ($1, $2, $3 // "", $4 // "");
		print "$step|$own|$at|$who\n";
		next if $at eq "";
		die "$step: $own ms after $sum are not $at\n" if abs($sum + $own - $at) > 0.0011 || $own < 0;
		$sum = $at;
		BEGIN { $sum = 0 }' errors || fail "$(cat errors)"
}

# steps COLUMNS: those columns of the report, a line a step
steps() {
	report | cut -d'|' -f"$1"
}

reported() {
	grep -q '^vmm: boot report' errors
}

# Printed when the guest has marked its init, though the VM goes on; and only once.
case_boot_report() {
	truncate -s 1M disk.img
	"$vmm" run -k "$kit" -m 64M -d disk.img -p 'tests=blk/write mark=2 end=spin' \
		--boot-report </dev/null >console 2>errors &
	pid=$!
	until_thread reported
	kill -0 "$pid"
	kill -TERM "$pid"
	finish 143
	diff - <(steps 1,4) <<-END || fail "$(cat errors)"
		exec, loader (CPU time)|
		options parsed|
		files opened|
		memory ready|
		KVM ready|
		board ready|
		kernel loaded|
		first KVM_RUN|
		first exit to user space|
		first serial byte|
		virtio-blk DRIVER_OK|disk 'disk.img'
		first read completed|disk 'disk.img'
		init|
	END
	! grep -q 'not reached' errors || fail "$(cat errors)"
}

# Nobody marks anything: the end of the VM prints what was reached.
case_boot_report_at_the_end() {
	truncate -s 1M other.img
	start 'disks=2 end=off' --boot-report -d other.img,ro
	finish 0
	diff - <(steps 1,2 | grep -A 4 'serial byte' | sed 's/|[0-9.]*$/|/') <<-END ||
		first serial byte|
		virtio-blk DRIVER_OK|not reached
		first read completed|not reached
		init|not reached
	END
		fail "$(cat errors)"
}

# The port is there for a report only, and nothing else that is written to it counts.
case_boot_report_not_wanted() {
	start 'mark=2 end=off'
	finish 0
	silent
}

run_cases lifecycle
