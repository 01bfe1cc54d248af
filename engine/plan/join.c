/* Chains that join the launch beside them (PASS_ATTACH): a chain that reads the result of a product
 * or a reduction becomes work on each element as it is made, a chain that a reduction alone reads
 * becomes what it makes its elements of.
 *
 * A chain may only join a core whose other inputs are there by then. They are when they come before
 * the core by (level, place in the order): what depends on the core has a higher level. All of a
 * unit's inputs then come before its core, so units never wait for each other in a circle. */
#include "graph/expr.h"
#include "graph/math.h"
#include "plan/fuse.h"

#include <stdio.h>
#include <string.h>

enum { A_FEW = 4 }; /* buffers of a chain that moves little: result, bias, another, output */

static bool four_bytes(const node *x) {
    return mare_dtype_size(x->dtype) == 4;
}

static bool is_core(const fusion *f, int i, uint32_t how) {
    const node *x = f->order[i];
    return !x->store && x->op->attach & how && four_bytes(x) && f->rep[i] == i &&
           shape_count(&x->shape) > 0;
}

/* Do all elements of i's loop fit one binding? */
static bool binds_whole(const fusion *f, int i) {
    return (uint64_t)shape_count(&f->order[i]->shape) * 4 + 512 <= f->l->caps->binding;
}

static bool comes_before(const fusion *f, int i, int core) {
    return f->order[i]->store || f->level[i] < f->level[core] ||
           (f->level[i] == f->level[core] && i < core);
}

/* The last core among what the chain reads that could take it, or -1. */
static int find_core(const fusion *f, const int *member, int n) {
    int best = -1;
    for (int m = 0; m < n; m++) {
        const node *x = f->order[member[m]];
        for (int k = 0; k < x->n_in; k++) {
            int s = f->source[fusion_input(f, member[m], k)];
            if (!is_core(f, s, ATTACH_AFTER) || f->group[s] >= 0 ||
                !same_loop(&f->order[s]->shape, &x->shape))
                continue;
            if (best < 0 || comes_before(f, best, s)) best = s;
        }
    }
    return best;
}

/* What a chain adds to a core's kernel, beside the value that passes between the two. */
typedef struct demand {
    int bindings, operands, words;
} demand;

static demand demand_of(const fusion *f, const int *member, int n) {
    demand d = {0};
    int rank = f->order[member[0]]->shape.rank;
    d.bindings = fusion_buffers(f, member, n, &d.operands) - 1;
    d.words = d.operands * (1 + rank) + 3 * rank;
    return d;
}

/* Room in the core's kernel for that; raw: the core's result is written too. */
static bool has_room(const fusion *f, demand d, int core, bool raw) {
    int most = (int)f->l->caps->storage_buffers;
    if (most > CHAIN_BINDINGS) most = CHAIN_BINDINGS;
    /* At most, of a core by itself; and what one binds beside its inputs where that is a lot. */
    enum { CORE_WORDS = 96, CORE_SCRATCH = 2, A_LOT = 6 };
    int scratch = most >= A_LOT ? CORE_SCRATCH : 0;
    return d.bindings + raw + f->order[core]->n_in + scratch <= most &&
           d.operands + 1 < PROGRAM_OPERANDS && d.words + CORE_WORDS <= MAX_PARAMS;
}

/* Does a core with fewer elements in its inputs than in its result (an outer product) do less for
 * each than the chain moves? Then a launch of the chain's own moves them better. On a CPU it always
 * does, where a core's elements come one by one and a launch costs little. */
static bool moves_more(const fusion *f, const int *member, int n, int core) {
    const node *c = f->order[core];
    int64_t inputs = 0, result = shape_count(&c->shape);
    for (int k = 0; k < c->n_in; k++)
        inputs += shape_count(&f->order[fusion_input(f, core, k)]->shape);
    int operands;
    return (inputs < result || f->l->caps->type == DEV_CPU) &&
           fusion_buffers(f, member, n, &operands) > A_FEW;
}

/* Does GLSL call a function that must stand apart? */
static bool calls_apart(const char *glsl) {
    const expr_function *f;
    for (int i = 0; (f = math_function(i)) != NULL; i++) {
        char call[48];
        snprintf(call, sizeof call, "m_%s(", f->name);
        if (f->apart && strstr(glsl, call)) return true;
    }
    return false;
}

static bool stands_apart(const fusion *f, const int *member, int n) {
    static const char *const names[MAX_ELEMENT_INPUTS] = {"a", "b", "c"};
    text glsl = {0};
    mare_dtype compute;
    for (int m = 0; m < n; m++)
        f->order[member[m]]->op->element(f->order[member[m]], names, &compute, &glsl, NULL);
    bool apart = glsl.failed || calls_apart(text_str(&glsl));
    text_free(&glsl);
    return apart;
}

static void join_after(fusion *f, const int *member, int n) {
    int core = find_core(f, member, n), reads = 0;
    if (core < 0 || stands_apart(f, member, n) || !binds_whole(f, core) ||
        moves_more(f, member, n, core))
        return;
    for (int m = 0; m < n; m++) {
        const node *x = f->order[member[m]];
        if (!four_bytes(x) && fusion_is_output(f, member, n, member[m])) return;
        for (int k = 0; k < x->n_in; k++) {
            int in = fusion_input(f, member[m], k), s = f->source[in];
            if (f->uniform[in] || f->group[s] == f->group[member[m]]) continue;
            if (s == core)
                reads++;
            else if (!comes_before(f, s, core))
                return;
        }
    }
    if (has_room(f, demand_of(f, member, n), core, f->uses[core] > reads))
        f->group[core] = f->group[member[0]];
}

/* Members of the chain that i is in; they follow its first one in the order. */
static int members_of(const fusion *f, int chain, int *member) {
    int n = 0;
    for (int i = chain; i < f->n; i++)
        if (f->chain[i] == chain) member[n++] = i;
    return n;
}

/* The chain is read by one reduction alone. */
static void join_before(fusion *f, int *member, int n, int reduction) {
    int s = f->source[fusion_input(f, reduction, 0)];
    if (!four_bytes(f->order[s]) || f->uses[s] != 1 || !binds_whole(f, s)) return;
    if (stands_apart(f, member, n)) return;
    for (int m = 0; m < n; m++)
        if (member[m] != s && fusion_is_output(f, member, n, member[m])) return;
    demand d = demand_of(f, member, n);
    if (f->group[reduction] >= 0) { /* by a chain after it, which needs its room as well */
        int *after = member + n, count = members_of(f, f->group[reduction], after);
        demand more = demand_of(f, after, count);
        d.bindings += more.bindings;
        d.words += more.words;
    }
    /* Of the reduction itself the result is left: what it reads is made in place. */
    if (!has_room(f, d, reduction, false)) return;
    /* Where the reduction has a chain after it, this one joins that unit. */
    int into = f->group[reduction] >= 0 ? f->group[reduction] : f->group[member[0]];
    f->group[reduction] = into;
    for (int m = 0; m < n; m++)
        f->group[member[m]] = into;
}

void plan_join(fusion *f, int *member) {
    for (int i = 0; i < f->n; i++)
        if (f->chain[i] == i) join_after(f, member, members_of(f, i, member));
    for (int i = 0; i < f->n; i++) {
        if (!is_core(f, i, ATTACH_BEFORE) || f->order[i]->n_in != 1) continue;
        int in = fusion_input(f, i, 0), s = f->source[in];
        if (f->uniform[in] || !f->fusible[s]) continue;
        int n = members_of(f, f->chain[s], member);
        bool alone = true; /* not joined to a core already */
        for (int k = 0; k < f->n && alone; k++)
            alone = f->chain[k] >= 0 || f->group[k] != f->group[s];
        if (alone) join_before(f, member, n, i);
    }
}
