/* Prints the table of keys: for --help, as an example file, and for the manual. Prints values for
 * check-config. */
#include "base/config.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "base/clock.h"

static bool starts_section(const struct config_key *keys, size_t i)
{
	return i == 0 || strcmp(keys[i - 1].section, keys[i].section) != 0;
}

void config_print_help(FILE *out, const struct config_key *keys, size_t n_keys)
{
	char expected[256];

	for (size_t i = 0; i < n_keys; i++) {
		const struct config_key *key = &keys[i];

		if (starts_section(keys, i))
			fprintf(out, "%s[%s]\n", i ? "\n" : "", key->section);
		config_describe(key, expected, sizeof(expected));
		fprintf(out, "  %-24s %s\n  %-24s   %s; ", key->name, key->help, "", expected);
		if (!key->default_text)
			fprintf(out, "required\n");
		else if (key->default_text[0] == '\0')
			fprintf(out, "default: none\n");
		else
			fprintf(out, "default: %s\n", key->default_text);
	}
}

void config_print_example(FILE *out, const struct config_key *keys, size_t n_keys)
{
	char expected[256];

	for (size_t i = 0; i < n_keys; i++) {
		const struct config_key *key = &keys[i];

		if (starts_section(keys, i))
			fprintf(out, "%s[%s]\n", i ? "\n" : "", key->section);
		config_describe(key, expected, sizeof(expected));
		fprintf(out, "# %s\n# %s%s\n", key->help,
			key->default_text ? "" : "required: ", expected);
		if (key->default_text)
			fprintf(out, ";%s = %s\n", key->name, key->default_text);
		else
			fprintf(out, "%s = CHANGE-ME\n", key->name);
	}
}

/* Print @text escaped for a manual page. Without this, troff would read a leading dot or quote as a
 * request, and '-' as a hyphen. */
static void print_roff(FILE *out, const char *text)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", out);
	for (; *text; text++) {
		if (*text == '-')
			fputs("\\-", out);
		else if (*text == '\\')
			fputs("\\e", out);
		else
			fputc(*text, out);
	}
}

void config_print_man(FILE *out, const struct config_key *keys, size_t n_keys)
{
	char expected[256];

	for (size_t i = 0; i < n_keys; i++) {
		const struct config_key *key = &keys[i];

		if (starts_section(keys, i))
			fprintf(out, ".SS [%s]\n", key->section);
		fprintf(out, ".TP\n.B ");
		print_roff(out, key->name);
		fprintf(out, "\n");
		print_roff(out, key->help);
		config_describe(key, expected, sizeof(expected));
		fprintf(out, ".\nTakes ");
		print_roff(out, expected);
		if (!key->default_text) {
			fprintf(out, ".\nRequired.\n");
		} else if (key->default_text[0] == '\0') {
			fprintf(out, ".\nUnset by default.\n");
		} else {
			fprintf(out, ".\nDefault: ");
			print_roff(out, key->default_text);
			fprintf(out, ".\n");
		}
	}
}

static void print_ipv4(FILE *out, uint32_t ip_be32)
{
	char text[INET_ADDRSTRLEN];
	struct in_addr ip = {.s_addr = ip_be32};

	fputs(inet_ntop(AF_INET, &ip, text, sizeof(text)), out);
}

static void print_number(FILE *out, const struct config_key *key, const uint8_t *member)
{
	uint64_t value;
	uint32_t value32;

	if (key->type == CONFIG_U32) {
		memcpy(&value32, member, sizeof(value32));
		value = value32;
	} else {
		memcpy(&value, member, sizeof(value));
	}
	if (key->type == CONFIG_MS)
		value /= CLOCK_NS_PER_MS;
	fprintf(out, "%" PRIu64, value);
}

static void print_enum(FILE *out, const struct config_key *key, const uint8_t *member)
{
	int value;

	memcpy(&value, member, sizeof(value));
	for (const struct config_enum_name *row = key->names; row->name; row++) {
		if (row->value == value) {
			fputs(row->name, out);
			return;
		}
	}
}

static bool is_unset(const struct config_key *key, const uint8_t *member)
{
	if (!key->default_text || key->default_text[0] != '\0')
		return false;
	for (size_t i = 0; i < key->size; i++) {
		if (member[i])
			return false;
	}
	return true;
}

static void print_value(FILE *out, const struct config_key *key, const uint8_t *member)
{
	struct config_address address;
	struct config_prefix prefix;
	struct config_ports ports;
	uint32_t ip_be32;
	bool flag;

	switch (key->type) {
	case CONFIG_STRING:
	case CONFIG_PATH:
	case CONFIG_NAME:
	case CONFIG_LIST:
		fputs((const char *)member, out);
		break;
	case CONFIG_U32:
	case CONFIG_U64:
	case CONFIG_MS:
	case CONFIG_SIZE:
		print_number(out, key, member);
		break;
	case CONFIG_BOOL:
		memcpy(&flag, member, sizeof(flag));
		fputs(flag ? "yes" : "no", out);
		break;
	case CONFIG_ENUM:
		print_enum(out, key, member);
		break;
	case CONFIG_ADDRESS:
		memcpy(&address, member, sizeof(address));
		print_ipv4(out, address.ip_be32);
		fprintf(out, ":%u", address.port);
		break;
	case CONFIG_PREFIX:
		memcpy(&prefix, member, sizeof(prefix));
		print_ipv4(out, prefix.ip_be32);
		fprintf(out, "/%u", prefix.bits);
		break;
	case CONFIG_MAC:
		fprintf(out, "%02x:%02x:%02x:%02x:%02x:%02x", member[0], member[1], member[2],
			member[3], member[4], member[5]);
		break;
	case CONFIG_IPV4:
		memcpy(&ip_be32, member, sizeof(ip_be32));
		print_ipv4(out, ip_be32);
		break;
	case CONFIG_PORTS:
		memcpy(&ports, member, sizeof(ports));
		for (size_t i = 0; i < ports.n; i++)
			fprintf(out, "%s%u", i ? ", " : "", ports.port[i]);
		break;
	}
}

/* Print the words of a LIST, one per line, because a line with all words could be too long. */
static void print_list(FILE *out, const struct config_key *key, const char *text)
{
	for (size_t size; *text; text += size, text += strspn(text, " \t")) {
		size = strcspn(text, " \t");
		if (size > 0)
			fprintf(out, "%s = %.*s\n", key->name, (int)size, text);
	}
}

void config_print_values(FILE *out, const struct config_key *keys, size_t n_keys,
			 const void *config)
{
	for (size_t i = 0; i < n_keys; i++) {
		const struct config_key *key = &keys[i];
		const uint8_t *member = (const uint8_t *)config + key->offset;

		if (starts_section(keys, i))
			fprintf(out, "%s[%s]\n", i ? "\n" : "", key->section);
		if (key->type == CONFIG_LIST && *member) {
			print_list(out, key, (const char *)member);
			continue;
		}
		fprintf(out, "%s = ", key->name);
		if (!is_unset(key, member))
			print_value(out, key, member);
		fputc('\n', out);
	}
}
