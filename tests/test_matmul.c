/* Matrix products: every kernel of every launch against the reference, on shapes and layouts that
 * reach every path, under the capabilities of several devices. */
#include "op_refused.h"
#include "ops/ops.h"
#include "variant_check.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static node *typed(checker *c, mare_dtype t, shape s, double most) {
    return checker_leaf(c, t, &s, checker_draw(c, t, shape_count(&s), -most, most));
}

static node *leaf(checker *c, shape s) {
    return typed(c, MARE_F32, s, 2);
}

typedef struct factors {
    shape a, b;
    bool ints; /* large ones: sums wrap around */
} factors;

static node *make_product(checker *c, const void *what) {
    const factors *f = what;
    if (!f->ints) return op_matmul(&c->g, leaf(c, f->a), leaf(c, f->b));
    return op_matmul(&c->g, typed(c, MARE_I32, f->a, 1e6), typed(c, MARE_I32, f->b, 1e6));
}

/* How many kernels were run for a by b. */
static int run_product(checker *c, factors f, bool all_layouts) {
    char message[700], at[SHAPE_TEXT], bt[SHAPE_TEXT];
    int ran = check_everywhere(c, make_product, &f, f.a.dim[f.a.rank - 1], all_layouts, message,
                               sizeof message);
    cr_expect_geq(ran, 0, "%s and %s%s, %s", shape_text(&f.a, at), shape_text(&f.b, bt),
                  f.ints ? " of i32" : "", message);
    return ran;
}

static int product(checker *c, shape a, shape b, bool all_layouts) {
    return run_product(c, (factors){a, b, false}, all_layouts);
}

static shape matrix(int64_t rows, int64_t columns) {
    return shape_of(2, rows, columns);
}

Test(matmul, every_kernel) {
    checker c;
    cr_assert(checker_open(&c, NULL), "%s", c.error.text);
    static const int64_t sizes[][3] = {
        {1, 1, 1},    {3, 2, 5},     {1, 300, 200}, {200, 300, 1}, {40, 40, 40},   {64, 64, 64},
        {37, 51, 67}, {130, 18, 66}, {66, 34, 10},  {5, 700, 40},  {128, 36, 132}, {3, 5000, 2},
    };
    int ran = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        ran += product(&c, matrix(sizes[i][0], sizes[i][1]), matrix(sizes[i][1], sizes[i][2]),
                       sizes[i][0] == 40 || sizes[i][0] == 37);
    printf("%d kernels run\n", ran);
    cr_expect_gt(ran, 300);
    cr_expect(checker_close(&c), "the validation layer had messages");
}

Test(matmul, every_kernel_of_integers) {
    checker c;
    cr_assert(checker_open(&c, NULL), "%s", c.error.text);
    static const int64_t sizes[][3] = {
        {1, 1, 1}, {1, 300, 200}, {40, 40, 40}, {37, 51, 67}, {66, 34, 10}, {5, 700, 40},
    };
    int ran = 0;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        ran += run_product(
            &c, (factors){matrix(sizes[i][0], sizes[i][1]), matrix(sizes[i][1], sizes[i][2]), true},
            sizes[i][0] == 37);
    ran +=
        run_product(&c, (factors){shape_of(4, 2, 1, 19, 30), shape_of(3, 3, 30, 33), true}, false);
    printf("%d kernels run\n", ran);
    cr_expect_gt(ran, 150);
    cr_expect(checker_close(&c), "the validation layer had messages");
}

/* Sums of products of bytes are exact, in i32; larger ones wrap around. */
Test(matmul, bytes) {
    checker c;
    cr_assert(checker_open(&c, NULL), "%s", c.error.text);
    graph_scope_begin(&c.g);
    enum { K = 300 };
    static double a[K], b[K];
    double sum = 0;
    for (int k = 0; k < K; k++) {
        a[k] = k % 256 - 128;
        b[k] = 255 - k % 7;
        sum += a[k] * b[k];
    }
    shape s = shape_of(1, K);
    node *x = checker_leaf(&c, MARE_I8, &s, a), *y = checker_leaf(&c, MARE_U8, &s, b);
    node *z = op_matmul(&c.g, x, y);
    cr_assert(z, "%s", c.error.text);
    cr_expect_eq(z->dtype, MARE_I32);
    cr_expect_eq(*checker_read(&c, z), sum);
    /* 2^30 three times is past 2^31 - 1. */
    const double large[] = {1 << 30, 1 << 30, 1 << 30}, ones[] = {1, 1, 1};
    s.dim[0] = 3;
    z = op_matmul(&c.g, checker_leaf(&c, MARE_I32, &s, large),
                  checker_leaf(&c, MARE_I32, &s, ones));
    cr_expect_eq(*checker_read(&c, z), 3 * ldexp(1, 30) - ldexp(1, 32));
    /* No gradient goes through integers. */
    cr_expect_not(z->requires_grad);
    graph_scope_end(&c.g);
    cr_expect(checker_close(&c), "the validation layer had messages");
}

Test(matmul, batches) {
    checker c;
    cr_assert(checker_open(&c, NULL), "%s", c.error.text);
    product(&c, shape_of(3, 3, 34, 20), matrix(20, 66), false);
    product(&c, matrix(18, 40), shape_of(3, 5, 40, 36), false);
    product(&c, shape_of(4, 2, 1, 19, 30), shape_of(3, 3, 30, 33), false);
    product(&c, shape_of(8, 2, 1, 2, 1, 2, 1, 4, 6), shape_of(8, 1, 3, 1, 3, 2, 2, 6, 4), false);
    cr_expect(checker_close(&c), "the validation layer had messages");
}

/* Launches nothing for an empty result; an empty sum is zero. */
Test(matmul, empty) {
    checker c;
    cr_assert(checker_open(&c, NULL), "%s", c.error.text);
    cr_expect_eq(product(&c, matrix(0, 5), matrix(5, 4), false), 0);
    cr_expect_eq(product(&c, matrix(3, 5), matrix(5, 0), false), 0);
    cr_expect_eq(product(&c, shape_of(3, 0, 2, 3), matrix(3, 2), false), 0);
    cr_expect_gt(product(&c, matrix(3, 0), matrix(0, 4), false), 0);
    cr_expect(checker_close(&c), "the validation layer had messages");
}

/* More groups than one axis takes, on the device itself. */
Test(matmul, many_groups) {
    checker c;
    cr_assert(checker_open(&c, NULL), "%s", c.error.text);
    dev_caps caps = *dev_get_caps(c.device);
    char message[700];
    factors f = {shape_of(3, 70001, 1, 3), shape_of(3, 70001, 3, 2), false};
    int k = check_variants(&c, &caps, (input_layout[2]){LAID_PLAIN, LAID_SPARSE}, make_product, &f,
                           3, message, sizeof message);
    cr_expect_gt(k, 0, "%s", message);
    cr_expect(checker_close(&c), "the validation layer had messages");
}

/* Infinities and NaN in the last row and column stay there: what fills up a tile is not counted. */
Test(matmul, not_finite) {
    checker c;
    cr_assert(checker_open(&c, NULL), "%s", c.error.text);
    enum { M = 37, K = 41, N = 70 };
    shape sa = matrix(M, K), sb = matrix(K, N);
    double *a = checker_draw(&c, MARE_F32, (int64_t)M * K, -1, 1);
    double *b = checker_draw(&c, MARE_F32, (int64_t)K * N, -1, 1);
    for (int k = 0; k < K; k++) {
        a[(M - 1) * K + k] = (double)NAN;
        b[k * N + N - 1] = (double)INFINITY;
    }
    graph_scope_begin(&c.g);
    node *y =
        op_matmul(&c.g, checker_leaf(&c, MARE_F32, &sa, a), checker_leaf(&c, MARE_F32, &sb, b));
    const double *x = checker_read(&c, y);
    cr_assert_not_null(x, "%s", c.error.text);
    for (int i = 0; i < M; i++)
        for (int j = 0; j < N; j++)
            cr_assert_eq(!!isfinite(x[i * N + j]), i < M - 1 && j < N - 1, "element %d, %d", i, j);
    graph_scope_end(&c.g);
    cr_expect(checker_close(&c), "the validation layer had messages");
}

Test(matmul, refusals) {
    checker c;
    cr_assert(checker_open(&c, NULL), "%s", c.error.text);
    graph *g = &c.g;
    graph_scope_begin(g);
    node *a = leaf(&c, matrix(2, 3)), *b = leaf(&c, matrix(4, 5));
    refused(&c, op_matmul(g, a, b), MARE_E_SHAPE,
            "matmul: [2, 3] and [4, 5]: inner dimensions 3 and 4 differ");
    refused(&c, op_matmul(g, a, leaf(&c, shape_of(1, 4))), MARE_E_SHAPE,
            "[2, 3] and [4]: inner dimensions 3 and 4");
    refused(&c, op_matmul(g, leaf(&c, shape_of(3, 2, 5, 3)), leaf(&c, shape_of(3, 3, 3, 4))),
            MARE_E_SHAPE, "leading axes");
    refused(&c, op_matmul(g, a, leaf(&c, shape_of(0))), MARE_E_SHAPE, "scalar");
    refused(&c, op_matmul(g, a, op_cast(g, b, MARE_I32)), MARE_E_DTYPE, "f32 and i32");
    cr_expect_null(op_matmul(g, NULL, a));
    graph_scope_end(g);
    cr_expect(checker_close(&c), "the validation layer had messages");
}
