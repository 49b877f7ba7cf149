/* qmp_parse.h - parses QEMU's monitor protocol: turns received bytes into messages. Does no I/O.
 *
 * Why: the QEMU process sends the JSON lines, and a malicious guest can control that process. So
 * the code that splits and checks the lines must be well tested. Tests and fuzzers call this code
 * directly, without a socket.
 * Where: used by qmp.c only. Threads: one thread per parser.
 *
 *	bytes ──► qmp_parser_space / _filled ──► [ buffer ≤ QMP_LINE_MAX ] ──► qmp_parser_next ──► message
 */
#ifndef VMM_QMP_PARSE_H
#define VMM_QMP_PARSE_H

#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

/* The longest line accepted. The longest lines seen in practice are query-rx-filter's vlan table
 * (24 KB per NIC), and `info mtree` of a machine with hundreds of devices (under 1 MB). */
#define QMP_LINE_MAX ((size_t)4 << 20)

enum qmp_message_kind {
	QMP_MESSAGE_GREETING = 1,
	QMP_MESSAGE_RETURN,
	QMP_MESSAGE_ERROR,
	QMP_MESSAGE_EVENT,
};

struct qmp_message {
	enum qmp_message_kind kind;
	json_t *root; /* the whole message; freed by qmp_message_done() */
	/* borrowed from root: the greeting's "QMP", the returned value, the error object, or the
	 * event's data (NULL if it has none) */
	json_t *body;
	const char *event; /* an EVENT's name, borrowed from root */
};

struct qmp_parser {
	char *data;	   /* the bytes in [begin, end) are not consumed yet */
	size_t begin;	   /* first byte of the first unconsumed line */
	size_t end;	   /* end of the bytes received */
	size_t searched;   /* [begin, searched) has no newline */
	size_t capacity;   /* bytes allocated */
};

void qmp_parser_init(struct qmp_parser *p);
/* Free the buffer, and leave the parser as it was after qmp_parser_init(). */
void qmp_parser_done(struct qmp_parser *p);

/* Get space for more input: *ret_room bytes (at least 1) at *ret_at, borrowed until the next call.
 * Can allocate. Returns 0; -ENOMEM;
 * -EMSGSIZE: the line in the buffer is longer than QMP_LINE_MAX. */
int qmp_parser_space(struct qmp_parser *p, char **ret_at, size_t *ret_room)
	__attribute__((warn_unused_result));

/* Note that @size bytes were written where qmp_parser_space() said. */
void qmp_parser_filled(struct qmp_parser *p, size_t size);

/* Take the next whole message. Allocates. The caller frees it with qmp_message_done(). Returns 0;
 * -ENOMEM;
 * -EAGAIN: there is no whole line yet;
 * -EPROTO: the line is not a QMP message; close the monitor. */
int qmp_parser_next(struct qmp_parser *p, struct qmp_message *ret_message)
	__attribute__((warn_unused_result));

/* Free the message's JSON. Accepts a zeroed message. */
void qmp_message_done(struct qmp_message *m);

#endif
