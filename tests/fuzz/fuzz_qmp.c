/* fuzz_qmp.c - feeds any bytes to the parser of QEMU's monitor (hostagent/vmm/qmp_parse.c) and to
 * the parsers of HMP output (hostagent/vmm/inspect_parse.c).
 *
 * The first byte of the input is a size minus one. The rest of the input is fed in pieces of this
 * size, so that lines arrive in pieces.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/inspect_parse.h"
#include "vmm/qmp_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void parse_texts(const char *text)
{
	struct inspect_ramblock blocks[INSPECT_RAMBLOCKS_MAX];
	struct error error;
	uint64_t value;
	uint32_t n;
	uint8_t mac[6];
	const char *hint;

	if (inspect_parse_ramblocks(text, blocks, &n, &error) == 0)
		for (uint32_t i = 0; i < n; i++)
			(void)inspect_classify(blocks[i].name, "pc.ram", &hint);
	/* Any result is correct, as long as nothing is read or written out of bounds. */
	if (inspect_parse_hva(text, "pc.ram", &value) < 0 &&
	    inspect_parse_guest_addr(text, "pc.ram", &value) < 0 &&
	    inspect_parse_mac(text, mac) < 0)
		(void)inspect_foreign_netdev(text);
}

static void take_all(struct qmp_parser *p)
{
	struct qmp_message m;
	int r;

	while ((r = qmp_parser_next(p, &m)) != -EAGAIN) {
		if (r < 0)
			continue;
		if (m.kind == QMP_MESSAGE_EVENT && !m.event)
			abort();
		if (m.kind == QMP_MESSAGE_RETURN && json_is_string(m.body))
			parse_texts(json_string_value(m.body));
		qmp_message_done(&m);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct qmp_parser p;
	size_t step;

	if (size < 1)
		return 0;
	step = (size_t)data[0] + 1;
	data++;
	size--;
	qmp_parser_init(&p);
	while (size > 0) {
		char *at;
		size_t room, n;

		if (qmp_parser_space(&p, &at, &room) < 0)
			break;
		n = step < size ? step : size;
		n = n < room ? n : room;
		memcpy(at, data, n);
		qmp_parser_filled(&p, n);
		data += n;
		size -= n;
		take_all(&p);
	}
	qmp_parser_done(&p);
	return 0;
}
