#include "base/map.h"

#include <stdlib.h>

/* Spreads keys such as addresses, whose low bits are alike. */
static size_t home(uint64_t key, size_t cap) {
    key ^= key >> 32;
    key *= 0x9E3779B97F4A7C15u;
    return (size_t)(key >> 20) & (cap - 1);
}

static map_slot *find(const map *m, uint64_t key) {
    if (!m->cap) return NULL;
    size_t i = home(key, m->cap);
    while (m->slots[i].value && m->slots[i].key != key)
        i = (i + 1) & (m->cap - 1);
    return &m->slots[i];
}

void *map_get(const map *m, uint64_t key) {
    map_slot *s = find(m, key);
    return s ? s->value : NULL;
}

bool map_put(map *m, uint64_t key, void *value) {
    if ((m->len + 1) * 4 > m->cap * 3) {
        size_t cap = m->cap ? m->cap * 2 : 16;
        map bigger = {calloc(cap, sizeof(map_slot)), 0, cap};
        if (!bigger.slots) return false;
        for (size_t i = 0; i < m->cap; i++)
            if (m->slots[i].value) {
                *find(&bigger, m->slots[i].key) = m->slots[i];
                bigger.len++;
            }
        free(m->slots);
        *m = bigger;
    }
    map_slot *s = find(m, key);
    if (!s->value) m->len++;
    *s = (map_slot){key, value};
    return true;
}

void *map_take(map *m, uint64_t key) {
    map_slot *s = find(m, key);
    if (!s || !s->value) return NULL;
    void *value = s->value;
    s->value = NULL;
    m->len--;
    /* Later members of the same run move back into the hole, or they could not be found. */
    size_t hole = (size_t)(s - m->slots);
    for (size_t i = (hole + 1) & (m->cap - 1); m->slots[i].value; i = (i + 1) & (m->cap - 1)) {
        size_t want = home(m->slots[i].key, m->cap);
        if (((i - want) & (m->cap - 1)) >= ((i - hole) & (m->cap - 1))) {
            m->slots[hole] = m->slots[i];
            m->slots[i].value = NULL;
            hole = i;
        }
    }
    return value;
}

void map_free(map *m) {
    free(m->slots);
    *m = (map){0};
}
