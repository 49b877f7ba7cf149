/* test_room.c - tests how two standbys claim space in one file system. The claimed sizes are far
 * apart, because other processes can write to that file system during the test. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/statvfs.h>

#include <cmocka.h>

#include "standby/room.h"

static const char dir[] = "/tmp";

static void test_claims(void **state)
{
	struct room first = {0}, second = {0};
	uint64_t all, left = 0;
	struct statvfs fs;

	(void)state;
	assert_int_equal(statvfs(dir, &fs), 0);
	all = (uint64_t)fs.f_bavail * fs.f_frsize;
	assert_int_equal(room_claim(&first, dir, all / 10 * 6, &left), 0);
	assert_int_equal(room_claim(&second, dir, all / 10 * 6, &left), -ENOSPC);
	assert_true(left > all / 10 && left < all / 10 * 6);
	/* The standby that could claim nothing sees the first one's claim, too. */
	assert_true(room_free_bytes(&second, dir) < all / 10 * 6);
	assert_int_equal(room_claim(&second, dir, all / 10, &left), 0);
	/* A standby's second claim replaces its first; the two do not add up. */
	assert_int_equal(room_claim(&first, dir, all / 10 * 6, &left), 0);
	assert_int_equal(room_claim(&second, dir, all / 10 * 6, &left), -ENOSPC);
	/* The claimed space is not used yet. So it counts as free for the standby that claimed it,
	 * but not for the other standby. */
	assert_true(room_free_bytes(&first, dir) > all / 10 * 8);
	assert_true(room_free_bytes(&second, dir) < all / 10 * 6);
	assert_int_equal(room_free_bytes(&first, "/nonexistent"), 0);
	room_release(&first);
	room_release(&first);
	assert_int_equal(room_claim(&second, dir, all / 10 * 6, &left), 0);
	room_release(&second);
	assert_int_equal(room_claim(&first, dir, UINT64_MAX, &left), -ENOSPC);
	assert_int_equal(room_claim(&first, "/nonexistent", 1, &left), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_claims)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
