#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: table.pl BUILD [--check]
#
# Makes Documentation/conformance.md from four things:
#   rows         what is required: id, level, requirement; '#' starts a group
#   not-offered  ids of what vmm does not offer, and why
#   the tests    each names, in its source, the rows that it shows
#   BUILD        what the tests printed when they last ran
# A row is passed when every test that names it ran and none failed. With --check,
# which QEMU's results need not be there for, the file is compared instead. Ends
# with "N passed, N failed", and with failure if a row is not in order.
use strict;
use warnings;
use File::Basename qw(basename dirname);

@ARGV >= 1 && @ARGV <= 2 or die "usage: table.pl BUILD [--check]\n";
my ($build, $check) = @ARGV;
my $here = dirname($0);
my $top = "$here/../..";
my $document = "$top/Documentation/conformance.md";

my @order;      # ids, and the groups' names
my %row;        # id => { level, text, reason, tests => [...] }
my %result;     # monitor => test => row => times passed, or -1 if it failed once
my @problems;

# The lines of files, as one text each; a file that is missing is empty.
sub text {
	my ($path) = @_;
	open(my $file, '<', $path) or return '';
	local $/;
	return <$file> // '';
}

# Ids in a text: GEN-02, or GEN-41..46 for six of them.
sub ids {
	my ($text) = @_;
	my @ids;
	while ($text =~ /([A-Z]+)-(\d+)(?:\.\.(\d+))?/g) {
		my ($group, $from, $to) = ($1, $2, $3 // $2);
		push @ids, map { sprintf '%s-%02d', $group, $_ } $from .. $to;
	}
	return @ids;
}

# The tests of a source whose rows are named in a comment right above them.
sub annotated {
	my ($where, $source, $comment) = @_;
	my $named = 0;
	while ($source =~ /$comment/gm) {
		shows("$where$2", ids($1));
		$named++;
	}
	my $written = () = $source =~ /^\W+Rows:/gm;
	push @problems, "$where: a comment 'Rows:' is not right above a test"
		if $named != $written;
}

# A test names rows. HOST rows are a later issue's.
sub shows {
	my ($test, @ids) = @_;
	for my $id (grep { !/^HOST-/ } @ids) {
		if (!$row{$id}) {
			push @problems, "$test names $id, which is no row";
		} elsif (!grep { $_ eq $test } @{$row{$id}{tests}}) {
			push @{$row{$id}{tests}}, $test;
		}
	}
}

# The results in a file of TAP below BUILD: for each 'not ' or '', and the text.
sub tap {
	return text("$build/$_[0]") =~ /^(not |)ok \d+ - (.*)/gm;
}

# A test passed or failed, for some rows only if runs differ in what they show.
sub saw {
	my ($monitor, $test, $failed, @ids) = @_;
	for my $id (@ids ? @ids : 'all') {
		my $seen = \$result{$monitor}{$test}{$id};
		$$seen = $failed || ($$seen // 0) < 0 ? -1 : ($$seen // 0) + 1;
	}
}

sub read_rows {
	for (split /\n/, text("$here/rows")) {
		if (/^# (.*)/) {
			push @order, $1;
			next;
		}
		my ($id, $level, $requirement) = split /\t/;
		push @order, $id;
		$row{$id} = { level => $level, text => $requirement, tests => [] };
	}
	for (split /\n/, text("$here/not-offered")) {
		my ($which, $reason) = split /\t/;
		for my $id (ids($which)) {
			if ($row{$id}) {
				$row{$id}{reason} = $reason;
			} else {
				push @problems, "not-offered names $id, which is no row";
			}
		}
	}
}

sub read_unit_tests {
	for my $path (sort glob("$top/tests/unit/test_*.c")) {
		my ($program) = basename($path) =~ /^test_(\w+)\.c$/;
		my @tap = tap("tests/unit/test_$program.tap");

		annotated("unit $program/", text($path),
			  qr{Rows:([^/]*)\*/\s*START_TEST\((\w+)\)});
		while (my ($failed, $line) = splice @tap, 0, 2) {
			saw('vmm', "unit $program/$1", $failed) if $line =~ /^[^:]*:[^:]*:(\w+): /;
		}
	}
}

sub read_stock_cases {
	my @tap = tap('results/stock.tap');

	annotated('stock ', text("$top/tests/stock/cases.sh"), qr/^# Rows:(.*)\ncase_(\w+)\(\)/m);
	while (my ($failed, $line) = splice @tap, 0, 2) {
		saw('vmm', "stock $1", $failed) if $line =~ /^(\w+)/;
	}
}

# A line is "CONFIGURATION: TEST [ROWS]", and so is what the host says about a test
# after the run.
sub read_kit_tests {
	for my $path (sort glob("$top/guest/kit/test_*.c")) {
		my $source = text($path);
		shows("kit $1", ids($2))
			while $source =~ /\{\s*"([^"]+)",\s*\w+,\s*((?:"[^"]*"\s*)+),/g;
	}
	for my $monitor ('vmm', 'qemu') {
		my @tap = tap("results/kit-$monitor.tap");
		while (my ($failed, $line) = splice @tap, 0, 2) {
			saw($monitor, "kit $1", $failed, ids($2)) if $line =~ /^\S+: (\S+) \[([^\]]+)\]/;
		}
	}
}

# What these tests of a row come to: passed, or what keeps them from it.
sub verdict {
	my ($monitor, $id, @tests) = @_;
	my (@failed, @absent);
	for my $test (@tests) {
		my $seen = $result{$monitor}{$test};
		my $times = $$seen{$id} // $$seen{all} // 0;
		push @failed, $test if $times < 0;
		push @absent, $test if $times == 0;
	}
	return 'failed: ' . join(', ', @failed) if @failed;
	return 'did not run: ' . join(', ', @absent) if @absent;
	return 'passed';
}

# A row's column of vmm.
sub judge {
	my ($id) = @_;
	my ($reason, @tests) = ($row{$id}{reason}, @{$row{$id}{tests}});
	return "both not offered and shown by @tests" if $reason && @tests;
	return "not offered: $reason" if $reason;
	return 'nothing shows it' unless @tests;
	return verdict('vmm', $id, @tests);
}

# The tests of a row by tier: "kit blk/read, blk/write; unit blk/reset".
sub shown_by {
	my %tier;
	for (@_) {
		my ($tier, $name) = split / /;
		push @{$tier{$tier}}, $name;
	}
	return join '; ', map { "$_ " . join(', ', @{$tier{$_}}) } sort keys %tier;
}

sub kit_tests {
	return grep { /^kit / } @{$row{$_[0]}{tests}};
}

# QEMU's column and version: from its run, or from the committed table.
sub read_qemu {
	my ($old) = @_;
	if (!$check) {
		for my $id (grep { $row{$_} && kit_tests($_) } @order) {
			$row{$id}{qemu} = verdict('qemu', $id, kit_tests($id));
			$row{$id}{qemu} =~ s/\bkit //g;
		}
		return text("$build/results/qemu-version") =~ /version (\S+)/ ? $1 : 'unknown';
	}
	while ($old =~ /^\| ([A-Z]+-\d+) \|.*\| ([^|\n]*?) *\|$/gm) {
		$row{$1}{qemu} = $2 if $row{$1} && $2 ne '';
	}
	return $old =~ /QEMU (\d\S*\d)/ ? $1 : 'unknown';
}

sub count {
	my ($column, $pattern) = @_;
	return scalar grep { $row{$_} && ($row{$_}{$column} // '') =~ $pattern } @order;
}

# summary VERSION
sub summary {
	my @observed = grep { $row{$_} && kit_tests($_) } @order;
	my $ours = grep { verdict('vmm', $_, kit_tests($_)) eq 'passed' } @observed;
	return sprintf("%d rows: %d passed, %d not offered, %d failed.\n",
		scalar keys %row, count('vmm', qr/^passed/), count('vmm', qr/^not offered/),
		count('vmm', qr/^(?!passed|not offered)/)) .
		sprintf("%d rows are observed by the test kit: vmm passes %d, QEMU %s passes %d.\n",
			scalar @observed, $ours, $_[0], count('qemu', qr/^passed/));
}

sub table {
	my ($version) = @_;
	my $text = <<~'END' . summary($version);
		# Conformance

		Made by `make conformance` from what the tests say; not to be edited. Each row is
		a requirement of the virtio specification, version 1.4, on the device. Levels are the
		specification's; `fact` is stated there without one, `drv` binds the driver and
		is checked by the device, `pci` comes from the PCI specifications, `rob` is a
		rule of ours. The test kit (`guest/kit`) runs under QEMU as well.

		END
	for (@order) {
		if (!$row{$_}) {
			$text .= "\n## $_\n\n| Row | Level | Requirement | Shown by | vmm | QEMU |\n" .
				"|---|---|---|---|---|---|\n";
			next;
		}
		my ($level, $requirement, $vmm, $qemu) = @{$row{$_}}{qw(level text vmm qemu)};
		my $tests = shown_by(@{$row{$_}{tests}});
		$text .= "| $_ | $level | $requirement | $tests | $vmm | " . ($qemu // '') . " |\n";
	}
	return $text;
}

read_rows();
read_kit_tests();
read_stock_cases();
read_unit_tests();
$row{$_}{vmm} = judge($_) for keys %row;
my $old = text($document);
my $version = read_qemu($old);
my $new = table($version);

for (grep { $row{$_} } @order) {
	my ($vmm, $qemu) = @{$row{$_}}{qw(vmm qemu)};
	printf "%-11s %-10s %-12s %s\n", $_, $row{$_}{level}, $vmm, $qemu ? "QEMU $qemu" : ''
		unless $check;
	push @problems, "$_: $vmm" unless $vmm =~ /^(passed$|not offered: )/;
}
if (!$check) {
	open(my $file, '>', $document) or die "table.pl: $document: $!\n";
	print $file $new;
	close($file) or die "table.pl: $document: $!\n";
	print "\n", summary($version);
} elsif ($old ne $new) {
	push @problems, 'Documentation/conformance.md is stale: make conformance renews it';
}
print "not ok - $_\n" for @problems;
printf "conformance: %d passed, %d failed\n", count('vmm', qr/^(passed$|not offered: )/),
	scalar @problems;
exit(@problems ? 1 : 0);
