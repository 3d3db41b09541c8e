#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: run.sh [--interactive] [--deadline SECONDS] CACHE SCRIPT [ARGUMENT]...
#
# Runs the script SCRIPT where KVM can run a stock kernel, and exits with its
# status. That is the machine itself when it has kvm_intel or kvm_amd; otherwise
# a host emulated by QEMU, whose one CPU has SVM, and which sees the machine's
# files at their own paths, all changes going to RAM. The script runs in an empty
# folder, named by $SCRATCH, on a file system with direct I/O; its environment is
# PATH, TERM and VMM. Its standard input is /dev/null, or with --interactive the
# terminal, every key of it. CACHE is the folder for downloads (tests/fetch).
#
# After the deadline (900 s, none if interactive), or when the emulated host does
# not come up, the status is 124 and stderr says so.

set -euo pipefail

here=$(dirname "$(realpath "$0")")
PATH=$PATH:/usr/sbin:/sbin
interactive=
deadline=900
while [[ ${1-} == --* ]]; do
	case $1 in
	--interactive) interactive=interactive; deadline=0 ;;
	--deadline) deadline=$2; shift ;;
	*) break ;;
	esac
	shift
done
[ $# -ge 2 ] || { sed -n 's/^# usage/usage/p' "$0" >&2; exit 2; }
mkdir -p "$1"
cache=$(realpath "$1")
script=$(realpath "$2")
shift 2

work=$(mktemp -d "$cache/host.XXXXXX")
pid=
tty=
clean_up()
{
	if [ -n "$pid" ]; then
		kill "$pid" || true
		wait "$pid" || true
	fi 2>/dev/null
	[ -z "$tty" ] || stty "$tty"
	rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

say()
{
	echo "run.sh: $*" >&2
}

# job FOLDER ARGUMENT...: what to run, as a bash script.
job()
{
	local folder=$1 name
	shift
	printf 'export SCRATCH=%q; cd %q || exit 125\n' "$folder" "$folder"
	for name in PATH TERM VMM; do
		[ -z "${!name-}" ] || printf 'export %s=%q\n' "$name" "${!name}"
	done
	[ -z "$tty" ] || stty size | sed 's/\(.*\) \(.*\)/stty rows \1 cols \2/'
	printf 'exec %q' "$script"
	[ $# -eq 0 ] || printf ' %q' "$@"
}

run_here()
{
	local status=0 foreground=()
	mkdir "$work/scratch"
	job "$work/scratch" "$@" > "$work/job"
	# Without --foreground the deadline ends the script's children too.
	[ -z "$interactive" ] || foreground=(--foreground)
	timeout "${foreground[@]}" -k 5 "$deadline" bash "$work/job" <&3 &
	pid=$!
	wait "$pid" || status=$?
	pid=
	[ "$status" -ne 124 ] || say "the script took over $deadline s"
	return "$status"
}

# qemu_start: QEMU in the background, its standard input from descriptor 3. QEMU 10
# changes a CPU's pending interrupts without a lock when that leaves a guest, so that
# some are lost. With two CPUs guests then hang or end in triple faults, under QEMU as
# the monitor too, and at times the host itself panics; with one, the host needs a
# timer that ticks: one that is armed for each event would be lost for good.
qemu_start()
{
	local share=local,path=/,mount_tag=host,security_model=none,readonly=on
	local options="nohz=off highres=off no_timer_check mitigations=off"
	timeout --foreground -k 5 "$deadline" \
		"$qemu" -accel tcg,thread=multi -cpu EPYC,+svm,+npt -smp 1 -m 6144 \
		-nodefaults -display none -monitor none -nic none -no-reboot \
		-virtfs "$share,multidevs=remap" \
		-drive "file=$work/scratch.img,format=raw,if=virtio,cache=unsafe" \
		-chardev stdio,id=job,signal=off,mux=off \
		-serial "file:$work/console" -serial chardev:job -serial "file:$work/status" \
		-kernel "$kernel" -initrd "$work/initrd" \
		-append "console=ttyS0 quiet panic=-1 $options $interactive" \
		<&3 2> "$work/qemu.log" &
	pid=$!
}

# host_wait: wait for the job's start, then for the end of the emulated host.
host_wait()
{
	local tries=240
	until [ -s "$work/status" ] || [ $((tries--)) -eq 0 ] || ! kill -0 "$pid"; do
		sleep 0.5
	done 2>/dev/null
	[ -s "$work/status" ] || kill "$pid" 2>/dev/null || true
	wait "$pid" || true
	pid=
}

run_emulated()
{
	local status
	kernel=$("$here/../fetch/kernel.sh" "$cache/generic" linux-image-amd64)
	qemu=$("$here/../fetch/qemu.sh" "$cache/qemu")
	busybox=$("$here/../fetch/busybox.sh" "$cache/busybox")
	job /run/scratch "$@" > "$work/job"
	"$here/initrd.sh" "$work/initrd" "$kernel" "$busybox" \
		"virtio_pci 9pnet_virtio 9p overlay virtio_blk ext4 loop kvm-amd" \
		"$here/init" "$work/job"
	truncate -s 16G "$work/scratch.img"
	mkfs.ext4 -q -F "$work/scratch.img"
	[ -z "$interactive" ] || say "no kvm_intel or kvm_amd: emulating a host that has it"
	qemu_start
	host_wait
	status=$(sed -n 's/^exit \([0-9]*\)\r*$/\1/p' "$work/status")
	if [ -z "$status" ]; then
		say "the emulated host failed or took over $deadline s; QEMU and its console say:"
		grep -hv "TCG doesn't support" "$work/qemu.log" "$work/console" |
			tail -n 40 >&2 || true
		status=124
	fi
	return "$status"
}

if [ -n "$interactive" ]; then
	exec 3<&0
	[ ! -t 0 ] || tty=$(stty -g)
else
	exec 3< /dev/null
fi
if [ -e /sys/module/kvm_intel ] || [ -e /sys/module/kvm_amd ]; then
	run_here "$@"
else
	run_emulated "$@"
fi
