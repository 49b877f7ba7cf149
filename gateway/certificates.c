#include "certificates.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "base/error.h"
#include "base/log.h"

int certificates_open(const struct gw_config *config, struct wire_tls_context **ret_context)
{
	const struct wire_tls_config files = {
		.ca_path = config->ca,
		.crl_path = config->crl[0] ? config->crl : NULL,
		.cert_path = config->cert,
		.key_path = config->key,
	};
	struct wire_tls_context *context;
	const struct wire_peer *self;
	struct error error;
	int r = wire_tls_context_new(&files, WIRE_TLS_SERVER, &context, &error);

	if (r < 0) {
		log_error("%s", error.text);
		return r;
	}
	self = wire_tls_context_self(context);
	if (self->role != WIRE_PEER_GATEWAY) {
		log_error(
			"%s: a certificate of role %s; holdfast-pki issue DIR gateway NAME makes "
			"the right one",
			config->cert, wire_peer_role_name(self->role));
		wire_tls_context_free(context);
		return -EINVAL;
	}
	*ret_context = context;
	return 0;
}

void certificates_tick(struct wire_tls_context *context, struct fleet *fleet, uint64_t now_ns)
{
	const int64_t now_s = (int64_t)time(NULL);
	struct error error, text;
	int64_t at_s;
	int r = wire_tls_context_refresh(context, &error);

	if (wire_tls_context_ends(context, now_s, &at_s, &text))
		fleet_set_end(&fleet->end, at_s, now_s, text.text);
	else
		fleet_set_end(&fleet->end, 0, now_s, "");
	if (wire_tls_context_ends_soon(context, now_s, &text)) {
		log_warn("%s", text.text);
		fleet_event(fleet, now_ns, "", "certificate", text.text);
	}

	if (r == 0)
		return;
	if (r > 0)
		(void)error_set(&text, 0, "the changed files are in use");
	else
		(void)error_set(&text, r, "the files before stay in use: %s", error.text);
	if (r < 0)
		log_error("certificates: %s", text.text);
	else
		log_info("certificates: %s", text.text);
	fleet_event(fleet, now_ns, "", "certificate", text.text);
}
