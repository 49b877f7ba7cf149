/* session_lab.h - the beginning of the tests of sessions: a gateway without any network, and four
 * agents' ends of sessions, none of them open yet. */
#ifndef TESTS_SESSION_LAB_H
#define TESTS_SESSION_LAB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "gateway_fixture.h"

static struct fixture f;
static struct agent alpha, beta, primary, standby;
static struct agent *const all[] = {&alpha, &beta, &primary, &standby};
static struct wire_frame frame;

static inline int open_fixture(void **state)
{
	(void)state;
	fixture_open(&f);
	memset(&alpha, 0, sizeof(alpha));
	memset(&beta, 0, sizeof(beta));
	memset(&primary, 0, sizeof(primary));
	memset(&standby, 0, sizeof(standby));
	alpha.f = beta.f = primary.f = standby.f = &f;
	return 0;
}

static inline int close_fixture(void **state)
{
	(void)state;
	for (size_t i = 0; i < 4; i++)
		agent_close(all[i]);
	fixture_close(&f);
	return 0;
}

static inline void pump(void)
{
	fixture_pump(all, 4);
}

static inline void pass(uint64_t ms)
{
	f.now_ns += ms * MS;
	fixture_tick(&f);
	pump();
}

#endif
