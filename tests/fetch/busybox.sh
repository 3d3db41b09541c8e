#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: busybox.sh DIR
#
# Unpacks Debian's busybox-static into DIR, unless that was done before, and
# prints the path of the busybox. It is not installed, since that would remove
# the machine's own busybox.

set -euo pipefail
# shellcheck source=tests/fetch/apt.sh
. "$(dirname "$0")/apt.sh"

[ $# -eq 1 ] || { echo "usage: busybox.sh DIR" >&2; exit 2; }
dir=$(realpath -m "$1")
new=$dir.new.$$

fetch()
{
	trap 'rm -rf "$new"' EXIT
	mkdir -p "$new"
	with_fresh_lists "$new/apt" apt_unpack "$new" busybox-static > "$new/log" 2>&1 ||
		die_of "$new/log" "cannot fetch busybox-static"
	publish "$new" "$dir"
}

[ -d "$dir" ] || fetch
ls "$dir"/bin/busybox 2>/dev/null || ls "$dir"/usr/bin/busybox
