/* control_private.h - what control.c (connections), newcomers.c (their limits) and
 * verbs.c (requests) share. */
#ifndef CONTROL_CONTROL_PRIVATE_H
#define CONTROL_CONTROL_PRIVATE_H

#include <jansson.h>
#include <stdbool.h>

#include "base/budget.h"
#include "control/control.h"
#include "control/events.h"
#include "loop/source.h"

enum control_phase {
	CONTROL_REQUEST, /* in its handshake, or waiting for its request line */
	CONTROL_WAITING, /* waits for its command's result */
	CONTROL_FOLLOWING,
	CONTROL_CLOSING, /* sends its output, then closes */
};

struct control_conn {
	struct source source; /* must be first */
	struct control *control;
	struct control_conn *next;
	struct wire_tls *tls;
	enum control_phase phase;
	uint32_t address_be32; /* the peer's address */
	bool waiting;	       /* the handshake waits for its share of time, so
				* nothing is read from the connection (newcomers.h) */
	uint64_t opened_ns;
	uint64_t op_id;	      /* in WAITING: the number of the command */
	uint64_t follow_seq;  /* in FOLLOWING: the sequence number of the next event to send */
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

/* Queue @line as output, and a newline. If the output then exceeds CONTROL_OUTPUT_MAX, the
 * connection is marked broken. */
void control_put_line(struct control_conn *c, const char *line);
/* Queue @json as a line, and free it. If @json is NULL, memory was short: queue
 * an error instead. */
void control_put_json(struct control_conn *c, json_t *json);
/* Queue an error as {"ok":false,...}, and set the phase CLOSING. */
void control_put_error(struct control_conn *c, const char *code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Handle one request line (terminated, without newline): queue the answer's lines and set the
 * phase. @role: the role in the peer's certificate. Touches nothing but @c and the fleet, so it
 * can be fuzzed. */
void control_request(struct control_conn *c, const char *line, unsigned int role, uint64_t now_ns);

/* May @c, of a peer with @role and @name, stay open to wait for a command or (@follow) for events?
 * If false, the answer, an error, is queued. */
bool control_has_room(struct control_conn *c, unsigned int role, const char *name, bool follow);

/* Queue the events with sequence numbers from c->follow_seq. */
void control_put_events(struct control_conn *c);

#endif
