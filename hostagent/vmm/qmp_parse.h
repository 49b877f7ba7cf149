/* qmp_parse.h - parser of the QEMU monitor protocol: bytes in, messages out (sans-I/O).
 *
 * Why: the monitor sends a stream of JSON lines, and a guest may have taken over the process that
 * sends it. Splitting and checking the lines must not depend on a socket, so that tests and fuzzers
 * reach it. Where: used by qmp.c only. Threads: one thread per parser.
 *
 *	bytes ──► qmp_parser_space / _filled ──► [ buffer ≤ QMP_LINE_MAX ] ──► qmp_parser_next ──► message
 */
#ifndef VMM_QMP_PARSE_H
#define VMM_QMP_PARSE_H

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

/* Longest line accepted. The longest real lines seen: query-rx-filter's vlan table (24 KB per NIC),
 * and `info mtree` of a machine with hundreds of devices (under 1 MB). */
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
/* Free the buffer; the parser is as after init. */
void qmp_parser_done(struct qmp_parser *p);

/* Get room for more input: *ret_at (borrowed until the next call) and *ret_room > 0. May allocate.
 * 0; -EMSGSIZE: the line in the buffer is longer than QMP_LINE_MAX; -ENOMEM. */
int qmp_parser_space(struct qmp_parser *p, char **ret_at, size_t *ret_room)
	__attribute__((warn_unused_result));

/* Note that @size bytes were written where qmp_parser_space() said. */
void qmp_parser_filled(struct qmp_parser *p, size_t size);

/* Take the next whole message. Allocates. The caller ends it with qmp_message_done().
 * 0; -EAGAIN: no whole line yet, nothing consumed; -EPROTO: the line is not a QMP message; it was
 * consumed, and the monitor should be closed; -ENOMEM. */
int qmp_parser_next(struct qmp_parser *p, struct qmp_message *ret_message)
	__attribute__((warn_unused_result));

/* Drop the message's JSON. Accepts a zeroed message. */
void qmp_message_done(struct qmp_message *m);

#endif
