/* Random graphs, evaluated in every way there is: with all passes, with each left out, with none,
 * node by node, and by the references of the ops in double. Where no arithmetic moves, results are
 * the same to the bit; elsewhere they agree within rounding. A graph that fails is made as small as
 * it goes, and shown.
 *
 * MARE_GRAPHS=5000 tries the first so many seeds, with every pass left out; MARE_GRAPH=7 shows and
 * tries that seed alone. */
#include "ops/ops.h"
#include "random_graph.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
    SEEDS = 120,
    FRESH = 50, /* seeds that share a device */
    SHAKES = 6,
    RUNS = 6, /* of a plan: commands are recorded in the third and sent again from the fifth on, */
    MANY_RUNS = 24, /* and in the longer of these runs taken apart where bindings change */
    FAILURES = 5
};

static const struct pass {
    const char *name;
    bool exact; /* moves no arithmetic */
} passes[] = {{"simplify", false}, {"fuse", false},   {"attach", false},
              {"merge", true},     {"inplace", true}, {"replay", true}};
enum { PASSES = sizeof passes / sizeof *passes };

/* What came out of one evaluation. */
typedef struct results {
    int n;
    void *data[RECIPE_OUT];
    size_t bytes[RECIPE_OUT];
} results;

/* What should come out, with one set of values. */
typedef struct expected {
    bool usable;
    int n;
    host_graph figures[RECIPE_OUT]; /* of what leads to each root, for check_tolerance() alone */
    mare_dtype dtype[RECIPE_OUT];
    shape shape[RECIPE_OUT];
    double *value[RECIPE_OUT];
} expected;

typedef enum verdict { GOOD, REFUSED, SENSITIVE, WRONG } verdict;

typedef struct tester {
    checker c;
    expected want[2];
    bool all; /* passes are left out one by one, all of them; else one a graph */
    bool show;
    char message[2048];
    double worst;                /* error over tolerance */
    int launches, launches_none; /* of all graphs, with all passes and with none */
    uint64_t launched, recorded; /* in later runs; those that were not recorded were sent again */
} tester;

static verdict wrong(tester *t, const char *fmt, ...) MARE_PRINTF(2, 3);
static verdict wrong(tester *t, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    vsnprintf(t->message, sizeof t->message, fmt, args);
    va_end(args);
    return WRONG;
}

static void results_free(results *r) {
    for (int i = 0; i < r->n; i++)
        free(r->data[i]);
    memset(r, 0, sizeof *r);
}

static void *copy(const void *data, size_t bytes) {
    void *to = malloc(bytes + 1);
    cr_assert_not_null(to);
    return memcpy(to, data, bytes);
}

/* ---- The reference ------------------------------------------------------------------------ */

static void forget_expected(expected *e) {
    for (int i = 0; i < e->n; i++)
        free(e->value[i]);
    memset(e, 0, sizeof *e);
}

static bool finite(const expected *e) {
    for (int i = 0; i < e->n; i++)
        for (int64_t k = 0; k < shape_count(&e->shape[i]); k++)
            if (!isfinite(e->value[i][k])) return false;
    return true;
}

/* Does it matter how the steps are rounded? Near a jump, or where errors grow from step to step, an
 * evaluation may be right and far away. */
static bool sensitive(tester *t, host_graph *h, const expected *e) {
    h->shake = 2;
    for (int s = 0; s < SHAKES; s++) {
        host_graph_run(&t->c, h, s % 2);
        for (int i = 0; i < e->n; i++)
            for (int64_t k = 0; k < shape_count(&e->shape[i]); k++) {
                double ref = e->value[i][k];
                bool is_float = dtype_is_float(e->dtype[i]);
                double most = is_float ? check_tolerance(&e->figures[i], ref) / 2 : 0;
                if (!(fabs(h->root[i][k] - ref) <= most)) return true;
            }
    }
    return false;
}

/* The values of a root, and how far rounding may lead from them. */
static void expect_root(checker *c, expected *e, node *root) {
    host_graph *h = &e->figures[e->n];
    e->dtype[e->n] = root->dtype;
    e->shape[e->n] = root->shape;
    cr_assert(host_graph_make(c, &root, 1, h), "%s", c->error.text);
    host_graph_run(c, h, true);
    e->value[e->n++] = copy(h->root[0], (size_t)shape_count(&root->shape) * sizeof(double));
    host_graph figures = {.nodes = h->nodes, .sums = h->sums, .peak = h->peak, .unit = h->unit};
    host_graph_free(h);
    *h = figures;
}

static verdict ask_reference(tester *t, recipe *r, int values) {
    checker *c = &t->c;
    expected *e = &t->want[values];
    recipe_nodes nodes;
    host_graph h;
    forget_expected(e);
    if (!recipe_build(c, r, values, &nodes)) return REFUSED;
    for (int i = 0; i < nodes.n_roots; i++)
        expect_root(c, e, nodes.root[i]);
    cr_assert(host_graph_make(c, nodes.root, nodes.n_roots, &h), "%s", c->error.text);
    e->usable = finite(e) && !sensitive(t, &h, e);
    host_graph_free(&h);
    return e->usable ? GOOD : SENSITIVE;
}

/* ---- The device --------------------------------------------------------------------------- */

/* Leaves that somebody holds, with their bytes. */
typedef struct holding {
    int n;
    node *node[RECIPE_STEPS];
    results value;
} holding;

static bool read(tester *t, node *n, results *to) {
    size_t bytes = (size_t)shape_count(&n->shape) * mare_dtype_size(n->dtype);
    void *data = malloc(bytes + 1);
    cr_assert_not_null(data);
    to->data[to->n] = data;
    to->bytes[to->n++] = bytes;
    return plan_read(t->c.planner, n, data, bytes) == MARE_OK;
}

/* One by one, in order. */
static mare_status evaluate_nodes(tester *t, node *const *roots, int n_roots) {
    node **order;
    int n;
    mare_status status = graph_order(&t->c.g, roots, n_roots, &order, &n);
    for (int i = 0; i < n && !status; i++)
        if (!node_is_const(order[i])) status = plan_eval(t->c.planner, &order[i], 1);
    free(order);
    return status;
}

/* Results that somebody keeps while others are computed. */
typedef struct keeping {
    int n;
    node *node[RECIPE_OUT];
} keeping;

static void keeping_free(keeping *k) {
    for (int i = 0; i < k->n; i++)
        node_release(k->node[i]);
    k->n = 0;
}

/* Builds and evaluates; of the graph, the roots and the held leaves alone are kept meanwhile. The
 * roots go into `kept`, if that is given. */
static verdict evaluate(tester *t, recipe *r, int values, bool eager, results *out, keeping *kept) {
    checker *c = &t->c;
    recipe_nodes nodes;
    holding held = {0};
    verdict v = GOOD;
    graph_scope_begin(&c->g);
    bool built = recipe_build(c, r, values, &nodes);
    for (int i = 0; built && i < nodes.n_roots; i++)
        node_retain(nodes.root[i]);
    for (int i = 0; built && i < r->n; i++) {
        if (r->step[i].kind || !r->step[i].held) continue;
        held.node[held.n++] = node_retain(nodes.value[i]);
        built = read(t, nodes.value[i], &held.value);
    }
    graph_scope_end(&c->g);
    checker_forget(c);
    if (!built) return wrong(t, "built once and not again: %s", c->error.text);
    mare_status status = eager ? evaluate_nodes(t, nodes.root, nodes.n_roots) : MARE_OK;
    if (!status) status = plan_eval(c->planner, nodes.root, nodes.n_roots);
    for (int i = 0; i < nodes.n_roots && !status; i++)
        if (!read(t, nodes.root[i], out)) status = c->error.code;
    if (status) v = wrong(t, "evaluation: %s", c->error.text);
    results after = {0};
    for (int i = 0; i < held.n && v == GOOD; i++) {
        if (!read(t, held.node[i], &after))
            v = wrong(t, "reading a leaf: %s", c->error.text);
        else if (memcmp(after.data[i], held.value.data[i], after.bytes[i]) != 0)
            v = wrong(t, "the value of held leaf %d has changed", i);
    }
    results_free(&after);
    results_free(&held.value);
    for (int i = 0; i < held.n; i++)
        node_release(held.node[i]);
    keeping roots = {.n = nodes.n_roots};
    memcpy(roots.node, nodes.root, (size_t)roots.n * sizeof *roots.node);
    if (kept)
        *kept = roots;
    else
        keeping_free(&roots);
    return v;
}

/* ---- Comparisons -------------------------------------------------------------------------- */

static verdict compare(tester *t, const char *how, const results *got, int values) {
    const expected *e = &t->want[values];
    char s[SHAPE_TEXT];
    if (!e->usable) return GOOD;
    for (int i = 0; i < e->n; i++) {
        int64_t count = shape_count(&e->shape[i]);
        double *x = malloc(((size_t)count + 1) * sizeof *x);
        cr_assert_not_null(x);
        dtype_unpack(e->dtype[i], got->data[i], x, count);
        verdict v = GOOD;
        for (int64_t k = 0; k < count && v == GOOD; k++) {
            double ref = e->value[i][k], error = fabs(x[k] - ref);
            bool is_float = dtype_is_float(e->dtype[i]);
            double tolerance = is_float ? check_tolerance(&e->figures[i], ref) : 0;
            if (error > 0 && error <= tolerance) t->worst = fmax(t->worst, error / tolerance);
            if (error <= tolerance) continue;
            v = wrong(
                t, "%s: root %d %s %s, element %lld: %.9g, by the reference %.9g, tolerance %.3g",
                how, i, mare_dtype_name(e->dtype[i]), shape_text(&e->shape[i], s), (long long)k,
                x[k], ref, tolerance);
        }
        free(x);
        if (v != GOOD) return v;
    }
    return GOOD;
}

static verdict same(tester *t, const char *how, const results *a, const results *b) {
    for (int i = 0; i < a->n; i++) {
        if (!memcmp(a->data[i], b->data[i], a->bytes[i])) continue;
        const mare_dtype type = t->want[0].dtype[i];
        size_t size = mare_dtype_size(type), at = 0;
        while (!memcmp((char *)a->data[i] + at, (char *)b->data[i] + at, size))
            at += size;
        double x, y;
        dtype_unpack(type, (char *)a->data[i] + at, &x, 1);
        dtype_unpack(type, (char *)b->data[i] + at, &y, 1);
        return wrong(t, "%s: root %d, element %zu: %.9g and %.9g are not the same bits", how, i,
                     at / size, x, y);
    }
    return GOOD;
}

static int launches(const tester *t) {
    plan_info info;
    planner_get_info(t->c.planner, &info);
    return info.launches;
}

/* One more run of the plan, with the first or the second values. What the run before gave is kept
 * by somebody meanwhile, every second time. */
static verdict run_again(tester *t, recipe *r, int run, const results *first, keeping *kept) {
    results out = {0}, before = {0};
    keeping now = {0};
    bool keeps = kept->n > 0;
    verdict v = evaluate(t, r, run % 2, false, &out, &now);
    if (v == GOOD) v = same(t, "the first runs and a later one", &first[run % 2], &out);
    for (int i = 0; i < kept->n && v == GOOD; i++)
        if (!read(t, kept->node[i], &before)) v = wrong(t, "reading what was kept");
    if (v == GOOD && keeps)
        v = same(t, "kept results and themselves, a run later", &before, &first[1 - run % 2]);
    keeping_free(kept);
    if (v == GOOD && !keeps)
        *kept = now;
    else
        keeping_free(&now);
    results_free(&before);
    results_free(&out);
    return v;
}

/* All passes: a plan is made, and runs again and again. */
static verdict run_all(tester *t, recipe *r, results out[2]) {
    planner_stats before, after;
    keeping kept = {0};
    planner_set_passes(t->c.planner, PASS_ALL);
    verdict v = evaluate(t, r, 0, false, &out[0], NULL);
    if (v == GOOD) v = compare(t, "all passes", &out[0], 0);
    if (v == GOOD) t->launches += launches(t);
    planner_get_stats(t->c.planner, &before);
    if (v == GOOD) v = evaluate(t, r, 1, false, &out[1], NULL);
    if (v == GOOD) v = compare(t, "a second run", &out[1], 1);
    int runs = t->all || r->seed % 8 == 0 ? MANY_RUNS : RUNS;
    for (int i = 2; i < runs && v == GOOD; i++)
        v = run_again(t, r, i, out, &kept);
    keeping_free(&kept);
    planner_get_stats(t->c.planner, &after);
    if (v == GOOD && after.plans > before.plans)
        v = wrong(t, "other values made %llu more plans",
                  (unsigned long long)(after.plans - before.plans));
    t->launched += after.launches - before.launches;
    t->recorded += after.recorded - before.recorded;
    return v;
}

static verdict run_without(tester *t, recipe *r, const struct pass *p, const results *all) {
    char how[64];
    uint32_t set = PASS_ALL;
    results out = {0};
    snprintf(how, sizeof how, "-%s", p->name);
    cr_assert_eq(plan_passes_apply(&set, how, &t->c.error), MARE_OK, "%s", t->c.error.text);
    planner_set_passes(t->c.planner, set);
    verdict v = evaluate(t, r, 1, false, &out, NULL);
    snprintf(how, sizeof how, "without %s", p->name);
    if (v == GOOD) v = compare(t, how, &out, 1);
    if (v == GOOD && p->exact) v = same(t, how, &out, all);
    results_free(&out);
    return v;
}

/* Without passes, and node by node. */
static verdict run_none(tester *t, recipe *r) {
    results out = {0}, eager = {0};
    planner_set_passes(t->c.planner, 0);
    verdict v = evaluate(t, r, 1, false, &out, NULL);
    if (v == GOOD) v = compare(t, "without passes", &out, 1);
    if (v == GOOD) t->launches_none += launches(t);
    if (v == GOOD) v = evaluate(t, r, 1, true, &eager, NULL);
    if (v == GOOD) v = same(t, "without passes and node by node", &out, &eager);
    results_free(&out);
    results_free(&eager);
    return v;
}

static verdict try_recipe(tester *t, recipe *r) {
    verdict v = GOOD;
    for (int values = 0; values < 2 && v == GOOD; values++) {
        graph_scope_begin(&t->c.g);
        v = ask_reference(t, r, values);
        graph_scope_end(&t->c.g);
        checker_forget(&t->c);
        if (values && v == SENSITIVE) v = GOOD; /* the first values are good for comparisons */
    }
    if (v != GOOD) return v;
    results all[2] = {{0}};
    v = run_all(t, r, all);
    for (int i = 0; i < PASSES && v == GOOD; i++)
        if (t->all || r->seed % PASSES == (uint64_t)i) v = run_without(t, r, &passes[i], &all[1]);
    if (v == GOOD) v = run_none(t, r);
    results_free(&all[0]);
    results_free(&all[1]);
    if (v == GOOD && t->c.g.alive)
        v = wrong(t, "%zu nodes are alive when all is released", t->c.g.alive);
    return v;
}

static bool is_wrong(void *arg, recipe *r) {
    return try_recipe(arg, r) == WRONG;
}

/* ---- The test ----------------------------------------------------------------------------- */

typedef struct tally {
    int of[WRONG + 1], steps;
} tally;

static void show_failure(tester *t, recipe *r) {
    t->all = true;
    recipe_shrink(r, is_wrong, t);
    if (try_recipe(t, r) != WRONG) snprintf(t->message, sizeof t->message, "not every time");
    fprintf(stderr, "%s\n", t->message);
    recipe_print(r, stderr);
}

static void try_seed(tester *t, uint64_t seed, tally *n) {
    recipe r;
    if (!random_graph(&t->c, seed, &r)) return;
    for (int i = 0; i < RANDOM_SIZES && n->of[WRONG] < FAILURES; i++) {
        bool all = t->all;
        random_sizes(&r, i);
        if (t->show) recipe_print(&r, stderr);
        verdict v = try_recipe(t, &r);
        n->of[v]++;
        n->steps += r.n;
        if (v == WRONG) {
            show_failure(t, &r);
            random_graph(&t->c, seed, &r);
        }
        t->all = all;
    }
}

static uint64_t setting(const char *name, uint64_t fallback) {
    const char *value = getenv(name);
    return value && *value ? strtoull(value, NULL, 10) : fallback;
}

Test(random_graphs, agree_in_every_evaluation) {
    static tester t;
    tally n = {0};
    uint64_t one = setting("MARE_GRAPH", 0), last = setting("MARE_GRAPHS", SEEDS);
    t.all = one || last > SEEDS;
    t.show = one;
    for (uint64_t seed = one ? one : 1; seed <= (one ? one : last) && n.of[WRONG] < FAILURES;) {
        cr_assert(checker_open(&t.c, NULL), "%s", t.c.error.text);
        for (int i = 0; i < FRESH && seed <= (one ? one : last) && n.of[WRONG] < FAILURES; i++)
            try_seed(&t, seed++, &n);
        cr_expect(checker_close(&t.c));
    }
    forget_expected(&t.want[0]);
    forget_expected(&t.want[1]);
    printf("%d graphs agree, %d are refused in some sizes, %d hang on rounding; %d steps, error at "
           "most %.2f of the tolerance\n",
           n.of[GOOD], n.of[REFUSED], n.of[SENSITIVE], n.steps, t.worst);
    printf("%d launches with all passes, %d with none; of %llu in later runs %llu were recorded\n",
           t.launches, t.launches_none, (unsigned long long)t.launched,
           (unsigned long long)t.recorded);
    fflush(stdout);
    cr_assert_eq(n.of[WRONG], 0, "%d failures", n.of[WRONG]);
    if (one) return;
    cr_assert_lt(t.launches, t.launches_none);
    cr_assert_lt(t.recorded, t.launched);
    cr_assert_gt(n.of[GOOD], (int)last, "too few graphs are good for a comparison");
}
