/* fleet_report.c - passes an agent's reports to the state machine and to operators. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "fleet/fleet.h"
#include "fleet/witness_keys.h"
#include "wire/text.h"

/* shortest time between two events of tell_hindrance() */
#define HINDRANCE_NS CLOCK_NS_PER_S
/* shortest time before tell_hindrance() reports a reason again, if other reasons came in between */
#define AGAIN_NS (60 * CLOCK_NS_PER_S)
/* The limit of events whose reason differs from a remembered one only in its numbers: at most
 * NUMBERS_BURST events at once, then one per NUMBERS_NS. */
#define NUMBERS_BURST 5
#define NUMBERS_NS    (60 * CLOCK_NS_PER_S)

/* If @key is about a promoted guest, store its @value in @guest. @key and @value are from an
 * agent's report. An agent leaves out the keys whose values it does not know. */
static void find_guest(const char *key, const char *value, struct vm_guest_report *guest)
{
	uint64_t number = strtoull(value, NULL, 10);

	if (strcmp(key, "promoted_term") == 0) {
		guest->is_valid = true;
		guest->term = number;
	} else if (strcmp(key, "promoted_running") == 0) {
		guest->was_running = number != 0;
	} else if (strcmp(key, "promoted_vcpu_us") == 0) {
		guest->vcpu_us = number;
	} else if (strcmp(key, "promoted_frames") == 0) {
		guest->knows_frames = true;
		guest->frames = number;
	}
}

/* If @key is about what a host still has of a guest whose memory is lost (for a cold start), store
 * its @value in @word. */
static void find_cold(const char *key, const char *value, struct vm_cold_word *word)
{
	static const char *const roles[] = {
		[VM_COLD_NONE] = "none",       [VM_COLD_FENCED] = "fenced",
		[VM_COLD_STANDBY] = "standby", [VM_COLD_PRIMARY] = "primary",
		[VM_COLD_RUNNING] = "running",
	};
	static const char *const disks[] = {
		[VM_COLD_DISK_NONE] = "none",	    [VM_COLD_DISK_OWN] = "own",
		[VM_COLD_DISK_UNSOUND] = "unsound", [VM_COLD_DISK_COPY] = "copy",
		[VM_COLD_DISK_TORN] = "torn",
	};

	for (size_t i = 0; strcmp(key, "cold") == 0 && i < ARRAY_SIZE(roles); i++)
		word->role = roles[i] && strcmp(roles[i], value) == 0 ? (enum vm_cold_role)i
								      : word->role;
	for (size_t i = 0; strcmp(key, "cold_disk") == 0 && i < ARRAY_SIZE(disks); i++)
		word->disk = strcmp(disks[i], value) == 0 ? (enum vm_cold_disk)i : word->disk;
	if (strcmp(key, "cold_ran") == 0)
		word->ran = strtoull(value, NULL, 10);
	else if (strcmp(key, "cold_term") == 0)
		word->term = strtoull(value, NULL, 10);
	else if (strcmp(key, "cold_epoch") == 0)
		word->epoch = strtoull(value, NULL, 10);
	else if (strcmp(key, "cold_qemu") == 0)
		word->has_qemu = true;
}

static uint8_t percent_of(const char *value)
{
	unsigned long percent = strtoul(value, NULL, 10);

	return percent < 100 ? (uint8_t)percent : 100;
}

/* Copies of the strings in an agent's report, to which a struct vm_input points. */
struct report_words {
	char throttle_why[WIRE_STATS_VALUE_MAX + 1];
	char clock_why[WIRE_STATS_VALUE_MAX + 1];
	char way[WIRE_STATS_VALUE_MAX + 1];
	char step[WIRE_STATS_VALUE_MAX + 1];
};

/* Parse @stats, the key/value pairs of an agent's report. Store in @in what the state machine
 * needs. Strings are copied to @words, and @in points to the copies. */
static void find_signs(const char *stats, struct vm_input *in, struct report_words *words)
{
	char key[WIRE_STATS_KEY_MAX + 1], value[WIRE_STATS_VALUE_MAX + 1];

	/* Each pair has at most one place in @in. Unknown keys are for other readers: skip them. */
	while (wire_stats_next(&stats, key, value)) {
		if (strcmp(key, "throttle_percent") == 0) {
			in->throttle_percent = percent_of(value);
		} else if (strcmp(key, "throttle_why") == 0) {
			memcpy(words->throttle_why, value, sizeof(value));
			in->throttle_why = words->throttle_why;
		} else if (strcmp(key, "uncovered") == 0) {
			in->is_uncovered = true;
		} else if (strcmp(key, "covered_again") == 0) {
			in->is_covered_again = true;
		} else if (strcmp(key, "guest_found") == 0) {
			in->is_guest_found = strcmp(value, "1") == 0;
		} else if (strcmp(key, "suspended") == 0) {
			in->knows_suspended = true;
			in->is_suspended = strcmp(value, "1") == 0;
		} else if (strcmp(key, "way") == 0) {
			memcpy(words->way, value, sizeof(value));
			in->way = words->way;
		} else if (strcmp(key, "release_mended") == 0) {
			in->n_mended = strtoull(value, NULL, 10);
		} else if (strcmp(key, "clock_alarm_percent") == 0) {
			in->clock_alarm_percent = percent_of(value);
		} else if (strcmp(key, "clock_why") == 0) {
			memcpy(words->clock_why, value, sizeof(value));
			in->clock_why = words->clock_why;
		} else if (strcmp(key, "step") == 0) {
			memcpy(words->step, value, sizeof(value));
			in->step = words->step;
		} else if (strcmp(key, "step_moves") == 0) {
			in->n_moves = strtoull(value, NULL, 10);
		} else if (strcmp(key, "move_stopped_us") == 0) {
			in->move_stopped_us = strtoull(value, NULL, 10);
		} else if (strcmp(key, "held_copied_bytes") == 0) {
			in->copied_bytes = strtoull(value, NULL, 10);
		} else if (strcmp(key, "held_copy_bytes") == 0) {
			in->copy_bytes = strtoull(value, NULL, 10);
		} else if (strncmp(key, "cold", 4) == 0) {
			find_cold(key, value, &in->cold);
		} else {
			find_guest(key, value, &in->guest);
		}
	}
}

/* How two texts about the same host differ. */
enum difference {
	DIFFERENCE_NONE, /* equal, or different only in an amount ("for 9 s") */
	/* different in a number that may identify another line, disk or process */
	DIFFERENCE_NUMBER,
	DIFFERENCE_TEXT,
};

/* Does @unit, the text after a number, begin with a unit? Then the number is an amount. */
static bool is_amount(const char *unit)
{
	static const char *const units[] = {" ms", " s", " min", " h", " %", "%",
					    " bytes", " KiB", " MiB", " GiB"};

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		size_t n = strlen(units[i]);

		if (strncmp(unit, units[i], n) == 0 && !isalnum((unsigned char)unit[n]))
			return true;
	}
	return false;
}

static enum difference compare_reasons(const char *a, const char *b)
{
	static const char digits[] = "0123456789";
	enum difference difference = DIFFERENCE_NONE;

	for (;;) {
		size_t n_a = strspn(a, digits), n_b = strspn(b, digits);

		if (a[n_a] != b[n_b])
			return DIFFERENCE_TEXT;
		if ((n_a != n_b || memcmp(a, b, n_a) != 0) && !is_amount(a + n_a))
			difference = DIFFERENCE_NUMBER;
		a += n_a;
		b += n_b;
		if (!*a)
			return difference;
		a++;
		b++;
	}
}

/* If an event may report the present reason of @report now, returns the place in @report->told
 * where this reason must be stored. Otherwise returns NULL. */
static struct fleet_told *find_place(struct fleet_report *report, uint64_t now_ns)
{
	enum difference nearest = DIFFERENCE_TEXT;
	struct fleet_told *place = &report->told[0], *same = NULL;

	for (size_t i = 0; i < FLEET_N_TOLD; i++) {
		struct fleet_told *told = &report->told[i];
		enum difference difference = compare_reasons(report->text, told->text);

		if (told->at_ns < place->at_ns)
			place = told; /* the oldest */
		if (!told->at_ns || told->state != report->state || difference > nearest)
			continue;
		nearest = difference;
		same = difference == DIFFERENCE_NONE ? told : NULL;
	}
	if (same && same == report->told_last)
		return NULL;
	place = same ? same : place;
	if ((report->told_ns && now_ns - report->told_ns < HINDRANCE_NS) ||
	    (place->at_ns && now_ns - place->at_ns < AGAIN_NS))
		return NULL;
	if (nearest == DIFFERENCE_NUMBER &&
	    !rate_pass(&report->numbers_rate, NUMBERS_NS, NUMBERS_BURST, now_ns))
		return NULL;
	return place;
}

/* Give an event that says why a host cannot work for @vm, for example because one of its files is
 * wrong. There is no event while the reason stays the same, or within HINDRANCE_NS of the last
 * event. A reason that was reported within the last AGAIN_NS is reported again only if the agent's
 * state has changed. So reasons that take turns cause few events. A rate limits events whose
 * reasons differ only in their numbers. */
static void tell_hindrance(struct fleet *fleet, const struct fleet_vm *vm, uint8_t host,
			   struct fleet_report *report, uint64_t now_ns)
{
	struct fleet_told *told;
	char text[VM_TEXT_MAX];

	if (report->state != WIRE_STATE_IDLE && report->state != WIRE_STATE_FENCED &&
	    report->state != WIRE_STATE_LOST)
		return;
	told = *report->text ? find_place(report, now_ns) : NULL;
	if (!*report->text)
		report->told_last = NULL;
	if (!told)
		return;
	*told = (struct fleet_told){.at_ns = now_ns, .state = report->state};
	strcpy(told->text, report->text);
	report->told_last = told;
	report->told_ns = now_ns;
	(void)snprintf(text, sizeof(text), "%s: %s", vm->config.host[host], report->text);
	fleet_event(fleet, now_ns, vm->config.name, "host", text);
}

/* Give an event for each new message about the disks or RAM in an agent's report. */
static void tell_news(struct fleet *fleet, const struct fleet_vm *vm, uint8_t host,
		      struct fleet_report *report, uint64_t now_ns)
{
	static const char *const keys[FLEET_N_NEWS] = {"disk_copy_news", "disk_verify_news",
						     "ram_verify_news"};
	static const char *const kinds[FLEET_N_NEWS] = {"disk", "disk", "ram"};
	char key[WIRE_STATS_KEY_MAX + 1], value[WIRE_STATS_VALUE_MAX + 1], text[VM_TEXT_MAX];
	const char *stats = report->stats;

	while (wire_stats_next(&stats, key, value)) {
		for (size_t i = 0; i < FLEET_N_NEWS; i++) {
			if (strcmp(key, keys[i]) != 0 || !*value ||
			    strcmp(value, report->told_news[i]) == 0)
				continue;
			strcpy(report->told_news[i], value);
			(void)snprintf(text, sizeof(text), "%s: %s", vm->config.host[host], value);
			fleet_event(fleet, now_ns, vm->config.name, kinds[i], text);
		}
	}
}

void fleet_take_report(struct fleet *fleet, struct fleet_vm *vm, uint8_t host, uint64_t term,
		       uint64_t epoch, const struct wire_report *msg, uint64_t now_ns)
{
	struct fleet_report *report = &vm->report[host];
	struct vm_input in = {
		.kind = VM_IN_REPORT, .host = host, .role = msg->role, .agent_state = msg->state,
		.verdict = msg->verdict, .term = term, .epoch = epoch, .text = msg->text,
	};
	struct report_words words;

	report->at_ns = now_ns;
	report->term = term;
	report->epoch = epoch;
	report->role = msg->role;
	report->state = msg->state;
	report->verdict = msg->verdict;
	memcpy(report->text, msg->text, sizeof(report->text));
	memcpy(report->stats, msg->stats, sizeof(report->stats));
	health_read_signs(msg->stats, &report->signs);
	find_signs(msg->stats, &in, &words);
	tell_hindrance(fleet, vm, host, report, now_ns);
	tell_news(fleet, vm, host, report, now_ns);
	/* Ignore errors, because the next report repeats the input. */
	(void)fleet_step(fleet, vm, &in, now_ns);
	witness_keys_offer(fleet, vm, now_ns);
}
