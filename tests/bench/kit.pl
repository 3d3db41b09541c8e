#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: kit.pl BUILD QEMU RESULTS FACTS [--quick]
#
# The bench guest on this machine's /dev/kvm: every case under every monitor in
# turn, round after round, with the order rotated; fio on the host does the same to
# the same file. The vCPU has CPU 0, and what serves the disk has CPU 1.
#
# Appends lines of case, monitor, metric, round and value to RESULTS, and lines of
# key and value to FACTS. A run that fails is told with its command on stderr, the
# others go on, and the status is 1. As root, with tracefs mounted.
use strict;
use warnings;
use IO::Select;
use JSON::PP;
use POSIX qw(:sys_wait_h);
use Time::HiRes qw(sleep time);

my $quick = @ARGV == 5 && pop(@ARGV) eq '--quick';
@ARGV == 4 or die "usage: kit.pl BUILD QEMU RESULTS FACTS [--quick]\n";
my ($build, $qemu, $results, $facts) = @ARGV;

my $rounds = $quick ? 3 : 5;
my $counted_rounds = $quick ? 1 : 2; # of these, with the counters on, in runs of their own
my ($ms, $counted_ms, $warm_ms) = $quick ? (200, 200, 50) : (600, 400, 150);
my $deadline = 20;                   # seconds a run may take

my %image = (cached => "$build/bench/cached.img", disk => "$build/bench/disk.img");
my $tracefs = '/sys/kernel/tracing';

# The virtual machines, by what their command lines differ in.
my %monitor = (
	'vmm' => '',
	'vmm-nopoll' => ',poll-max-us=0',
	'qemu-iothread' => 'iothread,id=io',
	'qemu-iothread-nopoll' => 'iothread,id=io,poll-max-ns=0',
	'qemu-main' => '',
);
my @all = qw(host vmm vmm-nopoll qemu-iothread qemu-iothread-nopoll qemu-main);
my @few = qw(host vmm qemu-iothread qemu-main);
my @virtual = qw(vmm qemu-iothread qemu-main);

# A case is image/operation/size/depth, and what else is not usual. Those with a
# target are in the quick run too.
my @cases = (
	case('cached/randread/4k/1', \@all, 'target'),
	case('cached/randread/4k/32', \@all, 'target'),
	case('cached/randread/4k/128', \@all, 'target'),
	case('cached/randread/4k/32/interrupt', \@all, 'target'),
	case('cached/read/1m/4', \@all, 'target'),
	case('disk/randread/4k/32', \@all, 'target'),
	(map { case("cached/randread/4k/$_", \@all) } 2, 4, 8, 16, 64),
	case('cached/randread/4k/1/interrupt', \@all),
	case('cached/randread/512/32', \@few),
	case('cached/randread/64k/32', \@few),
	case('cached/randread/4k/32/packed', \@virtual),
	case('cached/randread/4k/32/queues=4', \@virtual),
	case('cached/randread/4k/32/queues=16', \@virtual),
	case('disk/randread/4k/1', \@all),
	case('cached/randwrite/4k/1', \@few),
	case('cached/randwrite/4k/32', \@few),
	case('cached/randrw/4k/32', \@few),
	case('cached/flush/4k/1', \@virtual),
);

sub case {
	my ($name, $monitors, $target) = @_;
	my ($image, $op, $size, $depth, @more) = split m{/}, $name;
	my ($queues) = map { /^queues=(\d+)/ } @more;
	my %more = map { $_ => 1 } @more;
	return {
		name => $name, monitors => $monitors, target => $target, image => $image,
		op => $op, size => $size, depth => $depth, queues => $queues // 1,
		wait => $more{interrupt} ? 'interrupt' : 'poll',
		ring => $more{packed} ? 'packed' : 'split',
	};
}

# --- What is running, and how it ends.

my ($child, $output); # process, and our end of its stdout

# What must not outlive us does not, however we end.
sub start {
	my ($cpu, @command) = @_;
	pipe($output, my $theirs) or die "pipe: $!\n";
	my $pid = fork // die "fork: $!\n";
	if (!$pid) {
		open(STDIN, '<', '/dev/null');
		open(STDOUT, '>&', $theirs);
		open(STDERR, '>', "$build/bench/stderr");
		exec('setpriv', '--pdeathsig', 'KILL', 'taskset', '-c', $cpu, @command)
			or print STDERR "setpriv: $!\n";
		POSIX::_exit(127); # to die would be caught
	}
	$child = $pid;
}

sub stop {
	return unless $child;
	kill('KILL', $child);
	waitpid($child, 0);
	undef $child;
}

for my $signal (qw(INT TERM HUP)) {
	$SIG{$signal} = sub {
		stop();
		$SIG{$signal} = 'DEFAULT';
		kill($signal, $$);
	};
}
END { my $status = $?; stop(); $? = $status }

# The child's next line, or undef at the end of its output. Dies at time $until.
my $buffer = '';

sub next_line {
	my ($until) = @_;
	until ($buffer =~ /\n/) {
		my $left = $until - time;
		$left > 0 && IO::Select->new($output)->can_read($left)
			or die "nothing after $deadline s\n";
		sysread($output, $buffer, 65536, length $buffer) or return undef;
	}
	(my $line, $buffer) = split /\r?\n/, $buffer, 2;
	return $line;
}

sub ended {
	return 0 unless waitpid($child, WNOHANG);
	undef $child;
	return 1;
}

# The child ends by itself, and well.
sub finish {
	my ($until) = @_;
	until (ended()) {
		time < $until or die "it does not end\n";
		sleep(0.001);
	}
	$? == 0 or die 'it ended with ', $? & 127 ? "signal $?" : 'status ' . ($? >> 8), "\n";
}

sub text {
	my ($path) = @_;
	open(my $file, '<', $path) or return '';
	local $/;
	return <$file> // '';
}

# --- The child's threads.

# Ids and names.
sub threads {
	my %name;
	for my $path (glob("/proc/$child/task/*/comm")) {
		my ($id) = $path =~ m{task/(\d+)};
		chomp(my $name = text($path));
		$name{$id} = $name if $name ne '';
	}
	return %name;
}

sub is_vcpu { return $_[0] =~ m{^(vcpu0|CPU 0/KVM)$} }
sub is_io { return $_[0] =~ m{^(io0|IO io)$} }

# Everything of it started on CPU 1; its vCPU moves to CPU 0 as soon as there is one.
sub pin_vcpu {
	my ($until) = @_;
	while (time < $until) {
		my %name = threads();
		ended() and die "it ended at once\n";
		my ($vcpu) = grep { is_vcpu($name{$_}) } keys %name;
		if ($vcpu) {
			system("taskset -cp 0 $vcpu > $build/bench/taskset") == 0
				or die "cannot pin the vCPU\n";
			return;
		}
		sleep(0.001);
	}
	die "no vCPU after $deadline s\n";
}

# CPU time so far, in nanoseconds: of the vCPU, and of all others.
sub cpu_time {
	my %name = threads();
	my %sum = (vcpu => 0, others => 0);
	for my $id (keys %name) {
		my ($ns) = split / /, text("/proc/$child/task/$id/schedstat");
		$sum{is_vcpu($name{$id}) ? 'vcpu' : 'others'} += $ns // 0;
	}
	return \%sum;
}

# --- Counters: perf_event_open(2) on tracepoints, per thread.

my %event = (
	syscalls => 'raw_syscalls/sys_enter',
	exits => 'kvm/kvm_exit', # which not every KVM module has; without it, this stays 0
);

# [event, is it the I/O thread, file] for each event and thread of the child.
sub open_counters {
	my %name = threads();
	my ($io) = grep { is_io($name{$_}) } keys %name;
	my @counters;
	$io //= $child;
	for my $event (sort keys %event) {
		my $id = text("$tracefs/events/$event{$event}/id");
		$id =~ /\d/ or die "no tracepoint $event{$event} in $tracefs\n";
		# struct perf_event_attr, its first version: a tracepoint that new threads
		# inherit.
		my $attr = pack('L2Q5L2Q', 2, 64, $id, 0, 0, 0, 2, 0, 0, 0);
		for my $thread (keys %name) {
			my $fd = syscall(298, $attr, $thread + 0, -1, -1, 8);
			next if $fd < 0 && !-e "/proc/$child/task/$thread";
			$fd >= 0 or die "perf_event_open: $!\n";
			open(my $file, '<&=', $fd) or die "perf_event_open: $!\n";
			push @counters, [$event, $thread == $io, $file];
		}
	}
	return @counters;
}

# The time, and what all has been used and counted until now.
sub look {
	my %sum = (time => time, %{cpu_time()});
	for (@_) {
		my ($event, $is_io, $file) = @$_;
		sysread($file, my $value, 8) == 8 or die "cannot read a counter\n";
		$value = unpack('Q', $value);
		$sum{$event} += $value;
		$sum{"io_$event"} += $value if $is_io;
	}
	return \%sum;
}

# --- A run of a case under a monitor. Returns metric => value; dies if it fails.

sub kit_options {
	my ($case, $duration) = @_;
	return "bench=$case->{op}/$case->{size}/$case->{depth}/$case->{queues} " .
		"wait=$case->{wait} ring=$case->{ring} bench-ms=$duration warm-ms=$warm_ms";
}

sub vmm_command {
	my ($case, $monitor, $options) = @_;
	my $disk = "$image{$case->{image}}$monitor{$monitor}";
	$disk .= ',direct' if $case->{image} eq 'disk';
	$disk .= ",queues=$case->{queues}" if $case->{queues} > 1;
	$disk .= ',packed=on' if $case->{ring} eq 'packed';
	return ("$build/vmm", 'run', '-k', "$build/guest/kit/kit.elf", '-m', '512M', '-d', $disk,
		'-p', $options);
}

sub qemu_command {
	my ($case, $monitor, $options) = @_;
	my $cache = $case->{image} eq 'disk' ? 'none' : 'writeback';
	my $device = "virtio-blk-pci,disable-legacy=on,drive=d,num-queues=$case->{queues}";
	$device .= ',iothread=io' if $monitor{$monitor};
	$device .= ',packed=on' if $case->{ring} eq 'packed';
	return ($qemu, '-name', 'vm,debug-threads=on', '-M', 'q35', '-accel', 'kvm',
		'-cpu', 'host,-arch-capabilities', '-m', 512, '-bios', 'qboot.rom', '-nodefaults',
		'-nic', 'none', '-display', 'none', '-monitor', 'none', '-serial', 'stdio',
		'-no-reboot', '-kernel', "$build/guest/kit/kit.elf", '-append', "$options intx=off",
		($monitor{$monitor} ? ('-object', $monitor{$monitor}) : ()),
		'-drive', "file=$image{$case->{image}},id=d,if=none,format=raw,aio=io_uring,cache=$cache",
		'-device', $device);
}

sub fio_command {
	my ($case, $duration) = @_;
	return ('fio', '--name=host', "--filename=$image{$case->{image}}", "--rw=$case->{op}",
		"--bs=$case->{size}", "--iodepth=$case->{depth}",
		'--direct=' . ($case->{image} eq 'disk' ? 1 : 0), '--ioengine=io_uring',
		'--iodepth_batch_submit=16', '--iodepth_batch_complete_max=16', '--registerfiles',
		'--thread', '--invalidate=0', '--norandommap', '--rwmixread=70', '--time_based',
		"--runtime=${duration}ms", "--ramp_time=${warm_ms}ms", '--lat_percentiles=1',
		'--clat_percentiles=0', '--output-format=json');
}

sub command {
	my ($case, $monitor, $duration) = @_;
	return fio_command($case, $duration) if $monitor eq 'host';
	my $options = kit_options($case, $duration);
	return vmm_command($case, $monitor, $options) if $monitor =~ /^vmm/;
	return qemu_command($case, $monitor, $options);
}

sub run_fio {
	my ($until) = @_;
	my $json = '';
	while (defined(my $line = next_line($until))) {
		$json .= $line;
	}
	finish($until);
	my $job = decode_json($json =~ s/^[^{]*//r)->{jobs}[0]; # after its notes
	my ($iops, $time) = (0, 0);
	for my $way (@$job{qw(read write)}) {
		$iops += $way->{iops};
		$time = $way->{runtime} if $way->{runtime} > $time;
	}
	$iops > 0 or die "fio did nothing\n";
	my $way = $job->{$job->{read}{iops} > 0 ? 'read' : 'write'};
	my $percentile = $way->{lat_ns}{percentile};
	return {
		iops => $iops,
		p50_ns => $percentile->{'50.000000'}, p90_ns => $percentile->{'90.000000'},
		p99_ns => $percentile->{'99.000000'}, p999_ns => $percentile->{'99.900000'},
		cpu_us_per_request => ($job->{usr_cpu} + $job->{sys_cpu}) / 100 * 1e6 / $iops,
	};
}

# The guest writes nothing between its line at the begin of a case and that at the end.
sub run_guest {
	my ($until, $counting) = @_;
	my ($begin, $metric);
	pin_vcpu($until);
	my @counters = $counting ? open_counters() : ();
	while (defined(my $line = next_line($until))) {
		if ($line eq '# bench-begin') {
			$begin = look(@counters);
		} elsif ($line =~ /^bench: (.*)/) {
			$metric = per_request($1, $begin, look(@counters), $counting);
		}
	}
	finish($until);
	return $metric if $metric;
	die "the guest ended without a result\n";
}

# per_request LINE BEGIN END COUNTING: metrics from the guest's line and two looks.
# Counters take time, so a run has either them or times.
sub per_request {
	my ($line, $begin, $end, $counting) = @_;
	my %said = $line =~ /(\w+)=(\S+)/g;
	my $requests = $said{requests} or die "no requests: $line\n";
	my %used = map { ($_ => $end->{$_} - ($begin->{$_} // 0)) } keys %$end;
	$said{errors} == 0 or die "errors: $line\n";
	abs($used{time} * 1000 / $said{ms} - 1) < 0.1
		or die "late: its $said{ms} ms were $used{time} s here\n";
	if ($counting) {
		delete @used{qw(time vcpu others io_exits)};
		delete $used{exits} unless $used{exits};
		return { map { ("${_}_per_request" => $used{$_} / $requests) } keys %used };
	}
	return {
		(map { ($_ => $said{$_}) } qw(iops p50_ns p90_ns p99_ns p999_ns)),
		(map { ("${_}_per_request" => $said{$_} / $requests) } qw(doorbells interrupts)),
		cpu_us_per_request => $used{others} / 1000 / $requests,
		total_cpu_us_per_request => ($used{others} + $used{vcpu}) / 1000 / $requests,
	};
}

# --- All of them.

my $failed = 0;

sub append {
	my ($path, @fields) = @_;
	open(my $file, '>>', $path) or die "kit.pl: $path: $!\n";
	print $file join("\t", @fields), "\n";
	close($file) or die "kit.pl: $path: $!\n";
}

# For a shell.
sub quoted {
	return join ' ', map { m{^[\w@%+=:,./-]+$} ? $_ : "'" . s/'/'\\''/gr . "'" } @_;
}

# On a busy machine, a line may be seen too late for the looks to be right: once more.
sub try {
	my ($monitor, $counting, @command) = @_;
	for my $left (2, 1, 0) {
		my $until = time + $deadline;
		my $metric = eval {
			$buffer = '';
			start(1, @command);
			$monitor eq 'host' ? run_fio($until) : run_guest($until, $counting);
		};
		return $metric if $metric;
		stop();
		last unless $left && $@ =~ /^late/;
	}
	return undef;
}

sub run {
	my ($case, $monitor, $round, $counting) = @_;
	my @command = command($case, $monitor, $counting ? $counted_ms : $ms);
	my $metric = try($monitor, $counting, @command);
	if (!$metric) {
		print STDERR "$case->{name}, $monitor: $@", text("$build/bench/stderr"),
			'  ', quoted(@command), "\n";
		$failed = 1;
		return;
	}
	append($results, $case->{name}, $monitor, $_, $round, sprintf('%.7g', $metric->{$_}))
		for sort keys %$metric;
	settle($case);
}

# What was written is on the disk before the next run.
sub settle {
	my ($case) = @_;
	return if $case->{op} =~ /read$/;
	open(my $file, '<', $image{$case->{image}}) or die "kit.pl: $image{$case->{image}}: $!\n";
	$file->sync or die "kit.pl: $image{$case->{image}}: $!\n";
}

sub warm {
	open(my $file, '<', $image{cached}) or die "kit.pl: $image{cached}: $!\n";
	while (sysread($file, my $data, 1 << 20)) {}
}

sub rotated {
	my ($by, @list) = @_;
	push @list, splice(@list, 0, $by % @list);
	return @list;
}

@cases = grep { $_->{target} } @cases if $quick;
for my $round (1 .. $rounds) {
	printf "kit, round %d of %d\n", $round, $rounds;
	warm();
	for my $case (@cases) {
		my @monitors = rotated($round - 1, @{$case->{monitors}});
		run($case, $_, $round) for @monitors;
		next if $round > $counted_rounds;
		run($case, $_, $round, 'counting') for grep { $_ ne 'host' } @monitors;
	}
}
for my $monitor (@all) {
	append($facts, "line: $monitor", quoted(command($cases[1], $monitor, $ms)) =~ s/\Q$build\E/build/gr);
}
exit($failed);
