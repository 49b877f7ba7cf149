#include "port/eal.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/libbpf.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_log.h>
#include <xdp/libxdp.h>

#include "base/fd.h"
#include "base/log.h"

#define ARGS_MAX	   16
#define BUFFER_BYTES	   2560 /* one frame buffer, including its headers
				 * and the pool's overhead */
#define MEMORY_BASE_MB     24   /* for rings, device state and the driver's own buffers */
#define HUGEPAGE_MB	   2
#define HUGEPAGES_FREE	   "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"
#define CPU_LIST_MAX_BYTES 1024

static struct {
	bool running;
	bool with_pci;
} eal;

/* Returns the log level under which we log DPDK's level @level: one step less severe, because
 * DPDK's errors are not always errors for us. */
static enum log_level demote(int level)
{
	if (level <= (int)RTE_LOG_ERR)
		return LOG_LEVEL_WARN;
	if (level == (int)RTE_LOG_WARNING)
		return LOG_LEVEL_INFO;
	return LOG_LEVEL_DEBUG;
}

static ssize_t log_line(void *arg, const char *text, size_t size)
{
	enum log_level level = demote(rte_log_cur_msg_loglevel());
	size_t left = size;

	(void)arg;
	while (left > 0) {
		const char *end = memchr(text, '\n', left);
		size_t n = end ? (size_t)(end - text) : left;

		if (n > 0 && log_get_level() >= level)
			log_write(level, "dpdk.c", "%.*s", (int)n, text);
		n += end != NULL;
		text += n;
		left -= n;
	}
	return (ssize_t)size;
}

/* The next two functions receive the log lines of libbpf and libxdp, which net_af_xdp uses. By
 * default, these libraries print to stderr. */
static int log_libbpf(enum libbpf_print_level level, const char *format, va_list args)
{
	enum log_level ours = level == LIBBPF_WARN ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG;

	if (log_get_level() >= ours)
		log_writev(ours, "libbpf.c", format, args);
	return 0;
}

static int log_libxdp(enum libxdp_print_level level, const char *format, va_list args)
{
	enum log_level ours = level == LIBXDP_WARN ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG;

	if (log_get_level() >= ours)
		log_writev(ours, "libxdp.c", format, args);
	return 0;
}

static int route_log(void)
{
	cookie_io_functions_t functions = { .write = log_line };
	FILE *stream = fopencookie(NULL, "w", functions);

	if (!stream)
		return -ENOMEM;
	setvbuf(stream, NULL, _IOLBF, 0);
	libbpf_set_print(log_libbpf);
	libxdp_set_print(log_libxdp);
	rte_log_set_global_level(log_get_level() >= LOG_LEVEL_DEBUG ? RTE_LOG_INFO :
								      RTE_LOG_WARNING);
	return rte_openlog_stream(stream) ? -EIO : 0; /* DPDK uses the stream
						       * until the process ends */
}

/* Writes the set @cpus as "0,2,3", the form that --lcores needs. */
static int list_cpus(const cpu_set_t *cpus, char *ret_text, size_t size)
{
	size_t used = 0;
	int cpu;

	for (cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		int n;

		if (!CPU_ISSET(cpu, cpus))
			continue;
		n = snprintf(ret_text + used, size - used, "%s%d", used ? "," : "", cpu);
		if (n < 0 || (size_t)n >= size - used)
			return -E2BIG;
		used += (size_t)n;
	}
	return used ? 0 : -EINVAL;
}

static size_t free_hugepages_mb(void)
{
	char *text = NULL;
	size_t size, n_pages;

	if (fd_read_file(HUGEPAGES_FREE, 64, &text, &size))
		return 0; /* the kernel has no 2 MiB pages */
	n_pages = strtoul(text, NULL, 10);
	free(text);
	return n_pages * HUGEPAGE_MB;
}

/* Decide whether DPDK's memory of @memory_mb should come from hugepages (*ret_huge). */
static int choose_hugepages(enum port_hugepages wish, size_t memory_mb, bool *ret_huge,
			    struct error *ret_error)
{
	size_t free_mb = wish == PORT_HUGEPAGES_NO ? 0 : free_hugepages_mb();

	*ret_huge = wish != PORT_HUGEPAGES_NO && free_mb >= memory_mb;
	if (wish == PORT_HUGEPAGES_YES && !*ret_huge)
		return error_set(ret_error, -ENOMEM,
				 "%zu MiB of 2 MiB hugepages wanted, %zu free: raise "
				 "vm.nr_hugepages or set hugepages to auto",
				 memory_mb, free_mb);
	return 0;
}

/* Run rte_eal_init() with all signals blocked, because EAL's threads must not receive our signals.
 * Then restore the signal mask and the affinity. @n_args and @args are like argc and argv of
 * main(). */
static int init_quietly(int n_args, char **args)
{
	sigset_t all, old;
	cpu_set_t cpus;
	int rc;

	sigfillset(&all);
	if (pthread_getaffinity_np(pthread_self(), sizeof(cpus), &cpus))
		return -EINVAL;
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = rte_eal_init(n_args, args) < 0 ? -rte_errno : 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	/* cannot fail, because this set was valid before */
	(void)pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus);
	return rc;
}

int eal_start(const struct port_config *config, const char *pci, struct error *ret_error)
{
	/* EAL stores pointers to its arguments, so the arguments must exist as long as the
	 * process. */
	static char lcores[CPU_LIST_MAX_BYTES + 16], memory[24], pci_text[32];
	char *args[ARGS_MAX], cpu_text[CPU_LIST_MAX_BYTES];
	unsigned int n_buffers = config->n_buffers ? config->n_buffers : PORT_BUFFERS_DEFAULT;
	size_t memory_mb = config->memory_mb;
	cpu_set_t cpus;
	int n_args = 0, rc;
	bool huge;

	if (eal.running && pci && !eal.with_pci)
		return error_set(ret_error, -EALREADY, "open PCI ports before all others");
	if (eal.running)
		return 0;
	if (memory_mb == 0)
		memory_mb = (((size_t)n_buffers + config->n_more_buffers) * BUFFER_BYTES >> 20) +
			    MEMORY_BASE_MB;
	rc = choose_hugepages(config->hugepages, memory_mb, &huge, ret_error);
	if (rc)
		return rc;
	if (pthread_getaffinity_np(pthread_self(), sizeof(cpus), &cpus) ||
	    list_cpus(&cpus, cpu_text, sizeof(cpu_text))) {
		return error_set(ret_error, -EINVAL, "cannot read this thread's affinity");
	}
	snprintf(lcores, sizeof(lcores), "--lcores=0@(%s)",
		 config->cores ? config->cores : cpu_text);
	snprintf(memory, sizeof(memory), "%zu", memory_mb);
	snprintf(pci_text, sizeof(pci_text), "%s", pci ? pci : "");

	args[n_args++] = (char *)"holdfast-gateway";
	/* Without hugepages DPDK uses "legacy" memory, which cannot be combined with
	 * --in-memory. */
	args[n_args++] = (char *)(huge ? "--in-memory" : "--no-shconf");
	args[n_args++] = (char *)"--no-telemetry";
	args[n_args++] = (char *)"--iova-mode=va";
	args[n_args++] = lcores;
	args[n_args++] = (char *)"-m";
	args[n_args++] = memory;
	if (!huge)
		args[n_args++] = (char *)"--no-huge";
	args[n_args++] = (char *)(pci ? "-a" : "--no-pci");
	if (pci)
		args[n_args++] = pci_text;
	args[n_args] = NULL;

	rc = route_log();
	if (!rc)
		rc = init_quietly(n_args, args);
	if (rc) {
		(void)error_set(ret_error, rc,
				"DPDK does not start with %zu MiB %s on cores %s: %s "
				"(HOLDFAST_LOG=debug shows its own words)%s",
				memory_mb, huge ? "of hugepages" : "of plain memory", lcores + 9,
				strerror(-rc),
				huge && rc == -ENOMEM && config->hugepages == PORT_HUGEPAGES_AUTO
					? ": enough were free a moment ago, and are taken by "
					  "another program: start again, or set hugepages = no"
					: "");
		return rc;
	}
	eal.running = true;
	eal.with_pci = pci != NULL;
	return 0;
}
