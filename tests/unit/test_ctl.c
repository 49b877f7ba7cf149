/* test_ctl.c - tests when holdfastctl reads no further, and its exit status. The program asks a
 * scripted gateway, which answers late, ends the connection late, or never ends it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "mint_certs.h"

#define CONNECTIONS_MAX 16

enum end {
	CLOSES, /* the gateway closes the connection with TLS's closing alert */
	DROPS,	/* the gateway closes the connection without that alert */
	STAYS,	/* the gateway keeps the connection open */
};

static const struct script {
	/* how long the gateway waits before it sends `answer`, and after that before it ends the
	 * connection */
	unsigned int answers_ms, ends_ms;
	/* how the gateway ends the connection */
	enum end end;
	const char *answer;
	const char *later; /* sent just before the connection is ended; NULL: nothing */
	/* What happens to a second connection, on which holdfastctl asks for `status` after
	 * look_ms. CLOSES: it is answered, then closed; DROPS: it is closed without an answer. Both
	 * close with TLS's alert. */
	enum end look;
} *script;

static char *dir, said[4096];
static struct wire_tls_context *context;
static int listener;
static uint16_t port;
static pthread_t acceptor, server[CONNECTIONS_MAX];
static unsigned int n_servers;

static void put(struct wire_tls *tls, int fd)
{
	const uint8_t *data;
	size_t size;

	while ((data = wire_tls_output(tls, &size)), size > 0) {
		ssize_t n = send(fd, data, size, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		wire_tls_output_consume(tls, (size_t)n);
	}
}

/* Returns false if the client is gone. */
static bool take(struct wire_tls *tls, int fd)
{
	uint8_t data[4096];
	ssize_t n = recv(fd, data, sizeof(data), 0);

	return n > 0 && wire_tls_input(tls, data, (size_t)n) == (size_t)n;
}

static bool hear(struct wire_tls *tls, int fd, char *request, size_t room)
{
	size_t size = 0;

	while (size == 0 || request[size - 1] != '\n') {
		int r = wire_tls_read(tls, (uint8_t *)request + size, room - 1 - size);

		put(tls, fd);
		if (r > 0)
			size += (size_t)r;
		else if (!take(tls, fd))
			return false;
	}
	request[size] = '\0';
	return true;
}

static void say(struct wire_tls *tls, int fd, const char *text)
{
	(void)!wire_tls_write(tls, (const uint8_t *)text, strlen(text));
	put(tls, fd);
}

static void *serve(void *arg)
{
	int fd = (int)(intptr_t)arg;
	struct wire_tls *tls = NULL;
	char request[4096];

	if (wire_tls_new(context, WIRE_PEER_OPERATOR, 0, &tls) == 0 &&
	    hear(tls, fd, request, sizeof(request))) {
		bool is_look = strstr(request, "\"status\"") != NULL;
		enum end end = is_look ? script->look : script->end;

		if (is_look && script->look == CLOSES)
			say(tls, fd, "{\"ok\":true}\n");
		if (!is_look) {
			usleep(script->answers_ms * 1000);
			say(tls, fd, script->answer);
			usleep(script->ends_ms * 1000);
			if (script->later)
				say(tls, fd, script->later);
		}
		if (end == CLOSES || is_look) {
			wire_tls_close(tls);
			put(tls, fd);
		}
		while (end == STAYS && take(tls, fd))
			;
	}
	wire_tls_free(tls);
	close(fd);
	return NULL;
}

static void *accept_all(void *arg)
{
	int fd;

	(void)arg;
	while (n_servers < CONNECTIONS_MAX && (fd = accept(listener, NULL, NULL)) >= 0) {
		if (pthread_create(&server[n_servers], NULL, serve, (void *)(intptr_t)fd) != 0)
			abort();
		n_servers++;
	}
	return NULL;
}

static int set_up(void **state)
{
	struct mint_ca *ca = mint_ca_new("test CA");

	(void)state;
	dir = mint_dir_new();
	mint_ca_write(ca, dir, "ca");
	mint_leaf(ca, &(struct mint_options){.uri = "holdfast://operator/ann"}, dir, "ann");
	mint_leaf(ca, &(struct mint_options){.uri = "holdfast://gateway/gw"}, dir, "gw");
	mint_ca_free(ca);
	context = mint_context(dir, "ca", "gw", WIRE_TLS_SERVER);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	wire_tls_context_free(context);
	mint_dir_remove(dir);
	return 0;
}

static void open_gateway(const struct script *s)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(sa);

	script = s;
	n_servers = 0;
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(listener, 8), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&sa, &size), 0);
	port = ntohs(sa.sin_port);
	assert_int_equal(pthread_create(&acceptor, NULL, accept_all, NULL), 0);
}

static void close_gateway(void)
{
	(void)shutdown(listener, SHUT_RDWR); /* ends accept() */
	assert_int_equal(pthread_join(acceptor, NULL), 0);
	close(listener);
	for (unsigned int i = 0; i < n_servers; i++)
		assert_int_equal(pthread_join(server[i], NULL), 0);
}

/* Let holdfastctl ask a gateway with script @s. Returns its exit status; what it said is in
 * `said`. */
static int ask(const struct script *s, const char *words)
{
	char text[2048], *at = said;
	FILE *out;
	int status;

	open_gateway(s);
	snprintf(text, sizeof(text),
		 "[holdfastctl]\ngateway = 127.0.0.1:%u\nca = %s/ca.pem\ncert = %s/ann.pem\n"
		 "key = %s/ann.key\nlook_ms = 500\n", port, dir, dir, dir);
	mint_text(dir, "ctl.ini", text);
	snprintf(text, sizeof(text), "%s --config %s/ctl.ini %s 2>&1", HOLDFASTCTL, dir, words);
	out = popen(text, "r");
	assert_non_null(out);
	memset(said, 0, sizeof(said));
	while (at < said + sizeof(said) - 1 && fgets(at, (int)(said + sizeof(said) - at), out))
		at += strlen(at);
	status = pclose(out);
	close_gateway();
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

#define DONE "{\"ok\":true,\"code\":\"done\",\"text\":\"protected in term 3\"}\n"
#define EVENT(text) \
	"{\"wall\":0,\"vm\":\"web1\",\"kind\":\"state\",\"from\":\"\",\"to\":\"\"," \
	"\"text\":\"" text "\"}\n"

/* The answer is one line, so holdfastctl ends when it has arrived, whatever happens to the
 * connection. The first script answers only after look_ms (500), when holdfastctl has already asked
 * for `status` on a second connection. */
static void test_the_answer_ends_it(void **state)
{
	static const struct script scripts[] = {
		{.answers_ms = 600, .ends_ms = 50, .end = CLOSES, .answer = DONE},
		{.end = DROPS, .answer = DONE},
		{.end = STAYS, .answer = DONE},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
		assert_int_equal(ask(&scripts[i], "protect web1"), 0);
		assert_string_equal(said, "protected in term 3\n");
	}
	assert_int_equal(ask(&scripts[1], "--json --timeout 5 protect web1"), 0);
	assert_string_equal(said, DONE);
}

static void test_a_refusal(void **state)
{
	static const struct script refuses = {
		.end = STAYS,
		.answer = "{\"ok\":false,\"code\":\"busy\",\"error\":\"wait\"}\n"};

	(void)state;
	assert_int_equal(ask(&refuses, "protect web1"), 1);
	assert_string_equal(said, "holdfastctl: wait\n");
}

static void test_no_answer(void **state)
{
	static const struct script closes = {.end = CLOSES, .answer = ""};
	static const struct script drops = {.end = DROPS, .answer = ""};
	static const struct script hangs = {.end = STAYS, .answer = "", .look = DROPS};

	(void)state;
	assert_int_equal(ask(&closes, "protect web1"), 1);
	assert_non_null(strstr(said, "the gateway closed without an answer"));
	assert_int_equal(ask(&drops, "protect web1"), 1);
	assert_non_null(strstr(said, "closed the connection without an answer"));
	assert_int_equal(ask(&hangs, "stats"), 1);
	assert_non_null(strstr(said, "no answer from 127.0.0.1:"));
	/* After look_ms without an answer to `protect`, holdfastctl asks for `status` on a second
	 * connection. The gateway does not answer that either. */
	assert_int_equal(ask(&hangs, "protect web1"), 1);
	assert_non_null(strstr(said, "without an answer"));
}

/* The first line says how many events follow. If fewer come, holdfastctl fails. */
static void test_events(void **state)
{
	static const char all[] = "{\"ok\":true,\"events\":2,\"follow\":false}\n"
				  EVENT("one") EVENT("two");
	static const struct script drops = {.end = DROPS, .answer = all};
	static const struct script few = {
		.end = CLOSES, .answer = "{\"ok\":true,\"events\":2,\"follow\":false}\n"
					 EVENT("one")};
	static const struct script follows = {
		.ends_ms = 50, .end = CLOSES,
		.answer = "{\"ok\":true,\"events\":0,\"follow\":true}\n" EVENT("one")};

	(void)state;
	assert_int_equal(ask(&drops, "events"), 0);
	assert_non_null(strstr(said, "state: two\n"));
	assert_null(strstr(said, "holdfastctl:"));
	assert_int_equal(ask(&few, "events"), 1);
	assert_non_null(strstr(said, "state: one\n"));
	assert_non_null(strstr(said, "closed before the last event"));
	assert_int_equal(ask(&follows, "--follow events"), 0);
	assert_non_null(strstr(said, "state: one\n"));
}

/* holdfastctl must not wait for ever when nobody reads its output any more. If its output cannot be
 * written because the disk is full, it fails. */
static void test_nobody_reads(void **state)
{
	static const struct script follows = {
		.ends_ms = 300, .end = STAYS, .later = EVENT("two"),
		.answer = "{\"ok\":true,\"events\":1,\"follow\":true}\n" EVENT("one")};
	static const struct script done = {.end = STAYS, .answer = DONE};

	(void)state;
	assert_int_equal(ask(&follows, "--follow events | head -n 1"), 0);
	assert_non_null(strstr(said, "state: one\n"));
	assert_int_equal(ask(&done, "protect web1 >/dev/full"), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_answer_ends_it),
		cmocka_unit_test(test_a_refusal),
		cmocka_unit_test(test_no_answer),
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_nobody_reads),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
