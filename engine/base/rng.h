/* Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel random
 * numbers: as easy as 1, 2, 3", SC 2011. The GPU's random kernels compute the same function. */
#ifndef MARE_BASE_RNG_H
#define MARE_BASE_RNG_H

#include <stdint.h>

void philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

/* A position in a stream of random numbers: seed is the key, next the counter. */
typedef struct rng {
    uint64_t seed;
    uint64_t next;
} rng;

/* One 32-bit word; advances the stream by one counter. */
uint32_t rng_u32(rng *r);
/* A uniform integer in [0, n), n > 0, without modulo bias (Lemire 2019). */
uint32_t rng_below(rng *r, uint32_t n);
/* Fisher-Yates: fills order with a random permutation of 0..n-1. */
void rng_permutation(rng *r, uint32_t *order, uint32_t n);

#endif
