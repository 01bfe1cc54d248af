/* Temporaries are packed by lifetime: one after the other, each at the lowest place that no buffer
 * alive at the same time covers. Which comes first decides how well it goes: the biggest do best
 * most often ("greedy by size" of Pisarchyk and Lee, "Efficient memory management for deep neural
 * net inference", 2020), and where they leave gaps other orders are tried. */
#include "plan/internal.h"

#include <stdlib.h>
#include <string.h>

static void find_lifetimes(plan *p) {
    for (int i = 0; i < p->n_buffers; i++) {
        p->buffers[i].first = p->n_steps;
        p->buffers[i].last = -1;
    }
    for (int i = 0; i < p->n_steps; i++)
        for (int k = 0; k < p->steps[i].n_bindings; k++) {
            plan_buffer *b = &p->buffers[p->steps[i].bindings[k].buffer];
            if (i < b->first) b->first = i;
            b->last = i;
        }
}

typedef int compare(const void *a, const void *b);

/* The same order on every run. */
static int by_number(const plan_buffer *x, const plan_buffer *y) {
    return x < y ? -1 : 1;
}

static int bigger_first(const void *a, const void *b) {
    const plan_buffer *x = *(plan_buffer *const *)a, *y = *(plan_buffer *const *)b;
    if (x->bytes != y->bytes) return x->bytes > y->bytes ? -1 : 1;
    return by_number(x, y);
}

/* By how many steps they are alive, times their bytes. */
static int heavier_first(const void *a, const void *b) {
    const plan_buffer *x = *(plan_buffer *const *)a, *y = *(plan_buffer *const *)b;
    double of_x = (double)(x->last - x->first + 1) * (double)x->bytes;
    double of_y = (double)(y->last - y->first + 1) * (double)y->bytes;
    if (of_x != of_y) return of_x > of_y ? -1 : 1;
    return by_number(x, y);
}

static int longer_first(const void *a, const void *b) {
    const plan_buffer *x = *(plan_buffer *const *)a, *y = *(plan_buffer *const *)b;
    int of_x = x->last - x->first, of_y = y->last - y->first;
    return of_x != of_y ? of_y - of_x : bigger_first(a, b);
}

static int sooner_first(const void *a, const void *b) {
    const plan_buffer *x = *(plan_buffer *const *)a, *y = *(plan_buffer *const *)b;
    return x->first != y->first ? x->first - y->first : bigger_first(a, b);
}

static compare *const orders[] = {bigger_first, heavier_first, longer_first, sooner_first};
enum { ORDERS = sizeof orders / sizeof *orders };

/* Puts temps[i] in among those placed before it. `placed` is sorted by arena and offset. */
static void place(plan_buffer *b, plan_buffer **placed, int n, uint64_t max_arena) {
    uint64_t end = 0;
    int which = 0;
    for (int i = 0; i < n; i++) {
        const plan_buffer *o = placed[i];
        if (o->first > b->last || o->last < b->first) continue;
        if (o->arena > which) {
            if (end + padded(b) <= max_arena) break;
            which = o->arena;
            end = 0;
        }
        if (end + padded(b) <= o->offset) break;
        if (o->offset + padded(o) > end) end = o->offset + padded(o);
    }
    if (end && end + padded(b) > max_arena) {
        which++;
        end = 0;
    }
    b->arena = which;
    b->offset = end;
}

static bool before(const plan_buffer *a, const plan_buffer *b) {
    return a->arena != b->arena ? a->arena < b->arena : a->offset < b->offset;
}

/* Most bytes of temporaries alive at one step: no packing can be smaller. `change` has room for one
 * number a step and one more, all zero. */
static uint64_t lower_bound(const plan *p, int64_t *change) {
    for (int i = 0; i < p->n_buffers; i++) {
        const plan_buffer *b = &p->buffers[i];
        if (b->kind != BUFFER_TEMP || b->first > b->last) continue;
        change[b->first] += (int64_t)padded(b);
        change[b->last + 1] -= (int64_t)padded(b);
    }
    int64_t alive = 0, most = 0;
    for (int s = 0; s < p->n_steps; s++) {
        alive += change[s];
        if (alive > most) most = alive;
    }
    return (uint64_t)most;
}

/* Places all of temps[0..n-1]; `placed` has room for as many. Returns the bytes of all arenas. */
static uint64_t pack(plan *p, plan_buffer **temps, plan_buffer **placed, int n, compare *order,
                     uint64_t max_arena) {
    uint64_t sum = 0;
    qsort(temps, (size_t)n, sizeof *temps, order);
    memset(p->arenas, 0, (size_t)p->n_buffers * sizeof *p->arenas);
    p->n_arenas = 0;
    for (int i = 0; i < n; i++) {
        plan_buffer *b = temps[i];
        place(b, placed, i, max_arena);
        int at = i;
        for (; at > 0 && before(b, placed[at - 1]); at--)
            placed[at] = placed[at - 1];
        placed[at] = b;
        if (b->arena >= p->n_arenas) p->n_arenas = b->arena + 1;
        if (b->offset + padded(b) > p->arenas[b->arena])
            p->arenas[b->arena] = b->offset + padded(b);
    }
    for (int i = 0; i < p->n_arenas; i++)
        sum += p->arenas[i];
    return sum;
}

mare_status plan_pack(plan *p, uint64_t max_arena, mare_error *e) {
    find_lifetimes(p);
    plan_buffer **temps = calloc(2 * (size_t)p->n_buffers + 1, sizeof *temps);
    int64_t *change = calloc((size_t)p->n_steps + 1, sizeof *change);
    p->arenas = arena_alloc(&p->mem, ((size_t)p->n_buffers + 1) * sizeof *p->arenas);
    if (!temps || !change || !p->arenas) {
        free(temps);
        free(change);
        return error_no_memory(e, 2 * (size_t)p->n_buffers * sizeof *temps);
    }
    plan_buffer **placed = temps + p->n_buffers;
    int n = 0;
    for (int i = 0; i < p->n_buffers; i++) {
        plan_buffer *b = &p->buffers[i];
        if (b->kind != BUFFER_TEMP || b->first > b->last) continue;
        temps[n++] = b;
        p->info.sum += padded(b);
    }
    p->info.bound = lower_bound(p, change);
    p->info.arena = UINT64_MAX;
    int best = 0, last = 0;
    for (int i = 0; i < ORDERS && p->info.arena > p->info.bound; i++) {
        uint64_t bytes = pack(p, temps, placed, n, orders[last = i], max_arena);
        if (bytes >= p->info.arena) continue;
        p->info.arena = bytes;
        best = i;
    }
    if (last != best) pack(p, temps, placed, n, orders[best], max_arena);
    free(temps);
    free(change);
    p->info.launches = p->n_steps;
    p->info.buffers = p->n_buffers;
    return MARE_OK;
}
