/* control_private.h - types and functions shared by control.c (connections), newcomers.c (limits of
 * connections) and verbs.c (requests). */
#ifndef CONTROL_CONTROL_PRIVATE_H
#define CONTROL_CONTROL_PRIVATE_H

#include <jansson.h>
#include <stdbool.h>

#include "base/budget.h"
#include "control/control.h"
#include "control/events.h"
#include "loop/source.h"

enum control_phase {
	CONTROL_REQUEST, /* in the TLS handshake, or waiting for the request line */
	CONTROL_WAITING, /* waits for the command's result */
	CONTROL_FOLLOWING, /* sends events as they come */
	CONTROL_CLOSING, /* sends the remaining output, then closes */
};

struct control_conn {
	struct source source; /* must be first */
	struct control *control;
	struct control_conn *next;
	struct wire_tls *tls;
	enum control_phase phase;
	uint32_t address_be32; /* the peer's address */
	/* true while the handshake waits for time in the loop (newcomers.h); nothing is read
	 * then */
	bool waiting;
	uint64_t opened_ns;
	uint64_t op_id;	      /* in CONTROL_WAITING: the number of the command */
	/* in CONTROL_FOLLOWING: the sequence number of the next event to send */
	uint64_t follow_seq;
	bool broken;
	size_t in_size;
	char in[CONTROL_REQUEST_MAX + 1];
	char *out; /* plaintext output not yet given to TLS */
	size_t out_at, out_end, out_size;
};

struct control {
	struct source listener; /* must be first */
	struct fleet *fleet;
	struct wire_tls_context *tls;
	uint64_t (*clock_ns)(void); /* clock that measures handshakes */
	struct events *events;
	int epoll_fd;
	uint64_t next_op_id;
	unsigned int n_connections;
	struct budget handshakes;
	struct control_conn *connections; /* list of all connections, the newest first */
};

/* Queue @line and a newline as output. If the output then exceeds CONTROL_OUTPUT_MAX, marks the
 * connection as broken. */
void control_put_line(struct control_conn *c, const char *line);
/* Queue @json as a line, and free @json. If @json is NULL, because the caller ran out of memory,
 * queue an error instead. */
void control_put_json(struct control_conn *c, json_t *json);
/* Queue an error as {"ok":false,...}, and set the phase CLOSING. */
void control_put_error(struct control_conn *c, const char *code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Handle @line, a request (NUL-terminated, without newline): queue the lines of the answer and set
 * the phase. @role is the role in the peer's certificate. Changes only @c and the fleet, so that a
 * fuzz target can call it. */
void control_request(struct control_conn *c, const char *line, unsigned int role, uint64_t now_ns);

/* Returns true if @c can stay open to wait for a command's result or, if @follow, for events. If
 * not, queues an error as the answer and returns false. @role and @name are from the peer's
 * certificate. */
bool control_has_room(struct control_conn *c, unsigned int role, const char *name, bool follow);

/* Queue all events whose sequence number is at least c->follow_seq. */
void control_put_events(struct control_conn *c);

#endif
