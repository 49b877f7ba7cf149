/* Tests which answers to query-block let a guest be protected. */
#include "vmm/disks.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static int judge(const char *text, struct error *error)
{
	json_t *answer = json_loads(text, JSON_DECODE_ANY, NULL);
	int r;

	assert_non_null(answer);
	r = vmm_judge_disks(answer, error);
	json_decref(answer);
	return r;
}

static void guests_without_disks(void **state)
{
	static const char *const texts[] = {
		"[]",
		"[{\"device\":\"ide1-cd0\",\"type\":\"unknown\"},{\"device\":\"floppy0\"}]",
		"[{\"device\":\"cd\",\"inserted\":{\"ro\":true,\"file\":\"a.iso\"}}]",
	};
	struct error error;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(judge(texts[i], &error), 0);
}

static void a_writable_disk_is_named(void **state)
{
	struct error error;

	(void)state;
	assert_int_equal(
		judge("[{\"device\":\"cd\",\"inserted\":{\"ro\":true}},"
		      "{\"device\":\"ide0-hd0\","
		      "\"inserted\":{\"ro\":false,\"file\":\"/d/web.img\"}}]",
		      &error),
		-ENOTSUP);
	assert_non_null(strstr(error.text, "ide0-hd0"));
	assert_non_null(strstr(error.text, "/d/web.img"));
	/* A -blockdev disk has no legacy device name, and a missing `ro` does not mean
	 * read-only. */
	assert_int_equal(
		judge("[{\"device\":\"\",\"qdev\":\"/machine/disk0\",\"inserted\":{}}]", &error),
		-ENOTSUP);
	assert_non_null(strstr(error.text, "/machine/disk0"));
}

static void other_answers_are_refused(void **state)
{
	struct error error;

	(void)state;
	assert_int_equal(judge("{}", &error), -EPROTO);
	assert_int_equal(judge("\"x\"", &error), -EPROTO);
	assert_int_equal(judge("[3]", &error), 0); /* not an object, so no disk */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(guests_without_disks),
		cmocka_unit_test(a_writable_disk_is_named),
		cmocka_unit_test(other_answers_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
