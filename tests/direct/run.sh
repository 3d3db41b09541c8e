#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
# Runs the guest test kit on /dev/kvm, once for each device configuration, and prints one TAP stream. The
# disk images hold a pattern that the kit knows; what the kit wrote is compared here, on the host.
set -euo pipefail

readonly image_sectors=8201	# odd, so that nothing is aligned by accident
sectors=$image_sectors		# those that the guest sees
readonly sector_words=64
readonly final_sectors=64	# what test blk/final-pattern writes at the disk's end
readonly deadline=180		# seconds for one boot: each failure may cost 10 of them
readonly configurations=(
	rw ro two exit sync queues threads
	packed packed-inorder split-inorder
	nodiscard writethrough unsafe durable
	direct direct-sync fixed-buffers large-block dontcache
	transitional mmio
)
PATH+=:/usr/sbin		# filefrag

readonly serial=kit-0123456789abcdef	# as long as one may be
readonly area_sectors=128	# of each area that the guest leaves for us to look at

usage() {
	cat <<-END
	Usage: ${0##*/} [--monitor vmm|qemu] [--vmm PATH] [--kit PATH] [--config NAME]... [--tests PREFIX,...]
	  --monitor  what runs the guest (vmm)
	  --vmm      the program (build/vmm), or with --monitor qemu another qemu-system-x86_64
	  --kit      the guest (build/guest/kit/kit.elf)
	  --config   one of: ${configurations[*]} (all)
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
((${#selected[@]})) || selected=("${configurations[@]}")

case $monitor in
vmm) program=${program:-$top/build/vmm} ;;
qemu) program=${program:-qemu-system-x86_64} ;;
*) die "unknown monitor '$monitor'" ;;
esac
command -v "$program" >/dev/null || die "cannot run '$program' (Debian: qemu-system-x86 has QEMU, make has the rest)"
[[ -r $kit ]] || die "no guest at '$kit': run make"
[[ -r /dev/kvm && -w /dev/kvm ]] || die "/dev/kvm is missing or not permitted"

# Not in /tmp, which may be a tmpfs: that has no stable storage to look at.
work=$(mktemp -d -p "${TMPDIR:-/var/tmp}")
trap 'rm -rf "$work"' EXIT
block=$(stat -c %o "$work") # what the file system likes best

number=0 passed=0 failed=0
before= # sectors that the image had allocated

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

# zeros IMAGE SKIP_SECTORS COUNT: these sectors of the image are zeros
zeros() {
	cmp -s -n $(($3 * 512)) -i $(($2 * 512)):0 "$1" /dev/zero
}

# The tests of a configuration in which most would see nothing new.
kit_tests() {
	case $1 in
	nodiscard | writethrough | unsafe | dontcache | fixed-buffers)
		printf 'device/,blk/,cache/,range/'
		;;
	durable) printf 'durable/' ;;
	mmio) printf 'mmio/' ;;
	threads) printf 'mq/,blk/final-pattern,range/areas' ;;
	esac
}

# The kit's own word for each configuration; a monitor's command lines follow.
kit_options() {
	local options="sectors=$sectors memory=64 block=$block" wanted

	wanted=${tests:-$(kit_tests "$1")}
	case $1 in
	rw) options+=" serial=$serial resize=on" ;;
	ro) options+=' disk=ro' ;;
	two) options+=' disks=2' ;;
	packed) options+=' ring=packed queues=2' ;;
	packed-inorder) options+=' ring=packed queues=2 in-order=on' ;;
	split-inorder) options+=' queues=2 in-order=on' ;;
	queues | threads) options+=' queues=4' ;;
	nodiscard)
		options+=' discard=off'
		[[ $monitor == qemu ]] || options+=' unmap=off' # QEMU leaves only DISCARD out
		;;
	writethrough) options+=' cache=writethrough' ;;
	direct*) options+=' queues=2' ;;
	large-block) options+=' logical=4096' ;;
	unsafe) [[ $monitor == qemu ]] || options+=' cache=unsafe' ;; # QEMU does not tell
	durable) options+=' queues=2 durable=on end=spin' ;;
	mmio) options+=' mmio=0xfeb00000 mmio-gsi=16 mmio-queues=2' ;;
	transitional) options+=' transitional=on' ;;
	esac
	# No QEMU has this.
	[[ $monitor == qemu || $1 != *-inorder ]] || options+=' notification-data=on'
	[[ -z $wanted ]] || options+=" tests=$wanted"
	((seen == 0)) || options+=" from=$((seen + 1))"
	printf '%s' "$options"
}

vmm_command() {
	local first=$work/0.img

	command_line=("$program" run -k "$kit" -m 64M -c 1 -p "$(kit_options "$1")")
	case $1 in
	rw) first+=,serial=$serial ;;
	ro) first+=,ro ;;
	sync) first+=,aio=sync ;;
	transitional) first+=,transport=pci-transitional ;;
	exit) command_line+=(--doorbell=exit) ;;
	packed) first+=,packed=on,queues=2 ;;
	packed-inorder) first+=,packed=on,in-order=on,notification-data=on,queues=2 ;;
	split-inorder) first+=,in-order=on,notification-data=on,queues=2 ;;
	queues) first+=,queues=4 ;;
	threads)
		first+=,queues=4
		command_line+=(--io-threads 2 --io-cpus "$(taskset -cp $BASHPID | sed 's/.*: //')")
		;;
	nodiscard) first+=,discard=off ;;
	writethrough | unsafe) first+=,cache=$1 ;;
	durable) first+=,queues=2 ;;
	direct) first+=,direct,queues=2 ;;
	direct-sync) first+=,direct,aio=sync,queues=2 ;;
	large-block) first+=,direct,block-size=4096 ;;
	fixed-buffers) first+=,direct,fixed-buffers=on ;;
	dontcache) first+=,dontcache=on ;;
	esac
	command_line+=(-d "$first")
	[[ $1 != two ]] || command_line+=(-d "$work/1.img")
	[[ $1 != mmio ]] ||
		command_line+=(-p mmio-data=on -d "$work/1.img,transport=mmio,queues=2,notification-data=on")
}

# Its memory-mapped devices are on another machine: no configuration ports.
qemu_mmio_command() {
	command_line=("$program" -M "microvm,pcie=on,ioapic2=off,kernel-irqchip=on" -accel kvm
		-cpu "host,-arch-capabilities" -m 64 -nodefaults -nic none -display none -monitor none
		-serial stdio -no-reboot -kernel "$kit"
		-append "$(kit_options mmio) intx=off views=ecam ecam=0xe0000000"
		-drive "file=$work/0.img,id=d0,format=raw,if=none"
		-device "virtio-blk-pci,disable-legacy=on,drive=d0"
		-global virtio-mmio.force-legacy=false
		-drive "file=$work/1.img,id=d1,format=raw,if=none"
		-device "virtio-blk-device,bus=virtio-mmio-bus.0,num-queues=2,drive=d1")
}

# vmm_resize SECTORS
vmm_resize() {
	truncate -s $(($1 * 512)) "$work/0.img"
	kill -USR2 "$(<"$work/pid")"
}

# qboot starts in a tenth of a second, but leaves INTx unrouted, and I/O BARs without addresses: SeaBIOS
# serves the first configuration, and the transitional one.
qemu_command() {
	local options drive device=virtio-blk-pci,disable-legacy=on,logical_block_size=512

	if [[ $1 == mmio ]]; then
		qemu_mmio_command
		return
	fi
	options=$(kit_options "$1")
	command_line=("$program" -M q35 -accel kvm -cpu "host,-arch-capabilities" -m 64 -nodefaults
		-nic none -display none -monitor none -serial stdio -no-reboot -kernel "$kit")
	if [[ $1 != rw && $1 != transitional ]]; then
		command_line+=(-bios qboot.rom)
		options+=' intx=off'
	fi
	drive=format=raw,if=none
	device+=,physical_block_size=$block,discard_granularity=$block
	[[ $1 == nodiscard ]] || drive+=,discard=unmap
	case $1 in
	rw)
		device+=,serial=$serial
		command_line+=(-chardev "pipe,id=monitor,path=$work/monitor" -mon monitor)
		;;
	ro) drive+=,readonly=on ;;
	sync) drive+=,aio=threads ;;
	exit) device+=,ioeventfd=off ;;
	packed) device+=,packed=on,num-queues=2 ;;
	packed-inorder) device+=,packed=on,in_order=on,num-queues=2 ;;
	split-inorder) device+=,in_order=on,num-queues=2 ;;
	queues) device+=,num-queues=4 ;;
	nodiscard) device+=,discard=off ;;
	writethrough | unsafe) drive+=,cache=$1 ;;
	durable) device+=,num-queues=2 ;;
	transitional) device=${device/legacy=on/legacy=off} ;;
	esac
	command_line+=(-append "$options" -drive "file=$work/0.img,id=d0,$drive" -device "$device,drive=d0")
	[[ $1 != two ]] || command_line+=(-drive "file=$work/1.img,id=d1,$drive" -device "$device,drive=d1")
}

# can_run CONFIG: older QEMUs do not know IN_ORDER; what is done on the host is tested for vmm
can_run() {
	[[ $monitor == qemu ]] || return 0
	case $1 in
	*-inorder) "$program" -device virtio-blk-pci,help | grep in_order >/dev/null ;;
	threads | direct* | fixed-buffers | large-block | dontcache) return 1 ;;
	esac
}

# qemu_resize SECTORS
qemu_resize() {
	printf 'block_resize d0 %dB\n' $(($1 * 512)) 1<>"$work/monitor.in" # waits for no reader
}

# Copies what the guest says, and does what it asks for.
serve() {
	local line

	while IFS= read -r line || [[ -n $line ]]; do
		printf '%s\n' "$line"
		line=${line%$'\r'}
		case $line in
		'# resize please: '*) "${monitor}_resize" "${line##* }" ;;
		'# cut the image please: '*) truncate -s $((${line##* } * 512)) "$work/0.img" ;;
		'# the end: spin') kill -KILL "$(<"$work/pid")" ;;
		esac || true # it may have ended by itself
	done
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

# images CONFIG: what the host finds on the images afterwards. Where that is a part of one of the
# kit's tests, the test's name and the rows come with it.
images() {
	local half=$((sectors / 2)) final=$((sectors - final_sectors))

	if [[ $1 == mmio ]]; then
		check "$1: the lower half of the image is as it was" same_bytes "$work/1.img" 0 $half 1 0
		[[ -n $tests ]] ||
			check "$1: the image ends with what the guest wrote last" \
				same_bytes "$work/1.img" $final $final_sectors 1 1
		return
	fi
	if [[ $1 == ro ]]; then
		check "$1: the read-only image is as it was" same_bytes "$work/0.img" 0 $sectors 0 0
		return
	fi
	check "$1: the lower half of the image is as it was" same_bytes "$work/0.img" 0 $half 0 0
	[[ $1 != two ]] ||
		check "$1: the other image is as it was" same_bytes "$work/1.img" 0 $sectors 1 0
	[[ -z $tests ]] || return 0
	if [[ $1 == durable ]]; then
		durable_areas
		return
	fi
	check "$1: the image ends with what the guest wrote last" \
		same_bytes "$work/0.img" $final $final_sectors 0 1
	range_areas "$1"
}

# area_start AREA: its first sector, as blk_area() has it in the kit
area_start() {
	printf %d $(((sectors / 2 + 1024) / area_sectors * area_sectors + 2 * $1 * area_sectors))
}

# allocated IMAGE: sectors
allocated() {
	sync "$1"
	stat -c %b "$1"
}

# What test range/areas left: discarded, zeroed, zeroed with unmap, and the pattern around it all.
range_areas() {
	local image=$work/0.img area expected=$((2 * area_sectors)) freed

	for area in 0 1 2; do
		check "$1: range/areas: what is before area $area is as it was written" same_bytes "$image" \
			$(($(area_start $area) - area_sectors)) $area_sectors 0 1
		((area == 0)) || check "$1: range/areas [BLK-43]: area $area is zeros" \
			zeros "$image" "$(area_start $area)" $area_sectors
	done
	if [[ $1 == nodiscard ]]; then
		check "$1: range/areas: area 0 is as it was written" \
			same_bytes "$image" "$(area_start 0)" $area_sectors 0 1
		expected=0
		[[ $monitor == vmm ]] || expected=$area_sectors
	fi
	# A file system's own blocks count a little.
	freed=$((before - $(allocated "$image")))
	check "$1: range/areas [BLK-42 BLK-44]: $freed sectors deallocated, of about $expected" \
		test $((freed - expected)) -ge -64 -a $((freed - expected)) -le 64
}

# stable IMAGE SKIP_SECTORS COUNT: all these sectors lie on the disk, not just in the page cache
stable() {
	filefrag -v -b512 "$1" | awk -F '[ :.]+' -v first="$2" -v end=$(($2 + $3)) '
		/^ *[0-9]+:/ && !/delalloc|unwritten/ {
			from = $3 > first ? $3 : first
			to = $4 + 1 < end ? $4 + 1 : end
			if (to > from) sum += to - from
		}
		END { exit sum != end - first }'
}

# The areas were holes. Blocks that hold them now, with the monitor killed, it has asked for.
durable_areas() {
	local area test=('durable/across [BLK-32]' 'durable/without-flush [BLK-30]'
		'durable/write-through [BLK-31]')

	for area in 0 1 2; do
		check "durable: ${test[area]}: it is on the disk" stable "$work/0.img" \
			"$(area_start $area)" $area_sectors
	done
	for area in 0 1 2; do
		check "durable: ${test[area]}: it is as it was written" same_bytes "$work/0.img" \
			"$(area_start $area)" $area_sectors 0 1
	done
}

# prepare CONFIG: the images, and where QEMU listens
prepare() {
	local area

	sectors=$image_sectors
	[[ $1 != large-block ]] || sectors=$((image_sectors / 8 * 8)) # its end is hidden
	pattern 0 0 $image_sectors 0 >"$work/0.img"
	pattern 1 0 $image_sectors 0 >"$work/1.img"
	for area in 0 1 2; do
		[[ $1 != durable ]] || fallocate --punch-hole "$work/0.img" \
			-o $(($(area_start $area) * 512)) -l $((area_sectors * 512))
	done
	before=$(allocated "$work/0.img")
	rm -f "$work/monitor.in" "$work/monitor.out"
	[[ $1 != rw || $monitor != qemu ]] || mkfifo "$work/monitor.in" "$work/monitor.out"
}

# boot CONFIG: true unless the monitor ended inside a test, which has then failed
boot() {
	local pid guest

	status=0
	"${monitor}_command" "$1"
	# shellcheck disable=SC2016 # the inner shell expands it
	exec {guest}< <(exec timeout --kill-after=5 $deadline bash -c 'echo $$ >"$0"; exec "$@"' \
		"$work/pid" "${command_line[@]}" <"/dev/null" 2>"$work/err")
	pid=$!
	serve <&"$guest" >"$work/out"
	exec {guest}<&-
	wait "$pid" || status=$?
	relay "$1"
	[[ -n $running ]] || return 0
	seen=$((seen + 1))
	result 'not ok' "$1: $running"
	printf '# %s: the monitor ended or hung in this test (status %s)\n' "$1" "$status"
	return 1
}

run() {
	local plan=0 seen=0 expected=0 status running

	prepare "$1"
	until boot "$1" || ((seen >= plan)); do :; done
	check "$1: every planned test ran ($seen of $plan)" test "$plan" -gt 0 -a "$seen" -eq "$plan"
	[[ $1 != durable ]] || expected=137
	check "$1: the guest ended as it was told (status $status)" test "$status" -eq $expected
	images "$1"
}

printf 'TAP version 13\n'
for name in "${selected[@]}"; do
	[[ " ${configurations[*]} " == *" $name "* ]] || die "unknown configuration '$name'"
	if can_run "$name"; then run "$name"; else printf '# %s: %s cannot do this\n' "$name" "$program"; fi
done
printf '1..%d\n%d passed, %d failed\n' "$number" "$passed" "$failed"
((failed == 0))
