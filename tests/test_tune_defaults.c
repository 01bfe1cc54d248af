/* Which kernels are tried first, and taken where nothing is measured, on devices of all kinds; and
 * that what cannot be had there is replaced. */
#include "paper.h"

#include <stdio.h>

TestSuite(tune_defaults, .init = paper_setup, .fini = paper_teardown);

static dev_caps device_of(dev_type type, uint32_t vendor, const char *driver) {
    dev_caps c = caps;
    c.type = type;
    c.vendor = vendor;
    c.workgroup = 256;
    c.shared = 32768;
    snprintf(c.driver, sizeof c.driver, "%s", driver);
    return c;
}

enum { MESA = 0x10005 };

static const char *const tiles[] = {
    "plain", "tile64x64.4x4", "tile64x64.8x8", "tile128x128.8x8", "tile128x64.8x8", "tile32x32.4x4",
    NULL};
static const char *const vectors[] = {"plain", "rows16x4", "rows8x4", NULL};

/* The names in their order on that device, as one text. */
static const char *ordered(const dev_caps *c, const char *const *names, const char *key,
                           double flops) {
    static char out[256];
    tune_candidate all[8] = {0};
    int n = 0, order[8];
    for (; names[n]; n++)
        all[n].name = names[n];
    tune_order(c, &(tune_problem){.key = key, .candidates = all, .n = n, .flops = flops}, order);
    out[0] = 0;
    for (int i = 0; i < n; i++) {
        strcat(out, i ? " " : "");
        strcat(out, names[order[i]]);
    }
    return out;
}

#define expect_order(c, names, key, flops, expected)                                               \
    cr_expect_str_eq(ordered(c, names, key, flops), expected)

Test(tune_defaults, lavapipe_of_three_versions) {
    static const char *const drivers[] = {"llvmpipe Mesa 22.3.6 (LLVM 15.0.6)",
                                          "llvmpipe Mesa 25.0.7-2 (LLVM 19.1.7)",
                                          "llvmpipe Mesa 26.2.6-1 (LLVM 22.1.8)", "llvmpipe"};
    for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++) {
        dev_caps c = device_of(DEV_CPU, MESA, drivers[i]);
        expect_order(&c, vectors, "matmul/f32/512x512x512/b1", 268e6, "plain rows16x4 rows8x4");
        expect_order(&c, vectors, "conv/f32/4096x32x1024/b1", 116e6, "rows16x4 plain rows8x4");
        expect_order(&c, vectors, "conv/f32/32x64x1024/b1", 116e6, "plain rows16x4 rows8x4");
    }
}

Test(tune_defaults, tiles_grow_with_the_problem) {
    static const uint32_t vendors[] = {0x10de, 0x1002};
    for (int i = 0; i < 2; i++) {
        dev_caps c = device_of(DEV_DISCRETE, vendors[i], "any");
        expect_order(&c, tiles, "matmul/f32/4096x4096x4096/b1", 137e9,
                     "tile128x128.8x8 tile128x64.8x8 tile64x64.4x4 tile64x64.8x8 plain "
                     "tile32x32.4x4");
        expect_order(&c, tiles, "matmul/f32/1024x1024x1024/b1", 2.1e9,
                     "tile64x64.8x8 tile64x64.4x4 tile128x64.8x8 plain tile128x128.8x8 "
                     "tile32x32.4x4");
        expect_order(&c, tiles, "conv/f32/256x256x256/b1", 33e6,
                     "tile32x32.4x4 tile64x64.4x4 plain tile64x64.8x8 tile128x128.8x8 "
                     "tile128x64.8x8");
        expect_order(&c, tiles, "matmul/f32/1x4096x4096/b1", 33e6,
                     "plain tile64x64.4x4 tile64x64.8x8 tile128x128.8x8 tile128x64.8x8 "
                     "tile32x32.4x4");
    }
}

static const char *first_of(dev_type type, uint32_t vendor, const char *key, double flops) {
    dev_caps c = device_of(type, vendor, "any");
    static char out[64];
    sscanf(ordered(&c, tiles, key, flops), "%63s", out);
    return out;
}

Test(tune_defaults, of_the_other_kinds) {
    static const char square[] = "matmul/f32/1024x1024x1024/b1",
                      vector[] = "matmul/f32/1x512x512/b1";
    cr_expect_str_eq(first_of(DEV_INTEGRATED, 0x8086, square, 2.1e9), "tile64x64.4x4");
    cr_expect_str_eq(first_of(DEV_INTEGRATED, 0x8086, square, 1e6), "tile32x32.4x4");
    cr_expect_str_eq(first_of(DEV_INTEGRATED, 0x13b5, square, 2.1e9), "plain");
    cr_expect_str_eq(first_of(DEV_INTEGRATED, 0x5143, square, 2.1e9), "tile32x32.4x4");
    cr_expect_str_eq(first_of(DEV_INTEGRATED, 0x5143, vector, 1e6), "plain");
    cr_expect_str_eq(first_of(DEV_DISCRETE, 0x1234, square, 2.1e9), "plain", "a kind unheard of");
    cr_expect_str_eq(first_of(DEV_CPU, 0x1ae0, square, 2.1e9), "plain", "another CPU's");
}

Test(tune_defaults, names_unheard_of_stay_behind) {
    static const char *const names[] = {"new", "tile32x32.2x2", "newer", "tile32x32.4x4", NULL};
    dev_caps c = device_of(DEV_DISCRETE, 0x10de, "any");
    expect_order(&c, names, "matmul/f32/64x64x64/b1", 5e5, "tile32x32.2x2 tile32x32.4x4 new newer");
    static const char *const none[] = {"x", "y", NULL};
    expect_order(&c, none, "another family", 0, "x y");
}

/* Every list that a plan really has comes out whole, on every kind of device. */
Test(tune_defaults, real_lists_come_out_whole) {
    static const uint32_t vendors[] = {0x10de, 0x1002, 0x8086, 0x13b5, 0x5143, MESA};
    for (size_t v = 0; v < sizeof vendors / sizeof *vendors; v++) {
        dev_caps c = device_of(vendors[v] == MESA ? DEV_CPU : DEV_DISCRETE, vendors[v],
                               "llvmpipe Mesa 26.0.0");
        node *product = op_matmul(&g, leaf(512, 512), leaf(512, 512));
        plan *p = plan_of(&c, PASS_ALL, &product, 1);
        const step *s = &p->steps[0];
        tune_candidate all[64] = {{.name = "plain"}};
        int n = 1, order[64], seen[64] = {0};
        for (const variant *x = s->variants; x && n < 64; x = x->next)
            all[n++].name = x->name;
        cr_assert(n > 1, "a choice was expected");
        tune_problem problem = {.key = s->tune_key, .candidates = all, .n = n, .flops = s->flops};
        tune_order(&c, &problem, order);
        for (int i = 0; i < n; i++) {
            cr_assert(order[i] >= 0 && order[i] < n);
            seen[order[i]]++;
        }
        for (int i = 0; i < n; i++)
            cr_expect_eq(seen[i], 1, "%s", all[i].name);
        plan_free(p);
    }
}
