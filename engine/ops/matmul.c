/* Matrix products, batched and broadcasting. */
#include "ops/gemm.h"
#include "ops/internal.h"
#include "ops/ops.h"

#include <string.h>

/* The leading axes of a matrix operand. */
static shape batch_shape(const shape *s) {
    shape b = *s;
    b.rank -= 2;
    return b;
}

static bool matmul_infer(graph *g, node *n) {
    const shape *a = &n->in[0]->shape, *b = &n->in[1]->shape;
    char at[SHAPE_TEXT], bt[SHAPE_TEXT];
    shape_text(a, at);
    shape_text(b, bt);
    shape batch_a = batch_shape(a), batch_b = batch_shape(b), out;
    if (!shape_broadcast(&batch_a, &batch_b, &out))
        return graph_fail(g, MARE_E_SHAPE, "matmul: %s and %s: leading axes do not broadcast", at,
                          bt) != NULL;
    out.dim[out.rank++] = a->dim[a->rank - 2];
    out.dim[out.rank++] = b->dim[b->rank - 1];
    n->dtype = n->in[0]->dtype;
    n->shape = out;
    return true;
}

/* Is it one matrix whose columns are rows in memory? A linear layer sees its weight so. */
static bool is_turned(const node *n) {
    view v = n->view, from = {0};
    if (n->shape.rank != 2) return false;
    if (!n->store) {
        if (!n->op->view || n->n_in != 1) return false;
        const node *a = n->in[0];
        shape_strides(&a->shape, from.stride);
        if (!n->op->view(n, a->store ? &a->view : &from, &v)) return false;
    }
    return v.stride[0] == 1 && v.stride[1] != 1;
}

/* left x right, or the transpose of what is its transpose, so that the gradient lies in memory as
 * its factor does: what is done to both then goes along both. */
static node *factor_grad(graph *g, node *left, node *right, const node *factor) {
    node *y;
    if (is_turned(factor)) {
        y = op_matmul(g, op_transpose(g, right, -2, -1), op_transpose(g, left, -2, -1));
        y = op_transpose(g, y, -2, -1);
    } else {
        y = op_matmul(g, left, right);
    }
    return op_sum_to(g, y, &factor->shape);
}

static bool matmul_vjp(graph *g, node *n, node *gy, node **gx) {
    node *a = n->in[0], *b = n->in[1], *x = a, *y = gy;
    if (a->requires_grad && !(gx[0] = factor_grad(g, gy, op_transpose(g, b, -2, -1), a)))
        return false;
    if (!b->requires_grad) return true;
    if (b->shape.rank == 2 && a->shape.rank > 2) {
        /* b met every batch: one product over all rows, not one for each batch and a sum. */
        shape rows_x = shape_of(2, -1, a->shape.dim[a->shape.rank - 1]);
        shape rows_y = shape_of(2, -1, gy->shape.dim[gy->shape.rank - 1]);
        if (shape_count(&a->shape) > 0 && shape_count(&gy->shape) > 0) {
            x = op_reshape(g, a, &rows_x);
            y = op_reshape(g, gy, &rows_y);
        }
    }
    return (gx[1] = factor_grad(g, op_transpose(g, x, -2, -1), y, b)) != NULL;
}

/* Strides of an operand's leading axes, as if it had the result's; 0 where it is broadcast. */
static void batch_strides(const operand *o, int rank, int64_t *stride) {
    for (int i = 0; i < rank - 2; i++) { /* the innermost axis first */
        int axis = o->shape.rank - 3 - i;
        stride[i] = axis >= 0 && o->shape.dim[axis] != 1 ? o->view.stride[axis] : 0;
    }
}

static mare_status matmul_lower(lowering *l, const node *n, const operand *in, const operand *out) {
    (void)n;
    gemm g = {.family = "matmul", .a = in[0], .b = in[1], .o = *out};
    mare_status status = MARE_OK;
    if (g.a.buffer < 0) status = lower_contiguous(l, &in[0], &g.a);
    if (!status && g.b.buffer < 0) status = lower_contiguous(l, &in[1], &g.b);
    if (status) return status;
    int rank = out->shape.rank, ra = g.a.shape.rank, rb = g.b.shape.rank;
    for (int i = 0; i < GEMM_DIGITS; i++)
        g.m_size[i] = 1;
    for (int i = 0; i < GEMM_K_DIGITS; i++)
        g.k_size[i] = 1;
    g.m_size[0] = g.a.shape.dim[ra - 2];
    g.m_a[0] = g.a.view.stride[ra - 2];
    g.m_o[0] = out->view.stride[rank - 2];
    g.k_size[0] = g.a.shape.dim[ra - 1];
    g.k_a[0] = g.a.view.stride[ra - 1];
    g.k_b[0] = g.b.view.stride[rb - 2];
    g.n = g.b.shape.dim[rb - 1];
    g.n_b = g.b.view.stride[rb - 1];
    g.n_o = out->view.stride[rank - 1];
    g.batches = rank - 2;
    batch_strides(&g.a, rank, g.batch_a);
    batch_strides(&g.b, rank, g.batch_b);
    for (int i = 0; i < g.batches; i++) {
        g.batch_size[i] = out->shape.dim[rank - 3 - i];
        g.batch_o[i] = out->view.stride[rank - 3 - i];
    }
    return gemm_lower(l, &g);
}

/* Row-major position of a batch's matrix in an operand of shape s, given the result's coordinates.
 */
static int64_t matrix_at(const shape *s, const shape *out, const int64_t *c) {
    int64_t at = 0;
    for (int i = 0; i < s->rank - 2; i++) {
        int64_t p = c[i + out->rank - s->rank];
        at = at * s->dim[i] + (s->dim[i] == 1 ? 0 : p);
    }
    return at * s->dim[s->rank - 2] * s->dim[s->rank - 1];
}

static void matmul_ref(const node *n, const double *const *in, double *out) {
    const shape *a = &n->in[0]->shape, *b = &n->in[1]->shape, *y = &n->shape;
    int64_t depth = a->dim[a->rank - 1], columns = b->dim[b->rank - 1];
    int64_t c[MAX_DIMS] = {0}, count = shape_count(y);
    for (int64_t i = 0; i < count; i++, op_next_coordinate(y, c)) {
        const double *row = in[0] + matrix_at(a, y, c) + c[y->rank - 2] * depth;
        const double *column = in[1] + matrix_at(b, y, c) + c[y->rank - 1];
        double sum = 0;
        for (int64_t k = 0; k < depth; k++)
            sum = gemm_ref_add(n->dtype, sum, row[k], column[k * columns]);
        out[i] = sum;
    }
}

static node *matmul_case(graph *g, node **in) {
    return op_matmul(g, in[0], in[1]);
}

static node *matmul_transposed_case(graph *g, node **in) {
    return op_matmul(g, op_transpose(g, in[0], -2, -1), op_transpose(g, in[1], -2, -1));
}

static node *matmul_sliced_case(graph *g, node **in) {
    node *a = op_slice(g, in[0], (const int64_t[]){1, 7}, (const int64_t[]){6, 0},
                       (const int64_t[]){2, -3});
    node *b = op_slice(g, in[1], (const int64_t[]){0, 1}, (const int64_t[]){9, 9},
                       (const int64_t[]){2, 2});
    return op_matmul(g, a, b);
}

static const op_case matmul_cases[] = {
    {2, {{2, {3, 4}}, {2, {4, 5}}}, -2, 2, matmul_case, {MARE_F32}, {0}, {0}},
    {2, {{2, {1, 1}}, {2, {1, 1}}}, -2, 2, matmul_case, {MARE_F32}, {0}, {0}},
    {2, {{2, {5, 3}}, {2, {7, 5}}}, -2, 2, matmul_transposed_case, {MARE_F32}, {0}, {0}},
    {2, {{2, {7, 8}}, {2, {5, 9}}}, -2, 2, matmul_sliced_case, {MARE_F32}, {0}, {0}},
    {2, {{3, {3, 2, 4}}, {2, {4, 3}}}, -2, 2, matmul_case, {MARE_F32}, {0}, {0}},
    {2, {{4, {2, 1, 2, 3}}, {3, {3, 3, 2}}}, -2, 2, matmul_case, {MARE_F32}, {0}, {0}},
    {2, {{2, {2, 3}}, {3, {4, 3, 2}}}, -2, 2, matmul_case, {MARE_F32}, {0}, {0}},
    {2, {{1, {6}}, {1, {6}}}, -2, 2, matmul_case, {MARE_F32}, {0}, {0}},
    {2, {{1, {4}}, {3, {2, 4, 3}}}, -2, 2, matmul_case, {MARE_F32}, {0}, {0}},
    {2, {{3, {2, 3, 4}}, {1, {4}}}, -2, 2, matmul_case, {MARE_F32}, {0}, {0}},
    {2, {{2, {3, 0}}, {2, {0, 2}}}, -2, 2, matmul_case, {MARE_F32}, {0}, {0}},
    {2, {{2, {0, 3}}, {2, {3, 2}}}, -2, 2, matmul_case, {MARE_F32}, {0}, {0}},
    {2, {{3, {0, 2, 3}}, {2, {3, 2}}}, -2, 2, matmul_case, {MARE_F32}, {0}, {0}},
    {2, {{2, {5, 6}}, {2, {6, 3}}}, -2, 2, matmul_case, {MARE_F16, MARE_F16}, {0}, {0}},
    {2, {{2, {5, 6}}, {2, {6, 3}}}, -2, 2, matmul_case, {MARE_BF16, MARE_BF16}, {0}, {0}},
    {2, {{2, {5, 6}}, {2, {6, 3}}}, -128, 127, matmul_case, {MARE_I8, MARE_I8}, {0}, {0}},
    {2, {{2, {5, 3}}, {2, {7, 5}}}, 0, 255, matmul_transposed_case, {MARE_U8, MARE_U8}, {0}, {0}},
    {2, {{2, {7, 8}}, {2, {5, 9}}}, -1e6, 1e6, matmul_sliced_case, {MARE_I32, MARE_I32}, {0}, {0}},
    {2, {{4, {2, 1, 2, 3}}, {3, {3, 3, 2}}}, 0, 100, matmul_case, {MARE_I8, MARE_U8}, {0}, {0}},
    {2, {{1, {6}}, {2, {6, 3}}}, 0, 1, matmul_case, {MARE_BOOL, MARE_I32}, {0}, {0}},
    {2, {{2, {3, 0}}, {2, {0, 2}}}, -2, 2, matmul_case, {MARE_I8, MARE_I8}, {0}, {0}},
    {0},
};

const op op_desc_matmul = {
    .name = "matmul",
    .at = OP_HERE,
    .doc = "a [..., m, k], b [..., k, n] -> [..., m, n]; leading axes broadcast; f32, or "
           "i32 of integers, which wraps around",
    .infer = matmul_infer,
    .vjp = matmul_vjp,
    .lower = matmul_lower,
    .attach = ATTACH_AFTER,
    .ref = matmul_ref,
    .cases = matmul_cases,
    .smooth = true,
};

node *op_matmul(graph *g, node *a, node *b) {
    if (!a || !b) return NULL;
    char at[SHAPE_TEXT], bt[SHAPE_TEXT];
    if (dtype_is_float(a->dtype) != dtype_is_float(b->dtype))
        return graph_fail(g, MARE_E_DTYPE,
                          "matmul: takes floats or integers, not %s and %s: cast one of them",
                          mare_dtype_name(a->dtype), mare_dtype_name(b->dtype));
    int ra = a->shape.rank, rb = b->shape.rank;
    if (ra == 0 || rb == 0)
        return graph_fail(g, MARE_E_SHAPE,
                          "matmul: %s and %s: a scalar has no rows; use the product of elements",
                          shape_text(&a->shape, at), shape_text(&b->shape, bt));
    int64_t inner = a->shape.dim[ra - 1], other = b->shape.dim[rb == 1 ? 0 : rb - 2];
    if (inner != other)
        return graph_fail(g, MARE_E_SHAPE,
                          "matmul: %s and %s: inner dimensions %lld and %lld differ",
                          shape_text(&a->shape, at), shape_text(&b->shape, bt), (long long)inner,
                          (long long)other);
    mare_dtype t = dtype_is_float(a->dtype) ? dtype_promote(a->dtype, b->dtype) : MARE_I32;
    a = op_words(g, a);
    b = op_words(g, b);
    if (ra == 1) a = op_unsqueeze(g, a, 0);
    if (rb == 1) b = op_unsqueeze(g, b, 1);
    if (!a || !b) return NULL;
    node *y = node_new(g, &op_desc_matmul, (node *[]){a, b}, 2, NULL);
    if (rb == 1) y = op_squeeze(g, y, -1);
    if (ra == 1) y = op_squeeze(g, y, rb == 1 ? -1 : -2);
    return op_cast(g, y, t);
}
