/* jitter.h - measures how regularly something arrives, and computes when the next arrival becomes
 * unusually late.
 *
 * A fixed limit would be too short on a busy host and too long on an idle host.
 * Where: the detector has one struct jitter for a VM's beats and one for its epochs. Pure; any
 * thread.
 *
 * Phi-accrual detectors (Hayashibara 2004) fit a normal distribution to the gaps. But on a loaded
 * host the gaps between beats have a longer tail than a normal distribution. So this file computes
 * three limits and uses the longest:
 *
 *	limit                   how its parts are found
 *	mean + 4 x deviation    both as TCP's timer learns them (RFC 6298: gains 1/8 and 1/4)
 *	1.5 x peak              the largest recent gap; the peak loses 1/64 with each arrival
 *	floor                   what the operator set
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

/* Returns the time since the previous arrival after which the next arrival is unusually late: at
 * least @floor_ns and at most @cap_ns. Returns @floor_ns if no gap was learned yet. */
uint64_t jitter_limit_ns(const struct jitter *j, uint64_t floor_ns, uint64_t cap_ns);

#endif
