/* msg.h - the payload of every frame type: one struct, one encode and one decode each.
 *
 * Why: daemons work with structs in host order; only this room knows byte offsets.
 * Where: called by link, sessions, vm, epoch and standby; calls nothing but base/bytes.h.
 * Threads: any (no state). Nothing here allocates or blocks.
 *
 * Encoders write the payload at @w (from wire_frame_begin()):
 *	0; -EINVAL: a field of the struct breaks the format (name, text, bound); -ENOBUFS: no room.
 *	After an error @w is unusable (w->bad is set).
 * Decoders take a frame whose header was accepted by wire_frame_decode():
 *	0; -EPROTO: wrong type, truncated, trailing bytes, or a field out of its bounds; *@error
 *	(may be NULL) says which. The struct is written on success only. Strings are copied and
 *	NUL-terminated: the struct outlives the frame's buffer. Record data is not copied.
 * Types without an entry here (EPOCH_ACK, COMMIT, RESUME) have an empty payload: the header's term,
 * epoch and generation say everything. wire_empty_decode() checks that the payload is empty.
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
};

/* Feature bits, never reused; docs/wire-format.md 7.2. The sender of a set bit supports the
 * feature. */
#define WIRE_FEATURE_XRLE   UINT64_C(0x1) /* page class XRLE */
#define WIRE_FEATURE_BITMAP UINT64_C(0x2) /* page class BITMAP */
#define WIRE_FEATURE_LZ4    UINT64_C(0x4) /* WIRE_FLAG_LZ4 */
#define WIRE_FEATURE_DUP    UINT64_C(0x8) /* page class DUP */
#define WIRE_FEATURE_CLOCK  UINT64_C(0x400) /* CLOCK */
#define WIRE_FEATURE_UNHELD UINT64_C(0x800) /* WIRE_FLAG_UNHELD */
/* On control connections. */
#define WIRE_FEATURE_WITNESS UINT64_C(0x10) /* WITNESS_KEY */
#define WIRE_FEATURE_LEASE   UINT64_C(0x20) /* LEASE */
#define WIRE_FEATURE_WITNESS_PATHS UINT64_C(0x40) /* WITNESS_KEY's client address */
/* On control and stream connections with a gateway. */
#define WIRE_FEATURE_INCARNATION UINT64_C(0x100) /* incarnation in WELCOME, ORDER and LEASE */
/* On streams. */
#define WIRE_FEATURE_MACHINE UINT64_C(0x80) /* MACHINE */
/* The features that this build supports, by kind of connection. */
#define WIRE_CONTROL_FEATURES                                                                      \
	(WIRE_FEATURE_WITNESS | WIRE_FEATURE_LEASE | WIRE_FEATURE_WITNESS_PATHS |                  \
	 WIRE_FEATURE_INCARNATION)
#define WIRE_FEATURES                                                                              \
	(WIRE_FEATURE_XRLE | WIRE_FEATURE_BITMAP | WIRE_FEATURE_LZ4 | WIRE_FEATURE_DUP |          \
	 WIRE_FEATURE_MACHINE | WIRE_FEATURE_CLOCK | WIRE_FEATURE_UNHELD)
#define WIRE_STREAM_FEATURES (WIRE_FEATURES | WIRE_FEATURE_INCARNATION)

/* HELLO. Header: term = the agent's term for the VM, epoch = a standby's last complete epoch. On a
 * CONTROL connection: term = the highest gateway incarnation that this host has obeyed. */
struct wire_hello {
	uint16_t version_min, version_max; /* 1 <= min <= max */
	uint64_t features_required;	   /* the receiver refuses unknown bits */
	uint64_t features_optional;	   /* the receiver ignores unknown bits */
	uint8_t kind;			   /* enum wire_kind */
	uint8_t role;			   /* enum wire_vm_role; NONE exactly when kind is CONTROL,
					    * PRIMARY when it is PEER */
	char vm[WIRE_NAME_MAX + 1];	   /* "" exactly when kind is CONTROL */
};
int wire_hello_encode(const struct wire_hello *hello, struct bytes_writer *w) WIRE_CHECKED;
int wire_hello_decode(const struct wire_frame *frame, struct wire_hello *ret_hello,
		      struct wire_error *error) WIRE_CHECKED;

/* Fill in this build's HELLO: its versions and features. XRLE is required on stream and peer
 * connections; all other features of this kind of connection are optional. @vm: "" for CONTROL. */
void wire_hello_init(struct wire_hello *ret_hello, uint8_t kind, uint8_t role, const char *vm);

/* Choose the version and features that both sides support. 0: both outputs set; -EPROTONOSUPPORT:
 * no common version, or an unknown required feature; *ret_code (for REFUSED) and *ret_error are set
 * instead. */
int wire_hello_negotiate(const struct wire_hello *hello, uint16_t *ret_version,
			 uint64_t *ret_features, uint16_t *ret_code,
			 struct error *ret_error) WIRE_CHECKED;

struct wire_welcome {
	uint16_t version;		 /* chosen by the gateway, >= 1 */
	uint64_t features;		 /* in use on this connection */
	char gateway[WIRE_NAME_MAX + 1]; /* the gateway's name; the host's on a peer connection */
	uint64_t incarnation; /* of the gateway; 0: WIRE_FEATURE_INCARNATION is not in use */
};
int wire_welcome_encode(const struct wire_welcome *welcome, struct bytes_writer *w) WIRE_CHECKED;
int wire_welcome_decode(const struct wire_frame *frame, struct wire_welcome *ret_welcome,
			struct wire_error *error) WIRE_CHECKED;

enum wire_refused_code {
	WIRE_REFUSED_VERSION	= 1, /* no common version */
	WIRE_REFUSED_FEATURE	= 2, /* an unknown required feature */
	WIRE_REFUSED_DUPLICATE	= 3, /* the same host or stream is connected already */
	WIRE_REFUSED_STALE_TERM = 4, /* the agent was outvoted */
	WIRE_REFUSED_UNKNOWN_VM = 5, /* the gateway has no such VM */
	WIRE_REFUSED_IDENTITY	= 6, /* this host is not one of that VM's hosts */
	WIRE_REFUSED_PROTOCOL	= 7, /* broken or unexpected frame */
	WIRE_REFUSED_NOT_ASKED	= 8, /* a stream that no order opened */
	WIRE_REFUSED_BUSY	= 9, /* a limit is reached or the gateway is closing; try later */
	WIRE_REFUSED_OLD_GATEWAY = 10, /* the host has obeyed a newer gateway than this one */
};

/* REFUSED and STREAM_ERROR: a number for programs and a text for people. */
struct wire_failure {
	uint16_t code; /* enum wire_refused_code or enum wire_stream_error_code; others are legal */
	char text[WIRE_TEXT_MAX + 1];
};
int wire_failure_encode(const struct wire_failure *failure, struct bytes_writer *w) WIRE_CHECKED;
int wire_failure_decode(const struct wire_frame *frame, struct wire_failure *ret_failure,
			struct wire_error *error) WIRE_CHECKED;

/* ---- control connection ---- */

/* BEAT; BEAT_ACK returns the same number. */
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
	WIRE_STATE_LOST		    = 4, /* agent restarted, hold closed, waits for orders */
	WIRE_STATE_FENCED	    = 5,
	WIRE_STATE_RUNNING	    = 6, /* owns a running, unprotected guest */
	WIRE_STATE_STANDBY_STARTING = 7,
	WIRE_STATE_STANDBY_WARM	    = 8, /* no complete epoch */
	WIRE_STATE_STANDBY_READY    = 9, /* holds a complete epoch */
	WIRE_STATE_PROMOTING	    = 10,
	WIRE_STATE_FAILED	    = 11,
	WIRE_STATE_COUNT	    = 12,
};

enum wire_verdict {
	WIRE_VERDICT_NONE     = 0,
	WIRE_VERDICT_EXITED   = 1, /* the guest's process is gone */
	WIRE_VERDICT_PAUSED   = 2, /* somebody else paused the guest */
	WIRE_VERDICT_SHUTDOWN = 3, /* the guest shut itself down */
	WIRE_VERDICT_COUNT    = 4,
};

/* Constant strings in lower case ("standby-ready"); "unknown" for other numbers. */
const char *wire_state_name(uint8_t state);
const char *wire_verdict_name(uint8_t verdict);
const char *wire_verb_name(uint8_t verb);
const char *wire_vm_role_name(uint8_t role);

/* REPORT. Header: term, epoch = last complete (standby) or last committed (primary). */
struct wire_report {
	char vm[WIRE_NAME_MAX + 1];
	uint8_t role;			/* enum wire_vm_role */
	uint8_t state;			/* enum wire_state */
	uint8_t verdict;		/* enum wire_verdict */
	char text[WIRE_TEXT_MAX + 1];	/* for people */
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
	WIRE_VERB_PROMOTE	= 5, /* header: term = new term, epoch = lowest acceptable one */
	WIRE_VERB_FENCE		= 6, /* header: term = the new term that outvoted the agent */
};

/* ORDER. Orders are idempotent: one that was carried out answers ok again. */
struct wire_order {
	uint64_t order_id;
	uint8_t verb; /* enum wire_verb */
	char vm[WIRE_NAME_MAX + 1];
	char argument[WIRE_TEXT_MAX + 1];
	uint64_t incarnation; /* as in the WELCOME; 0: none */
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
	uint64_t order_id; /* of the ORDER */
	uint8_t status;	   /* enum wire_order_status */
	char vm[WIRE_NAME_MAX + 1];
	char text[WIRE_TEXT_MAX + 1];
};
int wire_order_done_encode(const struct wire_order_done *done, struct bytes_writer *w) WIRE_CHECKED;
int wire_order_done_decode(const struct wire_frame *frame, struct wire_order_done *ret_done,
			   struct wire_error *error) WIRE_CHECKED;

/* WITNESS_KEY. Header: term = that of the protection. From now on the agent's kernel signs this
 * VM's witness datagrams (wire/witness.h) with the key. The struct holds a secret: wipe it. */
struct wire_witness_key {
	char vm[WIRE_NAME_MAX + 1];
	uint32_t key_id;			   /* > 0; every datagram carries it */
	uint16_t port; /* > 0; UDP, at the address of this connection's gateway */
	uint8_t key[WIRE_WITNESS_KEY_SIZE];
	uint32_t client_address; /* send to this address of the gateway in the client network too;
				  * host byte order, wire_is_host_address(). 0: do not; always 0
				  * unless WIRE_FEATURE_WITNESS_PATHS is in use */
};
/* Can @address (host byte order) belong to a host? Not in 0.0.0.0/8, 127.0.0.0/8, 224.0.0.0/3. */
bool wire_is_host_address(uint32_t address);
int wire_witness_key_encode(const struct wire_witness_key *key,
			    struct bytes_writer *w) WIRE_CHECKED;
int wire_witness_key_decode(const struct wire_frame *frame, struct wire_witness_key *ret_key,
			    struct wire_error *error) WIRE_CHECKED;

/* LEASE. Header: term. In that term the agent owns this VM: it may run the guest until its own
 * clock says beat_ns + lease_ms, and release output until beat_ns + release_ms. Both count from
 * when the agent SENT the beat, so a slow answer makes neither longer. */
struct wire_lease {
	char vm[WIRE_NAME_MAX + 1];
	uint64_t beat_ns;  /* mono_ns of the BEAT that this lease answers */
	uint32_t lease_ms; /* 1..WIRE_LEASE_MS_MAX */
	uint32_t release_ms; /* 1..lease_ms */
	uint64_t incarnation; /* as in the WELCOME; 0: none */
};
int wire_lease_encode(const struct wire_lease *lease, struct bytes_writer *w) WIRE_CHECKED;
int wire_lease_decode(const struct wire_frame *frame, struct wire_lease *ret_lease,
		      struct wire_error *error) WIRE_CHECKED;

/* ---- peer connection ---- */

enum wire_claim_mode {
	WIRE_CLAIM_UNPROTECTED = 1, /* the primary goes on without a standby */
	WIRE_CLAIM_DIRECT      = 2, /* the primary streams to the standby itself */
};

/* CLAIM. Header: term = the new term that the primary asks for, epoch = the last one committed. */
struct wire_claim {
	uint8_t mode; /* enum wire_claim_mode */
};
int wire_claim_encode(const struct wire_claim *claim, struct bytes_writer *w) WIRE_CHECKED;
int wire_claim_decode(const struct wire_frame *frame, struct wire_claim *ret_claim,
		      struct wire_error *error) WIRE_CHECKED;

/* VOTE. Header: term as in the CLAIM. */
struct wire_vote {
	uint8_t answer;		      /* 0 no, 1 yes */
	char text[WIRE_TEXT_MAX + 1]; /* why "no", for people */
};
int wire_vote_encode(const struct wire_vote *vote, struct bytes_writer *w) WIRE_CHECKED;
int wire_vote_decode(const struct wire_frame *frame, struct wire_vote *ret_vote,
		     struct wire_error *error) WIRE_CHECKED;

/* ---- stream connection ---- */

/* RESUME, EPOCH_ACK, COMMIT: 0 when the payload is empty; -EPROTO otherwise. */
int wire_empty_decode(const struct wire_frame *frame, struct wire_error *error) WIRE_CHECKED;

enum wire_block_kind {
	WIRE_BLOCK_RAM = 0,
	WIRE_BLOCK_ROM = 1,
};

struct wire_block {
	char name[WIRE_LABEL_MAX + 1]; /* QEMU's name of the block, printable ASCII, not empty */
	uint8_t kind;		       /* enum wire_block_kind */
	uint64_t size_bytes;	       /* > 0, a multiple of WIRE_PAGE_SIZE */
};

/* GEOMETRY: what the standby's guest must look like. A page index counts 4096-byte pages through
 * the concatenated blocks, in this order. */
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

/* Pages in all blocks together; at most WIRE_PAGES_MAX in a decoded geometry. */
uint64_t wire_geometry_pages(const struct wire_geometry *geometry);

/* 0 when a standby built as @ours can take @theirs; -ESTALE: it cannot, and *ret_error says what
 * differs ("machine: primary has pc-i440fx-7.2, standby has pc-q35-7.2"). QEMU versions may
 * differ. */
int wire_geometry_compare(const struct wire_geometry *theirs, const struct wire_geometry *ours,
			  struct error *ret_error) WIRE_CHECKED;

/* MACHINE: what the primary's machine is made of, in one or more frames after GEOMETRY. */
struct wire_machine_item {
	char key[WIRE_LABEL_MAX + 1];	/* a place or property: printable ASCII, not empty */
	char value[WIRE_LABEL_MAX + 1]; /* printable ASCII */
};

struct wire_machine_iter {
	struct bytes_reader r;	/* the rest of the payload */
	const uint8_t *payload; /* its start, for offsets in errors */
	bool is_last;		/* no more frames of this list follow */
};

/* Start a payload; items follow. Returns what every encoder returns. */
int wire_machine_encode(bool is_last, struct bytes_writer *w) WIRE_CHECKED;

/* Append one item. Returns what every encoder returns, but on -ENOBUFS @w is untouched and still
 * good. */
int wire_machine_item_encode(struct bytes_writer *w, const char *key,
			     const char *value) WIRE_CHECKED;

/* Walk through the items. 0; -EPROTO: not a MACHINE frame, or `more` is out of bounds. */
int wire_machine_begin(const struct wire_frame *frame, struct wire_machine_iter *ret_iter,
		       struct wire_error *error) WIRE_CHECKED;

/* Next item. 1: *ret_item is set; 0: end of the payload; -EPROTO: truncated, or not a valid
 * text. */
int wire_machine_next(struct wire_machine_iter *iter, struct wire_machine_item *ret_item,
		      struct wire_error *error) WIRE_CHECKED;

/* Check a whole MACHINE frame, for a relay that only passes it on. 0: *ret_is_last is set;
 * -EPROTO. */
int wire_machine_check(const struct wire_frame *frame, bool *ret_is_last,
		       struct wire_error *error) WIRE_CHECKED;

/* EPOCH_BEGIN. Header: epoch >= 1, flags may hold WIRE_FLAG_FULL and WIRE_FLAG_UNHELD, seq 0. */
struct wire_epoch_begin {
	uint64_t previous_epoch; /* < the header's epoch; the base of the deltas, unless FULL */
};
int wire_epoch_begin_encode(const struct wire_epoch_begin *begin,
			    struct bytes_writer *w) WIRE_CHECKED;
int wire_epoch_begin_decode(const struct wire_frame *frame, struct wire_epoch_begin *ret_begin,
			    struct wire_error *error) WIRE_CHECKED;

/* One page (PAGES) or one 4096-byte piece of the device-state blob (DEVICE). */
struct wire_record {
	uint8_t class;	     /* enum wire_class */
	uint16_t size;	     /* bytes of data, checked against the class */
	uint32_t index;	     /* < the limit given to the iterator */
	uint32_t source;     /* DUP: index of the page to copy, < the limit, not `index`; else 0 */
	const uint8_t *data; /* inside the frame */
};

struct wire_record_iter {
	struct bytes_reader r;	 /* the rest of the payload */
	const uint8_t *payload;	 /* its start, for offsets in errors */
	uint64_t n_pages;	 /* every index must be below this */
	uint8_t type;		 /* of the frame */
	uint32_t blob_size;	 /* DEVICE: bytes of the whole blob; else 0 */
};

/* Payload of a PAGES or DEVICE frame with WIRE_FLAG_LZ4: the plain payload as an LZ4 block
 * (codec/lz4block.h). The receiver unpacks it and treats the result as a frame without the flag:
 * wire_pages_begin() and wire_device_begin() refuse packed frames. */
struct wire_lz4 {
	uint32_t plain_size;  /* 1..WIRE_PAYLOAD_MAX */
	const uint8_t *block; /* in place in the frame */
	size_t block_size;    /* >= 1 */
};
int wire_lz4_encode(const struct wire_lz4 *lz4, struct bytes_writer *w) WIRE_CHECKED;
int wire_lz4_decode(const struct wire_frame *frame, struct wire_lz4 *ret_lz4,
		    struct wire_error *error) WIRE_CHECKED;

/* Start walking through the records of a PAGES frame. @n_pages: from wire_geometry_pages(); every
 * index must be below it. 0; -EPROTO: not a PAGES frame, or a packed one. */
int wire_pages_begin(const struct wire_frame *frame, uint64_t n_pages,
		     struct wire_record_iter *ret_iter, struct wire_error *error) WIRE_CHECKED;

/* The same for DEVICE: also checks the blob's size and sets ret_iter->blob_size to it.
 * 0; -EPROTO: not a DEVICE frame, packed, truncated, blob size 0 or above WIRE_BLOB_MAX. */
int wire_device_begin(const struct wire_frame *frame, struct wire_record_iter *ret_iter,
		      struct wire_error *error) WIRE_CHECKED;

/* Next record. 1: *ret_record is set; 0: end of the payload; -EPROTO: the record is truncated, or
 * its class, size, index or source are out of bounds. This does not check that a DUP may copy its
 * source: that depends on all other records of the epoch. */
int wire_record_next(struct wire_record_iter *iter, struct wire_record *ret_record,
		     struct wire_error *error) WIRE_CHECKED;

/* Start a DEVICE payload; records follow. Returns what every encoder returns. */
int wire_device_encode(uint32_t blob_size, struct bytes_writer *w) WIRE_CHECKED;

/* Append one record, copying @size bytes of @data. Returns what every encoder returns, but on
 * -ENOBUFS @w is untouched and still good: finish this frame and put the record into the next
 * one. */
int wire_record_encode(struct bytes_writer *w, uint8_t class, uint32_t index, const uint8_t *data,
		       size_t size) WIRE_CHECKED;

/* Append one record without a copy: returns where to write its data (at most WIRE_PAGE_SIZE bytes),
 * or NULL when a full record does not fit any more. Nothing is appended until ..._commit(). */
uint8_t *wire_record_reserve(const struct bytes_writer *w);

/* Append the record whose data were written at wire_record_reserve().
 * 0; -EINVAL: class and size do not fit together (nothing is appended). */
int wire_record_commit(struct bytes_writer *w, uint8_t class, uint32_t index,
		       size_t size) WIRE_CHECKED;

/* CLOCK: how to set the guest's clock, which is stopped in the epoch's device state
 * (vmm/clock_rules.h). */
struct wire_clock {
	uint64_t saved_ticks, saved_ns; /* the guest's clocks as saved in the device state */
	uint64_t mono_ns;	   /* when the primary's monotonic clock says this... */
	uint64_t ticks, ns;	   /* ...the guest's clocks must say this */
	uint64_t ticks_per_s;	   /* 1..WIRE_TICKS_PER_S_MAX */
};
int wire_clock_encode(const struct wire_clock *clock, struct bytes_writer *w) WIRE_CHECKED;
int wire_clock_decode(const struct wire_frame *frame, struct wire_clock *ret_clock,
		      struct wire_error *error) WIRE_CHECKED;

/* EPOCH_END: what must have arrived. */
struct wire_epoch_end {
	uint32_t n_frames;	/* of this epoch before EPOCH_END, EPOCH_BEGIN counted */
	uint32_t n_records;	/* in PAGES frames */
	uint64_t payload_bytes; /* of the n_frames frames */
};
int wire_epoch_end_encode(const struct wire_epoch_end *end, struct bytes_writer *w) WIRE_CHECKED;
int wire_epoch_end_decode(const struct wire_frame *frame, struct wire_epoch_end *ret_end,
			  struct wire_error *error) WIRE_CHECKED;

enum wire_stream_error_code {
	WIRE_STREAM_ERROR_ORDER	   = 1, /* a frame out of sequence */
	WIRE_STREAM_ERROR_FORMAT   = 2, /* a frame or record broke the format */
	WIRE_STREAM_ERROR_GEOMETRY = 3, /* the standby's guest is built differently */
	WIRE_STREAM_ERROR_EPOCH	   = 4, /* the epoch is not based on the standby's last one */
	WIRE_STREAM_ERROR_LIMIT	   = 5, /* the epoch is larger than the receiver may buffer */
	WIRE_STREAM_ERROR_TERM	   = 6, /* stale term */
	WIRE_STREAM_ERROR_APPLY	   = 7, /* the standby could not apply or store it */
};

#endif
