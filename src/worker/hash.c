#include "worker/hash.h"

#include <openssl/evp.h>

stk_status
stk_hash(const void *bytes, size_t n, uint8_t hash[STK_HASH_BYTES], stk_error *err)
{
	if (EVP_Digest(bytes, n, hash, NULL, EVP_sha256(), NULL) != 1)
		return stk_fail(err, STK_ENOMEM, "SHA-256 is not to be had from libcrypto");
	return STK_OK;
}
