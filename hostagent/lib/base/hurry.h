/* hurry.h - lets this process come before all others for a moment.
 *
 * Why: while an agent's program is replaced, its guests stand still and clients wait. On a busy
 * host other processes would make that longer. The real-time policy SCHED_RR is used, because a
 * nice value counts only within the session or the unit (sched_autogroup, cgroups). Child
 * processes and new threads do not inherit it.
 *
 * An error is ignored: without the right (CAP_SYS_NICE) it only takes longer. Threads: any.
 */
#ifndef BASE_HURRY_H
#define BASE_HURRY_H

#include <pthread.h>
#include <stdbool.h>

/* Call it right after the thread was made: on a busy host a new thread may wait long for its turn.
 * */
void hurry_thread(pthread_t thread);
void hurry_all_threads(bool is_wanted); /* false: they are as usual again */

#endif
