#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: stock.pl KERNEL FOLDER QEMU ROUNDS
#
# Run by stock.sh where stock kernels can run, as root, in an empty folder. FOLDER
# holds what stock.sh made. Prints lines of case, monitor, metric, round and value:
#
# boot/init                exec to the init of a stock kernel and initrd, ms
# boot/exits               KVM exits until then, count
# memory/stock             private memory beyond the guest's, kib
# stock/fio-randread-4k-*  fio in the guest, on an image in the page cache; d1 and d32:
#                          its depth, b16: it submits and reaps up to 16 at once, which
#                          with one CPU is what makes requests wait together.
#                          Metrics: iops, and per request: exits, interrupts (that KVM
#                          injects, the timer's too), disk_interrupts, cpu_us (of all
#                          threads but the vCPU's), total_cpu_us, syscalls (of all)
#
# A run that fails is told with the end of its console, the others go on, and the
# status is 1.
use strict;
use warnings;
use IO::Select;
use POSIX qw(_exit);
use Time::HiRes qw(clock_gettime sleep CLOCK_MONOTONIC);

$| = 1;
@ARGV == 4 or die "usage: stock.pl KERNEL FOLDER QEMU ROUNDS\n";
my ($kernel, $folder, $qemu, $rounds) = @ARGV;
my $boots = 2;                     # a round
my $seconds = $rounds > 1 ? 2 : 1; # of fio
my $deadline = 90;                 # seconds a guest may take
my $memory = 512;                  # MiB
my $tracing = '/sys/kernel/tracing';
my $debug = '/sys/kernel/debug';
my $console = 'console=ttyS0,115200 panic=-1 quiet';

# Depth and batch of fio.
my @cases = (['d1', 1, 1], ['d32', 32, 1], ['d32-b16', 32, 16]);
pop @cases if $rounds == 1;

# --- Command lines.

# vmm KEYS INITRD LINE DISK...: KEYS are those of each disk.
sub vmm {
	my ($keys, $initrd, $line, @disks) = @_;
	return ($ENV{VMM}, 'run', '--kernel', $kernel, '--initrd', $initrd, '--memory', $memory,
		'--cmdline', $line, map { ('--disk', "$_$keys") } @disks);
}

# qemu MACHINE DEVICE INITRD LINE DISK...: DEVICE is what makes a disk of a drive.
sub qemu {
	my ($machine, $device, $initrd, $line, @disks) = @_;
	my @command = ($qemu, '-name', 'vm,debug-threads=on', '-M', $machine, '-accel', 'kvm',
		'-cpu', 'host', '-m', $memory, '-nodefaults', '-no-user-config', '-display', 'none',
		'-monitor', 'none', '-serial', 'stdio', '-no-reboot', '-kernel', $kernel,
		'-initrd', $initrd, '-append', $line);
	for my $n (0 .. $#disks) {
		push @command, '-drive',
			"file=$disks[$n],id=d$n,if=none,format=raw,aio=io_uring,cache=writeback",
			'-device', "$device,drive=d$n,num-queues=1";
	}
	return @command;
}

# microvm has what makes it fastest here: no PIT, PIC and PCI, but an RTC, for which
# this kernel waits where there is none.
my %command = (
	'vmm' => sub { vmm('', @_) },
	'vmm-nopoll' => sub { vmm(',poll-max-us=0', @_) },
	'qemu-q35' => sub { qemu('q35', 'virtio-blk-pci', @_) },
	'qemu-microvm' => sub { qemu('microvm,acpi=on,rtc=on,pit=off,pic=off',
			'virtio-blk-device', @_) },
	'qemu-main' => sub { (qemu('q35', 'virtio-blk-pci', @_), '-bios', 'qboot.rom') },
	'qemu-iothread' => sub { (qemu('q35', 'virtio-blk-pci,iothread=io', @_),
			'-bios', 'qboot.rom', '-object', 'iothread,id=io') },
);
my @boot = qw(vmm qemu-q35 qemu-microvm);
my @fio = grep { $rounds > 1 || $_ ne 'vmm-nopoll' } qw(vmm vmm-nopoll qemu-iothread qemu-main);

# --- A monitor as a child, and what its guest writes.

my ($child, $output);
my $began;       # when its exec was
my ($said, $at); # all of it, and how far that is read

sub now { return clock_gettime(CLOCK_MONOTONIC) }

# start MONITOR INITRD LINE DISK...
sub start {
	my ($monitor, @guest) = @_;
	my @command = $command{$monitor}->(@guest);
	pipe($output, my $theirs) or die "pipe: $!\n";
	pipe(my $clock, my $their_clock) or die "pipe: $!\n";
	$child = fork // die "fork: $!\n";
	if (!$child) {
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>&', $theirs);
		syswrite($their_clock, pack('d', now()));
		exec(@command) or print STDERR "$command[0]: $!\n";
		_exit(127);
	}
	sysread($clock, $began, 8);
	$began = unpack('d', $began);
	($said, $at) = ('', 0);
}

sub stop {
	return unless $child;
	kill('KILL', $child);
	waitpid($child, 0);
	undef $child;
}
END { my $status = $?; stop(); $? = $status }

# The next line that begins so.
sub wait_for {
	my ($begin) = @_;
	my $until = $began + $deadline;
	while (1) {
		while ((my $end = index($said, "\n", $at)) >= 0) {
			my $line = substr($said, $at, $end - $at);
			$at = $end + 1;
			return $line if index($line, $begin) == 0;
		}
		my $left = $until - now();
		$left > 0 && IO::Select->new($output)->can_read($left)
			or die "no '$begin' after $deadline s\n";
		sysread($output, $said, 65536, length $said) or die "it ended\n";
	}
}

# --- What it used.

sub text {
	my ($path) = @_;
	open(my $file, '<', $path) or return '';
	local $/;
	return <$file> // '';
}

sub write_text {
	my ($path, $text) = @_;
	open(my $file, '>', $path) or die "$path: $!\n";
	print $file $text;
	close($file) or die "$path: $!\n";
}

# KVM's own statistics.
sub statistic {
	my ($name) = @_;
	my ($path) = glob("$debug/kvm/$child-*/$name");
	return $path ? text($path) + 0 : die "KVM tells no $name in $debug\n";
}

sub is_vcpu { return text("$_[0]/comm") =~ m{^(vcpu0|CPU 0/KVM)$} }

# How often each thread of all has made a system call, if that is counted.
sub syscalls {
	my $histogram = text("$tracing/events/raw_syscalls/sys_enter/hist");
	my %count = $histogram =~ /common_pid: *(\d+) *\} hitcount: *(\d+)/g;
	return \%count;
}

sub count_syscalls {
	my ($on) = @_;
	write_text("$tracing/events/raw_syscalls/sys_enter/trigger",
		($on ? '' : '!') . 'hist:keys=common_pid');
}

sub look {
	my %used = (cpu_us => 0, total_cpu_us => 0, syscalls => 0,
		exits => statistic('exits'), interrupts => statistic('irq_injections'));
	my $count = syscalls();
	for my $thread (glob("/proc/$child/task/*")) {
		my $ns = (split / /, text("$thread/schedstat"))[0] // 0; # it may have ended
		my ($id) = $thread =~ /(\d+)$/;
		$used{total_cpu_us} += $ns / 1000;
		$used{cpu_us} += $ns / 1000 unless is_vcpu($thread);
		$used{syscalls} += $count->{$id} // 0;
	}
	return \%used;
}

# Private memory without the mappings that hold a guest, in KiB.
sub private {
	my ($counts, $sum) = (0, 0);
	for (split /\n/, text("/proc/$child/smaps")) {
		$counts = $1 < $memory << 10 if /^Size: +(\d+)/;
		$sum += $1 if $counts && /^Private_(?:Clean|Dirty): +(\d+)/;
	}
	return $sum;
}

# --- The runs.

my $failed = 0;

sub result { print join("\t", @_), "\n" }

sub run_boot {
	my ($monitor, $round) = @_;
	start($monitor, "$folder/initrd-boot", $console, 'disk.img');
	wait_for('# init');
	my $now = now();
	result('boot/init', $monitor, 'ms', $round, sprintf('%.1f', ($now - $began) * 1000));
	result('boot/exits', $monitor, 'count', $round, statistic('exits'));
	sleep(0.5); # now it is idle
	result('memory/stock', $monitor, 'kib', $round, private());
}

# Each case twice: the second time system calls are counted, which slows them down.
sub run_fio {
	my ($monitor, $round) = @_;
	my @runs = ((map { [@$_, $seconds, 0] } @cases), map { [@$_, 1, 1] } @cases);
	my $bench = join(',', map { join('/', @$_[1 .. 3]) } @runs);
	start($monitor, "$folder/initrd-fio", "$console test=bench bench=$bench", 'tools.img',
		'disk.img');
	for my $run (@runs) {
		my ($case, $counted) = @$run[0, 4];
		count_syscalls(1) if $counted;
		wait_for('# bench-begin');
		my $begin = look();
		wait_for('# bench-end');
		my $end = look();
		count_syscalls(0) if $counted;
		my %bench = wait_for('bench: ') =~ /(\w+)=(\d+)/g;
		my %metric = per_request(\%bench, $begin, $end, $counted);
		result("stock/fio-randread-4k-$case", $monitor, $_, $round,
			sprintf('%.6g', $metric{$_})) for sort keys %metric;
	}
}

sub per_request {
	my ($bench, $begin, $end, $counted) = @_;
	my $requests = $bench->{requests} or die "no requests\n";
	my %used = map { ("${_}_per_request" => ($end->{$_} - $begin->{$_}) / $requests) }
		keys %$end;
	my $syscalls = delete $used{syscalls_per_request};
	return (syscalls_per_request => $syscalls) if $counted;
	return (%used, iops => $requests / $bench->{ms} * 1000,
		disk_interrupts_per_request => $bench->{interrupts} / $requests);
}

sub try {
	my ($what, $run, $monitor, $round) = @_;
	eval { $run->($monitor, $round); 1 } or do {
		my $error = $@;
		print "$what under $monitor, round $round: $error", substr($said, -2000), "\n";
		eval { count_syscalls(0) }; # if that was on
		$failed = 1;
	};
	stop();
}

sub rotated {
	my ($by, @list) = @_;
	push @list, splice(@list, 0, $by % @list);
	return @list;
}

# A first start from a cold cache would count for much in few rounds.
sub prepare {
	system('mount', '-t', 'tracefs', 'tracefs', $tracing) unless -e "$tracing/events";
	system('mount', '-t', 'debugfs', 'debugfs', $debug) unless -e "$debug/kvm";
	system('cp', "$folder/tools.img", '.') == 0 &&
		system('dd', 'if=/dev/zero', 'of=disk.img', 'bs=1M', 'count=128', 'status=none') == 0 &&
		system('sync') == 0 or die "cannot make the images\n";
	for my $monitor (@boot) {
		start($monitor, "$folder/initrd-boot", $console, 'disk.img');
		sleep(1);
		stop();
	}
}

prepare();
for my $round (1 .. $rounds) {
	print "stock, round $round of $rounds\n";
	for my $boot (1 .. $boots) {
		try('boot', \&run_boot, $_, ($round - 1) * $boots + $boot)
			for rotated($round + $boot, @boot);
	}
	try('fio', \&run_fio, $_, $round) for rotated($round - 1, @fio);
}
exit($failed);
