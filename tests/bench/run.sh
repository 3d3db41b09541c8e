#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: run.sh BUILD
#
# Measures vmm, QEMU and the host side by side, prints the targets and writes
# Documentation/benchmarks.md and .svg. QUICK=1 takes the cases with a target only,
# fewer rounds and shorter ones, and writes to BUILD/bench. QEMU=FILE is another
# QEMU. As root. The status is 1 if anything did not run.
set -euo pipefail

[ $# -eq 1 ] || { echo "usage: ${0##*/} BUILD" >&2; exit 2; }
build=$(realpath "$1")
cd "$(dirname "$0")/../.."

die() {
	echo "${0##*/}: $1" >&2
	exit 1
}

quick=${QUICK:-}
[ "$quick" != 0 ] || quick=
export QEMU=${QEMU:-qemu-system-x86_64}
results=$build/bench/results
facts=$build/bench/facts
tracefs=/sys/kernel/tracing
mounted=

[ "$(id -u)" -eq 0 ] || die "must be run as root"
[ "$(nproc)" -ge 2 ] || die "needs two CPUs: one for the guest, one for its disk"
[ -c /dev/kvm ] || die "there is no /dev/kvm"
command -v "$QEMU" > /dev/null || die "cannot run '$QEMU'"

trap '[ -z "$mounted" ] || umount "$tracefs"' EXIT
trap 'exit 130' INT TERM HUP

# fact KEY TEXT
fact() {
	printf '%s\t%s\n' "$1" "$2" >> "$facts"
}

# Of what lscpu says, the line KEY.
cpu() {
	lscpu | sed -n "s/^$1: *//p"
}

gather_facts() {
	local modules
	modules=$(cd /sys/module && printf '%s ' kvm_*)
	fact Date "$(date -u +%F)"
	fact CPU "$(cpu 'Model name'), $(cpu 'CPU(s)') CPUs, $(cpu 'L3 cache') L3"
	fact Memory "$(awk '/^MemTotal/ { printf "%.1f GiB", $2 / 1048576 }' /proc/meminfo)"
	fact Kernel "$(uname -sr)"
	fact 'KVM module' "${modules% }"
	fact "Images' file system" "$filesystem"
	fact vmm "$("$build/vmm" version | sed 's/^vmm //'), $(git describe --always --dirty --abbrev=12 || echo 'no git')"
	fact QEMU "$("$QEMU" --version | sed -n 's/^QEMU emulator version //p')"
	fact fio "$(fio --version)"
	fact 'Stock kernel' "$(basename "$kernel")"
}

# Reads of a cached page complete within io_uring_enter() on these; elsewhere, they
# would go through a worker thread, and that is what would be measured.
check_filesystem() {
	filesystem=$(stat -f -c %T "$build/bench")
	case $filesystem in
	ext2/ext3) filesystem=ext4 ;; # its magic number is ext2's
	xfs | btrfs) ;;
	*) die "$build is on $filesystem, where io_uring has no fast reads: O=DIR on ext4, xfs or btrfs" ;;
	esac
}

# image NAME MIB: with blocks that hold something, all on the disk
image() {
	local file=$build/bench/$1.img size=$(($2 << 20))
	[ "$(stat -c %s "$file" 2> /dev/null)" != "$size" ] || return 0
	head -c "$size" /dev/urandom > "$file.new"
	sync "$file.new"
	mv "$file.new" "$file"
}

status=0
# part NAME COMMAND...: if it fails, the others go on without it
part() {
	local begin=$SECONDS ended=0
	echo "== $1"
	"${@:2}" || ended=$?
	case $ended in 129 | 130 | 143) exit "$ended" ;; esac # told to, by a signal
	[ "$ended" -eq 0 ] || { status=1; echo "${0##*/}: $1 failed with status $ended" >&2; }
	echo "== $1 took $((SECONDS - begin)) s"
}

mkdir -p "$build/bench"
rm -f "$results" "$facts"
check_filesystem
image cached 256
image disk 1024
dd if="$build/bench/disk.img" iflag=nocache count=0 status=none # nothing of it stays in RAM
if [ ! -e "$tracefs/events" ]; then
	mount -t tracefs tracefs "$tracefs"
	mounted=1
fi
kernel=$(tests/fetch/kernel.sh "$build/cache/cloud" linux-image-cloud-amd64)
: > "$results"
gather_facts

part kit tests/bench/kit.pl "$build" "$QEMU" "$results" "$facts" ${quick:+--quick}
part start tests/bench/start.sh "$build/vmm" "$build/guest/kit/kit.elf" "$kernel" "$results" \
	${quick:+5}
part stock tests/bench/stock.sh "$build" "$results" "$([ "$quick" ] && echo 1 || echo 5)"

folder=Documentation
[ -z "$quick" ] || folder=$build/bench
tests/bench/report.pl "$results" "$facts" "$folder/benchmarks.md" "$folder/benchmarks.svg" ||
	status=1
echo "$folder/benchmarks.md"
exit $status
