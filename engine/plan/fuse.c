/* Fusion of elementwise nodes.
 *
 * Nodes have levels: the most edges on a path to them that cannot be fused over. Nodes of one level
 * that are joined by edges that can be make a unit. A path that left a unit and came back would
 * have gone over an edge that cannot be fused, up a level: so units never wait for each other in a
 * circle. A unit that would bind more than the device can is cut along the order, which keeps that
 * true.
 *
 * A node that only numbers go into (the 1 that a backward pass starts with, 2 / n, ...) has no
 * unit: its users compute it where they need it. */
#include "plan/fuse.h"

#include <string.h>

enum { MOST_STATEMENTS = 64 };

bool node_is_number(const node *n) {
    return node_is_const(n) || n->op->constant;
}

int fusion_input(const fusion *f, int i, int k) {
    return f->rep[f->order[i]->in[k]->index];
}

bool same_loop(const shape *a, const shape *b) {
    int i = 0, k = 0;
    for (;;) {
        while (i < a->rank && a->dim[i] == 1)
            i++;
        while (k < b->rank && b->dim[k] == 1)
            k++;
        if (i == a->rank || k == b->rank) return i == a->rank && k == b->rank;
        if (a->dim[i++] != b->dim[k++]) return false;
    }
}

/* Do the views from node `views[0]` down to `views[n - 1]`, which is of the node `of`, show all its
 * elements in the same order, over the same loop? */
static bool shows_all(const fusion *f, const int *views, int n, int of) {
    const shape *s = &f->order[views[0]]->shape;
    if (!same_loop(s, &f->order[of]->shape)) return false;
    view v = {0};
    shape_strides(&f->order[of]->shape, v.stride);
    while (n-- > 0) {
        view from = v;
        const node *x = f->order[views[n]];
        if (!x->op->view(x, &from, &v)) return false;
    }
    return v.offset == 0 && view_contiguous(s, &v);
}

/* The furthest node that the view i shows so: a transpose of a transpose shows the first again. */
static int find_source(const fusion *f, int i) {
    enum { MOST = 8 };
    int views[MOST], n = 0, best = i, at = i;
    while (n < MOST && f->order[at]->op->view && f->order[at]->n_in == 1 && !f->order[at]->store) {
        views[n++] = at;
        at = fusion_input(f, at, 0);
        if (shows_all(f, views, n, at)) best = at;
    }
    return best == i ? i : f->source[best];
}

static void classify(fusion *f, int i) {
    const node *x = f->order[i];
    bool fuse = f->l->passes & PASS_FUSE;
    f->source[i] = i;
    if (x->store) return;
    if (node_is_const(x) || (fuse && x->op->constant)) {
        f->uniform[i] = true;
        return;
    }
    bool uniform = fuse && x->n_in > 0 && x->n_dyn == 0 && (x->op->element || x->op->view);
    for (int k = 0; k < x->n_in && uniform; k++)
        uniform = f->uniform[fusion_input(f, i, k)];
    f->uniform[i] = uniform;
    if (uniform) return;
    f->fusible[i] = x->op->element && shape_count(&x->shape) > 0;
    if (fuse) f->source[i] = find_source(f, i);
}

/* Can i, which reads `in`, be computed in one loop with it? */
static bool can_join(const fusion *f, int in, int i) {
    return f->l->passes & PASS_FUSE && f->fusible[in] && f->fusible[i] &&
           same_loop(&f->order[in]->shape, &f->order[i]->shape);
}

/* The highest level that an input asks of i. */
static void find_level(fusion *f, int i) {
    const node *x = f->order[i];
    f->level[i] = 0;
    for (int k = 0; !x->store && k < x->n_in; k++) {
        int in = fusion_input(f, i, k), s = f->source[in];
        if (f->uniform[in] || f->order[s]->store) continue;
        int level = f->level[s] + !can_join(f, s, i);
        if (level > f->level[i]) f->level[i] = level;
    }
}

/* A node that is read only where it could be computed too moves there, if that asks for no more in
 * memory: it reads one other value at most. */
static void sink(fusion *f, const int *users_level, int i) {
    const node *x = f->order[i];
    int reads = 0, first = -1;
    for (int k = 0; k < x->n_in; k++) {
        int in = fusion_input(f, i, k);
        if (f->uniform[in] || in == first) continue;
        if (same_loop(&f->order[in]->shape, &x->shape)) reads++;
        first = in;
    }
    if (reads <= 1 && users_level[i] > f->level[i]) f->level[i] = users_level[i];
}

enum { NO_USER = INT32_MAX, PINNED = -1 };

/* Levels from the inputs on, then from the users back; see the head of this file. */
static bool find_levels(fusion *f, const plan_wanted *w) {
    int *users = arena_alloc(f->l->mem, (size_t)f->n * sizeof *users);
    if (!users) return false;
    for (int i = 0; i < f->n; i++) {
        users[i] = NO_USER;
        if (f->rep[i] == i) find_level(f, i);
    }
    for (int r = 0; r < w->n; r++)
        users[f->rep[w->roots[r]->index]] = PINNED;
    for (int i = f->n - 1; i >= 0; i--) {
        const node *x = f->order[i];
        if (f->rep[i] != i || x->store || f->uniform[i]) continue;
        if (f->fusible[i] && users[i] != NO_USER) sink(f, users, i);
        for (int k = 0; k < x->n_in; k++) {
            int in = fusion_input(f, i, k), s = f->source[in];
            int level = can_join(f, s, i) ? f->level[i] : PINNED;
            if (f->source[i] == s && s != i) level = users[i]; /* a view of it has users */
            if (level < users[s]) users[s] = level;
            if (s != in && level < users[in]) users[in] = level;
        }
    }
    return true;
}

/* ---- Units -------------------------------------------------------------------------------- */

static int find(int *parent, int i) {
    while (parent[i] != i)
        i = parent[i] = parent[parent[i]];
    return i;
}

static bool among(const int *list, int n, int x) {
    for (int i = 0; i < n; i++)
        if (list[i] == x) return true;
    return false;
}

/* How many users of m are among the members. */
static int uses_inside(const fusion *f, const int *member, int n, int m) {
    int uses = 0;
    for (int i = 0; i < n; i++) {
        const node *x = f->order[member[i]];
        for (int k = 0; k < x->n_in; k++) {
            int in = fusion_input(f, member[i], k);
            uses += !f->uniform[in] && f->source[in] == m;
        }
    }
    return uses;
}

bool fusion_is_output(const fusion *f, const int *member, int n, int m) {
    return uses_inside(f, member, n, m) < f->uses[m];
}

int fusion_buffers(const fusion *f, const int *member, int n, int *operands) {
    int outside[PROGRAM_OPERANDS + 1], n_outside = 0, numbers = 0, outputs = 0;
    for (int m = 0; m < n; m++) {
        const node *x = f->order[member[m]];
        outputs += fusion_is_output(f, member, n, member[m]);
        for (int k = 0; k < x->n_in; k++) {
            int in = fusion_input(f, member[m], k);
            if (f->uniform[in]) {
                numbers++;
            } else if (!among(member, m, f->source[in]) && !among(outside, n_outside, in)) {
                if (n_outside == PROGRAM_OPERANDS) return INT32_MAX;
                outside[n_outside++] = in;
            }
        }
    }
    *operands = n_outside + outputs + numbers;
    return n_outside + outputs;
}

/* Cuts a chain of members into units that the device can bind, first in first out. */
static void cut(fusion *f, const int *member, int n) {
    int most = (int)f->l->caps->storage_buffers;
    if (most > CHAIN_BINDINGS) most = CHAIN_BINDINGS;
    for (int start = 0; start < n;) {
        int end = start + 1;
        for (; end < n && end - start < MOST_STATEMENTS; end++) {
            int operands = 0;
            int buffers = fusion_buffers(f, member + start, end - start + 1, &operands);
            int rank = f->order[member[end]]->shape.rank;
            if (buffers > most || operands > PROGRAM_OPERANDS ||
                operands * (1 + rank) + 3 * rank + 4 > MAX_PARAMS)
                break;
        }
        for (int m = start; m < end; m++)
            f->group[member[m]] = f->chain[member[m]] = member[start];
        start = end;
    }
}

/* How often each value is asked for: by nodes, by views, by the caller. */
static void count_uses(fusion *f, const plan_wanted *w) {
    int *uses = f->uses;
    for (int r = 0; r < w->n; r++)
        uses[f->rep[w->roots[r]->index]] += 2; /* never inside alone */
    for (int i = 0; i < f->n; i++) {
        const node *x = f->order[i];
        if (f->rep[i] != i || x->store || f->uniform[i] || f->source[i] != i) continue;
        for (int k = 0; k < x->n_in; k++)
            uses[f->source[fusion_input(f, i, k)]]++;
    }
    /* A view that shows all is asked for by the caller: so is what it shows. */
    for (int r = 0; r < w->n; r++)
        uses[f->source[f->rep[w->roots[r]->index]]] += 2;
}

/* Joins what can share a unit: parent[] becomes a forest over the nodes. */
static void join(fusion *f, int *parent) {
    for (int i = 0; i < f->n; i++)
        parent[i] = i;
    for (int i = 0; i < f->n; i++) {
        if (f->rep[i] != i || !f->fusible[i]) continue;
        for (int k = 0; k < f->order[i]->n_in; k++) {
            int in = fusion_input(f, i, k), s = f->source[in];
            if (!f->uniform[in] && can_join(f, s, i) && f->level[s] == f->level[i])
                parent[find(parent, s)] = find(parent, i);
        }
    }
}

static bool find_groups(fusion *f, const plan_wanted *w) {
    size_t bytes = ((size_t)f->n + 1) * sizeof(int);
    int *parent = arena_alloc(f->l->mem, bytes), *next = arena_alloc(f->l->mem, bytes);
    int *last = arena_alloc(f->l->mem, bytes), *head = arena_alloc(f->l->mem, bytes);
    if (!parent || !next || !last || !head) return false;
    join(f, parent);
    count_uses(f, w);
    /* Chains as lists, in the order. */
    int n_heads = 0;
    for (int i = 0; i < f->n; i++)
        next[i] = last[i] = -1;
    for (int i = 0; i < f->n; i++) {
        if (f->rep[i] != i || !f->fusible[i]) continue;
        int top = find(parent, i);
        if (last[top] >= 0)
            next[last[top]] = i;
        else
            head[n_heads++] = i;
        last[top] = i;
    }
    int *member = last; /* the lists are made */
    for (int h = 0; h < n_heads; h++) {
        int n = 0;
        for (int m = head[h]; m >= 0; m = next[m])
            member[n++] = m;
        cut(f, member, n);
    }
    if (f->l->passes & PASS_ATTACH) plan_join(f, member);
    return true;
}

/* ---- What is needed, and when ------------------------------------------------------------- */

bool fusion_inside(const fusion *f, int i, int s) {
    return f->group[i] >= 0 && f->group[s] == f->group[i];
}

/* From the roots back: what is computed, and what is stored. */
static void find_needed(fusion *f, const plan_wanted *w) {
    for (int r = 0; r < w->n; r++) {
        int i = f->rep[w->roots[r]->index];
        f->computed[i] = f->stored[i] = true;
    }
    for (int i = f->n - 1; i >= 0; i--) {
        const node *x = f->order[i];
        if (!f->computed[i] || x->store) continue;
        for (int k = 0; k < x->n_in; k++) {
            int in = fusion_input(f, i, k), s = f->source[in];
            if (f->uniform[in] && (f->fusible[i] || (f->uniform[i] && x->op->element)))
                continue; /* computed there */
            bool inside = fusion_inside(f, i, s);
            if (inside) in = s;
            f->computed[in] = true;
            if (!inside) f->stored[in] = true;
        }
    }
}

/* The units of computed nodes, numbered by their first members, which are listed in the order. */
static int collect(fusion *f, int *unit_of, int *list, int *count) {
    int n = 0, at = 0;
    for (int i = 0; i < f->n; i++)
        unit_of[i] = -1;
    for (int i = 0; i < f->n; i++) {
        if (!f->computed[i]) continue;
        int first = f->group[i] >= 0 ? f->group[i] : i;
        if (unit_of[first] < 0) unit_of[first] = n++;
        unit_of[i] = unit_of[first];
        count[unit_of[i]]++;
    }
    for (int u = 0; u < n; u++) {
        f->units[u] = (unit){0, list + at};
        at += count[u];
    }
    for (int i = 0; i < f->n; i++) {
        if (!f->computed[i]) continue;
        unit *u = &f->units[unit_of[i]];
        list[(u->node - list) + u->n++] = i;
    }
    return n;
}

mare_status plan_fuse(fusion *f, lowering *l, node **order, int n, const plan_wanted *w) {
    size_t ints = ((size_t)n + 1) * sizeof(int), flags = (size_t)n + 1;
    *f = (fusion){.l = l, .order = order, .n = n};
    f->rep = arena_alloc(l->mem, ints);
    f->source = arena_alloc(l->mem, ints);
    f->level = arena_alloc(l->mem, ints);
    f->group = arena_alloc(l->mem, ints);
    f->chain = arena_alloc(l->mem, ints);
    f->uses = arena_alloc(l->mem, ints);
    f->uniform = arena_alloc(l->mem, flags);
    f->fusible = arena_alloc(l->mem, flags);
    f->computed = arena_alloc(l->mem, flags);
    f->stored = arena_alloc(l->mem, flags);
    f->units = arena_alloc(l->mem, ((size_t)n + 1) * sizeof *f->units);
    int *unit_of = arena_alloc(l->mem, ints), *list = arena_alloc(l->mem, ints);
    int *count = arena_alloc(l->mem, ints);
    bool ok = f->rep && f->source && f->level && f->group && f->chain && f->uses && f->uniform &&
              f->fusible && f->computed && f->stored && f->units && unit_of && list && count;
    for (int i = 0; i < n && ok; i++) {
        f->rep[i] = i;
        f->group[i] = f->chain[i] = -1;
    }
    if (ok && l->passes & PASS_SIMPLIFY) ok = plan_simplify(f);
    for (int i = 0; i < n && ok; i++)
        if (f->rep[i] == i) classify(f, i);
    ok = ok && find_levels(f, w) && find_groups(f, w);
    if (ok) {
        find_needed(f, w);
        f->n_units = collect(f, unit_of, list, count);
        ok = plan_schedule(f, unit_of, w);
    }
    return ok ? MARE_OK : error_no_memory(l->error, ints);
}
