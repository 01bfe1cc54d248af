/* The calls of pooling, of one to three axes each. */
#include "ops/internal.h"

bool pool_window(graph *g, const char *call, const call_value *v, int axes, pool_options *o) {
    if (v[0].n == 0)
        return graph_fail(g, MARE_E_ARGUMENT, "%s: kernel_size is not given", call) != NULL;
    if (!call_spread(g, call, "kernel_size", &v[0], axes, 1, 1, o->kernel) ||
        !call_spread(g, call, "stride", &v[1], axes, 1, 0, o->stride) ||
        !call_spread(g, call, "padding", &v[2], axes, 0, 0, o->padding))
        return false;
    for (int i = 0; i < axes; i++) {
        if (o->stride[i] == 0) o->stride[i] = o->kernel[i];
        o->dilation[i] = 1;
    }
    return true;
}

static bool read_size(graph *g, const char *call, const call_value *v, int axes, pool_options *o) {
    if (!call_spread(g, call, "output_size", v, axes, -1, 0, o->adaptive)) return false;
    for (int i = 0; i < axes; i++)
        if (o->adaptive[i] == 0)
            return graph_fail(g, MARE_E_ARGUMENT, "%s: output_size must be 1 or more, or -1",
                              call) != NULL;
    return true;
}

/* ---- max ---------------------------------------------------------------------------------- */

static const call_arg max_args[] = {NEED_TENSOR("x"),
                                    NEED_KERNEL,
                                    INTEGERS_OPT("stride"),
                                    INTEGERS_OPT("padding"),
                                    INTEGERS_OPT("dilation"),
                                    FLAG_OPT("ceil_mode", 0),
                                    END_ARGS};

static bool max_pool(graph *g, const char *call, const call_value *v, int axes, node **out,
                     bool with_indices) {
    pool_options o = {.ceil_mode = v[5].integer};
    if (!pool_window(g, call, v + 1, axes, &o) ||
        !call_spread(g, call, "dilation", &v[4], axes, 1, 1, o.dilation))
        return false;
    if (with_indices && !(out[1] = op_max_pool_at(g, v[0].tensor, axes, &o))) return false;
    return (out[0] = op_max_pool(g, v[0].tensor, axes, &o)) != NULL;
}

static const call_arg adaptive_args[] = {NEED_TENSOR("x"), NEED_INTEGERS("output_size"), END_ARGS};

static bool adaptive_max_pool(graph *g, const char *call, const call_value *v, int axes, node **out,
                              bool with_indices) {
    pool_options o = {0};
    if (!read_size(g, call, &v[1], axes, &o)) return false;
    if (with_indices && !(out[1] = op_max_pool_at(g, v[0].tensor, axes, &o))) return false;
    return (out[0] = op_max_pool(g, v[0].tensor, axes, &o)) != NULL;
}

/* ---- average ------------------------------------------------------------------------------ */

static const call_arg avg_args[] = {NEED_TENSOR("x"),
                                    NEED_KERNEL,
                                    INTEGERS_OPT("stride"),
                                    INTEGERS_OPT("padding"),
                                    FLAG_OPT("ceil_mode", 0),
                                    FLAG_OPT("count_include_pad", 1),
                                    INTEGER_OPT("divisor_override", 0),
                                    END_ARGS};

static bool avg_pool(graph *g, const char *call, const call_value *v, int axes, node **out) {
    pool_options o = {
        .ceil_mode = v[4].integer, .count_include_pad = v[5].integer, .divisor = v[6].integer};
    if (v[6].given && (o.divisor == 0 || o.divisor > INT32_MAX || o.divisor < INT32_MIN))
        return graph_fail(g, MARE_E_ARGUMENT, "%s: divisor_override is %lld", call,
                          (long long)o.divisor) != NULL;
    return pool_window(g, call, v + 1, axes, &o) &&
           (out[0] = op_avg_pool(g, v[0].tensor, axes, &o)) != NULL;
}

/* Bit mask of the last axes of x. */
static uint32_t last_axes(const node *x, int axes) {
    return ((1u << axes) - 1) << (x->shape.rank - axes);
}

static bool adaptive_avg_pool(graph *g, const char *call, const call_value *v, int axes,
                              node **out) {
    node *x = v[0].tensor;
    pool_options o = {0};
    if (!read_size(g, call, &v[1], axes, &o)) return false;
    node *y = op_avg_pool(g, x, axes, &o); /* checks x, too */
    bool whole = y != NULL;
    for (int i = 0; i < axes; i++)
        whole = whole && o.adaptive[i] == 1;
    return (out[0] = whole ? op_mean(g, x, last_axes(x, axes), true) : y) != NULL;
}

/* ---- Lp ----------------------------------------------------------------------------------- */

static const call_arg lp_args[] = {NEED_TENSOR("x"),       NEED_NUMBER("norm_type"), NEED_KERNEL,
                                   INTEGERS_OPT("stride"), FLAG_OPT("ceil_mode", 0), END_ARGS};

/* The mean of a window times the number of its elements, also of one that ceil_mode cuts off. */
static bool lp_pool(graph *g, const char *call, const call_value *v, int axes, node **out) {
    node *x = v[0].tensor;
    double p = v[1].number;
    pool_options o = {.ceil_mode = v[4].integer, .count_include_pad = true};
    call_value window[3] = {v[2], v[3]};
    if (p == 0 || p != p)
        return graph_fail(g, MARE_E_ARGUMENT, "%s: norm_type is %g", call, p) != NULL;
    if (!pool_window(g, call, window, axes, &o)) return false;
    double size = 1;
    for (int i = 0; i < axes; i++)
        size *= (double)o.kernel[i];
    node *wide = dtype_is_float(x->dtype) ? op_words(g, x) : x;
    node *power = p == 2 ? op_map1(g, "square", wide) : op_map_scalar(g, "pow", wide, p);
    node *sum = op_map_scalar(g, "mul", op_avg_pool(g, power, axes, &o), size);
    node *y = p == 2 ? op_map1(g, "sqrt", sum) : op_map_scalar(g, "pow", sum, 1 / p);
    return (out[0] = op_float_like(g, y, x)) != NULL;
}

/* ---- global ------------------------------------------------------------------------------- */

static const call_arg global_args[] = {NEED_TENSOR("x"), END_ARGS};

/* All axes of x [N, C, ...] but the first two as a bit mask; 0 after an error. */
static uint32_t inner_axes(graph *g, const char *call, const node *x) {
    char text[SHAPE_TEXT];
    if (x->shape.rank >= 3) return last_axes(x, x->shape.rank - 2);
    graph_fail(g, MARE_E_SHAPE, "%s: takes [N, C, ...], not %s", call, shape_text(&x->shape, text));
    return 0;
}

static bool call_global_avg_pool(graph *g, const call_value *v, node **out) {
    uint32_t axes = inner_axes(g, "global_avg_pool", v[0].tensor);
    return axes && (out[0] = op_mean(g, v[0].tensor, axes, true)) != NULL;
}

static bool call_global_max_pool(graph *g, const call_value *v, node **out) {
    uint32_t axes = inner_axes(g, "global_max_pool", v[0].tensor);
    return axes && (out[0] = op_max(g, v[0].tensor, axes, true)) != NULL;
}

/* ---- the table ---------------------------------------------------------------------------- */

#define BUILDERS(axes)                                                                             \
    static bool call_max##axes(graph *g, const call_value *v, node **out) {                        \
        return max_pool(g, "max_pool" #axes "d", v, axes, out, false);                             \
    }                                                                                              \
    static bool call_max_at##axes(graph *g, const call_value *v, node **out) {                     \
        return max_pool(g, "max_pool" #axes "d_with_indices", v, axes, out, true);                 \
    }                                                                                              \
    static bool call_avg##axes(graph *g, const call_value *v, node **out) {                        \
        return avg_pool(g, "avg_pool" #axes "d", v, axes, out);                                    \
    }                                                                                              \
    static bool call_lp##axes(graph *g, const call_value *v, node **out) {                         \
        return lp_pool(g, "lp_pool" #axes "d", v, axes, out);                                      \
    }                                                                                              \
    static bool call_adaptive_max##axes(graph *g, const call_value *v, node **out) {               \
        return adaptive_max_pool(g, "adaptive_max_pool" #axes "d", v, axes, out, false);           \
    }                                                                                              \
    static bool call_adaptive_max_at##axes(graph *g, const call_value *v, node **out) {            \
        return adaptive_max_pool(g, "adaptive_max_pool" #axes "d_with_indices", v, axes, out,      \
                                 true);                                                            \
    }                                                                                              \
    static bool call_adaptive_avg##axes(graph *g, const call_value *v, node **out) {               \
        return adaptive_avg_pool(g, "adaptive_avg_pool" #axes "d", v, axes, out);                  \
    }
BUILDERS(1)
BUILDERS(2)
BUILDERS(3)

#define CALLS(axes, x)                                                                             \
    {"max_pool" #axes "d",                                                                         \
     "The largest element of each window of x, " x ", floats; the stride is kernel_size unless "   \
     "given; padding counts as -inf. NaN is larger than all; the gradient goes to the first of "   \
     "equals.",                                                                                    \
     max_args,                                                                                     \
     NULL,                                                                                         \
     call_max##axes,                                                                               \
     OP_AT},                                                                                       \
        {"max_pool" #axes "d_with_indices",                                                        \
         "max_pool" #axes "d and the place (i32, from 0, row by row in x's pooled dimensions) of " \
         "each largest element.",                                                                  \
         max_args,                                                                                 \
         "y indices",                                                                              \
         call_max_at##axes,                                                                        \
         OP_AT},                                                                                   \
        {"avg_pool" #axes "d",                                                                     \
         "The mean of each window of x, " x ", floats. count_include_pad: padding counts as "      \
         "zeros; divisor_override: what sums are divided by instead.",                             \
         avg_args,                                                                                 \
         NULL,                                                                                     \
         call_avg##axes,                                                                           \
         OP_AT},                                                                                   \
        {"lp_pool" #axes "d",                                                                      \
         "The norm_type-th root of the sum of the norm_type-th powers in each window of x, " x     \
         "; a window that ceil_mode cuts off is scaled up to its size.",                           \
         lp_args,                                                                                  \
         NULL,                                                                                     \
         call_lp##axes,                                                                            \
         OP_AT},                                                                                   \
        {"adaptive_max_pool" #axes "d",                                                            \
         "The largest elements of output_size windows that share x, " x "; window i is floor(i "   \
         "n / size) to ceil((i + 1) n / size); a size of -1 keeps x's.",                           \
         adaptive_args,                                                                            \
         NULL,                                                                                     \
         call_adaptive_max##axes,                                                                  \
         OP_AT},                                                                                   \
        {"adaptive_max_pool" #axes "d_with_indices",                                               \
         "adaptive_max_pool" #axes "d and the place (i32, from 0, row by row in x's pooled "       \
         "dimensions) of each largest element.",                                                   \
         adaptive_args,                                                                            \
         "y indices",                                                                              \
         call_adaptive_max_at##axes,                                                               \
         OP_AT},                                                                                   \
    {                                                                                              \
        "adaptive_avg_pool" #axes "d",                                                             \
            "The means of output_size windows that share x, " x "; window i is floor(i n / size) " \
            "to ceil((i + 1) n / size); a size of -1 keeps x's.",                                  \
            adaptive_args, NULL, call_adaptive_avg##axes, OP_AT                                    \
    }

const op_call op_calls_pool[] = {
    CALLS(1, "[N, C, L] or [C, L]"),
    CALLS(2, "[N, C, H, W] or [C, H, W]"),
    CALLS(3, "[N, C, D, H, W] or [C, D, H, W]"),
    {"global_avg_pool", "The mean over all dimensions of x [N, C, ...] but these two, kept as 1.",
     global_args, NULL, call_global_avg_pool, OP_AT},
    {"global_max_pool",
     "The largest over all dimensions of x [N, C, ...] but these two, kept as 1; equals share the "
     "gradient.",
     global_args, NULL, call_global_max_pool, OP_AT},
    {0},
};
