#include "vmm/guestclock.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "vmm/symbol.h"

#define COMMAND_TIMEOUT_NS (2 * CLOCK_NS_PER_S)

/* QEMU's struct TimersState (system/timers-state.h), whose fields have had these offsets since QEMU
 * 5.1. */
#define TIMERS_BYTES	96u
#define TICKS_OFFSET	8u
#define ENABLED_OFFSET	24u
#define CLOCK_OFFSET	56u

/* A section of the device state: u8 type, u32 id, str8 name, u32 instance, u32 version, then its
 * fields. A footer, the next section, or a subsection follows. */
#define SECTION_FULL	   4u
#define SECTION_SUBSECTION 5u
#define SECTION_HEAD	   5u
#define SECTION_FIELDS	   24u /* size of the fields: u64 ticks, 8 unused bytes, u64 clock */
static const uint8_t timer_name[] = {5, 't', 'i', 'm', 'e', 'r', 0, 0, 0, 0, 0, 0, 0, 2};

struct guestclock {
	struct clock_rules rules;
	pid_t pid;
	uint64_t address; /* address of timers_state */
	struct clock_words saved; /* the clock offsets found in the last device state */
	size_t saved_at;  /* offset of section `timer` in the last device state; 0 if not known */
};

/* --- QEMU's memory */

static int read_words(const struct guestclock *clock, struct clock_words *ret_words)
{
	uint8_t timers[TIMERS_BYTES];
	struct iovec local = {timers, sizeof(timers)};
	struct iovec remote = {(void *)(uintptr_t)clock->address, sizeof(timers)};
	int16_t enabled;

	if (process_vm_readv(clock->pid, &local, 1, &remote, 1, 0) != (ssize_t)sizeof(timers))
		return -errno;
	memcpy(&enabled, timers + ENABLED_OFFSET, sizeof(enabled));
	memcpy(&ret_words->ticks, timers + TICKS_OFFSET, sizeof(ret_words->ticks));
	memcpy(&ret_words->clock, timers + CLOCK_OFFSET, sizeof(ret_words->clock));
	ret_words->is_running = enabled != 0;
	return 0;
}

/* Write both words in one call, while QEMU's main thread sleeps and no vCPU runs. Another thread of
 * QEMU can read the guest's time meanwhile. A word is 8 aligned bytes, so that thread sees the old
 * or the new value of each word. */
static int write_words(const struct guestclock *clock, const struct clock_words *words)
{
	struct iovec local[2] = {{(void *)&words->ticks, 8}, {(void *)&words->clock, 8}};
	struct iovec remote[2] = {{(void *)(uintptr_t)(clock->address + TICKS_OFFSET), 8},
				  {(void *)(uintptr_t)(clock->address + CLOCK_OFFSET), 8}};

	return process_vm_writev(clock->pid, local, 2, remote, 2, 0) == 16 ? 0 : -EFAULT;
}

/* --- open */

static bool is_kvm(struct qmp *q)
{
	json_t *answer = NULL;
	/* if QEMU does not answer, assume KVM, because the clock is then not changed */
	bool is_on = true;

	if (qmp_execute(q, "query-kvm", NULL, COMMAND_TIMEOUT_NS, &answer) == 0)
		is_on = json_is_true(json_object_get(answer, "enabled"));
	json_decref(answer);
	return is_on;
}

static const char *obstacle(struct guestclock *clock, struct qmp *q, bool is_tcg, bool is_wanted)
{
	if (!is_wanted)
		return "clock = off in the VM's file";
	if (!is_tcg && is_kvm(q))
		return "KVM: its guests' clocks are not in QEMU's memory";
	switch (symbol_find(clock->pid, "timers_state", TIMERS_BYTES, &clock->address)) {
	case 0:
		return NULL;
	case -ENOENT:
		return "this QEMU does not export timers_state";
	case -EMSGSIZE:
		return "this QEMU's timers_state has another size";
	default:
		return "QEMU's program file cannot be read";
	}
}

struct guestclock *guestclock_open(struct qmp *q, pid_t pid, bool is_tcg, bool is_wanted,
				   uint64_t step_max_ns)
{
	struct guestclock *clock = calloc(1, sizeof(*clock));
	const char *why;

	if (!clock)
		return NULL;
	clock->pid = pid;
	clock_rules_init(&clock->rules, step_max_ns);
	why = obstacle(clock, q, is_tcg, is_wanted);
	if (why)
		clock_rules_off(&clock->rules, why);
	return clock;
}

struct guestclock *guestclock_close(struct guestclock *clock)
{
	free(clock);
	return NULL;
}

/* --- a pause */

void guestclock_running(struct guestclock *clock)
{
	struct clock_words words;

	if (clock->rules.state != CLOCK_OFF && read_words(clock, &words) == 0)
		clock_rules_running(&clock->rules, &words);
}

void guestclock_stopped(struct guestclock *clock, uint64_t sent_ns, uint64_t seen_ns)
{
	struct clock_words words;

	if (clock->rules.state == CLOCK_OFF || read_words(clock, &words) < 0)
		return;
	if (!clock_rules_stopped(&clock->rules, &words, sent_ns, seen_ns, clock_mono_ns(), &words))
		return;
	if (write_words(clock, &words) < 0)
		clock_rules_off(&clock->rules, "QEMU's memory cannot be written");
}

void guestclock_resumed(struct guestclock *clock, uint64_t paused_ns)
{
	struct clock_words words;

	if (clock->rules.state != CLOCK_OFF && read_words(clock, &words) == 0)
		clock_rules_resumed(&clock->rules, &words);
	clock_rules_paused(&clock->rules, paused_ns);
}

void guestclock_resume(struct guestclock *clock, const struct clock_rules *rules)
{
	uint64_t step_max_ns = clock->rules.step_max_ns;

	if (clock->rules.state == CLOCK_OFF || rules->state == CLOCK_OFF)
		return;
	clock->rules = *rules;
	clock->rules.why = ""; /* the pointer in @rules is of the previous program, and not valid
				* here */
	clock->rules.step_max_ns = step_max_ns;
}

/* --- the saved state */

static bool is_section(const uint8_t *at, const uint8_t *end)
{
	return (size_t)(end - at) >= SECTION_HEAD + sizeof(timer_name) + SECTION_FIELDS &&
	       at[0] == SECTION_FULL &&
	       memcmp(at + SECTION_HEAD, timer_name, sizeof(timer_name)) == 0;
}

static const uint8_t *find_section(const uint8_t *from, const uint8_t *end)
{
	const uint8_t *name = from;

	while ((name = memmem(name, (size_t)(end - name), timer_name, sizeof(timer_name)))) {
		if (name - from >= (ptrdiff_t)SECTION_HEAD && is_section(name - SECTION_HEAD, end))
			return name - SECTION_HEAD;
		name++;
	}
	return NULL;
}

int guestclock_parse(const uint8_t *blob, size_t size, size_t *inout_at,
		     struct clock_words *ret_words)
{
	const uint8_t *end = blob + size, *at = blob + *inout_at, *fields;

	if (*inout_at == 0 || *inout_at >= size || !is_section(at, end)) {
		at = find_section(blob, end);
		if (!at)
			return -ENOENT;
		if (find_section(at + SECTION_HEAD, end))
			return -EEXIST;
	}
	fields = at + SECTION_HEAD + sizeof(timer_name);
	if (fields + SECTION_FIELDS < end && fields[SECTION_FIELDS] == SECTION_SUBSECTION)
		return -ENOTSUP;
	*ret_words = (struct clock_words){.ticks = bytes_get_be64(fields),
					  .clock = bytes_get_be64(fields + 16)};
	*inout_at = (size_t)(at - blob);
	return 0;
}

void guestclock_saved(struct guestclock *clock, const uint8_t *blob, size_t size)
{
	struct clock_words words = {0};
	enum clock_state before = clock->rules.state;
	int r;

	if (before == CLOCK_OFF)
		return;
	r = guestclock_parse(blob, size, &clock->saved_at, &words);
	clock->saved = words;
	if (r == 0)
		clock_rules_saved(&clock->rules, &words);
	else
		clock_rules_off(&clock->rules, r == -ENOTSUP
						       ? "-icount: time is a count of instructions"
						       : "QEMU saves no clock");
	if (clock->rules.state == CLOCK_OFF)
		log_warn("pid=%d the guest's clock is not corrected: %s", clock->pid,
			 clock->rules.why);
	else if (clock->rules.state != before)
		log_info("pid=%d the guest's clock is corrected at each pause", clock->pid);
}

bool guestclock_forecast(const struct guestclock *clock, uint64_t at_ns,
			 struct clock_words *ret_saved, struct clock_words *ret_wanted,
			 uint64_t *ret_ticks_per_s)
{
	if (!clock_rules_forecast(&clock->rules, at_ns, ret_wanted))
		return false;
	*ret_saved = clock->saved;
	*ret_ticks_per_s = (uint64_t)(clock->rules.rate * 1e9);
	return true;
}

int guestclock_promote(pid_t pid, const uint8_t *blob, size_t size, const struct clock_words *saved,
		       const struct clock_words *wanted, uint64_t step_max_ns, uint64_t ticks_per_s,
		       uint64_t *ret_step_ns)
{
	struct guestclock clock = {.pid = pid};
	struct clock_words words, loaded;
	int r = symbol_find(pid, "timers_state", TIMERS_BYTES, &clock.address);

	if (r == 0)
		r = guestclock_parse(blob, size, &clock.saved_at, &loaded);
	if (r < 0)
		return r;
	if (read_words(&clock, &words) < 0)
		return -EFAULT;
	if (words.is_running)
		return -EBUSY;
	if (words.clock != loaded.clock || words.ticks != loaded.ticks ||
	    loaded.clock != saved->clock || loaded.ticks != saved->ticks)
		return -ESTALE;
	loaded = clock_step(&words, wanted, step_max_ns, ticks_per_s);
	*ret_step_ns = loaded.clock - words.clock;
	return write_words(&clock, &loaded);
}

const struct clock_rules *guestclock_rules(const struct guestclock *clock)
{
	return &clock->rules;
}
