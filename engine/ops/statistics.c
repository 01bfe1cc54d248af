/* Reductions as calls: those of reduce.c and what is made of them. */
#include "ops/internal.h"

#include <math.h>

/* ---- Arguments ---------------------------------------------------------------------------- */

/* The axes that were named, or all. An empty list is more likely a mistake than a wish. */
static bool read_axes(graph *g, const char *call, const call_value *x, const call_value *dim,
                      uint32_t *axes) {
    *axes = dim->axes ? dim->axes : (1u << x->tensor->shape.rank) - 1u;
    if (dim->given && dim->axes == 0)
        return graph_fail(g, MARE_E_ARGUMENT,
                          "%s: an empty list of dimensions; leave it out to reduce over all",
                          call) != NULL;
    return true;
}

/* Calls of (x, dim, keepdim): y from x, axes, keepdim, which may be null. */
#define REDUCTION(id, y)                                                                           \
    static bool call_##id(graph *g, const call_value *v, node **out) {                             \
        node *x = v[0].tensor;                                                                     \
        bool keepdim = v[2].integer;                                                               \
        uint32_t axes = 0;                                                                         \
        return read_axes(g, #id, &v[0], &v[1], &axes) && (out[0] = (y)) != NULL;                   \
    }

/* ---- Sums, products, bounds --------------------------------------------------------------- */

/* Where the condition holds the number, else x. */
static node *replaced(graph *g, node *where, double value, node *x) {
    if (!x) return NULL;
    bool floats = dtype_is_float(x->dtype);
    return op_map3(g, "where", where, node_const(g, floats ? MARE_F32 : x->dtype, value), x);
}

static node *without_nan(graph *g, node *x, double value) {
    return replaced(g, op_map1(g, "isnan", x), value, x);
}

/* How many elements are not 0, or are; i32. */
static node *count_where(graph *g, node *x, const char *compare, uint32_t axes, bool keepdim) {
    return op_sum(g, op_cast(g, op_map_scalar(g, compare, x, 0), MARE_I32), axes, keepdim);
}

static node *count_numbers(graph *g, node *x, uint32_t axes, bool keepdim) {
    node *is = op_map1(g, "not", op_map1(g, "isnan", x));
    return op_sum(g, op_cast(g, is, MARE_F32), axes, keepdim);
}

static node *nanmean(graph *g, node *x, uint32_t axes, bool keepdim) {
    node *wide = op_cast(g, x, MARE_F32);
    node *sum = op_sum(g, without_nan(g, wide, 0), axes, keepdim);
    return op_float_like(g, op_map2(g, "div", sum, count_numbers(g, wide, axes, keepdim)), x);
}

/* NaN where nothing else was. */
static node *nan_bound(graph *g, node *x, uint32_t axes, bool keepdim, bool largest) {
    if (!x || !dtype_is_float(x->dtype))
        return largest ? op_max(g, x, axes, keepdim) : op_min(g, x, axes, keepdim);
    node *full = without_nan(g, x, largest ? -INFINITY : INFINITY);
    node *y = largest ? op_max(g, full, axes, keepdim) : op_min(g, full, axes, keepdim);
    node *none = op_map_scalar(g, "eq", count_numbers(g, x, axes, keepdim), 0);
    return replaced(g, none, NAN, y);
}

REDUCTION(sum, op_sum(g, x, axes, keepdim))
REDUCTION(mean, op_mean(g, x, axes, keepdim))
REDUCTION(prod, op_prod(g, x, axes, keepdim))
REDUCTION(max, op_max(g, x, axes, keepdim))
REDUCTION(min, op_min(g, x, axes, keepdim))
REDUCTION(logsumexp, op_logsumexp(g, x, axes, keepdim))
REDUCTION(count_nonzero, count_where(g, x, "ne", axes, keepdim))
REDUCTION(any, op_map_scalar(g, "ne", count_where(g, x, "ne", axes, keepdim), 0))
REDUCTION(all, op_map_scalar(g, "eq", count_where(g, x, "eq", axes, keepdim), 0))
REDUCTION(nansum, op_sum(g, without_nan(g, x, 0), axes, keepdim))
REDUCTION(nanprod, op_prod(g, without_nan(g, x, 1), axes, keepdim))
REDUCTION(nanmean, nanmean(g, x, axes, keepdim))
REDUCTION(nanmax, nan_bound(g, x, axes, keepdim, true))
REDUCTION(nanmin, nan_bound(g, x, axes, keepdim, false))

static bool call_aminmax(graph *g, const call_value *v, node **out) {
    return call_min(g, v, &out[0]) && call_max(g, v, &out[1]);
}

/* ---- Places ------------------------------------------------------------------------------- */

static node *place(graph *g, node *x, int axis, bool keepdim, bool largest) {
    return largest ? op_argmax(g, x, axis, keepdim) : op_argmin(g, x, axis, keepdim);
}

static bool arg_bound(graph *g, const char *call, const call_value *v, node **out, bool largest) {
    node *x = v[0].tensor;
    if (v[1].given) return (out[0] = place(g, x, (int)v[1].integer, v[2].integer, largest)) != NULL;
    if (v[2].integer)
        return graph_fail(g, MARE_E_ARGUMENT, "%s: keepdim needs a dimension", call) != NULL;
    shape line = shape_of(1, shape_count(&x->shape));
    return (out[0] = place(g, op_reshape(g, x, &line), 0, false, largest)) != NULL;
}

static bool call_argmax(graph *g, const call_value *v, node **out) {
    return arg_bound(g, "argmax", v, out, true);
}

static bool call_argmin(graph *g, const call_value *v, node **out) {
    return arg_bound(g, "argmin", v, out, false);
}

/* The gradient goes to the place that was found alone. */
static bool with_indices(graph *g, const call_value *v, node **out, bool largest) {
    int axis = (int)v[1].integer;
    out[1] = place(g, v[0].tensor, axis, true, largest);
    out[0] = op_take_along(g, v[0].tensor, out[1], axis);
    for (int i = 0; i < 2 && !v[2].integer; i++)
        out[i] = out[i] ? op_squeeze(g, out[i], axis) : NULL;
    return out[0] && out[1];
}

static bool call_max_with_indices(graph *g, const call_value *v, node **out) {
    return with_indices(g, v, out, true);
}

static bool call_min_with_indices(graph *g, const call_value *v, node **out) {
    return with_indices(g, v, out, false);
}

/* ---- Spread: calls of (x, dim, correction, keepdim) --------------------------------------- */

static node *nanvar(graph *g, node *x, uint32_t axes, bool keepdim, double correction) {
    node *wide = op_cast(g, x, MARE_F32);
    node *away = op_map2(g, "sub", wide, nanmean(g, wide, axes, true));
    node *sum = op_sum(g, without_nan(g, op_map1(g, "square", away), 0), axes, keepdim);
    node *n = op_map_scalar(g, "sub", count_numbers(g, wide, axes, keepdim), correction);
    node *y = op_map2(g, "div", sum, op_map_scalar(g, "maximum", n, 0));
    return op_float_like(g, y, x);
}

#define SPREAD(id, y)                                                                              \
    static bool call_##id(graph *g, const call_value *v, node **out) {                             \
        node *x = v[0].tensor;                                                                     \
        bool keepdim = v[3].integer;                                                               \
        double correction = v[2].number;                                                           \
        uint32_t axes = 0;                                                                         \
        return read_axes(g, #id, &v[0], &v[1], &axes) && (out[0] = (y)) != NULL;                   \
    }
SPREAD(var, op_var(g, x, axes, keepdim, correction))
SPREAD(std, op_map1(g, "sqrt", op_var(g, x, axes, keepdim, correction)))
SPREAD(nanvar, nanvar(g, x, axes, keepdim, correction))
SPREAD(nanstd, op_map1(g, "sqrt", nanvar(g, x, axes, keepdim, correction)))

/* The mean with the arguments of a spread: they were read once, and are right. */
static node *mean_of(graph *g, const call_value *v) {
    return op_mean(g, v[0].tensor, v[1].axes, v[3].integer);
}

static bool call_var_mean(graph *g, const call_value *v, node **out) {
    return call_var(g, v, &out[0]) && (out[1] = mean_of(g, v)) != NULL;
}

static bool call_std_mean(graph *g, const call_value *v, node **out) {
    return call_std(g, v, &out[0]) && (out[1] = mean_of(g, v)) != NULL;
}

/* ---- Norms -------------------------------------------------------------------------------- */

/* f(s) for s > 0, and 0 without a gradient at 0. */
static node *above_zero(graph *g, node *s, node *(*f)(graph *g, node *s, double p), double p) {
    node *zero = op_map_scalar(g, "eq", s, 0);
    return replaced(g, zero, 0, f(g, replaced(g, zero, 1, s), p));
}

static node *power(graph *g, node *s, double p) {
    return p == 0.5 ? op_map1(g, "sqrt", s) : op_map_scalar(g, "pow", s, p);
}

static node *norm(graph *g, node *x, double p, uint32_t axes, bool keepdim) {
    if (p == 0) return op_cast(g, count_where(g, x, "ne", axes, keepdim), MARE_F32);
    if (p == 2) return above_zero(g, op_sum(g, op_map1(g, "square", x), axes, keepdim), power, 0.5);
    node *size = op_map1(g, "abs", x);
    if (isinf(p)) return p > 0 ? op_max(g, size, axes, keepdim) : op_min(g, size, axes, keepdim);
    if (p == 1) return op_sum(g, size, axes, keepdim);
    if (p < 0) /* one 0 makes the norm 0 */
        return power(g, op_sum(g, power(g, size, p), axes, keepdim), 1 / p);
    return above_zero(g, op_sum(g, above_zero(g, size, power, p), axes, keepdim), power, 1 / p);
}

static bool call_norm(graph *g, const call_value *v, node **out) {
    static const double words[] = {2, INFINITY, -INFINITY};
    uint32_t axes = 0;
    double p = v[1].text ? words[v[1].integer] : v[1].number;
    if (isnan(p)) return graph_fail(g, MARE_E_ARGUMENT, "norm: p is NaN") != NULL;
    if (!read_axes(g, "norm", &v[0], &v[2], &axes)) return false;
    node *y = norm(g, op_cast(g, v[0].tensor, MARE_F32), p, axes, v[3].integer);
    return (out[0] = op_float_like(g, y, v[0].tensor)) != NULL;
}

/* ---- Covariance --------------------------------------------------------------------------- */

/* Of the rows of x [variables, observations]; a line is one variable, and gives a number. */
static node *covariance(graph *g, const char *call, node *x, double correction) {
    char s[SHAPE_TEXT];
    if (x->shape.rank > 2)
        return graph_fail(g, MARE_E_SHAPE, "%s: %s is not [variables, observations]", call,
                          shape_text(&x->shape, s));
    shape rows = x->shape.rank == 2 ? x->shape : shape_of(2, 1, shape_count(&x->shape));
    shape one = {0};
    node *wide = op_reshape(g, op_cast(g, x, MARE_F32), &rows);
    node *away = op_map2(g, "sub", wide, op_mean(g, wide, 2, true));
    double n = (double)rows.dim[1] - correction;
    if (!away) return NULL;
    node *y = op_map2(g, "div", op_matmul(g, away, op_transpose(g, away, 0, 1)),
                      node_const(g, MARE_F32, n > 0 ? n : 0));
    return x->shape.rank == 2 ? y : op_reshape(g, y, &one);
}

static bool call_cov(graph *g, const call_value *v, node **out) {
    node *y = covariance(g, "cov", v[0].tensor, v[1].number);
    return (out[0] = op_float_like(g, y, v[0].tensor)) != NULL;
}

/* cov[i, j] over the deviations of both. */
static bool call_corrcoef(graph *g, const call_value *v, node **out) {
    node *c = covariance(g, "corrcoef", v[0].tensor, 1);
    if (!c) return false;
    if (c->shape.rank == 0)
        return (out[0] = op_float_like(g, op_map2(g, "div", c, c), v[0].tensor)) != NULL;
    int64_t n = c->shape.dim[0];
    shape column = shape_of(2, n, 1), row = shape_of(2, 1, n), line = shape_of(1, n * n);
    int64_t start = 0, stop = n * n, step = n + 1;
    node *dev = op_map1(g, "sqrt", op_slice(g, op_reshape(g, c, &line), &start, &stop, &step));
    node *y = op_map2(g, "div", c, op_reshape(g, dev, &column));
    y = op_map2(g, "div", y, op_reshape(g, dev, &row));
    y = op_map3(g, "clamp", y, node_const(g, MARE_F32, -1), node_const(g, MARE_F32, 1));
    return (out[0] = op_float_like(g, y, v[0].tensor)) != NULL;
}

/* ---- Differences and areas ---------------------------------------------------------------- */

static node *narrowed(graph *g, node *x, int axis, int64_t start, int64_t less) {
    return x ? op_narrow(g, x, axis, start, x->shape.dim[axis] - less) : NULL;
}

/* The later of each two neighbours (row) the earlier. */
static node *neighbours(graph *g, const char *row, node *x, int axis) {
    return op_map2(g, row, narrowed(g, x, axis, 1, 1), narrowed(g, x, axis, 0, 1));
}

static bool call_diff(graph *g, const call_value *v, node **out) {
    node *parts[3], *x = v[0].tensor;
    int n = 0, axis = (int)v[2].integer;
    if (v[1].integer < 0)
        return graph_fail(g, MARE_E_ARGUMENT, "diff: n is %lld", (long long)v[1].integer) != NULL;
    if (v[3].tensor) parts[n++] = v[3].tensor;
    parts[n++] = x;
    if (v[4].tensor) parts[n++] = v[4].tensor;
    if (n > 1) x = op_concat(g, parts, n, axis);
    const char *row = x && x->dtype == MARE_BOOL ? "ne" : "sub";
    for (int64_t i = 0; x && i < v[1].integer && x->shape.dim[axis] > 0; i++)
        x = neighbours(g, row, x, axis);
    return (out[0] = x) != NULL;
}

/* The areas between neighbours: half their sum, times how far apart they are. */
static node *areas(graph *g, const char *call, const call_value *v, int axis) {
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    node *y = v[0].tensor, *x = v[1].tensor;
    if (y->shape.dim[axis] == 0)
        return graph_fail(g, MARE_E_SHAPE, "%s: %s has no elements along the dimension", call,
                          shape_text(&y->shape, a));
    node *sum = op_map_scalar(g, "mul", neighbours(g, "add", y, axis), 0.5);
    if (!x) return op_map_scalar(g, "mul", sum, v[2].number);
    bool line = x->shape.rank == 1 && x->shape.dim[0] == y->shape.dim[axis];
    if (!line && !shape_equal(&x->shape, &y->shape))
        return graph_fail(g, MARE_E_SHAPE, "%s: x %s belongs to no dimension of %s", call,
                          shape_text(&x->shape, b), shape_text(&y->shape, a));
    if (line) {
        shape s = {.rank = y->shape.rank};
        for (int d = 0; d < s.rank; d++)
            s.dim[d] = d == axis ? x->shape.dim[0] : 1;
        x = op_reshape(g, x, &s);
    }
    return op_map2(g, "mul", sum, neighbours(g, "sub", x, axis));
}

static bool call_trapezoid(graph *g, const call_value *v, node **out) {
    int axis = (int)v[3].integer;
    return (out[0] = op_sum(g, areas(g, "trapezoid", v, axis), 1u << axis, false)) != NULL;
}

static bool call_cumulative_trapezoid(graph *g, const call_value *v, node **out) {
    int axis = (int)v[3].integer;
    return (out[0] = op_cumsum(g, areas(g, "cumulative_trapezoid", v, axis), axis)) != NULL;
}

/* ---- calls -------------------------------------------------------------------------------- */

static const call_arg reduce_args[] = {NEED_TENSOR("x"), AXES_OPT("dim"),
                                       FLAG_OPT("keepdim", false), END_ARGS};
static const call_arg arg_args[] = {NEED_TENSOR("x"),
                                    {.name = "dim", .kind = ARG_AXIS, .optional = true},
                                    FLAG_OPT("keepdim", false),
                                    END_ARGS};
static const call_arg index_args[] = {NEED_TENSOR("x"), NEED_AXIS("dim"),
                                      FLAG_OPT("keepdim", false), END_ARGS};
static const call_arg spread_args[] = {NEED_TENSOR("x"), AXES_OPT("dim"),
                                       NUMBER_OPT("correction", 1), FLAG_OPT("keepdim", false),
                                       END_ARGS};
static const call_arg norm_args[] = {NEED_TENSOR("x"), NUMBER_OR_WORD("p", 2, "fro inf -inf"),
                                     AXES_OPT("dim"), FLAG_OPT("keepdim", false), END_ARGS};
static const call_arg cov_args[] = {NEED_TENSOR("x"), NUMBER_OPT("correction", 1), END_ARGS};
static const call_arg corrcoef_args[] = {NEED_TENSOR("x"), END_ARGS};
static const call_arg diff_args[] = {NEED_TENSOR("x"),     INTEGER_OPT("n", 1),
                                     AXIS_OPT("dim", -1),  TENSOR_OPT("prepend"),
                                     TENSOR_OPT("append"), END_ARGS};
static const call_arg area_args[] = {NEED_TENSOR("y"), TENSOR_OPT("x"), NUMBER_OPT("dx", 1),
                                     AXIS_OPT("dim", -1), END_ARGS};

#define PLAIN(id, doc)                                                                             \
    { #id, doc, reduce_args, NULL, call_##id, OP_AT }
#define WITH(id, doc, args)                                                                        \
    { #id, doc, args, NULL, call_##id, OP_AT }
#define PAIR(id, doc, args, names)                                                                 \
    { #id, doc, args, names, call_##id, OP_AT }
const op_call op_calls_statistics[] = {
    PLAIN(sum, "Sum over some dimensions, or over all; i32 of integers, which wrap around."),
    PLAIN(mean, "Mean."),
    PLAIN(prod, "Product; i32 of integers, which wrap around."),
    PLAIN(max, "Largest element; NaN where there is one. Equal ones share the gradient."),
    PLAIN(min, "Smallest element; NaN where there is one. Equal ones share the gradient."),
    {"amax", "As max.", reduce_args, NULL, call_max, OP_AT},
    {"amin", "As min.", reduce_args, NULL, call_min, OP_AT},
    PAIR(aminmax, "Smallest and largest element.", reduce_args, "min max"),
    PLAIN(logsumexp, "The logarithm of the sum of exp(x), without overflow."),
    PLAIN(any, "Is any element not 0?"),
    PLAIN(all, "Are all elements not 0?"),
    PLAIN(count_nonzero, "How many elements are not 0; i32."),
    PLAIN(nansum, "Sum, NaN counted as 0."),
    PLAIN(nanprod, "Product, NaN counted as 1."),
    PLAIN(nanmean, "Mean of the elements that are not NaN."),
    PLAIN(nanmax, "Largest of the elements that are not NaN."),
    PLAIN(nanmin, "Smallest of the elements that are not NaN."),
    WITH(argmax,
         "Where the largest element is along a dimension, or among all: from 0, i32; the first of "
         "equal ones.",
         arg_args),
    WITH(argmin,
         "Where the smallest element is along a dimension, or among all: from 0, i32; the first of "
         "equal ones.",
         arg_args),
    PAIR(max_with_indices,
         "Largest element along a dimension and its place; the gradient goes to that place alone.",
         index_args, "values indices"),
    PAIR(min_with_indices,
         "Smallest element along a dimension and its place; the gradient goes to that place alone.",
         index_args, "values indices"),
    WITH(var, "Variance: squared distances from the mean, over their number less the correction.",
         spread_args),
    WITH(std, "Standard deviation: the square root of the variance.", spread_args),
    PAIR(var_mean, "Variance and mean.", spread_args, "var mean"),
    PAIR(std_mean, "Standard deviation and mean.", spread_args, "std mean"),
    WITH(nanvar, "Variance of the elements that are not NaN.", spread_args),
    WITH(nanstd, "Standard deviation of the elements that are not NaN.", spread_args),
    WITH(norm,
         "The p-norm of the elements along some dimensions, or of all: sum(|x|^p)^(1/p); the "
         "largest or smallest |x| for p = inf or -inf, how many are not 0 for p = 0. p = 2, also "
         "called \"fro\", over two dimensions is the Frobenius norm. Gradient 0 at 0.",
         norm_args),
    WITH(cov,
         "Covariance [n, n] of the rows of x [n, observations]; a number for x [observations].",
         cov_args),
    WITH(corrcoef, "Correlation [n, n] of the rows of x [n, observations].", corrcoef_args),
    WITH(diff,
         "Differences of neighbours along a dimension, n times over, after other elements were put "
         "before and behind; of bools, whether they differ.",
         diff_args),
    WITH(trapezoid,
         "The area below y along a dimension by the trapezoidal rule, at the places x ([n] or y's "
         "shape) or dx apart.",
         area_args),
    WITH(cumulative_trapezoid, "The areas below y up to each place but the first.", area_args),
    {0},
};
