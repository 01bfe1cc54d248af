#include "plan/places.h"

#include <stdlib.h>

void work_of(const program *p, work *w) {
    *w = (work){.p = p, .n = (int)(p->in.len + p->out.len), .n_out = (int)p->out.len, .raw = -1};
    for (int i = 0; i < w->n; i++)
        w->o[i] = i < w->n_out ? p->out.data[i].to : p->in.data[i - w->n_out];
}

static bool buffered(const operand *o) {
    return o->buffer >= 0;
}

/* Merges neighbouring axes that every operand named in `which` (a bit mask) steps through evenly.
 */
void work_collapse(work *w, uint64_t which) {
    shape s = w->o[0].shape;
    int rank = 0;
    for (int d = 0; d < s.rank; d++) {
        if (s.dim[d] == 1) continue;
        bool merge = rank > 0;
        for (int i = 0; i < w->n && merge; i++) {
            const view *v = &w->o[i].view;
            if (which >> i & 1) merge = v->stride[rank - 1] == v->stride[d] * s.dim[d];
        }
        /* Axes up to d were read: their places hold the merged ones. */
        int64_t dim = merge ? w->o[0].shape.dim[rank - 1] * s.dim[d] : s.dim[d];
        if (!merge) rank++;
        for (int i = 0; i < w->n; i++) {
            w->o[i].shape.dim[rank - 1] = dim;
            w->o[i].view.stride[rank - 1] = w->o[i].view.stride[d];
        }
    }
    for (int i = 0; i < w->n; i++)
        w->o[i].shape.rank = rank;
}

operand_class work_classify(const work *w, int i) {
    const operand *o = &w->o[i];
    if (i == w->raw) return CLASS_RAW;
    if (!buffered(o)) return CLASS_WORD;
    bool one = true;
    for (int d = 0; d < o->shape.rank; d++)
        if (o->view.stride[d] && o->shape.dim[d] > 1) one = false;
    if (o->view.offset % 4 == 0 && view_contiguous(&o->shape, &o->view) &&
        (!one || shape_count(&o->shape) == 1))
        return CLASS_ROW;
    return one ? CLASS_ONE : CLASS_STRIDED;
}

const char *work_block_type(mare_dtype t, operand_class c) {
    static const char *const rows[MARE_DTYPES] = {
        [MARE_F32] = "vec4", [MARE_F16] = "uvec2", [MARE_BF16] = "uvec2", [MARE_I32] = "ivec4",
        [MARE_U8] = "uint",  [MARE_I8] = "uint",   [MARE_BOOL] = "uint"};
    const char *single = t == MARE_F32 ? "float" : t == MARE_I32 ? "int" : "uint";
    return c == CLASS_ROW || c == CLASS_STRIDED_ROW ? rows[t] : single;
}

/* Finer classes for strided inputs whose innermost axis is a multiple of 4 elements long. */
static operand_class refine(const operand *o) {
    int inner = o->shape.rank - 1;
    if (o->view.stride[inner] == 0) return CLASS_STRIDED_ONE;
    bool row = o->view.stride[inner] == 1 && o->view.offset % 4 == 0;
    for (int d = 0; d < inner; d++)
        row = row && o->view.stride[d] % 4 == 0;
    return row ? CLASS_STRIDED_ROW : CLASS_STRIDED;
}

/* Inputs that lie in rows where an output does. Both go through the output's block, so that the
 * compiler knows: blocks of their own it may take for memory that has nothing in common. */
static void find_written(const work *w, access_plan *a) {
    for (int i = 0; i < w->n; i++)
        a[i].written = -1;
    for (int i = w->n_out; i < w->n; i++)
        for (int k = 0; k < w->n_out && a[i].class == CLASS_ROW; k++)
            if (a[k].class == CLASS_ROW && w->o[i].buffer == w->o[k].buffer &&
                w->o[i].dtype == w->o[k].dtype && w->o[i].view.offset == w->o[k].view.offset)
                a[i].written = k;
}

static access access_of(const work *w, const access_plan *a, int i) {
    if (i >= w->n_out) return READ;
    for (int k = w->n_out; k < w->n; k++)
        if (a[k].written == i) return READ_WRITE;
    return WRITE;
}

int work_plan(work *w, access_plan *a, int word, bool four, int *loop_rank) {
    uint64_t strided = 0;
    for (int i = 0; i < w->n; i++) {
        a[i].class = work_classify(w, i);
        if (i < w->n_out && a[i].class == CLASS_ONE) a[i].class = CLASS_STRIDED;
        if (a[i].class == CLASS_STRIDED) strided |= 1ull << i;
    }
    /* Operands in rows count elements alone, so only the strided ones hinder merging. */
    work_collapse(w, strided);
    if (strided && w->o[0].shape.rank == 0)
        for (int i = 0; i < w->n; i++) {
            w->o[i].shape = shape_of(1, 1);
            w->o[i].view.stride[0] = 0;
        }
    int rank = strided ? w->o[0].shape.rank : 0, words = word + 3 * rank;
    bool inner4 = four && rank && w->o[0].shape.dim[rank - 1] % 4 == 0;
    for (int i = 0; i < w->n; i++) {
        if (inner4 && i >= w->n_out && is_strided(a[i].class)) a[i].class = refine(&w->o[i]);
        a[i].word = words;
        if (a[i].class != CLASS_RAW) words += is_strided(a[i].class) ? 1 + rank : 1;
    }
    find_written(w, a);
    *loop_rank = rank;
    return (words + 3) / 4 * 4;
}

mare_status work_bind(lowering *l, launch *x, const work *w, const access_plan *a,
                      uint32_t *first) {
    mare_status s = MARE_OK;
    for (int k = 0; k < w->n && !s; k++) {
        int i = (k + w->n_out) % w->n; /* outputs are bound last */
        if (is_bound(&a[i])) s = launch_bind(l, x, &w->o[i], access_of(w, a, i), &first[i]);
    }
    for (int i = w->n_out; i < w->n; i++)
        if (a[i].written >= 0) first[i] = first[a[i].written];
    return s;
}

void work_words(launch *x, const work *w, const access_plan *a, int rank, const uint32_t *first) {
    for (int d = 0; d < rank; d++) {
        launch_u32(x, (uint32_t)w->o[0].shape.dim[d]);
        launch_divisor(x, (uint32_t)w->o[0].shape.dim[d]);
    }
    for (int i = 0; i < w->n; i++) {
        if (a[i].class == CLASS_RAW) continue;
        if (a[i].class == CLASS_WORD)
            launch_dyn(x, w->o[i].constant, 0);
        else
            launch_u32(x, first[i]);
        for (int d = 0; d < rank && is_strided(a[i].class); d++)
            launch_i32(x, (int32_t)w->o[i].view.stride[d]);
    }
    while (x->n_params % 4)
        launch_u32(x, 0);
}

bool work_fits(const lowering *l, const operand *o) {
    if (!buffered(o)) return true;
    int64_t reach = 1;
    for (int d = 0; d < o->shape.rank; d++)
        reach += (o->shape.dim[d] - 1) * llabs(o->view.stride[d]);
    return (uint64_t)reach * mare_dtype_size(o->dtype) + 512 <= l->caps->binding;
}
