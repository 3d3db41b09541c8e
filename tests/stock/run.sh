#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: run.sh BUILD [CASE]...
#
# The stock tier: boots Debian's kernels under $VMM (BUILD/vmm by default), on this
# machine or in an emulated host (tests/host), and prints TAP. Without a CASE all
# of cases.sh are run. Downloads go to BUILD/cache, the rest to BUILD/stock.

set -euo pipefail

[ $# -ge 1 ] || { sed -n 's/^# usage/usage/p' "$0" >&2; exit 2; }
here=$(dirname "$(realpath "$0")")
mkdir -p "$1/cache" "$1/stock"
build=$(realpath "$1")
shift
out=$build/stock
VMM=$(realpath "${VMM:-$build/vmm}")
export VMM
PATH=$PATH:/usr/sbin:/sbin

[ -x "$VMM" ] || { echo "run.sh: $VMM: no such program" >&2; exit 1; }

cloud=$("$here/../fetch/kernel.sh" "$build/cache/cloud" linux-image-cloud-amd64)
generic=$("$here/../fetch/kernel.sh" "$build/cache/generic" linux-image-amd64)
# Linux 5.10, and 6.12, whose modules are compressed; Debian 13 has it by itself.
suite=
[ "$(. /etc/os-release && echo "$VERSION_CODENAME")" != bookworm ] || suite=bookworm-backports
newer=$("$here/../fetch/kernel.sh" "$build/cache/newer" linux-image-cloud-amd64 $suite)
older=$("$here/../fetch/kernel.sh" "$build/cache/older" linux-image-cloud-amd64 bullseye)
busybox=$("$here/../fetch/busybox.sh" "$build/cache/busybox")
"$here/images.sh" "$out" "$busybox"
for kernel in cloud generic; do
	"$here/../host/initrd.sh" "$out/initramfs-$kernel" "${!kernel}" "$busybox" \
		"virtio_pci virtio_blk ext4" "$here/initramfs-init"
done
for size in 8M 64M; do
	head -c "$size" /dev/urandom > "$out/random-$size.img"
	sha256sum < "$out/random-$size.img" > "$out/random-$size.sum"
done
printf '%s=%q\n' cloud "$cloud" generic "$generic" newer "$newer" older "$older" \
	> "$out/kernels"

# shard CASE...: these cases on a host of their own. When that fails, it is one
# more that failed.
shard()
{
	local status=0
	"$here/../host/run.sh" --deadline 1400 "$build/cache" "$here/cases.sh" "$out" "$@" ||
		status=$?
	[ "$status" -le 1 ] || echo "not ok 0 - the host of: $*"
}

# merge CASES: one stream of TAP from those of all shards, whose lines begin with
# the shard's number. A result comes with the lines that follow it in its shard:
# what there is to see of a failure.
merge()
{
	local shard line passed=0 failed=0 shown=0
	local -A block=()
	echo "1..$1"
	while IFS= read -r line; do
		shard=${line%% *}
		line=${line#* }
		case $line in
		[0-9]*..*|*" passed, "*) continue ;;
		"ok "*) show "$shard"; passed=$((passed + 1)) ;;
		"not ok "*) show "$shard"; failed=$((failed + 1)) ;;
		esac
		block[$shard]+=$line$'\n'
		[[ $line != "ok "* ]] || show "$shard"
	done
	for shard in "${!block[@]}"; do
		show "$shard"
	done
	echo "$passed passed, $failed failed"
	[ "$failed" -eq 0 ] && [ "$passed" -eq "$1" ]
}

# show SHARD: what is kept of it, with the next number in all.
show()
{
	local text=${block[$1]-}
	if [[ $text =~ ^((not )?ok)\ [0-9]+(.*) ]]; then
		shown=$((shown + 1))
		text="${BASH_REMATCH[1]} $shown${BASH_REMATCH[3]}"
	fi
	printf '%s' "$text"
	block[$1]=
}

[ $# -gt 0 ] || mapfile -t names < <("$here/cases.sh" --list)
[ $# -eq 0 ] || names=("$@")
shards=$(nproc)
[ "$shards" -le 2 ] || shards=2
[ "$shards" -le "${#names[@]}" ] || shards=${#names[@]}
{
	for ((i = 0; i < shards; i++)); do
		mine=()
		for ((n = i; n < ${#names[@]}; n += shards)); do
			mine+=("${names[n]}")
		done
		shard "${mine[@]}" | sed -u "s/^/$i /" &
	done
	wait
} | merge "${#names[@]}"
