/* fuzz_config.c - parses any bytes as a configuration file.
 *
 * If the parser refuses the bytes, the error must begin with the file's name, and the struct must
 * not change. If the parser accepts the bytes, the target prints the values and parses the printed
 * text. This must give the same values. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct sample {
	char name[CONFIG_NAME_SIZE];
	char note[32];
	char path[108];
	uint32_t small;
	uint64_t large;
	bool flag;
	uint64_t beat_ns;
	uint64_t limit_bytes;
	int colour;
	struct config_address listen;
	struct config_prefix net;
	uint8_t mac[6];
	uint32_t ip_be32;
	struct config_ports ports;
};

static const struct config_enum_name colours[] = {{"red", 3}, {"blue", 7}, {NULL, 0}};

static const struct config_key keys[] = {
	CONFIG_KEY("a", "name", NAME, struct sample, name, "x", 0, 0, "a name"),
	CONFIG_KEY("a", "note", STRING, struct sample, note, "", 0, 0, "free text"),
	CONFIG_KEY("a", "path", PATH, struct sample, path, "/run/x", 0, 0, "a path"),
	CONFIG_KEY("a", "small", U32, struct sample, small, "5", 1, 10, "a small number"),
	CONFIG_KEY("a", "large", U64, struct sample, large, "0x10", 0, 0, "a large number"),
	CONFIG_KEY("a", "flag", BOOL, struct sample, flag, "no", 0, 0, "a switch"),
	CONFIG_KEY("b", "ms", MS, struct sample, beat_ns, "25", 1, 10000, "a duration"),
	CONFIG_KEY("b", "limit", SIZE, struct sample, limit_bytes, "4M", 0, 0, "a size"),
	CONFIG_KEY_ENUM("b", "colour", colours, struct sample, colour, "red", "a colour"),
	CONFIG_KEY("b", "listen", ADDRESS, struct sample, listen, "", 0, 0, "an address"),
	CONFIG_KEY("b", "net", PREFIX, struct sample, net, "198.18.0.1/24", 0, 0, "a prefix"),
	CONFIG_KEY("b", "mac", MAC, struct sample, mac, "", 0, 0, "a MAC"),
	CONFIG_KEY("b", "ip", IPV4, struct sample, ip_be32, "", 0, 0, "an address"),
	CONFIG_KEY("b", "ports", PORTS, struct sample, ports, "", 0, 0, "ports"),
};

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* Returns whether @text can be printed as a value and read back: no part of it may look like a
 * comment, and the line must not become too long. */
static bool is_printable_value(const char *text)
{
	return !strchr(text, ';') && strlen(text) < 100;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sample sample, before, again;
	struct error error = {0};
	char *text = NULL;
	size_t text_size = 0;
	FILE *out;
	int r;

	memset(&sample, 0x5a, sizeof(sample));
	before = sample;
	r = config_parse_buffer("f", (const char *)data, size, keys, ARRAY_SIZE(keys), &sample,
				&error);
	if (r < 0) {
		must(memcmp(&sample, &before, sizeof(sample)) == 0);
		must(strncmp(error.text, "f:", 2) == 0 && !strchr(error.text, '\n'));
		return 0;
	}
	if (!is_printable_value(sample.note) || !is_printable_value(sample.path))
		return 0;
	out = open_memstream(&text, &text_size);
	must(out != NULL);
	config_print_values(out, keys, ARRAY_SIZE(keys), &sample);
	fclose(out);
	again = before;
	must(config_parse_buffer("g", text, text_size, keys, ARRAY_SIZE(keys), &again, &error) ==
	     0);
	must(memcmp(&sample, &again, sizeof(sample)) == 0);
	free(text);
	return 0;
}
