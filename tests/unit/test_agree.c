/* Tests agreement between two hosts without a gateway: each condition of a claim and of a vote is
 * tested by itself. */
#include "peer/agree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#define MS UINT64_C(1000000)

static struct error error;

static void test_claim(void **state)
{
	const struct agree_primary good = {.policy = AGREE_DIRECT, .is_holding = true,
					   .gateway_silence_ns = 2000 * MS,
					   .gateway_lost_ns = 2000 * MS};
	struct agree_primary p = good;

	(void)state;
	assert_true(agree_may_claim(&p));
	p.policy = AGREE_UNPROTECTED;
	assert_true(agree_may_claim(&p));
	p.policy = AGREE_HOLD;
	assert_false(agree_may_claim(&p));
	p = good;
	p.gateway_silence_ns--;
	assert_false(agree_may_claim(&p));
	p = good;
	p.is_holding = false;
	assert_false(agree_may_claim(&p));
	p = good;
	p.is_outvoted = true;
	assert_false(agree_may_claim(&p));
}

static const struct agree_standby good = {
	.policy = AGREE_DIRECT, .stands_by = true, .is_copy = true, .term = 4, .complete_epoch = 12,
	.gateway_silence_ns = 2000 * MS, .gateway_lost_ns = 2000 * MS};

#define NO(why, change, term, mode, epoch)                                                         \
	do {                                                                                       \
		s = good;                                                                          \
		change;                                                                            \
		assert_false(agree_vote(&s, term, mode, epoch, &error));                           \
		assert_non_null(strstr(error.text, why));                                          \
	} while (0)

static void test_vote(void **state)
{
	struct agree_standby s = good;

	(void)state;
	assert_true(agree_vote(&s, 5, WIRE_CLAIM_DIRECT, 12, &error));
	assert_string_equal(error.text, "");
	assert_true(agree_vote(&s, 5, WIRE_CLAIM_DIRECT, 0, &error));
	s.policy = AGREE_UNPROTECTED;
	/* no complete epoch is needed: under this policy the guest continues unprotected */
	s.complete_epoch = 0;
	assert_true(agree_vote(&s, 5, WIRE_CLAIM_UNPROTECTED, 12, &error));
	NO("heard of the gateway 1999 ms ago", s.gateway_silence_ns--, 5, WIRE_CLAIM_DIRECT, 12);
	NO("does not stand by", s.stands_by = false, 5, WIRE_CLAIM_DIRECT, 12);
	NO("in term 4", , 4, WIRE_CLAIM_DIRECT, 12);
	NO("in term 4", , 6, WIRE_CLAIM_DIRECT, 12);
	NO("in term 5", s.term = 5, 5, WIRE_CLAIM_DIRECT, 12); /* a gateway's order set this term */
	NO("a promotion was accepted", s.is_copy = false, 5, WIRE_CLAIM_DIRECT, 12);
	NO("a promotion was accepted here in term 5", s.promised_term = 5, 5, WIRE_CLAIM_DIRECT,
	   12);
	NO("gateway_lost is hold", s.policy = AGREE_HOLD, 5, WIRE_CLAIM_DIRECT, 12);
	NO("gateway_lost is direct", , 5, WIRE_CLAIM_UNPROTECTED, 12);
	NO("complete epoch here is 12, 13 was", , 5, WIRE_CLAIM_DIRECT, 13);
	NO("complete epoch here is 0", s.complete_epoch = 0, 5, WIRE_CLAIM_DIRECT, 0);
}

/* The standby's answer to a claim was lost, so the primary sends the same claim again. The standby
 * must vote for it again. */
static void test_vote_again(void **state)
{
	struct agree_standby s = good;

	(void)state;
	s.term = 5;
	s.voted_mode = WIRE_CLAIM_DIRECT;
	assert_true(agree_vote(&s, 5, WIRE_CLAIM_DIRECT, 12, &error));
	/* a new claim, for the next term */
	assert_true(agree_vote(&s, 6, WIRE_CLAIM_DIRECT, 12, &error));
	assert_false(agree_vote(&s, 7, WIRE_CLAIM_DIRECT, 12, &error));
	s.policy = AGREE_UNPROTECTED; /* the standby's VM file has since been changed */
	assert_false(agree_vote(&s, 5, WIRE_CLAIM_UNPROTECTED, 12, &error));
	assert_non_null(strstr(error.text, "was for direct"));
	s = good;
	s.term = 5;
	s.policy = s.voted_mode = WIRE_CLAIM_UNPROTECTED;
	s.stands_by = false;
	s.complete_epoch = 0;
	assert_true(agree_vote(&s, 5, WIRE_CLAIM_UNPROTECTED, 12, &error));
	assert_false(agree_vote(&s, 6, WIRE_CLAIM_UNPROTECTED, 12, &error));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_claim), cmocka_unit_test(test_vote),
		cmocka_unit_test(test_vote_again),
	};

	return cmocka_run_group_tests_name("agree", tests, NULL, NULL);
}
