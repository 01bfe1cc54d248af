/* Rows normalised by their mean and variance: what layer, group, instance and batch norm share. */
#ifndef MARE_OPS_NORM_H
#define MARE_OPS_NORM_H

#include "graph/graph.h"

/* Of x [outer, rows, inner] in f32, where a row is everything at one place of the middle axis.
 * Weights and biases: `per` neighbouring elements of a row share one, and after `groups` rows they
 * start again. Where outer > 1, a row has one. */
typedef struct norm_options {
    double eps;
    int64_t groups, per;
    bool centred; /* false: the mean is left in, and the mean square counts (RMS norm) */
} norm_options;

/* (x - mean) / sqrt(variance + eps) * weight + bias; weight and bias may be null. */
node *op_norm_rows(graph *g, node *x, const norm_options *o, node *weight, node *bias);
/* The same by moments that were taken of x already (op_norm_moments; null: none were). */
node *op_norm_rows_by(graph *g, node *x, node *moments, const norm_options *o, node *weight,
                      node *bias);
/* [rows, 3]: mean and variance (over the number of elements) of each row, and what rounding took
 * from the mean; not centred: 0, the mean square and 0. */
node *op_norm_moments(graph *g, node *x, bool centred);

#endif
