/* test_journal.c - tests the terms on disk: a VM's term is kept and never decreases, and a damaged
 * line affects only its own VM. */
#include "vm/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/sum_line.h"
#include "base/cleanup.h"

static const struct vm_journal_entry *find(const struct vm_journal *journal, const char *vm)
{
	return vm_journal_table_find(vm_journal_get_table(journal), vm);
}

static bool doubt(const struct vm_journal *journal, const char *vm, struct error *ret_error)
{
	return vm_journal_table_doubt(vm_journal_get_table(journal), vm, ret_error);
}

static char dir[64], path[80], gone[80];
static struct error error;

static int make_dir(void **state)
{
	(void)state;
	(void)snprintf(dir, sizeof(dir), "/tmp/holdfast-journal-XXXXXX");
	assert_non_null(mkdtemp(dir));
	(void)snprintf(path, sizeof(path), "%s/journal", dir);
	(void)snprintf(gone, sizeof(gone), "%s.gone", dir);
	return 0;
}

static int remove_dir(void **state)
{
	static const char *const files[] = {"journal", "journal.tmp", "lock"};
	char file[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		(void)snprintf(file, sizeof(file), "%s/%s", dir, files[i]);
		(void)unlink(file);
	}
	return rmdir(dir);
}

static struct vm_journal *open_journal(void)
{
	struct vm_journal *journal;

	assert_int_equal(vm_journal_open(dir, &journal, &error), 0);
	return journal;
}

static void test_keeps(void **state)
{
	struct vm_journal *journal = open_journal();
	const struct vm_journal_entry *entry;

	(void)state;
	assert_null(find(journal, "web1"));
	assert_int_equal(vm_journal_append(journal, "web1", "alpha", 1, VM_PREPARING, false,
					   ""), 0);
	assert_int_equal(vm_journal_append(journal, "db", "beta", 9, VM_PROMOTING, true, ""), 0);
	assert_int_equal(vm_journal_append(journal, "web1", "alpha", 1, VM_PROTECTED, false,
					   ""), 0);
	vm_journal_close(journal);
	journal = open_journal();
	entry = find(journal, "web1");
	assert_int_equal(entry->term, 1);
	assert_int_equal(entry->state, VM_PROTECTED);
	assert_false(entry->is_wanted);
	assert_true(find(journal, "db")->is_wanted);
	assert_string_equal(find(journal, "db")->owner, "beta");
	/* An older term is refused. */
	assert_int_equal(vm_journal_append(journal, "db", "alpha", 8, VM_UNPROTECTED, false, ""),
			 -ESTALE);
	assert_int_equal(find(journal, "db")->term, 9);
	vm_journal_close(journal);
}

/* If a VM has a spare, the VM's journal line also names the owner's partner (with=). The partner is
 * the host that is neither owner nor spare. The line of a VM without a spare does not have
 * with=. */
static void test_with(void **state)
{
	static const struct {
		const char *words, *with;
		bool is_wanted, is_good;
	} rows[] = {
		{"", "", false, true},
		{" with=gamma", "gamma", false, true},
		{" want=protect with=gamma", "gamma", true, true},
		{" with=gamma want=protect", "", false, false},
		{" with=", "", false, false},
		{" with=Gamma", "", false, false},
		{" with=gamma gamma", "", false, false},
		{"  with=gamma", "", false, false},
		{" with=alpha", "", false, false}, /* wrong: alpha is the owner */
	};
	struct vm_journal_entry e = {.vm = "web1", .owner = "alpha", .term = 3};
	struct vm_journal_table table;
	char text[512], line[512];
	bool torn;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int n = snprintf(line, sizeof(line),
				 "web1 term=3 owner=alpha state=UNPROTECTED wall=0%s",
				 rows[i].words);
		size_t size = sum_line_append(line, (size_t)n, sizeof(line));

		n = snprintf(text, sizeof(text), "holdfast-journal 1\n%.*s", (int)size, line);
		assert_int_equal(vm_journal_parse("j", text, (size_t)n, &table, &torn, &error), 0);
		assert_int_equal(table.n_damaged, !rows[i].is_good);
		if (!rows[i].is_good)
			continue;
		assert_string_equal(table.list[0].with, rows[i].with);
		assert_int_equal(table.list[0].is_wanted, rows[i].is_wanted);
		strcpy(e.with, rows[i].with);
		e.is_wanted = rows[i].is_wanted;
		assert_int_equal(vm_journal_format(&e, text, sizeof(text)), size);
		assert_memory_equal(text, line, size);
	}
}

static void test_two_gateways(void **state)
{
	struct vm_journal *journal = open_journal(), *second;

	(void)state;
	assert_int_equal(vm_journal_open(dir, &second, &error), -EBUSY);
	assert_non_null(strstr(error.text, "another holdfast-gateway"));
	vm_journal_close(journal);
	vm_journal_close(open_journal());
}

static void test_compacts(void **state)
{
	struct vm_journal *journal = open_journal();
	struct stat st;

	(void)state;
	for (unsigned int i = 1; i <= VM_JOURNAL_LINES_MAX + 10; i++)
		assert_int_equal(vm_journal_append(journal, "web1", "alpha", i, VM_PROTECTED,
						   false, ""), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_size < 4096);
	assert_int_equal(find(journal, "web1")->term, VM_JOURNAL_LINES_MAX + 10);
	vm_journal_close(journal);
}

/* Returns the journal's text after two appends, and sets *size to its length. The caller frees the
 * text. */
static char *sample(size_t *size)
{
	struct vm_journal *journal = open_journal();
	char *text = malloc(4096);
	int fd;

	assert_int_equal(vm_journal_append(journal, "web1", "alpha", 1, VM_PROTECTED, false,
					   ""), 0);
	assert_int_equal(vm_journal_append(journal, "web1", "beta", 2, VM_PROMOTING, false, ""), 0);
	vm_journal_close(journal);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	*size = (size_t)read(fd, text, 4096);
	close(fd);
	return text;
}

static void put(const char *text, size_t size)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);

	assert_int_equal(write(fd, text, size), (ssize_t)size);
	close(fd);
}

static void test_every_torn_tail(void **state)
{
	size_t size, header = strlen("holdfast-journal 1\n"), first;
	AUTO_FREE char *text = sample(&size);
	struct vm_journal *journal;

	(void)state;
	first = (size_t)((char *)memchr(text + header, '\n', size - header) + 1 - text);
	for (size_t cut = first; cut < size; cut++) {
		put(text, cut);
		journal = open_journal();
		assert_int_equal(find(journal, "web1")->term, 1);
		vm_journal_close(journal);
	}
	/* Put zeros in place of the last append, as a power loss can do. */
	memset(text + first + 10, 0, size - first - 10);
	put(text, size);
	journal = open_journal();
	assert_int_equal(find(journal, "web1")->term, 1);
	vm_journal_close(journal);
}

/* Damage each byte in turn. If the byte is in a VM's newest line, the VM is in doubt: it has the
 * previous line's term until a newer line is appended, even if the file is rewritten. If the same
 * VM has a newer line, the damage has no effect. */
static void test_every_damaged_byte(void **state)
{
	size_t size, header = strlen("holdfast-journal 1\n"), first;
	AUTO_FREE char *text = sample(&size);
	struct vm_journal *journal;

	(void)state;
	first = (size_t)((char *)memchr(text + header, '\n', size - header) + 1 - text);
	for (size_t i = 0; i + 1 < size; i++) {
		char was = text[i];

		text[i] = (char)(was ^ 1);
		put(text, size);
		text[i] = was;
		if (i < header) {
			assert_int_equal(vm_journal_open(dir, &journal, &error), -EINVAL);
			assert_non_null(strstr(error.text, "/journal:"));
			assert_non_null(strstr(error.text, "restore the file"));
			continue;
		}
		vm_journal_close(open_journal());
		journal = open_journal();
		assert_int_equal(doubt(journal, "web1", &error), i >= first - 1);
		if (i >= first)
			assert_int_equal(find(journal, "web1")->term, 1);
		assert_int_equal(vm_journal_append(journal, "web1", "beta", 3, VM_PROTECTED,
						   false, ""), 0);
		vm_journal_close(journal);
		journal = open_journal();
		assert_false(doubt(journal, "web1", &error));
		assert_int_equal(find(journal, "web1")->term, 3);
		vm_journal_close(journal);
	}
	put(text, size);
	journal = open_journal();
	assert_false(doubt(journal, "web1", &error));
	vm_journal_close(journal);
}

/* A damaged line puts only its own VM in doubt. If its VM's name is unreadable, every VM that has
 * no newer line is in doubt. */
static void test_whose_damage(void **state)
{
	static const struct {
		const char *from, *to;
		bool web1, db, new1; /* whether each VM is in doubt; new1 has no line */
	} rows[] = {
		{"term=2", "term=9", true, false, false},
		{"sum=", "svm=", true, false, false},
		{"web1 term=2", "web2 term=2", true, false,
		 false}, /* the checksum shows that the line is web1's */
		{"web1 term=2", "wEb1 term=2", true, true, true},
		{"web1 term=2", "w\nb1 term=2", true, false, false},
		{"web1 term=2", "web1\nterm=2", true, true, true},
		{"web1 term=1", "wEb1 term=1", false, true, true},
	};
	struct vm_journal_table table;
	char text[1024] = "holdfast-journal 1\n", bad[1024];
	size_t size = strlen(text);
	bool torn;

	(void)state;
	for (uint64_t i = 0; i < 4; i++) { /* the VM "mail" has only lines after the damage */
		struct vm_journal_entry e = {.owner = "a", .term = i, .state = VM_PROTECTED};

		(void)snprintf(e.vm, sizeof(e.vm), "%s", i == 0 ? "db" : i == 3 ? "mail" : "web1");
		size += vm_journal_format(&e, text + size, sizeof(text) - size);
	}
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		char *at;

		memcpy(bad, text, sizeof(bad));
		at = strstr(strstr(bad, rows[i].from[0] == 's' ? "term=2" : "db"), rows[i].from);
		memcpy(at, rows[i].to, strlen(rows[i].to));
		assert_int_equal(vm_journal_parse("j", bad, size, &table, &torn, &error), 0);
		assert_int_equal(vm_journal_table_doubt(&table, "web1", &error), rows[i].web1);
		assert_int_equal(vm_journal_table_doubt(&table, "db", &error), rows[i].db);
		assert_int_equal(vm_journal_table_doubt(&table, "new1", &error), rows[i].new1);
		assert_false(vm_journal_table_doubt(&table, "mail", &error));
	}
}

static void test_damage_is_told(void **state)
{
	size_t size;
	AUTO_FREE char *text = sample(&size);
	struct vm_journal *journal;

	(void)state;
	text[size - 5] ^= 1;
	put(text, size);
	journal = open_journal();
	assert_true(doubt(journal, "web1", &error));
	assert_non_null(strstr(error.text, "cannot be read (the checksum is wrong)"));
	assert_non_null(strstr(error.text, "\"web1 term=2 owner=beta"));
	assert_non_null(strstr(error.text, "`holdfastctl owner web1 HOST`"));
	vm_journal_close(journal);
}

/* If more lines are damaged than the table can hold, the whole file is refused. */
static void test_too_much_damage(void **state)
{
	struct vm_journal_table table;
	char text[2048] = "holdfast-journal 1\n";
	bool torn;

	(void)state;
	for (size_t i = 0; i <= VM_JOURNAL_DAMAGED_MAX; i++)
		strcat(text, "web1 term=1\n");
	assert_int_equal(vm_journal_parse("j", text, strlen(text), &table, &torn, &error), -EINVAL);
	assert_non_null(strstr(error.text,
			       "j:18: no checksum, and so are many before it; restore the file"));
}

static void test_term_going_down(void **state)
{
	struct vm_journal_entry e = {.vm = "web1", .owner = "a", .term = 5, .state = VM_PROTECTED};
	struct vm_journal_table table;
	char text[1024] = "holdfast-journal 1\n";
	size_t size = strlen(text);
	bool torn;

	(void)state;
	size += vm_journal_format(&e, text + size, sizeof(text) - size);
	e.term = 4;
	size += vm_journal_format(&e, text + size, sizeof(text) - size);
	assert_int_equal(vm_journal_parse("j", text, size, &table, &torn, &error), 0);
	assert_int_equal(table.list[0].term, 5);
	assert_true(vm_journal_table_doubt(&table, "web1", &error));
	assert_non_null(strstr(error.text, "the term goes down"));
}

static void test_failed_append(void **state)
{
	struct vm_journal *journal = open_journal();

	(void)state;
	assert_int_equal(vm_journal_append(journal, "web1", "alpha", 1, VM_PROTECTED, false,
					   ""), 0);
	/* Appending fails because the file's size is limited, and rewriting fails because the
	 * directory is gone. */
	assert_int_equal(rename(dir, gone), 0);
	for (unsigned int i = 0; i <= VM_JOURNAL_LINES_MAX; i++) {
		if (vm_journal_append(journal, "web1", "beta", 2, VM_PROMOTING, false, "") == 0)
			continue;
		assert_int_equal(rename(gone, dir), 0);
		assert_int_equal(vm_journal_append(journal, "web1", "beta", 3, VM_PROMOTING,
						   false, ""), 0);
		vm_journal_close(journal);
		journal = open_journal();
		assert_int_equal(find(journal, "web1")->term, 3);
		vm_journal_close(journal);
		return;
	}
	fail_msg("an append without a directory to rewrite in never failed");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_keeps, make_dir, remove_dir),
		cmocka_unit_test(test_with),
		cmocka_unit_test_setup_teardown(test_two_gateways, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_compacts, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_every_torn_tail, make_dir, remove_dir),
		cmocka_unit_test_setup_teardown(test_every_damaged_byte, make_dir, remove_dir),
		cmocka_unit_test(test_whose_damage),
		cmocka_unit_test_setup_teardown(test_damage_is_told, make_dir, remove_dir),
		cmocka_unit_test(test_too_much_damage),
		cmocka_unit_test(test_term_going_down),
		cmocka_unit_test_setup_teardown(test_failed_append, make_dir, remove_dir),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
