/* The whole engine with hashes of two bits: nearly all that is looked up by a hash collides, and
 * every result must be right all the same. The functions here stand in the place of base/hash.c. */
#define _POSIX_C_SOURCE 200809L
#include "base/hash.h"
#include "graph/graph.h"
#include "kernel_kit.h"

#include <mare/mare.h>

uint64_t hash_bytes(const void *data, size_t len, uint64_t seed) {
    const unsigned char *p = data;
    for (size_t i = 0; i < len; i++)
        seed = seed * 31 + p[i];
    return (seed ^ seed >> 7) & 3;
}

uint64_t hash_string(const char *s, uint64_t seed) {
    return hash_bytes(s, strlen(s), seed);
}

void hash_hex(const void *data, size_t len, char out[33]) {
    snprintf(out, 33, "%032x", (unsigned)hash_bytes(data, len, 0));
}

TestSuite(collision, .init = kit_open, .fini = kit_close, .timeout = 120);

Test(collision, kernels_and_their_files) {
    for (int pass = 0; pass < 3; pass++) {
        if (pass) prefetch_all();
        for (int i = 0; i < KERNELS; i++)
            expect_right((i * 5) % KERNELS);
        cr_expect(stats().pipelines == KERNELS);
        cr_expect(stats().compiled + stats().from_disk == TEXTS);
        cr_expect(tree_cached("spirv-", NULL) <= 4);
        if (pass) cr_expect(stats().from_disk > 0, "the last of each name is still there");
        reopen();
    }
}

Test(collision, tuning_records) {
    tune_candidate c[2] = {{.name = "a", .kernel = {.shader = "t/work.comp", .defines = ""}},
                           {.name = "b", .kernel = {.shader = "t/work.comp", .defines = ""}}};
    char key[16];
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < 12; i++) {
            snprintf(key, sizeof key, "work/%d", i);
            if (!pass) cr_assert(tune_pin(k, key, c[i % 2].name) == MARE_OK);
        }
        for (int i = 0; i < 12; i++) {
            snprintf(key, sizeof key, "work/%d", i);
            cr_expect(tune_known(k, &(tune_problem){.key = key, .candidates = c, .n = 2}) == i % 2);
        }
        reopen();
    }
}

/* sum(x * a + b) of n elements x = 1, in i different ways of writing it. */
static double evaluate(mare_context *ctx, int i) {
    mare_tensor *x, *y, *z;
    int64_t n = 1 + i % 5;
    cr_assert(mare_full(ctx, MARE_F32, 1, &n, 1, &x) == MARE_OK);
    for (int j = 0; j < 1 + i / 5; j++) {
        cr_assert(mare_map("add", 2, (mare_tensor *[]){x, x}, &y) == MARE_OK);
        mare_tensor_release(x);
        x = y;
    }
    cr_assert(mare_map("mul", 2, (mare_tensor *[]){x, x}, &y) == MARE_OK);
    cr_assert(mare_map("sub", 2, (mare_tensor *[]){y, x}, &z) == MARE_OK);
    double out[5], sum = 0;
    cr_assert(mare_tensor_doubles(z, out, n) == MARE_OK, "%s", mare_last_error(ctx));
    mare_tensor_release(x);
    mare_tensor_release(y);
    mare_tensor_release(z);
    for (int j = 0; j < n; j++)
        sum += out[j];
    return sum;
}

Test(collision, plans) {
    unsetenv("MARE_ROOT"); /* the engine's own shaders */
    mare_context *ctx;
    cr_assert(mare_context_create(NULL, &ctx) == MARE_OK);
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 30; i++) {
            int at = (i * 7 + round) % 30;
            double x = 1 << (1 + at / 5), want = (1 + at % 5) * (x * x - x);
            cr_expect(evaluate(ctx, at) == want, "%d: %g", at, want);
        }
    mare_stats s;
    mare_get_stats(ctx, &s);
    cr_expect(s.plans > 30, "plans were not exchanged: %llu", (unsigned long long)s.plans);
    mare_context_destroy(ctx);
}

Test(collision, names_of_files) {
    graph g;
    graph_init(&g, &error);
    for (int i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof name, "f%d.lua", i % 10);
        graph_set_location(&g, name, 1);
        cr_expect_str_eq(g.file, name);
    }
    graph_free(&g);
}
