#include "agent_certificates.h"

#include <time.h>

#include "base/error.h"
#include "base/log.h"

void agent_certificates_tick(struct wire_tls_context *tls, struct wire_tls_context *peer_tls)
{
	struct error error;
	int r = wire_tls_context_refresh(tls, &error);

	if (r > 0)
		log_info("the changed certificate files are in use");
	else if (r < 0)
		log_error("the certificate files of before stay in use: %s", error.text);
	if (wire_tls_context_ends_soon(tls, (int64_t)time(NULL), &error))
		log_warn("%s", error.text);
	if (peer_tls)
		/* ignore the result: both contexts have the same files, so the call above has
		 * logged any error */
		(void)!wire_tls_context_refresh(peer_tls, &error);
}
