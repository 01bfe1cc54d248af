/* Scaled dot product attention as an op with its gradients: see attention.c. */
#ifndef MARE_OPS_ATTENTION_H
#define MARE_OPS_ATTENTION_H

#include "graph/graph.h"
#include "plan/lower.h"

/* Inputs: query [B, Hq, L, E], key [B, Hk, S, E], value [B, Hk, S, Ev] in f32; with has_mask what
 * is added to the scores, of four dimensions that stretch to [B, Hq, L, S]; when causal the offset,
 * a constant: query i sees the keys 0..i + offset. The gradients take the result's gradient [B, Hq,
 * L, Ev] next, then lse and delta [B, Hq, L]: the logarithms of the sums of exp(score), and the
 * sums of gradient times result. A node with dropout has the stream's words in dyn, as `uniform`
 * has. */
typedef struct attention_attr {
    double scale, dropout;
    uint32_t has_mask, causal;
} attention_attr;

/* Sizes and places of the inputs. */
typedef struct attention_form {
    int64_t batches, heads, key_heads, queries, keys, width, value_width;
    int64_t repeat;                     /* query heads a key head */
    int mask, offset, grad, lse, delta; /* which input; -1: none */
} attention_form;

attention_form attention_form_of(const node *n);

/* attention_lower.c */
mare_status attention_lower(lowering *l, const node *n, const operand *in, const operand *out);
/* attention_ref.c */
void attention_ref(const node *n, const double *const *in, double *out);
/* attention_second.c: the gradient of the gradients, made of dense matrices. */
bool attention_grad_vjp(graph *g, node *n, node *h, node **gx);

#endif
