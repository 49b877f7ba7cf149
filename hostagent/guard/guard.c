#include "guard/guard.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"

#define BOOT_ID	    "/proc/sys/kernel/random/boot_id"
#define REQUEST_MAX 32

struct guard {
	int listener, client; /* -1: none */
	char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	char in[REQUEST_MAX];
	size_t n_in;
	/* time limit that the client has asked for; 0: it has not asked yet */
	uint32_t limit_s;
	/* what must be sent to the gateway: that this host is up (must_say), that it goes down
	 * (must_ask) */
	bool must_say, must_ask;
	bool is_able; /* the gateway knows DRAIN; valid while a gateway is connected */
	uint8_t boot[WIRE_BOOT_SIZE];
};

int guard_path(const char *run_dir, char *path, size_t size)
{
	int n = snprintf(path, size, "%s/guard.sock", run_dir);

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

/* Read the id of the host's current boot. If it cannot be read, the id is all zero, so that all
 * boots look the same. */
static void read_boot(uint8_t boot[WIRE_BOOT_SIZE])
{
	char *text = NULL;
	size_t size, n = 0;
	unsigned int byte;

	if (fd_read_file(BOOT_ID, 64, &text, &size) < 0) {
		log_warn(BOOT_ID " cannot be read, ignoring");
		return;
	}
	for (const char *at = text; n < WIRE_BOOT_SIZE && sscanf(at, "%2x", &byte) == 1; n++) {
		boot[n] = (uint8_t)byte;
		at += 2;
		at += *at == '-';
	}
	free(text);
}

struct guard *guard_open(const char *run_dir)
{
	struct guard *g = calloc(1, sizeof(*g));
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	int r;

	if (!g)
		return NULL;
	g->client = -1;
	read_boot(g->boot);
	g->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	r = g->listener < 0 ? -errno : guard_path(run_dir, g->path, sizeof(g->path));
	if (r == 0) {
		memcpy(sa.sun_path, g->path, sizeof(g->path));
		(void)unlink(g->path); /* remove the socket of an earlier agent */
		/* set the mode before listen(): until then nobody can connect */
		if (bind(g->listener, (struct sockaddr *)&sa, sizeof(sa)) < 0 ||
		    chmod(g->path, 0600) < 0 || listen(g->listener, 4) < 0)
			r = -errno;
	}
	if (r == 0)
		return g;
	log_warn("%s/guard.sock: %s; this host cannot ask to be drained when it goes down", run_dir,
		 strerror(-r));
	g->path[0] = '\0';
	return guard_close(g);
}

struct guard *guard_close(struct guard *g)
{
	if (!g)
		return NULL;
	fd_close(g->client);
	fd_close(g->listener);
	if (*g->path)
		(void)unlink(g->path);
	free(g);
	return NULL;
}

void guard_poll(const struct guard *g, struct pollfd *fds)
{
	fds[0] = (struct pollfd){.fd = g ? g->listener : -1, .events = POLLIN};
	fds[1] = (struct pollfd){.fd = g ? g->client : -1, .events = POLLIN};
}

/* Drop the client. The drain goes on, because the host is still going down. */
static void drop_client(struct guard *g)
{
	g->client = fd_close(g->client);
	g->n_in = 0;
	g->limit_s = 0;
	g->must_ask = false;
}

/* Write a line to the client. If the client does not take it, the line is lost, and the client is
 * dropped. */
static void tell(struct guard *g, unsigned int state, unsigned int n_left, const char *text)
{
	char line[GUARD_LINE_MAX];
	int n = snprintf(line, sizeof(line), "state %u %u %s\n", state, n_left, text);

	if (g->client >= 0 && send(g->client, line, (size_t)n, MSG_NOSIGNAL | MSG_DONTWAIT) != n)
		drop_client(g);
}

static void take_request(struct guard *g)
{
	unsigned int limit_s;
	char end;

	if (sscanf(g->in, "down %u%c", &limit_s, &end) != 2 || end != '\n' || limit_s < 1 ||
	    limit_s > WIRE_DRAIN_LIMIT_S_MAX) {
		tell(g, WIRE_DRAIN_NOT, 0, "the agent does not understand this request");
		drop_client(g);
		return;
	}
	log_info("this host goes down: asking the gateway to drain it within %u s", limit_s);
	g->limit_s = limit_s;
	g->must_ask = true;
	if (!g->is_able)
		tell(g, WIRE_DRAIN_RUNS, 0,
		     "no gateway that knows drains is connected; waiting for one");
}

static void read_client(struct guard *g)
{
	ssize_t n = recv(g->client, g->in + g->n_in, sizeof(g->in) - 1 - g->n_in, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || g->limit_s) { /* the client has ended, or sends more than one request */
		drop_client(g);
		return;
	}
	g->n_in += (size_t)n;
	g->in[g->n_in] = '\0';
	if (strchr(g->in, '\n') || g->n_in == sizeof(g->in) - 1)
		take_request(g);
}

void guard_serve(struct guard *g, const struct pollfd *fds)
{
	if (!g)
		return;
	if (fds[1].revents && fds[1].fd == g->client)
		read_client(g);
	if (fds[0].revents) {
		int fd = accept4(g->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (fd < 0)
			return;
		if (g->client >= 0)
			tell(g, WIRE_DRAIN_NOT, 0, "another shutdown-guard has taken its place");
		drop_client(g);
		g->client = fd;
	}
}

void guard_connected(struct guard *g, uint64_t features)
{
	if (!g)
		return;
	g->is_able = features & WIRE_FEATURE_DRAIN;
	g->must_say = g->is_able;
	g->must_ask = g->limit_s > 0; /* this may be another gateway: ask it too */
	if (!g->is_able && g->limit_s)
		tell(g, WIRE_DRAIN_NOT, 0, "the gateway is too old to know drains: update it");
}

bool guard_take(struct guard *g, struct bytes_writer *w)
{
	struct wire_drain drain;

	if (!g || !g->is_able || !(g->must_say || g->must_ask))
		return false;
	drain = (struct wire_drain){
		.what = g->must_ask ? WIRE_DRAIN_GOES_DOWN : WIRE_DRAIN_IS_UP,
		.limit_s = g->must_ask ? g->limit_s : 0,
	};
	memcpy(drain.boot, g->boot, sizeof(g->boot));
	g->must_say = g->must_ask = false;
	return wire_drain_encode(&drain, w) == 0;
}

int guard_state(struct guard *g, const struct wire_frame *frame)
{
	struct wire_drain_state state;
	struct wire_error error;
	char text[WIRE_ERROR_TEXT_SIZE];

	if (wire_drain_state_decode(frame, &state, &error) < 0) {
		log_warn("the gateway's DRAIN_STATE: %s",
			 wire_error_text(&error, text, sizeof(text)));
		return -EPROTO;
	}
	log_info("the gateway says of this host's drain: %s", state.text);
	if (g && g->limit_s && !g->must_ask)
		tell(g, state.state, state.n_left, state.text);
	return 0;
}
