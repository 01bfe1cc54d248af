/* Launches of the same loop over other buffers become parts of one (PASS_MERGE): the optimizer's
 * updates, copies of the parts of a split, fills. What is done to other memory by then, or waits
 * for it, allows it: a launch moves behind or before those between, with which it shares no bytes
 * that one of them writes. */
#include "plan/merge.h"

#include "plan/places.h"

#include <string.h>

enum {
    PARTS = 8,       /* of one launch: the text of each is compiled */
    WINDOW = 64,     /* launches that a part may move over */
    SMALL = 4 << 20, /* bytes of a binding: what is larger stays where its memory is soon free */
    SMALL_CPU = 64 << 10 /* there a launch costs little, and parts take longer than launches */
};

/* Launches that become one. */
typedef struct entry {
    launch *part[PARTS];
    int n, n_params, n_bindings;
    bool large; /* one of them is */
} entry;

typedef VEC(entry) entries;

static bool overlap(const int *memory, const binding *a, const binding *b) {
    return memory[a->buffer] == memory[b->buffer] && a->offset < b->offset + b->bytes &&
           b->offset < a->offset + a->bytes && ((a->access | b->access) & WRITE);
}

static bool conflict(const int *memory, const launch *a, const launch *b) {
    for (int i = 0; i < a->n_bindings; i++)
        for (int k = 0; k < b->n_bindings; k++)
            if (overlap(memory, &a->bindings[i], &b->bindings[k])) return true;
    return false;
}

static bool conflicts(const int *memory, const entry *e, const launch *x) {
    for (int i = 0; i < e->n; i++)
        if (conflict(memory, e->part[i], x)) return true;
    return false;
}

static bool entries_conflict(const int *memory, const entry *a, const entry *b) {
    for (int i = 0; i < b->n; i++)
        if (conflicts(memory, a, b->part[i])) return true;
    return false;
}

static bool is_large(const lowering *l, const launch *x) {
    uint64_t most = l->caps->type == DEV_CPU ? SMALL_CPU : SMALL;
    for (int i = 0; i < x->n_bindings; i++)
        if (x->bindings[i].bytes > most) return true;
    return false;
}

/* Is there room for x in e, and do both do the same? */
static bool takes(const lowering *l, const entry *e, const launch *x) {
    const launch *first = e->part[0];
    int bindings = e->n_bindings + x->n_bindings;
    return first->map && e->n < PARTS && bindings <= MAX_BINDINGS &&
           (uint32_t)bindings <= l->caps->storage_buffers &&
           map_head_words(e->n + 1) + e->n_params + x->n_params <= MAX_PARAMS &&
           strcmp(first->kernel.defines, x->kernel.defines) == 0;
}

static void append(const lowering *l, entry *e, launch *x) {
    e->part[e->n++] = x;
    e->n_params += x->n_params;
    e->n_bindings += x->n_bindings;
    e->large |= is_large(l, x);
}

/* Puts x into an entry that can wait for it, or that it can go forward to. */
static bool place(const lowering *l, const int *memory, entries *list, launch *x) {
    size_t least = list->len > WINDOW ? list->len - WINDOW : 0;
    bool forward = true; /* nothing behind i stands in x's way */
    for (size_t i = list->len; x->map && i-- > least;) {
        entry *e = &list->data[i];
        bool apart = conflicts(memory, e, x);
        bool near = i + 1 == list->len && l->caps->type != DEV_CPU;
        if (!apart && takes(l, e, x) && (near || !(e->large || is_large(l, x)))) {
            entry moved = *e;
            bool waits = true;
            for (size_t k = i + 1; k < list->len && waits; k++)
                waits = !entries_conflict(memory, e, &list->data[k]);
            if (waits) {
                memmove(e, e + 1, (list->len - i - 1) * sizeof *e);
                append(l, &moved, x);
                list->data[list->len - 1] = moved;
                return true;
            }
            if (forward) {
                append(l, e, x);
                return true;
            }
        }
        forward = forward && !apart;
    }
    entry alone = {0};
    append(l, &alone, x);
    return vec_push(list, alone);
}

/* The buffer whose memory each may have. */
static int *memories(const lowering *l) {
    int *memory = arena_alloc(l->mem, (l->buffers.len + 1) * sizeof *memory);
    for (size_t i = 0; i < l->buffers.len && memory; i++)
        memory[i] = (int)i;
    for (size_t i = 0; i < l->donations.len && memory; i++)
        memory[l->donations.data[i].kept] = l->donations.data[i].input;
    return memory;
}

mare_status plan_merge(lowering *l) {
    entries list = {0};
    int *memory = memories(l);
    mare_status status = memory ? MARE_OK : error_no_memory(l->error, sizeof *memory);
    for (size_t i = 0; i < l->launches.len && !status; i++)
        if (!place(l, memory, &list, l->launches.data[i]))
            status = error_no_memory(l->error, sizeof(entry));
    for (size_t i = 0; i < list.len && !status; i++) {
        const entry *e = &list.data[i];
        l->launches.data[i] = e->part[0];
        if (e->n > 1) status = map_merge(l, e->part, e->n, &l->launches.data[i]);
    }
    if (!status) l->launches.len = list.len;
    vec_free(&list);
    return status;
}
