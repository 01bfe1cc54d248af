#define _POSIX_C_SOURCE 200809L
/* Recordings: what is recorded anew and what is not, and that each submission sees the parameters
 * and buffers of its own. */
#include "device_kit.h"

TestSuite(device_recording, .timeout = 300);

enum { WORDS = 64, DISPATCHES = 6 };

typedef struct kit {
    dev_device *d;
    dev_pipeline *p;
    dev_buffer *x, *y[2];
    dev_recording *r;
} kit;

/* Words of 1 in x; y[0] and y[1] of 0; six dispatches, y = y * a + x, one behind the other. */
static kit kit_make(const char *caps) {
    kit k = {.d = open_caps(caps)};
    uint32_t one[WORDS], zero[WORDS] = {0};
    for (int i = 0; i < WORDS; i++)
        one[i] = 1;
    k.p = kernel_make(k.d, 32, 0);
    k.x = buffer_of(k.d, sizeof one, one);
    for (int i = 0; i < 2; i++)
        k.y[i] = buffer_of(k.d, sizeof zero, zero);
    dev_dispatch list[DISPATCHES];
    for (int i = 0; i < DISPATCHES; i++)
        list[i] = (dev_dispatch){k.p, 3, 2, {WORDS / 32, 1, 1}, i > 0};
    OK(dev_recording_create(k.d, list, DISPATCHES, &k.r));
    return k;
}

static void kit_free(kit *k) {
    dev_recording_destroy(k->r);
    dev_buffer_release(k->x);
    dev_buffer_release(k->y[0]);
    dev_buffer_release(k->y[1]);
    cr_expect(stats(k->d).used == 0);
    dev_pipeline_destroy(k->p);
    close_clean(k->d);
}

static void set_params(kit *k, int i, uint32_t a) {
    uint32_t *w = dev_recording_params(k->r, i);
    w[0] = WORDS;
    w[1] = a;
    w[2] = 1;
}

static void bind(kit *k, int i, dev_buffer *x, dev_buffer *y) {
    OK(dev_recording_bind(k->r, i, 0, &(dev_binding){x, 0, WORDS * 4}));
    OK(dev_recording_bind(k->r, i, 1, &(dev_binding){y, 0, WORDS * 4}));
}

/* Submits it and waits, and tells how many dispatches were recorded and how often it submitted. */
static void submit(kit *k, int want_recorded, int want_submits) {
    int recorded, submits;
    OK(dev_recording_submit(k->r, (dev_buffer *[]){k->x, k->y[0], k->y[1]}, 3, &recorded,
                            &submits));
    cr_expect(recorded == want_recorded, "%d recorded", recorded);
    cr_expect(submits == want_submits, "%d submissions", submits);
    OK(dev_recording_wait(k->r));
    cr_expect(dev_recording_idle(k->r));
}

static uint32_t word_of(kit *k, dev_buffer *b) {
    uint32_t got[WORDS];
    OK(dev_download(k->d, b, 0, got, sizeof got));
    for (int i = 1; i < WORDS; i++)
        cr_expect(got[i] == got[0], "%d", i);
    return got[0];
}

static const char *const paths[] = {NULL, "-push_descriptor,-unified", "baseline"};

Test(device_recording, commands_are_made_once) {
    for (int c = 0; c < 3; c++) {
        kit k = kit_make(paths[c]);
        for (int i = 0; i < DISPATCHES; i++) {
            bind(&k, i, k.x, k.y[0]);
            set_params(&k, i, 1);
        }
        submit(&k, DISPATCHES, 1);
        cr_expect(word_of(&k, k.y[0]) == 6);
        submit(&k, 0, 1);
        cr_expect(word_of(&k, k.y[0]) == 12);
        set_params(&k, 5, 10); /* parameters are read when it runs */
        submit(&k, 0, 1);
        cr_expect(word_of(&k, k.y[0]) == 171);
        bind(&k, 2, k.x, k.y[0]); /* the same again */
        submit(&k, 0, 1);
        cr_expect(word_of(&k, k.y[0]) == 1761);
        kit_free(&k);
    }
}

Test(device_recording, only_parts_that_bind_anew_are_recorded) {
    for (int c = 0; c < 3; c++) {
        kit k = kit_make(paths[c]);
        for (int i = 0; i < DISPATCHES; i++) {
            bind(&k, i, k.x, k.y[0]);
            set_params(&k, i, 1);
        }
        /* Three parts of two dispatches in two submissions. */
        OK(dev_recording_divide(k.r, (dev_part[]){{0, true}, {2, false}, {4, true}}, 3));
        submit(&k, DISPATCHES, 2);
        cr_expect(word_of(&k, k.y[0]) == 6);
        bind(&k, 3, k.x, k.y[1]);
        submit(&k, 2, 2);
        cr_expect(word_of(&k, k.y[0]) == 11 && word_of(&k, k.y[1]) == 1);
        bind(&k, 4, k.y[1], k.y[0]);
        bind(&k, 0, k.y[1], k.y[0]);
        submit(&k, 4, 2);
        cr_expect(word_of(&k, k.y[1]) == 2);
        cr_expect(word_of(&k, k.y[0]) == 11 + 1 + 1 + 1 + 2 + 1, "%u", word_of(&k, k.y[0]));
        submit(&k, 0, 2);
        kit_free(&k);
    }
}

/* A buffer that was given back, and its block with it, is another place afterwards. */
Test(device_recording, places_tell_memory_apart) {
    dev_device *d = open_caps(NULL);
    dev_buffer *a = buffer_of(d, 1000, NULL), *b = buffer_of(d, 1000, NULL);
    uint64_t at = dev_buffer_place(a), beside = dev_buffer_place(b);
    cr_expect(at && beside && at != beside);
    dev_buffer_release(a);
    a = buffer_of(d, 1000, NULL);
    cr_expect(dev_buffer_place(a) == at, "the same memory again is the same place");
    dev_buffer_release(a);
    dev_buffer_release(b);
    dev_memory_trim(d);
    a = buffer_of(d, 1000, NULL);
    cr_expect(dev_buffer_place(a) != at && dev_buffer_place(a) != beside);
    dev_buffer_release(a);
    close_clean(d);
}

Test(device_recording, arguments_are_checked) {
    kit k = kit_make(NULL);
    dev_recording *r = NULL;
    dev_dispatch bad[] = {{NULL, 3, 2, {1, 1, 1}, false},
                          {k.p, 257, 2, {1, 1, 1}, false},
                          {k.p, 3, 1, {1, 1, 1}, false},
                          {k.p, 3, 2, {UINT32_MAX, 1, 1}, false}};
    for (int i = 0; i < 4; i++) {
        FAILS(MARE_E_ARGUMENT, "dispatch", dev_recording_create(k.d, &bad[i], 1, &r));
        cr_expect(r == NULL);
    }
    FAILS(MARE_E_ARGUMENT, "do not fit",
          dev_recording_bind(k.r, 0, 0, &(dev_binding){k.x, 0, WORDS * 4 + 1}));
    dev_recording_destroy(NULL);
    /* Nothing to do is allowed. */
    OK(dev_recording_create(k.d, &(dev_dispatch){k.p, 3, 2, {0, 1, 1}, false}, 1, &r));
    int recorded, submits;
    OK(dev_recording_submit(r, NULL, 0, &recorded, &submits));
    dev_recording_destroy(r); /* while the device may still be at it */
    kit_free(&k);
}
