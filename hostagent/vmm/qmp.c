#include "vmm/qmp.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "vmm/qmp_parse.h"

/* How long QEMU may take to read up to 8 KB that we have written. If it takes longer, its monitor
 * counts as hanging. */
#define WRITE_TIMEOUT_NS CLOCK_NS_PER_S
#define ERROR_MAX	 512

/* Completes an armed command that must not run. QEMU refuses the command, because of the unknown
 * member. */
#define DISARM ",\"disarmed\":0}"

/* A command that was sent to QEMU, and whose answer qmp_wait() has not returned yet. */
struct pending {
	/* nobody waits for the answer any more: drop it when it arrives */
	bool is_abandoned;
	bool is_answered;	   /* `answer` is valid; never together with is_abandoned */
	struct qmp_message answer; /* a RETURN or an ERROR */
};

struct qmp {
	int fd;
	pid_t pid;
	int broken;	  /* 0, or the negative errno that every later call returns */
	/* the armed command, which was sent without its last brace; borrowed. NULL: no command is
	 * armed */
	const char *armed;
	struct pending pending[QMP_IN_FLIGHT_MAX]; /* oldest first */
	unsigned int n_pending;
	struct qmp_parser parser;
	qmp_event_fn handler;
	void *handler_arg;
	const char *awaited; /* the event that qmp_wait_event() waits for, borrowed; or NULL */
	bool is_greeted;  /* the greeting has arrived */
	/* the greeting says that QEMU can read the monitor while a command runs */
	bool offers_oob;
	char error[ERROR_MAX];
};

static const struct {
	int error;
	const char *text;
} open_errors[] = {
	{-ENOENT, "no QMP socket there: start QEMU with -qmp unix:PATH,server=on,wait=off"},
	{-ECONNREFUSED, "the QMP socket is there but nobody listens: that QEMU has ended"},
	{-EBUSY, "QEMU sent no greeting: another client holds this QMP socket (QEMU serves one at a"
		 " time; close it, or give Holdfast a second -qmp socket), or QEMU hangs"},
	{-EPROTO, "what answers at this socket does not speak QMP (is it an HMP monitor?)"},
	{-EACCES, "no permission to open the QMP socket"},
	{-ENAMETOOLONG, "the path is too long for a unix socket (107 bytes)"},
	{-ECONNRESET, "QEMU closed the QMP connection at once"},
};

const char *qmp_open_error(int error)
{
	for (size_t i = 0; i < ARRAY_SIZE(open_errors); i++)
		if (open_errors[i].error == error)
			return open_errors[i].text;
	return strerror(-error);
}

static int lost(struct qmp *q, int error, const char *why)
{
	q->broken = error;
	(void)snprintf(q->error, sizeof(q->error), "monitor lost: %s", why);
	return error;
}

static void drop_pending(struct qmp *q, unsigned int i)
{
	if (q->pending[i].is_answered)
		qmp_message_done(&q->pending[i].answer);
	q->n_pending--;
	memmove(&q->pending[i], &q->pending[i + 1], (q->n_pending - i) * sizeof(q->pending[0]));
}

/* Store an answer. It belongs to the oldest command that has no answer yet. */
static void keep_answer(struct qmp *q, struct qmp_message *m)
{
	unsigned int i = 0;

	while (i < q->n_pending && q->pending[i].is_answered)
		i++;
	if (i < q->n_pending && !q->pending[i].is_abandoned) {
		q->pending[i].is_answered = true;
		q->pending[i].answer = *m;
		return;
	}
	qmp_message_done(m);
	if (i < q->n_pending)
		drop_pending(q, i);
}

static void take_greeting(struct qmp *q, const struct qmp_message *m)
{
	const json_t *capabilities = json_object_get(m->body, "capabilities");
	size_t n = json_array_size(capabilities);

	q->is_greeted = true;
	for (size_t i = 0; i < n; i++) {
		const char *name = json_string_value(json_array_get(capabilities, i));

		if (name && strcmp(name, "oob") == 0)
			q->offers_oob = true;
	}
}

static void take_message(struct qmp *q, struct qmp_message *m)
{
	switch (m->kind) {
	case QMP_MESSAGE_EVENT:
		if (q->awaited && strcmp(q->awaited, m->event) == 0)
			q->awaited = NULL;
		if (q->handler)
			q->handler(q->handler_arg, m->event, m->body);
		break;
	case QMP_MESSAGE_GREETING:
		take_greeting(q, m);
		break;
	default:
		keep_answer(q, m); /* takes over *m */
		return;
	}
	qmp_message_done(m);
}

/* Handle every whole message in the buffer. */
static int take_messages(struct qmp *q)
{
	for (;;) {
		struct qmp_message m;
		int r = qmp_parser_next(&q->parser, &m);

		if (r == -EAGAIN)
			return 0;
		if (r < 0)
			return lost(q, r, r == -EPROTO ? "not a QMP message" : strerror(-r));
		take_message(q, &m);
	}
}

/* Read once. Returns 0 if data came and was handled; -EAGAIN if there was no data; or the error
 * that ended the connection. */
static int read_some(struct qmp *q)
{
	char *at;
	size_t room;
	ssize_t n;
	int r = qmp_parser_space(&q->parser, &at, &room);

	if (r < 0)
		return lost(q, r, r == -EMSGSIZE ? "a line over 4 MiB" : strerror(-r));
	n = recv(q->fd, at, room, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return -EAGAIN;
	if (n < 0)
		return lost(q, -errno, strerror(errno));
	if (n == 0)
		return lost(q, -ECONNRESET, "QEMU closed the connection");
	qmp_parser_filled(&q->parser, (size_t)n);
	return take_messages(q);
}

/* Sleep until one of @events comes on @fd, or until @deadline_ns. If the deadline has passed
 * already, returns -ETIMEDOUT at once. Otherwise returns 0, even if no event came: the caller must
 * check. */
static int wait_fd(int fd, short events, uint64_t deadline_ns)
{
	struct pollfd p = {.fd = fd, .events = events};
	uint64_t now_ns = clock_mono_ns(), left_ns;
	struct timespec ts;

	if (now_ns >= deadline_ns)
		return -ETIMEDOUT;
	left_ns = deadline_ns - now_ns;
	ts.tv_sec = (time_t)(left_ns / CLOCK_NS_PER_S);
	ts.tv_nsec = (long)(left_ns % CLOCK_NS_PER_S);
	(void)ppoll(&p, 1, &ts, NULL); /* the caller's loop handles EINTR and the deadline */
	return 0;
}

static uint64_t deadline_after(uint64_t timeout_ns)
{
	uint64_t now_ns = clock_mono_ns();

	return timeout_ns > UINT64_MAX - now_ns ? UINT64_MAX : now_ns + timeout_ns;
}

/* Write all of @text, and pass the descriptor @fd (-1: none) with its first byte. */
static int write_all(struct qmp *q, const char *text, size_t size, int fd)
{
	uint64_t deadline_ns = deadline_after(WRITE_TIMEOUT_NS);
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {0};

	while (size > 0) {
		struct iovec iov = {.iov_base = (void *)(uintptr_t)text, .iov_len = size};
		struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
		ssize_t n;

		if (fd >= 0) {
			msg.msg_control = &control;
			msg.msg_controllen = sizeof(control.space);
			control.header.cmsg_level = SOL_SOCKET;
			control.header.cmsg_type = SCM_RIGHTS;
			control.header.cmsg_len = CMSG_LEN(sizeof(int));
			memcpy(CMSG_DATA(&control.header), &fd, sizeof(int));
		}
		n = sendmsg(q->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN && wait_fd(q->fd, POLLOUT, deadline_ns) == 0)
			continue;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return lost(q, errno == EAGAIN ? -ETIMEDOUT : -errno, strerror(errno));
		text += n;
		size -= (size_t)n;
		fd = -1;
	}
	return 0;
}

/* The text of one write, put together piece by piece. */
struct outgoing {
	char text[QMP_SEND_MAX];
	size_t size;
};

static int put(struct outgoing *out, const char *text, size_t size)
{
	if (size > sizeof(out->text) - out->size)
		return -EMSGSIZE;
	memcpy(out->text + out->size, text, size);
	out->size += size;
	return 0;
}

/* In one write: send @finish, the end of the armed command ("" if none is armed); send @command
 * (NULL: none); and arm @next (NULL: none), that is, send all but its closing brace. So this write
 * can complete two commands: the armed one and @command, in this order. When the answers to the
 * first @n_abandoned of them arrive, they are dropped. @fd (-1: none) is passed with the write. */
static int send_text(struct qmp *q, const char *finish, const char *command, const char *next,
		     unsigned int n_abandoned, int fd)
{
	unsigned int n_commands = (*finish ? 1 : 0) + (command ? 1 : 0);
	struct outgoing out;
	int r;

	if (q->broken)
		return q->broken;
	if (n_commands > QMP_IN_FLIGHT_MAX - q->n_pending)
		return -EBUSY;
	out.size = 0;
	r = put(&out, finish, strlen(finish));
	if (r == 0 && command)
		r = put(&out, command, strlen(command));
	if (r == 0 && next)
		r = put(&out, next, strlen(next) - 1);
	if (r == 0)
		r = write_all(q, out.text, out.size, fd);
	if (r < 0)
		return r;
	for (unsigned int i = 0; i < n_commands; i++)
		q->pending[q->n_pending++] = (struct pending){.is_abandoned = i < n_abandoned};
	q->armed = next;
	return 0;
}

static int send_command(struct qmp *q, const char *command, const char *next, int fd)
{
	if (!q->armed)
		return send_text(q, "", command, next, 0, fd);
	if (strcmp(q->armed, command) == 0)
		return send_text(q, "}", NULL, next, 0, fd);
	return send_text(q, DISARM, command, next, 1, fd);
}

int qmp_send_rendered(struct qmp *q, const char *command, const char *next)
{
	return send_command(q, command, next, -1);
}

int qmp_arm(struct qmp *q, const char *command)
{
	if (q->armed)
		return strcmp(q->armed, command) == 0 ? 0 : -EBUSY;
	return send_text(q, "", NULL, command, 0, -1);
}

char *qmp_render(const char *command, json_t *args)
{
	char *args_text = args ? json_dumps(args, JSON_COMPACT) : NULL, *text = NULL;
	bool is_whole = !args || args_text;

	if (is_whole && asprintf(&text, "{\"execute\":\"%s\"%s%s}", command,
				 args ? ",\"arguments\":" : "", args ? args_text : "") < 0)
		text = NULL;
	free(args_text);
	json_decref(args);
	return text;
}

int qmp_send_with_fd(struct qmp *q, const char *command, json_t *args, int fd)
{
	AUTO_FREE char *text = qmp_render(command, args);

	if (!text)
		return -ENOMEM;
	return send_command(q, text, NULL, fd);
}

int qmp_send(struct qmp *q, const char *command, json_t *args)
{
	return qmp_send_with_fd(q, command, args, -1);
}

/* Returns the index of the oldest command that is not abandoned, or -1. */
static int oldest(const struct qmp *q)
{
	for (unsigned int i = 0; i < q->n_pending; i++)
		if (!q->pending[i].is_abandoned)
			return (int)i;
	return -1;
}

static int take_answer(struct qmp *q, unsigned int index, json_t **ret_return)
{
	struct qmp_message *m = &q->pending[index].answer;
	int r = 0;

	if (m->kind == QMP_MESSAGE_ERROR) {
		const char *class = json_string_value(json_object_get(m->body, "class"));
		const char *desc = json_string_value(json_object_get(m->body, "desc"));

		(void)snprintf(q->error, sizeof(q->error), "%s: %s", class ? class : "error",
			       desc ? desc : "(no description)");
		r = -EREMOTEIO;
	} else if (ret_return) {
		*ret_return = json_incref(m->body);
	}
	drop_pending(q, index);
	return r;
}

int qmp_wait(struct qmp *q, uint64_t timeout_ns, json_t **ret_return)
{
	uint64_t deadline_ns = deadline_after(timeout_ns);
	int i, r;

	/* The index can become smaller while we wait: abandoned commands are removed when their
	 * answers arrive. */
	while ((i = oldest(q)) >= 0 && !q->pending[i].is_answered) {
		if (q->broken) {
			drop_pending(q, (unsigned int)i);
			return q->broken;
		}
		r = wait_fd(q->fd, POLLIN, deadline_ns);
		if (r < 0) {
			(void)snprintf(q->error, sizeof(q->error),
				       "QEMU did not answer in %" PRIu64 " ms",
				       timeout_ns / CLOCK_NS_PER_MS);
			q->pending[i].is_abandoned = true;
			return r;
		}
		/* read_some() stores an error in q->broken; -EAGAIN is not an error */
		(void)read_some(q);
	}
	if (i < 0)
		return q->broken ? q->broken : -EINVAL;
	return take_answer(q, (unsigned int)i, ret_return);
}

int qmp_wait_event(struct qmp *q, const char *event, uint64_t timeout_ns)
{
	uint64_t deadline_ns = deadline_after(timeout_ns);
	bool has_come = false;
	int i, r = 0;

	while (r == 0 && !has_come && (i = oldest(q)) >= 0 && !q->pending[i].is_answered) {
		q->awaited = event;
		if (read_some(q) == -EAGAIN)
			r = wait_fd(q->fd, POLLIN, deadline_ns);
		else
			r = q->broken;
		has_come = event && !q->awaited;
	}
	q->awaited = NULL;
	return has_come ? 0 : r < 0 ? r : i < 0 ? -EINVAL : 1;
}

int qmp_pump(struct qmp *q)
{
	int r = q->broken;

	while (r == 0)
		r = read_some(q);
	return r == -EAGAIN ? 0 : r;
}

int qmp_execute(struct qmp *q, const char *command, json_t *args, uint64_t timeout_ns,
		json_t **ret_return)
{
	int r;

	if (oldest(q) >= 0) {
		json_decref(args);
		return -EBUSY;
	}
	r = qmp_send(q, command, args);
	if (r < 0)
		return r;
	return qmp_wait(q, timeout_ns, ret_return);
}

int qmp_hmp(struct qmp *q, const char *command_line, uint64_t timeout_ns, char **ret_text)
{
	json_t *answer = NULL;
	char *text;
	int r = qmp_execute(q, "human-monitor-command",
			    json_pack("{s:s}", "command-line", command_line), timeout_ns, &answer);

	if (r < 0)
		return r;
	text = json_is_string(answer) ? strdup(json_string_value(answer)) : NULL;
	r = text ? 0 : json_is_string(answer) ? -ENOMEM : -EPROTO;
	json_decref(answer);
	if (r == 0)
		*ret_text = text;
	return r;
}

/* Wait for the greeting, the first message that a monitor sends. */
static int wait_greeting(struct qmp *q, uint64_t deadline_ns)
{
	while (!q->is_greeted) {
		if (q->broken)
			return q->broken;
		if (wait_fd(q->fd, POLLIN, deadline_ns) < 0)
			return -EBUSY;
		(void)read_some(q); /* read_some() stores an error in q->broken */
	}
	return 0;
}

static int connect_to(const char *path, int *ret_fd, struct ucred *ret_peer)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	socklen_t peer_size = sizeof(*ret_peer);
	AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path) + 1);
	/* EAGAIN: QEMU serves another client, and the queue of waiting clients is full. */
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return errno == EAGAIN ? -EBUSY : -errno;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ret_peer, &peer_size) < 0)
		return -errno;
	*ret_fd = fd;
	fd = -1;
	return 0;
}

int qmp_open(const char *path, uint64_t timeout_ns, struct qmp **ret_q)
{
	uint64_t deadline_ns = deadline_after(timeout_ns);
	struct ucred peer;
	struct qmp *q;
	int fd = -1, r = connect_to(path, &fd, &peer);

	if (r < 0)
		return r;
	q = calloc(1, sizeof(*q));
	if (!q) {
		fd_close(fd);
		return -ENOMEM;
	}
	q->fd = fd;
	q->pid = peer.pid;
	qmp_parser_init(&q->parser);
	r = wait_greeting(q, deadline_ns);
	if (r == 0)
		r = qmp_execute(q, "qmp_capabilities",
				q->offers_oob ? json_pack("{s:[s]}", "enable", "oob") : NULL,
				timeout_ns, NULL);
	if (r < 0) {
		qmp_close(q);
		return r == -EREMOTEIO || r == -EMSGSIZE ? -EPROTO : r;
	}
	*ret_q = q;
	return 0;
}

struct qmp *qmp_close(struct qmp *q)
{
	if (!q)
		return NULL;
	while (q->n_pending > 0)
		drop_pending(q, 0);
	qmp_parser_done(&q->parser);
	fd_close(q->fd);
	free(q);
	return NULL;
}

void qmp_set_event_handler(struct qmp *q, qmp_event_fn handler, void *arg)
{
	q->handler = handler;
	q->handler_arg = arg;
}

int qmp_fd(const struct qmp *q)
{
	return q->fd;
}

pid_t qmp_pid(const struct qmp *q)
{
	return q->pid;
}

const char *qmp_error(const struct qmp *q)
{
	return q->error;
}

bool qmp_is_lost(const struct qmp *q)
{
	return q->broken != 0;
}
