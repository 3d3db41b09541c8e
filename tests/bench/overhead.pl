#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: overhead.pl BUILD IMAGE RESULTS ROUNDS
#
# What it costs to look on: time a request on /dev/kvm, by the bench guest, whose CPU is
# 0; all else of vmm has CPU 1. BUILD/overhead/NAME/vmm are built without something;
# "default" is BUILD/vmm. In each round all run one after the other, in an order that
# rotates. While "tracing", vmm trace record, the same VM's pieces before it counts as
# its "default": those make pairs of their own. Adds lines of case, variant, metric,
# round and value to RESULTS. As root.
use strict;
use warnings;
use IO::Select;
use List::Util qw(sum);
use POSIX qw(WNOHANG);
use Time::HiRes qw(time sleep);

@ARGV == 4 or die "usage: overhead.pl BUILD IMAGE RESULTS ROUNDS\n";
my ($build, $image, $results, $rounds) = @ARGV;
my $kit = "$build/guest/kit/kit.elf";
my ($ms, $warm_ms, $pieces, $deadline) = (300, 50, 6, 30);

my %vmm = (
	off => "$build/overhead/off/vmm",
	accounting => "$build/overhead/accounting/vmm",
	default => "$build/vmm",
);
my @variants = qw(off accounting default);
my @cases = map { my $depth = $_; map { [$depth, $_] } qw(poll interrupt) } 1, 32;

# --- Programs that run, each with its output's lines and the time of each.

my %running;

sub start {
	my ($stream, $cpus, @command) = @_;
	pipe(my $ours, my $theirs) or die "pipe: $!\n";
	my $pid = fork // die "fork: $!\n";
	if (!$pid) {
		open(STDIN, '<', '/dev/null');
		open(STDERR, '>', "$build/overhead/stderr");
		open($stream, '>&', $theirs);
		exec('setpriv', '--pdeathsig', 'KILL', 'taskset', '-c', $cpus, @command)
			or print STDERR "setpriv: $!\n";
		POSIX::_exit(127);
	}
	my $it = { pid => $pid, output => $ours, buffer => '', command => "@command" };
	$running{$pid} = $it;
	return $it;
}

# Its next line, or undef at the end.
sub line {
	my ($it) = @_;
	my $until = time + $deadline;
	until ($it->{buffer} =~ /\n/) {
		my $left = $until - time;
		$left > 0 && IO::Select->new($it->{output})->can_read($left)
			or die "$it->{command}: nothing after $deadline s\n";
		sysread($it->{output}, $it->{buffer}, 65536, length $it->{buffer}) or return undef;
	}
	(my $line, $it->{buffer}) = split /\r?\n/, $it->{buffer}, 2;
	return $line;
}

# Its status, once it has ended.
sub finish {
	my ($it) = @_;
	my $until = time + $deadline;
	while (waitpid($it->{pid}, WNOHANG) != $it->{pid}) {
		time < $until or die "$it->{command}: it does not end\n";
		sleep(0.001);
	}
	my $status = $?;
	delete $running{$it->{pid}};
	return $status;
}

END {
	my $status = $?;
	kill('KILL', $_), waitpid($_, 0) for keys %running;
	$? = $status;
}
$SIG{$_} = sub { exit 130 } for qw(INT TERM HUP);

# --- VMs

sub start_vm {
	my ($vmm, $depth, $wait, $count, $length) = @_;
	my $bench = join ',', ("randread/4k/$depth/1") x $count;
	my $it = start(\*STDOUT, 1, $vmm, 'run', '-k', $kit, '-m', '128M', '-d', $image,
		'-p', "bench=$bench wait=$wait bench-ms=$length warm-ms=$warm_ms");
	pin_vcpu($it);
	return $it;
}

sub pin_vcpu {
	my ($it) = @_;
	my $until = time + $deadline;
	while (time < $until) {
		for my $path (glob "/proc/$it->{pid}/task/*/comm") {
			open(my $file, '<', $path) or next;
			next unless (<$file> // '') eq "vcpu0\n";
			my ($id) = $path =~ m{task/(\d+)};
			return if system("taskset -cp 0 $id > $build/overhead/taskset") == 0;
		}
		sleep(0.001);
	}
	die "$it->{command}: no vCPU\n";
}

# The next case's time a request in microseconds, and when it began; nothing at the end.
sub piece {
	my ($it) = @_;
	my $begin;
	while (defined(my $line = line($it))) {
		$begin = time if $line eq '# bench-begin';
		next unless my ($iops, $errors) = $line =~ /^bench: .* iops=(\d+) .* errors=(\d+)$/;
		$errors == 0 && $iops or die "$line\n";
		return (1e6 / $iops, $begin);
	}
	return;
}

sub add_result {
	my ($case, $variant, $round, $value) = @_;
	open(my $file, '>>', $results) or die "overhead.pl: $results: $!\n";
	printf $file "%s\t%s\tus_per_request\t%d\t%.5g\n", $case, $variant, $round, $value;
	close($file) or die "overhead.pl: $results: $!\n";
}

sub run_variant {
	my ($variant, $depth, $wait, $round) = @_;
	my $it = start_vm($vmm{$variant}, $depth, $wait, 1, $ms);
	my ($us) = piece($it);
	finish($it) == 0 && $us or die "$it->{command}: failed\n";
	add_result("overhead/$wait/$depth", $variant, $round, $us);
}

# Half of the pieces run before it, the others while it records.
sub run_traced {
	my ($depth, $wait, $round) = @_;
	my $it = start_vm($vmm{default}, $depth, $wait, 200, $ms / $pieces);
	my (@before, @during, $since);
	push @before, (piece($it))[0] while @before < $pieces;
	my $record = start(\*STDERR, '0,1', $vmm{default}, 'trace', 'record',
		'-o', "$build/overhead/trace.data", '-d', $deadline, '-v', $it->{pid});
	do {
		defined($_ = line($record)) or die "$record->{command}: it ended early\n";
	} until /: recording /;
	$since = time;
	while (@during < $pieces) {
		my ($us, $begin) = piece($it) or die "$it->{command}: it ended early\n";
		push @during, $us if $begin > $since;
	}
	kill('INT', $record->{pid});
	1 while defined line($record);
	finish($record) == 0 or die "$record->{command}: failed\n";
	kill('TERM', $it->{pid});
	finish($it);
	add_result("overhead/$wait/$depth/trace", 'default', $round, sum(@before) / @before);
	add_result("overhead/$wait/$depth/trace", 'tracing', $round, sum(@during) / @during);
}

for my $round (1 .. $rounds) {
	printf "overhead, round %d of %d\n", $round, $rounds;
	for my $case (@cases) {
		my ($depth, $wait) = @$case;
		my $by = $round % @variants;
		run_variant($_, $depth, $wait, $round)
			for @variants[$by .. $#variants], @variants[0 .. $by - 1];
		run_traced($depth, $wait, $round) if $wait eq 'poll';
	}
}
