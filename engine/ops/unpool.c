/* max_unpool: values go back to the places that a max pooling named. */
#include "ops/sample.h"

static const call_arg unpool_args[] = {
    NEED_TENSOR("x"),        NEED_INDEX("indices"),       NEED_KERNEL, INTEGERS_OPT("stride"),
    INTEGERS_OPT("padding"), INTEGERS_OPT("output_size"), END_ARGS};

/* The sizes of the result's last axes: what the windows cover, or output_size. */
static bool read_sizes(graph *g, const char *call, const call_value *v, int axes, shape *y) {
    pool_options o = {0};
    if (!pool_window(g, call, v + 2, axes, &o)) return false;
    const call_value *size = &v[5];
    int skip = size->n - axes; /* a whole shape may be given */
    if (size->n && skip != 0 && size->n != y->rank)
        return graph_fail(g, MARE_E_ARGUMENT, "%s: output_size has %d entries, not %d", call,
                          size->n, axes) != NULL;
    for (int i = 0; i < axes; i++) {
        int64_t *d = &y->dim[y->rank - axes + i];
        int64_t whole = (*d - 1) * o.stride[i] - 2 * o.padding[i] + o.kernel[i];
        *d = size->n ? size->integers[skip + i] : whole;
        if (*d < 1 || *d <= whole - o.stride[i] || *d >= whole + o.stride[i])
            return graph_fail(g, MARE_E_ARGUMENT,
                              "%s: output size %lld is not around the %lld that the windows cover",
                              call, (long long)*d, (long long)whole) != NULL;
    }
    return true;
}

static bool max_unpool(graph *g, const char *call, const call_value *v, int axes, node **out) {
    node *x = v[0].tensor, *index = v[1].tensor;
    char s[SHAPE_TEXT], t[SHAPE_TEXT];
    shape y = x->shape;
    if (!dtype_is_float(x->dtype) || dtype_is_float(index->dtype))
        return graph_fail(g, MARE_E_DTYPE, "%s: takes floats and integer indices, not %s and %s",
                          call, mare_dtype_name(x->dtype), mare_dtype_name(index->dtype)) != NULL;
    if ((y.rank != axes + 1 && y.rank != axes + 2) || !shape_equal(&x->shape, &index->shape))
        return graph_fail(
                   g, MARE_E_SHAPE,
                   "%s: takes [N, C, ...] or [C, ...] with %d more axes and indices like it, "
                   "not %s and %s",
                   call, axes, shape_text(&x->shape, s), shape_text(&index->shape, t)) != NULL;
    if (!read_sizes(g, call, v, axes, &y)) return false;
    int64_t rows = 1, from = 1, to = 1;
    for (int d = 0; d < y.rank; d++) {
        bool outer = d < y.rank - axes;
        rows *= outer ? y.dim[d] : 1;
        from *= outer ? 1 : x->shape.dim[d];
        to *= outer ? 1 : y.dim[d];
    }
    if (shape_count(&x->shape) > 0 && (index->lo < 0 || index->hi >= to))
        return graph_fail(g, MARE_E_RANGE, "%s: index %lld is outside 0..%lld", call,
                          (long long)(index->lo < 0 ? index->lo : index->hi),
                          (long long)to - 1) != NULL;
    shape keys = shape_of(2, rows, from), values = shape_of(4, rows, 1, from, 1);
    shape table = shape_of(3, rows, 1, to);
    index = op_reshape(g, op_cast(g, index, MARE_I32), &keys);
    node *last = op_reshape(g, op_last_place(g, index, to), &table);
    node *ones = op_full(g, MARE_F32, &table, 1);
    node *n = op_sample(g, op_reshape(g, op_words(g, x), &values), last, ones);
    return (out[0] = op_float_like(g, op_reshape(g, n, &y), x)) != NULL;
}

#define UNPOOL(axes)                                                                               \
    static bool call_unpool##axes(graph *g, const call_value *v, node **out) {                     \
        return max_unpool(g, "max_unpool" #axes "d", v, axes, out);                                \
    }
UNPOOL(1)
UNPOOL(2)
UNPOOL(3)

#define CALL(axes)                                                                                 \
    {                                                                                              \
        "max_unpool" #axes "d",                                                                    \
            "Zeros, and x's elements at the places that max_pool" #axes                            \
            "d_with_indices gave for them. Of equal places in a picture the last counts, and it "  \
            "alone has a gradient; output_size chooses among the sizes that pool to x's.",         \
            unpool_args, NULL, call_unpool##axes, OP_AT                                            \
    }

const op_call op_calls_unpool[] = {CALL(1), CALL(2), CALL(3), {0}};
