/* qmp_parse.h - QEMU monitor protocol, bytes in, messages out (sans-I/O).
 *
 * Why: what arrives on the monitor is a stream of JSON lines from a process that a guest may have
 * taken over; cutting and checking it must not depend on a socket, so that tests and fuzzers reach
 * it. Where: used by qmp.c only. Threads: one parser, one thread.
 *
 *	bytes ──► qmp_parser_space / _filled ──► [ buffer ≤ QMP_LINE_MAX ] ──► qmp_parser_next ──► message
 */
#ifndef VMM_QMP_PARSE_H
#define VMM_QMP_PARSE_H

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

/* Longest line accepted. The longest honest one seen is query-rx-filter's vlan table (24 KB per
 * NIC) and `info mtree` of a machine with hundreds of devices (under 1 MB). */
#define QMP_LINE_MAX ((size_t)4 << 20)

enum qmp_message_kind {
	QMP_MESSAGE_GREETING = 1,
	QMP_MESSAGE_RETURN,
	QMP_MESSAGE_ERROR,
	QMP_MESSAGE_EVENT,
};

struct qmp_message {
	enum qmp_message_kind kind;
	json_t *root; /* the whole message; owned by the message */
	json_t *body; /* borrowed from root: greeting's QMP, return's value, error's object,
		       * event's data (NULL when it has none) */
	const char *event; /* EVENT: its name, borrowed from root */
};

struct qmp_parser {
	char *data;	   /* bytes not consumed: [begin, end) */
	size_t begin;	   /* first byte of the first unconsumed line */
	size_t end;	   /* end of what was filled */
	size_t searched;   /* no newline in [begin, searched) */
	size_t capacity;   /* bytes allocated */
};

void qmp_parser_init(struct qmp_parser *p);
/* Free what it holds; the parser is as after init. */
void qmp_parser_done(struct qmp_parser *p);

/* Room for more input: *ret_at (borrowed until the next call) and *ret_room > 0. May allocate.
 * 0; -EMSGSIZE: the line in the buffer is longer than QMP_LINE_MAX; -ENOMEM. */
int qmp_parser_space(struct qmp_parser *p, char **ret_at, size_t *ret_room)
	__attribute__((warn_unused_result));

/* @size bytes were written at the place that qmp_parser_space() gave. */
void qmp_parser_filled(struct qmp_parser *p, size_t size);

/* Take the next whole message. Allocates. The caller ends it with qmp_message_done().
 * 0; -EAGAIN: no whole line yet, nothing consumed; -EPROTO: the line is not a QMP message, and it
 * was consumed (a monitor that says such a thing should be closed); -ENOMEM. */
int qmp_parser_next(struct qmp_parser *p, struct qmp_message *ret_message)
	__attribute__((warn_unused_result));

/* Drop the message's JSON. Accepts a zeroed message. */
void qmp_message_done(struct qmp_message *m);

#endif
