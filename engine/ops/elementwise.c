/* Elementwise ops: what is common to all rows of rows.h. */
#include "graph/expr.h"
#include "ops/internal.h"
#include "ops/row.h"

#include <string.h>

static const char *const row_names[] = {"a", "b", "c", "y", "g"};

static const row *row_of(const node *n) {
    return (const row *)(const void *)n->op;
}

/* ---- Dtypes and shapes -------------------------------------------------------------------- */

/* The common dtype of the inputs from `first` on; constants bend to the tensors. */
static mare_dtype promoted(const node *n, int first) {
    bool any = false;
    mare_dtype t = MARE_BOOL;
    for (int constants = 0; constants < 2 && !any; constants++)
        for (int i = first; i < n->n_in; i++) {
            if (node_is_const(n->in[i]) != constants) continue;
            t = any ? dtype_promote(t, n->in[i]->dtype) : n->in[i]->dtype;
            any = true;
        }
    for (int i = first; i < n->n_in; i++) {
        const node *c = n->in[i];
        if (!node_is_const(c) || dtype_is_float(t)) continue;
        double least, most;
        dtype_limits(t, &least, &most);
        bool fits = t != MARE_BOOL && (double)c->lo >= least && (double)c->hi <= most;
        if (dtype_is_float(c->dtype))
            t = MARE_F32;
        else if (!fits)
            t = dtype_promote(t, c->dtype);
    }
    return t;
}

/* The dtype of a row's arithmetic: MARE_F32 or MARE_I32. */
static mare_dtype row_compute(const node *n) {
    const row *r = row_of(n);
    if (r->kind == FLOAT) return MARE_F32;
    return dtype_is_float(promoted(n, r->kind == SELECT)) ? MARE_F32 : MARE_I32;
}

static bool row_infer(graph *g, node *n) {
    const row *r = row_of(n);
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    n->shape = n->in[0]->shape;
    for (int i = 1; i < n->n_in; i++) {
        shape s = n->shape;
        if (!shape_broadcast(&s, &n->in[i]->shape, &n->shape))
            return graph_fail(g, MARE_E_SHAPE, "%s: shapes %s and %s do not broadcast", n->op->name,
                              shape_text(&s, a), shape_text(&n->in[i]->shape, b)) != NULL;
    }
    mare_dtype t = promoted(n, r->kind == SELECT);
    if (r->kind == INTEGER && dtype_is_float(t))
        return graph_fail(g, MARE_E_DTYPE, "%s: takes integers, not %s", n->op->name,
                          mare_dtype_name(t)) != NULL;
    if (r->kind == COMPARE)
        t = MARE_BOOL;
    else if (r->kind == FLOAT && !dtype_is_float(t))
        t = MARE_F32;
    else if (r->kind != SELECT && t == MARE_BOOL)
        t = MARE_I32;
    n->dtype = t;
    return true;
}

/* ---- Gradient, lowering, reference -------------------------------------------------------- */

static bool row_vjp(graph *g, node *n, node *gy, node **gx) {
    const row *r = row_of(n);
    node *nodes[5] = {n->in[0], n->in[0], n->in[0], n, gy};
    for (int i = 1; i < n->n_in; i++)
        nodes[i] = n->in[i];
    for (int i = 0; i < n->n_in; i++) {
        node *x = n->in[i];
        if (!x->requires_grad || !r->grad[i]) continue;
        node *d = op_expr(g, r->grad[i], row_names, nodes, 5);
        if (d) d = op_sum_to(g, d, &x->shape);
        if (d) d = op_cast(g, d, x->dtype);
        if (!d) return false;
        gx[i] = d;
    }
    return true;
}

/* Does the result wrap at 8 bits? Casts saturate; arithmetic does not. */
static bool wraps_bytes(const node *n) {
    return (n->dtype == MARE_U8 || n->dtype == MARE_I8) && row_of(n)->kind != SELECT;
}

/* The low 8 bits of y, as u8 or i8 read them. */
static double wrapped(const node *n, double y) {
    int32_t low = (int32_t)y & 255;
    return n->dtype == MARE_I8 && low > 127 ? low - 256 : low;
}

static mare_status row_element(const node *n, const char *const *in, mare_dtype *compute,
                               text *glsl, mare_error *e) {
    *compute = row_compute(n);
    if (!glsl) return MARE_OK;
    arena mem = {0};
    const expr *x;
    mare_status s = expr_parse(row_of(n)->expr, row_names, n->n_in, &mem, &x, e);
    bool wraps = wraps_bytes(n);
    if (wraps) text_add(glsl, n->dtype == MARE_I8 ? "bitfieldExtract(" : "(255 & ");
    if (!s) s = expr_glsl(x, *compute, in, glsl, e);
    if (wraps) text_add(glsl, n->dtype == MARE_I8 ? ", 0, 8)" : ")");
    arena_free(&mem);
    return s;
}

static void row_ref(const node *n, const double *const *in, double *out) {
    arena mem = {0};
    const expr *x;
    mare_dtype compute = row_compute(n);
    int64_t count = shape_count(&n->shape), stride[ROW_INPUTS][MAX_DIMS] = {{0}};
    if (expr_parse(row_of(n)->expr, row_names, n->n_in, &mem, &x, NULL) == MARE_OK) {
        for (int i = 0; i < n->n_in; i++) {
            const shape *s = &n->in[i]->shape;
            int64_t own[MAX_DIMS];
            shape_strides(s, own);
            for (int d = 0; d < s->rank; d++)
                if (s->dim[d] != 1) stride[i][d + n->shape.rank - s->rank] = own[d];
        }
        for (int64_t k = 0; k < count; k++) {
            double v[ROW_INPUTS] = {0};
            for (int i = 0; i < n->n_in; i++) {
                int64_t rest = k, at = 0;
                for (int d = n->shape.rank - 1; d >= 0; d--) {
                    at += rest % n->shape.dim[d] * stride[i][d];
                    rest /= n->shape.dim[d];
                }
                v[i] = in[i][at];
            }
            double y = expr_value(x, compute, v);
            out[k] = wraps_bytes(n) ? wrapped(n, y) : y;
        }
    }
    arena_free(&mem);
}

/* ---- Cases for the tests ------------------------------------------------------------------ */

/* A view that is not row-major: axes exchanged, one of them backwards. */
static node *twisted(graph *g, node *a) {
    return op_flip(g, op_transpose(g, a, 0, 1), 1);
}

/* Builders of a row: plain, and with its first input seen through such a view. */
#define BUILDERS(id, n)                                                                            \
    static node *build_##id(graph *g, node **in) {                                                 \
        return op_map(g, #id, in, n);                                                              \
    }                                                                                              \
    static node *twist_##id(graph *g, node **in) {                                                 \
        node *with[ROW_INPUTS] = {twisted(g, in[0])};                                              \
        for (int i = 1; i < (n); i++)                                                              \
            with[i] = in[i];                                                                       \
        return op_map(g, #id, with, n);                                                            \
    }

#define SHAPES(...)                                                                                \
    { __VA_ARGS__ }
#define CASE(n, shapes, low, high, f, t)                                                           \
    {.n_in = n, .in = shapes, .lo = low, .hi = high, .build = f, .dtype = {t, t, t}},

/* One dtype on one odd shape. */
#define TYPED_1(f, lo, hi, t) CASE(1, SHAPES(SHAPE2(5, 7)), lo, hi, f, t)
#define TYPED_2(f, lo, hi, t) CASE(2, SHAPES(SHAPE2(5, 7), SHAPE1(7)), lo, hi, f, t)
#define TYPED_3(f, lo, hi, t) CASE(3, SHAPES(SHAPE2(5, 7), SHAPE1(7), SHAPE2(5, 1)), lo, hi, f, t)

/* All shapes: one element, empty, odd, larger than a workgroup, broadcast, not row-major. */
#define SHAPED_1(f, twist, lo, hi, t)                                                              \
    CASE(1, SHAPES(SHAPE0), lo, hi, f, t)                                                          \
    CASE(1, SHAPES(SHAPE2(0, 3)), lo, hi, f, t)                                                    \
    CASE(1, SHAPES(SHAPE3(3, 5, 1)), lo, hi, f, t)                                                 \
    CASE(1, SHAPES(SHAPE1(1031)), lo, hi, f, t)                                                    \
    CASE(1, SHAPES(SHAPE2(5, 6)), lo, hi, twist, t)
#define SHAPED_2(f, twist, lo, hi, t)                                                              \
    CASE(2, SHAPES(SHAPE0, SHAPE0), lo, hi, f, t)                                                  \
    CASE(2, SHAPES(SHAPE2(0, 3), SHAPE1(3)), lo, hi, f, t)                                         \
    CASE(2, SHAPES(SHAPE2(3, 5), SHAPE2(3, 5)), lo, hi, f, t)                                      \
    CASE(2, SHAPES(SHAPE3(4, 1, 3), SHAPE2(5, 1)), lo, hi, f, t)                                   \
    CASE(2, SHAPES(SHAPE0, SHAPE2(2, 9)), lo, hi, f, t)                                            \
    CASE(2, SHAPES(SHAPE2(4, 7), SHAPE2(7, 4)), lo, hi, twist, t)
#define SHAPED_3(f, twist, lo, hi, t)                                                              \
    CASE(3, SHAPES(SHAPE0, SHAPE0, SHAPE0), lo, hi, f, t)                                          \
    CASE(3, SHAPES(SHAPE1(0), SHAPE1(1), SHAPE0), lo, hi, f, t)                                    \
    CASE(3, SHAPES(SHAPE2(3, 5), SHAPE2(3, 5), SHAPE2(3, 5)), lo, hi, f, t)                        \
    CASE(3, SHAPES(SHAPE2(3, 1), SHAPE1(6), SHAPE3(2, 1, 1)), lo, hi, f, t)                        \
    CASE(3, SHAPES(SHAPE2(4, 7), SHAPE2(7, 4), SHAPE1(4)), lo, hi, twist, t)

#define CASES_FLOAT(id, n, lo, hi)                                                                 \
    SHAPED_##n(build_##id, twist_##id, lo, hi, MARE_F32) TYPED_##n(build_##id, lo, hi, MARE_F16)   \
        TYPED_##n(build_##id, lo, hi, MARE_BF16) TYPED_##n(build_##id, 0, 1, MARE_I32)             \
            TYPED_##n(build_##id, 0, 1, MARE_I8)
#define CASES_INTEGER(id, n, lo, hi)                                                               \
    SHAPED_##n(build_##id, twist_##id, lo, hi, MARE_I32) TYPED_##n(build_##id, lo, hi, MARE_U8)    \
        TYPED_##n(build_##id, -100, 100, MARE_I8) TYPED_##n(build_##id, 0, 1, MARE_BOOL)
#define CASES_NUMBER(id, n, lo, hi)                                                                \
    SHAPED_##n(build_##id, twist_##id, lo, hi, MARE_F32) TYPED_##n(build_##id, lo, hi, MARE_F16)   \
        TYPED_##n(build_##id, lo, hi, MARE_BF16) TYPED_##n(build_##id, -100, 100, MARE_I32)        \
            TYPED_##n(build_##id, 0, 255, MARE_U8) TYPED_##n(build_##id, -128, 127, MARE_I8)       \
                TYPED_##n(build_##id, 0, 1, MARE_BOOL)
#define CASES_COMPARE(id, n, lo, hi) CASES_NUMBER(id, n, lo, hi)
#define ORDER_CASE(f, a, b, lo, hi)                                                                \
    {.n_in = 2,                                                                                    \
     .in = SHAPES(a, b),                                                                           \
     .build = f,                                                                                   \
     .dtype = {MARE_I32},                                                                          \
     .lo_in = {2, lo},                                                                             \
     .hi_in = {5, hi}},
#define CASES_ORDER(id, n, lo, hi)                                                                 \
    ORDER_CASE(build_##id, SHAPE0, SHAPE0, lo, hi)                                                 \
    ORDER_CASE(build_##id, SHAPE2(3, 5), SHAPE2(3, 5), lo, hi)                                     \
    ORDER_CASE(build_##id, SHAPE3(4, 1, 3), SHAPE2(5, 1), lo, hi)                                  \
    ORDER_CASE(twist_##id, SHAPE2(4, 7), SHAPE2(7, 4), lo, hi)
#define RATIO_CASE(f, a, b)                                                                        \
    {.n_in = 2, .in = SHAPES(a, b), .build = f, .lo_in = {-8.8, 3.1}, .hi_in = {-8.2, 3.9}},
#define CASES_RATIO(id, n, lo, hi)                                                                 \
    RATIO_CASE(build_##id, SHAPE0, SHAPE0)                                                         \
    RATIO_CASE(build_##id, SHAPE2(0, 3), SHAPE1(3))                                                \
    RATIO_CASE(build_##id, SHAPE2(3, 5), SHAPE2(3, 5))                                             \
    RATIO_CASE(build_##id, SHAPE3(4, 1, 3), SHAPE2(5, 1))                                          \
    RATIO_CASE(twist_##id, SHAPE2(4, 7), SHAPE2(7, 4))                                             \
    TYPED_2(build_##id, -100, 100, MARE_I32)                                                       \
    TYPED_2(build_##id, 0, 255, MARE_U8)                                                           \
    TYPED_2(build_##id, -128, 127, MARE_I8)                                                        \
    TYPED_2(build_##id, 0, 1, MARE_BOOL)
/* With conditions of both kinds. */
#define CASES_SELECT(id, n, low, high)                                                             \
    {.n_in = 3,                                                                                    \
     .in = SHAPES(SHAPE2(5, 7), SHAPE1(7), SHAPE2(5, 1)),                                          \
     .lo = low,                                                                                    \
     .hi = high,                                                                                   \
     .build = build_##id,                                                                          \
     .dtype = {MARE_BOOL},                                                                         \
     .lo_in = {0, low, low},                                                                       \
     .hi_in = {1, high, high}},                                                                    \
        CASES_NUMBER(id, n, low, high)

#define ROW(id, n, kind, expr, grads, lo, hi, smooth, doc)                                         \
    BUILDERS(id, n) static const op_case cases_##id[] = {CASES_##kind(id, n, lo, hi){0}};
#include "ops/rows.h"
#undef ROW

/* ---- The table ---------------------------------------------------------------------------- */

#define ROW_DTYPES_NUMBER ANY_DTYPE
#define ROW_DTYPES_FLOAT ANY_DTYPE
#define ROW_DTYPES_INTEGER INTEGER_DTYPES
#define ROW_DTYPES_COMPARE ANY_DTYPE
#define ROW_DTYPES_SELECT ANY_DTYPE
#define ROW_DTYPES_ORDER ANY_DTYPE
#define ROW_DTYPES_RATIO ANY_DTYPE
#define GRAD(...)                                                                                  \
    { __VA_ARGS__ }
#define ROW(id, n, kind, expr, grads, lo, hi, is_smooth, about)                                    \
    const row row_##id = {{.name = #id,                                                            \
                           .at = OP_HERE,                                                          \
                           .dtypes = ROW_DTYPES_##kind,                                            \
                           .doc = about,                                                           \
                           .infer = row_infer,                                                     \
                           .vjp = row_vjp,                                                         \
                           .element = row_element,                                                 \
                           .ref = row_ref,                                                         \
                           .cases = cases_##id,                                                    \
                           .smooth = is_smooth},                                                   \
                          n,                                                                       \
                          kind,                                                                    \
                          expr,                                                                    \
                          grads};
#include "ops/rows.h"
#undef ROW

static const row *const rows[] = {
#define ROW(id, n, kind, expr, grads, lo, hi, smooth, doc) &row_##id,
#include "ops/rows.h"
#undef ROW
};

int op_map_arity(const op *o) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (&rows[i]->op == o) return rows[i]->inputs;
    return 0;
}

bool op_has_gradient(const op *o) {
    if (!op_map_arity(o)) return o->vjp != NULL;
    const row *r = (const row *)(const void *)o;
    return r->grad[0] || r->grad[1] || r->grad[2];
}

const char *op_no_gradient(const op *o) {
    if (op_has_gradient(o)) return NULL;
    return op_map_arity(o) ? "it is constant between its jumps" : o->no_gradient;
}

/* ---- Builders ----------------------------------------------------------------------------- */

node *op_map(graph *g, const char *name, node *const *in, int n_in) {
    for (int i = 0; i < n_in; i++)
        if (!in[i]) return NULL;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const row *r = rows[i];
        if (strcmp(r->op.name, name) != 0) continue;
        if (r->inputs != n_in)
            return graph_fail(g, MARE_E_ARGUMENT, "%s: takes %d inputs, not %d", name, r->inputs,
                              n_in);
        if (r->kind != SELECT) return node_new(g, &r->op, in, n_in, NULL);
        node *with[ROW_INPUTS] = {op_cast(g, in[0], MARE_BOOL), in[1], in[2]};
        return node_new(g, &r->op, with, n_in, NULL);
    }
    return graph_fail(g, MARE_E_ARGUMENT, "there is no elementwise op \"%s\"", name);
}

node *op_map1(graph *g, const char *name, node *a) {
    return op_map(g, name, &a, 1);
}

node *op_map2(graph *g, const char *name, node *a, node *b) {
    node *in[2] = {a, b};
    return op_map(g, name, in, 2);
}

node *op_map3(graph *g, const char *name, node *a, node *b, node *c) {
    node *in[3] = {a, b, c};
    return op_map(g, name, in, 3);
}

node *op_constant(graph *g, double v) {
    bool whole = v >= -2147483648.0 && v <= 2147483647.0 && v == (double)(int32_t)v;
    return node_const(g, whole ? MARE_I32 : MARE_F32, v);
}

node *op_map_scalar(graph *g, const char *name, node *a, double b) {
    if (!a) return NULL;
    return op_map2(g, name, a,
                   dtype_is_float(a->dtype) ? node_const(g, MARE_F32, b) : op_constant(g, b));
}

/* ---- The row language as graph nodes ------------------------------------------------------ */

static bool has_names(const expr *x) {
    bool any = x->kind == EXPR_NAME;
    for (int i = 0; i < x->n && !any; i++)
        any = has_names(x->arg[i]);
    return any;
}

static node *build(graph *g, const expr *x, node *const *nodes, node **made) {
    if (made[x->id]) return made[x->id];
    node *y;
    if (x->kind == EXPR_NAME) {
        y = nodes[x->name];
    } else if (!has_names(x) && expr_check(x, MARE_F32, NULL) == MARE_OK) {
        y = op_constant(g, expr_value(x, MARE_F32, NULL));
        if (y) y->literal = true;
    } else {
        node *in[EXPR_MAX_ARGS];
        for (int i = 0; i < x->n; i++) {
            in[i] = build(g, x->arg[i], nodes, made);
            if (!in[i]) return NULL;
        }
        y = op_map(g, x->call, in, x->n);
    }
    made[x->id] = y;
    return y;
}

node *op_expr(graph *g, const char *source, const char *const *names, node *const *nodes, int n) {
    for (int i = 0; i < n; i++)
        if (!nodes[i]) return NULL;
    arena mem = {0};
    const expr *x;
    node *y = NULL;
    if (expr_parse(source, names, n, &mem, &x, g->error) == MARE_OK) {
        /* Every node of the tree took at least one character. */
        size_t bytes = (strlen(source) + 1) * sizeof(node *);
        node **made = arena_alloc(&mem, bytes);
        if (made)
            y = build(g, x, nodes, made);
        else
            error_no_memory(g->error, bytes);
    }
    arena_free(&mem);
    return y;
}
