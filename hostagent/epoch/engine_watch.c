/* Checks whether the guest's devices or taps have changed since the engine attached to the guest.
 * If they have, makes no more seals. See watch.h and engine_private.h.
 *
 * Why no seals: after such a change, the standby cannot load a state that is saved then. It can
 * load the last epoch that was sent, and a failover uses that epoch until the gateway has ended the
 * protection. If the change lets frames bypass the hold, the guest is stopped until the protection
 * has ended. If not, the guest keeps running and its output is held. */
#include "epoch/engine_private.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "net/linkwatch.h"
#include "vmm/sections.h"
#include "vmm/taps.h"

#define AGAIN_NS (500 * CLOCK_NS_PER_MS) /* how often to check whether the change was undone */
#define QMP_NS	 (2 * CLOCK_NS_PER_S)

/* Compare QEMU's taps with the VM's file. Returns 0;
 * -ENOTSUP: QEMU has other taps than the file says;
 * -EAGAIN or another -errno: the taps cannot be read now. */
static int look_at_taps(struct engine *e, struct error *ret_error)
{
	struct vmm_taps taps;
	int r = vmm_taps_read(e->guest.info.pid, &taps, ret_error);

	if (r == 0)
		r = vmm_taps_judge(&taps, e->config.taps, ret_error);
	watch_looked_at_taps(&e->watch.plan, clock_mono_ns());
	return r;
}

/* Returns the disks that are replicated. */
static struct vmm_covered covered_disks(const struct engine *e)
{
	return (struct vmm_covered){e->config.disks, e->config.n_disks};
}

int engine_watch_open(struct engine *e, struct error *ret_error)
{
	char path[64];
	int r = look_at_taps(e, ret_error);

	if (r == 0 && e->facts)
		e->watch.inventory = e->facts->inventory;
	else if (r == 0)
		r = vmm_inventory_take(e->guest.qmp, covered_disks(e), &e->watch.inventory,
				       ret_error);
	if (r < 0)
		return r;
	e->watch.link_fd = linkwatch_open();
	if (e->watch.link_fd < 0) {
		(void)snprintf(ret_error->text, sizeof(ret_error->text),
			       "no netlink socket to watch taps by: %s",
			       strerror(-e->watch.link_fd));
		return e->watch.link_fd;
	}
	(void)snprintf(path, sizeof(path), "/proc/%d/statm", e->guest.info.pid);
	/* if this fails, only the other signs can show a change (watch.h) */
	e->watch.statm_fd = open(path, O_RDONLY | O_CLOEXEC);
	watch_init(&e->watch.plan, clock_mono_ns());
	if (e->facts)
		watch_saw_device(&e->watch.plan); /* check the devices after the first seal, before
						   * its epoch is sent whole */
	return 0;
}

int engine_watch_check_taps(struct engine *e, struct error *ret_error)
{
	return look_at_taps(e, ret_error);
}

void engine_watch_close(struct engine_watch *w)
{
	fd_close(w->link_fd);
	fd_close(w->statm_fd);
}

static void say(struct engine *e, const char *text)
{
	pthread_mutex_lock(&e->status_lock);
	wire_text_format(e->status.uncovered, "%s", text);
	pthread_mutex_unlock(&e->status_lock);
	e->config.changed(e->config.changed_arg);
}

static void uncovered(struct engine *e, bool is_net, const char *text)
{
	if (e->watch.cover == COVER_NET || (e->watch.cover == COVER_DEVICES && !is_net))
		return;
	engine_set_cover(e, is_net ? COVER_NET : COVER_DEVICES, text);
	e->watch.look_ns = clock_mono_ns() + AGAIN_NS;
	/* Losing sync also ends the epoch that is being encoded. */
	engine_lose_sync(e, "the guest has changed");
	log_error("vm=%s term=%" PRIu64 " epoch=%" PRIu64 " not covered: %s; no more epochs%s",
		  e->config.vm, e->term, e->epochs.next, text,
		  is_net ? ", and the guest stands still, until the gateway ends the protection"
			 : "");
	engine_lease_tick(e);
	say(e, text);
}

/* Compare QEMU's lists of devices with the inventory. Returns 0;
 * -ENOTSUP: the guest has changed; *ret_change says how;
 * another -errno: QEMU did not answer. */
static int look_at_lists(struct engine *e, struct vmm_change *ret_change)
{
	struct vmm_inventory now;
	struct error error;
	int r = vmm_inventory_take(e->guest.qmp, covered_disks(e), &now, &error);

	e->figures.n_looks++;
	watch_looked_at_lists(&e->watch.plan, clock_mono_ns());
	if (r == -ENOTSUP) {
		ret_change->is_net = false;
		(void)snprintf(ret_change->text, sizeof(ret_change->text), "%.300s", error.text);
		return r;
	}
	if (r < 0) {
		log_limited(LOG_LEVEL_ERROR, "vm=%s %s", e->config.vm, error.text);
		return r;
	}
	return vmm_inventory_differs(&e->watch.inventory, &now, ret_change) ? -ENOTSUP : 0;
}

/* Return the size of QEMU's address space, in pages; 0: not known. */
static uint64_t address_space(const struct engine_watch *w)
{
	char text[64];
	ssize_t n = w->statm_fd < 0 ? -1 : pread(w->statm_fd, text, sizeof(text) - 1, 0);
	uint64_t pages = 0;

	if (n > 0) {
		text[n] = '\0';
		(void)sscanf(text, "%" SCNu64, &pages); /* if this fails, pages stays 0 */
	}
	return pages;
}

/* Describe @change for the operator. If the taps differ too, also say how, because operators know
 * taps by their names. */
static void describe(struct engine *e, const struct vmm_change *change, struct error *ret_error)
{
	struct error error = {""};
	bool has_taps = change->is_net && look_at_taps(e, &error) == -ENOTSUP;

	(void)error_set(ret_error, 0, "the guest is not the one that is protected: %s%s%s",
			change->text, has_taps ? "; " : "", has_taps ? error.text : "");
}

/* Make QEMU close the descriptors that the agent's previous program has left there. */
static void sweep(struct engine *e)
{
	int r;

	if (e->capture.sweep_look == 0 || e->figures.n_looks < e->capture.sweep_look)
		return;
	e->capture.sweep_look = 0;
	r = devstate_sweep(e->capture.device);
	if (r < 0)
		log_debug("vm=%s query-fdsets: %s, ignoring: QEMU keeps two descriptors more",
			  e->config.vm, *qmp_error(e->guest.qmp) ? qmp_error(e->guest.qmp)
								 : strerror(-r));
}

int engine_watch_sealed(struct engine *e, const struct seal_result *result)
{
	struct vmm_change change;
	struct error why;
	int r;

	/* A QEMU that is ending first sets the links of the guest's cards down, but can still carry
	 * out our command to save the cards. The saved state is then wrong. QEMU's SHUTDOWN event
	 * comes before its answer to that command, so end_text is set by now. */
	if (e->guest.end_text) {
		engine_lose_sync(e, "QEMU is ending");
		return -ESTALE;
	}
	watch_saw_seal(&e->watch.plan, vmm_sections_mark(result->device, result->device_size),
		       address_space(&e->watch));
	if (!watch_lists_due(&e->watch.plan, clock_mono_ns()))
		return 0;
	r = look_at_lists(e, &change);
	if (r == 0)
		sweep(e);
	seal_arm(e->capture.seal); /* the commands above have used the monitor: prepare it for the
				    * next seal */
	if (r == 0)
		return 0;
	if (r != -ENOTSUP) { /* the guest may have changed, and then the standby could not load the
			      * epoch */
		engine_lose_sync(e, "QEMU does not tell of the guest's devices");
		watch_saw_device(&e->watch.plan);
		return r;
	}
	describe(e, &change, &why);
	uncovered(e, change.is_net, why.text);
	return -ESTALE;
}

/* Does QEMU still answer? When QEMU ends, it closes its taps before its monitor. So if the taps
 * differ, that is a change of the guest only if QEMU still answers. */
static bool goes_on(struct engine *e)
{
	int r = engine_throttle_release(e);

	if (r == 0)
		r = qmp_execute(e->guest.qmp, "query-status", NULL, QMP_NS, NULL);
	if (r == -ETIMEDOUT) /* QEMU hangs, or takes long to end */
		return !e->guest.end_text && e->status.verdict != WIRE_VERDICT_SHUTDOWN;
	return r != -ECONNRESET && r != -EPIPE && r != -EPROTO && r != -EMSGSIZE;
}

void engine_watch_tick(struct engine *e)
{
	struct error error;

	if (linkwatch_changed(e->watch.link_fd))
		watch_saw_link(&e->watch.plan);
	if (e->watch.cover == COVER_NET || e->guest.condition == GUEST_LOST ||
	    !watch_taps_due(&e->watch.plan, clock_mono_ns()))
		return;
	/* Ignore other errors: QEMU is ending, or has just closed a descriptor. If such an error
	 * comes again, the next check or the monitor reports it. */
	if (look_at_taps(e, &error) == -ENOTSUP && goes_on(e))
		uncovered(e, true, error.text);
}

void engine_watch_again(struct engine *e)
{
	struct vmm_change change;
	struct error error;

	if (e->watch.cover == COVER_WHOLE || e->guest.condition == GUEST_LOST ||
	    clock_mono_ns() < e->watch.look_ns)
		return;
	e->watch.look_ns = clock_mono_ns() + AGAIN_NS;
	if (engine_throttle_release(e) < 0 || look_at_taps(e, &error) < 0 ||
	    look_at_lists(e, &change) < 0)
		return;
	engine_set_cover(e, COVER_WHOLE, "");
	log_info("vm=%s term=%" PRIu64 " epoch=%" PRIu64 " covered again: what was not is gone",
		 e->config.vm, e->term, e->epochs.next);
	engine_lease_tick(e);
	say(e, "");
}

uint64_t engine_watch_wake_ns(const struct engine_watch *w)
{
	uint64_t taps_ns = w->cover == COVER_NET ? UINT64_MAX : watch_wake_ns(&w->plan);
	uint64_t again_ns = w->cover == COVER_WHOLE ? UINT64_MAX : w->look_ns;

	return taps_ns < again_ns ? taps_ns : again_ns;
}

/* --- a guest that somebody else stopped */

void engine_paused_by_other(struct engine *e)
{
	if (e->guest.condition != GUEST_RUNS || e->status.verdict == WIRE_VERDICT_SHUTDOWN)
		return;
	/* engine_watch_runstate() asks QEMU for the reason when the monitor is free. */
	engine_set_guest(e, GUEST_PAUSED_NEWLY, "somebody else stopped it, or QEMU itself");
}

/* Write to @text (@size bytes) why the guest is paused. @runstate: QEMU's name for the reason. */
static void describe_runstate(const char *runstate, char *text, size_t size)
{
	if (strcmp(runstate, "paused") == 0)
		(void)snprintf(text, size,
			       "somebody else paused the guest; epochs go on when it runs");
	else
		(void)snprintf(text, size,
			       "QEMU stopped the guest itself (runstate %.40s); epochs go on "
			       "when it runs",
			       runstate);
}

void engine_watch_runstate(struct engine *e)
{
	json_t *answer = NULL;
	const char *runstate;
	char text[160];
	int r;

	if (e->guest.condition != GUEST_PAUSED_NEWLY)
		return;
	r = qmp_execute(e->guest.qmp, "query-status", NULL, QMP_NS, &answer);
	runstate = r == 0 ? json_string_value(json_object_get(answer, "status")) : NULL;
	if (runstate && strcmp(runstate, "shutdown") == 0) {
		engine_set_verdict(e, WIRE_VERDICT_SHUTDOWN,
				   "the guest shut itself down; its QEMU stays (-no-shutdown)");
	} else if (runstate && strcmp(runstate, "postmigrate") == 0) {
		/* The guest may be running elsewhere by now, with a state newer than the
		 * standby's copy. */
		engine_set_verdict(e, WIRE_VERDICT_SHUTDOWN,
				   "somebody migrated it away, or saved it (runstate postmigrate)");
	/* if the guest has not been resumed meanwhile */
	} else if (e->guest.condition == GUEST_PAUSED_NEWLY) {
		describe_runstate(runstate ? runstate : "paused", text, sizeof(text));
		if (e->status.verdict != WIRE_VERDICT_PAUSED)
			engine_set_verdict(e, WIRE_VERDICT_PAUSED, text);
	}
	/* In the runstate finish-migrate, another runstate will follow. So stay in
	 * GUEST_PAUSED_NEWLY: QEMU is then asked again. */
	if (e->guest.condition == GUEST_PAUSED_NEWLY &&
	    !(runstate && strcmp(runstate, "finish-migrate") == 0))
		engine_set_guest(e, GUEST_PAUSED, "");
	json_decref(answer);
}
