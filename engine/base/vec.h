/* A growable array of any element type, as a macro over {data, len, cap}.
 *
 *     VEC(int) v = {0};
 *     if (!vec_push(&v, 7)) ... no memory ...
 *     vec_free(&v);
 */
#ifndef MARE_BASE_VEC_H
#define MARE_BASE_VEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#define VEC(type)                                                                                  \
    struct {                                                                                       \
        type *data;                                                                                \
        size_t len, cap;                                                                           \
    }

/* Makes room for `more` elements; false when the host has no memory left. */
#define vec_reserve(v, more)                                                                       \
    vec_grow((void **)&(v)->data, &(v)->cap, (v)->len + (more), sizeof *(v)->data)
#define vec_push(v, ...) (vec_reserve(v, 1) ? ((v)->data[(v)->len++] = (__VA_ARGS__), true) : false)
#define vec_free(v) (free((v)->data), (v)->data = NULL, (v)->len = (v)->cap = 0)

static inline bool vec_grow(void **data, size_t *cap, size_t need, size_t size) {
    if (need <= *cap) return true;
    size_t n = *cap ? *cap : 8;
    while (n < need)
        n *= 2;
    void *p = n > (size_t)-1 / size ? NULL : realloc(*data, n * size);
    if (!p) return false;
    *data = p;
    *cap = n;
    return true;
}

#endif
