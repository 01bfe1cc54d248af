/* What the two ways to lower attention share: attention_lower.c works in tiles that stay in a
 * workgroup, attention_blocks.c with matrix products over blocks of rows. */
#ifndef MARE_OPS_ATTENTION_PART_H
#define MARE_OPS_ATTENTION_PART_H

#include "ops/attention.h"

/* First element and strides (batch, head, row, column) of a matrix for each batch and head. */
typedef struct attention_place {
    int64_t first, step[4];
} attention_place;

/* One launch: some batches, or some key heads of one batch. */
typedef struct attention_part {
    const node *n;
    attention_form f;
    const operand *in;
    operand out;
    int64_t batch, batches, head, heads; /* of keys */
    operand data;                        /* what lies side by side */
    int64_t used;
    attention_place own, other, own2, other2, value, value2;
    int64_t lse, delta;
    int64_t row, rows; /* of a block: its first own row, and how many it has */
} attention_part;

bool attention_is(const attention_part *p, const op *o);
/* The part's batches and heads of an input, whose heads are `repeat` to a key head. */
operand attention_cut(const operand *o, const attention_part *p, int64_t repeat);
/* The words of shaders/attention/score.glsl. first: of the data, of the result and of the mask. */
void attention_params(launch *x, const attention_part *p, int64_t own_heads,
                      const uint32_t first[3]);
const char *attention_defines(lowering *l, const attention_part *p);

/* attention_blocks.c */
bool attention_in_blocks(const lowering *l, const attention_part *p);
mare_status attention_blocks_lower(lowering *l, attention_part *p, const operand *out);

#endif
