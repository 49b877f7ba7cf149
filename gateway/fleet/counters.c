#include "fleet/counters.h"

#include "base/cleanup.h"
#include "fleet/drains.h"
#include "fleet/fleet.h"
#include "fleet/witness_keys.h"
#include "probe/probes.h"

#define ROW(member) COUNTERS_ROW(struct fleet_counters, member)

#define WITNESS_ROW(name_, path, verdict)                                                          \
	{name_, offsetof(struct fleet_counters, witness[path][WITNESS_RX_##verdict])}
#define WITNESS_ROWS(prefix, path)                                                                 \
	WITNESS_ROW(prefix "accepted", path, ACCEPTED),                                            \
	WITNESS_ROW(prefix "malformed", path, MALFORMED),                                          \
	WITNESS_ROW(prefix "wrong_path", path, WRONG_PATH),                                        \
	WITNESS_ROW(prefix "unknown_key", path, UNKNOWN_KEY),                                      \
	WITNESS_ROW(prefix "wrong_address", path, WRONG_ADDRESS),                                  \
	WITNESS_ROW(prefix "replayed", path, REPLAYED),                                            \
	WITNESS_ROW(prefix "over_limit", path, OVER_LIMIT),                                        \
	WITNESS_ROW(prefix "bad_mac", path, BAD_MAC)
#define REFUSED_ROW(name_, reason)                                                               \
	{"refused_" name_, offsetof(struct fleet_counters, refused[FLEET_REFUSED_##reason])}

const struct counters_row fleet_counter_rows[] = {
	ROW(sessions_now), ROW(sessions_opened), ROW(sessions_closed), ROW(handshakes_now),
	ROW(closing_now), ROW(bytes_in), ROW(bytes_out), ROW(frames_in), ROW(frames_out),
	ROW(beats), ROW(leases), ROW(reports), ROW(orders_sent), ROW(orders_done), ROW(resumes),
	ROW(commits), ROW(epoch_acks), ROW(epoch_acks_stale), ROW(relay_frames), ROW(relay_bytes),
	ROW(relay_dropped), ROW(relay_blocked), ROW(relay_errors), ROW(journal_writes),
	ROW(journal_errors), ROW(events), ROW(events_suppressed), ROW(promotions),
	ROW(vms_safe), ROW(vms_not_safe), ROW(health_changes),
	ROW(hosts_draining), ROW(hosts_drained),
	ROW(probes_sent), ROW(probes_answered), ROW(probe_replies), ROW(probes_lost),
	ROW(probes_malformed), ROW(probes_stray), ROW(witness_keys),
	WITNESS_ROWS("witness_", WIRE_WITNESS_BACKUP),
	WITNESS_ROWS("witness_client_", WIRE_WITNESS_CLIENT), ROW(udp_unwanted),
	ROW(shield_dropped), REFUSED_ROW("version", VERSION), REFUSED_ROW("feature", FEATURE),
	REFUSED_ROW("duplicate", DUPLICATE), REFUSED_ROW("stale_term", STALE_TERM),
	REFUSED_ROW("unknown_vm", UNKNOWN_VM), REFUSED_ROW("identity", IDENTITY),
	REFUSED_ROW("bad_frame", BAD_FRAME), REFUSED_ROW("bad_checksum", BAD_CHECKSUM),
	REFUSED_ROW("not_asked", NOT_ASKED), REFUSED_ROW("busy", BUSY),
	REFUSED_ROW("evicted", EVICTED), REFUSED_ROW("timeout", TIMEOUT),
	REFUSED_ROW("slow", SLOW), REFUSED_ROW("old_gateway", OLD_GATEWAY),
	REFUSED_ROW("wrong_role", WRONG_ROLE), REFUSED_ROW("tls_expired", TLS_EXPIRED),
	REFUSED_ROW("tls_not_yet_valid", TLS_NOT_YET_VALID),
	REFUSED_ROW("tls_self_signed", TLS_SELF_SIGNED),
	REFUSED_ROW("tls_unknown_ca", TLS_UNKNOWN_CA), REFUSED_ROW("tls_revoked", TLS_REVOKED),
	REFUSED_ROW("tls_bad_identity", TLS_BAD_IDENTITY),
	REFUSED_ROW("tls_no_certificate", TLS_NO_CERTIFICATE),
	REFUSED_ROW("tls_bad_certificate", TLS_BAD_CERTIFICATE),
	REFUSED_ROW("tls_old_version", TLS_OLD_VERSION),
	REFUSED_ROW("tls_peer_refused", TLS_PEER_REFUSED),
	REFUSED_ROW("tls_protocol", TLS_PROTOCOL),
};
const size_t fleet_n_counter_rows = ARRAY_SIZE(fleet_counter_rows);

enum fleet_refusal fleet_tls_refusal(enum wire_tls_failure failure)
{
	static const enum fleet_refusal reasons[WIRE_TLS_FAILURE_COUNT] = {
		[WIRE_TLS_OK] = FLEET_REFUSED_TLS_PROTOCOL,
		[WIRE_TLS_PROTOCOL] = FLEET_REFUSED_TLS_PROTOCOL,
		[WIRE_TLS_EXPIRED] = FLEET_REFUSED_TLS_EXPIRED,
		[WIRE_TLS_NOT_YET_VALID] = FLEET_REFUSED_TLS_NOT_YET_VALID,
		[WIRE_TLS_SELF_SIGNED] = FLEET_REFUSED_TLS_SELF_SIGNED,
		[WIRE_TLS_UNKNOWN_CA] = FLEET_REFUSED_TLS_UNKNOWN_CA,
		[WIRE_TLS_REVOKED] = FLEET_REFUSED_TLS_REVOKED,
		[WIRE_TLS_BAD_IDENTITY] = FLEET_REFUSED_TLS_BAD_IDENTITY,
		[WIRE_TLS_WRONG_ROLE] = FLEET_REFUSED_WRONG_ROLE,
		[WIRE_TLS_NO_CERTIFICATE] = FLEET_REFUSED_TLS_NO_CERTIFICATE,
		[WIRE_TLS_BAD_CERTIFICATE] = FLEET_REFUSED_TLS_BAD_CERTIFICATE,
		[WIRE_TLS_OLD_VERSION] = FLEET_REFUSED_TLS_OLD_VERSION,
		[WIRE_TLS_PEER_REFUSED] = FLEET_REFUSED_TLS_PEER_REFUSED,
	};

	return failure < WIRE_TLS_FAILURE_COUNT ? reasons[failure] : FLEET_REFUSED_TLS_PROTOCOL;
}

static void copy_probe_counters(struct fleet *fleet)
{
	struct probes_counters p;

	probes_get_counters(fleet->probes, &p);
	fleet->counters.probes_sent = p.sent;
	fleet->counters.probes_answered = p.answered;
	fleet->counters.probe_replies = p.replies;
	fleet->counters.probes_lost = p.lost;
	fleet->counters.probes_malformed = p.malformed;
	fleet->counters.probes_stray = p.stray;
}

static void count_health(struct fleet *fleet)
{
	struct fleet_counters *c = &fleet->counters;

	/* VMs that cannot be protected (faults) are not safe, so vms_not_safe begins with their
	 * number. */
	c->vms_safe = c->health_changes = 0;
	c->vms_not_safe = fleet->n_faults + fleet->n_more_faults;
	for (size_t i = 0; i < fleet->n_vms; i++) {
		const struct health_watch *watch = &fleet->vms[i]->health;
		bool is_safe = watch->is_begun && watch->shown.word == HEALTH_SAFE;

		c->vms_safe += is_safe;
		c->vms_not_safe += !is_safe;
		c->health_changes += watch->n_changes;
	}
}

static void count_drains(struct fleet *fleet)
{
	struct fleet_counters *c = &fleet->counters;

	c->hosts_draining = c->hosts_drained = 0;
	for (size_t i = 0; i < fleet->n_hosts; i++) {
		const struct drain *d = fleet_drains_of(fleet, &fleet->hosts[i]);

		c->hosts_drained += d->phase == DRAIN_DONE;
		c->hosts_draining += drain_is_barred(d) && d->phase != DRAIN_DONE;
	}
}

void fleet_print_counters(struct fleet *fleet, struct bytes_writer *w)
{
	const void *all[1] = {&fleet->counters};
	struct fleet_counters *c = &fleet->counters;

	c->relay_frames = c->relay_bytes = c->relay_dropped = 0;
	for (size_t i = 0; i < fleet->n_vms; i++) {
		c->relay_frames += fleet->vms[i]->relay.frames_total;
		c->relay_bytes += fleet->vms[i]->relay.bytes_total;
		c->relay_dropped += fleet->vms[i]->relay.dropped_total;
	}
	copy_probe_counters(fleet);
	count_health(fleet);
	count_drains(fleet);
	witness_keys_count(fleet);
	counters_print(fleet_counter_rows, fleet_n_counter_rows, all, 1, w);
}
