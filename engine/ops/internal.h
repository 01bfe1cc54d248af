/* What the files of ops/ share. A new op adds its name to OP_DESCRIBED and defines
 * `const op op_desc_<name>`; a new elementwise op is a row in rows.h instead. */
#ifndef MARE_OPS_INTERNAL_H
#define MARE_OPS_INTERNAL_H

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
    X(softmax)                                                                                     \
    X(log_softmax)                                                                                 \
    X(uniform)                                                                                     \
    X(normal)                                                                                      \
    X(randperm)                                                                                    \
    X(matmul)                                                                                      \
    X(conv2d)                                                                                      \
    X(conv2d_input)                                                                                \
    X(conv2d_weight)                                                                               \
    X(reshape)                                                                                     \
    X(permute)                                                                                     \
    X(expand)                                                                                      \
    X(slice)                                                                                       \
    X(contiguous)                                                                                  \
    X(detach)                                                                                      \
    X(embed)                                                                                       \
    X(concat)                                                                                      \
    X(take)                                                                                        \
    X(take_grad)                                                                                   \
    X(max_pool2d)                                                                                  \
    X(max_pool2d_grad)                                                                             \
    X(max_pool2d_take)                                                                             \
    X(avg_pool2d)                                                                                  \
    X(avg_pool2d_grad)

#define OP_DECLARE(name) extern const op op_desc_##name;
OP_DESCRIBED(OP_DECLARE)

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
/* slice.c: places a into shape s: element c at start + c * step, value elsewhere. */
node *op_embed(graph *g, node *a, const shape *s, const int64_t *start, const int64_t *step,
               double value);

#endif
