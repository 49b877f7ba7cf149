#include "peer/agree.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"

const char *agree_policy_name(uint8_t policy)
{
	switch (policy) {
	case AGREE_HOLD:
		return "hold";
	case AGREE_UNPROTECTED:
		return "unprotected";
	case AGREE_DIRECT:
		return "direct";
	default:
		return "unknown";
	}
}

bool agree_may_claim(const struct agree_primary *p)
{
	return p->policy != AGREE_HOLD && p->is_holding && !p->is_outvoted &&
	       p->gateway_silence_ns >= p->gateway_lost_ns;
}

#define NO(...)                                                                                    \
	do {                                                                                       \
		(void)error_set(ret_error, 0, __VA_ARGS__);                                        \
		return false;                                                                      \
	} while (0)

/* Check the conditions for a yes that are the same for a first and for a repeated question. */
static bool is_possible(const struct agree_standby *s, uint64_t term, uint8_t mode,
			struct error *ret_error)
{
	if (!s->is_copy || s->promised_term >= term)
		NO("a promotion was accepted here in term %" PRIu64,
		   s->is_copy ? s->promised_term : s->term);
	if (s->policy != mode)
		NO("gateway_lost is %s in this host's file, not %s", agree_policy_name(s->policy),
		   agree_policy_name(mode));
	if (s->gateway_silence_ns < s->gateway_lost_ns)
		NO("this host heard of the gateway %" PRIu64 " ms ago",
		   s->gateway_silence_ns / CLOCK_NS_PER_MS);
	return true;
}

bool agree_vote(const struct agree_standby *s, uint64_t term, uint8_t mode, uint64_t epoch,
		struct error *ret_error)
{
	ret_error->text[0] = '\0';
	if (!is_possible(s, term, mode, ret_error))
		return false;
	if (s->voted_mode && s->term == term) {
		/* This host has voted for this term already. So the question is a repeated one: the
		 * primary has not received the first answer. */
		if (s->voted_mode != mode)
			NO("this host's vote in term %" PRIu64 " was for %s", term,
			   agree_policy_name(s->voted_mode));
	} else if (s->term + 1 != term) {
		NO("this host is in term %" PRIu64, s->term);
	} else if (!s->stands_by) {
		NO("this host does not stand by");
	}
	if (mode == WIRE_CLAIM_DIRECT && (s->complete_epoch == 0 || s->complete_epoch < epoch))
		NO("the last complete epoch here is %" PRIu64 ", %" PRIu64 " was committed",
		   s->complete_epoch, epoch);
	return true;
}
