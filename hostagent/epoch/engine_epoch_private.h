/* engine_epoch_private.h - making epochs: the functions of engine_epoch.c and engine_full.c.
 * engine_private.h includes this file.
 *
 *	FULL epoch	rounds of copying (engine_full.c)
 *			  └► seal ─► encode what it captured (engine_epoch.c)
 *	ordinary epoch	     seal ─► encode what it captured (engine_epoch.c)
 *
 * Threads: the engine's, or the one that opens the engine before that thread exists.
 */
#ifndef EPOCH_ENGINE_EPOCH_PRIVATE_H
#define EPOCH_ENGINE_EPOCH_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "epoch/condition.h"
#include "epoch/encoder.h"
#include "epoch/seal.h"

struct engine;

/* engine_full.c. Make a FULL epoch, and begin to send it. Returns 0, or -errno if the epoch was not
 * encoded whole. If another FULL epoch must follow, the condition sync is SYNC_LOST. */
int engine_full_epoch(struct engine *e) __attribute__((warn_unused_result));

/* engine_epoch.c. Make an ordinary epoch, and begin to send it. Returns the same as
 * engine_full_epoch(). */
int engine_epoch(struct engine *e) __attribute__((warn_unused_result));
/* Call this before a pause of ours. From now until engine_pause_ended(), QEMU's STOP and RESUME
 * events belong to our pause. Returns the guest's condition before the pause. */
enum guest_condition engine_pause_begins(struct engine *e);
/* Call this after a pause of ours, with the result of engine_pause_begins(). Returns true if
 * somebody else has paused the guest meanwhile: then call engine_paused_by_other(). */
bool engine_pause_ended(struct engine *e, enum guest_condition before);
/* Start to track dirty pages anew. The new tracker knows nothing of earlier writes. Returns 0. On
 * error returns -errno, and e->capture.track and e->capture.seal are NULL. */
int engine_restart_tracking(struct engine *e, struct error *ret_error)
	__attribute__((warn_unused_result));
/* Make the seal object for a new tracker. Returns 0 or -ENOMEM. */
int engine_new_seal(struct engine *e, struct error *ret_error) __attribute__((warn_unused_result));
/* Called between two epochs. After a seal through the pipe has failed, seals use separate commands
 * for a while. If this time is over, try the pipe again. */
void engine_retry_pipe(struct engine *e);
/* Make the pipe (vmm/gate.h). A test of the new pipe pauses the guest briefly. */
void engine_open_pipe(struct engine *e);

/* engine_epoch.c, the steps that both kinds of epochs share. Decide whether the hold begins with
 * the seal of the epoch that is now being made. Call this before that seal, once for each epoch. */
void engine_choose_output(struct engine *e, bool is_full);
/* If the epoch's frames were not held, return WIRE_FLAG_UNHELD, else 0. For an ordinary epoch, call
 * this after the seal: the hold can fail to begin at the seal. */
uint8_t engine_unheld_flag(const struct engine *e);
/* Choose the kind of the next seal. The seal of a FULL epoch always protects pages again, as its
 * rounds do. */
enum seal_kind engine_choose_kind(const struct engine *e, bool is_full);
/* Seal the running epoch, and begin the next. What *ret_result points to is borrowed until the next
 * call on e->capture.seal. Returns 0;
 * -ESTALE: the guest's devices have changed, or the epoch lacks writes to a disk: do not send it;
 * or another -errno. */
int engine_run_seal(struct engine *e, enum seal_kind kind, struct seal_result *ret_result)
	__attribute__((warn_unused_result));
/* Encode the pages of @cursor. Between batches, this function calls engine_service() to handle what
 * has arrived. When it has returned, also on error, no thread reads the pages any more, so the
 * caller may reuse their buffer. Returns 0, or -errno: the caller must give the epoch up. */
int engine_encode_pages(struct engine *e, struct encoder_cursor cursor)
	__attribute__((warn_unused_result));
/* Encode everything that a seal captured, and end the epoch. Returns 0, or -errno: give the epoch
 * up. */
int engine_encode_sealed(struct engine *e, const struct seal_result *result)
	__attribute__((warn_unused_result));

#endif
