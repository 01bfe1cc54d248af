/* Arena: many small allocations with one lifetime. */
#ifndef MARE_BASE_ARENA_H
#define MARE_BASE_ARENA_H

#include <stddef.h>

typedef struct arena_block arena_block;
typedef struct arena {
    arena_block *blocks;
    size_t used, size; /* of the newest block */
    size_t total;      /* bytes taken from malloc */
} arena;

/* Zeroed memory, aligned for any type; null when the host has none left. */
void *arena_alloc(arena *a, size_t bytes);
/* A copy of bytes, or of a string. */
void *arena_copy(arena *a, const void *data, size_t bytes);
char *arena_string(arena *a, const char *text);
/* Gives everything back. The arena can be used again. */
void arena_free(arena *a);

#endif
