/* groups.h - a member of a multicast group: answers each datagram that is sent to the group.
 *
 * Why: a bridge with IGMP or MLD snooping sends a group's frames only to ports behind which it has
 * heard of a member. After a failover the guest is behind another port. A test sees by the answers
 * whether the group's frames still reach the guest.
 *
 * Where: hf-service. Threads: group_serve() runs in a thread of its own for each group.
 */
#ifndef GUEST_GROUPS_H
#define GUEST_GROUPS_H

#define GUEST_GROUP_PORT 7001 /* UDP */

/* Join the group @text, "ADDRESS%DEVICE" with an IPv4 or IPv6 address. Returns the group's socket,
 * or -errno; -EINVAL if @text is not of this form, or the device is not there. */
int group_join(const char *text);

/* The function of a thread: send each datagram's content back to its sender, for ever. @arg is the
 * socket's number as a pointer. */
void *group_serve(void *arg);

#endif
