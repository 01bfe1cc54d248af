/* An elementwise op: its descriptor and the texts of its row in rows.h. */
#ifndef MARE_OPS_ROW_H
#define MARE_OPS_ROW_H

#include "ops/ops.h"

enum { ROW_INPUTS = 3 };

/* What a row takes and gives. Integers are bool, u8, i8 and i32. A node_const() takes the dtype of
 * the tensors that it meets, unless it does not fit: a fraction makes integers f32. */
typedef enum row_kind {
    NUMBER,  /* the promoted dtype; bools count as i32; integers wrap around */
    FLOAT,   /* floats; integers are taken to f32 */
    INTEGER, /* integers alone; the promoted dtype, bools count as i32 */
    COMPARE, /* bool, from inputs of the promoted dtype */
    SELECT /* a condition, then two of the promoted dtype */,
    ORDER = FLOAT, /* the same; the first input is a whole number, which has no gradient */
    RATIO = NUMBER /* as that; it jumps where a / b is whole, so tests keep away from there */
} row_kind;

typedef struct row {
    op op; /* first, so that a node's op leads to its row */
    int inputs;
    row_kind kind;
    const char *expr;
    const char *grad[ROW_INPUTS];
} row;

#define ROW(id, n, kind, expr, grads, lo, hi, smooth, doc) extern const row row_##id;
#include "ops/rows.h"
#undef ROW

#endif
