/* stack.h - provides the gateway's TCP: one lwIP interface with listening ports and connections.
 * Users receive events by callbacks.
 *
 * Frames that come through DPDK never reach the kernel's TCP, so the gateway needs a TCP in user
 * space. The rest of the gateway sees only bytes and events. lwIP's types and rules stay inside
 * this directory.
 *
 * Where: the main loop calls stack_input() and stack_poll(). These two functions call the events
 * (struct stack_events), which session/ provides. The events call stack_conn_*(). Frames to send go
 * to the output callback, and from there to port/. This directory includes lwIP's headers, but
 * never DPDK's.
 *
 * Threads: ONE. Call all functions on the thread that called stack_open(). lwIP has no thread of
 * its own, because we call lwip_init(), not tcpip_init(), and run its timers. So no lock is needed.
 *
 * Inside an event, every function here can be called, except stack_input(), stack_poll() and
 * stack_close(). After stack_conn_close() or stack_conn_abort(), no event for that connection
 * follows, and the pointer is no longer valid. lwIP's record of the connection (the pcb) is closed
 * or aborted only after lwIP's callback has returned. So an event need not return ERR_ABRT to lwIP.
 *
 * Life of a connection:
 *
 *	SYN, ACK -> accepted() --NULL--> reset, no further event
 *	               | user
 *	               v
 *	  received()* writable()* ended()?  -> closed(reason)       peer reset, timeout
 *                     |                    -> stack_conn_close()   ours: FIN after what was written
 *	               '------------------- -> stack_conn_abort()   ours: RST
 *
 * (*: any number of times; ?: at most once)
 *
 * Never logs. Memory: stack_open() allocates connection slots and frame holders. lwIP allocates
 * segments and connections with malloc, within the limits of struct stack_config.
 *
 *      too many connections are ...   then
 *      half-open                      the oldest of them is dropped
 *      lingering after our close      the oldest of them is dropped
 *      open (n_connections_max)       a new connection is reset
 */
#ifndef STACK_STACK_H
#define STACK_STACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define STACK_MAC_BYTES		     6
#define STACK_CONNECTIONS_DEFAULT    256
#define STACK_BACKLOG_DEFAULT	     64	  /* maximum number of half-open connections */
#define STACK_FRAMES_HELD_DEFAULT    2048 /* must be less than the number of the port's buffers */
#define STACK_LISTENERS_MAX	     8
/* maximum number of connections in TIME_WAIT; above this limit the oldest are dropped */
#define STACK_TIME_WAIT_MAX	     32
#define STACK_OUTPUT_PIECES_MAX	     16

struct stack;	   /* opaque; one per process at a time (lwIP's state is global) */
struct stack_conn; /* opaque; not valid after closed(), stack_conn_close() or stack_conn_abort() */

struct stack_config {
	const char *address; /* our IPv4 address and prefix, such as "198.18.1.1/24" */
	const char *gateway; /* router to other networks, such as "198.18.1.254"; NULL: none */
	uint8_t mac[STACK_MAC_BYTES];
	uint16_t mtu;		       /* 576..1500; 0: the default, 1500 */
	unsigned int n_connections_max; /* maximum number of open connections; 0: default */
	unsigned int n_backlog_max;    /* maximum number of half-open connections; 0: default */
	/* maximum number of frames that lwIP may keep because they came out of order; 0: default */
	unsigned int n_frames_held_max;
};

/* A callback that sends one frame, the concatenation of @n_pieces pieces, which are valid only
 * during the call. It returns 0 or -errno; on error the frame is lost and counted. */
typedef int (*stack_output_fn)(void *output_arg, const struct iovec *pieces, size_t n_pieces);

/* A callback that releases a frame given to stack_input(). */
typedef void (*stack_free_fn)(void *handle);

struct stack_peer {
	uint32_t address; /* host byte order */
	uint16_t port;
	char text[24]; /* "198.18.1.2:40000" */
};

/* The user's callbacks. All of them must be set. They run on the stack's thread, inside
 * stack_input() or stack_poll(). */
struct stack_events {
	/* A connection has been established. The callback returns the @arg for the connection's
	 * later events, or NULL to reset the connection. @peer is valid only during the call. */
	void *(*accepted)(void *app, struct stack_conn *conn, const struct stack_peer *peer);
	/* The next @size (>= 1) bytes of the stream have arrived. @data points into the frame and
	 * is valid only during the call. The bytes fill the receive window until you call
	 * stack_conn_consumed() for them. */
	void (*received)(void *arg, const void *data, size_t size);
	/* There is room in the send buffer again. This event follows a stack_conn_write() that
	 * could not copy all bytes. */
	void (*writable)(void *arg);
	/* The peer has sent its FIN, and all its bytes have been delivered. Writing still works;
	 * call stack_conn_close() to end the connection. */
	void (*ended)(void *arg);
	/* The connection is gone. @reason is
	 * -ECONNRESET: the peer reset it;
	 * -ETIMEDOUT: the user timeout expired, keepalive probes or retransmissions ran out, or
	 * lwIP gave the connection up for another reason. */
	void (*closed)(void *arg, int reason);
};

struct stack_counters {
	uint64_t frames_in;
	uint64_t frames_out;
	uint64_t output_failed; /* frames lost because the output callback returned an error */
	uint64_t drop_runt;	      /* shorter than the lengths in its headers say */
	uint64_t drop_ethertype;      /* not IPv4 and not ARP */
	uint64_t drop_not_ours;	      /* sent to another MAC or IP address */
	uint64_t drop_malformed;      /* lengths or flags that no real host sends */
	/* IPv4 fragments, which TCP never sends, because it knows the path MTU */
	uint64_t drop_fragment;
	/* the source is our own, a loopback, a multicast or a broadcast address */
	uint64_t drop_spoofed;
	uint64_t drop_protocol;	      /* UDP and other protocols that are not for lwIP */
	/* TCP frames whose checksum looks unfinished. Of correct frames, 1 in 65536 looks so by
	 * chance. If there are many, a peer leaves checksums to hardware that does not exist: run
	 * `ethtool -K IF tx off` on the peer. */
	uint64_t hint_partial_csum;
	/* half-open connections dropped, the oldest first, because n_backlog_max was reached */
	uint64_t half_open_evicted;
	/* closed connections dropped, the oldest first, because n_connections_max of them
	 * lingered */
	uint64_t lingering_evicted;
	/* SYNs that used the port of a connection in TIME_WAIT again */
	uint64_t time_wait_reopened;
	/* frames dropped because lwIP kept n_frames_held_max frames even after pruning */
	uint64_t drop_no_holder;
	uint64_t out_of_order_pruned; /* how often the out-of-order queues were discarded */
	uint64_t accepted;
	/* connections reset because there were n_connections_max already, or accepted() returned
	 * NULL */
	uint64_t refused;
	uint64_t closed_reset;
	uint64_t closed_timeout;
	uint64_t n_connections; /* connections open now */
	uint64_t n_frames_held; /* frames that lwIP keeps now */
};

/* Initialise lwIP (only the first time) and bring the interface up. Allocates. @output is called
 * with @output_arg until stack_close(). Returns 0 and sets *ret_stack, which the caller then owns.
 * Errors:
 *      -EINVAL  the address, gateway, mac or mtu of @config is invalid
 *      -EBUSY   a stack is open already
 *      -ENOMEM  memory is short */
int stack_open(const struct stack_config *config, stack_output_fn output, void *output_arg,
	       struct stack **ret_stack) __attribute__((warn_unused_result));

/* Reset all connections without events, take the interface down and release all held frames. NULL
 * is allowed. Do not call this from inside an event. */
void stack_close(struct stack *stack);

/* Pass one received frame to lwIP, which can change the frame's bytes. @free_frame(@handle) is
 * always called exactly once: during this call, or when lwIP no longer needs the frame. Bad frames
 * are dropped and counted. Runs events. */
void stack_input(struct stack *stack, void *data, size_t size, stack_free_fn free_frame,
		 void *handle);

/* Run lwIP's timers, send queued bytes, and acknowledge what arrived since the last call. Call this
 * once per turn of the loop, after the frames of a burst. @now_ns is monotonic time. Runs
 * events. */
void stack_poll(struct stack *stack, uint64_t now_ns);

/* Returns in how many ns stack_poll() must run even if no frame arrives, or UINT64_MAX if no timer
 * runs. There is no parameter for the stack, because lwIP's timers are global. */
uint64_t stack_next_timeout_ns(void);

/* Accept connections to TCP @port. @events must outlive the stack; @app is passed to accepted().
 * Returns 0. Errors:
 *      -EADDRINUSE  the stack listens on @port already
 *      -ENOSPC      there are STACK_LISTENERS_MAX ports already
 *      -ENOMEM      memory is short */
int stack_listen(struct stack *stack, uint16_t port, const struct stack_events *events, void *app)
	__attribute__((warn_unused_result));

void stack_get_counters(const struct stack *stack, struct stack_counters *ret_counters);

/* Report that the caller is done with the next @size bytes that received() has passed to it. This
 * opens the receive window by @size bytes. If @size is larger than the number of unconsumed bytes,
 * all of them count as consumed. If the caller consumes nothing, the window closes and the peer
 * stops sending (back-pressure). */
void stack_conn_consumed(struct stack_conn *conn, size_t size);

/* Copy bytes into the send queue. Returns how many bytes were copied, 0..@size. If this is less
 * than @size, the event writable() follows. Queued bytes are sent at the next stack_poll(),
 * or earlier if they fill a segment. */
size_t stack_conn_write(struct stack_conn *conn, const void *data, size_t size)
	__attribute__((warn_unused_result));

/* Close the connection. @conn is not valid after the call. In the background, lwIP sends the
 * written bytes and then a FIN. If the peer has not acknowledged all of this after STACK_LINGER_MS,
 * the connection is reset. If the peer sends more bytes meanwhile, the connection is reset at once.
 * A reset can destroy bytes that the peer has not read yet. To avoid this, let the peer end the
 * connection first (ended()). Bytes that our side has received but not consumed cause no reset. */
#define STACK_LINGER_MS 10000
void stack_conn_close(struct stack_conn *conn);

/* Reset the connection. @conn is not valid after the call. */
void stack_conn_abort(struct stack_conn *conn);

/* Set keepalive: after @idle_ms of silence, probe the peer every @interval_ms. After @n_probes
 * probes without an answer, the connection ends with closed(-ETIMEDOUT). If @idle_ms is 0,
 * keepalive is off (the default). Resolution 500 ms. */
void stack_conn_set_keepalive(struct stack_conn *conn, uint32_t idle_ms, uint32_t interval_ms,
			      uint32_t n_probes);

/* Set the user timeout. If written bytes stay unacknowledged for @timeout_ms, the connection is
 * reset, and closed(-ETIMEDOUT) is called. If @timeout_ms is 0 (the default), lwIP gives up only
 * after 12 retransmissions, which takes minutes. Resolution: 500 ms. */
void stack_conn_set_user_timeout(struct stack_conn *conn, uint32_t timeout_ms);

#endif
