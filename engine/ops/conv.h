/* Convolutions over one to three axes: what their files share. y = conv(x, w) is linear in each of
 * x and w, so its two gradients are ops of the same kind, and each of the three has the other two
 * as its gradients:
 *
 *     conv         x [N, C, ...], w [O, C / groups, ...]  -> y [N, O, ...]
 *     conv_input   y, w -> x
 *     conv_weight  x, y -> w
 *
 * conv_input run forward is the transposed convolution. */
#ifndef MARE_OPS_CONV_H
#define MARE_OPS_CONV_H

#include "ops/internal.h"

enum { CONV_AXES = 3 };

/* An entry for each axis there is, zeros behind. */
typedef struct conv_attr {
    int64_t stride[CONV_AXES], padding[CONV_AXES], dilation[CONV_AXES];
    int64_t size[CONV_AXES]; /* of the result's axes */
    int64_t groups;
} conv_attr;

/* The sizes of a convolution, whichever of its three tensors is the result. The last axis comes
 * last; axes that it lacks come first, with size 1. padding: before the first element, alone. */
typedef struct conv {
    int64_t n, c, o; /* images, channels, filters: of one group */
    int64_t groups;
    int64_t in[CONV_AXES], out[CONV_AXES], kernel[CONV_AXES];
    int64_t stride[CONV_AXES], padding[CONV_AXES], dilation[CONV_AXES];
} conv;

conv conv_of(const conv_attr *a, const shape *x, const shape *w, const shape *y);

/* conv_lower.c */
mare_status conv_lower(struct lowering *l, const node *n, const struct operand *in,
                       const struct operand *out);
mare_status conv_input_lower(struct lowering *l, const node *n, const struct operand *in,
                             const struct operand *out);
mare_status conv_weight_lower(struct lowering *l, const node *n, const struct operand *in,
                              const struct operand *out);

#endif
