/* stack_private.h - types and functions shared by stack.c (interface, frames, time) and conn.c
 * (connections). Only this header of the directory includes lwIP's headers, and no file outside the
 * directory includes this header.
 *
 * `depth` counts the nested calls into lwIP. While `depth` is not 0, no pcb (lwIP's record of a
 * connection) may be closed or aborted. lwIP may still use the pcb when our callback returns. So
 * connections that must end wait in the list `doomed` until `depth` is 0.
 */
#ifndef STACK_PRIVATE_H
#define STACK_PRIVATE_H

#include <lwip/netif.h>
#include <lwip/pbuf.h>
#include <lwip/tcp.h>

#include "stack/filter.h"
#include "stack/neighbours.h"
#include "stack/stack.h"

/* The receive window: how many bytes the peer can send without an acknowledgement. 131070 is the
 * largest window that a TCP header can announce with Debian's lwIP (window scale 1). lwIP by itself
 * announces at most 65535. See open_window() in conn.c. */
#define STACK_WINDOW_BYTES 131070u

/* The send buffer: how many bytes can be queued or unacknowledged on one connection. lwIP's default
 * is 65535. More than 160 KiB would not help, because lwIP's queue has only TCP_SND_QUEUELEN
 * segments. */
#define STACK_SEND_BUFFER_BYTES (160u * 1024)

/* Holds a frame while lwIP refers to it. `pbuf` must be the first member, because lwIP passes the
 * pbuf's address to release_holder(). */
struct holder {
	struct pbuf_custom pbuf;
	struct stack *stack;
	stack_free_fn free_frame;
	void *handle;
	struct holder *next; /* in the free list */
};

enum conn_state {
	CONN_FREE,  /* in the free list */
	CONN_OPEN,  /* in use: events are delivered */
	CONN_CLOSE, /* the user closed the connection: send FIN when depth is 0 */
	CONN_ABORT, /* reset the connection when depth is 0 */
	CONN_GONE,  /* lwIP has freed the pcb */
};

struct stack_conn {
	struct stack *stack;
	struct tcp_pcb *pcb; /* NULL in CONN_FREE and CONN_GONE */
	const struct stack_events *events;
	void *arg;
	enum conn_state state;
	/* true after a stack_conn_write() that copied fewer bytes than it was given: writable()
	 * must follow */
	bool is_blocked;
	bool is_touched;	   /* in the touched list */
	size_t unconsumed_bytes;   /* bytes delivered by received() but not consumed yet */
	uint64_t user_timeout_ns;  /* 0: off */
	/* the last time at which the peer acknowledged bytes, or at which no bytes waited for an
	 * acknowledgement */
	uint64_t progress_ns;
	uint32_t progress_ack;	   /* value of pcb->lastack at progress_ns */
	struct stack_conn *next;	 /* next in the free list or the doomed list */
	struct stack_conn *next_touched; /* next in the touched list */
};

struct listener {
	struct stack *stack;
	struct tcp_pcb *pcb;
	const struct stack_events *events;
	void *app;
};

struct stack {
	struct netif netif;
	struct filter_rules rules;
	struct neighbours neighbours;
	stack_output_fn output;
	void *output_arg;
	uint64_t now_ns;
	unsigned int depth;
	uint64_t backoff_ns; /* when conn_bound_backoff() was last called */
	unsigned int n_connections_max;
	unsigned int n_backlog_max;
	struct holder *holders; /* array of all holders */
	struct holder *free_holders;
	struct stack_conn *conns; /* array of all connections */
	struct stack_conn *free_conns;
	struct stack_conn *doomed;
	struct stack_conn *touched; /* connections to acknowledge and flush at stack_poll() */
	struct listener listeners[STACK_LISTENERS_MAX];
	unsigned int n_listeners;
	struct stack_counters counters;
};

/* Returns lwIP's error @err as a negative errno, or 0 for ERR_OK. lwIP has its own numbers: ERR_MEM
 * is -1, which would be -EPERM. */
int stack_errno(err_t err);

/* End the connections in `doomed`. Call this only while `depth` is 0. */
void conn_finish_doomed(struct stack *stack);

/* Send the acknowledgements and queued bytes of every connection used since the last call. Call
 * this only while `depth` is 0. */
void conn_flush_touched(struct stack *stack);

/* Limit the retransmission timeout of all connections to one second. It is enough to call this once
 * per slow tick of lwIP (500 ms). */
void conn_bound_backoff(struct stack *stack);

/* Make room for one more half-open connection. Call this before lwIP gets a SYN, and only while
 * `depth` is 0. There are three limits: of half-open connections, of connections that linger after
 * our close, and of connections in TIME_WAIT. Where a limit is reached, ends the oldest of these
 * connections. */
void conn_make_room(struct stack *stack);

/* Forget the connection in TIME_WAIT that has the addresses and ports of a SYN, which came from
 * port @source_port of @source (host byte order) to our port @dest_port. Call this before lwIP gets
 * the SYN. Why: a peer may use its port again (RFC 9293, 3.10.7.8), but lwIP does not allow that.
 * lwIP would only acknowledge the old connection, so the peer's connect() would hang until
 * TIME_WAIT ends, after 120 s. */
void conn_free_port(struct stack *stack, uint32_t source, uint16_t source_port,
		    uint16_t dest_port);

/* Discard all segments that arrived out of order, because they use up the frame holders. The peers
 * will send them again. */
void conn_prune_out_of_order(struct stack *stack);

/* Reset every connection, without events. */
void conn_abort_all(struct stack *stack);

#endif
