/* Map from a 64-bit key to a pointer. Keys are hashes or addresses; open addressing. */
#ifndef MARE_BASE_MAP_H
#define MARE_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct map_slot {
    uint64_t key;
    void *value; /* null: the slot is free */
} map_slot;

typedef struct map {
    map_slot *slots;
    size_t len, cap;
} map;

/* The value under key, or null. */
void *map_get(const map *m, uint64_t key);
/* Puts value (not null) under key, over any older one; false when the host has no memory left. */
bool map_put(map *m, uint64_t key, void *value);
/* Takes key out; returns its value, or null. */
void *map_take(map *m, uint64_t key);
void map_free(map *m);

#endif
