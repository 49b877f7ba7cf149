#include "ebpf/shield_prog.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/log.h"
#include "shield.skel.h"

struct shield_prog {
	struct shield_skel *skel;
	struct shield_key *keys; /* array of SHIELD_SLOTS keys, mapped from the map shield_keys */
	struct shield_counts *counts; /* the counts, mapped from the map shield_counts */
};

static int print_libbpf(enum libbpf_print_level level, const char *format, va_list args)
{
	/* log all messages at debug level, because the caller reports the errors that matter */
	(void)level;
	log_writev(LOG_LEVEL_DEBUG, "libbpf", format, args);
	return 0;
}

static int map_values(const struct bpf_map *map, size_t size, void **ret)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);

	if (p == MAP_FAILED)
		return -errno;
	*ret = p;
	return 0;
}

static int load(struct shield_prog *prog, uint32_t ip_be32, uint16_t port, uint32_t path)
{
	int r;

	prog->skel = shield_skel__open();
	if (!prog->skel)
		return errno ? -errno : -ENOMEM;
	prog->skel->rodata->our_address = ip_be32;
	prog->skel->rodata->witness_port = htons(port);
	prog->skel->rodata->witness_path = htonl(path);
	r = shield_skel__load(prog->skel);
	if (r == 0)
		r = map_values(prog->skel->maps.shield_keys,
			       sizeof(struct shield_key) * SHIELD_SLOTS, (void **)&prog->keys);
	if (r == 0)
		r = map_values(prog->skel->maps.shield_counts, sizeof(struct shield_counts),
			       (void **)&prog->counts);
	return r;
}

int shield_prog_open(uint32_t ip_be32, uint16_t port, uint32_t path, struct shield_prog **ret_prog)
{
	struct shield_prog *prog = calloc(1, sizeof(*prog));
	int r;

	if (!prog)
		return -ENOMEM;
	libbpf_set_print(print_libbpf);
	r = load(prog, ip_be32, port, path);
	if (r < 0) {
		shield_prog_close(prog);
		return r;
	}
	*ret_prog = prog;
	return 0;
}

struct shield_prog *shield_prog_close(struct shield_prog *prog)
{
	if (!prog)
		return NULL;
	if (prog->keys) {
		explicit_bzero(prog->keys, sizeof(struct shield_key) * SHIELD_SLOTS);
		(void)munmap(prog->keys,
			     /* cannot fail, because the mapping is ours */
			     sizeof(struct shield_key) * SHIELD_SLOTS);
	}
	if (prog->counts)
		(void)munmap(prog->counts, sizeof(struct shield_counts));
	shield_skel__destroy(prog->skel);
	free(prog);
	return NULL;
}

int shield_prog_fd(const struct shield_prog *prog)
{
	return bpf_program__fd(prog->skel->progs.shield_socket);
}

int shield_prog_set_key(struct shield_prog *prog, uint32_t slot, const struct shield_key *key)
{
	int slots = bpf_map__fd(prog->skel->maps.shield_slots), r = 0;
	struct shield_key *mine = &prog->keys[slot];

	if (mine->key_id == (key ? key->key_id : 0))
		return 0;
	/* The program finds a key by its id, and must not find a half-written key. So first remove
	 * the old id, then replace the key, then add the new id. */
	if (mine->key_id != 0)
		r = bpf_map_delete_elem(slots, &mine->key_id);
	explicit_bzero(mine, sizeof(*mine));
	if (!key || r < 0)
		return r;
	*mine = *key;
	r = bpf_map_update_elem(slots, &key->key_id, &slot, BPF_ANY);
	if (r < 0)
		explicit_bzero(mine, sizeof(*mine));
	return r;
}

uint64_t shield_prog_take_count(struct shield_prog *prog, enum shield_verdict verdict)
{
	return __atomic_exchange_n(&prog->counts->n[verdict], 0, __ATOMIC_RELAXED);
}

uint64_t shield_prog_take_bad_macs(struct shield_prog *prog, uint32_t slot)
{
	return __atomic_exchange_n(&prog->keys[slot].bad_macs, 0, __ATOMIC_RELAXED);
}
