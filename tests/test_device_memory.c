#define _POSIX_C_SOURCE 200809L
#include "device_kit.h"

TestSuite(device_memory, .timeout = 300);

/* ---- Memory ------------------------------------------------------------------------------- */

Test(device_memory, memory_is_counted_and_kept) {
    dev_device *d = open_caps(NULL);
    dev_buffer *a = buffer_of(d, 0, NULL), *b = buffer_of(d, 1, NULL), *c = buffer_of(d, 257, NULL);
    cr_expect(dev_buffer_bytes(a) == 0 && dev_buffer_bytes(b) == 1 && dev_buffer_bytes(c) == 257);
    cr_expect(stats(d).used == 256 + 256 + 512);
    dev_buffer *big = buffer_of(d, 20 << 20, NULL);
    uint64_t all = stats(d).used + stats(d).cached;
    cr_expect(stats(d).peak == stats(d).used && stats(d).used == 1024 + (20 << 20));
    dev_buffer_retain(big);
    dev_buffer_release(big);
    cr_expect(stats(d).used == 1024 + (20 << 20));
    dev_buffer_release(big);
    cr_expect(stats(d).used == 1024 && stats(d).peak == 1024 + (20 << 20));
    cr_expect(stats(d).used + stats(d).cached == all);
    dev_memory_reset_peak(d);
    cr_expect(stats(d).peak == 1024);
    big = buffer_of(d, 18 << 20, NULL);
    cr_expect(stats(d).used + stats(d).cached == all, "the cached block was not taken again");
    dev_buffer_release(big);
    dev_memory_trim(d);
    cr_expect(stats(d).used + stats(d).cached == all - (20 << 20));
    dev_buffer_release(a);
    dev_buffer_release(b);
    dev_buffer_release(c);
    dev_buffer_release(NULL);
    dev_memory_trim(d);
    cr_expect(stats(d).used == 0 && stats(d).cached == 0);
    if (dev_get_caps(d)->has[DEV_MEMORY_BUDGET]) cr_expect(stats(d).available > 0);
    close_clean(d);
}

/* Buffers of all sizes in a random order never overlap, and the free memory joins again. */
Test(device_memory, memory_survives_a_random_life) {
    dev_device *d = open_caps(NULL);
    enum { N = 200, ROUNDS = 4000 };
    dev_buffer *b[N] = {0};
    uint32_t seed = 1;
    uint64_t used = 0;
    for (int k = 0; k < ROUNDS; k++) {
        seed = seed * 1664525 + 1013904223;
        int i = (int)(seed >> 8) % N;
        if (b[i]) {
            used -= b[i]->at->bytes;
            dev_buffer_release(b[i]);
            b[i] = NULL;
        } else {
            uint64_t bytes = (uint64_t)(seed >> 12 & 0xfff) << (seed >> 28 & 7);
            OK(dev_buffer_create(d, bytes, &b[i]));
            used += b[i]->at->bytes;
        }
        cr_assert(stats(d).used == used);
    }
    for (const block *k = d->mem.blocks; k; k = k->next) {
        uint64_t at = 0;
        for (const range *r = k->first, *before = NULL; r; before = r, r = r->after) {
            cr_assert(r->offset == at && r->before == before && r->bytes % 256 == 0);
            cr_assert(!before || before->owner || r->owner, "two free neighbours");
            at += r->bytes;
        }
        cr_assert(at == k->bytes);
    }
    for (int i = 0; i < N; i++)
        dev_buffer_release(b[i]);
    for (const block *k = d->mem.blocks; k; k = k->next)
        cr_assert(!k->first->after && !k->first->owner);
    dev_memory_trim(d);
    cr_expect(stats(d).used == 0 && stats(d).cached == 0 && !d->mem.blocks);
    close_clean(d);
}

/* Ever new sizes: what is kept of them stays under a bound; sizes that come again find their
 * memory. */
Test(device_memory, what_is_kept_has_a_bound) {
    dev_device *d = open_caps(NULL);
    const uint64_t MB = 1 << 20;
    for (uint64_t i = 0; i < 40; i++) {
        dev_buffer_release(buffer_of(d, (20 + i) * MB, NULL));
        cr_assert_leq(stats(d).used + stats(d).cached, (256 + 60) * MB);
    }
    uint64_t taken = stats(d).used + stats(d).cached;
    cr_expect_geq(taken, 59 * MB);
    for (int i = 0; i < 10; i++)
        dev_buffer_release(buffer_of(d, 59 * MB, NULL));
    cr_expect_eq(stats(d).used + stats(d).cached, taken);
    close_clean(d);
}

Test(device_memory, memory_cap_and_too_much_leave_all_usable) {
    dev_device *d = open_caps(NULL);
    dev_memory_set_cap(d, 10 << 20);
    cr_expect(stats(d).cap == 10 << 20);
    dev_buffer *a = buffer_of(d, 6 << 20, NULL), *b = NULL;
    FAILS(MARE_E_DEVICE_MEMORY, "the cap is 10.0 MiB", dev_buffer_create(d, 5 << 20, &b));
    cr_expect(b == NULL && stats(d).used == 6 << 20);
    dev_buffer_release(a);
    b = buffer_of(d, 9 << 20, NULL); /* only when the cached block goes back */
    cr_expect(stats(d).used + stats(d).cached <= 10 << 20);
    /* Small buffers fill what is left to the last page. */
    dev_buffer *some[5] = {0};
    mare_status s = MARE_OK;
    int n = 0;
    for (; n < 5 && !s; n++)
        s = dev_buffer_create(d, 256 << 10, &some[n]);
    cr_expect(n == 5 && s == MARE_E_DEVICE_MEMORY && !some[4]);
    for (int i = 0; i < 4; i++)
        dev_buffer_release(some[i]);
    uint32_t v = 42, got = 0;
    OK(dev_upload(d, b, 4, &v, 4));
    OK(dev_download(d, b, 4, &got, 4));
    cr_expect(got == 42);
    dev_buffer_release(b);
    dev_memory_set_cap(d, 0);
    FAILS(MARE_E_DEVICE_MEMORY, "one allocation",
          dev_buffer_create(d, dev_get_caps(d)->allocation + 1, &b));
    FAILS(MARE_E_DEVICE_MEMORY, "one allocation", dev_buffer_create(d, UINT64_MAX, &b));
    b = buffer_of(d, 1000, NULL);
    dev_buffer_release(b);
    close_clean(d);
    dev_options o = {.memory_cap = 1000};
    OK(dev_create(&o, &err, &d));
    FAILS(MARE_E_DEVICE_MEMORY, "cap", dev_buffer_create(d, 1001, &b));
    OK(dev_buffer_create(d, 700, &b));
    dev_buffer_release(b);
    dev_destroy(d);
}

/* ---- Transfers ---------------------------------------------------------------------------- */

Test(device_memory, transfers_take_any_size_and_offset) {
    static const char *const caps[] = {NULL, "-unified"};
    for (int k = 0; k < 2; k++) {
        dev_device *d = open_caps(caps[k]);
        enum { SIZE = (9 << 20) + 13 };
        uint8_t *host = malloc(SIZE), *got = malloc(SIZE);
        cr_assert(host && got);
        for (int i = 0; i < SIZE; i++)
            host[i] = (uint8_t)(i * 31 + i / 251);
        dev_buffer *b = buffer_of(d, SIZE, host);
        static const int cuts[][2] = {{0, 1},      {1, 1},       {3, 5},          {255, 257},
                                      {4097, 999}, {SIZE, 0},    {SIZE - 1, 1},   {0, 0},
                                      {2, 70001},  {77, 65536},  {SIZE - 99, 99}, {5, 4 << 20},
                                      {0, SIZE},   {1, SIZE - 1}};
        for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
            int at = cuts[i][0], n = cuts[i][1];
            for (int j = 0; j < n; j++)
                host[at + j] = (uint8_t)(host[at + j] + 1 + i);
            OK(dev_upload(d, b, (uint64_t)at, host + at, (uint64_t)n));
            memset(got, 0, SIZE);
            OK(dev_download(d, b, (uint64_t)at, got, (uint64_t)n));
            cr_assert(!memcmp(got, host + at, (size_t)n), "%d bytes at %d", n, at);
        }
        OK(dev_download(d, b, 0, got, SIZE));
        cr_assert(!memcmp(got, host, SIZE));
        FAILS(MARE_E_ARGUMENT, "upload: 2 bytes", dev_upload(d, b, SIZE - 1, host, 2));
        FAILS(MARE_E_ARGUMENT, "download: 1 bytes", dev_download(d, b, SIZE, host, 1));
        FAILS(MARE_E_ARGUMENT, "offset", dev_upload(d, b, UINT64_MAX, host, 2));
        FAILS(MARE_E_ARGUMENT, "bytes", dev_upload(d, b, 1, host, UINT64_MAX));
        FAILS(MARE_E_ARGUMENT, "null", dev_upload(d, b, 0, NULL, 1));
        FAILS(MARE_E_ARGUMENT, "null", dev_download(d, NULL, 0, got, 1));
        dev_buffer_release(b);
        close_clean(d);
        free(host);
        free(got);
    }
}

/* More data on its way than there is staging memory. */
Test(device_memory, uploads_without_end) {
    dev_device *d = open_caps("-unified");
    enum { N = 24 << 18, ROUNDS = 5 };
    uint32_t *host = malloc(N * 4);
    cr_assert(host);
    dev_buffer *b = buffer_of(d, N * 4, NULL);
    for (uint32_t k = 0; k < ROUNDS; k++) {
        for (uint32_t i = 0; i < N; i++)
            host[i] = i * (k + 3);
        OK(dev_upload(d, b, 0, host, N * 4));
    }
    cr_expect(d->staging <= STAGING_UPLOADS * N * 4 / STAGING_CHUNK && d->staging <= STAGING_LIMIT);
    memset(host, 0, N * 4);
    OK(dev_download(d, b, 0, host, N * 4));
    for (uint32_t i = 0; i < N; i++)
        cr_assert(host[i] == i * (ROUNDS + 2));
    dev_buffer_release(b);
    close_clean(d);
    free(host);
}

/* Uploads, dispatches, fills and downloads take effect in the order of the calls. */
Test(device_memory, order_is_kept) {
    static const char *const caps[] = {NULL, "-unified", "-push_descriptor,-unified"};
    for (int k = 0; k < 3; k++) {
        dev_device *d = open_caps(caps[k]);
        dev_pipeline *p = kernel_make(d, 32, 0);
        enum { N = 5000 };
        uint32_t host[N], got[N], want[2] = {0};
        dev_buffer *x = buffer_of(d, sizeof host, NULL), *y = buffer_of(d, sizeof host, NULL);
        dev_recorder *r;
        OK(dev_record(d, &r));
        dev_cmd_fill(r, x, 0, sizeof host, 0);
        dev_cmd_fill(r, y, 0, sizeof host, 7);
        OK(dev_submit(r));
        want[0] = want[1] = 7;
        for (uint32_t step = 1; step < 20; step++) {
            for (uint32_t i = 0; i < N; i++)
                host[i] = step * 100 + i % 2;
            OK(dev_upload(d, x, 0, host, sizeof host)); /* while x is being read */
            OK(dev_record(d, &r));
            OK(mad(r, p, x, y, N, 3, 50));
            OK(dev_submit(r));
            for (uint32_t j = 0; j < 2; j++)
                for (int t = 0; t < 50; t++)
                    want[j] = want[j] * 3 + step * 100 + j;
            if (step % 7) continue;
            OK(dev_download(d, y, 0, got, sizeof got));
            for (uint32_t i = 0; i < N; i++)
                cr_assert(got[i] == want[i % 2], "step %u, %u: %u, not %u", step, i, got[i],
                          want[i % 2]);
            want[0] = want[1] = step;
            OK(dev_record(d, &r));
            dev_cmd_fill(r, y, 0, sizeof host, step);
            OK(dev_submit(r));
        }
        dev_buffer_release(x);
        dev_buffer_release(y);
        dev_pipeline_destroy(p);
        close_clean(d);
    }
}
