/* What the files of indexing share. */
#ifndef MARE_OPS_INDEXING_H
#define MARE_OPS_INDEXING_H

#include "ops/internal.h"

/* How kernels see their tensors: a table [outer, rows, inner], what is picked from it [outer,
 * picks, inner]. */
typedef struct index_layout {
    int64_t outer, rows, picks, inner;
} index_layout;

index_layout index_layout_of(const shape *table, int64_t axis, int64_t picks);

/* The index as i32, when every value is known to lie in 0..limit-1. */
node *op_checked_index(graph *g, const char *call, node *index, int64_t limit);

/* index.c: shape of index; element i comes from place index[i] of a along the axis. index has a's
 * shape but for the axis, i32 in range. a f32 or i32. */
node *op_gather(graph *g, node *a, node *index, int axis);

/* The same where no two elements of a row come from one place, so that its gradient has nothing to
 * add up. */
node *op_gather_distinct(graph *g, node *a, node *index, int axis);

/* FOLD_ONLY: the index names no place twice; what it names holds that one element. */
typedef enum fold { FOLD_SUM, FOLD_PROD, FOLD_MAX, FOLD_MIN, FOLD_ONLY } fold;

/* scatter.c: a with `rows` places along the axis; each holds what the elements of src whose index
 * is that place fold into: 0, 1, the least or the largest number (FOLD_ONLY: 0) where there is
 * none. index is i32 in range, of src's shape or a list for the axis alone. src f32 or i32. */
node *op_scatter_into(graph *g, fold f, node *src, node *index, int axis, int64_t rows);
/* x with what `index` names along the axis replaced by src; the last of several wins. */
node *op_scatter_set(graph *g, node *x, node *src, node *index, int axis);

/* window.c: the places (i32) that the elements of `count` windows, `step` apart, come from along an
 * axis; elements of a window, `size` of them, are `gap` apart. */
node *op_window_places(graph *g, int64_t count, int64_t step, int64_t size, int64_t gap);

/* mask.c: the places, as a list, of the n elements of `ones` (i32, 0 and 1) that are 1; in range.
 */
node *op_chosen(graph *g, node *ones, int64_t n);
/* Places in a flat tensor of shape s as coordinates, side by side along a new axis. */
node *op_coordinates(graph *g, node *at, const shape *s, int axis);

#endif
