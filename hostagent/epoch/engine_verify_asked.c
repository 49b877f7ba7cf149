/* Compares all of the standby's copy when an operator asks for it: begins a pass over RAM and one
 * over the disks, waits until both have ended, and reports what was found. */
#include "epoch/engine_private.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"

uint64_t engine_verify_now(struct engine *engine)
{
	return atomic_fetch_add(&engine->asked.n_wanted, 1) + 1;
}

static void begin(struct engine *e, uint64_t wanted)
{
	struct engine_asked *a = &e->asked;

	a->n_begun = wanted;
	engine_set_asked(e, ASKED_BOTH, "");
	a->began_epoch = e->epochs.next;
	engine_ram_begin(e);
	engine_verify_begin(e);
	a->ram_differ = e->ram.n_differ;
	a->disk_differ = e->verify.n_differ;
	a->ram = a->disks = (struct engine_part){.found = ENGINE_FOUND_EQUAL};
	log_info("vm=%s epoch=%" PRIu64 " an operator asked to compare all of the standby's copy",
		 e->config.vm, e->epochs.next);
	e->publish_at_ns = 0;
}

static void append(char text[WIRE_TEXT_MAX + 1], const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static void append(char text[WIRE_TEXT_MAX + 1], const char *format, ...)
{
	size_t at = strlen(text);
	va_list args;

	va_start(args, format);
	(void)text_vput(text + at, WIRE_TEXT_MAX + 1 - at, format, args);
	va_end(args);
}

/* Say what was found in RAM. */
static void say_ram(const struct engine *e, struct engine_part *part)
{
	const struct engine_ram *ram = &e->ram;
	uint64_t n_differ = ram->n_differ - e->asked.ram_differ;
	bool has_failed = ram->finding == FINDING_FAILED;
	bool is_compared = has_failed || ram->condition == RAM_PASSED;

	if (e->config.ram_verify_bytes_per_s == 0)
		append(part->text, "RAM is not compared, for ram_verify_bytes_per_s is 0");
	else if (!is_compared)
		append(part->text, "RAM is not compared, for the gateway or the standby's agent is "
				   "older than this one");
	else if (has_failed)
		append(part->text, "RAM could not be put right: %s", ram->why.text);
	else
		append(part->text, "%" PRIu64 " pages of RAM are equal", ram->n_checked);
	if (n_differ > 0 && !has_failed)
		append(part->text, ", %" PRIu64 " differed and were sent again", n_differ);
	if (ram->n_skipped > 0)
		append(part->text, ", %" PRIu64 " could not be read and are not compared",
		       ram->n_skipped);
	if (has_failed || n_differ > 0)
		part->found = ENGINE_FOUND_DIFFERENT;
	else if (!is_compared || ram->n_skipped > 0)
		part->found = ENGINE_FOUND_TOO_LITTLE;
}

/* Say what was found in the disks. */
static void say_disks(const struct engine *e, struct engine_part *part)
{
	const struct engine_verify *v = &e->verify;
	uint64_t n_differ = v->n_differ - e->asked.disk_differ;
	bool has_failed = v->finding == FINDING_FAILED, has_passed = v->condition == VERIFY_PASSED;
	bool is_compared = has_failed || (has_passed && v->n_left_out < e->disks.n);
	bool is_not_whole = v->n_left_out > 0 || v->n_unread > 0;

	if (e->disks.n == 0)
		return;
	append(part->text, "; ");
	if (has_failed)
		append(part->text, "the disks could not be put right: %s", v->why.text);
	else if (!is_compared)
		append(part->text, "the disks are not compared%s%s", *v->why.text ? ": " : "",
		       v->why.text);
	else
		append(part->text,
		       "%" PRIu64 " blocks of the disks are equal, %" PRIu64 " were being written",
		       v->n_checked, v->n_busy);
	if (is_compared && !has_failed && v->n_unread > 0)
		append(part->text, ", %" PRIu64 " could not be read and are not compared",
		       v->n_unread);
	if (is_compared && !has_failed && v->n_left_out > 0)
		append(part->text, ", %" PRIu32 " disks are not compared", v->n_left_out);
	if (n_differ > 0 && !has_failed)
		append(part->text, ", %" PRIu64 " differed%s", n_differ,
		       v->n_unproven > 0 ? "" : " and were sent again");
	if (v->n_unproven > 0 && !has_failed)
		append(part->text, ", %" PRIu64 " that differed could not be compared again",
		       v->n_unproven);
	if (is_compared && !has_failed && is_not_whole)
		append(part->text, ": %s", v->why.text);
	if (has_failed || n_differ > 0 || v->n_unproven > 0)
		part->found = ENGINE_FOUND_DIFFERENT;
	else if (!is_compared || v->n_unread > 0 || v->n_checked == 0)
		part->found = ENGINE_FOUND_TOO_LITTLE;
}

static enum engine_found worse(enum engine_found a, enum engine_found b)
{
	return a > b ? a : b;
}

static void end(struct engine *e)
{
	const struct engine_asked *a = &e->asked;
	char text[WIRE_TEXT_MAX + 1] = "";

	append(text, "epochs %" PRIu64 " to %" PRIu64 ": %s%s", a->began_epoch,
	       e->epochs.committed, a->ram.text, a->disks.text);
	log_info("vm=%s epoch=%" PRIu64 " the pass that an operator asked for has ended: %s",
		 e->config.vm, e->epochs.next, text);
	pthread_mutex_lock(&e->status_lock);
	e->status.verified.number = a->n_begun;
	e->status.verified.found = worse(a->ram.found, a->disks.found);
	wire_text_format(e->status.verified.text, "%s", text);
	pthread_mutex_unlock(&e->status_lock);
	e->config.changed(e->config.changed_arg);
}

/* Keep the first result of each part (RAM, disks): a new pass over one part can begin before the
 * pass over the other part has ended. */
static void look(struct engine *e)
{
	struct engine_asked *a = &e->asked;

	if (a->condition != ASKED_DISKS && engine_ram_is_over(e)) {
		say_ram(e, &a->ram);
		engine_set_asked(e, a->condition == ASKED_BOTH ? ASKED_DISKS : ASKED_NONE, "");
	}
	if (a->condition != ASKED_RAM && a->condition != ASKED_NONE && engine_verify_is_over(e)) {
		say_disks(e, &a->disks);
		engine_set_asked(e, a->condition == ASKED_BOTH ? ASKED_RAM : ASKED_NONE, "");
	}
}

void engine_asked_tick(struct engine *e)
{
	uint64_t wanted = atomic_load(&e->asked.n_wanted);

	if (wanted != e->asked.n_begun)
		begin(e, wanted);
	if (e->asked.condition == ASKED_NONE)
		return;
	look(e);
	if (e->asked.condition == ASKED_NONE)
		end(e);
}
