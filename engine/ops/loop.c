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

rows rows_along(const operand *in, const operand *out, int axis) {
    rows r = {.in = *in,
              .out = *out,
              .length = in->shape.dim[axis],
              .in_step = in->view.stride[axis],
              .out_length = out->shape.dim[axis],
              .out_step = out->view.stride[axis]};
    for (int d = 0; d < in->shape.rank; d++)
        if (d != axis) loop_add(&r.kept, in->shape.dim[d], in->view.stride[d], out->view.stride[d]);
    return r;
}

/* Halves the rows along their outermost axis until the device can bind them. */
mare_status rows_lower(lowering *l, const rows *r, int64_t bytes,
                       mare_status (*emit)(lowering *l, const rows *r)) {
    loop from = {1, {r->length}, {r->in_step}, {0}}, to = {1, {r->out_length}, {0}, {r->out_step}};
    operand in = loop_operand(&r->in, &r->kept, &from, true);
    operand out = loop_operand(&r->out, &r->kept, &to, false);
    uint64_t scratch = (uint64_t)(loop_count(&r->kept) * bytes);
    bool fits = loop_fits(l, &in) && loop_fits(l, &out) && scratch <= l->caps->binding;
    if (r->kept.rank == 0 || fits) return emit(l, r);
    int64_t half = r->kept.dim[0] / 2;
    for (int part = 0; part < 2; part++) {
        rows p = *r;
        p.kept.rank = 0;
        for (int d = 0; d < r->kept.rank; d++) {
            int64_t dim = d ? r->kept.dim[d] : part ? r->kept.dim[0] - half : half;
            loop_add(&p.kept, dim, r->kept.in[d], r->kept.out[d]);
        }
        p.in.view.offset += part * half * r->kept.in[0];
        p.out.view.offset += part * half * r->kept.out[0];
        mare_status s = rows_lower(l, &p, bytes, emit);
        if (s != MARE_OK) return s;
    }
    return MARE_OK;
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

bool loop_group_free(const lowering *l) {
    return l->caps->type == DEV_CPU && l->caps->has[DEV_SUBGROUP];
}

const char *loop_group_defines(const lowering *l, uint32_t size) {
    if (!size) return "";
    if (!l->caps->has[DEV_SUBGROUP]) return "GROUP 1\n";
    bool one = loop_group_free(l) && size <= l->caps->subgroup;
    return one ? "GROUP 1\nSUBGROUPS 1\nONE_SUBGROUP 1\n" : "GROUP 1\nSUBGROUPS 1\n";
}

uint32_t loop_alone(const lowering *l, int64_t count) {
    uint32_t size = lower_workgroup(l);
    /* A CPU has but a few cores, which all shall have their share to the end. */
    while (l->caps->type == DEV_CPU && size > 32 && count / size < 32)
        size /= 2;
    return size;
}

bool loop_fours(const operand *o, const loop *x, bool input) {
    bool fours = o->view.offset % 4 == 0;
    for (int d = 0; d < x->rank; d++)
        fours = fours && (input ? x->in[d] : x->out[d]) % 4 == 0;
    return fours;
}
