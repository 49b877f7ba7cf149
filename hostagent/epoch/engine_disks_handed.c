/* Hands the disks' rings, servers and mirrors on to the agent's next program, and takes them over
 * there. See engine_handed.c.
 *
 * The ring's file, QEMU's job and the server's process stay as they are. At that time the guest is
 * stopped and every record is committed, so the ring is empty. */
#include "epoch/engine_private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

void engine_disks_hand_on(struct engine *e, struct handed *h)
{
	for (uint32_t i = 0; i < e->disks.n; i++) {
		struct engine_disk *disk = &e->disks.disk[i];
		struct handed_disk *to = &h->disk[h->n_disks++];

		(void)snprintf(to->name, sizeof(to->name), "%s", disk->found.name);
		to->overflows = disk->counts.overflows;
		to->disconnections = disk->counts.disconnections;
		to->ring_fd = disk_ring_hand_on(TAKE(disk->ring));
		disk_server_hand_on(TAKE(disk->server), &to->server_pid, &to->lifeline_fd,
				    &to->log_fd);
	}
}

static struct handed_disk *find(struct handed *h, const char *name)
{
	for (uint32_t i = 0; i < h->n_disks; i++)
		if (strcmp(h->disk[i].name, name) == 0)
			return &h->disk[i];
	return NULL;
}

/* Continue with the server and the mirror of @disk. */
static int resume_mirror(struct engine *e, struct engine_disk *disk, struct handed_disk *from,
			 struct error *ret_error)
{
	char label[192];
	struct disk_server_config config = {.label = label, .socket = disk->socket};
	int r;

	snprintf(label, sizeof(label), "vm=%s disk=%s", e->config.vm, disk->found.name);
	r = disk_server_resume(&config, from->server_pid, from->lifeline_fd, from->log_fd,
			       &disk->server, ret_error);
	if (r < 0)
		return r;
	from->lifeline_fd = from->log_fd = -1; /* the server owns them now */
	return mirror_resume(&disk->mirror, e->guest.qmp, &disk->found, ret_error);
}

/* Check that while no program ran, nothing was written, and QEMU stayed connected to the server. */
static int check_ring(struct engine_disk *disk, const struct handed_disk *from,
		      struct error *ret_error)
{
	disk_ring_get_counts(disk->ring, &disk->counts);
	if (disk_ring_head(disk->ring) != disk_ring_tail(disk->ring))
		return error_set(ret_error, -ESTALE, "disk %s was written meanwhile",
				 disk->found.name);
	if (disk->counts.overflows != from->overflows ||
	    disk->counts.disconnections != from->disconnections)
		return error_set(ret_error, -ESTALE, "a write to disk %s did not arrive",
				 disk->found.name);
	return 0;
}

int engine_ring_resume(struct engine *e, struct engine_disk *disk, struct error *ret_error)
{
	struct handed_disk *from = find(e->config.handed, disk->found.name);
	const struct disk_ring_id id = {e->config.vm, disk->found.name, e->term};
	int r;

	if (!from)
		return error_set(ret_error, -ENOENT, "disk %s was not handed on", disk->found.name);
	r = disk_ring_resume(from->ring_fd, &id, e->config.disk_ring_bytes, disk->found.size_bytes,
			     &disk->ring, ret_error);
	if (r < 0)
		return r;
	from->ring_fd = -1; /* the ring owns it now */
	disk->encoded = disk_ring_tail(disk->ring);
	r = check_ring(disk, from, ret_error);
	if (r < 0)
		return r;
	disk->is_base_known = true;
	return resume_mirror(e, disk, from, ret_error);
}
