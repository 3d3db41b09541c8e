#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: cases.sh --list | FOLDER CASE...
#
# The cases of the stock tier, run by tests/stock/run.sh where stock kernels can
# run. FOLDER holds what it made. Each function case_NAME is one case, run in a
# subshell under "set -e" in an empty folder; what it prints is shown if it fails.

set -euo pipefail

if [ "$1" = --list ]; then
	sed -n 's/^case_\([a-z0-9_A-Z]*\)().*/\1/p' "$0"
	exit
fi
here=$(dirname "$(realpath "$0")")
out=$1
shift
PATH=$PATH:/usr/sbin:/sbin
# shellcheck disable=SC1091 # lines like cloud=PATH
. "$out/kernels"
: "${VMM:?} ${SCRATCH:?} ${cloud:?} ${generic:?} ${newer:?} ${older:?}"
limit=240
kernel=$cloud # of the cases that can do with any

fail()
{
	echo "$*"
	exit 1
}

# start ARGUMENT...: vmm in the background, its input from the file keys if that
# exists, run by the command $wrap if set.
wrap=()
pid=
start()
{
	local keys=/dev/null
	[ ! -e keys ] || keys=keys
	timeout --foreground -k 5 "$limit" "${wrap[@]}" "$VMM" run "$@" \
		< "$keys" > console 2> errors &
	pid=$!
}

# finish STATUS: wait for vmm and compare.
finish()
{
	local status=0
	wait "$pid" || status=$?
	pid=
	[ "$status" -eq "$1" ] || fail "exit status $status instead of $1"
}

# vmm_signal SIGNAL: to vmm itself; $pid is its parent's.
vmm_signal()
{
	local process
	for process in /proc/[0-9]*; do
		[ ! "$process/exe" -ef "$VMM" ] || [ ! "$process/cwd" -ef . ] ||
			kill "-$1" "${process##*/}"
	done
}

# privately COMMANDS: vmm will run in a mount namespace of its own, after COMMANDS.
privately()
{
	wrap=(unshare --mount)
	[ "$(id -u)" -eq 0 ] || wrap+=(--map-root-user)
	wrap+=(bash -c "$1"' && exec "$@"' -)
}

# boot TEST ARGUMENT...: run a guest to its power-off. vmm must say nothing.
boot()
{
	boot_noisy "$@"
	[ ! -s errors ] || fail "unexpected messages"
}

boot_noisy()
{
	local test=$1
	shift
	start -p "quiet test=$test" "$@"
	finish 0
	grep -q "^--- end $test" console || fail "the guest's test did not end"
}

# until_true COMMAND...: wait for it, while vmm runs and for $limit seconds at most.
until_true()
{
	local end=$((SECONDS + limit))
	until "$@"; do
		kill -0 "$pid" || fail "vmm ended early"
		[ "$SECONDS" -lt "$end" ] || fail "timeout: $*"
		sleep 0.2
	done
}

# value KEY: what the guest reported.
value()
{
	sed -n "s/\r*\$//; s/^$1=//p" console | tail -n 1
}

expect()
{
	local got
	got=$(value "$1")
	[ "$got" = "$2" ] || fail "guest: $1 is '$got' instead of '$2'"
}

# expect_between KEY LOW HIGH
expect_between()
{
	local got
	got=$(value "$1")
	[[ $got -ge $2 && $got -le $3 ]] ||
		fail "guest: $1 is '$got', not within $2 and $3"
}

sum()
{
	sha256sum < "$1"
}

# root: a fresh root disk in the current folder.
root()
{
	cp "$out/root.img" .
}

basic()
{
	local kernel=$1 cpus=$2
	shift 2
	root
	boot basic --kernel "$kernel" --disk root.img --cpus "$cpus" "$@"
	expect kernel "${kernel##*vmlinuz-}"
	expect cpus "$cpus"
	expect complaints 0
	expect_between msi 1 "$cpus"
	expect sci 1
	expect uart 1
	expect_between rtc $(($(date +%s) - 60)) "$(date +%s)"
}

case_cloud_1_cpu()	{ basic "$cloud" 1; expect ecam 1; }
case_cloud_2_cpus()	{ basic "$cloud" 2; }
case_cloud_4_cpus()	{ basic "$cloud" 4; }
case_generic_1_cpu()	{ basic "$generic" 1; expect ecam 1; }
case_generic_2_cpus()	{ basic "$generic" 2; }
case_generic_4_cpus()	{ basic "$generic" 4; }

case_older_2_cpus()	{ basic "$older" 2; }

# Its modules are .ko.xz.
case_newer_2_cpus()	{ basic "$newer" 2; }

case_cloud_initrd()
{
	basic "$cloud" 2 --initrd "$out/initramfs-cloud"
}

case_generic_initrd()
{
	basic "$generic" 2 --initrd "$out/initramfs-generic"
}

# steps: those of the report, which is all that vmm said, and whose they are.
steps()
{
	[ "$(head -n 1 errors | cut -c 1-16)" = "vmm: boot report" ] || fail "no report"
	sed '1,2d' errors | cut -c 41-52 | sort -c -n || fail "steps are out of order"
	sed -E '1,2d; s/^  //; s/ {2,}[0-9.]+ +[0-9.]+//' errors
}

# vmm's own init marks itself, having used the disk.
case_boot_report()
{
	root
	start -p test=basic --kernel "$cloud" --disk root.img --cpus 2 --boot-report
	finish 0
	expect complaints 0
	diff - <(steps) <<-END
		options parsed
		files opened
		memory ready
		KVM ready
		board ready
		kernel loaded
		first KVM_RUN
		first exit to user space
		first serial byte
		virtio-blk DRIVER_OK  disk 'root.img'
		first read completed  disk 'root.img'
		init
	END
}

# Another initramfs knows nothing of it, so a script does, as the manual says. Debian's
# cloud kernels have no /dev/port.
case_boot_report_by_hand()
{
	root
	boot_noisy mark --kernel "$generic" --disk root.img --initrd "$out/initramfs-generic" \
		--boot-report
	expect mark 0
	steps | tail -n 4 | diff - <(cat <<-END
		virtio-blk DRIVER_OK  disk 'root.img'
		first read completed  disk 'root.img'
		first serial byte
		init
	END
	)
}

# These kernels need 68 and 80 MiB to unpack themselves.
case_memory_too_small()
{
	local kernel
	root
	for kernel in "$cloud" "$generic"; do
		start --kernel "$kernel" --disk root.img --memory 64M
		finish 1
		[ "$(grep -c '^vmm: ' errors)" -eq 1 ] || fail "no clear message"
		[ ! -s console ] || fail "the guest ran"
	done
}

case_memory_96M()
{
	basic "$cloud" 1 --memory 96M
	expect_between memory 30000 98304
}

case_memory_2G()
{
	basic "$cloud" 1 --memory 2G
	expect_between memory 1900000 2097152
}

# Part of it lies above the hole below 4 GiB.
case_memory_4G()
{
	basic "$cloud" 1 --memory 4G
	expect_between memory 3900000 4194304
}

# The kernel alone in a folder, its modules elsewhere.
case_modules_option()
{
	mkdir kernel
	cp "$cloud" kernel
	basic "kernel/${cloud##*/}" 1 --modules "${cloud%/boot/*}/lib/modules/${cloud##*vmlinuz-}"
}

# The kernel beside lib, as in a folder that holds both.
case_modules_beside()
{
	ln -s "${cloud%/boot/*}/lib" lib
	cp "$cloud" .
	basic "${cloud##*/}" 1
}

# No modules anywhere: it says so and boots; the kernel panics without a root.
case_no_modules()
{
	root
	mkdir kernel
	cp "$cloud" kernel
	[ ! -d /lib/modules ] || privately 'mount -t tmpfs none /lib/modules'
	start -p quiet --kernel "kernel/${cloud##*/}" --disk root.img
	finish 4
	grep -q "${cloud##*vmlinuz-}" errors || fail "no word about the modules"
	grep -q 'Unable to mount root' console || fail "no panic"
}

case_root_options()
{
	root
	boot basic --kernel "$cloud" --disk root.img \
		-p "root=/dev/vda ro rootfstype=ext4 rootwait init=/test/init"
	expect root "/dev/vda ext4 ro"
	expect init /test/init
}

# A partition table of one entry, written by hand: signature, type 83, start 2048.
case_root_partuuid()
{
	local sectors
	sectors=$(($(stat -c %s "$out/root.img") / 512))
	dd if="$out/root.img" of=root.img bs=1M seek=1 2> /dev/null
	printf '\xef\xbe\xad\xde' | dd of=root.img bs=1 seek=440 conv=notrunc
	printf '\x83\0\0\0\0\x08\0\0' | dd of=root.img bs=1 seek=450 conv=notrunc
	printf '\x55\xaa' | dd of=root.img bs=1 seek=510 conv=notrunc
	# shellcheck disable=SC2059 # the number's four bytes, low one first
	printf "$(printf '\\x%02x' $((sectors & 255)) $((sectors >> 8 & 255)) \
		$((sectors >> 16 & 255)) 0)" | dd of=root.img bs=1 seek=458 conv=notrunc
	boot basic --kernel "$cloud" --disk root.img -p "root=PARTUUID=deadbeef-01 rw"
	expect root "/dev/vda1 ext4 rw"
}

# Three disks of different sizes keep their order; a read-only one stays as it is.
# Rows: BLK-02, BLK-35, BLK-36
case_three_disks()
{
	local before
	root
	echo "the second disk" | dd of=two.img bs=3M conv=sync
	echo "the third disk" | dd of=three.img bs=5M conv=sync
	before=$(sum two.img)
	boot disks --kernel "$cloud" --cpus 2 --disk root.img,serial=first \
		--disk two.img,ro,serial=serial-of-20-letters --disk path=three.img
	expect vda "49152 0 'first'"
	expect vdb "6144 1 'serial-of-20-letters'"
	expect vdc "10240 0 ''"
	expect vdb.start "the second disk"
	expect vdc.start "the third disk"
	expect vdb.write 1
	[ "$(sum two.img)" = "$before" ] || fail "the read-only image changed"
}

# io IMAGE-SIZE [DISK-KEYS] [ARGUMENT]...: random data read twice, past the guest's
# page cache too, and 8 MiB written; the sums of both sides are equal. The root
# disk has the keys $root_keys if set.
io()
{
	local size=$1 keys=${2-}
	shift $(($# < 2 ? $# : 2))
	root
	cp "$out/random-$size.img" random.img
	truncate -s 8M written.img
	boot io --kernel "$kernel" --cpus 2 --disk "root.img${root_keys-}" \
		--disk "random.img$keys" --disk "written.img$keys" "$@"
	expect complaints 0
	expect read "$(cat "$out/random-$size.sum")"
	expect direct "$(cat "$out/random-$size.sum")"
	expect write 0
	expect written "$(sum written.img)"
}

case_checksums()	{ io 64M; }
case_doorbell_exit()	{ io 8M "" --doorbell=exit; }
case_aio_sync()		{ io 8M ,aio=sync; }
case_intx()		{ io 8M "" -p pci=nomsi; expect intx 3; }
case_queue_size()	{ io 8M ,queue-size=16; expect packed 0; }
case_packed()		{ io 8M ,packed=on,in-order=on,notification-data=on; expect packed 1; }

# All three disks found by ACPI, each with a line of its own.
# Rows: MMIO-01, MMIO-02, MMIO-09, MMIO-11, MMIO-13
case_mmio()
{
	root_keys=,transport=mmio io 8M ,transport=mmio
	expect mmio 3
	expect intx 3
}

# The root's transport is the first to be probed: it stays vda.
case_mmio_root()
{
	root_keys=,transport=mmio io 8M
	expect mmio 1
	expect intx 1
}

# Nine disks by ACPI: the first and the last of them share a line, and the second
# has that of the PCI root's INTx.
case_mmio_shared_lines()
{
	local disk more=()
	for disk in {3..9}.img; do
		truncate -s 1M "$disk"
		more+=(--disk "$disk,transport=mmio")
	done
	io 8M ,transport=mmio "${more[@]}" --doorbell=exit -p pci=nomsi
	expect mmio 9
	expect intx 8
}
# The same device by both drivers; the parameter goes to a module. The root disk has
# the modern interface alone, which that driver falls back to.
# Rows: LEGPCI-04, LEGPCI-07, LEGPCI-12, LEGPCI-14
case_legacy()		{ io 8M ,transport=pci-transitional -p virtio_pci.force_legacy=1; expect modern 0; }
# Rows: LEGPCI-22
case_legacy_intx()
{
	io 8M ,transport=pci-transitional -p "virtio_pci.force_legacy=1 pci=nomsi"
	expect modern 0
	expect intx 3
}
# Rows: LEGPCI-04
case_transitional()	{ io 8M ,transport=pci-transitional; expect modern 1; }
# verify [DISK-KEYS] [ARGUMENT]...: fio's random writes to all of a disk, of 4 KiB to
# 1 MiB, one and 32 at a time, verified by fio, and by the sums of both sides.
verify()
{
	local keys=${1-}
	shift $(($# < 1 ? $# : 1))
	truncate -s 32M written.img
	boot verify --kernel "$kernel" --cpus 2 --disk "$out/tools.img,ro" \
		--disk "written.img$keys" "$@"
	expect complaints 0
	expect fio 0
	expect direct "$(sum written.img)"
	[ "$(stat -c %b written.img)" -ge 65536 ] || fail "not all was written"
}

# Rows: GEN-14, SPLIT-30, SPLIT-36, BLK-20, BLK-25
case_verify()		{ verify; expect packed 0; expect intx 0; }
# Rows: ISR-03
case_verify_intx()	{ verify "" -p pci=nomsi; expect intx 2; }
# Rows: PACKED-06, PACKED-17, PACKED-25
case_verify_packed()	{ verify ,packed=on; expect packed 1; }
# Rows: LEGPCI-04, LEGPCI-07, LEGPCI-12, LEGPCI-14
case_verify_legacy()
{
	verify ,transport=pci-transitional -p virtio_pci.force_legacy=1
	expect modern 0
}
# Rows: MMIO-11, MMIO-13
case_verify_mmio()	{ verify ,transport=mmio; expect mmio 1; }
case_verify_older()	{ kernel=$older verify; }
case_verify_newer()	{ kernel=$newer verify; expect notification-data 0; }

case_verify_direct()	{ verify ,direct; }
case_verify_direct_sync()	{ verify ,direct,aio=sync; }
case_verify_large_blocks()	{ verify ,direct,block-size=4096; }

# Direct I/O to sectors of 4096 bytes, of requests that are none of these.
case_direct_sectors()
{
	truncate -s 32M behind.img
	loop_over behind.img
	boot sectors --kernel "$cloud" --cpus 2 --disk "$out/tools.img,ro" --disk "$loop,direct"
	expect complaints 0
	expect sizes "512 4096 4096"
	expect fio 0
	expect direct "$(sum behind.img)"
}

# The same below a file system whose every block lies across two of the host's.
case_direct_file_tree()
{
	root
	mkfs.ext4 -q -F tree.img 48M
	truncate -s 49M behind.img
	echo start=63 | sfdisk -q behind.img
	dd if=tree.img of=behind.img bs=512 seek=63 conv=notrunc
	loop_over behind.img
	boot tree --kernel "$generic" --cpus 2 --disk root.img --disk "$loop,direct"
	expect copy 0
	expect umount 0
	sync "$loop"
	dd if=behind.img of=tree.img bs=512 skip=63 count=$((48 << 11))
	check_tree tree.img
}

# This kernel, or this file system on it, may be without it.
case_dontcache()
{
	truncate -s 32M written.img
	if [ "$(printf '%s\n' 6.14 "$(uname -r)" | sort -V | head -n 1)" = 6.14 ]; then
		verify ,dontcache=on
		return
	fi
	start --kernel "$cloud" --disk written.img,dontcache=on
	finish 1
	[ "$(cat errors)" = "vmm: disk 'written.img': its file system (ext4) refuses dontcache \
(RWF_DONTCACHE): Operation not supported" ] || fail "no clear message"
}

# Linux knows this feature since 6.4.
# Rows: GEN-37, PCIN-08
case_notification_data()
{
	kernel=$newer verify ,notification-data=on
	expect notification-data 1
}

# four_queues [ARGUMENT]...: one fio job a CPU, each with a part of the disk and a
# queue to itself.
four_queues()
{
	truncate -s 16M written.img
	boot queues --kernel "$cloud" --cpus 4 --disk "$out/tools.img,ro" --disk written.img "$@"
	expect complaints 0
	expect queues 4
	expect vectors 4
	expect fio 0
	expect_between least 64 100000
	expect direct "$(sum written.img)"
}

# Rows: PCI-22, PCI-23, BLK-01, BLK-13, BLK-49
case_four_queues()	{ four_queues; }
case_two_io_threads()	{ four_queues --io-threads 2; }

# allocated FILE: its bytes on the host's disk.
allocated()
{
	echo $(($(stat -c '%b * %B' "$1")))
}

# expect_allocated FILE BYTES: that many, and maybe some for the file system's own use.
expect_allocated()
{
	local got
	got=$(allocated "$1")
	[[ $got -ge $2 && $got -le $(($2 + 65536)) ]] ||
		fail "$1 has $got bytes on the disk instead of $2"
}

# zero FILE MIB: one MiB of it.
zero()
{
	dd if=/dev/zero of="$1" bs=1M count=1 seek="$2" conv=notrunc
}

# The guest frees and zeroes parts of what the host's disk holds.
# Rows: BLK-42, BLK-43, BLK-44
case_discard()
{
	local before mib=$((1 << 20)) name
	mkdir tree
	cp "$out/random-8M.img" tree/large
	mkfs.ext4 -q -F -d tree tree.img 32M
	for name in with without; do
		cp "$out/random-8M.img" $name.img
	done
	sync
	before=$(allocated tree.img)
	boot discard --kernel "$cloud" --cpus 2 --disk "$out/tools.img,ro" \
		--disk tree.img --disk with.img --disk without.img,discard=off
	expect complaints 0
	expect fstrim 0
	[ $((before - $(allocated tree.img))) -ge $((8 * mib)) ] ||
		fail "fstrim freed nothing: $before, $(allocated tree.img)"
	e2fsck -fn tree.img || fail "fsck found errors"

	cp "$out/random-8M.img" wanted.img
	zero wanted.img 3
	zero wanted.img 5
	expect vdd "1 0 0"
	cmp wanted.img without.img
	expect_allocated without.img $((8 * mib))
	zero wanted.img 1
	expect vdc "0 0 0"
	cmp wanted.img with.img
	expect_allocated with.img $((6 * mib))
}

# Rows: BLK-08, BLK-11, BLK-36
case_settings()
{
	local name
	for name in back through unsafe; do
		truncate -s 8M $name.img
	done
	boot settings --kernel "$cloud" --disk "$out/tools.img,ro" --disk back.img,serial=0123 \
		--disk through.img,cache=writethrough --disk unsafe.img,cache=unsafe
	expect complaints 0
	expect sizes "512 $(stat -c %o back.img) $(stat -c %o back.img)"
	expect serial 0123
	expect vdb "write back write through write back"
	expect vdc "write through write back write through"
	expect vdb.queue "write back write through write back"
	expect vdd "write through"
	expect vdd.write 1
	[ "$(grep -c '^fio=0, write' console)" -eq 2 ] || fail "fio found errors"
	expect direct "$(sum back.img)"
}

# loop_over FILE: $loop is a device with sectors of 4096 bytes. It takes root.
loop_over()
{
	loop=$(losetup --find --show --sector-size 4096 "$1")
	trap '[ -z "$pid" ] || kill "$pid"; losetup --detach "$loop"' EXIT
}

# The image is a device, which frees and zeroes what lies behind it. Its blocks are
# told as the physical ones.
case_block_device()
{
	local mib=$((1 << 20))
	cp "$out/random-8M.img" behind.img
	sync
	loop_over behind.img
	start -p "quiet test=device" --kernel "$cloud" --cpus 2 --disk "$out/tools.img,ro" \
		--disk "$loop"
	until_true grep -q ^size=16384 console
	truncate -s 24M behind.img
	losetup --set-capacity "$loop"
	vmm_signal USR2
	finish 0
	[ ! -s errors ] || fail "unexpected messages"
	expect complaints 0
	expect sizes "512 4096 4096"
	expect vdb "0 0 0"
	expect size 49152
	cp "$out/random-8M.img" wanted.img
	zero wanted.img 1
	zero wanted.img 3
	zero wanted.img 5
	cmp -n $((8 * mib)) wanted.img behind.img
	expect direct "$(sum behind.img)"
	expect_allocated behind.img $((6 * mib))
}

# The image grows and shrinks while the guest writes to its first part.
# Rows: GEN-30, BLK-14
case_resize()
{
	truncate -s 8M resized.img
	start -p "quiet test=resize" --kernel "$cloud" --cpus 2 --disk "$out/tools.img,ro" \
		--disk resized.img
	until_true grep -q ^size=16384 console
	truncate -s 24M resized.img
	vmm_signal USR2
	until_true grep -q ^size=49152 console
	truncate -s 12M resized.img
	vmm_signal USR2
	finish 0
	[ ! -s errors ] || fail "unexpected messages"
	expect complaints 0
	expect size 24576
	expect logged 2
	expect grown 0
	expect beyond 0
	expect fio 128
	expect direct "$(sum resized.img)"
}

# comes_and_goes TEST TIMES: the driver leaves the disk that many times, and comes back,
# while one process reads the disk's start and another writes to its middle.
comes_and_goes()
{
	cp "$out/random-8M.img" disk.img
	boot "$1" --kernel "$cloud" --cpus 2 --disk "$out/tools.img,ro" --disk disk.img
	expect complaints 0
	expect rounds "$2"
	expect wrong 0
	expect direct "$(sum disk.img)"
	cmp -n $((4 << 20)) disk.img "$out/random-8M.img"
	cmp -n $((512 << 10)) -i 0:$((4 << 20)) disk.img disk.img
}

# Rows: GEN-02, GEN-20, PCI-17
case_rebind()	{ limit=480; comes_and_goes rebind 100; }
# Rows: PCI-01
case_rescan()	{ comes_and_goes rescan 20; }

# Twice to idle and back, by the RTC's alarm, while fio verifies: the driver resets
# its disk and sets it up again each time.
# Rows: GEN-02, GEN-20
case_suspend()
{
	truncate -s 8M written.img
	boot_noisy suspend -v --kernel "$cloud" --cpus 2 --disk "$out/tools.img,ro" \
		--disk written.img
	[ "$(grep -c "disk 'written.img': in use with" errors)" -eq 3 ] ||
		fail "the disk was not set up three times"
	expect complaints 0
	expect asleep 2
	expect awake 2
	expect fio 128
	expect direct "$(sum written.img)"
}

# check_tree IMAGE: it holds what the guest's root does.
check_tree()
{
	e2fsck -fn "$1" || fail "fsck found errors"
	mkdir copy
	debugfs -R "rdump / copy" "$1"
	rm -r copy/lost+found
	cp "$out/root/sbin/init" copy/sbin-init
	for folder in bin test tree; do
		diff -r --no-dereference "$out/root/$folder" "copy/$folder"
	done
}

case_file_tree()
{
	root
	mkfs.ext4 -q -F tree.img 48M
	boot tree --kernel "$generic" --cpus 2 --disk root.img --disk tree.img
	expect copy 0
	expect umount 0
	check_tree tree.img
}

# Five seconds of reads and writes, recorded on both sides: the layers that vmm shows
# are all there, and add up to what the guest measured.
case_trace()
{
	limit=480
	truncate -s 8M load.img
	truncate -s 16M copy.img
	mkfifo keys
	start --name traced -p "quiet test=trace" --kernel "$cloud" --cpus 2 \
		--disk "$out/tools.img,ro" --disk load.img --disk copy.img
	exec 5> keys
	until_true grep -q ^ready= console
	mountpoint -q /sys/kernel/tracing || mount -t tracefs tracing /sys/kernel/tracing
	"$VMM" trace record -d 5 -o recording traced
	echo stop >&5
	finish 0
	[ ! -s errors ] || fail "unexpected messages"
	expect complaints 0
	expect fio 128
	head -c "$(value trace)" copy.img > guest-trace
	"$VMM" trace report --guest guest-trace recording
	"$VMM" trace report --json --slowest 1000000 --guest guest-trace recording \
		> report.json
	"$here/trace.pl" report.json guest-trace "$(value mhz)"
}

case_reboot()
{
	root
	start -p "quiet test=reboot" --kernel "$cloud" --disk root.img
	finish 4
	expect complaints 0
}

case_panic()
{
	root
	start -p "quiet test=panic" --cpus 2 --kernel "$cloud" --disk root.img
	finish 4
	# The shell's last words may stand in the middle of one line: the port's lock is
	# not waited for.
	grep -Eq 'Kernel panic|sysrq_handle_crash' console || fail "no panic on the console"
}

case_host_disk_full()
{
	root
	mkdir small
	privately 'mount -t tmpfs -o size=8M none small && truncate -s 32M small/full.img'
	boot_noisy full --kernel "$cloud" --disk root.img --disk small/full.img
	grep -q "small/full.img.*No space left" errors || fail "no word about the disk"
	expect write 1
	expect_between errors 1 100000
	expect read 0
	expect root "$(stat -c %s root.img)"
}

# What comes out of the console is complete, and what is typed goes in.
case_console_pipe()
{
	root
	mkfifo keys
	start -p "quiet test=lines" --kernel "$cloud" --disk root.img
	exec 5> keys
	until_true grep -q ^ready= console
	echo "typed into a pipe" >&5
	finish 0
	expect line "typed into a pipe"
	seq 1 1500 > numbers
	tr -d '\r' < console | sed -n '/^1$/,/^1500$/p' | cmp - numbers
}

case_quit_keys()
{
	root
	mkfifo keys
	start -p "quiet test=wait" --kernel "$cloud" --disk root.img
	exec 5> keys
	until_true grep -q ^ready= console
	printf '\001x' >&5
	finish 0
}

case_sigterm()
{
	root
	start -p "quiet test=wait" --kernel "$cloud" --cpus 2 --disk root.img
	until_true grep -q ^ready= console
	kill -TERM "$pid"
	finish 143
	no_process_left
	[ ! -s errors ] || fail "unexpected messages"
}

no_process_left()
{
	local process
	for process in /proc/[0-9]*; do
		[ ! "$process/exe" -ef "$VMM" ] || [ ! "$process/cwd" -ef . ] ||
			fail "process ${process##*/} stays behind"
	done
}

# The second vmm is refused, and the first does not notice.
case_image_in_use()
{
	local status=0
	root
	mkfifo keys
	start -p "quiet test=input" --kernel "$cloud" --disk root.img
	exec 5> keys
	until_true grep -q ^ready= console
	timeout 30 "$VMM" run --kernel "$cloud" --disk root.img < /dev/null \
		> second-console 2> second-errors || status=$?
	[ "$status" -eq 1 ] || fail "the second vmm's exit status is $status"
	[ ! -s second-console ] || fail "the second vmm started its guest"
	[ "$(grep -c "^vmm: disk 'root.img': " second-errors)" -eq 1 ] ||
		fail "the second vmm said: $(cat second-errors)"
	echo "still here" >&5
	finish 0
	expect line "still here"
}

# Nobody reads the console and its pipe is full from the start. The guest's disk
# goes on all the same, and so do signals.
case_console_stalled()
{
	local begin
	root
	truncate -s 1M count.img
	mkfifo console
	exec 6<> console
	dd if=/dev/zero of=console bs=4k oflag=nonblock && fail "the pipe has no end"
	start -p "quiet test=flood" --kernel "$cloud" --disk root.img --disk count.img
	until_true counted 20
	begin=$SECONDS
	kill -TERM "$pid"
	finish 143
	[ $((SECONDS - begin)) -le 5 ] || fail "ended only after $((SECONDS - begin)) s"
}

counted()
{
	local count
	read -r count < <(head -c 16 count.img | tr -d '\0')
	[ "${count:-0}" -ge "$1" ]
}

# on_terminal ARGUMENT...: like start, but on a terminal of its own, whose modes
# before and after go to two files.
on_terminal()
{
	cat > session <<-'EOF'
	stty -g > before
	"$VMM" run "$@" 2> errors
	status=$?
	stty -g > after
	exit $status
	EOF
	mkfifo keys
	timeout --foreground -k 5 "$limit" script -qec "sh session $(printf ' %q' "$@")" \
		/dev/null < keys > console &
	pid=$!
	exec 5> keys
	until_true grep -q ^ready= console
}

# Ctrl-C belongs to the guest; a line typed ends with a carriage return.
case_terminal()
{
	root
	on_terminal -p "quiet test=input" --kernel "$cloud" --disk root.img
	printf '\003typed at a terminal\r' >&5
	finish 0
	expect line "typed at a terminal"
	cmp before after
}

case_terminal_sigterm()
{
	root
	on_terminal -p "quiet test=wait" --kernel "$cloud" --disk root.img
	vmm_signal TERM
	finish 143
	cmp before after
}

# run_case NUMBER NAME: its TAP line, and on failure what there is to see. Sets
# $status; a call in a condition would switch the case's "set -e" off.
run_case()
{
	local begin=$SECONDS
	mkdir "$SCRATCH/$2"
	cd "$SCRATCH/$2"
	set +e
	(
		set -e
		trap '[ -z "$pid" ] || kill "$pid"' EXIT
		"case_$2"
	) > log 2>&1
	status=$?
	set -e
	if [ "$status" -eq 0 ]; then
		echo "ok $1 - $2 ($((SECONDS - begin)) s)"
	else
		echo "not ok $1 - $2 ($((SECONDS - begin)) s)"
		show
	fi
	cd "$SCRATCH"
	rm -rf "${SCRATCH:?}/$2"
}

# The end of every log of the case, as TAP comments.
show()
{
	local file
	for file in log errors console; do
		[ -f "$file" ] || continue
		echo "# $file:"
		tail -n 30 "$file" | tr -d '\r' | cut -c 1-160 | sed 's/^/#   /'
	done
}

passed=0
failed=0
echo "1..$#"
for name in "$@"; do
	run_case $((passed + failed + 1)) "$name"
	if [ "$status" -eq 0 ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
	fi
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
