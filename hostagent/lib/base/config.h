/* config.h - one table of keys drives an INI file's parser, --help, the example file, the manual
 * and check-config.
 *
 * Why: a daemon that guesses what a misspelt key meant fails over by surprise. Everything about a
 * key (type, default, limits, help) is said once, in a table. Anything not in the table is refused;
 * the error names the place and what was expected.
 *
 * Where: daemons and tools call config_load() once at start; the result struct is immutable after.
 *
 * Syntax is libinih's: `[section]`, `key = value`, comments with ; or # at the start of a line, and
 * " ;" after a value. A " ;" after a text or path is refused, because it could be part of the
 * value. Lines are stripped, so an indented line is a line of its own, never a continuation. A
 * section may be named more than once; a key may not.
 *
 *	struct host_config { char name[64]; struct config_address gateway; uint64_t beat_ns; };
 *	static const struct config_key keys[] = {
 *		CONFIG_KEY("host", "name", NAME, struct host_config, name, NULL, 0, 0,
 *			   "this host's name, as in its certificate"),
 *		CONFIG_KEY("host", "beat_ms", MS, struct host_config, beat_ns, "25", 1, 10000,
 *			   "interval between beats"),
 *	};
 *	r = config_load(path, keys, ARRAY_SIZE(keys), &config, &error);
 *	if (r < 0)
 *		log_error("%s", error.text);
 *
 * Threads: any, nothing is shared. May block on the file and allocates; start-up only.
 */
#ifndef BASE_CONFIG_H
#define BASE_CONFIG_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

#define CONFIG_FILE_BYTES_MAX 65536 /* a larger file is refused whole */
#define CONFIG_LINE_MAX	      196   /* libinih's line buffer less terminators; not for comments */
#define CONFIG_KEYS_MAX	      128   /* rows of one table */
#define CONFIG_NAME_SIZE      64    /* room for a NAME: 63 characters and the NUL */

/* type: accepted text -> member of the result struct */
enum config_type {
	CONFIG_STRING  = 1,  /* text -> char[size] (NUL-terminated, rest zero) */
	CONFIG_PATH    = 2,  /* absolute path -> char[size] */
	CONFIG_NAME    = 3,  /* [a-z0-9][a-z0-9-]{0,62} -> char[>= CONFIG_NAME_SIZE] */
	CONFIG_U32     = 4,  /* decimal or 0x hexadecimal -> uint32_t */
	CONFIG_U64     = 5,  /* the same -> uint64_t */
	CONFIG_BOOL    = 6,  /* yes|no|true|false|on|off|1|0 -> bool */
	CONFIG_MS      = 7,  /* whole milliseconds -> uint64_t nanoseconds; min, max in ms */
	CONFIG_SIZE    = 8,  /* bytes with optional K, M or G (powers of 1024) -> uint64_t bytes */
	CONFIG_ENUM    = 9,  /* a name of key->names -> int (or an enum of int's size) */
	CONFIG_ADDRESS = 10, /* numeric IPv4:port -> struct config_address */
	CONFIG_PREFIX  = 11, /* numeric IPv4/bits -> struct config_prefix */
	CONFIG_MAC     = 12, /* aa:bb:cc:dd:ee:ff -> uint8_t[6] */
	CONFIG_IPV4    = 13, /* numeric IPv4, not 0.0.0.0 -> uint32_t in network order */
	CONFIG_PORTS   = 14, /* ports, "80, 443", each once -> struct config_ports */
};

struct config_address {
	uint32_t ip_be32; /* network order, as sin_addr.s_addr and lwIP's ip4_addr */
	uint16_t port;	  /* host order, 1..65535; 0 when unset */
};

struct config_prefix {
	uint32_t ip_be32; /* the address as written, host bits kept: an interface's own address */
	uint8_t bits;	  /* 0..32 */
};

#define CONFIG_PORTS_MAX 8

struct config_ports {
	uint16_t port[CONFIG_PORTS_MAX]; /* host order, 1..65535; 0 after the last one */
	uint16_t n;
};

/* Ends with a row whose name is NULL. */
struct config_enum_name {
	const char *name;
	int value;
};

/* All strings are static. */
struct config_key {
	const char *section;
	const char *name; /* < 48 characters */
	enum config_type type;
	size_t offset;	     /* of the member in the result struct */
	size_t size;	     /* of the member; must fit the type */
	const char *default_text; /* as in a file; NULL: required; "": unset (member all zero), and
				     the file may also set the key to an empty value */
	uint64_t min;	     /* least value of U32, U64, MS (ms), SIZE (bytes); others ignore it */
	uint64_t max;	     /* greatest value of these; min == max == 0: all that the type holds */
	const char *help;    /* one line, lower-case, no full stop */
	const struct config_enum_name *names; /* ENUM only */
};

/* One row. @type_ is the enum's name without its prefix. */
#define CONFIG_KEY(section_, name_, type_, struct_, member_, default_, min_, max_, help_)          \
	{                                                                                          \
		.section = section_, .name = name_, .type = CONFIG_##type_,                        \
		.offset = offsetof(struct_, member_), .size = sizeof(((struct_ *)0)->member_),     \
		.default_text = default_, .min = min_, .max = max_, .help = help_                  \
	}
/* One row of type ENUM. */
#define CONFIG_KEY_ENUM(section_, name_, names_, struct_, member_, default_, help_)                \
	{                                                                                          \
		.section = section_, .name = name_, .type = CONFIG_ENUM,                           \
		.offset = offsetof(struct_, member_), .size = sizeof(((struct_ *)0)->member_),     \
		.default_text = default_, .help = help_, .names = names_                           \
	}

/* Read @path into *ret_struct as the table @keys says. Keys that the file does not set get their
 * defaults; members that no key names are left alone.
 * 0: *ret_struct is set, *ret_error untouched. Otherwise *ret_struct is untouched and *ret_error
 * says why, as "FILE:LINE: what, expected what": -EINVAL: a line was refused (unknown section or
 * key, duplicate, out of range, malformed, too long, control bytes) or a required key is missing;
 * -EFBIG: over CONFIG_FILE_BYTES_MAX; -ENOMEM; -errno of opening or reading. -EFAULT: the table
 * itself is wrong (our bug; says which). */
int config_load(const char *path, const struct config_key *keys, size_t n_keys, void *ret_struct,
		struct error *ret_error) __attribute__((warn_unused_result));

/* The same for text in memory; @name stands for the file in errors. */
int config_parse_buffer(const char *name, const char *text, size_t size,
			const struct config_key *keys, size_t n_keys, void *ret_struct,
			struct error *ret_error) __attribute__((warn_unused_result));

/* Write the keys to @out for people to read: section, key, what it takes, default, help. */
void config_print_help(FILE *out, const struct config_key *keys, size_t n_keys);

/* Write a complete example file: every key with its help, defaults commented out, required keys
 * with a placeholder. The text parses once the placeholders are filled in. */
void config_print_example(FILE *out, const struct config_key *keys, size_t n_keys);

/* Write the keys as the body of a manual page's list (man(7) .TP entries). */
void config_print_man(FILE *out, const struct config_key *keys, size_t n_keys);

/* Write @config (a struct that config_load() set) as a file that config_load() reads back to the
 * same values; check-config shows this. Unset members are written as empty values. */
void config_print_values(FILE *out, const struct config_key *keys, size_t n_keys,
			 const void *config);

/* Used only by the config*.c files: convert one text. Writes key->size bytes at @ret_value on
 * success only. 0; -EINVAL, and @ret_expected says what the key takes. */
int config_convert(const struct config_key *key, const char *text, void *ret_value,
		   char *ret_expected, size_t expected_size) __attribute__((warn_unused_result));

/* Write what the key takes to @ret_text (cut to @size), like "whole milliseconds, 1..10000". */
void config_describe(const struct config_key *key, char *ret_text, size_t size);

#endif
