/* stage.h - decides whether the second stage (LZ4 over whole frames) is worth its time now. Pure:
 * it turns measurements into a decision.
 *
 * Why: LZ4 saves about a third of the records' bytes, but takes time. On a fast link LZ4 delays the
 * commit. On a slow link the shorter transfer saves much more time than LZ4 takes. So this file
 * compares two times, both for each byte of records:
 *
 *      gain    (1 - ratio) / rate of the link: the time that packing saves on the link
 *      cost    the time that packing takes
 *
 * The link's rate can be measured only in an interval between two samples in which the link is
 * full: bytes wait both at the interval's start and at its end. The second stage is switched on and
 * off by these rules:
 *
 *      on      The link was full for STAGE_BUSY_NS without a break, and gain > 1.25 cost.
 *      off     At the end of a window, gain < cost.
 *      off     At the end of a window in which the link was never full, if 70 % of its rate would
 *              have been enough for the unpacked records.
 *
 * A window is STAGE_WINDOW_NS long. Ratio and cost are measured while LZ4 is used. After
 * STAGE_FORGET_WINDOWS windows without LZ4 they are set to a guess again, because the guest may
 * write data of a different kind by then.
 *
 *	waiting bytes  ▲	     full      full       full
 *	STAGE_WAITING  ┼──────╱‾‾‾‾‾‾‾‾‾‾‾‾‾‾‾‾‾‾‾‾‾‾╲────────────
 *	               │    ╱ │  rate │  rate │  rate   ╲ not full: the rate only rises
 *	               └────────────────────────────────────────────► samples
 *
 * Where: the engine passes a sample each time it has sent frames on the link. Threads: the
 * engine's.
 */
#ifndef EPOCH_STAGE_H
#define EPOCH_STAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

/* shortest interval between two samples; samples that come sooner are ignored */
#define STAGE_INTERVAL_NS	 (2 * CLOCK_NS_PER_MS)
/* the link is full while more bytes than this wait */
#define STAGE_WAITING_BYTES	 UINT64_C(65536)
#define STAGE_BUSY_NS		 (4 * CLOCK_NS_PER_MS)
#define STAGE_WINDOW_NS		 CLOCK_NS_PER_S
#define STAGE_FORGET_WINDOWS	 10u
/* ratio and cost are measured anew each time this many bytes were passed to LZ4 */
#define STAGE_LEARN_BYTES	 UINT64_C(262144)

enum stage_mode {
	STAGE_AUTO = 0,
	STAGE_LZ4  = 1, /* always use LZ4 if it was negotiated */
	STAGE_OFF  = 2,
};

/* What the link and the encoder have done so far. drained_bytes is a total since the connection was
 * made. plain_bytes and the members after it are totals since encoder_new(). */
struct stage_sample {
	uint64_t now_ns;
	uint64_t waiting_bytes; /* bytes encoded, but not yet acknowledged by the other end's TCP */
	uint64_t drained_bytes; /* bytes that the other end's TCP has acknowledged */
	uint64_t plain_bytes;	/* size of all encoded records before the second stage */
	uint64_t in_bytes;	/* how many of the plain_bytes were passed to LZ4 */
	uint64_t out_bytes;	/* size of the in_bytes after LZ4 */
	uint64_t spent_ns;	/* time spent in LZ4, over all threads */
};

struct stage {
	enum stage_mode mode;
	bool is_allowed; /* the second stage was negotiated */
	bool is_on;	 /* what mode AUTO has decided; see stage_is_on() */
	bool has_last;
	struct stage_sample last;    /* the last sample */
	struct stage_sample learned; /* the sample at which ratio and cost were last measured */
	struct stage_sample window;  /* the sample at the start of the window */
	bool was_full;		     /* the link was full in this window */
	uint64_t full_ns;	     /* how long the link has been full without a break; 0: it is
				      * not full */
	uint32_t n_windows_off;
	uint64_t n_switches;
	double rate;  /* the link's rate in bytes per ns; 0: not known */
	double ratio; /* size after LZ4 divided by the size before */
	double cost;  /* ns that LZ4 takes per byte passed to it */
};

void stage_init(struct stage *stage, enum stage_mode mode);

/* Begin with a new connection: forget what was measured on the old link. @is_allowed: the second
 * stage was negotiated for the new connection. */
void stage_connected(struct stage *stage, bool is_allowed);

/* Is it time for a sample? To take one costs a system call. */
bool stage_wants(const struct stage *stage, uint64_t now_ns);

/* Report a sample, and decide anew. */
void stage_update(struct stage *stage, const struct stage_sample *sample);

/* Must frames be packed from now on? */
bool stage_is_on(const struct stage *stage);

#endif
