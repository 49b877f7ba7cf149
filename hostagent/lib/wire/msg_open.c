/* Encodes and decodes the frames that open and end a connection: HELLO, WELCOME, REFUSED (and
 * STREAM_ERROR, which has the same payload as REFUSED). */
#include "wire/msg_open.h"

#include "wire/msg_cursor.h"

#include <inttypes.h>
#include <stdio.h>

static const uint8_t hello_magic[8] = {'H', 'O', 'L', 'D', 'F', 'A', 'S', 'T'};

static bool name_or_empty(const char *name, size_t size)
{
	return size == 0 || wire_name_bytes_are_valid(name, size);
}

/* Returns a text that says which fields of @hello contradict each other, or NULL if none do. */
static const char *hello_conflict(const struct wire_hello *hello)
{
	if (hello->version_min > hello->version_max)
		return "larger than version_max";
	if ((hello->kind == WIRE_KIND_CONTROL) != (hello->role == WIRE_VM_ROLE_NONE))
		return "a stream has a role, a control connection has none";
	if ((hello->kind == WIRE_KIND_CONTROL) != (hello->vm[0] == '\0'))
		return "a stream names a VM, a control connection does not";
	if (hello->kind == WIRE_KIND_PEER && hello->role != WIRE_VM_ROLE_PRIMARY)
		return "only a primary has business with its peer";
	return NULL;
}

int wire_hello_encode(const struct wire_hello *hello, struct bytes_writer *w)
{
	if (hello->version_min < 1 || hello->kind < WIRE_KIND_CONTROL ||
	    hello->kind > WIRE_KIND_PEER || hello->role > WIRE_VM_ROLE_STANDBY ||
	    hello_conflict(hello))
		return write_invalid(w);
	bytes_write(w, hello_magic, sizeof(hello_magic));
	bytes_write_be16(w, hello->version_min);
	bytes_write_be16(w, hello->version_max);
	bytes_write_be64(w, hello->features_required);
	bytes_write_be64(w, hello->features_optional);
	bytes_write_u8(w, hello->kind);
	bytes_write_u8(w, hello->role);
	if (write_string(w, 1, name_or_empty, hello->vm, WIRE_NAME_MAX) < 0)
		return -EINVAL;
	return write_result(w);
}

int wire_hello_decode(const struct wire_frame *frame, struct wire_hello *ret_hello,
		      struct wire_error *error)
{
	struct cursor c		= cursor_begin(frame, WIRE_HELLO, error);
	struct wire_hello hello = {0};
	const uint8_t *magic	= cursor_take(&c, "magic", sizeof(hello_magic));
	const char *conflict;

	if (magic && memcmp(magic, hello_magic, sizeof(hello_magic)) != 0)
		cursor_fail(&c, "magic", 0, "not HOLDFAST");
	hello.version_min	= cursor_u16(&c, "version_min", 1, UINT16_MAX);
	hello.version_max	= cursor_u16(&c, "version_max", 1, UINT16_MAX);
	hello.features_required = cursor_u64(&c, "features_required");
	hello.features_optional = cursor_u64(&c, "features_optional");
	hello.kind		= cursor_u8(&c, "kind", WIRE_KIND_CONTROL, WIRE_KIND_PEER);
	hello.role		= cursor_u8(&c, "role", 0, WIRE_VM_ROLE_STANDBY);
	cursor_string(&c, "vm", 1, name_or_empty, hello.vm, sizeof(hello.vm));
	conflict = c.failed ? NULL : hello_conflict(&hello);
	if (conflict)
		cursor_fail(&c, "version_min, kind, role, vm", 8, conflict);
	/* A sender that supports a later version can append fields to HELLO. A sender that supports
	 * only our version must not. */
	if (!c.failed && hello.version_max > WIRE_VERSION)
		c.r.at = c.r.end;
	if (cursor_end(&c) < 0)
		return -EPROTO;
	*ret_hello = hello;
	return 0;
}

static uint64_t features_of(uint8_t kind)
{
	if (kind == WIRE_KIND_CONTROL)
		return WIRE_CONTROL_FEATURES;
	return kind == WIRE_KIND_STREAM ? WIRE_STREAM_FEATURES : WIRE_FEATURES;
}

void wire_hello_init(struct wire_hello *ret_hello, uint8_t kind, uint8_t role, const char *vm)
{
	*ret_hello = (struct wire_hello){
		.version_min	   = WIRE_VERSION,
		.version_max	   = WIRE_VERSION,
		.features_required = kind == WIRE_KIND_CONTROL ? 0 : WIRE_FEATURE_XRLE,
		.features_optional = features_of(kind) & ~WIRE_FEATURE_XRLE,
		.kind		   = kind,
		.role		   = role,
	};
	/* Do not cut a name that is too long: the cut name could be that of another VM. Store "-"
	 * instead, which the encoder refuses. */
	if (strnlen(vm, WIRE_NAME_MAX + 1) > WIRE_NAME_MAX)
		ret_hello->vm[0] = '-';
	else
		memcpy(ret_hello->vm, vm, strlen(vm));
}

int wire_hello_negotiate(const struct wire_hello *hello, uint16_t *ret_version,
			 uint64_t *ret_features, uint16_t *ret_code,
			 struct error *ret_error)
{
	const uint64_t ours = features_of(hello->kind);
	const uint64_t unknown = hello->features_required & ~ours;

	if (hello->version_min > WIRE_VERSION || hello->version_max < WIRE_VERSION) {
		*ret_code = WIRE_REFUSED_VERSION;
		return error_set(ret_error, -EPROTONOSUPPORT,
				 "agent speaks wire versions %u to %u, gateway speaks %u",
				 hello->version_min, hello->version_max, WIRE_VERSION);
	}
	if (unknown) {
		*ret_code = WIRE_REFUSED_FEATURE;
		return error_set(ret_error, -EPROTONOSUPPORT,
				 "agent requires features 0x%" PRIx64 ", unknown to this gateway",
				 unknown);
	}
	*ret_version  = WIRE_VERSION;
	*ret_features = (hello->features_required | hello->features_optional) & ours;
	return 0;
}

int wire_welcome_encode(const struct wire_welcome *welcome, struct bytes_writer *w)
{
	if (welcome->version < 1 || welcome->incarnation > WIRE_INCARNATION_MAX)
		return write_invalid(w);
	bytes_write_be16(w, welcome->version);
	bytes_write_be64(w, welcome->features);
	if (write_string(w, 1, wire_name_bytes_are_valid, welcome->gateway, WIRE_NAME_MAX) < 0)
		return -EINVAL;
	write_incarnation(w, welcome->incarnation);
	return write_result(w);
}

int wire_welcome_decode(const struct wire_frame *frame, struct wire_welcome *ret_welcome,
			struct wire_error *error)
{
	struct cursor c		    = cursor_begin(frame, WIRE_WELCOME, error);
	struct wire_welcome welcome = {0};

	welcome.version	 = cursor_u16(&c, "version", 1, UINT16_MAX);
	welcome.features = cursor_u64(&c, "features");
	cursor_string(&c, "gateway", 1, wire_name_bytes_are_valid, welcome.gateway,
		      sizeof(welcome.gateway));
	welcome.incarnation = cursor_incarnation(&c);
	if (cursor_end(&c) < 0)
		return -EPROTO;
	*ret_welcome = welcome;
	return 0;
}

int wire_failure_encode(const struct wire_failure *failure, struct bytes_writer *w)
{
	if (failure->code == 0)
		return write_invalid(w);
	bytes_write_be16(w, failure->code);
	if (write_string(w, 2, wire_text_bytes_are_valid, failure->text, WIRE_TEXT_MAX) < 0)
		return -EINVAL;
	return write_result(w);
}

int wire_failure_decode(const struct wire_frame *frame, struct wire_failure *ret_failure,
			struct wire_error *error)
{
	const uint8_t type =
		frame->h.type == WIRE_STREAM_ERROR ? WIRE_STREAM_ERROR : WIRE_REFUSED;
	struct cursor c		    = cursor_begin(frame, type, error);
	struct wire_failure failure = {0};

	failure.code = cursor_u16(&c, "code", 1, UINT16_MAX);
	cursor_string(&c, "text", 2, wire_text_bytes_are_valid, failure.text,
		      sizeof(failure.text));
	if (cursor_end(&c) < 0)
		return -EPROTO;
	*ret_failure = failure;
	return 0;
}
