#include "ops/loop.h"

#include <stdlib.h>

void loop_add(loop *x, int64_t dim, int64_t in, int64_t out) {
    if (dim == 1) return;
    int last = x->rank - 1;
    if (last >= 0 && x->in[last] == in * dim && x->out[last] == out * dim) {
        x->dim[last] *= dim;
        x->in[last] = in;
        x->out[last] = out;
        return;
    }
    x->dim[x->rank] = dim;
    x->in[x->rank] = in;
    x->out[x->rank++] = out;
}

int64_t loop_count(const loop *x) {
    int64_t n = 1;
    for (int i = 0; i < x->rank; i++)
        n *= x->dim[i];
    return n;
}

operand loop_operand(const operand *o, const loop *a, const loop *b, bool input) {
    operand r = *o;
    r.shape.rank = 0;
    for (int k = 0; k < 2; k++) {
        const loop *x = k ? b : a;
        for (int i = 0; x && i < x->rank; i++) {
            r.shape.dim[r.shape.rank] = x->dim[i];
            r.view.stride[r.shape.rank++] = input ? x->in[i] : x->out[i];
        }
    }
    return r;
}

bool loop_fits(const lowering *l, const operand *o) {
    int64_t reach = 1;
    for (int i = 0; i < o->shape.rank; i++)
        reach += (o->shape.dim[i] - 1) * llabs(o->view.stride[i]);
    return (uint64_t)reach * mare_dtype_size(o->dtype) + 512 <= l->caps->binding;
}

void loop_words(launch *x, const loop *a, bool with_out) {
    for (int i = 0; i < a->rank; i++)
        launch_u32(x, (uint32_t)a->dim[i]);
    for (int i = 0; i < a->rank; i++)
        launch_i32(x, (int32_t)a->in[i]);
    for (int i = 0; i < a->rank && with_out; i++)
        launch_i32(x, (int32_t)a->out[i]);
}

uint32_t loop_group(const lowering *l, int64_t length) {
    uint32_t size = lower_workgroup(l);
    if (l->caps->type == DEV_CPU) {
        /* One SIMD vector: a CPU pays for a barrier by switching between vectors. */
        uint32_t lanes = l->caps->subgroup >= 4 ? l->caps->subgroup : 8;
        return size < lanes ? size : lanes;
    }
    while (size > 32 && size / 2 >= length)
        size /= 2;
    return size;
}
