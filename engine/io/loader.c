#include "io/loader.h"

#include "base/hash.h"
#include "base/thread.h"

#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* How a source is copied. */
typedef struct source {
    loader_source from;
    shape sample;
    size_t in_bytes, out_bytes; /* of one sample */
    int64_t elements;           /* of one sample */
    bool affine;
    bool copy;    /* neither type nor value changes */
    float *table; /* u8 to f32: the result of each of the 256 values */
} source;

/* One batch being made, waiting, or in use. */
typedef struct slot {
    loader *owner;
    io_array arrays[LOADER_MAX_SOURCES];
    int64_t batch; /* its number */
    bool done;     /* under the loader's lock */
    mare_error error;
} slot;

struct loader {
    loader_options o;
    source sources[LOADER_MAX_SOURCES];
    int count;
    uint32_t *order; /* the samples in their order; null: 0, 1, 2 ... */
    int64_t samples, batches;
    int64_t next; /* number of the batch that loader_next gives */
    slot *slots;  /* batch b lies in slot b % slot_count */
    int slot_count;
    slot *held;       /* what the caller works on */
    mare_error error; /* what ended the epoch */
    thread_pool *pool;
    pthread_mutex_t lock;
    pthread_cond_t done;
    atomic_bool stop;
};

/* ---- Making a batch ----------------------------------------------------------------------- */

static void convert_sample(const source *s, const void *in, void *out) {
    if (s->copy) {
        memcpy(out, in, s->in_bytes);
        return;
    }
    if (s->table) {
        const unsigned char *p = in;
        float *q = out;
        for (int64_t i = 0; i < s->elements; i++)
            q[i] = s->table[p[i]];
        return;
    }
    enum { CHUNK = 256 };
    double v[CHUNK];
    size_t in_size = mare_dtype_size(s->from.array->dtype),
           out_size = mare_dtype_size(s->from.dtype);
    for (int64_t i = 0; i < s->elements; i += CHUNK) {
        int64_t n = s->elements - i < CHUNK ? s->elements - i : CHUNK;
        dtype_unpack(s->from.array->dtype, (const char *)in + (size_t)i * in_size, v, n);
        for (int64_t j = 0; s->affine && j < n; j++)
            v[j] = (float)((float)v[j] * s->from.scale) + s->from.shift;
        dtype_pack(s->from.dtype, v, (char *)out + (size_t)i * out_size, n);
    }
}

static mare_status assemble(loader *l, slot *s) {
    int64_t first = s->batch * l->o.batch;
    int64_t n = l->samples - first < l->o.batch ? l->samples - first : l->o.batch;
    for (int a = 0; a < l->count; a++)
        s->arrays[a].shape.dim[0] = n;
    for (int64_t i = 0; i < n; i++) {
        if (atomic_load(&l->stop))
            return error_set(&s->error, MARE_E_ARGUMENT, "the loader was stopped");
        int64_t index = l->order ? (int64_t)l->order[first + i] : first + i;
        void *place[LOADER_MAX_SOURCES];
        for (int a = 0; a < l->count; a++) {
            const source *src = &l->sources[a];
            place[a] = (char *)s->arrays[a].data + (size_t)i * src->out_bytes;
            convert_sample(src, (const char *)src->from.array->data + (size_t)index * src->in_bytes,
                           place[a]);
        }
        if (!l->o.sample || l->o.sample(l->o.user, index, place, &s->error)) continue;
        if (!s->error.code) error_set(&s->error, MARE_E_ARGUMENT, "it gave no reason");
        return error_prefix(&s->error, "loader: sample %" PRId64 " of batch %" PRId64, index,
                            s->batch);
    }
    return MARE_OK;
}

static void run_slot(void *arg) {
    slot *s = arg;
    loader *l = s->owner;
    assemble(l, s);
    pthread_mutex_lock(&l->lock);
    s->done = true;
    pthread_cond_signal(&l->done);
    pthread_mutex_unlock(&l->lock);
}

/* Gives batch b, when there is one, to its slot and the slot to a worker. */
static void start_batch(loader *l, int64_t b) {
    if (b >= l->batches) return;
    slot *s = &l->slots[b % l->slot_count];
    s->batch = b;
    s->done = false;
    s->error = (mare_error){0};
    if (!l->pool) {
        run_slot(s);
    } else if (!thread_pool_add(l->pool, run_slot, s)) {
        error_no_memory(&s->error, sizeof *s);
        s->done = true;
    }
}

mare_status loader_next(loader *l, const io_array **arrays, mare_error *e) {
    *arrays = NULL;
    if (l->error.code) return error_set(e, l->error.code, "%s", l->error.text);
    /* The slot that the caller is done with takes the batch that comes a ring later. */
    if (l->held && l->pool) start_batch(l, l->held->batch + l->slot_count);
    l->held = NULL;
    if (l->next >= l->batches) return MARE_OK;
    slot *s = &l->slots[l->next % l->slot_count];
    if (!l->pool) start_batch(l, l->next);
    pthread_mutex_lock(&l->lock);
    while (!s->done)
        pthread_cond_wait(&l->done, &l->lock);
    pthread_mutex_unlock(&l->lock);
    if (s->error.code) {
        l->error = s->error;
        return error_set(e, l->error.code, "%s", l->error.text);
    }
    l->next++;
    l->held = s;
    *arrays = s->arrays;
    return MARE_OK;
}

int64_t loader_batches(const loader *l) {
    return l->batches;
}

/* ---- Setting up --------------------------------------------------------------------------- */

static mare_status set_source(source *s, const loader_source *from, int number, mare_error *e) {
    const io_array *a = from->array;
    char b1[SHAPE_TEXT], b2[SHAPE_TEXT];
    if (!a || a->shape.rank < 1)
        return error_set(e, MARE_E_SHAPE, "loader: array %d has no first dimension of samples",
                         number);
    if (!isfinite(from->scale) || !isfinite(from->shift))
        return error_set(e, MARE_E_ARGUMENT,
                         "loader: array %d has a scale or shift that is not finite", number);
    s->from = *from;
    if (from->scale == 0 && from->shift == 0) s->from.scale = 1;
    s->sample.rank = a->shape.rank - 1;
    memcpy(s->sample.dim, a->shape.dim + 1, (size_t)s->sample.rank * sizeof(int64_t));
    s->elements = shape_count(&s->sample);
    if (from->reshape) {
        size_t n;
        if (!io_shape_bytes(&from->sample, 1, &n) || (int64_t)n != s->elements ||
            from->sample.rank >= MAX_DIMS)
            return error_set(e, MARE_E_SHAPE,
                             "loader: samples of array %d have the shape %s; they cannot become %s",
                             number, shape_text(&s->sample, b1), shape_text(&from->sample, b2));
        s->sample = from->sample;
    }
    s->in_bytes = (size_t)s->elements * mare_dtype_size(a->dtype);
    s->out_bytes = (size_t)s->elements * mare_dtype_size(from->dtype);
    s->affine = s->from.scale != 1 || s->from.shift != 0;
    s->copy = !s->affine && from->dtype == a->dtype;
    if (a->dtype != MARE_U8 || from->dtype != MARE_F32) return MARE_OK;
    s->table = malloc(256 * sizeof *s->table);
    if (!s->table) return error_no_memory(e, 256 * sizeof *s->table);
    for (int v = 0; v < 256; v++)
        s->table[v] = (float)((float)v * s->from.scale) + s->from.shift;
    return MARE_OK;
}

static mare_status check_options(const loader_options *o, mare_error *e) {
    if (o->batch < 1)
        return error_set(e, MARE_E_ARGUMENT, "loader: a batch of %" PRId64 " samples", o->batch);
    if (o->workers < 0 || o->workers > 256)
        return error_set(e, MARE_E_ARGUMENT, "loader: %d workers; 0 to 256 are possible",
                         o->workers);
    if (o->prefetch < 0 || o->prefetch > 4096)
        return error_set(e, MARE_E_ARGUMENT, "loader: a prefetch of %d; 0 to 4096 are possible",
                         o->prefetch);
    if (o->start < 0)
        return error_set(e, MARE_E_ARGUMENT, "loader: a start at batch %" PRId64, o->start);
    if (o->subset && o->subset_count < 0)
        return error_set(e, MARE_E_ARGUMENT, "loader: a subset of %" PRId64 " indices",
                         o->subset_count);
    return MARE_OK;
}

/* The order of the samples: a permutation drawn from seed and epoch, looked up in the subset. */
static mare_status set_order(loader *l, int64_t all, mare_error *e) {
    const loader_options *o = &l->o;
    l->samples = o->subset ? o->subset_count : all;
    if (all > UINT32_MAX || l->samples > UINT32_MAX)
        return error_set(e, MARE_E_ARGUMENT, "loader: more than %" PRIu32 " samples", UINT32_MAX);
    for (int64_t i = 0; o->subset && i < o->subset_count; i++)
        if (o->subset[i] < 0 || o->subset[i] >= all)
            return error_set(e, MARE_E_RANGE,
                             "loader: index %" PRId64 " of the subset is %" PRId64
                             ", outside of 0 to %" PRId64,
                             i, o->subset[i], all - 1);
    if (!o->subset && !o->shuffle) return MARE_OK;
    size_t bytes = (size_t)l->samples * sizeof *l->order;
    l->order = malloc(bytes ? bytes : 1);
    if (!l->order) return error_no_memory(e, bytes);
    if (o->shuffle) {
        uint64_t key[2] = {o->seed, o->epoch};
        rng r = {.seed = hash_bytes(key, sizeof key, 0x10ade2)};
        rng_permutation(&r, l->order, (uint32_t)l->samples);
    }
    for (int64_t i = 0; o->subset && i < l->samples; i++)
        l->order[i] = (uint32_t)o->subset[o->shuffle ? (int64_t)l->order[i] : i];
    return MARE_OK;
}

static mare_status make_slots(loader *l, mare_error *e) {
    int64_t rest = l->batches - l->o.start, ahead = 0;
    if (l->o.workers) ahead = l->o.prefetch ? l->o.prefetch : 2 * l->o.workers;
    /* One more for the batch that the caller works on. */
    l->slot_count = (int)(ahead + 1 < rest ? ahead + 1 : rest > 1 ? rest : 1);
    l->slots = calloc((size_t)l->slot_count, sizeof *l->slots);
    if (!l->slots) return error_no_memory(e, (size_t)l->slot_count * sizeof *l->slots);
    for (int i = 0; i < l->slot_count; i++) {
        l->slots[i].owner = l;
        for (int a = 0; a < l->count; a++) {
            const shape *sample = &l->sources[a].sample;
            shape sh = {.rank = sample->rank + 1};
            sh.dim[0] = l->o.batch < l->samples ? l->o.batch : l->samples;
            memcpy(sh.dim + 1, sample->dim, (size_t)sample->rank * sizeof(int64_t));
            mare_status status =
                io_array_new(&l->slots[i].arrays[a], l->sources[a].from.dtype, &sh, e);
            if (status) return status;
        }
    }
    return MARE_OK;
}

static mare_status set_up(loader *l, const loader_source *sources, int count, mare_error *e) {
    mare_status status = check_options(&l->o, e);
    if (status) return status;
    if (count < 1 || count > LOADER_MAX_SOURCES)
        return error_set(e, MARE_E_ARGUMENT, "loader: %d arrays; 1 to %d are possible", count,
                         LOADER_MAX_SOURCES);
    for (; l->count < count; l->count++)
        if ((status = set_source(&l->sources[l->count], &sources[l->count], l->count, e)))
            return status;
    int64_t all = sources[0].array->shape.dim[0];
    for (int a = 1; a < count; a++)
        if (sources[a].array->shape.dim[0] != all)
            return error_set(e, MARE_E_SHAPE,
                             "loader: array 0 has %" PRId64 " samples, array %d has %" PRId64, all,
                             a, sources[a].array->shape.dim[0]);
    if ((status = set_order(l, all, e))) return status;
    l->o.subset = NULL; /* the caller's; the order holds what is needed */
    l->batches = l->samples / l->o.batch + (!l->o.drop_last && l->samples % l->o.batch != 0);
    if (l->o.start > l->batches)
        return error_set(e, MARE_E_ARGUMENT,
                         "loader: a start at batch %" PRId64 ", but the epoch has %" PRId64,
                         l->o.start, l->batches);
    l->next = l->o.start;
    if ((status = make_slots(l, e))) return status;
    if (l->o.workers && (status = thread_pool_create(l->o.workers, &l->pool, e))) return status;
    for (int i = 0; l->pool && i < l->slot_count; i++)
        start_batch(l, l->o.start + i);
    return MARE_OK;
}

mare_status loader_create(const loader_source *sources, int count, const loader_options *options,
                          loader **out, mare_error *e) {
    *out = NULL;
    loader *l = calloc(1, sizeof *l);
    if (!l) return error_no_memory(e, sizeof *l);
    l->o = *options;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->done, NULL);
    mare_status status = set_up(l, sources, count, e);
    if (status)
        loader_destroy(l);
    else
        *out = l;
    return status;
}

void loader_destroy(loader *l) {
    if (!l) return;
    atomic_store(&l->stop, true);
    thread_pool_destroy(l->pool);
    for (int i = 0; l->slots && i < l->slot_count; i++)
        for (int a = 0; a < l->count; a++)
            io_array_free(&l->slots[i].arrays[a]);
    for (int a = 0; a < LOADER_MAX_SOURCES; a++)
        free(l->sources[a].table);
    free(l->slots);
    free(l->order);
    pthread_cond_destroy(&l->done);
    pthread_mutex_destroy(&l->lock);
    free(l);
}
