/* Calls on pictures that only move elements, or make grids. */
#include "ops/internal.h"

/* ---- shuffles ----------------------------------------------------------------------------- */

/* Pictures [..., C, H, W] as [all before, 6 parts]; r x r elements of a picture are r * r channels
 * of a smaller one. */
static bool shuffle(graph *g, const char *call, const call_value *v, bool apart, node **out) {
    node *x = v[0].tensor;
    int64_t r = v[1].integer, before = 1;
    char text[SHAPE_TEXT];
    int rank = x->shape.rank;
    if (rank < 3)
        return graph_fail(g, MARE_E_SHAPE, "%s: takes [..., C, H, W], not %s", call,
                          shape_text(&x->shape, text)) != NULL;
    const int64_t *last = x->shape.dim + rank - 3;
    bool fits = r >= 1 && r < 1 << 15 &&
                (apart ? last[1] % r == 0 && last[2] % r == 0 : last[0] % (r * r) == 0);
    if (!fits)
        return graph_fail(g, MARE_E_ARGUMENT, "%s: %s does not divide by %lld", call,
                          shape_text(&x->shape, text), (long long)r) != NULL;
    for (int i = 0; i < rank - 3; i++)
        before *= x->shape.dim[i];
    shape y = x->shape;
    int64_t *to = y.dim + rank - 3;
    to[0] = apart ? last[0] * r * r : last[0] / (r * r);
    to[1] = apart ? last[1] / r : last[1] * r;
    to[2] = apart ? last[2] / r : last[2] * r;
    int64_t c = apart ? last[0] : to[0], h = apart ? to[1] : last[1], w = apart ? to[2] : last[2];
    shape joint = shape_of(6, before, c, r, r, h, w), parts = shape_of(6, before, c, h, r, w, r);
    node *n = op_reshape(g, x, apart ? &parts : &joint);
    n = op_permute(g, n, apart ? (int[]){0, 1, 3, 5, 2, 4} : (int[]){0, 1, 4, 2, 5, 3}, 6);
    return (out[0] = op_reshape(g, n, &y)) != NULL;
}

static bool call_pixel_shuffle(graph *g, const call_value *v, node **out) {
    return shuffle(g, "pixel_shuffle", v, false, out);
}

static bool call_pixel_unshuffle(graph *g, const call_value *v, node **out) {
    return shuffle(g, "pixel_unshuffle", v, true, out);
}

static bool call_channel_shuffle(graph *g, const call_value *v, node **out) {
    node *x = v[0].tensor;
    int64_t groups = v[1].integer;
    char text[SHAPE_TEXT];
    if (x->shape.rank < 3 || groups < 1 || x->shape.dim[1] % groups)
        return graph_fail(g, MARE_E_SHAPE,
                          "channel_shuffle: takes [N, C, ...] with C a multiple of groups, not %s "
                          "and %lld",
                          shape_text(&x->shape, text), (long long)groups) != NULL;
    int64_t n = x->shape.dim[0], c = x->shape.dim[1], rest = 1;
    for (int i = 2; i < x->shape.rank; i++)
        rest *= x->shape.dim[i];
    shape parts = shape_of(4, n, groups, c / groups, rest);
    node *y = op_transpose(g, op_reshape(g, x, &parts), 1, 2);
    return (out[0] = op_reshape(g, y, &x->shape)) != NULL;
}

/* ---- affine_grid -------------------------------------------------------------------------- */

/* The places of n elements between -1 and 1, along axis d of rank axes: their centres, or from end
 * to end. */
static node *ticks(graph *g, int64_t n, int d, int rank, bool align_corners) {
    shape s = {.rank = rank};
    for (int i = 0; i < rank; i++)
        s.dim[i] = i == d ? n : 1;
    double step = 2.0 / (double)n, from = 1.0 / (double)n - 1;
    if (align_corners) {
        step = n > 1 ? 2.0 / (double)(n - 1) : 0;
        from = n > 1 ? -1 : 0;
    }
    return op_reshape(g, op_arange(g, MARE_F32, from, step, n), &s);
}

static bool call_affine_grid(graph *g, const call_value *v, node **out) {
    node *theta = v[0].tensor;
    const int64_t *size = v[1].integers;
    int axes = v[1].n - 2;
    char text[SHAPE_TEXT];
    shape want = shape_of(3, size[0], axes, axes + 1);
    bool fits = (axes == 2 || axes == 3) && shape_equal(&theta->shape, &want);
    for (int i = 2; i < axes + 2; i++)
        fits = fits && size[i] >= 1 && size[i] <= INT32_MAX;
    if (!fits)
        return graph_fail(
                   g, MARE_E_SHAPE,
                   "affine_grid: takes theta [N, 2, 3] and a size {N, C, H, W}, or [N, 3, 4] "
                   "and {N, C, D, H, W}; theta is %s, the size has %d entries",
                   shape_text(&theta->shape, text), v[1].n) != NULL;
    if (!dtype_is_float(theta->dtype))
        return graph_fail(g, MARE_E_DTYPE, "affine_grid: theta is float, not %s",
                          mare_dtype_name(theta->dtype)) != NULL;
    shape row = {.rank = axes + 2, .dim = {size[0]}};
    for (int i = 1; i < axes + 2; i++)
        row.dim[i] = i == axes + 1 ? axes : 1;
    node *wide = op_words(g, theta), *sum = NULL;
    for (int a = axes; a >= 0; a--) { /* theta's columns: x, y, (z), 1; x is the last axis */
        node *column = op_reshape(g, op_narrow(g, wide, 2, a, 1), &row);
        node *at =
            a == axes ? NULL : ticks(g, size[axes + 1 - a], axes - a, axes + 2, v[2].integer);
        sum = a == axes ? column : op_map3(g, "fma", column, at, sum);
    }
    return (out[0] = op_float_like(g, sum, theta)) != NULL;
}

/* ---- the table ---------------------------------------------------------------------------- */

static const call_arg up_args[] = {NEED_TENSOR("x"), NEED_INTEGER("upscale_factor"), END_ARGS};
static const call_arg down_args[] = {NEED_TENSOR("x"), NEED_INTEGER("downscale_factor"), END_ARGS};
static const call_arg group_args[] = {NEED_TENSOR("x"), NEED_INTEGER("groups"), END_ARGS};
static const call_arg affine_args[] = {NEED_TENSOR("theta"), NEED_INTEGERS("size"),
                                       FLAG_OPT("align_corners", 0), END_ARGS};

const op_call op_calls_vision[] = {
    {"pixel_shuffle", "x [..., C r r, H, W] as [..., C, H r, W r] (Shi and others, 2016).", up_args,
     NULL, call_pixel_shuffle, OP_AT},
    {"pixel_unshuffle", "x [..., C, H r, W r] as [..., C r r, H, W]: undoes pixel_shuffle.",
     down_args, NULL, call_pixel_unshuffle, OP_AT},
    {"channel_shuffle",
     "x [N, C, ...] with channel i of each group beside that of the next (Zhang and others, 2017).",
     group_args, NULL, call_channel_shuffle, OP_AT},
    {"affine_grid",
     "theta [N, 2, 3] and size {N, C, H, W}: the grid [N, H, W, 2] of the places (x, y) in -1..1 "
     "that theta takes each pixel's place to, for grid_sample; or [N, 3, 4] and {N, C, D, H, W}.",
     affine_args, NULL, call_affine_grid, OP_AT},
    {0},
};
