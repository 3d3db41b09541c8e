#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: qemu.sh DIR
#
# Prints the path of a qemu-system-x86_64 of version 10 or later: the machine's
# own, or one unpacked into DIR (from bookworm-backports on Debian 12) with the
# libraries that the machine lacks. Older versions corrupt nested guests.

set -euo pipefail
# shellcheck source=tests/fetch/apt.sh
. "$(dirname "$0")/apt.sh"

[ $# -eq 1 ] || { echo "usage: qemu.sh DIR" >&2; exit 2; }
dir=$(realpath -m "$1")
new=$dir.new.$$
state=$new/apt
release=$(release)

sources()
{
	sources_of "$release"
	[ "$release" != bookworm ] || sources_of bookworm-backports
}

# What apt would install is what the machine lacks.
unpack_qemu()
{
	local from packages
	apt_own_state "$state" "$state.list" || return
	from=$(awk 'END { print $3 }' "$state.list")
	packages=$(apt-get "${APT[@]}" -s -t "$from" install qemu-system-x86) || return
	packages=$(sed -n 's/^Inst \([^ ]*\) .*(\([^ ]*\) .*/\1=\2/p' <<< "$packages")
	# shellcheck disable=SC2086 # a list
	apt_unpack "$new" $packages
}

wrapper()
{
	cat <<-'EOF'
	#!/bin/sh
	root=$(dirname "$(readlink -f "$0")")
	libs=$root/usr/lib/x86_64-linux-gnu:$root/lib/x86_64-linux-gnu
	export LD_LIBRARY_PATH="$libs" QEMU_MODULE_DIR="$root/usr/lib/x86_64-linux-gnu/qemu"
	exec "$root/usr/bin/qemu-system-x86_64" -L "$root/usr/share/qemu" \
		-L "$root/usr/share/seabios" "$@"
	EOF
}

fetch()
{
	trap 'rm -rf "$new"' EXIT
	mkdir -p "$new"
	sources > "$state.list"
	unpack_qemu > "$new/log" 2>&1 ||
		die_of "$new/log" "cannot fetch QEMU 10"
	wrapper > "$new/qemu-system-x86_64"
	chmod +x "$new/qemu-system-x86_64"
	"$new/qemu-system-x86_64" --version >> "$new/log" 2>&1 ||
		die_of "$new/log" "QEMU does not start"
	publish "$new" "$dir"
}

if own=$(command -v qemu-system-x86_64) && version=$("$own" --version) &&
   [[ $version =~ version\ ([0-9]+) ]] && [ "${BASH_REMATCH[1]}" -ge 10 ]; then
	echo "$own"
	exit
fi
[ -d "$dir" ] || fetch
echo "$dir/qemu-system-x86_64"
