/* Scaled dot product attention: one op forward, one for the gradient of the queries, one for keys
 * and values, one for an additive mask. None keeps the matrix of weights: the gradients make them
 * anew from the logarithms of their sums, which the forward op returns as the last column. */
#include "ops/attention.h"
#include "ops/internal.h"

#include <math.h>
#include <string.h>

attention_form attention_form_of(const node *n) {
    const attention_attr *a = OP_ATTR(attention_attr, n);
    const shape *q = &n->in[0]->shape, *k = &n->in[1]->shape, *v = &n->in[2]->shape;
    attention_form f = {.batches = q->dim[0],
                        .heads = q->dim[1],
                        .key_heads = k->dim[1],
                        .queries = q->dim[2],
                        .keys = k->dim[2],
                        .width = q->dim[3],
                        .value_width = v->dim[3]};
    int next = 3;
    f.repeat = f.heads / f.key_heads;
    f.mask = a->has_mask ? next++ : -1;
    f.offset = a->causal ? next++ : -1;
    bool grad = n->op != &op_desc_attention;
    f.grad = grad ? next++ : -1;
    f.lse = grad ? next++ : -1;
    f.delta = grad ? next : -1;
    return f;
}

static bool attention_infer(graph *g, node *n) {
    attention_form f = attention_form_of(n);
    (void)g;
    n->dtype = MARE_F32;
    if (n->op == &op_desc_attention)
        n->shape = shape_of(4, f.batches, f.heads, f.queries, f.value_width + 1);
    else if (n->op == &op_desc_attention_grad_queries)
        n->shape = n->in[0]->shape;
    else if (n->op == &op_desc_attention_grad_keys)
        n->shape = shape_of(4, f.batches, f.key_heads, f.keys, f.width + f.value_width);
    else
        n->shape = n->in[f.mask]->shape;
    return true;
}

/* The last column, which the backward pass alone needs, has no gradient. */
static bool attention_vjp(graph *g, node *n, node *gy, node **gx) {
    attention_form f = attention_form_of(n);
    node *in[8], *grad = op_narrow(g, gy, 3, 0, f.value_width);
    node *result = op_narrow(g, n, 3, 0, f.value_width);
    int count = n->n_in;
    memcpy(in, n->in, (size_t)count * sizeof *in);
    in[count++] = grad;
    in[count++] = op_squeeze(g, op_narrow(g, n, 3, f.value_width, 1), 3);
    in[count++] = op_sum(g, op_map2(g, "mul", grad, result), 8, false);
    const op *kinds[3] = {&op_desc_attention_grad_queries, &op_desc_attention_grad_keys,
                          &op_desc_attention_grad_mask};
    bool wanted[3] = {n->in[0]->requires_grad, n->in[1]->requires_grad || n->in[2]->requires_grad,
                      f.mask >= 0 && n->in[f.mask]->requires_grad};
    node *made[3] = {0};
    for (int i = 0; i < 3; i++) {
        if (!wanted[i]) continue;
        made[i] = node_new(g, kinds[i], in, count, n->attr);
        if (!made[i]) return false;
        made[i]->n_dyn = n->n_dyn;
        memcpy(made[i]->dyn, n->dyn, sizeof n->dyn);
    }
    gx[0] = made[0];
    gx[1] = op_narrow(g, made[1], 3, 0, f.width);
    gx[2] = op_narrow(g, made[1], 3, f.width, f.value_width);
    if (f.mask >= 0) gx[f.mask] = made[2];
    return !g->error->code;
}

/* ---- Builder ------------------------------------------------------------------------------ */

static const char name[] = "scaled_dot_product_attention";

/* x as [B, H, rows, columns] in f32; what is missing in front is 1. */
static node *four(graph *g, node *x) {
    shape s = {.rank = 4, .dim = {1, 1, 1, 1}};
    int rank = x->shape.rank;
    for (int d = 0; d < rank; d++) {
        int to = d - rank + 4;
        s.dim[to < 0 ? 0 : to] *= x->shape.dim[d];
    }
    return op_reshape(g, op_cast(g, x, MARE_F32), &s);
}

/* A mask as what is added to scores, of four dimensions that stretch to [lead.., L, S]. */
static node *additive(graph *g, node *mask, const shape *scores) {
    char s[SHAPE_TEXT], t[SHAPE_TEXT];
    shape both, full = {.rank = scores->rank};
    if (!shape_broadcast(&mask->shape, scores, &both) || !shape_equal(&both, scores))
        return graph_fail(g, MARE_E_SHAPE, "%s: attn_mask %s does not stretch to %s", name,
                          shape_text(&mask->shape, s), shape_text(scores, t));
    if (mask->dtype != MARE_BOOL && !dtype_is_float(mask->dtype))
        return graph_fail(g, MARE_E_DTYPE, "%s: attn_mask is bool or float, not %s", name,
                          mare_dtype_name(mask->dtype));
    if (mask->dtype == MARE_BOOL)
        mask = op_map3(g, "where", mask, node_const(g, MARE_F32, 0),
                       node_const(g, MARE_F32, -INFINITY));
    int more = scores->rank - mask->shape.rank, extra = scores->rank - 4;
    bool ones = true;
    for (int d = 0; d < full.rank; d++)
        full.dim[d] = d < more ? 1 : mask->shape.dim[d - more];
    mask = op_reshape(g, mask, &full);
    /* Leading dimensions that become one are stretched first, unless all are 1. */
    for (int d = 0; d <= extra; d++)
        ones = ones && full.dim[d] == 1;
    for (int d = 0; d <= extra && !ones; d++)
        full.dim[d] = scores->dim[d];
    mask = op_expand(g, mask, &full);
    return mask ? four(g, mask) : NULL;
}

static bool check(graph *g, const node *q, const node *k, const node *v, bool gqa) {
    char a[SHAPE_TEXT], b[SHAPE_TEXT], c[SHAPE_TEXT];
    const shape *s[3] = {&q->shape, &k->shape, &v->shape};
    int rank = s[0]->rank;
    bool fits = rank >= 2 && s[1]->rank == rank && s[2]->rank == rank;
    for (int d = 0; fits && d < rank - 2; d++) {
        bool heads = gqa && d == rank - 3;
        fits = s[1]->dim[d] == s[2]->dim[d] &&
               (heads ? s[1]->dim[d] > 0 && s[0]->dim[d] % s[1]->dim[d] == 0
                      : s[0]->dim[d] == s[1]->dim[d]);
    }
    fits = fits && s[0]->dim[rank - 1] == s[1]->dim[rank - 1] &&
           s[1]->dim[rank - 2] == s[2]->dim[rank - 2];
    if (!fits)
        return graph_fail(
                   g, MARE_E_SHAPE,
                   "%s: query %s, key %s and value %s are not [.., Hq, L, E], [.., Hk, S, E] "
                   "and [.., Hk, S, Ev]%s",
                   name, shape_text(s[0], a), shape_text(s[1], b), shape_text(s[2], c),
                   gqa ? " with Hq a multiple of Hk" : " with Hq = Hk") != NULL;
    if (s[0]->dim[rank - 1] < 1 || s[0]->dim[rank - 1] > 256 || s[2]->dim[rank - 1] > 256)
        return graph_fail(g, MARE_E_SHAPE, "%s: heads of %lld and %lld are not within 1 to 256",
                          name, (long long)s[0]->dim[rank - 1],
                          (long long)s[2]->dim[rank - 1]) != NULL;
    for (int i = 0; i < 3; i++) {
        const node *x = i == 0 ? q : i == 1 ? k : v;
        if (!dtype_is_float(x->dtype))
            return graph_fail(g, MARE_E_DTYPE, "%s: floats are needed, not %s", name,
                              mare_dtype_name(x->dtype)) != NULL;
    }
    return true;
}

typedef struct attention_options {
    double dropout, scale; /* scale 0: 1 / sqrt(E) */
    bool causal, gqa;
    int64_t offset;
} attention_options;

static node *attention(graph *g, node *q, node *k, node *v, node *mask,
                       const attention_options *o) {
    if (!q || !k || !v || !check(g, q, k, v, o->gqa)) return NULL;
    if (!(o->dropout >= 0 && o->dropout < 1))
        return graph_fail(g, MARE_E_ARGUMENT, "%s: dropout_p %g is not in [0, 1)", name,
                          o->dropout);
    int rank = q->shape.rank;
    shape scores = q->shape, out = q->shape;
    int64_t keys = k->shape.dim[rank - 2], width = v->shape.dim[rank - 1];
    scores.dim[rank - 1] = keys;
    out.dim[rank - 1] = width;
    if (mask && !(mask = additive(g, mask, &scores))) return NULL;
    attention_attr a = {.scale =
                            o->scale != 0 ? o->scale : 1 / sqrt((double)q->shape.dim[rank - 1]),
                        .dropout = o->dropout,
                        .has_mask = mask != NULL,
                        .causal = o->causal};
    node *in[5] = {four(g, q), four(g, k), four(g, v)}, *y;
    int n = 3;
    if (shape_count(&scores) == 0 || width == 0) { /* sums of nothing */
        bool same = q->shape.dim[rank > 2 ? rank - 3 : 0] == k->shape.dim[rank > 2 ? rank - 3 : 0];
        if (rank > 2 && !same) in[1] = in[2] = NULL;
        y = in[1] ? op_matmul(g, op_matmul(g, in[0], op_transpose(g, in[1], 2, 3)), in[2])
                  : op_full(g, MARE_F32, &out, 0);
        y = op_reshape(g, y, &out);
        return y ? op_float_like(g, y, q) : NULL;
    }
    if (mask) in[n++] = mask;
    int64_t far = (int64_t)1 << 30;
    int64_t offset = o->offset > far ? far : o->offset < -far ? -far : o->offset;
    if (o->causal) in[n++] = node_const(g, MARE_I32, (double)offset);
    y = node_new(g, &op_desc_attention, in, n, &a);
    if (y && o->dropout > 0) {
        /* The words that uniform numbers for the weights would come from. */
        shape fours = scores;
        fours.dim[rank - 1] = (keys + 3) / 4 * 4;
        node *stream = op_uniform(g, &fours, 0, 1);
        if (!stream) return NULL;
        y->n_dyn = stream->n_dyn;
        memcpy(y->dyn, stream->dyn, sizeof y->dyn);
    }
    y = op_reshape(g, op_narrow(g, y, 3, 0, width), &out);
    return y ? op_float_like(g, y, q) : NULL;
}

/* ---- Cases -------------------------------------------------------------------------------- */

static node *plain(graph *g, node **in) {
    return attention(g, in[0], in[1], in[2], NULL, &(attention_options){0});
}
static node *causal(graph *g, node **in) {
    return attention(g, in[0], in[1], in[2], NULL,
                     &(attention_options){.causal = true, .scale = 0.7});
}
/* The last query sees the last key. */
static node *aligned(graph *g, node **in) {
    int64_t offset = in[1]->shape.dim[2] - in[0]->shape.dim[2];
    return attention(g, in[0], in[1], in[2], NULL,
                     &(attention_options){.causal = true, .gqa = true, .offset = offset});
}
/* The first queries see nothing. */
static node *blind(graph *g, node **in) {
    return attention(g, in[0], in[1], in[2], NULL,
                     &(attention_options){.causal = true, .offset = -2});
}
static node *masked(graph *g, node **in) {
    return attention(g, in[0], in[1], in[2], in[3], &(attention_options){.gqa = true});
}
static node *dropped(graph *g, node **in) {
    g->random.next = 0xfffffffau; /* the counter's high word is used */
    return attention(
        g, in[0], in[1], in[2], in[3],
        &(attention_options){.gqa = true, .dropout = 0.3, .causal = true, .offset = 3});
}

#define CASE(f, ...)                                                                               \
    { .n_in = 3, .in = {__VA_ARGS__}, .lo = -1, .hi = 1, .build = f }
#define MASKED(f, t, l, h, ...)                                                                    \
    {                                                                                              \
        .n_in = 4, .in = {__VA_ARGS__}, .lo = -1, .hi = 1, .build = f, .dtype = {0, 0, 0, t},      \
        .lo_in = {0, 0, 0, l}, .hi_in = {                                                          \
            0,                                                                                     \
            0,                                                                                     \
            0,                                                                                     \
            h                                                                                      \
        }                                                                                          \
    }
static const op_case attention_cases[] = {
    CASE(plain, SHAPE4(2, 1, 5, 3), SHAPE4(2, 1, 7, 3), SHAPE4(2, 1, 7, 2)),
    CASE(plain, SHAPE4(1, 2, 17, 9), SHAPE4(1, 2, 37, 9), SHAPE4(1, 2, 37, 5)),
    CASE(plain, SHAPE2(1, 1), SHAPE2(1, 1), SHAPE2(1, 1)),
    CASE(plain, SHAPE3(2, 3, 2), SHAPE3(2, 0, 2), SHAPE3(2, 0, 3)),
    CASE(plain, SHAPE3(2, 0, 2), SHAPE3(2, 3, 2), SHAPE3(2, 3, 3)),
    CASE(causal, SHAPE3(2, 19, 4), SHAPE3(2, 19, 4), SHAPE3(2, 19, 33)),
    CASE(aligned, SHAPE4(1, 4, 2, 4), SHAPE4(1, 2, 70, 4), SHAPE4(1, 2, 70, 3)),
    CASE(blind, SHAPE3(1, 6, 2), SHAPE3(1, 5, 2), SHAPE3(1, 5, 2)),
    MASKED(masked, MARE_F32, -1, 1, SHAPE4(2, 2, 3, 4), SHAPE4(2, 1, 6, 4), SHAPE4(2, 1, 6, 3),
           SHAPE4(2, 1, 1, 6)),
    MASKED(masked, MARE_BOOL, 0, 1, SHAPE4(1, 2, 3, 4), SHAPE4(1, 2, 6, 4), SHAPE4(1, 2, 6, 3),
           SHAPE2(3, 6)),
    MASKED(dropped, MARE_F32, -1, 1, SHAPE4(1, 4, 5, 2), SHAPE4(1, 2, 9, 2), SHAPE4(1, 2, 9, 3),
           SHAPE3(4, 5, 9)),
    {.n_in = 3,
     .in = {SHAPE3(2, 3, 4), SHAPE3(2, 5, 4), SHAPE3(2, 5, 4)},
     .lo = -1,
     .hi = 1,
     .build = plain,
     .dtype = {MARE_F16, MARE_F16, MARE_F16}},
    {0}};

/* The gradient by one input, which is what its op makes. */
static node *gradient(graph *g, node **in, int by, node *mask) {
    node *gx[4] = {0}, *x[4] = {in[0], in[1], in[2], mask};
    attention_options o = {.causal = true, .offset = 2, .dropout = mask ? 0.25 : 0};
    node *y = attention(g, in[0], in[1], in[2], mask, &o);
    if (!y || graph_grad(g, y, in[3], x, mask ? 4 : 3, gx) != MARE_OK) return NULL;
    return gx[by];
}
static node *by_query(graph *g, node **in) {
    return gradient(g, in, 0, NULL);
}
static node *by_key(graph *g, node **in) {
    return gradient(g, in, 1, NULL);
}
static node *by_value(graph *g, node **in) {
    return gradient(g, in, 2, NULL);
}
static node *by_mask(graph *g, node **in) {
    return gradient(g, in, 3, in[4]);
}
#define SMALL SHAPE3(2, 4, 2), SHAPE3(2, 5, 2), SHAPE3(2, 5, 3), SHAPE3(2, 4, 3)
#define GRAD_CASE(f, n, ...)                                                                       \
    { .n_in = n, .in = {__VA_ARGS__}, .lo = -1, .hi = 1, .build = f }
static const op_case queries_cases[] = {GRAD_CASE(by_query, 4, SMALL), {0}};
static const op_case keys_cases[] = {
    GRAD_CASE(by_key, 4, SMALL), GRAD_CASE(by_value, 4, SMALL), {0}};
static const op_case mask_cases[] = {
    GRAD_CASE(by_mask, 5, SMALL, SHAPE2(4, 5)), GRAD_CASE(by_mask, 5, SMALL, SHAPE3(2, 1, 5)), {0}};

/* ---- Descriptors -------------------------------------------------------------------------- */

#define DESCRIPTOR(id, about, grad, list)                                                          \
    const op op_desc_##id = {.name = #id,                                                          \
                             .at = OP_HERE,                                                        \
                             .dtypes = FLOAT_DTYPES,                                               \
                             .doc = about,                                                         \
                             .attr_size = sizeof(attention_attr),                                  \
                             .infer = attention_infer,                                             \
                             .vjp = grad,                                                          \
                             .lower = attention_lower,                                             \
                             .ref = attention_ref,                                                 \
                             .cases = list,                                                        \
                             .smooth = true};
DESCRIPTOR(attention,
           "query, key, value, mask -> softmax(scale q k + mask) v, and in the last "
           "column the logarithm of the sum",
           attention_vjp, attention_cases)
DESCRIPTOR(attention_grad_queries, "the gradient of attention's queries", attention_grad_vjp,
           queries_cases)
DESCRIPTOR(attention_grad_keys, "the gradients of attention's keys and values, side by side",
           attention_grad_vjp, keys_cases)
DESCRIPTOR(attention_grad_mask, "the gradient of attention's additive mask", attention_grad_vjp,
           mask_cases)

/* ---- Calls -------------------------------------------------------------------------------- */

static const call_arg attention_args[] = {NEED_TENSOR("query"),
                                          NEED_TENSOR("key"),
                                          NEED_TENSOR("value"),
                                          TENSOR_OPT("attn_mask"),
                                          NUMBER_OPT("dropout_p", 0),
                                          FLAG_OPT("is_causal", false),
                                          NUMBER_OPT("scale", 0),
                                          FLAG_OPT("enable_gqa", false),
                                          INTEGER_OPT("causal_offset", 0),
                                          END_ARGS};

static bool build_attention(graph *g, const call_value *v, node **out) {
    attention_options o = {.dropout = v[4].number,
                           .causal = v[5].integer,
                           .scale = v[6].number,
                           .gqa = v[7].integer,
                           .offset = v[8].integer};
    return (out[0] = attention(g, v[0].tensor, v[1].tensor, v[2].tensor, v[3].tensor, &o)) != NULL;
}

const op_call op_calls_attention[] = {
    {name,
     "softmax(query key^T scale + mask) value in tiles, without the matrix of weights (Dao et al. "
     "2022, 2023). query [.., Hq, L, E], key [.., Hk, S, E], value [.., Hk, S, Ev], heads of at "
     "most 256; Hq is a multiple of Hk with enable_gqa, else equal. attn_mask stretches to [.., "
     "Hq, L, S]: bool (true: seen), or added to the scores. scale 0: 1 / sqrt(E). is_causal: query "
     "i sees the keys 0 to i + causal_offset; S - L lets the last query see the last key. A query "
     "that sees no key gives 0. Gradients of gradients are made of whole matrices.",
     attention_args, NULL, build_attention, OP_AT},
    {0},
};
