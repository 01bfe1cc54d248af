#define _POSIX_C_SOURCE 200809L
#include "device/internal.h"
#include "device_kernel.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

TestSuite(device, .timeout = 300);

static mare_error err;

/* A device with the validation layer on, when it is installed. */
static dev_device *open_caps(const char *caps) {
    dev_options o = {.device = getenv("MARE_DEVICE"), .caps = caps, .validate = true};
    dev_device *d = NULL;
    cr_assert(dev_create(&o, &err, &d) == MARE_OK, "%s", err.text);
    return d;
}

static void close_clean(dev_device *d) {
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

static dev_pipeline *kernel_make(dev_device *d, uint32_t group, uint32_t c) {
    size_t n;
    uint32_t *words = device_kernel(&n);
    uint32_t spec[] = {group, c};
    dev_pipeline *p = NULL;
    OK(dev_pipeline_create(d, words, n, 2, spec, 2, &p, &err));
    free(words);
    return p;
}

static dev_buffer *buffer_of(dev_device *d, uint64_t bytes, const void *data) {
    dev_buffer *b = NULL;
    OK(dev_buffer_create(d, bytes, &b));
    if (data) OK(dev_upload(d, b, 0, data, bytes));
    return b;
}

/* y = y * a + x + c, `times` times, over n words. */
static mare_status mad(dev_recorder *r, dev_pipeline *p, dev_buffer *x, dev_buffer *y, uint32_t n,
                       uint32_t a, uint32_t times) {
    uint32_t params[] = {n, a, times};
    dev_binding b[] = {{x, 0, n * 4ull}, {y, 0, n * 4ull}};
    uint32_t groups[] = {(n + 31) / 32, 1, 1};
    return dev_cmd_dispatch(r, p, params, 3, b, 2, groups);
}

Test(device, runs_a_kernel) {
    static const char *const caps[] = {NULL, "baseline", "phone", "-unified", "-push_descriptor"};
    for (int k = 0; k < 5; k++) {
        dev_device *d = open_caps(caps[k]);
        dev_pipeline *p = kernel_make(d, 32, 5);
        uint32_t x[100], y[100], got[100];
        for (uint32_t i = 0; i < 100; i++) {
            x[i] = i * 7;
            y[i] = i + 1;
        }
        dev_buffer *bx = buffer_of(d, sizeof x, x), *by = buffer_of(d, sizeof y, y);
        dev_recorder *r = NULL;
        OK(dev_record(d, &r));
        OK(mad(r, p, bx, by, 99, 3, 1));
        dev_cmd_barrier(r);
        OK(mad(r, p, bx, by, 99, 2, 1));
        OK(dev_submit(r));
        OK(dev_download(d, by, 0, got, sizeof got));
        for (uint32_t i = 0; i < 99; i++)
            cr_expect(got[i] == (y[i] * 3 + x[i] + 5) * 2 + x[i] + 5, "%u: %u", i, got[i]);
        cr_expect(got[99] == y[99]);
        dev_buffer_release(bx);
        dev_buffer_release(by);
        dev_pipeline_destroy(p);
        close_clean(d);
    }
}
