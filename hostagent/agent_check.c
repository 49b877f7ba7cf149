#include "agent_check.h"

#include <errno.h>
#include <string.h>

#include "supervision/obeyed.h"
#include "standby/qemu.h"
#include "vm/vm.h"

int agent_tls_new(const struct agent_config *config, enum wire_tls_side side,
		  struct wire_tls_context **ret_tls, struct error *ret_error)
{
	struct wire_tls_config tls_config = {
		.ca_path = config->ca,
		.crl_path = *config->crl ? config->crl : NULL,
		.cert_path = config->cert,
		.key_path = config->key,
	};
	struct wire_tls_context *tls;
	int r = wire_tls_context_new(&tls_config, side, &tls, ret_error);

	if (r < 0)
		return r;
	if (wire_tls_context_self(tls)->role != WIRE_PEER_HOST) {
		(void)error_set(ret_error, r,
				"%s: a certificate of role %s; holdfast-pki issue DIR host NAME "
				"makes the right one",
				config->cert,
				wire_peer_role_name(wire_tls_context_self(tls)->role));
		wire_tls_context_free(tls);
		return -EINVAL;
	}
	*ret_tls = tls;
	return 0;
}

static unsigned int check_tls(const struct agent_config *config, FILE *out)
{
	struct error error;
	struct wire_tls_context *tls;

	if (agent_tls_new(config, WIRE_TLS_CLIENT, &tls, &error) < 0) {
		fprintf(out, "%s\n", error.text);
		return 1;
	}
	wire_tls_context_free(tls);
	return 0;
}

/* Check a VM's QEMU command line with the code that the standby uses. */
static unsigned int check_command(const struct agent_config *config,
				  const struct agent_vm_config *vm, FILE *out)
{
	char ram_path[AGENT_PATH_MAX + 8];
	struct error error;
	struct qemu qemu;
	int r;

	if (!vm->command)
		return 0;
	snprintf(ram_path, sizeof(ram_path), "%s/ram", vm->state_dir);
	r = qemu_init(&qemu, vm->name, "standby", config->run_dir, ram_path, &error);
	qemu.taps = &vm->taps;
	if (r == 0)
		r = qemu_set_command(&qemu, vm->command, &error);
	if (r < 0)
		fprintf(out, "%s: command_file %s: %s\n", vm->file, vm->command_file, error.text);
	qemu_done(&qemu);
	return r < 0;
}

static unsigned int check_vm(const struct agent_config *config, const struct agent_vm_config *vm,
			     FILE *out)
{
	unsigned int n = 0;
	int r;

	if (*vm->fault || *vm->standby_fault) {
		fprintf(out, "%s\n", *vm->fault ? vm->fault : vm->standby_fault);
		n++;
	}
	if (*vm->fault)
		return n;
	r = vm_check_role(config, vm->name);
	if (r < 0) {
		fprintf(out, "%s/%s.role (or the one in %s): %s\n", config->run_dir, vm->name,
			config->role_dir, r == -EINVAL ? "damaged" : strerror(-r));
		n++;
	}
	if (*vm->drill_fault) {
		fprintf(out, "%s\n", vm->drill_fault);
		n++;
	}
	return n + check_command(config, vm, out);
}

unsigned int agent_check(const struct agent_config *config, FILE *out)
{
	struct error error;
	unsigned int n = check_tls(config, out);
	uint64_t obeyed;

	if (obeyed_load(config->role_dir, &obeyed, &error) < 0) {
		fprintf(out, "%s\n", error.text);
		n++;
	}
	for (uint32_t i = 0; i < config->n_vms; i++)
		n += check_vm(config, &config->vms[i], out);
	return n;
}
