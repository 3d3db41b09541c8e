#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: hangs.sh VMM KIT
#
# What vmm says of I/O that hangs, and that it says nothing of I/O that does not: see
# DIAGNOSTICS in vmm(1). The guest is the test kit, which hangs by its own fault
# (guest/kit/test_hang.c) or waits for a disk whose file system is frozen. TAP, then
# "N passed, N failed".
set -euo pipefail
# shellcheck source=tests/direct/cases.sh
. "$(dirname "${BASH_SOURCE[0]}")/cases.sh"

[ $# -eq 2 ] || { echo "usage: ${0##*/} VMM KIT" >&2; exit 2; }
vmm=$(realpath "$1")
kit=$(realpath "$2")
work=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
pid=
frozen= # the file system that is
mounted=
# What is frozen must thaw first: who waits for it cannot be killed.
leave() {
	[ -z "$frozen" ] || fsfreeze -u "$frozen" || true
	[ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null || true
	[ -z "$pid" ] || wait "$pid" 2>/dev/null || true
	[ -z "$mounted" ] || until_so umount "$mounted" 2>/dev/null || true
}

readonly tries=400 # each 0.05 s
readonly number='[0-9]+(\.5)?'
readonly is_over=' after [0-9.]+ s$'

# until_so COMMAND...: wait for it, with a deadline
until_so() {
	local try
	for ((try = 0; try < tries; try++)); do
		! "$@" || return 0
		sleep 0.05
	done
	fail "not so after $tries tries: $*"
}

# start DISK KIT-OPTIONS ARGUMENT...: vmm in the background
start() {
	local disk=$1 options=$2
	shift 2
	"$vmm" run -k "$kit" -m 64M -d "$disk" --io-warn 1 -p "$options" "$@" \
		</dev/null >console 2>errors &
	pid=$!
}

# said N PATTERN: there are so many lines, and the last one is like this
said() {
	[ "$(wc -l <errors)" -eq "$1" ] && tail -n 1 errors | grep -qE "$2"
}

# The line that each of the kit's tests brings about, and the one that ends it.
declare -A begins=(
	[not-rung]="requests are not taken after $number s: the guest has not rung \\((available index 2, taken 1|packed ring: the descriptor at 3 is available)\\)"
	[doorbell-without-master]="requests are not taken after $number s: the guest has not rung, and cannot: PCI bus mastering is off"
	[vector-masked]="the guest waits for an interrupt after $number s: the MSI-X vector is masked"
	[all-masked]="the guest waits for an interrupt after $number s: all MSI-X vectors are masked"
	[interrupt-without-master]="the guest waits for an interrupt after $number s: PCI bus mastering is off"
	[no-vector]="the guest waits for an interrupt after $number s: the queue has no MSI-X vector"
	[intx-disabled]="the guest waits for an interrupt after $number s: INTx is disabled"
)

# Obey the kit, whose lines are on stdin, until it ends.
watch_kit() {
	local line name='' count=0 size=2048
	while IFS= read -r line; do
		line=${line%$'\r'}
		case $line in
		'# running '*)
			name=${line#*hang/}
			name=${name%% *}
			continue
			;;
		'# look: hangs')
			count=$((count + 1))
			until_so said $((2 * count - 1)) "^vmm: warning: disk 'disk.img': queue 0: ${begins[$name]}"
			;;
		'# look: is over')
			until_so said $((2 * count)) "^vmm: disk 'disk.img': queue 0: .*$is_over"
			;;
		'# look: is no hang') sleep 3 ;; # nothing takes time
		*) continue ;;
		esac
		size=$((4096 - size + 8)) # another one
		truncate -s $((size * 512)) disk.img
		kill -USR2 "$pid"
	done
	[ "$(grep -c warning errors)" -eq ${#begins[@]} ] || fail "other warnings"
	[ "$(wc -l <errors)" -eq $((2 * ${#begins[@]})) ] || fail "other lines"
}

# the_guests_fault DISK-KEYS KIT-OPTIONS
the_guests_fault() {
	truncate -s 1M disk.img
	mkfifo lines
	: >console # before anybody reads it
	start "disk.img$1" "tests=hang/ watch=on $2"
	(tail -n +1 -s 0.05 -f --pid="$pid" console >lines) &
	watch_kit <lines
	finish 0
	! grep '^not ok' console || fail "in the guest"
	[ "$(grep -c '^ok' console)" -eq 8 ] || fail "not all tests ran"
}

case_guest() { the_guests_fault '' ''; }
case_guest_sync() { the_guests_fault ,aio=sync ''; }
case_guest_packed() { the_guests_fault ,packed=on 'ring=packed'; }

# stalled DISK-KEYS PLACE: the disk's file system is frozen while the guest writes
stalled() {
	truncate -s 64M fs.img
	mkfs.ext4 -qF fs.img
	mkdir fs
	mount -o loop fs.img fs
	mounted=$PWD/fs
	trap leave EXIT
	dd if=/dev/zero of=fs/disk.img bs=1M count=4 status=none
	frozen=$PWD/fs
	fsfreeze -f fs
	start "fs/disk.img$1" 'sectors=8192 tests=blk/final-pattern'
	until_so said 1 "^vmm: warning: disk 'fs/disk.img': queue 0: a write of 32768 bytes at sector 8128 \\(head 0\\) is not done after $number s: $2\$"
	fsfreeze -u fs
	frozen=
	finish 0
	! grep '^not ok' console || fail "in the guest"
	[ "$(wc -l <errors)" -le 2 ] || fail "too many lines"
}

case_stalled() { stalled '' "submitted, and the host's disk owes it; io0 is in io_uring_enter\\(2\\)"; }
case_stalled_sync() { stalled ,aio=sync 'io0 is in pwritev2\(2\) for it'; }

silent() {
	[ ! -s errors ] || fail "it said something"
}

# At full speed for 5 s, with requests in flight all the time; a host may well take a
# second for a write.
case_load() {
	truncate -s 64M disk.img
	start disk.img,queues=2 'bench=randread/4k/64/2,randread/64k/16/2 bench-ms=2500 wait=interrupt' -m 128M
	finish 0
	grep -q '^bench: .* errors=0' console || fail "no load"
	silent
}

case_never() {
	truncate -s 1M disk.img
	start disk.img 'tests=hang/not-rung watch=on' --io-warn 0
	until_so grep -q '# look: hangs' console
	sleep 3 # nothing takes time
	kill -TERM "$pid"
	finish 143
	silent
}

# A process that was stopped for long has done nothing meanwhile, nor has its guest.
case_stopped() {
	truncate -s 64M disk.img
	start disk.img 'bench=randread/4k/32/1 bench-ms=14000' -m 128M
	until_so grep -q '^# bench-begin' console
	for _ in 1 2 3; do
		sleep 0.7 # somewhere in the load
		kill -STOP "$pid"
		sleep 3
		kill -CONT "$pid"
	done
	finish 0
	silent
}

# task NAME: the id of the thread of that name
task() {
	local file
	file=$(grep -lx "$1" "/proc/$pid/task/"*/comm)
	file=${file%/comm}
	echo "${file##*/}"
}

# held THREAD: a tracer holds it for a while under load
held() {
	truncate -s 64M disk.img
	start disk.img 'bench=randread/4k/32/1 bench-ms=8000' -m 128M
	until_so grep -q '^# bench-begin' console
	# PTRACE_SEIZE and PTRACE_INTERRUPT; __WALL; PTRACE_DETACH
	perl -e 'alarm 60; my $task = shift() + 0; syscall(101, 0x4206, $task, 0, 0) == 0 or die "seize: $!";
		syscall(101, 0x4207, $task, 0, 0) == 0 or die "interrupt: $!";
		waitpid($task, 0x40000000); sleep 4; syscall(101, 17, $task, 0, 0) == 0 or die "detach: $!"' \
		"$(task "$1")"
	finish 0
	silent
}

case_io_thread_held() { held io0; }
case_vcpu_held() { held vcpu0; }

set_up() { trap leave EXIT; }

trap 'rm -rf "$work"' EXIT
run_cases hangs
