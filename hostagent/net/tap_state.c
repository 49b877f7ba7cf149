#include "net/tap_state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <linux/if_bridge.h>

#include "base/clock.h"
#include "net/nl.h"

static const struct {
	const char *name;
	const char *means; /* human-readable: what the state means and what to do about it */
} states[] = {
	[TAP_FORWARDING] = {"forwarding", ""},
	[TAP_MISSING] = {"missing",
			 "there is no tap of this name: see the -netdev of the VM's command file"},
	[TAP_DOWN] = {"down", "it is down: `ip link set TAP up`, or see the script of its -netdev"},
	[TAP_NO_BRIDGE] = {"no-bridge",
			   "it is no port of a Linux bridge: `ip link set TAP master BRIDGE`"},
	[TAP_DISABLED] = {"disabled",
			  "its bridge port is disabled: is the bridge up, and QEMU on the tap?"},
	[TAP_BLOCKING] = {"blocking", "spanning tree blocks its bridge port: see `bridge link`"},
	[TAP_LISTENING] =
		{"listening",
		 "spanning tree makes its bridge port wait; less with `ip link set BRIDGE "
		 "type bridge stp_state 0`, or a shorter forward_delay at the root"},
	[TAP_LEARNING] = {"learning", "spanning tree makes its bridge port wait; it forwards soon"},
	[TAP_UNKNOWN] = {"unknown", "see this agent's log"},
};

const char *tap_state_name(enum tap_state state)
{
	return states[state].name;
}

static enum tap_state state_of(const struct nl_link *tap)
{
	static const enum tap_state of_port[] = {
		[BR_STATE_DISABLED] = TAP_DISABLED,	[BR_STATE_LISTENING] = TAP_LISTENING,
		[BR_STATE_LEARNING] = TAP_LEARNING,	[BR_STATE_FORWARDING] = TAP_FORWARDING,
		[BR_STATE_BLOCKING] = TAP_BLOCKING,
	};

	if (strcmp(tap->kind, "tun") != 0 || !tap->is_tap)
		return TAP_MISSING;
	if (!(tap->flags & IFF_UP))
		return TAP_DOWN;
	if (tap->master == 0 || strcmp(tap->slave_kind, "bridge") != 0)
		return TAP_NO_BRIDGE;
	return tap->port_state < sizeof(of_port) / sizeof(of_port[0]) ? of_port[tap->port_state]
								      : TAP_DISABLED;
}

int tap_state_read(const char *tap, enum tap_state *ret_state)
{
	struct nl_link link;
	struct nl nl;
	int r = nl_open(&nl);

	if (r < 0)
		return r;
	r = nl_link_get(&nl, tap, 0, &link);
	if (r == 0)
		*ret_state = state_of(&link);
	else if (r == -ENODEV)
		*ret_state = TAP_MISSING;
	nl_close(&nl);
	return r == -ENODEV ? 0 : r;
}

void tap_state_describe(const char *tap, enum tap_state state, uint64_t since_ns, char *ret_text,
			size_t size)
{
	ret_text[0] = '\0';
	if (state != TAP_FORWARDING)
		(void)snprintf(ret_text, size,
			       "tap %s %s, for %" PRIu64 " s now: %s", tap,
			       state == TAP_UNKNOWN ? "cannot be looked at"
						    : "cannot serve clients",
			       since_ns / CLOCK_NS_PER_S, states[state].means);
}
