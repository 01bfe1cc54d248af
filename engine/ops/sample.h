/* Sampling by a table, on which interpolation, grid_sample, roi_align and max_unpool stand.
 * x [N, C, M, I], index [N or 1, T, K] i32 and w [N or 1, T, K]: y [N, C, K, I], where
 * y[.., k, ..] = sum over t of w[t, k] x[.., index[t, k], ..]. An index outside 0..M-1 is nothing.
 * Differentiable in x and w, to any order and always in the same order of adding up: an element
 * finds those that looked at it through lists made by sorting the indices. */
#ifndef MARE_OPS_SAMPLE_H
#define MARE_OPS_SAMPLE_H

#include "ops/internal.h"

node *op_sample(graph *g, node *x, node *index, node *w);
/* Places on two axes as places on both: a * size + b, and -1 where either is less than 0; the
 * shapes broadcast. */
node *op_places(graph *g, node *a, node *b, int64_t size);
/* Weight of cubic convolution with a = -0.75 (Keys, 1981) at a distance d of at most 2. */
#define CUBIC "where(d <= 1, (1.25 * d - 2.25) * d * d + 1, ((-0.75 * d + 3.75) * d - 6) * d + 3)"
/* Of each 0..size-1, the last place in a row of keys [R, K] (i32) that holds it, else K: i32. */
node *op_last_place(graph *g, node *keys, int64_t size);

#endif
