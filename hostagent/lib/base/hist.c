#include "base/hist.h"

#include <stddef.h>
#include <string.h>

static size_t bucket_of(uint64_t value)
{
	unsigned int shift;

	if (value < 2 * HIST_SUB)
		return (size_t)value;
	/* The bucket follows from the position of the value's highest set bit and from the
	 * HIST_SUB_BITS bits below it. */
	shift = 63u - (unsigned int)__builtin_clzll(value) - HIST_SUB_BITS;
	return (size_t)shift * HIST_SUB + (size_t)(value >> shift);
}

/* Returns the middle value of a bucket. */
static uint64_t value_of(size_t bucket)
{
	unsigned int shift;

	if (bucket < 2 * HIST_SUB)
		return bucket;
	shift = (unsigned int)(bucket / HIST_SUB) - 1;
	return ((HIST_SUB + bucket % HIST_SUB) << shift) + ((UINT64_C(1) << shift) >> 1);
}

void hist_record(struct hist *hist, uint64_t value)
{
	hist->buckets[bucket_of(value)]++;
	if (hist->count == 0 || value < hist->min)
		hist->min = value;
	if (hist->count == 0 || value > hist->max)
		hist->max = value;
	hist->count++;
	hist->sum += value;
}

uint64_t hist_quantile(const struct hist *hist, double q)
{
	uint64_t rank, seen = 0, value;

	if (hist->count == 0)
		return 0;
	if (!(q > 0))
		return hist->min;
	if (q >= 1)
		return hist->max;
	rank = (uint64_t)(q * (double)hist->count);
	if ((double)rank < q * (double)hist->count)
		rank++; /* round up: look for the rank-th smallest value, counted from 1 */
	for (size_t i = 0; i < HIST_N_BUCKETS; i++) {
		seen += hist->buckets[i];
		if (seen < rank)
			continue;
		value = value_of(i);
		if (value < hist->min)
			return hist->min;
		return value > hist->max ? hist->max : value;
	}
	return hist->max;
}

uint64_t hist_max(const struct hist *hist)
{
	return hist->count ? hist->max : 0;
}

uint64_t hist_min(const struct hist *hist)
{
	return hist->count ? hist->min : 0;
}

uint64_t hist_count(const struct hist *hist)
{
	return hist->count;
}

uint64_t hist_mean(const struct hist *hist)
{
	return hist->count ? hist->sum / hist->count : 0;
}

void hist_merge(struct hist *into, const struct hist *from)
{
	if (from->count == 0)
		return;
	for (size_t i = 0; i < HIST_N_BUCKETS; i++)
		into->buckets[i] += from->buckets[i];
	if (into->count == 0 || from->min < into->min)
		into->min = from->min;
	if (into->count == 0 || from->max > into->max)
		into->max = from->max;
	into->count += from->count;
	into->sum += from->sum;
}

void hist_reset(struct hist *hist)
{
	memset(hist, 0, sizeof(*hist));
}
