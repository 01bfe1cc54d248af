/* Reductions: sum, prod, max, min, argmax, argmin as kernels; mean and var made of them. */
#include "ops/reduce.h"
#include "ops/internal.h"

#include <math.h>

/* ---- Shapes ------------------------------------------------------------------------------- */

static shape reduced_shape(const shape *s, uint32_t axes, bool keepdim) {
    shape out = {0};
    for (int d = 0; d < s->rank; d++) {
        bool gone = axes >> d & 1;
        if (!gone || keepdim) out.dim[out.rank++] = gone ? 1 : s->dim[d];
    }
    return out;
}

/* Elements that go into each result. */
static int64_t reduced_count(const shape *s, uint32_t axes) {
    int64_t n = 1;
    for (int d = 0; d < s->rank; d++)
        if (axes >> d & 1) n *= s->dim[d];
    return n;
}

bool op_axes(graph *g, const char *call, const node *a, const int *axes, int n, uint32_t *mask) {
    char s[SHAPE_TEXT];
    if (!a) return false;
    *mask = 0;
    for (int i = 0; i < n; i++) {
        int d = shape_axis(&a->shape, axes[i]);
        if (d < 0)
            return graph_fail(g, MARE_E_ARGUMENT, "%s: axis %d is out of range for %s", call,
                              axes[i], shape_text(&a->shape, s)) != NULL;
        if (*mask >> d & 1)
            return graph_fail(g, MARE_E_ARGUMENT, "%s: axis %d of %s is named twice", call, axes[i],
                              shape_text(&a->shape, s)) != NULL;
        *mask |= 1u << d;
    }
    return true;
}

static bool reduce_infer(graph *g, node *n) {
    const node *a = n->in[0];
    const reduce_attr *at = OP_ATTR(reduce_attr, n);
    (void)g;
    n->dtype = a->dtype;
    n->shape = reduced_shape(&a->shape, at->axes, at->keepdim);
    return true;
}

static bool bound_infer(graph *g, node *n) {
    n->lo = n->in[0]->lo;
    n->hi = n->in[0]->hi;
    return reduce_infer(g, n);
}

static bool arg_infer(graph *g, node *n) {
    reduce_infer(g, n);
    n->dtype = MARE_I32;
    n->lo = 0;
    n->hi = reduced_count(&n->in[0]->shape, OP_ATTR(reduce_attr, n)->axes) - 1;
    return true;
}

/* ---- Reference ---------------------------------------------------------------------------- */

typedef enum kind { SUM, PROD, MAX, MIN, ARGMAX, ARGMIN } kind;

static void reduce_ref(const node *n, const double *in, double *out, kind k) {
    const shape *s = &n->in[0]->shape;
    int64_t results = shape_count(&n->shape), count = shape_count(s), axis_step = 1, axis = 1;
    double best[2] = {-INFINITY, INFINITY};
    for (int64_t i = 0; i < results; i++)
        out[i] = k == SUM ? 0 : k == PROD ? 1 : k == MAX ? best[0] : k == MIN ? best[1] : -1;
    for (int d = s->rank - 1; d >= 0 && !reduce_takes(n, d); d--)
        axis_step *= s->dim[d];
    for (int d = s->rank - 1; d >= 0; d--)
        if (reduce_takes(n, d)) axis *= s->dim[d];
    for (int64_t i = 0; i < count; i++) {
        int64_t rest = i, o = 0, step = 1;
        for (int d = s->rank - 1; d >= 0; d--) {
            int64_t c = rest % s->dim[d];
            rest /= s->dim[d];
            if (reduce_takes(n, d)) continue;
            o += c * step;
            step *= s->dim[d];
        }
        double v = in[i], *y = &out[o];
        if (k == SUM)
            *y += v;
        else if (k == PROD)
            *y *= v;
        else if (k == MAX)
            *y = isnan(v) || v > *y ? v : *y;
        else if (k == MIN)
            *y = isnan(v) || v < *y ? v : *y;
        else {
            /* one axis: its coordinate, and the best so far at the place that *y tells */
            int64_t at = i / axis_step % axis;
            double old = *y < 0 ? 0 : in[i - (at - (int64_t)*y) * axis_step];
            bool wins = isnan(v) || (k == ARGMAX ? v > old : v < old);
            if (*y < 0 || (!isnan(old) && wins)) *y = (double)at;
        }
    }
    for (int64_t i = 0; i < results && n->dtype == MARE_I32 && (k == SUM || k == PROD); i++) {
        double y = fmod(out[i], 4294967296.0); /* wraps around */
        out[i] = y >= 2147483648.0 ? y - 4294967296.0 : y < -2147483648.0 ? y + 4294967296.0 : y;
    }
}

#define REF(name, kind)                                                                            \
    static void name##_ref(const node *n, const double *const *in, double *out) {                  \
        reduce_ref(n, in[0], out, kind);                                                           \
    }
REF(sum, SUM)
REF(prod, PROD)
REF(max, MAX)
REF(min, MIN)
REF(argmax, ARGMAX)
REF(argmin, ARGMIN)

/* ---- Gradients ---------------------------------------------------------------------------- */

/* A result-shaped node, stretched over the reduced axes again. */
static node *stretch(graph *g, const node *n, node *y) {
    const node *a = n->in[0];
    shape s = reduced_shape(&a->shape, OP_ATTR(reduce_attr, n)->axes, true);
    return op_expand(g, op_reshape(g, y, &s), &a->shape);
}

static bool sum_vjp(graph *g, node *n, node *gy, node **gx) {
    gx[0] = stretch(g, n, gy);
    return gx[0] != NULL;
}

/* The product of all others: y / a without zeros in the way; with one, it alone has a gradient;
 * with more, none has. */
static bool prod_vjp(graph *g, node *n, node *gy, node **gx) {
    static const char *const names[] = {"a", "p", "zeros", "g"};
    node *a = n->in[0];
    uint32_t axes = OP_ATTR(reduce_attr, n)->axes;
    node *zero = op_map_scalar(g, "eq", a, 0);
    node *rest = op_prod(g, op_map3(g, "where", zero, node_const(g, MARE_F32, 1), a), axes, true);
    node *zeros = op_sum(g, op_cast(g, zero, MARE_F32), axes, true);
    node *nodes[] = {a, rest, zeros, stretch(g, n, gy)};
    gx[0] = op_expr(g,
                    "z = (a == 0); "
                    "where(zeros == where(z, 1, 0), g * p / where(z, 1, a), 0)",
                    names, nodes, 4);
    return gx[0] != NULL;
}

/* Shared evenly by all elements that attain the bound. */
static bool bound_vjp(graph *g, node *n, node *gy, node **gx) {
    node *hit = op_map2(g, "eq", n->in[0], stretch(g, n, n));
    node *hits = op_sum(g, op_cast(g, hit, MARE_F32), OP_ATTR(reduce_attr, n)->axes, true);
    node *share = op_map2(g, "div", stretch(g, n, gy), hits);
    gx[0] = op_map3(g, "where", hit, share, node_const(g, MARE_F32, 0));
    return gx[0] != NULL;
}

/* ---- Builders ----------------------------------------------------------------------------- */

bool op_all_axes(graph *g, const char *call, const node *a, uint32_t *axes) {
    char s[SHAPE_TEXT];
    uint32_t all = (1u << a->shape.rank) - 1u;
    if (*axes & ~all)
        return graph_fail(g, MARE_E_ARGUMENT, "%s: an axis is out of range for %s", call,
                          shape_text(&a->shape, s)) != NULL;
    if (*axes == 0) *axes = all;
    return true;
}

/* The kernels know f32 and i32. */
static node *widened(graph *g, node *a) {
    return op_cast(g, a, dtype_is_float(a->dtype) ? MARE_F32 : MARE_I32);
}

static node *reduce(graph *g, const op *o, node *a, uint32_t axes, bool keepdim) {
    char s[SHAPE_TEXT];
    if (!a || !op_all_axes(g, o->name, a, &axes)) return NULL;
    node *wide = widened(g, a);
    if (!wide) return NULL;
    bool neutral = o == &op_desc_sum || o == &op_desc_prod;
    shape out = reduced_shape(&a->shape, axes, keepdim);
    bool empty = reduced_count(&a->shape, axes) == 0 && shape_count(&out) > 0;
    if (empty && !neutral)
        return graph_fail(g, MARE_E_SHAPE, "%s: %s has no elements along the reduced axes", o->name,
                          shape_text(&a->shape, s));
    node *n = node_new(g, o, &wide, 1, &(reduce_attr){axes, keepdim});
    if (n && empty) { /* what remains when nothing is summed or multiplied */
        n->n_dyn = 1;
        n->dyn[0] = dtype_word(n->dtype, o == &op_desc_prod);
    }
    return n;
}

/* f16 stays f16; sums and products of bool and u8 are i32. */
node *op_sum(graph *g, node *a, uint32_t axes, bool keepdim) {
    node *y = reduce(g, &op_desc_sum, a, axes, keepdim);
    return op_float_like(g, y, a);
}

node *op_prod(graph *g, node *a, uint32_t axes, bool keepdim) {
    node *y = reduce(g, &op_desc_prod, a, axes, keepdim);
    return op_float_like(g, y, a);
}

node *op_max(graph *g, node *a, uint32_t axes, bool keepdim) {
    node *y = reduce(g, &op_desc_max, a, axes, keepdim);
    return y ? op_cast(g, y, a->dtype) : NULL;
}

node *op_min(graph *g, node *a, uint32_t axes, bool keepdim) {
    node *y = reduce(g, &op_desc_min, a, axes, keepdim);
    return y ? op_cast(g, y, a->dtype) : NULL;
}

static node *arg(graph *g, const op *o, node *a, int axis, bool keepdim) {
    uint32_t mask;
    if (!op_axes(g, o->name, a, &axis, 1, &mask)) return NULL;
    return reduce(g, o, a, mask, keepdim);
}

node *op_argmax(graph *g, node *a, int axis, bool keepdim) {
    return arg(g, &op_desc_argmax, a, axis, keepdim);
}

node *op_argmin(graph *g, node *a, int axis, bool keepdim) {
    return arg(g, &op_desc_argmin, a, axis, keepdim);
}

/* Mean in f32, whatever the input. */
static node *mean_f32(graph *g, node *a, uint32_t axes, bool keepdim) {
    if (!a || !op_all_axes(g, "mean", a, &axes)) return NULL;
    double n = (double)reduced_count(&a->shape, axes);
    node *sum = op_sum(g, op_cast(g, a, MARE_F32), axes, keepdim);
    return op_map2(g, "div", sum, node_const(g, MARE_F32, n));
}

node *op_mean(graph *g, node *a, uint32_t axes, bool keepdim) {
    node *y = mean_f32(g, a, axes, keepdim);
    return op_float_like(g, y, a);
}

node *op_var(graph *g, node *a, uint32_t axes, bool keepdim, double correction) {
    if (!a || !op_all_axes(g, "var", a, &axes)) return NULL;
    double n = (double)reduced_count(&a->shape, axes) - correction;
    node *wide = op_cast(g, a, MARE_F32);
    node *away = op_map2(g, "sub", wide, mean_f32(g, wide, axes, true));
    node *sum = op_sum(g, op_map1(g, "square", away), axes, keepdim);
    node *y = op_map2(g, "div", sum, node_const(g, MARE_F32, n > 0 ? n : 0));
    return op_float_like(g, y, a);
}

node *op_sum_to(graph *g, node *a, const shape *s) {
    if (!a || shape_equal(&a->shape, s)) return a;
    char x[SHAPE_TEXT], y[SHAPE_TEXT];
    shape both;
    if (!shape_broadcast(&a->shape, s, &both) || !shape_equal(&both, &a->shape))
        return graph_fail(g, MARE_E_SHAPE, "sum_to: %s does not come from stretching %s",
                          shape_text(&a->shape, x), shape_text(s, y));
    uint32_t axes = 0;
    int more = a->shape.rank - s->rank;
    for (int d = 0; d < a->shape.rank; d++)
        if (d < more || (s->dim[d - more] == 1 && a->shape.dim[d] != 1)) axes |= 1u << d;
    return op_reshape(g, axes ? op_sum(g, a, axes, true) : a, s);
}

/* ---- Descriptors -------------------------------------------------------------------------- */

#define BUILDERS(id)                                                                               \
    static node *id##_all(graph *g, node **in) {                                                   \
        return op_##id(g, in[0], 0, false);                                                        \
    }                                                                                              \
    static node *id##_first(graph *g, node **in) {                                                 \
        return op_##id(g, in[0], 1, false);                                                        \
    }                                                                                              \
    static node *id##_second(graph *g, node **in) {                                                \
        return op_##id(g, in[0], 2, true);                                                         \
    }                                                                                              \
    static node *id##_ends(graph *g, node **in) {                                                  \
        return op_##id(g, in[0], 5, true);                                                         \
    }                                                                                              \
    static node *id##_twisted(graph *g, node **in) {                                               \
        return op_##id(g, op_flip(g, op_transpose(g, in[0], 0, 2), 1), 2, false);                  \
    }
#define ARG_BUILDERS(id)                                                                           \
    static node *id##_first(graph *g, node **in) {                                                 \
        return op_##id(g, in[0], 0, false);                                                        \
    }                                                                                              \
    static node *id##_second(graph *g, node **in) {                                                \
        return op_##id(g, in[0], 1, true);                                                         \
    }                                                                                              \
    static node *id##_twisted(graph *g, node **in) {                                               \
        return op_##id(g, op_flip(g, op_transpose(g, in[0], 0, 2), 1), 1, false);                  \
    }
BUILDERS(sum)
BUILDERS(prod)
BUILDERS(max)
BUILDERS(min)
BUILDERS(mean)
BUILDERS(logsumexp)
ARG_BUILDERS(argmax)
ARG_BUILDERS(argmin)

static node *sum_alternate(graph *g, node **in) {
    return op_sum(g, in[0], 21, false);
}

static node *var_second(graph *g, node **in) {
    return op_var(g, in[0], 2, false, 1);
}

#define SHAPE(...)                                                                                 \
    {                                                                                              \
        { __VA_ARGS__ }                                                                            \
    }
#define CASE(f, s, l, h, t)                                                                        \
    {                                                                                              \
        .n_in = 1, .in = s, .lo = l, .hi = h, .build = f, .dtype = { t }                           \
    }
#define TYPED(id, l, h, t)                                                                         \
    CASE(id##_first, SHAPE(2, {5, 7}), l, h, t), CASE(id##_second, SHAPE(2, {5, 7}), l, h, t)
/* Short and long rows and columns, both ways of working, empty, one element, not row-major. */
#define COMMON(id, l, h)                                                                           \
    TYPED(id, l, h, MARE_F32), CASE(id##_first, SHAPE(2, {300, 3}), l, h, MARE_F32),               \
        CASE(id##_second, SHAPE(2, {3, 300}), l, h, MARE_F32),                                     \
        CASE(id##_first, SHAPE(2, {3, 0}), l, h, MARE_F32),                                        \
        CASE(id##_first, SHAPE(1, {1}), l, h, MARE_F32),                                           \
        CASE(id##_twisted, SHAPE(3, {4, 5, 3}), l, h, MARE_F32),                                   \
        CASE(id##_second, SHAPE(3, {2, 67, 130}), l, h, MARE_F32),                                 \
        CASE(id##_second, SHAPE(3, {2, 67, 132}), l, h, MARE_F32)
#define CASES(id, l, h)                                                                            \
    COMMON(id, l, h), CASE(id##_all, SHAPE(0, {0}), l, h, MARE_F32),                               \
        CASE(id##_ends, SHAPE(3, {3, 4, 17}), l, h, MARE_F32),                                     \
        CASE(id##_all, SHAPE(2, {4, 5}), l, h, MARE_F16),                                          \
        CASE(id##_all, SHAPE(2, {4, 5}), l, h, MARE_BF16)
#define INTEGERS(id, l, h)                                                                         \
    TYPED(id, l, h, MARE_I32), TYPED(id, 0, 3, MARE_U8), TYPED(id, -3, 3, MARE_I8),                \
        TYPED(id, 0, 1, MARE_BOOL)

static const op_case sum_cases[] = {
    CASES(sum, -2, 2),
    INTEGERS(sum, -100, 100),
    CASE(sum_first, SHAPE(2, {0, 3}), -1, 1, MARE_F32),
    CASE(sum_all, SHAPE(1, {9001}), -1, 2, MARE_F32),
    CASE(sum_first, SHAPE(2, {20000, 3}), -1, 2, MARE_F32),
    CASE(sum_first, SHAPE(2, {300, 260}), -1, 2, MARE_F32),
    CASE(sum_second, SHAPE(2, {70, 20}), -1, 2, MARE_F32),
    CASE(sum_all, SHAPE(1, {9004}), -1, 2, MARE_F32),
    CASE(sum_ends, SHAPE(3, {9, 2, 3000}), -1, 2, MARE_F32),
    CASE(sum_first, SHAPE(2, {700, 20}), -1, 2, MARE_F32),
    CASE(sum_alternate, SHAPE(5, {3, 2, 5, 2, 7}), -1, 2, MARE_F32),
    CASE(sum_alternate, SHAPE(5, {5, 2, 130, 1, 7}), -1, 2, MARE_F32),
    CASE(prod_first, SHAPE(2, {0, 3}), -1, 1, MARE_F32),
    CASE(mean_first, SHAPE(2, {5, 7}), -2, 2, MARE_F16),
    CASE(mean_first, SHAPE(2, {5, 7}), -2, 2, MARE_BF16),
    CASE(mean_all, SHAPE(2, {5, 7}), 0, 9, MARE_U8),
    CASE(mean_all, SHAPE(2, {5, 7}), -9, 9, MARE_I8),
    CASE(mean_ends, SHAPE(3, {5, 7, 2}), -2, 2, MARE_F32),
    CASE(logsumexp_second, SHAPE(2, {5, 7}), -2, 2, MARE_F32),
    CASE(logsumexp_all, SHAPE(2, {5, 7}), 90, 99, MARE_F32),
    CASE(logsumexp_twisted, SHAPE(3, {2, 3, 2}), -2, 2, MARE_F32),
    CASE(logsumexp_ends, SHAPE(3, {2, 3, 2}), -2, 2, MARE_F32),
    CASE(logsumexp_first, SHAPE(1, {1}), -2, 2, MARE_F16),
    CASE(mean_second, SHAPE(2, {5, 7}), -2, 2, MARE_F32),
    CASE(mean_twisted, SHAPE(3, {2, 3, 2}), -2, 2, MARE_F32),
    CASE(var_second, SHAPE(2, {5, 7}), -2, 2, MARE_F32),
    {0},
};
static const op_case prod_cases[] = {CASES(prod, 0.8, 1.2), INTEGERS(prod, -3, 3), {0}};
static const op_case max_cases[] = {
    CASES(max, -2, 2), INTEGERS(max, -100, 100), CASE(max_all, SHAPE(1, {70001}), -2, 2, 0), {0}};
static const op_case min_cases[] = {
    CASES(min, -2, 2), INTEGERS(min, -100, 100), CASE(min_all, SHAPE(1, {70001}), -2, 2, 0), {0}};
/* In parts: by groups and by columns, and ties between parts. */
#define PARTS(id)                                                                                  \
    CASE(id##_first, SHAPE(1, {70001}), -2, 2, MARE_F32),                                          \
        CASE(id##_first, SHAPE(2, {9001, 3}), -3, 3, MARE_I32),                                    \
        CASE(id##_first, SHAPE(2, {700, 20}), -99, 99, MARE_I32),                                  \
        CASE(id##_first, SHAPE(1, {70000}), -2, 2, MARE_F32),                                      \
        CASE(id##_first, SHAPE(2, {300, 260}), -99, 99, MARE_I32)
static const op_case argmax_cases[] = {
    COMMON(argmax, -2, 2), INTEGERS(argmax, -3, 3), PARTS(argmax), {0}};
static const op_case argmin_cases[] = {
    COMMON(argmin, -2, 2), INTEGERS(argmin, -3, 3), PARTS(argmin), {0}};

#define JOINS (ATTACH_AFTER | ATTACH_BEFORE)
#define DESCRIPTOR(id, about, shapes, grad, joins, is_smooth)                                      \
    const op op_desc_##id = {.name = #id,                                                          \
                             .at = OP_HERE,                                                        \
                             .doc = about,                                                         \
                             .attr_size = sizeof(reduce_attr),                                     \
                             .infer = shapes,                                                      \
                             .vjp = grad,                                                          \
                             .lower = reduce_lower,                                                \
                             .attach = joins,                                                      \
                             .ref = id##_ref,                                                      \
                             .cases = id##_cases,                                                  \
                             .smooth = is_smooth};
DESCRIPTOR(sum, "Sum over axes; integers wrap around.", reduce_infer, sum_vjp, JOINS, true)
DESCRIPTOR(prod, "Product over axes; integers wrap around.", reduce_infer, prod_vjp, JOINS, true)
DESCRIPTOR(max, "Largest over axes, NaN if there is one; ties share the gradient.", bound_infer,
           bound_vjp, JOINS, false)
DESCRIPTOR(min, "Smallest over axes, NaN if there is one; ties share the gradient.", bound_infer,
           bound_vjp, JOINS, false)
DESCRIPTOR(argmax, "Place of the first largest element along an axis, i32; NaN counts as largest.",
           arg_infer, NULL, 0, false)
DESCRIPTOR(argmin,
           "Place of the first smallest element along an axis, i32; NaN counts as smallest.",
           arg_infer, NULL, 0, false)
