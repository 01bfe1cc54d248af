/* Masks: places of elements that are not 0, and what is chosen by them. Where a result's length
 * depends on values, they are read while the graph is built. */
#include "ops/indexing.h"

#include <stdlib.h>

static node *flat(graph *g, node *x) {
    shape s = shape_of(1, x ? shape_count(&x->shape) : 0);
    return op_reshape(g, x, &s);
}

/* How many elements of an i32 tensor of 0 and 1 are 1; -1 after an error. */
static int64_t count_ones(graph *g, node *ones) {
    double n = 0;
    if (!ones) return -1;
    if (shape_count(&ones->shape) == 0) return 0;
    return graph_read(g, op_sum(g, ones, 0, false), &n) ? (int64_t)n : -1;
}

/* x is not 0, as i32. */
static node *ones_of(graph *g, node *x) {
    return op_cast(g, op_map_scalar(g, "ne", x, 0), MARE_I32);
}

node *op_chosen(graph *g, node *ones, int64_t n) {
    if (!ones || n < 0) return NULL;
    int64_t total = shape_count(&ones->shape);
    if (n == 0) {
        shape none = shape_of(1, 0);
        return op_full(g, MARE_I32, &none, 0);
    }
    /* Each goes where so many stand before it; the others behind the last. */
    ones = flat(g, ones);
    node *behind = node_const(g, MARE_I32, (double)n);
    node *to = op_map_scalar(g, "sub", op_cumsum(g, ones, 0), 1);
    to = op_map3(g, "where", ones, to, behind);
    node *at = op_scatter_into(g, FOLD_MAX, op_arange(g, MARE_I32, 0, 1, total), to, 0, n + 1);
    at = op_narrow(g, at, 0, 0, n);
    if (!at) return NULL;
    at->lo = 0;
    at->hi = total - 1;
    return at;
}

node *op_coordinates(graph *g, node *at, const shape *s, int axis) {
    node *list[MAX_DIMS];
    int64_t stride[MAX_DIMS];
    shape_strides(s, stride);
    for (int i = 0; i < s->rank; i++) {
        list[i] = op_map_scalar(g, "floordiv", at, (double)stride[i]);
        list[i] = op_map_scalar(g, "mod", list[i], (double)s->dim[i]);
    }
    return op_stack(g, list, s->rank, axis);
}

static bool call_nonzero(graph *g, const call_value *v, node **out) {
    node *x = v[0].tensor, *ones = ones_of(g, x);
    int64_t n = count_ones(g, ones);
    if (n < 0) return false;
    if (n == 0 || x->shape.rank == 0) {
        shape s = shape_of(2, n, x->shape.rank);
        return (out[0] = op_full(g, MARE_I32, &s, 0)) != NULL;
    }
    return (out[0] = op_coordinates(g, op_chosen(g, ones, n), &x->shape, 1)) != NULL;
}

/* ---- Choosing ----------------------------------------------------------------------------- */

static bool mask_fits(graph *g, const char *call, const node *x, const node *mask, bool both_ways,
                      shape *both) {
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    if (mask->dtype != MARE_BOOL)
        return graph_fail(g, MARE_E_DTYPE, "%s: the mask is bool, not %s", call,
                          mare_dtype_name(mask->dtype)) != NULL;
    if (!shape_broadcast(&x->shape, &mask->shape, both) ||
        (!both_ways && !shape_equal(both, &x->shape)))
        return graph_fail(g, MARE_E_SHAPE, "%s: mask %s does not fit x %s", call,
                          shape_text(&mask->shape, a), shape_text(&x->shape, b)) != NULL;
    return true;
}

static bool call_masked_fill(graph *g, const call_value *v, node **out) {
    char s[SHAPE_TEXT];
    shape both;
    node *x = v[0].tensor, *value = v[2].tensor;
    if (!mask_fits(g, "masked_fill", x, v[1].tensor, false, &both)) return false;
    if (value->shape.rank > 0)
        return graph_fail(g, MARE_E_SHAPE, "masked_fill: the value is %s, not one number",
                          shape_text(&value->shape, s)) != NULL;
    value = call_value_as(g, "masked_fill", &v[2], x->dtype);
    return (out[0] = op_map3(g, "where", v[1].tensor, value, x)) != NULL;
}

static bool call_masked_select(graph *g, const call_value *v, node **out) {
    shape both;
    if (!mask_fits(g, "masked_select", v[0].tensor, v[1].tensor, true, &both)) return false;
    node *ones = ones_of(g, op_expand(g, v[1].tensor, &both));
    node *at = op_chosen(g, ones, count_ones(g, ones));
    return (out[0] = op_take(g, flat(g, op_expand(g, v[0].tensor, &both)), at, 0)) != NULL;
}

static bool call_masked_scatter(graph *g, const call_value *v, node **out) {
    shape both;
    node *x = v[0].tensor, *source = v[2].tensor;
    if (!mask_fits(g, "masked_scatter", x, v[1].tensor, false, &both)) return false;
    node *ones = ones_of(g, op_expand(g, v[1].tensor, &both));
    int64_t n = count_ones(g, ones), have = shape_count(&source->shape);
    if (n < 0) return false;
    if (n > have)
        return graph_fail(g, MARE_E_SHAPE,
                          "masked_scatter: the mask has %lld elements, the source %lld",
                          (long long)n, (long long)have) != NULL;
    if (n == 0) return (out[0] = x) != NULL;
    node *at = op_map_scalar(g, "sub", op_cumsum(g, flat(g, ones), 0), 1);
    at = op_map_scalar(g, "maximum", at, 0);
    if (!at) return false;
    at->lo = 0;
    at->hi = n - 1;
    node *value = op_reshape(g, op_take(g, flat(g, op_cast(g, source, x->dtype)), at, 0), &both);
    return (out[0] = op_map3(g, "where", v[1].tensor, value, x)) != NULL;
}

/* ---- repeat_interleave -------------------------------------------------------------------- */

/* The sum of counts; -1 after an error, such as a negative count. */
static int64_t total_count(graph *g, node *counts) {
    int64_t n = shape_count(&counts->shape), total = 0;
    double *values = calloc((size_t)n + 1, sizeof *values);
    if (!values) {
        error_no_memory(g->error, (size_t)n * sizeof *values);
        return -1;
    }
    if (n && !graph_read(g, counts, values)) total = -1;
    for (int64_t i = 0; i < n && total >= 0; i++) {
        total += (int64_t)values[i];
        if (values[i] >= 0 && total <= INT32_MAX) continue;
        graph_fail(g, MARE_E_RANGE, "repeat_interleave: repeat %lld is %lld", (long long)i,
                   (long long)values[i]);
        total = -1;
    }
    free(values);
    return total;
}

static bool call_repeat_interleave(graph *g, const call_value *v, node **out) {
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    node *x = v[2].given ? v[0].tensor : flat(g, v[0].tensor), *counts = v[1].tensor;
    if (!x) return false;
    int axis = v[2].given ? (int)v[2].integer : 0;
    int64_t n = x->shape.dim[axis];
    if (dtype_is_float(counts->dtype))
        return graph_fail(g, MARE_E_DTYPE, "repeat_interleave: repeats are integers, not %s",
                          mare_dtype_name(counts->dtype)) != NULL;
    if (node_is_const(counts)) {
        if (v[1].number < 0 || (n && v[1].number * (double)n > INT32_MAX))
            return graph_fail(g, MARE_E_ARGUMENT, "repeat_interleave: %g times %s", v[1].number,
                              shape_text(&x->shape, a)) != NULL;
        return (out[0] = op_repeat(g, x, axis, (int64_t)v[1].number, true)) != NULL;
    }
    shape list = shape_of(1, n);
    if (counts->shape.rank > 1 ||
        (shape_count(&counts->shape) != n && shape_count(&counts->shape) != 1))
        return graph_fail(g, MARE_E_SHAPE, "repeat_interleave: repeats %s for dim %d of %s",
                          shape_text(&counts->shape, a), axis + 1,
                          shape_text(&x->shape, b)) != NULL;
    counts = op_expand(g, op_cast(g, counts, MARE_I32), &list);
    int64_t total = counts ? total_count(g, counts) : -1;
    if (total < 0) return false;
    if (total == 0) return (out[0] = op_narrow(g, x, axis, 0, 0)) != NULL;
    /* Place k of the result comes from the entry that has so many ends at or before k. */
    node *ends = op_cumsum(g, counts, 0), *ones = op_full(g, MARE_I32, &list, 1);
    node *marks = op_scatter_into(g, FOLD_SUM, ones, ends, 0, total + 1);
    node *from = op_cumsum(g, op_narrow(g, marks, 0, 0, total), 0);
    if (!from) return false;
    from->lo = 0;
    from->hi = n - 1;
    return (out[0] = op_take(g, x, from, axis)) != NULL;
}

/* ---- calls -------------------------------------------------------------------------------- */

static const call_arg one_args[] = {NEED_TENSOR("x"), END_ARGS};
static const call_arg fill_args[] = {NEED_TENSOR("x"), NEED_TENSOR("mask"), NEED_VALUE("value"),
                                     END_ARGS};
static const call_arg select_args[] = {NEED_TENSOR("x"), NEED_TENSOR("mask"), END_ARGS};
static const call_arg scatter_args[] = {NEED_TENSOR("x"), NEED_TENSOR("mask"),
                                        NEED_TENSOR("source"), END_ARGS};
static const call_arg repeat_args[] = {NEED_TENSOR("x"), NEED_VALUE("repeats"), AXIS_OPT("dim", -1),
                                       END_ARGS};

const op_call op_calls_mask[] = {
    {"nonzero",
     "The places (from 0) of the elements that are not 0, in order: i32 [n, dims of x]. Evaluates "
     "x.",
     one_args, NULL, call_nonzero, OP_AT},
    {"argwhere", "The same as nonzero.", one_args, NULL, call_nonzero, OP_AT},
    {"masked_fill", "x with one value where the bool mask, which broadcasts, is true.", fill_args,
     NULL, call_masked_fill, OP_AT},
    {"masked_select",
     "The elements of x where the bool mask is true, as one dim; both broadcast. Evaluates the "
     "mask.",
     select_args, NULL, call_masked_select, OP_AT},
    {"masked_scatter",
     "x with the elements of source, in order, where the bool mask, which broadcasts, is true. "
     "Evaluates the mask.",
     scatter_args, NULL, call_masked_scatter, OP_AT},
    {"repeat_interleave",
     "x with each entry along a dim repeated: a number of times, or as often as a list says for "
     "each, which is evaluated. Without dim x is flat.",
     repeat_args, NULL, call_repeat_interleave, OP_AT},
    {0},
};
