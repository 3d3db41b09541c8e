#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: chrome.pl FILE
#
# Reads a file of "vmm trace report --chrome" the way Perfetto does, which drops
# what it cannot place, and prints what it would show, a line each: process, track,
# begin and length in ns, and the name, indented as it nests, with its flows. Fails
# if something would be dropped, has no name, or leads nowhere.
use strict;
use warnings;
use JSON::PP;

@ARGV == 1 or die "usage: chrome.pl FILE\n";
open(my $file, '<', $ARGV[0]) or die "$ARGV[0]: $!\n";
my $text = do { local $/; <$file> };
my $trace = JSON::PP->new->utf8->decode($text);

my (%process, %track, %sort, %open, %last, %flow, @lines);
my $failed = 0;

sub fail {
	my ($event, $why) = @_;
	print STDERR "$why: ", JSON::PP->new->canonical->encode($event), "\n";
	$failed = 1;
}

# Perfetto's own arithmetic: the fraction is cut off.
sub ns {
	my ($us) = @_;
	return int($us * 1000.0);
}

sub name {
	my ($event) = @_;
	my ($what, $kind) = $event->{name} =~ /^(process|thread)_(name|sort_index)$/
		or return fail($event, 'unknown metadata');
	my $names = $what eq 'process' ? \%process : \%track;
	my $number = $what eq 'process' ? $event->{pid} : $event->{tid};
	my $key = $kind eq 'name' ? $event->{args}{name} : $event->{args}{sort_index};
	defined $key && length $key or return fail($event, 'no name');
	return $sort{$what}{$number} = $key if $kind eq 'sort_index';
	fail($event, 'named twice') if $process{$number} || $track{$number};
	$names->{$number} = $key;
}

sub flow {
	my ($event, $begin) = @_;
	my $id = $event->{bind_id};
	for my $end (grep { $event->{$_} } qw(flow_out flow_in)) {
		fail($event, "a second $end") if defined $flow{$id}{$end};
		$flow{$id}{$end} = [$begin, scalar @lines];
		return " $end $id";
	}
	fail($event, 'a flow without direction');
	return '';
}

sub slice {
	my ($event) = @_;
	my $tid = $event->{tid};
	my ($begin, $len) = (ns($event->{ts}), ns($event->{dur}));
	my $open = $open{$tid} //= [];

	fail($event, 'no such process') if !$process{$event->{pid}};
	fail($event, 'no such track') if !$track{$tid};
	fail($event, 'no name') if !length $event->{name};
	fail($event, 'before time 0') if $begin < 0 || $len < 0;
	fail($event, 'not in order') if $begin < ($last{$tid} // 0);
	$last{$tid} = $begin;
	# What has ended is closed; an event without length does not close its like.
	pop @$open while @$open && $open->[-1]{end} <= $begin &&
		!($open->[-1]{end} == $begin && !$open->[-1]{len} && !$len);
	fail($event, 'does not nest') if @$open && $begin + $len > $open->[-1]{end};
	push @lines, join('|', $process{$event->{pid}} // '?', $track{$tid} // '?', $begin, $len,
		'  ' x @$open . $event->{name}) . ($event->{bind_id} ? flow($event, $begin) : '');
	push @$open, { end => $begin + $len, len => $len };
}

for my $event (@{$trace->{traceEvents}}) {
	if ($event->{ph} eq 'M') {
		name($event);
	} elsif ($event->{ph} eq 'X') {
		slice($event);
	} else {
		fail($event, 'unknown phase');
	}
}
for my $id (sort keys %flow) {
	my ($out, $in) = @{$flow{$id}}{qw(flow_out flow_in)};
	fail({ bind_id => $id }, 'a flow with one end') if !defined $out || !defined $in;
	# Perfetto takes them by time, and those of one time as they stand.
	fail({ bind_id => $id }, 'a flow back in time') if $out && $in &&
		($out->[0] > $in->[0] || ($out->[0] == $in->[0] && $out->[1] > $in->[1]));
}
for my $number (keys %process, keys %track) {
	my $what = $process{$number} ? 'process' : 'thread';
	fail({ $what => $number }, 'no order') if !defined $sort{$what}{$number};
}
fail({}, 'no clock') if ($trace->{otherData}{clock} // '') ne 'CLOCK_MONOTONIC';
binmode(STDOUT, ':utf8');
print s/[[:cntrl:]]/?/gr, "\n" for @lines;
exit $failed;
