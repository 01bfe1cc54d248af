/* The data loader: batches of samples out of arrays in memory, assembled ahead by worker threads.
 *
 * The order is a function of the seed, the epoch, `shuffle` and the subset alone: not of the number
 * of workers, nor of their luck. A loader makes one pass (one epoch), from batch `start` on. */
#ifndef MARE_IO_LOADER_H
#define MARE_IO_LOADER_H

#include "io/io.h"

enum { LOADER_MAX_SOURCES = 8 };

/* What becomes of one array. The array, borrowed, lives until the loader is destroyed; all arrays
 * have the same first dimension, of which one index is one sample. */
typedef struct loader_source {
    const io_array *array;
    mare_dtype dtype; /* of the batch */
    /* x * scale + shift, computed in f32 and then stored as dtype (rounded to nearest even and
     * saturated in integers); 1 and 0 keep the value as it is. A scale of 0 with a shift of 0
     * counts as "not given", so that a zeroed source converts nothing but the type. */
    float scale, shift;
    bool reshape;
    shape sample; /* with reshape: the shape of one sample, of as many elements */
} loader_source;

/* Called for each sample after its conversion: data[i] is its place in batch array i, to change
 * (augmentation) or to check. `index` is its place in the arrays. Calls come from the worker
 * threads, several at a time, each for a sample of its own; what is random in them should hang on
 * the index and the epoch alone. False, after error_set(e, ...), ends the epoch with that error. */
typedef bool (*loader_sample)(void *user, int64_t index, void *const *data, mare_error *e);

typedef struct loader_options {
    int64_t batch; /* samples a batch, at least 1 */
    bool shuffle;
    uint64_t seed, epoch;  /* of the shuffle */
    bool drop_last;        /* leave out a last batch that would not be full */
    int workers;           /* threads, 0 to 256; 0: loader_next assembles */
    int prefetch;          /* batches assembled ahead, at least 1; 0: two a worker */
    int64_t start;         /* first batch: those before are neither drawn nor assembled */
    const int64_t *subset; /* indices that take part, copied; null: all */
    int64_t subset_count;
    loader_sample sample; /* null: none */
    void *user;
} loader_options;

typedef struct loader loader;

mare_status loader_create(const loader_source *sources, int count, const loader_options *options,
                          loader **out, mare_error *e);
/* Batches in the whole epoch, also those before `start`. */
int64_t loader_batches(const loader *l);
/* The next batch: *arrays points to one array a source, [samples, ...], alive until the next call
 * or the end of the loader; null after the last batch. After a failure every further call gives
 * the same error. */
mare_status loader_next(loader *l, const io_array **arrays, mare_error *e);
/* At any moment; workers stop at their next sample and are joined. Null is allowed. */
void loader_destroy(loader *l);

#endif
