#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: deps.sh [bench]
#
# Installs, as root, the Debian packages that building and testing take, or those
# that the benches take besides; otherwise prints the one command that does, and
# fails. Says nothing where nothing is missing.
set -euo pipefail

wanted=(
	gcc make pkg-config libc6-dev linux-libc-dev liburing-dev # vmm
	systemtap-sdt-dev                                         # its probes
	acpica-tools musl-tools                                   # its DSDT and init
	check                                                     # unit tests
	e2fsprogs kmod cpio util-linux mount fdisk procps         # the tests' scripts
	xz-utils zstd fio
	linux-perf perl librsvg2-bin python3-jsonschema           # what is recorded
)
[ "${1-}" != bench ] || wanted=(perl qemu-system-x86 gnuplot-nox valgrind)
missing=()
for package in "${wanted[@]}"; do
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null)" = installed ] ||
		missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

install=(apt-get install -y --no-install-recommends "${missing[@]}")
if [ "$(id -u)" -ne 0 ]; then
	echo "Packages are missing. As root:" >&2
	echo "  ${install[*]}" >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
# Others may use apt at the same time, as a machine that has just started does.
patience=(-o Acquire::Retries=3 -o DPkg::Lock::Timeout=300)
apt-get update -q "${patience[@]}"
"${install[@]}" "${patience[@]}"
