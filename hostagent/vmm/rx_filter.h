/* rx_filter.h - refuses a guest that uses its network card's VLAN filter, which QEMU loses at a
 * failover.
 *
 * Why: a virtio-net card with ctrl_vlan=on (the default) has a table of VLAN ids, which the guest's
 * driver fills. The card passes a frame with a VLAN tag to the guest only if the tag's id is in the
 * table. QEMU saves this table, but empties it when it loads a state: virtio_load() of QEMU 7.2
 * sets the features after it has loaded the device's own part, and virtio_net_set_features() clears
 * the table. So after a failover the guest would receive no frames with a VLAN tag. With
 * ctrl_vlan=off the card has no filter, and nothing is lost.
 *
 * Windows' driver puts all VLAN ids into the table, even if the guest uses no VLAN. So a guest with
 * a full table is not refused. If a Windows guest does use VLANs, it receives no frames with a VLAN
 * tag after a failover.
 *
 * Where: the epoch engine, at attach. Threads: only the thread that uses the qmp client.
 */
#ifndef VMM_RX_FILTER_H
#define VMM_RX_FILTER_H

#include <jansson.h>

#include "base/error.h"
#include "vmm/page_range.h"
#include "vmm/qmp.h"

/* Check all network cards. Returns 0 if a failover would lose no filter that the guest needs;
 * -ENOTSUP: a failover would lose such a filter; *ret_error names the card, the VLAN and what to
 * do;
 * -EPROTO: we do not understand QEMU's answer;
 * or an error of qmp_execute(). */
int vmm_check_rx_filter(struct qmp *q, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Does the check of vmm_check_rx_filter() on a given answer to `query-rx-filter`. Returns 0,
 * -ENOTSUP or -EPROTO, like that function. */
int vmm_judge_rx_filter(const json_t *query_rx_filter, struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
