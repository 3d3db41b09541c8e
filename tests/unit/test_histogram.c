// SPDX-License-Identifier: BSD-2-Clause
#include "hw/base/histogram.h"

#include "tests/unit/unit.h"

static struct histogram histogram;

START_TEST(buckets_follow_each_other)
{
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS - 1; i++) {
		uint64_t start = histogram_bucket_start(i), end = histogram_bucket_start(i + 1);

		ck_assert_uint_lt(start, end);
		/* An eighth of what is in it. */
		ck_assert_uint_le(end - start, start < 8 ? 1 : start / 8);
		histogram = (struct histogram){ 0 };
		histogram_add(&histogram, start);
		histogram_add(&histogram, end - 1);
		ck_assert_uint_eq(histogram.bucket[i], 2);
		histogram_add(&histogram, end);
		ck_assert_uint_eq(histogram.bucket[i + 1], 1);
	}
	ck_assert_uint_eq(histogram_bucket_start(HISTOGRAM_BUCKETS), 1ULL << HISTOGRAM_VALUE_BITS);
}
END_TEST

START_TEST(the_last_bucket_takes_all)
{
	histogram = (struct histogram){ 0 };
	histogram_add(&histogram, 1ULL << HISTOGRAM_VALUE_BITS);
	histogram_add(&histogram, UINT64_MAX - (1ULL << HISTOGRAM_VALUE_BITS));
	ck_assert_uint_eq(histogram.bucket[HISTOGRAM_BUCKETS - 1], 2);
	ck_assert_uint_eq(histogram.sum, UINT64_MAX);
	ck_assert_uint_eq(histogram_percentile(&histogram, 50),
			  UINT64_MAX - (1ULL << HISTOGRAM_VALUE_BITS));
}
END_TEST

START_TEST(nothing)
{
	histogram = (struct histogram){ 0 };
	ck_assert_uint_eq(histogram_count(&histogram), 0);
	ck_assert_uint_eq(histogram_percentile(&histogram, 50), 0);
	ck_assert_uint_eq(histogram_percentile(&histogram, 100), 0);
}
END_TEST

START_TEST(one_value)
{
	histogram = (struct histogram){ 0 };
	histogram_add(&histogram, 1000);
	for (unsigned percent = 0; percent <= 100; percent++) {
		/* Between the bucket's start and the value itself, which is the largest. */
		ck_assert_uint_le(histogram_percentile(&histogram, percent), 1000);
		ck_assert_uint_ge(histogram_percentile(&histogram, percent), 960);
	}
	ck_assert_uint_eq(histogram.sum, 1000);
	ck_assert_uint_eq(histogram.max, 1000);
}
END_TEST

/* 1 to 100,000: the percentiles are known. */
START_TEST(percentiles_err_by_a_sixteenth)
{
	static const double percents[] = { 0.1, 1, 10, 50, 90, 99, 99.9, 99.99, 100 };

	histogram = (struct histogram){ 0 };
	for (uint64_t value = 1; value <= 100000; value++)
		histogram_add(&histogram, value);
	ck_assert_uint_eq(histogram_count(&histogram), 100000);
	for (unsigned i = 0; i < sizeof(percents) / sizeof(*percents); i++) {
		double right = percents[i] * 1000;
		double told = (double)histogram_percentile(&histogram, percents[i]);

		ck_assert(told >= right * 15 / 16 - 1 && told <= right * 17 / 16 + 1);
	}
}
END_TEST

START_TEST(merged)
{
	static struct histogram other, sum;

	histogram = other = sum = (struct histogram){ 0 };
	histogram_add(&histogram, 5);
	histogram_add(&histogram, 500);
	histogram_add(&other, 5);
	histogram_add(&other, 50);
	histogram_merge(&sum, &histogram);
	histogram_merge(&sum, &other);
	ck_assert_uint_eq(histogram_count(&sum), 4);
	ck_assert_uint_eq(sum.bucket[5], 2);
	ck_assert_uint_eq(sum.sum, 560);
	ck_assert_uint_eq(sum.max, 500);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("histogram");

	unit_tcase(suite, "buckets", buckets_follow_each_other, the_last_bucket_takes_all);
	unit_tcase(suite, "figures", nothing, one_value, percentiles_err_by_a_sixteenth, merged);
	return unit_run(suite);
}
