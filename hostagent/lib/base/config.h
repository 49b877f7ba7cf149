/* config.h - parses an INI file according to a table of its keys. The same table gives --help, the
 * example file, the manual and check-config's output.
 *
 * Why: if a daemon ignored a misspelt key, it might later fail over unexpectedly. So a key that is
 * not in the table is refused. The error names the line and says what was expected. A key's row in
 * the table has its type, default, limits and help.
 *
 * Where: daemons and tools call config_load() once at start; the result struct does not change
 * after that.
 *
 * The syntax is libinih's: `[section]` and `key = value`. A comment begins with ; or # at the start
 * of a line, or with " ;" after a value. After a text or a path, " ;" is refused, because it could
 * be part of the value. Blanks at the start of a line are ignored, so an indented line never
 * continues the line before it. A section can occur more than once. A key can occur more than once
 * only if it is a LIST.
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
 * Threads: any (nothing is shared). Allocates and may block on the file: for use at start only.
 */
#ifndef BASE_CONFIG_H
#define BASE_CONFIG_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

/* size of the largest file that is accepted */
#define CONFIG_FILE_BYTES_MAX 65536
/* the longest line that fits into libinih's buffer, without its terminators; comment lines may be
 * longer */
#define CONFIG_LINE_MAX	      196
#define CONFIG_KEYS_MAX	      128   /* maximum number of rows in one table */
/* room for the value of a NAME key: 63 characters and the NUL */
#define CONFIG_NAME_SIZE      64

/* The type of a key. Each comment gives the text that such a key accepts -> the type of the key's
 * member in the result struct. */
enum config_type {
	CONFIG_STRING  = 1,  /* text -> char[size] (NUL-terminated, rest zero) */
	CONFIG_PATH    = 2,  /* absolute path -> char[size] */
	CONFIG_NAME    = 3,  /* [a-z0-9][a-z0-9-]{0,62} -> char[>= CONFIG_NAME_SIZE] */
	CONFIG_U32     = 4,  /* decimal or 0x hexadecimal -> uint32_t */
	CONFIG_U64     = 5,  /* decimal or 0x hexadecimal -> uint64_t */
	CONFIG_BOOL    = 6,  /* yes|no|true|false|on|off|1|0 -> bool */
	CONFIG_MS      = 7,  /* whole milliseconds -> uint64_t nanoseconds; min, max in ms */
	CONFIG_SIZE    = 8,  /* bytes with optional K, M or G (powers of 1024) -> uint64_t bytes */
	CONFIG_ENUM    = 9,  /* one of the key's `names` -> int (or an enum of int's size) */
	CONFIG_ADDRESS = 10, /* numeric IPv4:port -> struct config_address */
	CONFIG_PREFIX  = 11, /* numeric IPv4/bits -> struct config_prefix */
	CONFIG_MAC     = 12, /* aa:bb:cc:dd:ee:ff -> uint8_t[6] */
	CONFIG_IPV4    = 13, /* numeric IPv4, not 0.0.0.0 -> uint32_t in network order */
	CONFIG_PORTS   = 14, /* ports, "80, 443", each once -> struct config_ports */
	/* text, which may be split over several lines with this key -> char[size], with a blank
	 * between the parts */
	CONFIG_LIST    = 15,
};

struct config_address {
	uint32_t ip_be32; /* network order, like sin_addr.s_addr and lwIP's ip4_addr */
	uint16_t port;	  /* host order, 1..65535; 0 when unset */
};

struct config_prefix {
	/* the address as written, with its host bits: it may be an interface's own address */
	uint32_t ip_be32;
	uint8_t bits;	  /* 0..32 */
};

#define CONFIG_PORTS_MAX 8

struct config_ports {
	uint16_t port[CONFIG_PORTS_MAX]; /* host order, 1..65535; 0 after the last one */
	uint16_t n;
};

/* One row of an ENUM key's table, which ends with a row whose name is NULL. */
struct config_enum_name {
	const char *name;
	int value;
};

/* One row of a table of keys. All strings are static. */
struct config_key {
	const char *section;
	const char *name; /* < 48 characters */
	enum config_type type;
	size_t offset;	     /* offset of the member in the result struct */
	size_t size;	     /* size of the member; must fit the type */
	/* The default, in the same form as in a file. NULL: the key is required. "": the member is
	 * all zero by default, and the file can set the key to an empty value */
	const char *default_text;
	/* least value of U32, U64, MS (ms), SIZE (bytes); other types ignore it */
	uint64_t min;
	/* greatest value of U32, U64, MS (ms), SIZE (bytes). If min and max are both 0, any value
	 * that the type can hold is accepted */
	uint64_t max;
	const char *help;    /* one line, lower-case, no full stop */
	const struct config_enum_name *names; /* ENUM only */
};

/* Initialises a row. @type_: a name of enum config_type without its CONFIG_ prefix. */
#define CONFIG_KEY(section_, name_, type_, struct_, member_, default_, min_, max_, help_)          \
	{                                                                                          \
		.section = section_, .name = name_, .type = CONFIG_##type_,                        \
		.offset = offsetof(struct_, member_), .size = sizeof(((struct_ *)0)->member_),     \
		.default_text = default_, .min = min_, .max = max_, .help = help_                  \
	}
/* Initialises a row of type ENUM. */
#define CONFIG_KEY_ENUM(section_, name_, names_, struct_, member_, default_, help_)                \
	{                                                                                          \
		.section = section_, .name = name_, .type = CONFIG_ENUM,                           \
		.offset = offsetof(struct_, member_), .size = sizeof(((struct_ *)0)->member_),     \
		.default_text = default_, .help = help_, .names = names_                           \
	}

/* Read the file @path into *ret_struct, according to the table @keys. Keys that are not in the file
 * get their defaults; members that no key names are not changed.
 * On success returns 0, sets *ret_struct and does not touch *ret_error. On error *ret_struct is
 * untouched, and *ret_error says what is wrong and what was expected, with file and line:
 *      -EINVAL  a line was refused: unknown section or key, duplicate, out of range, malformed,
 *               too long, or with control bytes
 *      -EINVAL  a required key is missing
 *      -EFBIG   the file is larger than CONFIG_FILE_BYTES_MAX
 *      -EFAULT  the table itself is wrong (a bug of ours; *ret_error names the row)
 *      -ENOMEM, or another -errno from opening or reading the file */
int config_load(const char *path, const struct config_key *keys, size_t n_keys, void *ret_struct,
		struct error *ret_error) __attribute__((warn_unused_result));

/* Does what config_load() does, but with @size bytes of text in memory. In error texts, @name takes
 * the place of the file's name. */
int config_parse_buffer(const char *name, const char *text, size_t size,
			const struct config_key *keys, size_t n_keys, void *ret_struct,
			struct error *ret_error) __attribute__((warn_unused_result));

/* Print the keys for --help: each key's section, name, accepted values, default and help text. */
void config_print_help(FILE *out, const struct config_key *keys, size_t n_keys);

/* Print a complete example file with every key and its help text. Keys with a default are comments.
 * Required keys have a placeholder: replace it, and the file is valid. */
void config_print_example(FILE *out, const struct config_key *keys, size_t n_keys);

/* Print the keys as the list of a manual page (man(7) .TP entries). */
void config_print_man(FILE *out, const struct config_key *keys, size_t n_keys);

/* Print @config (a struct set by config_load()) as a file, for check-config. config_load() reads
 * the same values from this file. Unset members are printed as empty values. */
void config_print_values(FILE *out, const struct config_key *keys, size_t n_keys,
			 const void *config);

/* Convert one key's text. Used only by the config*.c files. On success writes key->size bytes to
 * @ret_value. Returns 0, or -EINVAL if the text was refused. In this case @ret_expected describes
 * what the key accepts. */
int config_convert(const struct config_key *key, const char *text, void *ret_value,
		   char *ret_expected, size_t expected_size) __attribute__((warn_unused_result));

/* Write a description of the values that the key accepts to @ret_text (cut to @size), for example
 * "whole milliseconds, 1..10000". */
void config_describe(const struct config_key *key, char *ret_text, size_t size);

#endif
