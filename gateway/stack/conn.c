/* conn.c - handles TCP connections: translates lwIP's raw callbacks into the events of stack.h. */
#include "stack/stack_private.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <lwip/priv/tcp_priv.h>
#include <lwip/sys.h>

#include "base/clock.h"

#define WRITE_CHUNK_BYTES 16384  /* tcp_write() queues all bytes or none, so pass it small pieces */
#define WRITABLE_AT_BYTES (STACK_SEND_BUFFER_BYTES / 4)
/* how often on_poll() looks for timeouts and due writable() events, in units of 500 ms */
#define POLL_INTERVAL	  1
#define LINGER_INTERVAL	  2
#define RTO_MAX_TICKS	  2	 /* limit of a retransmission timeout, in units of 500 ms */

/* ---- ending ---- */

static void free_slot(struct stack_conn *conn)
{
	struct stack *stack = conn->stack;

	conn->state = CONN_FREE;
	conn->pcb = NULL;
	conn->arg = NULL;
	conn->next = stack->free_conns;
	stack->free_conns = conn;
	stack->counters.n_connections--;
}

static void detach(struct stack_conn *conn)
{
	tcp_arg(conn->pcb, NULL);
	tcp_recv(conn->pcb, NULL); /* without this callback lwIP discards data and
				    * keeps the window open */
	tcp_sent(conn->pcb, NULL);
	tcp_err(conn->pcb, NULL);
	tcp_poll(conn->pcb, NULL, 0);
}

/* Ends a closed connection whose peer neither acknowledges our FIN nor resets the connection. */
static err_t linger(void *arg, struct tcp_pcb *pcb)
{
	uint32_t deadline_ms = (uint32_t)(uintptr_t)arg;

	if ((int32_t)(sys_now() - deadline_ms) < 0)
		return ERR_OK;
	tcp_abort(pcb);
	return ERR_ABRT; /* tells lwIP that the pcb is gone */
}

static void close_pcb(struct stack_conn *conn)
{
	struct tcp_pcb *pcb = conn->pcb;
	uint32_t deadline_ms = sys_now() + STACK_LINGER_MS;

	detach(conn);
	tcp_arg(pcb, (void *)(uintptr_t)deadline_ms);
	tcp_poll(pcb, linger, LINGER_INTERVAL);
	/* Set the receive window to lwIP's full size. If the window is smaller, tcp_close() assumes
	 * that there are unread bytes, and sends a reset, not a FIN. */
	pcb->rcv_wnd = TCP_WND_MAX(pcb);
	if (tcp_close(pcb) != ERR_OK)
		tcp_abort(pcb);
}

static void finish(struct stack_conn *conn)
{
	if (conn->pcb && conn->state == CONN_CLOSE) {
		close_pcb(conn);
	} else if (conn->pcb) {
		detach(conn);
		tcp_abort(conn->pcb);
	}
	free_slot(conn);
}

void conn_finish_doomed(struct stack *stack)
{
	while (stack->doomed) {
		struct stack_conn *conn = stack->doomed;

		stack->doomed = conn->next;
		if (conn->is_touched)
			conn_flush_touched(stack); /* takes @conn off the touched list and
						    * sends its queued bytes */
		finish(conn);
	}
}

/* End @conn without another event. Its pcb (lwIP's record of the connection) is freed at once or,
 * if lwIP has called us (`depth` > 0), as soon as that call into lwIP has returned. */
static void doom(struct stack_conn *conn, enum conn_state state)
{
	struct stack *stack = conn->stack;

	conn->state = state;
	conn->next = stack->doomed;
	stack->doomed = conn;
	if (stack->depth == 0)
		conn_finish_doomed(stack);
}

/* ---- flow ---- */

static void touch(struct stack_conn *conn)
{
	if (conn->is_touched)
		return;
	conn->is_touched = true;
	conn->next_touched = conn->stack->touched;
	conn->stack->touched = conn;
}

void conn_flush_touched(struct stack *stack)
{
	while (stack->touched) {
		struct stack_conn *conn = stack->touched;

		stack->touched = conn->next_touched;
		conn->is_touched = false;
		if (!conn->pcb)
			continue;
		/* Send the acknowledgement now. After a single segment lwIP would delay it by up to
		 * 250 ms, and the peer would measure a false round-trip time. */
		if (conn->pcb->flags & TF_ACK_DELAY)
			tcp_ack_now(conn->pcb);
		(void)tcp_output(conn->pcb); /* no memory or no route: lwIP's timer tries again */
	}
}

/* Limit the retransmission timeouts. lwIP doubles them up to more than a minute. With the limit, a
 * connection recovers soon after a broken link works again. */
void conn_bound_backoff(struct stack *stack)
{
	for (unsigned int i = 0; i < stack->n_connections_max; i++) {
		struct tcp_pcb *pcb = stack->conns[i].pcb;

		if (pcb && pcb->rto > RTO_MAX_TICKS)
			pcb->rto = RTO_MAX_TICKS;
	}
}

/* Open the receive window by @size bytes. This replaces lwIP's tcp_recved(), which limits the
 * window to 65535 bytes (TCP_WND). At a round trip of 200 microseconds, that would limit a
 * connection to 2.6 Gbit/s. */
static void open_window(struct tcp_pcb *pcb, size_t size)
{
	tcpwnd_size_t max = pcb->flags & TF_WND_SCALE ? STACK_WINDOW_BYTES : TCP_WND_MAX(pcb);
	tcpwnd_size_t window = pcb->rcv_wnd + (tcpwnd_size_t)size;
	uint32_t announced = pcb->rcv_ann_right_edge - pcb->rcv_nxt;
	uint32_t gained;

	pcb->rcv_wnd = window > max || window < pcb->rcv_wnd ? max : window;
	/* returns 0 while the window has grown by less than one segment */
	gained = tcp_update_rcv_ann_wnd(pcb);
	/* Announce the larger window if it has grown by enough. If the window was almost closed,
	 * announce any growth, because the peer waits for it. */
	if (gained >= TCP_WND_UPDATE_THRESHOLD || (gained > 0 && announced < 2u * pcb->mss))
		tcp_ack_now(pcb);
}

static bool has_room(const struct tcp_pcb *pcb)
{
	return pcb->snd_buf >= WRITABLE_AT_BYTES && pcb->snd_queuelen < TCP_SND_QUEUELEN * 3 / 4;
}

static void tell_writable(struct stack_conn *conn)
{
	if (conn->state != CONN_OPEN || !conn->is_blocked || !has_room(conn->pcb))
		return;
	conn->is_blocked = false;
	conn->events->writable(conn->arg);
}

/* ---- lwIP's callbacks, called only while depth > 0 ---- */

static err_t on_received(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	struct stack_conn *conn = arg;
	struct pbuf *q;

	(void)pcb;
	(void)err; /* always ERR_OK in this version */
	if (!p) {
		if (conn->state == CONN_OPEN)
			conn->events->ended(conn->arg);
		return ERR_OK;
	}
	conn->unconsumed_bytes += p->tot_len;
	touch(conn);
	for (q = p; q && conn->state == CONN_OPEN; q = q->next) {
		if (q->len > 0)
			conn->events->received(conn->arg, q->payload, q->len);
	}
	pbuf_free(p);
	return ERR_OK;
}

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t size)
{
	(void)pcb;
	(void)size;
	tell_writable(arg);
	return ERR_OK;
}

/* Called by lwIP when it has already freed the pcb. */
static void on_error(void *arg, err_t err)
{
	struct stack_conn *conn = arg;
	int reason = stack_errno(err);

	conn->pcb = NULL;
	if (conn->state != CONN_OPEN)
		return; /* @conn is in the doomed list already, so its slot will be freed */
	if (err == ERR_ABRT)
		reason = -ETIMEDOUT; /* lwIP's timers report ERR_ABRT when retransmissions or
				      * keepalive probes run out */
	if (reason == -ECONNRESET)
		conn->stack->counters.closed_reset++;
	else
		conn->stack->counters.closed_timeout++;
	conn->state = CONN_GONE;
	conn->events->closed(conn->arg, reason);
	doom(conn, CONN_GONE);
}

static bool is_timed_out(struct stack_conn *conn)
{
	const struct tcp_pcb *pcb = conn->pcb;
	bool waiting = pcb->unacked || pcb->unsent;

	if (!waiting || pcb->lastack != conn->progress_ack) {
		conn->progress_ack = pcb->lastack;
		conn->progress_ns = conn->stack->now_ns;
	}
	return conn->user_timeout_ns && waiting &&
	       conn->stack->now_ns - conn->progress_ns >= conn->user_timeout_ns;
}

static err_t on_poll(void *arg, struct tcp_pcb *pcb)
{
	struct stack_conn *conn = arg;

	(void)pcb;
	if (conn->state != CONN_OPEN)
		return ERR_OK;
	if (is_timed_out(conn)) {
		conn->stack->counters.closed_timeout++;
		conn->state = CONN_ABORT;
		conn->events->closed(conn->arg, -ETIMEDOUT);
		doom(conn, CONN_ABORT);
		return ERR_OK;
	}
	/* needed if a write failed for lack of memory, because then no on_sent() follows */
	tell_writable(conn);
	return ERR_OK;
}

static void fill_peer(const struct tcp_pcb *pcb, struct stack_peer *ret_peer)
{
	uint32_t address = lwip_ntohl(ip_2_ip4(&pcb->remote_ip)->addr);

	ret_peer->address = address;
	ret_peer->port = pcb->remote_port;
	snprintf(ret_peer->text, sizeof(ret_peer->text), "%u.%u.%u.%u:%u", address >> 24,
		 address >> 16 & 255, address >> 8 & 255, address & 255,
		 (unsigned int)pcb->remote_port);
}

static struct stack_conn *take_slot(struct stack *stack, struct tcp_pcb *pcb)
{
	struct stack_conn *conn = stack->free_conns;

	if (!conn)
		return NULL;
	stack->free_conns = conn->next;
	stack->counters.n_connections++;
	*conn = (struct stack_conn){
		.stack = stack,
		.pcb = pcb,
		.state = CONN_OPEN,
		.progress_ns = stack->now_ns,
		.progress_ack = pcb->lastack,
	};
	tcp_arg(pcb, conn);
	tcp_recv(pcb, on_received);
	tcp_sent(pcb, on_sent);
	tcp_err(pcb, on_error);
	tcp_poll(pcb, on_poll, POLL_INTERVAL);
	tcp_nagle_disable(pcb);
	/* raising this is safe, because nothing is queued yet */
	pcb->snd_buf = STACK_SEND_BUFFER_BYTES;
	open_window(pcb, STACK_WINDOW_BYTES);
	return conn;
}

static err_t on_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
	struct listener *listener = arg;
	struct stack *stack = listener->stack;
	struct stack_peer peer;
	struct stack_conn *conn;

	if (err != ERR_OK || !pcb)
		return ERR_VAL; /* lwIP had no memory for the connection */
	conn = take_slot(stack, pcb);
	if (!conn) {
		stack->counters.refused++;
		return ERR_CONN; /* makes lwIP reset the connection and free the pcb */
	}
	fill_peer(pcb, &peer);
	conn->events = listener->events;
	conn->arg = listener->events->accepted(listener->app, conn, &peer);
	if (conn->arg) {
		stack->counters.accepted++;
		return ERR_OK;
	}
	stack->counters.refused++;
	if (conn->state == CONN_OPEN)
		doom(conn, CONN_ABORT);
	return ERR_OK;
}

/* ---- limits that Debian's lwIP lacks, because it allocates with malloc ---- */

/* Limit the number of connections in TIME_WAIT. lwIP keeps each of them for 120 s, and searches all
 * of them when a SYN arrives. To drop one early is harmless, because both ends have acknowledged
 * all bytes. If the peer did not get our last acknowledgement, it repeats its FIN and gets a
 * reset. */
static void bound_time_wait(void)
{
	struct tcp_pcb *pcb = tcp_tw_pcbs, *next;
	unsigned int n = 0;

	for (; pcb; pcb = next) { /* the youngest is first */
		next = pcb->next;
		if (++n > STACK_TIME_WAIT_MAX)
			tcp_abandon(pcb, 0);
	}
}

void conn_free_port(struct stack *stack, uint32_t source, uint16_t source_port, uint16_t dest_port)
{
	struct tcp_pcb *pcb, *next;

	for (pcb = tcp_tw_pcbs; pcb; pcb = next) {
		next = pcb->next;
		if (pcb->remote_port != source_port || pcb->local_port != dest_port ||
		    lwip_ntohl(ip_2_ip4(&pcb->remote_ip)->addr) != source)
			continue;
		tcp_abandon(pcb, 0);
		stack->counters.time_wait_reopened++;
	}
}

/* If there are too many half-open connections, end the oldest of them, so that a flood of SYNs
 * cannot block the TCP port. An honest handshake takes one or two round trips, so it is complete
 * before a flood makes it the oldest half-open connection. Connections that linger after our close
 * are treated in the same way. lwIP's list tcp_active_pcbs begins with the connection that received
 * a segment last, so the last match is taken as the oldest. */
void conn_make_room(struct stack *stack)
{
	struct tcp_pcb *pcb, *half_open = NULL, *lingering = NULL;
	unsigned int n_half_open = 0, n_lingering = 0;

	for (pcb = tcp_active_pcbs; pcb; pcb = pcb->next) {
		if (pcb->state == SYN_RCVD) {
			n_half_open++;
			half_open = pcb;
		} else if (pcb->poll == linger) {
			n_lingering++;
			lingering = pcb;
		}
	}
	if (n_half_open >= stack->n_backlog_max) {
		tcp_abandon(half_open, 0);
		stack->counters.half_open_evicted++;
	}
	if (n_lingering >= stack->n_connections_max) {
		tcp_abort(lingering);
		stack->counters.lingering_evicted++;
	}
	bound_time_wait();
}

void conn_prune_out_of_order(struct stack *stack)
{
	struct tcp_pcb *pcb;

	stack->counters.out_of_order_pruned++;
	for (pcb = tcp_active_pcbs; pcb; pcb = pcb->next) {
		if (pcb->ooseq)
			tcp_free_ooseq(pcb);
	}
}

void conn_abort_all(struct stack *stack)
{
	unsigned int i;

	for (i = 0; i < stack->n_connections_max; i++) {
		if (stack->conns[i].pcb)
			detach(&stack->conns[i]);
	}
	while (tcp_active_pcbs)
		tcp_abort(tcp_active_pcbs);
	while (tcp_tw_pcbs)
		tcp_abort(tcp_tw_pcbs);
}

/* ---- for the session layer ---- */

int stack_listen(struct stack *stack, uint16_t port, const struct stack_events *events, void *app)
{
	struct listener *listener = &stack->listeners[stack->n_listeners];
	struct tcp_pcb *pcb, *listening;
	err_t err;

	if (stack->n_listeners == STACK_LISTENERS_MAX)
		return -ENOSPC;
	pcb = tcp_new_ip_type(IPADDR_TYPE_V4);
	if (!pcb)
		return -ENOMEM;
	err = tcp_bind(pcb, IP4_ADDR_ANY, port);
	if (err != ERR_OK) {
		tcp_abort(pcb);
		return stack_errno(err);
	}
	listening = tcp_listen(pcb);
	if (!listening) {
		tcp_abort(pcb);
		return -ENOMEM;
	}
	*listener = (struct listener){ stack, listening, events, app };
	tcp_arg(listening, listener);
	tcp_accept(listening, on_accept);
	stack->n_listeners++;
	return 0;
}

void stack_conn_consumed(struct stack_conn *conn, size_t size)
{
	if (size > conn->unconsumed_bytes)
		size = conn->unconsumed_bytes;
	if (size == 0 || !conn->pcb)
		return;
	conn->unconsumed_bytes -= size;
	open_window(conn->pcb, size);
	touch(conn);
}

size_t stack_conn_write(struct stack_conn *conn, const void *data, size_t size)
{
	struct tcp_pcb *pcb = conn->pcb;
	const char *at = data;
	size_t left = size;

	if (!pcb)
		return 0;
	if (!pcb->unacked && !pcb->unsent)
		conn->progress_ns = conn->stack->now_ns;
	while (left > 0) {
		size_t chunk = left < WRITE_CHUNK_BYTES ? left : WRITE_CHUNK_BYTES;
		u8_t more;

		if (chunk > pcb->snd_buf)
			chunk = pcb->snd_buf;
		more = chunk < left ? TCP_WRITE_FLAG_MORE : 0;
		if (chunk == 0 ||
		    tcp_write(pcb, at, (u16_t)chunk, TCP_WRITE_FLAG_COPY | more) != ERR_OK)
			break; /* the queue is full, in bytes or in segments */
		at += chunk;
		left -= chunk;
	}
	conn->is_blocked = left > 0;
	touch(conn);
	return size - left;
}

void stack_conn_close(struct stack_conn *conn)
{
	/* in any other state, the caller is inside closed(), or has closed @conn before */
	if (conn->state == CONN_OPEN)
		doom(conn, CONN_CLOSE);
}

void stack_conn_abort(struct stack_conn *conn)
{
	if (conn->state == CONN_OPEN)
		doom(conn, CONN_ABORT);
}

void stack_conn_set_keepalive(struct stack_conn *conn, uint32_t idle_ms, uint32_t interval_ms,
			      uint32_t n_probes)
{
	struct tcp_pcb *pcb = conn->pcb;

	if (!pcb)
		return;
	if (idle_ms == 0) {
		ip_reset_option(pcb, SOF_KEEPALIVE);
		return;
	}
	ip_set_option(pcb, SOF_KEEPALIVE);
	pcb->keep_idle = idle_ms;
	pcb->keep_intvl = interval_ms;
	pcb->keep_cnt = n_probes;
}

void stack_conn_set_user_timeout(struct stack_conn *conn, uint32_t timeout_ms)
{
	conn->user_timeout_ns = timeout_ms * CLOCK_NS_PER_MS;
	conn->progress_ns = conn->stack->now_ns;
}
