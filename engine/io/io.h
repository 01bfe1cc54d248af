/* Host arrays, the currency of the io layer: readers give them, writers and the loader take them.
 * Nothing here knows a GPU. */
#ifndef MARE_IO_IO_H
#define MARE_IO_IO_H

#include "base/status.h"
#include "graph/graph.h"

/* A contiguous row-major array in host memory. It owns data (malloc). A zeroed one is empty. */
typedef struct io_array {
    mare_dtype dtype;
    shape shape;
    void *data;
} io_array;

/* Makes an array with room for its elements, not initialised. MARE_E_SHAPE when the shape is
 * malformed or its size in bytes cannot be expressed. */
mare_status io_array_new(io_array *a, mare_dtype dtype, const shape *s, mare_error *e);
/* Gives data back and zeroes the array. */
void io_array_free(io_array *a);
size_t io_array_bytes(const io_array *a);
/* Elements of the shape times size in *bytes; false when a dimension is negative, the rank is out
 * of range, or the product overflows (with empty dimensions counted as one, so that strides and
 * partial products never overflow either). */
bool io_shape_bytes(const shape *s, size_t size, size_t *bytes);

/* Named arrays with text notes: what a file of parameters holds. */
typedef struct io_named {
    char *name;
    io_array array;
} io_named;

typedef struct io_note {
    char *key, *value;
} io_note;

typedef struct io_bundle {
    io_named *items;
    size_t count;
    io_note *notes;
    size_t note_count;
} io_bundle;

void io_bundle_free(io_bundle *b);
/* The array or the note under a name, or null. */
const io_array *io_bundle_find(const io_bundle *b, const char *name);
const char *io_bundle_note(const io_bundle *b, const char *key);

/* A name out of a file, fit for an error message: cut to a length, with characters outside of
 * printable ASCII replaced. Returns out. */
enum { IO_LABEL = 120 };
const char *io_label(char out[IO_LABEL], const char *what, const char *name);

#endif
