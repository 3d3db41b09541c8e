#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: links.pl TREE DOCUMENT...
#
# Is what documents point to in TREE? What they link to, from their own folder; and
# of what stands in `backquotes`, each path, function() and struct. Prints what is not
# there, a line each. (names.pl asks more of a document.)
use strict;
use warnings;
use File::Basename;

die "usage: links.pl TREE DOCUMENT...\n" if @ARGV < 2;
my ($tree, @documents) = @ARGV;

sub content {
	my ($file) = @_;
	open(my $in, '<', $file) or die "links.pl: $file: $!\n";
	local $/;
	return <$in>;
}

my (%function, %struct);
for (map { glob("$tree/{vmm,devices,virtio,hw}/$_.[ch]") } '*', '*/*') {
	for (split /\n/, content($_)) {
		$function{$1} = 1 if /^\w[\w\s*]*?(\w+)\(/;
		$struct{$1} = 1 if /^struct (\w+) \{/;
	}
}
for my $document (@documents) {
	my $text = content($document);
	my %missing;
	for ($text =~ /\]\(([^):#]+)\)/g) {
		$missing{$_} = 1 if !-e dirname($document) . "/$_";
	}
	for ($text =~ m{`((?:vmm|devices|virtio|hw|guest|tests|Documentation)/[^`\s]*)`}g) {
		$missing{$_} = 1 if !-e "$tree/$_";
	}
	for ($text =~ /`(\w+)\(\)`/g) {
		$missing{"$_()"} = 1 if !$function{$_};
	}
	for ($text =~ /`struct (\w+)`/g) {
		$missing{"struct $_"} = 1 if !$struct{$_};
	}
	print "$document: no $_\n" for sort keys %missing;
}
