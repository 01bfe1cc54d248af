#define _POSIX_C_SOURCE 200809L
#include "device_kit.h"

#include <time.h>

TestSuite(device_record, .timeout = 300);

/* ---- Recording ---------------------------------------------------------------------------- */

Test(device_record, fills) {
    dev_device *d = open_caps(NULL);
    uint32_t got[64];
    dev_buffer *b = buffer_of(d, sizeof got, NULL), *c = buffer_of(d, 0, NULL);
    dev_recorder *r;
    OK(dev_record(d, &r));
    dev_cmd_fill(r, b, 0, sizeof got, 1);
    dev_cmd_barrier(r);
    dev_cmd_fill(r, b, 4, 8, 0xdeadbeef);
    dev_cmd_fill(r, b, 252, 4, 3);
    dev_cmd_fill(r, b, 16, 0, 9);
    dev_cmd_fill(r, c, 0, 0, 9);
    OK(dev_submit(r));
    OK(dev_download(d, b, 0, got, sizeof got));
    for (int i = 0; i < 64; i++)
        cr_expect(got[i] == (i == 1 || i == 2 ? 0xdeadbeef : i == 63 ? 3u : 1u), "%d", i);
    static const uint64_t bad[][2] = {{1, 4}, {0, 3}, {256, 4}, {0, 260}, {4, UINT64_MAX - 3}};
    for (int i = 0; i < 5; i++) {
        OK(dev_record(d, &r));
        dev_cmd_fill(r, b, bad[i][0], bad[i][1], 0);
        dev_cmd_fill(r, b, 0, 4, 8); /* nothing of it is done */
        FAILS(MARE_E_ARGUMENT, "fill", dev_submit(r));
    }
    OK(dev_record(d, &r));
    dev_cmd_fill(r, NULL, 0, 4, 0);
    FAILS(MARE_E_ARGUMENT, "null", dev_submit(r));
    OK(dev_download(d, b, 0, got, 4));
    cr_expect(got[0] == 1);
    OK(dev_record(d, &r));
    dev_cmd_fill(r, b, 0, 4, 8);
    dev_discard(r);
    OK(dev_download(d, b, 0, got, 4));
    cr_expect(got[0] == 1);
    dev_discard(NULL);
    dev_buffer_release(b);
    dev_buffer_release(c);
    close_clean(d);
}

Test(device_record, dispatch_arguments_are_checked) {
    static const char *const caps[] = {"groups=100,binding=4k", "groups=100,binding=4k,baseline"};
    for (int k = 0; k < 2; k++) {
        dev_device *d = open_caps(caps[k]), *d2 = open_caps(NULL);
        dev_pipeline *p = kernel_make(d, 32, 0), *p2 = kernel_make(d2, 32, 0);
        uint32_t zero[2048] = {0}, got[16], params[300] = {16, 1, 1};
        dev_buffer *b = buffer_of(d, sizeof zero, zero), *c = buffer_of(d2, 512, NULL);
        dev_recorder *r;
        OK(dev_record(d, &r));
        dev_binding ok[2] = {{b, 0, 64}, {b, 256, 64}};
        uint32_t one[] = {1, 1, 1}, wide[] = {101, 1, 1}, none[] = {1, 0, 1};
#define BAD(word, ...) FAILS(MARE_E_ARGUMENT, word, dev_cmd_dispatch(r, __VA_ARGS__))
        BAD("null", NULL, params, 3, ok, 2, one);
        BAD("another device", p2, params, 3, ok, 2, one);
        BAD("257 parameter words", p, params, 257, ok, 2, one);
        BAD("-1 parameter words", p, params, -1, ok, 2, one);
        BAD("3 parameter words", p, NULL, 3, ok, 2, one);
        BAD("1 buffers bound", p, params, 3, ok, 1, one);
        BAD("buffers bound", p, params, 3, NULL, 2, one);
        BAD("101 groups", p, params, 3, ok, 2, wide);
        const dev_binding bad[] = {{NULL, 0, 64},  {c, 0, 64},   {b, 4, 64},          {b, 8192, 0},
                                   {b, 7936, 257}, {b, 0, 4097}, {b, 256, UINT64_MAX}};
        const char *const word[] = {"null",   "another device", "offset",    "offset",
                                    "offset", "binds at most",  "do not fit"};
        for (int i = 0; i < 7; i++) {
            dev_binding two[2] = {ok[0], bad[i]};
            BAD(word[i], p, params, 3, two, 2, one);
        }
        OK(dev_cmd_dispatch(r, p, params, 3, ok, 2, none)); /* nothing to do */
        params[0] = 16;
        dev_cmd_fill(r, b, 0, 64, 5);
        dev_cmd_barrier(r);
        OK(dev_cmd_dispatch(r, p, params, 256, ok, 2, one));
        OK(dev_submit(r));
        OK(dev_download(d, b, 256, got, sizeof got));
        for (int i = 0; i < 16; i++)
            cr_expect(got[i] == 5);
        dev_buffer_release(b);
        dev_buffer_release(c);
        dev_pipeline_destroy(p);
        dev_pipeline_destroy(p2);
        close_clean(d);
        close_clean(d2);
    }
}

/* A thousand dispatches in a submission, and a thousand submissions: all is recycled. */
Test(device_record, many_submissions_keep_memory_flat) {
    static const char *const caps[] = {NULL, "-push_descriptor,-unified"};
    for (int k = 0; k < 2; k++) {
        dev_device *d = open_caps(caps[k]);
        dev_pipeline *p = kernel_make(d, 32, 0);
        uint32_t zero[64] = {0}, one[64], got[64];
        for (int i = 0; i < 64; i++)
            one[i] = 1;
        dev_buffer *x = buffer_of(d, sizeof one, one), *y = buffer_of(d, sizeof zero, zero);
        dev_recorder *r;
        OK(dev_record(d, &r));
        for (int i = 0; i < 1000; i++) {
            OK(mad(r, p, x, y, 64, 1, 1));
            dev_cmd_barrier(r);
        }
        OK(dev_submit(r));
        uint64_t taken = 0;
        for (int i = 0; i < 1000; i++) {
            dev_buffer *t = buffer_of(d, 100000, NULL);
            OK(dev_upload(d, x, 0, one, sizeof one));
            OK(dev_record(d, &r));
            OK(mad(r, p, x, y, 64, 1, 1));
            dev_cmd_fill(r, t, 0, 100000, 1);
            dev_buffer_release(t);
            OK(dev_submit(r));
            if (i == 0) taken = stats(d).used + stats(d).cached;
        }
        OK(dev_download(d, y, 0, got, sizeof got));
        for (int i = 0; i < 64; i++)
            cr_expect(got[i] == 2000, "%u", got[i]);
        cr_expect(stats(d).used == 512, "%llu", (unsigned long long)stats(d).used);
        cr_expect(stats(d).used + stats(d).cached == taken);
        int idle = 0, params = 0, sets = 0;
        for (const dev_recorder *q = d->idle; q; q = q->next)
            idle++;
        for (const chunk *c = d->free_params; c; c = c->next)
            params++;
        for (const set_pool *s = d->free_sets; s; s = s->next)
            sets++;
        cr_expect(!d->flying.first && d->flying.n == 0);
        cr_expect(idle <= FLYING_MOST + 2 && params <= FLYING_MOST + 6, "%d, %d", idle, params);
        cr_expect(sets <= FLYING_MOST + 10 && (sets > 0) == (k == 1), "%d", sets);
        cr_expect(d->staging <= STAGING_MOST, "%d", d->staging);
        dev_buffer_release(x);
        dev_buffer_release(y);
        dev_pipeline_destroy(p);
        close_clean(d);
    }
}

/* Buffers and pipelines may be let go while the device works with them; their memory serves the
 * next ones without a mix-up. */
Test(device_record, release_in_flight) {
    static const char *const caps[] = {NULL, "-unified"};
    for (int k = 0; k < 2; k++) {
        dev_device *d = open_caps(caps[k]);
        enum { N = 20000 };
        static uint32_t host[N], got[N];
        dev_buffer *y[6];
        for (uint32_t j = 0; j < 6; j++) {
            dev_pipeline *p = kernel_make(d, 32, 0);
            for (uint32_t i = 0; i < N; i++)
                host[i] = i + j;
            dev_buffer *x = buffer_of(d, sizeof host, host);
            y[j] = buffer_of(d, sizeof host, host);
            dev_recorder *r;
            OK(dev_record(d, &r));
            OK(mad(r, p, x, y[j], N, 3, 500));
            dev_pipeline_destroy(p);
            if (j % 2) dev_buffer_release(x); /* before and after the submission */
            OK(dev_submit(r));
            if (!(j % 2)) dev_buffer_release(x);
        }
        cr_expect(stats(d).used == 6 * ((sizeof host + 255) / 256 * 256));
        for (uint32_t j = 0; j < 6; j++) {
            OK(dev_download(d, y[j], 0, got, sizeof got));
            for (uint32_t i = 0; i < N; i += 97) {
                uint32_t v = i + j;
                for (int t = 0; t < 500; t++)
                    v = v * 3 + i + j;
                cr_assert(got[i] == v, "%u of %u: %u, not %u", i, j, got[i], v);
            }
            dev_buffer_release(y[j]);
        }
        cr_expect(stats(d).used == 0);
        close_clean(d);
    }
}

/* Two neighbours, the second still written by the device, become one range: what the host puts
 * there next must not be overwritten by the old work. */
Test(device_record, joined_memory_remembers_its_use) {
    dev_device *d = open_caps(NULL);
    dev_pipeline *p = kernel_make(d, 32, 0);
    enum { N = 20000, BYTES = (N * 4 + 255) / 256 * 256 };
    static uint32_t host[BYTES / 2], got[BYTES / 2];
    dev_buffer *x = buffer_of(d, BYTES, host), *a = buffer_of(d, BYTES, host),
               *b = buffer_of(d, BYTES, host), *c = buffer_of(d, BYTES, host);
    cr_assert(a->at->after == b->at);
    range *first = a->at;
    dev_recorder *r;
    OK(dev_record(d, &r));
    OK(mad(r, p, x, b, N, 3, 2000));
    OK(dev_submit(r));
    dev_buffer_release(b);
    dev_buffer_release(a);
    for (uint32_t i = 0; i < BYTES / 2; i++)
        host[i] = i;
    b = buffer_of(d, 2 * BYTES, host);
    cr_assert(b->at == first);
    OK(dev_wait(d));
    OK(dev_download(d, b, 0, got, 2 * BYTES));
    cr_expect(!memcmp(got, host, 2 * BYTES));
    dev_buffer_release(b);
    dev_buffer_release(c);
    dev_buffer_release(x);
    dev_pipeline_destroy(p);
    close_clean(d);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

Test(device_record, timed_submissions) {
    static const char *const caps[] = {NULL, "-timestamps"};
    for (int k = 0; k < 2; k++) {
        dev_device *d = open_caps(caps[k]);
        dev_pipeline *p = kernel_make(d, 32, 0);
        enum { N = 1 << 16 };
        dev_buffer *x = buffer_of(d, N * 4, NULL), *y = buffer_of(d, N * 4, NULL);
        dev_recorder *r;
        OK(dev_record(d, &r));
        dev_cmd_fill(r, x, 0, N * 4, 1);
        dev_cmd_fill(r, y, 0, N * 4, 0);
        OK(dev_submit(r));
        double seconds[3], start, host = 0;
        for (int i = 0; i < 3; i++) {
            OK(dev_record(d, &r));
            OK(mad(r, p, x, y, N, 1, i == 1 ? 2 : 2000));
            start = now();
            OK(dev_submit_timed(r, &seconds[i]));
            host = now() - start;
        }
        cr_expect(seconds[0] > 0 && seconds[1] > 0 && seconds[2] > 0);
        cr_expect(seconds[1] < seconds[2], "%g, %g", seconds[1], seconds[2]);
        cr_expect(seconds[2] <= host && seconds[2] > host * 0.3, "%g of %g", seconds[2], host);
        uint32_t got;
        OK(dev_download(d, y, 4 * (N - 1), &got, 4));
        cr_expect(got == 4002, "%u", got);
        dev_buffer_release(x);
        dev_buffer_release(y);
        dev_pipeline_destroy(p);
        close_clean(d);
    }
}
