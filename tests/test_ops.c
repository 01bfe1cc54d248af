/* Walks the registry: every op with every case, on the device and by its reference, with gradients.
 * MARE_TEST_OP=name walks one op. */
#include "op_check.h"
#include "ops/ops.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_IN = MAX_CASE_IN, MAX_FAILURES = 40 };

/* How a case's inputs lie in memory. */
typedef enum layout { PLAIN, PERMUTED, SLICED, LAYOUTS } layout;
static const char *const layout_name[LAYOUTS + 1] = {"plain", "permuted", "sliced", "any"};

typedef struct walk {
    checker c;
    dev_caps caps[3]; /* the device's own, the bare baseline, the phone */
    const op *op;
    int index; /* of the case */
    layout layout;
    int failures, checks;
    int built;    /* cases that made a node of the op */
    double worst; /* error over tolerance */
} walk;

static void fail(walk *w, const char *fmt, ...) MARE_PRINTF(2, 3);
static void fail(walk *w, const char *fmt, ...) {
    if (++w->failures > MAX_FAILURES) return;
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "%s, case %d, %s inputs: ", w->op->name, w->index, layout_name[w->layout]);
    vfprintf(stderr, fmt, args);
    fprintf(stderr, "\n");
    va_end(args);
}

/* ---- Inputs ------------------------------------------------------------------------------- */

static void bounds(const op_case *k, int i, double *lo, double *hi) {
    bool own = k->lo_in[i] < k->hi_in[i];
    *lo = own ? k->lo_in[i] : k->lo;
    *hi = own ? k->hi_in[i] : k->hi;
}

/* The values as the view axes-reversed of a leaf. */
static node *permuted(checker *c, mare_dtype t, const shape *s, const double *x) {
    shape back = *s;
    int axes[MAX_DIMS];
    int64_t count = shape_count(s), stride[MAX_DIMS];
    for (int i = 0; i < s->rank; i++) {
        axes[i] = s->rank - 1 - i;
        back.dim[i] = s->dim[axes[i]];
    }
    shape_strides(&back, stride);
    double *moved = arena_alloc(&c->mem, (size_t)(count + 1) * sizeof *moved);
    for (int64_t i = 0; i < count; i++) {
        int64_t rest = i, at = 0;
        for (int d = s->rank - 1; d >= 0; d--) {
            at += rest % s->dim[d] * stride[s->rank - 1 - d];
            rest /= s->dim[d];
        }
        moved[at] = x[i];
    }
    node *leaf = checker_leaf(c, t, &back, moved);
    if (leaf) leaf->requires_grad = dtype_is_float(t);
    return op_permute(&c->g, leaf, axes, s->rank);
}

/* The values as every second element of a larger leaf, odd axes backwards, as evaluated memory.
 * What lies between is NaN, or in integers a legal value. */
static node *sliced(checker *c, mare_dtype t, const shape *s, const double *x) {
    shape big = *s;
    int64_t start[MAX_DIMS] = {0}, stop[MAX_DIMS] = {0}, step[MAX_DIMS] = {0},
            stride[MAX_DIMS] = {0};
    int64_t count = shape_count(s);
    for (int i = 0; i < s->rank; i++) {
        big.dim[i] = 2 * s->dim[i] + 1;
        start[i] = i % 2 && s->dim[i] ? 2 * s->dim[i] - 1 : 1;
        stop[i] = s->dim[i] == 0 ? start[i] : i % 2 ? INT64_MIN : INT64_MAX;
        step[i] = i % 2 ? -2 : 2;
    }
    shape_strides(&big, stride);
    int64_t all = shape_count(&big);
    double *spread = arena_alloc(&c->mem, (size_t)all * sizeof *spread);
    for (int64_t i = 0; i < all; i++)
        spread[i] = dtype_is_float(t) ? (double)NAN : count ? x[0] : 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t rest = i, at = 0;
        for (int d = s->rank - 1; d >= 0; d--) {
            at += (start[d] + rest % s->dim[d] * step[d]) * stride[d];
            rest /= s->dim[d];
        }
        spread[at] = x[i];
    }
    node *part = op_slice(&c->g, checker_leaf(c, t, &big, spread), start, stop, step);
    if (!part || plan_eval(c->planner, &part, 1) != MARE_OK) return NULL;
    return checker_alias(c, part, x);
}

static node *make_input(walk *w, const op_case *k, int i, double **values) {
    checker *c = &w->c;
    const shape *s = &k->in[i];
    mare_dtype t = k->dtype[i];
    double lo, hi;
    bounds(k, i, &lo, &hi);
    *values = checker_draw(c, t, shape_count(s), lo, hi);
    node *n = w->layout == PLAIN || s->rank == 0 ? checker_leaf(c, t, s, *values)
              : w->layout == PERMUTED            ? permuted(c, t, s, *values)
                                                 : sliced(c, t, s, *values);
    if (n && dtype_is_float(t)) n->requires_grad = true;
    return n;
}

/* Does another layout say anything new about this case? */
static bool has_layout(const op_case *k, layout y) {
    for (int i = 0; i < k->n_in; i++)
        if (shape_count(&k->in[i]) > 0 && k->in[i].rank >= (y == PERMUTED ? 2 : 1)) return true;
    return y == PLAIN;
}

/* ---- Comparisons -------------------------------------------------------------------------- */

/* n has been evaluated by the host as `ref`. */
static void compare(walk *w, const host_graph *h, const char *what, node *n, const double *ref) {
    const double *x = checker_read(&w->c, n);
    if (!x) {
        fail(w, "%s: %s", what, w->c.error.text);
        w->c.error.code = MARE_OK;
        return;
    }
    int64_t count = shape_count(&n->shape);
    bool exact = !dtype_is_float(n->dtype);
    for (int64_t i = 0; i < count; i++) {
        if (x[i] == ref[i] || (isnan(x[i]) && isnan(ref[i]))) continue;
        double tolerance = exact ? 0 : check_tolerance(h, ref[i]);
        double error = fabs(x[i] - ref[i]);
        if (error <= tolerance) {
            w->worst = fmax(w->worst, error / tolerance);
            continue;
        }
        char s[SHAPE_TEXT];
        fail(w, "%s %s, element %lld: %.9g on the device, %.9g by the reference, tolerance %.3g",
             what, shape_text(&n->shape, s), (long long)i, x[i], ref[i], tolerance);
        return;
    }
    w->checks++;
}

/* Known ranges of integers hold. */
static void check_ranges(walk *w, const host_graph *h) {
    for (int i = 0; i < h->n; i++) {
        const node *n = h->order[i];
        if (dtype_is_float(n->dtype) || n->lo > n->hi) continue;
        for (int64_t k = 0; k < shape_count(&n->shape); k++) {
            if (h->value[i][k] >= (double)n->lo && h->value[i][k] <= (double)n->hi) continue;
            fail(w, "%s: %g is outside its range %lld..%lld", n->op->name, h->value[i][k],
                 (long long)n->lo, (long long)n->hi);
            return;
        }
    }
}

/* Scalar function of the leaves: the roots of h, each times its weights. */
typedef struct projection {
    host_graph *h;
    node *const *roots;
    double *const *weights;
} projection;

/* Adds the magnitudes of the terms to *size. */
static double project(walk *w, const projection *p, double *size) {
    host_graph_run(&w->c, p->h, false);
    double sum = 0;
    for (int i = 0; i < p->h->n_roots; i++) {
        for (int64_t k = 0; k < shape_count(&p->roots[i]->shape); k++) {
            double term = p->h->root[i][k] * p->weights[i][k];
            sum += term;
            *size += fabs(term);
        }
    }
    return sum;
}

/* Central differences of p by the leaf whose values are x, against its gradient. */
static void check_gradient(walk *w, const projection *p, const char *what, double *x, int64_t n,
                           const double *gradient) {
    int64_t work = 0, kinks = 0;
    double largest = 0;
    for (int i = 0; i < p->h->n; i++)
        work += shape_count(&p->h->order[i]->shape) + 1;
    for (int64_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(gradient[i]));
    int64_t samples = 2000000 / work;
    samples = samples < 3 ? 3 : samples > 24 ? 24 : samples;
    for (int64_t s = 0; s < samples && s < n; s++) {
        int64_t i = n <= samples ? s : rng_below(&w->c.random, (uint32_t)n);
        double at = x[i], h = 1e-5 * fmax(1, fabs(at));
        x[i] = at + h;
        double size = 0, up = project(w, p, &size);
        x[i] = at - h;
        double down = project(w, p, &size);
        x[i] = at;
        double slope = (up - down) / (2 * h);
        double noise = 1e-15 * size / h; /* of double itself */
        if (fabs(slope - gradient[i]) <= 1e-5 * (fabs(slope) + largest) + noise) continue;
        /* Where the slopes on both sides differ there is no derivative: a jump or a kink, which few
         * of the values hit (f16 has few values). */
        double here = project(w, p, &size), left = (here - down) / h, right = (up - here) / h;
        if (fabs(left - right) > 0.01 * (fabs(left) + fabs(right)) + noise &&
            ++kinks * 4 <= samples)
            continue;
        fail(w, "%s, element %lld: gradient %.9g, central difference %.9g", what, (long long)i,
             gradient[i], slope);
        return;
    }
    w->checks++;
}

/* ---- A case ------------------------------------------------------------------------------- */

typedef struct trial {
    node *x[2 * MAX_IN]; /* float inputs, and after first_gradient() the weights of y */
    double *values[2 * MAX_IN];
    int n;
    node *y, *gx[2 * MAX_IN], *ggx[2 * MAX_IN];
    double *wy;
} trial;

static node *random_like(walk *w, const node *n, double **values) {
    *values = checker_draw(&w->c, n->dtype, shape_count(&n->shape), -1, 1);
    return checker_leaf(&w->c, n->dtype, &n->shape, *values);
}

static bool contains(const host_graph *h, const op *o) {
    for (int i = 0; i < h->n; i++)
        if (h->order[i]->op == o) return true;
    return false;
}

/* Results that the host has in a graph and the device has yet to compute. All host work on a case
 * comes first: evaluating on the device lets graphs go. */
typedef struct pending {
    const char *what;
    host_graph h;
    node *roots[2 * MAX_IN];
    int n;
} pending;

typedef struct results {
    pending list[3];
    int n;
} results;

/* Adds a graph, and checks the kernels that compute it; null on failure. */
static host_graph *add_results(walk *w, results *r, const char *what, node *const *roots, int n) {
    char message[1024];
    pending *p = &r->list[r->n];
    if (!host_graph_make(&w->c, roots, n, &p->h)) {
        fail(w, "%s: %s", what, w->c.error.text);
        return NULL;
    }
    p->what = what;
    p->n = n;
    memcpy(p->roots, roots, (size_t)n * sizeof *roots);
    r->n++;
    for (int i = 0; i < 3; i++)
        if (!check_launches(&w->c, &p->h, &w->caps[i], message, sizeof message))
            fail(w, "%s: %s", what, message);
    return &p->h;
}

static void compare_results(walk *w, results *r) {
    for (int i = 0; i < r->n; i++)
        host_graph_run(&w->c, &r->list[i].h, true);
    for (int i = 0; i < r->n; i++) {
        pending *p = &r->list[i];
        check_ranges(w, &p->h);
        if (plan_eval(w->c.planner, p->roots, p->n) != MARE_OK)
            fail(w, "%s: %s", p->what, w->c.error.text);
        else
            for (int k = 0; k < p->n; k++)
                compare(w, &p->h, p->what, p->roots[k], p->h.root[k]);
    }
    for (int i = 0; i < r->n; i++)
        host_graph_free(&r->list[i].h);
}

/* Checks gradients gx of `from` by differences (in the plain layout; the others are the same
 * function) and leaves the device's to be compared. */
static void check_gradients(walk *w, results *r, const char *what, const trial *t, node *const *gx,
                            const projection *from) {
    node *roots[2 * MAX_IN];
    int n = 0;
    char name[64];
    for (int i = 0; i < t->n; i++)
        if (gx[i]) roots[n++] = gx[i];
    host_graph *h = n ? add_results(w, r, what, roots, n) : NULL;
    if ((n && !h) || w->layout != PLAIN) return;
    if (h) host_graph_run(&w->c, h, false);
    for (int i = 0, k = 0; i < t->n; i++) {
        size_t count = (size_t)shape_count(&t->x[i]->shape);
        double *copy = calloc(count + 1, sizeof *copy); /* `from` may share h's nodes */
        if (gx[i]) memcpy(copy, h->root[k++], count * sizeof *copy);
        snprintf(name, sizeof name, "%s by input %d", what, i);
        check_gradient(w, from, name, t->values[i], (int64_t)count, copy);
        free(copy);
    }
}

/* Gradient of the sum of gx[i] * v[i] in t->ggx. */
static bool second_gradient(walk *w, trial *t, node **v) {
    graph *g = &w->c.g;
    bool any = false;
    for (int i = 0; i < t->n; i++) {
        node *more[2 * MAX_IN] = {0};
        if (!t->gx[i] || !t->gx[i]->requires_grad) continue;
        if (graph_grad(g, t->gx[i], v[i], t->x, t->n, more) != MARE_OK) {
            fail(w, "second gradient: %s", w->c.error.text);
            return false;
        }
        for (int k = 0; k < t->n; k++) {
            if (!more[k]) continue;
            t->ggx[k] = t->ggx[k] ? g->add(g, t->ggx[k], more[k]) : more[k];
            any = true;
        }
    }
    return any;
}

static void check_second(walk *w, results *r, trial *t) {
    node *v[2 * MAX_IN] = {0}, *roots[2 * MAX_IN];
    double *weights[2 * MAX_IN];
    int n = 0;
    for (int i = 0; i < t->n; i++) {
        if (!t->gx[i]) continue;
        v[i] = random_like(w, t->gx[i], &weights[n]);
        roots[n++] = t->gx[i];
    }
    if (!second_gradient(w, t, v)) return;
    host_graph h;
    if (!host_graph_make(&w->c, roots, n, &h)) {
        fail(w, "second gradient: %s", w->c.error.text);
        return;
    }
    check_gradients(w, r, "second gradient", t, t->ggx, &(projection){&h, roots, weights});
    host_graph_free(&h);
}

static void run_case(walk *w, const op_case *k) {
    checker *c = &w->c;
    node *in[MAX_IN] = {0};
    trial t = {0};
    results r = {0};
    c->error.code = MARE_OK;
    bool ok = true, some = false; /* floats that a gradient could go to */
    for (int i = 0; i < k->n_in && ok; i++) {
        double *values;
        ok = (in[i] = make_input(w, k, i, &values)) != NULL;
        if (!ok || !dtype_is_float(k->dtype[i])) continue;
        t.x[t.n] = in[i];
        t.values[t.n++] = values;
        some = some || shape_count(&k->in[i]) > 0;
    }
    if (!ok || !(t.y = k->build(&c->g, in))) {
        fail(w, "building: %s", c->error.text);
        return;
    }
    host_graph *h = add_results(w, &r, "value", &t.y, 1);
    if (!h) return;
    w->built += contains(h, w->op);
    if (t.n && t.y->requires_grad) {
        node *wy = random_like(w, t.y, &t.wy);
        wy->requires_grad = true;
        if (graph_grad(&c->g, t.y, wy, t.x, t.n, t.gx) != MARE_OK) {
            fail(w, "gradient: %s", c->error.text);
        } else {
            int inputs = t.n;
            check_gradients(w, &r, "gradient", &t, t.gx, &(projection){h, &t.y, &t.wy});
            if (w->op->smooth && w->layout == PLAIN) {
                t.x[t.n] = wy; /* a gradient depends on what comes in, too */
                t.values[t.n++] = t.wy;
                check_second(w, &r, &t);
                t.n = inputs;
            }
        }
    }
    bool flows = some && dtype_is_float(t.y->dtype);
    if (flows && (!t.y->requires_grad || !op_has_gradient(w->op)) && !op_no_gradient(w->op))
        fail(w, "floats go in and come out, but no gradient comes back, nor a reason why");
    compare_results(w, &r);
}

static void run_op(walk *w, const op *o) {
    w->op = o;
    w->worst = 0;
    w->checks = w->built = w->index = 0;
    w->layout = PLAIN;
    int failures = w->failures;
    if (!o->ref) fail(w, "there is no reference");
    if (!o->lower && !o->element) fail(w, "there is no lowering");
    if (!o->at.file) fail(w, "it does not say where it stands");
    if (!o->doc || !*o->doc) fail(w, "there is no doc line");
    if (!o->cases || !o->cases[0].build) fail(w, "there are no cases");
    if (!o->ref || (!o->lower && !o->element) || !o->cases) return;
    for (const op_case *k = o->cases; k->build; k++, w->index++) {
        for (w->layout = PLAIN; w->layout < LAYOUTS; w->layout++) {
            if (!has_layout(k, w->layout)) continue;
            graph_scope_begin(&w->c.g);
            run_case(w, k);
            graph_scope_end(&w->c.g);
            checker_forget(&w->c);
        }
        w->layout = PLAIN;
    }
    if (!w->built) fail(w, "no case builds such a node");
    printf("%-18s %3d cases %4d checks, error at most %.2f of the tolerance%s\n", o->name, w->index,
           w->checks, w->worst, w->failures > failures ? "  FAILED" : "");
}

Test(ops, walk) {
    walk w = {0};
    cr_assert(checker_open(&w.c, NULL), "%s", w.c.error.text);
    /* Ops by their own kernels. A chain for every case would be a thousand kernels more; chains are
     * what test_random_graphs is about. */
    planner_set_passes(w.c.planner, PASS_ALL & ~(uint32_t)PASS_FUSE);
    for (int i = 0; i < 3; i++)
        w.caps[i] = *dev_get_caps(w.c.device);
    cr_assert_eq(dev_caps_apply(&w.caps[1], "baseline", &w.c.error), MARE_OK);
    cr_assert_eq(dev_caps_apply(&w.caps[2], "phone", &w.c.error), MARE_OK);
    const char *only = getenv("MARE_TEST_OP");
    int ops = 0, cases = 0, checks = 0;
    double worst = 0;
    for (int i = 0; op_table[i]; i++) {
        if (only && *only && strcmp(only, op_table[i]->name) != 0) continue;
        run_op(&w, op_table[i]);
        ops++;
        cases += w.index;
        checks += w.checks;
        worst = fmax(worst, w.worst);
    }
    printf("%d ops, %d cases, %d checks, error at most %.2f of the tolerance\n", ops, cases, checks,
           worst);
    fflush(stdout);
    bool clean = checker_close(&w.c);
    cr_assert_gt(ops, 0, "there is no op named %s", only);
    cr_assert_eq(w.failures, 0, "%d failures", w.failures);
    cr_assert(clean);
}
