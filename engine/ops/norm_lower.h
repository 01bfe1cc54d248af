/* What norm.c and norm_lower.c share. */
#ifndef MARE_OPS_NORM_LOWER_H
#define MARE_OPS_NORM_LOWER_H

#include "ops/norm.h"

typedef struct norm_attr {
    double eps;
    int64_t groups, per;
    uint32_t centred, weight, bias, moments; /* the last three: whether they are inputs */
} norm_attr;

static inline const norm_attr *attr_of(const node *n) {
    return OP_ATTR(norm_attr, n);
}

/* x [outer, rows, inner]: a row is everything at one place of the middle axis. */
typedef struct extent {
    int64_t outer, rows, inner, length;
} extent;

static inline extent extent_of(const shape *x) {
    return (extent){x->dim[0], x->dim[1], x->dim[2], x->dim[0] * x->dim[2]};
}

/* op.lower of all that norm.c describes. */
mare_status norm_lower(struct lowering *l, const node *n, const struct operand *in,
                       const struct operand *out);

#endif
