/* msg.h - encodes and decodes the payloads of all frame types. Each type has a struct, an encoder
 * and a decoder.
 *
 * Why: daemons work with structs in host byte order; only lib/wire knows byte offsets.
 * Where: called by link, sessions, vm, epoch and standby; calls nothing but base/bytes.h.
 * Threads: any (no state). Nothing here allocates or blocks.
 *
 * Encoders write the payload to @w, a writer set by wire_frame_begin(). They return 0, or
 *      -EINVAL   a field of the struct breaks the format (name, text, bound)
 *      -ENOBUFS  there is no room
 * After an error @w is unusable (w->bad is set).
 *
 * Decoders take a frame whose header was accepted by wire_frame_decode(). They return 0, or
 *      -EPROTO   the frame has the wrong type, is truncated, has trailing bytes, or has a field
 *                that is out of bounds; *@error says which (@error can be NULL)
 * The struct is written on success only. Strings are copied and NUL-terminated. The data of records
 * are not copied, so they are valid only as long as the frame's buffer.
 *
 * The types EPOCH_ACK, COMMIT and RESUME have no struct here, because all of their content is in
 * the header. wire_empty_decode() checks that their payload is empty.
 */
#ifndef WIRE_MSG_H
#define WIRE_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/error.h"
#include "wire/frame.h"
#include "wire/limits.h"
#include "wire/page_record.h"
#include "wire/text.h"

#define WIRE_CHECKED __attribute__((warn_unused_result))

/* ---- opening a connection ---- */

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

/* ---- control connection ---- */

/* BEAT, and BEAT_ACK, which returns the mono_ns of the BEAT that it answers. */
struct wire_beat {
	uint64_t mono_ns; /* the agent's CLOCK_BOOTTIME; only the agent can interpret it */
};
int wire_beat_encode(const struct wire_beat *beat, struct bytes_writer *w) WIRE_CHECKED;
int wire_beat_decode(const struct wire_frame *frame, struct wire_beat *ret_beat,
		     struct wire_error *error) WIRE_CHECKED;

enum wire_state {
	WIRE_STATE_IDLE		    = 0,
	WIRE_STATE_ATTACHING	    = 1,
	WIRE_STATE_SYNCING	    = 2,
	WIRE_STATE_PROTECTED	    = 3,
	/* the agent was restarted: the hold is closed, and the agent waits for orders */
	WIRE_STATE_LOST		    = 4,
	WIRE_STATE_FENCED	    = 5,
	WIRE_STATE_RUNNING	    = 6, /* the guest runs unprotected */
	WIRE_STATE_STANDBY_STARTING = 7,
	WIRE_STATE_STANDBY_WARM	    = 8, /* has no complete epoch yet */
	WIRE_STATE_STANDBY_READY    = 9, /* has a complete epoch */
	WIRE_STATE_PROMOTING	    = 10,
	WIRE_STATE_FAILED	    = 11,
	WIRE_STATE_COUNT	    = 12,
};

enum wire_verdict {
	WIRE_VERDICT_NONE     = 0,
	WIRE_VERDICT_EXITED   = 1, /* the guest's process is gone */
	WIRE_VERDICT_PAUSED   = 2, /* the guest was paused, but not by us */
	WIRE_VERDICT_SHUTDOWN = 3, /* the guest shut itself down */
	WIRE_VERDICT_COUNT    = 4,
};

/* These four functions return the name of a number as a constant string in lower case, for example
 * "standby-ready"; "unknown" if the number has no name. */
const char *wire_state_name(uint8_t state);
const char *wire_verdict_name(uint8_t verdict);
const char *wire_verb_name(uint8_t verb);
const char *wire_vm_role_name(uint8_t role);

/* REPORT. Header: term; epoch is the standby's last complete or the primary's last committed
 * epoch. */
struct wire_report {
	char vm[WIRE_NAME_MAX + 1];
	uint8_t role;			/* enum wire_vm_role */
	uint8_t state;			/* enum wire_state */
	uint8_t verdict;		/* enum wire_verdict */
	char text[WIRE_TEXT_MAX + 1];	/* human-readable */
	char stats[WIRE_STATS_MAX + 1]; /* see wire_stats_is_valid() */
};
int wire_report_encode(const struct wire_report *report, struct bytes_writer *w) WIRE_CHECKED;
int wire_report_decode(const struct wire_frame *frame, struct wire_report *ret_report,
		       struct wire_error *error) WIRE_CHECKED;

enum wire_verb {
	WIRE_VERB_STANDBY_START = 1,
	WIRE_VERB_STANDBY_STOP	= 2,
	WIRE_VERB_PROTECT	= 3,
	WIRE_VERB_UNPROTECT	= 4,
	/* header: term is the new term; epoch is the lowest epoch with which the standby may
	 * promote its guest */
	WIRE_VERB_PROMOTE	= 5,
	/* header: term is the new term, in which the agent no longer owns the VM */
	WIRE_VERB_FENCE		= 6,
	/* the owner compares all of the standby's copy with the guest, and answers when the
	 * comparison has ended. Only with WIRE_FEATURE_VERIFY */
	WIRE_VERB_VERIFY	= 7,
	/* header: term is the present term. The owner stops the guest, makes a last epoch, waits
	 * for the COMMIT of this epoch and lets go of the guest. The answer's header has the
	 * number of this epoch. A later PROTECT in the same term lets the guest run on */
	WIRE_VERB_MOVE		= 8,
	/* header: term is the new term. Boot the guest from this host's disks. If the agent keeps a
	 * QEMU of the guest stopped that somebody started here after the host's boot, let the guest
	 * in that QEMU run instead. Sent only to a host whose REPORT has the key `cold` */
	WIRE_VERB_START		= 12,
	/* a drill: the standby's host starts its copy of the guest without a connection to the
	 * network, checks whether the guest works, ends it, and then answers. Only with
	 * WIRE_FEATURE_DRILL */
	WIRE_VERB_DRILL		= 14,
	WIRE_VERB_COUNT
};

/* ORDER. Orders are idempotent: if an agent has already carried out an order, it answers the
 * repeated order with OK. */
struct wire_order {
	uint64_t order_id;
	uint8_t verb; /* enum wire_verb */
	char vm[WIRE_NAME_MAX + 1];
	char argument[WIRE_TEXT_MAX + 1];
	uint64_t incarnation; /* the gateway's incarnation, as in WELCOME; 0: none */
};
int wire_order_encode(const struct wire_order *order, struct bytes_writer *w) WIRE_CHECKED;
int wire_order_decode(const struct wire_frame *frame, struct wire_order *ret_order,
		      struct wire_error *error) WIRE_CHECKED;

enum wire_order_status {
	WIRE_ORDER_OK	   = 0,
	WIRE_ORDER_FAILED  = 1,
	WIRE_ORDER_REFUSED = 2,
};

struct wire_order_done {
	uint64_t order_id; /* the number of the ORDER */
	uint8_t status;	   /* enum wire_order_status */
	char vm[WIRE_NAME_MAX + 1];
	char text[WIRE_TEXT_MAX + 1];
};
int wire_order_done_encode(const struct wire_order_done *done, struct bytes_writer *w) WIRE_CHECKED;
int wire_order_done_decode(const struct wire_frame *frame, struct wire_order_done *ret_done,
			   struct wire_error *error) WIRE_CHECKED;

/* WITNESS_KEY. Header: term is the VM's term. From now on, the kernel of the agent's host signs
 * this VM's witness datagrams with this key (wire/witness.h). The struct has a secret: wipe it
 * after use. */
struct wire_witness_key {
	char vm[WIRE_NAME_MAX + 1];
	uint32_t key_id;			   /* > 0; every datagram carries it */
	uint16_t port; /* > 0; the gateway's UDP port; its address is that of this connection */
	uint8_t key[WIRE_WITNESS_KEY_SIZE];
	/* The gateway's address in the client network, in host byte order; 0: there is none. The
	 * agent sends the datagrams to this address, too. Always 0 unless
	 * WIRE_FEATURE_WITNESS_PATHS is in use */
	uint32_t client_address;
};
/* Returns true if @address (host byte order) can belong to a host. It must not be in 0.0.0.0/8,
 * 127.0.0.0/8 or 224.0.0.0/3. */
bool wire_is_host_address(uint32_t address);
int wire_witness_key_encode(const struct wire_witness_key *key,
			    struct bytes_writer *w) WIRE_CHECKED;
int wire_witness_key_decode(const struct wire_frame *frame, struct wire_witness_key *ret_key,
			    struct wire_error *error) WIRE_CHECKED;

/* LEASE. Header: term. The agent owns this VM in that term. It may run the guest until its own
 * clock shows beat_ns + lease_ms, and release output until beat_ns + release_ms. beat_ns is when
 * the agent SENT the beat, so a slow answer does not extend these times. */
struct wire_lease {
	char vm[WIRE_NAME_MAX + 1];
	uint64_t beat_ns;  /* mono_ns of the BEAT that this lease answers */
	uint32_t lease_ms; /* 1..WIRE_LEASE_MS_MAX */
	uint32_t release_ms; /* 1..lease_ms */
	uint64_t incarnation; /* the gateway's incarnation, as in WELCOME; 0: none */
};
int wire_lease_encode(const struct wire_lease *lease, struct bytes_writer *w) WIRE_CHECKED;
int wire_lease_decode(const struct wire_frame *frame, struct wire_lease *ret_lease,
		      struct wire_error *error) WIRE_CHECKED;

/* ---- peer connection ---- */

enum wire_claim_mode {
	WIRE_CLAIM_UNPROTECTED = 1, /* the primary continues without a standby */
	/* the primary streams directly to the standby, without a gateway */
	WIRE_CLAIM_DIRECT      = 2,
};

/* CLAIM. Header: term is the new term that the primary asks for, epoch is the last committed
 * epoch. */
struct wire_claim {
	uint8_t mode; /* enum wire_claim_mode */
};
#define WIRE_CLAIM_SIZE 1 /* bytes of the payload */
int wire_claim_encode(const struct wire_claim *claim, struct bytes_writer *w) WIRE_CHECKED;
int wire_claim_decode(const struct wire_frame *frame, struct wire_claim *ret_claim,
		      struct wire_error *error) WIRE_CHECKED;

/* VOTE, the answer to a CLAIM. Header: term is the term of the CLAIM. */
struct wire_vote {
	uint8_t answer;		      /* 0: no; 1: yes */
	char text[WIRE_TEXT_MAX + 1]; /* human-readable reason of a "no" */
};
int wire_vote_encode(const struct wire_vote *vote, struct bytes_writer *w) WIRE_CHECKED;
int wire_vote_decode(const struct wire_frame *frame, struct wire_vote *ret_vote,
		     struct wire_error *error) WIRE_CHECKED;

enum wire_drain_what {
	WIRE_DRAIN_IS_UP     = 1, /* the host is up, in the boot `boot` */
	WIRE_DRAIN_GOES_DOWN = 2, /* the host is going down: drain it */
};

/* DRAIN. The payload names no host: it is about the sending host, which the gateway knows from the
 * certificate. */
struct wire_drain {
	uint8_t what;	  /* enum wire_drain_what */
	uint32_t limit_s; /* GOES_DOWN: how long the host can wait, 1 or more; else 0 */
	uint8_t boot[WIRE_BOOT_SIZE]; /* id of the host's present boot */
};
int wire_drain_encode(const struct wire_drain *drain, struct bytes_writer *w) WIRE_CHECKED;
int wire_drain_decode(const struct wire_frame *frame, struct wire_drain *ret_drain,
		      struct wire_error *error) WIRE_CHECKED;

enum wire_drain_progress {
	WIRE_DRAIN_NOT	   = 0, /* the host is not being drained, or no longer */
	WIRE_DRAIN_RUNS	   = 1, /* the host is being drained */
	WIRE_DRAIN_DONE	   = 2, /* the drain has ended; see n_left */
};

/* DRAIN_STATE: the progress of this host's drain. */
struct wire_drain_state {
	uint8_t state;		      /* enum wire_drain_progress */
	/* what is left on the host: guests that may still run there, and copies that it keeps */
	uint16_t n_left;
	char text[WIRE_TEXT_MAX + 1]; /* human-readable */
};
int wire_drain_state_encode(const struct wire_drain_state *state,
			    struct bytes_writer *w) WIRE_CHECKED;
int wire_drain_state_decode(const struct wire_frame *frame, struct wire_drain_state *ret_state,
			    struct wire_error *error) WIRE_CHECKED;

/* ---- stream connection ---- */

/* Check a RESUME, EPOCH_ACK or COMMIT. Returns 0 if its payload is empty, else -EPROTO. */
int wire_empty_decode(const struct wire_frame *frame, struct wire_error *error) WIRE_CHECKED;

enum wire_block_kind {
	WIRE_BLOCK_RAM = 0,   /* main memory */
	WIRE_BLOCK_OTHER = 1, /* firmware, video RAM, a memory device */
};

struct wire_block {
	char name[WIRE_LABEL_MAX + 1]; /* QEMU's name of the block, printable ASCII, not empty */
	uint8_t kind;		       /* enum wire_block_kind */
	uint64_t size_bytes;	       /* > 0, a multiple of WIRE_PAGE_SIZE */
};

/* GEOMETRY: describes the machine and memory that the standby's guest must have. A page index
 * counts 4096-byte pages through all blocks, in the order of `blocks`. */
struct wire_geometry {
	char machine[WIRE_LABEL_MAX + 1];      /* printable ASCII, not empty */
	char qemu_version[WIRE_LABEL_MAX + 1]; /* printable ASCII, not empty */
	uint16_t n_vcpus;		       /* 1..WIRE_VCPUS_MAX */
	uint64_t ram_bytes;		       /* > 0 */
	uint8_t n_nics;			       /* <= WIRE_NICS_MAX */
	uint8_t nics[WIRE_NICS_MAX][6];	       /* MAC addresses */
	uint16_t n_blocks;		       /* 1..WIRE_BLOCKS_MAX */
	struct wire_block blocks[WIRE_BLOCKS_MAX];
};
int wire_geometry_encode(const struct wire_geometry *geometry, struct bytes_writer *w) WIRE_CHECKED;
int wire_geometry_decode(const struct wire_frame *frame, struct wire_geometry *ret_geometry,
			 struct wire_error *error) WIRE_CHECKED;

/* Returns the number of pages in all blocks together; at most WIRE_PAGES_MAX in a decoded
 * geometry. */
uint64_t wire_geometry_pages(const struct wire_geometry *geometry);

/* Compare the primary's geometry @theirs with the standby's geometry @ours. QEMU versions can
 * differ. Returns 0 if the standby can run the primary's guest. If not, returns -ESTALE, and
 * *ret_error says what differs ("machine: primary has pc-i440fx-7.2, standby has pc-q35-7.2"). */
int wire_geometry_compare(const struct wire_geometry *theirs, const struct wire_geometry *ours,
			  struct error *ret_error) WIRE_CHECKED;

/* One item of MACHINE, a list of the devices and properties of the primary's machine. The list is
 * sent in one or more frames after GEOMETRY. */
struct wire_machine_item {
	/* a device's place or a property's name: printable ASCII, not empty */
	char key[WIRE_LABEL_MAX + 1];
	char value[WIRE_LABEL_MAX + 1]; /* printable ASCII */
};

struct wire_machine_iter {
	struct bytes_reader r;	/* the part of the payload that was not read yet */
	const uint8_t *payload; /* the payload's first byte, for offsets in errors */
	bool is_last;		/* this is the last frame of the list */
};

/* Start a MACHINE payload; wire_machine_item_encode() appends the items. Returns what every encoder
 * returns. */
int wire_machine_encode(bool is_last, struct bytes_writer *w) WIRE_CHECKED;

/* Append one item. Returns what every encoder returns. But after -ENOBUFS, @w is unchanged and
 * usable: finish this frame and put the item into the next frame. */
int wire_machine_item_encode(struct bytes_writer *w, const char *key,
			     const char *value) WIRE_CHECKED;

/* Start reading the items of a MACHINE frame. Returns 0, or -EPROTO if the frame is of another
 * type, or its field `more` is out of bounds. */
int wire_machine_begin(const struct wire_frame *frame, struct wire_machine_iter *ret_iter,
		       struct wire_error *error) WIRE_CHECKED;

/* Read the next item. Returns
 * 1: *ret_item is set;
 * 0: the payload has no more items;
 * -EPROTO: the item is truncated, or its key or value is not a valid text. *ret_item may be changed
 * then. */
int wire_machine_next(struct wire_machine_iter *iter, struct wire_machine_item *ret_item,
		      struct wire_error *error) WIRE_CHECKED;

/* Check a whole MACHINE frame, for a relay that does not use its items. Returns 0 and sets
 * *ret_is_last, or returns -EPROTO. */
int wire_machine_check(const struct wire_frame *frame, bool *ret_is_last,
		       struct wire_error *error) WIRE_CHECKED;

/* EPOCH_BEGIN. Header: epoch is at least 1, flags may contain WIRE_FLAG_FULL and WIRE_FLAG_UNHELD,
 * seq is 0. */
struct wire_epoch_begin {
	/* the epoch on which the deltas of this epoch are based; without meaning if the flag FULL
	 * is set; always less than the header's epoch */
	uint64_t previous_epoch;
};
int wire_epoch_begin_encode(const struct wire_epoch_begin *begin,
			    struct bytes_writer *w) WIRE_CHECKED;
int wire_epoch_begin_decode(const struct wire_frame *frame, struct wire_epoch_begin *ret_begin,
			    struct wire_error *error) WIRE_CHECKED;

/* A record: one page (in PAGES) or one 4096-byte piece of the device-state blob (in DEVICE). */
struct wire_record {
	uint8_t class;	     /* enum wire_class */
	uint16_t size;	     /* bytes of data; a size that the class allows */
	uint32_t index;	     /* < the limit given to the iterator */
	/* in a DUP, the index of the page to copy (< the limit and different from `index`); else
	 * 0 */
	uint32_t source;
	const uint8_t *data; /* the data, in place in the frame */
};

struct wire_record_iter {
	struct bytes_reader r;	 /* the part of the payload that was not read yet */
	const uint8_t *payload;	 /* the payload's first byte, for offsets in errors */
	uint64_t n_pages;	 /* every index must be below this */
	uint8_t type;		 /* the frame's type */
	/* in a DEVICE frame, the size of the whole blob in bytes; else 0 */
	uint32_t blob_size;
};

/* The payload of a PAGES, DEVICE or DISK frame with WIRE_FLAG_LZ4: the plain payload, packed as an
 * LZ4 block (codec/lz4block.h). The receiver must unpack the payload first, because
 * wire_pages_begin(), wire_device_begin() and wire_disk_begin() refuse packed frames. */
struct wire_lz4 {
	uint32_t plain_size;  /* 1..WIRE_PAYLOAD_MAX */
	const uint8_t *block; /* in place in the frame */
	size_t block_size;    /* >= 1 */
};
int wire_lz4_encode(const struct wire_lz4 *lz4, struct bytes_writer *w) WIRE_CHECKED;
int wire_lz4_decode(const struct wire_frame *frame, struct wire_lz4 *ret_lz4,
		    struct wire_error *error) WIRE_CHECKED;

/* Start reading the records of a PAGES frame. @n_pages: from wire_geometry_pages(); every index
 * must be below it. Returns 0, or -EPROTO if the frame is of another type, or is packed. */
int wire_pages_begin(const struct wire_frame *frame, uint64_t n_pages,
		     struct wire_record_iter *ret_iter, struct wire_error *error) WIRE_CHECKED;

/* Start reading the records of a DEVICE frame; also checks the blob's size and stores it in
 * ret_iter->blob_size. Returns 0, or -EPROTO if the frame is of another type, packed or truncated,
 * or the blob's size is 0 or above WIRE_BLOB_MAX. */
int wire_device_begin(const struct wire_frame *frame, struct wire_record_iter *ret_iter,
		      struct wire_error *error) WIRE_CHECKED;

/* Read the next record. Returns 1 and sets *ret_record. Returns 0 if the payload has no more
 * records. Returns -EPROTO if the record is truncated, or its class, size, index or source is out
 * of bounds. Does not check whether a DUP record is allowed to copy its source page, because this
 * depends on all other records of the epoch. */
int wire_record_next(struct wire_record_iter *iter, struct wire_record *ret_record,
		     struct wire_error *error) WIRE_CHECKED;

/* Start a DEVICE payload. wire_record_put_header() writes the headers of the records that follow.
 * Returns what every encoder returns. */
int wire_device_encode(uint32_t blob_size, struct bytes_writer *w) WIRE_CHECKED;

/* What a record of DISK does to its bytes of the disk. The numbers are never reused. */
enum wire_disk_op {
	WIRE_DISK_WRITE	  = 1,
	WIRE_DISK_ZERO	  = 2, /* the bytes are zero now */
	WIRE_DISK_DISCARD = 3, /* the guest no longer needs the bytes; they are zero now */
	WIRE_DISK_HASH	  = 4, /* changes no bytes: the bytes must have this hash now */
};

/* A record of DISK: one change of a disk. Records are applied in their order in the epoch. Each
 * record gives new content for some bytes of the disk. So applying all records of an epoch a second
 * time does not change the disk. */
struct wire_disk_record {
	uint8_t op;	     /* enum wire_disk_op */
	/* 1..WIRE_DISK_RANGE_MAX; in a WRITE, at most as many as fit into a frame; in a HASH, at
	 * most WIRE_DISK_HASHED_MAX */
	uint32_t bytes;
	uint64_t offset;     /* start on the disk; offset + bytes <= WIRE_DISK_SIZE_MAX */
	/* in place in the frame. WRITE: the bytes; HASH: WIRE_DISK_HASH_SIZE bytes, see
	 * wire_disk_hash(); else NULL */
	const uint8_t *data;
};

/* Compute the data of a HASH record for @bytes at @data: the seed, then XXH3-128 with this seed.
 * The sender chooses the seed at random, so that a guest cannot prepare two contents with the same
 * hash. */
void wire_disk_hash(uint64_t seed, const void *data, size_t bytes,
		    uint8_t ret_hash[WIRE_DISK_HASH_SIZE]);
/* Returns the seed in the data of a HASH record. */
uint64_t wire_disk_hash_seed(const uint8_t hash[WIRE_DISK_HASH_SIZE]);

struct wire_disk_iter {
	struct bytes_reader r;	/* the part of the payload that was not read yet */
	const uint8_t *payload; /* the payload's first byte, for offsets in errors */
	char name[WIRE_DISK_NAME_MAX + 1]; /* the disk of all records in the frame */
};

/* Returns true if @name can be the name of a disk: 1..WIRE_DISK_NAME_MAX bytes of printable
 * ASCII. */
bool wire_disk_name_is_valid(const char *name);

/* Returns true if op, bytes and offset are within the bounds of the format. */
bool wire_disk_record_is_valid(const struct wire_disk_record *record);

/* Start reading the records of a DISK frame. Returns 0, or -EPROTO if the frame is of another type,
 * or is packed, or the disk's name is not valid. */
int wire_disk_begin(const struct wire_frame *frame, struct wire_disk_iter *ret_iter,
		    struct wire_error *error) WIRE_CHECKED;

/* Read the next record. Returns
 * 1: *ret_record is set. The caller must check that the record lies within the disk;
 * 0: the payload has no more records;
 * -EPROTO: the record is truncated, or a field is out of its bounds. */
int wire_disk_next(struct wire_disk_iter *iter, struct wire_disk_record *ret_record,
		   struct wire_error *error) WIRE_CHECKED;

/* Start a DISK payload with records of the disk @name. Returns what every encoder returns. */
int wire_disk_encode(const char *name, struct bytes_writer *w) WIRE_CHECKED;

/* Append one record, with the data of a HASH or WRITE (at most WIRE_PAYLOAD_MAX bytes). Returns
 * what every encoder returns. But after -ENOBUFS, @w is unchanged and usable: finish this frame and
 * put the record into the next frame. */
int wire_disk_record_encode(struct bytes_writer *w,
			    const struct wire_disk_record *record) WIRE_CHECKED;

/* DISK_CHECKED: what the standby found when it compared the HASH records of the header's epoch with
 * its image of one disk. */
struct wire_disk_checked {
	char name[WIRE_DISK_NAME_MAX + 1];
	uint32_t n_checked; /* number of HASH records, at least 1 */
	uint32_t n_differ;  /* how many of these records did not match */
	/* the offsets of the first WIRE_DISK_DIFFER_MAX records that did not match */
	uint64_t offset[WIRE_DISK_DIFFER_MAX];
};
int wire_disk_checked_encode(const struct wire_disk_checked *checked,
			     struct bytes_writer *w) WIRE_CHECKED;
int wire_disk_checked_decode(const struct wire_frame *frame, struct wire_disk_checked *ret_checked,
			     struct wire_error *error) WIRE_CHECKED;

/* HASHES_WANT: the primary asks for hashes of a part of the standby's memory copy, or of one of its
 * disk images. The hashes are of the part's present content, which can be of any epoch. A unit is a
 * page of guest memory (WIRE_PAGE_SIZE bytes, numbered as in PAGES), or a block of a disk
 * (WIRE_HASH_BLOCK_SIZE bytes; the last block can be shorter). */
struct wire_hashes_want {
	char disk[WIRE_DISK_NAME_MAX + 1]; /* "": memory */
	uint64_t seed;  /* seed of the hashes, chosen by the primary at random */
	uint64_t first; /* number of the first unit */
	uint32_t n;     /* 1 or more units; all are below WIRE_HASH_UNITS_MAX */
};
int wire_hashes_want_encode(const struct wire_hashes_want *want, struct bytes_writer *w)
	WIRE_CHECKED;
int wire_hashes_want_decode(const struct wire_frame *frame, struct wire_hashes_want *ret_want,
			    struct wire_error *error) WIRE_CHECKED;

/* HASHES: the answer to HASHES_WANT, for at least one of the wanted units. From unit @first on, the
 * first @n_zero units are zero, and the next @n units have one hash each. If both numbers are 0,
 * the standby has neither unit @first nor any later unit. */
struct wire_hashes {
	char disk[WIRE_DISK_NAME_MAX + 1];
	uint64_t seed, first; /* the values of the HASHES_WANT */
	uint32_t n_zero;
	uint32_t n;	      /* 0..WIRE_HASHES_MAX */
	/* in place in the frame: n times WIRE_HASH_SIZE bytes, XXH3-128 with the seed, high half
	 * first */
	const uint8_t *hash;
};
int wire_hashes_encode(const struct wire_hashes *hashes, struct bytes_writer *w) WIRE_CHECKED;
int wire_hashes_decode(const struct wire_frame *frame, struct wire_hashes *ret_hashes,
		       struct wire_error *error) WIRE_CHECKED;
/* Compute the hash of one unit (HASHES) or page (RAM_HASH), the @bytes bytes at @data: XXH3-128
 * with this seed, high half first. */
void wire_hash(uint64_t seed, const void *data, size_t bytes, uint8_t ret_hash[WIRE_HASH_SIZE]);

/* RAM_HASH: hashes of consecutive pages of the guest's memory, as they are at the end of the
 * header's epoch. The sender chooses the seed at random, so that a guest cannot prepare two
 * contents with the same hash. */
struct wire_ram_hash {
	uint64_t seed;
	uint32_t first_page; /* index of the first page; first_page + n_pages <= WIRE_PAGES_MAX */
	uint32_t n_pages;    /* 1..WIRE_RAM_HASHES_MAX */
	const uint8_t *hashes; /* n_pages * WIRE_HASH_SIZE bytes; after decoding, in place in the
				* frame */
};
int wire_ram_hash_encode(const struct wire_ram_hash *hash, struct bytes_writer *w) WIRE_CHECKED;
/* The caller must check that the guest has these pages. */
int wire_ram_hash_decode(const struct wire_frame *frame, struct wire_ram_hash *ret_hash,
			 struct wire_error *error) WIRE_CHECKED;

/* RAM_CHECKED: what the standby found when it compared the hashes in all RAM_HASH frames of the
 * header's epoch with its copy. */
struct wire_ram_checked {
	uint32_t n_checked; /* pages compared, at least 1 */
	uint32_t n_differ;  /* how many of these pages differ */
	uint32_t page[WIRE_RAM_DIFFER_MAX]; /* indexes of the first WIRE_RAM_DIFFER_MAX pages that
					     * differ */
};
int wire_ram_checked_encode(const struct wire_ram_checked *checked,
			    struct bytes_writer *w) WIRE_CHECKED;
int wire_ram_checked_decode(const struct wire_frame *frame, struct wire_ram_checked *ret_checked,
			    struct wire_error *error) WIRE_CHECKED;

/* CLOCK: how to set the guest's clocks forward at a promotion. The epoch's device state has the
 * values that the clocks had while the guest was stopped (vmm/clock_rules.h). */
struct wire_clock {
	uint64_t saved_ticks, saved_ns; /* the guest's clocks as saved in the device state */
	uint64_t mono_ns;	   /* a time on the primary's monotonic clock */
	uint64_t ticks, ns;	   /* what the guest's clocks must show at mono_ns */
	uint64_t ticks_per_s;	   /* 1..WIRE_TICKS_PER_S_MAX */
};
int wire_clock_encode(const struct wire_clock *clock, struct bytes_writer *w) WIRE_CHECKED;
int wire_clock_decode(const struct wire_frame *frame, struct wire_clock *ret_clock,
		      struct wire_error *error) WIRE_CHECKED;

/* EPOCH_END: the totals of the epoch. The receiver uses them to check that the whole epoch has
 * arrived. */
struct wire_epoch_end {
	uint32_t n_frames;	/* frames of this epoch before EPOCH_END, including EPOCH_BEGIN */
	uint32_t n_records;	/* records in its PAGES frames */
	uint64_t payload_bytes; /* payload bytes of these n_frames frames */
};
int wire_epoch_end_encode(const struct wire_epoch_end *end, struct bytes_writer *w) WIRE_CHECKED;
int wire_epoch_end_decode(const struct wire_frame *frame, struct wire_epoch_end *ret_end,
			  struct wire_error *error) WIRE_CHECKED;

enum wire_stream_error_code {
	WIRE_STREAM_ERROR_ORDER	   = 1, /* a frame out of sequence */
	WIRE_STREAM_ERROR_FORMAT   = 2, /* a frame or record broke the format */
	WIRE_STREAM_ERROR_GEOMETRY = 3, /* the standby's guest is built differently */
	WIRE_STREAM_ERROR_EPOCH    = 4, /* the epoch is not based on the standby's last epoch */
	WIRE_STREAM_ERROR_LIMIT    = 5, /* the epoch is larger than the receiver may buffer */
	WIRE_STREAM_ERROR_TERM     = 6, /* the frame's term is no longer the VM's current term */
	WIRE_STREAM_ERROR_APPLY	   = 7, /* the standby could not apply or store the epoch */
};

#endif
