/* Hashing for cache keys and names of cache files (xxHash; not for security). */
#ifndef MARE_BASE_HASH_H
#define MARE_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Hash of bytes, chained by seed. */
uint64_t hash_bytes(const void *data, size_t len, uint64_t seed);
uint64_t hash_string(const char *s, uint64_t seed);
/* 128-bit hash as 32 hex digits and a zero byte. */
void hash_hex(const void *data, size_t len, char out[33]);

#endif
