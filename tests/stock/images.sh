#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: images.sh FOLDER BUSYBOX
#
# Makes in FOLDER the root disks of stock guests, with guest-init as their init:
# root.img with a static busybox, and tools.img with fio and others as well.

set -euo pipefail

[ $# -eq 2 ] || { sed -n 's/^# usage/usage/p' "$0" >&2; exit 2; }
here=$(dirname "$(realpath "$0")")
out=$1
busybox=$2
PATH=$PATH:/usr/sbin:/sbin

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
		path=$(command -v "$tool") || { echo "images.sh: no $tool" >&2; exit 1; }
		install -D "$path" "$root/tools/$tool"
		for library in $(ldd "$path" | grep -o '/[^ ]*'); do
			[ -e "$root$library" ] || install -D "$library" "$root$library"
		done
	done
	rm -f "$out/tools.img"
	mkfs.ext4 -q -F -d "$root" "$out/tools.img" 192M > /dev/null
}

make_root
make_tools
