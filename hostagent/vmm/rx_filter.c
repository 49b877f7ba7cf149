#include "vmm/rx_filter.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"

#define TIMEOUT_NS (5 * CLOCK_NS_PER_S)
#define ALL_VLANS  4094 /* the number of VLAN ids, 1 to 4094 */

static int judge_card(const json_t *card, struct error *ret_error)
{
	const char *name = json_string_value(json_object_get(card, "name"));
	const char *vlan = json_string_value(json_object_get(card, "vlan"));
	const json_t *table = json_object_get(card, "vlan-table");
	size_t i;
	json_t *id;

	/* Only "normal" means that the card filters VLANs ("all" means no filter). A promiscuous
	 * card ignores its filter. */
	if (!vlan || strcmp(vlan, "normal") != 0 ||
	    json_is_true(json_object_get(card, "promiscuous")))
		return 0;
	/* Windows' driver puts all VLAN ids into the table, even if the guest uses no VLAN. So a
	 * full table does not show that the guest uses VLANs: do not refuse it. */
	if (json_array_size(table) >= ALL_VLANS)
		return 0;
	json_array_foreach(table, i, id) {
		/* Id 0 is for frames with a priority and without a VLAN. It does not show that the
		 * guest uses VLANs: Linux's 8021q module puts it into the table of every card. */
		if (json_integer_value(id) > 0)
			return error_set(ret_error, -ENOTSUP,
					 "the guest uses VLAN %d on network device %.60s, and QEMU "
					 "forgets the card's VLAN filter at a failover: start both "
					 "hosts' QEMU with ctrl_vlan=off on that -device",
					 (int)json_integer_value(id),
					 name ? name : "without a name");
	}
	return 0;
}

int vmm_judge_rx_filter(const json_t *query_rx_filter, struct error *ret_error)
{
	size_t i;
	json_t *card;
	int r = 0;

	if (!json_is_array(query_rx_filter))
		return error_set(ret_error, -EPROTO,
				 "QEMU's answer to query-rx-filter is not understood");
	json_array_foreach(query_rx_filter, i, card) {
		if (r == 0)
			r = judge_card(card, ret_error);
	}
	return r;
}

int vmm_check_rx_filter(struct qmp *q, struct error *ret_error)
{
	json_t *answer;
	int r = qmp_execute(q, "query-rx-filter", NULL, TIMEOUT_NS, &answer);

	if (r < 0)
		return error_set(ret_error, r, "query-rx-filter: %s", strerror(-r));
	r = vmm_judge_rx_filter(answer, ret_error);
	json_decref(answer);
	return r;
}
