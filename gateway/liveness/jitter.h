/* jitter.h - how regularly something comes, learned; and how long it may be late before that is odd.
 *
 * Why: a fixed limit is too short on a busy host and too long on an idle one. Where: the detector, one
 * for a VM's beats and one for its epochs. Pure; any thread.
 *
 * Phi-accrual detectors (Hayashibara 2004) fit a normal distribution to the gaps; beats of a loaded host
 * have a long tail that no normal one has. So this keeps three figures and takes the most patient:
 *
 *	mean + 4 x deviation    both as TCP's timer learns them (RFC 6298: gains 1/8 and 1/4)
 *	1.5 x peak              the largest gap of late; it loses 1/64 with each arrival
 *	floor                   what the operator set
 *
 * Being wrong is cheap: a suspicion asks more questions, it promotes nobody.
 */
#ifndef LIVENESS_JITTER_H
#define LIVENESS_JITTER_H

#include <stdint.h>

struct jitter {
	uint64_t mean_ns;      /* 0: nothing learned */
	uint64_t deviation_ns; /* mean of |gap - mean| */
	uint64_t peak_ns;
};

/* A gap between two arrivals. Zero is taken for 1 ns. */
void jitter_learn(struct jitter *j, uint64_t gap_ns);

/* A lateness that is odd, in [floor_ns, cap_ns]; floor_ns while nothing is learned. */
uint64_t jitter_limit_ns(const struct jitter *j, uint64_t floor_ns, uint64_t cap_ns);

#endif
