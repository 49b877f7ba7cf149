#include "loop/ports.h"

#include <sys/epoll.h>

static void port_ready(struct source *source, uint32_t events, uint64_t now_ns)
{
	(void)events;
	(void)now_ns;
	/* only note that a frame came: the loop's next turn receives it */
	*((struct ports_slot *)source)->by_frame = true;
}

_Static_assert(offsetof(struct ports_slot, source) == 0, "port_ready() finds its slot by this");

void ports_init(struct ports *ports, int epoll_fd)
{
	*ports = (struct ports){.epoll_fd = epoll_fd};
}

int ports_add(struct ports *ports, struct port *port)
{
	struct ports_slot *slot = &ports->slots[ports->n++];

	*slot = (struct ports_slot){
		.source = {.fd = port_wait_fd(port), .ready = port_ready},
		.port = port,
		.by_frame = &ports->by_frame,
	};
	/* Add the port without events: epoll must report the port only while the loop sleeps.
	 * ports_before_sleep() sets the events. */
	return slot->source.fd >= 0 ? source_add(ports->epoll_fd, &slot->source, 0) : 0;
}

void ports_leave(struct ports *ports)
{
	for (size_t i = 0; i < ports->n; i++) {
		struct ports_slot *slot = &ports->slots[i];

		port_flush(slot->port); /* send the last frames, such as TCP resets */
		if (!port_is_shareable(slot->port)) {
			port_close(slot->port);
			slot->port = NULL;
		}
	}
}

void ports_close(struct ports *ports)
{
	for (size_t i = 0; i < ports->n; i++)
		port_close(ports->slots[i].port);
	ports->n = 0;
}

static int watch(struct ports *ports, size_t n_watched, uint32_t events)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < ports->n && i < n_watched; i++) {
		if (ports->slots[i].source.fd >= 0)
			r = source_change(ports->epoll_fd, &ports->slots[i].source, events);
	}
	return r;
}

int ports_before_sleep(struct ports *ports, size_t n_watched)
{
	ports->by_frame = false;
	for (size_t i = 0; i < ports->n && i < n_watched; i++)
		ports->by_frame |= port_arm(ports->slots[i].port);
	if (ports->by_frame)
		return 1;
	return watch(ports, n_watched, EPOLLIN);
}

int ports_after_sleep(struct ports *ports, size_t n_watched)
{
	for (size_t i = 0; i < ports->n && i < n_watched; i++)
		port_disarm(ports->slots[i].port);
	return watch(ports, n_watched, 0);
}

bool ports_can_wake(const struct ports *ports, size_t n_watched)
{
	for (size_t i = 0; i < ports->n && i < n_watched; i++) {
		if (ports->slots[i].source.fd < 0)
			return false;
	}
	return true;
}
