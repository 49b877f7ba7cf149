/* hold_check.h - checks early whether a hold can work, and tells the operator what to do if not.
 *
 * Why: libbpf reports an operator's mistake as a bare errno. These mistakes are the most likely: no
 * such tap, not in a bridge, several queues, a large MTU, bpffs not mounted.
 *
 * Where: used by hold_open() only. Threads: any (no state). Only hold_check_tap() does I/O
 * (rtnetlink).
 */
#ifndef NET_HOLD_CHECK_H
#define NET_HOLD_CHECK_H

#include "base/error.h"
#include "ebpf/hold_prog.h"
#include "net/hold.h"
#include "net/hold_ring.h"
#include "net/nl.h"

/* Check the ranges and names in @config. Returns 0, or -EINVAL with the reason in *ret_error. */
int hold_check_config(const struct hold_config *config, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Read the tap's state, and check that a hold can work on this tap. Returns 0, or an error of
 * hold_open() with the reason in *ret_error. */
int hold_check_tap(struct nl *nl, const struct hold_config *config, struct nl_link *ret_tap,
		   struct error *ret_error)
	__attribute__((warn_unused_result));

/* Explain to the operator why hold_prog_open() failed. @step: the step that failed; @r: its error.
 * Writes to *ret_error what this means and what to do about it. Returns @r, or an error code that
 * fits better. */
int hold_explain_prog(const struct hold_config *config, enum hold_prog_step step, int r,
		      struct error *ret_error) __attribute__((warn_unused_result));

/* Explain to the operator why hold_ring_open() failed. Parameters and result are like those of
 * hold_explain_prog(). */
int hold_explain_ring(const struct hold_config *config, enum hold_ring_step step, int r,
		      struct error *ret_error) __attribute__((warn_unused_result));

#endif
