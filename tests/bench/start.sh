#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: start.sh VMM KIT KERNEL RESULTS [ROUNDS]
#
# How fast and how small a VM starts on /dev/kvm, with 512 MiB. KERNEL is a
# bzImage, of Debian's cloud kernel for the published figures. The programs of
# start.mk are expected in bench/ beside VMM; QEMU=FILE is another QEMU. Adds to
# RESULTS one line a sample: case, monitor, metric, round, value; the cases are
#
# first-run        exec to the first KVM_RUN with KERNEL; host is bench/bare
# first-run-disk   the same with a disk, so with an initramfs of modules
# first-output     exec to the first instruction of a guest
# memory           private memory beyond the guest's RAM, one disk, an idle guest
# binary           the stripped program's size
set -euo pipefail

[ $# -ge 4 ] || { echo "usage: ${0##*/} VMM KIT KERNEL RESULTS [ROUNDS]" >&2; exit 2; }
vmm=$1 kit=$2 kernel=$3 results=$4 rounds=${5:-21}
bench=$(dirname "$vmm")/bench
mib=512
deadline=20 # seconds

work=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill -KILL "$pid" 2> /dev/null || true; rm -rf "$work"' EXIT
truncate -s 64M "$work/disk.img"

qemu=("${QEMU:-qemu-system-x86_64}" -accel kvm -cpu "host,-arch-capabilities" -m "$mib"
	-nodefaults -no-user-config -display none -serial stdio)
qemu_disk=(-drive "file=$work/disk.img,format=raw,if=none,id=d" -device "virtio-blk-pci,drive=d")

# result CASE MONITOR METRIC VALUE
result() {
	printf '%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$round" "$4" >> "$results"
}

# sample CASE MONITOR run|(output TEXT) COMMAND...
sample() {
	local ms
	ms=$("$bench/until" "$deadline" "${@:3}" < /dev/null)
	result "$1" "$2" ms "$ms"
}

# Private memory of process $1 in KiB, without the mappings that hold a guest.
private_kib() {
	awk -v guest=$((mib << 10)) '
		$1 == "Size:" { counts = $2 < guest }
		/^Private_(Clean|Dirty):/ && counts { sum += $2 }
		END { print sum }' "/proc/$1/smaps"
}

# memory MONITOR COMMAND...: with a guest that says 1..0 and halts
memory() {
	local kib
	"${@:2}" < /dev/null > "$work/console" &
	pid=$!
	for ((tries = deadline * 10; tries; tries--)); do
		! grep -q '^1\.\.0' "$work/console" || break
		sleep 0.1
	done
	[ "$tries" -gt 0 ] || { echo "$1: the guest did not start" >&2; exit 1; }
	kib=$(private_kib "$pid")
	kill -KILL "$pid"
	wait "$pid" 2> /dev/null || true
	pid=
	result memory "$1" kib "$kib"
}

for ((round = 1; round <= rounds; round++)); do
	sample first-run host run "$bench/bare" "$kernel" "$mib"
	sample first-run vmm run "$vmm" run -k "$kernel" -m "$mib"
	sample first-run-disk host run "$bench/bare" "$kernel" "$mib"
	sample first-run-disk vmm run "$vmm" run -k "$kernel" -m "$mib" -d "$work/disk.img"
	sample first-output vmm output "" "$vmm" run -k "$bench/first.elf" -m "$mib"
	sample first-output qemu-microvm output "" "${qemu[@]}" -M microvm -kernel "$bench/first.elf"
done
round=1
idle="tests=none end=halt"
memory vmm "$vmm" run -k "$kit" -m "$mib" -d "$work/disk.img" -p "$idle"
memory qemu-microvm "${qemu[@]}" -M "microvm,pcie=on" "${qemu_disk[@]}" -kernel "$kit" \
	-append "$idle views=ecam ecam=0xe0000000"
strip -o "$work/stripped" "$vmm"
result binary vmm kib "$(($(stat -c %s "$work/stripped") >> 10))"
