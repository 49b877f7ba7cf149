#include "epoch/shutdown.h"

#include <stddef.h>
#include <string.h>

#include "base/cleanup.h"

static const struct {
	const char *reason;
	bool is_guests;
	const char *text;
} rows[] = {
	{"guest-shutdown", true, "the guest shut itself down"},
	{"guest-reset", true, "the guest reset itself, and its QEMU ends then (-no-reboot)"},
	{"guest-panic", true, "the guest panicked, and its QEMU ends then"},
	{"host-signal", false, "QEMU was ended by a signal, as at its host's shutdown"},
	{"host-qmp-quit", false, "QEMU was ended by `quit` at a monitor"},
	{"host-ui", false, "QEMU was ended at its window"},
	{"host-qmp-system-reset", false,
	 "QEMU was ended by `system_reset` at a monitor (-no-reboot)"},
	{"subsystem-reset", false, "QEMU was ended by a reset of a subsystem (-no-reboot)"},
	{"snapshot-load", false, "QEMU was ended by the load of a snapshot"},
	{"host-error", false, "QEMU ended by an error of its host"},
};

bool shutdown_is_guests(const char *reason, bool guest)
{
	for (size_t i = 0; reason && i < ARRAY_SIZE(rows); i++) {
		if (strcmp(reason, rows[i].reason) == 0)
			return rows[i].is_guests;
	}
	return guest;
}

const char *shutdown_text(const char *reason)
{
	for (size_t i = 0; reason && i < ARRAY_SIZE(rows); i++) {
		if (strcmp(reason, rows[i].reason) == 0)
			return rows[i].text;
	}
	return "QEMU announced its end";
}
