#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: run.sh BUILD
#
# The demo: fetches a stock Debian kernel, makes an ext4 image, and in BUILD runs
#	./vmm run --kernel bzImage --disk img.raw
# so that the user gets a shell whose root is the disk. On a machine without
# kvm_intel and kvm_amd that happens in an emulated host (tests/host), where the
# guest's changes to the image are lost at the end.

set -euo pipefail

[ $# -eq 1 ] || { echo "usage: run.sh BUILD" >&2; exit 2; }
tests=$(dirname "$(dirname "$(realpath "$0")")")
mkdir -p "$1/cache" "$1/demo"
build=$(realpath "$1")
PATH=$PATH:/usr/sbin:/sbin

make_image()
{
	local root=$build/demo/root applet
	rm -rf "$root"
	mkdir -p "$root"/{bin,dev,proc,root,sbin,sys,tmp}
	cp "$busybox" "$root/bin/busybox"
	for applet in $("$busybox" --list); do
		[ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
	done
	install "$tests/demo/init" "$root/sbin/init"
	mkfs.ext4 -q -F -d "$root" "$build/demo/new.raw" 256M > /dev/null
	mv "$build/demo/new.raw" "$build/demo/img.raw"
}

kernel=$("$tests/fetch/kernel.sh" "$build/cache/cloud" linux-image-cloud-amd64)
busybox=$("$tests/fetch/busybox.sh" "$build/cache/busybox")
[ "$build/demo/img.raw" -nt "$tests/demo/init" ] || make_image

# vmm finds the modules in lib/modules beside the kernel.
ln -sfn "cache/cloud/boot/${kernel##*/}" "$build/bzImage"
ln -sfn cache/cloud/lib "$build/lib"
ln -sfn demo/img.raw "$build/img.raw"

exec "$tests/host/run.sh" --interactive "$build/cache" "$tests/demo/boot.sh" "$build"
