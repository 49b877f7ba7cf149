/* Tests the role that an agent stores for its successor. */
#include "vm/vm_role_private.h"

#include "wire/limits.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static char dir[] = "/tmp/holdfast-role-XXXXXX", kept[] = "/tmp/holdfast-kept-XXXXXX";

static void put(const char *text)
{
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "%s/web1.role", dir);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void no_file_is_no_role(void **state)
{
	enum vm_role role = VM_ROLE_FENCED;
	uint64_t term = 7;
	bool is_booted = true;

	(void)state;
	assert_int_equal(vm_role_load(dir, kept, "none", &role, &term, &is_booted), 0);
	assert_int_equal(role, VM_ROLE_NONE);
	assert_int_equal(term, 0);
	assert_false(is_booted);
}

static void every_role_comes_back(void **state)
{
	(void)state;
	for (int r = VM_ROLE_NONE; r <= VM_ROLE_FENCED; r++) {
		enum vm_role role;
		uint64_t term;
		bool is_booted = true;

		assert_int_equal(vm_role_store(dir, kept, "web1", (enum vm_role)r, WIRE_TERM_MAX),
				 0);
		assert_int_equal(vm_role_load(dir, kept, "web1", &role, &term, &is_booted), 0);
		assert_int_equal(role, r);
		assert_true(term == WIRE_TERM_MAX);
		assert_false(is_booted);
	}
}

/* After a boot, run_dir is empty, so the role on disk counts. The agent treats this role as older
 * than the boot, until a new role is written. */
static void a_role_outlives_a_boot(void **state)
{
	enum vm_role role;
	uint64_t term;
	bool is_booted;
	char path[64];

	(void)state;
	assert_int_equal(vm_role_store(dir, kept, "web1", VM_ROLE_FENCED, 5), 0);
	snprintf(path, sizeof(path), "%s/web1.role", dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(vm_role_load(dir, kept, "web1", &role, &term, &is_booted), 0);
	assert_int_equal(role, VM_ROLE_FENCED);
	assert_int_equal(term, 5);
	assert_true(is_booted);
	assert_int_equal(vm_role_store(dir, kept, "web1", VM_ROLE_STANDBY, 6), 0);
	assert_int_equal(vm_role_load(dir, kept, "web1", &role, &term, &is_booted), 0);
	assert_int_equal(role, VM_ROLE_STANDBY);
	assert_false(is_booted);
	/* A disk that cannot be written is an error, and the stored role stays readable and
	 * unchanged. */
	assert_int_equal(vm_role_store(dir, "/nowhere", "web1", VM_ROLE_PRIMARY, 7), -ENOENT);
	assert_int_equal(vm_role_load(dir, kept, "web1", &role, &term, &is_booted), 0);
	assert_int_equal(role, VM_ROLE_STANDBY);
}

static void damage_is_told(void **state)
{
	static const char *const damaged[] = {
		"", "primary", "primary \n", "primary 3", "primary x\n", "prim 3\n",
		"primary 3\nprimary 4\n", "primary 99999999999999999999999\n",
		"primary 72057594037927936\n", /* 2^56: too large for a term */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(damaged) / sizeof(damaged[0]); i++) {
		enum vm_role role = VM_ROLE_STANDBY;
		uint64_t term = 9;
		bool is_booted;

		put(damaged[i]);
		assert_int_equal(vm_role_load(dir, kept, "web1", &role, &term, &is_booted),
				 -EINVAL);
		assert_int_equal(role, VM_ROLE_STANDBY);
		assert_int_equal(term, 9);
	}
}

static int remove_dir(void **state)
{
	char path[64];

	(void)state;
	snprintf(path, sizeof(path), "%s/web1.role", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/web1.role", kept);
	unlink(path);
	return rmdir(dir) | rmdir(kept);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_file_is_no_role),
		cmocka_unit_test(every_role_comes_back),
		cmocka_unit_test(a_role_outlives_a_boot),
		cmocka_unit_test(damage_is_told),
	};

	if (!mkdtemp(dir) || !mkdtemp(kept))
		return 1;
	return cmocka_run_group_tests(tests, NULL, remove_dir);
}
