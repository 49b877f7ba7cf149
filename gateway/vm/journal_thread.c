#include "vm/journal_thread.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fd.h"

enum ticket_state {
	TICKET_FREE,
	TICKET_QUEUED, /* queued, or being written */
	TICKET_DONE,
};

struct ticket {
	enum ticket_state state;
	int result; /* valid in DONE */
	uint64_t order; /* place in the queue: the ticket with the lowest number is written first */
	struct vm_journal_entry entry;
	/* directory to store the incarnation in; NULL: the ticket is for a journal record */
	const char *dir;
	struct incarnation incarnation;
	/* file to replace by `text`; NULL: the ticket is for something else */
	const char *path, *text;
	size_t size;
	bool is_trial; /* remove the file after the write */
};

#define N_TICKETS   (VM_JOURNAL_VMS_MAX + 3)
#define TRIAL_BYTES 4096 /* a block of the file system */

struct journal_thread {
	struct vm_journal *journal; /* the journal; only the thread uses it */
	pthread_t thread;
	int fd;
	pthread_mutex_t lock; /* protects all members below; never held during I/O */
	pthread_cond_t queued;
	bool stop;
	uint64_t next_order;
	struct ticket tickets[N_TICKETS];
};

/* Returns the oldest ticket in @state, or NULL. */
static struct ticket *oldest(struct journal_thread *t, enum ticket_state state)
{
	struct ticket *found = NULL;

	for (size_t i = 0; i < N_TICKETS; i++) {
		if (t->tickets[i].state == state && (!found || t->tickets[i].order < found->order))
			found = &t->tickets[i];
	}
	return found;
}

/* Write the ticket's record. Called without the lock, because only the thread touches a queued
 * ticket. */
static int write_ticket(struct journal_thread *t, const struct ticket *ticket)
{
	const struct vm_journal_entry *e = &ticket->entry;

	int r;

	if (ticket->path) {
		r = fd_write_file_atomic(ticket->path, ticket->text, ticket->size);
		if (ticket->is_trial && unlink(ticket->path) < 0 && r == 0)
			r = -errno;
		return r;
	}
	return ticket->dir ? incarnation_store(ticket->dir, &ticket->incarnation)
			   : vm_journal_append(t->journal, e->vm, e->owner, e->term, e->state,
					     e->is_wanted, e->with);
}

static void *run(void *arg)
{
	struct journal_thread *t = arg;
	const uint64_t one = 1;

	(void)pthread_mutex_lock(&t->lock);
	for (;;) {
		struct ticket *ticket = oldest(t, TICKET_QUEUED);
		int r;

		if (!ticket) {
			if (t->stop)
				break;
			(void)pthread_cond_wait(&t->queued, &t->lock);
			continue;
		}
		(void)pthread_mutex_unlock(&t->lock);
		r = write_ticket(t, ticket);
		(void)pthread_mutex_lock(&t->lock);
		ticket->result = r;
		ticket->state = TICKET_DONE;
		/* This fails only if the counter is full, and then the descriptor is readable
		 * anyway. */
		(void)!write(t->fd, &one, sizeof(one));
	}
	(void)pthread_mutex_unlock(&t->lock);
	return NULL;
}

int journal_thread_open(struct vm_journal *journal, struct journal_thread **ret_thread)
{
	struct journal_thread *t = calloc(1, sizeof(*t));
	sigset_t all, before;
	int r;

	if (!t)
		return -ENOMEM;
	t->journal = journal;
	t->tickets[JOURNAL_THREAD_TRIAL].is_trial = true;
	t->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (t->fd < 0) {
		r = -errno;
		free(t);
		return r;
	}
	(void)pthread_mutex_init(&t->lock, NULL);
	(void)pthread_cond_init(&t->queued, NULL);
	/* block all signals in the new thread, because the loop's thread must receive them */
	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&t->thread, NULL, run, t);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r != 0) {
		fd_close(t->fd);
		free(t);
		return -r;
	}
	*ret_thread = t;
	return 0;
}

struct journal_thread *journal_thread_close(struct journal_thread *t)
{
	if (!t)
		return NULL;
	(void)pthread_mutex_lock(&t->lock);
	t->stop = true;
	(void)pthread_cond_signal(&t->queued);
	(void)pthread_mutex_unlock(&t->lock);
	(void)pthread_join(t->thread, NULL);
	(void)pthread_cond_destroy(&t->queued);
	(void)pthread_mutex_destroy(&t->lock);
	fd_close(t->fd);
	free(t);
	return NULL;
}

int journal_thread_fd(const struct journal_thread *t)
{
	return t->fd;
}

/* Queue @ticket. Call with the lock held. */
static void queue(struct journal_thread *t, struct ticket *ticket)
{
	ticket->order = t->next_order++;
	ticket->state = TICKET_QUEUED;
	(void)pthread_cond_signal(&t->queued);
}

int journal_thread_append(struct journal_thread *t, size_t ticket, const char *vm,
			  const char *owner, uint64_t term, enum vm_state state,
			  bool is_wanted, const char *with)
{
	struct ticket *to = ticket < JOURNAL_THREAD_INCARNATION ? &t->tickets[ticket] : NULL;
	int r = -EBUSY;

	if (!to)
		return -EBUSY;
	(void)pthread_mutex_lock(&t->lock);
	if (to->state == TICKET_FREE) {
		to->entry = (struct vm_journal_entry){.term = term, .state = state,
							.is_wanted = is_wanted};
		(void)snprintf(to->entry.vm, sizeof(to->entry.vm), "%s", vm);
		(void)snprintf(to->entry.owner, sizeof(to->entry.owner), "%s", owner);
		(void)snprintf(to->entry.with, sizeof(to->entry.with), "%s", with);
		queue(t, to);
		r = 0;
	}
	(void)pthread_mutex_unlock(&t->lock);
	return r;
}

int journal_thread_store(struct journal_thread *t, const char *dir,
			 const struct incarnation *incarnation)
{
	struct ticket *to = &t->tickets[JOURNAL_THREAD_INCARNATION];
	int r = -EBUSY;

	(void)pthread_mutex_lock(&t->lock);
	if (to->state == TICKET_FREE) {
		to->dir = dir;
		to->incarnation = *incarnation;
		queue(t, to);
		r = 0;
	}
	(void)pthread_mutex_unlock(&t->lock);
	return r;
}

static int queue_file(struct journal_thread *t, struct ticket *to, const char *path,
		      const char *text, size_t size)
{
	int r = -EBUSY;

	(void)pthread_mutex_lock(&t->lock);
	if (to->state == TICKET_FREE) {
		to->path = path;
		to->text = text;
		to->size = size;
		queue(t, to);
		r = 0;
	}
	(void)pthread_mutex_unlock(&t->lock);
	return r;
}

int journal_thread_write(struct journal_thread *t, const char *path, const char *text, size_t size)
{
	return queue_file(t, &t->tickets[JOURNAL_THREAD_DRAINED], path, text, size);
}

int journal_thread_try(struct journal_thread *t, const char *path)
{
	static const char zeros[TRIAL_BYTES];

	return queue_file(t, &t->tickets[JOURNAL_THREAD_TRIAL], path, zeros, sizeof(zeros));
}

bool journal_thread_take(struct journal_thread *t, size_t *ret_ticket, int *ret_result)
{
	struct ticket *ticket;
	uint64_t count;

	(void)pthread_mutex_lock(&t->lock);
	ticket = oldest(t, TICKET_DONE);
	if (ticket) {
		*ret_ticket = (size_t)(ticket - t->tickets);
		*ret_result = ticket->result;
		ticket->state = TICKET_FREE;
	} else {
		/* no result is left: empty the eventfd, so that poll no longer reports it */
		(void)!read(t->fd, &count, sizeof(count));
	}
	(void)pthread_mutex_unlock(&t->lock);
	return ticket != NULL;
}

bool journal_thread_is_idle(struct journal_thread *t)
{
	bool is_idle;

	(void)pthread_mutex_lock(&t->lock);
	is_idle = !oldest(t, TICKET_QUEUED) && !oldest(t, TICKET_DONE);
	(void)pthread_mutex_unlock(&t->lock);
	return is_idle;
}
