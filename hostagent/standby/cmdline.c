#include "standby/cmdline.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define KIB UINT64_C(1024)

int cmdline_add(struct cmdline *c, const char *word)
{
	char **words;
	char *copy;

	if (c->n_words >= CMDLINE_WORDS_MAX)
		return -E2BIG;
	copy = strdup(word);
	if (!copy)
		return -ENOMEM;
	words = reallocarray(c->words, c->n_words + 2, sizeof(*words));
	if (!words) {
		free(copy);
		return -ENOMEM;
	}
	words[c->n_words++] = copy;
	words[c->n_words] = NULL;
	c->words = words;
	return 0;
}

void cmdline_done(struct cmdline *c)
{
	for (size_t i = 0; i < c->n_words; i++)
		free(c->words[i]);
	free(c->words);
	memset(c, 0, sizeof(*c));
}

bool cmdline_is_same(const struct cmdline *a, const struct cmdline *b)
{
	if (a->n_words != b->n_words)
		return false;
	for (size_t i = 0; i < a->n_words; i++)
		if (strcmp(a->words[i], b->words[i]) != 0)
			return false;
	return true;
}

/* ---- words */

struct splitter {
	const char *text; /* the whole command */
	const char *at;	  /* the next character */
	char *word;	  /* room for the longest possible word */
	size_t size;	  /* length of the word so far */
	struct error *ret_error;
};

static int split_error(struct splitter *s, const char *what)
{
	return error_set(s->ret_error, -EINVAL, "QEMU command, character %zu: %s",
			 (size_t)(s->at - s->text) + 1, what);
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static int split_single(struct splitter *s)
{
	const char *end = strchr(s->at + 1, '\'');

	if (!end)
		return split_error(s, "this ' is never closed");
	memcpy(s->word + s->size, s->at + 1, (size_t)(end - s->at) - 1);
	s->size += (size_t)(end - s->at) - 1;
	s->at = end + 1;
	return 0;
}

static int split_double(struct splitter *s)
{
	const char *open = s->at++;

	for (; *s->at != '"'; s->at++) {
		if (!*s->at) {
			s->at = open;
			return split_error(s, "this \" is never closed");
		}
		if (*s->at == '$' || *s->at == '`')
			return split_error(
				s, "there is no shell here to expand this; write \\ before it "
				   "to pass it on as it is");
		if (*s->at == '\\' && s->at[1] && strchr("\"\\$`\n", s->at[1]) && *++s->at == '\n')
			continue;
		s->word[s->size++] = *s->at;
	}
	s->at++;
	return 0;
}

static int split_plain(struct splitter *s)
{
	char c = *s->at;

	if (strchr("$`|&;<>()", c))
		return split_error(s,
				   "there is no shell here to act on this; quote it to pass it on "
				   "as it is");
	if (c == '\\') {
		c = *++s->at;
		if (!c)
			return split_error(s, "nothing follows the \\");
		if (c == '\n') {
			s->at++;
			return 0;
		}
	}
	s->word[s->size++] = c;
	s->at++;
	return 0;
}

/* Read one word into s->word. Returns 1 if there was one; 0 at the end of the text; -EINVAL. */
static int split_word(struct splitter *s)
{
	bool any = false;
	int r = 0;

	s->size = 0;
	/* skip blanks, joined lines and comments */
	for (;;) {
		while (is_space(*s->at))
			s->at++;
		if (*s->at == '\\' && s->at[1] == '\n')
			s->at += 2;
		else if (*s->at == '#')
			s->at += strcspn(s->at, "\n");
		else
			break;
	}
	while (r == 0 && *s->at && !is_space(*s->at)) {
		any = true;
		if (*s->at == '\'')
			r = split_single(s);
		else if (*s->at == '"')
			r = split_double(s);
		else
			r = split_plain(s);
	}
	s->word[s->size] = '\0';
	return r < 0 ? r : any;
}

static int split(const char *text, struct cmdline *c, struct error *ret_error)
{
	AUTO_FREE char *word = malloc(strlen(text) + 1);
	struct splitter s = {.text = text, .at = text, .word = word, .ret_error = ret_error};
	int r;

	if (!word)
		return -ENOMEM;
	while ((r = split_word(&s)) > 0) {
		r = cmdline_add(c, word);
		if (r == -E2BIG)
			return split_error(&s, "too many words");
		if (r < 0)
			return r;
	}
	return r;
}

/* ---- options */

static const struct {
	const char *name;
	const char *why;
} refused[] = {
	{"S", "Holdfast starts the standby paused itself"},
	{"incoming", "Holdfast sets it itself"},
	{"qmp", "Holdfast opens its own monitor; give others with -chardev and -mon"},
	{"qmp-pretty", "Holdfast opens its own monitor; give others with -chardev and -mon"},
	{"pidfile", "Holdfast keeps its own"},
	{"daemonize", "Holdfast watches the process itself"},
	{"mem-path", "Holdfast puts guest RAM on its own file in state_dir"},
	{"mem-prealloc", "Holdfast reserves guest RAM itself"},
	{"numa", "guest RAM must be one piece; NUMA guests cannot be protected"},
	{"loadvm", "the standby gets its state from the primary"},
};

/* Returns "m" for "-m" and for "--m"; NULL if @word is not an option. */
static const char *option_name(const char *word)
{
	if (word[0] != '-' || !word[1])
		return NULL;
	return word[1] == '-' ? word + 2 : word + 1;
}

/* Parse a size as QEMU does: a decimal number with an optional suffix. Without a suffix it counts
 * MiB. */
static int parse_ram(const char *text, uint64_t *ret_bytes)
{
	unsigned shift = 20;
	uint64_t value;
	char *end;

	if (strncmp(text, "size=", 5) == 0)
		text += 5;
	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno)
		return -EINVAL;
	if (*end && *end != ',') {
		static const char suffixes[] = "bkmgt";
		const char *at = strchr(suffixes, *end | 0x20);

		if (!at)
			return -EINVAL;
		shift = 10 * (unsigned)(at - suffixes);
		end++;
	}
	if (*end && *end != ',')
		return -EINVAL;
	if (value == 0 || value > UINT64_MAX >> shift || (value << shift) % (8 * KIB) != 0)
		/* QEMU would round up to a multiple of 8 KiB, but the RAM file must have exactly
		 * the given
		 * size */
		return -EINVAL;
	*ret_bytes = value << shift;
	return 0;
}

/* Returns the value of @key in @option ("type,key=value,..."), and *ret_size is its length. Returns
 * NULL if @option does not set @key. */
static const char *find_value(const char *option, const char *key, size_t *ret_size)
{
	size_t n = strlen(key);

	while (*option) {
		size_t size = strcspn(option, ",");

		if (size > n && strncmp(option, key, n) == 0 && option[n] == '=') {
			*ret_size = size - n - 1;
			return option + n + 1;
		}
		option += size + (option[size] == ',');
	}
	return NULL;
}

/* Is @object, the value of an -object, a back end of type ram or memfd that a memory device (such
 * as pc-dimm) in @c uses? */
static bool is_of_memory_device(const struct cmdline *c, const char *object)
{
	size_t n = 0, n_used = 0;
	const char *id = find_value(object, "id", &n);

	if (!id || (strncmp(object, "memory-backend-ram,", 19) != 0 &&
		    strncmp(object, "memory-backend-memfd,", 21) != 0))
		return false;
	for (size_t i = 1; i + 1 < c->n_words; i++) {
		const char *name = option_name(c->words[i]);
		const char *used = find_value(c->words[i + 1], "memdev", &n_used);

		if (name && strcmp(name, "device") == 0 && used && n_used == n &&
		    strncmp(used, id, n) == 0)
			return true;
	}
	return false;
}

static int check_value(struct cmdline *c, const char *name, const char *value,
		       struct error *ret_error)
{
	if (strcmp(name, "m") == 0 && parse_ram(value, &c->ram_bytes) < 0)
		return error_set(ret_error, -EINVAL,
				 "QEMU command: -m %s: not a size that Holdfast understands; write "
				 "it as -m 512M or -m 4G",
				 value);
	if ((strcmp(name, "object") == 0 && strncmp(value, "memory-backend", 14) == 0 &&
	     !is_of_memory_device(c, value)) ||
	    ((strcmp(name, "machine") == 0 || strcmp(name, "M") == 0) &&
	     strstr(value, "memory-backend=")))
		return error_set(ret_error, -EINVAL,
				 "QEMU command: -%s %s: Holdfast puts guest RAM on its own file in "
				 "state_dir; remove the memory backend from the [standby] command "
				 "(only a memory device may have one, of type ram or memfd)",
				 name, value);
	return 0;
}

static int check(struct cmdline *c, struct error *ret_error)
{
	for (size_t i = 1; i < c->n_words; i++) {
		const char *name = option_name(c->words[i]);
		int r;

		if (!name)
			continue;
		for (size_t k = 0; k < ARRAY_SIZE(refused); k++) {
			if (strcmp(name, refused[k].name) != 0)
				continue;
			return error_set(
				ret_error, -EINVAL,
				"QEMU command: -%s: %s; remove it from the [standby] command", name,
				refused[k].why);
		}
		if (i + 1 < c->n_words) {
			r = check_value(c, name, c->words[i + 1], ret_error);
			if (r < 0)
				return r;
		}
	}
	if (c->ram_bytes)
		return 0;
	return error_set(ret_error, -EINVAL,
			 "QEMU command: no -m; write the size of guest RAM, as the primary has it");
}

/* Returns where the name "tap0" begins in a value such as "tap,id=n0,ifname=tap0,script=no", and
 * *ret_size is the name's length. Returns "" if there is no ifname. */
static const char *find_ifname(const char *value, size_t *ret_size)
{
	static const char key[] = ",ifname=";
	const char *at = strstr(value, key);

	at = at ? at + sizeof(key) - 1 : "";
	*ret_size = strcspn(at, ",");
	return at;
}

/* Add the tap that the network option -@name @value names to @found. */
static int add_tap(const char *name, const char *value, const struct tap_names *taps,
		   struct tap_names *found, struct error *ret_error)
{
	char ifname[TAP_NAME_BYTES] = "", all[TAP_NAMES_TEXT_MAX];
	size_t size;
	const char *at = find_ifname(value, &size);

	if (size < sizeof(ifname))
		memcpy(ifname, at, size);
	if (!tap_names_has(taps, ifname))
		return error_set(ret_error, -EINVAL,
				 "QEMU command: -%s %.200s: its tap is %s%.*s, and tap in the VM's "
				 "file is %s; write ifname=%s",
				 name, value, size ? "" : "any", (int)(size > 32 ? 32 : size), at,
				 tap_names_print(taps, " ", all, sizeof(all)), taps->name[0]);
	if (tap_names_add(found, ifname) < 0)
		return error_set(ret_error, -EINVAL,
				 "QEMU command: -%s %.200s: its tap %s is that of another card, "
				 "too; write another of the taps in the VM's file",
				 name, value, ifname);
	return 0;
}

int cmdline_check_taps(const struct cmdline *c, const struct tap_names *taps,
		       struct error *ret_error)
{
	struct tap_names found = {0};
	bool has_json = false;

	for (size_t i = 1; i + 1 < c->n_words; i++) {
		const char *name = option_name(c->words[i]), *value = c->words[i + 1];
		int r;

		if (!name || (strcmp(name, "netdev") != 0 && strcmp(name, "nic") != 0 &&
			      strcmp(name, "net") != 0))
			continue;
		has_json |= *value == '{';
		if (strncmp(value, "tap", 3) != 0 || (value[3] && value[3] != ','))
			continue;
		r = add_tap(name, value, taps, &found, ret_error);
		if (r < 0)
			return r;
	}
	for (uint32_t i = 0; i < taps->n && taps->n > 1 && !has_json; i++)
		if (!tap_names_has(&found, taps->name[i]))
			return error_set(ret_error, -EINVAL,
					 "QEMU command: no card has the tap %s, which the VM's "
					 "file names; write a -netdev tap,ifname=%s for it",
					 taps->name[i], taps->name[i]);
	return 0;
}

int cmdline_parse(const char *text, struct cmdline *ret_cmdline, struct error *ret_error)
{
	struct cmdline c = {0};
	int r;

	if (strlen(text) > CMDLINE_BYTES_MAX)
		return error_set(ret_error, -EINVAL, "QEMU command: over %d bytes",
				 CMDLINE_BYTES_MAX);
	r = split(text, &c, ret_error);
	if (r == 0 && c.n_words == 0) {
		(void)error_set(ret_error, r,
				"QEMU command: empty; write the command that starts this guest in "
				"[standby]");
		r = -EINVAL;
	}
	if (r == 0)
		r = check(&c, ret_error);
	if (r < 0) {
		cmdline_done(&c);
		return r;
	}
	*ret_cmdline = c;
	return 0;
}

/* Append one word: @prefix, then @path with each comma doubled, then @suffix. */
static int add_path(struct cmdline *c, const char *prefix, const char *path, const char *suffix)
{
	AUTO_FREE char *word = malloc(strlen(prefix) + 2 * strlen(path) + strlen(suffix) + 1);
	char *at;

	if (!word)
		return -ENOMEM;
	at = stpcpy(word, prefix);
	for (; *path; path++) {
		if (*path == ',')
			*at++ = ',';
		*at++ = *path;
	}
	strcpy(at, suffix);
	return cmdline_add(c, word);
}

int cmdline_add_standby(struct cmdline *c, const char *ram_path, const char *qmp_path,
			const char *pid_path)
{
	static const char *const fixed[] = {
		"-S",
		"-incoming",
		"defer",
		"-global",
		"migration.send-configuration=off",
		"-machine",
		"suppress-vmdesc=on,memory-backend=holdfast-ram",
	};
	char prefix[96];
	int r = 0;

	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(fixed); i++)
		r = cmdline_add(c, fixed[i]);
	snprintf(prefix, sizeof(prefix),
		 "memory-backend-file,id=holdfast-ram,size=%" PRIu64 ",mem-path=", c->ram_bytes);
	if (r == 0)
		r = cmdline_add(c, "-object");
	if (r == 0)
		r = add_path(c, prefix, ram_path, ",share=on,prealloc=off");
	if (r == 0)
		r = cmdline_add(c, "-qmp");
	if (r == 0)
		r = add_path(c, "unix:", qmp_path, ",server=on,wait=off");
	if (r == 0)
		r = cmdline_add(c, "-pidfile");
	if (r == 0)
		r = cmdline_add(c, pid_path);
	return r;
}
