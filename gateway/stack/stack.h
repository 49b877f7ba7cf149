/* stack.h - the gateway's TCP: one lwIP interface, listening ports and connections, by callbacks.
 *
 * Why: a user-space TCP beside the DPDK port, without the kernel's sockets. The rest of the gateway
 * sees bytes and events; lwIP's types, its err_t and its rules end in this room.
 *
 * Where: main loop -> stack_input()/stack_poll() -> events of session/ -> stack_conn_*() -> output
 * callback -> port/. This room includes only lwIP, never DPDK.
 *
 * Threads: ONE. lwIP is initialised without its tcpip thread (lwip_init() and our own timer calls;
 * Debian's build checks the core lock only once tcpip_init() ran). So there is no lock, and no
 * second thread that could run a callback. Call everything here on the thread that called
 * stack_open().
 *
 * Rules inside events: every function here may be called from inside any event, except
 * stack_input(), stack_poll() and stack_close(). stack_conn_close() and stack_conn_abort() take
 * effect at once for the caller: no event for that connection follows, and the pointer is dead.
 * lwIP learns of it only after its own callback has returned, so it never loses a pcb that it still
 * uses, and callers need not follow the ERR_ABRT rule of its raw API.
 *
 * Life of a connection:
 *
 *	SYN, ACK -> accepted() --NULL--> reset, no further event
 *	               | user
 *	               v
 *	  received()* writable()* ended()?  -> closed(reason)       peer reset, timeout
 *	               |                    -> stack_conn_close()   ours: FIN after what was written
 *	               '------------------- -> stack_conn_abort()   ours: RST
 *
 * Never logs. Memory: connection slots and frame holders are allocated at open. lwIP itself
 * (Debian: MEMP_MEM_MALLOC) takes segments and connections from malloc, within the limits of struct
 * stack_config. At each limit the oldest is ended, so strangers cannot lock others out.
 */
#ifndef STACK_STACK_H
#define STACK_STACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define STACK_MAC_BYTES		     6
#define STACK_CONNECTIONS_DEFAULT    256
#define STACK_BACKLOG_DEFAULT	     64	  /* half-open connections */
#define STACK_FRAMES_HELD_DEFAULT    2048 /* must stay below the port's buffers */
#define STACK_LISTENERS_MAX	     8
#define STACK_TIME_WAIT_MAX	     32	  /* ended connections in TIME_WAIT; the oldest go first */
#define STACK_OUTPUT_PIECES_MAX	     16

struct stack;	   /* opaque; one per process at a time (lwIP's state is global) */
struct stack_conn; /* opaque; dead after closed(), close or abort */

struct stack_config {
	const char *address; /* own IPv4 address and prefix, "198.18.1.1/24" */
	const char *gateway; /* next hop to other networks, "198.18.1.254", or NULL: none */
	uint8_t mac[STACK_MAC_BYTES];
	uint16_t mtu;		       /* 576..1500; 0: 1500 */
	unsigned int n_connections_max; /* accepted at one time; 0: default */
	unsigned int n_backlog_max;    /* half-open at one time; 0: default */
	unsigned int n_frames_held_max; /* frames lwIP may keep (out of order); 0: default */
};

/* Send one frame, the concatenation of @n_pieces pieces, valid only during the call. 0, or
 * negative errno: the frame is lost and counted. */
typedef int (*stack_output_fn)(void *output_arg, const struct iovec *pieces, size_t n_pieces);

/* Give back a frame that stack_input() took. */
typedef void (*stack_free_fn)(void *handle);

struct stack_peer {
	uint32_t address; /* host byte order */
	uint16_t port;
	char text[24]; /* "198.18.1.2:40000" */
};

/* All run on the stack's thread, inside stack_input() or stack_poll(). All must be set. */
struct stack_events {
	/* A connection is established. Returns the argument of the other events, or NULL to
	 * reset it. @peer is valid during the call. */
	void *(*accepted)(void *app, struct stack_conn *conn, const struct stack_peer *peer);
	/* @size >= 1 bytes in order, in place, valid only during the call. They stay charged to
	 * the receive window until stack_conn_consumed(). */
	void (*received)(void *arg, const void *data, size_t size);
	/* There is room again, after stack_conn_write() took less than offered. */
	void (*writable)(void *arg);
	/* The peer will send no more (FIN), and all its bytes were delivered. Writing still works.
	 * To end the connection call stack_conn_close(). */
	void (*ended)(void *arg);
	/* The connection is gone: -ECONNRESET peer's reset, -ETIMEDOUT user timeout, keepalive or
	 * retransmissions ran out, -ECONNABORTED lwIP gave up (no memory). */
	void (*closed)(void *arg, int reason);
};

struct stack_counters {
	uint64_t frames_in;
	uint64_t frames_out;
	uint64_t output_failed;	      /* the output callback returned an error */
	uint64_t drop_runt;	      /* shorter than its headers claim */
	uint64_t drop_ethertype;      /* not IPv4 and not ARP */
	uint64_t drop_not_ours;	      /* other MAC or IP address */
	uint64_t drop_malformed;      /* lengths or flags that no real host sends */
	uint64_t drop_fragment;	      /* IPv4 fragments: TCP with path MTU never needs them */
	uint64_t drop_spoofed;	      /* own, loopback, multicast or broadcast source address */
	uint64_t drop_protocol;	      /* UDP and others that nobody here serves */
	uint64_t hint_partial_csum;   /* TCP frames whose checksum looks unfinished (1
				       * of 65536 does by chance). Many mean that the
				       * peer leaves checksums to hardware that is not
				       * there and needs `ethtool -K IF tx off` */
	uint64_t half_open_evicted;   /* ended: the oldest half-open one, at n_backlog_max */
	uint64_t lingering_evicted;   /* ended: the oldest closed one,
				       * when n_connections_max linger */
	uint64_t drop_no_holder;      /* n_frames_held_max reached, even after pruning */
	uint64_t out_of_order_pruned; /* times the out-of-order queues were discarded */
	uint64_t accepted;
	uint64_t refused; /* over n_connections_max, or accepted() returned NULL */
	uint64_t closed_reset;
	uint64_t closed_timeout;
	uint64_t n_connections; /* now */
	uint64_t n_frames_held; /* now */
};

/* Initialise lwIP (the first time) and bring the interface up. Allocates.
 * 0: *ret_stack is the caller's. -EINVAL: address, gateway, mac or mtu; -EBUSY: one is open
 * already; -ENOMEM. @output is called with @output_arg until stack_close(). */
int stack_open(const struct stack_config *config, stack_output_fn output, void *output_arg,
	       struct stack **ret_stack) __attribute__((warn_unused_result));

/* Reset all connections without events, take the interface down, give back all held frames. NULL is
 * allowed. Not from inside an event. */
void stack_close(struct stack *stack);

/* Give lwIP one frame; it may change the bytes. Takes the frame in every case: @free_frame(@handle)
 * is called once, now or when lwIP is done with it. Drops and counts bad frames. Runs events. */
void stack_input(struct stack *stack, void *data, size_t size, stack_free_fn free_frame,
		 void *handle);

/* Run due timers, send what is due, acknowledge what arrived since the last call. Call once per
 * turn of the loop, after the frames of a burst. @now_ns: monotonic. Runs events. */
void stack_poll(struct stack *stack, uint64_t now_ns);

/* Nanoseconds until stack_poll() must run again even if no frame arrives; UINT64_MAX: no timer. */
uint64_t stack_next_timeout_ns(const struct stack *stack);

/* Accept connections to TCP @port. @events must outlive the stack; @app goes to accepted().
 * 0; -EADDRINUSE; -ENOSPC: STACK_LISTENERS_MAX reached; -ENOMEM. */
int stack_listen(struct stack *stack, uint16_t port, const struct stack_events *events, void *app)
	__attribute__((warn_unused_result));

void stack_get_counters(const struct stack *stack, struct stack_counters *ret_counters);

/* The caller is done with @size more bytes given to received(), so the peer may send as many again.
 * At most the outstanding bytes count. Bytes not consumed keep the window closed: that is the
 * back-pressure. */
void stack_conn_consumed(struct stack_conn *conn, size_t size);

/* Queue bytes to send, copied. Returns how many were taken, 0..@size.
 * Less than @size: writable() will come. They are sent at the next
 * stack_poll() or stack_conn_flush(), or when a segment is full. */
size_t stack_conn_write(struct stack_conn *conn, const void *data, size_t size)
	__attribute__((warn_unused_result));

/* How many bytes stack_conn_write() would take now; 0: none (and writable() will come). */
size_t stack_conn_writable_bytes(struct stack_conn *conn);

/* Send the queued bytes now instead of at stack_poll(). */
void stack_conn_flush(struct stack_conn *conn);

/* Orderly end: written bytes and a FIN are sent. lwIP goes on by itself for at most
 * STACK_LINGER_MS, then resets. If the peer sends more bytes it is reset at once, and may lose what
 * it has not read yet. Where that matters, let the peer end first (ended()). Bytes received but not
 * consumed cause no reset. @conn is dead at return. */
#define STACK_LINGER_MS 10000
void stack_conn_close(struct stack_conn *conn);

/* Reset the connection. @conn is dead at return. */
void stack_conn_abort(struct stack_conn *conn);

/* Probe a silent peer after @idle_ms, then every @interval_ms, and give up (closed(-ETIMEDOUT))
 * after @n_probes without an answer. @idle_ms 0: off (default). Resolution 500 ms. */
void stack_conn_set_keepalive(struct stack_conn *conn, uint32_t idle_ms, uint32_t interval_ms,
			      uint32_t n_probes);

/* Give up (reset, closed(-ETIMEDOUT)) when written bytes stay unacknowledged for @timeout_ms.
 * 0: off (default: lwIP's 12 retransmissions, minutes). Resolution 500 ms. */
void stack_conn_set_user_timeout(struct stack_conn *conn, uint32_t timeout_ms);

#endif
