/* Padding in PyTorch's modes: a constant, or what the tensor itself has near (or at the other end
 * of) its borders, as slices of it joined to it. */
#include "ops/internal.h"
#include "ops/ops.h"

#include <math.h>

/* `n` elements that stand before (or behind) those of axis `x`, as the mode has them. */
static node *border(graph *g, node *a, int x, bool behind, int64_t n, pad_mode mode) {
    int64_t size = a->shape.dim[x];
    if (mode == PAD_REPLICATE) {
        shape s = a->shape;
        s.dim[x] = n;
        return op_expand(g, op_narrow(g, a, x, behind ? size - 1 : 0, 1), &s);
    }
    if (mode == PAD_CIRCULAR) return op_narrow(g, a, x, behind ? 0 : size - n, n);
    return op_flip(g, op_narrow(g, a, x, behind ? size - 1 - n : 1, n), 1u << x);
}

static bool fits(graph *g, const char *call, const node *a, int x, int64_t n, pad_mode mode) {
    char text[SHAPE_TEXT];
    int64_t size = a->shape.dim[x], most = mode == PAD_REFLECT    ? size - 1
                                           : mode == PAD_CIRCULAR ? size
                                           : size                 ? INT32_MAX
                                                                  : 0;
    if (n <= most) return true;
    return graph_fail(g, MARE_E_ARGUMENT,
                      "%s: axis %d of %s is padded by %lld, in this mode it can be by %lld at most",
                      call, x, shape_text(&a->shape, text), (long long)n,
                      (long long)(most < 0 ? 0 : most)) != NULL;
}

node *op_pad_mode(graph *g, const char *call, node *a, const int64_t *before, const int64_t *after,
                  pad_mode mode, double value) {
    if (!a || mode == PAD_CONSTANT) return a ? op_pad(g, a, before, after, value) : NULL;
    int64_t crop_before[MAX_DIMS] = {0}, crop_after[MAX_DIMS] = {0};
    for (int x = 0; x < a->shape.rank; x++) {
        node *parts[3];
        int n = 0;
        if (!fits(g, call, a, x, before[x], mode) || !fits(g, call, a, x, after[x], mode))
            return NULL;
        if (before[x] > 0) parts[n++] = border(g, a, x, false, before[x], mode);
        parts[n++] = a;
        if (after[x] > 0) parts[n++] = border(g, a, x, true, after[x], mode);
        if (n > 1 && !(a = op_concat(g, parts, n, x))) return NULL;
        if (before[x] < 0) crop_before[x] = before[x];
        if (after[x] < 0) crop_after[x] = after[x];
    }
    return op_pad(g, a, crop_before, crop_after, 0);
}

/* ---- Calls -------------------------------------------------------------------------------- */

static bool call_pad(graph *g, const call_value *v, node **out) {
    node *x = v[0].tensor;
    char text[SHAPE_TEXT];
    int64_t before[MAX_DIMS] = {0}, after[MAX_DIMS] = {0};
    int rank = x->shape.rank, axes = v[1].n / 2;
    if (v[1].n % 2 || axes > rank)
        return graph_fail(g, MARE_E_ARGUMENT,
                          "pad: %d numbers are no {before, after} of each of the last axes of %s",
                          v[1].n, shape_text(&x->shape, text)) != NULL;
    for (int i = 0; i < axes; i++) {
        before[rank - 1 - i] = v[1].integers[2 * i];
        after[rank - 1 - i] = v[1].integers[2 * i + 1];
    }
    double value = v[3].number, least, most;
    if (!dtype_is_float(x->dtype)) {
        dtype_limits(x->dtype, &least, &most);
        if (!(value >= least && value <= most && value == floor(value)))
            return graph_fail(g, MARE_E_ARGUMENT, "pad: value is %g, which is no %s", value,
                              mare_dtype_name(x->dtype)) != NULL;
    }
    return (out[0] = op_pad_mode(g, "pad", x, before, after, (pad_mode)v[2].integer, value)) !=
           NULL;
}

static const call_arg pad_args[] = {
    NEED_TENSOR("input"),
    NEED_INTEGERS("pad"),
    CHOICE_OPT("mode", PAD_MODES),
    NUMBER_OPT("value", 0),
    END_ARGS,
};

const op_call op_calls_pad[] = {
    {"pad",
     "input with more elements around it. pad: {before, after} of the last axis, then of the one "
     "before it, and so on, in one list, as in PyTorch; in Lua also a list of pairs, "
     "{{before, after}, ...}, for the last axes in their order. Negative numbers crop. mode: "
     "\"constant\" fills up with value; \"reflect\" mirrors at the border elements, \"replicate\" "
     "repeats them, \"circular\" goes on at the other end. Any dtype.",
     pad_args, NULL, call_pad, OP_AT},
    {0},
};
