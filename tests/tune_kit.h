/* Problems for the tuner on the device at hand, with a tree of shaders and a cache folder of the
 * test's own. */
#ifndef TESTS_TUNE_KIT_H
#define TESTS_TUNE_KIT_H

#include "kernel/kernel.h"
#include "tree.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static dev_device *device;
static kernels *k;
static mare_error error;

/* The work of a run is in constant 1, so that one shader serves as a fast and a slow candidate.
 * LIFT, a define, makes another shader of it. */
static const char work[] =
    "layout(local_size_x_id = 0) in;\n"
    "layout(constant_id = 1) const uint LOOPS = 1;\n"
    "layout(std140, binding = 0) uniform Params { uint n; float add; };\n"
    "layout(std430, binding = 1) readonly buffer In { float x[]; };\n"
    "layout(std430, binding = 2) writeonly buffer Out { float y[]; };\n"
    "void main() {\n"
    "    uint i = gl_GlobalInvocationID.x;\n"
    "    if (i >= n) return;\n"
    "    float v = x[i];\n"
    "    for (uint j = 0; j < LOOPS; j++) v = v * 0.75 + 0.25 * x[(i + j) % n];\n"
    "    y[i] = v + add + LIFT;\n"
    "}\n";

static inline void reopen(void) {
    kernels_destroy(k);
    cr_assert(kernels_create(device, &error, &k) == MARE_OK, "%s", error.text);
}

static inline void open_device(void) {
    tree_open();
    unsetenv("MARE_TUNE");
    tree_shader("t/work.comp", work);
    dev_options o = {
        .device = getenv("MARE_DEVICE"), .caps = getenv("MARE_CAPS"), .validate = true};
    cr_assert(dev_create(&o, &error, &device) == MARE_OK, "%s", error.text);
    reopen();
}

static inline void close_device(void) {
    kernels_destroy(k);
    const char *last = NULL;
    int n = dev_validation_messages(device, &last);
    cr_expect(n <= 0, "%d messages of the validation layer, the last: %s", n, last);
    dev_destroy(device);
    tree_close();
}

static inline void measure_when(mare_tuning when) {
    tune_set_policy(k, when, -1);
}

static inline kernel_stats stats(void) {
    kernel_stats s;
    kernels_get_stats(k, &s);
    return s;
}

enum { N = 4096, FEW = 1, MANY = 3000 };

/* A problem with `n` candidates of LOOPS = loops[i], called names[i]. */
typedef struct bench {
    tune_candidate all[4];
    tune_problem p;
    uint32_t params[2];
    uint64_t bytes[2];
} bench;

static inline tune_problem *problem(bench *b, int n, const char *const *names,
                                    const uint32_t *loops) {
    *b = (bench){.params = {N}, .bytes = {N * 4, N * 4}};
    for (int i = 0; i < n; i++)
        b->all[i] = (tune_candidate){names[i],
                                     {"t/work.comp", "LIFT 0.0\n", 2, 2, {32, loops[i]}, NULL},
                                     {N / 32, 1, 1},
                                     b->params,
                                     2};
    b->p = (tune_problem){"work/4096", b->all, n, b->bytes, 2, 3.0 * N};
    return &b->p;
}

/* The choice between names[0] with first loops and names[1] with second. */
static inline int choose(const char *name0, uint32_t first, const char *name1, uint32_t second) {
    bench b;
    return tune_choose(k,
                       problem(&b, 2, (const char *[]){name0, name1}, (uint32_t[]){first, second}));
}

#endif
