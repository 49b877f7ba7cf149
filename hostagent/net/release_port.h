/* release_port.h - the way released frames take into the user's bridge.
 *
 * Why: the tap stays the bridge's port towards the guest, so released frames need another way in: a
 * veth pair whose far end is a bridge port that learns nothing (the guest must stay at its tap) and
 * gets nothing flooded (nothing listens there). The guest's MAC is pinned to the tap's port, for
 * while it is held the bridge never sees it send there.
 *
 *	hfoN (we send here) ==veth== hfbN (bridge port)          N = ifindex of the tap
 *	alias of both: "holdfast:VM", by which a later agent knows them as ours
 *
 * Where: hold.c. Threads: one owner. Blocks for rtnetlink.
 */
#ifndef NET_RELEASE_PORT_H
#define NET_RELEASE_PORT_H

#include <stdbool.h>
#include <stdint.h>

#include "net/hold.h"
#include "net/nl.h"

struct release_port {
	struct nl *nl;		/* borrowed, must outlive this */
	int tap;		/* ifindex */
	int out;		/* ifindex of hfoN, 0: none */
	uint8_t mac[6];
	bool is_pinned;		/* the MAC is in the fdb by our doing */
	char alias[NL_ALIAS_MAX];
	char out_name[IFNAMSIZ];
};

/* Make the pair (or use again the one a killed agent left), remove pairs of this VM's earlier taps,
 * join the bridge, pin the MAC. @is_fdb_foreign in: a pin that is found is not ours (a new hold, or
 * the agent before us found it so); out: one was found and is left alone. @port is the caller's
 * storage.
 * 0; -EEXIST: a device of another owner has our name; -ETIMEDOUT; other -errno, each with text. On
 * error nothing of ours is left. */
int release_port_open(struct release_port *port, struct nl *nl, const struct hold_config *config,
		      const struct nl_link *tap, const struct nl_link *bridge,
		      bool *is_fdb_foreign, struct hold_error *ret_error)
	__attribute__((warn_unused_result));

/* Remove the pair; let the MAC age in the fdb as if learned (unless it was pinned before us).
 * Devices that are gone already are fine. 0 or -errno of the first step that failed. */
int release_port_remove(struct release_port *port) __attribute__((warn_unused_result));

#endif
