/* The reverse of indexing: elements go to places along an axis, and those that meet are folded.
 * Always in the order of the indices, so results do not depend on luck. */
#include "ops/indexing.h"
#include "plan/lower.h"

#include <limits.h>
#include <math.h>
#include <string.h>

typedef struct scatter_attr {
    int64_t rows; /* of the result along the axis */
    uint32_t axis, fold;
} scatter_attr;

/* A list of indices for the axis alone, or one index for each element? */
static bool is_list(const node *n) {
    return n->in[1]->shape.rank == 1;
}

static bool scatter_infer(graph *g, node *n) {
    (void)g;
    const scatter_attr *at = OP_ATTR(scatter_attr, n);
    n->dtype = n->in[0]->dtype;
    n->shape = n->in[0]->shape;
    n->shape.dim[at->axis] = at->rows;
    return true;
}

static index_layout layout_of(const node *n) {
    const scatter_attr *at = OP_ATTR(scatter_attr, n);
    return index_layout_of(&n->shape, at->axis, n->in[0]->shape.dim[at->axis]);
}

static double start_of(fold f, bool floats) {
    switch (f) {
    case FOLD_SUM:
    case FOLD_ONLY:
        return 0;
    case FOLD_PROD:
        return 1;
    case FOLD_MAX:
        return floats ? -INFINITY : INT32_MIN;
    case FOLD_MIN:
        return floats ? INFINITY : INT32_MAX;
    }
    return 0;
}

/* Does the order in which elements are folded make no difference? */
static bool any_order(fold f, mare_dtype t) {
    return f == FOLD_MAX || f == FOLD_MIN || f == FOLD_ONLY || (f == FOLD_SUM && t == MARE_I32);
}

/* ---- Lowering ----------------------------------------------------------------------------- */

static void index_steps(launch *k, const node *n, const index_layout *y) {
    bool list = is_list(n);
    launch_u32(k, list ? 0 : (uint32_t)(y->picks * y->inner));
    launch_u32(k, list ? 1 : (uint32_t)y->inner);
    launch_u32(k, list ? 0 : 1);
}

static mare_status any_pass(lowering *l, const node *n, const operand *src, const operand *index,
                            const operand *out, int pass) {
    index_layout y = layout_of(n);
    fold f = (fold)OP_ATTR(scatter_attr, n)->fold;
    /* What is only moved is moved as words. */
    bool floats = n->dtype == MARE_F32 && f != FOLD_ONLY,
         fills = f != FOLD_ONLY || y.picks < y.rows;
    /* Infinities as integers of the same order: see the shader. */
    const char *start = f == FOLD_SUM    ? "0"
                        : f == FOLD_ONLY ? "0"
                        : f == FOLD_MAX  ? (floats ? "int(0x807fffffu)" : "int(0x80000000u)")
                                         : (floats ? "0x7f800000" : "0x7fffffff");
    launch *k = lower_launch(l, "index/scatter_any.comp",
                             lower_text(l, "T %s\nPASS %d\nSTART %s\nATOMIC%s\n%sNAN_KEY %s\n",
                                        floats ? "float" : "int", pass, start,
                                        f == FOLD_ONLY  ? "(a, b) a = b"
                                        : f == FOLD_SUM ? " atomicAdd"
                                        : f == FOLD_MAX ? " atomicMax"
                                                        : " atomicMin",
                                        floats ? "FLOATS 1\n" : "",
                                        f == FOLD_MAX ? "0x7fffffff" : "int(0x80000000u)"));
    if (!k) return lower_error(l);
    uint32_t wg = lower_workgroup(l), first[3] = {0};
    mare_status s = MARE_OK;
    launch_spec(k, wg);
    if (pass == 1) s = launch_bind(l, k, src, READ, &first[0]);
    if (pass == 1 && !s) s = launch_bind(l, k, index, READ, &first[1]);
    if (!s) s = launch_bind(l, k, out, pass && fills ? READ_WRITE : WRITE, &first[2]);
    if (s) return s;
    int64_t count = shape_count(pass == 1 ? &n->in[0]->shape : &n->shape);
    launch_u32(k, (uint32_t)count);
    launch_u32(k, (uint32_t)y.rows);
    launch_u32(k, (uint32_t)y.picks);
    launch_u32(k, (uint32_t)y.inner);
    index_steps(k, n, &y);
    for (int i = 0; i < 3; i++)
        launch_u32(k, first[i]);
    return launch_groups(l, k, ((uint64_t)count + wg - 1) / wg);
}

static mare_status lower_any(lowering *l, const node *n, const operand *src, const operand *index,
                             const operand *out) {
    index_layout y = layout_of(n);
    bool only = OP_ATTR(scatter_attr, n)->fold == FOLD_ONLY;
    for (int pass = 0; pass < 3; pass++) {
        if (pass == 0 && only && y.picks == y.rows) continue;
        if (pass == 1 && shape_count(&n->in[0]->shape) == 0) continue;
        if (pass == 2 && (only || n->dtype != MARE_F32)) continue;
        mare_status s = any_pass(l, n, src, index, out, pass);
        if (s) return s;
    }
    return MARE_OK;
}

/* One launch of index/scatter.comp; order null: of indices that are in none. */
static mare_status emit(lowering *l, const node *n, const char *mode, const operand *src,
                        const operand *index, const operand *order, const operand *out) {
    index_layout y = layout_of(n);
    fold f = (fold)OP_ATTR(scatter_attr, n)->fold;
    bool starts = strcmp(mode, "STARTS") == 0, group = strcmp(mode, "GROUP") == 0;
    bool four = strcmp(mode, "RUNS") == 0 && y.inner % 4 == 0 && out->view.offset % 4 == 0;
    uint32_t wg = lower_workgroup(l), first[4] = {0}, wide = four ? 4 : 1;
    const char *type = n->dtype == MARE_F32 ? four ? "vec4" : "float" : four ? "ivec4" : "int";
    launch *k =
        lower_launch(l, "index/scatter.comp",
                     lower_text(l, "T %s\nSTART %s\nFOLD(a, b) a %s b\n%s 1\n", type,
                                f == FOLD_SUM ? "T(0)" : "T(1)", f == FOLD_SUM ? "+" : "*", mode));
    if (!k) return lower_error(l);
    launch_spec(k, wg);
    mare_status s = launch_bind(l, k, src, READ, &first[0]);
    if (!s) s = launch_bind(l, k, index, READ, &first[1]);
    if (!s && order) s = launch_bind(l, k, order, READ, &first[2]);
    if (!s) s = launch_bind(l, k, out, WRITE, &first[3]);
    if (s) return s;
    int64_t columns = (y.inner + wg - 1) / wg, count = shape_count(&n->shape) / wide;
    if (group) count = y.outer * y.rows * columns;
    if (starts) count = y.rows + 1;
    launch_u32(k, (uint32_t)count);
    launch_u32(k, (uint32_t)y.rows);
    launch_u32(k, (uint32_t)y.picks);
    launch_u32(k, (uint32_t)y.inner / wide);
    launch_u32(k, (uint32_t)columns);
    index_steps(k, n, &y);
    for (int i = 0; i < 4; i++)
        launch_u32(k, i == 0 || (i == 3 && !starts) ? first[i] / wide : first[i]);
    launch_divisor(k, (uint32_t)y.inner / wide);
    launch_divisor(k, (uint32_t)y.rows);
    return launch_groups(l, k, (uint64_t)(group ? count : (count + wg - 1) / wg));
}

static mare_status scatter_lower(lowering *l, const node *n, const operand *in,
                                 const operand *out) {
    if (shape_count(&n->shape) == 0) return MARE_OK;
    index_layout y = layout_of(n);
    fold f = (fold)OP_ATTR(scatter_attr, n)->fold;
    bool sorted = n->n_in == 4;
    operand src, index, order, starts;
    mare_status s = lower_contiguous(l, &in[0], &src);
    if (!s) s = lower_contiguous(l, &in[sorted ? 2 : 1], &index);
    if (!s && sorted) s = lower_contiguous(l, &in[3], &order);
    if (s) return s;
    if (any_order(f, n->dtype)) return lower_any(l, n, &src, &index, out);
    if (sorted && !is_list(n)) return emit(l, n, "SORTED", &src, &index, &order, out);
    if (sorted) {
        shape rows = shape_of(1, y.rows + 1);
        starts = lower_scratch(l, MARE_I32, &rows);
        s = emit(l, n, "STARTS", &src, &index, NULL, &starts);
        return s ? s : emit(l, n, "RUNS", &src, &starts, &order, out);
    }
    /* Reading the whole list for one element costs less than a group's rounds over it when the list
     * or the rows are short. */
    int64_t wg = lower_workgroup(l);
    bool group = is_list(n) && y.inner * y.picks > y.picks + 4 * wg;
    return emit(l, n, group ? "GROUP" : "SCAN", &src, &index, NULL, out);
}

/* ---- Reference ---------------------------------------------------------------------------- */

static double wrapped(double v) {
    v = fmod(v, 4294967296.0);
    return v >= 2147483648.0 ? v - 4294967296.0 : v < -2147483648.0 ? v + 4294967296.0 : v;
}

static void scatter_ref(const node *n, const double *const *in, double *out) {
    index_layout y = layout_of(n);
    fold f = (fold)OP_ATTR(scatter_attr, n)->fold;
    int64_t count = shape_count(&n->shape);
    bool ints = n->dtype == MARE_I32;
    for (int64_t i = 0; i < count; i++)
        out[i] = start_of(f, !ints);
    const double *from = in[0];
    for (int64_t o = 0; o < y.outer; o++)
        for (int64_t j = 0; j < y.picks; j++)
            for (int64_t c = 0; c < y.inner; c++) {
                double v = *from, at = in[1][is_list(n) ? j : from - in[0]];
                double *to = &out[(o * y.rows + (int64_t)at) * y.inner + c];
                from++;
                if (f == FOLD_ONLY)
                    *to = v;
                else if (f == FOLD_SUM)
                    *to = ints ? wrapped(*to + v) : *to + v;
                else if (f == FOLD_PROD)
                    *to = ints ? wrapped(*to * v) : *to * v;
                else if (!isnan(*to) && (isnan(v) || (f == FOLD_MAX ? v > *to : v < *to)))
                    *to = v;
            }
}

/* ---- Gradients ---------------------------------------------------------------------------- */

/* What the places of n hold, for each element of its source. */
static node *back(graph *g, const node *n, node *y) {
    const scatter_attr *at = OP_ATTR(scatter_attr, n);
    int axis = (int)at->axis;
    if (at->fold == FOLD_ONLY) return op_gather_distinct(g, y, n->in[1], axis);
    return is_list(n) ? op_take(g, y, n->in[1], axis) : op_gather(g, y, n->in[1], axis);
}

static node *again(graph *g, const node *n, fold f, node *src) {
    const scatter_attr *at = OP_ATTR(scatter_attr, n);
    return op_scatter_into(g, f, src, n->in[1], (int)at->axis, at->rows);
}

/* The product of all others: y / a without zeros in the way; with one, it alone has a gradient. */
static node *prod_grad(graph *g, node *n, node *gy) {
    static const char *const names[] = {"a", "p", "zeros", "g"};
    node *a = n->in[0], *zero = op_map_scalar(g, "eq", a, 0);
    node *rest = op_map3(g, "where", zero, node_const(g, MARE_F32, 1), a);
    node *p = back(g, n, again(g, n, FOLD_PROD, rest));
    node *zeros = back(g, n, again(g, n, FOLD_SUM, op_cast(g, zero, MARE_I32)));
    node *nodes[] = {a, p, op_cast(g, zeros, MARE_F32), back(g, n, gy)};
    return op_expr(g,
                   "z = (a == 0); "
                   "where(zeros == where(z, 1, 0), g * p / where(z, 1, a), 0)",
                   names, nodes, 4);
}

/* Shared evenly by all elements that attain the bound. */
static node *bound_grad(graph *g, node *n, node *gy) {
    node *hit = op_map2(g, "eq", n->in[0], back(g, n, n));
    node *hits = again(g, n, FOLD_SUM, op_cast(g, hit, MARE_I32));
    hits = op_map_scalar(g, "maximum", op_cast(g, hits, MARE_F32), 1);
    node *share = back(g, n, op_map2(g, "div", gy, hits));
    return op_map3(g, "where", hit, share, node_const(g, MARE_F32, 0));
}

static bool scatter_vjp(graph *g, node *n, node *gy, node **gx) {
    fold f = (fold)OP_ATTR(scatter_attr, n)->fold;
    gx[0] = f == FOLD_SUM || f == FOLD_ONLY ? back(g, n, gy)
            : f == FOLD_PROD                ? prod_grad(g, n, gy)
                                            : bound_grad(g, n, gy);
    return gx[0] != NULL;
}

/* ---- Builders ----------------------------------------------------------------------------- */

/* So many indices looked through for so many places that sorting them first pays. */
static bool sorting_pays(const node *src, const shape *s, bool list, int axis) {
    int64_t picks = src->shape.dim[axis], places = list ? s->dim[axis] : shape_count(s);
    return picks > 64 && places > ((int64_t)1 << (list ? 18 : 22)) / picks;
}

static node *scatter_into(graph *g, fold f, node *src, node *index, int axis, int64_t rows,
                          bool sort) {
    if (!src || !index) return NULL;
    scatter_attr at = {rows, (uint32_t)axis, f};
    node *in[4] = {src, index};
    if (sort) {
        int along = index->shape.rank == 1 ? 0 : axis;
        in[3] = op_argsort(g, index, along, false);
        in[2] = op_gather(g, index, in[3], along);
    }
    return node_new(g, &op_desc_scatter_into, in, sort ? 4 : 2, &at);
}

node *op_scatter_into(graph *g, fold f, node *src, node *index, int axis, int64_t rows) {
    if (!src || !index) return NULL;
    shape s = src->shape;
    s.dim[axis] = rows;
    bool sort = !any_order(f, src->dtype) && sorting_pays(src, &s, index->shape.rank == 1, axis);
    return scatter_into(g, f, src, index, axis, rows, sort);
}

node *op_scatter_set(graph *g, node *x, node *src, node *index, int axis) {
    if (!x || !src || !index) return NULL;
    bool list = index->shape.rank == 1;
    int rank = list ? 1 : index->shape.rank, along = list ? 0 : axis;
    int64_t picks = index->shape.dim[along], rows = x->shape.dim[axis];
    if (picks == 0) return x;
    shape s = {.rank = rank};
    for (int i = 0; i < rank; i++)
        s.dim[i] = i == along ? picks : 1;
    node *place = op_reshape(g, op_arange(g, MARE_I32, 0, 1, picks), &s);
    node *last =
        op_scatter_into(g, FOLD_MAX, op_expand(g, place, &index->shape), index, along, rows);
    node *hit = op_map_scalar(g, "ge", last, 0), *from = op_map_scalar(g, "maximum", last, 0);
    if (!hit || !from) return NULL;
    from->lo = 0;
    from->hi = picks - 1;
    node *value = list ? op_take(g, src, from, axis) : op_gather(g, src, from, axis);
    for (int i = axis + 1; i < x->shape.rank && list; i++)
        hit = op_unsqueeze(g, hit, -1);
    return op_map3(g, "where", hit, value, x);
}

/* ---- Cases -------------------------------------------------------------------------------- */

#define BUILDER(name, f, axis, rows, sort)                                                         \
    static node *name(graph *g, node **in) {                                                       \
        return scatter_into(g, f, in[0], in[1], axis, rows, sort);                                 \
    }
BUILDER(sum_case, FOLD_SUM, 0, 7, false)
BUILDER(sum_sorted, FOLD_SUM, 0, 7, true)
BUILDER(sum1_case, FOLD_SUM, 1, 5, false)
BUILDER(sum1_sorted, FOLD_SUM, 1, 5, true)
BUILDER(prod_case, FOLD_PROD, 0, 7, false)
BUILDER(prod1_sorted, FOLD_PROD, 1, 5, true)
BUILDER(max1_ints, FOLD_MAX, 1, 5, false)
BUILDER(min1_ints, FOLD_MIN, 1, 5, false)

/* Along a row the places of in[1]'s order. */
#define ONLY_BUILDER(name, rows)                                                                   \
    static node *name(graph *g, node **in) {                                                       \
        return op_scatter_into(g, FOLD_ONLY, in[0], op_argsort(g, in[1], 1, false), 1, rows);      \
    }
ONLY_BUILDER(only_all, 20)
ONLY_BUILDER(only_some, 33)

/* Held within bounds: the infinities of places without elements have no differences. */
#define BOUND_BUILDER(name, f, axis, rows)                                                         \
    static node *name(graph *g, node **in) {                                                       \
        node *y = scatter_into(g, f, in[0], in[1], axis, rows, false);                             \
        return op_map3(g, "clamp", y, op_constant(g, -5), op_constant(g, 5));                      \
    }
BOUND_BUILDER(max_case, FOLD_MAX, 0, 7)
BOUND_BUILDER(max1_case, FOLD_MAX, 1, 5)
BOUND_BUILDER(min1_case, FOLD_MIN, 1, 5)

static node *set_case(graph *g, node **in) {
    return op_scatter_set(g, in[0], in[1], in[2], 1);
}

static node *take_case(graph *g, node **in) {
    return op_take(g, in[0], in[1], 1);
}

#define CASE(make, r, s, ri, si, rows, l, h, t)                                                    \
    {                                                                                              \
        .n_in = 2, .in = {{r, s}, {ri, si}}, .build = make, .dtype = {t, MARE_I32},                \
        .lo_in = {l, 0}, .hi_in = {                                                                \
            h,                                                                                     \
            (rows)-1                                                                               \
        }                                                                                          \
    }
#define DIMS(...)                                                                                  \
    { __VA_ARGS__ }
#define LIST(make, n, rest, t) CASE(make, 2, DIMS(n, rest), 1, DIMS(n), 7, -2, 2, t)
#define FULL(make, a, n, b, t) CASE(make, 3, DIMS(a, n, b), 3, DIMS(a, n, b), 5, -2, 2, t)

static const op_case scatter_cases[] = {
    LIST(sum_case, 6, 5, MARE_F32),
    LIST(sum_case, 40, 37, MARE_F32),
    LIST(sum_case, 9, 300, MARE_F32),
    LIST(sum_case, 9000, 3, MARE_F32),
    LIST(sum_case, 0, 3, MARE_F32),
    LIST(sum_case, 40, 3, MARE_I32),
    LIST(sum_sorted, 6, 5, MARE_F32),
    LIST(sum_sorted, 300, 33, MARE_F32),
    FULL(sum1_case, 2, 4, 3, MARE_F32),
    FULL(sum1_case, 3, 20, 30, MARE_F32),
    FULL(sum1_case, 3, 20, 30, MARE_I32),
    FULL(sum1_sorted, 2, 4, 3, MARE_F32),
    FULL(sum1_sorted, 3, 70, 5, MARE_F32),
    FULL(sum1_sorted, 3, 0, 5, MARE_F32),
    CASE(prod_case, 2, DIMS(6, 5), 1, DIMS(6), 7, 0.5, 1.5, MARE_F32),
    CASE(prod1_sorted, 3, DIMS(2, 9, 4), 3, DIMS(2, 9, 4), 5, 0.5, 1.5, MARE_F32),
    CASE(prod1_sorted, 3, DIMS(2, 9, 4), 3, DIMS(2, 9, 4), 5, -9, 9, MARE_I32),
    FULL(only_all, 3, 20, 30, MARE_F32),
    FULL(only_all, 3, 20, 1, MARE_I32),
    FULL(only_some, 2, 20, 3, MARE_F32),
    FULL(only_some, 3, 0, 5, MARE_F32),
    LIST(max_case, 20, 33, MARE_F32),
    LIST(max_case, 0, 3, MARE_F32),
    FULL(max1_case, 3, 20, 5, MARE_F32),
    CASE(max1_ints, 3, DIMS(3, 20, 5), 3, DIMS(3, 20, 5), 5, -9, 9, MARE_I32),
    FULL(min1_case, 3, 20, 5, MARE_F32),
    CASE(min1_ints, 3, DIMS(3, 20, 5), 3, DIMS(3, 20, 5), 5, -9, 9, MARE_I32),
    CASE(take_case, 3, DIMS(3, 6, 4), 2, DIMS(2, 5), 6, -2, 2, MARE_F32),
    {.n_in = 3,
     .in = {{3, {2, 5, 3}}, {3, {2, 4, 3}}, {3, {2, 4, 3}}},
     .build = set_case,
     .dtype = {MARE_F32, MARE_F32, MARE_I32},
     .lo_in = {-2, -2, 0},
     .hi_in = {2, 2, 4}},
    {.n_in = 3,
     .in = {{3, {2, 5, 3}}, {3, {2, 4, 3}}, {1, {4}}},
     .build = set_case,
     .dtype = {MARE_F32, MARE_F32, MARE_I32},
     .lo_in = {-2, -2, 0},
     .hi_in = {2, 2, 4}},
    {0},
};

const op op_desc_scatter_into = {
    .name = "scatter_into",
    .at = OP_HERE,
    .dtypes = OWN_DTYPES,
    .doc = "src, index (i32) -> for each place along an axis the sum, product or bound of the "
           "elements that index sends there, or the only one; f32, i32",
    .attr_size = sizeof(scatter_attr),
    .infer = scatter_infer,
    .vjp = scatter_vjp,
    .lower = scatter_lower,
    .ref = scatter_ref,
    .cases = scatter_cases,
};
