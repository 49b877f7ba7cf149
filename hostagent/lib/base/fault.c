#include "base/fault.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define EXIT_STATUS 70 /* EX_SOFTWARE; differs from the daemons' own exit codes 0, 1 and 2 */

enum action { ACTION_KILL, ACTION_STOP, ACTION_EXIT, ACTION_DELAY };

static const char *const names[FAULT_N_POINTS] = {
	[FAULT_BEFORE_STOP] = "before_stop",
	[FAULT_WHILE_STOPPED] = "while_stopped",
	[FAULT_MID_SEND] = "mid_send",
	[FAULT_AFTER_SEND] = "after_send",
	[FAULT_BEFORE_RELEASE] = "before_release",
	[FAULT_MID_RELEASE] = "mid_release",
	[FAULT_STANDBY_BUFFERING] = "standby_buffering",
	[FAULT_STANDBY_BEFORE_ACK] = "standby_before_ack",
	[FAULT_STANDBY_APPLYING] = "standby_applying",
	[FAULT_STANDBY_PROMOTING] = "standby_promoting",
	[FAULT_GATEWAY_BEFORE_COMMIT] = "gateway_before_commit",
	[FAULT_GATEWAY_PROMOTING] = "gateway_promoting",
	[FAULT_GATEWAY_JOURNAL] = "gateway_journal",
	[FAULT_BEFORE_OPENING] = "before_opening",
	[FAULT_LET_GO] = "let_go",
	[FAULT_HANDED_ON] = "handed_on",
};

/* The armed fault. fault_init() sets it before threads start; after that only `passes` changes. */
static struct {
	bool armed;
	enum fault_point point;
	enum action action;
	unsigned long nth;
	unsigned long delay_ms; /* valid for ACTION_DELAY */
	/* path of a file: passes are counted only while this file exists. NULL: passes are always
	 * counted */
	const char *gate;
	atomic_ulong passes;	/* passes of the armed point so far */
} armed;

/* Parse a number from 1 to UINT_MAX that consists of digits only. Returns 0 or -EINVAL. */
static int parse_count(const char *text, unsigned long *ret_value)
{
	char *end;
	unsigned long value;

	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || *end || value == 0 || value > UINT_MAX)
		return -EINVAL;
	*ret_value = value;
	return 0;
}

static int parse_action(const char *text)
{
	if (strcmp(text, "kill") == 0)
		armed.action = ACTION_KILL;
	else if (strcmp(text, "stop") == 0)
		armed.action = ACTION_STOP;
	else if (strcmp(text, "exit") == 0)
		armed.action = ACTION_EXIT;
	else if (strncmp(text, "delay=", 6) == 0 && parse_count(text + 6, &armed.delay_ms) == 0)
		armed.action = ACTION_DELAY;
	else
		return -EINVAL;
	return 0;
}

static int parse_point(const char *name)
{
	for (int i = 0; i < FAULT_N_POINTS; i++) {
		if (strcmp(name, names[i]) == 0) {
			armed.point = (enum fault_point)i;
			return 0;
		}
	}
	return -EINVAL;
}

static int parse_fault(const char *text)
{
	char copy[128];
	char *rest = copy, *part;
	int n_parts = 0;

	if (strlen(text) >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, text, strlen(text) + 1);
	armed.action = ACTION_KILL;
	armed.nth = 1;
	if (parse_point(strsep(&rest, ":")) < 0)
		return -EINVAL;
	for (part = strsep(&rest, ":"); part; part = strsep(&rest, ":"), n_parts++) {
		if (n_parts == 0 && parse_count(part, &armed.nth) == 0)
			continue;
		if (n_parts > 1 || rest || parse_action(part) < 0)
			return -EINVAL;
	}
	return 0;
}

static void add_names(struct error *error)
{
	for (int i = 0; i < FAULT_N_POINTS; i++) {
		size_t used = strlen(error->text);

		snprintf(error->text + used, sizeof(error->text) - used, " %s", names[i]);
	}
}

int fault_init(struct error *ret_error)
{
	const char *text = getenv("HOLDFAST_FAULT");

	armed.armed = false;
	atomic_store(&armed.passes, 0);
	if (!text)
		return 0;
#ifdef HOLDFAST_FAULT_POINTS
	bool can_fault = true;
#else
	bool can_fault = false;
#endif
	if (!can_fault)
		return error_set(ret_error, -ENOTSUP,
				 "HOLDFAST_FAULT=%s: this program has no fault points, expected it "
				 "unset (or run holdfast-agent-fault or holdfast-gateway-fault)",
				 text);
	if (parse_fault(text) < 0) {
		(void)error_set(ret_error, -EINVAL,
				"HOLDFAST_FAULT=%s: expected NAME[:NTH][:kill|stop|exit|delay=MS], "
				"NAME one of",
				text);
		add_names(ret_error);
		return -EINVAL;
	}
	armed.gate = getenv("HOLDFAST_FAULT_GATE");
	armed.armed = true;
	return 0;
}

const char *fault_name(enum fault_point point)
{
	return names[point];
}

static void delay(unsigned long ms)
{
	struct timespec left = {.tv_sec = (time_t)(ms / 1000),
				.tv_nsec = (long)(ms % 1000 * CLOCK_NS_PER_MS)};

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

void fault_pass(enum fault_point point)
{
	unsigned long pass;

	if (!armed.armed || armed.point != point)
		return;
	if (armed.gate && access(armed.gate, F_OK) < 0)
		return;
	pass = atomic_fetch_add(&armed.passes, 1) + 1;
	if (armed.action == ACTION_DELAY) {
		if (pass >= armed.nth) {
			log_info("fault point %s: waits for %lu ms", names[point], armed.delay_ms);
			delay(armed.delay_ms);
		}
		return;
	}
	if (pass != armed.nth)
		return;
	if (armed.action == ACTION_EXIT)
		_exit(EXIT_STATUS);
	/* Do not use raise(): it signals only this thread, but the signal must go to the
	 * process. */
	(void)kill(getpid(), armed.action == ACTION_STOP ? SIGSTOP : SIGKILL);
}
