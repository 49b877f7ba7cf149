#include "codec/simd.h"

#include <errno.h>

#include "codec/zero.h"

const struct simd_ops *simd_ops = &simd_ops_scalar;
uint64_t simd_pack_table[256];
uint64_t simd_unpack_table[256];

static void fill_tables(void)
{
	for (unsigned int mask = 0; mask < 256; mask++) {
		uint64_t pack = UINT64_C(0x8080808080808080), unpack = pack;
		unsigned int n = 0;

		for (unsigned int j = 0; j < 8; j++) {
			if (!(mask >> j & 1))
				continue;
			/* 0x80 ^ (0x80 | j) is j, so this XOR changes the n-th byte (from the
			 * lowest) from 0x80 to j. */
			pack ^= (UINT64_C(0x80) | j) << 8 * n;
			unpack ^= (UINT64_C(0x80) | n) << 8 * j;
			n++;
		}
		simd_pack_table[mask] = pack;
		simd_unpack_table[mask] = unpack;
	}
}

/* Returns the functions of @form, or NULL if the build, the CPU or the kernel does not support it.
 * __builtin_cpu_supports() also checks that the kernel saves the wide registers. */
static const struct simd_ops *find(enum simd_form form)
{
	switch (form) {
	case SIMD_SCALAR:
		return &simd_ops_scalar;
#ifdef CODEC_X86_FORMS
	case SIMD_AVX2:
		if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
		    __builtin_cpu_supports("bmi2"))
			return &simd_ops_avx2;
		return NULL;
	case SIMD_AVX512:
		if (find(SIMD_AVX2) && __builtin_cpu_supports("avx512f") &&
		    __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
		    __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2") &&
		    __builtin_cpu_supports("avx512vpopcntdq"))
			return &simd_ops_avx512;
		return NULL;
#endif
	default:
		return NULL;
	}
}

enum simd_form simd_get_form(void)
{
	for (int form = SIMD_N_FORMS - 1; form > SIMD_SCALAR; form--) {
		if (simd_ops == find((enum simd_form)form))
			return (enum simd_form)form;
	}
	return SIMD_SCALAR;
}

int simd_set_form(enum simd_form form)
{
	const struct simd_ops *found = find(form);

	if (!found)
		return -ENOTSUP;
	simd_ops = found;
	return 0;
}

const char *simd_form_name(enum simd_form form)
{
	static const char *const names[SIMD_N_FORMS] = {"scalar", "avx2", "avx512"};

	return names[form];
}

/* Runs before main(), so that no caller can forget to choose a form. */
static void __attribute__((constructor)) pick_best_form(void)
{
#ifdef CODEC_X86_FORMS
	__builtin_cpu_init();
#endif
	fill_tables();
	for (int form = SIMD_N_FORMS - 1; form >= SIMD_SCALAR; form--) {
		if (simd_set_form((enum simd_form)form) == 0)
			return;
	}
}

bool zero_is_page(const uint8_t *page)
{
	return simd_ops->is_zero(page);
}
