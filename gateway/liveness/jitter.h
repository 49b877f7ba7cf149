/* jitter.h - learns how regularly something comes, and from when on its lateness is unusual.
 *
 * Why: a fixed limit is too short on a busy host and too long on an idle one. Where: the detector
 * has one for a VM's beats and one for its epochs. Pure; any thread.
 *
 * Phi-accrual detectors (Hayashibara 2004) fit a normal distribution to the gaps. Beats of a loaded
 * host have a longer tail than that. So this computes three limits and uses the longest:
 *
 *	mean + 4 x deviation    both as TCP's timer learns them (RFC 6298: gains 1/8 and 1/4)
 *	1.5 x peak              the largest gap of late; it loses 1/64 with each arrival
 *	floor                   what the operator set
 *
 * A wrong limit is cheap: a suspicion only causes questions, not a promotion.
 */
#ifndef LIVENESS_JITTER_H
#define LIVENESS_JITTER_H

#include <stdint.h>

struct jitter {
	uint64_t mean_ns;      /* 0: nothing learned */
	uint64_t deviation_ns; /* mean of |gap - mean| */
	uint64_t peak_ns;
};

/* Learn one gap between two arrivals. Zero counts as 1 ns. */
void jitter_learn(struct jitter *j, uint64_t gap_ns);

/* From what gap on an arrival is unusually late, in
 * [floor_ns, cap_ns]; floor_ns while nothing is learned. */
uint64_t jitter_limit_ns(const struct jitter *j, uint64_t floor_ns, uint64_t cap_ns);

#endif
