/* Converts one value from text to the member's type, and describes which texts a key accepts. */
#include "base/config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "base/clock.h"

/* Returns the value of a hexadecimal digit, or -1 if @c is not one. */
static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Parse @text, which must consist of decimal digits, or of hexadecimal digits after 0x. Returns 0
 * or -EINVAL. */
static int parse_number(const char *text, size_t size, uint64_t *ret_value)
{
	uint64_t value = 0;
	int base = 10;
	size_t i = 0;

	if (size > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
		base = 16;
		i = 2;
	}
	if (i == size)
		return -EINVAL;
	for (; i < size; i++) {
		int digit = hex_digit(text[i]);

		if (digit < 0 || digit >= base ||
		    __builtin_mul_overflow(value, (uint64_t)base, &value) ||
		    __builtin_add_overflow(value, (uint64_t)digit, &value))
			return -EINVAL;
	}
	*ret_value = value;
	return 0;
}

static int parse_ipv4(const char *text, size_t size, uint32_t *ret_ip_be32)
{
	char copy[INET_ADDRSTRLEN];
	struct in_addr ip;

	if (size >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, text, size);
	copy[size] = '\0';
	if (inet_pton(AF_INET, copy, &ip) != 1)
		return -EINVAL;
	*ret_ip_be32 = ip.s_addr;
	return 0;
}

/* Returns the greatest value that the key accepts: its `max`, or what its type can hold. */
static uint64_t limit_max(const struct config_key *key)
{
	uint64_t type_max = UINT64_MAX;

	if (key->type == CONFIG_U32)
		type_max = UINT32_MAX;
	else if (key->type == CONFIG_MS)
		type_max = UINT64_MAX / CLOCK_NS_PER_MS;
	if ((key->min == 0 && key->max == 0) || key->max > type_max)
		return type_max;
	return key->max;
}

static int convert_number(const struct config_key *key, const char *text, void *ret_value)
{
	uint64_t value, scale = 1;
	size_t size = strlen(text);
	uint32_t value32;

	if (key->type == CONFIG_SIZE && size > 0) {
		switch (text[size - 1]) {
		case 'K': scale = UINT64_C(1) << 10; break;
		case 'M': scale = UINT64_C(1) << 20; break;
		case 'G': scale = UINT64_C(1) << 30; break;
		default: break;
		}
		size -= scale > 1;
	}
	if (parse_number(text, size, &value) < 0 || __builtin_mul_overflow(value, scale, &value))
		return -EINVAL;
	if (value < key->min || value > limit_max(key))
		return -EINVAL;
	if (key->type == CONFIG_MS)
		value *= CLOCK_NS_PER_MS; /* cannot overflow: limit_max() was checked */
	if (key->type == CONFIG_U32) {
		value32 = (uint32_t)value;
		memcpy(ret_value, &value32, sizeof(value32));
	} else {
		memcpy(ret_value, &value, sizeof(value));
	}
	return 0;
}

static bool is_name(const char *text)
{
	size_t size = strlen(text);

	return size >= 1 && size <= 63 && text[0] != '-' &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == size;
}

static int convert_text(const struct config_key *key, const char *text, void *ret_value)
{
	size_t size = strlen(text);

	if (size >= key->size || (key->type == CONFIG_PATH && text[0] != '/') ||
	    (key->type == CONFIG_NAME && !is_name(text)))
		return -EINVAL;
	memset(ret_value, 0, key->size);
	memcpy(ret_value, text, size);
	return 0;
}

static int convert_bool(const struct config_key *key, const char *text, void *ret_value)
{
	static const char *const words[][2] = {
		{"no", "yes"}, {"false", "true"}, {"off", "on"}, {"0", "1"}};

	(void)key; /* unused: a bool has no limits; the table `types` requires this signature */
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		for (int j = 0; j < 2; j++) {
			bool value = j == 1;

			if (strcmp(text, words[i][j]) == 0) {
				memcpy(ret_value, &value, sizeof(value));
				return 0;
			}
		}
	}
	return -EINVAL;
}

static int convert_enum(const struct config_key *key, const char *text, void *ret_value)
{
	for (const struct config_enum_name *row = key->names; row->name; row++) {
		if (strcmp(text, row->name) == 0) {
			memcpy(ret_value, &row->value, sizeof(row->value));
			return 0;
		}
	}
	return -EINVAL;
}

static int convert_address(const struct config_key *key, const char *text, void *ret_value)
{
	struct config_address address = {0};
	const char *colon = strrchr(text, ':');
	uint64_t port;

	(void)key; /* unused: this type has no limits */
	if (!colon || parse_ipv4(text, (size_t)(colon - text), &address.ip_be32) < 0 ||
	    parse_number(colon + 1, strlen(colon + 1), &port) < 0 || port == 0 || port > UINT16_MAX)
		return -EINVAL;
	address.port = (uint16_t)port;
	memcpy(ret_value, &address, sizeof(address));
	return 0;
}

static int convert_prefix(const struct config_key *key, const char *text, void *ret_value)
{
	struct config_prefix prefix = {0};
	const char *slash = strchr(text, '/');
	uint64_t bits;

	(void)key; /* unused: this type has no limits */
	if (!slash || parse_ipv4(text, (size_t)(slash - text), &prefix.ip_be32) < 0 ||
	    parse_number(slash + 1, strlen(slash + 1), &bits) < 0 || bits > 32)
		return -EINVAL;
	prefix.bits = (uint8_t)bits;
	memcpy(ret_value, &prefix, sizeof(prefix));
	return 0;
}

static int convert_mac(const struct config_key *key, const char *text, void *ret_value)
{
	uint8_t mac[6];

	(void)key; /* unused: this type has no limits */
	if (strlen(text) != 17)
		return -EINVAL;
	for (size_t i = 0; i < 6; i++) {
		int high = hex_digit(text[3 * i]), low = hex_digit(text[3 * i + 1]);

		if (high < 0 || low < 0 || (i < 5 && text[3 * i + 2] != ':'))
			return -EINVAL;
		mac[i] = (uint8_t)(high << 4 | low);
	}
	memcpy(ret_value, mac, sizeof(mac));
	return 0;
}

static int convert_ipv4(const struct config_key *key, const char *text, void *ret_value)
{
	uint32_t ip_be32;

	(void)key; /* unused: this type has no limits */
	if (parse_ipv4(text, strlen(text), &ip_be32) < 0 || ip_be32 == 0)
		return -EINVAL;
	memcpy(ret_value, &ip_be32, sizeof(ip_be32));
	return 0;
}

static int convert_ports(const struct config_key *key, const char *text, void *ret_value)
{
	struct config_ports ports = {0};
	const char *at = text;

	(void)key; /* unused: this type has no limits */
	for (;;) {
		size_t size = strcspn(at, " \t,");
		uint64_t port;

		if (ports.n == CONFIG_PORTS_MAX || parse_number(at, size, &port) < 0 || port == 0 ||
		    port > UINT16_MAX)
			return -EINVAL;
		for (size_t i = 0; i < ports.n; i++) {
			if (ports.port[i] == port)
				return -EINVAL;
		}
		ports.port[ports.n++] = (uint16_t)port;
		at += size;
		if (!*at)
			break;
		at += strspn(at, " \t");
		at += *at == ',';
		at += strspn(at, " \t");
	}
	memcpy(ret_value, &ports, sizeof(ports));
	return 0;
}

static const struct {
	int (*convert)(const struct config_key *key, const char *text, void *ret_value);
	const char *expected; /* what the type accepts; config_describe() adds the limits */
} types[] = {
	[CONFIG_STRING] = {convert_text, "text"},
	[CONFIG_PATH] = {convert_text, "an absolute path"},
	[CONFIG_NAME] = {convert_text,
			 "a name of a-z, 0-9 and -, not starting with -, up to 63 long"},
	[CONFIG_U32] = {convert_number, "a number"},
	[CONFIG_U64] = {convert_number, "a number"},
	[CONFIG_BOOL] = {convert_bool, "yes or no"},
	[CONFIG_MS] = {convert_number, "whole milliseconds"},
	[CONFIG_SIZE] = {convert_number, "bytes, or a number with K, M or G"},
	[CONFIG_ENUM] = {convert_enum, "one of"},
	[CONFIG_ADDRESS] = {convert_address, "a numeric IPv4 address:port"},
	[CONFIG_PREFIX] = {convert_prefix, "a numeric IPv4 address/bits"},
	[CONFIG_MAC] = {convert_mac, "a MAC address like 52:54:00:12:34:56"},
	[CONFIG_LIST] = {convert_text, "text, also as several lines with this key,"},
	[CONFIG_IPV4] = {convert_ipv4, "a numeric IPv4 address"},
	[CONFIG_PORTS] = {convert_ports, "up to 8 ports like 80, 443, each once"},
};

int config_convert(const struct config_key *key, const char *text, void *ret_value,
		   char *ret_expected, size_t expected_size)
{
	if (text[0] == '\0' && key->default_text && key->default_text[0] == '\0') {
		memset(ret_value, 0, key->size);
		return 0;
	}
	if (text[0] != '\0' && types[key->type].convert(key, text, ret_value) == 0)
		return 0;
	config_describe(key, ret_expected, expected_size);
	return -EINVAL;
}

void config_describe(const struct config_key *key, char *ret_text, size_t size)
{
	const char *expected = types[key->type].expected;
	uint64_t max = limit_max(key);
	size_t used;

	switch (key->type) {
	case CONFIG_STRING:
	case CONFIG_PATH:
	case CONFIG_LIST:
		snprintf(ret_text, size, "%s of up to %zu bytes", expected, key->size - 1);
		break;
	case CONFIG_U32:
	case CONFIG_U64:
	case CONFIG_MS:
	case CONFIG_SIZE:
		if (key->min == 0 && key->max == 0)
			snprintf(ret_text, size, "%s", expected);
		else
			snprintf(ret_text, size, "%s, %" PRIu64 "..%" PRIu64, expected, key->min,
				 max);
		break;
	case CONFIG_ENUM:
		snprintf(ret_text, size, "%s", expected);
		for (const struct config_enum_name *row = key->names; row->name; row++) {
			used = strlen(ret_text);
			snprintf(ret_text + used, size - used, "%s %s",
				 row == key->names ? "" : ",", row->name);
		}
		break;
	default:
		snprintf(ret_text, size, "%s", expected);
		break;
	}
}
