/* Max pooling. The gradient of a maximum goes to the first largest element of a window, whose place
 * is computed when a gradient is asked for. */
#include "ops/pool.h"

#include <math.h>
#include <string.h>

static bool places_infer(graph *g, node *n) {
    const pool_attr *a = OP_ATTR(pool_attr, n);
    pool_to_windows(g, n);
    n->dtype = MARE_I32;
    n->lo = n->hi = 0;
    for (int i = 0; i < AXES; i++) { /* no further than the last window reaches */
        int64_t end = pool_last(a, i);
        n->hi = n->hi * a->image[i] + (end < a->image[i] ? end : a->image[i] - 1);
    }
    return true;
}

/* 2 x 2 windows side by side, which cover whole rows. */
static bool plain2(const pool_attr *a) {
    for (int i = 1; i < AXES; i++)
        if (a->kernel[i] != 2 || a->stride[i] != 2 || a->padding[i] != 0 || a->dilation[i] != 1)
            return false;
    return a->axes == 2 && !a->adaptive && a->image[2] == 2 * a->windows[2] &&
           a->image[1] >= 2 * a->windows[1];
}

static mare_status max2_lower(lowering *l, const char *defines, const node *n, const operand *in,
                              int n_in, const operand *out) {
    const pool_attr *a = OP_ATTR(pool_attr, n);
    operand src[2];
    mare_status s = MARE_OK;
    for (int i = 0; i < n_in && !s; i++)
        s = lower_contiguous(l, &in[i], &src[i]);
    if (s) return s;
    int per = a->windows[2] % 2 == 0 ? 2 : 1;
    launch *k = lower_launch(l, "pool/max2.comp", lower_text(l, "PER %d\n%s", per, defines));
    if (!k) return lower_error(l);
    uint32_t wg = lower_workgroup(l), first;
    launch_spec(k, wg);
    for (int i = 0; i < n_in && !s; i++)
        s = launch_bind(l, k, &src[i], READ, &first);
    if (!s) s = launch_bind(l, k, out, WRITE, &first);
    if (s) return s;
    int64_t across = a->windows[2] / per;
    int64_t images = shape_count(&n->in[0]->shape) / pool_volume(a->image);
    int64_t count = images * a->windows[1] * across;
    launch_u32(k, (uint32_t)count);
    launch_u32(k, (uint32_t)across);
    launch_u32(k, (uint32_t)a->windows[1]);
    launch_u32(k, (uint32_t)a->image[1]);
    return launch_groups(l, k, ((uint64_t)count + wg - 1) / wg);
}

static mare_status max_pool_lower(lowering *l, const node *n, const operand *in,
                                  const operand *out) {
    if (plain2(OP_ATTR(pool_attr, n)) && shape_count(&n->shape) > 0)
        return max2_lower(l, "", n, in, 1, out);
    return pool_lower(l, "pool/max.comp", "", n, in, 1, out);
}

static mare_status max_pool2x2_grad_lower(lowering *l, const node *n, const operand *in,
                                          const operand *out) {
    return shape_count(&n->shape) ? max2_lower(l, "GRAD 1\n", n, in, 2, out) : MARE_OK;
}

static mare_status max_pool_at_lower(lowering *l, const node *n, const operand *in,
                                     const operand *out) {
    return pool_lower(l, "pool/max.comp", "AT 1\n", n, in, 1, out);
}

static mare_status max_pool_spread_lower(lowering *l, const node *n, const operand *in,
                                         const operand *out) {
    return pool_lower(l, "pool/spread.comp", "", n, in, 2, out);
}

static mare_status max_pool_pick_lower(lowering *l, const node *n, const operand *in,
                                       const operand *out) {
    return pool_lower(l, "pool/pick.comp", "", n, in, 2, out);
}

static node *places(graph *g, node *x, const pool_attr *a) {
    return node_new(g, &op_desc_max_pool_at, &x, 1, a);
}

static bool max_pool_vjp(graph *g, node *n, node *gy, node **gx) {
    const pool_attr *a = OP_ATTR(pool_attr, n);
    /* The kernel that finds the largest anew writes what windows cover, so they must cover all. */
    bool fast = plain2(a) && a->image[1] == 2 * a->windows[1];
    node *in[2] = {fast ? n->in[0] : places(g, n->in[0], a), gy};
    gx[0] = node_new(g, fast ? &op_desc_max_pool2x2_grad : &op_desc_max_pool_spread, in, 2, a);
    return gx[0] != NULL;
}

/* Linear in its second input, and does not change with small changes of the first. */
static bool max_pool2x2_grad_vjp(graph *g, node *n, node *gy, node **gx) {
    const pool_attr *a = OP_ATTR(pool_attr, n);
    node *in[2] = {places(g, n->in[0], a), gy};
    return (gx[1] = node_new(g, &op_desc_max_pool_pick, in, 2, a)) != NULL;
}

static bool max_pool_spread_vjp(graph *g, node *n, node *gy, node **gx) {
    node *in[2] = {n->in[0], gy};
    return (gx[1] = node_new(g, &op_desc_max_pool_pick, in, 2, n->attr)) != NULL;
}

static bool max_pool_pick_vjp(graph *g, node *n, node *gy, node **gx) {
    node *in[2] = {n->in[0], gy};
    return (gx[1] = node_new(g, &op_desc_max_pool_spread, in, 2, n->attr)) != NULL;
}

typedef struct largest {
    const double *x;
    int64_t place; /* of the first largest element so far, -1: none */
} largest;

static void largest_visit(void *arg, int64_t place) {
    largest *m = arg;
    if (m->place < 0 || (!isnan(m->x[m->place]) && !(m->x[place] <= m->x[m->place])))
        m->place = place;
}

typedef enum max_mode { MAX_VALUE, MAX_AT, MAX_GRAD } max_mode;

static void max_ref(const node *n, const double *const *in, double *out, max_mode mode) {
    const pool_attr *a = OP_ATTR(pool_attr, n);
    int64_t size = pool_volume(a->image), windows = pool_volume(a->windows);
    int64_t images = shape_count(&n->in[0]->shape) / size;
    if (mode == MAX_GRAD) memset(out, 0, (size_t)(images * size) * sizeof *out);
    for (int64_t i = 0; i < images * windows; i++) {
        largest m = {in[0] + i / windows * size, -1};
        pool_each(a, i % windows, largest_visit, &m);
        if (mode == MAX_GRAD) out[i / windows * size + m.place] += in[1][i];
        if (mode == MAX_AT) out[i] = m.place < 0 ? 0 : (double)m.place;
        if (mode == MAX_VALUE) out[i] = m.place < 0 ? -INFINITY : m.x[m.place];
    }
}

static void max_pool_ref(const node *n, const double *const *in, double *out) {
    max_ref(n, in, out, MAX_VALUE);
}

static void max_pool_at_ref(const node *n, const double *const *in, double *out) {
    max_ref(n, in, out, MAX_AT);
}

static void max_pool2x2_grad_ref(const node *n, const double *const *in, double *out) {
    max_ref(n, in, out, MAX_GRAD);
}

static void max_pool_spread_ref(const node *n, const double *const *in, double *out) {
    int64_t size = pool_volume(OP_ATTR(pool_attr, n)->image);
    int64_t windows = pool_volume(OP_ATTR(pool_attr, n)->windows);
    memset(out, 0, (size_t)shape_count(&n->shape) * sizeof *out);
    for (int64_t i = 0; i < shape_count(&n->in[1]->shape); i++)
        out[i / windows * size + (int64_t)in[0][i]] += in[1][i];
}

static void max_pool_pick_ref(const node *n, const double *const *in, double *out) {
    int64_t size = pool_volume(OP_ATTR(pool_attr, n)->image);
    int64_t windows = pool_volume(OP_ATTR(pool_attr, n)->windows);
    for (int64_t i = 0; i < shape_count(&n->shape); i++)
        out[i] = in[1][i / windows * size + (int64_t)in[0][i]];
}

/* ---- builders, cases, descriptors --------------------------------------------------------- */

node *op_max_pool(graph *g, node *x, int axes, const pool_options *o) {
    node *y = pool_node(g, &op_desc_max_pool, "max", x, axes, o);
    return op_float_like(g, y, x);
}

node *op_max_pool_at(graph *g, node *x, int axes, const pool_options *o) {
    return pool_node(g, &op_desc_max_pool_at, "max", x, axes, o);
}

/* in[0] has the input's shape; the number of axes pooled over is its rank without two. */
#define MAX_BUILD(id, which)                                                                       \
    static node *max_##id(graph *g, node **in) {                                                   \
        return op_max_pool(g, in[0], in[0]->shape.rank - 2, &pool_try[TRY_##which]);               \
    }                                                                                              \
    static node *at_##id(graph *g, node **in) {                                                    \
        return op_max_pool_at(g, op_cast(g, in[0], MARE_F32), in[0]->shape.rank - 2,               \
                              &pool_try[TRY_##which]);                                             \
    }                                                                                              \
    static node *spread_##id(graph *g, node **in) {                                                \
        return with_places(g, &op_desc_max_pool_spread, in, &pool_try[TRY_##which]);               \
    }                                                                                              \
    static node *pick_##id(graph *g, node **in) {                                                  \
        return with_places(g, &op_desc_max_pool_pick, in, &pool_try[TRY_##which]);                 \
    }
/* x comes as integers, for equal values in a window. */
static node *with_places(graph *g, const op *d, node **in, const pool_options *o) {
    node *x = op_cast(g, in[0], MARE_F32), *pair[2] = {NULL, in[1]};
    pool_attr a;
    if (!x || !pool_fill(g, d->name, x, x->shape.rank - 2, o, &a)) return NULL;
    pair[0] = d == &op_desc_max_pool2x2_grad ? x : places(g, x, &a);
    return node_new(g, d, pair, 2, &a);
}

static node *max_pool2x2_grad(graph *g, node **in) {
    return with_places(g, &op_desc_max_pool2x2_grad, in, &pool_try[TRY_PLAIN]);
}

MAX_BUILD(plain, PLAIN)
MAX_BUILD(overlap, OVERLAP)
MAX_BUILD(uneven, UNEVEN)
MAX_BUILD(dilated, DILATED)
MAX_BUILD(sparse, SPARSE)
MAX_BUILD(adaptive, ADAPTIVE)

static const op_case max_cases[] = {
    ONE(max_plain, S4(2, 3, 8, 12), MARE_F32),   ONE(max_plain, S4(2, 3, 14, 14), MARE_F32),
    ONE(max_plain, S4(2, 3, 7, 6), MARE_F32),    ONE(max_plain, S4(2, 3, 6, 7), MARE_F32),
    ONE(max_plain, S4(2, 2, 6, 6), MARE_F16),    ONE(max_plain, S4(2, 2, 6, 6), MARE_BF16),
    ONE(max_plain, S4(0, 2, 6, 6), MARE_F32),    ONE(max_overlap, S4(2, 3, 9, 8), MARE_F32),
    ONE(max_uneven, S4(1, 3, 8, 9), MARE_F32),   ONE(max_dilated, S4(2, 2, 8, 9), MARE_F32),
    ONE(max_sparse, S4(2, 2, 8, 9), MARE_F32),   ONE(max_overlap, S4(1, 1, 1, 1), MARE_F32),
    ONE(max_adaptive, S4(2, 2, 5, 7), MARE_F32), ONE(max_adaptive, S4(1, 2, 2, 1), MARE_F32),
    ONE(max_plain, S3(3, 7), MARE_F32),          ONE(max_overlap, S3(3, 300), MARE_F32),
    ONE(max_adaptive, S3(3, 10), MARE_F16),      ONE(max_plain, S5(4, 5, 6), MARE_F32),
    ONE(max_uneven, S5(5, 4, 6), MARE_F32),      ONE(max_dilated, S5(5, 6, 4), MARE_F32),
    ONE(max_adaptive, S5(4, 5, 6), MARE_F32),    {0},
};

static const op_case at_cases[] = {
    ONE(at_plain, S4(2, 3, 8, 12), MARE_I32),
    ONE(at_overlap, S4(2, 3, 9, 8), MARE_I32),
    ONE(at_uneven, S4(1, 3, 8, 9), MARE_F32),
    ONE(at_dilated, S4(2, 2, 8, 9), MARE_I32),
    ONE(at_sparse, S4(2, 2, 8, 9), MARE_I32),
    ONE(at_adaptive, S4(2, 2, 5, 7), MARE_I32),
    ONE(at_overlap, S3(3, 300), MARE_I32),
    ONE(at_adaptive, S3(3, 10), MARE_F16),
    ONE(at_uneven, S5(5, 4, 6), MARE_I32),
    ONE(at_dilated, S5(5, 6, 4), MARE_I32),
    ONE(at_adaptive, S5(4, 5, 6), MARE_F32),
    ONE(at_plain, S4(0, 2, 6, 6), MARE_F32),
    {0},
};

static const op_case max2_cases[] = {
    TWO(max_pool2x2_grad, S4(2, 3, 8, 12), S4(2, 3, 4, 6), MARE_F32),
    TWO(max_pool2x2_grad, S4(2, 3, 14, 14), S4(2, 3, 7, 7), MARE_F32),
    TWO(max_pool2x2_grad, S4(2, 3, 8, 8), S4(2, 3, 4, 4), MARE_I32),
    TWO(max_pool2x2_grad, S4(2, 3, 14, 14), S4(2, 3, 7, 7), MARE_I32),
    {0},
};

static const op_case spread_cases[] = {
    TWO(spread_plain, S4(1, 2, 7, 6), S4(1, 2, 3, 3), MARE_I32),
    TWO(spread_overlap, S4(2, 3, 9, 8), S4(2, 3, 5, 4), MARE_I32),
    TWO(spread_uneven, S4(1, 3, 8, 9), S4(1, 3, 5, 3), MARE_I32),
    TWO(spread_dilated, S4(2, 2, 8, 9), S4(2, 2, 7, 5), MARE_I32),
    TWO(spread_sparse, S4(2, 2, 8, 9), S4(2, 2, 3, 3), MARE_I32),
    TWO(spread_adaptive, S4(2, 2, 5, 7), S4(2, 2, 3, 2), MARE_I32),
    TWO(spread_plain, S3(3, 7), S3(3, 3), MARE_I32),
    TWO(spread_overlap, S5(5, 4, 6), S5(3, 2, 7), MARE_I32),
    TWO(spread_adaptive, S5(5, 4, 6), S5(3, 2, 4), MARE_I32),
    {0},
};

static const op_case pick_cases[] = {
    TWO(pick_plain, S4(2, 3, 8, 12), S4(2, 3, 8, 12), MARE_I32),
    TWO(pick_overlap, S4(2, 3, 9, 8), S4(2, 3, 9, 8), MARE_I32),
    TWO(pick_uneven, S4(1, 3, 8, 9), S4(1, 3, 8, 9), MARE_I32),
    TWO(pick_dilated, S4(2, 2, 8, 9), S4(2, 2, 8, 9), MARE_I32),
    TWO(pick_sparse, S4(2, 2, 8, 9), S4(2, 2, 8, 9), MARE_I32),
    TWO(pick_adaptive, S5(5, 4, 6), S5(5, 4, 6), MARE_I32),
    {0},
};

POOL_OP(max_pool, FLOAT_DTYPES, "x [..., D, H, W] or fewer axes -> the largest of each window; f32",
        pool_to_windows, max_pool_vjp, max_cases);
POOL_OP(max_pool_at, OWN_DTYPES,
        "x -> the place of the first largest of each window in its image; i32", places_infer, NULL,
        at_cases);
POOL_OP(max_pool2x2_grad, OWN_DTYPES,
        "x, gy of 2 x 2 windows -> gy at the largest of each window; f32", pool_to_image,
        max_pool2x2_grad_vjp, max2_cases);
POOL_OP(max_pool_spread, OWN_DTYPES,
        "places (i32), gy of the windows -> gy added up at the places; f32", pool_to_image,
        max_pool_spread_vjp, spread_cases);
POOL_OP(max_pool_pick, OWN_DTYPES, "places (i32) of the windows, v -> v at the places; f32",
        pool_to_windows, max_pool_pick_vjp, pick_cases);
