/* Barriers: a step waits when it reads what a step since the last barrier wrote, or writes what one
 * read or wrote. Buffers of an arena share bytes, and so may a result and what it takes the place
 * of: places in memory are compared, not names. */
#include "plan/internal.h"

typedef struct touch {
    int space; /* a buffer of its own, or -1 - arena */
    uint64_t start, end;
    access access;
} touch;

static touch touch_of(const plan *p, const binding *b) {
    const plan_buffer *buffer = &p->buffers[b->buffer];
    bool packed = buffer->kind == BUFFER_TEMP;
    int whole = buffer->kind == BUFFER_KEPT && buffer->donor >= 0 ? buffer->donor : b->buffer;
    uint64_t start = b->offset + (packed ? buffer->offset : 0);
    return (touch){packed ? -1 - buffer->arena : whole, start, start + b->bytes, b->access};
}

static bool conflict(const touch *a, const touch *b) {
    return a->space == b->space && a->start < b->end && b->start < a->end &&
           ((a->access | b->access) & WRITE);
}

mare_status plan_barriers(plan *p, mare_error *e) {
    VEC(touch) since = {0};
    bool ok = true;
    for (int i = 0; i < p->n_steps && ok; i++) {
        step *s = &p->steps[i];
        for (int k = 0; k < s->n_bindings && !s->barrier; k++) {
            touch t = touch_of(p, &s->bindings[k]);
            for (size_t j = 0; j < since.len && !s->barrier; j++)
                s->barrier = conflict(&t, &since.data[j]);
        }
        if (s->barrier) {
            since.len = 0;
            p->info.barriers++;
        }
        for (int k = 0; k < s->n_bindings && ok; k++)
            ok = vec_push(&since, touch_of(p, &s->bindings[k]));
    }
    vec_free(&since);
    return ok ? MARE_OK : error_no_memory(e, sizeof(touch));
}
