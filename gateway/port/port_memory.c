#include "port/port_memory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct frame {
	struct port *port;
	size_t size;
	uint8_t data[PORT_FRAME_MAX];
};

/* A first-in, first-out queue. Only the first n_flushed frames can be collected. */
struct queue {
	struct frame *frames[PORT_MEMORY_FRAMES];
	size_t n_frames;
	size_t n_flushed;
};

struct port {
	struct queue rx;
	struct queue tx;
	size_t n_outstanding;
	int wait_fd;
	uint8_t mac[PORT_MAC_BYTES];
	struct port_counters counters;
};

static struct frame *pop(struct queue *queue)
{
	struct frame *frame = queue->frames[0];

	queue->n_frames--;
	memmove(queue->frames, queue->frames + 1, queue->n_frames * sizeof(queue->frames[0]));
	return frame;
}

int port_open(const struct port_config *config, struct port **ret_port, struct error *ret_error)
{
	static const uint8_t mac[PORT_MAC_BYTES] = { 0x02, 0, 0, 0, 0, 0x01 };
	struct port *port;

	if (!config->device || !config->device[0])
		return error_set(ret_error, -EINVAL, "no device");
	port = calloc(1, sizeof(*port));
	if (!port)
		return -ENOMEM;
	port->wait_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (port->wait_fd < 0) {
		free(port);
		return -errno;
	}
	memcpy(port->mac, mac, sizeof(mac));
	*ret_port = port;
	return 0;
}

bool port_is_shareable(const struct port *port)
{
	(void)port;
	return false;
}

void port_close(struct port *port)
{
	if (!port)
		return;
	while (port->rx.n_frames)
		free(pop(&port->rx));
	while (port->tx.n_frames)
		free(pop(&port->tx));
	close(port->wait_fd);
	free(port);
}

int port_memory_inject(struct port *port, const void *data, size_t size)
{
	uint64_t one = 1;
	struct frame *frame;

	if (size == 0 || size > PORT_FRAME_MAX)
		return -EMSGSIZE;
	frame = port->rx.n_frames < PORT_MEMORY_FRAMES ? malloc(sizeof(*frame)) : NULL;
	if (!frame)
		return -ENOBUFS;
	frame->port = port;
	frame->size = size;
	memcpy(frame->data, data, size);
	port->rx.frames[port->rx.n_frames++] = frame;
	return write(port->wait_fd, &one, sizeof(one)) < 0 ? -errno : 0;
}

int port_memory_collect(struct port *port, void *ret_data)
{
	struct frame *frame;
	int size;

	if (port->tx.n_flushed == 0)
		return -EAGAIN;
	frame = pop(&port->tx);
	port->tx.n_flushed--;
	memcpy(ret_data, frame->data, frame->size);
	size = (int)frame->size;
	free(frame);
	return size;
}

size_t port_memory_outstanding(const struct port *port)
{
	return port->n_outstanding;
}

size_t port_receive(struct port *port, struct port_frame *ret_frames, size_t max)
{
	size_t n;

	for (n = 0; n < max && n < PORT_BURST_MAX && port->rx.n_frames; n++) {
		struct frame *frame = pop(&port->rx);

		ret_frames[n] = (struct port_frame){ frame->data, frame->size, frame };
		port->counters.rx_frames++;
		port->counters.rx_bytes += frame->size;
		port->n_outstanding++;
	}
	return n;
}

void port_frame_free(void *handle)
{
	struct frame *frame = handle;

	if (frame)
		frame->port->n_outstanding--;
	free(frame);
}

int port_transmit(struct port *port, const struct iovec *pieces, size_t n_pieces)
{
	struct frame *frame;
	size_t i;

	if (port->tx.n_frames == PORT_MEMORY_FRAMES) {
		port->counters.tx_no_buffer++;
		return -ENOBUFS;
	}
	frame = calloc(1, sizeof(*frame));
	if (!frame)
		return -ENOBUFS;
	for (i = 0; i < n_pieces; i++) {
		if (pieces[i].iov_len > PORT_FRAME_MAX - frame->size)
			break;
		memcpy(frame->data + frame->size, pieces[i].iov_base, pieces[i].iov_len);
		frame->size += pieces[i].iov_len;
	}
	if (i < n_pieces || frame->size == 0 || n_pieces > PORT_PIECES_MAX) {
		port->counters.tx_dropped++;
		free(frame);
		return -EMSGSIZE;
	}
	port->counters.tx_bytes += frame->size;
	port->tx.frames[port->tx.n_frames++] = frame;
	return 0;
}

void port_flush(struct port *port)
{
	port->counters.tx_frames += port->tx.n_frames - port->tx.n_flushed;
	port->tx.n_flushed = port->tx.n_frames;
}

int port_wait_fd(const struct port *port)
{
	return port->wait_fd;
}

bool port_arm(struct port *port)
{
	return port->rx.n_frames > 0;
}

void port_disarm(struct port *port)
{
	uint64_t count;

	port->counters.wakes++;
	if (port->rx.n_frames == 0 && read(port->wait_fd, &count, sizeof(count)) < 0)
		return; /* wait_fd was not signalled, so there is nothing to clear */
}

int port_filter(struct port *port, int program_fd)
{
	(void)port;
	(void)program_fd;
	return -ENOTSUP;
}

const uint8_t *port_mac(const struct port *port)
{
	return port->mac;
}

void port_get_counters(struct port *port, struct port_counters *ret_counters)
{
	*ret_counters = port->counters;
}
