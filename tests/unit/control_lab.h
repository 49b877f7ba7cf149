/* control_lab.h - the beginning of the tests of the management protocol: a gateway without any
 * network, its door for operators, and one operator's connection. */
#ifndef TESTS_CONTROL_LAB_H
#define TESTS_CONTROL_LAB_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/control_private.h"
#include "gateway_fixture.h"

static struct fixture f;
static struct control *control;
static struct control_conn conn;
static json_t *answer;

static inline int open_control(void **state)
{
	struct control_config config;

	(void)state;
	fixture_open(&f);
	config = (struct control_config){.tls = f.server, .ip_be32 = 0x0100007f, .port = 0,
					 .clock_ns = fixture_clock_ns, .state_dir = f.dir,
					 .events_bytes_max = 65536};
	assert_int_equal(control_open(f.fleet, epoll_create1(EPOLL_CLOEXEC), &config, &control), 0);
	memset(&conn, 0, sizeof(conn));
	conn.control = control;
	return 0;
}

static inline int close_control(void **state)
{
	int epoll_fd = control->epoll_fd;

	(void)state;
	json_decref(answer);
	answer = NULL;
	free(conn.out);
	control_close(control);
	close(epoll_fd);
	fixture_close(&f);
	return 0;
}

#endif
