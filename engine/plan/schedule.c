/* The order that units run in.
 *
 * It is the order that the script made the nodes in, which is also that of a backward pass: what is
 * made is used soon, and its memory is free again. What leads to a unit that nothing else reads (an
 * update of the optimizer, a loss), and to nothing else, runs as soon as it can, wherever the
 * script wrote it: a gradient of a weight is used up before the backward pass goes on. Only a value
 * that may take the memory of what it replaces waits for those that read that. */
#include "plan/fuse.h"

#include <stdlib.h>
#include <string.h>

typedef struct visit {
    int unit, member, in; /* where to go on */
    int wait;             /* the same, among those that it waits for */
} visit;

typedef struct schedule {
    fusion *f;
    const int *unit_of;
    bool *seen;
    visit *stack;
    int *sorted; /* units, those read before those that read them */
    int n;
    int *first; /* of each unit's waits; one more at the end */
    int *waits; /* units that read what the unit writes over */
} schedule;

/* The next unit that v's reads from, or -1. */
static int next_read(const schedule *s, visit *v) {
    const fusion *f = s->f;
    const unit *u = &f->units[v->unit];
    for (; v->member < u->n; v->member++, v->in = 0) {
        int i = u->node[v->member];
        const node *x = f->order[i];
        while (!x->store && v->in < x->n_in) {
            int in = fusion_input(f, i, v->in++);
            if (!fusion_inside(f, i, f->source[in]) && f->computed[in]) return s->unit_of[in];
        }
    }
    return -1;
}

/* The next unit that v's runs behind, or -1. */
static int next_before(const schedule *s, visit *v) {
    int read = next_read(s, v);
    if (read >= 0 || s->first[v->unit] + v->wait == s->first[v->unit + 1]) return read;
    return s->waits[s->first[v->unit] + v->wait++];
}

typedef struct place {
    uint64_t when, made; /* to run; by the script; in numbers of nodes */
    int unit;
} place;

static int sooner(const void *a, const void *b) {
    const place *x = a, *y = b;
    if (x->when != y->when) return x->when < y->when ? -1 : 1;
    if (x->made != y->made) return x->made < y->made ? -1 : 1;
    return x->unit - y->unit;
}

/* Puts a unit behind all that it reads, and waits for. */
static void put(schedule *s, int u) {
    if (s->seen[u]) return;
    int depth = 0;
    s->seen[u] = true;
    s->stack[depth++] = (visit){.unit = u};
    while (depth) {
        int from = next_before(s, &s->stack[depth - 1]);
        if (from < 0) {
            s->sorted[s->n++] = s->stack[--depth].unit;
        } else if (!s->seen[from]) {
            s->seen[from] = true;
            s->stack[depth++] = (visit){.unit = from};
        }
    }
}

/* Sorts the units by `when`, as far as what they read allows it. at[u] is of unit u. */
static void sort(schedule *s, const place *at, place *room) {
    size_t n = (size_t)s->f->n_units;
    memcpy(room, at, n * sizeof *room);
    qsort(room, n, sizeof *room, sooner);
    memset(s->seen, 0, n);
    s->n = 0;
    for (size_t i = 0; i < n; i++)
        put(s, room[i].unit);
}

static void by_script(const schedule *s, place *at) {
    const fusion *f = s->f;
    for (int u = 0; u < f->n_units; u++) {
        const unit *x = &f->units[u];
        at[u] = (place){0, 0, u};
        for (int m = 0; m < x->n; m++) {
            uint64_t made = f->order[x->node[m]]->serial;
            if (made > at[u].made) at[u].when = at[u].made = made;
        }
    }
}

enum { NO_READER = -1, MANY_READERS = -2 };

static bool is_view(const fusion *f, int u) {
    return f->units[u].n == 1 && f->order[f->units[u].node[0]]->op->view;
}

/* The one unit that reads from each, where that is so; of a view, what reads it. */
static void find_readers(const schedule *s, int *reader) {
    const fusion *f = s->f;
    for (int u = 0; u < f->n_units; u++)
        reader[u] = NO_READER;
    for (int i = s->n - 1; i >= 0; i--) {
        int u = s->sorted[i];
        int who = is_view(f, u) ? reader[u] : u;
        if (who == NO_READER) continue; /* a view for the caller */
        visit v = {.unit = u};
        for (int from; (from = next_read(s, &v)) >= 0;)
            reader[from] = reader[from] == NO_READER || reader[from] == who ? who : MANY_READERS;
    }
}

/* What leads to an end alone moves forward together, to right behind the last that it waits for.
 * end: room for one of each unit. */
static void hurry(const schedule *s, place *at, const int *reader, int *end) {
    for (int i = s->n - 1; i >= 0; i--) {
        int u = s->sorted[i], r = reader[u];
        bool last = r == NO_READER && !is_view(s->f, u);
        end[u] = last ? u : r >= 0 ? end[r] : -1;
        if (end[u] >= 0) at[u].when = 0;
    }
    for (int u = 0; u < s->f->n_units; u++) {
        visit v = {.unit = u};
        for (int from; end[u] >= 0 && (from = next_read(s, &v)) >= 0;) {
            uint64_t when = end[from] < 0 ? at[from].when : 0;
            if (when > at[end[u]].when) at[end[u]].when = when;
        }
    }
    for (int u = 0; u < s->f->n_units; u++)
        if (end[u] >= 0) at[u].when = at[end[u]].when;
}

/* ---- Memory ------------------------------------------------------------------------------- */

/* Whose memory each node may show, and what each root may write over. */
static bool find_donors(fusion *f, const plan_wanted *w) {
    arena *mem = f->l->mem;
    f->base = arena_alloc(mem, ((size_t)f->n + 1) * sizeof *f->base);
    f->donor = arena_alloc(mem, ((size_t)f->n + 1) * sizeof *f->donor);
    bool *taken = arena_alloc(mem, (size_t)f->n + 1);
    if (!f->base || !f->donor || !taken) return false;
    for (int i = 0; i < f->n; i++) {
        const node *x = f->order[i];
        bool shows = !x->store && x->op->view && x->n_in > 0;
        f->base[i] = shows ? f->base[fusion_input(f, i, 0)] : i;
        f->donor[i] = -1;
    }
    for (int r = 0; r < w->n && w->old && f->l->passes & PASS_DONATE; r++) {
        const node *old = w->old[r];
        int i = f->base[f->rep[w->roots[r]->index]];
        if (!old || !old->store || !graph_listed(old) || f->donor[i] >= 0) continue;
        int d = (int)old->index;
        const node *x = f->order[i];
        if (taken[d] || x->store || x->dtype != old->dtype || f->uniform[i] || old->view.offset ||
            !view_contiguous(&old->shape, &old->view) ||
            shape_count(&x->shape) != shape_count(&old->shape))
            continue;
        f->donor[i] = d;
        taken[d] = true;
    }
    return true;
}

/* Units that nothing waits for and that write over memory wait for those that read it. */
static bool find_waits(schedule *s, const int *reader) {
    const fusion *f = s->f;
    int *writer = arena_alloc(f->l->mem, ((size_t)f->n + 1) * sizeof *writer), n = 0;
    bool *writes = arena_alloc(f->l->mem, (size_t)f->n_units + 1);
    if (!writer || !writes) return false;
    for (int i = 0; i < f->n; i++)
        writer[i] = -1;
    for (int i = 0; i < f->n; i++) {
        int u = f->donor[i] >= 0 ? s->unit_of[i] : -1;
        if (u < 0 || reader[u] != NO_READER) continue;
        writer[f->donor[i]] = u;
        writes[u] = true;
    }
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < f->n; i++) {
            int u = s->unit_of[i];
            for (int k = 0; u >= 0 && !writes[u] && !f->order[i]->store && k < f->order[i]->n_in;
                 k++) {
                int over = writer[f->base[fusion_input(f, i, k)]];
                if (over < 0) continue;
                if (pass == 0)
                    s->first[over + 1]++;
                else
                    s->waits[s->first[over]++] = u;
            }
        }
        for (int u = 0; pass == 0 && u < f->n_units; u++)
            s->first[u + 1] += s->first[u];
        n = s->first[f->n_units];
        if (pass == 0 && !(s->waits = arena_alloc(f->l->mem, ((size_t)n + 1) * sizeof *s->waits)))
            return false;
    }
    /* Filling moved each start to the next one's. */
    memmove(s->first + 1, s->first, (size_t)f->n_units * sizeof *s->first);
    s->first[0] = 0;
    return true;
}

/* Which unit reads the memory of each node last. What a view shows counts as read by the view's
 * users: where a view needs a copy, that is more than is so. */
static bool find_last_reads(fusion *f, const plan_wanted *w) {
    f->last = arena_alloc(f->l->mem, ((size_t)f->n + 1) * sizeof *f->last);
    f->pinned = arena_alloc(f->l->mem, (size_t)f->n + 1);
    if (!f->last || !f->pinned) return false;
    for (int i = 0; i < f->n; i++)
        f->last[i] = -1;
    for (int r = 0; r < w->n; r++)
        f->pinned[f->base[f->rep[w->roots[r]->index]]] = true;
    for (int u = 0; u < f->n_units; u++)
        for (int m = 0; m < f->units[u].n; m++) {
            int i = f->units[u].node[m];
            for (int k = 0; !f->order[i]->store && k < f->order[i]->n_in; k++)
                f->last[f->base[fusion_input(f, i, k)]] = u;
        }
    return true;
}

bool plan_schedule(fusion *f, const int *unit_of, const plan_wanted *w) {
    arena *mem = f->l->mem;
    size_t n = (size_t)f->n_units + 1;
    schedule s = {.f = f, .unit_of = unit_of};
    s.seen = arena_alloc(mem, n);
    s.stack = arena_alloc(mem, n * sizeof *s.stack);
    s.sorted = arena_alloc(mem, n * sizeof *s.sorted);
    s.first = arena_alloc(mem, (n + 1) * sizeof *s.first);
    place *at = arena_alloc(mem, n * sizeof *at), *room = arena_alloc(mem, n * sizeof *room);
    int *reader = arena_alloc(mem, n * sizeof *reader), *end = arena_alloc(mem, n * sizeof *end);
    unit *units = arena_alloc(mem, n * sizeof *units);
    if (!s.seen || !s.stack || !s.sorted || !s.first || !at || !room || !reader || !end || !units)
        return false;
    by_script(&s, at);
    sort(&s, at, room);
    find_readers(&s, reader);
    hurry(&s, at, reader, end);
    if (!find_donors(f, w) || !find_waits(&s, reader)) return false;
    sort(&s, at, room);
    for (int i = 0; i < s.n; i++)
        units[i] = f->units[s.sorted[i]];
    f->units = units;
    return find_last_reads(f, w);
}
