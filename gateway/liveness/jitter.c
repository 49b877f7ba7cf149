#include "liveness/jitter.h"

#define MEAN_SHIFT	3 /* the gains of mean and deviation are 1/8 and 1/4, as in RFC 6298 */
#define DEVIATION_SHIFT 2
#define PEAK_SHIFT	6
#define DEVIATIONS	4

static uint64_t distance(uint64_t a, uint64_t b)
{
	return a > b ? a - b : b - a;
}

/* Move @old towards @new by 1 / 2^shift of their distance. */
static uint64_t approach(uint64_t old, uint64_t new, unsigned shift)
{
	return new > old ? old + ((new - old) >> shift) : old - ((old - new) >> shift);
}

void jitter_learn(struct jitter *j, uint64_t gap_ns)
{
	if (gap_ns == 0)
		gap_ns = 1;
	if (j->mean_ns == 0) {
		*j = (struct jitter){gap_ns, gap_ns / 2, gap_ns};
		return;
	}
	j->deviation_ns = approach(j->deviation_ns, distance(gap_ns, j->mean_ns), DEVIATION_SHIFT);
	j->mean_ns = approach(j->mean_ns, gap_ns, MEAN_SHIFT);
	j->peak_ns -= j->peak_ns >> PEAK_SHIFT;
	if (gap_ns > j->peak_ns)
		j->peak_ns = gap_ns;
}

uint64_t jitter_limit_ns(const struct jitter *j, uint64_t floor_ns, uint64_t cap_ns)
{
	uint64_t limit_ns = j->mean_ns + DEVIATIONS * j->deviation_ns;

	if (limit_ns < j->peak_ns + j->peak_ns / 2)
		limit_ns = j->peak_ns + j->peak_ns / 2;
	if (limit_ns < floor_ns)
		limit_ns = floor_ns;
	return limit_ns > cap_ns ? cap_ns : limit_ns;
}
