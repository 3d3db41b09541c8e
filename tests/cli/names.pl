#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: names.pl TREE DOCUMENT
#
# Is all that a document calls by name there? Of what stands in `backquotes`, each
# path must exist; each function() must be defined in one of the files that its
# section (from one heading to the next) names, and any other name, such as a macro
# or `struct x`, occur in one of these; each `vmm:probe` must be in the table of
# probes. Options and the like, with a hyphen or an equals sign, are not looked at.
# Prints what is wrong, a line each.
use strict;
use warnings;

die "usage: names.pl TREE DOCUMENT\n" if @ARGV != 2;
my ($tree, $document) = @ARGV;

sub content {
	my ($file) = @_;
	open(my $in, '<', $file) or die "names.pl: $file: $!\n";
	local $/;
	return <$in>;
}

# A definition begins at the line's start and goes on with its body.
sub defines {
	my ($source, $function) = @_;
	return $source =~ /^[a-z][^\n;{}()=]*\b\Q$function\E\([^;{}]*\)\s*\n\{/m;
}

my $probes = content("$tree/hw/base/probe_table.h");
my $named = 0;
for my $section (split /^(?=#)/m, content($document)) {
	my ($heading) = $section =~ /^(.*)/;
	my @names = $section =~ /`([^`]+)`/g;
	my @files = grep { m{/} } @names;
	for (grep { !-f "$tree/$_" } @files) {
		print "$heading: no file $_\n";
	}
	my @source = map { content("$tree/$_") } grep { -f "$tree/$_" } @files;
	for my $name (grep { !m{[/=-]} } @names) {
		$named++;
		if ($name =~ /^vmm:(\w+)$/) {
			print "$heading: no probe $1\n" if $probes !~ /\bPROBE\($1,/;
		} elsif ($name =~ /^(\w+)\(\)$/) {
			print "$heading: no function $1() in @files\n"
				if !grep { defines($_, $1) } @source;
		} else {
			print "$heading: no $name in @files\n" if !grep { /\b\Q$name\E\b/ } @source;
		}
	}
}
print "it names next to nothing\n" if $named < 10;
