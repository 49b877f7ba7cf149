/* stage.h - is the second stage (LZ4 over whole frames) worth its time now? Pure: measurements in,
 * a decision out.
 *
 * Why: LZ4 over the records saves a third of the bytes and takes more time than finding the deltas.
 * On a fast link it delays the commit; on a slow one the shorter transfer wins the time back many
 * times. Whether CPU time or the link is scarce is measured, not configured.
 *
 * The rule. Per byte of records:
 *	gain = (1 - ratio) / rate of the link	cost = time to pack it
 * The link's rate is known only while it is full: bytes waited at the start and at the end of an
 * interval. So
 *	off -> on	the link was full for STAGE_BUSY_NS without a break, and gain > 1.25 cost
 *	on -> off	at the end of a window: gain < cost; or the link was never full in it and
 *			would carry the unpacked records at 70 % of its known rate
 * Ratio and cost are the last ones measured. After STAGE_FORGET_WINDOWS windows in state off they
 * are guessed anew, since the guest may write other pages by then.
 *
 *	waiting bytes  ▲	     full      full       full
 *	STAGE_WAITING  ┼──────╱‾‾‾‾‾‾‾‾‾‾‾‾‾‾‾‾‾‾‾‾‾‾╲────────────
 *	               │    ╱ │  rate │  rate │  rate   ╲ not full: rate is at least this
 *	               └────────────────────────────────────────────► samples
 *
 * Where: the engine gives a sample each time it has served the link. Threads: the engine's.
 */
#ifndef EPOCH_STAGE_H
#define EPOCH_STAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"

#define STAGE_INTERVAL_NS	 (2 * CLOCK_NS_PER_MS) /* closer samples are not looked at */
#define STAGE_WAITING_BYTES	 UINT64_C(65536)      /* with more bytes waiting the link is full */
#define STAGE_BUSY_NS		 (4 * CLOCK_NS_PER_MS)
#define STAGE_WINDOW_NS		 CLOCK_NS_PER_S
#define STAGE_FORGET_WINDOWS	 10u
#define STAGE_LEARN_BYTES	 UINT64_C(262144) /* packed, before ratio and cost are believed */

enum stage_mode {
	STAGE_AUTO = 0,
	STAGE_LZ4  = 1, /* always, where negotiated */
	STAGE_OFF  = 2,
};

/* Totals since the connection (link) or the start (encoder). */
struct stage_sample {
	uint64_t now_ns;
	uint64_t waiting_bytes; /* encoded, and not yet acknowledged by the gateway's TCP */
	uint64_t drained_bytes; /* acknowledged by the gateway's TCP */
	uint64_t plain_bytes;	/* records encoded, before the second stage */
	uint64_t in_bytes;	/* of plain_bytes: offered to the second stage */
	uint64_t out_bytes;	/* size of in_bytes after it */
	uint64_t spent_ns;	/* time it took */
};

struct stage {
	enum stage_mode mode;
	bool is_allowed; /* negotiated */
	bool is_on;	 /* in mode AUTO; see stage_is_on() */
	bool has_last;
	struct stage_sample last;    /* start of the interval */
	struct stage_sample learned; /* when ratio and cost were last measured */
	struct stage_sample window;  /* start of the window */
	bool was_full;		     /* the link was full in this window */
	uint64_t full_ns;	     /* since when the link is full; 0: it is not */
	uint32_t n_windows_off;
	uint64_t n_switches;
	double rate;  /* of the link, bytes per ns; 0: not known */
	double ratio; /* bytes out / in */
	double cost;  /* ns per byte in */
};

void stage_init(struct stage *stage, enum stage_mode mode);

/* A new connection; @is_allowed: the second stage may be used on it. Forgets what was known of the
 * link. */
void stage_connected(struct stage *stage, bool is_allowed);

/* Is it time for a sample? Taking one costs a system call. */
bool stage_wants(const struct stage *stage, uint64_t now_ns);

/* Look at new measurements. */
void stage_update(struct stage *stage, const struct stage_sample *sample);

/* Pack frames from now on? */
bool stage_is_on(const struct stage *stage);

#endif
