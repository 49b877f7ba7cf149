/* drain_record.h - the file STATE_DIR/drained: which hosts are drained or being drained, and which
 * VMs are to be protected again once these hosts are taken back.
 *
 *	holdfast-drained 1
 *	host=alpha state=drained by=operator limit_s=600 boot=-
 *	host=delta state=draining by=guard limit_s=60 boot=0b8c...
 *	vm=web1
 *	sum=90f0c3a5d2e1b4f7
 *
 * by=operator-unagreed: an operator asked for the drain, but did not agree to guests without a
 * copy. state=draining-leave: guests that cannot be moved are left on the host. A host without a
 * line is not drained. Pure: text in, text out.
 *
 * Where: fleet_drain.c. Threads: the gateway's loop; the text is written by the journal's thread.
 */
#ifndef FLEET_DRAIN_RECORD_H
#define FLEET_DRAIN_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fleet/drain.h"

#define DRAIN_RECORD_HOSTS_MAX 192
#define DRAIN_RECORD_BYTES_MAX (40u << 10) /* fits all hosts and VMs */

struct drain_record_host {
	char name[WIRE_NAME_MAX + 1];
	bool is_done;	 /* drained; false: being drained */
	bool by_guard;
	bool keeps_copies; /* as in struct drain; false if is_done or by_guard */
	bool leaves;	   /* as in struct drain; false if is_done or by_guard */
	uint64_t limit_s;
	char boot[DRAIN_BOOT_MAX + 1]; /* the boot in which the guard asked; valid if by_guard */
};

struct drain_record {
	size_t n_hosts, n_vms;
	struct drain_record_host hosts[DRAIN_RECORD_HOSTS_MAX];
	char vms[DRAIN_VMS_MAX][WIRE_NAME_MAX + 1];
};

/* Write @record to @text (@size bytes). Returns the length, or 0 if it does not fit. */
size_t drain_record_format(const struct drain_record *record, char *text, size_t size);

/* Parse @text, the content of the file. Returns 0, or -EINVAL if the file is damaged; *ret_record
 * is unchanged then. */
int drain_record_parse(const char *text, size_t size, struct drain_record *ret_record)
	__attribute__((warn_unused_result));

/* Is @boot a boot's id, as the kernel writes it: 36 characters of 0-9, a-f and '-'? */
bool drain_boot_is_valid(const char *boot);

/* Write a boot's id to @text, as the kernel writes it. */
void drain_boot_format(const uint8_t boot[WIRE_BOOT_SIZE], char text[DRAIN_BOOT_MAX + 1]);

#endif
