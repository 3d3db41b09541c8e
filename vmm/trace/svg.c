// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/trace/svg.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>

#include "hw/base/util.h"
#include "vmm/trace/bins.h"
#include "vmm/trace/report_print.h"
#include "vmm/utf8.h"

/* In pixels; y goes down. */
enum {
	WIDTH = 960,
	HEIGHT = 800,
	LEFT = 72,
	PLOT = 4 * TRACE_BINS_MAX,
	RIGHT = LEFT + PLOT,
	TALL = 260,
	STACK_BOTTOM = 128 + TALL,
	HEAT_BOTTOM = 484 + TALL,
	LEGEND = RIGHT + 24,
	LEGEND_TIME = LEGEND + 124,
	LEGEND_END = WIDTH - 12,
	LINE = 18,
};

#define LEVELS 8 /* colours of the heat map */

#define NAMES_MAX 90 /* bytes of disks' names, with what lies between them */

struct picture {
	FILE *file;
	const struct trace *trace;
	const struct trace_bins *bins;
	uint64_t total_ns; /* of the x axis */
	uint64_t layer[TRACE_LAYERS], whole; /* sums over all requests */
};

/*
 * Neighbouring layers differ also for those who do not see all colours; the heat
 * map's colours differ in lightness.
 */
static const char style[] =
	"<style>\n"
	"text{font-family:system-ui,sans-serif;font-size:12px;fill:#1f2328}\n"
	".title{font-size:20px;font-weight:600}\n"
	".head{font-size:14px;font-weight:600}\n"
	".note{fill:#59636e}\n"
	".end{text-anchor:end}\n"
	".mid{text-anchor:middle}\n"
	".page{fill:#fff}\n"
	".plot{fill:#f6f8fa}\n"
	".grid{stroke:#d1d9e0}\n"
	".cut{fill:#cf222e}\n"
	".l0{fill:#999}.l1{fill:#825}.l2{fill:#c67}.l3{fill:#dc7}.l4{fill:#993}.l5{fill:#173}\n"
	".l6{fill:#8ce}.l7{fill:#328}.l8{fill:#a49}.l9{fill:#e86}.l10{fill:#4a9}.l11{fill:#666}\n"
	".h0{fill:#c7e9b4}.h1{fill:#a3dbb7}.h2{fill:#7fcdbb}.h3{fill:#41b6c4}\n"
	".h4{fill:#1d91c0}.h5{fill:#225ea8}.h6{fill:#253494}.h7{fill:#081d58}\n"
	"@media(prefers-color-scheme:dark){\n"
	"text{fill:#f0f6fc}\n"
	".note{fill:#9198a1}\n"
	".page{fill:#0d1117}\n"
	".plot{fill:#151b23}\n"
	".grid{stroke:#3d444d}\n"
	".cut{fill:#f85149}\n"
	".l7{fill:#76d}\n"
	".h0{fill:#253494}.h1{fill:#225ea8}.h2{fill:#1d91c0}.h3{fill:#41b6c4}\n"
	".h4{fill:#7fcdbb}.h5{fill:#c7e9b4}.h6{fill:#edf8b1}.h7{fill:#ffffd9}\n"
	"}\n"
	"</style>\n";

__attribute__((format(printf, 5, 6)))
static void write_text(FILE *file, const char *class, double x, double y, const char *fmt, ...)
{
	va_list args;

	fprintf(file, "<text class=\"%s\" x=\"%g\" y=\"%g\">", class, x, y);
	va_start(args, fmt);
	vfprintf(file, fmt, args);
	va_end(args);
	fputs("</text>\n", file);
}

/* Any bytes: what XML cannot hold becomes U+FFFD. */
static void write_name(FILE *file, const char *name)
{
	for (unsigned len; *name; name += len) {
		len = utf8_len(name);
		if (*name == '&' || *name == '<')
			fprintf(file, "&#%d;", *name);
		else if (!len || (*name > 0 && *name < ' ') || !strncmp(name, "\xef\xbf\xbe", 3) ||
			 !strncmp(name, "\xef\xbf\xbf", 3))
			fputs("\xef\xbf\xbd", file);
		else
			fwrite(name, 1, len, file);
		len += !len;
	}
}

/* Where slice @bin begins; whole, so that neighbours touch. */
static unsigned bin_x(const struct picture *picture, unsigned bin)
{
	return LEFT + bin * PLOT / picture->bins->count;
}

static void write_frame(const struct picture *picture, unsigned bottom)
{
	fprintf(picture->file,
		"<rect class=\"plot\" x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/>\n", LEFT,
		bottom - TALL, PLOT, TALL);
}

static void write_grid(const struct picture *picture, double y, uint64_t ns)
{
	fprintf(picture->file, "<path class=\"grid\" d=\"M%d %.1fH%d\"/>\n", LEFT, y, RIGHT);
	write_text(picture->file, "end", LEFT - 8, y + 4, "%s", ns ? trace_time(ns).text : "0");
}

static void write_time_axis(const struct picture *picture, unsigned bottom)
{
	uint64_t step = trace_bins_step(picture->total_ns, 7);

	for (uint64_t ns = 0; ns <= picture->total_ns; ns += step) {
		double x = LEFT + PLOT * (double)ns / (double)picture->total_ns;

		fprintf(picture->file, "<path class=\"grid\" d=\"M%.1f %dv6\"/>\n", x, bottom);
		write_text(picture->file, "mid", x, bottom + LINE, "%s",
			   ns ? trace_time(ns).text : "0");
	}
	write_text(picture->file, "mid note", LEFT + PLOT / 2, bottom + 2 * LINE,
		   "time at which a request began, from the first one on");
}

static int compare(const void *a, const void *b)
{
	return compare_numbers(*(const uint64_t *)a, *(const uint64_t *)b);
}

static uint64_t bin_sum(const struct trace_bin *bin, unsigned layers)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < layers; i++)
		sum += bin->layer[i];
	return bin->requests ? sum / bin->requests : 0;
}

/*
 * How high the picture has to be.  A few slices that tower above all others would
 * make those flat: they are cut, and the picture says so.
 */
static uint64_t stack_height(const struct picture *picture, uint64_t *highest)
{
	uint64_t sum[TRACE_BINS_MAX], usual;
	unsigned count = 0;

	for (unsigned i = 0; i < picture->bins->count; i++)
		if (picture->bins->bin[i].requests)
			sum[count++] = bin_sum(&picture->bins->bin[i], TRACE_LAYERS);
	qsort(sum, count, sizeof(*sum), compare);
	*highest = sum[count - 1];
	usual = sum[count - 1 - count / 20];
	return max(*highest / 3 > usual ? usual + usual / 2 : *highest, 1UL);
}

/* All layers up to this one, as one area: the next one is drawn over it. */
static void write_area(const struct picture *picture, unsigned layer, uint64_t height)
{
	double y = STACK_BOTTOM, before;

	fprintf(picture->file, "<path class=\"l%u\" d=\"M%d %d", layer, LEFT, STACK_BOTTOM);
	for (unsigned i = 0; i < picture->bins->count; i++) {
		uint64_t sum = bin_sum(&picture->bins->bin[i], layer + 1);

		before = y;
		y = STACK_BOTTOM - TALL * (double)min(sum, height) / (double)height;
		if (y < before || y > before)
			fprintf(picture->file, "H%uV%.1f", bin_x(picture, i), y);
	}
	fprintf(picture->file, "H%dV%dz\"><title>%s: %s</title></path>\n", RIGHT, STACK_BOTTOM,
		trace_layer_words[layer].name, trace_layer_words[layer].help);
}

static void write_cuts(const struct picture *picture, uint64_t height, uint64_t highest)
{
	unsigned cuts = 0;

	for (unsigned i = 0; i < picture->bins->count; i++) {
		if (bin_sum(&picture->bins->bin[i], TRACE_LAYERS) <= height)
			continue;
		fprintf(picture->file, "<path class=\"cut\" d=\"M%u %dh8l-4-6z\"/>\n",
			(bin_x(picture, i) + bin_x(picture, i + 1)) / 2 - 4,
			STACK_BOTTOM - TALL - 1);
		cuts++;
	}
	if (cuts)
		write_text(picture->file, "end note", RIGHT, STACK_BOTTOM - TALL - 12,
			   "cut off: %u, of %s at most", cuts, trace_time(highest).text);
}

static void write_legend_line(const struct picture *picture, unsigned y, const char *name,
			      uint64_t sum)
{
	uint64_t requests = picture->trace->request_count;

	write_text(picture->file, "name", LEGEND + LINE, y, "%s", name);
	write_text(picture->file, "end", LEGEND_TIME, y, "%s", trace_time(sum / requests).text);
	write_text(picture->file, "end", LEGEND_END, y, "%.*f %%", sum < picture->whole,
		   picture->whole ? 100 * (double)sum / (double)picture->whole : 100);
}

static void write_swatch(const struct picture *picture, const char *class, unsigned number,
			 unsigned y)
{
	fprintf(picture->file,
		"<rect class=\"%s%u\" x=\"%d\" y=\"%u\" width=\"12\" height=\"12\"/>\n", class,
		number, LEGEND, y - 10);
}

/*
 * In the order in which the layers lie on each other.  Their means are of all requests,
 * also of those that do not have the layer: so they add up to the whole's.
 */
static void write_layers_legend(const struct picture *picture)
{
	unsigned y = STACK_BOTTOM - TALL + 10;

	write_text(picture->file, "note", LEGEND, y, "all requests");
	write_text(picture->file, "end note", LEGEND_TIME, y, "mean");
	write_text(picture->file, "end note", LEGEND_END, y, "share");
	for (unsigned i = TRACE_LAYERS; i--;) {
		if (!picture->layer[i])
			continue;
		y += LINE;
		write_swatch(picture, "l", i, y);
		write_legend_line(picture, y, trace_layer_words[i].name, picture->layer[i]);
	}
	write_legend_line(picture, y + LINE, "whole", picture->whole);
}

static void write_stack(const struct picture *picture)
{
	uint64_t highest, height = stack_height(picture, &highest);
	uint64_t step = trace_bins_step(height, 8);

	write_text(picture->file, "head", LEFT, STACK_BOTTOM - TALL - 12,
		   "Mean latency by layer, for each %s", trace_time(picture->bins->slice_ns).text);
	write_frame(picture, STACK_BOTTOM);
	for (uint64_t ns = 0; ns <= height; ns += step)
		write_grid(picture, STACK_BOTTOM - TALL * (double)ns / (double)height, ns);
	fputs("<g shape-rendering=\"crispEdges\">\n", picture->file);
	for (unsigned i = TRACE_LAYERS; i--;)
		if (picture->layer[i])
			write_area(picture, i, height);
	fputs("</g>\n", picture->file);
	write_cuts(picture, height, highest);
	write_time_axis(picture, STACK_BOTTOM);
	write_layers_legend(picture);
}

/* Colours stand for counts of so many bits; the deepest is always one of them. */
struct levels {
	unsigned bits, count;
	uint64_t most;
};

static struct levels heat_levels(const struct trace_bins *bins)
{
	struct levels levels = { 0 };

	for (unsigned i = 0; i < bins->count; i++)
		for (unsigned row = 0; row <= bins->row_last - bins->row_first; row++)
			levels.most = max(levels.most, bins->bin[i].row[row]);
	levels.bits = log2_floor(levels.most) / LEVELS + 1;
	levels.count = log2_floor(levels.most) / levels.bits + 1;
	return levels;
}

static unsigned level_colour(const struct levels *levels, unsigned level)
{
	return (level + 1) * LEVELS / levels->count - 1;
}

/* The rows that the heat map shows: some more than it needs, or a few would be huge. */
struct rows {
	unsigned first, end;
};

static struct rows heat_rows(const struct trace_bins *bins)
{
	unsigned octave = bins->rows_per_octave;
	unsigned used = bins->row_last + 1 - bins->row_first;
	unsigned around = used < 4 * octave ? (4 * octave - used) / 2 : octave / 2;
	struct rows rows = { .first = bins->row_first - min(bins->row_first, around) };

	rows.end = bins->row_last + 1 + around;
	return rows;
}

static double row_y(const struct rows *rows, double position)
{
	return HEAT_BOTTOM - TALL * (position - rows->first) / (rows->end - rows->first);
}

static void write_heat_axis(const struct picture *picture, const struct rows *rows)
{
	static const unsigned nice[] = { 1, 2, 5 };
	bool wide = rows->end - rows->first > 16 * picture->bins->rows_per_octave;

	for (uint64_t ten = 1; ten <= UINT64_MAX / 100; ten *= 10)
		for (unsigned i = 0; i < (wide ? 1 : array_size(nice)); i++) {
			double at = trace_bins_position(picture->bins, nice[i] * ten);

			if (at >= rows->first && at <= rows->end)
				write_grid(picture, row_y(rows, at), nice[i] * ten);
		}
}

/* Equal neighbours in a row are one rectangle. */
static void write_heat_level(const struct picture *picture, const struct rows *rows,
			     const struct levels *levels, unsigned level)
{
	const struct trace_bins *bins = picture->bins;

	fprintf(picture->file, "<path class=\"h%u\" d=\"", level_colour(levels, level));
	for (unsigned row = bins->row_first; row <= bins->row_last; row++) {
		int top = row_y(rows, row + 1), bottom = row_y(rows, row);

		for (unsigned i = 0, from = 0; i <= bins->count; i++) {
			uint64_t count = i < bins->count ?
						 bins->bin[i].row[row - bins->row_first] : 0;

			if (count && log2_floor(count) / levels->bits == level)
				continue;
			if (from < i)
				fprintf(picture->file, "M%u %dH%uv%dH%uz", bin_x(picture, from),
					top, bin_x(picture, i), bottom - top,
					bin_x(picture, from));
			from = i + 1;
		}
	}
	fputs("\"/>\n", picture->file);
}

static void write_heat_legend(const struct picture *picture, const struct levels *levels)
{
	unsigned y = HEAT_BOTTOM - TALL + 10;

	write_text(picture->file, "note", LEGEND, y, "requests");
	for (unsigned i = levels->count; i--;) {
		uint64_t from = 1ULL << i * levels->bits;
		uint64_t to = min((from << levels->bits) - 1, levels->most);

		y += LINE;
		write_swatch(picture, "h", level_colour(levels, i), y);
		if (from == to)
			write_text(picture->file, "name", LEGEND + LINE, y, "%" PRIu64, from);
		else
			write_text(picture->file, "name", LEGEND + LINE, y,
				   "%" PRIu64 " to %" PRIu64, from, to);
	}
}

static void write_heat(const struct picture *picture)
{
	struct rows rows = heat_rows(picture->bins);
	struct levels levels = heat_levels(picture->bins);

	write_text(picture->file, "head", LEFT, HEAT_BOTTOM - TALL - 12,
		   "Number of requests by latency, for each %s",
		   trace_time(picture->bins->slice_ns).text);
	write_frame(picture, HEAT_BOTTOM);
	write_heat_axis(picture, &rows);
	fputs("<g shape-rendering=\"crispEdges\">\n", picture->file);
	for (unsigned i = 0; i < levels.count; i++)
		write_heat_level(picture, &rows, &levels, i);
	fputs("</g>\n", picture->file);
	write_time_axis(picture, HEAT_BOTTOM);
	write_heat_legend(picture, &levels);
}

/* Those that have requests, as far as there is room. */
static void write_disks(const struct picture *picture)
{
	const struct trace *trace = picture->trace;
	size_t room = NAMES_MAX;
	const char *before = " of ";

	for (size_t i = 0; i < trace->disk_count; i++) {
		const char *name = trace->disk[i].name;

		if (!picture->bins->disk[i] || !*name)
			continue;
		fputs(before, picture->file);
		if (strlen(name) + 2 > room) {
			fputs("…", picture->file);
			break;
		}
		write_name(picture->file, name);
		room -= strlen(name) + 2;
		before = ", ";
	}
}

static void write_header(const struct picture *picture)
{
	const struct trace_counters *counters = &picture->trace->counters;
	uint64_t partial = counters->begun_before + counters->not_ended + counters->torn;
	size_t count = picture->trace->request_count;

	fprintf(picture->file,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\""
		" viewBox=\"0 0 %d %d\">\n<title>Where disk requests spent their time</title>\n%s"
		"<rect class=\"page\" width=\"%d\" height=\"%d\"/>\n",
		WIDTH, HEIGHT, WIDTH, HEIGHT, style, WIDTH, HEIGHT);
	write_text(picture->file, "title", LEFT, 36, "Where disk requests spent their time");
	fprintf(picture->file, "<text class=\"note\" x=\"%d\" y=\"60\">%zu request%s", LEFT, count,
		count == 1 ? "" : "s");
	write_disks(picture);
	fprintf(picture->file, " in %s</text>\n",
		trace_time(picture->trace->end - picture->trace->begin).text);
	if (partial || counters->lost)
		write_text(picture->file, "note", LEFT, 78,
			   "Not in the pictures: %" PRIu64 " requests of which the recording has"
			   " only a part; %" PRIu64 " events were lost.", partial, counters->lost);
}

static void picture_sum(struct picture *picture)
{
	picture->total_ns = picture->bins->count * picture->bins->slice_ns;
	for (unsigned i = 0; i < picture->bins->count; i++)
		for (unsigned layer = 0; layer < TRACE_LAYERS; layer++)
			picture->layer[layer] += picture->bins->bin[i].layer[layer];
	for (unsigned layer = 0; layer < TRACE_LAYERS; layer++)
		picture->whole += picture->layer[layer];
}

int trace_svg_write(const struct trace *trace, FILE *file)
{
	struct trace_bins *bins = trace_bins_make(trace);
	struct picture picture = { .file = file, .trace = trace, .bins = bins };

	if (!bins)
		return -ENOMEM;
	write_header(&picture);
	if (bins->count) {
		picture_sum(&picture);
		write_stack(&picture);
		write_heat(&picture);
	} else {
		write_text(file, "mid head", WIDTH / 2, HEIGHT / 2,
			   "The recording has no whole request");
	}
	fputs("</svg>\n", file);
	free(bins);
	return fflush(file) ? -errno : ferror(file) ? -EIO : 0;
}
