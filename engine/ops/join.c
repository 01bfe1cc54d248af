/* Joining: concat and stack. */
#include "ops/internal.h"
#include "ops/ops.h"
#include "plan/lower.h"

#include <string.h>

/* ---- concat ------------------------------------------------------------------------------- */

typedef struct concat_attr {
    int axis;
} concat_attr;

static bool concat_infer(graph *g, node *n) {
    (void)g;
    int axis = OP_ATTR(concat_attr, n)->axis;
    n->dtype = n->in[0]->dtype;
    n->shape = n->in[0]->shape;
    n->shape.dim[axis] = 0;
    bool ranged = true, any = false;
    for (int i = 0; i < n->n_in; i++) {
        const node *a = n->in[i];
        n->shape.dim[axis] += a->shape.dim[axis];
        if (shape_count(&a->shape) == 0) continue;
        ranged = ranged && a->lo <= a->hi;
        if (!any || a->lo < n->lo) n->lo = a->lo;
        if (!any || a->hi > n->hi) n->hi = a->hi;
        any = true;
    }
    if (!ranged) {
        n->lo = 1;
        n->hi = 0;
    }
    return true;
}

static bool concat_vjp(graph *g, node *n, node *gy, node **gx) {
    int axis = OP_ATTR(concat_attr, n)->axis;
    int64_t start = 0;
    for (int i = 0; i < n->n_in; i++) {
        int64_t length = n->in[i]->shape.dim[axis];
        if (n->in[i]->requires_grad && !(gx[i] = op_narrow(g, gy, axis, start, length)))
            return false;
        start += length;
    }
    return true;
}

static mare_status concat_lower(lowering *l, const node *n, const operand *in, const operand *out) {
    int axis = OP_ATTR(concat_attr, n)->axis;
    operand part = *out;
    for (int i = 0; i < n->n_in; i++) {
        part.shape = in[i].shape;
        if (shape_count(&part.shape) > 0) {
            mare_status s = lower_map(l, "a", n->dtype, &in[i], 1, &part);
            if (s) return s;
        }
        part.view.offset += in[i].shape.dim[axis] * part.view.stride[axis];
    }
    return MARE_OK;
}

static void concat_ref(const node *n, const double *const *in, double *out) {
    int axis = OP_ATTR(concat_attr, n)->axis;
    int64_t outer = 1, inner = 1;
    for (int i = 0; i < axis; i++)
        outer *= n->shape.dim[i];
    for (int i = axis + 1; i < n->shape.rank; i++)
        inner *= n->shape.dim[i];
    for (int64_t o = 0; o < outer; o++) {
        for (int i = 0; i < n->n_in; i++) {
            int64_t run = n->in[i]->shape.dim[axis] * inner;
            for (int64_t k = 0; k < run; k++)
                *out++ = in[i][o * run + k];
        }
    }
}

static node *concat_case(graph *g, node **in) {
    return op_concat(g, in, 3, 1);
}

static node *concat_many_case(graph *g, node **in) {
    node *parts[19];
    for (int i = 0; i < 19; i++)
        parts[i] = in[i % 2];
    return op_concat(g, parts, 19, -1);
}

static node *stack_case(graph *g, node **in) {
    return op_stack(g, in, 2, -1);
}

static const op_case concat_cases[] = {
    {3, {{3, {2, 3, 4}}, {3, {2, 1, 4}}, {3, {2, 5, 4}}}, -2, 2, concat_case, {MARE_F32}, {0}, {0}},
    {3, {{2, {3, 2}}, {2, {3, 0}}, {2, {3, 3}}}, -2, 2, concat_case, {MARE_F32}, {0}, {0}},
    {3, {{2, {0, 2}}, {2, {0, 4}}, {2, {0, 3}}}, -2, 2, concat_case, {MARE_F32}, {0}, {0}},
    {3,
     {{2, {3, 2}}, {2, {3, 3}}, {2, {3, 1}}},
     0,
     5,
     concat_case,
     {MARE_U8, MARE_I32, MARE_F32},
     {0},
     {0}},
    {3,
     {{2, {3, 2}}, {2, {3, 3}}, {2, {3, 1}}},
     0,
     255,
     concat_case,
     {MARE_U8, MARE_U8, MARE_U8},
     {0},
     {0}},
    {3,
     {{2, {3, 2}}, {2, {3, 3}}, {2, {3, 1}}},
     -2,
     2,
     concat_case,
     {MARE_F16, MARE_F16, MARE_F16},
     {0},
     {0}},
    {3,
     {{2, {3, 2}}, {2, {3, 3}}, {2, {3, 1}}},
     -100,
     100,
     concat_case,
     {MARE_I8, MARE_I8, MARE_BF16},
     {0},
     {0}},
    {3,
     {{2, {3, 2}}, {2, {3, 3}}, {2, {3, 1}}},
     -128,
     127,
     concat_case,
     {MARE_I8, MARE_I8, MARE_I8},
     {0},
     {0}},
    {2, {{2, {3, 2}}, {2, {3, 1}}}, -2, 2, concat_many_case, {MARE_F32}, {0}, {0}},
    {2, {{2, {3, 2}}, {2, {3, 2}}}, -2, 2, stack_case, {MARE_F32}, {0}, {0}},
    {2, {{0}, {0}}, -2, 2, stack_case, {MARE_F32}, {0}, {0}},
    {0},
};

const op op_desc_concat = {
    .name = "concat",
    .at = OP_HERE,
    .doc = "a, b, ... -> one after another along an axis; dtypes are promoted",
    .attr_size = sizeof(concat_attr),
    .infer = concat_infer,
    .vjp = concat_vjp,
    .lower = concat_lower,
    .ref = concat_ref,
    .cases = concat_cases,
    .smooth = true,
};

node *op_concat(graph *g, node *const *in, int n, int axis) {
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    if (n < 1) return graph_fail(g, MARE_E_ARGUMENT, "concat: no tensors given");
    for (int i = 0; i < n; i++)
        if (!in[i]) return NULL;
    const shape *s = &in[0]->shape;
    int x = shape_axis(s, axis);
    if (x < 0)
        return graph_fail(g, MARE_E_ARGUMENT, "concat: %s has no axis %d", shape_text(s, a), axis);
    mare_dtype t = in[0]->dtype;
    for (int i = 1; i < n; i++) {
        bool fits = in[i]->shape.rank == s->rank;
        for (int d = 0; fits && d < s->rank; d++)
            fits = d == x || in[i]->shape.dim[d] == s->dim[d];
        if (!fits)
            return graph_fail(g, MARE_E_SHAPE,
                              "concat: %s and %s (tensor %d) differ beside axis %d",
                              shape_text(s, a), shape_text(&in[i]->shape, b), i + 1, axis);
        t = dtype_promote(t, in[i]->dtype);
    }
    node **words = malloc((size_t)n * sizeof *words);
    if (!words) {
        error_no_memory(g->error, (size_t)n * sizeof *words);
        return NULL;
    }
    node *out = NULL;
    bool ok = true;
    for (int i = 0; i < n && ok; i++)
        ok = (words[i] = op_words(g, op_cast(g, in[i], t))) != NULL;
    if (ok && n == 1) out = in[0];
    if (ok && n > 1) out = op_cast(g, node_new(g, &op_desc_concat, words, n, &(concat_attr){x}), t);
    free(words);
    return out;
}

node *op_stack(graph *g, node *const *in, int n, int axis) {
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    if (n < 1) return graph_fail(g, MARE_E_ARGUMENT, "stack: no tensors given");
    node **parts = malloc((size_t)n * sizeof *parts);
    if (!parts) {
        error_no_memory(g->error, (size_t)n * sizeof *parts);
        return NULL;
    }
    int done = 0;
    for (; done < n && in[done]; done++) {
        if (!shape_equal(&in[done]->shape, &in[0]->shape)) {
            graph_fail(g, MARE_E_SHAPE, "stack: %s and %s (tensor %d) differ",
                       shape_text(&in[0]->shape, a), shape_text(&in[done]->shape, b), done + 1);
            break;
        }
        if (!(parts[done] = op_unsqueeze(g, in[done], axis))) break;
    }
    if (axis < 0 && done == n) axis += parts[0]->shape.rank;
    node *out = done == n ? op_concat(g, parts, n, axis) : NULL;
    free(parts);
    return out;
}

/* ---- Sums of parts ------------------------------------------------------------------------ */

/* What stands in a part: the inputs of a concat along the axis, or the part itself. */
static int pieces_of(node *part, int axis, node **out) {
    bool joined = part->op == &op_desc_concat && OP_ATTR(concat_attr, part)->axis == axis;
    int n = joined ? part->n_in : 1;
    for (int i = 0; i < n && out; i++)
        out[i] = joined ? part->in[i] : part;
    return n;
}

node *op_add_parts(graph *g, node *a, node *b) {
    if (!a || !b) return NULL;
    int axis, other;
    int64_t start, from;
    bool parts = op_embedded(a, &axis, &start) && op_embedded(b, &other, &from) && axis == other;
    if (parts && from < start) {
        node *swap = a;
        a = b;
        b = swap;
        int64_t first = from;
        from = start;
        start = first;
    }
    if (!parts || start + a->in[0]->shape.dim[axis] != from) return op_map2(g, "add", a, b);
    int n = pieces_of(a->in[0], axis, NULL), all = n + pieces_of(b->in[0], axis, NULL);
    node **piece = malloc((size_t)all * sizeof *piece);
    if (!piece) {
        error_no_memory(g->error, (size_t)all * sizeof *piece);
        return NULL;
    }
    pieces_of(a->in[0], axis, piece);
    pieces_of(b->in[0], axis, piece + n);
    node *joined = op_concat(g, piece, all, axis);
    free(piece);
    if (!joined || joined->shape.dim[axis] == a->shape.dim[axis]) return joined;
    int64_t at[MAX_DIMS] = {0}, step[MAX_DIMS];
    at[axis] = start;
    for (int i = 0; i < MAX_DIMS; i++)
        step[i] = 1;
    return op_embed(g, joined, &a->shape, at, step, 0);
}
