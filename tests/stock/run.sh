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

# The guests' root: busybox, and a tree of files of many sizes to copy.
make_root()
{
	local root=$out/root applet size
	rm -rf "$root"
	mkdir -p "$root"/{bin,dev,mnt,proc,sbin,sys,test,tmp,tree/sub/sub}
	cp "$busybox" "$root/bin/busybox"
	for applet in $("$busybox" --list); do
		[ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
	done
	install "$here/guest-init" "$root/sbin/init"
	ln -s ../sbin/init "$root/test/init"
	for size in 0 1 511 512 513 4095 4096 4097 65536 1000001; do
		head -c "$size" /dev/urandom > "$root/tree/sub/$size"
	done
	for size in {1..200}; do
		echo "$size" > "$root/tree/sub/sub/file $size"
	done
	ln "$root/tree/sub/4097" "$root/tree/hard link"
	truncate -s 3M "$root/tree/hole"
	rm -f "$out/root.img"
	mkfs.ext4 -q -F -d "$root" "$out/root.img" 24M > /dev/null
}

# The root of the guests that need more than busybox, whose shell prefers its own
# applets to any PATH: hence /tools. They only read it, so none needs a copy.
make_tools()
{
	local root=$out/tools tool path library
	rm -rf "$root"
	cp -a "$out/root" "$root"
	rm -r "$root/tree"
	install -m 644 "$here/verify.fio" "$root/test"
	for tool in blkdiscard blockdev dd fallocate fio fstrim rtcwake; do
		path=$(command -v "$tool") || { echo "run.sh: no $tool" >&2; exit 1; }
		install -D "$path" "$root/tools/$tool"
		for library in $(ldd "$path" | grep -o '/[^ ]*'); do
			[ -e "$root$library" ] || install -D "$library" "$root$library"
		done
	done
	rm -f "$out/tools.img"
	mkfs.ext4 -q -F -d "$root" "$out/tools.img" 192M > /dev/null
}

cloud=$("$here/../fetch/kernel.sh" "$build/cache/cloud" linux-image-cloud-amd64)
generic=$("$here/../fetch/kernel.sh" "$build/cache/generic" linux-image-amd64)
# Linux 5.10, and 6.12, whose modules are compressed; Debian 13 has it by itself.
suite=
[ "$(. /etc/os-release && echo "$VERSION_CODENAME")" != bookworm ] || suite=bookworm-backports
newer=$("$here/../fetch/kernel.sh" "$build/cache/newer" linux-image-cloud-amd64 $suite)
older=$("$here/../fetch/kernel.sh" "$build/cache/older" linux-image-cloud-amd64 bullseye)
busybox=$("$here/../fetch/busybox.sh" "$build/cache/busybox")
make_root
make_tools
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
# the shard's number. A result comes with the lines that
# follow it in its shard: what there is to see of a failure.
merge()
{
	awk -v plan="$1" '
	function show(shard) {
		if (sub(/ok [0-9]+/, "ok " (shown + 1), block[shard])) shown++
		printf "%s", block[shard]
		block[shard] = ""
	}
	BEGIN { print "1.." plan }
	{ shard = $1; sub(/^[0-9]+ /, "") }
	/^[0-9]+(\.\.| passed,)/ { next }
	/^(not )?ok / { show(shard); $1 == "ok" ? passed++ : failed++ }
	{ block[shard] = block[shard] $0 "\n" }
	/^ok / { show(shard); fflush() }
	END {
		for (shard in block) show(shard)
		print passed + 0 " passed, " failed + 0 " failed"
		exit failed || passed != plan
	}'
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
