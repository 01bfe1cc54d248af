/* Losses and moments at their edges (infinities, certainty, nothing at all), what they refuse, and
 * reductions of one long vector. */
#include "op_check.h"
#include "ops/ops.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static checker c;

static void open_checker(void) {
    cr_assert(checker_open(&c, NULL), "%s", c.error.text);
    graph_scope_begin(&c.g);
}

static void close_checker(void) {
    graph_scope_end(&c.g);
    cr_expect(checker_close(&c));
}

TestSuite(edge, .init = open_checker, .fini = close_checker);

static node *values(mare_dtype t, shape s, const double *x) {
    node *n = checker_leaf(&c, t, &s, x);
    cr_assert_not_null(n, "%s", c.error.text);
    n->requires_grad = dtype_is_float(t);
    return n;
}

#define ROW(t, ...)                                                                                \
    values(t, shape_of(1, (int64_t)(sizeof((double[]){__VA_ARGS__}) / sizeof(double))),            \
           (double[]){__VA_ARGS__})
#define TABLE(t, rows, columns, ...)                                                               \
    values(t, shape_of(2, (int64_t)(rows), (int64_t)(columns)), (double[]){__VA_ARGS__})

static node *entropy(node *scores, node *target, reduction r) {
    return op_cross_entropy(&c.g, scores, target, &(class_loss){NULL, NO_CLASS, 0, r});
}

static node *nll(node *scores, node *target, reduction r) {
    return op_nll_loss(&c.g, scores, target, &(class_loss){NULL, NO_CLASS, 0, r});
}

static void expect(const char *what, node *n, const double *expected, double tolerance) {
    cr_assert_not_null(n, "%s: %s", what, c.error.text);
    const double *x = checker_read(&c, n);
    cr_assert_not_null(x, "%s: %s", what, c.error.text);
    for (int64_t i = 0; i < shape_count(&n->shape); i++)
        cr_expect(x[i] == expected[i] || (isnan(x[i]) && isnan(expected[i])) ||
                      fabs(x[i] - expected[i]) <= tolerance * fabs(expected[i]),
                  "%s, element %d: %.9g, not %.9g", what, (int)i, x[i], expected[i]);
}
#define EXPECT(what, n, tolerance, ...) expect(what, n, (double[]){__VA_ARGS__}, tolerance)

/* Gradient of the sum of y by x. */
static node *gradient(node *y, node *x) {
    node *gx = NULL;
    cr_assert_not_null(y, "%s", c.error.text);
    node *ones = op_full(&c.g, y->dtype, &y->shape, 1);
    cr_assert_eq(graph_grad(&c.g, y, ones, &x, 1, &gx), MARE_OK, "%s", c.error.text);
    return gx;
}

Test(edge, certain_probabilities) {
    const mare_dtype type[] = {MARE_F32, MARE_F16};
    for (int i = 0; i < 2; i++) {
        node *p = ROW(type[i], 0, 0, 1, 1, 0.5, 0.5);
        node *t = ROW(type[i], 0, 1, 0, 1, 0, 1);
        node *loss = op_bce_loss(&c.g, p, t, REDUCE_NONE);
        node *g = gradient(loss, p);
        cr_assert_eq(loss->dtype, type[i]);
        EXPECT("bce", loss, i ? 1e-3 : 1e-6, 0, 100, 100, 0, log(2), log(2));
        const double *x = checker_read(&c, g);
        cr_assert_not_null(x, "%s", c.error.text);
        for (int k = 0; k < 6; k++)
            cr_expect(isfinite(x[k]), "gradient %d is %g", k, x[k]);
        cr_expect_float_eq(x[4], 2, 1e-3);
        cr_expect_float_eq(x[5], -2, 1e-3);
    }
    EXPECT("no probability",
           op_bce_loss(&c.g, ROW(MARE_F32, -0.1, 1.1, NAN), ROW(MARE_F32, 1, 1, 1), REDUCE_NONE), 0,
           NAN, NAN, NAN);
}

Test(edge, large_logits) {
    node *x = ROW(MARE_F32, 1e4, 1e4, -1e4, -1e4, 20, -20, 3e38, 0);
    node *t = ROW(MARE_F32, 1, 0, 1, 0, 1, 0, 0.5, 0.25);
    node *loss = op_bce_with_logits(&c.g, x, t, REDUCE_NONE), *g = gradient(loss, x);
    double small = log1p(exp(-20));
    EXPECT("bce_with_logits", loss, 1e-6, 0, 1e4, 1e4, 0, small, small, 1.5e38, log(2));
    EXPECT("its gradient", g, 1e-6, 0, 1, -1, 0, -1 / (1 + exp(20)), 1 / (1 + exp(20)), 0.5, 0.25);
    /* Cross entropy of scores that exp() would overflow with. */
    node *scores = TABLE(MARE_F32, 2, 3, 1e4, 0, -1e4, 0, 1e4, 1e4);
    loss = entropy(scores, ROW(MARE_I32, 2, 1), REDUCE_NONE);
    g = gradient(loss, scores);
    EXPECT("cross_entropy", loss, 1e-6, 2e4, log(2));
    EXPECT("its gradient", g, 1e-6, 1, 0, -1, 0, -0.5, 0.5);
}

/* A class that cannot be costs nothing where it is not the target, and all where it is. */
Test(edge, impossible_classes) {
    node *scores = TABLE(MARE_F32, 2, 3, -INFINITY, 1, 1, 1, 1, -INFINITY);
    node *loss = entropy(scores, ROW(MARE_I32, 1, 2), REDUCE_NONE);
    EXPECT("cross_entropy", loss, 1e-6, log(2), INFINITY);
    node *log_probs = TABLE(MARE_F32, 1, 2, -INFINITY, -1);
    EXPECT("nll_loss", nll(log_probs, ROW(MARE_I32, 1), REDUCE_MEAN), 0, 1);
}

/* A label that is ignored costs nothing, whatever its scores are; the mean is that of the others.
 */
Test(edge, ignored_labels) {
    node *scores = TABLE(MARE_F32, 3, 2, NAN, INFINITY, 0, 0, -INFINITY, 1e38);
    node *target = ROW(MARE_I32, -100, 1, -100), *loss = entropy(scores, target, REDUCE_NONE);
    EXPECT("cross_entropy", loss, 1e-6, 0, log(2), 0);
    EXPECT("its mean", entropy(scores, target, REDUCE_MEAN), 1e-6, log(2));
    EXPECT("none left", entropy(scores, ROW(MARE_I32, -100, -100, -100), REDUCE_MEAN), 0, NAN);
    node *half = TABLE(MARE_F16, 2, 2, 60000, -60000, 1, 1);
    loss = entropy(half, ROW(MARE_I32, 0, -100), REDUCE_MEAN);
    cr_assert_eq(loss->dtype, MARE_F16);
    EXPECT("f16", loss, 0, 0);
    /* Squares that f16 could not hold, of which the mean fits. */
    node *far = ROW(MARE_F16, 300, 0, 0, 0), *near = ROW(MARE_F16, 0, 0, 0, 0);
    EXPECT("mse_loss", op_mse_loss(&c.g, far, near, REDUCE_MEAN), 1e-3, 22500);
}

Test(edge, infinite_rows) {
    const double inf = INFINITY;
    node *x =
        TABLE(MARE_F32, 5, 3, -inf, -inf, -inf, 1, inf, 2, -inf, 0, 0, -inf, inf, 0, 1, NAN, 2);
    node *y = op_logsumexp(&c.g, x, 2, false);
    EXPECT("logsumexp", y, 1e-6, -inf, inf, log(2), inf, NAN);
    node *one = ROW(MARE_F32, -inf, 0, 0);
    EXPECT("its gradient", gradient(op_logsumexp(&c.g, one, 0, false), one), 1e-6, 0, 0.5, 0.5);
    EXPECT("large", op_logsumexp(&c.g, ROW(MARE_F32, 3e38, -3e38), 0, false), 1e-6, 3e38);
}

Test(edge, moments_of_little) {
    node *one = ROW(MARE_F32, 3);
    EXPECT("population variance of one", op_var(&c.g, one, 0, false, 0), 0, 0);
    EXPECT("sample variance of one", op_var(&c.g, one, 0, false, 1), 0, NAN);
    EXPECT("mean of one", op_mean(&c.g, one, 0, true), 0, 3);
    node *none = values(MARE_F32, shape_of(1, 0), (double[]){0});
    EXPECT("mean of none", op_mean(&c.g, none, 0, false), 0, NAN);
    EXPECT("variance of none", op_var(&c.g, none, 0, false, 0), 0, NAN);
    EXPECT("logsumexp of none", op_logsumexp(&c.g, none, 0, false), 0, -INFINITY);
    /* Numbers far from 0, close together. */
    node *far = ROW(MARE_F32, 1e6, 1e6 + 1, 1e6 + 2, 1e6 + 3);
    EXPECT("variance far from 0", op_var(&c.g, far, 0, false, 0), 1e-6, 1.25);
    EXPECT("mean of bytes", op_mean(&c.g, ROW(MARE_U8, 200, 255, 101), 0, false), 1e-6, 556 / 3.0);
    /* Sums of f16 that f16 could not hold. */
    double many[4096];
    for (int i = 0; i < 4096; i++)
        many[i] = 100 + i % 2;
    node *half = values(MARE_F16, shape_of(1, 4096), many);
    EXPECT("mean of f16", op_mean(&c.g, half, 0, false), 0, 100.5);
    EXPECT("variance of f16", op_var(&c.g, half, 0, false, 0), 1e-3, 0.25);
}

/* ---- Long vectors ------------------------------------------------------------------------- */

Test(edge, long_vectors) {
    enum { N = 300007 };
    const int places[] = {0, 1, 4095, 4096, 150000, N - 2, N - 1};
    double *x = malloc(N * sizeof *x);
    cr_assert_not_null(x);
    for (size_t k = 0; k < sizeof places / sizeof *places; k++) {
        int at = places[k];
        for (int i = 0; i < N; i++)
            x[i] = i % 1000 - 500;
        x[at] = 1000;
        if (at < N - 7) x[N - 7] = 1000; /* a tie: the first counts */
        node *n = values(MARE_F32, shape_of(1, N), x);
        EXPECT("argmax", op_argmax(&c.g, n, 0, false), 0, at);
        EXPECT("argmin", op_argmin(&c.g, op_map1(&c.g, "neg", n), 0, false), 0, at);
        node *rows = op_permute(&c.g, op_reshape(&c.g, n, &(shape){2, {1, N}}), (int[]){1, 0}, 2);
        EXPECT("argmax along a column", op_argmax(&c.g, rows, 0, false), 0, at);
        x[(at + N / 2) % N] = NAN;
        n = values(MARE_F32, shape_of(1, N), x);
        EXPECT("argmax with NaN", op_argmax(&c.g, n, 0, false), 0, (at + N / 2) % N);
        EXPECT("argmin with NaN", op_argmin(&c.g, n, 0, false), 0, (at + N / 2) % N);
        EXPECT("max with NaN", op_max(&c.g, n, 0, false), 0, NAN);
        checker_forget(&c);
    }
    /* Terms that cancel: what the additions round away is kept. */
    for (int i = 0; i < N; i++)
        x[i] = i % 3 == 0 ? 16777216 : i % 3 == 1 ? 1 : -16777216;
    node *n = values(MARE_F32, shape_of(1, N), x);
    EXPECT("sum", op_sum(&c.g, n, 0, false), 0, N / 3 + 16777216.0);
    x[5] = INFINITY;
    n = values(MARE_F32, shape_of(1, N), x);
    EXPECT("sum with infinity", op_sum(&c.g, n, 0, false), 0, INFINITY);
    x[N - 5] = -INFINITY;
    n = values(MARE_F32, shape_of(1, N), x);
    EXPECT("sum with both", op_sum(&c.g, n, 0, false), 0, NAN);
    EXPECT("sum that overflows", op_sum(&c.g, ROW(MARE_F32, 3e38, 3e38, 1), 0, false), 0, INFINITY);
    free(x);
}

/* A CPU's workgroups are one vector; here it passes for a GPU, whose groups are wide. */
Test(edge, wide_groups) {
    const int64_t lengths[] = {64, 65, 127, 300, 9001};
    union {
        const dev_caps *given;
        dev_caps *own;
    } caps = {dev_get_caps(c.device)};
    caps.own->type = DEV_DISCRETE;
    for (int k = 0; k < 5; k++) {
        int64_t rows = 5, n = lengths[k], total[5] = {0}, best[5] = {0};
        shape s = shape_of(2, rows, n), columns = shape_of(2, n, rows);
        double *x = malloc((size_t)(rows * n) * sizeof *x),
               *y = malloc((size_t)(rows * n) * sizeof *y);
        cr_assert(x && y);
        for (int64_t r = 0; r < rows; r++)
            for (int64_t i = 0; i < n; i++) {
                double v = (double)((i * 7919 + r * 31) % 1009);
                x[r * n + i] = y[i * rows + r] = v;
                total[r] += (int64_t)v;
                if (v > x[r * n + best[r]]) best[r] = i;
            }
        for (int turn = 0; turn < 2; turn++) {
            node *a = turn ? values(MARE_F32, columns, y) : values(MARE_F32, s, x);
            node *sum = op_sum(&c.g, a, turn ? 1 : 2, false);
            node *arg = op_argmax(&c.g, a, turn ? 0 : 1, false);
            node *ones = op_sum(&c.g, op_softmax(&c.g, a, turn ? 0 : 1), turn ? 1 : 2, false);
            for (int r = 0; r < 5; r++) {
                const double *got[] = {checker_read(&c, sum), checker_read(&c, arg),
                                       checker_read(&c, ones)};
                cr_assert(got[0] && got[1] && got[2], "%s", c.error.text);
                cr_expect_eq(got[0][r], (double)total[r], "row %d of %d", r, (int)n);
                cr_expect_eq(got[1][r], (double)best[r], "row %d of %d", r, (int)n);
                cr_expect_float_eq(got[2][r], 1, 1e-6, "row %d of %d", r, (int)n);
            }
        }
        free(x);
        free(y);
    }
}

/* ---- Errors ------------------------------------------------------------------------------- */

static void refuse(node *n, mare_status code, const char *const *words) {
    cr_expect_null(n, "%s: not refused", words[0]);
    cr_expect_eq(c.error.code, code, "%s", c.error.text);
    for (int i = 0; words[i]; i++)
        cr_expect(strstr(c.error.text, words[i]), "\"%s\" does not say %s", c.error.text, words[i]);
    c.error.code = MARE_OK;
    c.error.text[0] = 0;
}
#define REFUSE(n, code, ...) refuse(n, code, (const char *const[]){__VA_ARGS__, NULL})

Test(edge, refused_classes) {
    graph *g = &c.g;
    node *scores = TABLE(MARE_F32, 2, 3, 1, 2, 3, 4, 5, 6),
         *lone = values(MARE_F32, shape_of(0), (double[]){1});
    REFUSE(entropy(scores, ROW(MARE_I32, 0, 3), REDUCE_MEAN), MARE_E_RANGE, "cross_entropy",
           "class 3", "[2, 3]", "0 to 2");
    REFUSE(entropy(scores, ROW(MARE_I32, -1, 2), REDUCE_MEAN), MARE_E_RANGE, "cross_entropy",
           "class -1", "0 to 2");
    REFUSE(entropy(scores, ROW(MARE_I32, -100, -1), REDUCE_MEAN), MARE_E_RANGE, "class -1");
    REFUSE(nll(scores, ROW(MARE_I32, -100, 3), REDUCE_MEAN), MARE_E_RANGE, "class 3");
    REFUSE(entropy(scores, ROW(MARE_U8, 0, 255), REDUCE_MEAN), MARE_E_RANGE, "class 255");
    REFUSE(nll(scores, ROW(MARE_I32, 3, 0), REDUCE_MEAN), MARE_E_RANGE, "nll_loss", "class 3");
    REFUSE(entropy(scores, ROW(MARE_I32, 0, 1, 2), REDUCE_MEAN), MARE_E_SHAPE, "cross_entropy",
           "[2, 3]", "[2]", "not [3]");
    REFUSE(nll(scores, TABLE(MARE_I32, 2, 1, 0, 1), REDUCE_MEAN), MARE_E_SHAPE, "nll_loss",
           "[2, 1]");
    REFUSE(entropy(scores, ROW(MARE_F32, 0, 1), REDUCE_MEAN), MARE_E_SHAPE, "cross_entropy",
           "[2, 3]", "[2]");
    REFUSE(nll(scores, ROW(MARE_F32, 0, 1), REDUCE_MEAN), MARE_E_DTYPE, "nll_loss", "f32");
    REFUSE(entropy(scores, ROW(MARE_BOOL, 0, 1), REDUCE_MEAN), MARE_E_DTYPE, "cross_entropy",
           "bool");
    REFUSE(entropy(lone, lone, REDUCE_MEAN), MARE_E_SHAPE, "cross_entropy", "[]");
    REFUSE(nll(lone, lone, REDUCE_MEAN), MARE_E_SHAPE, "nll_loss", "[]");
    const double bad[] = {-0.1, 1.1, NAN};
    for (int i = 0; i < 3; i++)
        REFUSE(op_cross_entropy(g, scores, ROW(MARE_I32, 0, 1),
                                &(class_loss){NULL, NO_CLASS, bad[i], REDUCE_MEAN}),
               MARE_E_ARGUMENT, "cross_entropy", "smoothing", "0..1");
    cr_expect_null(entropy(NULL, scores, REDUCE_MEAN));
    cr_expect_null(entropy(scores, NULL, REDUCE_MEAN));
    cr_expect_null(nll(scores, NULL, REDUCE_MEAN));
}

/* Classes that come from the device must be looked at before they are trusted. */
Test(edge, unknown_classes) {
    node *scores = TABLE(MARE_F32, 2, 2, 1, 2, 3, 4);
    node *target = op_map2(&c.g, "add", ROW(MARE_I32, 0, 1), ROW(MARE_I32, 1, -1));
    REFUSE(nll(scores, target, REDUCE_NONE), MARE_E_RANGE, "nll_loss", "evaluate");
    node *bytes = op_cast(&c.g, target, MARE_U8);
    REFUSE(entropy(scores, bytes, REDUCE_NONE), MARE_E_RANGE, "cross_entropy", "evaluate");
    cr_assert_not_null(checker_read(&c, target));
    EXPECT("nll_loss", nll(scores, target, REDUCE_NONE), 0, -2, -3);
}

Test(edge, refused_pairs) {
    graph *g = &c.g;
    node *a = TABLE(MARE_F32, 2, 3, 1, 2, 3, 4, 5, 6), *b = ROW(MARE_F32, 1, 2, 3);
    node *(*const losses[])(graph *, node *, node *, reduction) = {op_mse_loss, op_l1_loss,
                                                                   op_bce_loss, op_bce_with_logits};
    const char *const names[] = {"mse_loss", "l1_loss", "binary_cross_entropy",
                                 "binary_cross_entropy_with_logits"};
    for (int i = 0; i < 4; i++) {
        REFUSE(losses[i](g, a, b, REDUCE_MEAN), MARE_E_SHAPE, names[i], "[2, 3]", "[3]");
        cr_expect_null(losses[i](g, a, NULL, REDUCE_MEAN));
        cr_expect_null(losses[i](g, NULL, a, REDUCE_MEAN));
    }
}

Test(edge, refused_norms_and_axes) {
    graph *g = &c.g;
    node *x = TABLE(MARE_F32, 2, 3, 1, 2, 3, 4, 5, 6), *three = ROW(MARE_F32, 1, 2, 3);
    node *two = ROW(MARE_F32, 1, 2), *flat = TABLE(MARE_F32, 1, 3, 1, 2, 3);
    REFUSE(op_batch_norm(g, three, three, three, NULL, NULL, 0), MARE_E_SHAPE, "batch_norm",
           "[N, C, ...]", "not [3]");
    REFUSE(op_batch_norm(g, x, two, three, NULL, NULL, 0), MARE_E_SHAPE, "mean", "[2, 3]", "[3]",
           "not [2]");
    REFUSE(op_batch_norm(g, x, three, flat, NULL, NULL, 0), MARE_E_SHAPE, "variance", "[1, 3]");
    REFUSE(op_batch_norm(g, x, three, three, two, NULL, 0), MARE_E_SHAPE, "weight", "not [2]");
    REFUSE(op_batch_norm(g, x, three, three, NULL, two, 0), MARE_E_SHAPE, "bias", "not [2]");
    cr_expect_null(op_batch_norm(g, NULL, three, three, NULL, NULL, 0));
    REFUSE(op_mean(g, x, 4, false), MARE_E_ARGUMENT, "mean", "axis", "[2, 3]");
    REFUSE(op_var(g, x, 8, false, 1), MARE_E_ARGUMENT, "var", "[2, 3]");
    REFUSE(op_logsumexp(g, x, 4, false), MARE_E_ARGUMENT, "logsumexp", "[2, 3]");
    REFUSE(op_sum(g, x, 4, false), MARE_E_ARGUMENT, "sum", "[2, 3]");
    REFUSE(op_argmax(g, x, 2, false), MARE_E_ARGUMENT, "argmax", "axis 2", "[2, 3]");
    node *none = values(MARE_F32, shape_of(2, 2, 0), (double[]){0});
    REFUSE(op_max(g, none, 2, false), MARE_E_SHAPE, "max", "[2, 0]", "no elements");
    REFUSE(op_argmin(g, none, 1, false), MARE_E_SHAPE, "argmin", "[2, 0]", "no elements");
    uint32_t mask;
    const int twice[] = {0, -2}, out[] = {0, 2};
    cr_expect_not(op_axes(g, "sum", x, twice, 2, &mask));
    REFUSE(NULL, MARE_E_ARGUMENT, "sum", "axis -2", "twice");
    cr_expect_not(op_axes(g, "sum", x, out, 2, &mask));
    REFUSE(NULL, MARE_E_ARGUMENT, "sum", "axis 2", "[2, 3]");
}
