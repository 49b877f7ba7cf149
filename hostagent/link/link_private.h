/* link_private.h - the state of a link, private to this room.
 *
 * Threads: as link.h says.
 */
#ifndef LINK_PRIVATE_H
#define LINK_PRIVATE_H

#include "link/link.h"

/* The receive buffer has room for two frames. So while the caller uses one frame, the next one can
 * arrive behind it, and no bytes need to be moved. */
#define RECEIVE_SIZE		(2 * WIRE_FRAME_MAX)
/* A read from TLS needs at least this much room in the receive buffer: enough for one whole
 * record. */
#define RECEIVE_ROOM_MIN	16384
#define WHERE_SIZE		80
#define ERROR_SIZE		(WHERE_SIZE + WIRE_TLS_ERROR_SIZE + WIRE_TEXT_MAX)

struct link {
	int fd;
	struct wire_tls *tls;
	int dead;	       /* the error that ended the link (a negative errno); 0: none */
	uint16_t refused_code; /* code of a REFUSED frame; 0 if none came */
	unsigned peer_sender;  /* WIRE_SENDER_* bit of the peer; 0: not known yet */
	uint64_t connect_by_ns; /* link_config's connect_by_ns; 0: no such limit */
	bool was_reached;	/* TCP has connected */
	struct link_stats stats;
	char where[WHERE_SIZE]; /* name of the peer for texts, such as "gateway 198.18.0.1 port
				 * 7400" */
	char peer_name[WIRE_NAME_MAX + 1]; /* name of the host to which the link must lead; "": not
					    * checked */
	char error[ERROR_SIZE];
	size_t receive_start, receive_end; /* bounds of the decrypted bytes not yet passed to
					    * the caller */
	uint8_t receive[RECEIVE_SIZE];
	uint8_t scratch[WIRE_FRAME_MAX]; /* where link_send() assembles a frame */
};

/* End the link: record the error @code and its text, unless an error was recorded before. Returns
 * the recorded error. */
int link_die(struct link *link, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Move received bytes from the socket into TLS. An error does not end the link yet: the caller does
 * that, with a suitable text. Returns 0: bytes were moved; -EAGAIN: nothing has arrived, or TLS has
 * no room; -EPIPE: the peer closed the connection; or another -errno. */
int link_pull(struct link *link) __attribute__((warn_unused_result));

/* After TLS has failed, send the alert that tells the peer why. Return @code. */
int link_flush_alert(struct link *link, int code);

#endif
