#!/usr/bin/perl
# SPDX-License-Identifier: BSD-2-Clause
#
# usage: report.pl RESULTS [FACTS DOCUMENT PLOT]
#        report.pl --overhead RESULTS FACTS DOCUMENT
#
# Judges what the benches measured. RESULTS has lines of case, monitor, metric,
# round and value, with tabs between, FACTS lines of key and value. Prints the
# targets and how each was met; with the other three, writes them and all details
# as Markdown to DOCUMENT and draws PLOT, an SVG, with gnuplot. The status is 1 if
# a target has no results; a target that is missed is a result.
#
# A ratio is taken round by round, between neighbours in time, and the median of the
# ratios counts. With --overhead, RESULTS are those of overhead.sh, which become a section
# of DOCUMENT; without, DOCUMENT keeps the one that it has.
use strict;
use warnings;
use List::Util qw(max min);

my $overhead = @ARGV && $ARGV[0] eq '--overhead' && shift;
($overhead ? @ARGV == 3 : @ARGV == 1 || @ARGV == 4)
	or die "usage: report.pl RESULTS [FACTS DOCUMENT PLOT]\n" .
		"       report.pl --overhead RESULTS FACTS DOCUMENT\n";
my ($results, $facts, $document, $plot) = @ARGV;

my @monitors = qw(host vmm vmm-nopoll qemu-iothread qemu-iothread-nopoll qemu-main qemu-q35
	qemu-microvm);
my %monitor_name = (
	'host' => 'host',
	'vmm' => 'vmm',
	'vmm-nopoll' => 'vmm, no polling',
	'qemu-iothread' => 'QEMU iothread',
	'qemu-iothread-nopoll' => 'QEMU iothread, no polling',
	'qemu-main' => 'QEMU main loop',
	'qemu-q35' => 'QEMU q35',
	'qemu-microvm' => 'QEMU microvm',
);

# What the targets compare: a monitor's metric in a case, with the best of some
# others (to), or with nothing. The limit is the least, the most, or what it must be
# below. The note says why one is missed, as far as that is known.
my @qemus = qw(qemu-iothread qemu-iothread-nopoll qemu-main);
my @stock_qemus = qw(qemu-iothread qemu-main);
my @targets = (
	{ text => '4 KiB random read, depth 32: requests a second, of host fio',
	  case => 'cached/randread/4k/32', metric => 'iops', to => ['host'], least => 0.7 },
	{ text => 'the same, of QEMU iothread',
	  case => 'cached/randread/4k/32', metric => 'iops', to => ['qemu-iothread'], least => 2 },
	{ text => 'depth 1: median latency, of QEMU iothread',
	  case => 'cached/randread/4k/1', metric => 'p50_ns', to => ['qemu-iothread'], most => 0.6 },
	{ text => 'the same, neither polling',
	  case => 'cached/randread/4k/1', metric => 'p50_ns', monitor => 'vmm-nopoll',
	  to => ['qemu-iothread-nopoll'], most => 0.9 },
	{ text => 'O_DIRECT, depth 32: requests a second, of host fio',
	  case => 'disk/randread/4k/32', metric => 'iops', to => ['host'], least => 0.95 },
	{ text => '1 MiB sequential read: requests a second, of host fio',
	  case => 'cached/read/1m/4', metric => 'iops', to => ['host'], least => 0.9 },
	(map { (
		{ text => "depth $_: CPU time a request, no polling, of the least of QEMU",
		  case => "cached/randread/4k/$_", metric => 'cpu_us_per_request',
		  monitor => 'vmm-nopoll', to => \@qemus, most => 1 },
		{ text => 'the same, polling, of QEMU iothread',
		  case => "cached/randread/4k/$_", metric => 'cpu_us_per_request',
		  to => ['qemu-iothread'], most => 1 },
	) } 1, 32, 128),
	{ text => 'depth 32: syscalls a request',
	  case => 'cached/randread/4k/32', metric => 'syscalls_per_request', most => 0.1 },
	{ text => 'depth 32, guest waits for interrupts: syscalls a request',
	  case => 'cached/randread/4k/32/interrupt', metric => 'syscalls_per_request', most => 0.2 },
	{ text => 'the same: interrupts a request',
	  case => 'cached/randread/4k/32/interrupt', metric => 'interrupts_per_request', most => 0.2 },
	(map { (
		{ text => "stock guest, depth $_: requests a second, of the best of QEMU",
		  case => "stock/fio-randread-4k-d$_", metric => 'iops', to => \@stock_qemus, least => 1 },
		{ text => 'the same: exits a request, of the fewest of QEMU',
		  case => "stock/fio-randread-4k-d$_", metric => 'exits_per_request', to => \@stock_qemus,
		  below => 1 },
		{ text => 'the same: interrupts a request, of the fewest of QEMU',
		  case => "stock/fio-randread-4k-d$_", metric => 'interrupts_per_request',
		  to => \@stock_qemus, below => 1 },
	) } 1, 32),
	{ text => 'stock kernel, exec to init, of QEMU q35',
	  case => 'boot/init', metric => 'ms', to => ['qemu-q35'], most => 0.7 },
	{ text => 'the same, of QEMU microvm',
	  case => 'boot/init', metric => 'ms', to => ['qemu-microvm'], most => 0.95 },
	{ text => "exec to a guest's first instruction, of QEMU microvm",
	  case => 'first-output', metric => 'ms', to => ['qemu-microvm'], most => 0.25 },
	{ text => 'exec to the first KVM_RUN with a stock kernel, of a bare program',
	  case => 'first-run', metric => 'ms', to => ['host'], most => 1.5 },
	{ text => "private memory beyond the guest's, KiB",
	  case => 'memory', metric => 'kib', below => 2048 },
	{ text => 'stripped program, KiB',
	  case => 'binary', metric => 'kib', below => 300 },
);

# --- Numbers.

my %value; # case => monitor => metric => round => value

sub read_results {
	open(my $file, '<', $results) or die "report.pl: $results: $!\n";
	while (<$file>) {
		chomp;
		my ($case, $monitor, $metric, $round, $number) = split /\t/, $_, -1;
		defined $number && $round =~ /^\d+$/ && $number =~ /^-?[\d.]+(e[-+]?\d+)?$/i
			or die "report.pl: $results:$.: not a result\n";
		$value{$case}{$monitor}{$metric}{$round} = $number;
	}
}

sub median {
	my @sorted = sort { $a <=> $b } @_;
	return ($sorted[$#sorted / 2] + $sorted[@sorted / 2]) / 2;
}

sub rounds_of {
	my ($case, $monitor, $metric) = @_;
	my $monitors = $value{$case} or return {};
	return $monitors->{$monitor} && $monitors->{$monitor}{$metric} || {};
}

# The ratios of a monitor's values to the best of others, of all rounds that have both.
sub ratios {
	my ($case, $metric, $monitor, @to) = @_;
	my $ours = rounds_of($case, $monitor, $metric);
	my @ratios;
	for my $round (sort keys %$ours) {
		my @theirs = map { rounds_of($case, $_, $metric)->{$round} // () } @to;
		next if @theirs < @to;
		my $best = $metric eq 'iops' ? max(@theirs) : min(@theirs);
		push @ratios, $best ? $ours->{$round} / $best : $ours->{$round} ? 'inf' : 1;
	}
	return @ratios;
}

# Three digits that count, more where they are before the point.
sub digits {
	my ($number) = @_;
	return $number >= 100 ? sprintf('%.0f', $number) : sprintf('%.3g', $number);
}

# --- The targets.

# Adds a figure and a verdict to each target.
sub judge {
	for my $target (@targets) {
		my ($case, $metric, $monitor) = @$target{qw(case metric monitor)};
		$monitor //= 'vmm';
		my @figures = $target->{to} ? ratios($case, $metric, $monitor, @{$target->{to}})
			: values %{rounds_of($case, $monitor, $metric)};
		my ($sign, $limit) = $target->{least} ? ('>=', $target->{least})
			: $target->{most} ? ('<=', $target->{most}) : ('<', $target->{below});
		$target->{limit} = "$sign $limit";
		$target->{figure} = '';
		$target->{verdict} = 'not run';
		next unless @figures;
		my $median = median(@figures);
		my $met = $target->{least} ? $median >= $limit
			: $target->{most} ? $median <= $limit : $median < $limit;
		$target->{verdict} = $met ? 'met' : 'missed';
		$target->{figure} = digits($median) . spread(@figures);
	}
}

sub spread {
	return '' if @_ < 2;
	return ' (' . digits(min(@_)) . '..' . digits(max(@_)) . ')';
}

sub summary {
	my %count = (met => 0, missed => 0, 'not run' => 0);
	$count{$_->{verdict}}++ for @targets;
	return "$count{met} targets met, $count{missed} missed, $count{'not run'} not run";
}

sub print_targets {
	printf "%-71s %-8s %-24s %s\n", 'case', 'target', 'median (least..most)', 'result';
	printf "%-71s %-8s %-24s %s\n", @$_{qw(text limit figure verdict)} for @targets;
	print summary(), "\n";
}

# --- What it costs to look on.

my $overhead_title = '## What it costs to look on';

# The median, and between which values that of all there could be lies with 95 % or more:
# as many are below it as heads in throws of a coin.
sub confidence {
	my @sorted = sort { $a <=> $b } @_;
	my ($rank, $below, $chance) = (0, 0, 0.5 ** @sorted);
	for my $heads (0 .. @sorted / 2) {
		$below += $chance;
		last if $below > 0.025;
		$rank = $heads + 1;
		$chance *= (@sorted - $heads) / ($heads + 1);
	}
	return (median(@sorted), $rank ? @sorted[$rank - 1, -$rank] : ());
}

# How much more, of a hundred.
sub percent {
	return sprintf('%+.1f', ($_[0] - 1) * 100) =~ s/^-0\.0$/+0.0/r =~ s/^-/−/r;
}

sub more {
	my ($case, $metric, $monitor, $to) = @_;
	my @ratios = ratios($case, $metric, $monitor, $to) or return '';
	my ($median, @interval) = confidence(@ratios);
	return percent($median) . ' %' .
		(@interval ? ' (' . join(' to ', map { percent($_) } @interval) . ')' : '');
}

sub overhead_row {
	my ($name, $case, $metric, $base, @others) = @_;
	return () unless $value{$case} && %{rounds_of($case, $base, $metric)};
	return [$name, digits(median(values %{rounds_of($case, $base, $metric)})),
		map { more($case, $metric, $_, $base) } @others];
}

sub overhead_text {
	my ($facts) = @_;
	my (@instructions, @times, @traced);
	for my $case (sort grep { m{^overhead/instructions/} } keys %value) {
		my ($ring, $batch) = $case =~ m{([^/]+)/(\d+)$};
		push @instructions, overhead_row("$ring, " . ($batch == 1 ? 'one by one' : "$batch at once"),
			$case, 'instructions_per_request', qw(off accounting default));
	}
	for my $wait (qw(poll interrupt)) {
		for my $depth (1, 32) {
			my $name = "depth $depth, " . ($wait eq 'poll' ? 'the guest polls' : 'interrupts');
			push @times, overhead_row($name, "overhead/$wait/$depth", 'us_per_request',
				qw(off accounting default));
			push @traced, overhead_row($name, "overhead/$wait/$depth/trace", 'us_per_request',
				qw(default tracing));
		}
	}
	return "\n$overhead_title\n\n" . <<~END . table(['', 'Without', '+ accounting', '+ probes'],
		Made by `make bench-overhead`; not to be edited.

		Instructions of the I/O thread in user space for a read, by ring and layout, as
		callgrind counts them over the mock driver, without any probes and accounting; then
		with accounting, which times one request in 128; then with the probes besides, off,
		which is how vmm is built.

		END
		@instructions) . <<~END . table(['', 'Without, µs', '+ accounting', '+ probes'], @times) .

		Time a request of 4 KiB random reads by the bench guest, image in the page cache, on
		this machine's KVM: the median over the rounds, then that of the ratios to it within
		a round, and in brackets where it lies with a probability of 95 % (binomial, of order
		statistics). What has 0 in there is not told from nothing by these rounds.

		END
		<<~END . table(['', 'Not recorded, µs', 'Recorded'], @traced) . "\n" . table(['', ''], @$facts);

		The same while `vmm trace record` records all that it can, to what the same VM did
		just before.

		END
}

# The section of a document as it is, if it has one: up to the next.
sub overhead_section {
	my ($text) = @_;
	return $text =~ /(\n\Q$overhead_title\E\n.*?)(?=\n## )/s ? $1 : '';
}

sub replace_overhead {
	my $text = read_text($document);
	my $new = overhead_text([map { [split /\t/, $_, 2] } split /\n/, read_text($facts)]);
	my $old = overhead_section($text);
	my $at = $old ne '' ? index($text, $old) : index($text, "\n## What this does not show\n");
	$at >= 0 or die "report.pl: $document: no place for the overhead\n";
	substr($text, $at, length $old) = $new;
	write_text($document, $text);
	print $new;
}

# --- The document.

sub read_text {
	my ($path) = @_;
	open(my $file, '<', $path) or die "report.pl: $path: $!\n";
	local $/;
	return <$file> // '';
}

sub write_text {
	my ($path, $text) = @_;
	open(my $file, '>', $path) or die "report.pl: $path: $!\n";
	print $file $text;
	close($file) or die "report.pl: $path: $!\n";
}

sub table {
	my ($head, @rows) = @_;
	return join '', map { '| ' . join(' | ', @$_) . " |\n" } $head, [map { '---' } @$head], @rows;
}

sub targets_text {
	my @notes = map { "- $_->{text}: $_->{note}\n" }
		grep { $_->{verdict} eq 'missed' && $_->{note} } @targets;
	return table(['Case', 'Target', 'Median (least..most)', 'Result'],
		map { [@$_{qw(text limit figure verdict)}] } @targets) . "\n" . summary() . ".\n" .
		(@notes ? "\nWhy those were missed:\n\n" . join('', @notes) : '');
}

my %unit = ( # metric => title, what a value is divided by
	iops => ['Thousand requests a second', 1000],
	p50_ns => ['Latency, median, µs', 1000],
	p90_ns => ['Latency, 90 of 100, µs', 1000],
	p99_ns => ['Latency, 99 of 100, µs', 1000],
	p999_ns => ['Latency, 999 of 1000, µs', 1000],
	cpu_us_per_request => ['CPU time a request without the vCPU, µs', 1],
	total_cpu_us_per_request => ['CPU time a request, all threads, µs', 1],
	ms => ['Time, ms', 1],
	kib => ['Size, KiB', 1],
	count => ['Exits', 1],
	syscalls_per_request => ['Syscalls a thousand requests, all threads', 0.001],
	io_syscalls_per_request => ['Syscalls a thousand requests, I/O thread', 0.001],
	exits_per_request => ['Exits a thousand requests', 0.001],
	doorbells_per_request => ['Doorbells a thousand requests', 0.001],
	interrupts_per_request => ['Interrupts a thousand requests', 0.001],
	disk_interrupts_per_request => ["Interrupts of the disk a thousand requests", 0.001],
);
my @metrics = qw(iops p50_ns p90_ns p99_ns p999_ns cpu_us_per_request total_cpu_us_per_request
	ms kib count syscalls_per_request io_syscalls_per_request exits_per_request
	doorbells_per_request interrupts_per_request disk_interrupts_per_request);

my @groups = (
	['Bench guest, image in the page cache', qr{^cached/}],
	['Bench guest, O_DIRECT on disk', qr{^disk/}],
	['Stock guest with fio, emulated host', qr{^stock/}],
	['Start, memory and size', qr{^(?!cached/|disk/|stock/)}],
);

my %case_name = (
	'boot/init' => 'stock kernel, exec to init',
	'boot/exits' => 'stock kernel, exec to init',
	'memory' => "private memory beyond the guest's, test kit",
	'memory/stock' => "private memory beyond the guest's, stock guest",
	'first-output' => "exec to a guest's first instruction",
	'first-run' => 'exec to the first KVM_RUN with a stock kernel; host: a bare program',
	'first-run-disk' => 'exec to the first KVM_RUN with a stock kernel and a disk',
	'binary' => 'stripped program',
);

sub case_name {
	my ($case) = @_;
	return $case_name{$case} if $case_name{$case};
	return "randread 4k, depth $1" . ($2 ? ", by ${2}s" : '')
		if $case =~ m{^stock/fio-randread-4k-d(\d+)(?:-b(\d+))?$};
	my (undef, $op, $size, $depth, @more) = split m{/}, $case;
	return $case unless defined $depth;
	s/^queues=(.*)/$1 queues/, s/^interrupt$/interrupts/ for @more;
	return join ', ', "$op $size", "depth $depth", @more;
}

# By operation, size and what else, then by depth.
sub by_case {
	my ($case) = @_;
	my ($image, $op, $size, $depth, @more) = split m{/}, $case;
	return $case unless defined $depth;
	return join '/', $image, @more ? 1 : 0, $op, $size, @more, sprintf('%04d', $depth);
}

# A value, and its ratio to the first monitor of the row.
sub cell {
	my ($case, $metric, $monitor, $first) = @_;
	my $rounds = rounds_of($case, $monitor, $metric);
	return '' unless %$rounds;
	my $text = digits(median(values %$rounds) / $unit{$metric}[1]);
	return $text if $unit{$metric}[1] < 1;
	return "$text ×1" if $monitor eq $first;
	my @ratios = ratios($case, $metric, $monitor, $first);
	return $text unless @ratios;
	return "$text ×" . digits(median(@ratios)) . spread(@ratios);
}

sub metric_text {
	my ($metric, @cases) = @_;
	@cases = grep { my $case = $_; grep { %{rounds_of($case, $_, $metric)} } @monitors } @cases;
	my @columns = grep { my $monitor = $_;
		grep { %{rounds_of($_, $monitor, $metric)} } @cases } @monitors;
	return '' unless @columns;
	my @rows;
	for my $case (@cases) {
		my @have = grep { %{rounds_of($case, $_, $metric)} } @columns;
		my ($first) = grep { !/^vmm/ } @have;
		push @rows, [case_name($case), map { cell($case, $metric, $_, $first // 'vmm') } @columns];
	}
	return "\n### $unit{$metric}[0]\n\n" . table(['', map { $monitor_name{$_} } @columns], @rows);
}

# What is known by no title has its own name.
sub all_metrics {
	my %seen = map { map { map { $_ => 1 } keys %$_ } values %$_ } values %value;
	my @others = sort grep { !$unit{$_} } keys %seen;
	$unit{$_} = [$_, 1] for @others;
	return (@metrics, @others);
}

sub details_text {
	my $text = '';
	my @metrics = all_metrics();
	for my $group (@groups) {
		my @cases = sort { by_case($a) cmp by_case($b) } grep { $_ =~ $group->[1] } keys %value;
		next unless @cases;
		$text .= "\n## $group->[0]\n" . join('', map { metric_text($_, @cases) } @metrics);
	}
	return $text;
}

sub facts_text {
	my (@facts, @lines);
	open(my $file, '<', $facts) or die "report.pl: $facts: $!\n";
	while (<$file>) {
		chomp;
		my ($key, $text) = split /\t/, $_, 2;
		if ($key =~ s/^line: //) {
			push @lines, ($monitor_name{$key} // $key) . ":\n\n    $text\n";
		} else {
			push @facts, [$key, $text];
		}
	}
	return table(['', ''], @facts) . "\n## The commands\n\n" .
		"One case of the bench guest; the others differ in operation, size, depth and the like.\n" .
		"Those of the stock guest and of the start are in tests/bench, in stock.pl and\n" .
		"start.sh.\n\n" .
		join("\n", @lines);
}

sub write_document {
	(my $picture = $plot) =~ s{.*/}{};
	my $kept = -e $document ? overhead_section(read_text($document)) : '';
	my $text = <<~END . targets_text() . <<~END . details_text() . $kept . <<~END . facts_text();
		# Benchmarks

		Made by `make bench`; not to be edited.

		What a request costs in `vmm`, in QEMU, and on the host without any virtual machine.
		All monitors run the same guest on the same image in the same hour, each case under
		one after the other, in rounds whose order rotates. Ratios are taken within a round,
		and medians of them are given with the least and the most of all rounds: the machine
		is shared, and times of different hours do not compare. The vCPU has a CPU of its own;
		all else of a monitor has another, which is also fio's. Polling is what each monitor
		does by default.

		The *bench guest* is the test kit's own driver, which keeps a fixed number of
		requests under way and polls the used ring, or waits for interrupts. It runs on this
		machine's KVM, on an image of which every page is in the host's page cache, so that
		the device model is what is measured and not a disk; and on a disk with O_DIRECT.
		*Host* is fio doing the same to the same file, on the CPU that otherwise serves the
		guest: what a program gets without any virtual machine. The *stock guest* is a Debian
		kernel with fio, with KVM inside an emulated host: there, counts are worth more than
		times.

		## Targets

		END

		## Over depth

		4 KiB random reads by the polling bench guest, image in the page cache; bars reach
		from the least to the most of all rounds.

		![Requests a second and median latency over depth]($picture)

		In the tables below, a figure is a median over the rounds, followed by the median of
		its ratios (×) to the first column that is not vmm's, with the least and the most.
		CPU time without the vCPU is what the monitor's other threads use; the vCPU of a
		guest that polls is always busy. System calls and exits are counted in runs of their
		own, and some 250 of each are the guest's writing of its results.
		END

		## What this does not show

		- A guest that does anything else. The bench guest looks at no data, so caches stay
		  warm.
		- More than one vCPU, or more disks than one.
		- A busy host: vCPU and I/O thread have a CPU each. What polling costs others is to
		  be seen in CPU time.
		- Exits of the bench guest, where the KVM module has no tracepoint for them, as PVM.
		  Each doorbell is one, which the kernel handles.
		- Absolute speed of a stock guest: in an emulated host, all code is slow.

		## The machine

		END
	write_text($document, $text);
}

# --- The plot.

# gnuplot's data block of a monitor: depth, median, least, most.
sub curve {
	my ($monitor, $metric, $divisor) = @_;
	my $rows = '';
	for my $depth (1, 2, 4, 8, 16, 32, 64, 128) {
		my @values = map { $_ / $divisor }
			values %{rounds_of("cached/randread/4k/$depth", $monitor, $metric)};
		$rows .= join(' ', $depth, median(@values), min(@values), max(@values)) . "\n" if @values;
	}
	return $rows;
}

sub draw {
	my %colour = ('host' => '#777777', 'vmm' => '#0072b2', 'vmm-nopoll' => '#56b4e9',
		'qemu-iothread' => '#d55e00', 'qemu-main' => '#e69f00');
	my @panels = (['iops', 1000, 'thousand requests a second', "unset key\nset yrange [0:*]"],
		['p50_ns', 1000, 'median latency, µs', "set key\nunset yrange\nset logscale y"]);
	my ($data, $commands) = ('', '');
	for my $panel (@panels) {
		my ($metric, $divisor, $label, $scale) = @$panel;
		my @curves;
		for my $monitor (grep { $colour{$_} } @monitors) {
			my $rows = curve($monitor, $metric, $divisor) or next;
			(my $name = "\$${metric}_$monitor") =~ tr/-/_/;
			$data .= "$name << end\n${rows}end\n";
			push @curves, "$name using 1:2:3:4 with yerrorlines linewidth 2 pointtype 7 " .
				"pointsize 0.4 linecolor rgb '$colour{$monitor}' title '$monitor_name{$monitor}'";
		}
		$commands .= "$scale\nset ylabel '$label'\nplot " . join(', ', @curves) . "\n" if @curves;
	}
	open(my $gnuplot, '|-', 'gnuplot') or die "report.pl: gnuplot: $!\n";
	print $gnuplot <<~END, $data, $commands;
		set terminal svg size 960,400 font 'sans-serif,12' background rgb 'white'
		set output '$plot'
		set encoding utf8
		set multiplot layout 1,2
		set logscale x 2
		set xrange [0.8:160]
		set xtics (1, 2, 4, 8, 16, 32, 64, 128)
		set xlabel 'requests under way'
		set grid ytics linecolor rgb '#dddddd'
		set key top left reverse Left samplen 2
		END
	close($gnuplot) or die "report.pl: gnuplot failed\n";
}

read_results();
if ($overhead) {
	replace_overhead();
	exit;
}
judge();
print_targets();
if ($document) {
	write_document();
	draw();
}
exit((grep { $_->{verdict} eq 'not run' } @targets) ? 1 : 0);
