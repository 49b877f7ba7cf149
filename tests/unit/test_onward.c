/* Tests what an agent's program hands on to the next one. The next program must read the same
 * record (replace/onward.h, epoch/handed.h) and the same facts in it (epoch/facts.h). It must
 * refuse a damaged record and one of another format. The descriptors must stay open across exec. */
#include "replace/onward.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fd.h"
#include "base/program.h"
#include "epoch/facts.h"

static uint8_t device[5000], some_facts[300];

static struct onward *make(void)
{
	struct onward *o = calloc(1, sizeof(*o));
	struct handed *h = &o->vm[0].handed;

	memset(device, 0x5a, sizeof(device));
	memset(some_facts, 0xa5, sizeof(some_facts));
	strcpy(o->vm[0].name, "web1");
	*h = (struct handed){.term = 7, .epoch = 812, .pid = 4711, .qmp = "/run/web1.qmp",
			     .n_pages = 65600, .uffd = 100, .fault_ns = 1700, .until_ns = 55,
			     .release_ns = 44, .stopped_ns = 33, .stop_seen_ns = 34, .n_disks = 1,
			     .disk = {{"root", 101, 102, 103, 4712, 5, 6}}, .device = device,
			     .device_size = sizeof(device), .facts = some_facts,
			     .facts_size = sizeof(some_facts)};
	o->vm[1] = o->vm[0];
	strcpy(o->vm[1].name, "db");
	o->vm[1].handed.n_disks = 0;
	o->vm[1].handed.facts_size = 0;
	o->n_vms = 2;
	return o;
}

static void test_comes_out_as_it_went_in(void **state)
{
	struct onward *o = make(), *out;
	const struct handed *a = &o->vm[0].handed, *b;
	struct error error;
	int fd = onward_write(o);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(onward_read(fd, &out, &error), 0);
	assert_int_equal(out->n_vms, 2);
	assert_null(onward_find(out, "web"));
	assert_null(onward_find(NULL, "web1"));
	b = onward_find(out, "web1");
	assert_non_null(b);
	assert_true(a->term == b->term && a->epoch == b->epoch && a->pid == b->pid &&
		    a->n_pages == b->n_pages && a->uffd == b->uffd && a->fault_ns == b->fault_ns &&
		    a->until_ns == b->until_ns && a->release_ns == b->release_ns &&
		    a->stopped_ns == b->stopped_ns && a->stop_seen_ns == b->stop_seen_ns);
	assert_string_equal(a->qmp, b->qmp);
	assert_int_equal(b->n_disks, 1);
	assert_memory_equal(&a->disk[0], &b->disk[0], sizeof(a->disk[0]));
	assert_int_equal(b->device_size, sizeof(device));
	assert_memory_equal(b->device, device, sizeof(device));
	assert_int_equal(b->facts_size, sizeof(some_facts));
	assert_memory_equal(b->facts, some_facts, sizeof(some_facts));
	assert_int_equal(onward_find(out, "db")->facts_size, 0);
	onward_free(out);
	free(o);
	close(fd);
}

static void refused(int fd, const char *word)
{
	struct onward *out = NULL;
	struct error error = {""};

	assert_true(onward_read(fd, &out, &error) < 0);
	assert_null(out);
	assert_non_null(strstr(error.text, word));
}

/* A record with any changed byte, or cut at any byte, must be refused. */
static void test_damaged(void **state)
{
	struct onward *o = make();
	int fd = onward_write(o);
	struct stat st;
	uint8_t byte;

	(void)state;
	assert_int_equal(fstat(fd, &st), 0);
	for (off_t at = 0; at < st.st_size; at += at < 400 ? 1 : 97) {
		assert_int_equal(pread(fd, &byte, 1, at), 1);
		byte ^= 0x41;
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
		refused(fd, at < 8 ? "no such record" : at < 12 ? "version" : "");
		byte ^= 0x41;
		assert_int_equal(pwrite(fd, &byte, 1, at), 1);
	}
	assert_int_equal(ftruncate(fd, st.st_size - 1), 0);
	refused(fd, "damaged");
	assert_int_equal(ftruncate(fd, 0), 0);
	refused(fd, "size");
	close(fd);
	free(o);
}

/* Values out of their bounds are refused even if the checksum is right. */
static void test_bounds(void **state)
{
	static const struct {
		size_t offset;
		uint64_t value;
		size_t size;
	} rows[] = {
		{offsetof(struct handed, term), 0, 8},
		{offsetof(struct handed, epoch), 0, 8},
		{offsetof(struct handed, epoch), UINT64_MAX, 8},
		{offsetof(struct handed, fault_ns), 0, 8},
		{offsetof(struct handed, pid), 0, 4},
		{offsetof(struct handed, uffd), UINT32_MAX, 4},
		{offsetof(struct handed, qmp), 0, 1},
		{offsetof(struct handed, device_size), 0, 4},
		{offsetof(struct handed, disk[0].name), 0, 1},
		{offsetof(struct handed, disk[0].ring_fd), UINT32_MAX, 4},
		{offsetof(struct handed, disk[0].server_pid), 0, 4},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct onward *o = make();
		int fd;

		memcpy((uint8_t *)&o->vm[0].handed + rows[i].offset, &rows[i].value, rows[i].size);
		fd = onward_write(o);
		assert_true(fd >= 0);
		refused(fd, "VM 1");
		close(fd);
		free(o);
	}
}

static void test_facts(void **state)
{
	struct facts *in = calloc(1, sizeof(*in)), *out = calloc(1, sizeof(*out));
	struct vmm_machine machine = {0}, devices = {0}, machine_out, devices_out;
	uint32_t size;
	uint8_t *bytes;

	(void)state;
	in->info.n_pages = 65600;
	in->clock.n_proofs = 3;
	in->offloads = 5;
	assert_int_equal(vmm_machine_add(&machine, "cpu0", "qemu64"), 0);
	assert_int_equal(vmm_machine_add(&machine, "rng0", ""), 0);
	assert_int_equal(facts_encode(in, &machine, &devices, 100, &bytes, &size), -E2BIG);
	assert_int_equal(facts_encode(in, &machine, &devices, 1 << 20, &bytes, &size), 0);
	assert_int_equal(facts_decode(bytes, size, out, &machine_out, &devices_out), 0);
	assert_memory_equal(in, out, sizeof(*in));
	assert_true(vmm_machine_is_same(&machine, &machine_out));
	assert_int_equal(devices_out.n_items, 0);
	vmm_machine_done(&machine_out);
	assert_int_equal(facts_decode(bytes, size - 1, out, &machine_out, &devices_out), -EPROTO);
	bytes[3]++; /* a different layout */
	assert_int_equal(facts_decode(bytes, size, out, &machine_out, &devices_out), -EPROTO);
	free(bytes);
	free(in);
	free(out);
	vmm_machine_done(&machine);
}

/* The next program must get the record and the record's descriptors, and no other descriptors. */
static void test_exec(void **state)
{
	struct onward *o = make();
	struct handed *h = &o->vm[0].handed;
	int status, fd, other;
	pid_t pid;

	(void)state;
	assert_true(program_path()[0] == '/');
	h->uffd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	h->disk[0].ring_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	h->disk[0].lifeline_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	h->disk[0].log_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	o->vm[1].handed.uffd = h->uffd;
	other = open("/dev/null", O_RDONLY | O_CLOEXEC);
	fd = onward_write(o);
	pid = fork();
	if (pid == 0) {
		char text[16];

		snprintf(text, sizeof(text), "%d", other);
		(void)setenv("TEST_ONWARD_OTHER", text, 1);
		/* This program does not exist, so onward_exec() runs the present program again. */
		(void)onward_exec("/nowhere/holdfast-agent", "config", o, fd);
		_exit(99);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	close(other);
	close(fd);
	free(o);
}

/* If a record cannot be used, none of its descriptors stays open. An open userfaultfd would keep
 * the next engine from tracking the guest. */
static void test_exec_with_a_damaged_record(void **state)
{
	struct onward *o = make();
	int status, fd;
	pid_t pid;

	(void)state;
	assert_true(program_path()[0] == '/');
	o->n_vms = 1;
	o->vm[0].handed.uffd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	o->vm[0].handed.n_disks = 0;
	fd = onward_write(o);
	assert_int_equal(pwrite(fd, "x", 1, 40), 1);
	pid = fork();
	if (pid == 0) {
		char text[16];

		snprintf(text, sizeof(text), "%d", o->vm[0].handed.uffd);
		(void)setenv("TEST_ONWARD_OTHER", text, 1);
		(void)setenv("TEST_ONWARD_DAMAGED", "1", 1);
		(void)onward_exec("/nowhere/holdfast-agent", "config", o, fd);
		_exit(99);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	close(o->vm[0].handed.uffd);
	close(fd);
	free(o);
}

static int judge(struct onward *o, const char *other)
{
	const struct handed *h;

	if (getenv("TEST_ONWARD_DAMAGED"))
		return !o && fcntl(atoi(other), F_GETFD) < 0 ? 0 : 4;
	h = onward_find(o, "web1");
	if (!h || getenv(ONWARD_ENV))
		return 1;
	if (fcntl(h->uffd, F_GETFD) != FD_CLOEXEC ||
	    fcntl(h->disk[0].ring_fd, F_GETFD) != FD_CLOEXEC ||
	    fcntl(h->disk[0].log_fd, F_GETFD) != FD_CLOEXEC)
		return 2;
	return fcntl(atoi(other), F_GETFD) < 0 ? 0 : 3;
}

/* Runs after the exec in both tests of exec. Returns the exit status. */
static int next_program(const char *other)
{
	struct onward *o;
	int status;

	onward_take(&o);
	status = judge(o, other);
	onward_free(o);
	return status;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_comes_out_as_it_went_in),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_facts),
		cmocka_unit_test(test_exec),
		cmocka_unit_test(test_exec_with_a_damaged_record),
	};
	const char *other = getenv("TEST_ONWARD_OTHER");

	return other ? next_program(other)
		     : cmocka_run_group_tests_name("onward", tests, NULL, NULL);
}
