/* rx_filter.h - does the guest use its card's VLAN filter, which QEMU forgets?
 *
 * Why: a virtio-net card with ctrl_vlan=on (the default) passes a tagged frame to the guest only if
 * the driver has named its VLAN. QEMU saves that table, but empties it again when it loads a state
 * (7.2: virtio_load() sets the features after the device's own part, and virtio_net_set_features()
 * clears the table). So after a failover the guest would silently receive no tagged frames. With
 * ctrl_vlan=off there is no filter to lose. A driver that asks for all VLANs (Windows) is not
 * refused, since it would be refused always.
 *
 * Where: the epoch engine, at attach. Threads: as the qmp client.
 */
#ifndef VMM_RX_FILTER_H
#define VMM_RX_FILTER_H

#include <jansson.h>

#include "base/error.h"
#include "vmm/page_range.h"
#include "vmm/qmp.h"

/* 0: no VLAN would be lost; -ENOTSUP: one would, *ret_error names card, VLAN and the next step;
 * errors of qmp_execute(); -EPROTO: QEMU answered something we do not understand. */
int vmm_check_rx_filter(struct qmp *q, struct error *ret_error)
	__attribute__((warn_unused_result));

/* Judge only an answer to `query-rx-filter`. 0, -ENOTSUP, -EPROTO as above. */
int vmm_judge_rx_filter(const json_t *query_rx_filter, struct error *ret_error)
	__attribute__((warn_unused_result));

#endif
