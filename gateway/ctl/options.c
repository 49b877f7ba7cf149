#include "ctl/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "ctl/ctl.h"
#include "wire/msg.h"

static void usage(FILE *out)
{
	fprintf(out,
		"usage: holdfastctl [OPTION...] VERB [NAME [HOST]]\n\n"
		"Asks a holdfast-gateway.\n\n");
	for (size_t i = 0; i < verbs_n; i++)
		fprintf(out, "  %-10s%-11s %s\n", verbs[i].words,
			verbs[i].needs_host ? verbs[i].needs_vm ? " NAME HOST" : " HOST"
					    : verbs[i].needs_vm ? " NAME" : "",
			verbs[i].help);
	fprintf(out,
		"\n  --json             the gateway's answer as it is, one JSON object a line\n"
		"  --follow           events: go on until interrupted\n"
		"  --to HOST          move: the host that is to run it; default: its other host\n"
		"  --with HOST        protect: the host that is to stand by, such as the spare\n"
		"  --on HOST          start: the host whose disks are to be started\n"
		"  --lose             start: also if writes that clients know of may be lost;\n"
		"                     unprotect: also if the copy may be all that is left;\n"
		"                     owner: also if another host may have more of the guest;\n"
		"                     failover: from an older copy, if that is all there is; in\n"
		"                     a conflict: promote the standby's copy\n"
		"  --torn             start: also disks that are an unfinished copy\n"
		"  --off HOST         start, failover: this host may run the guest, and is\n"
		"                     switched off\n"
		"  --unprotected-ok   drain: agree that guests have no copy until undrain\n"
		"  --wait             drain: wait for guests that cannot be moved yet\n"
		"  --leave            drain: go on without guests that cannot be moved\n"
		"  --no-wait          protect, unprotect, failover, move, owner, verify, drill,\n"
		"                     start, drain, undrain: return once it has begun\n"
		"  --timeout SECONDS  stop waiting after that long; what was begun goes on, but a\n"
		"                     drain is given up\n"
		"  --config FILE      settings (" OPTIONS_CONFIG_DEFAULT ")\n"
		"  --gateway IP:PORT, --ca FILE, --crl FILE, --cert FILE, --key FILE\n"
		"                     override the file's settings\n"
		"  --help, --version\n\n"
		"exit status: 0 done, 1 failed, 2 usage\n\nThe file:\n");
	config_print_help(out, ctl_config_keys, ctl_n_config_keys);
}

int options_misuse(const char *what, const char *which)
{
	fprintf(stderr, "holdfastctl: %s%s%s; try: holdfastctl --help\n", what, which ? " " : "",
		which ? which : "");
	return 2;
}

static int parse_timeout(const char *text, uint64_t *ret_seconds)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (errno || *end || end == text || text[0] == '-' || value == 0 || value > 86400)
		return -EINVAL;
	*ret_seconds = value;
	return 0;
}

static const struct option options[] = {
	{"json", no_argument, NULL, 'j'},	  {"follow", no_argument, NULL, 'f'},
	{"no-wait", no_argument, NULL, 'n'},	  {"timeout", required_argument, NULL, 't'},
	{"config", required_argument, NULL, 'c'}, {"gateway", required_argument, NULL, 'g'},
	{"ca", required_argument, NULL, 'a'},	  {"crl", required_argument, NULL, 'r'},
	{"cert", required_argument, NULL, 'e'},	  {"key", required_argument, NULL, 'k'},
	{"to", required_argument, NULL, 'o'},	  {"on", required_argument, NULL, 'i'},
	{"with", required_argument, NULL, 'W'},	  {"off", required_argument, NULL, 'O'},
	{"lose", no_argument, NULL, 'L'},	  {"wait", no_argument, NULL, 'w'},
	{"torn", no_argument, NULL, 'T'},
	{"unprotected-ok", no_argument, NULL, 'u'}, {"leave", no_argument, NULL, 'l'},
	{"help", no_argument, NULL, 'h'},	  {"version", no_argument, NULL, 'v'},
	{NULL, 0, NULL, 0},
};

/* Handle one option. Returns -1 to continue, or the exit status. */
static int parse_option(int c, struct options *o)
{
	const struct {
		int c;
		const char **value;
	} texts[] = {{'o', &o->to},	 {'i', &o->on}, {'W', &o->with}, {'c', &o->config},
		     {'O', &o->off},	 {'g', &o->gateway}, {'a', &o->ca}, {'r', &o->crl},
		     {'e', &o->cert},	 {'k', &o->key}};

	const struct {
		int c;
		bool *value;
	} flags[] = {{'j', &o->json}, {'f', &o->follow}, {'n', &o->no_wait}, {'w', &o->wait},
		     {'l', &o->leave}, {'u', &o->unprotected_ok}, {'L', &o->lose}, {'T', &o->torn}};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		if (texts[i].c != c)
			continue;
		*texts[i].value = optarg;
		return -1;
	}
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
		if (flags[i].c != c)
			continue;
		*flags[i].value = true;
		return -1;
	}
	switch (c) {
	case 't':
		return parse_timeout(optarg, &o->timeout_s) < 0
			       ? options_misuse("--timeout takes 1..86400 seconds, not", optarg)
			       : -1;
	case 'h':
		usage(stdout);
		return 0;
	case 'v':
		printf("holdfastctl %s\n", HOLDFAST_VERSION);
		return 0;
	default:
		fprintf(stderr, "try: holdfastctl --help\n");
		return 2;
	}
}

int options_read(int argc, char **argv, struct options *o)
{
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		int status = parse_option(c, o);

		if (status >= 0)
			return status;
	}
	return -1;
}

/* Is the verb with @request one of those that @requests names, with commas between them? */
static bool is_one_of(const char *request, const char *requests)
{
	size_t n = strlen(request);

	for (const char *p = requests; *p; p += strspn(p, ", ")) {
		size_t length = strcspn(p, ",");

		if (length == n && strncmp(p, request, n) == 0)
			return true;
		p += length;
	}
	return false;
}

int options_check(const struct verb *verb, const struct options *o)
{
	const struct {
		bool is_given;
		const char *option, *requests;
	} rows[] = {
		{o->follow, "--follow", "events"},
		{o->to, "--to", "move"},
		{o->on, "--on", "start"},
		{o->off, "--off", "start, failover"},
		{o->lose, "--lose", "start, unprotect, owner, failover"},
		{o->torn, "--torn", "start"},
		{o->with, "--with", "protect"},
		{o->wait, "--wait", "drain"},
		{o->leave, "--leave", "drain"},
		{o->unprotected_ok, "--unprotected-ok", "drain"},
	};
	const char *names[] = {o->to, o->on, o->with, o->off};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (!rows[i].is_given || is_one_of(verb->request, rows[i].requests))
			continue;
		fprintf(stderr, "holdfastctl: %s goes with %s, not %s; try: holdfastctl --help\n",
			rows[i].option, rows[i].requests, verb->words);
		return 2;
	}
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (names[i] && !wire_name_is_valid(names[i]))
			return options_misuse("a name is [a-z0-9-], 1 to 63 characters, not",
					      names[i]);
	}
	if (o->wait && o->leave)
		return options_misuse("--wait waits for guests that cannot be moved, --leave goes "
				      "on without them: give one of the two", NULL);
	return 0;
}
