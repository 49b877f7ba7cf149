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
#include "ctl/options.h"
#include "ctl/show.h"
#include "ctl/verbs.h"
#include "wire/msg.h"

#define LOOK_DEFAULT_NS	  (60 * CLOCK_NS_PER_S)
#define CLOSED_UNANSWERED "the gateway closed without an answer"

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
		const char *path = o->config ? o->config : OPTIONS_CONFIG_DEFAULT;
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

int main(int argc, char **argv)
{
	struct options o = {0};
	const struct verb *verb;
	int n_words = 0, n_names, status = options_read(argc, argv, &o);

	if (status >= 0)
		return status;
	argc -= optind;
	argv += optind;
	if (argc == 0)
		return options_misuse("no verb", NULL);
	verb = verbs_find(argc, argv, &n_words);
	if (!verb && strcmp(argv[0], "vm") == 0)
		return options_misuse("`vm show NAME` or `vm probe NAME` (`status` lists all "
				      "VMs), not vm", argv[1]);
	if (!verb)
		return options_misuse("unknown verb", argv[0]);
	n_names = (int)verb->needs_host + (int)verb->needs_vm;
	if (argc != n_words + n_names)
		return options_misuse(verb->needs_host && !verb->needs_vm ?
					      "one host's name is needed after" :
				      verb->needs_host ?
					      "a VM's and a host's name are needed after" :
				      verb->needs_vm ? "one VM's name is needed after" :
						       "nothing is expected after", verb->words);
	for (int i = n_words; i < argc; i++) {
		if (!wire_name_is_valid(argv[i]))
			return options_misuse("a name is [a-z0-9-], 1 to 63 characters, not",
					      argv[i]);
	}
	status = options_check(verb, &o);
	return status ? status : run(verb, &o, argv + n_words);
}
