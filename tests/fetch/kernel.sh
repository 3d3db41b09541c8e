#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: kernel.sh DIR PACKAGE [SUITE]
#
# Unpacks Debian's kernel image package PACKAGE (linux-image-cloud-amd64, say; a
# meta package is followed to the real one) into DIR, unless that was done
# before, and prints the path of its vmlinuz. The modules are in DIR/lib/modules.
# It is the machine's release that has the package, or else SUITE.

set -euo pipefail
# shellcheck source=tests/fetch/apt.sh
. "$(dirname "$0")/apt.sh"

[ $# -ge 2 ] || { echo "usage: kernel.sh DIR PACKAGE [SUITE]" >&2; exit 2; }
dir=$(realpath -m "$1")
new=$dir.new.$$
package=$2
suite=${3-}
PATH=$PATH:/usr/sbin:/sbin

unpack_image()
{
	local image
	image=$(apt-cache "${APT[@]}" depends --important "$package" |
		sed -n 's/^ *Depends: \(linux-image-.*\)/\1/p' | head -n 1) || return
	apt_unpack "$new" "${image:-$package}"
}

unpack_from_suite()
{
	mkdir -p "$new/apt"
	sources_of "$suite" > "$new/apt/sources.list"
	apt_own_state "$new/apt" "$new/apt/sources.list" && unpack_image
}

fetch()
{
	local modules unpack=(with_fresh_lists "$new/apt" unpack_image)
	trap 'rm -rf "$new"' EXIT
	mkdir -p "$new"
	[ -z "$suite" ] || unpack=(unpack_from_suite)
	"${unpack[@]}" > "$new/log" 2>&1 || die_of "$new/log" "cannot fetch $package"
	# Debian 13 packages hold usr/lib/modules only.
	[ -e "$new/lib" ] || ln -s usr/lib "$new/lib"
	for modules in "$new"/lib/modules/*; do
		depmod -b "$new" "${modules##*/}"
	done
	publish "$new" "$dir"
}

command -v depmod > /dev/null || die "depmod is missing: install the package kmod"
[ -d "$dir" ] || fetch
ls "$dir"/boot/vmlinuz-* || die "$dir holds no kernel image: remove it and try again"
