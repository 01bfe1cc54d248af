/* Kernels that take their buffers by address: recorded once and again, at other places, and refused
 * where a device has no addresses. */
#define _POSIX_C_SOURCE 200809L
#include "device_kit.h"
#include "kernel/kernel.h"

#include <stdio.h>

TestSuite(address, .timeout = 120);

enum { WORDS = 64, OTHER = 64 /* where the second half of a buffer starts, in words */ };

static const char text[] =
    "#extension GL_EXT_buffer_reference : require\n"
    "#include \"address.glsl\"\n"
    "layout(local_size_x_id = 0) in;\n"
    "layout(buffer_reference, std430, buffer_reference_align = 4) buffer Words { uint v[64]; };\n"
    "layout(std140, binding = 0) uniform Params { uint factor; };\n"
    "void main() {\n"
    "    uint i = gl_GlobalInvocationID.x;\n"
    "    Words(address[1]).v[i] = Words(address[0]).v[i] * factor;\n"
    "}\n";

typedef struct kit {
    dev_device *d;
    kernels *k;
    dev_pipeline *p;
    dev_buffer *x, *y;
} kit;

static mare_status open_kernel(kit *t, const char *caps) {
    t->d = open_caps(caps);
    OK(kernels_create(t->d, &err, &t->k));
    kernel_id id = {"test_address", "BUFFERS 2\n", 2, 1, {32}, text};
    return kernel_get(t->k, &id, &t->p);
}

static bool kit_open(kit *t) {
    *t = (kit){0};
    mare_status status = open_kernel(t, getenv("MARE_CAPS"));
    const dev_caps *caps = dev_get_caps(t->d);
    if (!caps->has[DEV_BUFFER_ADDRESS] || !caps->has[DEV_INT64]) {
        printf("skipped: the device has no buffer addresses\n");
        kernels_destroy(t->k);
        dev_destroy(t->d);
        return false;
    }
    cr_assert(status == MARE_OK, "%s", err.text);
    uint32_t x[2 * WORDS], zero[2 * WORDS] = {0};
    for (uint32_t i = 0; i < 2 * WORDS; i++)
        x[i] = i + 1;
    t->x = buffer_of(t->d, sizeof x, x);
    t->y = buffer_of(t->d, sizeof zero, zero);
    return true;
}

static void kit_close(kit *t) {
    dev_buffer_release(t->x);
    dev_buffer_release(t->y);
    kernels_destroy(t->k);
    close_clean(t->d);
}

/* y, from word `to` on, is x from word `from` on, times factor; the rest is as it was. */
static void expect_words(kit *t, uint32_t from, uint32_t to, uint32_t factor) {
    uint32_t got[2 * WORDS];
    OK(dev_download(t->d, t->y, 0, got, sizeof got));
    for (uint32_t i = 0; i < WORDS; i++)
        cr_assert(got[to + i] == (from + i + 1) * factor, "word %u: %u", to + i, got[to + i]);
}

Test(address, of_a_dispatch) {
    kit t;
    if (!kit_open(&t)) return;
    dev_recorder *r;
    OK(dev_record(t.d, &r));
    uint32_t factor = 3;
    const dev_binding bindings[] = {{t.x, 4 * OTHER, 4 * WORDS}, {t.y, 0, 4 * WORDS}};
    OK(dev_cmd_dispatch(r, t.p, &factor, 1, bindings, 2, (uint32_t[3]){WORDS / 32, 1, 1}));
    OK(dev_submit(r));
    expect_words(&t, OTHER, 0, 3);
    kit_close(&t);
}

/* A recording that binds anew pushes the new addresses. */
Test(address, of_a_recording) {
    kit t;
    if (!kit_open(&t)) return;
    dev_recording *r;
    OK(dev_recording_create(t.d, &(dev_dispatch){t.p, 1, 2, {WORDS / 32, 1, 1}, false}, 1, &r));
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t from = i % 2 * OTHER, to = (i + 1) % 2 * OTHER, factor = i + 2;
        int recorded, submits;
        dev_recording_params(r, 0)[0] = factor;
        OK(dev_recording_bind(r, 0, 0, &(dev_binding){t.x, 4 * from, 4 * WORDS}));
        OK(dev_recording_bind(r, 0, 1, &(dev_binding){t.y, 4 * to, 4 * WORDS}));
        OK(dev_recording_submit(r, (dev_buffer *[]){t.x, t.y}, 2, &recorded, &submits));
        OK(dev_recording_wait(r));
        cr_expect(recorded == 1);
        expect_words(&t, from, to, factor);
    }
    dev_recording_destroy(r);
    kit_close(&t);
}

static void refused(const char *caps, const char *word) {
    kit t = {0};
    cr_expect(open_kernel(&t, caps) == MARE_E_UNSUPPORTED);
    cr_expect(strstr(err.text, word), "%s", err.text);
    kernels_destroy(t.k);
    close_clean(t.d);
}

Test(address, refusals) {
    kit t;
    if (!kit_open(&t)) return;
    kit_close(&t);
    refused("-buffer_address", "has none");
    refused("push_constants=8", "no room");
}
