#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: record.sh KERNEL TOOLS-IMAGE
#
# The last step of trace.sh, where stock kernels can run, in an empty folder. The guest
# is that of the stock tier's case "trace".

set -euo pipefail

kernel=$1
tools=$2
vmm=$VMM

# shown COMMAND...: what is typed, then what it says.
shown()
{
	echo "# ${*/#"$vmm"/vmm}"
	"$@"
}

# until_said TEXT: till the guest's console has a line that begins so.
until_said()
{
	local end=$((SECONDS + 120))
	until grep -q "^$1" console; do
		if ! kill -0 "$pid" || [ "$SECONDS" -ge "$end" ]; then
			cat errors console
			echo "record.sh: the guest did not get to '$1'"
			exit 1
		fi >&2
		sleep 0.2
	done
}

mountpoint -q /sys/kernel/tracing || mount -t tracefs tracing /sys/kernel/tracing
truncate -s 8M load.img
truncate -s 16M copy.img
mkfifo keys
echo "# vmm run --name demo --kernel bzImage --disk tools.img,ro --disk load.img ... &"
"$vmm" run --name demo --kernel "$kernel" --cpus 2 -p "quiet test=trace" --disk "$tools,ro" \
	--disk load.img --disk copy.img < keys > console 2> errors &
pid=$!
exec 5> keys
until_said ready=
shown "$vmm" trace record -d 5 demo
echo stop >&5
wait "$pid"
head -c "$(sed -n 's/\r*$//; s/^trace=//p' console)" copy.img > guest-trace
shown "$vmm" trace report --guest guest-trace vmm-trace.data
