/* Tests vmm/rx_filter.h: which answers to query-rx-filter allow a guest to be protected, and which
 * do not. */
#include "vmm/rx_filter.h"

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
	r = vmm_judge_rx_filter(answer, error);
	json_decref(answer);
	return r;
}

static void no_vlan_would_be_lost(void **state)
{
	static const char *const texts[] = {
		"[]", /* no card has an rx filter */
		"[{\"name\":\"n0\",\"promiscuous\":false,\"vlan\":\"normal\",\"vlan-table\":[]}]",
		"[{\"name\":\"n0\",\"promiscuous\":false,\"vlan\":\"normal\",\"vlan-table\":[0]}]",
		"[{\"name\":\"n0\",\"promiscuous\":false,\"vlan\":\"all\",\"vlan-table\":[]}]",
		"[{\"name\":\"n0\",\"promiscuous\":true,\"vlan\":\"normal\",\"vlan-table\":[0,5]}]",
	};
	struct error error;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		assert_int_equal(judge(texts[i], &error), 0);
}

static void a_driver_that_asks_for_all(void **state)
{
	json_t *table = json_array(), *card = json_object(), *answer = json_array();
	struct error error;

	(void)state;
	for (int id = 1; id <= 4094; id++)
		assert_int_equal(json_array_append_new(table, json_integer(id)), 0);
	assert_int_equal(json_object_set_new(card, "vlan", json_string("normal")), 0);
	assert_int_equal(json_object_set_new(card, "vlan-table", table), 0);
	assert_int_equal(json_array_append_new(answer, card), 0);
	assert_int_equal(vmm_judge_rx_filter(answer, &error), 0);
	json_decref(answer);
}

static void a_vlan_is_named(void **state)
{
	struct error error;

	(void)state;
	assert_int_equal(
		judge("[{\"name\":\"n0\",\"promiscuous\":false,\"vlan\":\"normal\","
		      "\"vlan-table\":[0]},"
		      "{\"name\":\"n1\",\"promiscuous\":false,\"vlan\":\"normal\","
		      "\"vlan-table\":[0,5]}]",
		      &error),
		-ENOTSUP);
	assert_non_null(strstr(error.text, "VLAN 5"));
	assert_non_null(strstr(error.text, "n1"));
	assert_non_null(strstr(error.text, "ctrl_vlan=off"));
}

static void what_is_not_understood(void **state)
{
	struct error error;

	(void)state;
	assert_int_equal(judge("{}", &error), -EPROTO);
	assert_int_equal(judge("[{}, 5, {\"vlan\":7,\"vlan-table\":[\"a\"]}]", &error), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_vlan_would_be_lost),
		cmocka_unit_test(a_driver_that_asks_for_all),
		cmocka_unit_test(a_vlan_is_named),
		cmocka_unit_test(what_is_not_understood),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
