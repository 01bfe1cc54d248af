/* Elementwise calls with options, made of rows. */
#include "ops/internal.h"

#include <math.h>

/* a + value (b op c) in the dtype that the three have together. */
static bool add_scaled(graph *g, const char *row, const call_value *v, node **out) {
    node *term = op_map2(g, row, v[1].tensor, v[2].tensor);
    if (v[3].number != 1) term = op_map_scalar(g, "mul", term, v[3].number);
    return (out[0] = op_map2(g, "add", v[0].tensor, term)) != NULL;
}

static bool call_addcmul(graph *g, const call_value *v, node **out) {
    return add_scaled(g, "mul", v, out);
}

static bool call_addcdiv(graph *g, const call_value *v, node **out) {
    return add_scaled(g, "div", v, out);
}

/* |a - b| <= atol + rtol |b|; infinities only when they are the same. */
static node *close_to(graph *g, const call_value *v) {
    static const char *const names[] = {"a", "b", "r", "t", "n"};
    node *nodes[] = {v[0].tensor, v[1].tensor, node_const(g, MARE_F32, v[2].number),
                     node_const(g, MARE_F32, v[3].number),
                     node_const(g, MARE_F32, (double)v[4].integer)};
    return op_expr(g,
                   "or(or(a == b, and(n, and(isnan(a), isnan(b)))), "
                   "and(and(isfinite(a), isfinite(b)), abs(a - b) <= t + r * abs(b)))",
                   names, nodes, 5);
}

static bool call_isclose(graph *g, const call_value *v, node **out) {
    return (out[0] = close_to(g, v)) != NULL;
}

static bool call_allclose(graph *g, const call_value *v, node **out) {
    node *far = op_cast(g, op_map1(g, "not", close_to(g, v)), MARE_I32);
    return (out[0] = op_map_scalar(g, "eq", op_sum(g, far, 0, false), 0)) != NULL;
}

static double largest_of(mare_dtype t) {
    return t == MARE_F16 ? 65504 : t == MARE_BF16 ? 0x1.fep127 : 0x1.fffffep127;
}

static bool call_nan_to_num(graph *g, const call_value *v, node **out) {
    static const char *const names[] = {"x", "n", "p", "m"};
    node *x = v[0].tensor;
    if (!dtype_is_float(x->dtype)) return (out[0] = x) != NULL;
    double most = largest_of(x->dtype);
    node *nodes[] = {x, node_const(g, MARE_F32, v[1].number),
                     node_const(g, MARE_F32, v[2].given ? v[2].number : most),
                     node_const(g, MARE_F32, v[3].given ? v[3].number : -most)};
    out[0] = op_expr(g, "where(isnan(x), n, where(isposinf(x), p, where(isneginf(x), m, x)))",
                     names, nodes, 4);
    return out[0] != NULL;
}

static bool call_remainder(graph *g, const call_value *v, node **out) {
    return (out[0] = op_map2(g, "mod", v[0].tensor, v[1].tensor)) != NULL;
}

static bool call_float_power(graph *g, const call_value *v, node **out) {
    return (out[0] = op_map2(g, "pow", v[0].tensor, v[1].tensor)) != NULL;
}

/* The n-th derivative of digamma: by Hurwitz' zeta function from the second on. */
static bool call_polygamma(graph *g, const call_value *v, node **out) {
    int64_t n = v[0].integer;
    node *x = v[1].tensor;
    if (n < 0 || n > 30)
        return graph_fail(g, MARE_E_ARGUMENT, "polygamma: n is %lld, outside 0..30",
                          (long long)n) != NULL;
    if (n < 2) return (out[0] = op_map1(g, n ? "trigamma" : "digamma", x)) != NULL;
    node *order = node_const(g, MARE_F32, (double)(n + 1));
    double factor = (n % 2 ? 1 : -1) * tgamma((double)n + 1);
    return (out[0] = op_map_scalar(g, "mul", op_map2(g, "zeta", order, x), factor)) != NULL;
}

/* The first half along an axis, as far as the second lets it through. */
static bool call_glu(graph *g, const call_value *v, node **out) {
    char s[SHAPE_TEXT];
    node *x = v[0].tensor;
    int axis = (int)v[1].integer;
    int64_t n = x->shape.dim[axis];
    if (n % 2)
        return graph_fail(g, MARE_E_SHAPE, "glu: axis %d of %s has no halves", axis,
                          shape_text(&x->shape, s)) != NULL;
    node *gate = op_map1(g, "sigmoid", op_narrow(g, x, axis, n / 2, n / 2));
    return (out[0] = op_map2(g, "mul", op_narrow(g, x, axis, 0, n / 2), gate)) != NULL;
}

/* One slope, or one for each channel of x [N, C, ...]. */
static bool call_prelu(graph *g, const call_value *v, node **out) {
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    node *x = v[0].tensor, *w = v[1].tensor;
    int64_t n = shape_count(&w->shape);
    if (n == 1) {
        shape one = {0};
        w = op_reshape(g, w, &one);
    } else if (w->shape.rank != 1 || x->shape.rank < 2 || x->shape.dim[1] != n) {
        return graph_fail(g, MARE_E_SHAPE,
                          "prelu: weight %s is neither one number nor one a channel "
                          "of %s",
                          shape_text(&w->shape, a), shape_text(&x->shape, b)) != NULL;
    } else {
        shape s = {.rank = x->shape.rank - 1, .dim = {n}};
        for (int d = 1; d < s.rank; d++)
            s.dim[d] = 1;
        w = op_reshape(g, w, &s);
    }
    return (out[0] = op_map2(g, "leaky_relu", x, w)) != NULL;
}

/* ---- calls -------------------------------------------------------------------------------- */

static const call_arg scaled_args[] = {NEED_TENSOR("x"), NEED_VALUE("tensor1"),
                                       NEED_VALUE("tensor2"), NUMBER_OPT("value", 1), END_ARGS};
static const call_arg close_args[] = {
    NEED_TENSOR("x"),         NEED_VALUE("other"),          NUMBER_OPT("rtol", 1e-5),
    NUMBER_OPT("atol", 1e-8), FLAG_OPT("equal_nan", false), END_ARGS};
static const call_arg nan_args[] = {NEED_TENSOR("x"),
                                    NUMBER_OPT("nan", 0),
                                    {.name = "posinf", .kind = ARG_NUMBER, .optional = true},
                                    {.name = "neginf", .kind = ARG_NUMBER, .optional = true},
                                    END_ARGS};
static const call_arg pair_args[] = {NEED_TENSOR("x"), NEED_VALUE("other"), END_ARGS};
static const call_arg polygamma_args[] = {NEED_INTEGER("n"), NEED_TENSOR("x"), END_ARGS};
static const call_arg glu_args[] = {NEED_TENSOR("x"), AXIS_OPT("dim", -1), END_ARGS};
static const call_arg prelu_args[] = {NEED_TENSOR("x"), NEED_TENSOR("weight"), END_ARGS};

const op_call op_calls_pointwise[] = {
    {"addcmul", "x + value tensor1 tensor2.", scaled_args, NULL, call_addcmul, OP_AT},
    {"addcdiv", "x + value tensor1 / tensor2.", scaled_args, NULL, call_addcdiv, OP_AT},
    {"isclose",
     "Does |x - other| <= atol + rtol |other| hold? Infinities are close to themselves, NaN to NaN "
     "when equal_nan says so.",
     close_args, NULL, call_isclose, OP_AT},
    {"allclose", "Are all elements close? A bool of rank 0.", close_args, NULL, call_allclose,
     OP_AT},
    {"nan_to_num",
     "NaN, inf and -inf replaced by numbers; infinities by the largest of x's dtype if no other is "
     "given.",
     nan_args, NULL, call_nan_to_num, OP_AT},
    {"remainder", "As mod: what is left of x after division by other, with the sign of other.",
     pair_args, NULL, call_remainder, OP_AT},
    {"float_power", "As pow: floats, of integers too.", pair_args, NULL, call_float_power, OP_AT},
    {"polygamma",
     "The n-th derivative of digamma (n = 0: digamma itself), from the second on for x > 0.",
     polygamma_args, NULL, call_polygamma, OP_AT},
    {"glu",
     "Gated linear unit: the first half along a dimension times sigmoid of the second (Dauphin and "
     "others, 2016).",
     glu_args, NULL, call_glu, OP_AT},
    {"prelu",
     "x where x > 0, else weight x, with one weight or one for each channel of x [N, C, ...] (He "
     "and "
     "others, 2015).",
     prelu_args, NULL, call_prelu, OP_AT},
    {0},
};
