/* The gradient of attention's gradients. It is rare (gradient penalties, Hessians), and made of
 * whole matrices of weights, [B, Hq, L, S]. */
#include "ops/attention.h"
#include "ops/internal.h"

#include <math.h>
#include <string.h>

/* Keys or values, each as often as query heads share it: [B, Hq, S, width]. */
static node *repeated(graph *g, const attention_form *f, node *x) {
    if (f->repeat == 1 || !x) return x;
    shape wide = shape_of(5, f->batches, f->key_heads, f->repeat, f->keys, x->shape.dim[3]);
    shape flat = shape_of(4, f->batches, f->heads, f->keys, x->shape.dim[3]);
    return op_reshape(g, op_expand(g, op_unsqueeze(g, x, 2), &wide), &flat);
}

/* Back from [B, Hq, S, width] to the heads of keys. */
static node *gathered(graph *g, const attention_form *f, node *x) {
    if (f->repeat == 1 || !x) return x;
    shape wide = shape_of(5, f->batches, f->key_heads, f->repeat, f->keys, x->shape.dim[3]);
    return op_sum(g, op_reshape(g, x, &wide), 4, false);
}

static node *times(graph *g, node *a, node *b) {
    return op_map2(g, "mul", a, b);
}

static node *turned(graph *g, node *a) {
    return op_transpose(g, a, 2, 3);
}

static node *row_sum(graph *g, node *a) {
    return op_sum(g, a, 8, true);
}

/* a + b, where a may be null. */
static node *plus(graph *g, node *a, node *b) {
    return a ? op_map2(g, "add", a, b) : b;
}

/* What dropout makes of each weight; null without dropout. */
static node *kept(graph *g, const node *n, const attention_form *f) {
    double p = OP_ATTR(attention_attr, n)->dropout;
    if (!(p > 0)) return NULL;
    shape fours = shape_of(4, f->batches, f->heads, f->queries, (f->keys + 3) / 4 * 4);
    node *u = op_uniform(g, &fours, 0, 1);
    if (!u) return NULL;
    memcpy(u->dyn, n->dyn, sizeof u->dyn);
    double least = floor(p * 16777216.0) / 16777216.0;
    node *stays = op_map_scalar(g, "ge", op_narrow(g, u, 3, 0, f->keys), least);
    return op_map_scalar(g, "mul", op_cast(g, stays, MARE_F32), 1 / (1 - p));
}

/* The weights, [B, Hq, L, S]; 0 in rows that see nothing. */
static node *weights(graph *g, const node *n, const attention_form *f, node *key) {
    const attention_attr *a = OP_ATTR(attention_attr, n);
    node *lowest = node_const(g, MARE_F32, -INFINITY);
    node *x = op_map_scalar(g, "mul", op_matmul(g, n->in[0], turned(g, key)), a->scale);
    if (f->mask >= 0) x = op_map2(g, "add", x, n->in[f->mask]);
    if (a->causal) {
        node *i = op_unsqueeze(g, op_arange(g, MARE_I32, 0, 1, f->queries), 1);
        i = op_map2(g, "add", i, n->in[f->offset]);
        node *j = op_arange(g, MARE_I32, 0, 1, f->keys);
        x = op_map3(g, "where", op_map2(g, "le", j, i), x, lowest);
    }
    node *blind = op_map2(g, "eq", op_max(g, x, 8, true), lowest);
    node *zero = node_const(g, MARE_F32, 0);
    node *p = op_softmax(g, op_map3(g, "where", blind, zero, x), 3);
    return op_map3(g, "where", blind, zero, p);
}

/* With weights P, kept Z, dP = Z (g v'), D the rows' sums of P dP and dS = P (dP - D), the
 * gradients are  dq = s dS k,  dk = s dS' q,  dv = (P Z)' g  and  dmask = dS.  Their products with
 * h are f = sum W dS + sum Y Z P,  W = s (hq k' + q hk') + hmask,  Y = g hv'. D and the sums behind
 * P depend on the other inputs; their own inputs get no gradient. */
bool attention_grad_vjp(graph *g, node *n, node *h, node **gx) {
    attention_form f = attention_form_of(n);
    double scale = OP_ATTR(attention_attr, n)->scale;
    node *q = n->in[0], *grad = n->in[f.grad];
    node *k = repeated(g, &f, n->in[1]), *v = repeated(g, &f, n->in[2]);
    node *hq = NULL, *hk = NULL, *hv = NULL, *w = NULL, *y = NULL;
    if (n->op == &op_desc_attention_grad_queries) {
        hq = h;
        w = op_map_scalar(g, "mul", op_matmul(g, hq, turned(g, k)), scale);
    } else if (n->op == &op_desc_attention_grad_keys) {
        hk = repeated(g, &f, op_narrow(g, h, 3, 0, f.width));
        hv = repeated(g, &f, op_narrow(g, h, 3, f.width, f.value_width));
        w = op_map_scalar(g, "mul", op_matmul(g, q, turned(g, hk)), scale);
        y = op_matmul(g, grad, turned(g, hv));
    } else {
        shape full = shape_of(4, f.batches, f.heads, f.queries, f.keys);
        w = op_expand(g, h, &full);
    }
    node *p = weights(g, n, &f, k), *z = kept(g, n, &f);
    node *dp = op_matmul(g, grad, turned(g, v));
    if (z) {
        dp = times(g, dp, z);
        y = y ? times(g, y, z) : NULL;
    }
    node *away = op_map2(g, "sub", dp, row_sum(g, times(g, p, dp)));
    node *ds = times(g, p, away);
    /* The slopes of f by dP and by P, and from there by the scores. */
    node *mean = row_sum(g, times(g, p, w));
    node *by_dp = times(g, p, op_map2(g, "sub", w, mean));
    if (z) by_dp = times(g, by_dp, z);
    node *by_p = op_map2(g, "sub", times(g, w, away), times(g, mean, dp));
    if (y) by_p = op_map2(g, "add", by_p, y);
    node *by_x = times(g, p, op_map2(g, "sub", by_p, row_sum(g, times(g, p, by_p))));
    node *by_q = op_matmul(g, by_x, k), *by_k = op_matmul(g, turned(g, by_x), q);
    if (hk) by_q = plus(g, by_q, op_matmul(g, ds, hk));
    if (hq) by_k = plus(g, by_k, op_matmul(g, turned(g, ds), hq));
    gx[0] = op_map_scalar(g, "mul", by_q, scale);
    gx[1] = gathered(g, &f, op_map_scalar(g, "mul", by_k, scale));
    gx[2] = gathered(g, &f, op_matmul(g, turned(g, by_dp), grad));
    if (f.mask >= 0) gx[f.mask] = op_sum_to(g, by_x, &n->in[f.mask]->shape);
    node *by_grad = op_matmul(g, by_dp, v);
    if (hv) by_grad = plus(g, by_grad, op_matmul(g, z ? times(g, p, z) : p, hv));
    gx[f.grad] = by_grad;
    return !g->error->code;
}
