/* agent_private.h - the agent's state, private to the agent's own files:
 *
 *	agent.c		opens the VMs and the server for other hosts, the loop, signals, the end
 *	agent_gateway.c	the control connection: connects, sends beats, reports and answers, takes
 *			orders, leases and witness keys
 *
 * Threads: the control thread, apart from agent_find_vm().
 */
#ifndef AGENT_PRIVATE_H
#define AGENT_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>

#include "agent_replace.h"
#include "base/clock.h"
#include "config/agent_config.h"
#include "guard/guard.h"
#include "link/link.h"
#include "link/redial.h"
#include "peer/server.h"
#include "replace/onward.h"
#include "supervision/gateway_view.h"
#include "vm/vm.h"
#include "wire/frame.h"
#include "wire/tls.h"

/* after a lost connection, how long to wait before the next try; the wait doubles each time */
#define AGENT_RETRY_MIN_NS (100 * CLOCK_NS_PER_MS)
#define AGENT_RETRY_MAX_NS (1600 * CLOCK_NS_PER_MS)
/* fits a REPORT, the longest frame that we send */
#define AGENT_FRAME_BUFFER (WIRE_HEADER_SIZE + 16384)

struct agent {
	const struct agent_config *config;
	struct wire_tls_context *tls;
	uint64_t tls_looked_ns; /* when the certificates' files were last checked */
	struct wire_tls_context *peer_tls; /* TLS context for connections from other hosts; NULL:
					    * peer_listen is not set */
	struct peer_server *peers;	   /* NULL: peer_listen is not set */
	struct gateway_view view;
	struct vm *vms[AGENT_VMS_MAX];
	uint32_t n_vms;
	struct guard *guard; /* NULL: the guard could not be opened */
	struct link *link; /* NULL: not connected */
	bool is_up;	      /* the gateway has answered our HELLO on `link` with WELCOME */
	struct redial redial; /* how soon to connect again after the link was lost */
	uint64_t connect_at_ns, retry_ns, beat_at_ns, report_at_ns;
	/* clock_boot_ns() of the newest BEAT on any connection; 0: none yet */
	uint64_t beat_sent_ns;
	/* the highest incarnation of all gateways that this host has obeyed; it is written to a
	 * file before the host obeys */
	uint64_t obeyed;
	uint32_t seq;  /* sequence number of the next control frame */
	int wake_fd;   /* eventfd, written when a VM has a report or an answer to send */
	int signal_fd; /* made by signals_open() */
	bool must_stop;
	struct agent_replace replace;
	struct onward *onward; /* what the agent's last program handed on; NULL: nothing */
	uint8_t buffer[AGENT_FRAME_BUFFER];
};

/* agent.c. Returns the VM of this name, or NULL. Any thread may call this after the list of VMs is
 * complete. */
struct vm *agent_find_vm(const struct agent *a, const char *name);

/* agent_gateway.c. Connect to the gateway, and exchange HELLO and WELCOME. Blocks, perhaps for
 * seconds. After a failure, a->connect_at_ns says when to call this again. */
void agent_gateway_connect(struct agent *a);
/* Close the connection, log @why, and plan the next one. */
void agent_gateway_disconnect(struct agent *a, const char *why);
/* Handle all frames that have arrived. Does nothing without a connection. Can disconnect. */
void agent_gateway_receive(struct agent *a);
/* Send what is due: the drain, beats, answers to orders, reports. @is_woken: a VM has news, so send
 * the reports now. Can disconnect. */
void agent_gateway_say(struct agent *a, uint64_t now_ns, bool is_woken);

#endif
