/* Tests holds.h, the holds of all cards of one guest. This file plays the holds. It checks which of
 * them are opened, closed or removed, and that a guest never passes frames on one card while
 * another is closed. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "ebpf/hold_prog.h"
#include "net/holds.h"

#define PINS "/nonexistent/web1"
#define LO   1 /* the ifindex of the device "lo", which always exists */

/* ---- a simulated hold: the functions of hold.h */

struct hold {
	char vm[HOLD_VM_NAME_MAX + 1], tap[16], pin_dir[64];
	enum hold_mode mode;
	uint64_t epoch, released;
	bool is_taken_over;
	int fd;
	int receives, releases; /* what the next hold_receive() and hold_release() return */
	const char *trouble;
	bool is_sending, needs_seal;
};

/* How hold_open() behaves on each tap. `story` has one entry for the end of each hold. */
static struct {
	const char *fails_on;	    /* hold_open() fails for this tap */
	const char *was_closed_on;  /* an earlier agent left a closed hold on this tap */
	const char *was_passing_on; /* an earlier agent left a hold that passes on this tap */
	const char *pinned_dir;	    /* the directory where a hold on "lo" is pinned */
	const char *pinned_offload; /* the directory with a hold for a card with offloads */
	char kinds[16];             /* of the opened holds, in order: 'o' has offloads, '-' none */
	struct hold *open[TAP_NAMES_MAX];
	int n_open;
	char story[512];
} world;

static void tell(const char *what, const struct hold *h)
{
	size_t used = strlen(world.story);

	(void)snprintf(world.story + used, sizeof(world.story) - used, "%s %s; ", what, h->tap);
}

int hold_open(const struct hold_config *config, struct hold **ret, struct error *ret_error)
{
	struct hold *h;

	ret_error->text[0] = '\0';
	if (world.fails_on && strcmp(config->tap, world.fails_on) == 0)
		return error_set(ret_error, -ENOTCONN, "tap %s is not a port", config->tap);
	h = calloc(1, sizeof(*h));
	assert_non_null(h);
	(void)snprintf(h->vm, sizeof(h->vm), "%s", config->vm);
	(void)snprintf(h->tap, sizeof(h->tap), "%s", config->tap);
	(void)snprintf(h->pin_dir, sizeof(h->pin_dir), "%s", config->pin_dir);
	world.kinds[world.n_open] = config->is_offload ? 'o' : '-';
	assert_int_equal(config->frames_max, 64);
	assert_int_equal(config->bytes_max, 4096);
	h->mode = HOLD_PASS;
	h->trouble = "";
	h->fd = eventfd(0, EFD_CLOEXEC);
	if (world.was_closed_on && strcmp(h->tap, world.was_closed_on) == 0) {
		h->mode = HOLD_HOLD;
		h->epoch = 7;
		h->is_taken_over = true;
	}
	h->is_taken_over |= world.was_passing_on && strcmp(h->tap, world.was_passing_on) == 0;
	world.open[world.n_open++] = h;
	*ret = h;
	return 0;
}

static void end(const char *what, struct hold *h)
{
	tell(what, h);
	close(h->fd);
	free(h);
}

int hold_detach(struct hold *h)
{
	int r = h->releases < 0 ? h->releases : 0;

	end("detach", h);
	return r;
}

void hold_close(struct hold *h)
{
	end("close", h);
}

int hold_remove_left(const char *vm, const char *pin_dir)
{
	assert_string_equal(vm, "web1");
	assert_string_equal(pin_dir, PINS);
	return -EBUSY;
}

void hold_set_epoch(struct hold *h, uint64_t epoch)
{
	h->epoch = epoch;
}

uint64_t hold_epoch(const struct hold *h)
{
	return h->epoch;
}

int hold_set_mode(struct hold *h, enum hold_mode mode)
{
	assert_true(mode != HOLD_HOLD || h->epoch > 0);
	h->mode = mode;
	return 0;
}

enum hold_mode hold_mode(const struct hold *h)
{
	return h->mode;
}

bool hold_is_taken_over(const struct hold *h)
{
	return h->is_taken_over;
}

int hold_fd(const struct hold *h)
{
	return h->fd;
}

int hold_receive(struct hold *h)
{
	return h->receives;
}

int hold_release(struct hold *h, uint64_t epoch)
{
	h->released = epoch;
	return h->releases;
}

const char *hold_trouble(const struct hold *h)
{
	return h->trouble;
}

bool hold_is_sending(const struct hold *h)
{
	return h->is_sending;
}

bool hold_needs_seal(const struct hold *h)
{
	return h->needs_seal;
}

void hold_discard(struct hold *h)
{
	tell("discard", h);
}

uint64_t hold_oldest_epoch(const struct hold *h)
{
	return h->epoch ? h->epoch - 1 : UINT64_MAX;
}

uint32_t hold_count(const struct hold *h)
{
	return (uint32_t)h->epoch;
}

uint64_t hold_bytes(const struct hold *h)
{
	return 100 * h->epoch;
}

/* Set each counter to the hold's epoch. */
int hold_stats(struct hold *h, struct hold_stats *ret)
{
	for (size_t at = 0; at < sizeof(*ret); at += sizeof(uint64_t))
		memcpy((char *)ret + at, &h->epoch, sizeof(uint64_t));
	ret->frames = ret->frames_sent_pending = (uint32_t)h->epoch;
	return h->epoch == 99 ? -EIO : 0;
}

int hold_prog_pinned_tap(const char *pin_dir)
{
	return world.pinned_dir && strcmp(pin_dir, world.pinned_dir) == 0 ? LO : 0;
}

bool hold_prog_pinned_is_offload(const char *pin_dir)
{
	return world.pinned_offload && strcmp(pin_dir, world.pinned_offload) == 0;
}

/* ---- the tests */

static int set_up(void **state)
{
	(void)state;
	memset(&world, 0, sizeof(world));
	return 0;
}

static int open_on(const char *names, struct holds **ret, struct error *error)
{
	struct tap_names taps;
	struct holds_config config = {
		.vm = "web1", .taps = &taps, .pin_dir = PINS, .frames_max = 64, .bytes_max = 4096,
	};

	assert_int_equal(tap_names_parse(names, &taps), 0);
	return holds_open(&config, ret, error);
}

static struct holds *opened(const char *names)
{
	struct holds *h = NULL;
	struct error error;

	assert_int_equal(open_on(names, &h, &error), 0);
	assert_string_equal(error.text, "");
	return h;
}

static void test_places(void **state)
{
	struct holds *h = opened("tap0 tap1 tap2");

	(void)state;
	assert_int_equal(world.n_open, 3);
	assert_string_equal(world.open[0]->vm, "web1");
	assert_string_equal(world.open[0]->pin_dir, PINS);
	assert_string_equal(world.open[0]->tap, "tap0");
	assert_string_equal(world.open[2]->vm, "web1+2");
	assert_string_equal(world.open[2]->pin_dir, PINS "+2");
	assert_string_equal(world.open[2]->tap, "tap2");
	holds_close(h);
	assert_string_equal(world.story, "close tap0; close tap1; close tap2; ");
}

/* Each card has the kind of hold that it needs. */
static void test_kinds(void **state)
{
	struct tap_names taps = {.n = 3, .name = {"tap0", "lo", "tap2"}};
	struct holds_config config = {.vm = "web1", .taps = &taps, .pin_dir = PINS,
				      .frames_max = 64, .bytes_max = 4096, .offloads = 2};
	struct error error;
	struct holds *h;

	(void)state;
	assert_int_equal(holds_open(&config, &h, &error), 0);
	assert_string_equal(world.kinds, "-o-");
	holds_close(h);
	memset(&world, 0, sizeof(world));
	world.pinned_dir = PINS; /* "lo" is pinned in a slot that is not its place in the list */
	assert_int_equal(holds_open(&config, &h, &error), 0);
	assert_string_equal(world.kinds, "o--");
	holds_close(h);
}

/* The file names the taps in another order than the earlier agent's file did. Each tap must get its
 * own pinned hold. Otherwise that hold would be removed while the guest is protected. */
static void test_a_pinned_hold_keeps_its_place(void **state)
{
	struct holds *h;
	char dir[HOLD_PIN_DIR_BYTES] = "";

	(void)state;
	world.pinned_dir = PINS "+1";
	h = opened("lo tap1");
	assert_string_equal(world.open[0]->tap, "tap1");
	assert_string_equal(world.open[0]->pin_dir, PINS);
	assert_string_equal(world.open[1]->tap, "lo");
	assert_string_equal(world.open[1]->pin_dir, PINS "+1");
	holds_close(h);
	assert_int_equal(holds_find(PINS, LO, dir), 0);
	assert_string_equal(dir, PINS "+1");
	assert_int_equal(holds_find(PINS, LO + 1, dir), -ENOENT);
}

static void test_all_are_opened_or_none(void **state)
{
	struct holds *h = NULL;
	struct error error;

	(void)state;
	world.fails_on = "tap2";
	assert_int_equal(open_on("tap0 tap1 tap2", &h, &error), -ENOTCONN);
	assert_string_equal(error.text, "tap tap2 is not a port");
	assert_null(h);
	assert_string_equal(world.story, "detach tap0; detach tap1; ");
}

/* An earlier agent left a closed hold. It stays closed even if the hold on another tap cannot be
 * opened. */
static void test_a_closed_one_stays_closed(void **state)
{
	struct holds *h = NULL;
	struct error error;

	(void)state;
	world.fails_on = "tap2";
	world.was_closed_on = "tap1";
	world.was_passing_on = "tap0";
	assert_int_equal(open_on("tap0 tap1 tap2", &h, &error), -ENOTCONN);
	assert_string_equal(world.story, "detach tap0; close tap1; ");
}

/* An earlier agent was killed while the guest was protected, and two taps were created again. The
 * holds on the new taps are closed too. */
static void test_one_closed_closes_all(void **state)
{
	struct holds *h;

	(void)state;
	world.was_closed_on = "tap1";
	h = opened("tap0 tap1 tap2");
	assert_true(holds_is_taken_over(h));
	assert_int_equal(holds_epoch(h), 7);
	assert_int_equal(holds_mode(h), HOLD_DROP);
	assert_int_equal(world.open[0]->mode, HOLD_DROP);
	assert_int_equal(world.open[1]->mode, HOLD_HOLD);
	assert_int_equal(world.open[2]->mode, HOLD_DROP);
	assert_int_equal(holds_set_mode(h, HOLD_HOLD), -EINVAL); /* two holds have no epoch yet */
	assert_int_equal(world.open[1]->mode, HOLD_HOLD);
	assert_int_equal(world.open[0]->mode, HOLD_DROP);
	holds_set_epoch(h, 8);
	assert_int_equal(holds_set_mode(h, HOLD_HOLD), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(world.open[i]->mode, HOLD_HOLD);
		assert_int_equal(world.open[i]->epoch, 8);
	}
	assert_int_equal(holds_set_mode(h, (enum hold_mode)(HOLD_PASS + 1)), -EINVAL);
	holds_close(h);
}

static void test_taken_over_and_passing(void **state)
{
	struct holds *h;

	(void)state;
	world.was_passing_on = "tap1";
	h = opened("tap0 tap1");
	assert_true(holds_is_taken_over(h));
	assert_int_equal(holds_mode(h), HOLD_PASS);
	assert_int_equal(holds_detach(h), 0);
}

static void test_shut(void **state)
{
	struct tap_names taps = {.n = 3, .name = {"tap0", "tap1", "tap2"}};
	struct holds_config config = {
		.vm = "web1", .taps = &taps, .pin_dir = PINS, .frames_max = 64, .bytes_max = 4096,
	};
	struct error error;

	(void)state;
	world.pinned_offload = PINS "+1";
	assert_int_equal(holds_shut(&config, &error), 0);
	assert_string_equal(world.story, "close tap0; close tap1; close tap2; ");
	assert_string_equal(world.kinds, "-o-"); /* as pinned, not as the cards would need */
	world.story[0] = '\0';
	world.fails_on = "tap1";
	assert_int_equal(holds_shut(&config, &error), -ENOTCONN);
	assert_string_equal(error.text, "tap tap1 is not a port");
	assert_string_equal(world.story, "close tap0; close tap2; ");
	taps.n = 0;
	assert_int_equal(holds_shut(&config, &error), -EINVAL);
}

static void test_receive_and_release(void **state)
{
	struct holds *h = opened("tap0 tap1");

	(void)state;
	holds_set_epoch(h, 5);
	world.open[0]->receives = 2;
	world.open[1]->receives = 3;
	assert_int_equal(holds_receive(h), 5);
	/* One card's path is broken. The next call that succeeds counts the other card's frames of
	 * both calls. */
	world.open[0]->receives = -ENOLINK;
	assert_int_equal(holds_receive(h), -ENOLINK);
	world.open[0]->receives = 0;
	assert_int_equal(holds_receive(h), 6);
	assert_int_equal(holds_release(h, 5), -EINVAL);
	assert_int_equal(world.open[0]->released, 0);
	world.open[0]->releases = 4;
	world.open[1]->releases = 1;
	assert_int_equal(holds_release(h, 4), 5);
	world.open[0]->releases = -ENOLINK;
	assert_int_equal(holds_release(h, 4), -ENOLINK);
	assert_int_equal(world.open[1]->released, 4);
	world.open[0]->releases = -EIO;
	assert_int_equal(holds_detach(h), -EIO);
	assert_string_equal(world.story, "detach tap0; detach tap1; ");
}

static void test_any_card(void **state)
{
	struct holds *h = opened("tap0 tap1");

	(void)state;
	assert_false(holds_is_sending(h));
	assert_false(holds_needs_seal(h));
	assert_string_equal(holds_trouble(h), "");
	world.open[1]->is_sending = world.open[1]->needs_seal = true;
	world.open[1]->trouble = "hfo9 is down";
	assert_true(holds_is_sending(h));
	assert_true(holds_needs_seal(h));
	assert_string_equal(holds_trouble(h), "tap tap1: hfo9 is down");
	holds_discard(h);
	assert_string_equal(world.story, "discard tap0; discard tap1; ");
	holds_close(h);
}

static void test_trouble_of_the_only_card(void **state)
{
	struct holds *h = opened("tap0");

	(void)state;
	assert_int_equal(holds_fd(h), world.open[0]->fd);
	world.open[0]->trouble = "hfo9 is down";
	assert_string_equal(holds_trouble(h), "hfo9 is down");
	holds_close(h);
}

static void test_fd(void **state)
{
	struct holds *h = opened("tap0 tap1");
	struct pollfd p = {.fd = holds_fd(h), .events = POLLIN};
	uint64_t one = 1;

	(void)state;
	assert_int_equal(poll(&p, 1, 0), 0);
	assert_int_equal(write(world.open[1]->fd, &one, sizeof(one)), sizeof(one));
	assert_int_equal(poll(&p, 1, 0), 1);
	assert_int_equal(read(world.open[1]->fd, &one, sizeof(one)), sizeof(one));
	assert_int_equal(poll(&p, 1, 0), 0);
	holds_close(h);
}

static void test_stats(void **state)
{
	struct holds *h = opened("tap0 tap1");
	struct hold_stats s;

	(void)state;
	hold_set_epoch(world.open[0], 3);
	hold_set_epoch(world.open[1], 4);
	assert_int_equal(holds_count(h), 7);
	assert_int_equal(holds_bytes(h), 700);
	assert_int_equal(holds_oldest_epoch(h), 2);
	assert_int_equal(holds_stats(h, &s), 0);
	assert_int_equal(s.epoch, 4);
	assert_int_equal(s.mode, HOLD_PASS);
	assert_int_equal(s.frames, 7);
	assert_int_equal(s.frames_sent_pending, 7);
	assert_int_equal(s.hold_ns_max, 4);
	assert_int_equal(s.frames_peak, 4);
	assert_int_equal(s.received, 7);
	assert_int_equal(s.kernel_tx_invalid, 7);
	assert_int_equal(hold_dropped(&s), 9 * 7);
	hold_set_epoch(world.open[1], 99);
	assert_int_equal(holds_stats(h, &s), -EIO);
	holds_close(h);
}

static void test_remove_left(void **state)
{
	(void)state;
	assert_int_equal(holds_remove_left("web1", PINS), -EBUSY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_places, set_up),
		cmocka_unit_test_setup(test_a_pinned_hold_keeps_its_place, set_up),
		cmocka_unit_test_setup(test_all_are_opened_or_none, set_up),
		cmocka_unit_test_setup(test_a_closed_one_stays_closed, set_up),
		cmocka_unit_test_setup(test_one_closed_closes_all, set_up),
		cmocka_unit_test_setup(test_taken_over_and_passing, set_up),
		cmocka_unit_test_setup(test_shut, set_up),
		cmocka_unit_test_setup(test_kinds, set_up),
		cmocka_unit_test_setup(test_receive_and_release, set_up),
		cmocka_unit_test_setup(test_any_card, set_up),
		cmocka_unit_test_setup(test_trouble_of_the_only_card, set_up),
		cmocka_unit_test_setup(test_fd, set_up),
		cmocka_unit_test_setup(test_stats, set_up),
		cmocka_unit_test_setup(test_remove_left, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
