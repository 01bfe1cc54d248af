#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct arena_block {
    arena_block *next;
    alignas(max_align_t) unsigned char data[];
};

enum { BLOCK_BYTES = 16 * 1024 };

void *arena_alloc(arena *a, size_t bytes) {
    if (bytes > SIZE_MAX / 2) return NULL;
    size_t need = (bytes + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);
    if (!a->blocks || a->size - a->used < need) {
        size_t size = need > BLOCK_BYTES ? need : BLOCK_BYTES;
        arena_block *b = calloc(1, sizeof *b + size);
        if (!b) return NULL;
        b->next = a->blocks;
        a->blocks = b;
        a->used = 0;
        a->size = size;
        a->total += sizeof *b + size;
    }
    void *p = a->blocks->data + a->used;
    a->used += need;
    return p;
}

void *arena_copy(arena *a, const void *data, size_t bytes) {
    void *p = arena_alloc(a, bytes);
    if (p && bytes) memcpy(p, data, bytes);
    return p;
}

char *arena_string(arena *a, const char *text) {
    return arena_copy(a, text, strlen(text) + 1);
}

void arena_free(arena *a) {
    while (a->blocks) {
        arena_block *next = a->blocks->next;
        free(a->blocks);
        a->blocks = next;
    }
    *a = (arena){0};
}
