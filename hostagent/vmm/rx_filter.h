/* rx_filter.h - refuses a guest that uses its network card's VLAN filter, which QEMU loses at a
 * failover.
 *
 * Why: a virtio-net card with ctrl_vlan=on (the default) passes a tagged frame to the guest only if
 * the driver has named its VLAN. QEMU saves this table of VLANs, but empties it when it loads a
 * state (7.2: virtio_load() sets the features after the device's own part, and
 * virtio_net_set_features() clears the table). So after a failover the guest would silently receive
 * no tagged frames. With ctrl_vlan=off there is no filter to lose.
 * Windows' driver always names all VLANs, whether or not the guest uses any. Such a guest is not
 * refused: otherwise no Windows guest with ctrl_vlan=on could be protected. If it does use VLANs,
 * it receives no tagged frames after a failover.
 *
 * Where: the epoch engine, at attach. Threads: only the thread that uses the qmp client.
 */
#ifndef VMM_RX_FILTER_H
#define VMM_RX_FILTER_H

#include <jansson.h>

#include "base/error.h"
#include "vmm/page_range.h"
#include "vmm/qmp.h"

/* Check all network cards. Returns 0 if no VLAN would be lost at a failover; -ENOTSUP if one would
 * be (*ret_error names the card, the VLAN and what to do); an error of qmp_execute(); or -EPROTO if
 * QEMU answered something we do not understand. */
int vmm_check_rx_filter(struct qmp *q, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Do the check of vmm_check_rx_filter() on a given answer to `query-rx-filter`. Returns 0, -ENOTSUP
 * or -EPROTO as that function does. */
int vmm_judge_rx_filter(const json_t *query_rx_filter, struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
