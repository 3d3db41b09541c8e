#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: probes.pl GROUP CONSOLE < EVENTS
#
# For probes.sh: does what perf has seen (perf script), with the probes in GROUP, agree with what the bench guest wrote to CONSOLE, its
# figures and the log of its requests? Says what does not, and fails.
use strict;
use warnings;

@ARGV == 2 or die "usage: probes.pl GROUP CONSOLE < EVENTS\n";
my ($group, $console) = @ARGV;

my %names; # of the probes' arguments
open my $table, '-|', './vmm', 'probes' or die "vmm probes: $!\n";
/^(\w+)\((.*)\)/ and $names{$1} = [split /, /, $2] while <$table>;
close $table;

# --- What the guest says.

my (%figure, @log);
open my $guest, '<', $console or die "$console: $!\n";
while (<$guest>) {
	%figure = /(\w+)=(\w+)/g if /^bench: /;
	my %request = /^request: / ? /(\w+)=(\d+)/g : next;
	push @{$log[$request{queue}]}, \%request;
}
%figure && @log == $figure{queues} or die "the guest did not come to its end\n";
my $total = 0;
$total += @$_ for @log;
$total == $figure{requests} or die "$total requests in the log, $figure{requests} counted\n";
my $is_alone = $figure{depth} == 1;

# --- What was seen.

# A request's steps, in order, and what each must tell of it.
my @steps = qw(pop submit complete push);
my (@request, %seen, %rung, %kvm, %exits, %asleep, %thread_of, %vector_of);
my ($published, $wanted) = (0, 0);

sub same {
	my ($what, $got, $expected) = @_;
	$got eq $expected or die "line $.: $what: $got instead of $expected\n";
}

sub request_step {
	my ($step, $arg, $tid) = @_;
	my ($queue, $seq) = @$arg{qw(queue seq)};
	my $it = $request[$queue][$seq] //= { step => 0 };
	my $asked = $log[$queue][$seq] or die "line $.: $step of a request that nobody made\n";

	same("queue $queue seq $seq", $step, $steps[$it->{step}++] // 'nothing more');
	same("thread of queue $queue", $tid, $thread_of{$queue} //= $tid);
	same('disk', $arg->{disk}, 0);
	if ($step eq 'pop') {
		$it->{head} = $arg->{head};
		same('bus', $arg->{bus}, 0);
		same('notify', $arg->{notify}, $rung{$queue} //= $arg->{notify});
		$seq == 0 || $request[$queue][$seq - 1] or die "line $.: seq $seq before the last\n";
	}
	if ($step eq 'pop' || $step eq 'submit') {
		same("$step $_", $arg->{$_}, $asked->{$_}) for qw(op sector len);
	}
	same('result', $arg->{result}, 0) if $step eq 'complete';
	if ($step eq 'push') {
		same('head', $arg->{head}, $it->{head});
		same('status', $arg->{status}, 0);
		same('written', $arg->{written}, 1 + ($asked->{op} == 0 ? $asked->{len} : 0));
	}
}

my %on = (
	(map { my $step = $_; $step => sub { request_step($step, @_) } } @steps),
	publish => sub {
		$published += $_[0]{count};
		$wanted += $_[0]{interrupt};
	},
	interrupt => sub {
		my ($arg) = @_;
		same('how', $arg->{how}, 0);
		same('address', $arg->{address} >> 20, 0xfee);
		same('data', $arg->{data}, $vector_of{$arg->{queue}} //= $arg->{data});
	},
	sleep => sub {
		my ($arg, $tid) = @_;
		!$asleep{$tid}++ or die "line $.: it sleeps already\n";
	},
	wake => sub {
		my ($arg, $tid) = @_;
		$asleep{$tid}-- or die "line $.: it does not sleep\n";
	},
	exit_mmio => sub {
		my ($arg) = @_;
		$exits{$arg->{address}} += $arg->{is_write};
	},
);

while (<STDIN>) {
	/LOST/ and die "line $.: events were lost\n";
	my ($tid, $event, $trace) = /^\s*\S+\s+(\d+)\s+\[\d+\]\s+[\d.]+:\s+(\S+):\s+(.*)/
		or die "line $.: what is this? $_";
	$kvm{hex $1}++ if $event =~ /^kvm:/ && $trace =~ /(?:write .*gpa|fast mmio at gpa) (0x[0-9a-f]+)/;
	$event =~ s/^\Q$group\E:// or next;
	my ($values) = $trace =~ /^\([0-9a-f]+\)\s*(.*)/;
	my %value = $values =~ /arg(\d+)=(-?\d+)/g;
	my $names = $names{$event} or die "line $.: probe $event is not declared\n";
	same("arguments of $event", scalar keys %value, scalar @$names);
	my %arg = map { $names->[$_] => $value{$_ + 1} } 0 .. $#$names;
	$seen{$event}++;
	$on{$event}->(\%arg, $tid) if $on{$event};
}

# --- Do they agree?

same($_, $seen{$_} // 0, $total) for @steps;
same('requests published', $published, $total);
same('interrupts', $seen{interrupt} // 0, $wanted);
keys %{{ reverse %vector_of }} == keys %vector_of or die "queues share a vector\n";
my %at = reverse %rung;
keys %at == keys %rung or die "queues share a doorbell\n";
my ($writes, $exits) = (0, 0);
$writes += $kvm{$_} // 0 for keys %at;
$exits += $exits{$_} // 0 for keys %at;
same("KVM's writes to the doorbells", $writes, $figure{doorbells});
same("vmm's exits for the doorbells", $exits, $writes) if $exits;
# Several rings, or interrupts, may be one by the time that somebody looks.
my $rings = $seen{doorbell} // 0;
$rings <= $figure{doorbells} or die "$rings doorbells, the guest rang $figure{doorbells}\n";
same('doorbells', $rings, $figure{doorbells}) if $is_alone;
$wanted >= $figure{interrupts} or die "$wanted interrupts, the guest got $figure{interrupts}\n";
same('interrupts that the guest got', $wanted, $figure{interrupts}) if $is_alone;
