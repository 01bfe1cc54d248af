/* Calls that read and write elements by index. */
#include "ops/indexing.h"

#include <limits.h>
#include <math.h>

static node *reshape_flat(graph *g, node *x) {
    shape s = shape_of(1, x ? shape_count(&x->shape) : 0);
    return op_reshape(g, x, &s);
}

/* The leading part of x that has the shape of s, but for `axis` when it is not negative. */
static node *leading(graph *g, node *x, const shape *s, int axis) {
    int64_t start[MAX_DIMS] = {0}, stop[MAX_DIMS], step[MAX_DIMS];
    for (int i = 0; x && i < x->shape.rank; i++) {
        stop[i] = i == axis ? x->shape.dim[i] : s->dim[i];
        step[i] = 1;
    }
    return op_slice(g, x, start, stop, step);
}

static bool index_fits(graph *g, const char *call, const node *x, const node *index, int axis,
                       const node *src) {
    char a[SHAPE_TEXT], b[SHAPE_TEXT], c[SHAPE_TEXT];
    bool fits = index->shape.rank == x->shape.rank && (!src || src->shape.rank == x->shape.rank);
    for (int i = 0; fits && i < x->shape.rank; i++)
        fits = (i == axis || index->shape.dim[i] <= x->shape.dim[i]) &&
               (!src || index->shape.dim[i] <= src->shape.dim[i]);
    if (fits) return true;
    if (src)
        return graph_fail(g, MARE_E_SHAPE, "%s: index %s does not fit x %s and src %s", call,
                          shape_text(&index->shape, a), shape_text(&x->shape, b),
                          shape_text(&src->shape, c)) != NULL;
    return graph_fail(g, MARE_E_SHAPE, "%s: index %s does not fit x %s", call,
                      shape_text(&index->shape, a), shape_text(&x->shape, b)) != NULL;
}

/* ---- gather ------------------------------------------------------------------------------- */

static node *gather(graph *g, const char *call, node *x, node *index, int axis) {
    if (!index_fits(g, call, x, index, axis, NULL)) return NULL;
    index = op_checked_index(g, call, index, x->shape.dim[axis]);
    if (!index) return NULL;
    node *y = op_gather(g, op_words(g, leading(g, x, &index->shape, axis)), index, axis);
    return op_cast(g, y, x->dtype);
}

static bool call_gather(graph *g, const call_value *v, node **out) {
    return (out[0] = gather(g, "gather", v[0].tensor, v[2].tensor, (int)v[1].integer)) != NULL;
}

static bool call_take_along_dim(graph *g, const call_value *v, node **out) {
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    node *x = v[0].tensor, *index = v[1].tensor;
    if (!v[2].given) {
        x = reshape_flat(g, x);
        index = reshape_flat(g, index);
        return x && index && (out[0] = gather(g, "take_along_dim", x, index, 0)) != NULL;
    }
    int axis = (int)v[2].integer;
    shape sx = x->shape, si = index->shape, both;
    if (sx.rank == si.rank) sx.dim[axis] = si.dim[axis] = 1;
    if (sx.rank != si.rank || !shape_broadcast(&sx, &si, &both))
        return graph_fail(g, MARE_E_SHAPE, "take_along_dim: indices %s do not fit x %s",
                          shape_text(&index->shape, a), shape_text(&x->shape, b)) != NULL;
    sx = si = both;
    sx.dim[axis] = x->shape.dim[axis];
    si.dim[axis] = index->shape.dim[axis];
    index = op_checked_index(g, "take_along_dim", index, sx.dim[axis]);
    x = op_expand(g, x, &sx);
    index = op_expand(g, index, &si);
    return x && index && (out[0] = gather(g, "take_along_dim", x, index, axis)) != NULL;
}

static bool call_index_select(graph *g, const call_value *v, node **out) {
    char s[SHAPE_TEXT];
    if (v[2].tensor->shape.rank > 1)
        return graph_fail(g, MARE_E_SHAPE, "index_select: index %s is no list",
                          shape_text(&v[2].tensor->shape, s)) != NULL;
    return (out[0] = op_take(g, v[0].tensor, reshape_flat(g, v[2].tensor), (int)v[1].integer)) !=
           NULL;
}

/* ---- scatter ------------------------------------------------------------------------------ */

typedef enum reduce_kind { SET, SUM, PROD, MEAN, MAX, MIN } reduce_kind;

/* A row's number becomes one a row of x: [rows, 1, ...] from behind the axis on. */
static node *along(graph *g, node *list, const node *x, int axis) {
    for (int i = axis + 1; i < x->shape.rank; i++)
        list = op_unsqueeze(g, list, -1);
    return list;
}

/* The bounds of x and of what index sends to it, folded at once, so that all that attain one share
 * its gradient evenly. */
static node *bounds(graph *g, node *x, node *src, node *index, int axis, fold f) {
    bool list = index->shape.rank == 1;
    int along = list ? 0 : axis;
    int64_t rows = x->shape.dim[axis];
    shape one = index->shape, all = index->shape;
    for (int i = 0; i < one.rank; i++)
        one.dim[i] = i == along ? rows : 1;
    all.dim[along] = rows;
    node *own = op_reshape(g, op_arange(g, MARE_I32, 0, 1, rows), &one);
    index = op_concat(g, (node *[]){op_expand(g, own, &all), index}, 2, along);
    if (!index) return NULL;
    index->lo = 0;
    index->hi = rows - 1;
    return op_scatter_into(g, f, op_concat(g, (node *[]){x, src}, 2, axis), index, axis, rows);
}

/* x combined with the elements of src that index sends to it; index is checked, a list or of src's
 * shape, and that but for the axis is x's. */
static node *combine(graph *g, node *x, node *src, node *index, int axis, reduce_kind k,
                     bool include_self) {
    if (!x || !src || !index) return NULL;
    if (shape_count(&index->shape) == 0) return x;
    if (k == SET) return op_scatter_set(g, x, op_words(g, src), index, axis);
    static const fold folds[] = {FOLD_SUM, FOLD_SUM, FOLD_PROD, FOLD_SUM, FOLD_MAX, FOLD_MIN};
    static const char *const maps[] = {NULL, "add", "mul", "add", "maximum", "minimum"};
    bool list = index->shape.rank == 1;
    int64_t rows = x->shape.dim[axis];
    if (include_self && (k == MAX || k == MIN) && (x->requires_grad || src->requires_grad))
        return bounds(g, x, src, index, axis, folds[k]);
    node *y = op_scatter_into(g, folds[k], src, index, axis, rows), *hits = NULL;
    if (k == MEAN || !include_self) {
        node *ones = op_full(g, MARE_I32, &index->shape, 1);
        hits = op_scatter_into(g, FOLD_SUM, ones, index, list ? 0 : axis, rows);
        if (list) hits = along(g, hits, x, axis);
    }
    node *none = hits ? op_map_scalar(g, "eq", hits, 0) : NULL;
    if (include_self) y = op_map2(g, maps[k], x, y);
    if (k == MEAN) {
        node *n =
            include_self ? op_map_scalar(g, "add", hits, 1) : op_map_scalar(g, "maximum", hits, 1);
        y = op_map2(g, dtype_is_float(x->dtype) ? "div" : "floordiv", y, n);
    }
    return include_self ? y : op_map3(g, "where", none, x, y);
}

/* Half floats in f32, small integers in i32; what index does not reach of x stays. */
static node *scatter(graph *g, const char *call, node *x, int axis, node *index, node *src,
                     reduce_kind k, bool include_self) {
    if (!index_fits(g, call, x, index, axis, src)) return NULL;
    node *wide = op_words(g, x);
    index = op_checked_index(g, call, index, x->shape.dim[axis]);
    src = op_cast(g, src, wide ? wide->dtype : MARE_F32);
    if (!wide || !index || !src) return NULL;
    node *part = leading(g, wide, &index->shape, axis);
    node *y = combine(g, part, leading(g, src, &index->shape, -1), index, axis, k, include_self);
    if (part != wide && y) {
        int64_t start[MAX_DIMS] = {0}, step[MAX_DIMS];
        for (int i = 0; i < MAX_DIMS; i++)
            step[i] = 1;
        y = op_put_slice(g, wide, y, start, y->shape.dim, step);
    }
    return op_cast(g, y, x->dtype);
}

/* src, or `value` everywhere. */
static bool call_scatter(graph *g, const call_value *v, node **out) {
    node *src = call_value_as(g, "scatter", &v[3], v[0].tensor->dtype);
    if (src && src->shape.rank == 0) src = op_expand(g, src, &v[2].tensor->shape);
    return src && (out[0] = scatter(g, "scatter", v[0].tensor, (int)v[1].integer, v[2].tensor, src,
                                    SET, true)) != NULL;
}

static bool call_scatter_add(graph *g, const call_value *v, node **out) {
    return (out[0] = scatter(g, "scatter_add", v[0].tensor, (int)v[1].integer, v[2].tensor,
                             v[3].tensor, SUM, true)) != NULL;
}

static bool call_scatter_reduce(graph *g, const call_value *v, node **out) {
    return (out[0] = scatter(g, "scatter_reduce", v[0].tensor, (int)v[1].integer, v[2].tensor,
                             v[3].tensor, (reduce_kind)(SUM + v[4].integer), v[5].integer)) != NULL;
}

/* ---- Lists of indices for one axis -------------------------------------------------------- */

static node *place_list(graph *g, const char *call, const call_value *v, node *src, reduce_kind k,
                        bool include_self) {
    char a[SHAPE_TEXT], b[SHAPE_TEXT], c[SHAPE_TEXT];
    node *x = v[0].tensor, *index = v[2].tensor;
    int axis = (int)v[1].integer;
    shape want = x->shape;
    want.dim[axis] = shape_count(&index->shape);
    if (src && src->shape.rank == 0) src = op_expand(g, src, &want);
    if (!src) return NULL;
    if (index->shape.rank > 1 || !shape_equal(&src->shape, &want))
        return graph_fail(g, MARE_E_SHAPE, "%s: index %s along dim %d of %s does not fit %s", call,
                          shape_text(&index->shape, a), axis + 1, shape_text(&x->shape, b),
                          shape_text(&src->shape, c));
    node *wide = op_words(g, x);
    index = op_checked_index(g, call, reshape_flat(g, index), x->shape.dim[axis]);
    src = op_cast(g, src, wide ? wide->dtype : MARE_F32);
    node *y = combine(g, wide, src, index, axis, k, include_self);
    return op_cast(g, y, x->dtype);
}

static bool call_index_add(graph *g, const call_value *v, node **out) {
    node *src = v[3].tensor;
    if (v[4].number != 1) src = op_map_scalar(g, "mul", src, v[4].number);
    return (out[0] = place_list(g, "index_add", v, src, SUM, true)) != NULL;
}

static bool call_index_copy(graph *g, const call_value *v, node **out) {
    return (out[0] = place_list(g, "index_copy", v, v[3].tensor, SET, true)) != NULL;
}

static bool call_index_fill(graph *g, const call_value *v, node **out) {
    char s[SHAPE_TEXT];
    if (v[3].tensor->shape.rank > 0)
        return graph_fail(g, MARE_E_SHAPE, "index_fill: the value is %s, not one number",
                          shape_text(&v[3].tensor->shape, s)) != NULL;
    node *value = call_value_as(g, "index_fill", &v[3], v[0].tensor->dtype);
    return (out[0] = place_list(g, "index_fill", v, value, SET, true)) != NULL;
}

static bool call_index_reduce(graph *g, const call_value *v, node **out) {
    return (out[0] = place_list(g, "index_reduce", v, v[3].tensor,
                                (reduce_kind)(PROD + v[4].integer), v[5].integer)) != NULL;
}

/* x as if it were flat. */
static bool call_put(graph *g, const call_value *v, node **out) {
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    node *x = v[0].tensor, *index = v[1].tensor, *src = call_value_as(g, "put", &v[2], x->dtype);
    if (!src) return false;
    if (src->shape.rank > 0 && shape_count(&src->shape) != shape_count(&index->shape))
        return graph_fail(g, MARE_E_SHAPE, "put: index %s and source %s differ in size",
                          shape_text(&index->shape, a), shape_text(&src->shape, b)) != NULL;
    call_value flat[3] = {{.tensor = reshape_flat(g, x)}, {.integer = 0}, {.tensor = index}};
    flat[2].tensor = reshape_flat(g, index);
    if (src->shape.rank > 0) src = reshape_flat(g, src);
    if (!flat[0].tensor || !flat[2].tensor || !src) return false;
    node *y = place_list(g, "put", flat, src, v[3].integer ? SUM : SET, true);
    return (out[0] = op_reshape(g, y, &x->shape)) != NULL;
}

/* ---- embeddings --------------------------------------------------------------------------- */

/* Rows of weight, those whose norm is above max_norm scaled down to it; limit: max_norm and
 * norm_type, as the call has them. */
static node *embedding(graph *g, const char *call, node *index, node *weight,
                       const call_value *limit) {
    static const char *const names[] = {"a", "n", "most"};
    char s[SHAPE_TEXT];
    if (!dtype_is_float(weight->dtype))
        return graph_fail(g, MARE_E_DTYPE, "%s: weight holds floats, not %s", call,
                          mare_dtype_name(weight->dtype));
    if (weight->shape.rank != 2)
        return graph_fail(g, MARE_E_SHAPE, "%s: weight [rows, size] is needed, not %s", call,
                          shape_text(&weight->shape, s));
    node *y = op_take(g, weight, index, 0);
    if (!limit[0].given || !y) return y;
    double most = limit[0].number, p = limit[1].number;
    if (!(most >= 0) || !(p >= 0))
        return graph_fail(g, MARE_E_ARGUMENT, "%s: max_norm is %g, norm_type %g", call, most, p);
    y = op_cast(g, y, MARE_F32);
    node *nodes[] = {y, op_p_norm(g, y, p, true), node_const(g, MARE_F32, most)};
    y = op_expr(g, "where(n > most, a * (most / (n + 1e-7)), a)", names, nodes, 3);
    return op_cast(g, y, weight->dtype);
}

/* Which of the indices are not padding_idx, a row of weight; null after an error. */
static node *not_padding(graph *g, const char *call, node *index, const node *weight, int64_t row) {
    char s[SHAPE_TEXT];
    int64_t rows = weight->shape.dim[0];
    if (row < -rows || row >= rows)
        return graph_fail(g, MARE_E_ARGUMENT, "%s: padding_idx %lld is no row of %s", call,
                          (long long)row, shape_text(&weight->shape, s));
    return op_map_scalar(g, "ne", index, (double)(row < 0 ? row + rows : row));
}

static bool call_embedding(graph *g, const call_value *v, node **out) {
    node *y = embedding(g, "embedding", v[0].tensor, v[1].tensor, v + 3);
    if (y && v[2].given) {
        node *keep = not_padding(g, "embedding", v[0].tensor, v[1].tensor, v[2].integer);
        y = keep ? op_map3(g, "where", op_unsqueeze(g, keep, -1), y, op_detach(g, y)) : NULL;
    }
    return (out[0] = y) != NULL;
}

enum { BAG_MEAN, BAG_SUM, BAG_MAX };

/* Which bag each of n indices is in: so many offsets are not above its place. The range of the
 * offsets is checked, so that every index is in one. */
static node *bags_of(graph *g, node *offsets, int64_t n) {
    int64_t bags = shape_count(&offsets->shape);
    node *at = op_checked_index(g, "embedding_bag", offsets, n + 1);
    node *ones = op_full(g, MARE_I32, &offsets->shape, 1);
    node *starts = op_scatter_into(g, FOLD_SUM, ones, at, 0, n + 1);
    node *bag = op_map_scalar(g, "sub", op_cumsum(g, op_narrow(g, starts, 0, 0, n), 0), 1);
    bag = op_map_scalar(g, "maximum", bag, 0);
    if (!bag) return NULL;
    bag->lo = 0;
    bag->hi = bags - 1;
    return bag;
}

/* y [N, D] folded into bags, or [bags, N, D] with bag null; keep: the elements that count, null:
 * all. */
static node *fold_bags(graph *g, node *y, node *keep, node *bag, int64_t bags, int mode) {
    node *none = node_const(g, MARE_F32, mode == BAG_MAX ? -INFINITY : 0);
    if (keep) y = op_map3(g, "where", op_unsqueeze(g, keep, -1), y, none);
    node *hits = keep ? op_cast(g, keep, MARE_I32) : NULL;
    if (!y || (keep && !hits)) return NULL;
    if (bag) {
        if (!keep) hits = op_full(g, MARE_I32, &bag->shape, 1);
        y = op_scatter_into(g, mode == BAG_MAX ? FOLD_MAX : FOLD_SUM, y, bag, 0, bags);
        hits = op_scatter_into(g, FOLD_SUM, hits, bag, 0, bags);
    } else {
        int64_t each = y->shape.dim[1];
        y = mode == BAG_MAX && each > 0 ? op_max(g, y, 2, false) : op_sum(g, y, 2, false);
        shape one = shape_of(1, 1);
        hits = keep ? op_sum(g, hits, 2, false) : op_full(g, MARE_I32, &one, (double)each);
    }
    hits = op_unsqueeze(g, hits, 1);
    if (mode == BAG_MEAN) return op_map2(g, "div", y, op_map_scalar(g, "maximum", hits, 1));
    if (mode == BAG_SUM) return y;
    return op_map3(g, "where", op_map_scalar(g, "eq", hits, 0), node_const(g, MARE_F32, 0), y);
}

static bool call_embedding_bag(graph *g, const call_value *v, node **out) {
    char a[SHAPE_TEXT];
    node *index = v[0].tensor, *weight = v[1].tensor, *offsets = v[2].tensor, *scale = v[4].tensor;
    int mode = (int)v[3].integer, rank = index->shape.rank;
    bool flat = rank == 1 && offsets && offsets->shape.rank == 1 && offsets->shape.dim[0] > 0;
    if (!flat && (rank != 2 || offsets))
        return graph_fail(g, MARE_E_SHAPE,
                          "embedding_bag: x is [bags, N], or a list with offsets, not %s",
                          shape_text(&index->shape, a)) != NULL;
    if (scale && (mode != BAG_SUM || !shape_equal(&scale->shape, &index->shape)))
        return graph_fail(g, MARE_E_ARGUMENT,
                          "embedding_bag: per_sample_weights are for mode \"sum\", and shaped like "
                          "x %s",
                          shape_text(&index->shape, a)) != NULL;
    if (flat && offsets->lo <= offsets->hi && offsets->lo > 0)
        return graph_fail(g, MARE_E_ARGUMENT, "embedding_bag: the first offset is not 0") != NULL;
    node *y = embedding(g, "embedding_bag", index, weight, v + 6), *bag = NULL, *keep = NULL;
    if (!y || (flat && !(bag = bags_of(g, offsets, index->shape.dim[0])))) return false;
    y = op_cast(g, y, MARE_F32);
    if (scale) y = op_map2(g, "mul", y, op_unsqueeze(g, op_cast(g, scale, MARE_F32), -1));
    if (v[5].given && !(keep = not_padding(g, "embedding_bag", index, weight, v[5].integer)))
        return false;
    y = fold_bags(g, y, keep, bag, flat ? offsets->shape.dim[0] : 0, mode);
    return (out[0] = op_cast(g, y, weight->dtype)) != NULL;
}

/* ---- calls -------------------------------------------------------------------------------- */

#define INDEXED NEED_TENSOR("x"), NEED_AXIS("dim"), NEED_INDEX("index")
static const call_arg index_args[] = {INDEXED, END_ARGS};
static const call_arg along_args[] = {NEED_TENSOR("x"), NEED_INDEX("indices"), AXIS_OPT("dim", -1),
                                      END_ARGS};
static const call_arg scatter_args[] = {INDEXED, NEED_VALUE("src"), END_ARGS};
static const call_arg scatter_add_args[] = {INDEXED, NEED_TENSOR("src"), END_ARGS};
static const call_arg scatter_reduce_args[] = {INDEXED, NEED_TENSOR("src"),
                                               CHOICE_OPT("reduce", "sum prod mean amax amin"),
                                               FLAG_OPT("include_self", true), END_ARGS};
static const call_arg index_add_args[] = {INDEXED, NEED_TENSOR("source"), NUMBER_OPT("alpha", 1),
                                          END_ARGS};
static const call_arg index_copy_args[] = {INDEXED, NEED_TENSOR("source"), END_ARGS};
static const call_arg index_fill_args[] = {INDEXED, NEED_VALUE("value"), END_ARGS};
static const call_arg index_reduce_args[] = {INDEXED, NEED_TENSOR("source"),
                                             CHOICE_OPT("reduce", "prod mean amax amin"),
                                             FLAG_OPT("include_self", true), END_ARGS};
static const call_arg put_args[] = {NEED_TENSOR("x"), NEED_INDEX("index"), NEED_VALUE("source"),
                                    FLAG_OPT("accumulate", false), END_ARGS};
#define PADDING_AND_NORM                                                                           \
    {.name = "padding_idx", .kind = ARG_INTEGER, .optional = true},                                \
        {.name = "max_norm", .kind = ARG_NUMBER, .optional = true}, NUMBER_OPT("norm_type", 2)
static const call_arg embedding_args[] = {NEED_INDEX("x"), NEED_TENSOR("weight"), PADDING_AND_NORM,
                                          END_ARGS};
static const call_arg bag_args[] = {NEED_INDEX("x"),
                                    NEED_TENSOR("weight"),
                                    INDEX_OPT("offsets"),
                                    CHOICE_OPT("mode", "mean sum max"),
                                    TENSOR_OPT("per_sample_weights"),
                                    PADDING_AND_NORM,
                                    END_ARGS};

const op_call op_calls_place[] = {
    {"gather",
     "For each element of index (i32, from 0), the element of x at that place along a dim. index "
     "has as many dims as x, and beside dim is not larger. Any dtype.",
     index_args, NULL, call_gather, OP_AT},
    {"take_along_dim",
     "gather with indices that broadcast against x beside dim; without dim both are flat.",
     along_args, NULL, call_take_along_dim, OP_AT},
    {"index_select", "The slices of x that a list of indices (from 0) names along a dim.",
     index_args, NULL, call_index_select, OP_AT},
    {"scatter",
     "x with elements of src, or one number, at the places that index (from 0) names along a dim: "
     "the reverse of gather. Of several for one place the last in the order of index wins, and "
     "alone gets the gradient.",
     scatter_args, NULL, call_scatter, OP_AT},
    {"scatter_add",
     "x plus the elements of src at the places that index (from 0) names along a dim, added up "
     "always in the same order.",
     scatter_add_args, NULL, call_scatter_add, OP_AT},
    {"scatter_reduce",
     "Sum, product, mean, largest or smallest of the elements of src that index (from 0) sends to "
     "a place along a dim, and with include_self of x's own. Where nothing is sent x stays. "
     "Bounds share the gradient evenly among all equals.",
     scatter_reduce_args, NULL, call_scatter_reduce, OP_AT},
    {"index_add", "x plus alpha times the slices of source, at the places of a list along a dim.",
     index_add_args, NULL, call_index_add, OP_AT},
    {"index_copy",
     "x with the slices of source at the places of a list along a dim; the last of several wins.",
     index_copy_args, NULL, call_index_copy, OP_AT},
    {"index_fill", "x with one value at the places of a list along a dim.", index_fill_args, NULL,
     call_index_fill, OP_AT},
    {"index_reduce",
     "Product, mean, largest or smallest of the slices of source that a list sends to a place "
     "along a dim, and with include_self of x's own. Bounds share the gradient evenly among all "
     "equals.",
     index_reduce_args, NULL, call_index_reduce, OP_AT},
    {"put",
     "x with the elements of source, or one number, at places counted as if x were flat; with "
     "accumulate they are added.",
     put_args, NULL, call_put, OP_AT},
    {"embedding",
     "Rows of weight [N, D] at the indices x (from 0): [..., D]. The row padding_idx gets no "
     "gradient. With max_norm, rows whose norm (in the norm_type-norm) is above it are scaled down "
     "to it in the result; weight itself stays, and the gradient is that of the scaled rows.",
     embedding_args, NULL, call_embedding, OP_AT},
    {"embedding_bag",
     "Mean, sum or largest of the rows of weight [N, D] in each bag of indices: x [bags, M], or a "
     "list and where each bag starts in it (offsets, ascending, the first 0). Empty bags give 0. "
     "per_sample_weights scale the rows of a sum. Indices padding_idx count nowhere; max_norm as "
     "in "
     "embedding.",
     bag_args, NULL, call_embedding_bag, OP_AT},
    {0},
};
