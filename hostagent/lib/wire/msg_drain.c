/* Encodes and decodes DRAIN and DRAIN_STATE, with which a host asks the gateway to drain it. */
#include "wire/msg_drain.h"

#include "wire/msg_cursor.h"

/* Is drain->limit_s allowed together with drain->what? */
static bool is_limit(const struct wire_drain *drain)
{
	return drain->what == WIRE_DRAIN_GOES_DOWN
		       ? drain->limit_s >= 1 && drain->limit_s <= WIRE_DRAIN_LIMIT_S_MAX
		       : drain->limit_s == 0;
}

int wire_drain_encode(const struct wire_drain *drain, struct bytes_writer *w)
{
	if (drain->what < WIRE_DRAIN_IS_UP || drain->what > WIRE_DRAIN_GOES_DOWN ||
	    !is_limit(drain))
		return write_invalid(w);
	bytes_write_u8(w, drain->what);
	bytes_write_be32(w, drain->limit_s);
	bytes_write(w, drain->boot, sizeof(drain->boot));
	return write_result(w);
}

int wire_drain_decode(const struct wire_frame *frame, struct wire_drain *ret_drain,
		      struct wire_error *error)
{
	struct cursor c = cursor_begin(frame, WIRE_DRAIN, error);
	struct wire_drain drain = {0};
	const uint8_t *boot;

	drain.what = cursor_u8(&c, "what", WIRE_DRAIN_IS_UP, WIRE_DRAIN_GOES_DOWN);
	drain.limit_s = cursor_u32(&c, "limit", 0, WIRE_DRAIN_LIMIT_S_MAX);
	if (!c.failed && !is_limit(&drain))
		cursor_fail(&c, "limit", 1, "does not go with what");
	boot = cursor_take(&c, "boot", sizeof(drain.boot));
	if (boot)
		memcpy(drain.boot, boot, sizeof(drain.boot));
	if (cursor_end(&c) < 0)
		return -EPROTO;
	*ret_drain = drain;
	return 0;
}

int wire_drain_state_encode(const struct wire_drain_state *state, struct bytes_writer *w)
{
	if (state->state > WIRE_DRAIN_DONE)
		return write_invalid(w);
	bytes_write_u8(w, state->state);
	bytes_write_be16(w, state->n_left);
	if (write_string(w, 2, wire_text_bytes_are_valid, state->text, WIRE_TEXT_MAX) < 0)
		return -EINVAL;
	return write_result(w);
}

int wire_drain_state_decode(const struct wire_frame *frame, struct wire_drain_state *ret_state,
			    struct wire_error *error)
{
	struct cursor c = cursor_begin(frame, WIRE_DRAIN_STATE, error);
	struct wire_drain_state state = {0};

	state.state = cursor_u8(&c, "state", WIRE_DRAIN_NOT, WIRE_DRAIN_DONE);
	state.n_left = cursor_u16(&c, "left", 0, UINT16_MAX);
	cursor_string(&c, "text", 2, wire_text_bytes_are_valid, state.text, sizeof(state.text));
	if (cursor_end(&c) < 0)
		return -EPROTO;
	*ret_state = state;
	return 0;
}
