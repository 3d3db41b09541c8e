#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-2-Clause
#
#   tests/cli/run.sh VMM
#
# What vmm says to a command line that cannot work: the exit status, every line
# on stderr, nothing on stdout, and no file made or changed. No guest runs; root
# is needed to hide /dev/kvm and to become somebody else. TAP on stdout.
set -euo pipefail

[ $# = 1 ] || { echo "usage: ${0##*/} VMM" >&2; exit 2; }
[ "$(id -u)" = 0 ] || { echo "${0##*/}: must be run as root" >&2; exit 1; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
manual=$here/../../Documentation/vmm.1

# A folder that others can read, since some cases run as nobody.
top=$(mktemp -d)
chmod 755 "$top"
holder=
cleanup()
{
	if [ -n "$holder" ]; then
		kill "$holder" 2> "$top/kill" || true
	fi
	rm -rf "$top"
}
trap cleanup EXIT
trap 'exit 1' INT TERM
umask 022

install -m 755 "$1" "$top/vmm"
"${CC:-cc}" -D_GNU_SOURCE -Wall -Wextra -Werror -o "$top/hold_lock" "$here/hold_lock.c"
mkdir "$top/work" "$top/home" "$top/dev"
export HOME=$top/home LC_ALL=C
cd "$top/work"
vmm=$top/vmm

# --- Files for the cases.

# poke FILE OFFSET BYTES: BYTES is for printf.
poke()
{
	# shellcheck disable=SC2059
	printf "$3" | dd of="$1" bs=1 seek=$(($2)) conv=notrunc status=none
}

# A bzImage of 2 sectors of setup and 4 KiB of kernel, which would only halt.
# Linux, Documentation/arch/x86/boot.rst.
make_kernel()
{
	truncate -s $((1024 + 4096)) "$1"
	poke "$1" 0x1f1 '\001'                  # setup_sects
	poke "$1" 0x1f4 '\000\001'              # syssize, in 16 bytes
	poke "$1" 0x1fe '\x55\xaa\xeb\x6a'      # boot_flag, jump over the header
	poke "$1" 0x202 'HdrS\x0f\x02'          # header, version 2.15
	poke "$1" 0x211 '\001'                  # loadflags: loaded high
	poke "$1" 0x22c '\xff\xff\xff\x7f'      # initrd_addr_max
	poke "$1" 0x230 '\000\000\x20\000\001'  # kernel_alignment, relocatable
	poke "$1" 0x236 '\001'                  # xloadflags: 64-bit entry
	poke "$1" 0x238 '\xff\000'              # cmdline_size: 255
	poke "$1" 0x24c '\001'                  # payload_length: a byte, to be strict
	poke "$1" 0x258 '\000\000\000\001'      # pref_address: 16 MiB
	poke "$1" 0x260 '\000\000\000\004'      # init_size: 64 MiB
	poke "$1" $((1024 + 512)) '\xf4\xeb\xfd'
}

make_kernel bz
truncate -s 1M disk.img a,b.img odd.img
truncate -s +100 odd.img
truncate -s 1G big
: > empty
echo "no kernel at all" > text
truncate -s 511 small.img
mkdir folder
mkfifo fifo
echo > initrd
truncate -s 512 other.img
ln -s bz soft
ln disk.img hard.img
ln -s disk.img soft.img
install -m 444 disk.img readonly.img

# --- One case.

number=0 passed=0 failed=0
snapshot()
{
	find . "$HOME" -printf '%p %y %m %s %i %T@ %l\n' | sort
	find . -type f ! -name big -exec cksum {} + | sort
}
before=$(snapshot)

# report NAME PROBLEM: one TAP line; no PROBLEM is a pass.
report()
{
	number=$((number + 1))
	if [ -z "$2" ]; then
		passed=$((passed + 1))
		echo "ok $number - $1"
	else
		failed=$((failed + 1))
		echo "not ok $number - $1"
		printf '%s\n' "$2" | sed 's/^/#   /'
	fi
}

# refused NAME STATUS STDERR COMMAND...
refused()
{
	local name=$1 status=$2 expected=$3 got=0 problem=
	shift 3
	timeout -k 5 30 "$@" < /dev/null > "$top/stdout" 2> "$top/stderr" || got=$?
	[ "$got" = "$status" ] || problem+="status $got, not $status"$'\n'
	if [ "$(cat "$top/stderr")" != "$expected" ]; then
		problem+="stderr: $(cat "$top/stderr")"$'\n'"wanted: $expected"$'\n'
	fi
	[ ! -s "$top/stdout" ] || problem+="stdout: $(head -c 300 "$top/stdout")"$'\n'
	[ "$(snapshot)" = "$before" ] || problem+="files were made or changed"$'\n'
	report "$name" "$problem"
}

# usage NAME STDERR ARGUMENT...: a usage error of "run".
usage()
{
	local name=$1 expected=$2
	shift 2
	refused "$name" 2 "vmm: $expected"$'\n'"vmm: see 'vmm help run'" "$vmm" run "$@"
}

# host NAME STDERR ARGUMENT...: something that this host refuses.
host()
{
	local name=$1 expected=$2
	shift 2
	refused "$name" 1 "vmm: $expected" "$vmm" run "$@"
}

# printed NAME FIRST-LINE COMMAND...: succeeds, with that first line on stdout.
printed()
{
	local name=$1 expected=$2 problem=
	shift 2
	timeout -k 5 30 "$@" < /dev/null > "$top/stdout" 2> "$top/stderr" ||
		problem+="status $?"$'\n'
	[ "$(head -n 1 "$top/stdout")" = "$expected" ] ||
		problem+="stdout: $(head -n 1 "$top/stdout")"$'\n'
	[ ! -s "$top/stderr" ] || problem+="stderr: $(cat "$top/stderr")"$'\n'
	report "$name" "$problem"
}

# --- Verbs and help.

version=$("$vmm" version)
[[ $version =~ ^vmm\ [0-9] ]] || version="vmm VERSION"
printed "version" "$version" "$vmm" version
printed "--version" "$version" "$vmm" --version
printed "help" "Usage: vmm COMMAND [ARGUMENT]..." "$vmm" help
printed "--help" "Usage: vmm COMMAND [ARGUMENT]..." "$vmm" --help
printed "help version" "Usage: vmm version" "$vmm" help version
printed "help help" "Usage: vmm help [COMMAND]" "$vmm" help help
printed "run -h" "Usage: vmm run [OPTION]... [--kernel] FILE" "$vmm" run -h
printed "run --help, whatever else" "Usage: vmm run [OPTION]... [--kernel] FILE" \
	"$vmm" run -d disk.img --help --nonsense
printed "help run" "Usage: vmm run [OPTION]... [--kernel] FILE" "$vmm" help run

wide=$(for page in help "help run" "help trace" features probes; do
	# shellcheck disable=SC2086
	"$vmm" $page | sed -n "s/^.\{81,\}$/vmm $page: &/p"
done)
report "help fits a terminal of 80 columns" "$wide"

# Each option and each key of the help stands in the manual as an entry.
words=$(sed -nE 's/^  (-., )? *(--[a-z-]+).*/\2/p; s/^  ([a-z-]+)\[?=.*/\1/p' "$top/stdout")
missing=
for word in $words; do
	sed 's/\\-/-/g' "$manual" | grep -A 1 '^\.TP' | grep -F -e "$word" > "$top/found" ||
		missing+="$word is not in vmm.1"$'\n'
done
[ "$(wc -w <<< "$words")" -ge 17 ] || missing+="help lists only: $words"
report "the manual has every option and key" "$missing"

printed "help trace" "Usage: vmm trace record [OPTION]... PID|NAME" "$vmm" help trace
printed "trace record --help" "Usage: vmm trace record [OPTION]... PID|NAME" \
	"$vmm" trace record --help --nonsense
missing=
words=$(sed -nE 's/^  -., (--[a-z]+).*/\1/p' "$top/stdout")
for word in $words; do
	sed -n '/^\.SS vmm trace record/,/^\.S[HS]/{ s/\\-/-/g; p }' "$manual" | grep -A 1 '^\.TP' |
		grep -F -e "$word" > "$top/found" || missing+="$word is not in vmm.1"$'\n'
done
[ "$(wc -w <<< "$words")" = 5 ] || missing+="help lists: $words"
report "the manual has every option of trace record" "$missing"

printed "trace report --help" "Usage: vmm trace report [OPTION]... FILE" \
	"$vmm" trace report --help --nonsense
missing=
words=$(sed -nE 's/^  .{4}(--[a-z-]+).*/\1/p' "$top/stdout")
for word in $words; do
	sed -n '/^\.SS vmm trace report/,/^\.SH/{ s/\\-/-/g; p }' "$manual" | grep -A 1 '^\.TP' |
		grep -F -e "$word" > "$top/found" || missing+="$word is not in vmm.1"$'\n'
done
[ "$(wc -w <<< "$words")" = 10 ] || missing+="help lists: $words"
report "the manual has every option of trace report" "$missing"

# Its tables are what the program prints.
# in_manual SECTION: the last text of it that is not filled
in_manual()
{
	sed -n "/^\.SH $1/,/^\.SH /p" "$manual" |
		awk '/^\.nf/ { text = ""; keep = 1; next } /^\.fi/ { keep = 0 }
			keep { text = text $0 "\n" } END { printf "%s", text }'
}
printed "features" "bit  feature            offered                         virtio 1.4" "$vmm" features
wrong=$(diff <(in_manual FEATURES) "$top/stdout") || true
report "the manual has the table of features" "$wrong"
printed "probes" "doorbell(disk, queue)" "$vmm" probes
wrong=$(diff <(in_manual PROBES) "$top/stdout") || true
report "the manual has the table of probes" "$wrong"
# Each has one place, a semaphore and all its arguments, none of them a constant.
wrong=$(diff <(sed -n 's/(\(.*\))$/ \1/p' "$top/stdout" | awk '{ print $1, NF - 1 }') \
	<(readelf -n "$vmm" | awk '/Provider: vmm$/ { mine = 1 } /Name:/ { name = $2 }
		/Location:/ && /Semaphore: 0x0+$/ { name = name " without semaphore" }
		/Arguments:/ && mine { print name, /[$]/ ? $0 : NF - 1; mine = 0 }')) || true
report "the program has each probe once" "$wrong"

# What documents point to is there, and what is not would be found.
tree=$here/../..
report "all that documents point to is there" \
	"$("$here/links.pl" "$tree" "$tree"/README.md "$tree"/Documentation/*.md 2>&1)"
# shellcheck disable=SC2016
echo '`vmm/x.c`, `x_y()`, `struct x_y` and [x](x.md)' > "$top/points"
problem=$("$here/links.pl" "$tree" "$top/points" 2>&1)
[ "$(wc -l <<< "$problem")" != 4 ] || problem=
report "a document that points to nothing" "$problem"

# What the walk calls by name is there, too.
walk=$here/../../Documentation/life-of-a-request.md
report "life-of-a-request.md names what is there" "$("$here/names.pl" "$here/../.." "$walk" 2>&1)"
for name in "msix_notify()" "hw/msix.c" vmm:publish JOINED_MAX; do
	sed "s,\`$name\`,\`x$name\`,; s,\`xvmm:,\`vmm:x," "$walk" > "$top/walk"
	problem=
	[ -n "$("$here/names.pl" "$here/../.." "$top/walk")" ] || problem="not missed: x$name"
	report "a document that names x$name" "$problem"
done

see_help=$'\n'"vmm: see 'vmm help'"
refused "no command" 2 "vmm: no command given$see_help" "$vmm"
refused "unknown command" 2 "vmm: unknown command 'boot'$see_help" "$vmm" boot
refused "help on an unknown command" 2 "vmm: unknown command 'boot'$see_help" "$vmm" help boot
refused "probes with an argument" 2 \
	"vmm: probes takes no argument; see 'vmm help'" "$vmm" probes pop
refused "version with an argument" 2 \
	"vmm: version takes no argument; see 'vmm help'" "$vmm" version 2
# shellcheck disable=SC2016
refused "help to a full device" 1 "vmm: stdout: No space left on device" \
	bash -c 'exec "$1" help > /dev/full' bash "$vmm"

# --- Trace.

see_trace=$'\n'"vmm: see 'vmm help trace'"
refused "trace alone" 2 "vmm: trace needs a command: record or report$see_trace" "$vmm" trace
refused "trace of another kind" 2 "vmm: unknown command 'trace stop'$see_trace" "$vmm" trace stop
refused "trace record of no VM" 2 "vmm: no VM given: its PID, or its --name$see_trace" \
	"$vmm" trace record
refused "trace record with an unknown option" 2 "vmm: unknown option '--file'$see_trace" \
	"$vmm" trace record --file x web
refused "trace record for no time" 2 \
	"vmm: --duration '0': not seconds like 5 or 0.5$see_trace" "$vmm" trace record -d 0 web
refused "trace record of no process" 1 "vmm: no process has PID 4194305" \
	"$vmm" trace record 4194305
refused "trace record of another program" 1 \
	"vmm: PID $$: its program '$(readlink /proc/$$/exe)' is not vmm, or was built with PROBES=no" \
	"$vmm" trace record $$
refused "trace report of nothing" 2 \
	"vmm: no recording given: a FILE that 'vmm trace record' made$see_trace" "$vmm" trace report
refused "trace report of two files" 2 "vmm: unexpected argument 'b' after 'a'$see_trace" \
	"$vmm" trace report a b
refused "trace report with an unknown option" 2 "vmm: unknown option '--file'$see_trace" \
	"$vmm" trace report --file x
refused "trace report of a disk with a name" 2 \
	"vmm: --disk 'vda': not a number from 0 to 65535$see_trace" "$vmm" trace report --disk vda a
refused "trace report of a part that ends at 0" 2 \
	"vmm: --to '0': not seconds like 5 or 0.5$see_trace" "$vmm" trace report --to 0 a
refused "trace report of an absent file" 1 \
	"vmm: $top/none: cannot open: No such file or directory" "$vmm" trace report "$top/none"
refused "trace report of a folder" 1 "vmm: $top: cannot open: Is a directory" \
	"$vmm" trace report "$top"
refused "trace report of another file" 1 "vmm: $vmm: not a recording, or not all of one" "$vmm" trace report "$vmm"
echo hello > "$top/text"
refused "trace report of another text" 1 "vmm: $top/text: 1 lines of it are not of perf script
vmm: $top/text: no request of a vmm in it: was it made by 'vmm trace record', while the guest used \
its disk?" "$vmm" trace report --perf-script "$top/text"

# --- Options.

usage "no kernel" "no kernel given"
usage "unknown option" "unknown option '--kernal'" --kernal bz
usage "option without its value" "option '-k' needs a value" -k
usage "a second kernel" "unexpected argument 'text': the kernel is 'bz'" -k bz text
usage "-c 0" "--cpus 0: at least 1 is needed" -k bz -c 0
usage "-c 255" "--cpus 255: at most 254, since the I/O APIC addresses CPUs by 8 bits and 255 \
means all of them" -k bz -c 255
usage "-c two" "--cpus 'two': not a number" -k bz -c two
usage "-m 0" "--memory 0: at least 32M is needed" -k bz -m 0
usage "-m 31" "--memory 31: at least 32M is needed" -k bz -m 31
usage "-m 1.5G" "--memory '1.5G': not a size like 512, 512M, 2G or 1T" -k bz -m 1.5G
usage "--doorbell" "--doorbell 'irq': neither exit nor ioeventfd" -k bz --doorbell irq
usage "--io-warn 1m" "--io-warn '1m': not a number of seconds" -k bz --io-warn 1m
usage "--io-threads 0" "--io-threads 0: at least 1 is needed" -k bz --io-threads 0
usage "--io-threads 65" "--io-threads 65: at most 64" -k bz --io-threads 65
usage "--io-cpus" "--io-cpus '1-': not a list of CPUs like 1 or 0,2-3" -k bz --io-cpus 1-
cpus=$(taskset -cp $$ | sed 's/.*: //')
host "--io-cpus above the last one" "--io-cpus: CPU 1023 is not there, or not for this process" \
	-k bz --io-cpus "$cpus,1023"
host "--io-cpus above all" "--io-cpus: CPU 1024 is not there, or not for this process" \
	-k bz --io-cpus "$cpus,1024"
total=$(($(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo) / 1024))
host "-m above MemTotal" "--memory $((total + 1))M: the host has only ${total}M (MemTotal)" \
	-k bz -m $((total + 1))

# --- Kernel, initrd, command line.

cannot="cannot open: No such file or directory"
other="neither a bzImage nor an ELF with a PVH note"
host "kernel missing" "kernel 'none': $cannot" -k none
host "kernel is a folder" "kernel 'folder': not a regular file" -k folder
host "kernel is a FIFO" "kernel 'fifo': not a regular file" -k fifo
host "kernel empty" "kernel 'empty': empty" -k empty
host "kernel is a text" "kernel 'text': $other" -k text
host "kernel is an ELF without a note" "kernel '$vmm': $other" -k "$vmm"
host "kernel of zeroes" "kernel 'big': $other" -k big
host "kernel as a bare argument" "kernel 'none': $cannot" none
for size in 1 496 512 1024 1536 5119; do
	head -c $size bz > "$top/short"
	case $size in
	1024 | 1536 | 5119) text="truncated: $size bytes of 5120" ;;
	*) text=$other ;;
	esac
	host "kernel truncated to $size bytes" "kernel '$top/short': $text" -k "$top/short"
done
host "kernel needs more RAM" \
	"kernel 'bz': needs more RAM than given: 80 MiB, not 32 MiB" -k bz -m 32
host "initrd missing" "initrd 'none': $cannot" -k bz -i none
host "initrd is a folder" "initrd 'folder': cannot open: Is a directory" -k bz -i folder
host "initrd empty" "initrd 'empty': it is empty" -k bz -i empty
host "initrd larger than RAM" \
	"initrd 'big': no room for its 1073741824 bytes in RAM beside the kernel 'bz'" -k bz -i big
line=$(printf 'x%.0s' {1..256})
host "command line too long" \
	"kernel 'bz': takes a command line of 255 bytes, this one has 256" -k bz --cmdline "$line"
# One byte less is taken, so the next error is another.
host "longest command line" "initrd 'none': $cannot" -k bz --cmdline "${line:1}" -i none
host "parameters too long" "kernel 'bz': takes a command line of 255 bytes, this one has 256" \
	-k bz --cmdline "${line:2}" -p "" -p ""

# --- Disks. A missing one after the others ends the run before a guest starts.

missing="disk 'none': $cannot"
host "disk missing" "$missing" -k bz -d none
host "disk is a folder" "disk 'folder': cannot open: Is a directory" -k bz -d folder
host "disk is a folder, read-only" "disk 'folder': cannot use it: Is a directory" \
	-k bz -d folder,ro
host "disk is a FIFO" "disk 'fifo': neither a file nor a block device" -k bz -d fifo
host "disk empty" "disk 'empty': it is empty (0 bytes)" -k bz -d empty
host "disk of less than a sector" "disk 'small.img': it is empty (511 bytes)" -k bz -d small.img
host "disk with half a sector" "warning: disk 'odd.img': size is not a multiple of 512 bytes; \
the last 100 are hidden"$'\n'"vmm: $missing" -k bz -d odd.img -d none
host "disk with a comma in its name" "$missing" -k bz -d a,,b.img -d none
for again in disk.img ./disk.img hard.img soft.img; do
	host "same image twice: $again" \
		"--disk 'disk.img' and --disk '$again' are the same image" \
		-k bz -d disk.img,ro -d a,,b.img -d "$again,ro"
done

nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
refused "read-only file opened for writing" 1 \
	"vmm: disk 'readonly.img': cannot open: Permission denied" \
	"${nobody[@]}" "$vmm" run -k bz -d readonly.img
refused "read-only file opened for reading" 1 "vmm: $missing" \
	"${nobody[@]}" "$vmm" run -k bz -d readonly.img,ro -d none

keys="valid keys: path=PATH, readonly[=on|off], aio=io_uring|sync, direct[=on|off], \
dontcache[=on|off], fixed-buffers=on|off, block-size=512|4096, serial=TEXT, queue-size=N, \
queues=N, poll-max-us=N, discard=on|off, cache=writeback|writethrough|unsafe, \
transport=pci|pci-transitional|mmio, packed=on|off, in-order=on|off, notification-data=on|off"
usage "SPEC without a path" "disk ',ro': no path" -k bz -d ,ro
usage "unknown key" "disk 'disk.img,color=red': unknown key 'color'; $keys" \
	-k bz -d disk.img,color=red
usage "repeated key" "disk 'disk.img,ro,readonly': repeated key 'readonly'; $keys" \
	-k bz -d disk.img,ro,readonly
usage "direct and dontcache" "disk 'disk.img,direct,dontcache': direct and dontcache exclude \
each other: direct I/O leaves nothing in the page cache anyway" -k bz -d disk.img,direct,dontcache
usage "fixed buffers without io_uring" "disk 'disk.img,fixed-buffers=on,aio=sync': \
fixed-buffers=on and aio=sync exclude each other: only io_uring has such buffers" \
	-k bz -d disk.img,fixed-buffers=on,aio=sync
usage "key without its value" "disk 'disk.img,aio': no value for key 'aio' (how I/O is done, \
default io_uring); $keys" -k bz -d disk.img,aio
usage "malformed queue-size" "disk 'disk.img,queue_size=100': bad value for key 'queue_size' \
(a power of two, 2 to 1024, default 256); $keys" -k bz -d disk.img,queue_size=100
usage "unknown transport" "disk 'disk.img,transport=isa': bad value for key 'transport' \
(how the guest reaches it, default pci); $keys" -k bz -d disk.img,transport=isa
usage "malformed serial" "disk 'disk.img,serial=0123456789abcdefghijk': bad value for key \
'serial' (1 to 20 printable ASCII characters); $keys" \
	-k bz -d disk.img,serial=0123456789abcdefghijk

# hold read|write: another process holds a lock on disk.img, until release.
hold()
{
	coproc "$top/hold_lock" "$1" disk.img
	# shellcheck disable=SC2034 # bash clears these when the process ends
	holder=$COPROC_PID lock_out=${COPROC[0]} lock_in=${COPROC[1]}
	read -r -t 30 <&"$lock_out"
}

release()
{
	exec {lock_in}>&-
	wait "$holder"
	holder=
}

locked="disk 'disk.img': locked by another process"
hold write
host "locked by a writer" "$locked" -k bz -d disk.img
host "locked by a writer, for reading" "$locked" -k bz -d disk.img,ro
release
hold read
host "locked by a reader" "$locked" -k bz -d disk.img
host "locked by a reader, for reading" "$missing" -k bz -d disk.img,ro -d none
release
host "lock released" "$missing" -k bz -d disk.img -d none

# --- Files that are written.

host "--stats in no folder" "--stats 'none/file': $cannot" -k bz --stats none/file
host "--stats to a folder" "--stats 'folder': cannot open: Is a directory" -k bz --stats folder
host "--stats to a FIFO" "--stats 'fifo': cannot open: No such device or address" \
	-k bz --stats fifo
host "--stats to a device" "--stats '/dev/null': not a regular file" -k bz --stats /dev/null
same="it is the same file as"
host "--stats to a disk" "--stats './disk.img': $same 'disk.img'" \
	-k bz -d disk.img --stats ./disk.img
host "--stats to a read-only disk" "--stats 'hard.img': $same 'disk.img'" \
	-k bz -d other.img -d disk.img,ro --stats hard.img
host "--stats to the kernel" "--stats 'soft': $same 'bz'" -k bz --stats soft
host "--stats to the initrd" "--stats 'initrd': $same 'initrd'" -k bz -i initrd --stats initrd
hold write
host "--stats to a disk of another VM" \
	"--stats 'disk.img': it is locked, as a disk or by another process" -k bz --stats disk.img
release

# --- /dev/kvm, in a mount namespace where /dev is ours.

# shellcheck disable=SC2016
in_dev='mount -t tmpfs none "$1" && touch "$1/null" && mount --bind /dev/null "$1/null" &&
	eval "$2" && mount --rbind "$1" /dev && shift 2 && exec "$@"'
with_dev=(unshare -m bash -c "$in_dev" bash "$top/dev")
refused "/dev/kvm missing" 1 "vmm: /dev/kvm: cannot open: No such file or directory" \
	"${with_dev[@]}" : "$vmm" run -k bz -d disk.img
# shellcheck disable=SC2016
refused "/dev/kvm not permitted" 1 "vmm: /dev/kvm: cannot open: Permission denied" \
	"${with_dev[@]}" 'touch "$1/kvm" && chmod 0 "$1/kvm"' "${nobody[@]}" \
	"$vmm" run -k bz -d readonly.img,ro

echo "1..$number"
echo "cli: $passed passed, $failed failed"
((failed == 0 && passed > 0))
