#include "wire/witness.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "base/bytes.h"

#define MAC_SIZE (WIRE_WITNESS_SIZE - WIRE_WITNESS_SIGNED)

static const uint8_t magic[4] = {'H', 'F', 'W', '1'};

enum witness_offset {
	AT_KEY_ID	 = 4,
	AT_SEQUENCE	 = 8,
	AT_MONO_NS	 = 16,
	AT_TO_GUEST	 = 24,
	AT_FROM_GUEST	 = 32,
	AT_FROM_GUEST_NS = 40,
	AT_FRAME_SIZE	 = 48,
	AT_HEAD_SIZE	 = 50,
	AT_PATH		 = 52,
	AT_HEAD		 = 56,
};

_Static_assert(AT_HEAD + WIRE_WITNESS_HEAD_MAX == WIRE_WITNESS_SIGNED, "docs/wire-format.md, 9");
_Static_assert(MAC_SIZE == 8, "SipHash gives 64 bits");

struct wire_witness_mac {
	EVP_MAC *algorithm;
	EVP_MAC_CTX *context;
	uint8_t key[WIRE_WITNESS_KEY_SIZE];
};

int wire_witness_decode(const uint8_t *data, size_t size, struct wire_witness *ret_witness)
{
	struct wire_witness w;
	uint32_t path;

	if (size != WIRE_WITNESS_SIZE || memcmp(data, magic, sizeof(magic)) != 0)
		return -EPROTO;
	path = bytes_get_be32(data + AT_PATH);
	w = (struct wire_witness){
		.key_id = bytes_get_be32(data + AT_KEY_ID),
		.sequence = bytes_get_be64(data + AT_SEQUENCE),
		.mono_ns = bytes_get_be64(data + AT_MONO_NS),
		.to_guest = bytes_get_be64(data + AT_TO_GUEST),
		.from_guest = bytes_get_be64(data + AT_FROM_GUEST),
		.from_guest_ns = bytes_get_be64(data + AT_FROM_GUEST_NS),
		.frame_size = bytes_get_be16(data + AT_FRAME_SIZE),
		.head_size = bytes_get_be16(data + AT_HEAD_SIZE),
		.path = (enum wire_witness_path)path,
		.head = data + AT_HEAD,
	};
	if (w.sequence == 0 || w.head_size < WIRE_WITNESS_HEAD_MIN ||
	    w.head_size > WIRE_WITNESS_HEAD_MAX || w.head_size > w.frame_size ||
	    path >= WIRE_WITNESS_N_PATHS)
		return -EPROTO;
	*ret_witness = w;
	return 0;
}

int wire_witness_mac_new(const uint8_t key[WIRE_WITNESS_KEY_SIZE],
			 struct wire_witness_mac **ret_mac)
{
	struct wire_witness_mac *mac = calloc(1, sizeof(*mac));

	if (!mac)
		return -ENOMEM;
	memcpy(mac->key, key, sizeof(mac->key));
	mac->algorithm = EVP_MAC_fetch(NULL, "SIPHASH", NULL);
	mac->context = mac->algorithm ? EVP_MAC_CTX_new(mac->algorithm) : NULL;
	if (!mac->context) {
		ERR_clear_error();
		wire_witness_mac_free(mac);
		return -ENOMEM;
	}
	*ret_mac = mac;
	return 0;
}

struct wire_witness_mac *wire_witness_mac_free(struct wire_witness_mac *mac)
{
	if (!mac)
		return NULL;
	EVP_MAC_CTX_free(mac->context);
	EVP_MAC_free(mac->algorithm);
	OPENSSL_cleanse(mac->key, sizeof(mac->key));
	free(mac);
	return NULL;
}

/* Compute a datagram's mac. OpenSSL writes the 64-bit value in little-endian order, but in the
 * datagram it is in big-endian order. Returns 0; -EIO: OpenSSL failed. */
static int compute(struct wire_witness_mac *mac, const uint8_t *data, uint8_t ret_mac[MAC_SIZE])
{
	size_t size = MAC_SIZE;
	OSSL_PARAM params[] = {OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size),
			       OSSL_PARAM_construct_end()};
	uint8_t value[MAC_SIZE];
	size_t n;

	if (!EVP_MAC_init(mac->context, mac->key, sizeof(mac->key), params) ||
	    !EVP_MAC_update(mac->context, data, WIRE_WITNESS_SIGNED) ||
	    !EVP_MAC_final(mac->context, value, &n, sizeof(value)) || n != sizeof(value)) {
		ERR_clear_error();
		return -EIO;
	}
	for (size_t i = 0; i < sizeof(value); i++)
		ret_mac[i] = value[sizeof(value) - 1 - i];
	return 0;
}

int wire_witness_mac_check(struct wire_witness_mac *mac, const uint8_t *data)
{
	uint8_t value[MAC_SIZE];

	if (compute(mac, data, value) < 0 ||
	    CRYPTO_memcmp(value, data + WIRE_WITNESS_SIGNED, sizeof(value)) != 0)
		return -EBADMSG;
	return 0;
}

int wire_witness_mac_sign(struct wire_witness_mac *mac, uint8_t *data)
{
	return compute(mac, data, data + WIRE_WITNESS_SIGNED);
}
