/* jitter.h - measures how regularly something arrives, and computes when the next arrival becomes
 * unusually late.
 *
 * A fixed limit would be too short on a busy host and too long on an idle host.
 * Where: the detector has one struct jitter for a VM's beats and one for its epochs. Pure; any
 * thread.
 *
 * On a loaded host, some gaps between beats are much longer than a normal distribution predicts. So
 * this file computes three limits and uses the longest:
 *
 *      limit                   where the values come from
 *      mean + 4 x deviation    averages of the gaps, as for TCP's timer (RFC 6298)
 *      1.5 x peak              the largest recent gap; the peak loses 1/64 with each arrival
 *      floor                   set by the operator
 *
 * A limit that is too short does little harm: the detector sends needless probes, but promotes
 * nobody.
 */
#ifndef LIVENESS_JITTER_H
#define LIVENESS_JITTER_H

#include <stdint.h>

struct jitter {
	uint64_t mean_ns;      /* mean of the gaps; 0: no gap was learned yet */
	uint64_t deviation_ns; /* mean of |gap - mean| */
	uint64_t peak_ns;
};

/* Learn one gap between two arrivals. A gap of 0 counts as 1 ns. */
void jitter_learn(struct jitter *j, uint64_t gap_ns);

/* Returns the time after an arrival at which the next arrival counts as unusually late. The result
 * is at least @floor_ns and at most @cap_ns. If no gap was learned yet, it is @floor_ns. */
uint64_t jitter_limit_ns(const struct jitter *j, uint64_t floor_ns, uint64_t cap_ns);

#endif
