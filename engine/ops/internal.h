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
    X(conv2d_weight)

#define OP_DECLARE(name) extern const op op_desc_##name;
OP_DESCRIBED(OP_DECLARE)

#endif
