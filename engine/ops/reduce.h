/* What the files of the reductions share. */
#ifndef MARE_OPS_REDUCE_H
#define MARE_OPS_REDUCE_H

#include "graph/graph.h"
#include "plan/lower.h"

typedef struct reduce_attr {
    uint32_t axes; /* bit i: axis i */
    uint32_t keepdim;
} reduce_attr;

/* Is this axis of the input reduced? */
static inline bool reduce_takes(const node *n, int axis) {
    return OP_ATTR(reduce_attr, n)->axes >> axis & 1;
}

mare_status reduce_lower(lowering *l, const node *n, const operand *in, const operand *out);

#endif
