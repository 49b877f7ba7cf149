#include "vm/incarnation.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/sum_line.h"
#include "wire/limits.h"

#define RANDOM_BITS 16
#define TEXT_MAX    192

static size_t format(const struct incarnation *i, char text[TEXT_MAX])
{
	int n = snprintf(text, TEXT_MAX,
			 "holdfast-incarnation 1\nnumber=%" PRIu64 " release_ms=%" PRIu32,
			 i->number, i->release_ms);

	return sum_line_append(text, (size_t)n, TEXT_MAX);
}

int incarnation_parse(const char *text, size_t size, struct incarnation *ret_incarnation)
{
	struct incarnation i;
	char copy[TEXT_MAX], again[TEXT_MAX];

	if (size >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, text, size);
	copy[size] = '\0';
	if (sscanf(copy, "holdfast-incarnation 1\nnumber=%" SCNu64 " release_ms=%" SCNu32,
		   &i.number, &i.release_ms) != 2 ||
	    i.number == 0 || i.number > WIRE_INCARNATION_MAX || i.release_ms > WIRE_LEASE_MS_MAX)
		return -EINVAL;
	/* Accept only the exact text that format() writes. Any other text is damaged. */
	if (format(&i, again) != size || memcmp(again, text, size) != 0)
		return -EINVAL;
	*ret_incarnation = i;
	return 0;
}

uint64_t incarnation_next(uint64_t last, uint64_t wall_s, uint16_t random)
{
	uint64_t count = last ? (last >> RANDOM_BITS) + 1 : wall_s;

	if (count > WIRE_INCARNATION_MAX >> RANDOM_BITS)
		return 0;
	return (count ? count : 1) << RANDOM_BITS | random;
}

static int path_of(const char *dir, char path[PATH_MAX])
{
	return snprintf(path, PATH_MAX, "%s/incarnation", dir) >= PATH_MAX ? -ENAMETOOLONG : 0;
}

int incarnation_store(const char *dir, const struct incarnation *incarnation)
{
	char path[PATH_MAX], text[TEXT_MAX];
	int r = path_of(dir, path);

	return r < 0 ? r : fd_write_file_atomic(path, text, format(incarnation, text));
}

int incarnation_read(const char *dir, struct incarnation *ret_last, struct error *ret_error)
{
	AUTO_FREE char *text = NULL;
	char path[PATH_MAX];
	size_t size;
	int r = path_of(dir, path);

	*ret_last = (struct incarnation){0};
	if (r == 0)
		r = fd_read_file(path, TEXT_MAX, &text, &size);
	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = incarnation_parse(text, size, ret_last);
	if (r < 0)
		(void)error_set(ret_error, r,
				"%.250s/incarnation: %s; restore it from a copy, or remove it: "
				"then hosts may refuse this gateway until `holdfastctl takeover`",
				dir, r == -EINVAL ? "damaged" : strerror(-r));
	return r;
}

int incarnation_begin(const char *dir, uint32_t release_ms, struct incarnation *ret_last,
		      uint64_t *ret_number, struct error *ret_error)
{
	struct incarnation last, now = {.release_ms = release_ms};
	uint16_t random = 0;
	int r = incarnation_read(dir, &last, ret_error);

	if (r < 0)
		return r;
	/* If this fails, the only harm is that two starts from copies of one state_dir may get the
	 * same number. */
	(void)!getrandom(&random, sizeof(random), GRND_NONBLOCK);
	now.number = incarnation_next(last.number, clock_wall_ns() / CLOCK_NS_PER_S, random);
	if (last.release_ms > now.release_ms)
		now.release_ms = last.release_ms;
	r = now.number ? incarnation_store(dir, &now) : -EOVERFLOW;
	if (r < 0)
		return error_set(ret_error, r, "%.250s/incarnation: cannot record this start: %s",
				 dir, strerror(-r));
	*ret_last = last;
	*ret_number = now.number;
	return 0;
}
