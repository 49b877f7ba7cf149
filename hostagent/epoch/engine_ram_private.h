/* engine_ram_private.h - the engine's state for the verification of the standby's copy of RAM, and
 * for passes over RAM and disks that an operator asks for. engine_private.h includes this file.
 *
 * Threads: the engine's, except for asked.n_wanted.
 */
#ifndef EPOCH_ENGINE_RAM_PRIVATE_H
#define EPOCH_ENGINE_RAM_PRIVATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "epoch/condition.h"
#include "epoch/encoder.h"
#include "epoch/engine.h"
#include "epoch/ram_batch.h"
#include "epoch/seal.h"
#include "wire/msg.h"

struct engine;

struct engine_ram {
	struct ram_batch batch;
	enum ram_condition condition;
	enum finding_condition finding;
	/* first page of the current batch, or if there is none, of the next batch */
	uint32_t page;
	uint64_t epoch;	    /* the epoch of the batch's hashes; valid in RAM_READ and
			     * RAM_SENT */
	uint64_t answer_ns; /* RAM_SENT: when to give up waiting for the standby's answer */
	uint64_t next_ns;   /* when the next batch, or the next pass, may begin */
	/* the pages of the batch that must be sent whole because they differed, one range for each
	 * page. The content of these pages is at the start of batch.pages */
	struct page_range again[RAM_BATCH_PAGES];
	struct wire_ram_checked answer; /* the standby's answer; if n_differ > 0, it is not handled
					 * yet */
	struct wire_ram_checked bad;	/* the pages that differed last; they are sent again
					 * together with the next batch of hashes */
	uint32_t n_tries;   /* how many times in a row pages of this batch differed, the first time
			     * included */
	uint64_t n_checked; /* pages of this pass that were equal */
	uint64_t n_skipped; /* pages of this pass that could not be read */
	uint64_t n_differ;  /* pages that differed, in all passes */
	struct error why;   /* why the verification has failed; "": it has not */
	uint64_t told_ns;      /* when `news` last reported a difference */
	char news[WIRE_STATS_VALUE_MAX + 1]; /* what happened last; "": nothing yet */
};

/* What a pass that an operator has asked for has found in one part: in RAM, or in the disks. */
struct engine_part {
	enum engine_found found;
	char text[WIRE_TEXT_MAX + 1];
};

/* A pass over RAM and disks that an operator has asked for; see engine_verify_asked.c. */
struct engine_asked {
	_Atomic uint64_t n_wanted;     /* number of the last pass that was asked for; changed by any
					* thread */
	uint64_t n_begun;	       /* number of the last pass that was begun */
	enum asked_condition condition;
	uint64_t began_epoch;
	/* the values of engine_ram.n_differ and engine_verify.n_differ when the pass began */
	uint64_t ram_differ, disk_differ;
	/* what the pass has found in RAM and in the disks; each is valid when its part has ended */
	struct engine_part ram, disks;
};

/* engine_verify_ram.c. Allocate the batch, if RAM is to be verified. Returns 0 or -ENOMEM. */
int engine_ram_open(struct engine *e) __attribute__((warn_unused_result));
void engine_ram_close(struct engine_ram *ram);
/* If the standby has reported a difference, handle it. If it is time, read the next batch, of at
 * most RAM_BATCH_PAGES pages. Called between two epochs. */
void engine_ram_tick(struct engine *e);
/* Call this after a seal, before the pages of its epoch are encoded. Finishes the batch's hashes.
 * If pages of the batch differed, makes the encoder send them whole, and returns those that are not
 * in @result; the caller must encode them too. */
struct encoder_cursor engine_ram_sealed(struct engine *e, const struct seal_result *result);
/* Put the batch's hashes into the epoch, after the epoch's pages. Returns 0, or an error after
 * which the epoch is lost. */
int engine_ram_encode(struct engine *e) __attribute__((warn_unused_result));
/* Handle a RAM_CHECKED frame. Returns 0; -EPROTO: the frame is not valid. */
int engine_ram_answer(struct engine *e, const struct wire_frame *frame)
	__attribute__((warn_unused_result));
/* Called when a FULL epoch has copied all of RAM again: begin a pass now, unless the verification
 * has failed. */
void engine_ram_copied(struct engine *e);
/* Begin a pass now, even if the verification has failed before. */
void engine_ram_begin(struct engine *e);
/* Has the current pass ended, or is no pass possible? */
bool engine_ram_is_over(const struct engine *e);
/* Returns "off", "waiting", "running", "done", "failed" or "not-possible". */
const char *engine_ram_state(const struct engine *e);
/* Add figures to @stats. Returns 0 or an error of wire_stats_add(). */
int engine_ram_stats(const struct engine *e, char *stats) __attribute__((warn_unused_result));

/* engine_verify_asked.c. Begin a pass that was asked for; when it has ended, publish what it has
 * found. Called between two epochs, before the ticks of both verifications. */
void engine_asked_tick(struct engine *e);

#endif
