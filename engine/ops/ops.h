/* The vocabulary: builders that add nodes to the graph. See graph.h for scopes and errors: every
 * builder returns a borrowed node, or null with the reason in g->error. One file per family.
 * Axes count from 0, negative from the end. */
#ifndef MARE_OPS_OPS_H
#define MARE_OPS_OPS_H

#include "graph/graph.h"

/* init.c: a graph with this vocabulary. */
void ops_graph_init(graph *g, mare_error *e);

/* registry.c: every op, ends with null. */
extern const op *const op_table[];
const op *op_find(const char *name);

/* elementwise.c: rows by name ("add", "exp", ...), 1 to 3 inputs with broadcasting; dtypes are
 * promoted (bool < u8 < i32 < f16 < f32; rows that need floats take integers to f32). */
node *op_map(graph *g, const char *name, node *const *in, int n_in);
node *op_map1(graph *g, const char *name, node *a);
node *op_map2(graph *g, const char *name, node *a, node *b);
node *op_map3(graph *g, const char *name, node *a, node *b, node *c);
/* With a number as the second input. */
node *op_map_scalar(graph *g, const char *name, node *a, double b);
/* Number of inputs when o is an elementwise row, else 0. */
int op_map_arity(const op *o);
node *op_cast(graph *g, node *a, mare_dtype t);
/* Parses an expression of the row language over named nodes into graph nodes: "a * exp(b)". */
node *op_expr(graph *g, const char *expr, const char *const *names, node *const *nodes, int n);

/* reduce.c: over the axes in a bit mask (bit i: axis i; 0 means all), keepdim keeps them as 1. */
node *op_sum(graph *g, node *a, uint32_t axes, bool keepdim);
node *op_prod(graph *g, node *a, uint32_t axes, bool keepdim);
node *op_max(graph *g, node *a, uint32_t axes, bool keepdim);
node *op_min(graph *g, node *a, uint32_t axes, bool keepdim);
node *op_mean(graph *g, node *a, uint32_t axes, bool keepdim);
node *op_var(graph *g, node *a, uint32_t axes, bool keepdim, double correction);
node *op_logsumexp(graph *g, node *a, uint32_t axes, bool keepdim);
/* Position (0-based, i32) of the first largest or smallest element along an axis. */
node *op_argmax(graph *g, node *a, int axis, bool keepdim);
node *op_argmin(graph *g, node *a, int axis, bool keepdim);
/* Sums a down to shape s (the reverse of broadcasting). */
node *op_sum_to(graph *g, node *a, const shape *s);
/* Bit mask of axes from a list; n == 0: all. Fails on a bad or repeated axis. */
bool op_axes(graph *g, const char *call, const node *a, const int *axes, int n, uint32_t *mask);

/* movement.c */
node *op_reshape(graph *g, node *a, const shape *s); /* one dim may be -1 */
node *op_permute(graph *g, node *a, const int *axes, int n);
node *op_transpose(graph *g, node *a, int axis0, int axis1);
node *op_expand(graph *g, node *a, const shape *s);
/* start:stop:step along every axis, as Python's slices: step may be negative, not 0. */
node *op_slice(graph *g, node *a, const int64_t *start, const int64_t *stop, const int64_t *step);
node *op_narrow(graph *g, node *a, int axis, int64_t start, int64_t length);
node *op_flip(graph *g, node *a, uint32_t axes);
/* before[i] and after[i] elements of `value` around axis i; negative ones crop. */
node *op_pad(graph *g, node *a, const int64_t *before, const int64_t *after, double value);
node *op_concat(graph *g, node *const *in, int n, int axis);
node *op_stack(graph *g, node *const *in, int n, int axis);
node *op_squeeze(graph *g, node *a, int axis);
node *op_unsqueeze(graph *g, node *a, int axis);
node *op_contiguous(graph *g, node *a); /* a row-major copy, or a itself */
node *op_detach(graph *g, node *a);     /* same value, no gradient */

/* index.c: indices are 0-based i32 (u8 is widened), checked against the axis. */
node *op_take(graph *g, node *a, node *index, int axis); /* shape: index's in place of the axis */
node *op_one_hot(graph *g, node *index, int64_t classes, mare_dtype t);

/* create.c */
node *op_full(graph *g, mare_dtype t, const shape *s, double value);
node *op_arange(graph *g, mare_dtype t, double start, double step, int64_t n);

/* matmul.c: batched, broadcasting over the leading axes; vectors as in NumPy. */
node *op_matmul(graph *g, node *a, node *b);

/* conv.c: x [N, C, H, W], w [O, C / groups, kh, kw], bias [O] or null. */
typedef struct conv_options {
    int64_t stride[2], padding[2], dilation[2], groups;
} conv_options;
node *op_conv2d(graph *g, node *x, node *w, node *bias, const conv_options *o);

/* pool.c: x [N, C, H, W]. */
typedef struct pool_options {
    int64_t kernel[2], stride[2], padding[2], dilation[2];
    bool ceil_mode, count_include_pad;
} pool_options;
node *op_max_pool2d(graph *g, node *x, const pool_options *o);
node *op_avg_pool2d(graph *g, node *x, const pool_options *o);

/* softmax.c */
node *op_softmax(graph *g, node *a, int axis);
node *op_log_softmax(graph *g, node *a, int axis);

/* compose.c: made of the ops above. */
typedef enum reduction { REDUCE_MEAN, REDUCE_SUM, REDUCE_NONE } reduction;
/* logits [N, C, ...], target: class indices [N, ...] (i32, u8) or probabilities like logits. */
node *op_cross_entropy(graph *g, node *logits, node *target, double label_smoothing, reduction r);
node *op_nll_loss(graph *g, node *log_probs, node *target, reduction r);
node *op_mse_loss(graph *g, node *a, node *b, reduction r);
node *op_l1_loss(graph *g, node *a, node *b, reduction r);
node *op_bce_loss(graph *g, node *p, node *target, reduction r);
node *op_bce_with_logits(graph *g, node *logits, node *target, reduction r);
/* x [N, C, ...]; mean and var [C]; gamma and beta [C] or null. */
node *op_batch_norm(graph *g, node *x, node *mean, node *var, node *gamma, node *beta, double eps);

/* random.c: one Philox stream a context; each call draws its own counters. */
node *op_uniform(graph *g, const shape *s, double lo, double hi);
node *op_normal(graph *g, const shape *s, double mean, double std);
node *op_bernoulli(graph *g, node *p);  /* 1 with probability p, else 0; shape of p; bool */
node *op_randperm(graph *g, int64_t n); /* i32, a random order of 0..n-1 */

#endif
