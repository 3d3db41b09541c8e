#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: stock.sh BUILD RESULTS ROUNDS
#
# What a stock Debian guest sees of vmm and of QEMU, where stock kernels can run:
# on this machine or in an emulated host (tests/host), whose one CPU the monitor
# shares with its guest. Appends lines of case, monitor, metric, round and value to
# RESULTS; stock.pl tells the cases. One round has less of all. QEMU= is another
# QEMU to compare with.

set -euo pipefail

[ $# -eq 3 ] || { sed -n 's/^# usage/usage/p' "$0" >&2; exit 2; }
here=$(dirname "$(realpath "$0")")
mkdir -p "$1/cache" "$1/bench/stock"
build=$(realpath "$1")
results=$2
rounds=$3
out=$build/bench/stock
VMM=$(realpath "${VMM:-$build/vmm}")
export VMM

qemu=$(command -v "${QEMU:-qemu-system-x86_64}") ||
	{ echo "stock.sh: no ${QEMU:-qemu-system-x86_64}" >&2; exit 1; }
cloud=$("$here/../fetch/kernel.sh" "$build/cache/cloud" linux-image-cloud-amd64)
busybox=$("$here/../fetch/busybox.sh" "$build/cache/busybox")
"$here/../stock/images.sh" "$out" "$busybox"
initrd()
{
	"$here/../host/initrd.sh" "$out/$1" "$cloud" "$busybox" "virtio_pci virtio_blk ext4" "$2"
}
initrd initrd-boot "$here/stock-init"
initrd initrd-fio "$here/../stock/initramfs-init"

# Results have four tabs. All else is for the reader.
"$here/../host/run.sh" --deadline $((120 + 150 * rounds)) "$build/cache" "$here/stock.pl" \
	"$cloud" "$out" "$qemu" "$rounds" |
	awk -F '\t' -v results="$results" 'NF == 5 { print >> results; next }
		{ print; fflush() }'
