#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: trace.pl REPORT GUEST-TRACE MHZ
#
# Judges a recording of a guest that read and wrote its disk 1 on an AMD host. REPORT
# is what "vmm trace report --json --slowest 1000000 --guest GUEST-TRACE" printed: so
# all requests are in it, one by one. MHZ is the guest's TSC, by itself.
use strict;
use warnings;
use JSON::PP;
use List::Util qw(any sum0);

@ARGV == 3 or die "usage: trace.pl REPORT GUEST-TRACE MHZ\n";
my ($file, $guest_file, $mhz) = @ARGV;
my $wrong = 0;

sub slurp {
	open(my $in, '<', $_[0]) or die "$_[0]: $!\n";
	local $/;
	return <$in>;
}

sub check {
	my ($ok, $what) = @_;
	return if $ok;
	print "trace.pl: $what\n" if $wrong++ < 20;
}

sub within {
	my ($got, $wanted, $part, $what) = @_;
	check(abs($got - $wanted) <= $part * $wanted, "$what: $got instead of $wanted");
}

my $report = decode_json(slurp($file));
my $recording = $report->{recording};
my @groups = grep { $_->{disk} == 1 } @{$report->{groups}};
my @requests = grep { $_->{disk} == 1 } @{$report->{slowest}};

check($recording->{$_} == 0, "$_ is $recording->{$_}")
	for qw(lost_events torn broken_lines stray_events disordered_stamps);
check(!@{$recording->{not_shown}}, "this host does not show: @{$recording->{not_shown}}");
check(@{$report->{slowest}} == $recording->{requests}, "not all requests are listed");
check(@requests >= 20, scalar(@requests) . ' requests in 5 s');

# --- Every layer of such a host. A doorbell of a thread that is awake has no wake-up.

my @layers = (
	(map { [$_, 'doorbell', 0.5] } qw(exit wake cpu pop)),
	(map { [$_, '', 0.98] } qw(issue submit disk publish guest)),
	(map { [$_, 'interrupt', 0.5] } qw(interrupt inject entry)),
);
check(join(' ', sort map { $_->{operation} } @groups) eq 'read write', 'reads and writes');
for my $group (@groups) {
	my $name = $group->{operation};
	my $layer = $group->{layers};
	for (@layers) {
		my ($which, $of, $part) = @$_;
		my $count = $layer->{$which} ? $layer->{$which}{count} : 0;
		my $all = $of ? $group->{$of}{own} : $group->{requests};
		check($count && $count >= $part * $all, "$name: layer '$which' has $count of $all");
	}
	within(sum0(map { $_->{total_ns} } values %$layer), $group->{whole}{total_ns}, 0.01,
		"$name: sum of the layers");
	within(sum0(map { $_->{whole_ns} } grep { $_->{operation} eq $name } @requests),
		$group->{whole}{total_ns}, 0, "$name: sum of the requests");
}

# --- Each request: in order from the guest's block layer and back.

my @order = qw(issue exit doorbell waking running pop submit enter complete push publish
	interrupt routed accept inject entry done);
my $joined = 0;
for my $request (@requests) {
	my $at = $request->{stamps};
	my @seen = grep { defined $at->{$_} } @order;
	my $name = "request $request->{seq}";
	check($at->{$seen[$_]} >= $at->{$seen[$_ - 1]}, "$name: $seen[$_] before $seen[$_ - 1]")
		for 1 .. $#seen;
	check($at->{$seen[-1]} - $at->{$seen[0]} == $request->{whole_ns}, "$name: its whole");
	$joined++ if defined $at->{issue} && defined $at->{done};
}
check($joined >= 0.98 * @requests, "$joined joined of " . @requests);

# --- What the guest itself measured, by its own clock: that is the whole.

my (%open, %ticks);
for (split /\n/, slurp($guest_file)) {
	my ($time, $event, $op, $sector) =
		/ (\d+): block_rq_(issue|complete): 254,16 ([RW])\S* .*\(\) (\d+) \+/ or next;
	if ($event eq 'issue') {
		$open{$op}{$sector} = $time;
	} elsif (defined $open{$op}{$sector}) {
		push @{$ticks{$op}{$sector}}, $time - delete $open{$op}{$sector};
	}
}
for my $request (@requests) {
	my $at = $request->{stamps};
	next unless defined $at->{issue} && defined $at->{done};
	my $ns = $at->{done} - $at->{issue};
	my $measured = $ticks{$request->{operation} eq 'read' ? 'R' : 'W'}{$request->{sector}} // [];
	check((any { abs($_ * 1000 / $mhz - $ns) <= 0.01 * $ns } @$measured),
		"request $request->{seq}: $ns ns, by the guest "
		. join(' or ', map { int($_ * 1000 / $mhz) } @$measured));
}
exit($wrong > 0);
