#define _GNU_SOURCE
#include "device_kit.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

TestSuite(device, .timeout = 300);

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

/* ---- The list and the choice -------------------------------------------------------------- */

Test(device, lists_devices_best_first) {
    dev_caps *list;
    int n;
    OK(dev_list(&list, &n, &err));
    cr_assert(n > 0);
    for (int i = 0; i < n; i++) {
        cr_expect(i == 0 || list[i - 1].type <= list[i].type);
        cr_expect(list[i].name[0] && list[i].driver[0]);
        cr_expect(list[i].api_version >= VK_API_VERSION_1_2);
        cr_expect(list[i].memory > 0 && list[i].allocation > 0);
        cr_expect(list[i].workgroup >= 128 && list[i].shared >= 16384);
        cr_expect(list[i].storage_buffers >= 4 && list[i].storage_buffers <= MAX_BUFFERS);
        cr_expect(list[i].binding >= (1 << 27) && list[i].binding % 256 == 0);
        cr_expect(list[i].offset_alignment > 0 && list[i].offset_alignment <= 256);
    }
    free(list);
}

Test(device, chooses_by_index_name_and_type) {
    dev_caps *list;
    int n;
    OK(dev_list(&list, &n, &err));
    char part[8] = {0}, upper[8] = {0};
    memcpy(part, list[0].name, 5);
    for (int i = 0; i < 5; i++)
        upper[i] = (char)(part[i] >= 'a' && part[i] <= 'z' ? part[i] - 32 : part[i] + 0);
    const char *const good[] = {"0", part, upper, dev_type_name(list[0].type), "", NULL};
    for (int i = 0; i < 6; i++) {
        dev_options o = {.device = good[i]};
        dev_device *d;
        OK(dev_create(&o, &err, &d));
        cr_expect_str_eq(dev_get_caps(d)->name, list[0].name);
        dev_destroy(d);
    }
    const char *const bad[] = {"99", "99999999999999999999999999", "no such thing", "-1"};
    for (int i = 0; i < 4; i++) {
        dev_options o = {.device = bad[i]};
        dev_device *d = (dev_device *)1;
        FAILS(MARE_E_NO_DEVICE, bad[i], dev_create(&o, &err, &d));
        cr_expect(d == NULL && strstr(err.text, list[0].name));
    }
    free(list);
}

/* What a device could do is turned on, unless it was switched off. */
Test(device, turns_on_what_there_is) {
    dev_caps *list, want;
    int n;
    OK(dev_list(&list, &n, &err));
    static const char *const words[] = {"", "-float16,-storage8,-subgroup_size,binding=1m"};
    for (int k = 0; k < 2; k++) {
        want = list[0];
        OK(dev_caps_apply(&want, words[k], &err));
        dev_device *d;
        OK(dev_create(&(dev_options){.device = "0", .caps = words[k]}, &err, &d));
        const dev_caps *c = dev_get_caps(d);
        for (int i = 0; i < DEV_FEATURES; i++)
            cr_expect(c->has[i] == want.has[i], "%s", dev_feature_name((dev_feature)i));
        cr_expect(c->binding == want.binding && c->workgroup == want.workgroup);
        dev_destroy(d);
    }
    free(list);
}

Test(device, no_driver_is_an_error_that_helps) {
    dev_caps *list;
    int n;
    dev_device *d;
    unsetenv("VK_ICD_FILENAMES");
    setenv("VK_DRIVER_FILES", "/nonexistent/driver.json", 1);
    setenv("VK_ICD_FILENAMES", "/nonexistent/driver.json", 1); /* for older loaders */
    FAILS(MARE_E_NO_DEVICE, "/nonexistent/driver.json", dev_list(&list, &n, &err));
    cr_expect(list == NULL && n == 0);
    FAILS(MARE_E_NO_DEVICE, "no driver", dev_create(NULL, &err, &d));
}

static bool loader_hidden;

/* Stands before the C library's, so that a test can take the Vulkan loader away. */
void *dlopen(const char *name, int flags) {
    void *(*next)(const char *, int);
    *(void **)&next = dlsym(RTLD_NEXT, "dlopen");
    return loader_hidden && name && !strncmp(name, "libvulkan.so", 12) ? NULL : next(name, flags);
}

Test(device, no_loader_is_an_error_that_helps) {
    dev_caps *list;
    int n;
    dev_device *d;
    loader_hidden = true;
    FAILS(MARE_E_NO_DEVICE, "no Vulkan loader", dev_list(&list, &n, &err));
    cr_expect(list == NULL && n == 0 && strstr(err.text, "libvulkan1"));
    FAILS(MARE_E_NO_DEVICE, "no Vulkan loader", dev_create(NULL, &err, &d));
    cr_expect(d == NULL);
}

/* ---- MARE_CAPS ---------------------------------------------------------------------------- */

static dev_caps full_caps(void) {
    dev_caps c = {.workgroup = 1024,
                  .workgroup_size = {1024, 1024, 64},
                  .shared = 65536,
                  .push_constants = 256,
                  .storage_buffers = 31,
                  .binding = 1ull << 31,
                  .groups = {1u << 31, 65535, 65535},
                  .subgroup = 32,
                  .subgroup_min = 8,
                  .subgroup_max = 64};
    for (int i = 0; i < DEV_FEATURES; i++)
        c.has[i] = true;
    return c;
}

Test(device, caps_presets) {
    dev_caps c = full_caps();
    OK(dev_caps_apply(&c, "baseline", &err));
    for (int i = 0; i < DEV_FEATURES; i++)
        cr_expect(!c.has[i], "%s", dev_feature_name((dev_feature)i));
    cr_expect(c.workgroup == 128 && c.workgroup_size[0] == 128 && c.workgroup_size[2] == 64);
    cr_expect(c.shared == 16384 && c.push_constants == 128 && c.storage_buffers == 8);
    cr_expect(c.binding == 128 << 20 && c.groups[0] == 65535 && c.subgroup == 32);
    c = full_caps();
    OK(dev_caps_apply(&c, "phone", &err));
    for (int i = 0; i < DEV_FEATURES; i++)
        cr_expect(c.has[i] == (i == DEV_UNIFIED), "%s", dev_feature_name((dev_feature)i));
    cr_expect(c.storage_buffers == 4 && c.workgroup == 128);
}

/* What loads that a subgroup shares are made of. */
static bool needed_by_uniform_loads(int f) {
    return f == DEV_BUFFER_ADDRESS || f == DEV_INT64 || f == DEV_SUBGROUP;
}

Test(device, caps_single_words) {
    for (int i = 0; i < DEV_FEATURES; i++) {
        dev_caps c = full_caps();
        char word[64];
        snprintf(word, sizeof word, " -%s ", dev_feature_name((dev_feature)i));
        OK(dev_caps_apply(&c, word, &err));
        for (int k = 0; k < DEV_FEATURES; k++)
            cr_expect(c.has[k] ==
                          (k != i && !(k == DEV_UNIFORM_LOADS && needed_by_uniform_loads(i))),
                      "%s", word);
    }
    dev_caps c = full_caps();
    OK(dev_caps_apply(&c,
                      "workgroup=64, shared=8k,push_constants=64,storage_buffers=3,"
                      "binding=1m,groups=100,subgroup=16,,-float16,",
                      &err));
    cr_expect(c.workgroup == 64 && c.workgroup_size[0] == 64 && c.workgroup_size[2] == 64);
    cr_expect(c.shared == 8192 && c.push_constants == 64 && c.storage_buffers == 3);
    cr_expect(c.binding == 1 << 20 && c.groups[0] == 100 && c.groups[2] == 100);
    cr_expect(c.subgroup == 16 && c.subgroup_min == 8 && c.subgroup_max == 16);
    cr_expect(!c.has[DEV_FLOAT16] && c.has[DEV_INT8]);
    /* Limits only go down. */
    OK(dev_caps_apply(&c, "workgroup=100000,shared=1g,binding=100G,groups=4294967296", &err));
    cr_expect(c.workgroup == 64 && c.shared == 8192 && c.binding == 1 << 20 && c.groups[0] == 100);
    OK(dev_caps_apply(&c, "", &err));
    OK(dev_caps_apply(&c, NULL, &err));
    OK(dev_caps_apply(&c, "binding=1000", &err));
    cr_expect(c.binding == 768, "bindings are multiples of 256");
}

Test(device, caps_errors) {
    static const char *const bad[] = {"fast",
                                      "-fast",
                                      "float16",
                                      "workgroup",
                                      "workgroup=",
                                      "workgroup=abc",
                                      "workgroup=0",
                                      "workgroup=-1",
                                      "workgroup=64kk",
                                      "shared=1x",
                                      "binding=255",
                                      "groups=0",
                                      "=64",
                                      "-",
                                      "=",
                                      "wide=7",
                                      "storage_buffers=0",
                                      "binding=99999999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        dev_caps c = full_caps(), was = c;
        char words[128];
        snprintf(words, sizeof words, "-int8,%s,baseline", bad[i]);
        FAILS(MARE_E_ARGUMENT, bad[i], dev_caps_apply(&c, words, &err));
        cr_expect(!memcmp(&c, &was, sizeof c), "'%s' changed something", bad[i]);
    }
    dev_caps c = full_caps();
    FAILS(MARE_E_ARGUMENT, "storage16", dev_caps_apply(&c, "fast", &err));
    cr_expect(strstr(err.text, "unified") && strstr(err.text, "workgroup=") &&
              strstr(err.text, "phone"));
    dev_options o = {.caps = "fast"};
    dev_device *d;
    FAILS(MARE_E_ARGUMENT, "fast", dev_create(&o, &err, &d));
    cr_expect(d == NULL);
}

Test(device, caps_switched_off_are_off) {
    dev_device *d = open_caps("baseline,storage_buffers=1");
    const dev_caps *c = dev_get_caps(d);
    for (int i = 0; i < DEV_FEATURES; i++)
        cr_expect(!c->has[i]);
    dev_buffer *b = buffer_of(d, 1000, NULL);
    cr_expect(!b->at->in->map, "memory is mapped without `unified`");
    dev_memory m;
    dev_memory_stats(d, &m);
    cr_expect(m.available == 0);
    size_t n;
    uint32_t *words = device_kernel(&n), spec[] = {32, 0};
    dev_pipeline *p;
    FAILS(MARE_E_UNSUPPORTED, "2 storage buffers",
          dev_pipeline_create(d, words, n, 2, spec, 2, &p, &err));
    cr_expect(p == NULL);
    free(words);
    dev_buffer_release(b);
    close_clean(d);
}

/* ---- Pipelines ---------------------------------------------------------------------------- */

typedef struct maker {
    dev_device *d;
    dev_pipeline *p[4];
    mare_error e;
    mare_status s;
} maker;

static void *make_pipelines(void *arg) {
    maker *m = arg;
    size_t n;
    uint32_t *words = device_kernel(&n);
    for (uint32_t i = 0; i < 4 && !m->s; i++) {
        uint32_t spec[] = {32, i};
        m->s = dev_pipeline_create(m->d, words, n, 2, spec, 2, &m->p[i], &m->e);
    }
    free(words);
    return NULL;
}

Test(device, pipelines_are_made_by_threads) {
    dev_device *d = open_caps(NULL);
    maker m[4] = {{0}};
    pthread_t t[4];
    for (int i = 0; i < 4; i++) {
        m[i].d = d;
        cr_assert(!pthread_create(&t[i], NULL, make_pipelines, &m[i]));
    }
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    uint32_t one = 1, got;
    dev_buffer *x = buffer_of(d, 4, &one), *y = buffer_of(d, 4, &one);
    dev_recorder *r;
    OK(dev_record(d, &r));
    for (int i = 0; i < 4; i++) {
        cr_assert(m[i].s == MARE_OK, "%s", m[i].e.text);
        for (int k = 0; k < 4; k++) {
            OK(mad(r, m[i].p[k], x, y, 1, 1, 1));
            dev_cmd_barrier(r);
        }
    }
    OK(dev_submit(r));
    for (int i = 0; i < 16; i++)
        dev_pipeline_destroy(m[i / 4].p[i % 4]);
    OK(dev_download(d, y, 0, &got, 4));
    cr_expect(got == 1 + 16 + 4 * 6, "%u", got);
    dev_buffer_release(x);
    dev_buffer_release(y);
    close_clean(d);
}

Test(device, pipeline_errors) {
    dev_device *d = open_caps(NULL);
    dev_pipeline *p = NULL;
    uint32_t junk[8] = {1, 2, 3}, spec[2] = {32, 0};
    size_t n;
    uint32_t *words = device_kernel(&n);
    mare_error e = {0};
    cr_expect(dev_pipeline_create(d, junk, 8, 2, spec, 2, &p, &e) == MARE_E_SHADER);
    cr_expect(dev_pipeline_create(d, NULL, 8, 2, spec, 2, &p, &e) == MARE_E_SHADER);
    cr_expect(dev_pipeline_create(d, words, 4, 2, spec, 2, &p, &e) == MARE_E_SHADER);
    cr_expect(dev_pipeline_create(d, words, n, -1, spec, 2, &p, &e) == MARE_E_UNSUPPORTED);
    cr_expect(dev_pipeline_create(d, words, n, 99, spec, 2, &p, &e) == MARE_E_UNSUPPORTED);
    cr_expect(dev_pipeline_create(d, words, n, 2, NULL, 2, &p, &e) == MARE_E_ARGUMENT);
    cr_expect(dev_pipeline_create(d, words, n, 2, spec, -1, &p, &e) == MARE_E_ARGUMENT);
    cr_expect(p == NULL && e.text[0]);
    dev_pipeline_destroy(NULL);
    free(words);
    close_clean(d);
}

Test(device, pipeline_cache_is_saved_and_hostile_data_is_harmless) {
    dev_device *d = open_caps(NULL);
    dev_pipeline *p = kernel_make(d, 32, 0);
    void *data;
    size_t len;
    OK(dev_pipeline_cache_save(d, NULL, 0, &data, &len, &err));
    cr_assert(data && len > 0);
    dev_pipeline_destroy(p);
    close_clean(d);

    d = open_caps(NULL);
    uint8_t *bytes = data;
    dev_pipeline_cache_load(d, NULL, 0);
    dev_pipeline_cache_load(d, data, len / 2);
    dev_pipeline_cache_load(d, data, 7);
    for (size_t i = 0; i < len; i += len / 50 + 1) {
        bytes[i] ^= 0x55;
        dev_pipeline_cache_load(d, data, len);
        bytes[i] ^= 0x55;
    }
    dev_pipeline_cache_load(d, data, len);
    p = kernel_make(d, 32, 0);
    dev_pipeline_destroy(p);
    free(data);
    close_clean(d);
}

/* ---- Devices ------------------------------------------------------------------------------ */

Test(device, two_devices_side_by_side) {
    dev_device *d[2] = {open_caps(NULL), open_caps("baseline")};
    dev_pipeline *p[2];
    dev_buffer *x[2], *y[2];
    uint32_t one = 1, got;
    for (int i = 0; i < 2; i++) {
        p[i] = kernel_make(d[i], 32, (uint32_t)i);
        x[i] = buffer_of(d[i], 4, &one);
        y[i] = buffer_of(d[i], 4, &one);
    }
    for (int k = 0; k < 10; k++)
        for (int i = 0; i < 2; i++) {
            dev_recorder *r;
            OK(dev_record(d[i], &r));
            OK(mad(r, p[i], x[i], y[i], 1, 1, 1));
            OK(dev_submit(r));
        }
    for (int i = 0; i < 2; i++) {
        OK(dev_download(d[i], y[i], 0, &got, 4));
        cr_expect(got == 11u + 10u * (uint32_t)i, "%u", got);
        FAILS(MARE_E_ARGUMENT, "another device", dev_download(d[i], y[1 - i], 0, &got, 4));
        FAILS(MARE_E_ARGUMENT, "another device", dev_upload(d[i], y[1 - i], 0, &got, 4));
    }
    for (int i = 0; i < 2; i++) {
        dev_buffer_release(x[i]);
        dev_buffer_release(y[i]);
        dev_pipeline_destroy(p[i]);
        close_clean(d[i]); /* the second goes on after the first is gone */
        if (i) break;
        OK(dev_download(d[1], y[1], 0, &got, 4));
    }
}

/* What outlives its device by mistake can still be let go. */
Test(device, handles_outlive_the_device) {
    dev_device *d = open_caps(NULL);
    dev_pipeline *p = kernel_make(d, 32, 0);
    uint32_t v = 1;
    dev_buffer *b = buffer_of(d, 4, &v), *c = buffer_of(d, 40 << 20, NULL);
    dev_recorder *r;
    OK(dev_record(d, &r));
    dev_cmd_fill(r, c, 0, 40 << 20, 1);
    OK(dev_submit(r));
    OK(dev_upload(d, c, 0, &v, 4)); /* neither waited for nor sent */
    close_clean(d);
    cr_expect(dev_buffer_bytes(c) == 40 << 20);
    dev_buffer_release(b);
    dev_buffer_release(c);
    dev_pipeline_destroy(p);
    dev_destroy(NULL);
}

Test(device, a_lost_device_stays_lost) {
    dev_device *d = open_caps(NULL);
    dev_pipeline *p = kernel_make(d, 32, 0), *p2;
    uint32_t v = 1, spec[] = {32, 0};
    dev_buffer *b = buffer_of(d, 4, &v), *b2;
    dev_recorder *r, *r2;
    OK(dev_record(d, &r));
    OK(dev_record(d, &r2));
    cr_expect(!dev_lost(d));
    cr_expect(vk_failed(d, VK_ERROR_DEVICE_LOST, "a call") == MARE_E_DEVICE_LOST);
    cr_expect(dev_lost(d));
    size_t n;
    uint32_t *words = device_kernel(&n);
#define LOST(call) FAILS(MARE_E_DEVICE_LOST, "was lost", call)
    LOST(mad(r, p, b, b, 1, 1, 1));
    LOST(dev_submit(r));
    double t;
    LOST(dev_submit_timed(r2, &t));
    LOST(dev_record(d, &r));
    LOST(dev_buffer_create(d, 4, &b2));
    LOST(dev_upload(d, b, 0, &v, 4));
    LOST(dev_download(d, b, 0, &v, 4));
    LOST(dev_wait(d));
    LOST(dev_pipeline_create(d, words, n, 2, spec, 2, &p2, &err));
    void *data;
    LOST(dev_pipeline_cache_save(d, NULL, 0, &data, &n, &err));
    free(words);
    dev_memory_trim(d);
    dev_buffer_release(b);
    dev_pipeline_destroy(p);
    close_clean(d);
}
