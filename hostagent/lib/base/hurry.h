/* hurry.h - gives this process's threads precedence over all other processes, for a moment.
 *
 * Why: while an agent's program is replaced, its guests stand still and clients wait. On a busy
 * host, other processes would prolong this. The real-time policy SCHED_RR is used, because a nice
 * value counts only within the session or the unit (sched_autogroup, cgroups). Child processes and
 * new threads do not inherit the policy.
 *
 * Errors are ignored: without the permission (CAP_SYS_NICE), the replacement only takes longer.
 * Threads: any.
 */
#ifndef BASE_HURRY_H
#define BASE_HURRY_H

#include <pthread.h>
#include <stdbool.h>

/* Give one thread precedence. Call this right after the thread was made, because on a busy host a
 * new thread may wait long before it runs. */
void hurry_thread(pthread_t thread);
/* true: give all threads of this process precedence; false: schedule all of them normally again. */
void hurry_all_threads(bool is_wanted);

#endif
