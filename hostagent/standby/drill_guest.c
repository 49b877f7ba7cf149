#include "standby/drill_guest.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include <jansson.h>

#include "base/cleanup.h"
#include "base/clock.h"

AUTO_DEFINE(json_t *, json_decref)

#define LOOK_MS	   200
/* the drill's QEMU has a low priority, and may be slow to answer */
#define MONITOR_NS (10 * CLOCK_NS_PER_S)

static int ask_status(struct qemu *q, struct error *ret_error)
{
	AUTO(json_decref) json_t *answer = NULL;
	const char *status;
	struct qmp *qmp;
	int r;

	if (qemu_exited(q))
		return error_set(ret_error, -EIO, "%s", q->end.how.text);
	r = qmp_open(q->qmp_path, MONITOR_NS, &qmp);
	if (r < 0)
		return error_set(ret_error, r, "QEMU does not say whether the guest runs: %s",
				 qmp_open_error(r));
	r = qmp_execute(qmp, "query-status", NULL, MONITOR_NS, &answer);
	if (r < 0)
		(void)error_set(ret_error, r, "QEMU does not say whether the guest runs: %s",
				qmp_error(qmp));
	qmp_close(qmp);
	if (r < 0)
		return r;
	if (json_is_true(json_object_get(answer, "running")))
		return 0;
	status = json_string_value(json_object_get(answer, "status"));
	return error_set(ret_error, -EIO, "the guest does not run: QEMU's state is %.60s",
			 status ? status : "not known");
}

static int await_vcpu(struct qemu *q, struct vcpus *vcpus, uint64_t timeout_ns,
		      struct error *ret_error)
{
	uint64_t deadline_ns = clock_mono_ns() + timeout_ns;

	(void)vcpus_busy_ns(vcpus); /* count from here: earlier CPU time proves nothing */
	for (;;) {
		(void)poll(NULL, 0, LOOK_MS);
		if (*q->cancel)
			return -ECANCELED;
		if (qemu_exited(q))
			return error_set(ret_error, -EIO, "%s", q->end.how.text);
		if (vcpus_busy_ns(vcpus) > 0)
			return 0;
		if (clock_mono_ns() > deadline_ns)
			return error_set(ret_error, -ETIMEDOUT, "its vCPUs do not run");
	}
}

int drill_guest_runs(struct qemu *q, struct vcpus *vcpus, uint64_t timeout_ns,
		     struct error *ret_error)
{
	int r = ask_status(q, ret_error);

	if (r == 0)
		r = await_vcpu(q, vcpus, timeout_ns, ret_error);
	return r < 0 ? r : ask_status(q, ret_error);
}
