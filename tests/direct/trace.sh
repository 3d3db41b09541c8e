#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: trace.sh VMM KIT
#
# vmm trace record, with perf, on VMs whose guest is the bench of the test kit:
# what it records, that it leaves nothing behind, however it ends, and what it
# says where it cannot; and the pictures of a recording. TAP, then "N passed, N failed".
set -euo pipefail
# shellcheck source=tests/direct/cases.sh
. "$(dirname "${BASH_SOURCE[0]}")/cases.sh"

[ $# -eq 2 ] || { echo "usage: ${0##*/} VMM KIT" >&2; exit 2; }
[ "$(id -u)" = 0 ] || { echo "${0##*/}: must be run as root" >&2; exit 1; }

# What is mounted here is for nobody else.
if [ -z "${VMM_TRACE_MOUNTS-}" ]; then
	VMM_TRACE_MOUNTS=1 exec unshare --mount "$0" "$@"
fi
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly tracefs=/sys/kernel/tracing
[ -e $tracefs/uprobe_events ] || mount -t tracefs nodev $tracefs

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022
chrome=$(dirname "$(dirname "$(realpath "$0")")")/trace/chrome.pl
chmod 755 "$work" # some enter it as nobody
install -m 755 "$1" "$work/vmm"
cp "$2" "$work/kit"
kit=$work/kit
readonly vm=web-$$ # somebody else may have a VM called web
manual=$(cd "$(dirname "$0")" && pwd)/../../Documentation/vmm.1
readonly nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
export LC_ALL=C

# until_it COMMAND...: wait for it, with a deadline
until_it() {
	local tries
	for tries in {1..600}; do
		! "$@" || return 0
		sleep 0.1
	done
	fail "not so after $tries tries: $*"
}

# Each has a folder of its own, where all is that it and perf may leave.
set_up() {
	pid='' recorder='' other=''
	trap tear_down EXIT
	mkdir home tmp
	export HOME=$PWD/home TMPDIR=$PWD/tmp
	cp "$work/vmm" vmm
	vmm=$PWD/vmm
}

tear_down() {
	local process
	for process in $recorder $pid $other; do
		kill -KILL "$process" 2>/dev/null || true
		wait "$process" 2>/dev/null || true
	done
}

# load CASE [OPTION]...: a VM called $vm whose guest does that for long enough
load() {
	local load=$1,$1,$1,$1,$1,$1,$1,$1 # of 50 s each, the most that there can be
	shift
	truncate -s 16M disk.img
	"$vmm" run -n "$vm" -k "$kit" -m 64M -d disk.img \
		-p "bench=$load wait=interrupt bench-ms=50000 warm-ms=1" "$@" \
		</dev/null >console 2>errors &
	pid=$!
	until_it grep -qs bench-begin console
}

# end: of the VM
end() {
	kill -TERM "$pid"
	wait "$pid" || true
	pid=
}

# record ARGUMENT...: it succeeds; what it says is in "said"
record() {
	timeout 120 "$vmm" trace record "$@" </dev/null >printed 2>said ||
		fail "status $?: $(cat said)"
	[ ! -s printed ] || fail "stdout: $(cat printed)"
}

# background ARGUMENT...: the same, until it records
background() {
	rm -f said
	"$vmm" trace record "$@" </dev/null >printed 2>said &
	recorder=$!
	until_it grep -qs '^vmm: recording PID' said
}

# recorded STATUS: the one in the background has ended
recorded() {
	local status=0
	wait "$recorder" || status=$?
	recorder=
	[ "$status" = "$1" ] || fail "status $status: $(cat said)"
}

# refused STDERR COMMAND...: STDERR is a pattern
refused() {
	local expected=$1 status=0
	shift
	timeout 120 "$@" </dev/null >printed 2>said || status=$?
	[ "$status" = 1 ] || fail "status $status: $(cat said)"
	# shellcheck disable=SC2053
	[[ $(cat said) == $expected ]] || fail "$(cat said)"
	[ ! -s printed ] || fail "stdout: $(cat printed)"
}

# threads: of the VM, in rising order
threads() { printf '%s\n' /proc/"$pid"/task/* | sed 's|.*/||' | sort -n; }

probes() { cat $tracefs/uprobe_events; }
no_probes() { ! grep -q sdt_vmm $tracefs/uprobe_events; }

# clean: nothing is left but what was asked for
clean() {
	no_probes || fail "probes: $(probes)"
	[ -z "$(find home tmp -mindepth 1)" ] || fail "$(find home tmp)"
	[ -z "$(find . -name '*.old')" ] || fail "$(find . -name '*.old')"
}

# counted FILE: as perf has it, EVENTS LOST; and what was said is the same
counted() {
	local events lost
	perf script --show-lost-events -i "$1" >lines 2>perf-errors
	events=$(grep -vc 'PERF_RECORD_' lines)
	lost=$(awk '/PERF_RECORD_LOST( |$)/ { sum += $NF } END { print sum + 0 }' lines)
	[[ $(tail -n 1 said) =~ ^vmm:\ ([0-9]+)\ events,\ ([0-9]+)\ lost,\ in\ [0-9.]+\ s\;\ see:\ vmm\ trace\ report\ $1$ ]] ||
		fail "$(cat said)"
	# Those that were lost last, perf script does not tell.
	[[ ${BASH_REMATCH[1]} -eq $events && ${BASH_REMATCH[2]} -ge $lost ]] ||
		fail "$events and $lost, not $(tail -n 1 said)"
	echo "$events $lost"
}

# how many events of the name there are in "lines"
hits() {
	grep -c " $1: " lines || true
}

case_by_name() {
	load randread/4k/4/1
	# More than there can be in a second, however busy the machine is.
	record -m 128M -d 1 -o web.data "$vm"
	[ "$(head -n 1 said)" = "vmm: recording PID $pid to web.data" ] || fail "$(cat said)"
	end
	clean
	[ "$(stat -c %a web.data)" = 600 ] || fail "mode $(stat -c %a web.data)"
	read -r events lost < <(counted web.data)
	[ "$events" -gt 1000 ] || fail "$events events"
	[ "$lost" = 0 ] || fail "$lost lost"
	# A queue of 4: so many are popped before the first event, or pushed after the last.
	local pops pushes
	pops=$(hits sdt_vmm:pop) pushes=$(hits sdt_vmm:push)
	[[ $pops -gt 100 && $((pops - pushes)) -le 4 && $((pushes - pops)) -le 4 ]] ||
		fail "$pops pops, $pushes pushes"
	# Twice: at the beginning and at the end.
	[[ $(hits sdt_vmm:clock) = 2 && $(hits sdt_vmm:disk) = 2 && $(hits sdt_vmm:vcpu_tsc) -ge 1 ]] ||
		fail "$(grep -E 'clock|disk|vcpu_tsc' lines)"
	grep -q '^ *io0 .* sdt_vmm:pop: ' lines || fail "no thread io0"
	grep -q '^ *vcpu0 .* kvm:' lines || fail "no thread vcpu0"
	[ "$(hits kvm:kvm_msi_set_irq)" -gt 0 ] || fail "no interrupts"
	[ "$(hits sched:sched_waking)" -gt 0 ] || fail "no wake-ups"
}

# A doorbell is the only write of the guest's that is recorded.
case_filters() {
	load randread/4k/1/1
	record -d 0.5 -o web.data "$pid"
	end
	counted web.data >counts
	local writes others
	writes=$(hits kvm:kvm_mmio)
	others=$(grep 'kvm_mmio:' lines | grep -cv 'mmio write .* gpa 0xc') || true
	[[ $writes -gt 0 && $others = 0 ]] || fail "$writes writes, $others are no doorbells"
	perf script -i web.data --show-switch-events >lines 2>perf-errors
	grep -q 'io0 .* PERF_RECORD_SWITCH IN' lines || fail "no switches"
	perf evlist -v -i web.data >events
	grep -q 'clockid: 1' events || fail "not CLOCK_MONOTONIC: $(cat events)"
}

# The default file, until Ctrl-C, which reaches every process at the terminal.
case_until_ctrl_c() {
	load randread/4k/4/1
	echo old >vmm-trace.data
	background "$vm"
	grep -qx "vmm: recording PID $pid to vmm-trace.data; Ctrl-C ends it" said || fail "$(cat said)"
	kill -INT "$recorder"
	recorded 0
	end
	clean
	counted vmm-trace.data >counts
	[ "$(hits sdt_vmm:clock)" = 2 ] || fail "$(hits sdt_vmm:clock) clocks"
}

case_sigterm() {
	load randread/4k/4/1
	background -o web.data -d 600 "$vm"
	kill -TERM "$recorder"
	recorded 0
	end
	clean
	counted web.data >counts
}

# The commands that it runs, as one can type them.
case_verbose() {
	load randread/4k/4/1
	record -v -d 0.1 -o web.data "$vm"
	end
	clean
	grep -q "^vmm: perf --buildid-dir $PWD/tmp/[^ ]* probe -x $PWD/tmp/[^ ]*/vmm -D 'sdt_vmm:\*'$" said ||
		fail "$(cat said)"
	grep -q "^vmm: perf record -k CLOCK_MONOTONIC .* -e 'sdt_vmm:\*' .* --switch-events " said ||
		fail "$(cat said)"
	grep -q "^vmm: perf probe --del 'sdt_vmm:\*'$" said || fail "$(cat said)"
}

case_vm_ends() {
	load randread/4k/4/1
	background -o web.data -d 600 "$vm"
	end
	recorded 0
	grep -qx 'vmm: warning: the VM has ended' said || fail "$(cat said)"
	clean
	counted web.data >counts
	[ "$(hits sdt_vmm:clock)" = 1 ] || fail "$(hits sdt_vmm:clock) clocks"
	[ "$(hits sdt_vmm:queue_stop)" = 1 ] || fail "its queue did not stop"
}

case_vm_is_killed() {
	load randread/4k/4/1
	background -o web.data "$vm"
	kill -KILL "$pid"
	wait "$pid" 2>/dev/null || true
	pid=
	recorded 0
	clean
	counted web.data >counts
}

# It ends before perf is ready, or just then: while this command of perf's runs.
case_vm_ends_too_early() {
	local command
	for command in 'perf --version' 'probe -x' 'perf record'; do
		load randread/4k/4/1
		rm -f said
		"$vmm" trace record -v -o web.data "$pid" </dev/null >printed 2>said &
		recorder=$!
		until_it grep -qs -e "$command" said
		kill -KILL "$pid"
		wait "$pid" 2>/dev/null || true
		local was=$pid status=0
		pid=
		wait "$recorder" || status=$?
		recorder=
		clean
		# perf may have been faster.
		if [ "$status" = 0 ]; then
			grep -qx 'vmm: warning: the VM has ended' said || fail "$(cat said)"
			continue
		fi
		[ "$status" = 1 ] || fail "$command: status $status: $(cat said)"
		grep -qx "vmm: PID $was has ended meanwhile" said ||
			fail "$command: status $status: $(cat said)"
		[ ! -e web.data ] || fail "$command: it left a file"
	done
}

# perf ends with it; the probes that it could not remove are removed by the next.
case_recorder_is_killed() {
	load randread/4k/4/1
	background -o web.data "$vm"
	kill -KILL "$recorder"
	wait "$recorder" 2>/dev/null || true
	recorder=
	until_it flock --nonblock $tracefs/uprobe_events true
	! no_probes || fail "no probes were left"
	record -d 0.1 -o web.data "$vm"
	end
	grep -qx 'vmm: warning: removing the probes sdt_vmm:\* that somebody left' said ||
		fail "$(cat said)"
	clean
}

# One at a time, and the first goes on. Nor do its probes concern another VM.
case_two_at_a_time() {
	load randread/4k/4/1
	truncate -s 1M other.img
	cp "$vmm" vmm-other
	./vmm-other run -k "$kit" -m 64M -d other.img -p 'tests=none end=spin' \
		</dev/null >other-console 2>&1 &
	other=$!
	until_it grep -qs '^1\.\.0' other-console
	background -o web.data "$vm"
	cp said first
	refused "vmm: another 'vmm trace record' runs, or is about to end: one at a time" \
		./vmm-other trace record -o other.data "$other"
	[ ! -e other.data ] || fail "it left a file"
	cp first said
	kill -INT "$recorder"
	recorded 0
	counted web.data >counts
	record -d 0.1 -o other.data "$other"
	counted other.data >counts
	[ "$(hits sdt_vmm:clock)" = 2 ] || fail "$(hits sdt_vmm:clock) clocks"
	kill -TERM "$other"
	wait "$other" || true
	other=
	end
	clean
}

# The report finds each pop and push of the recording, and all layers that PVM or
# hardware show; and where FILE is none, it says so.
case_report() {
	local seen queue
	load randread/4k/4/1
	record -d 0.5 -o web.data "$pid"
	end
	"$vmm" trace report web.data >text
	grep -qE '^disk 0 \(disk.img\), read: [0-9]+ requests, ' text || fail "$(cat text)"
	grep -q ': difference 0.00%$' text || fail "$(cat text)"
	for seen in wake-up 'CPU wait' pop submit disk publish interrupt whole; do
		grep -qE "^  $seen +[0-9]+ +[0-9.]+% " text || fail "no $seen: $(cat text)"
	done
	! grep -q ' 0 lost,' said || ! grep -q WARNING text || fail "$(cat text)"
	[ "$(wc -L <text)" -le 80 ] || fail "$(wc -L <text) columns"
	"$vmm" trace report --json web.data >report.json
	"$here/check_trace.py" "$here/../../Documentation/trace.schema.json" report.json
	counted web.data >counts
	queue=$(tr -d '\n\t' <report.json | grep -o '"pops":[0-9]*,"pushes":[0-9]*')
	[ "$queue" = "\"pops\":$(hits sdt_vmm:pop),\"pushes\":$(hits sdt_vmm:push)" ] ||
		fail "$queue"
	refused "vmm: console: not a recording, or not all of one" "$vmm" trace report console
	refused "vmm: none: cannot open: No such file or directory" "$vmm" trace report none
	head -c 100000 web.data >part
	refused "vmm: part: not a recording, or not all of one" "$vmm" trace report part
	refused "vmm: perf is not installed: Debian has it in the package linux-perf" \
		env PATH="$PWD/home" "$vmm" trace report web.data
	mkdir bin
	printf '#!/bin/sh\necho no luck >&2\nexit 1\n' >bin/perf
	chmod 755 bin/perf
	refused "vmm: perf script failed"$'\n'"vmm: perf says: no luck" \
		env PATH="$PWD/bin:$PATH" "$vmm" trace report web.data
}

# perf's buffer of one page is full at once, and the report counts what is missing.
case_loss() {
	local lost
	load randread/4k/32/1
	record -m 4K -d 1 -o web.data "$vm"
	end
	clean
	grep -q "^vmm: warning: events were lost: perf's buffers were full; try a larger one than --buffer 4K$" said ||
		fail "$(cat said)"
	read -r _ lost < <(counted web.data)
	[ "$lost" -gt 0 ] || fail "perf script tells of none"
	# What the last line said, which may be more.
	lost=$(sed -n 's/.* events, \([0-9]*\) lost, .*/\1/p' said)
	"$vmm" trace report --json web.data >report.json
	grep -q "\"lost_events\":$lost," report.json || fail "not $lost: $(cat report.json)"
	"$here/check_trace.py" "$here/../../Documentation/trace.schema.json" report.json
	"$vmm" trace report web.data >text
	grep -q "^WARNING: perf lost $lost events" text || fail "$(cat text)"
}

case_unknown_names() {
	refused "vmm: no VM is called '$vm'*" "$vmm" trace record "$vm"
	load randread/4k/4/1
	refused "vmm: no VM is called 'mail'"$'\n'"vmm: running: *'$vm' (PID $pid)*" \
		"$vmm" trace record mail
	refused "vmm: no process has PID 4194305" "$vmm" trace record 4194305
	refused "vmm: PID $$: its program '$(realpath /proc/$$/exe)' is not vmm, or was built with PROBES=no" \
		"$vmm" trace record $$
	end
	[ ! -e vmm-trace.data ] || fail "it left a file"
}

case_two_of_a_name() {
	load randread/4k/4/1
	truncate -s 1M other.img
	"$vmm" run -n "$vm" -k "$kit" -m 64M -d other.img -p 'tests=none end=spin' \
		</dev/null >other-console 2>&1 &
	other=$!
	until_it grep -qs '^1\.\.0' other-console
	refused "vmm: 2 VMs are called '$vm': say which by its PID
vmm: running: *'$vm' (PID *'$vm' (PID *" \
		"$vmm" trace record "$vm"
	grep -q "'$vm' (PID $pid)" said
	grep -q "'$vm' (PID $other)" said
	kill -TERM "$other"
	wait "$other" || true
	other=
	end
}

case_another_user_takes_the_name() {
	load randread/4k/4/1
	cp "$(command -v bash)" vmm-of-theirs
	# shellcheck disable=SC2016
	echo 'kill -STOP $$' >run
	"${nobody[@]}" ./vmm-of-theirs run -n "$vm" &
	other=$!
	until_it grep -q '^State:.T' "/proc/$other/status"
	record -d 0.2 -o web.data "$vm"
	[ "$(head -n 1 said)" = "vmm: recording PID $pid to web.data" ] || fail "$(cat said)"
	end
	refused "*'$vm' (PID $other of user 65534)*" "$vmm" trace record none-has-this
	kill -KILL "$other"
	wait "$other" || true
	other=
}

case_no_perf() {
	load randread/4k/4/1
	refused "vmm: perf is not installed: Debian has it in the package linux-perf" \
		env PATH="$PWD/home" "$vmm" trace record "$vm"
	end
	clean
	[ ! -e vmm-trace.data ] || fail "it left a file"
}

# fake_perf [COMMAND]: bin/perf works for nothing but a look at its version, and does that
fake_perf() {
	mkdir bin
	# shellcheck disable=SC2016
	printf '#!/bin/sh\n[ "$1" = --version ] || { %s; echo no luck >&2; exit 1; }\n' "${1:-:}" \
		>bin/perf
	chmod 755 bin/perf
}

# perf_fails COMMAND TEXT: COMMAND as well before it does, and then web.data holds TEXT
perf_fails() {
	load randread/4k/4/1
	fake_perf "$1"
	refused "vmm: cannot find the probes of vmm"$'\n'"vmm: perf says: no luck" \
		env PATH="$PWD/bin:$PATH" "$vmm" trace record -o web.data "$vm"
	[ "$(cat web.data)" = "$2" ] || fail "$2 is gone"
	end
	clean
}

# Its own last lines are shown; and the old recording is still there.
case_perf_fails() {
	echo old >web.data
	perf_fails '' old
}

# perf attaches and cannot go on: there is no room for what it writes.
case_file_system_full() {
	load randread/4k/32/1
	mkdir full
	mount -t tmpfs -o size=1M tmpfs full
	trap 'tear_down; umount full' EXIT
	timeout 120 "$vmm" trace record -o full/web.data "$vm" </dev/null >printed 2>said &&
		fail "it succeeded: $(cat said)"
	grep -qx 'vmm: perf record failed' said || fail "$(cat said)"
	grep -q '^vmm: perf says: .*No space left on device' said || fail "$(cat said)"
	[ ! -e full/web.data ] || fail "it left a part"
	end
	clean
}

case_no_tracefs() {
	load randread/4k/4/1
	# shellcheck disable=SC2016
	refused "vmm: tracefs is not mounted; as root: mount -t tracefs nodev $tracefs" \
		unshare --mount bash -c '
			umount -l /sys/kernel/tracing
			! mountpoint -q /sys/kernel/debug || umount -l /sys/kernel/debug
			exec "$1" trace record "$2"' bash "$vmm" "$vm"
	[ ! -e vmm-trace.data ] || fail "it left a file"
	end
}

# A VM of root's is not seen by others; one of their own cannot be recorded.
case_not_root() {
	load randread/4k/4/1
	chmod 777 .
	refused "vmm: no VM is called '$vm'; none of yours runs" \
		"${nobody[@]}" "$vmm" trace record "$vm"
	refused "vmm: PID $pid: Permission denied" \
		"${nobody[@]}" "$vmm" trace record "$pid"
	end
	cp -a /dev/kvm kvm
	chmod 666 kvm disk.img
	mount --bind kvm /dev/kvm
	"${nobody[@]}" "$vmm" run -n mine -k "$kit" -m 64M \
		 -d disk.img -p 'tests=none end=spin' </dev/null >console 2>errors &
	pid=$!
	until_it grep -qs '^1\.\.0' console
	umount -l /dev/kvm
	refused "vmm: cannot add probes: $tracefs/uprobe_events: Permission denied; recording takes root" \
		"${nobody[@]}" "$vmm" trace record mine
	[ ! -e vmm-trace.data ] || fail "it left a file"
	end
}

case_file_cannot_be_written() {
	load randread/4k/4/1
	mkdir folder
	mkfifo fifo
	refused "vmm: 'none/x': cannot write it: No such file or directory" \
		"$vmm" trace record -o none/x "$vm"
	refused "vmm: 'folder': cannot write it: Is a directory" "$vmm" trace record -o folder "$vm"
	refused "vmm: '/dev/null': not a regular file" "$vmm" trace record -o /dev/null "$vm"
	refused "vmm: 'fifo': cannot write it: No such device or address" \
		"$vmm" trace record -o fifo "$vm"
	end
	clean
}

# One's own link leads to a file that is not there yet, and stays if recording fails.
case_file_is_a_link() {
	load randread/4k/4/1
	mkdir folder
	ln -s folder/real.data web.data
	fake_perf
	refused "vmm: cannot find the probes of vmm"$'\n'"vmm: perf says: no luck" \
		env PATH="$PWD/bin:$PATH" "$vmm" trace record -o web.data "$vm"
	[ -L web.data ] || fail "the link is gone"
	[ ! -e folder/real.data ] || fail "it left a file"
	record -d 0.1 -o web.data "$vm"
	end
	clean
	[ -L web.data ] || fail "the link is gone"
	counted web.data >counts
}

# What somebody put in its place is not removed when recording fails.
case_file_is_another_by_then() {
	perf_fails 'rm web.data && echo precious >web.data' precious
}

# What another user has laid into a folder for all is left alone, wherever it leads.
case_file_is_planted() {
	load randread/4k/4/1
	mkdir -m 1777 shared
	echo precious >precious
	ln -s ../precious shared/link
	chown -h 65534 shared/link
	ln -s ../absent shared/dangling
	chown -h 65534 shared/dangling
	"${nobody[@]}" bash -c 'echo theirs >shared/theirs'
	local file
	for file in link dangling theirs; do
		refused "vmm: 'shared/$file': another user's, in a folder that is open to all" \
			"$vmm" trace record -o "shared/$file" "$vm"
	done
	[[ $(cat precious) = precious && $(cat shared/theirs) = theirs && ! -e absent ]] ||
		fail "written: $(head -c 100 precious shared/theirs)"
	end
	clean
}

# requests TEXT: that the report says it is about
requests() {
	sed -n '1s/.* events, \([0-9]*\) requests .*/\1/p' "$1"
}

# All requests of a recording, and as many as the time that is asked for has.
case_pictures() {
	local all some
	load randread/4k/4/1
	record -d 0.5 -o web.data "$vm"
	end
	"$vmm" trace report --chrome all.json --svg all.svg web.data >text
	"$chrome" all.json >shown
	all=$(requests text)
	[ "$all" -gt 100 ] || fail "$all requests"
	[ "$(grep -c '|read' shown)" = "$all" ] || fail "$(grep -c '|read' shown), not $all"
	for track in batches 'on CPU' 'doorbells, interrupts'; do
		grep -q "^virtual machine|[^|]* $track|" shown || fail "no $track"
	done
	rsvg-convert all.svg >all.png
	grep -q ">$all requests of disk.img in " all.svg || fail "$(grep requests all.svg)"

	"$vmm" trace report --chrome some.json --from 0.1 --to 0.3 web.data >text
	"$chrome" some.json >shown
	some=$(grep -c '|read' shown || true)
	[[ $some -gt 0 && $some -lt $all ]] || fail "$some of $all"
	awk -F'|' '/\|read/ && $3 >= 200000000 { late = 1 } END { exit late }' shown ||
		fail "of another time"
}

# Its program has been built anew, and its folder's name has a blank.
case_program_is_gone() {
	mkdir 'a folder'
	mv vmm 'a folder/vmm'
	vmm="$PWD/a folder/vmm"
	load randread/4k/4/1
	cp "$vmm" anew
	mv anew "$vmm"
	record -d 0.1 -o web.data "$vm"
	end
	clean
	counted web.data >counts
	[ "$(hits sdt_vmm:clock)" = 2 ] || fail "$(hits sdt_vmm:clock) clocks"
}

# A long one has the clocks' pairs in between.
case_clocks() {
	truncate -s 1M disk.img
	"$vmm" run -n "$vm" -k "$kit" -m 64M -d disk.img -p 'tests=none end=spin' \
		</dev/null >console 2>errors &
	pid=$!
	until_it grep -qs '^1\.\.0' console
	record -d 8 -o web.data "$vm"
	end
	clean
	counted web.data >counts
	[ "$(hits sdt_vmm:clock)" -ge 3 ] || fail "$(hits sdt_vmm:clock) clocks"
}

# Where processes have other numbers than in the events of the kernel.
case_pid_namespace() {
	truncate -s 16M disk.img
	# shellcheck disable=SC2016
	timeout 120 unshare --pid --fork --kill-child --mount-proc bash -euc '
		"$1" run -k "$2" -m 64M -d disk.img </dev/null >console 2>errors \
			-p "bench=randread/4k/4/1 wait=interrupt bench-ms=50000 warm-ms=1" &
		until grep -qs bench-begin console; do sleep 0.1; done
		"$1" trace record -d 0.5 -o web.data $! </dev/null >printed 2>said
		kill -TERM $!' bash "$vmm" "$kit"
	grep -q "^vmm: warning: wake-ups are not recorded: " said || fail "$(cat said)"
	clean
	"$vmm" trace report web.data >text
	grep -q "^  sched_waking: the wake-up is part of CPU wait" text || fail "$(cat text)"
	grep -qE "^  CPU wait +[0-9]+ " text || fail "$(cat text)"
	! grep -q "^  wake-up " text || fail "$(cat text)"
}

# Another event of the same name is in nobody's way.
case_other_probes() {
	load randread/4k/4/1
	echo "p:vmm_other/pop $vmm:0x1000" >>$tracefs/uprobe_events
	trap 'tear_down; echo -:vmm_other/pop >>$tracefs/uprobe_events' EXIT
	record -d 0.1 -o web.data "$vm"
	end
	probes | grep -q 'p:vmm_other/pop ' || fail "it is gone"
	clean
}

# The manual's lines do the same.
case_by_hand() {
	load randread/4k/4/1
	sed '1,/^\.SS vmm trace record/d' "$manual" | sed '1,/^\.nf/d; /^\.fi/,$d' |
		sed "s|\\\\-|-|g; s|\\\\e\$|\\\\|; s|/usr/local/bin/vmm|$vmm|; s|sleep 5|sleep 0.5|
			s|PID|$pid|g; s|LAST|$(threads | tail -n 1)|" >by-hand
	timeout 60 bash -e by-hand </dev/null >printed 2>said || fail "$(cat by-hand said)"
	no_probes || fail "probes: $(probes)"
	perf evlist -i vmm-trace.data | grep -v '^[#d]' >by-hand-events
	perf script -i vmm-trace.data >lines 2>perf-errors
	[ "$(hits sdt_vmm:clock)" = 2 ] || fail "$(hits sdt_vmm:clock) clocks"
	[ "$(hits sched:sched_waking)" -gt 0 ] || fail "no wake-ups"
	record -v -d 0.1 -o web.data "$vm"
	end
	perf evlist -i web.data | grep -v '^[#d]' >events # nor the dummy
	diff <(sort by-hand-events) <(sort events) || fail "other events"
}

run_cases trace
