#include "guest/report.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

static double ms(uint64_t ns)
{
	return (double)ns / 1e6;
}

static struct report_phase *current(struct report *r)
{
	return &r->phases[r->n_phases - 1];
}

void report_begin(struct report *r, const char *first_phase, uint64_t now_ns)
{
	*r = (struct report){ .n_phases = 1, .start_ns = now_ns, .last_reply_ns = now_ns,
			      .recent_start_ns = now_ns };
	r->phases[0].start_ns = now_ns;
	snprintf(r->phases[0].name, sizeof(r->phases[0].name), "%s", first_phase);
}

static bool good_name(const char *name)
{
	size_t i;

	for (i = 0; name[i]; i++)
		if (i >= REPORT_NAME_MAX ||
		    (!isalnum((unsigned char)name[i]) && name[i] != '_' && name[i] != '-'))
			return false;
	return i > 0;
}

int report_phase(struct report *r, const char *name, uint64_t now_ns, FILE *live)
{
	if (!good_name(name))
		return -EINVAL;
	if (r->n_phases >= REPORT_PHASES_MAX)
		return -ENOSPC;
	current(r)->end_ns = now_ns;
	r->n_phases++;
	current(r)->start_ns = now_ns;
	snprintf(current(r)->name, sizeof(current(r)->name), "%s", name);
	fprintf(live, "phase name=%s mono_ns=%" PRIu64 "\n", name, now_ns);
	return 0;
}

void report_reply(struct report *r, uint64_t latency_ns, uint64_t now_ns)
{
	struct report_phase *p = current(r);

	hist_record(&p->latency_ns, latency_ns);
	hist_record(&r->recent, latency_ns);
	if (p->first_reply_ns == 0)
		p->first_reply_ns = now_ns;
	if (now_ns - r->last_reply_ns > p->gap_end_ns - p->gap_start_ns) {
		p->gap_start_ns = r->last_reply_ns;
		p->gap_end_ns = now_ns;
	}
	r->last_reply_ns = now_ns;
}

void report_progress(struct report *r, const struct checker *c, uint64_t now_ns, FILE *live)
{
	double seconds = (double)(now_ns - r->recent_start_ns) / 1e9;

	fprintf(live,
		"progress mono_ns=%" PRIu64 " phase=%s replies=%" PRIu64 " per_s=%.0f p50_ms=%.3f"
		" p99_ms=%.3f max_ms=%.3f waiting_ms=%.1f bad=%d\n",
		now_ns, current(r)->name, c->n_answered,
		seconds > 0 ? (double)r->recent.count / seconds : 0.0,
		ms(hist_quantile(&r->recent, 0.5)), ms(hist_quantile(&r->recent, 0.99)),
		ms(r->recent.max), ms(now_ns - r->last_reply_ns), !checker_clean(c));
	hist_reset(&r->recent);
	r->recent_start_ns = now_ns;
}

static void json_phase(const struct report_phase *p, uint64_t end_ns, FILE *out)
{
	const struct hist *h = &p->latency_ns;
	uint64_t end = p->end_ns ? p->end_ns : end_ns;

	fprintf(out,
		"    {\"name\": \"%s\", \"start_ns\": %" PRIu64 ", \"end_ns\": %" PRIu64
		", \"replies\": %" PRIu64 ", \"per_s\": %.1f,\n",
		p->name, p->start_ns, end, h->count,
		end > p->start_ns ? (double)h->count * 1e9 / (double)(end - p->start_ns) : 0.0);
	fprintf(out,
		"     \"latency_ms_mean\": %.4f, \"latency_ms_p50\": %.4f, \"latency_ms_p90\": "
		"%.4f, \"latency_ms_p99\": %.4f, \"latency_ms_max\": %.4f,\n",
		ms(hist_mean(h)), ms(hist_quantile(h, 0.5)), ms(hist_quantile(h, 0.9)),
		ms(hist_quantile(h, 0.99)), ms(h->max));
	fprintf(out,
		"     \"first_reply_ns\": %" PRIu64
		", \"longest_gap_ms\": %.3f, \"gap_start_ns\": %" PRIu64
		", \"gap_end_ns\": %" PRIu64 "}",
		p->first_reply_ns, ms(p->gap_end_ns - p->gap_start_ns), p->gap_start_ns,
		p->gap_end_ns);
}

static void json_text(const char *text, FILE *out)
{
	if (!text) {
		fputs("null", out);
		return;
	}
	fputc('"', out);
	for (; *text; text++)
		if (isprint((unsigned char)*text) && *text != '"' && *text != '\\')
			fputc(*text, out);
	fputc('"', out);
}

void report_json(const struct report *r, const struct checker *c, const struct report_load *load,
		 const char *error, uint64_t end_ns, FILE *out)
{
	unsigned int i;

	fprintf(out, "{\n  \"connection_survived\": %s,\n  \"error\": ", error ? "false" : "true");
	json_text(error, out);
	fprintf(out,
		",\n  \"sent\": %" PRIu64 ", \"replies\": %" PRIu64 ",\n  \"lost\": %" PRIu64
		", \"repeated\": %" PRIu64 ", \"out_of_order\": %" PRIu64 ", \"unasked\": %" PRIu64
		",\n",
		c->n_sent, c->n_answered, checker_unanswered(c), c->n_repeated, c->n_out_of_order,
		c->n_unasked);
	fprintf(out,
		"  \"forgotten\": %" PRIu64 ", \"recounted\": %" PRIu64 ", \"corrupt\": %" PRIu64
		", \"guest_flags\": %" PRIu32 ",\n",
		c->n_forgotten, c->n_recounted, c->n_corrupt, c->guest_flags);
	fprintf(out, "  \"depth\": %u, \"pages\": %u, \"bytes\": %u,\n", load->depth, load->n_pages,
		load->n_bytes);
	fprintf(out,
		"  \"start_ns\": %" PRIu64 ", \"end_ns\": %" PRIu64 ", \"last_reply_ns\": %" PRIu64
		",\n  \"phases\": [\n",
		r->start_ns, end_ns, r->last_reply_ns);
	for (i = 0; i < r->n_phases; i++) {
		json_phase(&r->phases[i], end_ns, out);
		fputs(i + 1 < r->n_phases ? ",\n" : "\n", out);
	}
	fputs("  ]\n}\n", out);
}
