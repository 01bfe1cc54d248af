/* Resizing, one axis after the other: each is a sampling by a table of places and weights, which
 * are computed on the device from the sizes. */
#include "ops/sample.h"

#include <math.h>

typedef enum mode { NEAREST, NEAREST_EXACT, LINEAR, BILINEAR, BICUBIC, TRILINEAR, AREA } mode;

/* One axis: `scale` elements of the input for one of the output. */
typedef struct resize {
    int64_t in, out;
    double scale;
    mode mode;
    bool align_corners, antialias;
} resize;

/* 0, 1, .. n-1 in f32 as [1, n, 1] (taps) or [1, 1, n] (places). */
static node *ruler(graph *g, int64_t n, bool taps) {
    shape s = taps ? shape_of(3, 1, n, 1) : shape_of(3, 1, 1, n);
    return op_reshape(g, op_arange(g, MARE_F32, 0, 1, n), &s);
}

/* Where the nearest element lies: in whole numbers where the sizes say it all. */
static node *nearest_index(graph *g, const resize *r) {
    bool exact = r->mode == NEAREST_EXACT;
    shape s = shape_of(3, 1, 1, r->out);
    if (r->scale == (double)r->in / (double)r->out && (2 * r->out + 1) * r->in <= INT32_MAX) {
        int64_t two = exact ? 2 : 1;
        node *k = op_arange(g, MARE_I32, exact ? (double)r->in : 0, (double)(two * r->in), r->out);
        node *n = node_const(g, MARE_I32, (double)(two * r->out));
        return op_reshape(g, op_map2(g, "floordiv", k, n), &s);
    }
    static const char *const names[] = {"k", "scale", "last"};
    node *nodes[] = {ruler(g, r->out, false), node_const(g, MARE_F32, r->scale),
                     node_const(g, MARE_F32, (double)(r->in - 1))};
    const char *expr =
        exact ? "minimum(floor((k + 0.5) * scale), last)" : "minimum(floor(k * scale), last)";
    return op_cast(g, op_expr(g, expr, names, nodes, 3), MARE_I32);
}

/* Table of a window that grows with the scale, so that none of the input is skipped. */
static void filter_table(graph *g, const resize *r, node **index, node **w) {
    static const char *const names[] = {"k", "t", "scale", "support", "wide", "size"};
    static const char *const filter[] = {"maximum(1 - d, 0)",
                                         "where(d < 1, (1.5 * d - 2.5) * d * d + 1, "
                                         "where(d < 2, ((-0.5 * d + 2.5) * d - 4) * d + 2, 0))"};
    double wide = fmax(r->scale, 1), support = (r->mode == BICUBIC ? 2 : 1) * wide;
    int64_t taps = 2 * (int64_t)ceil(support) + 1;
    node *nodes[] = {ruler(g, r->out, false),           ruler(g, taps, true),
                     node_const(g, MARE_F32, r->scale), node_const(g, MARE_F32, support),
                     node_const(g, MARE_F32, wide),     node_const(g, MARE_F32, (double)r->in)};
    node *at = op_expr(g,
                       "c = (k + 0.5) * scale; p = maximum(trunc(c - support + 0.5), 0) + t; "
                       "where(p < minimum(trunc(c + support + 0.5), size), p, size)",
                       names, nodes, 6);
    nodes[1] = at;
    node *away = op_expr(g, "abs(t - (k + 0.5) * scale + 0.5) / wide", names, nodes, 6);
    nodes[1] = op_expr(g, filter[r->mode == BICUBIC], (const char *const[]){"d"}, &away, 1);
    nodes[0] = at;
    node *own = op_expr(g, "where(k < size, t, 0)", names, nodes, 6);
    *w = op_map2(g, "div", own, op_sum(g, own, 2, true));
    *index = op_cast(g, at, MARE_I32);
}

/* Table of the two elements around a place, or the four of cubic convolution; the border's are
 * repeated. */
static void table(graph *g, const resize *r, node **index, node **w) {
    static const char *const names[] = {"s", "t", "scale", "last"};
    bool cubic = r->mode == BICUBIC;
    node *nodes[] = {ruler(g, r->out, false), ruler(g, cubic ? 4 : 2, true),
                     node_const(g, MARE_F32, r->scale),
                     node_const(g, MARE_F32, (double)(r->in - 1))};
    const char *where = r->align_corners ? "s * scale"
                        : cubic          ? "(s + 0.5) * scale - 0.5"
                                         : "maximum((s + 0.5) * scale - 0.5, 0)";
    nodes[0] = op_expr(g, where, names, nodes, 4);
    *index = op_cast(g,
                     op_expr(g,
                             cubic ? "minimum(maximum(floor(s) - 1 + t, 0), last)"
                                   : "minimum(floor(s) + t, last)",
                             names, nodes, 4),
                     MARE_I32);
    *w = op_expr(g,
                 cubic ? "d = abs(s - floor(s) + 1 - t); " CUBIC
                       : "f = s - floor(s); where(t == 0, 1 - f, f)",
                 names, nodes, 4);
}

/* Is each element taken a whole number of times in a row? */
static bool repeats(const resize *r) {
    return r->mode <= NEAREST_EXACT && r->out % r->in == 0 &&
           r->scale * (double)r->out == (double)r->in;
}

/* Repeats along all axes at once: the copy of a view in which elements lie still. */
static node *repeat(graph *g, node *x, const resize *r) {
    if (!x) return NULL;
    int axes = x->shape.rank - 2;
    shape thin = {.rank = 2 + 2 * axes}, wide, y = x->shape;
    for (int i = 0; i < 2; i++)
        thin.dim[i] = x->shape.dim[i];
    wide = thin;
    for (int i = 0; i < axes; i++) {
        thin.dim[2 + 2 * i] = wide.dim[2 + 2 * i] = r[i].in;
        thin.dim[3 + 2 * i] = 1;
        wide.dim[3 + 2 * i] = r[i].out / r[i].in;
        y.dim[2 + i] = r[i].out;
    }
    return op_reshape(g, op_expand(g, op_reshape(g, x, &thin), &wide), &y);
}

static node *resize_axis(graph *g, node *x, int axis, const resize *r) {
    if (!x) return NULL;
    bool nearest = r->mode <= NEAREST_EXACT;
    if (r->in == r->out) return x; /* whatever the scale */
    node *index, *w;
    if (nearest) {
        shape s = shape_of(3, 1, 1, r->out);
        index = nearest_index(g, r);
        w = op_full(g, MARE_F32, &s, 1);
    } else if (r->antialias) {
        filter_table(g, r, &index, &w);
    } else {
        table(g, r, &index, &w);
    }
    shape y = x->shape, s = shape_of(4, 1, 1, r->in, 1);
    for (int d = 0; d < x->shape.rank; d++)
        if (d != axis) s.dim[d < axis ? 1 : 3] *= x->shape.dim[d];
    y.dim[axis] = r->out;
    return op_reshape(g, op_sample(g, op_reshape(g, x, &s), index, w), &y);
}

/* ---- the call ----------------------------------------------------------------------------- */

static const char name[] = "interpolate";

/* The sizes and scales of x's axes after two; false after an error. */
static bool read_sizes(graph *g, const node *x, const call_value *size, const call_value *factor,
                       bool recompute, resize *r) {
    char text[SHAPE_TEXT];
    int axes = x->shape.rank - 2;
    int64_t out[MAX_DIMS];
    if (size->given == factor->given)
        return graph_fail(g, MARE_E_ARGUMENT, "%s: one of size and scale_factor is needed", name) !=
               NULL;
    if (!call_spread(g, name, "size", size, axes, 1, 0, out)) return false;
    double f = factor->given ? factor->number : 1;
    if (!(f > 0 && f < 1e6))
        return graph_fail(g, MARE_E_ARGUMENT, "%s: scale_factor is %g", name, f) != NULL;
    for (int i = 0; i < axes; i++) {
        int64_t in = x->shape.dim[2 + i];
        if (factor->given) out[i] = (int64_t)floor((double)in * f);
        if (in < 1 || out[i] < 1 || in > 1 << 24 || out[i] > 1 << 24)
            return graph_fail(g, MARE_E_SHAPE, "%s: %s from %lld to %lld elements", name,
                              shape_text(&x->shape, text), (long long)in,
                              (long long)out[i]) != NULL;
        r[i].in = in;
        r[i].out = out[i];
        r[i].scale = factor->given && !recompute ? 1 / f : (double)in / (double)out[i];
        if (r[i].align_corners)
            r[i].scale = out[i] > 1 ? (double)(in - 1) / (double)(out[i] - 1) : 0;
    }
    return true;
}

static const call_arg interpolate_args[] = {
    NEED_TENSOR("x"),
    INTEGERS_OPT("size"),
    NUMBER_OPT("scale_factor", 0),
    CHOICE_OPT("mode", "nearest nearest-exact linear bilinear bicubic trilinear area"),
    FLAG_OPT("align_corners", 0),
    FLAG_OPT("recompute_scale_factor", 0),
    FLAG_OPT("antialias", 0),
    END_ARGS};

static bool call_interpolate(graph *g, const call_value *v, node **out) {
    static const int ranks[] = {
        [LINEAR] = 3, [BILINEAR] = 4, [BICUBIC] = 4, [TRILINEAR] = 5, [AREA] = 0};
    node *x = v[0].tensor;
    mode m = (mode)v[3].integer;
    bool align = v[4].integer, antialias = v[6].integer;
    char text[SHAPE_TEXT];
    int rank = x->shape.rank;
    if (!dtype_is_float(x->dtype))
        return graph_fail(g, MARE_E_DTYPE, "%s: takes floats, not %s", name,
                          mare_dtype_name(x->dtype)) != NULL;
    if (rank < 3 || rank > 5 || (ranks[m] && rank != ranks[m]))
        return graph_fail(g, MARE_E_SHAPE,
                          "%s: takes [N, C, ...] with 1 to 3 more axes (linear 1, bilinear and "
                          "bicubic 2, trilinear 3), not %s",
                          name, shape_text(&x->shape, text)) != NULL;
    if (align && (m <= NEAREST_EXACT || m == AREA || antialias))
        return graph_fail(g, MARE_E_ARGUMENT,
                          "%s: align_corners is for linear, bilinear, bicubic and trilinear alone",
                          name) != NULL;
    if (antialias && m != BILINEAR && m != BICUBIC)
        return graph_fail(g, MARE_E_ARGUMENT, "%s: antialias is for bilinear and bicubic", name) !=
               NULL;
    resize r[3];
    for (int i = 0; i < 3; i++)
        r[i] = (resize){.mode = m, .align_corners = align, .antialias = antialias};
    if (!read_sizes(g, x, &v[1], &v[2], v[5].integer, r)) return false;
    if (m == AREA) {
        pool_options o = {0};
        for (int i = 0; i < rank - 2; i++)
            o.adaptive[i] = r[i].out;
        return (out[0] = op_avg_pool(g, x, rank - 2, &o)) != NULL;
    }
    bool whole = true;
    for (int i = 0; i < rank - 2; i++)
        whole = whole && repeats(&r[i]);
    if (whole) return (out[0] = repeat(g, x, r)) != NULL;
    node *y = op_words(g, x);
    for (int i = 0; i < rank - 2; i++)
        y = resize_axis(g, y, 2 + i, &r[i]);
    return (out[0] = op_float_like(g, y, x)) != NULL;
}

const op_call op_calls_interpolate[] = {
    {name,
     "x [N, C, L], [N, C, H, W] or [N, C, D, H, W], floats, resized to size or by scale_factor "
     "(one "
     "for all axes). bicubic: cubic convolution (Keys, 1981); area: means of windows, as "
     "adaptive_avg_pool; antialias widens bilinear and bicubic when they shrink. A dimension that "
     "keeps its size is copied.",
     interpolate_args, NULL, call_interpolate, OP_AT},
    {0},
};
