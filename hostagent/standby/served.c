/* Finds out whether the vCPUs of a promoted guest run. Before the guest runs, QEMU is asked for the
 * ids of the vCPU threads, because the agent closes QEMU's monitor after that. While the guest
 * runs, the kernel is asked for the CPU time of these threads. */
#include "base/clock.h"
#include "base/log.h"
#include "standby/standby_private.h"
#include "vmm/vcpus.h"

#define LOOK_NS	   (200 * CLOCK_NS_PER_MS)
#define LOOK_FOR_NS (60 * CLOCK_NS_PER_S) /* for how long after the promotion to check */

void standby_served_prepare(struct standby *sb)
{
	struct error error;

	sb->served.vcpus = vcpus_close(sb->served.vcpus);
	sb->served.look_ns = UINT64_MAX;
	if (!sb->qemu.qmp || vcpus_open(sb->qemu.qmp, sb->qemu.pid, &sb->served.vcpus, &error) < 0)
		sb->served.vcpus = NULL; /* then the CPU time stays unknown */
}

void standby_served_begin(struct standby *sb)
{
	sb->served.term = sb->rf.meta.term;
	sb->served.begun_ns = clock_mono_ns();
	sb->served.vcpu_ns = 0;
	sb->served.look_ns = sb->served.vcpus ? sb->served.begun_ns : UINT64_MAX;
}

void standby_served_look(struct standby *sb, uint64_t now_ns)
{
	if (now_ns < sb->served.look_ns)
		return;
	sb->served.vcpu_ns += vcpus_busy_ns(sb->served.vcpus);
	sb->dirty = true;
	sb->served.look_ns =
		now_ns - sb->served.begun_ns < LOOK_FOR_NS ? now_ns + LOOK_NS : UINT64_MAX;
}
