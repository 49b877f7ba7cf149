#include "ctl/show.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"

#define S(object, key) text_of(object, key)

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "-";
}

static json_int_t int_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* Formats the age in member @key: "12 ms ago", "34 s ago" or "never". */
static const char *age(const json_t *object, const char *key, char text[32])
{
	const json_t *value = json_object_get(object, key);
	json_int_t ms = json_integer_value(value);

	if (!json_is_integer(value))
		return "never";
	if (ms < 10000)
		(void)snprintf(text, 32, "%" JSON_INTEGER_FORMAT " ms ago", ms);
	else
		(void)snprintf(text, 32, "%" JSON_INTEGER_FORMAT " s ago", ms / 1000);
	return text;
}

static const char *health_word(const json_t *vm)
{
	return S(json_object_get(vm, "health"), "word");
}

/* Returns true if the VM's health word is SAFE. If the gateway's answer has no health word, returns
 * false. */
static bool is_safe(const json_t *vm)
{
	return strcmp(health_word(vm), "SAFE") == 0;
}

/* Prints a line such as "web1 is BEHIND for 3 s: what is missing; what happens next". */
static void show_health(FILE *out, const json_t *vm)
{
	const json_t *health = json_object_get(vm, "health");
	const char *missing = S(health, "missing");

	fprintf(out, "%s is %s for %" JSON_INTEGER_FORMAT " s: %s%s%s\n", S(vm, "name"),
		S(health, "word"), int_of(health, "since_ms") / 1000, missing,
		*missing ? "; " : "", S(health, "next"));
}

/* Prints a line about a VM whose fence command cannot be run, if the VM's health does not say so.
 * Returns false if there is nothing to print. */
static bool show_fence(FILE *out, const json_t *vm)
{
	const json_t *fault = json_object_get(vm, "fence_fault");

	if (!json_is_string(fault) || strcmp(health_word(vm), "NO-FENCE") == 0)
		return false;
	fprintf(out, "%s: %s; correct that, then `systemctl reload holdfast-gateway`\n",
		S(vm, "name"), json_string_value(fault));
	return true;
}

/* Prints a line about a host that is drained or being drained. Returns false if it is not. */
static bool show_drain(FILE *out, const json_t *host)
{
	const json_t *drain = json_object_get(host, "drain");

	if (!json_is_object(drain))
		return false;
	fprintf(out, "host %s is %s (by %s): %s; `holdfastctl undrain %s` takes it back\n",
		S(host, "name"), S(drain, "state"),
		strcmp(S(drain, "by"), "guard") == 0 ? "its shutdown guard" : "an operator",
		S(drain, "text"), S(host, "name"));
	return true;
}

/* If the host obeys a younger gateway, prints a line about this. If not, returns false. */
static bool show_younger(FILE *out, const json_t *host)
{
	if (!json_is_true(json_object_get(host, "obeys_younger")))
		return false;
	fprintf(out, "host %s obeys a younger gateway and takes no orders from this one: stop the "
		"gateway that should not run; if the younger one is gone for good, `holdfastctl "
		"takeover`\n", S(host, "name"));
	return true;
}

/* Prints a line for each certificate or revocation list that expires soon. Returns how many of them
 * expire so soon that `check` fails. */
static int show_ends(FILE *out, const json_t *answer)
{
	const json_t *item;
	int n_alarms = 0;
	size_t i;

	json_array_foreach(json_object_get(answer, "certificates"), i, item) {
		fprintf(out, "%s%s\n", *S(item, "of") ? "" : "at the gateway ", S(item, "text"));
		n_alarms += json_is_true(json_object_get(item, "alarm"));
	}
	return n_alarms;
}

void show_status(FILE *out, const json_t *answer)
{
	const json_t *vms = json_object_get(answer, "vms"),
		     *hosts = json_object_get(answer, "hosts");
	const json_t *item;
	char text[32];
	size_t i;

	/* the table of VMs, then lines about what is not well or not usual with them */
	fprintf(out, "gateway %s, version %s\n\n", S(answer, "gateway"), S(answer, "version"));
	fprintf(out, "%-16s %-12s %-12s %6s %-16s %-16s %10s  %s\n", "VM", "HEALTH", "STATE",
		"TERM", "OWNER", "STANDBY", "EPOCH", "COMMITTED");
	json_array_foreach(vms, i, item) {
		fprintf(out, "%-16s %-12s %-12s %6" JSON_INTEGER_FORMAT " %-16s %-16s %10"
			JSON_INTEGER_FORMAT "  %s\n", S(item, "name"), health_word(item),
			S(item, "state"), int_of(item, "term"), S(item, "owner"),
			S(item, "standby"), int_of(item, "committed_epoch"),
			age(item, "committed_age_ms", text));
	}
	json_array_foreach(vms, i, item) {
		if (!is_safe(item))
			show_health(out, item);
		(void)show_fence(out, item);
	}
	json_array_foreach(vms, i, item) {
		if (json_is_object(json_object_get(item, "spare")))
			fprintf(out, "%s has a spare: %s\n", S(item, "name"),
				S(json_object_get(item, "spare"), "text"));
	}
	json_array_foreach(json_object_get(answer, "faults"), i, item)
		fprintf(out, "%-16s %-12s %s\n", S(item, "name"), "FAULTY", S(item, "error"));
	/* the table of hosts, in the same way */
	fprintf(out, "\n%-16s %-13s %s\n", "HOST", "CONNECTED", "LAST SEEN");
	json_array_foreach(hosts, i, item) {
		fprintf(out, "%-16s %-13s %s\n", S(item, "name"),
			json_is_true(json_object_get(item, "connected")) ? "yes" : "no",
			age(item, "beat_age_ms", text));
	}
	json_array_foreach(hosts, i, item) {
		(void)show_younger(out, item);
		(void)show_drain(out, item);
	}
	(void)show_ends(out, answer);
}

/* Prints a line such as "arp 12/12, icmp 11/12, last answer 4 ms ago". The numbers are the answered
 * and the sent probes of each method. Prints nothing if the target is not probed. */
static void show_probes(FILE *out, const char *title, const json_t *probes)
{
	static const char *const methods[] = {"arp", "icmp", "tcp"};
	char text[32];

	if (!json_is_object(probes))
		return;
	fprintf(out, "  %-20s ", title);
	for (size_t m = 0; m < sizeof(methods) / sizeof(methods[0]); m++) {
		const json_t *count = json_object_get(probes, methods[m]);

		if (count)
			fprintf(out, "%s %" JSON_INTEGER_FORMAT "/%" JSON_INTEGER_FORMAT ", ",
				methods[m], int_of(count, "answered"), int_of(count, "sent"));
	}
	fprintf(out, "last answer %s\n", age(probes, "answer_age_ms", text));
}

static void show_host(FILE *out, const json_t *host)
{
	const json_t *probes = json_object_get(host, "probes");
	char beat[32], report[32];

	fprintf(out, "\nhost %s (%s)\n", S(host, "name"), S(host, "role"));
	fprintf(out, "  %-20s %s\n", "connected",
		json_is_true(json_object_get(host, "connected")) ? "yes" : "no");
	fprintf(out, "  %-20s %s\n", "last seen", age(host, "beat_age_ms", beat));
	fprintf(out, "  %-20s %s, term %" JSON_INTEGER_FORMAT ", epoch %" JSON_INTEGER_FORMAT
		" (%s)\n", "agent says", S(host, "agent_state"), int_of(host, "term"),
		int_of(host, "epoch"), age(host, "report_age_ms", report));
	if (strcmp(S(host, "verdict"), "none") != 0)
		fprintf(out, "  %-20s %s\n", "verdict", S(host, "verdict"));
	if (S(host, "text")[0])
		fprintf(out, "  %-20s %s\n", "text", S(host, "text"));
	show_probes(out, "probes, client side", json_object_get(probes, "client"));
	show_probes(out, "probes, backup side", json_object_get(probes, "backup"));
}

/* Prints what the owner's next seal waits for, and how much the guest is throttled. */
static void show_pace(FILE *out, const json_t *stats)
{
	json_int_t percent = int_of(stats, "throttle_percent");

	if (!json_object_get(stats, "pacer"))
		return;
	fprintf(out, "  %-20s waits for %s", "pace", S(stats, "pacer"));
	if (percent > 0)
		fprintf(out, "; guest throttled by %" JSON_INTEGER_FORMAT " %%: %s", percent,
			S(stats, "throttle_why"));
	fprintf(out, "\n");
}

/* Prints whether the guest's clock is corrected, and how much time the clock has lost because the
 * owner paused the guest. */
static void show_clock(FILE *out, const json_t *stats)
{
	const char *corrected = S(stats, "clock_corrected"), *why = S(stats, "clock_why");

	if (!*corrected)
		return;
	fprintf(out, "  %-20s ", "guest's clock");
	if (strcmp(corrected, "yes") == 0)
		fprintf(out, "corrected");
	else if (strcmp(corrected, "no") == 0)
		fprintf(out, "not corrected (%s)", why);
	else
		fprintf(out, "not corrected yet");
	fprintf(out, "; lost %.3f s, %.2f %% of the last minute\n",
		json_number_value(json_object_get(stats, "clock_lost_ms")) / 1000,
		json_number_value(json_object_get(stats, "clock_lost_percent")));
}

/* Prints what the owner's kernel (the witness) reports about the guest. */
static void show_witness(FILE *out, const json_t *witness)
{
	json_int_t n = int_of(witness, "unanswered");
	const json_t *paths = json_object_get(witness, "paths");
	const json_t *client = json_object_get(paths, "client");
	char text[32];

	if (!json_is_true(json_object_get(witness, "keyed")))
		return;
	fprintf(out, "  %-20s %s", "witness", age(witness, "age_ms", text));
	if (json_is_object(client)) {
		fprintf(out, " (backup %s", age(json_object_get(paths, "backup"), "age_ms", text));
		fprintf(out, ", client network %s)", age(client, "age_ms", text));
	}
	fprintf(out, "; guest answered %s", age(witness, "answered_age_ms", text));
	if (n > 0)
		fprintf(out, ", %" JSON_INTEGER_FORMAT " frames to it since", n);
	fprintf(out, "\n");
}

static void show_stats(FILE *out, json_t *stats)
{
	const char *key;
	json_t *value;

	json_object_foreach(stats, key, value) {
		if (json_is_string(value))
			fprintf(out, "  %-28s %s\n", key, json_string_value(value));
		else if (json_is_integer(value))
			fprintf(out, "  %-28s %" JSON_INTEGER_FORMAT "\n", key,
				json_integer_value(value));
		else
			fprintf(out, "  %-28s %.3f\n", key, json_number_value(value));
	}
}

/* Prints whether a promoted guest serves its clients. @promoted is in the answer only until the
 * guest is protected again. */
static void show_promoted(FILE *out, const json_t *promoted)
{
	char text[32];

	if (!json_is_object(promoted))
		return;
	fprintf(out, "  %-20s %s; %s: %s\n", "promoted", age(promoted, "age_ms", text),
		S(promoted, "state"), S(promoted, "evidence"));
}

/* Prints the move that is under way, or else the last move. */
static void show_move(FILE *out, const json_t *move)
{
	const json_t *pause = json_object_get(move, "pause_ms");
	const json_t *after = json_object_get(move, "protected_after_ms");
	char text[32];

	if (!json_is_object(move))
		return;
	fprintf(out, "  %-20s %s; from %s to %s: %s", "move", age(move, "age_ms", text),
		S(move, "from"), S(move, "to"), S(move, "state"));
	if (json_is_number(pause))
		fprintf(out, "; epoch %" JSON_INTEGER_FORMAT ", pause %.1f ms",
			int_of(move, "epoch"), json_number_value(pause));
	if (json_is_integer(after))
		fprintf(out, ", protected again %" JSON_INTEGER_FORMAT " ms after",
			json_integer_value(after));
	fprintf(out, "\n");
}

/* Prints that a `verify` or `drill` is under way, and for how long. */
static void show_asked(FILE *out, const json_t *vm, const char *verb, const char *key,
		       const char *what)
{
	const json_t *since = json_object_get(vm, key);

	if (json_is_integer(since))
		fprintf(out, "  %-20s for %" JSON_INTEGER_FORMAT " s: %s\n", verb,
			json_integer_value(since) / 1000, what);
}

void show_vm(FILE *out, const json_t *answer)
{
	const json_t *vm = json_object_get(answer, "vm");
	const json_t *streams = json_object_get(vm, "streams"), *host;
	char text[32];
	size_t i;

	fprintf(out, "%s %s in term %" JSON_INTEGER_FORMAT "\n", S(vm, "name"), S(vm, "state"),
		int_of(vm, "term"));
	show_health(out, vm);
	(void)show_fence(out, vm);
	/* who has the guest and its copy, and how far the copy is */
	fprintf(out, "  %-20s %s\n", "owner", S(vm, "owner"));
	fprintf(out, "  %-20s %s\n", "standby", S(vm, "standby"));
	if (json_is_object(json_object_get(vm, "spare")))
		fprintf(out, "  %-20s %s\n", "spare", S(json_object_get(vm, "spare"), "text"));
	fprintf(out, "  %-20s %" JSON_INTEGER_FORMAT " (%s)\n", "committed epoch",
		int_of(vm, "committed_epoch"), age(vm, "committed_age_ms", text));
	fprintf(out, "  %-20s primary %s, standby %s\n", "streams",
		json_is_true(json_object_get(json_object_get(streams, "primary"), "up")) ? "up"
											 : "down",
		json_is_true(json_object_get(json_object_get(streams, "standby"), "up")) ? "up"
											 : "down");
	/* what is under way; each line is printed only if it applies */
	show_promoted(out, json_object_get(vm, "promoted"));
	show_move(out, json_object_get(vm, "move"));
	show_asked(out, vm, "drill", "drill_ms",
		   "the standby's copy is tried; the guest goes on, an event says the result");
	show_asked(out, vm, "verify", "verify_ms",
		   "all is compared, see ram_verified_pages and disk_verified_blocks below");
	/* how the guest is watched */
	if (json_is_object(json_object_get(vm, "liveness")))
		fprintf(out, "  %-20s %s: %s\n", "liveness",
			S(json_object_get(vm, "liveness"), "state"),
			S(json_object_get(vm, "liveness"), "evidence"));
	show_witness(out, json_object_get(vm, "witness"));
	show_pace(out, json_object_get(vm, "stats"));
	show_clock(out, json_object_get(vm, "stats"));
	if (json_is_true(json_object_get(vm, "probing")))
		fprintf(out, "  %-20s guest and hosts are being probed\n", "probing");
	show_probes(out, "probes of the guest", json_object_get(vm, "guest_probes"));
	json_array_foreach(json_object_get(vm, "hosts"), i, host) {
		show_host(out, host);
	}
	fprintf(out, "\nrelay\n");
	show_stats(out, json_object_get(vm, "relay"));
	if (json_object_size(json_object_get(vm, "stats")) > 0) {
		fprintf(out, "\nowner's figures\n");
		show_stats(out, json_object_get(vm, "stats"));
	}
}

void show_counters(FILE *out, const json_t *answer)
{
	json_t *counters = json_object_get(answer, "counters"), *value;
	const char *key;

	json_object_foreach(counters, key, value) {
		fprintf(out, "%s=%" JSON_INTEGER_FORMAT "\n", key, json_integer_value(value));
	}
}

void show_event(FILE *out, const json_t *event)
{
	json_int_t wall_ns = int_of(event, "wall");
	time_t seconds = (time_t)(wall_ns / CLOCK_NS_PER_S);
	struct tm tm;
	char when[32];

	gmtime_r(&seconds, &tm);
	(void)strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
	fprintf(out, "%s.%03dZ %-12s ", when, (int)(wall_ns / CLOCK_NS_PER_MS % 1000),
		S(event, "vm")[0] ? S(event, "vm") : "-");
	fprintf(out, "%s: ", S(event, "kind"));
	if (S(event, "to")[0])
		fprintf(out, "%s -> %s: ", S(event, "from"), S(event, "to"));
	fprintf(out, "%s\n", S(event, "text"));
	fflush(out); /* stdout may be a pipe, and `events --follow` must show each event at once */
}

void show_done(FILE *out, const json_t *answer)
{
	fprintf(out, "%s\n", S(answer, "text"));
}

int show_check(FILE *out, const json_t *answer)
{
	const json_t *item;
	int n_wrong = 0;
	size_t i;

	json_array_foreach(json_object_get(answer, "vms"), i, item) {
		if (!is_safe(item)) {
			show_health(out, item);
			n_wrong++;
		}
		n_wrong += show_fence(out, item);
	}
	json_array_foreach(json_object_get(answer, "faults"), i, item) {
		fprintf(out, "%s is not looked after: %s\n", S(item, "name"), S(item, "error"));
		n_wrong++;
	}
	json_array_foreach(json_object_get(answer, "hosts"), i, item) {
		n_wrong += show_drain(out, item);
		if (show_younger(out, item)) {
			n_wrong++;
		} else if (!json_is_true(json_object_get(item, "connected"))) {
			fprintf(out, "host %s is not connected; is holdfast-agent running there?\n",
				S(item, "name"));
			n_wrong++;
		}
	}
	n_wrong += show_ends(out, answer);
	if (json_array_size(json_object_get(answer, "vms")) == 0 &&
	    json_array_size(json_object_get(answer, "faults")) == 0) {
		fprintf(out, "no VM is looked after: is vm_dir of the gateway's file right?\n");
		n_wrong++;
	}
	if (n_wrong == 0)
		fprintf(out, "all VMs are SAFE, all hosts are connected\n");
	return n_wrong;
}
