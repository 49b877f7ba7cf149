#include "fleet/drain_record.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/sum_line.h"
#include "wire/msg.h"

#define HEAD "holdfast-drained 1\n"

bool drain_boot_is_valid(const char *boot)
{
	return strlen(boot) == DRAIN_BOOT_MAX &&
	       strspn(boot, "0123456789abcdef-") == DRAIN_BOOT_MAX;
}

void drain_boot_format(const uint8_t boot[WIRE_BOOT_SIZE], char text[DRAIN_BOOT_MAX + 1])
{
	size_t at = 0;

	for (size_t i = 0; i < WIRE_BOOT_SIZE; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			text[at++] = '-';
		(void)snprintf(text + at, 3, "%02x", boot[i]);
		at += 2;
	}
}

static const char *by_name(const struct drain_record_host *h)
{
	if (h->by_guard)
		return "guard";
	return h->keeps_copies && !h->is_done ? "operator-unagreed" : "operator";
}

static const char *state_name(const struct drain_record_host *h)
{
	if (h->is_done)
		return "drained";
	return h->leaves && !h->by_guard ? "draining-leave" : "draining";
}

static size_t add(char *text, size_t at, size_t size, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
static size_t add(char *text, size_t at, size_t size, const char *format, ...)
{
	va_list args;
	int n;

	if (at >= size)
		return size;
	va_start(args, format);
	n = vsnprintf(text + at, size - at, format, args);
	va_end(args);
	return n < 0 || (size_t)n >= size - at ? size : at + (size_t)n;
}

size_t drain_record_format(const struct drain_record *record, char *text, size_t size)
{
	size_t at = add(text, 0, size, HEAD);

	for (size_t i = 0; i < record->n_hosts; i++) {
		const struct drain_record_host *h = &record->hosts[i];

		at = add(text, at, size, "host=%s state=%s by=%s limit_s=%" PRIu64 " boot=%s\n",
			 h->name, state_name(h),
			 by_name(h), h->limit_s,
			 h->by_guard ? h->boot : "-");
	}
	for (size_t i = 0; i < record->n_vms; i++)
		at = add(text, at, size, "vm=%s\n", record->vms[i]);
	return at < size ? sum_line_append(text, at, size) : 0;
}

/* If the text at *@at begins with @key ("KEY="), copy the value that follows, up to the character
 * @end, to @value. Then move *@at past @end. */
static bool take(const char **at, const char *key, char end, char *value, size_t size)
{
	size_t n = strlen(key);
	const char *from = *at + n, *to;

	if (strncmp(*at, key, n) != 0)
		return false;
	to = strchr(from, end);
	if (!to || (size_t)(to - from) >= size)
		return false;
	memcpy(value, from, (size_t)(to - from));
	value[to - from] = '\0';
	*at = to + 1;
	return true;
}

static bool take_host(const char **at, struct drain_record *r)
{
	struct drain_record_host *h = &r->hosts[r->n_hosts];
	char state[16], by[24], limit[16];

	if (r->n_hosts == DRAIN_RECORD_HOSTS_MAX ||
	    !take(at, "host=", ' ', h->name, sizeof(h->name)) ||
	    !take(at, "state=", ' ', state, sizeof(state)) ||
	    !take(at, "by=", ' ', by, sizeof(by)) ||
	    !take(at, "limit_s=", ' ', limit, sizeof(limit)) ||
	    !take(at, "boot=", '\n', h->boot, sizeof(h->boot)) || !wire_name_is_valid(h->name) ||
	    sscanf(limit, "%" SCNu64, &h->limit_s) != 1 || h->limit_s > DRAIN_LIMIT_S_MAX)
		return false;
	h->is_done = strcmp(state, "drained") == 0;
	h->leaves = strcmp(state, "draining-leave") == 0;
	h->by_guard = strcmp(by, "guard") == 0;
	h->keeps_copies = strcmp(by, "operator-unagreed") == 0;
	r->n_hosts++;
	return !h->by_guard || drain_boot_is_valid(h->boot);
}

int drain_record_parse(const char *text, size_t size, struct drain_record *ret_record)
{
	static char copy[DRAIN_RECORD_BYTES_MAX], again[DRAIN_RECORD_BYTES_MAX];
	static struct drain_record r;
	const char *at = copy + strlen(HEAD);

	memset(&r, 0, sizeof(r));
	if (size >= sizeof(copy) || size < strlen(HEAD) || memcmp(text, HEAD, strlen(HEAD)) != 0)
		return -EINVAL;
	memcpy(copy, text, size);
	copy[size] = '\0';
	while (strncmp(at, "host=", 5) == 0) {
		if (!take_host(&at, &r))
			return -EINVAL;
	}
	while (strncmp(at, "vm=", 3) == 0) {
		if (r.n_vms == DRAIN_VMS_MAX ||
		    !take(&at, "vm=", '\n', r.vms[r.n_vms], sizeof(r.vms[0])) ||
		    !wire_name_is_valid(r.vms[r.n_vms]))
			return -EINVAL;
		r.n_vms++;
	}
	/* Accept only the exact text that drain_record_format() writes. */
	if (drain_record_format(&r, again, sizeof(again)) != size || memcmp(again, text, size) != 0)
		return -EINVAL;
	*ret_record = r;
	return 0;
}
