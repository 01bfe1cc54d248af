/* Looking for places in what is sorted, and counting by it. */
#include "ops/indexing.h"
#include "plan/lower.h"

#include <math.h>

typedef struct search_attr {
    uint32_t right, rows; /* rows: each row of values has a sorted row of its own */
} search_attr;

static bool search_infer(graph *g, node *n) {
    (void)g;
    const shape *s = &n->in[0]->shape;
    n->dtype = MARE_I32;
    n->shape = n->in[1]->shape;
    n->lo = 0;
    n->hi = s->dim[s->rank - 1];
    return true;
}

static mare_status search_lower(lowering *l, const node *n, const operand *in, const operand *out) {
    const search_attr *at = OP_ATTR(search_attr, n);
    uint64_t count = (uint64_t)shape_count(&n->shape);
    if (count == 0) return MARE_OK;
    operand sorted, values;
    mare_status s = lower_contiguous(l, &in[0], &sorted);
    if (!s) s = lower_contiguous(l, &in[1], &values);
    if (s) return s;
    const char *defines = lower_text(l, "T %s\n%s", in[0].dtype == MARE_I32 ? "int" : "float",
                                     at->right ? "RIGHT 1\n" : "");
    launch *k = defines ? lower_launch(l, "sort/search.comp", defines) : NULL;
    if (!k) return lower_error(l);
    uint32_t wg = lower_workgroup(l), first[3] = {0};
    launch_spec(k, wg);
    s = launch_bind(l, k, &sorted, READ, &first[0]);
    if (!s) s = launch_bind(l, k, &values, READ, &first[1]);
    if (!s) s = launch_bind(l, k, out, WRITE, &first[2]);
    if (s) return s;
    uint32_t length = (uint32_t)sorted.shape.dim[sorted.shape.rank - 1];
    launch_u32(k, (uint32_t)count);
    launch_u32(k, length);
    launch_u32(k, at->rows ? (uint32_t)n->shape.dim[n->shape.rank - 1] : 1);
    launch_u32(k, at->rows ? length : 0);
    for (int i = 0; i < 3; i++)
        launch_u32(k, first[i]);
    return launch_groups(l, k, (count + wg - 1) / wg);
}

static bool comes_before(double a, double b) {
    return isnan(b) ? !isnan(a) : a < b;
}

static void search_ref(const node *n, const double *const *in, double *out) {
    const search_attr *at = OP_ATTR(search_attr, n);
    const shape *s = &n->in[0]->shape;
    int64_t length = s->dim[s->rank - 1], count = shape_count(&n->shape);
    int64_t own = at->rows ? n->shape.dim[n->shape.rank - 1] : count;
    for (int64_t i = 0; i < count; i++) {
        const double *row = in[0] + i / own * length;
        out[i] = 0;
        for (int64_t k = 0; k < length; k++)
            out[i] += at->right ? !comes_before(in[1][i], row[k]) : comes_before(row[k], in[1][i]);
    }
}

node *op_searchsorted(graph *g, node *sorted, node *values, bool right) {
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    if (!sorted || !values) return NULL;
    const shape *s = &sorted->shape, *v = &values->shape;
    bool rows = s->rank != 1, same = !rows || (s->rank > 0 && s->rank == v->rank);
    for (int d = 0; rows && same && d < s->rank - 1; d++)
        same = s->dim[d] == v->dim[d];
    if (!same)
        return graph_fail(g, MARE_E_SHAPE,
                          "searchsorted: %s are not the sorted rows for values %s: one row, or the "
                          "same dimensions up to the last",
                          shape_text(s, a), shape_text(v, b));
    bool floats = dtype_is_float(sorted->dtype) || dtype_is_float(values->dtype);
    mare_dtype t = floats ? MARE_F32 : MARE_I32;
    node *in[2] = {op_cast(g, sorted, t), op_cast(g, values, t)};
    return node_new(g, &op_desc_searchsorted, in, 2, &(search_attr){right, rows});
}

static node *left_case(graph *g, node **in) {
    return op_searchsorted(g, op_sort(g, in[0], -1, false), in[1], false);
}

static node *right_case(graph *g, node **in) {
    return op_searchsorted(g, op_sort(g, in[0], -1, false), in[1], true);
}

#define CASE(f, t, a, b)                                                                           \
    {                                                                                              \
        .n_in = 2, .in = {a, b}, .lo = -5, .hi = 5, .build = f, .dtype = { t, t }                  \
    }
static const op_case search_cases[] = {
    CASE(left_case, MARE_F32, SHAPE1(9), SHAPE2(5, 7)),
    CASE(right_case, MARE_F32, SHAPE1(9), SHAPE0),
    CASE(left_case, MARE_I32, SHAPE1(40), SHAPE1(300)),
    CASE(right_case, MARE_I32, SHAPE2(3, 40), SHAPE2(3, 8)),
    CASE(left_case, MARE_F16, SHAPE2(3, 4), SHAPE2(3, 8)),
    CASE(left_case, MARE_F32, SHAPE1(0), SHAPE1(3)),
    CASE(right_case, MARE_F32, SHAPE1(3), SHAPE1(0)),
    {0},
};

const op op_desc_searchsorted = {
    .name = "searchsorted",
    .at = OP_HERE,
    .doc =
        "sorted rows, values -> where (i32) each value would be put in, before or (right) behind "
        "equal elements; NaN counts as largest.",
    .attr_size = sizeof(search_attr),
    .infer = search_infer,
    .lower = search_lower,
    .ref = search_ref,
    .cases = search_cases,
};

/* ---- Counting ----------------------------------------------------------------------------- */

static node *flattened(graph *g, node *x) {
    shape s = shape_of(1, x ? shape_count(&x->shape) : 0);
    return op_reshape(g, x, &s);
}

/* How often 0..bins-1 occur in x: what is sorted lies between two places. */
static node *count_each(graph *g, node *x, int64_t bins) {
    node *sorted = op_sort(g, flattened(g, x), 0, false);
    node *edges = op_arange(g, MARE_I32, 0, 1, bins);
    return op_map2(g, "sub", op_searchsorted(g, sorted, edges, true),
                   op_searchsorted(g, sorted, edges, false));
}

static bool call_searchsorted(graph *g, const call_value *v, node **out) {
    return (out[0] = op_searchsorted(g, v[0].tensor, v[1].tensor, v[2].integer)) != NULL;
}

static bool call_bucketize(graph *g, const call_value *v, node **out) {
    char s[SHAPE_TEXT];
    if (v[1].tensor->shape.rank != 1)
        return graph_fail(g, MARE_E_SHAPE, "bucketize: boundaries %s are not one row",
                          shape_text(&v[1].tensor->shape, s)) != NULL;
    return (out[0] = op_searchsorted(g, v[1].tensor, v[0].tensor, v[2].integer)) != NULL;
}

/* The smallest and largest element as numbers. */
static bool bounds_of(graph *g, node *x, double *lo, double *hi) {
    return graph_read(g, op_min(g, x, 0, false), lo) && graph_read(g, op_max(g, x, 0, false), hi);
}

static bool call_bincount(graph *g, const call_value *v, node **out) {
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    node *x = v[0].tensor, *weights = v[1].tensor;
    double lo = 0, hi = -1;
    if (dtype_is_float(x->dtype))
        return graph_fail(g, MARE_E_DTYPE, "bincount: counts integers, not %s",
                          mare_dtype_name(x->dtype)) != NULL;
    if (weights && !shape_equal(&weights->shape, &x->shape))
        return graph_fail(g, MARE_E_SHAPE, "bincount: weights %s for %s",
                          shape_text(&weights->shape, a), shape_text(&x->shape, b)) != NULL;
    if (v[2].integer < 0)
        return graph_fail(g, MARE_E_ARGUMENT, "bincount: minlength is %lld",
                          (long long)v[2].integer) != NULL;
    if (shape_count(&x->shape) && !bounds_of(g, x, &lo, &hi)) return false;
    if (lo < 0) return graph_fail(g, MARE_E_RANGE, "bincount: %g is negative", lo) != NULL;
    int64_t bins = (int64_t)hi + 1 > v[2].integer ? (int64_t)hi + 1 : v[2].integer;
    if (!weights) return (out[0] = count_each(g, x, bins)) != NULL;
    node *src = flattened(g, op_cast(g, weights, MARE_F32));
    node *index = flattened(g, op_cast(g, x, MARE_I32));
    return (out[0] = op_scatter_into(g, FOLD_SUM, src, index, 0, bins)) != NULL;
}

/* Edges of a histogram: lo..hi, or where those are equal the range of x. */
static bool histogram_range(graph *g, const char *call, node *x, int64_t bins, double *lo,
                            double *hi) {
    if (bins < 1)
        return graph_fail(g, MARE_E_ARGUMENT, "%s: %lld bins", call, (long long)bins) != NULL;
    if (*lo == *hi && shape_count(&x->shape) && !bounds_of(g, x, lo, hi)) return false;
    if (!isfinite(*lo) || !isfinite(*hi) || *lo > *hi)
        return graph_fail(g, MARE_E_RANGE, "%s: the range %g to %g has no bins", call, *lo, *hi) !=
               NULL;
    if (*lo == *hi) {
        *lo -= 0.5;
        *hi += 0.5;
    }
    return true;
}

/* Elements outside lo..hi and NaN go to bin -1, which is not counted. */
static node *histogram(graph *g, node *x, int64_t bins, double lo, double hi) {
    static const char *const names[] = {"x", "lo", "hi", "n"};
    node *nodes[] = {op_cast(g, x, MARE_F32), node_const(g, MARE_F32, lo),
                     node_const(g, MARE_F32, hi), node_const(g, MARE_F32, (double)bins)};
    node *bin = op_expr(g,
                        "where(and(x >= lo, x <= hi), "
                        "minimum(floor((x - lo) / (hi - lo) * n), n - 1), -1)",
                        names, nodes, 4);
    return count_each(g, op_cast(g, bin, MARE_I32), bins);
}

static bool call_histc(graph *g, const call_value *v, node **out) {
    double lo = v[2].number, hi = v[3].number;
    if (!histogram_range(g, "histc", v[0].tensor, v[1].integer, &lo, &hi)) return false;
    node *count = histogram(g, v[0].tensor, v[1].integer, lo, hi);
    return (out[0] = op_cast(g, count, MARE_F32)) != NULL;
}

static bool call_histogram(graph *g, const call_value *v, node **out) {
    double lo = v[2].number, hi = v[3].number;
    int64_t bins = v[1].integer;
    if (!histogram_range(g, "histogram", v[0].tensor, bins, &lo, &hi)) return false;
    out[0] = op_cast(g, histogram(g, v[0].tensor, bins, lo, hi), MARE_F32);
    node *step = op_arange(g, MARE_F32, 0, 1, bins + 1);
    static const char *const names[] = {"i", "lo", "hi", "n"};
    node *nodes[] = {step, node_const(g, MARE_F32, lo), node_const(g, MARE_F32, hi),
                     node_const(g, MARE_F32, (double)bins)};
    out[1] = op_expr(g, "where(i == n, hi, lo + i * ((hi - lo) / n))", names, nodes, 4);
    return out[0] && out[1];
}

static const call_arg search_args[] = {NEED_TENSOR("sorted_sequence"), NEED_TENSOR("values"),
                                       FLAG_OPT("right", false), END_ARGS};
static const call_arg bucket_args[] = {NEED_TENSOR("x"), NEED_TENSOR("boundaries"),
                                       FLAG_OPT("right", false), END_ARGS};
static const call_arg bincount_args[] = {NEED_TENSOR("x"), TENSOR_OPT("weights"),
                                         INTEGER_OPT("minlength", 0), END_ARGS};
static const call_arg histc_args[] = {NEED_TENSOR("x"), INTEGER_OPT("bins", 100),
                                      NUMBER_OPT("min", 0), NUMBER_OPT("max", 0), END_ARGS};

const op_call op_calls_search[] = {
    {"searchsorted",
     "Where (from 0, i32) each value would be put into a sorted row, before or (right) behind "
     "equal "
     "elements; one row for all, or a row [..., n] for each row of values [..., m].",
     search_args, NULL, call_searchsorted, OP_AT},
    {"bucketize",
     "In which bucket (from 0, i32) each element falls: the number of boundaries [n] below it, "
     "with "
     "right also those equal to it.",
     bucket_args, NULL, call_bucketize, OP_AT},
    {"bincount",
     "How often each of 0, 1, ... occurs among integers that are not negative, i32 [largest + 1 or "
     "minlength]; with weights, f32 sums of theirs. Reads the largest.",
     bincount_args, NULL, call_bincount, OP_AT},
    {"histc",
     "How many elements fall into each of `bins` equal parts of min..max, f32; the range of x when "
     "min equals max.",
     histc_args, NULL, call_histc, OP_AT},
    {"histogram", "As histc, with the edges of the bins [bins + 1] as a second result.", histc_args,
     "hist bin_edges", call_histogram, OP_AT},
    {0},
};
