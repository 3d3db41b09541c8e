#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: keep.sh FILE COMMAND [ARGUMENT]...
#
# Runs a command and keeps a copy of what it prints, for table.pl.
set -euo pipefail

[ $# -ge 2 ] || { echo "usage: ${0##*/} FILE COMMAND [ARGUMENT]..." >&2; exit 2; }
file=$1
shift
mkdir -p "$(dirname "$file")"
"$@" 2>&1 | tee "$file"
