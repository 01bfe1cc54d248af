/* Many small kernels on the device at hand, for the tests of what makes and keeps them: a tree of
 * shaders and a cache folder of the test's own. */
#ifndef TESTS_KERNEL_KIT_H
#define TESTS_KERNEL_KIT_H

#include "kernel/kernel.h"
#include "tree.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KERNELS = 24, TEXTS = 8 }; /* so many texts are behind the kernels */

static dev_device *device;
static kernels *k;
static mare_error error;

static const char kit_shader[] = "layout(local_size_x_id = 0) in;\n"
                                 "layout(constant_id = 1) const uint ADD = 0;\n"
                                 "layout(std140, binding = 0) uniform Params { uint n; };\n"
                                 "layout(std430, binding = 1) writeonly buffer Out { uint y[]; };\n"
                                 "void main() {\n"
                                 "    uint i = gl_GlobalInvocationID.x;\n"
                                 "    if (i < n) y[i] = i + ADD + BASE;\n"
                                 "}\n";

static inline void open_device(void) {
    dev_options o = {
        .device = getenv("MARE_DEVICE"), .caps = getenv("MARE_CAPS"), .validate = true};
    cr_assert(dev_create(&o, &error, &device) == MARE_OK, "%s", error.text);
    cr_assert(kernels_create(device, &error, &k) == MARE_OK, "%s", error.text);
}

static inline void close_device(void) {
    kernels_destroy(k);
    k = NULL;
    const char *last = NULL;
    int n = device ? dev_validation_messages(device, &last) : 0;
    cr_expect(n <= 0, "%d messages of the validation layer, the last: %s", n, last);
    dev_destroy(device);
    device = NULL;
}

/* For .init and .fini. */
static inline void kit_open(void) {
    tree_open();
    tree_shader("t/work.comp", kit_shader);
    open_device();
}

static inline void kit_close(void) {
    close_device();
    tree_close();
}

static inline void reopen(void) {
    kernels_destroy(k);
    cr_assert(kernels_create(device, &error, &k) == MARE_OK, "%s", error.text);
}

static inline kernel_stats stats(void) {
    kernel_stats s;
    kernels_get_stats(k, &s);
    return s;
}

/* What kernel i adds to the place that it writes to. */
static inline uint32_t kit_adds(int i) {
    return (uint32_t)(i / TEXTS + 1000 * (i % TEXTS));
}

static inline kernel_id kit_id(int i, char defines[32]) {
    snprintf(defines, 32, "BASE %d\n", 1000 * (i % TEXTS));
    return (kernel_id){"t/work.comp", defines, 1, 2, {32, (uint32_t)(i / TEXTS)}, NULL};
}

static inline void prefetch_all(void) {
    for (int i = 0; i < KERNELS; i++) {
        char defines[32];
        kernel_id id = kit_id(i, defines);
        kernel_prefetch(k, &id);
        memset(defines, 'x', sizeof defines); /* the callers' texts may go away */
    }
}

/* Does kernel i compute what it should? */
static inline bool kit_right(int i) {
    char defines[32];
    kernel_id id = kit_id(i, defines);
    uint32_t y[40] = {0}, params[] = {33}, groups[] = {2, 1, 1};
    dev_pipeline *p;
    dev_buffer *b;
    dev_recorder *r;
    if (kernel_get(k, &id, &p) || dev_buffer_create(device, sizeof y, &b)) return false;
    dev_binding all = {b, 0, sizeof y};
    bool ok = !dev_upload(device, b, 0, y, sizeof y) && !dev_record(device, &r) &&
              !dev_cmd_dispatch(r, p, params, 1, &all, 1, groups) && !dev_submit(r) &&
              !dev_download(device, b, 0, y, sizeof y);
    dev_buffer_release(b);
    for (uint32_t j = 0; j < 40; j++)
        ok = ok && y[j] == (j < 33 ? j + kit_adds(i) : 0);
    return ok;
}

static inline void expect_right(int i) {
    cr_assert(kit_right(i), "kernel %d: %s", i, error.text);
}

#endif
