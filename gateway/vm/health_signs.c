/* health_signs.c - reads what a host's report says about the health of its VM. */
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "vm/health.h"
#include "wire/msg.h"

#define PERCENT_MAX 100u
#define PERCENT_NONE 255u
/* Agents allow at most this interval between epochs. If a report has a longer one, it is wrong, and
 * this value is used. */
#define INTERVAL_MAX_MS 10000u

static uint64_t number(const char *value)
{
	return strtoull(value, NULL, 10);
}

static void read_holding(struct health_signs *s, const char *value)
{
	s->knows_holding = true;
	s->is_holding = number(value) == 1;
}

static void read_direct(struct health_signs *s, const char *value)
{
	s->knows_direct = true;
	s->is_direct = number(value) != 0;
}

static void read_disks(struct health_signs *s, const char *value)
{
	s->knows_disks = true;
	s->has_disks = strcmp(value, "none") != 0;
	s->is_in_step = strcmp(value, "in-step") == 0;
}

static void read_differs(struct health_signs *s, const char *value)
{
	s->knows_differing = true;
	s->is_differing = number(value) != 0;
}

static void read_verify(struct health_signs *s, const char *value)
{
	s->knows_verify = true;
	s->has_verify_failed = strcmp(value, "failed") == 0;
}

static void read_verify_why(struct health_signs *s, const char *value)
{
	(void)snprintf(s->verify_why, sizeof(s->verify_why), "%s", value);
}

static void read_ram_differs(struct health_signs *s, const char *value)
{
	s->is_ram_differing = number(value) != 0;
}

static void read_ram_verify(struct health_signs *s, const char *value)
{
	s->has_ram_failed = strcmp(value, "failed") == 0;
}

static void read_ram_why(struct health_signs *s, const char *value)
{
	(void)snprintf(s->ram_why, sizeof(s->ram_why), "%s", value);
}

static void read_interval(struct health_signs *s, const char *value)
{
	uint64_t ms = number(value); /* in whole ms: the fraction does not matter here */

	s->interval_ns = (ms < INTERVAL_MAX_MS ? ms : INTERVAL_MAX_MS) * CLOCK_NS_PER_MS;
}

static void read_percent(struct health_signs *s, const char *value)
{
	uint64_t percent = number(value);

	s->copy_percent = (uint8_t)(percent < PERCENT_MAX ? percent : PERCENT_MAX);
}

static void read_left(struct health_signs *s, const char *value)
{
	s->knows_left = true;
	s->left_s = number(value);
}

static void read_room_free(struct health_signs *s, const char *value)
{
	s->knows_room_free = true;
	s->room_free_bytes = number(value);
}

static void read_room_needed(struct health_signs *s, const char *value)
{
	s->knows_room_needed = true;
	s->room_needed_bytes = number(value);
}

/* The keys of a report's statistics (docs/wire-format.md, 5.5). The disks are copied after RAM. So
 * the keys about the copy of the disks come later in this table, and replace the values about the
 * copy of RAM. */
static const struct {
	const char *key;
	void (*read)(struct health_signs *s, const char *value);
	bool is_of_copy; /* true: read only while the disks are copied */
} keys[] = {
	{"holding", read_holding, false},
	{"direct", read_direct, false},
	{"disks", read_disks, false},
	{"disk_differs", read_differs, false},
	{"disk_verify", read_verify, false},
	{"disk_verify_why", read_verify_why, false},
	{"ram_differs", read_ram_differs, false},
	{"ram_verify", read_ram_verify, false},
	{"ram_verify_why", read_ram_why, false},
	{"interval_ms_p99", read_interval, false},
	{"step_percent", read_percent, false},
	{"step_s_left", read_left, false},
	{"disk_copy_percent", read_percent, true},
	{"disk_copy_s_left", read_left, true},
	{"standby_room_free_bytes", read_room_free, false},
	{"standby_room_needed_bytes", read_room_needed, false},
};

static void read_keys(const char *stats, struct health_signs *s, bool is_of_copy)
{
	char key[WIRE_STATS_KEY_MAX + 1], value[WIRE_STATS_VALUE_MAX + 1];

	while (wire_stats_next(&stats, key, value)) {
		for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
			if (keys[i].is_of_copy == is_of_copy && strcmp(keys[i].key, key) == 0)
				keys[i].read(s, value);
		}
	}
}

void health_read_signs(const char *stats, struct health_signs *ret_signs)
{
	memset(ret_signs, 0, sizeof(*ret_signs));
	ret_signs->copy_percent = PERCENT_NONE;
	read_keys(stats, ret_signs, false);
	if (ret_signs->has_disks && !ret_signs->is_in_step)
		read_keys(stats, ret_signs, true);
}
