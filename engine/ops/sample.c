/* Sampling by a table and what its gradients need: see sample.h. Each of sample, its transpose and
 * the gradient of the weights is linear in what the others are made of, so that all gradients of
 * any order are among the three. */
#include "ops/sample.h"
#include "plan/lower.h"

#include <string.h>

typedef struct sample_attr {
    int64_t size; /* of the axis that is looked at */
} sample_attr;

typedef struct extents {
    int64_t images, channels, size, inner, taps, results, tables;
} extents;

/* image: a tensor with the two leading and the last axis; index: the table's shape. */
static extents extents_of(const node *image, const node *index, int64_t size) {
    const int64_t *d = image->shape.dim, *t = index->shape.dim;
    return (extents){d[0], d[1], size, d[3], t[1], t[2], t[0]};
}

/* Binds what a kernel on sample.glsl reads and writes; count invocations, `per` channels each. */
static mare_status sample_launch(lowering *l, const char *shader, const extents *e, int64_t count,
                                 int per, const operand *in, const operand *out) {
    operand src[3];
    mare_status s = MARE_OK;
    for (int i = 0; i < 3 && !s; i++)
        s = lower_contiguous(l, &in[i], &src[i]);
    if (s) return s;
    launch *k = lower_launch(l, shader, lower_text(l, "PER %d\n", per));
    if (!k) return lower_error(l);
    uint32_t wg = lower_workgroup(l), first;
    launch_spec(k, wg);
    for (int i = 0; i < 3 && !s; i++)
        s = launch_bind(l, k, &src[i], READ, &first);
    if (!s) s = launch_bind(l, k, out, WRITE, &first);
    if (s) return s;
    bool shared = e->tables == 1;
    int64_t words[] = {count,
                       e->images,
                       e->channels,
                       e->size,
                       e->inner,
                       e->taps,
                       e->results,
                       shared ? 0 : e->taps * e->results,
                       shared ? 0 : e->size + 1 + e->taps * e->results};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        launch_u32(k, (uint32_t)words[i]);
    return launch_groups(l, k, ((uint64_t)count + wg - 1) / wg);
}

/* Several channels an invocation, when there is enough to do for all the same. */
static mare_status channels_launch(lowering *l, const char *shader, const extents *e,
                                   const operand *in, const operand *out) {
    int64_t count = shape_count(&out->shape);
    if (count == 0) return MARE_OK;
    int per = e->channels >= 4 && count >= 1 << 16 ? 4 : 1;
    return sample_launch(l, shader, e, count / e->channels * ((e->channels + per - 1) / per), per,
                         in, out);
}

/* ---- lists -------------------------------------------------------------------------------- */

static bool lists_infer(graph *g, node *n) {
    (void)g;
    int64_t size = OP_ATTR(sample_attr, n)->size, keys = n->in[0]->shape.dim[1];
    n->dtype = MARE_I32;
    n->shape = shape_of(2, n->in[0]->shape.dim[0], size + 1 + keys);
    n->lo = 0;
    n->hi = keys;
    return true;
}

static bool last_infer(graph *g, node *n) {
    lists_infer(g, n);
    n->shape.dim[1] = OP_ATTR(sample_attr, n)->size;
    return true;
}

static mare_status lists_launch(lowering *l, const char *defines, const node *n, const operand *in,
                                const operand *out) {
    uint64_t count = (uint64_t)shape_count(&n->shape);
    if (count == 0) return MARE_OK;
    operand src[2];
    mare_status s = lower_contiguous(l, &in[0], &src[0]);
    if (!s) s = lower_contiguous(l, &in[1], &src[1]);
    if (s) return s;
    launch *k = lower_launch(l, "sample/lists.comp", defines);
    if (!k) return lower_error(l);
    uint32_t wg = lower_workgroup(l), first;
    launch_spec(k, wg);
    for (int i = 0; i < 2 && !s; i++)
        s = launch_bind(l, k, &src[i], READ, &first);
    if (!s) s = launch_bind(l, k, out, WRITE, &first);
    if (s) return s;
    launch_u32(k, (uint32_t)count);
    launch_u32(k, (uint32_t)n->in[0]->shape.dim[1]);
    launch_u32(k, (uint32_t)OP_ATTR(sample_attr, n)->size);
    return launch_groups(l, k, (count + wg - 1) / wg);
}

static mare_status sample_lists_lower(lowering *l, const node *n, const operand *in,
                                      const operand *out) {
    return lists_launch(l, "", n, in, out);
}

static mare_status sample_last_lower(lowering *l, const node *n, const operand *in,
                                     const operand *out) {
    return lists_launch(l, "LAST 1\n", n, in, out);
}

static void sample_lists_ref(const node *n, const double *const *in, double *out) {
    int64_t size = OP_ATTR(sample_attr, n)->size, keys = n->in[0]->shape.dim[1];
    for (int64_t r = 0; r < n->shape.dim[0]; r++) {
        const double *key = in[0] + r * keys;
        for (int64_t m = 0; m <= size; m++) {
            int64_t less = 0;
            for (int64_t j = 0; j < keys; j++)
                less += key[j] < (double)m;
            *out++ = (double)less;
        }
        for (int64_t j = 0; j < keys; j++)
            *out++ = in[1][r * keys + j];
    }
}

static void sample_last_ref(const node *n, const double *const *in, double *out) {
    int64_t size = n->shape.dim[1], keys = n->in[0]->shape.dim[1];
    for (int64_t i = 0; i < shape_count(&n->shape); i++) {
        out[i] = (double)keys;
        for (int64_t j = 0; j < keys; j++)
            if (in[0][i / size * keys + j] == (double)(i % size)) out[i] = (double)j;
    }
}

/* ---- sample, its transpose, the gradient of the weights ------------------------------------- */

static node *spread(graph *g, node *v, node *w, node *index, int64_t size) {
    if (!index) return NULL;
    const shape *t = &index->shape;
    shape row = shape_of(2, t->dim[0], t->dim[1] * t->dim[2]);
    node *keys = op_reshape(g, index, &row), *pair[2] = {keys, op_argsort(g, keys, 1, false)};
    sample_attr a = {size};
    node *in[4] = {v, w, node_new(g, &op_desc_sample_lists, pair, 2, &a), index};
    return node_new(g, &op_desc_sample_spread, in, 4, &a);
}

static node *dot(graph *g, node *x, node *v, node *index) {
    node *in[3] = {x, v, index};
    return node_new(g, &op_desc_sample_dot, in, 3, NULL);
}

static bool sample_infer(graph *g, node *n) {
    char s[SHAPE_TEXT], t[SHAPE_TEXT];
    if (!shape_equal(&n->in[1]->shape, &n->in[2]->shape))
        return graph_fail(g, MARE_E_SHAPE, "sample: indices %s and weights %s",
                          shape_text(&n->in[1]->shape, s), shape_text(&n->in[2]->shape, t)) != NULL;
    n->dtype = MARE_F32;
    n->shape = n->in[0]->shape;
    n->shape.dim[2] = n->in[1]->shape.dim[2];
    return true;
}

static bool sample_spread_infer(graph *g, node *n) {
    (void)g;
    n->dtype = MARE_F32;
    n->shape = n->in[0]->shape;
    n->shape.dim[2] = OP_ATTR(sample_attr, n)->size;
    return true;
}

static bool sample_dot_infer(graph *g, node *n) {
    (void)g;
    n->dtype = MARE_F32;
    n->shape = n->in[2]->shape;
    return true;
}

static bool sample_vjp(graph *g, node *n, node *gy, node **gx) {
    node *x = n->in[0], *index = n->in[1], *w = n->in[2];
    if (x->requires_grad && !(gx[0] = spread(g, gy, w, index, x->shape.dim[2]))) return false;
    return !w->requires_grad || (gx[2] = dot(g, x, gy, index)) != NULL;
}

static bool sample_spread_vjp(graph *g, node *n, node *gy, node **gx) {
    node *v = n->in[0], *w = n->in[1], *index = n->in[3];
    if (v->requires_grad && !(gx[0] = op_sample(g, gy, index, w))) return false;
    return !w->requires_grad || (gx[1] = dot(g, gy, v, index)) != NULL;
}

static bool sample_dot_vjp(graph *g, node *n, node *gy, node **gx) {
    node *x = n->in[0], *v = n->in[1], *index = n->in[2];
    if (x->requires_grad && !(gx[0] = spread(g, v, gy, index, x->shape.dim[2]))) return false;
    return !v->requires_grad || (gx[1] = op_sample(g, x, index, gy)) != NULL;
}

static mare_status sample_lower(lowering *l, const node *n, const operand *in, const operand *out) {
    extents e = extents_of(n->in[0], n->in[1], n->in[0]->shape.dim[2]);
    return channels_launch(l, "sample/sample.comp", &e, in, out);
}

static mare_status sample_spread_lower(lowering *l, const node *n, const operand *in,
                                       const operand *out) {
    extents e = extents_of(n->in[0], n->in[3], OP_ATTR(sample_attr, n)->size);
    return channels_launch(l, "sample/spread.comp", &e, in, out);
}

static mare_status sample_dot_lower(lowering *l, const node *n, const operand *in,
                                    const operand *out) {
    extents e = extents_of(n->in[0], n->in[2], n->in[0]->shape.dim[2]);
    int64_t count = shape_count(&n->shape);
    return count ? sample_launch(l, "sample/dot.comp", &e, count, 1, in, out) : MARE_OK;
}

/* Calls visit for every pair of a result (its place in [N, C, K, I]) and an element looked at (its
 * place in [N, C, M, I]), with the place in the table. */
static void each_ref(const extents *e, const double *index,
                     void (*visit)(void *, int64_t, int64_t, int64_t), void *arg) {
    for (int64_t p = 0; p < e->images * e->channels; p++)
        for (int64_t t = 0; t < e->taps; t++)
            for (int64_t k = 0; k < e->results; k++) {
                int64_t image = e->tables == 1 ? 0 : p / e->channels;
                int64_t entry = (image * e->taps + t) * e->results + k, m = (int64_t)index[entry];
                for (int64_t c = 0; c < e->inner && m >= 0 && m < e->size; c++)
                    visit(arg, (p * e->results + k) * e->inner + c,
                          (p * e->size + m) * e->inner + c, entry);
            }
}

typedef struct sums {
    const double *a, *b;
    double *out;
} sums;

static void sample_visit(void *arg, int64_t result, int64_t element, int64_t entry) {
    sums *s = arg;
    s->out[result] += s->a[element] * s->b[entry];
}

static void spread_visit(void *arg, int64_t result, int64_t element, int64_t entry) {
    sums *s = arg;
    s->out[element] += s->a[result] * s->b[entry];
}

static void dot_visit(void *arg, int64_t result, int64_t element, int64_t entry) {
    sums *s = arg;
    s->out[entry] += s->a[element] * s->b[result];
}

static void sample_ref(const node *n, const double *const *in, double *out) {
    extents e = extents_of(n->in[0], n->in[1], n->in[0]->shape.dim[2]);
    memset(out, 0, (size_t)shape_count(&n->shape) * sizeof *out);
    each_ref(&e, in[1], sample_visit, &(sums){in[0], in[2], out});
}

static void sample_spread_ref(const node *n, const double *const *in, double *out) {
    extents e = extents_of(n->in[0], n->in[3], OP_ATTR(sample_attr, n)->size);
    memset(out, 0, (size_t)shape_count(&n->shape) * sizeof *out);
    each_ref(&e, in[3], spread_visit, &(sums){in[0], in[1], out});
}

static void sample_dot_ref(const node *n, const double *const *in, double *out) {
    extents e = extents_of(n->in[0], n->in[2], n->in[0]->shape.dim[2]);
    memset(out, 0, (size_t)shape_count(&n->shape) * sizeof *out);
    each_ref(&e, in[2], dot_visit, &(sums){in[0], in[1], out});
}

/* ---- builders, cases, descriptors ---------------------------------------------------------- */

node *op_sample(graph *g, node *x, node *index, node *w) {
    node *in[3] = {x, index, w};
    return node_new(g, &op_desc_sample, in, 3, NULL);
}

node *op_places(graph *g, node *a, node *b, int64_t size) {
    static const char *const names[] = {"a", "b", "size"};
    node *nodes[] = {a, b, node_const(g, MARE_I32, (double)size)};
    return op_expr(g, "where(and(a >= 0, b >= 0), a * size + b, -1)", names, nodes, 3);
}

node *op_last_place(graph *g, node *keys, int64_t size) {
    node *in[2] = {keys, op_argsort(g, keys, 1, false)};
    return node_new(g, &op_desc_sample_last, in, 2, &(sample_attr){size});
}

static node *sample_case(graph *g, node **in) {
    return op_sample(g, in[0], in[1], in[2]);
}

/* Onto an axis of 5. */
static node *spread_case(graph *g, node **in) {
    return spread(g, in[0], in[2], in[1], 5);
}

static node *dot_case(graph *g, node **in) {
    return dot(g, in[0], in[2], in[1]);
}

static node *lists_case(graph *g, node **in) {
    node *pair[2] = {in[0], op_argsort(g, in[0], 1, false)};
    return node_new(g, &op_desc_sample_lists, pair, 2, &(sample_attr){5});
}

static node *last_case(graph *g, node **in) {
    return op_last_place(g, in[0], 5);
}

/* A tensor, a table of indices -1..5, and weights like it or another tensor. */
#define THREE(make, a, index, b)                                                                   \
    {                                                                                              \
        .n_in = 3, .in = {a, index, b}, .lo_in = {-2, -1, -2}, .hi_in = {2, 5, 2}, .build = make,  \
        .dtype = {                                                                                 \
            MARE_F32,                                                                              \
            MARE_I32                                                                               \
        }                                                                                          \
    }
#define KEYS(make, rows, keys)                                                                     \
    {                                                                                              \
        .n_in = 1, .in = {SHAPE2(rows, keys)}, .lo = -1, .hi = 5, .build = make, .dtype = {        \
            MARE_I32                                                                               \
        }                                                                                          \
    }

static const op_case sample_cases[] = {
    THREE(sample_case, SHAPE4(2, 3, 5, 1), SHAPE3(2, 4, 7), SHAPE3(2, 4, 7)),
    THREE(sample_case, SHAPE4(2, 2, 5, 3), SHAPE3(1, 2, 9), SHAPE3(1, 2, 9)),
    THREE(sample_case, SHAPE4(1, 1, 5, 1), SHAPE3(1, 1, 300), SHAPE3(1, 1, 300)),
    THREE(sample_case, SHAPE4(2, 6, 5, 2), SHAPE3(2, 2, 3000), SHAPE3(2, 2, 3000)),
    THREE(sample_case, SHAPE4(2, 0, 5, 1), SHAPE3(2, 4, 7), SHAPE3(2, 4, 7)),
    THREE(sample_case, SHAPE4(2, 3, 5, 1), SHAPE3(2, 0, 7), SHAPE3(2, 0, 7)),
    {0},
};
static const op_case spread_cases[] = {
    THREE(spread_case, SHAPE4(2, 3, 7, 1), SHAPE3(2, 4, 7), SHAPE3(2, 4, 7)),
    THREE(spread_case, SHAPE4(2, 2, 9, 3), SHAPE3(1, 2, 9), SHAPE3(1, 2, 9)),
    THREE(spread_case, SHAPE4(1, 60, 300, 1), SHAPE3(1, 1, 300), SHAPE3(1, 1, 300)),
    THREE(spread_case, SHAPE4(1, 7, 2, 2000), SHAPE3(1, 3, 2), SHAPE3(1, 3, 2)),
    THREE(spread_case, SHAPE4(2, 3, 0, 1), SHAPE3(2, 4, 0), SHAPE3(2, 4, 0)),
    {0},
};
static const op_case dot_cases[] = {
    THREE(dot_case, SHAPE4(2, 3, 5, 1), SHAPE3(2, 4, 7), SHAPE4(2, 3, 7, 1)),
    THREE(dot_case, SHAPE4(2, 2, 5, 3), SHAPE3(1, 2, 9), SHAPE4(2, 2, 9, 3)),
    THREE(dot_case, SHAPE4(1, 1, 5, 1), SHAPE3(1, 1, 300), SHAPE4(1, 1, 300, 1)),
    THREE(dot_case, SHAPE4(2, 0, 5, 1), SHAPE3(2, 4, 7), SHAPE4(2, 0, 7, 1)),
    {0},
};
static const op_case lists_cases[] = {
    KEYS(lists_case, 3, 7), KEYS(lists_case, 1, 1), KEYS(lists_case, 2, 300),
    KEYS(lists_case, 2, 0), KEYS(lists_case, 0, 4), {0},
};
static const op_case last_cases[] = {
    KEYS(last_case, 3, 7), KEYS(last_case, 1, 1), KEYS(last_case, 60, 30),
    KEYS(last_case, 2, 0), KEYS(last_case, 0, 4), {0},
};

#define SAMPLE_OP(n, text, size, shapes, grad, made_of)                                            \
    const op op_desc_##n = {                                                                       \
        .name = #n,                                                                                \
        .at = OP_HERE,                                                                             \
        .dtypes = OWN_DTYPES,                                                                      \
        .doc = text,                                                                               \
        .attr_size = size,                                                                         \
        .infer = shapes,                                                                           \
        .vjp = grad,                                                                               \
        .lower = n##_lower,                                                                        \
        .ref = n##_ref,                                                                            \
        .cases = made_of,                                                                          \
        .smooth = true,                                                                            \
    }

SAMPLE_OP(sample,
          "x [N, C, M, I], index, w [N or 1, T, K] -> weighted sums of x at the indices; f32", 0,
          sample_infer, sample_vjp, sample_cases);
SAMPLE_OP(sample_spread, "v [N, C, K, I], w, lists, index -> the transpose of sample; f32",
          sizeof(sample_attr), sample_spread_infer, sample_spread_vjp, spread_cases);
SAMPLE_OP(sample_dot, "x, v [N, C, K, I], index -> the gradient of sample's weights; f32", 0,
          sample_dot_infer, sample_dot_vjp, dot_cases);
SAMPLE_OP(sample_lists,
          "keys [R, K], their order -> where each key's entries begin, the order; i32",
          sizeof(sample_attr), lists_infer, NULL, lists_cases);
SAMPLE_OP(sample_last, "keys [R, K], their order -> the last place of each key, else K; i32",
          sizeof(sample_attr), last_infer, NULL, last_cases);
