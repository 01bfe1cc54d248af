/* What is made of an order: sorted values, the first of them, order statistics, distinct values. */
#include "ops/indexing.h"

#include <math.h>

/* ---- Elements at places along an axis ----------------------------------------------------- */

node *op_take_along(graph *g, node *a, node *index, int axis) {
    node *y = op_gather(g, op_words(g, a), index, axis);
    return y ? op_cast(g, y, a->dtype) : NULL;
}

/* No two from one place of a row. */
static node *take_distinct(graph *g, node *a, node *index, int axis) {
    node *y = op_gather_distinct(g, op_words(g, a), index, axis);
    return y ? op_cast(g, y, a->dtype) : NULL;
}

/* ---- Sorted values ------------------------------------------------------------------------ */

node *op_sort(graph *g, node *a, int axis, bool descending) {
    node *places = op_argsort(g, a, axis, descending);
    return places ? take_distinct(g, a, places, shape_axis(&a->shape, axis)) : NULL;
}

/* places name none twice. */
static bool places_and_values(graph *g, node *a, node *places, int axis, node **out) {
    out[0] = take_distinct(g, a, places, axis);
    out[1] = places;
    return out[0] && out[1];
}

static bool call_sort(graph *g, const call_value *v, node **out) {
    int axis = (int)v[1].integer;
    return places_and_values(g, v[0].tensor, op_argsort(g, v[0].tensor, axis, v[2].integer), axis,
                             out);
}

static bool call_msort(graph *g, const call_value *v, node **out) {
    return (out[0] = op_sort(g, v[0].tensor, 0, false)) != NULL;
}

static bool call_topk(graph *g, const call_value *v, node **out) {
    int axis = (int)v[2].integer;
    if (v[1].integer < 0)
        return graph_fail(g, MARE_E_ARGUMENT, "topk: k is %lld", (long long)v[1].integer) != NULL;
    node *places = op_topk(g, "topk", v[0].tensor, axis, v[3].integer, v[1].integer);
    return places_and_values(g, v[0].tensor, places, axis, out);
}

/* Without the axis, unless it is kept. */
static bool drop(graph *g, node **out, int n, int axis, bool keepdim) {
    for (int i = 0; i < n; i++) {
        if (!keepdim) out[i] = op_squeeze(g, out[i], axis);
        if (!out[i]) return false;
    }
    return true;
}

static bool call_kthvalue(graph *g, const call_value *v, node **out) {
    int axis = (int)v[2].integer;
    int64_t k = v[1].integer;
    if (k < 1) return graph_fail(g, MARE_E_ARGUMENT, "kthvalue: k is %lld", (long long)k) != NULL;
    node *places = op_topk(g, "kthvalue", v[0].tensor, axis, false, k);
    if (places) places = op_narrow(g, places, axis, k - 1, 1);
    return places_and_values(g, v[0].tensor, places, axis, out) &&
           drop(g, out, 2, axis, v[3].integer);
}

/* ---- Order statistics --------------------------------------------------------------------- */

static node *flattened(graph *g, node *x) {
    shape s = shape_of(1, x ? shape_count(&x->shape) : 0);
    return op_reshape(g, x, &s);
}

/* The tensor and the axis that a statistic is of: the one named, or all elements in a line. */
static bool one_axis(graph *g, const char *call, const call_value *x, const call_value *dim,
                     node **a, int *axis) {
    char s[SHAPE_TEXT];
    *a = dim->given ? x->tensor : flattened(g, x->tensor);
    *axis = dim->given ? (int)dim->integer : 0;
    if (*a && (*a)->shape.dim[*axis] == 0)
        return graph_fail(g, MARE_E_SHAPE, "%s: %s has no elements along the dimension", call,
                          shape_text(&x->tensor->shape, s)) != NULL;
    return *a;
}

/* How many elements along an axis are not NaN, f32. */
static node *numbers(graph *g, node *a, int axis) {
    node *is = op_map1(g, "not", op_map1(g, "isnan", a));
    return op_sum(g, op_cast(g, is, MARE_F32), 1u << axis, true);
}

static node *index_of(graph *g, node *at, int64_t length) {
    node *i = op_cast(g, at, MARE_I32);
    if (!i) return NULL;
    i->lo = 0;
    i->hi = length - 1;
    return i;
}

/* The lower of two middle elements. With NaN in a row it is the first NaN, or they are left out. */
static bool median(graph *g, const char *call, bool skip, const call_value *v, node **out) {
    static const char *const names[] = {"n", "all"};
    node *a;
    int axis;
    if (!one_axis(g, call, &v[0], &v[1], &a, &axis)) return false;
    int64_t length = a->shape.dim[axis];
    node *nodes[] = {numbers(g, a, axis), node_const(g, MARE_F32, (double)length)};
    node *at = op_expr(
        g, skip ? "maximum(floor((n - 1) / 2), 0)" : "where(n == all, floor((all - 1) / 2), n)",
        names, nodes, 2);
    node *place = op_take_along(g, op_argsort(g, a, axis, false), index_of(g, at, length), axis);
    return places_and_values(g, a, place, axis, out) && drop(g, out, 2, axis, v[2].integer);
}

static bool call_median(graph *g, const call_value *v, node **out) {
    return median(g, "median", false, v, out);
}

static bool call_nanmedian(graph *g, const call_value *v, node **out) {
    return median(g, "nanmedian", true, v, out);
}

/* One quantile for a number, several in a new first axis for a tensor [n]. The axis is taken last,
 * where sorted values stand in a row. */
static bool quantile(graph *g, const char *call, bool skip, const call_value *v, node **out) {
    static const char *const between[] = {"a + (b - a) * w", "a", "b", "(a + b) / 2", "a"};
    static const char *const names[] = {"q", "n", "all"};
    static const char *const two[] = {"a", "b", "w"};
    node *a, *q = v[1].tensor;
    int axis, method = (int)v[4].integer;
    char s[SHAPE_TEXT];
    if (!one_axis(g, call, &v[0], &v[2], &a, &axis)) return false;
    if (!dtype_is_float(a->dtype))
        return graph_fail(g, MARE_E_DTYPE, "%s: takes floats, not %s", call,
                          mare_dtype_name(a->dtype)) != NULL;
    if (q->shape.rank > 1)
        return graph_fail(g, MARE_E_SHAPE, "%s: q is a number or a list, not %s", call,
                          shape_text(&q->shape, s)) != NULL;
    if (node_is_const(q) && !(v[1].number >= 0 && v[1].number <= 1))
        return graph_fail(g, MARE_E_RANGE, "%s: q is %g, outside 0..1", call, v[1].number) != NULL;
    int64_t length = a->shape.dim[axis];
    int last = a->shape.rank - 1;
    node *wide = op_transpose(g, op_cast(g, a, MARE_F32), axis, last);
    node *nodes[] = {op_cast(g, q, MARE_F32), numbers(g, wide, last),
                     node_const(g, MARE_F32, (double)length)};
    node *at = op_expr(g, "minimum(maximum(q * (n - 1), 0), all - 1)", names, nodes, 3);
    node *sorted = op_sort(g, wide, last, false);
    if (method == 4) at = op_map1(g, "round", at);
    node *low = op_map1(g, "floor", at), *high = op_map1(g, "ceil", at);
    node *with[] = {op_take_along(g, sorted, index_of(g, low, length), last),
                    op_take_along(g, sorted, index_of(g, high, length), last),
                    op_map2(g, "sub", at, low)};
    node *y = op_expr(g, between[method], two, with, 3);
    node *nan = op_map_scalar(g, skip ? "eq" : "ne", nodes[1], skip ? 0 : (double)length);
    y = y ? op_map3(g, "where", nan, node_const(g, MARE_F32, NAN), y) : NULL;
    y = op_float_like(g, y, a);
    if (!y) return false;
    /* [..., q] with the axis' neighbours in its place: back, and q to the front. */
    int order[MAX_DIMS], n = 0;
    bool several = q->shape.rank == 1;
    if (several) order[n++] = last;
    for (int d = 0; d < last; d++)
        order[n++] = d;
    if (!several) order[n++] = last;
    if (axis != last) { /* what stood last came to the axis' place */
        int *moved = &order[several];
        for (int d = axis; d < last - 1; d++) {
            int keep = moved[d];
            moved[d] = moved[d + 1];
            moved[d + 1] = keep;
        }
    }
    y = op_permute(g, y, order, n);
    if (!several) y = op_squeeze(g, y, last);
    if (y && v[3].integer) y = v[2].given ? op_unsqueeze(g, y, axis + several) : y;
    return (out[0] = y) != NULL;
}

static bool call_quantile(graph *g, const call_value *v, node **out) {
    return quantile(g, "quantile", false, v, out);
}

static bool call_nanquantile(graph *g, const call_value *v, node **out) {
    return quantile(g, "nanquantile", true, v, out);
}

/* Is each element of a sorted row another than the one before it? The first is. */
static node *begins(graph *g, node *sorted, int axis) {
    int64_t n = sorted ? sorted->shape.dim[axis] : 0;
    int64_t before[MAX_DIMS] = {0}, after[MAX_DIMS] = {0};
    node *other = op_map2(g, "ne", op_narrow(g, sorted, axis, 1, n - 1),
                          op_narrow(g, sorted, axis, 0, n - 1));
    before[axis] = 1;
    return op_pad(g, other, before, after, 1);
}

/* The element whose run in the sorted row is the longest: of the same the smallest, the last one.
 */
static bool call_mode(graph *g, const call_value *v, node **out) {
    static const char *const names[] = {"begins", "i"};
    int axis = (int)v[1].integer;
    node *a;
    if (!one_axis(g, "mode", &v[0], &(call_value){.given = true, .integer = axis}, &a, &axis))
        return false;
    shape line = {.rank = a->shape.rank};
    for (int d = 0; d < line.rank; d++)
        line.dim[d] = d == axis ? a->shape.dim[d] : 1;
    node *places = op_argsort(g, a, axis, false);
    node *sorted = op_detach(g, op_take_along(g, a, places, axis));
    node *i = op_reshape(g, op_arange(g, MARE_I32, 0, 1, line.dim[axis]), &line);
    node *nodes[] = {begins(g, sorted, axis), i};
    node *first = op_cummax(g, op_expr(g, "where(begins, i + 1, 0)", names, nodes, 2), axis);
    node *run = op_map2(g, "sub", i, first);
    node *place = op_take_along(g, places, op_argmax(g, run, axis, true), axis);
    return places_and_values(g, a, place, axis, out) && drop(g, out, 2, axis, v[2].integer);
}

/* ---- Distinct values ---------------------------------------------------------------------- */

/* Of a line in which equal elements stand together: each once, which of them each element is, and
 * how often it occurs. How many there are is read. */
static bool distinct(graph *g, node *line, node **out) {
    int64_t n = line ? line->shape.dim[0] : 0;
    double count = 0;
    if (!line) return false;
    if (n == 0) {
        out[0] = line;
        out[1] = out[2] = op_arange(g, MARE_I32, 0, 1, 0);
        return out[1];
    }
    node *number = op_cumsum(g, begins(g, line, 0), 0); /* from 1 */
    if (!graph_read(g, op_narrow(g, number, 0, n - 1, 1), &count)) return false;
    node *which = op_arange(g, MARE_I32, 1, 1, (int64_t)count);
    node *start = index_of(g, op_searchsorted(g, number, which, false), n);
    out[0] = op_take(g, line, start, 0);
    out[1] = op_map_scalar(g, "sub", number, 1);
    out[2] = op_map2(g, "sub", op_searchsorted(g, number, which, true), start);
    return out[0] && out[1] && out[2];
}

static bool call_unique(graph *g, const call_value *v, node **out) {
    node *line = flattened(g, v[0].tensor), *places = op_argsort(g, line, 0, false);
    if (!distinct(g, op_take_along(g, line, places, 0), out)) return false;
    /* The places are an order; where each stands in it is the order of the order. */
    node *back = op_take_along(g, out[1], op_argsort(g, places, 0, false), 0);
    return (out[1] = op_reshape(g, back, &v[0].tensor->shape)) != NULL;
}

static bool call_unique_consecutive(graph *g, const call_value *v, node **out) {
    if (!distinct(g, flattened(g, v[0].tensor), out)) return false;
    return (out[1] = op_reshape(g, out[1], &v[0].tensor->shape)) != NULL;
}

/* ---- Running bounds ----------------------------------------------------------------------- */

static bool running(graph *g, const call_value *v, node *(*scan)(graph *g, node *a, int axis),
                    node **out) {
    int axis = (int)v[1].integer;
    out[1] = scan(g, v[0].tensor, axis);
    return (out[0] = op_take_along(g, v[0].tensor, out[1], axis)) != NULL;
}

static bool call_cummax(graph *g, const call_value *v, node **out) {
    return running(g, v, op_cummax, out);
}

static bool call_cummin(graph *g, const call_value *v, node **out) {
    return running(g, v, op_cummin, out);
}

/* ---- calls -------------------------------------------------------------------------------- */

static const call_arg sort_args[] = {NEED_TENSOR("x"), AXIS_OPT("dim", -1),
                                     FLAG_OPT("descending", false), END_ARGS};
static const call_arg x_args[] = {NEED_TENSOR("x"), END_ARGS};
static const call_arg dim_args[] = {NEED_TENSOR("x"), NEED_AXIS("dim"), END_ARGS};
static const call_arg topk_args[] = {NEED_TENSOR("x"),         NEED_INTEGER("k"),
                                     AXIS_OPT("dim", -1),      FLAG_OPT("largest", true),
                                     FLAG_OPT("sorted", true), END_ARGS};
static const call_arg kth_args[] = {NEED_TENSOR("x"), NEED_INTEGER("k"), AXIS_OPT("dim", -1),
                                    FLAG_OPT("keepdim", false), END_ARGS};
static const call_arg median_args[] = {NEED_TENSOR("x"),
                                       {.name = "dim", .kind = ARG_AXIS, .optional = true},
                                       FLAG_OPT("keepdim", false),
                                       END_ARGS};
static const call_arg mode_args[] = {NEED_TENSOR("x"), AXIS_OPT("dim", -1),
                                     FLAG_OPT("keepdim", false), END_ARGS};
static const call_arg quantile_args[] = {
    NEED_TENSOR("x"),
    NEED_VALUE("q"),
    {.name = "dim", .kind = ARG_AXIS, .optional = true},
    FLAG_OPT("keepdim", false),
    CHOICE_OPT("interpolation", "linear lower higher midpoint nearest"),
    END_ARGS};

#define PAIR "values indices"
const op_call op_calls_order[] = {
    {"sort",
     "The elements in ascending or descending order along a dimension, and their places. "
     "Stable; NaN counts as largest.",
     sort_args, PAIR, call_sort, OP_AT},
    {"msort", "The elements in ascending order along the first dimension.", x_args, NULL,
     call_msort, OP_AT},
    {"topk",
     "The k largest or smallest elements along a dimension, in their order, and their "
     "places; the first of equal ones. NaN counts as largest.",
     topk_args, PAIR, call_topk, OP_AT},
    {"kthvalue", "The k-th smallest element (from 1) along a dimension, and its place.", kth_args,
     PAIR, call_kthvalue, OP_AT},
    {"median",
     "The middle element, the lower of two, along a dimension or of all, and its place; "
     "NaN where there is one.",
     median_args, PAIR, call_median, OP_AT},
    {"nanmedian", "The median of the elements that are not NaN, and its place.", median_args, PAIR,
     call_nanmedian, OP_AT},
    {"quantile",
     "Quantiles q (a number, or a tensor [n] that makes a first dimension) along a "
     "dimension or of all; between two elements by the interpolation; NaN where there "
     "is one.",
     quantile_args, NULL, call_quantile, OP_AT},
    {"nanquantile", "Quantiles of the elements that are not NaN.", quantile_args, NULL,
     call_nanquantile, OP_AT},
    {"mode",
     "The most frequent element along a dimension, the smallest of several, and its last "
     "place.",
     mode_args, PAIR, call_mode, OP_AT},
    {"unique",
     "The distinct elements in ascending order; for each element of x which of them it is; "
     "and how often each occurs. Reads how many there are; NaN are distinct.",
     x_args, "values inverse counts", call_unique, OP_AT},
    {"unique_consecutive", "As unique, of runs of equal elements in the order of x.", x_args,
     "values inverse counts", call_unique_consecutive, OP_AT},
    {"cummax",
     "The largest element so far along a dimension, and its place, the last of equal ones.",
     dim_args, PAIR, call_cummax, OP_AT},
    {"cummin",
     "The smallest element so far along a dimension, and its place, the last of equal ones.",
     dim_args, PAIR, call_cummin, OP_AT},
    {0},
};
