/* What the files of ops/ share. A new op adds its name to OP_DESCRIBED and defines
 * `const op op_desc_<name>`; a new elementwise op is a row in rows.h instead. */
#ifndef MARE_OPS_INTERNAL_H
#define MARE_OPS_INTERNAL_H

#include "ops/call.h"
#include "ops/ops.h"

/* Each op with a descriptor of its own, by file. */
#define OP_DESCRIBED(X)                                                                            \
    X(cast)                                                                                        \
    X(full)                                                                                        \
    X(arange)                                                                                      \
    X(sum)                                                                                         \
    X(prod)                                                                                        \
    X(max)                                                                                         \
    X(min)                                                                                         \
    X(argmax)                                                                                      \
    X(argmin)                                                                                      \
    X(argsort)                                                                                     \
    X(searchsorted)                                                                                \
    X(cumsum)                                                                                      \
    X(cumprod)                                                                                     \
    X(logcumsumexp)                                                                                \
    X(cummax)                                                                                      \
    X(cummin)                                                                                      \
    X(softmax)                                                                                     \
    X(log_softmax)                                                                                 \
    X(uniform)                                                                                     \
    X(normal)                                                                                      \
    X(randint)                                                                                     \
    X(dropout)                                                                                     \
    X(randperm)                                                                                    \
    X(matmul)                                                                                      \
    X(conv)                                                                                        \
    X(conv_input)                                                                                  \
    X(conv_weight)                                                                                 \
    X(reshape)                                                                                     \
    X(permute)                                                                                     \
    X(expand)                                                                                      \
    X(slice)                                                                                       \
    X(contiguous)                                                                                  \
    X(detach)                                                                                      \
    X(custom)                                                                                      \
    X(after)                                                                                       \
    X(checkpoint)                                                                                  \
    X(embed)                                                                                       \
    X(put_slice)                                                                                   \
    X(solve)                                                                                       \
    X(slogdet)                                                                                     \
    X(cholesky)                                                                                    \
    X(windows)                                                                                     \
    X(concat)                                                                                      \
    X(take)                                                                                        \
    X(gather)                                                                                      \
    X(scatter_into)                                                                                \
    X(max_pool)                                                                                    \
    X(max_pool_at)                                                                                 \
    X(max_pool2x2_grad)                                                                            \
    X(max_pool_spread)                                                                             \
    X(max_pool_pick)                                                                               \
    X(avg_pool)                                                                                    \
    X(avg_pool_grad)                                                                               \
    X(ctc)                                                                                         \
    X(ctc_grad)                                                                                    \
    X(recurrence)                                                                                  \
    X(recurrence_grad)                                                                             \
    X(norm_rows)                                                                                   \
    X(norm_rows_grad)                                                                              \
    X(norm_moments)                                                                                \
    X(norm_sums)                                                                                   \
    X(sample)                                                                                      \
    X(sample_spread)                                                                               \
    X(sample_dot)                                                                                  \
    X(sample_lists)                                                                                \
    X(sample_last)                                                                                 \
    X(nms)                                                                                         \
    X(attention)                                                                                   \
    X(attention_grad_queries)                                                                      \
    X(attention_grad_keys)                                                                         \
    X(attention_grad_mask)

#define OP_DECLARE(name) extern const op op_desc_##name;
OP_DESCRIBED(OP_DECLARE)

/* Each file with calls, as `const op_call op_calls_<family>[]`, which ends with {0}. */
#define OP_CALL_FAMILIES(X)                                                                        \
    X(softmax)                                                                                     \
    X(conv)                                                                                        \
    X(pad)                                                                                         \
    X(fold)                                                                                        \
    X(pool)                                                                                        \
    X(interpolate)                                                                                 \
    X(vision)                                                                                      \
    X(grid_sample)                                                                                 \
    X(unpool)                                                                                      \
    X(roi)                                                                                         \
    X(boxes)                                                                                       \
    X(sort)                                                                                        \
    X(scan)                                                                                        \
    X(order)                                                                                       \
    X(search)                                                                                      \
    X(statistics)                                                                                  \
    X(pointwise)                                                                                   \
    X(arrange)                                                                                     \
    X(contract)                                                                                    \
    X(diagonal)                                                                                    \
    X(distance)                                                                                    \
    X(einsum)                                                                                      \
    X(place)                                                                                       \
    X(solve)                                                                                       \
    X(mask)                                                                                        \
    X(create)                                                                                      \
    X(window)                                                                                      \
    X(loss)                                                                                        \
    X(loss_class)                                                                                  \
    X(loss_metric)                                                                                 \
    X(loss_box)                                                                                    \
    X(crf)                                                                                         \
    X(ctc)                                                                                         \
    X(recurrent)                                                                                   \
    X(normalize)                                                                                   \
    X(distribution)                                                                                \
    X(dropout)                                                                                     \
    X(attention)                                                                                   \
    X(decode)

#define OP_CALLS_DECLARE(family) extern const op_call op_calls_##family[];
OP_CALL_FAMILIES(OP_CALLS_DECLARE)

/* cast.c: y in the dtype of a where that is a float: what was computed in f32 for a half-precision
 * operand becomes half again. */
node *op_float_like(graph *g, node *y, const node *a);

/* reduce.c: a mask of axes without any names them all; refused when it names one that a lacks. */
bool op_all_axes(graph *g, const char *call, const node *a, uint32_t *axes);

/* arrange.c: moved on by shift along an axis, what falls off coming in at the other end; each
 * element, or all of them as a whole, so many times along an axis. */
node *op_roll(graph *g, node *x, int axis, int64_t shift);
node *op_repeat(graph *g, node *x, int axis, int64_t times, bool each);

/* window.c: windows of a size, a step apart along an axis, as a new last axis. */
node *op_windows(graph *g, node *a, int axis, int64_t size, int64_t step);

/* diagonal.c: the diagonal of two axes, offset steps above the main one, as the last axis. */
node *op_diagonal(graph *g, node *x, int64_t offset, int axis1, int axis2);

/* contract.c: x [..., in] times weight [out, in] transposed, plus bias [out] or null. */
node *op_linear(graph *g, node *x, node *weight, node *bias);

/* solve.c: of square matrices. */
node *op_inverse(graph *g, node *a);

/* einsum.c: "ij,jk->ik"; see its call. */
node *op_einsum(graph *g, const char *equation, node *const *in, int n);

/* pool_calls.c: reads kernel_size, stride and padding, which follow each other in v. */
bool pool_window(graph *g, const char *call, const call_value *v, int axes, pool_options *o);
// clang-format off
#define NEED_KERNEL {.name = "kernel_size", .also = "kernel", .kind = ARG_INTEGERS}
// clang-format on

/* distance.c: the p-norm of d (f32) along its last axis; the gradient at 0 is 0. */
node *op_p_norm(graph *g, node *d, double p, bool keepdim);
/* Each vector of x (f32) along an axis over its own length, which is held above eps. */
node *op_direction(graph *g, node *x, int axis, double eps);

struct lowering;
struct operand;

/* movement.c: the result has the first input's dtype and range. */
void op_same_value(node *n);
/* The copy of a view op: its input, seen through its view. */
mare_status op_lower_view(struct lowering *l, const node *n, const struct operand *in,
                          const struct operand *out);
/* Steps c through all coordinates of s in row-major order. */
void op_next_coordinate(const shape *s, int64_t c[MAX_DIMS]);
/* a as f32 (floats) or i32 (integers), for kernels that work on whole words. */
node *op_words(graph *g, node *a);
/* sort.c: the places of the first k in ascending or descending order along an axis. */
node *op_topk(graph *g, const char *call, node *a, int axis, bool descending, int64_t k);
/* order.c: a's elements at places along an axis; index has a's shape but along that axis. */
node *op_take_along(graph *g, node *a, node *index, int axis);
/* slice.c: places a into shape s: element c at start + c * step, value elsewhere. */
node *op_embed(graph *g, node *a, const shape *s, const int64_t *start, const int64_t *step,
               double value);
/* Is n its input amid zeros, cut along one axis alone? Then which, and where the input starts. */
bool op_embedded(const node *n, int *axis, int64_t *start);
/* join.c: a + b. Where they are parts that follow one another amid zeros, as the gradients of what
 * was split are, the parts are joined instead. */
node *op_add_parts(graph *g, node *a, node *b);

#endif
