/* Products of vectors and matrices, made of matmul. */
#include "ops/internal.h"

#include <stdlib.h>

/* ---- Checks ------------------------------------------------------------------------------- */

static bool ranks(graph *g, const char *call, const node *a, int ra, const node *b, int rb) {
    char s[SHAPE_TEXT], t[SHAPE_TEXT];
    if (a->shape.rank == ra && b->shape.rank == rb) return true;
    return graph_fail(g, MARE_E_SHAPE, "%s: %s and %s: %d and %d dims are needed", call,
                      shape_text(&a->shape, s), shape_text(&b->shape, t), ra, rb) != NULL;
}

static bool differ(graph *g, const char *call, const node *a, const node *b) {
    char s[SHAPE_TEXT], t[SHAPE_TEXT];
    return graph_fail(g, MARE_E_SHAPE, "%s: %s and %s do not fit", call, shape_text(&a->shape, s),
                      shape_text(&b->shape, t)) != NULL;
}

/* ---- Vectors ------------------------------------------------------------------------------ */

static bool call_outer(graph *g, const call_value *v, node **out) {
    if (!ranks(g, "outer", v[0].tensor, 1, v[1].tensor, 1)) return false;
    return (out[0] = op_map2(g, "mul", op_unsqueeze(g, v[0].tensor, 1), v[1].tensor)) != NULL;
}

static bool dot(graph *g, const char *call, const call_value *v, node **out) {
    node *a = v[0].tensor, *b = v[1].tensor;
    if (!ranks(g, call, a, 1, b, 1)) return false;
    if (a->shape.dim[0] != b->shape.dim[0]) return differ(g, call, a, b);
    return (out[0] = op_einsum(g, "i,i->", (node *[]){a, b}, 2)) != NULL;
}

static bool call_dot(graph *g, const call_value *v, node **out) {
    return dot(g, "dot", v, out);
}

static bool call_vdot(graph *g, const call_value *v, node **out) {
    return dot(g, "vdot", v, out);
}

static bool call_inner(graph *g, const call_value *v, node **out) {
    node *a = v[0].tensor, *b = v[1].tensor;
    int ra = a->shape.rank, rb = b->shape.rank;
    if (ra == 0 || rb == 0) return (out[0] = op_map2(g, "mul", a, b)) != NULL;
    if (a->shape.dim[ra - 1] != b->shape.dim[rb - 1] || ra + rb - 2 > MAX_DIMS)
        return differ(g, "inner", a, b);
    shape s = {0};
    for (int i = 0; i < ra - 1; i++)
        s.dim[s.rank++] = a->shape.dim[i];
    for (int i = 0; i < rb - 1; i++)
        s.dim[s.rank++] = b->shape.dim[i];
    int64_t k = a->shape.dim[ra - 1];
    shape flat_a = shape_of(2, k ? shape_count(&a->shape) / k : 0, k);
    shape flat_b = shape_of(2, k ? shape_count(&b->shape) / k : 0, k);
    if (k == 0) return (out[0] = op_full(g, dtype_promote(a->dtype, b->dtype), &s, 0)) != NULL;
    node *in[2] = {op_reshape(g, a, &flat_a), op_reshape(g, b, &flat_b)};
    return (out[0] = op_reshape(g, op_einsum(g, "ik,jk->ij", in, 2), &s)) != NULL;
}

static bool call_cross(graph *g, const call_value *v, node **out) {
    char s[SHAPE_TEXT];
    shape both;
    node *a = v[0].tensor, *b = v[1].tensor;
    if (!shape_broadcast(&a->shape, &b->shape, &both)) return differ(g, "cross", a, b);
    int axis = (int)v[2].integer + both.rank - a->shape.rank;
    if (both.dim[axis] != 3)
        return graph_fail(g, MARE_E_SHAPE, "cross: dim %d of %s is not 3", axis + 1,
                          shape_text(&both, s)) != NULL;
    a = op_expand(g, a, &both);
    b = op_expand(g, b, &both);
    node *up = op_map2(g, "mul", op_roll(g, a, axis, -1), op_roll(g, b, axis, -2));
    node *down = op_map2(g, "mul", op_roll(g, a, axis, -2), op_roll(g, b, axis, -1));
    return (out[0] = op_map2(g, "sub", up, down)) != NULL;
}

/* Every dim of a in front of the one of b. */
static bool call_kron(graph *g, const call_value *v, node **out) {
    node *a = v[0].tensor, *b = v[1].tensor;
    int rank = a->shape.rank > b->shape.rank ? a->shape.rank : b->shape.rank;
    shape sa = {0}, sb = {0}, y = {0};
    if (2 * rank > MAX_DIMS) return differ(g, "kron", a, b);
    for (int i = 0; i < rank; i++) {
        int ka = i - (rank - a->shape.rank), kb = i - (rank - b->shape.rank);
        int64_t na = ka < 0 ? 1 : a->shape.dim[ka], nb = kb < 0 ? 1 : b->shape.dim[kb];
        sa.dim[sa.rank++] = na;
        sa.dim[sa.rank++] = 1;
        sb.dim[sb.rank++] = 1;
        sb.dim[sb.rank++] = nb;
        y.dim[y.rank++] = na * nb;
    }
    node *product = op_map2(g, "mul", op_reshape(g, a, &sa), op_reshape(g, b, &sb));
    return (out[0] = op_reshape(g, product, &y)) != NULL;
}

/* ---- Matrices ----------------------------------------------------------------------------- */

static bool product(graph *g, const char *call, int ra, int rb, const call_value *v, node **out) {
    node *a = v[0].tensor, *b = v[1].tensor;
    if (!ranks(g, call, a, ra, b, rb)) return false;
    if (a->shape.dim[ra - 1] != b->shape.dim[rb == 1 ? 0 : rb - 2] ||
        (ra == 3 && a->shape.dim[0] != b->shape.dim[0]))
        return differ(g, call, a, b);
    return (out[0] = op_matmul(g, a, b)) != NULL;
}

static bool call_mv(graph *g, const call_value *v, node **out) {
    return product(g, "mv", 2, 1, v, out);
}

static bool call_mm(graph *g, const call_value *v, node **out) {
    return product(g, "mm", 2, 2, v, out);
}

static bool call_bmm(graph *g, const call_value *v, node **out) {
    return product(g, "bmm", 3, 3, v, out);
}

/* beta * x + alpha * (a product); x does not count where beta is 0. */
static bool add_product(graph *g, const char *call, const call_value *v, node *p, node **out) {
    node *x = v[0].tensor;
    char s[SHAPE_TEXT], t[SHAPE_TEXT];
    shape both;
    if (!p) return false;
    if (!shape_broadcast(&x->shape, &p->shape, &both) || !shape_equal(&both, &p->shape))
        return graph_fail(g, MARE_E_SHAPE, "%s: %s does not stretch to the product %s", call,
                          shape_text(&x->shape, s), shape_text(&p->shape, t)) != NULL;
    mare_dtype type = dtype_promote(x->dtype, v[1].tensor->dtype);
    double beta = v[3].number, alpha = v[4].number;
    if (alpha != 1) p = op_map_scalar(g, "mul", p, alpha);
    if (beta != 0) {
        x = op_cast(g, x, MARE_F32);
        if (beta != 1) x = op_map_scalar(g, "mul", x, beta);
        p = op_map2(g, "add", x, p);
    }
    return (out[0] = op_cast(g, p, type)) != NULL;
}

/* v[1] and v[2], which must be floats, in f32. */
static bool wide_factors(graph *g, const char *call, const call_value *v, call_value wide[2]) {
    for (int i = 0; i < 2; i++) {
        wide[i] = v[1 + i];
        if (!dtype_is_float(wide[i].tensor->dtype))
            return graph_fail(g, MARE_E_DTYPE, "%s: works on floats, not %s", call,
                              mare_dtype_name(wide[i].tensor->dtype)) != NULL;
        if (!(wide[i].tensor = op_cast(g, wide[i].tensor, MARE_F32))) return false;
    }
    return true;
}

/* Their product. */
static node *factors(graph *g, const char *call, const call_value *v, int ra, int rb) {
    call_value wide[2];
    node *p = NULL;
    return wide_factors(g, call, v, wide) && product(g, call, ra, rb, wide, &p) ? p : NULL;
}

static bool call_addmm(graph *g, const call_value *v, node **out) {
    return add_product(g, "addmm", v, factors(g, "addmm", v, 2, 2), out);
}

static bool call_addmv(graph *g, const call_value *v, node **out) {
    return add_product(g, "addmv", v, factors(g, "addmv", v, 2, 1), out);
}

static bool call_baddbmm(graph *g, const call_value *v, node **out) {
    return add_product(g, "baddbmm", v, factors(g, "baddbmm", v, 3, 3), out);
}

static bool call_addbmm(graph *g, const call_value *v, node **out) {
    node *p = factors(g, "addbmm", v, 3, 3);
    return p && add_product(g, "addbmm", v, op_sum(g, p, 1, false), out);
}

static bool call_addr(graph *g, const call_value *v, node **out) {
    call_value wide[2];
    node *p = NULL;
    if (!ranks(g, "addr", v[1].tensor, 1, v[2].tensor, 1) || !wide_factors(g, "addr", v, wide) ||
        !call_outer(g, wide, &p))
        return false;
    return add_product(g, "addr", v, p, out);
}

static bool call_matmul(graph *g, const call_value *v, node **out) {
    return (out[0] = op_matmul(g, v[0].tensor, v[1].tensor)) != NULL;
}

static bool call_matrix_power(graph *g, const call_value *v, node **out) {
    char s[SHAPE_TEXT];
    node *x = v[0].tensor, *y = NULL;
    int64_t n = v[1].integer;
    int rank = x->shape.rank;
    if (rank < 2 || x->shape.dim[rank - 1] != x->shape.dim[rank - 2])
        return graph_fail(g, MARE_E_SHAPE, "matrix_power: square matrices are needed, not %s",
                          shape_text(&x->shape, s)) != NULL;
    if (n < 0) {
        if (!(x = op_inverse(g, x))) return false;
        n = -n;
    }
    if (n == 0) {
        node *i = op_arange(g, MARE_I32, 0, 1, x->shape.dim[rank - 1]);
        node *eye = op_cast(g, op_map2(g, "eq", op_unsqueeze(g, i, 1), i), x->dtype);
        return (out[0] = op_expand(g, eye, &x->shape)) != NULL;
    }
    for (; n; n >>= 1) {
        if (n & 1) y = y ? op_matmul(g, y, x) : x;
        if (n > 1) x = op_matmul(g, x, x);
    }
    return (out[0] = y) != NULL;
}

/* ---- Chains ------------------------------------------------------------------------------- */

/* The order with the fewest multiplications (Cormen et al., "Introduction to Algorithms",
 * "Matrix-chain multiplication"): split[i * n + j] is where the product i..j is cut. */
static node *chain(graph *g, node *const *in, const int *split, int n, int i, int j) {
    if (i == j) return in[i];
    int k = split[i * n + j];
    return op_matmul(g, chain(g, in, split, n, i, k), chain(g, in, split, n, k + 1, j));
}

static void best_order(const int64_t *size, int n, double *cost, int *split) {
    for (int length = 2; length <= n; length++)
        for (int i = 0; i + length <= n; i++) {
            int j = i + length - 1;
            cost[i * n + j] = -1;
            for (int k = i; k < j; k++) {
                double c = cost[i * n + k] + cost[(k + 1) * n + j] +
                           (double)size[i] * (double)size[k + 1] * (double)size[j + 1];
                if (cost[i * n + j] >= 0 && c >= cost[i * n + j]) continue;
                cost[i * n + j] = c;
                split[i * n + j] = k;
            }
        }
}

static bool call_multi_dot(graph *g, const call_value *v, node **out) {
    enum { MOST = 256 };
    char s[SHAPE_TEXT];
    int n = v[0].n;
    node **in = v[0].tensors;
    int64_t size[MOST + 1];
    if (n > MOST)
        return graph_fail(g, MARE_E_ARGUMENT, "multi_dot: %d tensors, at most %d are possible", n,
                          MOST) != NULL;
    for (int i = 0; i < n; i++) {
        int rank = in[i]->shape.rank;
        if (rank != 2 && !(rank == 1 && n > 1 && (i == 0 || i == n - 1)))
            return graph_fail(g, MARE_E_SHAPE,
                              "multi_dot: tensor %d is %s; matrices are needed, and vectors are "
                              "possible at the ends",
                              i + 1, shape_text(&in[i]->shape, s)) != NULL;
        int64_t rows = rank == 1 && i == 0 ? 1 : in[i]->shape.dim[0];
        if (i > 0 && rows != size[i]) return differ(g, "multi_dot", in[i - 1], in[i]);
        size[i] = rows;
        size[i + 1] = rank == 2 || i == 0 ? in[i]->shape.dim[rank - 1] : 1;
    }
    double *cost = calloc((size_t)n * (size_t)n, sizeof *cost);
    int *split = calloc((size_t)n * (size_t)n, sizeof *split);
    if (cost && split) {
        best_order(size, n, cost, split);
        out[0] = chain(g, in, split, n, 0, n - 1);
    } else {
        error_no_memory(g->error, (size_t)n * (size_t)n * sizeof *cost);
    }
    free(cost);
    free(split);
    return out[0] != NULL;
}

/* ---- Layers ------------------------------------------------------------------------------- */

node *op_linear(graph *g, node *x, node *weight, node *bias) {
    if (!x || !weight) return NULL;
    char s[SHAPE_TEXT], t[SHAPE_TEXT];
    int rank = x->shape.rank;
    if (rank < 1 || weight->shape.rank < 1 || weight->shape.rank > 2 ||
        x->shape.dim[rank - 1] != weight->shape.dim[weight->shape.rank - 1])
        return graph_fail(g, MARE_E_SHAPE, "linear: x %s does not fit weight %s",
                          shape_text(&x->shape, s), shape_text(&weight->shape, t));
    int64_t outputs = weight->shape.dim[0];
    if (bias && (bias->shape.rank != weight->shape.rank - 1 ||
                 (bias->shape.rank == 1 && bias->shape.dim[0] != outputs)))
        return graph_fail(g, MARE_E_SHAPE, "linear: bias %s does not fit weight %s",
                          shape_text(&bias->shape, s), shape_text(&weight->shape, t));
    if (weight->shape.rank == 2) weight = op_transpose(g, weight, 0, 1);
    node *y = op_matmul(g, x, weight);
    return bias ? op_map2(g, "add", y, bias) : y;
}

static bool call_linear(graph *g, const call_value *v, node **out) {
    return (out[0] = op_linear(g, v[0].tensor, v[1].tensor, v[2].tensor)) != NULL;
}

static bool call_bilinear(graph *g, const call_value *v, node **out) {
    char s[SHAPE_TEXT];
    node *w = v[2].tensor, *bias = v[3].tensor;
    if (w->shape.rank != 3 ||
        (bias && (bias->shape.rank != 1 || bias->shape.dim[0] != w->shape.dim[0])))
        return graph_fail(g, MARE_E_SHAPE,
                          "bilinear: weight [out, in1, in2] and bias [out] are needed, not weight "
                          "%s",
                          shape_text(&w->shape, s)) != NULL;
    node *in[3] = {v[0].tensor, w, v[1].tensor};
    node *y = op_einsum(g, "...i,oij,...j->...o", in, 3);
    return (out[0] = bias ? op_map2(g, "add", y, bias) : y) != NULL;
}

/* ---- calls -------------------------------------------------------------------------------- */

static const call_arg pair_args[] = {NEED_TENSOR("x"), NEED_TENSOR("other"), END_ARGS};
static const call_arg mv_args[] = {NEED_TENSOR("x"), NEED_TENSOR("vec"), END_ARGS};
static const call_arg mm_args[] = {NEED_TENSOR("x"), NEED_TENSOR("mat2"), END_ARGS};
static const call_arg cross_args[] = {NEED_TENSOR("x"), NEED_TENSOR("other"), AXIS_OPT("dim", -1),
                                      END_ARGS};
#define ADD_ARGS(id, a, b)                                                                         \
    static const call_arg id##_args[] = {NEED_TENSOR("x"),       NEED_TENSOR(a),                   \
                                         NEED_TENSOR(b),         NUMBER_OPT("beta", 1),            \
                                         NUMBER_OPT("alpha", 1), END_ARGS};
ADD_ARGS(addmm, "mat1", "mat2")
ADD_ARGS(addmv, "mat", "vec")
ADD_ARGS(addbmm, "batch1", "batch2")
ADD_ARGS(addr, "vec1", "vec2")
static const call_arg power_args[] = {NEED_TENSOR("x"), NEED_INTEGER("n"), END_ARGS};
static const call_arg chain_args[] = {NEED_TENSORS("tensors"), END_ARGS};
static const call_arg linear_args[] = {NEED_TENSOR("x"), NEED_TENSOR("weight"), TENSOR_OPT("bias"),
                                       END_ARGS};
static const call_arg bilinear_args[] = {NEED_TENSOR("x1"), NEED_TENSOR("x2"),
                                         NEED_TENSOR("weight"), TENSOR_OPT("bias"), END_ARGS};

const op_call op_calls_contract[] = {
    {"matmul",
     "Matrix product of the last two dims; others broadcast; vectors as in NumPy. Of integers in "
     "i32, which wraps around.",
     pair_args, NULL, call_matmul, OP_AT},
    {"outer", "All products of the elements of two vectors: [N], [M] -> [N, M].", pair_args, NULL,
     call_outer, OP_AT},
    {"inner", "Sums of products along the last dim of both: [..., K], [..., K] -> [..., ...].",
     pair_args, NULL, call_inner, OP_AT},
    {"dot", "The sum of products of two vectors, as a scalar.", pair_args, NULL, call_dot, OP_AT},
    {"vdot", "The sum of products of two vectors, as a scalar.", pair_args, NULL, call_vdot, OP_AT},
    {"cross", "The cross product along a dim of 3; others broadcast.", cross_args, NULL, call_cross,
     OP_AT},
    {"kron", "The Kronecker product: every element of x times the whole of other. Up to 4 dims.",
     pair_args, NULL, call_kron, OP_AT},
    {"mv", "A matrix times a vector: [N, M], [M] -> [N].", mv_args, NULL, call_mv, OP_AT},
    {"mm", "A matrix times a matrix: [N, K], [K, M] -> [N, M].", mm_args, NULL, call_mm, OP_AT},
    {"bmm", "Matrices times matrices: [B, N, K], [B, K, M] -> [B, N, M].", mm_args, NULL, call_bmm,
     OP_AT},
    {"addmm", "beta x + alpha (mat1 mat2); x broadcasts, and does not count where beta is 0.",
     addmm_args, NULL, call_addmm, OP_AT},
    {"addmv", "beta x + alpha (mat vec); x broadcasts, and does not count where beta is 0.",
     addmv_args, NULL, call_addmv, OP_AT},
    {"addbmm", "beta x + alpha times the sum of all products batch1[i] batch2[i].", addbmm_args,
     NULL, call_addbmm, OP_AT},
    {"baddbmm", "beta x + alpha (batch1[i] batch2[i]) for every i; x broadcasts.", addbmm_args,
     NULL, call_baddbmm, OP_AT},
    {"addr", "beta x + alpha times the outer product of two vectors.", addr_args, NULL, call_addr,
     OP_AT},
    {"matrix_power",
     "Square matrices [..., N, N] to a whole power, by squaring; a negative one of the inverse.",
     power_args, NULL, call_matrix_power, OP_AT},
    {"multi_dot",
     "The product of several matrices in the order with the fewest multiplications; the first and "
     "the last may be vectors.",
     chain_args, NULL, call_multi_dot, OP_AT},
    {"linear", "x [..., in] times weight [out, in] transposed, plus bias [out].", linear_args, NULL,
     call_linear, OP_AT},
    {"bilinear", "x1 [..., I], x2 [..., J], weight [out, I, J] -> x1 weight[o] x2 + bias [out].",
     bilinear_args, NULL, call_bilinear, OP_AT},
    {0},
};
