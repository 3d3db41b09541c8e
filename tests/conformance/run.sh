#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: run.sh BUILD
#
# Runs what the table of requirements is made of, and makes it: the unit tests, the
# kit under vmm, and the kit under QEMU. What fails there is for the table to say.
# The stock tier takes long, so its last results serve.
set -euo pipefail

[ $# -eq 1 ] || { echo "usage: ${0##*/} BUILD" >&2; exit 2; }
build=$1
cd "$(dirname "$0")/../.."

keep()
{
	local file=$build/results/$1
	shift
	tests/conformance/keep.sh "$file" "$@"
}

qemu=$(tests/fetch/qemu.sh "$build/cache/qemu")
keep qemu-version "$qemu" --version
keep kit-qemu.tap tests/direct/run.sh --monitor qemu --vmm "$qemu" \
	--kit "$build/guest/kit/kit.elf" || true
tests/check.sh "$build" unit direct || true
[ "$build/results/stock.tap" -nt "$build/vmm" ] ||
	echo "no results of the stock tier, or older ones than vmm: make check-stock" >&2
tests/conformance/table.pl "$build"
