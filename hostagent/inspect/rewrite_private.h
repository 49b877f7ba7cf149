/* rewrite_private.h - what the files rewrite*.c share: the state of one rewriting. */
#ifndef INSPECT_REWRITE_PRIVATE_H
#define INSPECT_REWRITE_PRIVATE_H

#include <stdbool.h>

#include "inspect/option.h"
#include "inspect/rewrite.h"

struct rewriter {
	const struct rewrite_input *in;
	struct rewrite out;
	struct vmm_obstacles *obstacles;
	const char *main_memory; /* id in -machine memory-backend=, owned, or NULL */
	bool has_machine, has_ram;
	/* described[i]: an option describes disk i of in->disks. The option counts even if it
	 * cannot be carried over */
	bool described[VMM_DISKS_MAX];
	bool has_format[VMM_DISKS_MAX]; /* has_format[i]: the standby's image of disk i was given
					 * its format */
	int error; /* 0, -ENOMEM or -E2BIG; after an error the rest is skipped */
};

/* ---- rewrite.c */

/* Add an obstacle: a part of the command cannot be carried over. The text says which part. */
void rewriter_refuse(struct rewriter *rw, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Append -@option and @value to the command. If @value is NULL, the option has no value. */
void rewriter_emit(struct rewriter *rw, const char *option, const char *value);

/* Append -@option and the settings of @list to the command. */
void rewriter_emit_list(struct rewriter *rw, const char *option, const struct option_list *list);

/* Add a struct rewrite_thing with these members to the result's list. */
void rewriter_note(struct rewriter *rw, enum rewrite_kind kind, const char *what, const char *here,
		   const char *there);

/* Returns what the operator wrote after NAME= in the --map for @name; NULL: there is no such
 * --map. */
const char *rewriter_mapped(struct rewriter *rw, const char *name);

/* Find the standby's path for @path, and add both to the result's list of things. @id: another name
 * by which --map can name the path, or NULL. Returns the standby's path, which the caller frees. If
 * it is not known, adds an obstacle and returns NULL. */
char *rewriter_path(struct rewriter *rw, enum rewrite_kind kind, const char *what, const char *id,
		    const char *path);

/* Replace the path at @key of @list by the standby's path. Does nothing if @list has no such
 * key. */
void rewriter_list_path(struct rewriter *rw, enum rewrite_kind kind, const char *what,
			const char *id, struct option_list *list, const char *key);

/* Read an option's value. Returns true. If the value cannot be read, returns false, and adds an
 * obstacle or sets rw->error. */
bool rewriter_parse(struct rewriter *rw, const char *option, const char *value,
		    const char *first_key, struct option_list *ret_list);

/* Do not carry the option over, and list it as left out because of @why. */
void rewriter_leave_out(struct rewriter *rw, const char *option, const char *value,
			const char *why);

/* ---- handlers: each carries over one option with its value */

typedef void (*rewriter_fn)(struct rewriter *rw, const char *option, const char *value);

/* rewrite_disks.c */
void rewrite_drive(struct rewriter *rw, const char *option, const char *value);
void rewrite_short_drive(struct rewriter *rw, const char *option, const char *value);
void rewrite_blockdev(struct rewriter *rw, const char *option, const char *value);
void rewrite_check_disks(struct rewriter *rw); /* check that each disk was found; call this after
						* all words */

/* rewrite_backends.c */
void rewrite_netdev(struct rewriter *rw, const char *option, const char *value);
void rewrite_chardev(struct rewriter *rw, const char *option, const char *value);
void rewrite_mon(struct rewriter *rw, const char *option, const char *value);
void rewrite_serial(struct rewriter *rw, const char *option, const char *value);
void rewrite_address(struct rewriter *rw, const char *option, const char *value);
void rewrite_object(struct rewriter *rw, const char *option, const char *value);

#endif
