/* fuzz_journal.c - parses any bytes as the journal of terms. If the parser refuses the bytes, the
 * error must begin with the file's name. If the parser accepts the bytes, the entries are printed.
 * Parsing the printed text must give the same entries. */
#include <stdlib.h>
#include <string.h>

#include "vm/journal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char header[] = "holdfast-journal 1\n";

static void check_round_trip(const struct vm_journal_table *table)
{
	static struct vm_journal_table again;
	static char text[sizeof(header) + VM_JOURNAL_VMS_MAX * 512];
	static struct error error;
	size_t size = sizeof(header) - 1;
	bool torn;

	memcpy(text, header, size);
	for (size_t i = 0; i < table->n; i++) {
		size_t n = vm_journal_format(&table->list[i], text + size, sizeof(text) - size);

		if (n == 0)
			abort();
		size += n;
	}
	memset(&again, 0, sizeof(again));
	if (vm_journal_parse("again", text, size, &again, &torn, &error) < 0 || torn ||
	    again.n != table->n)
		abort();
	for (size_t i = 0; i < table->n; i++) {
		const struct vm_journal_entry *a = &table->list[i], *b = &again.list[i];

		if (strcmp(a->vm, b->vm) != 0 || strcmp(a->owner, b->owner) != 0 ||
		    a->term != b->term || a->state != b->state || a->wall_ns != b->wall_ns ||
		    a->is_wanted != b->is_wanted)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct vm_journal_table table;
	struct error error = {""};
	bool torn;
	int r = vm_journal_parse("j", (const char *)data, size, &table, &torn, &error);

	if (r == 0 && vm_journal_table_doubt(&table, "web1", &error) && table.n_damaged == 0)
		abort();
	if (r == 0)
		check_round_trip(&table);
	else if (strncmp(error.text, "j:", 2) != 0)
		abort();
	return 0;
}
