#include "base/config.h"

#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"

/* The longest section or key name in a table. libinih cuts longer names in a file to 49 characters,
 * so they match no name in a table. */
#define INIH_NAME_MAX 48
/* size of the list of names in an error's text, so that the other parts of the text have room */
#define NAMES_BYTES   480

/* The state of one run of the parser. */
struct parse {
	const char *name; /* the file's name in errors */
	const char *at;	  /* next line to give to libinih */
	const char *end;
	unsigned int line; /* number of the line given last, counted from 1 */
	/* in the line given last, libinih would find a comment after the value */
	bool has_comment;
	const struct config_key *keys;
	size_t n_keys;
	/* accepted text of each key, on the heap; NULL if not set */
	char *values[CONFIG_KEYS_MAX];
	unsigned int lines[CONFIG_KEYS_MAX]; /* line in which each key was set */
	struct error error;                      /* the first error; valid if `failed` is not 0 */
	/* line of the error; 0 if the error concerns the whole file */
	unsigned int error_line;
	int failed;				 /* 0, or the negative errno of `error` */
};

static void __attribute__((format(printf, 4, 5)))
fail(struct parse *parse, int r, unsigned int line, const char *format, ...)
{
	char what[ERROR_TEXT_BYTES];
	va_list args;

	if (parse->failed)
		return; /* keep the first error, which is the most useful one */
	parse->failed = r;
	parse->error_line = line;
	va_start(args, format);
	(void)text_vput(what, sizeof(what), format, args);
	va_end(args);
	if (line)
		(void)error_set(&parse->error, r, "%.255s:%u: %s", parse->name, line, what);
	else
		(void)error_set(&parse->error, r, "%.255s: %s", parse->name, what);
}

static bool has_section(const struct parse *parse, const char *section, size_t size)
{
	for (size_t i = 0; i < parse->n_keys; i++) {
		if (strlen(parse->keys[i].section) == size &&
		    memcmp(parse->keys[i].section, section, size) == 0)
			return true;
	}
	return false;
}

/* Write the allowed names to @ret_text: the keys of @section ("one of name beat_ms"), or, if
 * @section is NULL, the sections ("a section of [host] [gateway]"). If not all names fit, writes as
 * many whole names as fit, and "...". */
static void list_names(const struct parse *parse, const char *section, char *ret_text, size_t size)
{
	size_t used = (size_t)snprintf(ret_text, size, "%s", section ? "one of" : "a section of");
	const char *last = "";

	for (size_t i = 0; i < parse->n_keys; i++) {
		const struct config_key *key = &parse->keys[i];
		const char *name = section ? key->name : key->section;

		if (section ? strcmp(section, key->section) != 0 : strcmp(last, name) == 0)
			continue;
		if (used + strlen(name) + sizeof(" [] ...") > size) {
			(void)snprintf(ret_text + used, size - used, " ...");
			return;
		}
		used += (size_t)snprintf(ret_text + used, size - used,
					 section ? " %s" : " [%s]", name);
		last = name;
	}
}

/* Check a section header: its name, and that no text follows the ']'. libinih does not check this,
 * and tells us of a section only together with its first key. */
static void check_section_line(struct parse *parse, const char *line, size_t size)
{
	const char *close = memchr(line, ']', size);
	char names[NAMES_BYTES];
	size_t left;

	if (!close) {
		fail(parse, -EINVAL, parse->line, "section has no ']', expected [section]");
		return;
	}
	left = size - (size_t)(close + 1 - line);
	for (size_t i = 0; i < left; i++) {
		if (close[1 + i] == ';' || close[1 + i] == '#')
			break;
		if (close[1 + i] != ' ' && close[1 + i] != '\t') {
			fail(parse, -EINVAL, parse->line,
			     "text after ']', expected [section] alone");
			return;
		}
	}
	if (!has_section(parse, line + 1, (size_t)(close - line) - 1)) {
		list_names(parse, NULL, names, sizeof(names));
		fail(parse, -EINVAL, parse->line, "unknown section [%.*s], expected %s",
		     (int)(close - line - 1 > INIH_NAME_MAX ? INIH_NAME_MAX : close - line - 1),
		     line + 1, names);
	}
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* Returns true if libinih would find a comment after the value in @line: libinih ends a value at a
 * ';' that follows a blank. */
static bool find_comment(const char *line, size_t size)
{
	const char *value = memchr(line, '=', size);

	for (const char *p = value; p && p + 1 < line + size; p++) {
		if (is_blank(p[0]) && p[1] == ';')
			return true;
	}
	return false;
}

/* The reader that libinih calls. Returns one line per call, without the blanks around it; NULL at
 * the end, or after a line was refused. Comment lines become empty lines, so they can have any
 * length. */
static char *next_line(char *out, int out_size, void *arg)
{
	struct parse *parse = arg;
	const char *start = parse->at, *stop, *newline;
	size_t size;

	if (parse->failed || parse->at == parse->end)
		return NULL;
	/* Find the line's end, and refuse control bytes in the line. */
	newline = memchr(start, '\n', (size_t)(parse->end - start));
	stop = newline ? newline : parse->end;
	parse->at = newline ? newline + 1 : parse->end;
	parse->line++;
	for (const char *p = start; p < stop; p++) {
		unsigned char c = (unsigned char)*p;

		if ((c < ' ' && c != '\t' && !(c == '\r' && p + 1 == stop)) || c == 0x7f) {
			fail(parse, -EINVAL, parse->line, "byte 0x%02x, expected text", c);
			return NULL;
		}
	}
	/* Remove the blanks around the line, and check its kind and size. */
	while (start < stop && is_blank(*start))
		start++;
	while (stop > start && is_blank(stop[-1]))
		stop--;
	size = (size_t)(stop - start);
	if (size == 0 || *start == '#' || *start == ';') {
		out[0] = '\0';
		return out;
	}
	if (size > CONFIG_LINE_MAX || size + 1 > (size_t)out_size) {
		fail(parse, -EINVAL, parse->line,
		     "line of %zu bytes, expected at most %d; a list may have several lines with "
		     "its key",
		     size, CONFIG_LINE_MAX);
		return NULL;
	}
	if (*start == '[')
		check_section_line(parse, start, size);
	parse->has_comment = find_comment(start, size);
	memcpy(out, start, size);
	out[size] = '\0';
	return out;
}

/* Append the value @value of a further line with the LIST key @i. */
static void append_value(struct parse *parse, size_t i, const char *value)
{
	size_t size = strlen(parse->values[i]) + strlen(value) + sizeof(" ");
	char *joined = malloc(size);

	if (!joined) {
		fail(parse, -ENOMEM, parse->line, "out of memory");
		return;
	}
	(void)snprintf(joined, size, "%s %s", parse->values[i], value);
	free(parse->values[i]);
	parse->values[i] = joined;
	parse->lines[i] = parse->line;
}

/* The handler that libinih calls for each key. Returns 0 if the key is refused, and nonzero if it
 * is accepted, as libinih expects. */
static int take_value(void *arg, const char *section, const char *name, const char *value)
{
	struct parse *parse = arg;
	char expected[NAMES_BYTES];
	size_t i;

	if (parse->failed)
		return 0;
	if (section[0] == '\0') {
		list_names(parse, NULL, expected, sizeof(expected));
		fail(parse, -EINVAL, parse->line,
		     "key '%s' outside of a section, expected %s first", name, expected);
		return 0;
	}
	/* Find the key in the table. */
	for (i = 0; i < parse->n_keys; i++) {
		if (strcmp(section, parse->keys[i].section) == 0 &&
		    strcmp(name, parse->keys[i].name) == 0)
			break;
	}
	if (i == parse->n_keys) {
		list_names(parse, section, expected, sizeof(expected));
		fail(parse, -EINVAL, parse->line, "unknown key '%s' in [%s], expected %s", name,
		     section, expected);
		return 0;
	}
	if (parse->values[i] && parse->keys[i].type != CONFIG_LIST) {
		fail(parse, -EINVAL, parse->line,
		     "duplicate key '%s' in [%s], expected it once (line %u has it)", name, section,
		     parse->lines[i]);
		return 0;
	}
	/* Refuse a comment after a text, because the text itself can contain ';', for example in a
	 * shell command. After a number, ';' can only begin a comment. */
	if (parse->has_comment &&
	    (parse->keys[i].type == CONFIG_STRING || parse->keys[i].type == CONFIG_PATH ||
	     parse->keys[i].type == CONFIG_LIST)) {
		fail(parse, -EINVAL, parse->line,
		     "%s has ' ;', which begins a comment and would cut the value; write ';' "
		     "without a blank before it, or the comment on a line of its own",
		     name);
		return 0;
	}
	if (parse->values[i]) {
		append_value(parse, i, value);
		return parse->failed == 0;
	}
	parse->values[i] = strdup(value);
	parse->lines[i] = parse->line;
	if (!parse->values[i])
		fail(parse, -ENOMEM, parse->line, "out of memory");
	return parse->failed == 0;
}

static size_t type_size(enum config_type type)
{
	switch (type) {
	case CONFIG_U32: return sizeof(uint32_t);
	case CONFIG_BOOL: return sizeof(bool);
	case CONFIG_ENUM: return sizeof(int);
	case CONFIG_ADDRESS: return sizeof(struct config_address);
	case CONFIG_PREFIX: return sizeof(struct config_prefix);
	case CONFIG_MAC: return 6;
	case CONFIG_IPV4: return sizeof(uint32_t);
	case CONFIG_PORTS: return sizeof(struct config_ports);
	case CONFIG_U64:
	case CONFIG_MS:
	case CONFIG_SIZE: return sizeof(uint64_t);
	default: return 0;
	}
}

static void check_table(struct parse *parse)
{
	if (parse->n_keys > CONFIG_KEYS_MAX)
		fail(parse, -EFAULT, 0, "%zu keys in the table, expected at most %d", parse->n_keys,
		     CONFIG_KEYS_MAX);
	for (size_t i = 0; i < parse->n_keys && !parse->failed; i++) {
		const struct config_key *key = &parse->keys[i];
		bool fits = key->type < CONFIG_STRING || key->type > CONFIG_LIST ? false
			    : key->type == CONFIG_LIST ? key->size > 0
			    : key->type > CONFIG_NAME ? key->size == type_size(key->type)
			    : key->type == CONFIG_NAME ? key->size >= CONFIG_NAME_SIZE
						       : key->size > 0;

		if (!fits || strlen(key->section) > INIH_NAME_MAX ||
		    strlen(key->name) > INIH_NAME_MAX || (key->type == CONFIG_ENUM && !key->names))
			fail(parse, -EFAULT, 0, "table row %zu ([%s] %s) is malformed", i,
			     key->section, key->name);
	}
}

/* Convert every key's text and store the value in @ret_struct. If @ret_struct is NULL, only check
 * that all texts can be converted; @scratch has room for the largest value. */
static void convert_all(struct parse *parse, char *scratch, uint8_t *ret_struct)
{
	char expected[256];

	for (size_t i = 0; i < parse->n_keys && !parse->failed; i++) {
		const struct config_key *key = &parse->keys[i];
		const char *text = parse->values[i] ? parse->values[i] : key->default_text;
		void *target = ret_struct ? (void *)(ret_struct + key->offset) : scratch;

		if (!text) {
			config_describe(key, expected, sizeof(expected));
			fail(parse, -EINVAL, 0, "'%s' is missing in [%s], expected %s", key->name,
			     key->section, expected);
		} else if (config_convert(key, text, target, expected, sizeof(expected)) == 0) {
			continue;
		} else if (parse->values[i]) {
			fail(parse, -EINVAL, parse->lines[i], "%s = '%s', expected %s", key->name,
			     text, expected);
		} else {
			fail(parse, -EFAULT, 0, "default '%s' of [%s] %s is wrong, expected %s",
			     text, key->section, key->name, expected);
		}
	}
}

static void parse_text(struct parse *parse, void *ret_struct)
{
	AUTO_FREE char *scratch = NULL;
	size_t scratch_size = 0;
	int r;

	check_table(parse);
	if (parse->failed)
		return;
	r = ini_parse_stream(next_line, parse, take_value, parse);
	/* libinih returns the number of the first malformed line, but goes on after this line. If
	 * an error was recorded for a later line, report the malformed line instead. */
	if (r > 0 && parse->failed && parse->error_line > (unsigned int)r)
		parse->failed =
			0;
	if (r > 0)
		fail(parse, -EINVAL, (unsigned int)r,
		     "not a setting, expected [section] or key = value");
	else if (r < 0)
		fail(parse, -ENOMEM, 0, "out of memory");
	/* Check all values before the first of them is stored in @ret_struct. */
	for (size_t i = 0; i < parse->n_keys; i++) {
		if (scratch_size < parse->keys[i].size)
			scratch_size = parse->keys[i].size;
	}
	scratch = malloc(scratch_size + 1);
	if (!scratch)
		fail(parse, -ENOMEM, 0, "out of memory");
	convert_all(parse, scratch, NULL);
	convert_all(parse, scratch, ret_struct); /* cannot fail: the check above succeeded */
}

int config_parse_buffer(const char *name, const char *text, size_t size,
			const struct config_key *keys, size_t n_keys, void *ret_struct,
			struct error *ret_error)
{
	struct parse *parse = calloc(1, sizeof(*parse));
	int r;

	if (!parse)
		return error_set(ret_error, -ENOMEM, "out of memory");
	parse->name = name;
	parse->at = text;
	parse->end = text + size;
	parse->keys = keys;
	parse->n_keys = n_keys;
	if (size > CONFIG_FILE_BYTES_MAX)
		fail(parse, -EFBIG, 0, "%zu bytes, expected at most %d", size,
		     CONFIG_FILE_BYTES_MAX);
	else
		parse_text(parse, ret_struct);
	r = parse->failed;
	if (r < 0)
		*ret_error = parse->error;
	for (size_t i = 0; i < CONFIG_KEYS_MAX; i++)
		free(parse->values[i]);
	free(parse);
	return r;
}

int config_load(const char *path, const struct config_key *keys, size_t n_keys, void *ret_struct,
		struct error *ret_error)
{
	AUTO_FREE char *text = NULL;
	size_t size;
	int r = fd_read_trusted_file(path, CONFIG_FILE_BYTES_MAX, &text, &size);

	if (r < 0)
		return error_set(ret_error, r,
				 "%.255s: cannot be read (%s), expected a file of at most %d bytes",
				 path, fd_trust_text(r), CONFIG_FILE_BYTES_MAX);
	return config_parse_buffer(path, text, size, keys, n_keys, ret_struct, ret_error);
}
