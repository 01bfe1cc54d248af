/* What the files of losses share. Losses are made of other ops; they count in f32 and give back the
 * dtype of their operands. */
#ifndef MARE_OPS_LOSS_H
#define MARE_OPS_LOSS_H

#include "ops/internal.h"

/* The dtype of a loss of a and b: f32 where both are integers. */
mare_dtype loss_dtype(const node *a, const node *b);
/* The unreduced loss, in f32, reduced and in dtype t. */
node *loss_reduce(graph *g, node *loss, reduction r, mare_dtype t);
/* An expression over f32 tensors and numbers. */
node *loss_expr(graph *g, const char *expr, const char *const *names, node *const *nodes, int n);
node *loss_number(graph *g, double value);
node *loss_wide(graph *g, node *a); /* as f32 */
/* loss * weight, whose shape may be stretched to the loss's; weight null: loss itself. */
node *loss_weighted(graph *g, const char *call, node *loss, node *weight);
/* Refuses what differs in shape; false, too, when one is null. */
bool loss_same_shapes(graph *g, const char *call, const node *a, const node *b);
/* Refuses an argument that is not lo..hi. */
bool loss_in_range(graph *g, const char *call, const char *name, double value, double lo,
                   double hi);
/* Indices of classes that are known to be good: see loss_class.c. */
typedef struct class_index {
    int axis;      /* of the scores: where the classes are */
    node *index;   /* i32; 0 where ignored */
    node *ignored; /* bool; null: no label is */
} class_index;
/* ignore null: every label is a class. */
bool loss_classes(graph *g, const char *call, node *scores, node *target, const int64_t *ignore,
                  class_index *out);
/* Refuses a weight that is not [C]. */
bool loss_class_weight(graph *g, const char *call, const node *scores, int axis,
                       const node *weight);

#endif
