/* Convolutions and their two gradients: every kernel against the reference, on shapes and layouts
 * that reach every path, for the capabilities of several devices. */
#include "op_host.h"
#include "op_refused.h"
#include "ops/ops.h"
#include "variant_check.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

typedef struct conv_case {
    int64_t n, c, h, w, o, kh, kw;
    conv_options options;
    int part; /* 0: the result, 1: the gradient of x, 2: of w */
} conv_case;

static node *leaf(checker *c, shape s) {
    return checker_leaf(c, MARE_F32, &s, checker_draw(c, MARE_F32, shape_count(&s), -2, 2));
}

static node *make_conv(checker *c, const void *what) {
    const conv_case *k = what;
    node *in[2] = {leaf(c, shape_of(4, k->n, k->c, k->h, k->w)),
                   leaf(c, shape_of(4, k->o, k->c / k->options.groups, k->kh, k->kw))};
    if (k->part > 0) in[k->part - 1]->requires_grad = true;
    node *y = op_conv(&c->g, 2, in[0], in[1], NULL, &k->options), *grad = NULL;
    if (!y || k->part == 0) return y;
    return graph_grad(&c->g, y, leaf(c, y->shape), &in[k->part - 1], 1, &grad) ? NULL : grad;
}

/* How many kernels were run for a convolution and its gradients. */
static int convolve(checker *c, conv_case k, bool all_layouts) {
    static const char *const parts[] = {"conv2d", "gradient of x", "gradient of w"};
    int ran = 0;
    for (k.part = 0; k.part < 3; k.part++) {
        int64_t taps = k.kh * k.kw,
                pixels = (k.h + 2 * k.options.padding[0]) * (k.w + 2 * k.options.padding[1]);
        int64_t terms = k.part == 0   ? taps * k.c / k.options.groups
                        : k.part == 1 ? taps * k.o / k.options.groups
                                      : k.n * pixels;
        char message[700];
        int done = check_everywhere(c, make_conv, &k, terms, all_layouts, message, sizeof message);
        cr_expect_geq(done, 0, "%s of [%lld, %lld, %lld, %lld] by [%lld, ..., %lld, %lld], %s",
                      parts[k.part], (long long)k.n, (long long)k.c, (long long)k.h, (long long)k.w,
                      (long long)k.o, (long long)k.kh, (long long)k.kw, message);
        ran += done;
    }
    return ran;
}

Test(conv, every_kernel) {
    checker c;
    cr_assert(checker_open(&c, NULL), "%s", c.error.text);
    static const conv_case cases[] = {
        {1, 1, 1, 1, 1, 1, 1, {{1, 1}, {0, 0}, {1, 1}, 1, {0}}, 0},
        {3, 1, 14, 14, 32, 3, 3, {{1, 1}, {1, 1}, {1, 1}, 1, {0}}, 0}, /* one channel */
        {2, 16, 9, 7, 24, 3, 3, {{1, 1}, {1, 1}, {1, 1}, 1, {0}}, 0},  /* pairs of channels */
        {2, 5, 13, 9, 7, 3, 2, {{2, 1}, {0, 2}, {1, 2}, 1, {0}}, 0},   /* all odd */
        {2, 12, 8, 8, 16, 2, 3, {{2, 3}, {1, 0}, {2, 1}, 2, {0}}, 0}, /* groups, pixels left over */
        {2, 6, 7, 6, 6, 3, 3, {{1, 1}, {1, 1}, {1, 1}, 6, {0}}, 0},   /* depthwise */
        {3, 20, 6, 5, 12, 1, 1, {{1, 1}, {0, 0}, {1, 1}, 1, {0}}, 0}, /* no image to lay out */
        {2, 4, 9, 9, 8, 1, 1, {{3, 2}, {0, 0}, {1, 1}, 1, {0}}, 0},
        {1, 3, 4, 3, 4, 2, 2, {{1, 2}, {4, 3}, {1, 1}, 1, {0}}, 0}, /* padding beyond the kernel */
        {24, 3, 10, 12, 4, 3, 3, {{1, 1}, {1, 1}, {1, 1}, 1, {0}}, 0}, /* slices of a long sum */
    };
    int ran = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        ran += convolve(&c, cases[i], cases[i].c == 16);
    printf("%d kernels run\n", ran);
    cr_expect_gt(ran, 400);
    cr_expect(checker_close(&c), "the validation layer had messages");
}

/* On a device that binds little, a convolution and its gradients are computed in parts. */
Test(conv, in_parts) {
    static const struct {
        shape x, w;
        conv_options o;
    } cases[] = {
        {SHAPE4(3, 4, 17, 13), SHAPE4(6, 2, 3, 3), {{2, 1}, {1, 2}, {1, 2}, 2, {0}}},
        {{5, {1, 3, 9, 11, 8}}, {5, {4, 3, 2, 3, 3}}, {{1, 2, 3}, {1, 0, 2}, {2, 1, 1}, 1, {0}}},
        {SHAPE4(1, 5, 19, 7), SHAPE4(3, 5, 1, 1), {{1, 1}, {0, 0}, {1, 1}, 1, {0}}},
    };
    checker c;
    cr_assert(checker_open(&c, "binding=2048"), "%s", c.error.text);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        graph_scope_begin(&c.g);
        node *in[2] = {leaf(&c, cases[i].x), leaf(&c, cases[i].w)}, *roots[3] = {0};
        in[0]->requires_grad = in[1]->requires_grad = true;
        roots[0] = op_conv(&c.g, cases[i].x.rank - 2, in[0], in[1], NULL, &cases[i].o);
        cr_assert_not_null(roots[0], "%s", c.error.text);
        node *gy = leaf(&c, roots[0]->shape);
        cr_assert_eq(graph_grad(&c.g, roots[0], gy, in, 2, roots + 1), MARE_OK);
        expect_as_host(&c, roots, 3);
        graph_scope_end(&c.g);
        checker_forget(&c);
    }
    cr_expect(checker_close(&c), "the validation layer had messages");
}

/* No image: nothing to compute, but the gradient of the weights is zero. */
Test(conv, empty) {
    checker c;
    cr_assert(checker_open(&c, NULL), "%s", c.error.text);
    int ran =
        convolve(&c, (conv_case){0, 3, 5, 4, 2, 3, 3, {{1, 1}, {1, 1}, {1, 1}, 1, {0}}, 0}, false);
    cr_expect_gt(ran, 0);
    cr_expect(checker_close(&c), "the validation layer had messages");
}

Test(conv, refusals) {
    checker c;
    cr_assert(checker_open(&c, NULL), "%s", c.error.text);
    graph *g = &c.g;
    graph_scope_begin(g);
    node *x = leaf(&c, shape_of(4, 2, 3, 5, 6));
    node *w = leaf(&c, shape_of(4, 4, 3, 3, 3));
    node *thin = leaf(&c, shape_of(4, 4, 2, 3, 3));
    node *none = leaf(&c, shape_of(4, 0, 3, 3, 3));
    node *bias = leaf(&c, shape_of(1, 3));
    conv_options o = {{1, 1}, {0, 0}, {1, 1}, 1, {0}};
    refused(&c, op_conv(g, 2, x, thin, NULL, &o), MARE_E_SHAPE,
            "[2, 3, 5, 6] and [4, 2, 3, 3]: the weights are for 2 channels, the input has 3");
    refused(&c, op_conv(g, 2, x, none, NULL, &o), MARE_E_SHAPE, "empty");
    refused(&c, op_conv(g, 2, x, bias, NULL, &o), MARE_E_SHAPE,
            "needs an input [N, C, H, W] or [C, H, W]");
    refused(&c, op_conv(g, 2, x, w, bias, &o), MARE_E_SHAPE, "for 4 filters it must be [4]");
    refused(&c, op_conv(g, 2, op_cast(g, x, MARE_U8), w, NULL, &o), MARE_E_DTYPE, "u8, f32");
    refused(&c, op_conv(g, 2, x, w, NULL, &(conv_options){{0, 1}, {0, 0}, {1, 1}, 1, {0}}),
            MARE_E_ARGUMENT, "stride is 0");
    refused(&c, op_conv(g, 2, x, w, NULL, &(conv_options){{1, 1}, {0, -1}, {1, 1}, 1, {0}}),
            MARE_E_ARGUMENT, "padding is -1");
    refused(&c, op_conv(g, 2, x, w, NULL, &(conv_options){{1, 1}, {0, 0}, {1, 0}, 1, {0}}),
            MARE_E_ARGUMENT, "dilation is 0");
    refused(&c, op_conv(g, 2, x, w, NULL, &(conv_options){{1, 1}, {0, 0}, {1, 1}, 2, {0}}),
            MARE_E_SHAPE, "2 groups do not divide 3 channels and 4 filters");
    refused(&c, op_conv(g, 2, x, w, NULL, &(conv_options){{1, 1}, {0, 0}, {1, 1}, 0, {0}}),
            MARE_E_SHAPE, "0 groups");
    refused(&c, op_conv(g, 2, x, w, NULL, &(conv_options){{1, 1}, {0, 0}, {3, 1}, 1, {0}}),
            MARE_E_SHAPE, "reaches over 7 elements of axis 2, the padded input has 5");
    cr_expect_null(op_conv(g, 2, NULL, w, NULL, &o));
    /* A border that no device holds is never written out as a whole. */
    node *far = op_conv(g, 2, x, w, NULL,
                        &(conv_options){{4194304, 4194304}, {16777216, 16777216}, {1, 1}, 1, {0}});
    cr_assert_not_null(far, "%s", c.error.text);
    expect_as_host(&c, &far, 1);
    graph_scope_end(g);
    cr_expect(checker_close(&c), "the validation layer had messages");
}
