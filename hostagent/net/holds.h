/* holds.h - holds the frames of all network cards of one guest: one hold (hold.h) on each tap.
 *
 * Why: an epoch covers the whole guest, so all cards must wait for its commit. This module gives
 * the epoch engine one object for all cards. Its functions have the names of those in hold.h, but
 * begin with holds_.
 *
 *	              ┌─► hold on tap0, pins in PIN_DIR      (mode and epoch are the same
 *	engine ─► holds ─► hold on tap1, pins in PIN_DIR+1    in all holds of a guest)
 *	              └─► hold on tap2, pins in PIN_DIR+2
 *
 * The number after the plus is the hold's slot. A tap whose hold is pinned keeps its slot. The
 * order of the taps in the VM's file does not matter. In the log and in a link's alias, a hold is
 * called VM+SLOT, or just VM in slot 0.
 *
 * Fail closed: holds_open() opens all holds or none. Between two calls, either all holds are in
 * mode HOLD_PASS or none is. Frames of one card keep their order. Frames of two cards have no
 * common order.
 *
 * Where: the epoch engine and vm/vm_hold.c call it; it calls net/hold.h.
 * Threads: all calls for one object must come from one thread.
 */
#ifndef NET_HOLDS_H
#define NET_HOLDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/tap_names.h"
#include "net/hold.h"

struct holds;

#define HOLD_PIN_DIR_BYTES 256 /* size of the path of a hold's directory */

/* Says what to hold, and the limits of each card. Used only during the call. */
struct holds_config {
	const char *vm;		      /* the VM's name */
	const struct tap_names *taps; /* the guest's taps; at least one */
	const char *pin_dir;	      /* directory on a bpffs, for the hold in slot 0 */
	uint32_t frames_max;	      /* maximum number of frames held, for each card */
	uint64_t bytes_max;	      /* maximum number of bytes held, for each card */
	/* bit i: the card on tap i has offloads (is_offload in struct hold_config). holds_shut()
	 * does not use it */
	uint32_t offloads;
};

/* Call hold_open() for each tap. If an earlier agent left one of the holds closed, all holds are
 * closed (HOLD_DROP) until holds_set_mode(). If an earlier agent left holds of this VM on other
 * taps, they are removed.
 *
 * @config     only read during the call
 * @ret        owned by the caller, who ends it with holds_detach() or holds_close()
 * @ret_error  always set: "" on success, else the tap, the reason and what to do about it
 *
 * Returns 0;
 * -EINVAL: there is no tap;
 * other -errno: the error of hold_open() for the first tap that fails.
 * On error no new hold is left. A hold that was closed before the call stays closed. */
int holds_open(const struct holds_config *config, struct holds **ret, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Put a closed hold (HOLD_DROP) on each tap, also on taps that have no hold yet. An existing hold
 * keeps its kind, for a card with or without offloads. A new hold can have either kind, because in
 * mode DROP the kind does not matter. If this fails on one tap, the other taps are closed all the
 * same. Returns 0, or the error of hold_open() for the first tap that failed, with the reason in
 * *ret_error. */
int holds_shut(const struct holds_config *config, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Let the guest continue without protection: hold_detach() for each card. @h is freed in every
 * case; NULL is allowed. Returns 0, or the first error. After an error, the other holds are still
 * removed. */
int holds_detach(struct holds *h);

/* Leave the guest silent: hold_close() for each card. @h is freed; NULL is allowed. */
void holds_close(struct holds *h);

/* Call hold_remove_left() for the holds of VM @vm in all slots. Returns 0 if nothing is left, or
 * the first error. */
int holds_remove_left(const char *vm, const char *pin_dir) __attribute__((warn_unused_result));

/* Find the pinned hold on the tap @ifindex among the holds of one VM. @pin_dir: the directory of
 * that VM's hold in slot 0. Writes the directory of the found hold to @ret_dir. Returns 0, -ENOENT
 * if there is none, or -ENAMETOOLONG. */
int holds_find(const char *pin_dir, int ifindex, char ret_dir[HOLD_PIN_DIR_BYTES])
	__attribute__((warn_unused_result));

/* Do what hold_set_epoch() does, for all cards. */
void holds_set_epoch(struct holds *h, uint64_t epoch);

/* Returns the highest epoch of all holds. */
uint64_t holds_epoch(const struct holds *h);

/* Change the mode of all holds. On -EINVAL, no mode has changed. */
int holds_set_mode(struct holds *h, enum hold_mode mode) __attribute__((warn_unused_result));

/* Returns HOLD_PASS if all holds are in that mode, else the mode of a hold that is not. */
enum hold_mode holds_mode(const struct holds *h);

/* Returns true if at least one hold was taken over. */
bool holds_is_taken_over(const struct holds *h);

/* Returns a descriptor that becomes readable (POLLIN) when frames of any card have arrived. Owned
 * by @h. */
int holds_fd(const struct holds *h);

/* Do what hold_receive() does, for all cards. Calls it for every card, even if it fails for one;
 * then returns the error of that card. The frames that arrived for the other cards are counted in
 * the result of the next holds_receive() that succeeds. */
int holds_receive(struct holds *h) __attribute__((warn_unused_result));

/* Do what hold_release() does, for all cards. If the frames of one card cannot leave, the frames of
 * the other cards still leave, and the error of that card is returned. */
int holds_release(struct holds *h, uint64_t epoch) __attribute__((warn_unused_result));

/* Find the first card whose released frames cannot leave at present. Returns a human-readable text
 * that says why, with the tap's name if the guest has several taps. Returns "" if there is no such
 * card. The text is valid until the next call. */
const char *holds_trouble(struct holds *h);

/* Returns true while released frames of a card still wait for the kernel. */
bool holds_is_sending(const struct holds *h);

/* Returns true if the caller should seal at once, since a card is close to its limits. */
bool holds_needs_seal(const struct holds *h);

/* Call hold_discard() for all cards. */
void holds_discard(struct holds *h);

/* Returns the epoch of the oldest held frame of all cards, or UINT64_MAX if no frame is held. */
uint64_t holds_oldest_epoch(const struct holds *h);
uint32_t holds_count(const struct holds *h); /* number of held frames */
uint64_t holds_bytes(const struct holds *h); /* bytes of the held frames */

/* Read all counters, summed over the cards. Exception: hold_ns_max and frames_peak have the highest
 * value of any card, because each card has limits of its own. Returns 0 or -errno. On error *ret is
 * unchanged. */
int holds_stats(struct holds *h, struct hold_stats *ret) __attribute__((warn_unused_result));

#endif
