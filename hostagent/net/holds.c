#include "net/holds.h"

#include <errno.h>
#include <net/if.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "ebpf/hold_prog.h"

#define SLOTS_MAX TAP_NAMES_MAX

struct holds {
	/* set by holds_open() */
	struct hold *hold[TAP_NAMES_MAX];
	struct tap_names taps;
	uint32_t n;
	int epoll_fd; /* -1 with one card, whose own descriptor is used */
	/* changes while running */
	uint32_t n_untold; /* frames that were received, but are not yet part of a result of
			    * holds_receive() */
	struct error trouble; /* the text of holds_trouble() */
};

_Static_assert(HOLD_VM_NAME_MAX >= 63 + sizeof("+7") - 1, "a hold's name is the VM's and its slot");
_Static_assert(SLOTS_MAX <= 10, "a slot's number has one digit");

/* The name and the directory of the hold in one slot. */
struct place {
	char vm[HOLD_VM_NAME_MAX + 1];
	char pin_dir[HOLD_PIN_DIR_BYTES];
};

static int find_place(const char *vm, const char *pin_dir, uint32_t slot, struct place *ret)
{
	char suffix[4] = "";

	if (slot > 0)
		(void)snprintf(suffix, sizeof(suffix), "+%u", slot % 10);
	if (snprintf(ret->vm, sizeof(ret->vm), "%s%s", vm, suffix) >= (int)sizeof(ret->vm) ||
	    snprintf(ret->pin_dir, sizeof(ret->pin_dir), "%s%s", pin_dir, suffix) >=
		    (int)sizeof(ret->pin_dir))
		return -ENAMETOOLONG;
	return 0;
}

int holds_find(const char *pin_dir, int ifindex, char ret_dir[HOLD_PIN_DIR_BYTES])
{
	struct place place;

	for (uint32_t slot = 0; slot < SLOTS_MAX; slot++) {
		if (find_place("", pin_dir, slot, &place) < 0)
			return -ENAMETOOLONG;
		if (hold_prog_pinned_tap(place.pin_dir) != ifindex)
			continue;
		memcpy(ret_dir, place.pin_dir, sizeof(place.pin_dir));
		return 0;
	}
	return -ENOENT;
}

/* For each slot: the index of its tap; -1: it has none. */
struct slots {
	int tap[SLOTS_MAX];
};

/* Give each tap a slot: the one where its hold is pinned, otherwise a free one. */
static int assign_slots(const struct holds_config *config, struct slots *ret)
{
	bool has_slot[TAP_NAMES_MAX] = {false};
	struct place place;

	for (uint32_t slot = 0; slot < SLOTS_MAX; slot++) {
		int pinned, r = find_place(config->vm, config->pin_dir, slot, &place);

		if (r < 0)
			return r;
		ret->tap[slot] = -1;
		pinned = hold_prog_pinned_tap(place.pin_dir);
		for (uint32_t i = 0; pinned > 0 && i < config->taps->n; i++) {
			if (!has_slot[i] &&
			    (int)if_nametoindex(config->taps->name[i]) == pinned) {
				ret->tap[slot] = (int)i;
				has_slot[i] = true;
			}
		}
	}
	for (uint32_t i = 0; i < config->taps->n; i++) {
		for (uint32_t slot = 0; !has_slot[i]; slot++) {
			if (ret->tap[slot] >= 0)
				continue;
			ret->tap[slot] = (int)i;
			has_slot[i] = true;
		}
	}
	return 0;
}

/* Open the hold of tap @tap in slot @slot. @keeps_kind: a pinned hold keeps its kind (with or
 * without offloads), whatever @config says. */
static int open_one(const struct holds_config *config, uint32_t slot, int tap, bool keeps_kind,
		    struct hold **ret, struct error *ret_error)
{
	struct place place;
	struct hold_config one = {
		.vm = place.vm,
		.tap = config->taps->name[tap],
		.pin_dir = place.pin_dir,
		.frames_max = config->frames_max,
		.bytes_max = config->bytes_max,
		.is_offload = (config->offloads >> tap & 1) != 0,
	};
	int r = find_place(config->vm, config->pin_dir, slot, &place);

	if (r < 0)
		return error_set(ret_error, r, "VM name '%s': too long", config->vm);
	if (keeps_kind)
		one.is_offload = hold_prog_pinned_is_offload(place.pin_dir);
	return hold_open(&one, ret, ret_error);
}

static int check(const struct holds_config *config, struct error *ret_error)
{
	if (config->taps->n == 0)
		return error_set(ret_error, -EINVAL, "no tap is named: nothing could be held");
	return 0;
}

/* Make one descriptor that is readable when the descriptor of at least one card is readable. */
static int open_fd(struct holds *h, struct error *ret_error)
{
	if (h->n == 1)
		return 0;
	h->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (h->epoll_fd < 0)
		return error_set(ret_error, -errno, "no epoll descriptor: %s", strerror(errno));
	for (uint32_t i = 0; i < h->n; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};

		if (epoll_ctl(h->epoll_fd, EPOLL_CTL_ADD, hold_fd(h->hold[i]), &event) < 0)
			return error_set(ret_error, -errno, "tap %s: its frames cannot be waited "
					 "for: %s", h->taps.name[i], strerror(errno));
	}
	return 0;
}

/* Undo what a failed holds_open() opened. A hold that was closed before stays closed. */
static void abandon(struct holds *h)
{
	for (uint32_t i = 0; i < h->n; i++) {
		if (hold_mode(h->hold[i]) == HOLD_PASS)
			(void)hold_detach(h->hold[i]); /* the caller reports the first error */
		else
			hold_close(h->hold[i]);
	}
	fd_close(h->epoll_fd);
	free(h);
}

/* Close all holds, if an earlier agent left one of them closed. If a tap was made anew since then,
 * its hold is new, and would pass frames. */
static void close_if_one_is_closed(struct holds *h)
{
	if (holds_mode(h) == HOLD_PASS)
		return;
	for (uint32_t i = 0; i < h->n; i++)
		if (hold_mode(h->hold[i]) == HOLD_PASS)
			(void)!hold_set_mode(h->hold[i], HOLD_DROP); /* cannot fail */
}

/* Remove holds that are left in slots without a tap. */
static int clear_slots(const struct holds_config *config, const struct slots *slots,
		       struct error *ret_error)
{
	struct place place;
	int r = 0;

	for (uint32_t slot = 0; r == 0 && slot < SLOTS_MAX; slot++) {
		if (slots->tap[slot] >= 0)
			continue;
		r = find_place(config->vm, config->pin_dir, slot, &place);
		if (r == 0 && access(place.pin_dir, F_OK) == 0)
			r = hold_remove_left(place.vm, place.pin_dir);
		if (r < 0)
			(void)error_set(ret_error, r,
					"an earlier hold in %s cannot be removed: %s",
					place.pin_dir, strerror(-r));
	}
	return r;
}

int holds_open(const struct holds_config *config, struct holds **ret, struct error *ret_error)
{
	struct slots slots;
	struct holds *h;
	int r;

	ret_error->text[0] = '\0';
	r = check(config, ret_error);
	if (r < 0)
		return r;
	h = calloc(1, sizeof(*h));
	if (!h)
		return error_set(ret_error, -ENOMEM, "out of memory");
	h->epoll_fd = -1;
	r = assign_slots(config, &slots);
	if (r < 0)
		(void)error_set(ret_error, r, "pin directory '%s': too long", config->pin_dir);
	for (uint32_t slot = 0; r == 0 && slot < SLOTS_MAX; slot++) {
		if (slots.tap[slot] < 0)
			continue;
		r = open_one(config, slot, slots.tap[slot], false, &h->hold[h->n], ret_error);
		if (r == 0)
			(void)!tap_names_add(&h->taps, config->taps->name[slots.tap[slot]]);
		h->n += r == 0;
	}
	if (r == 0)
		close_if_one_is_closed(h);
	if (r == 0)
		r = open_fd(h, ret_error);
	if (r == 0)
		r = clear_slots(config, &slots, ret_error);
	if (r < 0) {
		abandon(h);
		return r;
	}
	*ret = h;
	return 0;
}

int holds_shut(const struct holds_config *config, struct error *ret_error)
{
	struct slots slots;
	int r = check(config, ret_error);

	if (r < 0)
		return r;
	r = assign_slots(config, &slots);
	if (r < 0)
		return error_set(ret_error, r, "pin directory '%s': too long", config->pin_dir);
	for (uint32_t slot = 0; slot < SLOTS_MAX; slot++) {
		struct hold *hold;
		struct error error;
		int q;

		if (slots.tap[slot] < 0)
			continue;
		q = open_one(config, slot, slots.tap[slot], true, &hold, &error);
		if (q == 0)
			hold_close(hold);
		else if (r == 0)
			r = error_set(ret_error, q, "%s", error.text);
	}
	return r;
}

int holds_detach(struct holds *h)
{
	int r = 0;

	if (!h)
		return 0;
	for (uint32_t i = 0; i < h->n; i++) {
		int q = hold_detach(h->hold[i]);

		r = r < 0 ? r : q;
	}
	fd_close(h->epoll_fd);
	free(h);
	return r;
}

void holds_close(struct holds *h)
{
	if (!h)
		return;
	for (uint32_t i = 0; i < h->n; i++)
		hold_close(h->hold[i]);
	fd_close(h->epoll_fd);
	free(h);
}

int holds_remove_left(const char *vm, const char *pin_dir)
{
	struct place place;
	int r = 0;

	for (uint32_t slot = 0; slot < SLOTS_MAX; slot++) {
		int q = find_place(vm, pin_dir, slot, &place);

		if (q == 0 && (slot == 0 || access(place.pin_dir, F_OK) == 0))
			q = hold_remove_left(place.vm, place.pin_dir);
		r = r < 0 ? r : q;
	}
	return r;
}

void holds_set_epoch(struct holds *h, uint64_t epoch)
{
	for (uint32_t i = 0; i < h->n; i++)
		hold_set_epoch(h->hold[i], epoch);
}

uint64_t holds_epoch(const struct holds *h)
{
	uint64_t epoch = 0;

	for (uint32_t i = 0; i < h->n; i++)
		if (hold_epoch(h->hold[i]) > epoch)
			epoch = hold_epoch(h->hold[i]);
	return epoch;
}

int holds_set_mode(struct holds *h, enum hold_mode mode)
{
	if (mode > HOLD_PASS)
		return -EINVAL;
	for (uint32_t i = 0; i < h->n; i++)
		if (mode == HOLD_HOLD && hold_epoch(h->hold[i]) == 0)
			return -EINVAL;
	for (uint32_t i = 0; i < h->n; i++)
		(void)!hold_set_mode(h->hold[i], mode); /* cannot fail: checked above */
	return 0;
}

enum hold_mode holds_mode(const struct holds *h)
{
	for (uint32_t i = 0; i < h->n; i++)
		if (hold_mode(h->hold[i]) != HOLD_PASS)
			return hold_mode(h->hold[i]);
	return HOLD_PASS;
}

/* Returns true if @is returns true for the hold of at least one card. */
static bool is_any(const struct holds *h, bool (*is)(const struct hold *hold))
{
	for (uint32_t i = 0; i < h->n; i++)
		if (is(h->hold[i]))
			return true;
	return false;
}

bool holds_is_taken_over(const struct holds *h)
{
	return is_any(h, hold_is_taken_over);
}

int holds_fd(const struct holds *h)
{
	return h->n == 1 ? hold_fd(h->hold[0]) : h->epoll_fd;
}

int holds_receive(struct holds *h)
{
	uint32_t n;
	int r = 0;

	for (uint32_t i = 0; i < h->n; i++) {
		int q = hold_receive(h->hold[i]);

		if (q > 0)
			h->n_untold += (uint32_t)q;
		r = r < 0 || q > 0 ? r : q;
	}
	if (r < 0)
		return r;
	n = h->n_untold;
	h->n_untold = 0;
	return (int)n;
}

int holds_release(struct holds *h, uint64_t epoch)
{
	int r = 0, n = 0;

	if (epoch >= holds_epoch(h))
		return -EINVAL;
	for (uint32_t i = 0; i < h->n; i++) {
		int q = hold_release(h->hold[i], epoch);

		n += q > 0 ? q : 0;
		r = r < 0 || q > 0 ? r : q;
	}
	return r < 0 ? r : n;
}

const char *holds_trouble(struct holds *h)
{
	h->trouble.text[0] = '\0';
	for (uint32_t i = 0; i < h->n && !*h->trouble.text; i++) {
		const char *text = hold_trouble(h->hold[i]);

		if (*text && h->n > 1)
			(void)error_set(&h->trouble, 0, "tap %s: %s", h->taps.name[i], text);
		else if (*text)
			(void)error_set(&h->trouble, 0, "%s", text);
	}
	return h->trouble.text;
}

bool holds_is_sending(const struct holds *h)
{
	return is_any(h, hold_is_sending);
}

bool holds_needs_seal(const struct holds *h)
{
	return is_any(h, hold_needs_seal);
}

void holds_discard(struct holds *h)
{
	for (uint32_t i = 0; i < h->n; i++)
		hold_discard(h->hold[i]);
}

uint64_t holds_oldest_epoch(const struct holds *h)
{
	uint64_t oldest = UINT64_MAX;

	for (uint32_t i = 0; i < h->n; i++)
		if (hold_oldest_epoch(h->hold[i]) < oldest)
			oldest = hold_oldest_epoch(h->hold[i]);
	return oldest;
}

uint32_t holds_count(const struct holds *h)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < h->n; i++)
		n += hold_count(h->hold[i]);
	return n;
}

uint64_t holds_bytes(const struct holds *h)
{
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < h->n; i++)
		bytes += hold_bytes(h->hold[i]);
	return bytes;
}

/* Add the counters of one card, @s, to @sum. */
static void add_stats(struct hold_stats *sum, const struct hold_stats *s)
{
	static const size_t sums[] = {
#define MEMBER(name) offsetof(struct hold_stats, name)
		MEMBER(bytes), MEMBER(received), MEMBER(released), MEMBER(dropped_limit_frames),
		MEMBER(dropped_limit_bytes), MEMBER(dropped_bad_stamp), MEMBER(hold_ns_sum),
		MEMBER(n_mended), MEMBER(prog_held), MEMBER(prog_passed),
		MEMBER(prog_dropped_mode), MEMBER(prog_dropped_no_socket),
		MEMBER(prog_dropped_long), MEMBER(prog_dropped_stamp), MEMBER(prog_dropped_stray),
		MEMBER(kernel_rx_dropped), MEMBER(kernel_rx_ring_full),
		MEMBER(kernel_rx_no_buffer), MEMBER(kernel_tx_invalid),
#undef MEMBER
	};

	_Static_assert(sizeof(struct hold_stats) == (ARRAY_SIZE(sums) + 5) * sizeof(uint64_t),
		       "a new counter must be added here");
	for (size_t i = 0; i < ARRAY_SIZE(sums); i++) {
		uint64_t a, b;

		memcpy(&a, (const char *)sum + sums[i], sizeof(a));
		memcpy(&b, (const char *)s + sums[i], sizeof(b));
		a += b;
		memcpy((char *)sum + sums[i], &a, sizeof(a));
	}
	sum->frames += s->frames;
	sum->frames_sent_pending += s->frames_sent_pending;
	if (s->hold_ns_max > sum->hold_ns_max)
		sum->hold_ns_max = s->hold_ns_max;
	if (s->frames_peak > sum->frames_peak)
		sum->frames_peak = s->frames_peak;
}

int holds_stats(struct holds *h, struct hold_stats *ret)
{
	struct hold_stats sum = {.epoch = holds_epoch(h), .mode = holds_mode(h)}, one;

	for (uint32_t i = 0; i < h->n; i++) {
		int r = hold_stats(h->hold[i], &one);

		if (r < 0)
			return r;
		add_stats(&sum, &one);
	}
	*ret = sum;
	return 0;
}
