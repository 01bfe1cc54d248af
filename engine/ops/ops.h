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
/* Does the op's builder take tensors of dtype t? */
bool op_takes(const op *o, mare_dtype t);

/* elementwise.c: rows by name ("add", "exp", ...), 1 to 3 inputs with broadcasting; dtypes are
 * promoted (see dtype_promote(); rows that need floats take integers to f32). */
node *op_map(graph *g, const char *name, node *const *in, int n_in);
node *op_map1(graph *g, const char *name, node *a);
node *op_map2(graph *g, const char *name, node *a, node *b);
node *op_map3(graph *g, const char *name, node *a, node *b, node *c);
/* With a number as the second input. */
node *op_map_scalar(graph *g, const char *name, node *a, double b);
/* A constant of the narrowest dtype that holds it: i32 for whole numbers, else f32. */
node *op_constant(graph *g, double v);
/* Number of inputs when o is an elementwise row, else 0. */
int op_map_arity(const op *o);
/* Has o a gradient that is not always 0? */
bool op_has_gradient(const op *o);
/* Why no gradient comes back of o where floats go in and come out; null where one does, or where
 * nobody said why. */
const char *op_no_gradient(const op *o);
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
/* a with value, stretched and in a's dtype, in place of that slice. */
node *op_put_slice(graph *g, node *a, node *value, const int64_t *start, const int64_t *stop,
                   const int64_t *step);
node *op_narrow(graph *g, node *a, int axis, int64_t start, int64_t length);
node *op_flip(graph *g, node *a, uint32_t axes);
/* before[i] and after[i] elements of `value` around axis i; negative ones crop. */
node *op_pad(graph *g, node *a, const int64_t *before, const int64_t *after, double value);
/* pad.c: the same in a mode: a constant; mirrored at the border elements; those repeated; going on
 * at the other end. Errors name `call`. */
typedef enum pad_mode { PAD_CONSTANT, PAD_REFLECT, PAD_REPLICATE, PAD_CIRCULAR } pad_mode;
#define PAD_MODES "constant reflect replicate circular"
node *op_pad_mode(graph *g, const char *call, node *a, const int64_t *before, const int64_t *after,
                  pad_mode mode, double value);
node *op_concat(graph *g, node *const *in, int n, int axis);
node *op_stack(graph *g, node *const *in, int n, int axis);
node *op_squeeze(graph *g, node *a, int axis);
node *op_unsqueeze(graph *g, node *a, int axis);
node *op_contiguous(graph *g, node *a); /* a row-major copy, or a itself */
node *op_detach(graph *g, node *a);     /* same value, no gradient */

/* autodiff.c. y as the result of a function of the inputs: `backward` (a reference of it is taken
 * over, also on failure) makes their n gradients of y's. */
node *op_custom(graph *g, node *y, node *const *in, int n, callback *backward);
/* y, where what was made since g->made was `start` is computed again in the backward pass, instead
 * of being kept for it. */
node *op_checkpoint(graph *g, node *y, uint64_t start);

/* index.c: indices are 0-based integers, checked against the axis. */
node *op_take(graph *g, node *a, node *index, int axis); /* shape: index's in place of the axis */
node *op_one_hot(graph *g, node *index, int64_t classes, mare_dtype t);

/* create.c */
node *op_full(graph *g, mare_dtype t, const shape *s, double value);
node *op_arange(graph *g, mare_dtype t, double start, double step, int64_t n);

/* matmul.c: batched, broadcasting over the leading axes; vectors as in NumPy; i32 of integers. */
node *op_matmul(graph *g, node *a, node *b);

/* conv_call.c: convolutions over `axes` axes, 1 to 3; entries of options for each of them. */
typedef struct conv_options {
    int64_t stride[3], padding[3], dilation[3], groups;
    int64_t more[3]; /* padding behind the last element that there is more than before the first;
                        of a transposed convolution: elements of the result behind the last */
} conv_options;
/* x [N, C, ...] or [C, ...], w [O, C / groups, ...], bias [O] or null. */
node *op_conv(graph *g, int axes, node *x, node *w, node *bias, const conv_options *o);
/* x [N, C, ...] or [C, ...], w [C, O / groups, ...], bias [O] or null. */
node *op_conv_transpose(graph *g, int axes, node *x, node *w, node *bias, const conv_options *o);

/* pool.c: over the last axes (1 to 3 of them) of x [N, C, ...] or [C, ...]; options in the order of
 * these axes. */
typedef struct pool_options {
    int64_t kernel[3], stride[3], padding[3], dilation[3];
    bool ceil_mode, count_include_pad;
    int64_t divisor;     /* of averages, in place of a window's size; 0: none */
    int64_t adaptive[3]; /* sizes of the result in place of windows, -1: as x; 0: not adaptive */
} pool_options;
node *op_max_pool(graph *g, node *x, int axes, const pool_options *o);
node *op_max_pool_at(graph *g, node *x, int axes, const pool_options *o); /* i32, row by row */
node *op_avg_pool(graph *g, node *x, int axes, const pool_options *o);

/* softmax.c */
node *op_softmax(graph *g, node *a, int axis);
node *op_log_softmax(graph *g, node *a, int axis);
node *op_logsumexp(graph *g, node *a, uint32_t axes, bool keepdim); /* axes as op_sum()'s */

/* sort.c: places (0-based, i32) of the elements along an axis in their order; stable, NaN counts as
 * largest. */
node *op_argsort(graph *g, node *a, int axis, bool descending);
/* order.c */
node *op_sort(graph *g, node *a, int axis, bool descending);
/* search.c: where each value would be put into a sorted row, before or behind equal elements: i32;
 * sorted [n] for all, or [..., n] for values [..., m]. */
node *op_searchsorted(graph *g, node *sorted, node *values, bool right);

/* scan.c: running sums and the like along an axis. */
node *op_cumsum(graph *g, node *a, int axis);
node *op_cumprod(graph *g, node *a, int axis);
node *op_logcumsumexp(graph *g, node *a, int axis);
/* Place (0-based, i32) of the last largest or smallest element so far. */
node *op_cummax(graph *g, node *a, int axis);
node *op_cummin(graph *g, node *a, int axis);

/* loss.c, loss_class.c: made of the ops above. */
typedef enum reduction { REDUCE_MEAN, REDUCE_SUM, REDUCE_NONE } reduction;
enum { NO_CLASS = -100 }; /* the ignore_index by default */
typedef struct class_loss {
    node *weight;           /* [C], or null */
    int64_t ignore_index;   /* labels that count nowhere */
    double label_smoothing; /* of op_cross_entropy() alone */
    reduction reduction;
} class_loss;
/* logits [N, C, ...], target: class indices [N, ...] or probabilities like logits. */
node *op_cross_entropy(graph *g, node *logits, node *target, const class_loss *o);
node *op_nll_loss(graph *g, node *log_probs, node *target, const class_loss *o);
node *op_mse_loss(graph *g, node *a, node *b, reduction r);
node *op_l1_loss(graph *g, node *a, node *b, reduction r);
node *op_bce_loss(graph *g, node *p, node *target, reduction r);
node *op_bce_with_logits(graph *g, node *logits, node *target, reduction r);

/* normalize.c: x [N, C, ...]; mean and var [C]; weight and bias [C] or null. */
node *op_batch_norm(graph *g, node *x, node *mean, node *var, node *weight, node *bias, double eps);

/* random.c: one Philox stream a context; each call draws its own counters. */
node *op_uniform(graph *g, const shape *s, double lo, double hi);
node *op_normal(graph *g, const shape *s, double mean, double std);
node *op_bernoulli(graph *g, node *p); /* 1 with probability p, else 0; shape of p; bool */
node *op_randint(graph *g, const shape *s, int64_t low, int64_t high); /* i32 in low..high-1 */
/* a / (1 - p), or 0 with probability p. */
node *op_dropout(graph *g, node *a, double p);
node *op_randperm(graph *g, int64_t n); /* i32, a random order of 0..n-1 */

#endif
