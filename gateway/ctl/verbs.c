#include "ctl/verbs.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "ctl/show.h"

static bool print_status(const json_t *answer)
{
	show_status(stdout, answer);
	return true;
}

static bool print_vm(const json_t *answer)
{
	show_vm(stdout, answer);
	return true;
}

static bool print_counters(const json_t *answer)
{
	show_counters(stdout, answer);
	return true;
}

static bool print_done(const json_t *answer)
{
	show_done(stdout, answer);
	return true;
}

static bool print_nothing(const json_t *answer)
{
	(void)answer; /* the events follow as separate lines */
	return true;
}

static bool print_check(const json_t *answer)
{
	return show_check(stdout, answer) == 0;
}

const struct verb verbs[] = {
	{"status", "status", false, false, false, print_status, "all VMs and hosts"},
	{"vm show", "vm-show", true, false, false, print_vm,
	 "one VM: term, owner, epochs, figures"},
	{"vm probe", "vm-probe", true, false, false, print_done,
	 "ask its hosts and guest on the wire for a second"},
	{"protect", "protect", true, false, true, print_done,
	 "begin to protect a VM; waits until it is"},
	{"unprotect", "unprotect", true, false, true, print_done,
	 "end it; the guest goes on where it is"},
	{"failover", "failover", true, false, true, print_done,
	 "promote a protected VM's standby now, from the last committed epoch"},
	{"move", "move", true, false, true, print_done,
	 "let the other host run a protected VM; nothing is lost"},
	{"verify", "verify", true, false, true, print_done,
	 "compare all of the standby's copy with the guest; waits for the result"},
	{"drill", "drill", true, false, true, print_done,
	 "start the standby's copy, isolated, look whether it runs, end it; waits for the result"},
	{"owner", "owner", true, true, true, print_done,
	 "in a conflict: HOST has the right guest; one on the other host is stopped"},
	{"start", "start", true, false, true, print_done,
	 "after a power failure of both hosts: start the guest from the newest disks"},
	{"drain", "drain", false, true, true, print_done,
	 "move all guests of HOST away, end its copies, keep it empty"},
	{"undrain", "undrain", false, true, true, print_done,
	 "take a drained HOST back; guests stay where they are"},
	{"takeover", "takeover", false, false, false, print_done,
	 "hosts obeyed a younger gateway, which is gone: obey this one"},
	{"events", "events", false, false, false, print_nothing,
	 "what happened; --follow waits for more"},
	{"stats", "stats", false, false, false, print_counters,
	 "the gateway's counters, name=value"},
	{"check", "status", false, false, false, print_check,
	 "fail unless all is SAFE and connected"},
};

const size_t verbs_n = ARRAY_SIZE(verbs);

const struct verb *verbs_find(int argc, char **argv, int *ret_n_words)
{
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		const char *space = strchr(verbs[i].words, ' ');
		size_t first = space ? (size_t)(space - verbs[i].words) : strlen(verbs[i].words);

		if (argc < 1 || strlen(argv[0]) != first ||
		    strncmp(argv[0], verbs[i].words, first) != 0)
			continue;
		if (space && (argc < 2 || strcmp(argv[1], space + 1) != 0))
			continue;
		*ret_n_words = space ? 2 : 1;
		return &verbs[i];
	}
	return NULL;
}
