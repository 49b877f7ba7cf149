/* Compares all of the standby's copy because an operator has asked for it: begins a pass over RAM
 * and one over the disks, waits for the end of both, and says what was found. */
#include "epoch/engine_private.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"

uint64_t engine_verify_now(struct engine *engine)
{
	return atomic_fetch_add(&engine->asked.n_wanted, 1) + 1;
}

static void begin(struct engine *e, uint64_t wanted)
{
	struct engine_asked *a = &e->asked;

	a->n_begun = wanted;
	a->is_running = true;
	a->began_epoch = e->epochs.next;
	engine_ram_begin(e);
	engine_verify_begin(e);
	a->ram_differ = e->ram.n_differ;
	a->disk_differ = e->verify.n_differ;
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
	(void)vsnprintf(text + at, WIRE_TEXT_MAX + 1 - at, format, args); /* a long text is cut */
	va_end(args);
}

/* Append what was found about RAM. Returns true if all of it was compared and nothing differed. */
static bool say_ram(const struct engine *e, char text[WIRE_TEXT_MAX + 1])
{
	const struct engine_ram *ram = &e->ram;
	uint64_t n_differ = ram->n_differ - e->asked.ram_differ;

	if (e->config.ram_verify_bytes_per_s == 0) {
		append(text, "RAM is not compared, for ram_verify_bytes_per_s is 0");
		return false;
	}
	if (!ram->has_failed && !ram->has_passed) {
		append(text, "RAM is not compared, for the gateway or the standby's agent is older "
			     "than this one");
		return false;
	}
	if (ram->has_failed)
		append(text, "RAM could not be put right: %s", ram->why.text);
	else
		append(text, "%" PRIu64 " pages of RAM are equal", ram->n_checked);
	if (n_differ > 0 && !ram->has_failed)
		append(text, ", %" PRIu64 " differed and were sent again", n_differ);
	if (ram->n_skipped > 0)
		append(text, ", %" PRIu64 " could not be read and are not compared",
		       ram->n_skipped);
	return !ram->has_failed && n_differ == 0 && ram->n_skipped == 0;
}

/* Append what was found about the disks. Returns true unless something differed. */
static bool say_disks(const struct engine *e, char text[WIRE_TEXT_MAX + 1])
{
	const struct engine_verify *v = &e->verify;
	uint64_t n_differ = v->n_differ - e->asked.disk_differ;

	if (e->disks.n == 0)
		return true;
	append(text, "; ");
	if (v->has_failed) {
		append(text, "the disks could not be put right: %s", v->why.text);
		return false;
	}
	if (!v->has_passed || v->n_left_out == e->disks.n) {
		append(text, "the disks are not compared%s%s", *v->why.text ? ": " : "",
		       v->why.text);
		return true;
	}
	append(text, "%" PRIu64 " blocks of the disks are equal, %" PRIu64 " were being written",
	       v->n_checked, v->n_busy);
	if (v->n_left_out > 0)
		append(text, ", %" PRIu32 " disks are not compared: %s", v->n_left_out,
		       v->why.text);
	if (n_differ > 0)
		append(text, ", %" PRIu64 " differed and were sent again", n_differ);
	return n_differ == 0;
}

static void end(struct engine *e)
{
	char text[WIRE_TEXT_MAX + 1] = "";
	bool is_equal;

	e->asked.is_running = false;
	append(text, "epochs %" PRIu64 " to %" PRIu64 ": ", e->asked.began_epoch,
	       e->epochs.committed);
	is_equal = say_ram(e, text);
	is_equal = say_disks(e, text) && is_equal;
	log_info("vm=%s epoch=%" PRIu64 " the pass that an operator asked for has ended: %s",
		 e->config.vm, e->epochs.next, text);
	pthread_mutex_lock(&e->status_lock);
	e->status.verified.number = e->asked.n_begun;
	e->status.verified.is_equal = is_equal;
	wire_text_format(e->status.verified.text, "%s", text);
	pthread_mutex_unlock(&e->status_lock);
	e->config.changed(e->config.changed_arg);
}

void engine_asked_tick(struct engine *e)
{
	uint64_t wanted = atomic_load(&e->asked.n_wanted);

	if (wanted != e->asked.n_begun)
		begin(e, wanted);
	if (e->asked.is_running && engine_ram_is_over(e) && engine_verify_is_over(e))
		end(e);
}
