#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: trace.sh BUILD
#
# The demo of "vmm trace": a stock guest under fio, recorded by the host and by itself
# for five seconds, and where its requests spent their time. On a machine without
# kvm_intel and kvm_amd that happens in an emulated host (tests/host), some fifty times
# slower than on a real one.

set -euo pipefail

[ $# -eq 1 ] || { echo "usage: trace.sh BUILD" >&2; exit 2; }
tests=$(dirname "$(dirname "$(realpath "$0")")")
mkdir -p "$1/cache" "$1/demo/trace"
build=$(realpath "$1")
export VMM=$build/vmm
PATH=$PATH:/usr/sbin:/sbin

kernel=$("$tests/fetch/kernel.sh" "$build/cache/cloud" linux-image-cloud-amd64)
busybox=$("$tests/fetch/busybox.sh" "$build/cache/busybox")
"$tests/stock/images.sh" "$build/demo/trace" "$busybox"
exec "$tests/host/run.sh" --deadline 300 "$build/cache" "$tests/demo/record.sh" \
	"$kernel" "$build/demo/trace/tools.img"
