#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: boot.sh BUILD
#
# The demo's last step, where stock kernels can run.

cd "$1" || exit
echo '$ ./vmm run --kernel bzImage --disk img.raw'
exec ./vmm run --kernel bzImage --disk img.raw
