#define _GNU_SOURCE
/* When dispatches ran: by timestamps, and by the host's clock where there are none. */
#include "device_kit.h"

TestSuite(device_profile, .timeout = 300);

enum { WORDS = 4096 };

typedef struct rig {
    dev_device *d;
    dev_pipeline *p;
    dev_buffer *x, *y;
} rig;

static rig rig_open(const char *caps) {
    rig r = {.d = open_caps(caps)};
    uint32_t ones[WORDS];
    for (int i = 0; i < WORDS; i++)
        ones[i] = 1;
    r.p = kernel_make(r.d, 32, 0);
    r.x = buffer_of(r.d, sizeof ones, ones);
    r.y = buffer_of(r.d, sizeof ones, ones);
    return r;
}

/* y is 1 + n after n runs of y = y + x. */
static void rig_close(rig *r, uint32_t n) {
    uint32_t got[WORDS];
    OK(dev_download(r->d, r->y, 0, got, sizeof got));
    for (int i = 0; i < WORDS; i++)
        cr_assert_eq(got[i], 1 + n, "%d: %u", i, got[i]);
    dev_buffer_release(r->x);
    dev_buffer_release(r->y);
    dev_pipeline_destroy(r->p);
    close_clean(r->d);
}

/* n timed runs with the ids from `first` on, `each` to a recorder. */
static void run_timed(rig *r, uint32_t first, uint32_t n, uint32_t each) {
    dev_recorder *rec = NULL;
    for (uint32_t i = 0; i < n; i++) {
        if (!rec) OK(dev_record(r->d, &rec));
        OK(dev_cmd_time(rec, first + i));
        OK(mad(rec, r->p, r->x, r->y, WORDS, 1, 1));
        dev_cmd_time_end(rec);
        if (i % each != each - 1 && i != n - 1) continue;
        OK(dev_submit(rec));
        rec = NULL;
    }
}

static void expect_order(const dev_timing *t, size_t n, double from, double to) {
    for (size_t i = 0; i < n; i++) {
        cr_expect_leq(t[i].start, t[i].end);
        double before = i ? t[i - 1].end : from;
        cr_expect_geq(t[i].start, before, "%zu starts at %.9f, before %.9f", i, t[i].start, before);
    }
    if (n) cr_expect_leq(t[n - 1].end, to, "%.9f and %.9f", t[n - 1].end, to);
}

/* Bounds of the device's times hold to the width of a look at both clocks; `slack` is wider. */
static void expect_profile(rig *r, const char *what, double from, double slack, size_t n) {
    dev_profile out;
    OK(dev_profile_stop(r->d, &out));
    size_t runs = 0;
    for (size_t i = 0; i < out.n_runs; i++) {
        if (out.runs[i].id == DEV_COPY) continue;
        cr_expect_eq(out.runs[i].id, 7 + runs, "%s: run %zu has id %u", what, i, out.runs[i].id);
        runs++;
    }
    cr_expect_eq(runs, n, "%s: %zu runs", what, runs);
    expect_order(out.runs, out.n_runs, from - slack, dev_clock() + slack);
    expect_order(out.waits, out.n_waits, from, dev_clock());
    free(out.runs);
    free(out.waits);
}

Test(device_profile, timestamps_around_each_dispatch) {
    static const char *const caps[] = {NULL, "-unified,-push_descriptor"};
    for (int k = 0; k < 2; k++) {
        rig r = rig_open(caps[k]);
        if (!dev_get_caps(r.d)->has[DEV_TIMESTAMPS]) {
            rig_close(&r, 0);
            continue;
        }
        double from = dev_clock();
        OK(dev_profile_start(r.d));
        cr_expect(dev_profile_stamps(r.d));
        /* More than a query pool's worth in a recorder, and several recorders. */
        run_timed(&r, 7, QUERIES + 3, QUERIES / 2 + 40);
        expect_profile(&r, "stamps", from, dev_clock() - from, QUERIES + 3);
        rig_close(&r, QUERIES + 3);
    }
}

Test(device_profile, host_clock_where_there_are_no_timestamps) {
    rig r = rig_open("-timestamps");
    double from = dev_clock();
    OK(dev_profile_start(r.d));
    cr_expect_not(dev_profile_stamps(r.d));
    run_timed(&r, 7, 5, 1);
    expect_profile(&r, "host", from, 0, 5);
    rig_close(&r, 5);
}

Test(device_profile, starts_anew_and_forgets_what_was_not_sent) {
    rig r = rig_open(NULL);
    for (int round = 0; round < 2; round++) {
        double from = dev_clock();
        OK(dev_profile_start(r.d));
        dev_recorder *rec;
        OK(dev_record(r.d, &rec));
        OK(dev_cmd_time(rec, 1));
        OK(mad(rec, r.p, r.x, r.y, WORDS, 1, 1));
        dev_discard(rec);
        run_timed(&r, 7, 3, dev_profile_stamps(r.d) ? 3 : 1);
        expect_profile(&r, "anew", from, dev_clock() - from, 3);
    }
    dev_recorder *rec;
    OK(dev_record(r.d, &rec));
    OK(mad(rec, r.p, r.x, r.y, WORDS, 1, 1));
    OK(dev_submit(rec));
    rig_close(&r, 7);
}

/* Copies through staging memory take the device's time too. */
Test(device_profile, copies_are_seen) {
    rig r = rig_open("-unified");
    if (!dev_get_caps(r.d)->has[DEV_TIMESTAMPS]) {
        rig_close(&r, 0);
        return;
    }
    OK(dev_profile_start(r.d));
    uint32_t ones[WORDS];
    OK(dev_download(r.d, r.x, 0, ones, sizeof ones));
    OK(dev_upload(r.d, r.x, 0, ones, sizeof ones));
    dev_profile out;
    OK(dev_profile_stop(r.d, &out));
    cr_expect_eq(out.n_runs, 2);
    for (size_t i = 0; i < out.n_runs; i++)
        cr_expect_eq(out.runs[i].id, DEV_COPY);
    cr_expect_geq(out.n_waits, 1);
    free(out.runs);
    free(out.waits);
    rig_close(&r, 0);
}
