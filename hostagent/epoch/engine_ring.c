/* The files of the disks' rings; see engine_private.h. */
#include "epoch/engine_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"

#define RING_PATH_BYTES 512u

static void ring_path(const char *run_dir, const char *vm, const char *disk,
		      char ret_path[RING_PATH_BYTES])
{
	/* no VM's name has a dot, so no two VMs have the same path */
	(void)snprintf(ret_path, RING_PATH_BYTES, "%s/%s.%s.ring", run_dir, vm, disk);
}

void engine_remove_ring(const char *run_dir, const char *vm, const char *disk)
{
	char path[RING_PATH_BYTES];

	ring_path(run_dir, vm, disk, path);
	if (unlink(path) < 0 && errno != ENOENT)
		log_warn("vm=%s disk=%s %s cannot be removed, ignoring: it only holds memory: %m",
			 vm, disk, path);
}

int engine_ring_open(struct engine *e, struct engine_disk *disk, struct error *ret_error)
{
	const char *name = disk->found.name, *why_new;
	const struct disk_ring_id id = {e->config.vm, name, e->term};
	const uint64_t soft_bytes = e->config.disk_ring_bytes, bytes = disk->found.size_bytes;
	char path[RING_PATH_BYTES];
	int r;

	ring_path(e->config.run_dir, e->config.vm, name, path);
	r = disk_ring_open(path, &id, soft_bytes, bytes, &disk->ring, ret_error);
	if (r < 0) {
		log_warn("vm=%s disk=%s will be copied whole after a restart of this agent: %s",
			 e->config.vm, name, ret_error->text);
		return disk_ring_new(soft_bytes, bytes, &disk->ring, ret_error);
	}
	why_new = disk_ring_why_new(disk->ring);
	disk->is_base_known = !why_new; /* the ring of an earlier agent has the hashes already */
	log_info("vm=%s term=%" PRIu64 " disk=%s %s%s", e->config.vm, e->term, name,
		 why_new ? "has a new log of its writes: " : "goes on with an earlier agent's log",
		 why_new ? why_new : "");
	return 0;
}

void engine_disks_term(struct engine *e)
{
	for (uint32_t i = 0; i < e->disks.n; i++)
		disk_ring_set_term(e->disks.disk[i].ring, e->term);
}
