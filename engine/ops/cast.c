/* Conversion between dtypes. */
#include "base/text.h"
#include "ops/internal.h"

#include <math.h>

typedef struct cast_attr {
    mare_dtype to;
} cast_attr;

/* What a value becomes in t: toward zero and saturating in integers, NaN 0; true unless 0. */
static double cast_value(mare_dtype t, double v) {
    if (dtype_is_float(t)) return v;
    if (t == MARE_BOOL) return v != 0 ? 1.0 : 0.0;
    if (isnan(v)) return 0.0;
    double lo, hi;
    dtype_limits(t, &lo, &hi);
    v = trunc(v);
    return v < lo ? lo : v > hi ? hi : v;
}

static bool cast_infer(graph *g, node *n) {
    (void)g;
    const node *a = n->in[0];
    n->dtype = OP_ATTR(cast_attr, n)->to;
    n->shape = a->shape;
    if (a->lo <= a->hi && !dtype_is_float(n->dtype) && n->dtype != MARE_BOOL) {
        n->lo = (int64_t)cast_value(n->dtype, (double)a->lo);
        n->hi = (int64_t)cast_value(n->dtype, (double)a->hi);
    }
    return true;
}

static bool cast_vjp(graph *g, node *n, node *gy, node **gx) {
    gx[0] = op_cast(g, gy, n->in[0]->dtype);
    return gx[0] != NULL;
}

static mare_status cast_element(const node *n, const char *const *in, mare_dtype *compute,
                                text *glsl, mare_error *e) {
    *compute = dtype_is_float(n->in[0]->dtype) ? MARE_F32 : MARE_I32;
    if (glsl) text_add(glsl, "%s", in[0]);
    return glsl && glsl->failed ? error_no_memory(e, glsl->len) : MARE_OK;
}

static void cast_ref(const node *n, const double *const *in, double *out) {
    int64_t count = shape_count(&n->shape);
    for (int64_t i = 0; i < count; i++)
        out[i] = cast_value(n->dtype, in[0][i]);
}

node *op_cast(graph *g, node *a, mare_dtype t) {
    if (!a || a->dtype == t) return a;
    if (node_is_const(a)) {
        if (a->number && !dtype_is_float(t))
            return graph_fail(g, MARE_E_DTYPE,
                              "cast: a number that changes from run to run of a "
                              "step cannot become %s",
                              mare_dtype_name(t));
        node *n = node_const(g, t, cast_value(t, dtype_value(a->dtype, a->dyn[0])));
        if (!n) return NULL;
        n->literal = a->literal;
        n->number = a->number;
        return n;
    }
    return node_new(g, &op_desc_cast, &a, 1, &(cast_attr){t});
}

node *op_float_like(graph *g, node *y, const node *a) {
    return y && dtype_is_float(a->dtype) ? op_cast(g, y, a->dtype) : y;
}

static node *to_f32(graph *g, node **in) {
    return op_cast(g, in[0], MARE_F32);
}
static node *to_f16(graph *g, node **in) {
    return op_cast(g, in[0], MARE_F16);
}
static node *to_bf16(graph *g, node **in) {
    return op_cast(g, in[0], MARE_BF16);
}
static node *to_i8(graph *g, node **in) {
    return op_cast(g, in[0], MARE_I8);
}
static node *to_i32(graph *g, node **in) {
    return op_cast(g, in[0], MARE_I32);
}
static node *to_u8(graph *g, node **in) {
    return op_cast(g, in[0], MARE_U8);
}
static node *to_bool(graph *g, node **in) {
    return op_cast(g, in[0], MARE_BOOL);
}
static node *twisted_to_f16(graph *g, node **in) {
    return op_cast(g, op_flip(g, op_transpose(g, in[0], 0, 1), 1), MARE_F16);
}
static node *twisted_to_bf16(graph *g, node **in) {
    return op_cast(g, op_flip(g, op_transpose(g, in[0], 0, 1), 1), MARE_BF16);
}
static node *twisted_to_bytes(graph *g, node **in) {
    return op_cast(g, op_flip(g, op_transpose(g, in[0], 0, 1), 1), MARE_U8);
}
static node *twisted_to_i8(graph *g, node **in) {
    return op_cast(g, op_flip(g, op_transpose(g, in[0], 0, 1), 1), MARE_I8);
}

#define CASE(a, b, l, h, f, t)                                                                     \
    {                                                                                              \
        .n_in = 1, .in = {{2, {a, b}}}, .lo = l, .hi = h, .build = f, .dtype = { t }               \
    }
#define FROM(t, lo, hi)                                                                            \
    CASE(5, 7, lo, hi, to_f32, t), CASE(5, 7, lo, hi, to_f16, t), CASE(5, 7, lo, hi, to_bf16, t),  \
        CASE(5, 7, lo, hi, to_i32, t), CASE(5, 7, lo, hi, to_u8, t), CASE(5, 7, lo, hi, to_i8, t), \
        CASE(5, 7, lo, hi, to_bool, t), CASE(5, 7, lo, hi, twisted_to_f16, t),                     \
        CASE(5, 7, lo, hi, twisted_to_bf16, t), CASE(5, 7, lo, hi, twisted_to_bytes, t),           \
        CASE(5, 7, lo, hi, twisted_to_i8, t)

static const op_case cast_cases[] = {
    FROM(MARE_F32, -300, 300),
    FROM(MARE_F16, -300, 300),
    FROM(MARE_BF16, -300, 300),
    FROM(MARE_I32, -300, 300),
    FROM(MARE_I8, -128, 127),
    FROM(MARE_U8, 0, 255),
    FROM(MARE_BOOL, 0, 1),
    CASE(1, 1, -2, 2, to_f16, MARE_F32),
    CASE(3, 0, -2, 2, to_u8, MARE_F32),
    CASE(1, 1025, -2, 2, to_f16, MARE_F32),
    {0},
};

const op op_desc_cast = {
    .name = "cast",
    .at = OP_HERE,
    .doc = "Converts to another dtype: toward zero and saturating in integers, bool is != 0.",
    .attr_size = sizeof(cast_attr),
    .infer = cast_infer,
    .vjp = cast_vjp,
    .element = cast_element,
    .ref = cast_ref,
    .cases = cast_cases,
};
