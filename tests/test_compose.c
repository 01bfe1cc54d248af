/* Losses, batch norm and moments against formulas in double written here; their gradients, first
 * and second, against differences of those formulas; what they refuse. */
#include "op_check.h"
#include "ops/ops.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_IN = 5 };

typedef struct subject subject;
struct subject {
    const char *name;
    node *(*build)(graph *g, const subject *s, node **in);
    void (*formula)(const subject *s, double *const *in, double *out);
    int n_in;
    shape in[MAX_IN];
    shape out;
    double lo[MAX_IN], hi[MAX_IN];
    mare_dtype dtype[MAX_IN];
    reduction r;
    double number; /* label smoothing, eps, correction */
    uint32_t axes; /* of moments */
    bool rough;    /* has no second derivatives worth looking at */
};

/* ---- Formulas ----------------------------------------------------------------------------- */

/* Writes `n` unreduced losses as the subject asks. */
static void reduce_losses(const subject *s, const double *loss, int64_t n, double *out) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += loss[i];
    if (s->r == REDUCE_NONE)
        memcpy(out, loss, (size_t)n * sizeof *loss);
    else
        *out = s->r == REDUCE_SUM ? sum : sum / (double)n;
}

/* Scores as rows of classes: [outer, classes, inner]. */
typedef struct rows {
    int64_t outer, classes, inner;
} rows;

static rows rows_of(const shape *s) {
    rows r = {1, s->dim[s->rank > 1], 1};
    if (s->rank > 1) r.outer = s->dim[0];
    for (int d = 2; d < s->rank; d++)
        r.inner *= s->dim[d];
    return r;
}

static void entropy_formula(const subject *s, double *const *in, double *out) {
    rows r = rows_of(&s->in[0]);
    bool indices = !dtype_is_float(s->dtype[1]);
    double *loss = calloc((size_t)(r.outer * r.inner) + 1, sizeof *loss);
    for (int64_t i = 0; i < r.outer * r.inner; i++) {
        const int64_t first = i / r.inner * r.classes * r.inner + i % r.inner;
        double sum = 0;
        for (int64_t c = 0; c < r.classes; c++)
            sum += exp(in[0][first + c * r.inner]);
        for (int64_t c = 0; c < r.classes; c++) {
            double own = indices ? in[1][i] == (double)c : in[1][first + c * r.inner];
            double target = own * (1 - s->number) + s->number / (double)r.classes;
            loss[i] -= target * (in[0][first + c * r.inner] - log(sum));
        }
    }
    reduce_losses(s, loss, r.outer * r.inner, out);
    free(loss);
}

static void nll_formula(const subject *s, double *const *in, double *out) {
    rows r = rows_of(&s->in[0]);
    double *loss = calloc((size_t)(r.outer * r.inner) + 1, sizeof *loss);
    for (int64_t i = 0; i < r.outer * r.inner; i++)
        loss[i] = -in[0][(i / r.inner * r.classes + (int64_t)in[1][i]) * r.inner + i % r.inner];
    reduce_losses(s, loss, r.outer * r.inner, out);
    free(loss);
}

static void pair_formula(const subject *s, double *const *in, double *out,
                         double (*f)(double a, double b)) {
    int64_t n = shape_count(&s->in[0]);
    double *loss = calloc((size_t)n + 1, sizeof *loss);
    for (int64_t i = 0; i < n; i++)
        loss[i] = f(in[0][i], in[1][i]);
    reduce_losses(s, loss, n, out);
    free(loss);
}

static double squared(double a, double b) {
    return (a - b) * (a - b);
}
static double distance(double a, double b) {
    return fabs(a - b);
}
static double bce(double p, double t) {
    double yes = p == 0 ? -100 : log(p), no = p == 1 ? -100 : log(1 - p);
    return -(t * yes + (1 - t) * no);
}
/* Both logs of the logistic function, without cancellation. */
static double bce_logits(double x, double t) {
    double yes = x > 0 ? -log1p(exp(-x)) : x - log1p(exp(x));
    double no = x > 0 ? -x - log1p(exp(-x)) : -log1p(exp(x));
    return -(t * yes + (1 - t) * no);
}

static void mse_formula(const subject *s, double *const *in, double *out) {
    pair_formula(s, in, out, squared);
}
static void l1_formula(const subject *s, double *const *in, double *out) {
    pair_formula(s, in, out, distance);
}
static void bce_formula(const subject *s, double *const *in, double *out) {
    pair_formula(s, in, out, bce);
}
static void logits_formula(const subject *s, double *const *in, double *out) {
    pair_formula(s, in, out, bce_logits);
}

/* Inputs: x, mean, variance, weight and bias where there are. */
static void norm_formula(const subject *s, double *const *in, double *out) {
    rows r = rows_of(&s->in[0]);
    for (int64_t i = 0; i < r.outer * r.classes * r.inner; i++) {
        int64_t c = i / r.inner % r.classes;
        out[i] = (in[0][i] - in[1][c]) / sqrt(in[2][c] + s->number);
        if (s->n_in > 3) out[i] *= in[3][c];
        if (s->n_in > 4) out[i] += in[4][c];
    }
}

/* Which result each element goes to. */
static int64_t result_of(const subject *s, int64_t i) {
    int64_t o = 0, step = 1;
    for (int d = s->in[0].rank - 1; d >= 0; d--) {
        int64_t c = i % s->in[0].dim[d];
        i /= s->in[0].dim[d];
        if (s->axes == 0 || s->axes >> d & 1) continue;
        o += c * step;
        step *= s->in[0].dim[d];
    }
    return o;
}

static void mean_formula(const subject *s, double *const *in, double *out) {
    int64_t n = shape_count(&s->in[0]), results = shape_count(&s->out);
    for (int64_t o = 0; o < results; o++)
        out[o] = 0;
    for (int64_t i = 0; i < n; i++)
        out[result_of(s, i)] += in[0][i];
    for (int64_t o = 0; o < results; o++)
        out[o] /= (double)n / (double)results;
}

static void var_formula(const subject *s, double *const *in, double *out) {
    int64_t n = shape_count(&s->in[0]), results = shape_count(&s->out);
    double *mean = calloc((size_t)results + 1, sizeof *mean);
    mean_formula(s, in, mean);
    for (int64_t o = 0; o < results; o++)
        out[o] = 0;
    for (int64_t i = 0; i < n; i++)
        out[result_of(s, i)] += squared(in[0][i], mean[result_of(s, i)]);
    for (int64_t o = 0; o < results; o++)
        out[o] /= (double)n / (double)results - s->number;
    free(mean);
}

static void logsumexp_formula(const subject *s, double *const *in, double *out) {
    int64_t n = shape_count(&s->in[0]), results = shape_count(&s->out);
    for (int64_t o = 0; o < results; o++)
        out[o] = 0;
    for (int64_t i = 0; i < n; i++)
        out[result_of(s, i)] += exp(in[0][i]);
    for (int64_t o = 0; o < results; o++)
        out[o] = log(out[o]);
}

/* ---- Builders ----------------------------------------------------------------------------- */

static node *entropy(graph *g, const subject *s, node **in) {
    return op_cross_entropy(g, in[0], in[1], &(class_loss){NULL, NO_CLASS, s->number, s->r});
}
static node *nll(graph *g, const subject *s, node **in) {
    return op_nll_loss(g, in[0], in[1], &(class_loss){NULL, NO_CLASS, 0, s->r});
}
static node *mse(graph *g, const subject *s, node **in) {
    return op_mse_loss(g, in[0], in[1], s->r);
}
static node *l1(graph *g, const subject *s, node **in) {
    return op_l1_loss(g, in[0], in[1], s->r);
}
static node *bce_loss(graph *g, const subject *s, node **in) {
    return op_bce_loss(g, in[0], in[1], s->r);
}
static node *bce_with_logits(graph *g, const subject *s, node **in) {
    return op_bce_with_logits(g, in[0], in[1], s->r);
}
static node *norm(graph *g, const subject *s, node **in) {
    return op_batch_norm(g, in[0], in[1], in[2], s->n_in > 3 ? in[3] : NULL,
                         s->n_in > 4 ? in[4] : NULL, s->number);
}
/* Without a weight, the fourth input is the bias. */
static node *norm_bias(graph *g, const subject *s, node **in) {
    return op_batch_norm(g, in[0], in[1], in[2], NULL, in[3], s->number);
}
static void norm_bias_formula(const subject *s, double *const *in, double *out) {
    subject bare = *s;
    rows r = rows_of(&s->in[0]);
    bare.n_in = 3;
    norm_formula(&bare, in, out);
    for (int64_t i = 0; i < r.outer * r.classes * r.inner; i++)
        out[i] += in[3][i / r.inner % r.classes];
}
static node *mean(graph *g, const subject *s, node **in) {
    return op_mean(g, in[0], s->axes, false);
}
static node *var(graph *g, const subject *s, node **in) {
    return op_var(g, in[0], s->axes, false, s->number);
}
static node *logsumexp(graph *g, const subject *s, node **in) {
    return op_logsumexp(g, in[0], s->axes, false);
}

/* ---- Subjects ----------------------------------------------------------------------------- */

#define GROUPED(...) __VA_ARGS__
/* name, scores, targets, unreduced result, largest class, dtypes of both, smoothing, reduction */
#define CLASSES(f, scores, targets, result, most, t, u, smooth, red)                               \
    {                                                                                              \
        .name = #f, .build = f, .formula = f##_formula, .n_in = 2, .in = {scores, targets},        \
        .out = result, .lo = {-2, 0}, .hi = {2, most}, .dtype = {t, u}, .number = smooth, .r = red \
    }
#define PAIR(f, g, s, result, low, high, t, red, is_rough)                                         \
    {                                                                                              \
        .name = #f, .build = f, .formula = g##_formula, .n_in = 2, .in = {s, s}, .out = result,    \
        .lo = {low, 0}, .hi = {high, 1}, .dtype = {t, t}, .r = red, .rough = is_rough              \
    }
#define NORM(f, n, s, c, t)                                                                        \
    {                                                                                              \
        .name = #f, .build = f, .formula = f##_formula, .n_in = n, .in = {s, c, c, c, c},          \
        .out = s, .lo = {-2, -1, 0.1, -2, -2}, .hi = {2, 1, 3, 2, 2}, .dtype = {t},                \
        .number = 1e-5, .r = REDUCE_NONE                                                           \
    }
#define MOMENT(f, s, result, mask, corr, t)                                                        \
    {                                                                                              \
        .name = #f, .build = f, .formula = f##_formula, .n_in = 1, .in = {s}, .out = result,       \
        .lo = {-2}, .hi = {2}, .dtype = {t}, .number = corr, .axes = mask, .r = REDUCE_NONE        \
    }
#define I MARE_I32
#define F MARE_F32
#define H MARE_F16

/* clang-format off: a subject a line */
static const subject subjects[] = {
    CLASSES(entropy, SHAPE2(7, 5), SHAPE1(7), SHAPE0, 4, F, I, 0, REDUCE_MEAN),
    CLASSES(entropy, SHAPE2(7, 5), SHAPE1(7), SHAPE0, 4, F, MARE_U8, 0, REDUCE_SUM),
    CLASSES(entropy, SHAPE2(7, 5), SHAPE1(7), SHAPE1(7), 4, F, I, 0.1, REDUCE_NONE),
    CLASSES(entropy, SHAPE2(7, 5), SHAPE1(7), SHAPE0, 4, F, I, 0.1, REDUCE_MEAN),
    CLASSES(entropy, SHAPE2(7, 5), SHAPE1(7), SHAPE0, 4, F, I, 1, REDUCE_SUM),
    CLASSES(entropy, SHAPE1(5), SHAPE0, SHAPE0, 4, F, I, 0.25, REDUCE_MEAN),
    CLASSES(entropy, SHAPE2(1, 1), SHAPE1(1), SHAPE0, 0, F, I, 0, REDUCE_MEAN),
    CLASSES(entropy, SHAPE3(2, 3, 4), SHAPE2(2, 4), SHAPE0, 2, F, I, 0.2, REDUCE_MEAN),
    CLASSES(entropy, SHAPE3(2, 3, 4), SHAPE2(2, 4), SHAPE2(2, 4), 2, F, MARE_U8, 0, REDUCE_NONE),
    CLASSES(entropy, SHAPE4(2, 3, 2, 3), SHAPE3(2, 2, 3), SHAPE0, 2, F, I, 0, REDUCE_MEAN),
    CLASSES(entropy, SHAPE2(7, 5), SHAPE2(7, 5), SHAPE0, 1, F, F, 0, REDUCE_MEAN),
    CLASSES(entropy, SHAPE2(7, 5), SHAPE2(7, 5), SHAPE1(7), 1, F, F, 0.1, REDUCE_NONE),
    CLASSES(entropy, SHAPE3(2, 3, 4), SHAPE3(2, 3, 4), SHAPE0, 1, F, F, 0.1, REDUCE_MEAN),
    CLASSES(entropy, SHAPE3(2, 3, 4), SHAPE3(2, 3, 4), SHAPE0, 1, F, F, 0, REDUCE_SUM),
    CLASSES(entropy, SHAPE2(7, 5), SHAPE1(7), SHAPE0, 4, H, I, 0.1, REDUCE_MEAN),
    CLASSES(entropy, SHAPE2(7, 5), SHAPE2(7, 5), SHAPE1(7), 1, H, H, 0, REDUCE_NONE),
    CLASSES(entropy, SHAPE2(0, 5), SHAPE1(0), SHAPE0, 4, F, I, 0, REDUCE_SUM),
    CLASSES(entropy, SHAPE2(0, 5), SHAPE1(0), SHAPE1(0), 4, F, I, 0.1, REDUCE_NONE),
    CLASSES(entropy, SHAPE2(0, 5), SHAPE1(0), SHAPE0, 4, F, I, 0.1, REDUCE_MEAN),
    CLASSES(entropy, SHAPE2(0, 5), SHAPE2(0, 5), SHAPE0, 1, F, F, 0, REDUCE_SUM),
    CLASSES(entropy, SHAPE2(3, 300), SHAPE1(3), SHAPE0, 299, F, I, 0.1, REDUCE_MEAN),
    CLASSES(nll, SHAPE2(7, 5), SHAPE1(7), SHAPE0, 4, F, I, 0, REDUCE_MEAN),
    CLASSES(nll, SHAPE2(7, 5), SHAPE1(7), SHAPE1(7), 4, F, MARE_U8, 0, REDUCE_NONE),
    CLASSES(nll, SHAPE3(2, 3, 4), SHAPE2(2, 4), SHAPE0, 2, F, I, 0, REDUCE_SUM),
    CLASSES(nll, SHAPE1(5), SHAPE0, SHAPE0, 4, F, I, 0, REDUCE_MEAN),
    CLASSES(nll, SHAPE2(7, 5), SHAPE1(7), SHAPE0, 4, H, I, 0, REDUCE_MEAN),
    CLASSES(nll, SHAPE2(0, 5), SHAPE1(0), SHAPE0, 4, F, I, 0, REDUCE_MEAN),
    PAIR(mse, mse, SHAPE2(5, 7), SHAPE0, -2, 2, F, REDUCE_MEAN, false),
    PAIR(mse, mse, SHAPE2(5, 7), SHAPE0, -2, 2, F, REDUCE_SUM, false),
    PAIR(mse, mse, SHAPE3(2, 3, 3), SHAPE3(2, 3, 3), -2, 2, F, REDUCE_NONE, false),
    PAIR(mse, mse, SHAPE2(5, 7), SHAPE0, -2, 2, H, REDUCE_MEAN, false),
    PAIR(mse, mse, SHAPE0, SHAPE0, -2, 2, F, REDUCE_MEAN, false),
    PAIR(mse, mse, SHAPE2(0, 3), SHAPE0, -2, 2, F, REDUCE_SUM, false),
    PAIR(mse, mse, SHAPE2(0, 3), SHAPE0, -2, 2, F, REDUCE_MEAN, false),
    PAIR(l1, l1, SHAPE2(5, 7), SHAPE0, 2, 4, F, REDUCE_MEAN, true),
    PAIR(l1, l1, SHAPE2(5, 7), SHAPE0, -4, -2, F, REDUCE_SUM, true),
    PAIR(l1, l1, SHAPE2(5, 7), SHAPE2(5, 7), -4, -2, H, REDUCE_NONE, true),
    PAIR(bce_loss, bce, SHAPE2(5, 7), SHAPE0, 0.05, 0.95, F, REDUCE_MEAN, false),
    PAIR(bce_loss, bce, SHAPE2(5, 7), SHAPE2(5, 7), 0.05, 0.95, F, REDUCE_NONE, false),
    PAIR(bce_loss, bce, SHAPE2(5, 7), SHAPE0, 0.05, 0.95, H, REDUCE_SUM, false),
    PAIR(bce_with_logits, logits, SHAPE2(5, 7), SHAPE0, -4, 4, F, REDUCE_MEAN, false),
    PAIR(bce_with_logits, logits, SHAPE2(5, 7), SHAPE2(5, 7), -90, 90, F, REDUCE_NONE, false),
    PAIR(bce_with_logits, logits, SHAPE2(5, 7), SHAPE0, -4, 4, H, REDUCE_SUM, false),
    PAIR(bce_with_logits, logits, SHAPE1(0), SHAPE0, -4, 4, F, REDUCE_SUM, false),
    NORM(norm, 3, SHAPE2(5, 3), SHAPE1(3), F),
    NORM(norm, 4, SHAPE3(2, 3, 4), SHAPE1(3), F),
    NORM(norm, 5, SHAPE4(2, 3, 2, 5), SHAPE1(3), F),
    NORM(norm, 5, SHAPE2(5, 1), SHAPE1(1), F),
    NORM(norm, 5, SHAPE4(2, 3, 2, 5), SHAPE1(3), H),
    NORM(norm, 5, SHAPE4(0, 3, 2, 5), SHAPE1(3), F),
    NORM(norm_bias, 4, SHAPE4(2, 3, 2, 5), SHAPE1(3), F),
    MOMENT(mean, SHAPE2(5, 7), SHAPE0, 0, 0, F),
    MOMENT(mean, SHAPE3(3, 4, 5), SHAPE1(4), 5, 0, F),
    MOMENT(mean, SHAPE2(5, 7), SHAPE1(5), 2, 0, H),
    MOMENT(mean, SHAPE2(3, 0), SHAPE1(3), 2, 0, F),
    MOMENT(var, SHAPE2(5, 7), SHAPE0, 0, 0, F),
    MOMENT(var, SHAPE2(5, 7), SHAPE0, 0, 1, F),
    MOMENT(var, SHAPE3(3, 4, 5), SHAPE1(4), 5, 0, F),
    MOMENT(var, SHAPE3(3, 4, 5), SHAPE1(4), 5, 1, F),
    MOMENT(var, SHAPE2(5, 7), SHAPE1(7), 1, 1, H),
    MOMENT(var, SHAPE2(5, 1), SHAPE1(5), 2, 0, F),
    MOMENT(logsumexp, SHAPE2(5, 7), SHAPE0, 0, 0, F),
    MOMENT(logsumexp, SHAPE3(3, 4, 5), SHAPE1(4), 5, 0, F),
    MOMENT(logsumexp, SHAPE2(5, 7), SHAPE1(7), 1, 0, H),
    MOMENT(logsumexp, SHAPE1(1), SHAPE0, 0, 0, F),
    MOMENT(logsumexp, SHAPE2(3, 0), SHAPE1(3), 2, 0, F),
};
/* clang-format on */

/* ---- The check ---------------------------------------------------------------------------- */

typedef struct trial {
    checker c;
    const subject *s;
    double *value[MAX_IN];
    int failures;
    bool halves;
} trial;

static void compare(trial *t, const char *what, int64_t i, double x, double expected,
                    double tolerance) {
    if (x == expected || (isnan(x) && isnan(expected))) return;
    if (fabs(x - expected) <= tolerance) return;
    char a[SHAPE_TEXT];
    if (++t->failures <= 20)
        fprintf(stderr, "%s %s, reduction %d, %g: %s, element %lld: %.9g, not %.9g\n", t->s->name,
                shape_text(&t->s->in[0], a), (int)t->s->r, t->s->number, what, (long long)i, x,
                expected);
}

static double largest(const double *x, int64_t n) {
    double most = 0;
    for (int64_t i = 0; i < n; i++)
        if (isfinite(x[i])) most = fmax(most, fabs(x[i]));
    return most;
}

/* The results, weighed and summed, where the inputs are moved by `far` along `along`. */
static double weighed(const trial *t, double *const *weight, double *const *along, double far) {
    const subject *s = t->s;
    double *in[MAX_IN], sum = 0;
    int64_t n = shape_count(&s->out);
    double *out = calloc((size_t)n + 1, sizeof *out);
    for (int i = 0; i < s->n_in; i++) {
        int64_t count = shape_count(&s->in[i]);
        in[i] = calloc((size_t)count + 1, sizeof **in);
        for (int64_t k = 0; k < count; k++)
            in[i][k] = t->value[i][k] + (along && along[i] ? far * along[i][k] : 0);
    }
    s->formula(s, in, out);
    for (int64_t i = 0; i < n; i++)
        sum += out[i] * weight[0][i];
    for (int i = 0; i < s->n_in; i++)
        free(in[i]);
    free(out);
    return sum;
}

/* gradient: of input i, as the device has it; along: null for first gradients, else directions of
 * the derivative whose gradient it is. */
static void check_gradient(trial *t, double **weight, double **along, int i,
                           const double *gradient) {
    int64_t n = shape_count(&t->s->in[i]);
    double *x = t->value[i], *slope = calloc((size_t)n + 1, sizeof *slope);
    for (int64_t k = 0; k < n; k++) {
        double h = along ? 1e-3 : 1e-5, at = x[k];
        x[k] = at + h;
        slope[k] = along ? (weighed(t, weight, along, h) - weighed(t, weight, along, -h)) / (2 * h)
                         : weighed(t, weight, NULL, 0);
        x[k] = at - h;
        slope[k] -= along ? (weighed(t, weight, along, h) - weighed(t, weight, along, -h)) / (2 * h)
                          : weighed(t, weight, NULL, 0);
        x[k] = at;
        slope[k] /= 2 * h;
    }
    /* Differences lose 1e-6 of a gradient, mixed ones 1e-4; f16 has 11 bits. */
    double most = fmax(largest(slope, n), t->halves ? 1e-2 : 1e-4);
    double part = t->halves ? 8e-3 : along ? 1e-3 : 1e-5;
    for (int64_t k = 0; k < n; k++)
        compare(t, along ? "second gradient" : "gradient", k, gradient[k], slope[k], part * most);
    free(slope);
}

static node *leaf(trial *t, mare_dtype d, const shape *s, double lo, double hi, double **value) {
    *value = checker_draw(&t->c, d, shape_count(s), lo, hi);
    node *n = checker_leaf(&t->c, d, s, *value);
    if (n) n->requires_grad = dtype_is_float(d);
    return n;
}

static void check(trial *t, const subject *s) {
    graph *g = &t->c.g;
    node *in[MAX_IN], *x[MAX_IN], *gx[MAX_IN] = {0}, *roots[1 + 2 * MAX_IN];
    double *weight, *along[MAX_IN] = {0};
    int n = 0, count = 0;
    t->s = s;
    t->halves = s->dtype[0] == MARE_F16;
    for (int i = 0; i < s->n_in; i++)
        in[i] = leaf(t, s->dtype[i], &s->in[i], s->lo[i], s->hi[i], &t->value[i]);
    node *y = s->build(g, s, in);
    cr_assert_not_null(y, "%s: %s", s->name, t->c.error.text);
    cr_assert(shape_equal(&y->shape, &s->out), "%s: the shape of the result", s->name);
    cr_assert_eq(y->dtype, s->dtype[0], "%s: %s comes out", s->name, mare_dtype_name(y->dtype));
    node *wy = leaf(t, y->dtype, &y->shape, 0.5, 1.5, &weight);
    for (int i = 0; i < s->n_in; i++)
        if (in[i]->requires_grad) x[n++] = in[i];
    cr_assert_eq(graph_grad(g, y, wy, x, n, gx), MARE_OK, "%s: %s", s->name, t->c.error.text);
    roots[count++] = y;
    for (int i = 0; i < n; i++)
        if (gx[i]) roots[count++] = gx[i];
    node *second[MAX_IN] = {0};
    for (int i = 0; i < n && !s->rough && !t->halves; i++) {
        node *more[MAX_IN] = {0};
        if (!gx[i] || !gx[i]->requires_grad) continue;
        node *v = leaf(t, MARE_F32, &gx[i]->shape, -1, 1, &along[i]);
        cr_assert_eq(graph_grad(g, gx[i], v, x, n, more), MARE_OK, "%s: %s", s->name,
                     t->c.error.text);
        for (int k = 0; k < n; k++)
            if (more[k]) second[k] = second[k] ? g->add(g, second[k], more[k]) : more[k];
    }
    for (int i = 0; i < n; i++)
        if (second[i]) roots[count++] = second[i];
    cr_assert_eq(plan_eval(t->c.planner, roots, count), MARE_OK, "%s: %s", s->name,
                 t->c.error.text);

    int64_t results = shape_count(&y->shape);
    double *expected = calloc((size_t)results + 1, sizeof *expected), scale = 0;
    s->formula(s, t->value, expected);
    for (int i = 0; i < s->n_in; i++)
        scale = fmax(scale, largest(t->value[i], shape_count(&s->in[i])));
    if (s->r == REDUCE_SUM) scale *= sqrt((double)shape_count(&s->in[0]) + 1);
    const double *got = checker_read(&t->c, y);
    cr_assert_not_null(got, "%s: %s", s->name, t->c.error.text);
    for (int64_t i = 0; i < results; i++)
        compare(t, "value", i, got[i], expected[i],
                (t->halves ? 4e-3 : 2e-6) * (fabs(expected[i]) + scale));
    free(expected);
    for (int i = 0; i < n; i++) {
        /* Float inputs come first in every subject, so that x[i] is in[i]. */
        if (gx[i]) check_gradient(t, &weight, NULL, i, checker_read(&t->c, gx[i]));
        if (second[i]) check_gradient(t, &weight, along, i, checker_read(&t->c, second[i]));
    }
}

Test(compose, formulas) {
    trial t = {0};
    cr_assert(checker_open(&t.c, NULL), "%s", t.c.error.text);
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++) {
        graph_scope_begin(&t.c.g);
        check(&t, &subjects[i]);
        graph_scope_end(&t.c.g);
        checker_forget(&t.c);
    }
    cr_expect_eq(t.failures, 0, "%d differences", t.failures);
    cr_expect(checker_close(&t.c));
}
