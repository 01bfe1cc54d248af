/* The data loader: order, coverage, resuming, subsets, conversions, failing workers. */
#define _POSIX_C_SOURCE 200809L
#include "io/loader.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static mare_error err;

enum { N = 103, BATCH = 8, FULL = N / BATCH, ALL = FULL + 1 };

/* Sample i is {i, 2 i, 3 i}, its label i. */
typedef struct set {
    int32_t x[N][3];
    unsigned char y[N];
    io_array arrays[2];
    loader_source sources[2];
} set;

static void fill(set *s) {
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < 3; j++)
            s->x[i][j] = i * (j + 1);
        s->y[i] = (unsigned char)i;
    }
    s->arrays[0] = (io_array){MARE_I32, shape_of(2, N, 3), s->x};
    s->arrays[1] = (io_array){MARE_U8, shape_of(1, N), s->y};
    s->sources[0] = (loader_source){.array = &s->arrays[0], .dtype = MARE_F32};
    s->sources[1] = (loader_source){.array = &s->arrays[1], .dtype = MARE_I32};
}

/* The labels in the order in which the loader gives them; checks every batch on the way. Returns
 * how many there were. */
static int drain(const set *s, const loader_options *o, int32_t *labels) {
    loader *l;
    const io_array *b;
    int n = 0;
    cr_assert_eq(loader_create(s->sources, 2, o, &l, &err), MARE_OK, "%s", err.text);
    for (int64_t k = o->start;; k++) {
        cr_assert_eq(loader_next(l, &b, &err), MARE_OK, "%s", err.text);
        if (!b) {
            cr_assert_eq(k, loader_batches(l));
            break;
        }
        int64_t count = b[1].shape.dim[0];
        cr_assert(count == o->batch || (k + 1 == loader_batches(l) && count < o->batch));
        cr_assert(b[0].dtype == MARE_F32 && b[0].shape.rank == 2 && b[0].shape.dim[0] == count &&
                  b[0].shape.dim[1] == 3);
        cr_assert(b[1].dtype == MARE_I32 && b[1].shape.rank == 1);
        for (int i = 0; i < count; i++) {
            int32_t y = ((int32_t *)b[1].data)[i];
            for (int j = 0; j < 3; j++)
                cr_assert_eq(((float *)b[0].data)[3 * i + j], (float)(y * (j + 1)));
            labels[n++] = y;
        }
    }
    cr_assert(loader_next(l, &b, &err) == MARE_OK && b == NULL, "an end is no end");
    loader_destroy(l);
    return n;
}

static void each_once(const int32_t *labels, int n) {
    bool seen[N] = {false};
    cr_assert_eq(n, N);
    for (int i = 0; i < n; i++) {
        cr_assert(labels[i] >= 0 && labels[i] < N && !seen[labels[i]]);
        seen[labels[i]] = true;
    }
}

Test(loader, plain_order) {
    set s;
    int32_t labels[N];
    fill(&s);
    for (int workers = 0; workers <= 4; workers += 2) {
        loader_options o = {.batch = BATCH, .workers = workers};
        each_once(labels, drain(&s, &o, labels));
        for (int i = 0; i < N; i++)
            cr_assert_eq(labels[i], i);
    }
}

Test(loader, shuffled_order_hangs_on_seed_and_epoch_alone) {
    set s;
    int32_t first[N], labels[N];
    fill(&s);
    loader_options o = {.batch = BATCH, .shuffle = true, .seed = 11, .epoch = 2};
    each_once(first, drain(&s, &o, first));
    static const int workers[] = {0, 1, 4, 16}, prefetch[] = {0, 1, 3, 100};
    for (int i = 0; i < 16; i++) {
        o.workers = workers[i / 4], o.prefetch = prefetch[i % 4];
        each_once(labels, drain(&s, &o, labels));
        cr_assert(memcmp(labels, first, sizeof first) == 0, "%d workers, prefetch %d", o.workers,
                  o.prefetch);
    }
    o.batch = 5; /* the size of the batches changes nothing either */
    each_once(labels, drain(&s, &o, labels));
    cr_assert(memcmp(labels, first, sizeof first) == 0);
    o.epoch = 3;
    each_once(labels, drain(&s, &o, labels));
    cr_assert(memcmp(labels, first, sizeof first) != 0);
    o.epoch = 2, o.seed = 12;
    each_once(labels, drain(&s, &o, labels));
    cr_assert(memcmp(labels, first, sizeof first) != 0);
}

Test(loader, drop_last) {
    set s;
    int32_t labels[N];
    fill(&s);
    loader_options o = {.batch = BATCH, .drop_last = true, .workers = 2};
    cr_assert_eq(drain(&s, &o, labels), FULL * BATCH);
    o.batch = N;
    cr_assert_eq(drain(&s, &o, labels), N);
    o.batch = N + 1;
    cr_assert_eq(drain(&s, &o, labels), 0);
    o.drop_last = false;
    o.batch = INT64_MAX;
    cr_assert_eq(drain(&s, &o, labels), N);
}

static bool count_calls(void *user, int64_t index, void *const *data, mare_error *e) {
    (void)index, (void)data, (void)e;
    atomic_fetch_add((atomic_int *)user, 1);
    return true;
}

Test(loader, resume_in_the_middle) {
    set s;
    int32_t whole[N], rest[N];
    fill(&s);
    loader_options o = {.batch = BATCH, .shuffle = true, .seed = 5};
    drain(&s, &o, whole);
    for (int workers = 0; workers <= 4; workers += 4)
        for (int k = 0; k <= ALL; k++) {
            atomic_int calls = 0;
            o.workers = workers, o.start = k;
            o.sample = count_calls, o.user = &calls;
            int n = drain(&s, &o, rest);
            cr_assert_eq(n, k == ALL ? 0 : N - k * BATCH);
            cr_assert(memcmp(rest, whole + k * BATCH, (size_t)n * sizeof *rest) == 0);
            cr_assert_eq(atomic_load(&calls), n, "earlier batches were assembled");
        }
}

Test(loader, subset) {
    set s;
    int32_t labels[N];
    fill(&s);
    int64_t part[] = {100, 3, 3, 57, 0};
    loader_options o = {.batch = 2, .subset = part, .subset_count = 5, .workers = 1};
    cr_assert_eq(drain(&s, &o, labels), 5);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(labels[i], part[i]);
    o.shuffle = true;
    cr_assert_eq(drain(&s, &o, labels), 5);
    int sum = 0;
    for (int i = 0; i < 5; i++)
        sum += labels[i];
    cr_assert_eq(sum, 163);
    o.subset_count = 0;
    cr_assert_eq(drain(&s, &o, labels), 0);

    loader *l;
    o.subset_count = 5;
    for (int i = 0; i < 2; i++) {
        part[3] = i ? N : -1;
        cr_assert_eq(loader_create(s.sources, 2, &o, &l, &err), MARE_E_RANGE);
        cr_assert(l == NULL && strstr(err.text, "index 3 of the subset"), "%s", err.text);
    }
}

/* The subset is copied: the caller may give it back at once. */
Test(loader, subset_is_copied) {
    set s;
    loader *l;
    const io_array *b;
    fill(&s);
    int64_t *part = malloc(2 * sizeof *part);
    cr_assert(part);
    part[0] = 9, part[1] = 4;
    loader_options o = {.batch = 1, .subset = part, .subset_count = 2};
    cr_assert_eq(loader_create(s.sources, 2, &o, &l, &err), MARE_OK);
    free(part);
    cr_assert(loader_next(l, &b, &err) == MARE_OK && ((int32_t *)b[1].data)[0] == 9);
    cr_assert(loader_next(l, &b, &err) == MARE_OK && ((int32_t *)b[1].data)[0] == 4);
    loader_destroy(l);
}

static bool fail_at_57(void *user, int64_t index, void *const *data, mare_error *e) {
    (void)user, (void)data;
    if (index != 57) return true;
    error_set(e, MARE_E_FORMAT, "the picture is torn");
    return false;
}

static bool fail_silently(void *user, int64_t index, void *const *data, mare_error *e) {
    (void)user, (void)index, (void)data, (void)e;
    return false;
}

Test(loader, failing_worker) {
    set s;
    fill(&s);
    for (int workers = 0; workers <= 4; workers++) {
        loader *l;
        const io_array *b;
        loader_options o = {.batch = BATCH, .workers = workers, .sample = fail_at_57};
        cr_assert_eq(loader_create(s.sources, 2, &o, &l, &err), MARE_OK);
        for (int i = 0; i < 57 / BATCH; i++)
            cr_assert(loader_next(l, &b, &err) == MARE_OK && b, "batch %d: %s", i, err.text);
        for (int i = 0; i < 2; i++) { /* and it stays so */
            cr_assert_eq(loader_next(l, &b, &err), MARE_E_FORMAT);
            cr_assert_null(b);
            cr_assert_str_eq(err.text, "loader: sample 57 of batch 7: the picture is torn");
        }
        loader_destroy(l);
        o.sample = fail_silently;
        cr_assert_eq(loader_create(s.sources, 2, &o, &l, &err), MARE_OK);
        cr_assert_eq(loader_next(l, &b, &err), MARE_E_ARGUMENT);
        loader_destroy(l);
    }
}

static bool slow(void *user, int64_t index, void *const *data, mare_error *e) {
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    return count_calls(user, index, data, e);
}

/* The end may come at any moment. */
Test(loader, destroy_early) {
    set s;
    fill(&s);
    for (int taken = 0; taken <= 3; taken++)
        for (int workers = 0; workers <= 4; workers += 2) {
            loader *l;
            const io_array *b;
            atomic_int calls = 0;
            loader_options o = {.batch = BATCH, .workers = workers, .sample = slow, .prefetch = 20};
            o.user = &calls;
            cr_assert_eq(loader_create(s.sources, 2, &o, &l, &err), MARE_OK);
            for (int i = 0; i < taken; i++)
                cr_assert_eq(loader_next(l, &b, &err), MARE_OK);
            loader_destroy(l);
            int at_end = atomic_load(&calls);
            nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
            cr_assert_eq(atomic_load(&calls), at_end, "a worker outlived its loader");
        }
    loader_destroy(NULL);
}

/* One long batch: a worker stops at its next sample, not at the end. */
Test(loader, destroy_within_a_batch) {
    set s;
    loader *l;
    atomic_int calls = 0;
    fill(&s);
    int64_t many[2000] = {0};
    loader_options o = {.batch = 2000, .workers = 1, .sample = slow, .user = &calls};
    o.subset = many, o.subset_count = 2000;
    cr_assert_eq(loader_create(s.sources, 2, &o, &l, &err), MARE_OK);
    while (atomic_load(&calls) == 0)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    loader_destroy(l);
    cr_assert_lt(atomic_load(&calls), 2000);
}

/* A batch in the caller's hands stays as it is while workers go on. */
Test(loader, batch_in_use_is_left_alone) {
    set s;
    loader *l;
    const io_array *b;
    int32_t copy[BATCH];
    fill(&s);
    loader_options o = {.batch = BATCH, .workers = 4, .prefetch = 1};
    cr_assert_eq(loader_create(s.sources, 2, &o, &l, &err), MARE_OK);
    while (loader_next(l, &b, &err) == MARE_OK && b) {
        size_t bytes = (size_t)b[1].shape.dim[0] * sizeof(int32_t);
        memcpy(copy, b[1].data, bytes);
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
        cr_assert(memcmp(copy, b[1].data, bytes) == 0);
    }
    loader_destroy(l);
}

static bool add_index(void *user, int64_t index, void *const *data, mare_error *e) {
    (void)user, (void)e;
    ((float *)data[0])[0] += (float)index;
    ((int32_t *)data[1])[0] = -(int32_t)index;
    return true;
}

Test(loader, callback_changes_samples) {
    set s;
    loader *l;
    const io_array *b;
    fill(&s);
    loader_options o = {.batch = N, .workers = 2, .sample = add_index};
    cr_assert_eq(loader_create(s.sources, 2, &o, &l, &err), MARE_OK);
    cr_assert_eq(loader_next(l, &b, &err), MARE_OK);
    for (int i = 0; i < N; i++) {
        cr_assert_eq(((float *)b[0].data)[3 * i], 2.0f * (float)i);
        cr_assert_eq(((int32_t *)b[1].data)[i], -i);
    }
    loader_destroy(l);
}

Test(loader, conversions) {
    static const mare_dtype dtypes[] = {MARE_F32, MARE_F16, MARE_BF16, MARE_I32, MARE_U8, MARE_I8};
    unsigned char u8[2][28][28];
    float f32[2][300];
    for (int i = 0; i < 2 * 28 * 28; i++)
        (&u8[0][0][0])[i] = (unsigned char)i;
    for (int i = 0; i < 2 * 300; i++)
        (&f32[0][0])[i] = (float)i * 0.37f - 50;
    io_array images = {MARE_U8, shape_of(3, 2, 28, 28), u8},
             floats = {MARE_F32, shape_of(2, 2, 300), f32};
    for (int t = 0; t < 6; t++) {
        loader_source sources[] = {
            {&images, MARE_F32, 1.0f / 255, 0, true, shape_of(3, 1, 28, 28)},
            {&images, dtypes[t], 1, 0, true, shape_of(1, 784)},
            {&floats, dtypes[t], 2, 3, false, {0}},
            {&floats, MARE_F32, 1, 0, false, {0}},
        };
        loader *l;
        const io_array *b;
        loader_options o = {.batch = 2};
        cr_assert_eq(loader_create(sources, 4, &o, &l, &err), MARE_OK, "%s", err.text);
        cr_assert_eq(loader_next(l, &b, &err), MARE_OK);
        const shape pictures = shape_of(4, 2, 1, 28, 28), flat = shape_of(2, 2, 784);
        cr_assert(shape_equal(&b[0].shape, &pictures) && shape_equal(&b[1].shape, &flat));
        double as_double[784 * 2];
        for (int i = 0; i < 784 * 2; i++)
            cr_assert_eq(((float *)b[0].data)[i], (float)(i & 255) * (1.0f / 255));
        dtype_unpack(b[1].dtype, b[1].data, as_double, 784 * 2);
        for (int i = 0; i < 784 * 2; i++)
            cr_assert_eq(as_double[i], dtypes[t] == MARE_I8 ? fmin(i & 255, 127) : i & 255);
        dtype_unpack(b[2].dtype, b[2].data, as_double, 600);
        for (int i = 0; i < 600; i++) {
            double want = (&f32[0][0])[i] * 2 + 3, off = fabs(as_double[i] - want);
            if (dtypes[t] == MARE_U8) off = fabs(as_double[i] - fmin(fmax(want, 0), 255));
            if (dtypes[t] == MARE_I8) off = fabs(as_double[i] - fmin(fmax(want, -128), 127));
            double room = dtypes[t] == MARE_F32    ? 1e-4
                          : dtypes[t] == MARE_F16  ? 0.26
                          : dtypes[t] == MARE_BF16 ? 1.01
                                                   : 0.501;
            cr_assert_lt(off, room, "%s: %g for %g", mare_dtype_name(dtypes[t]), as_double[i],
                         want);
        }
        cr_assert(memcmp(b[3].data, f32, sizeof f32) == 0);
        loader_destroy(l);
    }
}

/* No samples, or samples of no elements. */
Test(loader, nothing_to_load) {
    float v = 0;
    io_array none = {MARE_U8, shape_of(2, 0, 3), &v}, hollow = {MARE_U8, shape_of(2, 5, 0), &v};
    for (int workers = 0; workers <= 1; workers++) {
        loader_source source = {.array = &none, .dtype = MARE_F32};
        loader_options o = {.batch = 2, .shuffle = true, .workers = workers};
        loader *l;
        const io_array *b;
        cr_assert_eq(loader_create(&source, 1, &o, &l, &err), MARE_OK, "%s", err.text);
        cr_assert_eq(loader_batches(l), 0);
        cr_assert(loader_next(l, &b, &err) == MARE_OK && !b);
        loader_destroy(l);
        source.array = &hollow;
        cr_assert_eq(loader_create(&source, 1, &o, &l, &err), MARE_OK, "%s", err.text);
        for (int i = 0; i < 3; i++)
            cr_assert(loader_next(l, &b, &err) == MARE_OK && b->shape.dim[1] == 0);
        cr_assert(loader_next(l, &b, &err) == MARE_OK && !b);
        loader_destroy(l);
    }
}

Test(loader, refused) {
    set s, t;
    loader *l;
    io_array scalar = {MARE_U8, shape_of(0), NULL}, fewer;
    fill(&s);
    fewer = s.arrays[1];
    fewer.shape.dim[0] = N - 1;
    const struct {
        loader_options o;
        int count;
        mare_status status;
    } rows[] = {
        {{.batch = 0}, 2, MARE_E_ARGUMENT},
        {{.batch = -1}, 2, MARE_E_ARGUMENT},
        {{.batch = 1, .workers = -1}, 2, MARE_E_ARGUMENT},
        {{.batch = 1, .workers = 1000}, 2, MARE_E_ARGUMENT},
        {{.batch = 1, .prefetch = -1}, 2, MARE_E_ARGUMENT},
        {{.batch = 1, .start = -1}, 2, MARE_E_ARGUMENT},
        {{.batch = BATCH, .start = ALL + 1}, 2, MARE_E_ARGUMENT},
        {{.batch = 1}, 0, MARE_E_ARGUMENT},
        {{.batch = 1}, LOADER_MAX_SOURCES + 1, MARE_E_ARGUMENT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        err = (mare_error){0};
        cr_assert_eq(loader_create(s.sources, rows[i].count, &rows[i].o, &l, &err), rows[i].status,
                     "row %zu: %s", i, err.text);
        cr_assert(l == NULL && err.text[0]);
    }
    loader_options o = {.batch = 1};
    fill(&t);
    t.sources[1].array = &scalar;
    cr_assert_eq(loader_create(t.sources, 2, &o, &l, &err), MARE_E_SHAPE);
    t.sources[1].array = &fewer;
    cr_assert_eq(loader_create(t.sources, 2, &o, &l, &err), MARE_E_SHAPE);
    fill(&t);
    t.sources[0].reshape = true, t.sources[0].sample = shape_of(2, 2, 2);
    cr_assert_eq(loader_create(t.sources, 2, &o, &l, &err), MARE_E_SHAPE);
    t.sources[0].sample = shape_of(8, 3, 1, 1, 1, 1, 1, 1, 1); /* nine with the first */
    cr_assert_eq(loader_create(t.sources, 2, &o, &l, &err), MARE_E_SHAPE);
    fill(&t);
    t.sources[0].scale = NAN;
    cr_assert_eq(loader_create(t.sources, 2, &o, &l, &err), MARE_E_ARGUMENT);
}
