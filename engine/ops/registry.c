/* All ops of all files: those with a descriptor of their own, then the elementwise rows. */
#include "ops/internal.h"
#include "ops/row.h"

#include <string.h>

#define OP_ENTRY(id) &op_desc_##id,
#define ROW(id, n, kind, expr, grads, lo, hi, smooth, doc) &row_##id.op,

const op *const op_table[] = {OP_DESCRIBED(OP_ENTRY)
#include "ops/rows.h"
                                  NULL};

const op *op_find(const char *name) {
    for (int i = 0; op_table[i]; i++)
        if (strcmp(op_table[i]->name, name) == 0) return op_table[i];
    return NULL;
}

bool op_takes(const op *o, mare_dtype t) {
    switch (o->dtypes) {
    case ANY_DTYPE:
        return true;
    case FLOAT_DTYPES:
        return dtype_is_float(t);
    case INTEGER_DTYPES:
        return !dtype_is_float(t);
    case OWN_DTYPES:
        break;
    }
    return false;
}
