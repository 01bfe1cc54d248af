#include "random_recipe.h"

#include "ops/ops.h"

#include <string.h>

/* ---- Building ----------------------------------------------------------------------------- */

static int64_t size_of(const recipe *r, const recipe_nodes *nodes, axis_size a) {
    if (a.of == SIZE_FIXED) return a.at;
    if (a.of == SIZE_NAMED) return r->size[a.at];
    const shape *s = &nodes->value[a.of]->shape;
    int axis = shape_axis(s, (int)a.at);
    return axis < 0 ? 1 : s->dim[axis];
}

/* A leaf's values depend on the recipe's seed, its id and the set alone. */
static node *drawn(checker *c, const recipe *r, int id, int values, mare_dtype t, const shape *s,
                   double lo, double hi) {
    if (shape_count(s) > RECIPE_ELEMENTS) return NULL;
    c->random = (rng){r->seed * 1000 + (uint64_t)id * 2 + (uint64_t)values, 0};
    return checker_leaf(c, t, s, checker_draw(c, t, shape_count(s), lo, hi));
}

static node *build_leaf(checker *c, const recipe *r, int i, int values, const recipe_nodes *nodes) {
    const recipe_step *s = &r->step[i];
    shape sh = {.rank = s->rank};
    for (int d = 0; d < s->rank; d++)
        sh.dim[d] = size_of(r, nodes, s->size[d]);
    double hi = s->hi;
    int64_t limit = size_of(r, nodes, s->limit);
    if (s->limit.of != SIZE_FIXED || limit) {
        if (limit < 1) return NULL;
        hi = (double)(limit - 1);
    }
    node *n = drawn(c, r, s->id, values, s->dtype, &sh, s->lo, hi);
    if (n && dtype_is_float(s->dtype)) n->requires_grad = true;
    return n;
}

/* v as a leaf. */
static node *evaluated(checker *c, node *v) {
    if (!v || plan_eval(c->planner, &v, 1) != MARE_OK) return NULL;
    const double *values = checker_read(c, v);
    return values ? checker_alias(c, v, values) : NULL;
}

bool recipe_build_step(checker *c, recipe *r, int i, int values, recipe_nodes *nodes) {
    recipe_step *s = &r->step[i];
    node *in[RECIPE_IN] = {0}, *n;
    if (!s->kind) {
        n = build_leaf(c, r, i, values, nodes);
    } else {
        recipe_step with = *s;
        if (values && s->varies) with.x *= 1.03125;
        for (int k = 0; k < s->n_in; k++)
            in[k] = nodes->value[s->in[k]];
        n = s->kind->build(&c->g, &with, in);
        if (s->kind->alias) n = evaluated(c, n);
    }
    nodes->value[i] = n;
    if (!n || shape_count(&n->shape) > RECIPE_ELEMENTS) return false;
    s->dtype = n->dtype;
    s->shape = n->shape;
    return true;
}

/* Leaves' gradients of the sum of the roots times weights, or what a step of descent makes of the
 * leaves. */
static bool add_gradients(checker *c, recipe *r, int values, recipe_nodes *nodes) {
    graph *g = &c->g;
    node *y = NULL, *x[RECIPE_STEPS], *gx[RECIPE_STEPS] = {0};
    int n = 0, id[RECIPE_STEPS];
    for (int i = 0; i < r->n_roots; i++) {
        node *root = nodes->root[i];
        if (!root->requires_grad) continue;
        node *w = drawn(c, r, RECIPE_STEPS + i, values, MARE_F32, &root->shape, -1, 1);
        node *part = op_sum(g, op_map2(g, "mul", op_cast(g, root, MARE_F32), w), 0, false);
        y = y ? op_map2(g, "add", y, part) : part;
        if (!y) return false;
    }
    for (int i = 0; i < r->n; i++) {
        if (r->step[i].kind || !nodes->value[i]->requires_grad) continue;
        id[n] = r->step[i].id;
        x[n++] = nodes->value[i];
    }
    if (!y) return true;
    if (graph_grad(g, y, NULL, x, n, gx) != MARE_OK) return false;
    if (r->update) nodes->n_roots = 0;
    for (int i = 0; i < n; i++) {
        if (!gx[i]) continue;
        if (!r->update) {
            nodes->root[nodes->n_roots++] = gx[i];
            continue;
        }
        node *v = drawn(c, r, 2 * RECIPE_STEPS + id[i], values, x[i]->dtype, &x[i]->shape, -1, 1);
        v = op_map2(g, "add", op_map_scalar(g, "mul", v, 0.9), gx[i]);
        node *lr = node_const(g, MARE_F32, values ? 0.125 : 0.25);
        nodes->root[nodes->n_roots++] = op_map2(g, "sub", x[i], op_map2(g, "mul", v, lr));
        nodes->root[nodes->n_roots++] = v;
        if (!nodes->root[nodes->n_roots - 2]) return false;
    }
    return true;
}

bool recipe_build(checker *c, recipe *r, int values, recipe_nodes *nodes) {
    c->error.code = MARE_OK;
    c->g.random = (rng){r->seed + (uint64_t)values, 0};
    nodes->n_roots = 0;
    for (int i = 0; i < r->n; i++)
        if (!recipe_build_step(c, r, i, values, nodes)) return false;
    for (int i = 0; i < r->n_roots; i++)
        nodes->root[nodes->n_roots++] = nodes->value[r->root[i]];
    return !r->gradient || add_gradients(c, r, values, nodes);
}

/* ---- Printing ----------------------------------------------------------------------------- */

static void print_size(axis_size a, FILE *f) {
    if (a.of == SIZE_FIXED)
        fprintf(f, "%lld", (long long)a.at);
    else if (a.of == SIZE_NAMED)
        fprintf(f, "size %lld", (long long)a.at);
    else
        fprintf(f, "axis %lld of v%d", (long long)a.at, a.of);
}

static void print_leaf(const recipe_step *s, FILE *f) {
    fprintf(f, "leaf(%s [", mare_dtype_name(s->dtype));
    for (int d = 0; d < s->rank; d++) {
        if (d) fprintf(f, ", ");
        print_size(s->size[d], f);
    }
    fprintf(f, "], %.9g..%.9g", s->lo, s->hi);
    if (s->limit.of != SIZE_FIXED || s->limit.at) {
        fprintf(f, ", below ");
        print_size(s->limit, f);
    }
    fprintf(f, "%s)", s->held ? ", held" : "");
}

void recipe_print(const recipe *r, FILE *f) {
    char sh[SHAPE_TEXT];
    fprintf(f, "seed %llu, sizes %lld, %lld, %lld, %lld%s\n", (unsigned long long)r->seed,
            (long long)r->size[0], (long long)r->size[1], (long long)r->size[2],
            (long long)r->size[3],
            !r->gradient ? ""
            : r->update  ? ", updates of the leaves in place of the roots"
                         : ", with gradients");
    for (int i = 0; i < r->n; i++) {
        const recipe_step *s = &r->step[i];
        fprintf(f, "  v%d = ", i);
        if (!s->kind) {
            print_leaf(s, f);
        } else {
            fprintf(f, "%s(", s->kind->name);
            if (s->word) fprintf(f, "\"%s\"", s->word);
            for (int k = 0; k < s->n_in; k++)
                fprintf(f, "%sv%d", k || s->word ? ", " : "", s->in[k]);
            fprintf(f, "; %.9g%s;", s->x, s->varies ? " varies" : "");
            for (size_t k = 0; k < sizeof s->n / sizeof *s->n; k++)
                fprintf(f, " %lld", (long long)s->n[k]);
            fprintf(f, ")");
        }
        fprintf(f, ": %s %s\n", mare_dtype_name(s->dtype), shape_text(&s->shape, sh));
    }
    fprintf(f, "  roots");
    for (int i = 0; i < r->n_roots; i++)
        fprintf(f, " v%d", r->root[i]);
    fprintf(f, "\n");
}

/* ---- Shrinking ---------------------------------------------------------------------------- */

/* Takes out the steps that no root needs. */
static void drop_unused(recipe *r) {
    bool used[RECIPE_STEPS] = {0};
    int place[RECIPE_STEPS] = {0}, n = 0;
    for (int i = 0; i < r->n_roots; i++)
        used[r->root[i]] = true;
    for (int i = r->n - 1; i >= 0; i--) {
        const recipe_step *s = &r->step[i];
        if (!used[i]) continue;
        for (int k = 0; k < s->n_in; k++)
            used[s->in[k]] = true;
        for (int d = 0; d < s->rank; d++)
            if (s->size[d].of >= 0) used[s->size[d].of] = true;
        if (s->limit.of >= 0) used[s->limit.of] = true;
    }
    for (int i = 0; i < r->n; i++) {
        if (!used[i]) continue;
        recipe_step s = r->step[i];
        for (int k = 0; k < s.n_in; k++)
            s.in[k] = place[s.in[k]];
        for (int d = 0; d < s.rank; d++)
            if (s.size[d].of >= 0) s.size[d].of = place[s.size[d].of];
        if (s.limit.of >= 0) s.limit.of = place[s.limit.of];
        place[i] = n;
        r->step[n++] = s;
    }
    r->n = n;
    for (int i = 0; i < r->n_roots; i++)
        r->root[i] = place[r->root[i]];
}

/* Takes `smaller` in r's place when it still fails. */
static bool take(recipe *r, recipe *smaller, bool (*fails)(void *, recipe *), void *arg) {
    if (!fails(arg, smaller)) return false;
    *r = *smaller;
    return true;
}

static bool shrink_roots(recipe *r, bool (*fails)(void *, recipe *), void *arg) {
    bool any = false;
    recipe t = *r;
    if (r->gradient) {
        t.gradient = t.update = false;
        any |= take(r, &t, fails, arg);
    }
    for (int i = 0; i < r->n_roots && r->n_roots > 1; i++) {
        t = *r;
        memmove(&t.root[i], &t.root[i + 1], (size_t)(t.n_roots - i - 1) * sizeof *t.root);
        t.n_roots--;
        if (take(r, &t, fails, arg)) {
            any = true;
            i--;
        }
    }
    t = *r;
    drop_unused(&t);
    if (t.n < r->n) any |= take(r, &t, fails, arg);
    return any;
}

/* Sizes that do not hang on other steps. */
static void free_sizes(const recipe *r, recipe_step *s) {
    s->rank = s->shape.rank;
    for (int d = 0; d < s->rank; d++) {
        s->size[d] = (axis_size){SIZE_FIXED, s->shape.dim[d]};
        for (int k = RECIPE_SIZES - 1; k >= 0; k--)
            if (r->size[k] == s->shape.dim[d]) s->size[d] = (axis_size){SIZE_NAMED, k};
    }
}

static bool hangs(const recipe_step *s) {
    bool any = false;
    for (int d = 0; d < s->rank; d++)
        any |= s->size[d].of >= 0;
    return any;
}

/* From the end: what is behind a step goes with it. A step may also give way to one of its inputs.
 */
static bool shrink_steps(recipe *r, bool (*fails)(void *, recipe *), void *arg) {
    bool any = false;
    for (int i = r->n - 1; i >= 0; i--) {
        if (i >= r->n) continue;
        recipe t = *r;
        recipe_step *s = &t.step[i];
        if (!s->kind && !hangs(s)) continue;
        free_sizes(r, s);
        if (s->kind) s->limit = (axis_size){SIZE_FIXED, 0};
        s->kind = NULL;
        s->n_in = 0;
        drop_unused(&t);
        if (take(r, &t, fails, arg)) {
            any = true;
            continue;
        }
        for (int k = 0; k < r->step[i].n_in; k++) {
            t = *r;
            for (int j = i + 1; j < t.n; j++)
                for (int m = 0; m < t.step[j].n_in; m++)
                    if (t.step[j].in[m] == i) t.step[j].in[m] = r->step[i].in[k];
            for (int j = 0; j < t.n_roots; j++)
                if (t.root[j] == i) t.root[j] = r->step[i].in[k];
            drop_unused(&t);
            if (t.n < r->n && take(r, &t, fails, arg)) {
                any = true;
                break;
            }
        }
    }
    return any;
}

static bool shrink_sizes(recipe *r, bool (*fails)(void *, recipe *), void *arg) {
    static const int64_t smaller[] = {1, 2, 3, 5};
    bool any = false;
    for (int k = 0; k < RECIPE_SIZES; k++) {
        for (size_t i = 0; i < sizeof smaller / sizeof *smaller; i++) {
            if (smaller[i] >= r->size[k]) break;
            recipe t = *r;
            t.size[k] = smaller[i];
            if (!take(r, &t, fails, arg)) continue;
            any = true;
            break;
        }
    }
    return any;
}

void recipe_shrink(recipe *r, bool (*fails)(void *arg, recipe *r), void *arg) {
    bool any = true;
    while (any) {
        any = shrink_roots(r, fails, arg);
        any |= shrink_steps(r, fails, arg);
        any |= shrink_sizes(r, fails, arg);
    }
}
