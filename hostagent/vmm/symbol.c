#include "vmm/symbol.h"

#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"

#define MAPS_BYTES_MAX ((size_t)16 << 20)
#define PATH_BYTES_MAX 4096u

/* Look for the symbol @name in @scn, a table of dynamic symbols. */
static int find_in_table(Elf *elf, Elf_Scn *scn, const GElf_Shdr *header, const char *name,
			 uint64_t size_bytes, uint64_t *ret_value)
{
	Elf_Data *data = elf_getdata(scn, NULL);
	size_t n = data && header->sh_entsize ? header->sh_size / header->sh_entsize : 0;

	for (size_t i = 0; i < n; i++) {
		GElf_Sym symbol;
		const char *its;

		if (!gelf_getsym(data, (int)i, &symbol))
			return -EINVAL;
		its = elf_strptr(elf, header->sh_link, symbol.st_name);
		if (!its || strcmp(its, name) != 0 || symbol.st_shndx == SHN_UNDEF ||
		    GELF_ST_TYPE(symbol.st_info) != STT_OBJECT)
			continue;
		if (symbol.st_size != size_bytes)
			return -EMSGSIZE;
		*ret_value = symbol.st_value;
		return 0;
	}
	return -ENOENT;
}

static int find_symbol(Elf *elf, const char *name, uint64_t size_bytes, uint64_t *ret_value)
{
	Elf_Scn *scn = NULL;

	while ((scn = elf_nextscn(elf, scn))) {
		GElf_Shdr header;

		if (gelf_getshdr(scn, &header) && header.sh_type == SHT_DYNSYM)
			return find_in_table(elf, scn, &header, name, size_bytes, ret_value);
	}
	return -ENOENT;
}

/* Get the address in memory that the ELF file gives to its first byte. */
static int first_address(Elf *elf, uint64_t *ret_address)
{
	size_t n = 0;

	if (elf_getphdrnum(elf, &n) < 0)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		GElf_Phdr segment;

		if (!gelf_getphdr(elf, (int)i, &segment))
			return -EINVAL;
		if (segment.p_type == PT_LOAD && segment.p_offset == 0) {
			*ret_address = segment.p_vaddr;
			return 0;
		}
	}
	return -EINVAL;
}

static int look_in_file(int fd, const char *name, uint64_t size_bytes, uint64_t *ret_offset)
{
	uint64_t value = 0, first = 0;
	Elf *elf;
	int r;

	if (elf_version(EV_CURRENT) == EV_NONE)
		return -EINVAL;
	elf = elf_begin(fd, ELF_C_READ_MMAP, NULL);
	if (!elf)
		return -EINVAL;
	r = elf_kind(elf) == ELF_K_ELF ? first_address(elf, &first) : -EINVAL;
	if (r == 0)
		r = find_symbol(elf, name, size_bytes, &value);
	(void)elf_end(elf); /* its result is a reference count, not an error */
	if (r == 0)
		*ret_offset = value - first;
	return r;
}

/* Find where the file @path begins in memory. @maps lists one mapping per line:
 * "START-END PERMISSIONS OFFSET DEVICE INODE   PATH". */
static int find_start(const char *maps, const char *path, uint64_t *ret_start)
{
	size_t path_size = strlen(path);

	for (const char *line = maps; line && *line; line = strchr(line, '\n')) {
		unsigned long long start, offset;
		const char *end, *at;

		line += *line == '\n';
		end = strchrnul(line, '\n');
		if (sscanf(line, "%llx-%*x %*s %llx", &start, &offset) != 2)
			continue;
		at = memchr(line, '/', (size_t)(end - line));
		if (offset == 0 && at && (size_t)(end - at) == path_size &&
		    memcmp(at, path, path_size) == 0) {
			*ret_start = start;
			return 0;
		}
	}
	return -EINVAL;
}

static int load_start(pid_t pid, uint64_t *ret_start)
{
	AUTO_FREE char *maps = NULL;
	char link[64], path[PATH_BYTES_MAX];
	size_t size;
	ssize_t n;
	int r;

	(void)snprintf(link, sizeof(link), "/proc/%d/exe", pid);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return -errno;
	/* the path of a replaced file ends with " (deleted)", here and in /proc/PID/maps */
	path[n] = '\0';
	(void)snprintf(link, sizeof(link), "/proc/%d/maps", pid);
	r = fd_read_file(link, MAPS_BYTES_MAX, &maps, &size);
	return r < 0 ? r : find_start(maps, path, ret_start);
}

int symbol_find(pid_t pid, const char *name, uint64_t size_bytes, uint64_t *ret_address)
{
	uint64_t offset = 0, start = 0;
	char path[64];
	int r;

	(void)snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = look_in_file(fd, name, size_bytes, &offset);
	if (r == 0)
		r = load_start(pid, &start);
	if (r < 0)
		return r;
	*ret_address = start + offset;
	return 0;
}
