/* stack_private.h - what stack.c (interface, frames, time) and conn.c (connections) share. The only
 * header of this room that shows lwIP; nobody outside includes it.
 *
 * `depth` counts how far we are inside lwIP. While it is not 0 no pcb may be closed or aborted, for
 * lwIP may still use it when our callback returns. Connections to be ended wait in `doomed`.
 */
#ifndef STACK_PRIVATE_H
#define STACK_PRIVATE_H

#include <lwip/netif.h>
#include <lwip/pbuf.h>
#include <lwip/tcp.h>

#include "stack/filter.h"
#include "stack/neighbours.h"
#include "stack/stack.h"

/* How much the peer may have under way to us. Debian builds lwIP with TCP_WND 65535 and a window
 * scale of 1, so the field can express up to 131070; the library itself would stop at 65535. See
 * open_window() in conn.c. */
#define STACK_WINDOW_BYTES 131070u

/* How much we may have under way. lwIP's own default is 65535. Beyond this, its fixed queue of
 * TCP_SND_QUEUELEN segments is the limit. */
#define STACK_SEND_BUFFER_BYTES (160u * 1024)

/* Keeps a frame while lwIP refers to it. @pbuf must be first: lwIP passes that pointer back. */
struct holder {
	struct pbuf_custom pbuf;
	struct stack *stack;
	stack_free_fn free_frame;
	void *handle;
	struct holder *next; /* in the free list */
};

enum conn_state {
	CONN_FREE,  /* in the free list */
	CONN_OPEN,  /* events flow */
	CONN_CLOSE, /* the user closed it: FIN when depth is 0 */
	CONN_ABORT, /* reset when depth is 0 */
	CONN_GONE,  /* lwIP has freed the pcb */
};

struct stack_conn {
	struct stack *stack;
	struct tcp_pcb *pcb; /* NULL in CONN_FREE and CONN_GONE */
	const struct stack_events *events;
	void *arg;
	enum conn_state state;
	bool is_blocked;	   /* a write took less than offered: writable() must follow */
	bool is_touched;	   /* in the touched list */
	size_t unconsumed_bytes;   /* given to received(), not to stack_conn_consumed() */
	uint64_t user_timeout_ns;  /* 0: off */
	uint64_t progress_ns;	   /* when bytes were last acknowledged, or none were outstanding */
	uint32_t progress_ack;	   /* pcb->lastack at that time */
	struct stack_conn *next;	 /* free list or doomed list */
	struct stack_conn *next_touched; /* touched list */
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
	uint64_t backoff_ns; /* when conn_bound_backoff() was called last */
	unsigned int n_connections_max;
	unsigned int n_backlog_max;
	struct holder *holders; /* the array */
	struct holder *free_holders;
	struct stack_conn *conns; /* the array */
	struct stack_conn *free_conns;
	struct stack_conn *doomed;
	struct stack_conn *touched; /* to acknowledge and flush at stack_poll() */
	struct listener listeners[STACK_LISTENERS_MAX];
	unsigned int n_listeners;
	struct stack_counters counters;
};

/* lwIP's error as negative errno (its ERR_MEM -1 would read as -EPERM). 0 for ERR_OK. */
int stack_errno(err_t err);

/* End the connections in `doomed`; only with depth 0. */
void conn_finish_doomed(struct stack *stack);

/* Acknowledge and send for every connection used since the last call; only with depth 0. */
void conn_flush_touched(struct stack *stack);

/* Limit retransmission waits to a second. Calling it once a slow tick (500 ms) is enough. */
void conn_bound_backoff(struct stack *stack);

/* Call before a SYN makes lwIP allocate one more half-open connection. Ends the oldest half-open
 * and lingering ones at their limits, and those in TIME_WAIT above theirs. Only with depth 0. */
void conn_make_room(struct stack *stack);

/* Discard all out-of-order segments to get holders back. The peers send them again. */
void conn_prune_out_of_order(struct stack *stack);

/* Reset every connection, without events. */
void conn_abort_all(struct stack *stack);

#endif
