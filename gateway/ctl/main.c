/* main.c - holdfastctl: sends the request of one verb to the gateway and prints the answer. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "ctl/ctl.h"
#include "ctl/show.h"
#include "wire/msg.h"

#define CONFIG_DEFAULT	  "/etc/holdfast/holdfastctl.ini"
#define LOOK_DEFAULT_NS	  (60 * CLOCK_NS_PER_S)
#define CLOSED_UNANSWERED "the gateway closed without an answer"

struct options {
	const char *config, *gateway, *ca, *crl, *cert, *key;
	const char *to; /* value of --to; NULL: not given */
	const char *on; /* value of --on; NULL: not given */
	const char *with; /* value of --with; NULL: not given */
	const char *off; /* value of --off; NULL: not given */
	bool json, follow, no_wait, lose, torn, wait, leave, unprotected_ok;
	uint64_t timeout_s; /* value of --timeout; 0: not given */
};

struct verb {
	const char *words; /* the verb: one word or two */
	const char *request;
	bool needs_vm;
	bool needs_host;
	/* true if the gateway answers only when the hosts have carried out the request, or have
	 * stopped making progress */
	bool waits;
	bool (*show)(const json_t *answer); /* prints the answer; false: exit status 1 */
	const char *help;
};

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

static const struct verb verbs[] = {
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

static void usage(FILE *out)
{
	fprintf(out,
		"usage: holdfastctl [OPTION...] VERB [NAME [HOST]]\n\n"
		"Asks a holdfast-gateway.\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
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
		"  --config FILE      settings (" CONFIG_DEFAULT ")\n"
		"  --gateway IP:PORT, --ca FILE, --crl FILE, --cert FILE, --key FILE\n"
		"                     override the file's settings\n"
		"  --help, --version\n\n"
		"exit status: 0 done, 1 failed, 2 usage\n\nThe file:\n");
	config_print_help(out, ctl_config_keys, ctl_n_config_keys);
}

static int misuse(const char *what, const char *which)
{
	fprintf(stderr, "holdfastctl: %s%s%s; try: holdfastctl --help\n", what, which ? " " : "",
		which ? which : "");
	return 2;
}

/* Find the verb at the beginning of @argv, and set *ret_n_words to its number of words. Returns
 * NULL if there is no such verb. */
static const struct verb *find_verb(int argc, char **argv, int *ret_n_words)
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

/* Apply one setting from the command line, with the same checks as in the configuration file. */
static int override(struct ctl_config *config, size_t i, const char *text)
{
	char expected[160];

	if (!text)
		return 0;
	if (config_convert(&ctl_config_keys[i], text, (char *)config + ctl_config_keys[i].offset,
			   expected, sizeof(expected)) == 0)
		return 0;
	fprintf(stderr, "holdfastctl: --%s %s: expected %s\n", ctl_config_keys[i].name, text,
		expected);
	return -EINVAL;
}

static int load(const struct options *o, struct ctl_config *ret_config)
{
	const char *given[] = {o->gateway, o->ca, o->crl, o->cert, o->key};
	bool all_given = o->gateway && o->ca && o->cert && o->key;
	struct ctl_config config = {.look_ns = LOOK_DEFAULT_NS};
	struct error error;

	if (o->config || !all_given) {
		const char *path = o->config ? o->config : CONFIG_DEFAULT;
		int r = config_load(path, ctl_config_keys, ctl_n_config_keys, &config, &error);

		if (r < 0) {
			fprintf(stderr, "holdfastctl: %s%s\n", error.text,
				o->config ? "" : "; or give --gateway, --ca, --cert and --key");
			return r;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(given); i++) {
		int r = override(&config, i, given[i]);

		if (r < 0)
			return r;
	}
	*ret_config = config;
	return 0;
}

/* Print the first line of the answer, and set *ret_n_events to how many events follow it. Returns
 * the exit status: 1 if the gateway refused or `check` found a problem, 0 in any other case. */
static int first_line(const struct verb *verb, const struct options *o, const char *line,
		      uint64_t *ret_n_events)
{
	json_t *answer = json_loads(line, 0, NULL);
	bool ok = json_is_true(json_object_get(answer, "ok"));
	const char *error = json_string_value(json_object_get(answer, "error"));
	bool shown = true;

	if (o->json)
		printf("%s\n", line);
	else if (ok)
		shown = verb->show(answer);
	else
		fprintf(stderr, "holdfastctl: %s\n", error ? error : "the gateway's answer is no "
			"answer; is it a holdfast-gateway of this version?");
	if (o->json && ok && strcmp(verb->words, "check") == 0) {
		FILE *null = fopen("/dev/null", "we");

		shown = null && show_check(null, answer) == 0;
		if (null)
			fclose(null);
	}
	fflush(stdout);
	*ret_n_events = (uint64_t)json_integer_value(json_object_get(answer, "events"));
	json_decref(answer);
	return ok && shown ? 0 : 1;
}

static void further_line(const struct options *o, const char *line)
{
	json_t *event;

	if (o->json) {
		printf("%s\n", line);
		fflush(stdout);
		return;
	}
	event = json_loads(line, 0, NULL);
	if (event)
		show_event(stdout, event);
	json_decref(event);
}

static char *make_request(const struct verb *verb, const struct options *o, char *const *names)
{
	json_t *json = json_pack("{s:i, s:s}", "version", 1, "verb", verb->request);
	char *line;

	if (verb->needs_vm)
		(void)json_object_set_new(json, "vm", json_string(names[0]));
	if (verb->needs_host)
		(void)json_object_set_new(json, "host", json_string(names[verb->needs_vm]));
	if (o->wait)
		(void)json_object_set_new(json, "wait", json_true());
	if (o->leave)
		(void)json_object_set_new(json, "leave", json_true());
	if (o->unprotected_ok)
		(void)json_object_set_new(json, "unprotected_ok", json_true());
	if (o->timeout_s && strcmp(verb->request, "drain") == 0)
		(void)json_object_set_new(json, "timeout_s",
					  json_integer((json_int_t)o->timeout_s));
	if (o->to)
		(void)json_object_set_new(json, "host", json_string(o->to));
	if (o->on)
		(void)json_object_set_new(json, "host", json_string(o->on));
	if (o->with)
		(void)json_object_set_new(json, "with", json_string(o->with));
	if (o->off)
		(void)json_object_set_new(json, "off", json_string(o->off));
	if (o->lose)
		(void)json_object_set_new(json, "lose", json_true());
	if (o->torn)
		(void)json_object_set_new(json, "torn", json_true());
	if (o->follow)
		(void)json_object_set_new(json, "follow", json_true());
	if (o->no_wait)
		(void)json_object_set_new(json, "no_wait", json_true());
	line = json_dumps(json, JSON_COMPACT);
	json_decref(json);
	return line;
}

/* Ask the gateway for its status, to see whether it answers. Returns 1 if it answers, 0 if it
 * closes the connection without an answer. On error returns -errno and sets *ret_error. */
static int ask_status(const struct ctl_config *config, uint64_t deadline_ns,
		      struct error *ret_error)
{
	struct ctl *ctl = NULL;
	const char *line;
	int r = ctl_open(config, "{\"version\":1,\"verb\":\"status\"}", deadline_ns, &ctl,
			 ret_error);

	if (r == 0)
		r = ctl_line(ctl, deadline_ns, &line, ret_error);
	ctl_close(ctl);
	return r;
}

/* If @line is only a progress report, print its text and return true. */
static bool is_progress(const struct options *o, const char *line)
{
	json_t *json = json_loads(line, 0, NULL);
	const char *text = json_string_value(json_object_get(json, "progress"));
	bool is = text != NULL;

	if (is)
		printf("%s\n", o->json ? line : text);
	fflush(stdout);
	json_decref(json);
	return is;
}

/* Read the next line, as ctl_line() does. If the deadline passes while @verb waits for the hosts,
 * ask the gateway for its status on a second connection. If the gateway answers, wait again. But if
 * the user gave --timeout, do not wait again. */
static int answer_line(const struct verb *verb, const struct options *o,
		       const struct ctl_config *config, struct ctl *ctl, uint64_t deadline_ns,
		       const char **ret_line, struct error *ret_error)
{
	int r;

	while ((r = ctl_line(ctl, deadline_ns, ret_line, ret_error)) == -ETIMEDOUT && verb->waits &&
	       !o->timeout_s) {
		r = ask_status(config, clock_mono_ns() + config->look_ns, ret_error);
		if (r == 0)
			return error_set(ret_error, -ETIMEDOUT, CLOSED_UNANSWERED);
		if (r < 0)
			return -ETIMEDOUT;
		ret_error->text[0] = '\0';
		deadline_ns = clock_mono_ns() + config->look_ns;
	}
	return r;
}

/* The gateway has got the request, but the request did not end within --timeout. Sets @error to a
 * text for the operator. */
static void say_it_goes_on(const struct verb *verb, const struct options *o, char *const *names,
			   struct error *error)
{
	char show[WIRE_NAME_MAX + 16];

	(void)snprintf(show, sizeof(show), "%s%s", verb->needs_vm ? "vm show " : "status",
		       verb->needs_vm ? names[0] : "");
	(void)error_set(error, 0, "%s did not end within %" PRIu64 " s; it goes on at the gateway: "
			"`holdfastctl %s` and `holdfastctl events` say what becomes of it",
			verb->words, o->timeout_s, show);
}

/* Print the @n_events events that follow the first line, or with --follow all that ever come. Then
 * the answer is complete, so do not wait for the end of the connection: it may come after the
 * deadline, without TLS's closing alert, or not at all. @deadline_ns is that of --timeout. Returns
 * 1; 0 if the gateway has ended --follow; or -errno with *ret_error. */
static int events_lines(const struct options *o, const struct ctl_config *config, struct ctl *ctl,
			uint64_t deadline_ns, uint64_t n_events, struct error *ret_error)
{
	const char *line;
	int r = 1;

	while (r > 0 && !ferror(stdout) && (o->follow || n_events-- > 0)) {
		if (o->follow)
			deadline_ns = UINT64_MAX;
		else if (!o->timeout_s)
			deadline_ns = clock_mono_ns() + config->look_ns;
		r = ctl_line(ctl, deadline_ns, &line, ret_error);
		if (r > 0)
			further_line(o, line);
	}
	if (r == 0 && !o->follow)
		return error_set(ret_error, -EPROTO, "the gateway closed before the last event");
	return r;
}

static int run(const struct verb *verb, const struct options *o, char *const *names)
{
	AUTO_FREE char *request = make_request(verb, o, names);
	uint64_t deadline_ns = clock_mono_ns();
	struct ctl_config config;
	struct ctl *ctl = NULL;
	struct error error = {""};
	const char *line;
	uint64_t n_events;
	int status = 1, r;

	if (!request || load(o, &config) < 0)
		return 1;
	/* a drain has 5 s more, because the gateway itself ends it after timeout_s and answers */
	if (o->timeout_s)
		deadline_ns += (o->timeout_s + (strcmp(verb->request, "drain") == 0 ? 5 : 0)) *
			       CLOCK_NS_PER_S;
	else
		deadline_ns += config.look_ns;
	r = ctl_open(&config, request, deadline_ns, &ctl, &error);
	if (r == 0) {
		do
			r = answer_line(verb, o, &config, ctl, deadline_ns, &line, &error);
		while (r > 0 && is_progress(o, line));
		if (r == -ETIMEDOUT && verb->waits && o->timeout_s)
			say_it_goes_on(verb, o, names, &error);
	}
	if (r == 0)
		(void)error_set(&error, 0, CLOSED_UNANSWERED);
	if (r > 0) {
		status = first_line(verb, o, line, &n_events);
		if (status == 0)
			r = events_lines(o, &config, ctl, deadline_ns, n_events, &error);
	}
	if (error.text[0] && r <= 0) {
		fprintf(stderr, "holdfastctl: %s\n", error.text);
		status = 1;
	}
	if (ferror(stdout)) { /* each line was flushed */
		fprintf(stderr, "holdfastctl: the answer cannot be written to standard output\n");
		status = 1;
	}
	ctl_close(ctl);
	return status;
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
			       ? misuse("--timeout takes 1..86400 seconds, not", optarg) : -1;
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

/* Check that each option goes with the verb. Returns 0, or the exit status. */
static int check_options(const struct verb *verb, const struct options *o)
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
			return misuse("a name is [a-z0-9-], 1 to 63 characters, not", names[i]);
	}
	if (o->wait && o->leave)
		return misuse("--wait waits for guests that cannot be moved, --leave goes on "
			      "without them: give one of the two", NULL);
	return 0;
}

int main(int argc, char **argv)
{
	struct options o = {0};
	const struct verb *verb;
	int c, n_words = 0, n_names;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		int status = parse_option(c, &o);

		if (status >= 0)
			return status;
	}
	argc -= optind;
	argv += optind;
	if (argc == 0)
		return misuse("no verb", NULL);
	verb = find_verb(argc, argv, &n_words);
	if (!verb && strcmp(argv[0], "vm") == 0)
		return misuse("`vm show NAME` or `vm probe NAME` (`status` lists all VMs), not vm",
			      argv[1]);
	if (!verb)
		return misuse("unknown verb", argv[0]);
	n_names = (int)verb->needs_host + (int)verb->needs_vm;
	if (argc != n_words + n_names)
		return misuse(verb->needs_host && !verb->needs_vm
				      ? "one host's name is needed after" :
			      verb->needs_host ? "a VM's and a host's name are needed after" :
			      verb->needs_vm   ? "one VM's name is needed after"
					       : "nothing is expected after", verb->words);
	for (int i = n_words; i < argc; i++) {
		if (!wire_name_is_valid(argv[i]))
			return misuse("a name is [a-z0-9-], 1 to 63 characters, not", argv[i]);
	}
	c = check_options(verb, &o);
	return c ? c : run(verb, &o, argv + n_words);
}
