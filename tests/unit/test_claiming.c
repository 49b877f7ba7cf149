/* Tests gateway/networks/claiming: which ARP frames show that another host uses our address too. */
#include "networks/claiming.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static const uint8_t ours[6] = {2, 0, 0, 0, 0, 1}, theirs[6] = {2, 0, 0, 0, 0, 2};
static const uint8_t address[4] = {198, 18, 51, 2}, other[4] = {198, 18, 51, 1}, none[4] = {0};

static bool is_rival(const uint8_t *sender_mac, const uint8_t *sender, const uint8_t *target,
		     uint8_t oper, size_t size)
{
	uint8_t frame[60] = {0}, mac[6] = {0};
	uint32_t ip_be32;
	bool r;

	frame[12] = 0x08;
	frame[13] = 0x06;
	frame[21] = oper;
	memcpy(frame + 22, sender_mac, 6);
	memcpy(frame + 28, sender, 4);
	memcpy(frame + 38, target, 4);
	memcpy(&ip_be32, address, 4);
	r = claiming_is_rival(frame, size, ip_be32, ours, mac);
	if (r)
		assert_memory_equal(mac, theirs, 6);
	return r;
}

static void rivals(void **state)
{
	(void)state;
	assert_true(is_rival(theirs, address, other, 1, 60));	 /* uses our address */
	assert_true(is_rival(theirs, address, address, 2, 60)); /* announces our address */
	/* an ARP probe: the other host wants to use our address, as we do */
	assert_true(is_rival(theirs, none, address, 1, 42));
}

static void others(void **state)
{
	(void)state;
	/* another host's ARP request for our address */
	assert_false(is_rival(theirs, other, address, 1, 60));
	assert_false(is_rival(theirs, none, other, 1, 60));
	assert_false(is_rival(theirs, none, address, 2, 60));
	assert_false(is_rival(ours, address, address, 1, 60)); /* our own frame, looped back */
	assert_false(is_rival(theirs, address, other, 1, 41));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(rivals), cmocka_unit_test(others)};

	return cmocka_run_group_tests_name("claiming", tests, NULL, NULL);
}
