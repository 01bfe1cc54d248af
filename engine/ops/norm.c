/* Rows normalised by their mean and variance, with weights and biases: one kernel forward and one
 * backward, which takes the statistics anew from x. Rows that have one weight each (batch and
 * instance norm) are long: of those the statistics are a node of their own, which the forward and
 * the backward pass read, and the gradients come of two sums a row, taken in one pass. Mean and
 * variance are taken in two passes, the second about the mean, so that a large mean costs a small
 * variance nothing. */
#include "ops/internal.h"
#include "ops/norm_lower.h"

#include <math.h>

static bool norm_infer(graph *g, node *n) {
    (void)g;
    n->dtype = MARE_F32;
    n->shape = n->in[0]->shape;
    return true;
}

static bool moments_infer(graph *g, node *n) {
    (void)g;
    n->dtype = MARE_F32;
    n->shape = shape_of(2, n->in[0]->shape.dim[1], 3);
    return true;
}

static bool sums_infer(graph *g, node *n) {
    (void)g;
    n->dtype = MARE_F32;
    n->shape = shape_of(2, n->in[0]->shape.dim[1], 2);
    return true;
}

/* ---- Reference ---------------------------------------------------------------------------- */

/* Place of element k of a row. */
static int64_t place(const extent *e, int64_t row, int64_t k) {
    return (k / e->inner * e->rows + row) * e->inner + k % e->inner;
}

static void row_moments(const norm_attr *a, const extent *e, const double *x, int64_t row,
                        double *mean, double *variance) {
    double n = (double)e->length, sum = 0, square = 0;
    for (int64_t k = 0; k < e->length; k++)
        sum += x[place(e, row, k)];
    *mean = a->centred ? sum / n : 0;
    for (int64_t k = 0; k < e->length; k++)
        square += pow(x[place(e, row, k)] - *mean, 2);
    *variance = square / n;
}

static int64_t weight_of(const norm_attr *a, const extent *e, int64_t row, int64_t k) {
    return (row % a->groups * e->length + k) / a->per;
}

static void norm_ref(const node *n, const double *const *in, double *out) {
    const norm_attr *a = attr_of(n);
    extent e = extent_of(&n->shape);
    const double *weight = a->weight ? in[1] : NULL, *bias = a->bias ? in[1 + a->weight] : NULL;
    for (int64_t r = 0; r < e.rows; r++) {
        double mean, variance;
        row_moments(a, &e, in[0], r, &mean, &variance);
        for (int64_t k = 0; k < e.length; k++) {
            int64_t at = place(&e, r, k), w = weight_of(a, &e, r, k);
            double y = (in[0][at] - mean) / sqrt(variance + a->eps);
            out[at] = y * (weight ? weight[w] : 1) + (bias ? bias[w] : 0);
        }
    }
}

/* The Jacobian row by row: d y[i] / d x[k] = (own - 1/n - y[i] y[k] / n) / deviation. */
static void norm_grad_ref(const node *n, const double *const *in, double *out) {
    const norm_attr *a = attr_of(n);
    extent e = extent_of(&n->shape);
    const double *x = in[0], *gy = in[1];
    for (int64_t r = 0; r < e.rows; r++) {
        double mean, variance, sum = 0, along = 0, size = (double)e.length;
        row_moments(a, &e, x, r, &mean, &variance);
        double deviation = sqrt(variance + a->eps);
        for (int64_t k = 0; k < e.length; k++) {
            int64_t at = place(&e, r, k);
            double g = gy[at] * (a->weight ? in[2][weight_of(a, &e, r, k)] : 1);
            sum += g;
            along += g * (x[at] - mean) / deviation;
        }
        for (int64_t k = 0; k < e.length; k++) {
            int64_t at = place(&e, r, k);
            double g = gy[at] * (a->weight ? in[2][weight_of(a, &e, r, k)] : 1);
            double y = (x[at] - mean) / deviation;
            out[at] = (g - (a->centred ? sum / size : 0) - y * along / size) / deviation;
        }
    }
}

static void moments_ref(const node *n, const double *const *in, double *out) {
    extent e = extent_of(&n->in[0]->shape);
    for (int64_t r = 0; r < e.rows; r++) {
        row_moments(attr_of(n), &e, in[0], r, &out[3 * r], &out[3 * r + 1]);
        out[3 * r + 2] = 0;
    }
}

static void sums_ref(const node *n, const double *const *in, double *out) {
    extent e = extent_of(&n->in[0]->shape);
    for (int64_t r = 0; r < e.rows; r++) {
        const double *m = in[2] + 3 * r;
        out[2 * r] = out[2 * r + 1] = 0;
        for (int64_t k = 0; k < e.length; k++) {
            int64_t at = place(&e, r, k);
            out[2 * r] += in[1][at];
            out[2 * r + 1] += in[1][at] * (in[0][at] - m[0] - m[2]) / sqrt(m[1] + attr_of(n)->eps);
        }
    }
}

/* ---- Gradients ---------------------------------------------------------------------------- */

/* How the weights see x: [any, weights, any], with one weight at each place of the middle axis. */
static shape weight_view(const norm_attr *a, const shape *x) {
    extent e = extent_of(x);
    if (e.outer > 1) return *x;
    return shape_of(3, e.rows / a->groups, a->groups * (e.length / a->per), a->per);
}

/* Sums y, which is like x, for each weight. */
static node *sum_weights(graph *g, const norm_attr *a, node *y) {
    if (!y) return NULL;
    shape s = weight_view(a, &y->shape);
    return op_sum(g, op_reshape(g, y, &s), 5, false);
}

/* y times the weights, when there are some. */
static node *weighted(graph *g, const norm_attr *a, node *y, node *weight) {
    if (!y || !a->weight) return y;
    shape s = weight_view(a, &y->shape), w = shape_of(3, 1, s.dim[1], 1);
    node *product = op_map2(g, "mul", op_reshape(g, y, &s), op_reshape(g, weight, &w));
    return op_reshape(g, product, &y->shape);
}

static norm_attr bare(const norm_attr *a) {
    norm_attr b = *a;
    b.weight = b.bias = b.moments = 0;
    return b;
}

static node *norm_rows_grad(graph *g, const norm_attr *a, node *x, node *gy, node *weight) {
    norm_attr b = *a;
    b.weight = weight != NULL;
    b.bias = b.moments = 0;
    return node_new(g, &op_desc_norm_rows_grad, (node *[]){x, gy, weight}, weight ? 3 : 2, &b);
}

static node *plain_norm(graph *g, const norm_attr *a, node *x) {
    norm_attr b = bare(a);
    return node_new(g, &op_desc_norm_rows, &x, 1, &b);
}

/* Column k of a matrix with a row for each row of x, to be stretched over x. */
static node *column(graph *g, node *matrix, int k) {
    if (!matrix) return NULL;
    shape s = shape_of(3, 1, matrix->shape.dim[0], 1);
    return op_reshape(g, op_narrow(g, matrix, 1, k, 1), &s);
}

/* Column k of sums, added up for each weight. */
static node *weight_sums(graph *g, const norm_attr *a, node *sums, int k) {
    if (!sums) return NULL;
    int64_t count = sums->shape.dim[0];
    node *each = op_reshape(g, op_narrow(g, sums, 1, k, 1), &(shape){1, {count}});
    if (count == a->groups) return each;
    shape s = shape_of(2, count / a->groups, a->groups);
    return op_sum(g, op_reshape(g, each, &s), 1, false);
}

/* With a weight a row: x is read once for the sums, and once more for its own gradient. */
static bool long_rows_vjp(graph *g, node *n, node *gy, node **gx) {
    const norm_attr *a = attr_of(n);
    norm_attr of_sums = bare(a), of_grad = of_sums;
    of_sums.moments = of_grad.moments = 1;
    of_grad.weight = a->weight;
    node *x = n->in[0], *moments = op_norm_moments(g, x, true);
    node *sums = node_new(g, &op_desc_norm_sums, (node *[]){x, gy, moments}, 3, &of_sums);
    node *in[5] = {x, gy};
    int n_in = 2;
    if (a->weight) in[n_in++] = n->in[1];
    in[n_in++] = moments;
    in[n_in++] = sums;
    if (x->requires_grad) gx[0] = node_new(g, &op_desc_norm_rows_grad, in, n_in, &of_grad);
    if (a->weight) gx[1] = weight_sums(g, a, sums, 1);
    if (a->bias) gx[1 + a->weight] = weight_sums(g, a, sums, 0);
    return !g->error->code;
}

static bool sums_vjp(graph *g, node *n, node *h, node **gx) {
    static const char *const names[] = {"x", "gy", "m", "v", "r", "g", "p", "h0", "h1", "eps"};
    node *moments = n->in[2];
    node *nodes[] = {n->in[0],
                     n->in[1],
                     column(g, moments, 0),
                     column(g, moments, 1),
                     column(g, moments, 2),
                     column(g, n, 0),
                     column(g, n, 1),
                     column(g, h, 0),
                     column(g, h, 1),
                     node_const(g, MARE_F32, attr_of(n)->eps)};
    gx[0] = op_expr(g, "h1 * gy * rsqrt(v + eps)", names, nodes, 10);
    gx[1] = op_expr(g, "h0 + h1 * ((x - m) - r) * rsqrt(v + eps)", names, nodes, 10);
    if (moments->requires_grad) {
        node *mean = op_expr(g, "-h1 * g * rsqrt(v + eps)", names, nodes, 10);
        node *variance = op_expr(g, "-0.5 * h1 * p / (v + eps)", names, nodes, 10);
        shape s = shape_of(2, moments->shape.dim[0], 1);
        node *part[] = {mean, variance, mean};
        for (int i = 0; i < 3; i++)
            part[i] = op_reshape(g, part[i], &s);
        gx[2] = op_concat(g, part, 3, 1);
    }
    return !g->error->code;
}

static bool norm_vjp(graph *g, node *n, node *gy, node **gx) {
    const norm_attr *a = attr_of(n);
    node *weight = a->weight ? n->in[1] : NULL;
    if (a->centred && a->per == extent_of(&n->shape).length && shape_count(&n->shape) > 0)
        return long_rows_vjp(g, n, gy, gx);
    if (n->in[0]->requires_grad) gx[0] = norm_rows_grad(g, a, n->in[0], gy, weight);
    if (weight && weight->requires_grad)
        gx[1] = sum_weights(g, a, op_map2(g, "mul", gy, plain_norm(g, a, n->in[0])));
    if (a->bias) gx[1 + a->weight] = sum_weights(g, a, gy);
    return !g->error->code;
}

/* Sums along rows, which stay as [1, rows, 1]. */
static node *row_sum(graph *g, node *a, node *b) {
    return op_sum(g, op_map2(g, "mul", a, b), 5, true);
}

/* n = J v with v = gy weight and the Jacobian J = s (C - y y' / size), which is symmetric: C takes
 * the mean off (or is the identity), y is the normalised row, s one over its deviation. */
static bool norm_grad_vjp(graph *g, node *n, node *h, node **gx) {
    const norm_attr *a = attr_of(n);
    node *x = n->in[0], *gy = n->in[1], *weight = a->weight ? n->in[2] : NULL;
    node *jh = norm_rows_grad(g, a, x, h, NULL);
    gx[1] = weighted(g, a, jh, weight);
    if (weight) gx[2] = sum_weights(g, a, op_map2(g, "mul", gy, jh));
    if (x->requires_grad) {
        static const char *const names[] = {"y", "jv", "jh", "f", "vy", "hy", "s"};
        node *y = plain_norm(g, a, x), *v = weighted(g, a, gy, weight);
        node *variance = op_narrow(g, op_norm_moments(g, x, a->centred), 1, 1, 1);
        shape per_row = shape_of(3, 1, x->shape.dim[1], 1);
        node *scale = op_map1(g, "rsqrt", op_map_scalar(g, "add", variance, a->eps));
        scale = op_map_scalar(g, "mul", scale, -1.0 / (double)extent_of(&x->shape).length);
        node *nodes[] = {y,
                         n,
                         jh,
                         row_sum(g, h, n),
                         row_sum(g, v, y),
                         row_sum(g, h, y),
                         op_reshape(g, scale, &per_row)};
        gx[0] = op_expr(g, "s * (f * y + vy * jh + hy * jv)", names, nodes, 7);
    }
    return !g->error->code;
}

static bool moments_vjp(graph *g, node *n, node *gy, node **gx) {
    static const char *const names[] = {"x", "m", "gm", "gv", "k"};
    const shape *s = &n->in[0]->shape;
    shape per_row = shape_of(3, 1, s->dim[1], 1);
    node *part[3] = {op_narrow(g, n, 1, 0, 1), op_narrow(g, gy, 1, 0, 1),
                     op_narrow(g, gy, 1, 1, 1)};
    for (int i = 0; i < 3; i++)
        part[i] = op_reshape(g, part[i], &per_row);
    node *nodes[] = {n->in[0], part[0], part[1], part[2],
                     node_const(g, MARE_F32, 1.0 / (double)extent_of(s).length)};
    /* Without a mean taken off, m is 0 and does not depend on x. */
    gx[0] = op_expr(g, attr_of(n)->centred ? "k * (gm + 2 * gv * (x - m))" : "2 * k * gv * x",
                    names, nodes, 5);
    return gx[0] != NULL;
}

/* ---- Builders ----------------------------------------------------------------------------- */

node *op_norm_rows(graph *g, node *x, const norm_options *o, node *weight, node *bias) {
    return op_norm_rows_by(g, x, NULL, o, weight, bias);
}

node *op_norm_rows_by(graph *g, node *x, node *moments, const norm_options *o, node *weight,
                      node *bias) {
    norm_attr a = {.eps = o->eps,
                   .groups = o->groups,
                   .per = o->per,
                   .centred = o->centred,
                   .weight = weight != NULL,
                   .bias = bias != NULL,
                   .moments = moments != NULL};
    node *in[4] = {x};
    int n = 1;
    if (weight) in[n++] = op_cast(g, weight, MARE_F32);
    if (bias) in[n++] = op_cast(g, bias, MARE_F32);
    if (moments) in[n++] = moments;
    return node_new(g, &op_desc_norm_rows, in, n, &a);
}

node *op_norm_moments(graph *g, node *x, bool centred) {
    if (!x) return NULL;
    norm_attr a = {.groups = 1, .per = 1, .centred = centred};
    return node_new(g, &op_desc_norm_moments, &x, 1, &a);
}

/* ---- Cases -------------------------------------------------------------------------------- */

/* Of x [outer, rows, inner]. */
static node *each(graph *g, node **in) {
    return op_norm_rows(g, in[0], &(norm_options){1e-5, 1, 1, true}, in[1], in[2]);
}
static node *each_rms(graph *g, node **in) {
    return op_norm_rows(g, in[0], &(norm_options){1e-5, 1, 1, false}, in[1], NULL);
}
static node *each_bare(graph *g, node **in) {
    return op_norm_rows(g, in[0], &(norm_options){1e-5, 1, 1, true}, NULL, NULL);
}
/* Two groups of rows, three elements a weight. */
static node *by_run(graph *g, node **in) {
    return op_norm_rows(g, in[0], &(norm_options){1e-5, 2, 3, true}, in[1], in[2]);
}
static node *by_run4(graph *g, node **in) {
    return op_norm_rows(g, in[0], &(norm_options){1e-5, 2, 4, true}, in[1], in[2]);
}
static node *by_row(graph *g, node **in) {
    int64_t length = in[0]->shape.dim[0] * in[0]->shape.dim[2];
    return op_norm_rows(g, in[0], &(norm_options){1e-5, in[0]->shape.dim[1], length, true}, in[1],
                        in[2]);
}
static node *by_row_moments(graph *g, node **in) {
    int64_t length = in[0]->shape.dim[0] * in[0]->shape.dim[2];
    norm_options o = {1e-5, in[0]->shape.dim[1], length, true};
    return op_norm_rows_by(g, in[0], op_norm_moments(g, in[0], true), &o, in[1], in[2]);
}
static node *by_row_bias(graph *g, node **in) {
    int64_t length = in[0]->shape.dim[0] * in[0]->shape.dim[2];
    return op_norm_rows(g, in[0], &(norm_options){1e-5, in[0]->shape.dim[1], length, true}, NULL,
                        in[1]);
}
static node *rms_moments(graph *g, node **in) {
    return op_norm_moments(g, in[0], false);
}
static node *mean_moments(graph *g, node **in) {
    return op_norm_moments(g, in[0], true);
}

#define CASE(f, n, ...)                                                                            \
    { .n_in = n, .in = {__VA_ARGS__}, .lo = -2, .hi = 2, .build = f }
#define BATCH(f, outer, rows, inner)                                                               \
    CASE(f, 3, SHAPE3(outer, rows, inner), SHAPE1(rows), SHAPE1(rows))

static const op_case norm_cases[] = {CASE(each, 3, SHAPE3(1, 5, 7), SHAPE1(7), SHAPE1(7)),
                                     CASE(each, 3, SHAPE3(1, 3, 1), SHAPE1(1), SHAPE1(1)),
                                     CASE(each, 3, SHAPE3(1, 0, 3), SHAPE1(3), SHAPE1(3)),
                                     CASE(each, 3, SHAPE3(1, 3, 300), SHAPE1(300), SHAPE1(300)),
                                     CASE(each_rms, 2, SHAPE3(1, 5, 7), SHAPE1(7)),
                                     CASE(each_rms, 2, SHAPE3(1, 3, 100), SHAPE1(100)),
                                     CASE(each_bare, 1, SHAPE3(1, 300, 5)),
                                     CASE(each_bare, 1, SHAPE3(1, 2, 9001)),
                                     CASE(by_run, 3, SHAPE3(1, 4, 9), SHAPE1(6), SHAPE1(6)),
                                     CASE(by_run, 3, SHAPE3(1, 2, 90), SHAPE1(60), SHAPE1(60)),
                                     BATCH(by_row, 4, 3, 5),
                                     BATCH(by_row, 9, 70, 1),
                                     BATCH(by_row, 3, 2, 37),
                                     BATCH(by_row, 5, 1, 3001),
                                     /* by whole fours, in parts too */
                                     BATCH(by_row, 3, 2, 36),
                                     BATCH(by_row, 5, 1, 3004),
                                     CASE(each, 3, SHAPE3(1, 300, 8), SHAPE1(8), SHAPE1(8)),
                                     CASE(by_run4, 3, SHAPE3(1, 4, 12), SHAPE1(6), SHAPE1(6)),
                                     BATCH(by_row_moments, 5, 1, 3004),
                                     BATCH(by_row_moments, 4, 3, 5),
                                     BATCH(by_row_moments, 1, 3, 70),
                                     BATCH(by_row_moments, 5, 1, 3001),
                                     CASE(by_row_bias, 2, SHAPE3(1, 3, 8), SHAPE1(3)),
                                     {0}};
/* Moments are inputs of sums_of_rows, whatever they are. */
static node *sums_of_rows(graph *g, node **in) {
    const shape *s = &in[0]->shape;
    int64_t length = s->dim[0] * s->dim[2];
    norm_attr a = {.eps = 1e-5, .groups = s->dim[1], .per = length, .centred = true, .moments = 1};
    return node_new(g, &op_desc_norm_sums, in, 3, &a);
}
#define SUMS(outer, rows, inner)                                                                   \
    {                                                                                              \
        .n_in = 3,                                                                                 \
        .in = {SHAPE3(outer, rows, inner), SHAPE3(outer, rows, inner), SHAPE2(rows, 3)},           \
        .lo = 0.5, .hi = 2, .build = sums_of_rows                                                  \
    }
static const op_case sums_cases[] = {SUMS(4, 3, 5),
                                     SUMS(1, 3, 70),
                                     SUMS(9, 70, 1),
                                     SUMS(5, 1, 3001),
                                     SUMS(3, 2, 7000),
                                     SUMS(5, 1, 3004),
                                     {0}};
static const op_case moments_cases[] = {CASE(mean_moments, 1, SHAPE3(1, 5, 7)),
                                        CASE(rms_moments, 1, SHAPE3(1, 5, 7)),
                                        CASE(mean_moments, 1, SHAPE3(3, 4, 50)),
                                        CASE(mean_moments, 1, SHAPE3(1, 0, 3)),
                                        CASE(mean_moments, 1, SHAPE3(5, 2, 3001)),
                                        CASE(mean_moments, 1, SHAPE3(5, 2, 3004)),
                                        {0}};
/* Through the gradient of the first. */
static node *grad_of(graph *g, node **in, bool centred) {
    norm_attr a = {.eps = 1e-5, .groups = 1, .per = 1, .centred = centred};
    return norm_rows_grad(g, &a, in[0], in[1], in[2]);
}
static node *grad_each(graph *g, node **in) {
    return grad_of(g, in, true);
}
static node *grad_rms(graph *g, node **in) {
    return grad_of(g, in, false);
}
static node *grad_row(graph *g, node **in) {
    const shape *s = &in[0]->shape;
    norm_attr a = {.eps = 1e-5, .groups = s->dim[1], .per = s->dim[0] * s->dim[2], .centred = true};
    return norm_rows_grad(g, &a, in[0], in[1], in[2]);
}
static const op_case norm_grad_cases[] = {
    CASE(grad_each, 2, SHAPE3(1, 5, 7), SHAPE3(1, 5, 7)),
    CASE(grad_each, 3, SHAPE3(1, 3, 70), SHAPE3(1, 3, 70), SHAPE1(70)),
    CASE(grad_rms, 3, SHAPE3(1, 4, 9), SHAPE3(1, 4, 9), SHAPE1(9)),
    CASE(grad_row, 3, SHAPE3(4, 3, 5), SHAPE3(4, 3, 5), SHAPE1(3)),
    CASE(grad_row, 3, SHAPE3(3, 1, 3001), SHAPE3(3, 1, 3001), SHAPE1(1)),
    CASE(grad_row, 3, SHAPE3(3, 1, 3004), SHAPE3(3, 1, 3004), SHAPE1(1)),
    CASE(grad_each, 3, SHAPE3(1, 3, 72), SHAPE3(1, 3, 72), SHAPE1(72)),
    {0}};

/* ---- Descriptors -------------------------------------------------------------------------- */

#define DESCRIPTOR(id, about, shapes, grad, reference, list, joins)                                \
    const op op_desc_##id = {.name = #id,                                                          \
                             .at = OP_HERE,                                                        \
                             .dtypes = OWN_DTYPES,                                                 \
                             .doc = about,                                                         \
                             .attr_size = sizeof(norm_attr),                                       \
                             .infer = shapes,                                                      \
                             .vjp = grad,                                                          \
                             .lower = norm_lower,                                                  \
                             .attach = joins,                                                      \
                             .ref = reference,                                                     \
                             .cases = list,                                                        \
                             .smooth = true};
DESCRIPTOR(norm_rows,
           "x [outer, rows, inner], each row less its mean, over its deviation; weight, bias",
           norm_infer, norm_vjp, norm_ref, norm_cases, ATTACH_AFTER)
DESCRIPTOR(norm_rows_grad, "x, gy, weight -> the gradient of x in norm_rows", norm_infer,
           norm_grad_vjp, norm_grad_ref, norm_grad_cases, ATTACH_AFTER)
DESCRIPTOR(norm_moments,
           "x [outer, rows, inner] -> [rows, 3]: mean and variance of each row, and what rounding "
           "took from the mean",
           moments_infer, moments_vjp, moments_ref, moments_cases, 0)
DESCRIPTOR(norm_sums, "x, gy, moments -> [rows, 2]: sums of gy and of gy times the normalised row",
           sums_infer, sums_vjp, sums_ref, sums_cases, 0)
