/* inspect_parse.h - parses texts of QEMU's human monitor, and classifies RAM blocks.
 *
 * Why: inspect.c needs facts that only the human monitor (HMP) shows, as text for human readers.
 * Each kind of text has a strict parser, which refuses a line that it does not know. Pure: text in,
 * structs out.
 * Where: inspect.c and its tests only. Threads: any.
 */
#ifndef VMM_INSPECT_PARSE_H
#define VMM_INSPECT_PARSE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "vmm/page_range.h"

#define INSPECT_RAMBLOCKS_MAX 64u
#define INSPECT_UNNAMED	      "(unnamed)" /* a block that has no name yet */

/* One line of `info ramblock`. */
struct inspect_ramblock {
	char name[128];
	uint64_t used_bytes;
	uint64_t hva; /* address in QEMU's process; 0: QEMU did not show it (8.0 and older) */
};

enum inspect_use {
	INSPECT_REPLICATE_RAM = 1, /* main memory */
	/* memory other than main memory whose content only the running machine has: firmware, video
	 * RAM, a variable store, a memory device, and every block with a name that we do not
	 * know */
	INSPECT_REPLICATE_OTHER,
	INSPECT_SKIP,	       /* the standby's QEMU loads the same content by itself */
	INSPECT_REFUSE,	       /* memory that cannot be replicated */
};

/* Parse `info ramblock`.
 * Returns 0;
 * -EPROTO: a line is not understood; *ret_error names it;
 * -E2BIG: there are more than INSPECT_RAMBLOCKS_MAX blocks. */
int inspect_parse_ramblocks(const char *text, struct inspect_ramblock *ret_blocks,
			    uint32_t *ret_n_blocks, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Parse the answer to `gpa2hva`, such as "Host virtual address for 0x0 (pc.ram) is 0x7f...". The
 * block that it names must be @name.
 * Returns 0;
 * -ENOENT: there is no RAM at that guest address;
 * -EPROTO: the answer is not understood, or another block is at that address. */
int inspect_parse_hva(const char *text, const char *name, uint64_t *ret_hva)
	__attribute__((warn_unused_result));

/* Find where `info mtree -f`, address space "memory", maps the first byte of block @name.
 * Returns 0, or -ENOENT if it is not mapped. */
int inspect_parse_guest_addr(const char *text, const char *name, uint64_t *ret_addr)
	__attribute__((warn_unused_result));

/* Decide what to do with a block. @main_memory is the id of the machine's memory backend ("pc.ram"
 * if the user named none). With INSPECT_REFUSE, *ret_hint (static text) says what to change. */
enum inspect_use inspect_classify(const char *name, const char *main_memory, const char **ret_hint);

/* Parse a text such as "52:54:00:12:34:56". Returns 0 or -EINVAL. */
int inspect_parse_mac(const char *text, uint8_t ret_mac[6]) __attribute__((warn_unused_result));

/* Find a back end in `info network` that lets another process write to guest RAM. Returns
 * "vhost-user" or "vhost-vdpa" (static text), or NULL if there is none. */
const char *inspect_foreign_netdev(const char *text);

/* A network card whose frames do not pass through a tap of its own. */
struct inspect_card {
	char name[64];	  /* "e1000.0" */
	char backend[64]; /* the back end's name, "n1", or the port of a hub */
	char type[32];	  /* the back end's type: "user", "hubport" */
};

/* Find card @n (from 0) in `info network`, counting only the cards without a tap. If the guest has
 * only one card, and this card is in a hub, it counts as a card with a tap: the hub can contain the
 * tap. A card without a back end sends nothing, so it is left out. Returns 0, or -ENOENT if there
 * are not that many. */
int inspect_untapped_card(const char *text, uint32_t n, struct inspect_card *ret_card)
	__attribute__((warn_unused_result));

#endif
