/* test_neighbours.c - tests the table of MACs by IP address: when an entry is kept, renewed and
 * forgotten. */
#include "stack/neighbours.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static struct neighbours table;
static int ask;

static void mac_of(uint32_t address, uint8_t mac[6])
{
	memset(mac, 2, 6);
	mac[4] = (uint8_t)(address >> 8);
	mac[5] = (uint8_t)address;
}

static void test_a_whole_network(void **state)
{
	uint8_t mac[6];

	(void)state;
	memset(&table, 0, sizeof(table));
	assert_null(neighbours_find(&table, 0, 1, &ask));
	for (uint32_t a = 0xc6124c01; a < 0xc6124c01 + 1022; a++) {
		mac_of(a, mac);
		neighbours_learn(&table, a, mac, 1);
	}
	for (uint32_t a = 0xc6124c01; a < 0xc6124c01 + 1022; a++) {
		mac_of(a, mac);
		assert_memory_equal(neighbours_find(&table, a, 2, &ask), mac, 6);
		assert_false(ask);
	}
	/* A new address replaces the old address in the same slot. The new address must never get
	 * the old address's MAC. */
	neighbours_learn(&table, 0xc6125001, mac, 3);
	assert_null(neighbours_find(&table, 0xc6124c01, 3, &ask));
	assert_memory_equal(neighbours_find(&table, 0xc6125001, 3, &ask), mac, 6);
}

static void test_age(void **state)
{
	const uint8_t first[6] = {2, 0, 0, 0, 0, 7}, second[6] = {2, 0, 0, 0, 0, 8};

	(void)state;
	memset(&table, 0, sizeof(table));
	neighbours_learn(&table, 7, first, 100);
	assert_non_null(neighbours_find(&table, 7, 100 + NEIGHBOURS_OLD_NS - 1, &ask));
	assert_false(ask);
	assert_non_null(neighbours_find(&table, 7, 100 + NEIGHBOURS_OLD_NS, &ask));
	assert_true(ask);
	assert_non_null(neighbours_find(&table, 7, 101 + NEIGHBOURS_OLD_NS, &ask));
	assert_false(ask); /* not again: the table wants at most one ARP request per second */
	assert_null(neighbours_find(&table, 7, 100 + NEIGHBOURS_MAX_NS, &ask));
	neighbours_learn(&table, 7, second, 100 + NEIGHBOURS_MAX_NS);
	assert_memory_equal(neighbours_find(&table, 7, 100 + NEIGHBOURS_MAX_NS, &ask), second, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_whole_network),
		cmocka_unit_test(test_age),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
