/* Handles a PROMOTE for a guest that was promoted here already, in an older term. That promotion
 * took so long that the gateway gave its order up, and the operator gave another order. The guest
 * runs here, and no host has fenced it (FENCE would have ended it). So this host only has to enter
 * the newer term. Otherwise it would refuse each later order for ever. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "standby/standby_private.h"

#define RECORD_MAX_NS (100 * CLOCK_NS_PER_MS)

int standby_promoted_late(struct standby *sb, struct standby_command *c)
{
	struct ramfile_meta meta = sb->rf.meta;
	struct error why;
	int r;

	if (meta.phase != RAMFILE_RUNNING || sb->qemu.pid <= 0 || c->term <= meta.term ||
	    meta.applied_epoch < c->epoch)
		return 0;
	/* record the term on the disk before `meta` has it, as in a promotion (promote.h, P2) */
	if (sb->config.may_run &&
	    sb->config.may_run(sb->config.changed_arg, c->term, RECORD_MAX_NS, &why) < 0)
		log_error("vm=%s term=%" PRIu64 " %s, ignoring: the guest runs here already",
			  sb->config.vm, c->term, why.text);
	meta.term = c->term;
	r = ramfile_store_meta(&sb->rf, &meta);
	if (r < 0)
		return error_set(&c->error, r, "cannot record the new term: %s", strerror(-r));
	log_info("vm=%s term=%" PRIu64 " the guest runs here already, promoted in an older term",
		 sb->config.vm, c->term);
	sb->promise_term = c->term;
	standby_served_begin(sb);
	c->ret_epoch = meta.applied_epoch;
	return 1;
}
