/* Reads the command that starts the standby's QEMU. The file is read before each start, because the
 * operator may have corrected it meanwhile. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "standby/standby_private.h"

#define LOG_EXTRA_BYTES (UINT64_C(64) << 20)

/* Set the limit of one epoch: log_bytes_max if it is set, else twice the guest's RAM plus 64
 * MiB. */
static void set_log_limit(struct standby *sb)
{
	sb->log_bytes_max = sb->config.log_bytes_max
				    ? sb->config.log_bytes_max
				    : 2 * sb->qemu.cmdline.ram_bytes + LOG_EXTRA_BYTES;
	sb->log.bytes_max = sb->log.check.bytes_max = sb->log_bytes_max;
}

int standby_load_command(struct standby *sb, struct error *ret_error)
{
	AUTO_FREE char *command = NULL;
	struct error why;
	size_t size;
	int r = fd_read_trusted_file(sb->config.command_file, CMDLINE_BYTES_MAX, &command, &size);

	if (r < 0)
		return error_set(ret_error, r, "command_file %s: %s", sb->config.command_file,
				 fd_trust_text(r));
	r = qemu_set_command(&sb->qemu, command, &why);
	if (r < 0)
		(void)error_set(ret_error, r, "command_file %s: %.700s", sb->config.command_file,
				why.text);
	else
		set_log_limit(sb);
	if (r > 0)
		log_info("vm=%s command_file %s is read", sb->config.vm, sb->config.command_file);
	return r;
}

void standby_say_way_out(const struct standby *sb, struct error *error)
{
	const struct error why = *error;

	/* The advice comes before the reason, because the end of a long text may be cut off. */
	(void)error_set(error, 0,
			"the copy is kept; correct %.160s on %.64s and give `failover` again, "
			"which reads it anew: %.700s",
			sb->config.command_file, sb->config.host ? sb->config.host : "this host",
			why.text);
}
