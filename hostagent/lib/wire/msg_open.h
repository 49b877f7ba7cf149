/* msg_open.h - the frames that open a connection, and REFUSED and STREAM_ERROR.
 *
 * Where: a part of msg.h, which says what all encoders and decoders do and return. Threads: any.
 */
#ifndef WIRE_MSG_OPEN_H
#define WIRE_MSG_OPEN_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "wire/frame.h"
#include "wire/limits.h"

enum wire_kind {
	WIRE_KIND_CONTROL = 1, /* one per host */
	WIRE_KIND_STREAM  = 2, /* one per VM and role */
	WIRE_KIND_PEER	  = 3, /* from a VM's primary to its standby, without a gateway */
};

enum wire_vm_role {
	WIRE_VM_ROLE_NONE    = 0,
	WIRE_VM_ROLE_PRIMARY = 1,
	WIRE_VM_ROLE_STANDBY = 2,
	WIRE_VM_ROLE_COUNT
};

/* Feature bits, see docs/wire-format.md 7.2. If a bit is set, its sender supports the feature.
 * Never reuse a bit. */
#define WIRE_FEATURE_XRLE   UINT64_C(0x1) /* the page class XRLE */
#define WIRE_FEATURE_BITMAP UINT64_C(0x2) /* the page class BITMAP */
#define WIRE_FEATURE_LZ4    UINT64_C(0x4) /* the flag WIRE_FLAG_LZ4 */
#define WIRE_FEATURE_DUP    UINT64_C(0x8) /* the page class DUP */
#define WIRE_FEATURE_CLOCK  UINT64_C(0x400) /* the frame type CLOCK */
#define WIRE_FEATURE_UNHELD UINT64_C(0x800) /* the flag WIRE_FLAG_UNHELD */
#define WIRE_FEATURE_DISK   UINT64_C(0x1000) /* the frame type DISK */
/* HASH records in DISK, and the frame type DISK_CHECKED */
#define WIRE_FEATURE_DISK_HASH UINT64_C(0x2000)
/* the frame types HASHES_WANT and HASHES, and the page class KEEP */
#define WIRE_FEATURE_BASE   UINT64_C(0x4000)
/* On streams and peer connections: the frame types RAM_HASH and RAM_CHECKED. On control
 * connections: the verb VERIFY */
#define WIRE_FEATURE_VERIFY UINT64_C(0x8000)
/* Features of control connections. */
#define WIRE_FEATURE_WITNESS UINT64_C(0x10) /* the frame type WITNESS_KEY */
#define WIRE_FEATURE_LEASE   UINT64_C(0x20) /* the frame type LEASE */
#define WIRE_FEATURE_WITNESS_PATHS UINT64_C(0x40) /* the client address in WITNESS_KEY */
#define WIRE_FEATURE_MOVE UINT64_C(0x10000) /* the order MOVE */
#define WIRE_FEATURE_DRAIN UINT64_C(0x20000) /* the frame types DRAIN and DRAIN_STATE */
#define WIRE_FEATURE_DRILL UINT64_C(0x100000) /* the order DRILL */
/* A feature of control and stream connections with a gateway. */
#define WIRE_FEATURE_INCARNATION UINT64_C(0x100) /* the incarnation in WELCOME, ORDER and LEASE */
/* A feature of stream and peer connections. */
#define WIRE_FEATURE_MACHINE UINT64_C(0x80) /* the frame type MACHINE */
/* The features that this build supports, by kind of connection. */
#define WIRE_CONTROL_FEATURES                                                                      \
	(WIRE_FEATURE_WITNESS | WIRE_FEATURE_LEASE | WIRE_FEATURE_WITNESS_PATHS |                  \
	 WIRE_FEATURE_INCARNATION | WIRE_FEATURE_VERIFY | WIRE_FEATURE_MOVE |                      \
	 WIRE_FEATURE_DRAIN | WIRE_FEATURE_DRILL)
#define WIRE_FEATURES                                                                              \
	(WIRE_FEATURE_XRLE | WIRE_FEATURE_BITMAP | WIRE_FEATURE_LZ4 | WIRE_FEATURE_DUP |          \
	 WIRE_FEATURE_MACHINE | WIRE_FEATURE_CLOCK | WIRE_FEATURE_UNHELD | WIRE_FEATURE_DISK |    \
	 WIRE_FEATURE_DISK_HASH | WIRE_FEATURE_BASE | WIRE_FEATURE_VERIFY)
#define WIRE_STREAM_FEATURES (WIRE_FEATURES | WIRE_FEATURE_INCARNATION)

/* HELLO. On a CONTROL connection, the header's term is the highest gateway incarnation that this
 * host has obeyed. On other connections, the header's term is the agent's term for the VM. If the
 * sender is a standby, the header's epoch is its last complete epoch. */
struct wire_hello {
	uint16_t version_min, version_max; /* 1 <= min <= max */
	uint64_t features_required;	   /* the receiver refuses unknown bits */
	uint64_t features_optional;	   /* the receiver ignores unknown bits */
	uint8_t kind;			   /* enum wire_kind */
	/* enum wire_vm_role; NONE if and only if kind is CONTROL; always PRIMARY if kind is PEER */
	uint8_t role;
	char vm[WIRE_NAME_MAX + 1];	   /* "" if and only if kind is CONTROL */
};
int wire_hello_encode(const struct wire_hello *hello, struct bytes_writer *w) WIRE_CHECKED;
int wire_hello_decode(const struct wire_frame *frame, struct wire_hello *ret_hello,
		      struct wire_error *error) WIRE_CHECKED;

/* Fill in a HELLO with the versions and features of this build. On stream and peer connections,
 * XRLE is required. All other features of this kind of connection are optional. @vm: "" for
 * CONTROL. */
void wire_hello_init(struct wire_hello *ret_hello, uint8_t kind, uint8_t role, const char *vm);

/* Choose the version and features that both sides support. Returns 0 and sets *ret_version and
 * *ret_features. Returns -EPROTONOSUPPORT if there is no common version, or @hello requires an
 * unknown feature: *ret_code (for REFUSED) and *ret_error say which. */
int wire_hello_negotiate(const struct wire_hello *hello, uint16_t *ret_version,
			 uint64_t *ret_features, uint16_t *ret_code,
			 struct error *ret_error) WIRE_CHECKED;

struct wire_welcome {
	uint16_t version;		 /* chosen by the gateway, >= 1 */
	uint64_t features;		 /* features in use on this connection */
	/* the gateway's name; on a peer connection the standby host's name */
	char gateway[WIRE_NAME_MAX + 1];
	/* the gateway's incarnation; 0 if WIRE_FEATURE_INCARNATION is not in use */
	uint64_t incarnation;
};
int wire_welcome_encode(const struct wire_welcome *welcome, struct bytes_writer *w) WIRE_CHECKED;
int wire_welcome_decode(const struct wire_frame *frame, struct wire_welcome *ret_welcome,
			struct wire_error *error) WIRE_CHECKED;

enum wire_refused_code {
	WIRE_REFUSED_VERSION	= 1, /* no common version */
	WIRE_REFUSED_FEATURE	= 2, /* an unknown required feature */
	WIRE_REFUSED_DUPLICATE	= 3, /* this host or stream is already connected */
	WIRE_REFUSED_STALE_TERM = 4, /* the agent's term is older than the VM's current term */
	WIRE_REFUSED_UNKNOWN_VM = 5, /* the gateway has no such VM */
	WIRE_REFUSED_IDENTITY	= 6, /* this host is not one of that VM's hosts */
	WIRE_REFUSED_PROTOCOL	= 7, /* broken or unexpected frame */
	WIRE_REFUSED_NOT_ASKED	= 8, /* no order asked the agent to open this stream */
	WIRE_REFUSED_BUSY	= 9, /* a limit is reached or the gateway is closing; try later */
	WIRE_REFUSED_OLD_GATEWAY = 10, /* the host has obeyed a newer gateway than this one */
};

/* REFUSED and STREAM_ERROR: a code for programs and a human-readable text. */
struct wire_failure {
	/* enum wire_refused_code or enum wire_stream_error_code; receivers accept other numbers
	 * too */
	uint16_t code;
	char text[WIRE_TEXT_MAX + 1];
};
int wire_failure_encode(const struct wire_failure *failure, struct bytes_writer *w) WIRE_CHECKED;
int wire_failure_decode(const struct wire_frame *frame, struct wire_failure *ret_failure,
			struct wire_error *error) WIRE_CHECKED;

#endif
