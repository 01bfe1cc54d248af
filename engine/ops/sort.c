/* Order: argsort on the device, and what is made of it. Rows are sorted in pieces in shared memory,
 * which are then merged in pairs; few of the first are found by sorting the best of the pieces
 * again. Every order is stable: equal elements stay in theirs. */
#include "ops/internal.h"
#include "ops/loop.h"

#include <math.h>

typedef struct argsort_attr {
    uint32_t axis, descending;
    int64_t keep; /* so many of the first */
} argsort_attr;

static bool argsort_infer(graph *g, node *n) {
    (void)g;
    const argsort_attr *at = OP_ATTR(argsort_attr, n);
    n->dtype = MARE_I32;
    n->shape = n->in[0]->shape;
    n->shape.dim[at->axis] = at->keep;
    n->lo = 0;
    n->hi = n->in[0]->shape.dim[at->axis] - 1;
    return true;
}

/* ---- Lowering ----------------------------------------------------------------------------- */

enum { MERGE_CHUNK = 16 };

/* Pairs of a key and a place, row after row; no buffer: the source itself. */
typedef struct pairs {
    operand keys, places;
    int64_t length; /* of a row */
} pairs;

static pairs make_pairs(lowering *l, int64_t count, int64_t length) {
    shape s = shape_of(1, count * length);
    return (pairs){lower_scratch(l, MARE_I32, &s), lower_scratch(l, MARE_I32, &s), length};
}

static int64_t power_above(int64_t n) {
    int64_t p = 2;
    while (p < n)
        p *= 2;
    return p;
}

static mare_status bind_pairs(lowering *l, launch *x, const pairs *p, access a) {
    uint32_t first; /* 0: scratch begins its binding */
    mare_status s = launch_bind(l, x, &p->keys, a, &first);
    return s ? s : launch_bind(l, x, &p->places, a, &first);
}

static void pad_words(launch *x, int words) {
    while (x->n_params < words)
        launch_u32(x, 0);
}

/* What a workgroup sorts at once: 8 KiB of pairs, on a CPU as much as a merge is slower for. */
static int64_t tile_size(const lowering *l) {
    return l->caps->type == DEV_CPU ? 64 : 1024;
}

/* Sorts segments of every row of `from` (null: of the source), and passes on `keep` of each: to
 * `to`, or the places to the result when null. */
static mare_status sort_blocks(lowering *l, const rows *r, const pairs *from, int64_t segment,
                               int64_t keep, const pairs *to) {
    int64_t count = loop_count(&r->kept), length = from ? from->length : r->length;
    int64_t segments = (length + segment - 1) / segment, tile = segment;
    while (tile < tile_size(l) && tile < count * segments * segment)
        tile *= 2;
    const argsort_attr *at = OP_ATTR(argsort_attr, l->node);
    int rank = from && to ? 0 : r->kept.rank, words = (9 + 3 * rank + 3) / 4 * 4;
    bool ints = r->in.dtype == MARE_I32;
    const char *defines =
        lower_text(l, "TILE %du\nSEGMENT %du\nT %s\n%s%s%sKEPT %d\nWORDS %d\n", (int)tile,
                   (int)segment, ints ? "int" : "float", from ? "" : "SOURCE 1\n",
                   to ? "" : "RESULT 1\n", at->descending ? "DESCENDING 1\n" : "", rank, words / 4);
    launch *x = defines ? lower_launch(l, "sort/block.comp", defines) : NULL;
    if (!x) return lower_error(l);
    uint32_t in_first = 0, out_first = 0;
    loop in_axis = {1, {r->length}, {r->in_step}, {0}};
    loop out_axis = {1, {r->out_length}, {0}, {r->out_step}};
    operand in = loop_operand(&r->in, &r->kept, &in_axis, true);
    operand out = loop_operand(&r->out, &r->kept, &out_axis, false);
    mare_status s = from ? bind_pairs(l, x, from, READ) : launch_bind(l, x, &in, READ, &in_first);
    if (s == MARE_OK)
        s = to ? bind_pairs(l, x, to, WRITE) : launch_bind(l, x, &out, WRITE, &out_first);
    if (s != MARE_OK) return s;
    launch_spec(x, loop_group(l, tile / 2));
    launch_u32(x, (uint32_t)count);
    launch_u32(x, (uint32_t)length);
    launch_u32(x, (uint32_t)segments);
    launch_u32(x, (uint32_t)keep);
    launch_u32(x, (uint32_t)(to ? to->length : 0));
    launch_u32(x, in_first);
    launch_i32(x, (int32_t)r->in_step);
    launch_u32(x, out_first);
    launch_i32(x, (int32_t)r->out_step);
    if (rank) loop_words(x, &r->kept, true);
    pad_words(x, words);
    return launch_groups(l, x, (uint64_t)((count * segments * segment + tile - 1) / tile));
}

/* Merges runs in pairs, to `to` or the places to the result when null. */
static mare_status merge(lowering *l, const rows *r, const pairs *from, int64_t run,
                         const pairs *to) {
    int64_t count = loop_count(&r->kept), limit = to ? from->length : r->out_length;
    int64_t chunks = (limit + MERGE_CHUNK - 1) / MERGE_CHUNK;
    int rank = to ? 0 : r->kept.rank, words = (7 + 3 * rank + 3) / 4 * 4;
    const char *defines = lower_text(l, "CHUNK %du\n%sKEPT %d\nWORDS %d\n", MERGE_CHUNK,
                                     to ? "" : "RESULT 1\n", rank, words / 4);
    launch *x = defines ? lower_launch(l, "sort/merge.comp", defines) : NULL;
    if (!x) return lower_error(l);
    uint32_t out_first = 0, size = lower_workgroup(l);
    loop axis = {1, {r->out_length}, {0}, {r->out_step}};
    operand out = loop_operand(&r->out, &r->kept, &axis, false);
    mare_status s = bind_pairs(l, x, from, READ);
    if (s == MARE_OK)
        s = to ? bind_pairs(l, x, to, WRITE) : launch_bind(l, x, &out, WRITE, &out_first);
    if (s != MARE_OK) return s;
    launch_spec(x, size);
    launch_u32(x, (uint32_t)count);
    launch_u32(x, (uint32_t)from->length);
    launch_u32(x, (uint32_t)run);
    launch_u32(x, (uint32_t)limit);
    launch_u32(x, (uint32_t)chunks);
    launch_u32(x, out_first);
    launch_i32(x, (int32_t)r->out_step);
    if (rank) loop_words(x, &r->kept, true);
    pad_words(x, words);
    return launch_groups(l, x, (uint64_t)((count * chunks + size - 1) / size));
}

static mare_status sort_rows(lowering *l, const rows *r) {
    int64_t tile = tile_size(l), count = loop_count(&r->kept), length = r->length;
    int64_t keep = r->out_length;
    if (length <= tile) return sort_blocks(l, r, NULL, power_above(length), keep, NULL);
    pairs now, next;
    if (keep * 4 <= tile) {
        for (const pairs *from = NULL; length > tile; from = &now) {
            int64_t whole = length / tile, rest = length % tile;
            next = make_pairs(l, count, whole * keep + (rest < keep ? rest : keep));
            mare_status s = sort_blocks(l, r, from, tile, keep, &next);
            if (s != MARE_OK) return s;
            now = next;
            length = now.length;
        }
        return sort_blocks(l, r, &now, power_above(length), keep, NULL);
    }
    now = make_pairs(l, count, length);
    mare_status s = sort_blocks(l, r, NULL, tile, tile, &now);
    if (tile * 2 < length) next = make_pairs(l, count, length);
    for (; s == MARE_OK && tile * 2 < length; tile *= 2) {
        s = merge(l, r, &now, tile, &next);
        pairs old = now;
        now = next;
        next = old;
    }
    return s == MARE_OK ? merge(l, r, &now, tile, NULL) : s;
}

static mare_status argsort_lower(lowering *l, const node *n, const operand *in,
                                 const operand *out) {
    if (shape_count(&n->shape) == 0) return MARE_OK;
    rows r = rows_along(&in[0], out, (int)OP_ATTR(argsort_attr, n)->axis);
    return rows_lower(l, &r, r.length > tile_size(l) ? r.length * 4 : 0, sort_rows);
}

/* ---- Reference ---------------------------------------------------------------------------- */

/* Does a come before b, wherever they stand? */
static bool before(double a, double b, bool descending) {
    if (isnan(a) || isnan(b)) return descending ? isnan(a) && !isnan(b) : !isnan(a) && isnan(b);
    return descending ? a > b : a < b;
}

/* An element's place is the number of those before it. */
static void argsort_ref(const node *n, const double *const *in, double *out) {
    const argsort_attr *at = OP_ATTR(argsort_attr, n);
    const shape *s = &n->in[0]->shape;
    int64_t inner = 1, length = s->dim[at->axis], count = shape_count(s);
    for (int d = (int)at->axis + 1; d < s->rank; d++)
        inner *= s->dim[d];
    for (int64_t i = 0; i < count; i++) {
        int64_t own = i / inner % length, rank = 0;
        const double *row = in[0] + i - own * inner;
        for (int64_t k = 0; k < length; k++)
            rank += before(row[k * inner], in[0][i], at->descending) ||
                    (k < own && !before(in[0][i], row[k * inner], at->descending));
        if (rank < at->keep)
            out[(i / (length * inner) * at->keep + rank) * inner + i % inner] = (double)own;
    }
}

/* ---- Builders ----------------------------------------------------------------------------- */

node *op_topk(graph *g, const char *call, node *a, int axis, bool descending, int64_t keep) {
    char s[SHAPE_TEXT];
    if (!a) return NULL;
    int d = shape_axis(&a->shape, axis);
    if (d < 0)
        return graph_fail(g, MARE_E_ARGUMENT, "%s: axis %d is out of range for %s", call, axis,
                          shape_text(&a->shape, s));
    if (keep > a->shape.dim[d])
        return graph_fail(g, MARE_E_SHAPE, "%s: there are no %lld elements along axis %d of %s",
                          call, (long long)keep, d, shape_text(&a->shape, s));
    node *words = op_words(g, a);
    return node_new(g, &op_desc_argsort, &words, 1, &(argsort_attr){(uint32_t)d, descending, keep});
}

node *op_argsort(graph *g, node *a, int axis, bool descending) {
    int d = a ? shape_axis(&a->shape, axis) : -1;
    return op_topk(g, "argsort", a, axis, descending, d < 0 ? 0 : a->shape.dim[d]);
}

static node *argsort_last(graph *g, node **in) {
    return op_argsort(g, in[0], -1, false);
}

static node *argsort_first(graph *g, node **in) {
    return op_argsort(g, in[0], 0, true);
}

static node *argsort_twisted(graph *g, node **in) {
    return op_argsort(g, op_flip(g, op_transpose(g, in[0], 0, 2), 1), 1, false);
}

static node *argsort_special(graph *g, node **in) {
    static const char *const name = "a";
    return op_argsort(g,
                      op_expr(g,
                              "where(a < -2, -1 / 0, where(a < -1, 0 / 0, where(a < 0, -0.0, "
                              "where(a < 1, 0, where(a < 2, 1 / 0, a)))))",
                              &name, in, 1),
                      -1, true);
}

static node *three_first(graph *g, node **in) {
    return op_topk(g, "topk", in[0], -1, true, 3);
}

static node *most_first(graph *g, node **in) {
    return op_topk(g, "topk", in[0], 0, false, in[0]->shape.dim[0] - 3);
}

#define CASE(f, l, h, t, ...)                                                                      \
    {                                                                                              \
        .n_in = 1, .in = {{__VA_ARGS__}}, .lo = l, .hi = h, .build = f, .dtype = { t }             \
    }
static const op_case argsort_cases[] = {
    CASE(argsort_last, -4, 4, MARE_F32, 2, {5, 7}),
    CASE(argsort_first, -4, 4, MARE_F32, 2, {5, 7}),
    CASE(argsort_last, -4, 4, MARE_F32, 1, {1}),
    CASE(argsort_last, -4, 4, MARE_F32, 2, {0, 3}),
    CASE(argsort_last, -4, 4, MARE_F32, 2, {3, 0}),
    CASE(argsort_last, -4, 4, MARE_F16, 2, {5, 7}),
    CASE(argsort_last, -3, 3, MARE_I32, 2, {70, 9}),
    CASE(argsort_first, -2147483648.0, 2147483647.0, MARE_I32, 1, {40}),
    CASE(argsort_last, 0, 9, MARE_U8, 2, {5, 17}),
    CASE(argsort_first, 0, 1, MARE_BOOL, 2, {9, 3}),
    CASE(argsort_twisted, -4, 4, MARE_F32, 3, {4, 5, 3}),
    CASE(argsort_special, -3, 3, MARE_F32, 2, {3, 40}),
    CASE(argsort_last, -4, 4, MARE_F32, 2, {2, 1500}),
    CASE(argsort_first, -99, 99, MARE_I32, 2, {1500, 2}),
    CASE(argsort_last, -4, 4, MARE_F32, 1, {5000}),
    CASE(argsort_last, -9, 9, MARE_I32, 1, {4096}),
    CASE(three_first, -4, 4, MARE_F32, 2, {3, 9}),
    CASE(three_first, -99, 99, MARE_I32, 2, {2, 3000}),
    CASE(most_first, -9, 9, MARE_I32, 2, {2000, 2}),
    {0},
};

const op op_desc_argsort = {
    .name = "argsort",
    .at = OP_HERE,
    .doc = "Places (i32) of the elements along an axis in their order, the first of them or all; "
           "stable, NaN counts as largest.",
    .attr_size = sizeof(argsort_attr),
    .infer = argsort_infer,
    .lower = argsort_lower,
    .ref = argsort_ref,
    .cases = argsort_cases,
};

/* ---- calls -------------------------------------------------------------------------------- */

static const call_arg argsort_args[] = {NEED_TENSOR("x"), AXIS_OPT("dim", -1),
                                        FLAG_OPT("descending", false), END_ARGS};

static bool call_argsort(graph *g, const call_value *v, node **out) {
    return (out[0] = op_argsort(g, v[0].tensor, (int)v[1].integer, v[2].integer)) != NULL;
}

const op_call op_calls_sort[] = {
    {"argsort",
     "The places (from 0, i32) of the elements along a dimension in ascending or descending order. "
     "Stable; NaN counts as largest. Merge sort of blocks that a bitonic network sorted.",
     argsort_args, NULL, call_argsort, OP_AT},
    {0},
};
