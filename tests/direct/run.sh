#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# Runs the guest test kit on /dev/kvm, once for each device configuration, and prints one TAP stream. The
# disk images hold a pattern that the kit knows; what the kit wrote is compared here, on the host.
set -euo pipefail

readonly sectors=8201		# odd, so that nothing is aligned by accident
readonly sector_words=64
readonly final_sectors=64	# what test blk/final-pattern writes at the disk's end
readonly deadline=120		# seconds for one boot, on a busy machine
readonly configurations='rw ro two exit sync packed packed-inorder split-inorder'

usage() {
	cat <<-END
	Usage: ${0##*/} [--monitor vmm|qemu] [--vmm PATH] [--kit PATH] [--config NAME]... [--tests PREFIX,...]
	  --monitor  what runs the guest (vmm)
	  --vmm      the program (build/vmm), or with --monitor qemu another qemu-system-x86_64
	  --kit      the guest (build/guest/kit/kit.elf)
	  --config   one of: $configurations (all)
	  --tests    only tests whose names begin so
	END
}

die() {
	printf '%s: %s\n' "${0##*/}" "$1" >&2
	exit 2
}

top=$(cd "$(dirname "$0")/../.." && pwd)
monitor=vmm
program=
kit=$top/build/guest/kit/kit.elf
selected=()
tests=

while (($#)); do
	case $1 in
	--help) usage; exit 0 ;;
	--monitor | --vmm | --kit | --config | --tests) (($# >= 2)) || die "$1 needs a value" ;;
	*) usage >&2; exit 2 ;;
	esac
	case $1 in
	--monitor) monitor=$2 ;;
	--vmm) program=$2 ;;
	--kit) kit=$2 ;;
	--config) selected+=("$2") ;;
	--tests) tests=$2 ;;
	esac
	shift 2
done
((${#selected[@]})) || read -ra selected <<<"$configurations"

case $monitor in
vmm) program=${program:-$top/build/vmm} ;;
qemu) program=${program:-qemu-system-x86_64} ;;
*) die "unknown monitor '$monitor'" ;;
esac
command -v "$program" >/dev/null || die "cannot run '$program' (Debian: qemu-system-x86 has QEMU, make has the rest)"
[[ -r $kit ]] || die "no guest at '$kit': run make"
[[ -r /dev/kvm && -w /dev/kvm ]] || die "/dev/kvm is missing or not permitted"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

number=0 passed=0 failed=0

# result ok|'not ok' TEXT
result() {
	number=$((number + 1))
	if [[ $1 == ok ]]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
	printf '%s %d - %s\n' "$1" "$number" "$2"
}

# check TEXT COMMAND...: a test point by the command's status
check() {
	local text=$1
	shift
	if "$@"; then result ok "$text"; else result 'not ok' "$text"; fi
}

# pattern DISK FIRST COUNT FLIP: 8-byte word n of disk d holds d << 56 | n, xor FLIP (0 or ~0)
pattern() {
	perl -e 'my ($d, $first, $count, $flip) = @ARGV; $flip = $flip ? ~0 : 0; binmode STDOUT;
		print pack("Q<", ($d << 56 | $_) ^ $flip) for $first .. $first + $count - 1' \
		"$1" $(($2 * sector_words)) $(($3 * sector_words)) "$4"
}

# same_bytes IMAGE SKIP_SECTORS COUNT DISK FLIP: these sectors of the image hold the pattern
same_bytes() {
	cmp -s <(tail -c +$(($2 * 512 + 1)) "$1" | head -c $(($3 * 512))) \
		<(pattern "$4" "$2" "$3" "$5")
}

# The kit's own word for each configuration; a monitor's command lines follow.
kit_options() {
	local options="sectors=$sectors"

	case $1 in
	ro) options+=' disk=ro' ;;
	two) options+=' disks=2' ;;
	packed) options+=' ring=packed queues=2' ;;
	packed-inorder) options+=' ring=packed queues=2 in-order=on' ;;
	split-inorder) options+=' queues=2 in-order=on' ;;
	esac
	# No QEMU has this.
	[[ $monitor == qemu || $1 != *-inorder ]] || options+=' notification-data=on'
	[[ -z $tests ]] || options+=" tests=$tests"
	((seen == 0)) || options+=" from=$((seen + 1))"
	printf '%s' "$options"
}

vmm_command() {
	local first=$work/0.img

	command_line=("$program" run -k "$kit" -m 64M -c 1 -p "$(kit_options "$1")")
	case $1 in
	ro) first+=,ro ;;
	sync) first+=,aio=sync ;;
	exit) command_line+=(--doorbell=exit) ;;
	packed) first+=,packed=on,queues=2 ;;
	packed-inorder) first+=,packed=on,in-order=on,notification-data=on,queues=2 ;;
	split-inorder) first+=,in-order=on,notification-data=on,queues=2 ;;
	esac
	command_line+=(-d "$first")
	[[ $1 != two ]] || command_line+=(-d "$work/1.img")
}

# qboot starts in a tenth of a second, but leaves INTx unrouted: SeaBIOS serves the first configuration.
qemu_command() {
	local options drive device=virtio-blk-pci,disable-legacy=on

	options=$(kit_options "$1")
	command_line=("$program" -M q35 -accel kvm -cpu "host,-arch-capabilities" -m 64 -nodefaults
		-nic none -display none -monitor none -serial stdio -no-reboot -kernel "$kit")
	if [[ $1 != rw ]]; then
		command_line+=(-bios qboot.rom)
		options+=' intx=off'
	fi
	drive=format=raw,if=none
	case $1 in
	ro) drive+=,readonly=on ;;
	sync) drive+=,aio=threads ;;
	exit) device+=,ioeventfd=off ;;
	packed) device+=,packed=on,num-queues=2 ;;
	packed-inorder) device+=,packed=on,in_order=on,num-queues=2 ;;
	split-inorder) device+=,in_order=on,num-queues=2 ;;
	esac
	command_line+=(-append "$options" -drive "file=$work/0.img,id=d0,$drive" -device "$device,drive=d0")
	[[ $1 != two ]] || command_line+=(-drive "file=$work/1.img,id=d1,$drive" -device "$device,drive=d1")
}

# can_run CONFIG: older QEMUs do not know IN_ORDER
can_run() {
	[[ $monitor != qemu || $1 != *-inorder ]] || "$program" -device virtio-blk-pci,help | grep in_order >/dev/null
}

# relay CONFIG: the kit's TAP with our numbers and the configuration's name
relay() {
	local line

	running=
	while IFS= read -r line || [[ -n $line ]]; do
		line=${line%$'\r'}
		if [[ $line =~ ^((not )?ok)\ [0-9]+\ -\ (.*)$ ]]; then
			seen=$((seen + 1)) running=
			result "${BASH_REMATCH[1]}" "$1: ${BASH_REMATCH[3]}"
		elif [[ $line =~ ^1\.\.([0-9]+)$ ]]; then
			plan=${BASH_REMATCH[1]}
		elif [[ $line =~ ^'# running '[0-9]+\ -\ (.*)$ ]]; then
			running=${BASH_REMATCH[1]}
		elif [[ $line != 'TAP version 13' ]]; then
			printf '# %s: %s\n' "$1" "${line#\# }"
		fi
	done <"$work/out"
	sed "s/^/# $1: stderr: /" "$work/err"
}

# images CONFIG: what the host finds on the images afterwards
images() {
	local half=$((sectors / 2)) final=$((sectors - final_sectors))

	if [[ $1 == ro ]]; then
		check "$1: the read-only image is as it was" same_bytes "$work/0.img" 0 $sectors 0 0
		return
	fi
	check "$1: the lower half of the image is as it was" same_bytes "$work/0.img" 0 $half 0 0
	[[ -n $tests ]] ||
		check "$1: the image ends with what the guest wrote last" \
			same_bytes "$work/0.img" $final $final_sectors 0 1
	[[ $1 != two ]] ||
		check "$1: the other image is as it was" same_bytes "$work/1.img" 0 $sectors 1 0
}

# boot CONFIG: true unless the monitor ended inside a test, which has then failed
boot() {
	status=0
	"${monitor}_command" "$1"
	timeout --kill-after=5 $deadline "${command_line[@]}" <"/dev/null" >"$work/out" 2>"$work/err" ||
		status=$?
	relay "$1"
	[[ -n $running ]] || return 0
	seen=$((seen + 1))
	result 'not ok' "$1: $running"
	printf '# %s: the monitor ended or hung in this test (status %s)\n' "$1" "$status"
	return 1
}

run() {
	local plan=0 seen=0 status running

	pattern 0 0 $sectors 0 >"$work/0.img"
	pattern 1 0 $sectors 0 >"$work/1.img"
	until boot "$1" || ((seen >= plan)); do :; done
	check "$1: every planned test ran ($seen of $plan)" test "$plan" -gt 0 -a "$seen" -eq "$plan"
	check "$1: the guest powered off (status $status)" test "$status" -eq 0
	images "$1"
}

printf 'TAP version 13\n'
for name in "${selected[@]}"; do
	[[ " $configurations " == *" $name "* ]] || die "unknown configuration '$name'"
	if can_run "$name"; then run "$name"; else printf '# %s: %s cannot do this\n' "$name" "$program"; fi
done
printf '1..%d\n%d passed, %d failed\n' "$number" "$passed" "$failed"
((failed == 0))
