/* Copies that exchange axes, as shaders/movement/transpose.comp does them in blocks. */
#include "plan/places.h"

#include <string.h>

enum { TILE = 8 }; /* blocks of a workgroup along each of the two axes */

/* Is p nothing but a copy of words? */
static bool copies_words(const work *w) {
    if (w->n != 2 || w->o[1].buffer < 0 || w->o[0].dtype != w->o[1].dtype) return false;
    if (mare_dtype_size(w->o[0].dtype) != 4 || w->p->out.data[0].from.i != 0) return false;
    /* Its only statement, if there is one, hands on the input. */
    size_t n = w->p->body.len;
    const statement *first = w->p->body.data;
    return n == 0 || (n == 1 && first->dtype == w->o[0].dtype && strcmp(first->glsl, "x0") == 0);
}

/* The axis along which the input's neighbours lie, when they are no neighbours of the output; -1.
 */
static int turned_axis(const work *w) {
    const operand *out = &w->o[0], *in = &w->o[1];
    int inner = out->shape.rank - 1, axis = -1;
    if (inner < 1 || out->view.stride[inner] != 1) return -1;
    for (int d = 0; d < inner; d++)
        if (in->view.stride[d] == 1) axis = d;
    if (axis < 0 || out->shape.dim[axis] % 4 || out->shape.dim[inner] % 4) return -1;
    if (in->view.offset % 4 || out->view.offset % 4) return -1;
    for (int d = 0; d <= inner; d++) {
        if (d != axis && in->view.stride[d] % 4) return -1;
        if (d != inner && out->view.stride[d] % 4) return -1;
    }
    return axis;
}

bool work_transposes(const lowering *l, const work *w) {
    return copies_words(w) && turned_axis(w) >= 0 && lower_workgroup(l) >= TILE * TILE;
}

mare_status work_transpose(lowering *l, const work *w) {
    const operand *out = &w->o[0], *in = &w->o[1];
    int inner = out->shape.rank - 1, axis = turned_axis(w), rank = inner - 1;
    launch *x = lower_launch(l, "movement/transpose.comp", lower_text(l, "RANK %d\n", rank));
    if (!x) return lower_error(l);
    uint32_t from, to;
    mare_status s = launch_bind(l, x, in, READ, &from);
    if (!s) s = launch_bind(l, x, out, WRITE, &to);
    if (s) return s;
    int64_t along[2] = {out->shape.dim[axis] / 4, out->shape.dim[inner] / 4}, groups = 1;
    for (int d = 0; d < inner; d++)
        if (d != axis) groups *= out->shape.dim[d];
    for (int k = 0; k < 2; k++)
        groups *= (along[k] + TILE - 1) / TILE;
    launch_spec(x, TILE * TILE);
    launch_u32(x, (uint32_t)groups);
    launch_u32(x, from / 4);
    launch_u32(x, to / 4);
    launch_i32(x, (int32_t)(in->view.stride[inner] / 4));
    launch_i32(x, (int32_t)(out->view.stride[axis] / 4));
    launch_u32(x, (uint32_t)along[0]);
    launch_u32(x, (uint32_t)along[1]);
    launch_u32(x, 0);
    for (int k = 0; k < 2; k++) {
        uint32_t tiles = (uint32_t)((along[k] + TILE - 1) / TILE);
        launch_u32(x, tiles);
        launch_divisor(x, tiles);
        launch_u32(x, 0);
    }
    for (int d = 0; d < inner; d++) {
        if (d == axis) continue;
        launch_u32(x, (uint32_t)out->shape.dim[d]);
        launch_divisor(x, (uint32_t)out->shape.dim[d]);
        launch_u32(x, 0);
    }
    for (int d = 0; d < inner; d++) {
        if (d == axis) continue;
        launch_i32(x, (int32_t)(in->view.stride[d] / 4));
        launch_i32(x, (int32_t)(out->view.stride[d] / 4));
        launch_u32(x, 0);
        launch_u32(x, 0);
    }
    return launch_groups(l, x, (uint64_t)groups);
}
