/* Indexing with tensors: take, its gradient, one_hot. Indices are 0-based. A range that is not
 * known to fit is refused here, so the kernels only stay within memory and never meet a wrong
 * index. */
#include "ops/internal.h"
#include "ops/ops.h"
#include "plan/lower.h"

#include <string.h>

/* The index as i32, when every value is known to lie in 0..limit-1. */
static node *checked_index(graph *g, const char *call, node *index, int64_t limit) {
    if (!index) return NULL;
    mare_dtype t = index->dtype;
    if (t != MARE_I32 && t != MARE_U8 && t != MARE_BOOL)
        return graph_fail(g, MARE_E_DTYPE, "%s: indices are i32 or u8, not %s", call,
                          mare_dtype_name(t));
    int64_t lo = index->lo, hi = index->hi;
    if (lo > hi && t != MARE_I32) {
        lo = 0;
        hi = t == MARE_BOOL ? 1 : 255;
        if (hi >= limit) lo = hi + 1; /* the type alone does not tell */
    }
    if (shape_count(&index->shape) > 0) {
        if (lo > hi)
            return graph_fail(g, MARE_E_RANGE,
                              "%s: the range of the indices is not known: evaluate them first",
                              call);
        if (lo < 0 || hi >= limit)
            return graph_fail(g, MARE_E_RANGE, "%s: index %lld is outside 0..%lld", call,
                              (long long)(lo < 0 ? lo : hi), (long long)(limit - 1));
    }
    return op_cast(g, index, MARE_I32);
}

/* ---- take --------------------------------------------------------------------------------- */

typedef struct take_attr {
    int64_t rows; /* size of the axis that is indexed */
    int64_t axis;
} take_attr;

/* `from` with the axes axis.. (count of them) replaced by those of `by`. */
static shape replace_axes(const shape *from, int axis, int count, const shape *by) {
    shape s = {0};
    for (int i = 0; i < axis; i++)
        s.dim[s.rank++] = from->dim[i];
    for (int i = 0; i < by->rank; i++)
        s.dim[s.rank++] = by->dim[i];
    for (int i = axis + count; i < from->rank; i++)
        s.dim[s.rank++] = from->dim[i];
    return s;
}

/* How both kernels see their tensors: table [outer, rows, inner], picked [outer, picks, inner]. */
typedef struct layout {
    int64_t outer, rows, picks, inner;
} layout;

static layout layout_of(const shape *table, int64_t axis, const shape *index) {
    layout y = {1, table->dim[axis], shape_count(index), 1};
    for (int i = 0; i < axis; i++)
        y.outer *= table->dim[i];
    for (int i = (int)axis + 1; i < table->rank; i++)
        y.inner *= table->dim[i];
    return y;
}

static bool take_infer(graph *g, node *n) {
    (void)g;
    op_same_value(n);
    n->shape =
        replace_axes(&n->in[0]->shape, (int)OP_ATTR(take_attr, n)->axis, 1, &n->in[1]->shape);
    return true;
}

static node *take_grad(graph *g, node *gy, node *index, const take_attr *at);

static bool take_vjp(graph *g, node *n, node *gy, node **gx) {
    return (gx[0] = take_grad(g, gy, n->in[1], OP_ATTR(take_attr, n))) != NULL;
}

static mare_status take_lower(lowering *l, const node *n, const operand *in, const operand *out) {
    layout y = layout_of(&n->in[0]->shape, OP_ATTR(take_attr, n)->axis, &n->in[1]->shape);
    if (shape_count(&n->shape) == 0) return MARE_OK;
    operand table, index;
    mare_status s = lower_contiguous(l, &in[0], &table);
    if (!s) s = lower_contiguous(l, &in[1], &index);
    if (s) return s;
    int64_t wide = y.inner % 4 == 0 && operand_contiguous(out) ? 4 : 1;
    launch *k = lower_launch(l, "index/take.comp", wide == 4 ? "WORD uvec4\n" : "WORD uint\n");
    if (!k) return lower_error(l);
    uint32_t wg = lower_workgroup(l), first[3] = {0};
    launch_spec(k, wg);
    s = launch_bind(l, k, &table, READ, &first[0]);
    if (!s) s = launch_bind(l, k, &index, READ, &first[1]);
    if (!s) s = launch_bind(l, k, out, WRITE, &first[2]);
    if (s) return s;
    uint64_t count = (uint64_t)(shape_count(&n->shape) / wide);
    launch_u32(k, (uint32_t)count);
    launch_u32(k, (uint32_t)y.rows);
    launch_u32(k, (uint32_t)y.picks);
    launch_u32(k, (uint32_t)(y.inner / wide));
    for (int i = 0; i < 3; i++)
        launch_u32(k, first[i]);
    return launch_groups(l, k, (count + wg - 1) / wg);
}

static void take_ref(const node *n, const double *const *in, double *out) {
    layout y = layout_of(&n->in[0]->shape, OP_ATTR(take_attr, n)->axis, &n->in[1]->shape);
    for (int64_t o = 0; o < y.outer; o++)
        for (int64_t j = 0; j < y.picks; j++)
            for (int64_t c = 0; c < y.inner; c++)
                *out++ = in[0][(o * y.rows + (int64_t)in[1][j]) * y.inner + c];
}

static node *take0_case(graph *g, node **in) {
    return op_take(g, in[0], in[1], 0);
}

static node *take1_case(graph *g, node **in) {
    return op_take(g, in[0], in[1], 1);
}

static node *one_hot_case(graph *g, node **in) {
    return op_take(g, in[0], op_cast(g, op_one_hot(g, in[1], 7, MARE_F32), MARE_BOOL), 0);
}

#define INDEX_CASE(rank0, dims0, rank1, dims1, rows, make, table, type)                            \
    {                                                                                              \
        .n_in = 2, .in = {{rank0, dims0}, {rank1, dims1}}, .build = make, .dtype = {table, type},  \
        .lo_in = {0, 0}, .hi_in = {                                                                \
            100,                                                                                   \
            (rows)-1                                                                               \
        }                                                                                          \
    }
#define DIMS(...)                                                                                  \
    { __VA_ARGS__ }

static const op_case take_cases[] = {
    INDEX_CASE(2, DIMS(7, 5), 1, DIMS(6), 7, take0_case, MARE_F32, MARE_I32),
    INDEX_CASE(2, DIMS(7, 8), 2, DIMS(3, 5), 7, take0_case, MARE_F32, MARE_I32),
    INDEX_CASE(3, DIMS(3, 6, 4), 2, DIMS(2, 2), 6, take1_case, MARE_F32, MARE_U8),
    INDEX_CASE(3, DIMS(3, 6, 1), 0, DIMS(0), 6, take1_case, MARE_F32, MARE_I32),
    INDEX_CASE(2, DIMS(5, 3), 1, DIMS(4), 5, take0_case, MARE_F16, MARE_I32),
    INDEX_CASE(2, DIMS(5, 3), 1, DIMS(4), 5, take0_case, MARE_U8, MARE_I32),
    INDEX_CASE(1, DIMS(9), 1, DIMS(300), 9, take0_case, MARE_F32, MARE_I32),
    INDEX_CASE(2, DIMS(5, 3), 1, DIMS(0), 5, take0_case, MARE_F32, MARE_I32),
    INDEX_CASE(2, DIMS(5, 0), 1, DIMS(4), 5, take0_case, MARE_F32, MARE_I32),
    INDEX_CASE(2, DIMS(2, 3), 1, DIMS(4), 7, one_hot_case, MARE_F32, MARE_I32),
    {0},
};

const op op_desc_take = {
    .name = "take",
    .doc = "a, index (i32) -> the elements of a at the indices along an axis, index's axes in its "
           "place",
    .attr_size = sizeof(take_attr),
    .infer = take_infer,
    .vjp = take_vjp,
    .lower = take_lower,
    .ref = take_ref,
    .cases = take_cases,
    .smooth = true,
};

node *op_take(graph *g, node *a, node *index, int axis) {
    if (!a || !index) return NULL;
    char text[SHAPE_TEXT], more[SHAPE_TEXT];
    int x = shape_axis(&a->shape, axis);
    if (x < 0)
        return graph_fail(g, MARE_E_ARGUMENT, "take: %s has no axis %d",
                          shape_text(&a->shape, text), axis);
    if (a->shape.rank - 1 + index->shape.rank > MAX_DIMS)
        return graph_fail(g, MARE_E_SHAPE,
                          "take: %s at indices %s has more than the %d dimensions there can be",
                          shape_text(&a->shape, text), shape_text(&index->shape, more), MAX_DIMS);
    node *in[2] = {op_words(g, a), checked_index(g, "take", index, a->shape.dim[x])};
    take_attr at = {a->shape.dim[x], x};
    return op_cast(g, node_new(g, &op_desc_take, in, 2, &at), a->dtype);
}

/* ---- the gradient of take ----------------------------------------------------------------- */

static bool take_grad_infer(graph *g, node *n) {
    (void)g;
    const take_attr *at = OP_ATTR(take_attr, n);
    shape row = {1, {at->rows}};
    n->dtype = MARE_F32;
    n->shape = replace_axes(&n->in[0]->shape, (int)at->axis, n->in[1]->shape.rank, &row);
    return true;
}

static bool take_grad_vjp(graph *g, node *n, node *gy, node **gx) {
    node *in[2] = {gy, n->in[1]};
    return (gx[0] = node_new(g, &op_desc_take, in, 2, OP_ATTR(take_attr, n))) != NULL;
}

static mare_status take_grad_lower(lowering *l, const node *n, const operand *in,
                                   const operand *out) {
    layout y = layout_of(&n->shape, OP_ATTR(take_attr, n)->axis, &n->in[1]->shape);
    if (shape_count(&n->shape) == 0) return MARE_OK;
    operand picked, index;
    mare_status s = lower_contiguous(l, &in[0], &picked);
    if (!s) s = lower_contiguous(l, &in[1], &index);
    if (s) return s;
    uint32_t wg = lower_workgroup(l), first[3] = {0};
    /* Reading the whole list for one element costs less than a group's rounds over it when the list
     * or the rows are short. */
    bool scan = y.inner * y.picks <= y.picks + 4 * (int64_t)wg;
    launch *k = lower_launch(l, "index/take_grad.comp", scan ? "SCAN 1\n" : "");
    if (!k) return lower_error(l);
    launch_spec(k, wg);
    s = launch_bind(l, k, &picked, READ, &first[0]);
    if (!s) s = launch_bind(l, k, &index, READ, &first[1]);
    if (!s) s = launch_bind(l, k, out, WRITE, &first[2]);
    if (s) return s;
    int64_t columns = (y.inner + wg - 1) / wg;
    int64_t count = scan ? shape_count(&n->shape) : y.outer * y.rows * columns;
    launch_u32(k, (uint32_t)count);
    launch_u32(k, (uint32_t)y.rows);
    launch_u32(k, (uint32_t)y.picks);
    launch_u32(k, (uint32_t)y.inner);
    launch_u32(k, (uint32_t)columns);
    for (int i = 0; i < 3; i++)
        launch_u32(k, first[i]);
    return launch_groups(l, k, (uint64_t)(scan ? (count + wg - 1) / wg : count));
}

static void take_grad_ref(const node *n, const double *const *in, double *out) {
    layout y = layout_of(&n->shape, OP_ATTR(take_attr, n)->axis, &n->in[1]->shape);
    memset(out, 0, (size_t)shape_count(&n->shape) * sizeof *out);
    const double *from = in[0];
    for (int64_t o = 0; o < y.outer; o++)
        for (int64_t j = 0; j < y.picks; j++)
            for (int64_t c = 0; c < y.inner; c++)
                out[(o * y.rows + (int64_t)in[1][j]) * y.inner + c] += *from++;
}

static node *take_grad_case(graph *g, node **in) {
    return take_grad(g, in[0], in[1], &(take_attr){7, 0});
}

static node *take_grad1_case(graph *g, node **in) {
    return take_grad(g, in[0], in[1], &(take_attr){5, 1});
}

static const op_case take_grad_cases[] = {
    INDEX_CASE(2, DIMS(6, 5), 1, DIMS(6), 7, take_grad_case, MARE_F32, MARE_I32),
    INDEX_CASE(2, DIMS(40, 37), 1, DIMS(40), 7, take_grad_case, MARE_F32, MARE_I32),
    INDEX_CASE(2, DIMS(9, 300), 1, DIMS(9), 7, take_grad_case, MARE_F32, MARE_I32),
    INDEX_CASE(4, DIMS(2, 3, 4, 90), 2, DIMS(3, 4), 5, take_grad1_case, MARE_F32, MARE_I32),
    INDEX_CASE(2, DIMS(9000, 3), 1, DIMS(9000), 7, take_grad_case, MARE_F32, MARE_I32),
    INDEX_CASE(2, DIMS(0, 3), 1, DIMS(0), 7, take_grad_case, MARE_F32, MARE_I32),
    {0},
};

const op op_desc_take_grad = {
    .name = "take_grad",
    .doc = "gy, index (i32) -> gy's elements added up at the indices along an axis; f32",
    .attr_size = sizeof(take_attr),
    .infer = take_grad_infer,
    .vjp = take_grad_vjp,
    .lower = take_grad_lower,
    .ref = take_grad_ref,
    .cases = take_grad_cases,
    .smooth = true,
};

static node *take_grad(graph *g, node *gy, node *index, const take_attr *at) {
    node *in[2] = {gy, index};
    return node_new(g, &op_desc_take_grad, in, 2, at);
}

/* ---- one_hot ------------------------------------------------------------------------------ */

node *op_one_hot(graph *g, node *index, int64_t classes, mare_dtype t) {
    if (classes < 1)
        return graph_fail(g, MARE_E_ARGUMENT, "one_hot: %lld classes", (long long)classes);
    node *i = op_unsqueeze(g, checked_index(g, "one_hot", index, classes), -1);
    node *c = op_arange(g, MARE_I32, 0, 1, classes);
    return op_cast(g, op_map2(g, "eq", i, c), t);
}
