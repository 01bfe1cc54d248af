#include "random_graph.h"

#include "random_kinds.h"

#include <string.h>

static void draw_sizes(recipe *r, rng *random, int which) {
    static const int64_t small[] = {2, 3, 4, 5, 6, 7}, odd[] = {3, 9, 17, 33},
                         least[] = {1, 1, 1, 2, 5, 0};
    for (int k = 0; k < RECIPE_SIZES; k++)
        r->size[k] = which == 0   ? small[rng_below(random, 6)]
                     : which == 1 ? odd[rng_below(random, 4)]
                                  : least[rng_below(random, 6)];
}

void random_sizes(recipe *r, int which) {
    rng random = {r->seed, 1000u * (unsigned)(which + 1)};
    draw_sizes(r, &random, which);
}

static const random_kind *some_kind(maker *m) {
    int sum = 0;
    for (const random_kind *k = random_kinds; k->step.name; k++)
        sum += k->weight;
    int at = (int)maker_below(m, (uint32_t)sum);
    const random_kind *k = random_kinds;
    for (; at >= k->weight; k++)
        at -= k->weight;
    return k;
}

/* A step, or once more one that is there. */
static void add_step(maker *m) {
    recipe_step s = {.limit = {SIZE_FIXED, 0}};
    if (m->r->n && maker_chance(m, 8)) {
        const recipe_step *old = &m->r->step[maker_below(m, (uint32_t)m->r->n)];
        if (old->kind) {
            s = *old;
            maker_add(m, &s);
        }
        return;
    }
    const random_kind *k = some_kind(m);
    s.kind = &k->step;
    if (k->choose(m, &s)) maker_add(m, &s);
}

/* The youngest computed value, and some of those before. */
static void choose_roots(maker *m) {
    recipe *r = m->r;
    for (int i = r->n - 1; i >= 0 && r->n_roots < RECIPE_ROOTS; i--)
        if (r->step[i].kind && (!r->n_roots || maker_chance(m, 25))) r->root[r->n_roots++] = i;
}

bool random_graph(checker *c, uint64_t seed, recipe *r) {
    memset(r, 0, sizeof *r);
    r->seed = seed;
    random_sizes(r, 0);
    maker m = {.c = c, .r = r, .random = {seed, 0}};
    r->gradient = maker_chance(&m, 35);
    r->update = r->gradient && maker_chance(&m, 50);
    int steps = 4 + (int)maker_below(&m, r->gradient ? 10 : 20);
    c->g.random = (rng){seed, 0};
    graph_scope_begin(&c->g);
    for (int tries = 0; r->n < steps && tries < 3 * steps; tries++)
        add_step(&m);
    choose_roots(&m);
    graph_scope_end(&c->g);
    map_free(&m.known);
    checker_forget(c);
    return r->n_roots > 0;
}
