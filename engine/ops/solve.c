/* Square matrices: systems of equations, inverses, determinants, Cholesky's triangle. A workgroup
 * works on one matrix, so many small ones are what this is made for. */
#include "ops/internal.h"
#include "ops/loop.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static int64_t order_of(const node *n) {
    const shape *s = &n->in[0]->shape;
    return s->dim[s->rank - 1];
}

static int64_t batch_of(const node *n) {
    int64_t batch = 1;
    for (int i = 0; i < n->in[0]->shape.rank - 2; i++)
        batch *= n->in[0]->shape.dim[i];
    return batch;
}

/* ---- Shapes ------------------------------------------------------------------------------- */

static bool solve_infer(graph *g, node *n) {
    (void)g;
    n->dtype = MARE_F32;
    n->shape = n->in[1]->shape;
    return true;
}

static bool det_infer(graph *g, node *n) {
    (void)g;
    n->dtype = MARE_F32;
    n->shape = n->in[0]->shape;
    n->shape.rank--;
    n->shape.dim[n->shape.rank - 1] = 3;
    return true;
}

static bool cholesky_infer(graph *g, node *n) {
    (void)g;
    n->dtype = MARE_F32;
    n->shape = n->in[0]->shape;
    return true;
}

/* ---- Lowering ----------------------------------------------------------------------------- */

/* The matrices side by side in scratch memory, and one launch over them. */
static mare_status eliminate(lowering *l, const node *n, const operand *in, const operand *out,
                             const char *kind) {
    if (shape_count(&n->shape) == 0) return MARE_OK;
    int64_t size = order_of(n), width = size, batch = batch_of(n);
    for (int i = 1; i < n->n_in; i++)
        width += in[i].shape.dim[in[i].shape.rank - 1];
    shape s = in[0].shape;
    s.dim[s.rank - 1] = width;
    operand m = lower_scratch(l, MARE_F32, &s), part = m;
    for (int i = 0; i < n->n_in; i++) {
        part.shape = in[i].shape;
        mare_status status = lower_map(l, "a", MARE_F32, &in[i], 1, &part);
        if (status) return status;
        part.view.offset += in[i].shape.dim[in[i].shape.rank - 1];
    }
    launch *k = lower_launch(l, "linalg/eliminate.comp", kind);
    if (!k) return lower_error(l);
    uint32_t first[2] = {0};
    launch_spec(k, loop_group(l, size * width));
    mare_status status = launch_bind(l, k, &m, READ_WRITE, &first[0]);
    if (!status) status = launch_bind(l, k, out, WRITE, &first[1]);
    if (status) return status;
    launch_u32(k, (uint32_t)batch);
    launch_u32(k, (uint32_t)size);
    launch_u32(k, (uint32_t)width);
    launch_u32(k, first[0]);
    launch_u32(k, first[1]);
    return launch_groups(l, k, (uint64_t)batch);
}

#define LOWER(id, kind)                                                                            \
    static mare_status id##_lower(lowering *l, const node *n, const operand *in,                   \
                                  const operand *out) {                                            \
        return eliminate(l, n, in, out, kind);                                                     \
    }
LOWER(solve, "SOLVE 1\n")
LOWER(det, "DET 1\n")
LOWER(cholesky, "CHOLESKY 1\n")

/* ---- Reference ---------------------------------------------------------------------------- */

/* Upper triangle of a [n, n] with b [n, m] taken along, by rows with the largest pivots; the
 * determinant's sign, and 0 for none. */
static double triangulate(double *a, double *b, int64_t n, int64_t m) {
    double sign = 1;
    for (int64_t k = 0; k < n; k++) {
        int64_t p = k;
        for (int64_t i = k + 1; i < n; i++)
            if (fabs(a[i * n + k]) > fabs(a[p * n + k])) p = i;
        for (int64_t j = 0; j < n && p != k; j++) {
            double x = a[k * n + j];
            a[k * n + j] = a[p * n + j];
            a[p * n + j] = x;
        }
        for (int64_t j = 0; j < m && p != k; j++) {
            double x = b[k * m + j];
            b[k * m + j] = b[p * m + j];
            b[p * m + j] = x;
        }
        if (p != k) sign = -sign;
        for (int64_t i = k + 1; i < n; i++) {
            double f = a[i * n + k] / a[k * n + k];
            for (int64_t j = k; j < n; j++)
                a[i * n + j] -= f * a[k * n + j];
            for (int64_t j = 0; j < m; j++)
                b[i * m + j] -= f * b[k * m + j];
        }
    }
    return sign;
}

static void solve_ref(const node *n, const double *const *in, double *out) {
    int64_t size = order_of(n), batch = batch_of(n), m = n->shape.dim[n->shape.rank - 1];
    double *a = malloc((size_t)(size * size + 1) * sizeof *a);
    memcpy(out, in[1], (size_t)shape_count(&n->shape) * sizeof *out);
    for (int64_t t = 0; t < batch && a; t++) {
        double *x = out + t * size * m;
        memcpy(a, in[0] + t * size * size, (size_t)(size * size) * sizeof *a);
        triangulate(a, x, size, m);
        for (int64_t i = size - 1; i >= 0; i--)
            for (int64_t j = 0; j < m; j++) {
                for (int64_t k = i + 1; k < size; k++)
                    x[i * m + j] -= a[i * size + k] * x[k * m + j];
                x[i * m + j] /= a[i * size + i];
            }
    }
    free(a);
}

static void det_ref(const node *n, const double *const *in, double *out) {
    int64_t size = order_of(n), batch = batch_of(n);
    double *a = malloc((size_t)(size * size + 1) * sizeof *a);
    for (int64_t t = 0; t < batch && a; t++) {
        memcpy(a, in[0] + t * size * size, (size_t)(size * size) * sizeof *a);
        double d = triangulate(a, NULL, size, 0);
        for (int64_t i = 0; i < size; i++)
            d *= a[i * size + i];
        out[t * 3] = d > 0 ? 1 : d < 0 ? -1 : 0;
        out[t * 3 + 1] = log(fabs(d));
        out[t * 3 + 2] = d;
    }
    free(a);
}

static void cholesky_ref(const node *n, const double *const *in, double *out) {
    int64_t size = order_of(n), batch = batch_of(n);
    for (int64_t t = 0; t < batch; t++) {
        const double *a = in[0] + t * size * size;
        double *y = out + t * size * size;
        for (int64_t i = 0; i < size; i++)
            for (int64_t j = 0; j < size; j++) {
                double sum = a[i * size + j];
                for (int64_t k = 0; k < j && k < i; k++)
                    sum -= y[i * size + k] * y[j * size + k];
                y[i * size + j] = j > i ? 0 : j == i ? sqrt(sum) : sum / y[j * size + j];
            }
    }
}

/* ---- Gradients ---------------------------------------------------------------------------- */

static node *transposed(graph *g, node *x) {
    return op_transpose(g, x, -2, -1);
}

static node *solve(graph *g, node *a, node *b) {
    return node_new(g, &op_desc_solve, (node *[]){a, b}, 2, NULL);
}

static node *identity(graph *g, const shape *s) {
    node *i = op_arange(g, MARE_I32, 0, 1, s->dim[s->rank - 1]);
    node *eye = op_map2(g, "eq", op_unsqueeze(g, i, 1), i);
    return op_expand(g, op_cast(g, eye, MARE_F32), s);
}

static bool solve_vjp(graph *g, node *n, node *gy, node **gx) {
    gx[1] = solve(g, transposed(g, n->in[0]), gy);
    if (n->in[0]->requires_grad) gx[0] = op_map1(g, "neg", op_matmul(g, gx[1], transposed(g, n)));
    return gx[1] && (gx[0] || !n->in[0]->requires_grad);
}

/* d log|det a| = the inverse transposed, d det a = det a times that. */
static bool det_vjp(graph *g, node *n, node *gy, node **gx) {
    node *a = n->in[0], *by_log = op_narrow(g, gy, -1, 1, 1);
    node *by_value = op_map2(g, "mul", op_narrow(g, gy, -1, 2, 1), op_narrow(g, n, -1, 2, 1));
    node *scale = op_unsqueeze(g, op_map2(g, "add", by_log, by_value), -1);
    node *back = solve(g, transposed(g, a), identity(g, &a->shape));
    return (gx[0] = op_map2(g, "mul", scale, back)) != NULL;
}

/* Murray, "Differentiation of the Cholesky decomposition" (2016). */
static bool cholesky_vjp(graph *g, node *n, node *gy, node **gx) {
    node *s = op_matmul(g, transposed(g, n), gy), *i;
    int64_t size = order_of(n);
    i = op_arange(g, MARE_I32, 0, 1, size);
    node *row = op_unsqueeze(g, i, 1), *zero = node_const(g, MARE_F32, 0);
    node *half = op_map_scalar(g, "mul", s, 0.5);
    s = op_map3(g, "where", op_map2(g, "eq", i, row), half,
                op_map3(g, "where", op_map2(g, "lt", i, row), s, zero));
    node *up = transposed(g, n);
    node *y = transposed(g, solve(g, up, transposed(g, solve(g, up, s))));
    y = op_map2(g, "add", y, transposed(g, y));
    return (gx[0] = op_map_scalar(g, "mul", y, 0.5)) != NULL;
}

/* ---- Builders ----------------------------------------------------------------------------- */

/* Square matrices in f32. */
static node *square(graph *g, const char *call, node *a) {
    char s[SHAPE_TEXT];
    if (!a) return NULL;
    int rank = a->shape.rank;
    if (rank < 2 || a->shape.dim[rank - 1] != a->shape.dim[rank - 2])
        return graph_fail(g, MARE_E_SHAPE, "%s: square matrices are needed, not %s", call,
                          shape_text(&a->shape, s));
    if (!dtype_is_float(a->dtype))
        return graph_fail(g, MARE_E_DTYPE, "%s: works on floats, not %s", call,
                          mare_dtype_name(a->dtype));
    return op_cast(g, a, MARE_F32);
}

/* b [..., n, m], or vectors: [n], or of a's shape without the last axis. Leading axes broadcast. */
static node *build_solve(graph *g, node *a, node *b) {
    char s[SHAPE_TEXT], t[SHAPE_TEXT];
    node *wide = square(g, "solve", a), *right = b;
    if (!wide || !b) return NULL;
    shape list = a->shape;
    list.rank--;
    bool vectors = b->shape.rank == 1 || shape_equal(&b->shape, &list);
    if (vectors) right = op_unsqueeze(g, b, -1);
    right = op_cast(g, right, MARE_F32);
    if (!right) return NULL;
    shape lead_a = a->shape, lead_b = right->shape, both;
    lead_a.rank -= 2;
    lead_b.rank -= 2;
    int64_t n = a->shape.dim[a->shape.rank - 1];
    if (!dtype_is_float(b->dtype))
        return graph_fail(g, MARE_E_DTYPE, "solve: works on floats, not %s",
                          mare_dtype_name(b->dtype));
    if (lead_b.rank < 0 || right->shape.dim[lead_b.rank] != n ||
        !shape_broadcast(&lead_a, &lead_b, &both))
        return graph_fail(g, MARE_E_SHAPE, "solve: %s and %s do not fit", shape_text(&a->shape, s),
                          shape_text(&b->shape, t));
    shape sa = both, sb = both;
    sa.dim[sa.rank++] = sb.dim[sb.rank++] = n;
    sa.dim[sa.rank++] = n;
    sb.dim[sb.rank++] = right->shape.dim[right->shape.rank - 1];
    node *x = solve(g, op_expand(g, wide, &sa), op_expand(g, right, &sb));
    return op_cast(g, vectors ? op_squeeze(g, x, -1) : x, a->dtype);
}

node *op_inverse(graph *g, node *a) {
    node *wide = square(g, "inverse", a);
    return wide ? op_cast(g, solve(g, wide, identity(g, &wide->shape)), a->dtype) : NULL;
}

/* Which of sign, logarithm, value. */
static node *det_part(graph *g, const char *call, node *a, int which) {
    node *wide = square(g, call, a);
    if (!wide) return NULL;
    node *all = node_new(g, &op_desc_slogdet, &wide, 1, NULL);
    return op_cast(g, op_squeeze(g, op_narrow(g, all, -1, which, 1), -1), a->dtype);
}

/* Of the symmetric part, so that the gradient is that of all elements. */
static node *cholesky(graph *g, node *a) {
    node *wide = square(g, "cholesky", a);
    wide = op_map_scalar(g, "mul", op_map2(g, "add", wide, transposed(g, wide)), 0.5);
    return a ? op_cast(g, node_new(g, &op_desc_cholesky, &wide, 1, NULL), a->dtype) : NULL;
}

/* ---- Cases -------------------------------------------------------------------------------- */

/* Far from singular. */
static node *firm(graph *g, node *x) {
    node *y = op_map2(g, "add", x, op_map_scalar(g, "mul", identity(g, &x->shape), 4));
    return op_cast(g, y, x->dtype);
}

static node *solve_case(graph *g, node **in) {
    return build_solve(g, firm(g, in[0]), in[1]);
}

/* Rows in another order, so that pivots are looked for. */
static node *inverse_case(graph *g, node **in) {
    return op_inverse(g, op_flip(g, firm(g, in[0]), 1u << (in[0]->shape.rank - 1)));
}

static node *det_case(graph *g, node **in) {
    return det_part(g, "det", op_flip(g, firm(g, in[0]), 1u << (in[0]->shape.rank - 1)), 2);
}

static node *logdet_case(graph *g, node **in) {
    return det_part(g, "slogdet", firm(g, in[0]), 1);
}

static node *sign_case(graph *g, node **in) {
    return op_map_scalar(g, "lt", det_part(g, "slogdet", in[0], 0), 0);
}

static node *cholesky_case(graph *g, node **in) {
    return cholesky(g, firm(g, in[0]));
}

static const op_case solve_cases[] = {
    {2, {{2, {3, 3}}, {2, {3, 2}}}, -1, 1, solve_case, {MARE_F32}, {0}, {0}},
    {2, {{3, {2, 4, 4}}, {2, {4, 3}}}, -1, 1, solve_case, {MARE_F32}, {0}, {0}},
    {2, {{3, {2, 4, 4}}, {2, {2, 4}}}, -1, 1, solve_case, {MARE_F32}, {0}, {0}},
    {2, {{2, {1, 1}}, {1, {1}}}, -1, 1, solve_case, {MARE_F32}, {0}, {0}},
    {2, {{2, {0, 0}}, {2, {0, 2}}}, -1, 1, solve_case, {MARE_F32}, {0}, {0}},
    {2, {{2, {33, 33}}, {2, {33, 5}}}, -0.1, 0.1, solve_case, {MARE_F32}, {0}, {0}},
    {1, {{3, {3, 5, 5}}}, -1, 1, inverse_case, {MARE_F32}, {0}, {0}},
    {1, {{2, {3, 3}}}, -1, 1, inverse_case, {MARE_F16}, {0}, {0}},
    {0},
};
static const op_case det_cases[] = {
    {1, {{3, {2, 3, 3}}}, -1, 1, det_case, {MARE_F32}, {0}, {0}},
    {1, {{2, {4, 4}}}, -1, 1, logdet_case, {MARE_F32}, {0}, {0}},
    {1, {{3, {5, 3, 3}}}, -1, 1, sign_case, {MARE_F32}, {0}, {0}},
    {1, {{2, {0, 0}}}, -1, 1, det_case, {MARE_F32}, {0}, {0}},
    {0},
};
static const op_case cholesky_cases[] = {
    {1, {{3, {2, 3, 3}}}, -1, 1, cholesky_case, {MARE_F32}, {0}, {0}},
    {1, {{2, {21, 21}}}, -0.1, 0.1, cholesky_case, {MARE_F32}, {0}, {0}},
    {1, {{2, {1, 1}}}, -1, 1, cholesky_case, {MARE_F32}, {0}, {0}},
    {0},
};

const op op_desc_solve = {
    .name = "solve",
    .at = OP_HERE,
    .dtypes = FLOAT_DTYPES,
    .doc = "a [..., n, n], b [..., n, m] -> x with a x = b; f32",
    .infer = solve_infer,
    .vjp = solve_vjp,
    .lower = solve_lower,
    .ref = solve_ref,
    .cases = solve_cases,
    .smooth = true,
};
const op op_desc_slogdet = {
    .name = "slogdet",
    .at = OP_HERE,
    .dtypes = FLOAT_DTYPES,
    .doc = "a [..., n, n] -> [..., 3]: sign, logarithm of the size, and value of the determinant; "
           "f32",
    .infer = det_infer,
    .vjp = det_vjp,
    .lower = det_lower,
    .ref = det_ref,
    .cases = det_cases,
    .smooth = true,
};
const op op_desc_cholesky = {
    .name = "cholesky",
    .at = OP_HERE,
    .dtypes = FLOAT_DTYPES,
    .doc = "a [..., n, n], symmetric -> the lower triangle whose product with its transpose is a; "
           "f32",
    .infer = cholesky_infer,
    .vjp = cholesky_vjp,
    .lower = cholesky_lower,
    .ref = cholesky_ref,
    .cases = cholesky_cases,
    .smooth = true,
};

/* ---- calls -------------------------------------------------------------------------------- */

static bool call_solve(graph *g, const call_value *v, node **out) {
    return (out[0] = build_solve(g, v[0].tensor, v[1].tensor)) != NULL;
}

static bool call_inverse(graph *g, const call_value *v, node **out) {
    return (out[0] = op_inverse(g, v[0].tensor)) != NULL;
}

static bool call_det(graph *g, const call_value *v, node **out) {
    return (out[0] = det_part(g, "det", v[0].tensor, 2)) != NULL;
}

static bool call_slogdet(graph *g, const call_value *v, node **out) {
    out[0] = op_detach(g, det_part(g, "slogdet", v[0].tensor, 0));
    return out[0] && (out[1] = det_part(g, "slogdet", v[0].tensor, 1)) != NULL;
}

static bool call_cholesky(graph *g, const call_value *v, node **out) {
    return (out[0] = cholesky(g, v[0].tensor)) != NULL;
}

static const call_arg one_args[] = {NEED_TENSOR("x"), END_ARGS};
static const call_arg solve_args[] = {NEED_TENSOR("x"), NEED_TENSOR("other"), END_ARGS};

const op_call op_calls_solve[] = {
    {"solve",
     "The solution y of x y = other: x [..., N, N], other [..., N, M], or vectors: [N], or x's "
     "shape without its last dim; leading dims broadcast. Gauss and Jordan's elimination with "
     "pivots, a "
     "workgroup a matrix. A singular x gives infinities or NaN.",
     solve_args, NULL, call_solve, OP_AT},
    {"inverse", "The inverse of square matrices [..., N, N], as by solve.", one_args, NULL,
     call_inverse, OP_AT},
    {"det", "The determinant of square matrices [..., N, N]; its gradient takes the inverse.",
     one_args, NULL, call_det, OP_AT},
    {"slogdet", "Sign and logarithm of the size of the determinant of matrices [..., N, N].",
     one_args, "sign logabsdet", call_slogdet, OP_AT},
    {"cholesky",
     "The lower triangle [..., N, N] whose product with its transpose is the symmetric part of x; "
     "NaN where that is not positive definite.",
     one_args, NULL, call_cholesky, OP_AT},
    {0},
};
