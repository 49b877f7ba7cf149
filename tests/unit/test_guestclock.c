/* Tests reading and setting the guest's clock in another process's memory. A child process plays
 * QEMU: it has variables with the same names as QEMU's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "vmm/guestclock.h"
#include "vmm/symbol.h"

/* Without this, ASan would add red zones to the variables and change their size. */
#ifdef __clang__
#define AS_IT_IS __attribute__((no_sanitize("address")))
#else
#define AS_IT_IS
#endif

/* These symbols are exported to modules, as QEMU's are (see this program's link options in
 * meson.build). */
extern uint64_t timers_state[12];
extern uint32_t use_icount;
AS_IT_IS uint64_t timers_state[12] = {1, 2, 3, 1, 5, 6, 7, 8};
AS_IT_IS uint32_t use_icount = 4711;

static pid_t start_child(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	assert_true(pid > 0);
	return pid;
}

static void end_child(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void an_exported_variable_is_found(void **state)
{
	pid_t pid = start_child();
	uint64_t address = 0;

	(void)state;
	assert_int_equal(symbol_find(pid, "timers_state", 96, &address), 0);
	assert_int_equal(address, (uint64_t)(uintptr_t)timers_state);
	assert_int_equal(symbol_find(pid, "use_icount", 4, &address), 0);
	assert_int_equal(address, (uint64_t)(uintptr_t)&use_icount);
	end_child(pid);
}

/* ---- a promotion */

static size_t add_section(uint8_t *at, const char *name, uint32_t version, uint64_t ticks,
			  uint64_t clock);
static size_t add_footer(uint8_t *at);

static void read_child(pid_t pid, uint64_t words[12])
{
	struct iovec local = {words, sizeof(timers_state)},
		     remote = {timers_state, sizeof(timers_state)};

	assert_int_equal(process_vm_readv(pid, &local, 1, &remote, 1, 0),
			 (ssize_t)sizeof(timers_state));
}

/* In timers_state, word 1 is the ticks, word 7 is the clock, and word 3 says whether the clock
 * runs. */
static void a_loaded_clock_is_set_forward_once_it_is_proved(void **state)
{
	const struct clock_words saved = {.ticks = 500, .clock = 100};
	struct clock_words wanted = {.ticks = 500 + 3 * 4000, .clock = 100 + 4000}, other = saved;
	uint8_t blob[256] = "QEVM\0\0\0\3";
	uint64_t words[12], step_ns = 0;
	size_t size = 8;
	pid_t pid;

	(void)state;
	size += add_section(blob + size, "timer", 2, saved.ticks, saved.clock);
	size += add_footer(blob + size);
	timers_state[1] = 500;
	timers_state[7] = 100;
	timers_state[3] = 1; /* the clock runs */
	pid = start_child();
	assert_int_equal(
		guestclock_promote(pid, blob, size, &saved, &wanted, 10000, 3000000000, &step_ns),
		-EBUSY);
	end_child(pid);
	timers_state[3] = 0;
	pid = start_child();
	other.clock++; /* these clock words are not those in the blob */
	assert_int_equal(
		guestclock_promote(pid, blob, size, &other, &wanted, 10000, 3000000000, &step_ns),
		-ESTALE);
	read_child(pid, words);
	assert_memory_equal(words, timers_state, sizeof(words));
	assert_int_equal(
		guestclock_promote(pid, blob, size, &saved, &wanted, 10000, 3000000000, &step_ns),
		0);
	assert_int_equal(step_ns, 4000);
	read_child(pid, words);
	assert_int_equal(words[1], 500 + 3 * 4000);
	assert_int_equal(words[7], 100 + 4000);
	words[1] = 500;
	words[7] = 100;
	assert_memory_equal(words, timers_state, sizeof(words)); /* no other word was changed */
	/* The clock in QEMU's memory was set, so it is no longer the one in the blob. */
	assert_int_equal(
		guestclock_promote(pid, blob, size, &saved, &wanted, 10000, 3000000000, &step_ns),
		-ESTALE);
	end_child(pid);
	pid = start_child();
	wanted.clock = 50; /* the wanted clock is earlier than the loaded one, so no step is made */
	assert_int_equal(
		guestclock_promote(pid, blob, size, &saved, &wanted, 10000, 3000000000, &step_ns),
		0);
	assert_int_equal(step_ns, 0);
	read_child(pid, words);
	assert_memory_equal(words, timers_state, sizeof(words));
	wanted = (struct clock_words){.ticks = UINT64_C(1) << 60,
				      .clock = UINT64_C(1) << 60}; /* too far ahead */
	assert_int_equal(
		guestclock_promote(pid, blob, size, &saved, &wanted, 10000, 3000000000, &step_ns),
		0);
	assert_int_equal(step_ns, 10000);
	read_child(pid, words);
	assert_int_equal(words[7], 100 + 10000);
	assert_int_equal(words[1], 500 + 30000);
	end_child(pid);
}

static void what_is_not_there_is_said(void **state)
{
	pid_t pid = start_child();
	uint64_t address = 12;

	(void)state;
	assert_int_equal(symbol_find(pid, "timers_state", 88, &address), -EMSGSIZE);
	assert_int_equal(symbol_find(pid, "timers_stat", 96, &address), -ENOENT);
	/* main is a function, not a variable */
	assert_int_equal(symbol_find(pid, "main", 96, &address), -ENOENT);
	/* defined in another file */
	assert_int_equal(symbol_find(pid, "memcpy", 96, &address), -ENOENT);
	end_child(pid);
	/* the process has ended */
	assert_int_equal(symbol_find(pid, "timers_state", 96, &address), -ENOENT);
	assert_int_equal(address, 12);
}

/* ---- the saved state */

static size_t add_section(uint8_t *at, const char *name, uint32_t version, uint64_t ticks,
			  uint64_t clock)
{
	struct bytes_writer w = {at, at + 256, false};
	uint8_t size = (uint8_t)strlen(name);

	bytes_write(&w, "\4\0\0\0\7", 5);
	bytes_write(&w, &size, 1);
	bytes_write(&w, name, size);
	bytes_write_be32(&w, 0);
	bytes_write_be32(&w, version);
	bytes_write_be64(&w, ticks);
	bytes_write_be64(&w, 0);
	bytes_write_be64(&w, clock);
	return (size_t)(w.at - at);
}

static size_t add_footer(uint8_t *at)
{
	memcpy(at, "\x7e\0\0\0\7", 5);
	return 5;
}

static void the_saved_clock_is_found(void **state)
{
	uint8_t blob[1024] = "QEVM\0\0\0\3";
	struct clock_words words;
	size_t size = 8, at = 0, there;

	(void)state;
	size += add_section(blob + size, "slirp", 4, 1, 2);
	size += add_footer(blob + size);
	/* Data that contains only the name is not a section. */
	memcpy(blob + size, "\x05timer", 6);
	size += 6;
	there = size;
	size += add_section(blob + size, "timer", 2, UINT64_MAX - 5, 77);
	size += add_footer(blob + size);
	size += add_section(blob + size, "timer", 1, 3, 4); /* an unknown version: skip it */
	assert_int_equal(guestclock_parse(blob, size, &at, &words), 0);
	assert_int_equal(at, there);
	assert_true(words.ticks == UINT64_MAX - 5 && words.clock == 77 && !words.is_running);
	/* The section is found even if *at, a guess of where it begins, is wrong or past the blob's
	 * end. */
	for (size_t guess = 0; guess < sizeof(blob) + 3; guess++) {
		at = guess;
		words.clock = 0;
		assert_int_equal(guestclock_parse(blob, size, &at, &words), 0);
		assert_int_equal(at, there);
		assert_int_equal(words.clock, 77);
	}
	/* If the blob ends before the section or inside it, no clock is found. */
	for (size_t cut = 0; cut < there + 43; cut++) {
		at = there;
		assert_int_equal(guestclock_parse(blob, cut, &at, &words), -ENOENT);
	}
}

static void a_saved_clock_that_is_no_clock_is_refused(void **state)
{
	uint8_t blob[1024] = "QEVM\0\0\0\3";
	struct clock_words words;
	size_t size = 8, at = 0, first;

	(void)state;
	assert_int_equal(guestclock_parse(blob, size, &at, &words), -ENOENT);
	first = size;
	size += add_section(blob + size, "timer", 2, 1, 2);
	memcpy(blob + size, "\5\14timer/icount", 14); /* a subsection follows */
	size += 14;
	assert_int_equal(guestclock_parse(blob, size, &at, &words), -ENOTSUP);
	size = first;
	size += add_section(blob + size, "timer", 2, 1, 2);
	size += add_footer(blob + size);
	size += add_section(blob + size, "timer", 2, 1, 2);
	at = 0;
	assert_int_equal(guestclock_parse(blob, size, &at, &words), -EEXIST);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_exported_variable_is_found),
		cmocka_unit_test(what_is_not_there_is_said),
		cmocka_unit_test(a_loaded_clock_is_set_forward_once_it_is_proved),
		cmocka_unit_test(the_saved_clock_is_found),
		cmocka_unit_test(a_saved_clock_that_is_no_clock_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
