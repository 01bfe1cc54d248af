/* Rows normalised by their mean and variance, with weights and biases: one kernel forward and one
 * backward, which takes the statistics anew from x. Mean and variance are taken in two passes, the
 * second about the mean, so that a large mean costs a small variance nothing. */
#include "ops/norm.h"
#include "ops/internal.h"
#include "ops/loop.h"

#include <math.h>
#include <string.h>

typedef struct norm_attr {
    double eps;
    int64_t groups, per;
    uint32_t centred, weight, bias, unused;
} norm_attr;

static const norm_attr *attr_of(const node *n) {
    return OP_ATTR(norm_attr, n);
}

/* x [outer, rows, inner]: a row is everything at one place of the middle axis. */
typedef struct extent {
    int64_t outer, rows, inner, length;
} extent;

static extent extent_of(const shape *x) {
    return (extent){x->dim[0], x->dim[1], x->dim[2], x->dim[0] * x->dim[2]};
}

static bool norm_infer(graph *g, node *n) {
    (void)g;
    n->dtype = MARE_F32;
    n->shape = n->in[0]->shape;
    return true;
}

static bool moments_infer(graph *g, node *n) {
    (void)g;
    n->dtype = MARE_F32;
    n->shape = shape_of(2, n->in[0]->shape.dim[1], 2);
    return true;
}

/* ---- Lowering ----------------------------------------------------------------------------- */

/* The operands of one node, over the rows from `from` on (rows 0: all). */
typedef struct job {
    const norm_attr *attr;
    extent e;
    operand x, out, gy, weight, bias;
    bool has_gy, has_weight, has_bias;
    const char *kind;
    int64_t from, parts;
    const operand *moments, *sums; /* what the parts came to; null: not cut into parts */
} job;

static int64_t part_length(const job *j) {
    int64_t part = (j->e.length + j->parts - 1) / j->parts;
    return j->e.length % 4 == 0 ? (part + 3) / 4 * 4 : part;
}

/* Elements from one run of a row to its next, in runs of *run. */
static int64_t jump_of(const job *j, int64_t *run) {
    const extent *e = &j->e;
    bool per_run = j->attr->per != e->length && j->attr->per > 1;
    *run = per_run ? j->attr->per : e->outer > 1 ? e->inner : e->length;
    return e->outer > 1 ? e->rows * e->inner : *run;
}

/* Can the kernel go through rows by whole fours? */
static bool in_fours(const job *j, const operand *out) {
    int64_t run, jump = jump_of(j, &run), inner = j->e.outer > 1 ? j->e.inner : j->e.length;
    const operand *all[] = {&j->x, out, j->has_gy ? &j->gy : out, j->has_weight ? &j->weight : out,
                            j->has_bias ? &j->bias : out};
    bool fours = run % 4 == 0 && jump % 4 == 0 && inner % 4 == 0;
    for (int i = 0; i < 5; i++)
        fours = fours && all[i]->view.offset % 4 == 0;
    return fours;
}

/* Has each row, or part of one, a workgroup? A CPU need not read neighbours at once, and what a
 * workgroup does for each row costs it as much as some 100 elements. */
static bool by_group(const lowering *l, const job *j) {
    const extent *e = &j->e;
    int64_t part = part_length(j), least = 64;
    if (l->caps->type == DEV_CPU && e->rows >= 64) least = 256;
    bool side_by_side = e->outer > 1 && e->inner < 16 && e->rows >= 64;
    return j->parts > 1 || (!side_by_side && part >= least);
}

static mare_status emit(lowering *l, const job *j, const operand *out) {
    const norm_attr *a = j->attr;
    const extent *e = &j->e;
    int64_t jobs = e->rows * j->parts, part = part_length(j), run, jump = jump_of(j, &run);
    bool group = by_group(l, j), four = in_fours(j, out);
    bool per_row = a->per == e->length, per_run = !per_row && a->per > 1;
    bool runs = e->outer > 1 || per_run;
    int bind = out->after ? 1 : 2, gy_at = j->has_gy ? ++bind : 0,
        weight_at = j->has_weight ? ++bind : 0, bias_at = j->has_bias ? ++bind : 0,
        moments_at = j->moments ? ++bind : 0, sums_at = j->sums ? ++bind : 0;
    uint32_t first[7] = {0}, wide = four ? 4 : 1;
    uint32_t size = group ? loop_group(l, part / wide) : loop_alone(l, jobs);
    const char *defines =
        lower_text(l, "KIND_%s 1\n%s%s%s%s%s", j->kind, loop_group_defines(l, group ? size : 0),
                   four ? "FOUR 1\n" : "", a->centred ? "CENTRED 1\n" : "", runs ? "RUNS 1\n" : "",
                   per_row   ? "PER_ROW 1\n"
                   : per_run ? "PER_RUN 1\n"
                             : "PER_ELEMENT 1\n");
    const struct {
        const char *name;
        int at;
    } more[] = {{"GY_AT", gy_at},
                {"WEIGHT_AT", weight_at},
                {"BIAS_AT", bias_at},
                {"JOIN_parts", moments_at},
                {"JOIN_sums", sums_at}};
    for (int i = 0; i < 5 && defines; i++)
        if (more[i].at) defines = lower_text(l, "%s%s %d\n", defines, more[i].name, more[i].at);
    launch *x = defines ? lower_launch(l, "norm/rows.comp", defines) : NULL;
    if (!x) return lower_error(l);
    mare_status s = launch_bind(l, x, &j->x, READ, &first[0]);
    if (!s && !out->after) s = launch_bind(l, x, out, WRITE, &first[1]);
    if (!s && j->has_gy) s = launch_bind(l, x, &j->gy, READ, &first[2]);
    if (!s && j->has_weight) s = launch_bind(l, x, &j->weight, READ, &first[3]);
    if (!s && j->has_bias) s = launch_bind(l, x, &j->bias, READ, &first[4]);
    if (!s && j->moments) s = launch_bind(l, x, j->moments, READ, &first[5]);
    if (!s && j->sums) s = launch_bind(l, x, j->sums, READ, &first[6]);
    if (s) return s;
    bool elements = four && a->per == 1; /* weights are read by fours, too */
    launch_spec(x, size);
    launch_u32(x, (uint32_t)e->rows);
    launch_u32(x, (uint32_t)e->length / wide);
    launch_u32(x, (uint32_t)part / wide);
    launch_u32(x, (uint32_t)j->parts);
    launch_u32(x, (uint32_t)(e->outer > 1 ? e->inner : e->length) / wide);
    launch_u32(x, (uint32_t)run / wide);
    launch_u32(x, (uint32_t)jump / wide);
    launch_u32(x, (uint32_t)j->from);
    launch_u32(x, (uint32_t)a->groups);
    launch_u32(x, (uint32_t)(e->length / a->per) / (elements ? 4 : 1));
    launch_f32(x, (float)a->eps);
    bool results = strcmp(j->kind, "norm") == 0 || strcmp(j->kind, "grad") == 0;
    for (int i = 0; i < 7; i++) {
        bool in_four = i == 1 ? results : i < 3 || (i < 5 && elements);
        launch_u32(x, in_four ? first[i] / wide : first[i]);
    }
    s = launch_attach(l, x, NULL, out);
    if (s) return s;
    return launch_groups(l, x, group ? (uint64_t)jobs : ((uint64_t)jobs + size - 1) / size);
}

/* Few long rows are cut into parts, so that the device has enough to do at once; their figures go
 * through scratch memory. */
static int64_t part_count(const lowering *l, const job *j) {
    bool cpu = l->caps->type == DEV_CPU;
    if (l->caps->storage_buffers < 6) return 1;
    int64_t wanted = (cpu ? 16 : 256) / j->e.rows, most = j->e.length / 4096;
    int64_t parts = wanted < most ? wanted : most;
    return parts < 2 ? 1 : parts;
}

static mare_status run(lowering *l, job *j) {
    j->parts = part_count(l, j);
    if (j->parts == 1) return emit(l, j, &j->out);
    int64_t part = part_length(j);
    j->parts = (j->e.length + part - 1) / part;
    shape three = shape_of(1, j->e.rows * j->parts * 3),
          two = shape_of(1, j->e.rows * j->parts * 2);
    operand moments = lower_scratch(l, MARE_F32, &three), sums;
    job p = *j;
    p.kind = "parts";
    p.has_gy = p.has_weight = p.has_bias = false;
    mare_status s = emit(l, &p, &moments);
    j->moments = &moments;
    if (!s && j->has_gy) {
        sums = lower_scratch(l, MARE_F32, &two);
        p = *j;
        p.kind = "sums";
        s = emit(l, &p, &sums);
        j->sums = &sums;
    }
    return s ? s : emit(l, j, &j->out);
}

/* Rows from, from + 1, ... of x, or of something like it. */
static operand rows_of(const operand *o, int64_t from, int64_t count, int64_t width) {
    operand r = *o;
    r.view.offset += from * width;
    r.shape = shape_of(1, count * width);
    r.view.stride[0] = 1;
    return r;
}

static mare_status norm_lower(lowering *l, const node *n, const operand *in, const operand *out) {
    const norm_attr *a = attr_of(n);
    bool grad = n->op == &op_desc_norm_rows_grad, moments = n->op == &op_desc_norm_moments;
    if (shape_count(&n->shape) == 0) return MARE_OK;
    job all = {.attr = a, .e = extent_of(&n->in[0]->shape), .has_gy = grad};
    all.has_weight = a->weight;
    all.has_bias = a->bias;
    all.kind = grad ? "grad" : moments ? "moments" : "norm";
    operand *to[] = {&all.x, grad ? &all.gy : &all.weight,
                     grad || !a->weight ? &all.weight : &all.bias};
    if (!grad && !a->weight) to[1] = &all.bias;
    for (int i = 0; i < n->n_in; i++) {
        mare_status s = lower_contiguous(l, &in[i], to[i]);
        if (s) return s;
    }
    all.out = *out;
    /* Whole rows, as many as one binding takes; rows in several runs go through the whole tensor.
     */
    int64_t width = all.e.outer > 1 ? 0 : all.e.length, most = all.e.rows;
    if (width) {
        int64_t fit = (int64_t)(l->caps->binding - 512) / 4 / width;
        most = fit < 1 ? 1 : fit < most ? fit : most;
    }
    /* A program that is attached takes all rows at once. */
    if (moments || most < all.e.rows) all.out.after = NULL;
    for (int64_t from = 0; from < all.e.rows; from += most) {
        job j = all;
        j.from = from;
        j.e.rows = all.e.rows - from < most ? all.e.rows - from : most;
        if (width) {
            j.x = rows_of(&all.x, from, j.e.rows, width);
            j.out = rows_of(&all.out, from, j.e.rows, moments ? 2 : width);
            if (grad) j.gy = rows_of(&all.gy, from, j.e.rows, width);
        }
        mare_status s = run(l, &j);
        if (s) return s;
    }
    return MARE_OK;
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
    for (int64_t r = 0; r < e.rows; r++)
        row_moments(attr_of(n), &e, in[0], r, &out[2 * r], &out[2 * r + 1]);
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
    b.weight = b.bias = 0;
    return b;
}

static node *norm_rows_grad(graph *g, const norm_attr *a, node *x, node *gy, node *weight) {
    norm_attr b = *a;
    b.weight = weight != NULL;
    b.bias = 0;
    return node_new(g, &op_desc_norm_rows_grad, (node *[]){x, gy, weight}, weight ? 3 : 2, &b);
}

static node *plain_norm(graph *g, const norm_attr *a, node *x) {
    norm_attr b = bare(a);
    return node_new(g, &op_desc_norm_rows, &x, 1, &b);
}

static bool norm_vjp(graph *g, node *n, node *gy, node **gx) {
    const norm_attr *a = attr_of(n);
    node *weight = a->weight ? n->in[1] : NULL;
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
    norm_attr a = {.eps = o->eps,
                   .groups = o->groups,
                   .per = o->per,
                   .centred = o->centred,
                   .weight = weight != NULL,
                   .bias = bias != NULL};
    node *in[3] = {x};
    int n = 1;
    if (weight) in[n++] = op_cast(g, weight, MARE_F32);
    if (bias) in[n++] = op_cast(g, bias, MARE_F32);
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
                                     CASE(by_row_bias, 2, SHAPE3(1, 3, 8), SHAPE1(3)),
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

#define DESCRIPTOR(id, about, shapes, grad, reference, list)                                       \
    const op op_desc_##id = {.name = #id,                                                          \
                             .at = OP_HERE,                                                        \
                             .dtypes = OWN_DTYPES,                                                 \
                             .doc = about,                                                         \
                             .attr_size = sizeof(norm_attr),                                       \
                             .infer = shapes,                                                      \
                             .vjp = grad,                                                          \
                             .lower = norm_lower,                                                  \
                             .attach = ATTACH_AFTER,                                               \
                             .ref = reference,                                                     \
                             .cases = list,                                                        \
                             .smooth = true};
DESCRIPTOR(norm_rows,
           "x [outer, rows, inner], each row less its mean, over its deviation; weight, bias",
           norm_infer, norm_vjp, norm_ref, norm_cases)
DESCRIPTOR(norm_rows_grad, "x, gy, weight -> the gradient of x in norm_rows", norm_infer,
           norm_grad_vjp, norm_grad_ref, norm_grad_cases)
DESCRIPTOR(norm_moments, "x [outer, rows, inner] -> [rows, 2]: mean and variance of each row",
           moments_infer, moments_vjp, moments_ref, moments_cases)
