/* Indexing with tensors: take, gather, one_hot. Indices are 0-based. A range that is not
 * known to fit is refused here, so the kernels only stay within memory and never meet a wrong
 * index. */
#include "ops/indexing.h"
#include "ops/loop.h"
#include "plan/lower.h"

#include <string.h>

node *op_checked_index(graph *g, const char *call, node *index, int64_t limit) {
    if (!index) return NULL;
    mare_dtype t = index->dtype;
    if (dtype_is_float(t))
        return graph_fail(g, MARE_E_DTYPE, "%s: indices are integers, not %s", call,
                          mare_dtype_name(t));
    int64_t lo = index->lo, hi = index->hi;
    if (lo > hi) {
        double least, most;
        dtype_limits(t, &least, &most);
        if (least >= 0 && most < (double)limit) { /* the type alone tells */
            lo = 0;
            hi = (int64_t)most;
        }
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
    node *n = op_cast(g, index, MARE_I32);
    if (n && n->lo > n->hi) {
        n->lo = lo;
        n->hi = hi;
    }
    return n;
}

/* ---- take --------------------------------------------------------------------------------- */

typedef struct take_attr {
    int64_t rows; /* size of the axis that is indexed */
    int64_t axis;
    int64_t distinct; /* of gather: no place of a row is taken twice */
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

index_layout index_layout_of(const shape *table, int64_t axis, int64_t picks) {
    index_layout y = {1, table->dim[axis], picks, 1};
    for (int i = 0; i < axis; i++)
        y.outer *= table->dim[i];
    for (int i = (int)axis + 1; i < table->rank; i++)
        y.inner *= table->dim[i];
    return y;
}

/* Of take and gather: whose index has a row's elements each. */
static index_layout layout_of(const node *n) {
    const take_attr *at = OP_ATTR(take_attr, n);
    const shape *index = &n->in[1]->shape;
    bool each = n->op == &op_desc_gather;
    return index_layout_of(&n->in[0]->shape, at->axis,
                           each ? index->dim[at->axis] : shape_count(index));
}

static bool take_infer(graph *g, node *n) {
    (void)g;
    op_same_value(n);
    n->shape =
        replace_axes(&n->in[0]->shape, (int)OP_ATTR(take_attr, n)->axis, 1, &n->in[1]->shape);
    return true;
}

/* The axes of the index become one: a list. */
static bool take_vjp(graph *g, node *n, node *gy, node **gx) {
    const take_attr *at = OP_ATTR(take_attr, n);
    shape list = shape_of(1, shape_count(&n->in[1]->shape));
    shape s = replace_axes(&n->shape, (int)at->axis, n->in[1]->shape.rank, &list);
    node *index = op_reshape(g, n->in[1], &list);
    gx[0] = op_scatter_into(g, FOLD_SUM, op_reshape(g, gy, &s), index, (int)at->axis, at->rows);
    return gx[0] != NULL;
}

/* A take or gather of row-major tensors, or a part of one. */
typedef struct take_job {
    operand table, index, out; /* where they begin; the layout tells their sizes */
    index_layout y;
    int64_t row, limit; /* which row of the whole table is the first here; rows of the whole */
    bool each;          /* an index for each element */
} take_job;

/* The operands as lists of the elements that the job has to do with. */
static void take_lists(take_job *j) {
    const index_layout *y = &j->y;
    int64_t picked = y->outer * y->picks * y->inner;
    int64_t sizes[] = {y->outer * y->rows * y->inner, j->each ? picked : y->picks, picked};
    operand *lists[] = {&j->table, &j->index, &j->out};
    for (int i = 0; i < 3; i++) {
        lists[i]->shape = shape_of(1, sizes[i]);
        lists[i]->view.stride[0] = 1;
    }
}

static mare_status take_emit(lowering *l, const take_job *j) {
    const index_layout *y = &j->y;
    bool four = !j->each && y->inner % 4 == 0 && j->table.view.offset % 4 == 0 &&
                j->out.view.offset % 4 == 0;
    uint32_t wg = lower_workgroup(l), first[3] = {0}, wide = four ? 4 : 1;
    launch *k =
        lower_launch(l, "index/take.comp",
                     lower_text(l, "WORD %s\n%s%s", four ? "uvec4" : "uint",
                                j->each ? "EACH 1\n" : "", y->rows < j->limit ? "PART 1\n" : ""));
    if (!k) return lower_error(l);
    launch_spec(k, wg);
    mare_status s = launch_bind(l, k, &j->table, READ, &first[0]);
    if (!s) s = launch_bind(l, k, &j->index, READ, &first[1]);
    if (!s) s = launch_bind(l, k, &j->out, WRITE, &first[2]);
    if (s) return s;
    uint64_t count = (uint64_t)shape_count(&j->out.shape) / wide;
    launch_u32(k, (uint32_t)count);
    launch_u32(k, (uint32_t)y->rows);
    launch_u32(k, (uint32_t)y->picks);
    launch_u32(k, (uint32_t)y->inner / wide);
    launch_u32(k, first[0] / wide);
    launch_u32(k, first[1]);
    launch_u32(k, first[2] / wide);
    launch_u32(k, (uint32_t)j->row);
    launch_u32(k, (uint32_t)j->limit);
    launch_divisor(k, (uint32_t)y->inner / wide);
    launch_divisor(k, (uint32_t)y->picks);
    return launch_groups(l, k, (count + wg - 1) / wg);
}

/* Halves what the device cannot bind at once: the outer axis, then the picks, the rows of the
 * table, and at last what is picked, of which there is only one by then. */
static mare_status take_run(lowering *l, take_job j) {
    take_lists(&j);
    index_layout *y = &j.y;
    bool picked = loop_fits(l, &j.out) && loop_fits(l, &j.index), table = loop_fits(l, &j.table);
    int64_t *axis = y->outer > 1              ? &y->outer
                    : y->picks > 1 && !picked ? &y->picks
                    : y->rows > 1             ? &y->rows
                                              : &y->inner;
    if ((picked && table) || *axis == 1) return take_emit(l, &j);
    int64_t behind = *axis - *axis / 2;
    *axis /= 2;
    mare_status s = take_run(l, j);
    if (s) return s;
    take_lists(&j); /* what the first half has done with */
    if (axis == &y->rows)
        j.row += y->rows;
    else
        j.out.view.offset += shape_count(&j.out.shape);
    if (axis == &y->picks || (j.each && axis != &y->rows))
        j.index.view.offset += shape_count(&j.index.shape);
    if (axis != &y->picks) j.table.view.offset += shape_count(&j.table.shape);
    *axis = behind;
    return take_run(l, j);
}

static mare_status take_lower(lowering *l, const node *n, const operand *in, const operand *out) {
    if (shape_count(&n->shape) == 0) return MARE_OK;
    take_job j = {.out = *out, .y = layout_of(n), .each = n->op == &op_desc_gather};
    j.limit = j.y.rows;
    mare_status s = lower_contiguous(l, &in[0], &j.table);
    if (!s) s = lower_contiguous(l, &in[1], &j.index);
    return s ? s : take_run(l, j);
}

static void take_ref(const node *n, const double *const *in, double *out) {
    index_layout y = layout_of(n);
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
    INDEX_CASE(2, DIMS(5, 3), 1, DIMS(4), 5, take0_case, MARE_BF16, MARE_I8),
    INDEX_CASE(2, DIMS(5, 3), 1, DIMS(4), 5, take0_case, MARE_U8, MARE_I32),
    INDEX_CASE(2, DIMS(5, 3), 1, DIMS(4), 5, take0_case, MARE_I8, MARE_I32),
    INDEX_CASE(1, DIMS(9), 1, DIMS(300), 9, take0_case, MARE_F32, MARE_I32),
    INDEX_CASE(2, DIMS(5, 3), 1, DIMS(0), 5, take0_case, MARE_F32, MARE_I32),
    INDEX_CASE(2, DIMS(5, 0), 1, DIMS(4), 5, take0_case, MARE_F32, MARE_I32),
    INDEX_CASE(2, DIMS(2, 3), 1, DIMS(4), 7, one_hot_case, MARE_F32, MARE_I32),
    {0},
};

const op op_desc_take = {
    .name = "take",
    .at = OP_HERE,
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
    node *in[2] = {op_words(g, a), op_checked_index(g, "take", index, a->shape.dim[x])};
    take_attr at = {a->shape.dim[x], x, false};
    return op_cast(g, node_new(g, &op_desc_take, in, 2, &at), a->dtype);
}

/* ---- gather ------------------------------------------------------------------------------- */

static bool gather_infer(graph *g, node *n) {
    (void)g;
    op_same_value(n);
    n->shape = n->in[1]->shape;
    return true;
}

static bool gather_vjp(graph *g, node *n, node *gy, node **gx) {
    const take_attr *at = OP_ATTR(take_attr, n);
    fold f = at->distinct ? FOLD_ONLY : FOLD_SUM;
    gx[0] = op_scatter_into(g, f, gy, n->in[1], (int)at->axis, at->rows);
    return gx[0] != NULL;
}

static void gather_ref(const node *n, const double *const *in, double *out) {
    index_layout y = layout_of(n);
    const double *index = in[1];
    for (int64_t o = 0; o < y.outer; o++)
        for (int64_t j = 0; j < y.picks; j++)
            for (int64_t c = 0; c < y.inner; c++)
                *out++ = in[0][(o * y.rows + (int64_t)*index++) * y.inner + c];
}

/* As the calls do it. */
static node *gather_case(graph *g, node **in, int axis) {
    node *index = op_checked_index(g, "gather", in[1], in[0]->shape.dim[axis]);
    return op_cast(g, op_gather(g, op_words(g, in[0]), index, axis), in[0]->dtype);
}

static node *gather0_case(graph *g, node **in) {
    return gather_case(g, in, 0);
}

static node *gather1_case(graph *g, node **in) {
    return gather_case(g, in, 1);
}

static const op_case gather_cases[] = {
    INDEX_CASE(2, DIMS(7, 5), 2, DIMS(6, 5), 7, gather0_case, MARE_F32, MARE_I32),
    INDEX_CASE(3, DIMS(3, 6, 4), 3, DIMS(3, 9, 4), 6, gather1_case, MARE_F32, MARE_I32),
    INDEX_CASE(3, DIMS(3, 6, 40), 3, DIMS(3, 2, 40), 6, gather1_case, MARE_I32, MARE_I32),
    INDEX_CASE(3, DIMS(3, 6, 4), 3, DIMS(3, 1, 4), 6, gather1_case, MARE_F32, MARE_I32),
    INDEX_CASE(1, DIMS(9), 1, DIMS(300), 9, gather0_case, MARE_F32, MARE_I32),
    INDEX_CASE(2, DIMS(5, 3), 2, DIMS(0, 3), 5, gather0_case, MARE_F32, MARE_I32),
    {0},
};

const op op_desc_gather = {
    .name = "gather",
    .at = OP_HERE,
    .doc = "a, index (i32) -> for each element of index, the one of a at that place along an axis",
    .attr_size = sizeof(take_attr),
    .infer = gather_infer,
    .vjp = gather_vjp,
    .lower = take_lower,
    .ref = gather_ref,
    .cases = gather_cases,
    .smooth = true,
};

static node *gather(graph *g, node *a, node *index, int axis, bool distinct) {
    if (!a || !index) return NULL;
    take_attr at = {a->shape.dim[axis], axis, distinct || index->shape.dim[axis] == 1};
    return node_new(g, &op_desc_gather, (node *[]){a, index}, 2, &at);
}

node *op_gather(graph *g, node *a, node *index, int axis) {
    return gather(g, a, index, axis, false);
}

node *op_gather_distinct(graph *g, node *a, node *index, int axis) {
    return gather(g, a, index, axis, true);
}

/* ---- one_hot ------------------------------------------------------------------------------ */

node *op_one_hot(graph *g, node *index, int64_t classes, mare_dtype t) {
    if (classes < 1)
        return graph_fail(g, MARE_E_ARGUMENT, "one_hot: %lld classes", (long long)classes);
    node *i = op_unsqueeze(g, op_checked_index(g, "one_hot", index, classes), -1);
    node *c = op_arange(g, MARE_I32, 0, 1, classes);
    return op_cast(g, op_map2(g, "eq", i, c), t);
}
