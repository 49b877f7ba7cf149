/* control_private.h - what control.c (connections) and verbs.c (requests) share. */
#ifndef CONTROL_CONTROL_PRIVATE_H
#define CONTROL_CONTROL_PRIVATE_H

#include <jansson.h>
#include <stdbool.h>

#include "base/budget.h"
#include "control/control.h"
#include "control/events.h"
#include "loop/source.h"

enum control_phase {
	CONTROL_REQUEST, /* handshake, then the request line */
	CONTROL_WAITING, /* waits for a command to end */
	CONTROL_FOLLOWING,
	CONTROL_CLOSING, /* send the output, then close */
};

struct control_conn {
	struct source source; /* must be first */
	struct control *control;
	struct control_conn *next;
	struct wire_tls *tls;
	enum control_phase phase;
	uint32_t address_be32; /* of the peer */
	bool waiting;	       /* its handshake waits for time, so it is not read (newcomers.h) */
	uint64_t opened_ns;
	uint64_t op_id;	      /* WAITING: the command's number */
	uint64_t follow_seq;  /* FOLLOWING: the next event to send */
	bool broken;
	size_t in_size;
	char in[CONTROL_REQUEST_MAX + 1];
	char *out; /* plaintext not yet given to TLS */
	size_t out_at, out_end, out_size;
};

struct control {
	struct source listener; /* must be first */
	struct fleet *fleet;
	struct wire_tls_context *tls;
	uint64_t (*clock_ns)(void); /* measures handshakes */
	struct events *events;
	int epoll_fd;
	uint64_t next_op_id;
	unsigned int n_connections;
	struct budget handshakes;
	struct control_conn *connections; /* newest first */
};

/* Queue one line (newline added). If that exceeds CONTROL_OUTPUT_MAX the connection is broken. */
void control_put_line(struct control_conn *c, const char *line);
/* Queue @json as a line and free it. NULL: out of memory, answered as an error. */
void control_put_json(struct control_conn *c, json_t *json);
/* Queue {"ok":false,...} and set CLOSING. */
void control_put_error(struct control_conn *c, const char *code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Handle one request line (terminated, without newline): queues lines, sets the phase. @role: from
 * the operator's certificate. Pure except for c->control's gateway, so it can be fuzzed. */
void control_request(struct control_conn *c, const char *line, unsigned int role, uint64_t now_ns);

/* May @c, of @role and @name, stay open for a command or (@follow) for events? False: it got an
 * error as answer. */
bool control_has_room(struct control_conn *c, unsigned int role, const char *name, bool follow);

/* Queue events from c->follow_seq on. */
void control_put_events(struct control_conn *c);

#endif
