#include "io/io.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool io_shape_bytes(const shape *s, size_t size, size_t *bytes) {
    /* Half of the address space is the most that malloc gives, and keeps the product an int64. */
    const uint64_t limit = PTRDIFF_MAX;
    uint64_t n = size;
    bool empty = false;
    if (s->rank < 0 || s->rank > MAX_DIMS) return false;
    for (int i = 0; i < s->rank; i++) {
        if (s->dim[i] < 0) return false;
        if (s->dim[i] == 0)
            empty = true;
        else if ((uint64_t)s->dim[i] > limit / n)
            return false;
        else
            n *= (uint64_t)s->dim[i];
    }
    *bytes = empty ? 0 : (size_t)n;
    return true;
}

size_t io_array_bytes(const io_array *a) {
    return (size_t)shape_count(&a->shape) * mare_dtype_size(a->dtype);
}

mare_status io_array_new(io_array *a, mare_dtype dtype, const shape *s, mare_error *e) {
    size_t bytes;
    memset(a, 0, sizeof *a);
    if (!io_shape_bytes(s, mare_dtype_size(dtype), &bytes))
        return error_set(e, MARE_E_SHAPE, "an array of this shape is too large for memory");
    a->data = malloc(bytes ? bytes : 1);
    if (!a->data) return error_no_memory(e, bytes);
    a->dtype = dtype;
    a->shape = *s;
    return MARE_OK;
}

void io_array_free(io_array *a) {
    free(a->data);
    memset(a, 0, sizeof *a);
}

void io_bundle_free(io_bundle *b) {
    for (size_t i = 0; i < b->count; i++) {
        free(b->items[i].name);
        io_array_free(&b->items[i].array);
    }
    for (size_t i = 0; i < b->note_count; i++) {
        free(b->notes[i].key);
        free(b->notes[i].value);
    }
    free(b->items);
    free(b->notes);
    memset(b, 0, sizeof *b);
}

const io_array *io_bundle_find(const io_bundle *b, const char *name) {
    for (size_t i = 0; i < b->count; i++)
        if (strcmp(b->items[i].name, name) == 0) return &b->items[i].array;
    return NULL;
}

const char *io_bundle_note(const io_bundle *b, const char *key) {
    for (size_t i = 0; i < b->note_count; i++)
        if (strcmp(b->notes[i].key, key) == 0) return b->notes[i].value;
    return NULL;
}

const char *io_label(char out[IO_LABEL], const char *what, const char *name) {
    snprintf(out, IO_LABEL, "%s \"%.*s%s\"", what, IO_LABEL - 40, name,
             strlen(name) > IO_LABEL - 40 ? "..." : "");
    for (char *c = out; *c; c++)
        if (*c < ' ' || *c > '~') *c = '?';
    return out;
}
