#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: initrd.sh OUT KERNEL BUSYBOX MODULES INIT [FILE]...
#
# Writes to OUT an initrd for KERNEL (DIR/boot/vmlinuz-VERSION, with its modules in
# DIR/lib/modules): a static busybox, the modules named in the list MODULES with
# what they depend on, their order of loading in /modules/order, INIT as /init,
# and each FILE in the root folder.

set -euo pipefail

[ $# -ge 5 ] || { sed -n 's/^# usage/usage/p' "$0" >&2; exit 2; }
out=$1
kernel=$2
busybox=$3
modules=$4
init=$5
shift 5
PATH=$PATH:/usr/sbin:/sbin

root=$(mktemp -d "$out.XXXXXX")
trap 'rm -rf "$root"' EXIT
mkdir -p "$root"/{bin,sbin,usr/bin,usr/sbin,dev,proc,sys,modules,lower,upper,root}
install "$busybox" "$root/bin/busybox"
install "$init" "$root/init"
[ $# -eq 0 ] || cp "$@" "$root"

: > "$root/modules/order"
for module in $modules; do
	modprobe -d "${kernel%/boot/*}" -S "${kernel##*/vmlinuz-}" --show-depends "$module"
done > "$root/modules/depends"
while read -r _ path _; do
	name=$(basename "$path" .xz)
	[ ! -e "$root/modules/$name" ] || continue
	case $path in
	*.xz) "$busybox" unxz -c "$path" > "$root/modules/$name" ;;
	*) cp "$path" "$root/modules" ;;
	esac
	echo "$name" >> "$root/modules/order"
done < <(grep ^insmod "$root/modules/depends")

(cd "$root" && find . | "$busybox" cpio -o -H newc 2>/dev/null) > "$out"
