/* report.h - stores hf-client's measurements for each phase of a run. Prints them while the client
 * runs, and as one JSON object at the end.
 *
 * The phases of a run are, for example: unprotected, protected, after the kill. Each phase has its
 * own figures. A reply, and the silence before it, belong to the phase in which the reply arrives.
 * Threads: none of its own.
 */
#ifndef GUEST_REPORT_H
#define GUEST_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/hist.h"
#include "guest/checker.h"

#define REPORT_PHASES_MAX 256
#define REPORT_NAME_MAX	  31

struct report_phase {
	char name[REPORT_NAME_MAX + 1];
	uint64_t start_ns;	 /* this and all other times are CLOCK_MONOTONIC */
	uint64_t end_ns;	 /* 0 while the phase lasts */
	uint64_t first_reply_ns; /* 0 until the first reply */
	uint64_t gap_start_ns;   /* start of the longest silence before a reply of this phase */
	uint64_t gap_end_ns;
	struct hist latency_ns;
};

struct report {
	struct report_phase phases[REPORT_PHASES_MAX];
	unsigned int n_phases;	/* at least 1 after report_begin */
	uint64_t start_ns;
	uint64_t last_reply_ns; /* equals start_ns before the first reply */
	struct hist recent;	/* latencies since the last progress line */
	uint64_t recent_start_ns;
};

void report_begin(struct report *r, const char *first_phase, uint64_t now_ns);

/* Begin phase @name (letters, digits, _ and -), and print a line about this on @live. Returns 0;
 * -EINVAL: the name is bad;
 * -ENOSPC: there are too many phases. */
int report_phase(struct report *r, const char *name, uint64_t now_ns, FILE *live)
	__attribute__((warn_unused_result));

void report_reply(struct report *r, uint64_t latency_ns, uint64_t now_ns);

/* Print one line of name=value pairs about the time since the previous such line. */
void report_progress(struct report *r, const struct checker *c, uint64_t now_ns, FILE *live);

/* The load that the client puts on the guest. It is printed in the report. */
struct report_load {
	uint32_t depth;
	uint32_t n_pages;
	uint32_t n_bytes;
};

/* Print all results as one JSON object. @error is NULL if the connection survived. */
void report_json(const struct report *r, const struct checker *c, const struct report_load *load,
		 const char *error, uint64_t end_ns, FILE *out);

#endif
