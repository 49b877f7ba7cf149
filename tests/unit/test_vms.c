/* Tests how VMs get from their files into the fleet: at the start, at a reload, and when the
 * gateway's next program checks whether it could take over. A VM that is protected according to the
 * journal is never forgotten, whatever has become of its file. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "reloading.h"
#include "replacing.h"
#include "vms.h"
#include "wire/text.h"

#define WEB1 "[vm]\nname = web1\nprimary = alpha\nstandby = beta\n"

static char dir[64];
static struct gw_config config;
static struct gw_vm_config vms[FLEET_VMS_MAX];
static struct vm_journal *journal;
static struct fleet *fleet;
static struct sessions sessions;
static struct incarnating incarnating;
static struct probes *probes;
static char events[8192]; /* the events since the last reload: "VM: text\n" each */

static void write_vm(const char *name, const char *text)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/vms/%s.ini", dir, name);
	assert_int_equal(fd_write_file_atomic(path, text, strlen(text)), 0);
}

static void delete_vm(const char *name)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/vms/%s.ini", dir, name);
	assert_int_equal(unlink(path), 0);
}

static bool on_event(void *arg, uint64_t now_ns, const char *vm, const char *kind,
		     const char *from, const char *to, const char *text)
{
	size_t used = strlen(events);

	(void)arg;
	(void)now_ns;
	(void)from;
	(void)to;
	assert_true(wire_text_is_valid(text));
	if (strcmp(kind, "config") == 0)
		(void)snprintf(events + used, sizeof(events) - used, "%s: %s\n", vm, text);
	return true;
}

static int set_up(void **state)
{
	char path[128];

	(void)state;
	(void)snprintf(dir, sizeof(dir), "%s/holdfast-vms-XXXXXX",
		       access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	assert_non_null(mkdtemp(dir));
	config = (struct gw_config){.port = GATEWAY_PORT_KERNEL, .probe_port = "net_af_packet1",
				    .lease_ns = 60 * CLOCK_NS_PER_S,
				    .probe_interval_ns = CLOCK_NS_PER_S};
	config.management.ip_be32 = htonl(INADDR_LOOPBACK);
	config.probe_address =
		(struct config_prefix){.ip_be32 = inet_addr("198.18.51.1"), .bits = 24};
	(void)snprintf(config.vm_dir, sizeof(config.vm_dir), "%s/vms", dir);
	(void)snprintf(config.state_dir, sizeof(config.state_dir), "%s/state", dir);
	(void)snprintf(path, sizeof(path), "%s/vms", dir);
	assert_int_equal(fd_mkdir_p(path, 0700), 0);
	sessions.config.n_sessions_max = 128;
	events[0] = '\0';
	return 0;
}

/* End the gateway, if it runs. */
static void end_gateway(void)
{
	fleet = fleet_free(fleet);
	probes = probes_free(probes);
	journal = vm_journal_close(journal);
}

static int tear_down(void **state)
{
	char command[96];

	(void)state;
	end_gateway();
	(void)snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

static void open_journal(void)
{
	struct error error;

	assert_int_equal(vm_journal_open(config.state_dir, &journal, &error), 0);
}

static void record(const char *vm, enum vm_state in, bool is_wanted)
{
	assert_int_equal(vm_journal_append(journal, vm, "alpha", 7, in, is_wanted, ""), 0);
}

/* Start a gateway on the open journal. */
static void start_gateway(void)
{
	const struct fleet_config of = {.journal = journal};

	assert_int_equal(fleet_new(&of, &fleet), 0);
	fleet->sinks.event = on_event;
	assert_int_equal(vms_open(&config, fleet, &incarnating, vms, &probes), 0);
}

static void reload(void)
{
	const struct reloading r = {.config = &config, .fleet = fleet, .sessions = &sessions,
				    .vms = vms, .probes = probes, .incarnating = &incarnating};

	events[0] = '\0';
	reloading_run(&r, clock_mono_ns());
}

static bool told(const char *words)
{
	return strstr(events, words) != NULL;
}

static bool has_fault(const char *vm, const char *words)
{
	const char *fault = fleet_find_fault(fleet, vm);

	return fault && strstr(fault, words);
}

static void test_a_protected_vm_without_a_file_is_a_fault(void **state)
{
	(void)state;
	open_journal();
	record("web1", VM_PROTECTED, false);
	record("mx", VM_UNPROTECTED, true);
	record("db", VM_FAILED, false);
	record("old", VM_UNPROTECTED, false); /* was unprotected before its file was deleted */
	start_gateway();
	assert_int_equal(fleet->n_vms, 0);
	assert_int_equal(fleet->n_faults, 3);
	assert_true(has_fault("web1", "PROTECTED in term 7 on alpha"));
	assert_true(has_fault("web1", "`holdfastctl unprotect web1`"));
	assert_true(has_fault("mx", "to be protected"));
	assert_true(has_fault("db", "FAILED"));
}

static void test_a_vm_with_a_file_has_one_fault_at_most(void **state)
{
	(void)state;
	open_journal();
	record("web1", VM_PROTECTED, false);
	record("mx", VM_PROTECTED, false);
	write_vm("web1", WEB1);
	write_vm("mx", "[vm]\nname = mx\n");
	start_gateway();
	assert_int_equal(fleet->n_vms, 1);
	assert_int_equal(fleet->n_faults, 1);
	assert_true(has_fault("mx", "'primary' is missing"));
}

static void test_no_replacement_loses_a_vm(void **state)
{
	(void)state;
	open_journal();
	record("web1", VM_PROTECTED, false);
	record("old", VM_UNPROTECTED, false);
	assert_true(replacing_check(&config, config.state_dir) < 0);
	write_vm("web1", WEB1);
	assert_int_equal(replacing_check(&config, config.state_dir), 0);
}

static void test_a_reload_says_what_a_restart_would_do(void **state)
{
	(void)state;
	open_journal();
	record("web1", VM_PROTECTED, false);
	record("old", VM_UNPROTECTED, false);
	write_vm("web1", WEB1);
	write_vm("old", "[vm]\nname = old\nprimary = alpha\nstandby = beta\n");
	start_gateway();
	delete_vm("web1");
	delete_vm("old");
	reload();
	assert_int_equal(fleet->n_vms, 2);
	assert_int_equal(fleet->n_faults, 0);
	assert_true(told("web1: its file is gone: it goes on with its last settings"));
	assert_true(told("a protected guest is stopped"));
	assert_true(told("old: its file is gone: a restart of the gateway removes it"));
}

static void test_a_reload_warns_of_another_pair(void **state)
{
	(void)state;
	open_journal();
	record("web1", VM_PROTECTED, false);
	record("old", VM_UNPROTECTED, false);
	write_vm("web1", WEB1);
	write_vm("old", "[vm]\nname = old\nprimary = alpha\nstandby = beta\n");
	start_gateway();
	write_vm("web1", "[vm]\nname = web1\nprimary = alpha\nstandby = gamma\n");
	write_vm("old", "[vm]\nname = old\nprimary = alpha\nstandby = gamma\n");
	reload();
	assert_true(told("web1: its file changes primary or standby: nothing is changed until the "
			 "gateway is restarted; unprotect it before"));
	assert_true(told("old: its file changes primary or standby: nothing is changed until the "
			 "gateway is restarted\n"));
}

static void test_a_reload_forgets_no_protected_vm(void **state)
{
	(void)state;
	open_journal();
	record("web1", VM_PROTECTED, false);
	write_vm("web1", "[vm]\nname = web1\n");
	write_vm("db", "[vm]\nname = db\n");
	start_gateway();
	assert_int_equal(fleet->n_faults, 2);
	delete_vm("web1");
	delete_vm("db");
	reload();
	assert_int_equal(fleet->n_faults, 1); /* the journal does not name db */
	assert_true(has_fault("web1", "its file"));
	assert_true(has_fault("web1", "PROTECTED in term 7"));
	assert_true(told("web1: it is not looked after"));
	write_vm("web1", WEB1);
	reload();
	assert_int_equal(fleet->n_faults, 0);
	assert_non_null(fleet_find_vm(fleet, "web1"));
	assert_int_equal(fleet_find_vm(fleet, "web1")->fsm.record.state, VM_PROTECTED);
}

/* A fault quotes the VM's file, which may contain any bytes. The fault's text becomes a part of
 * JSON, where one wrong byte would lose all of it. So the text must be valid UTF-8. */
static void test_a_fault_is_a_text(void **state)
{
	const char *accents = "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
			      "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
			      "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
			      "\xc3\xa9\xc3\xa9";
	char text[256];

	(void)state;
	open_journal();
	write_vm("web2", "[vm]\nname = caf\xe9\n");
	/* a long name is quoted in part; the parser cuts one of these within a character */
	(void)snprintf(text, sizeof(text), "[%s]\n", accents);
	write_vm("web3", text);
	(void)snprintf(text, sizeof(text), "[x%s]\n", accents);
	write_vm("web4", text);
	start_gateway();
	assert_int_equal(fleet->n_faults, 3);
	for (size_t i = 0; i < 3; i++)
		assert_true(wire_text_is_valid(fleet->faults[i].text));
	assert_true(has_fault("web2", "name = 'caf?'"));
	assert_true(has_fault("web3", "unknown section [\xc3\xa9"));
	end_gateway();
	assert_int_equal(gw_config_load_vms(&config, vms, FLEET_VMS_MAX, &(size_t){0},
					    &(struct error){0}), 0);
	for (size_t i = 0; i < 3; i++)
		assert_true(wire_text_is_valid(vms[i].fault));
}

#define GOOD "fence_command = true\n"
#define BAD "fence_command = /nowhere/fence\n"

/* A protected guest stays protected, even if its fence command cannot be run. Otherwise the guest
 * would be stopped for lack of leases, which is worse than a failover that needs an operator. But
 * operators must be told that the command cannot be run. */
static void test_a_fence_that_cannot_run_is_told(void **state)
{
	const char *words = "cannot be run: /nowhere/fence does not exist; a failover would end "
			    "FAILED";

	(void)state;
	open_journal();
	record("web1", VM_PROTECTED, false);
	write_vm("web1", WEB1 BAD);
	write_vm("db", "[vm]\nname = db\n");
	start_gateway();
	assert_int_equal(fleet->n_vms, 1);
	assert_non_null(strstr(fleet->vms[0]->fence_fault, words));
	vms_tell(fleet, clock_mono_ns());
	assert_true(told("web1: its fence_command cannot be run"));
	assert_true(told("db: it is not looked after"));
	reload();
	assert_true(told(words));
	write_vm("web1", WEB1 GOOD);
	reload();
	assert_true(told("changed: fence_command"));
	assert_string_equal(fleet->vms[0]->fence_fault, "");
}

static void test_a_reload_takes_no_fence_that_cannot_run(void **state)
{
	(void)state;
	open_journal();
	write_vm("web1", WEB1 GOOD);
	start_gateway();
	write_vm("web1", WEB1 BAD "reprotect = auto\n");
	reload();
	assert_true(told("web1: its file changes fence_command to one that cannot be run: "
			 "/nowhere/fence does not exist; nothing is changed"));
	assert_true(told("0 added, 0 changed, 1 not carried out"));
	assert_string_equal(vms[0].fence_command, "true");
	assert_false(fleet->vms[0]->config.reprotect_auto);
	assert_string_equal(fleet->vms[0]->fence_fault, "");
}

/* The fence program can disappear while the VM's file still names it. A reload must carry out other
 * changes of the file all the same. */
static void test_a_reload_looks_for_the_fence_again(void **state)
{
	char fence[96], text[256];

	(void)state;
	(void)snprintf(fence, sizeof(fence), "%s/fence", dir);
	assert_int_equal(fd_write_file_atomic(fence, "", 0), 0);
	assert_int_equal(chmod(fence, 0700), 0);
	open_journal();
	(void)snprintf(text, sizeof(text), WEB1 "fence_required = no\nfence_command = %s\n", fence);
	write_vm("web1", text);
	start_gateway();
	assert_string_equal(fleet->vms[0]->fence_fault, "");
	assert_int_equal(unlink(fence), 0);
	strcat(text, "reprotect = auto\n");
	write_vm("web1", text);
	reload();
	assert_true(told("changed: reprotect"));
	assert_true(told("does not exist; a failover would go on without it"));
	assert_true(fleet->vms[0]->config.reprotect_auto);
}

#define CLIENTS "primary_address = 198.18.51.%d\nstandby_address = 198.18.51.12\n"

/* Write web1's file, with the host `primary` at 198.18.51.@last in the client network. */
static void write_witnessed(int last)
{
	char text[256];

	(void)snprintf(text, sizeof(text), WEB1 CLIENTS "witness_paths = both\n", last);
	write_vm("web1", text);
}

static void test_the_witness_follows_an_address(void **state)
{
	(void)state;
	open_journal();
	write_witnessed(11);
	start_gateway();
	assert_int_equal(fleet->vms[0]->witness_sources[0], ntohl(inet_addr("198.18.51.11")));
	write_witnessed(77);
	reload();
	assert_true(told("web1: its file was read again, changed: primary_address"));
	assert_int_equal(fleet->vms[0]->witness_sources[0], ntohl(inet_addr("198.18.51.77")));
	assert_int_equal(fleet->vms[0]->witness_sources[1], ntohl(inet_addr("198.18.51.12")));
}

static void test_an_address_on_the_backup_network_can_go(void **state)
{
	(void)state;
	open_journal();
	write_vm("web1", WEB1 "primary_backup = 198.18.50.11\n");
	write_vm("db", "[vm]\nname = db\nprimary = alpha\nstandby = beta\n"
		 "standby_backup = 198.18.50.12\n");
	start_gateway();
	assert_string_equal(fleet_find_host(fleet, "alpha")->configured, "198.18.50.11");
	assert_string_equal(fleet_find_host(fleet, "beta")->configured, "198.18.50.12");
	write_vm("web1", WEB1);
	reload();
	assert_string_equal(fleet_find_host(fleet, "alpha")->configured, "");
	assert_string_equal(fleet_find_host(fleet, "beta")->configured, "198.18.50.12");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_a_protected_vm_without_a_file_is_a_fault,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_vm_with_a_file_has_one_fault_at_most, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_no_replacement_loses_a_vm, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_reload_says_what_a_restart_would_do, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_a_reload_warns_of_another_pair, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_a_reload_forgets_no_protected_vm, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_a_fault_is_a_text, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_fence_that_cannot_run_is_told, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_a_reload_takes_no_fence_that_cannot_run,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_reload_looks_for_the_fence_again, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_the_witness_follows_an_address, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(test_an_address_on_the_backup_network_can_go,
						set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
