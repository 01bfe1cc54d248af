/* Tensors past the sizes that one dispatch or one binding allows: a right result, or an error that
 * says so. */
#include "op_check.h"
#include "ops/ops.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MANY = 20000000,  /* more than 65,535 groups of 256 */
    LARGE = 34000000, /* more than 128 MiB of f32 */
    COLUMNS = 5000
};

typedef struct big {
    checker c;
    float *data; /* LARGE values, small whole numbers */
} big;

static float value(int64_t i) {
    return (float)(i % 977 % 4);
}

/* A device of the usual limits, with `more` on top of MARE_CAPS. */
static void open_big(big *b, const char *more) {
    cr_assert(checker_open(&b->c, more), "%s", b->c.error.text);
    b->data = malloc((size_t)LARGE * sizeof *b->data);
    cr_assert_not_null(b->data);
    for (int64_t i = 0; i < LARGE; i++)
        b->data[i] = value(i);
    graph_scope_begin(&b->c.g);
}

static void close_big(big *b) {
    graph_scope_end(&b->c.g);
    cr_expect(checker_close(&b->c));
    free(b->data);
}

static node *upload(big *b, const shape *s) {
    node *n = plan_upload(b->c.planner, MARE_F32, s, b->data);
    cr_assert_not_null(n, "%s", b->c.error.text);
    return n;
}

/* Reads n, which may be refused as unsupported where `may_refuse`; null then. */
static float *read_big(big *b, const char *what, node *n, bool may_refuse) {
    cr_assert_not_null(n, "%s: %s", what, b->c.error.text);
    size_t bytes = (size_t)shape_count(&n->shape) * sizeof(float);
    float *x = malloc(bytes);
    cr_assert_not_null(x);
    mare_status status = plan_read(b->c.planner, n, x, bytes);
    if (status == MARE_OK) return x;
    free(x);
    cr_expect(may_refuse && status == MARE_E_UNSUPPORTED && strlen(b->c.error.text) > 20,
              "%s: status %s: %s", what, mare_status_name(status), b->c.error.text);
    printf("%s: refused: %s\n", what, b->c.error.text);
    b->c.error.code = MARE_OK;
    return NULL;
}

#define EXPECT_ALL(what, x, n, i, expected)                                                        \
    do {                                                                                           \
        int64_t wrong = 0, where = -1;                                                             \
        for (int64_t i = 0; (x) && i < (n); i++)                                                   \
            if ((x)[i] != (expected) && wrong++ == 0) where = i;                                   \
        cr_expect_eq(wrong, 0, "%s: %lld wrong elements, the first is %lld", what,                 \
                     (long long)wrong, (long long)where);                                          \
        free(x);                                                                                   \
    } while (0)

static void elementwise(big *b, int64_t count, bool may_refuse) {
    shape s = shape_of(1, count);
    node *x = upload(b, &s);
    float *y = read_big(b, "elementwise", op_map2(&b->c.g, "add", x, x), may_refuse);
    EXPECT_ALL("elementwise", y, count, i, 2 * value(i));
}

static void total(big *b, int64_t count, bool may_refuse) {
    shape s = shape_of(1, count);
    double sum = 0, got = 0;
    for (int64_t i = 0; i < count; i++)
        sum += value(i) > 2;
    node *x = op_map_scalar(&b->c.g, "gt", upload(b, &s), 2);
    float *y =
        read_big(b, "sum", op_sum(&b->c.g, op_cast(&b->c.g, x, MARE_F32), 0, false), may_refuse);
    if (y) got = y[0];
    if (y) cr_expect_eq(got, sum, "sum: %.9g, not %.9g", got, sum);
    free(y);
}

static void transposed(big *b, int64_t rows, bool may_refuse) {
    shape s = shape_of(2, rows, COLUMNS);
    node *x = upload(b, &s);
    float *y = read_big(b, "transpose", op_contiguous(&b->c.g, op_transpose(&b->c.g, x, 0, 1)),
                        may_refuse);
    EXPECT_ALL("transpose", y, rows * COLUMNS, i, value(i % rows * COLUMNS + i / rows));
}

static void padded(big *b, int64_t count, bool may_refuse) {
    shape s = shape_of(1, count);
    node *x = upload(b, &s);
    const int64_t before[] = {3}, after[] = {2};
    float *y = read_big(b, "pad", op_pad(&b->c.g, x, before, after, 7), may_refuse);
    EXPECT_ALL("pad", y, count + 5, i, i < 3 || i >= count + 3 ? 7 : value(i - 3));
}

static void joined(big *b, int64_t count, bool may_refuse) {
    shape s = shape_of(1, count);
    node *x = upload(b, &s), *in[2] = {x, x};
    float *y = read_big(b, "concat", op_concat(&b->c.g, in, 2, 0), may_refuse);
    EXPECT_ALL("concat", y, 2 * count, i, value(i % count));
}

static void taken(big *b, int64_t count, bool may_refuse) {
    shape s = shape_of(2, count / 4, 4), one = shape_of(1, 3);
    const int32_t rows[] = {0, (int32_t)(count / 4 - 1), 12345};
    node *index = plan_upload(b->c.planner, MARE_I32, &one, rows);
    float *y = read_big(b, "take", op_take(&b->c.g, upload(b, &s), index, 0), may_refuse);
    EXPECT_ALL("take", y, 12, i, value((int64_t)rows[i / 4] * 4 + i % 4));
}

static void scattered(big *b, int64_t rows, bool may_refuse) {
    shape s = shape_of(2, rows, 1), one = shape_of(1, 4);
    const int32_t at[] = {5, (int32_t)rows - 1, 5, 70000};
    node *index = plan_upload(b->c.planner, MARE_I32, &one, at);
    node *x = upload(b, &s), *gx = NULL;
    x->requires_grad = true;
    node *y = op_take(&b->c.g, x, index, 0), *gy = op_full(&b->c.g, MARE_F32, &y->shape, 1);
    cr_assert_eq(graph_grad(&b->c.g, y, gy, &x, 1, &gx), MARE_OK, "%s", b->c.error.text);
    float *g = read_big(b, "gradient of take", gx, may_refuse);
    EXPECT_ALL("gradient of take", g, rows, i, i == 5 ? 2 : i == rows - 1 || i == 70000 ? 1 : 0);
}

static void pooled(big *b, int64_t images, bool may_refuse) {
    shape s = shape_of(4, images, 1, 40, 50);
    pool_options o = {.kernel = {3, 1}, .stride = {1, 1}, .dilation = {1, 1}};
    float *y = read_big(b, "max_pool", op_max_pool(&b->c.g, upload(b, &s), 2, &o), may_refuse);
    int64_t at = 0, wrong = 0;
    for (int64_t n = 0; y && n < images; n++)
        for (int64_t h = 0; h < 38; h++)
            for (int64_t w = 0; w < 50; w++) {
                float m = 0;
                for (int64_t k = 0; k < 3; k++) {
                    float v = value((n * 40 + h + k) * 50 + w);
                    if (v > m) m = v;
                }
                wrong += y[at++] != m;
            }
    cr_expect_eq(wrong, 0, "max_pool: %lld wrong elements", (long long)wrong);
    free(y);
}

/* More groups than an axis holds; nothing is too large for a binding, so nothing may be refused. */
Test(big, groups) {
    big b = {0};
    open_big(&b, "workgroup=64");
    elementwise(&b, MANY, false);
    total(&b, MANY, false);
    transposed(&b, MANY / COLUMNS, false);
    padded(&b, MANY, false);
    taken(&b, MANY, false);
    scattered(&b, MANY / 4, false);
    pooled(&b, MANY / 2000, false);
    close_big(&b);
}

/* More bytes than a binding covers. */
Test(big, bindings) {
    big b = {0};
    open_big(&b, "binding=134217728");
    elementwise(&b, LARGE, true);
    total(&b, LARGE, true);
    transposed(&b, LARGE / COLUMNS, true);
    padded(&b, LARGE, false);
    joined(&b, LARGE / 2, true);
    taken(&b, LARGE, false);
    scattered(&b, LARGE, true);
    pooled(&b, LARGE / 2000, true);
    close_big(&b);
}
