/* What the tests of the device layer share. */
#ifndef TESTS_DEVICE_KIT_H
#define TESTS_DEVICE_KIT_H

#include "device/internal.h"
#include "device_kernel.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static mare_error err;

/* A device with the validation layer on, when it is installed; with its look at hazards from one
 * submission to the next, which older layers do only when told so. */
static inline dev_device *open_caps(const char *caps) {
    setenv("VK_LAYER_ENABLES", "VALIDATION_CHECK_ENABLE_SYNCHRONIZATION_VALIDATION_QUEUE_SUBMIT",
           0);
    dev_options o = {.device = getenv("MARE_DEVICE"), .caps = caps, .validate = true};
    dev_device *d = NULL;
    cr_assert(dev_create(&o, &err, &d) == MARE_OK, "%s", err.text);
    return d;
}

static inline void close_clean(dev_device *d) {
    const char *last = NULL;
    int n = dev_validation_messages(d, &last);
    cr_expect(n <= 0, "%d messages of the validation layer, the last: %s", n, last);
    dev_destroy(d);
}

#define OK(call) cr_assert((call) == MARE_OK, "%s", err.text)
#define FAILS(code, word, call)                                                                    \
    do {                                                                                           \
        err.text[0] = 0;                                                                           \
        mare_status got_ = (call);                                                                 \
        cr_expect(got_ == (code), "status %s", mare_status_name(got_));                            \
        cr_expect(strstr(err.text, word), "'%s' is not in '%s'", word, err.text);                  \
    } while (0)

static inline dev_pipeline *kernel_make(dev_device *d, uint32_t group, uint32_t c) {
    size_t n;
    uint32_t *words = device_kernel(&n);
    uint32_t spec[] = {group, c};
    dev_pipeline *p = NULL;
    OK(dev_pipeline_create(d, words, n, 2, spec, 2, &p, &err));
    free(words);
    return p;
}

static inline dev_buffer *buffer_of(dev_device *d, uint64_t bytes, const void *data) {
    dev_buffer *b = NULL;
    OK(dev_buffer_create(d, bytes, &b));
    if (data) OK(dev_upload(d, b, 0, data, bytes));
    return b;
}

/* y = y * a + x + c, `times` times, over n words. */
static inline mare_status mad(dev_recorder *r, dev_pipeline *p, dev_buffer *x, dev_buffer *y,
                              uint32_t n, uint32_t a, uint32_t times) {
    uint32_t params[] = {n, a, times};
    dev_binding b[] = {{x, 0, n * 4ull}, {y, 0, n * 4ull}};
    uint32_t groups[] = {(n + 31) / 32, 1, 1};
    return dev_cmd_dispatch(r, p, params, 3, b, 2, groups);
}

static inline dev_memory stats(dev_device *d) {
    dev_memory m;
    dev_memory_stats(d, &m);
    return m;
}

#endif
