#include "random_maker.h"

#include "ops/ops.h"

#include <math.h>
#include <string.h>

enum { LARGEST = 1000 }; /* floats of more are refused: halves must hold what is made of them */

uint32_t maker_below(maker *m, uint32_t n) {
    return rng_below(&m->random, n);
}

bool maker_chance(maker *m, uint32_t percent) {
    return maker_below(m, 100) < percent;
}

double maker_between(maker *m, double lo, double hi) {
    return lo + (hi - lo) * maker_below(m, 65) / 64;
}

node *maker_value(const maker *m, int step) {
    return m->nodes.value[step];
}

axis_size maker_size(maker *m) {
    return (axis_size){SIZE_NAMED, maker_below(m, RECIPE_SIZES)};
}

axis_size maker_axis(int step, int axis) {
    return (axis_size){step, axis};
}

/* ---- Values ------------------------------------------------------------------------------- */

/* n's values by the references, each rounded to its dtype; null where there is no memory. */
static const double *known(maker *m, node *n) {
    double *x = map_get(&m->known, (uint64_t)(uintptr_t)n);
    if (!x) x = map_get(&m->c->values, (uint64_t)(uintptr_t)n);
    if (x) return x;
    int64_t count = shape_count(&n->shape);
    x = arena_alloc(&m->c->mem, (size_t)(count + 1) * sizeof *x);
    const double **in = arena_alloc(&m->c->mem, (size_t)(n->n_in + 1) * sizeof *in);
    if (!x || !in) return NULL;
    for (int i = 0; i < n->n_in; i++)
        if (!(in[i] = known(m, n->in[i]))) return NULL;
    if (node_is_const(n))
        x[0] = dtype_value(n->dtype, n->dyn[0]);
    else if (count)
        n->op->ref(n, in, x);
    if (!node_is_const(n) && n->dtype != MARE_F32) {
        void *packed = arena_alloc(&m->c->mem, (size_t)(count + 1) * mare_dtype_size(n->dtype));
        if (!packed) return NULL;
        dtype_pack(n->dtype, x, packed, count);
        dtype_unpack(n->dtype, packed, x, count);
    }
    return map_put(&m->known, (uint64_t)(uintptr_t)n, x) ? x : NULL;
}

/* The span of a step's values; false where they are of no use. */
static bool span(maker *m, int step, double *lo, double *hi) {
    node *n = m->nodes.value[step];
    const double *x = known(m, n);
    if (!x) return false;
    *lo = *hi = shape_count(&n->shape) ? x[0] : 0;
    for (int64_t i = 0; i < shape_count(&n->shape); i++) {
        if (!isfinite(x[i]) || (dtype_is_float(n->dtype) && fabs(x[i]) > LARGEST)) return false;
        *lo = fmin(*lo, x[i]);
        *hi = fmax(*hi, x[i]);
    }
    return true;
}

/* ---- Steps -------------------------------------------------------------------------------- */

int maker_add(maker *m, const recipe_step *s) {
    recipe *r = m->r;
    if (r->n == RECIPE_STEPS) return -1;
    recipe_step *to = &r->step[r->n];
    *to = *s;
    to->id = r->n;
    m->c->error.code = MARE_OK;
    double lo, hi;
    if (!recipe_build_step(m->c, r, r->n, 0, &m->nodes) || !span(m, r->n, &lo, &hi)) return -1;
    if (to->kind) {
        to->lo = lo;
        to->hi = hi;
    }
    return r->n++;
}

int maker_leaf(maker *m, mare_dtype t, int rank, const axis_size *size, double lo, double hi) {
    if (!dtype_is_float(t)) {
        lo = ceil(lo);
        hi = floor(hi);
    }
    if (lo > hi) return -1;
    recipe_step s = {.dtype = t, .rank = rank, .lo = lo, .hi = hi, .limit = {SIZE_FIXED, 0}};
    if (rank) memcpy(s.size, size, (size_t)rank * sizeof *size);
    s.held = maker_chance(m, 50);
    return maker_add(m, &s);
}

int maker_partner(maker *m, int step, mare_dtype t, double lo, double hi) {
    int rank = m->nodes.value[step]->shape.rank;
    int from = maker_chance(m, 40) ? (int)maker_below(m, (uint32_t)rank + 1) : 0;
    axis_size size[MAX_DIMS];
    for (int d = from; d < rank; d++)
        size[d - from] = maker_chance(m, 25) ? (axis_size){SIZE_FIXED, 1} : maker_axis(step, d);
    return maker_leaf(m, t, rank - from, size, lo, hi);
}

static node *build_fit(graph *g, const recipe_step *s, node *const *in) {
    node *y = op_map_scalar(g, "mul", in[0], s->x);
    return op_map_scalar(g, "add", y, (double)s->n[0] / 256);
}

int maker_fit(maker *m, int step, double lo, double hi) {
    static const step_kind fit = {"fit", build_fit, false};
    node *n = step < 0 ? NULL : m->nodes.value[step];
    double least, most;
    if (!n || !span(m, step, &least, &most)) return -1;
    if (least >= lo && most <= hi) return step;
    if (!dtype_is_float(n->dtype)) {
        axis_size size[MAX_DIMS];
        for (int d = 0; d < n->shape.rank; d++)
            size[d] = maker_axis(step, d);
        double first, last;
        dtype_limits(n->dtype, &first, &last);
        return maker_leaf(m, n->dtype, n->shape.rank, size, fmax(lo, first), fmin(hi, last));
    }
    /* Never stretched, so that errors do not grow; a little inside of lo..hi, for rounding. */
    double scale = fmin(1, 0.9 * (hi - lo) / fmax(most - least, 1e-9));
    scale = ldexp(floor(ldexp(scale, 8)), -8);
    double shift = (lo + hi) / 2 - scale * (least + most) / 2;
    recipe_step s = {.kind = &fit, .n_in = 1, .in = {step}, .x = scale};
    s.n[0] = (int64_t)floor(shift * 256 + 0.5);
    return scale > 0 ? maker_add(m, &s) : -1;
}

/* ---- Choosing ----------------------------------------------------------------------------- */

static bool will_do(const node *n, wanted w) {
    if (n->shape.rank < w.min_rank || n->shape.rank > w.max_rank) return false;
    if (w.single) return n->dtype == MARE_F32;
    return w.any_dtype || dtype_is_float(n->dtype) == w.floats;
}

int maker_pick(maker *m, wanted w) {
    for (int tries = 0; tries < 12 && m->r->n; tries++) {
        uint32_t n = (uint32_t)m->r->n, back = maker_below(m, n);
        if (maker_chance(m, 60)) back = maker_below(m, n < 4 ? n : 4);
        int at = (int)(n - 1 - back);
        if (will_do(m->nodes.value[at], w)) return at;
    }
    return -1;
}

int maker_need(maker *m, wanted w) {
    int at = maker_pick(m, w);
    if (at >= 0) return at;
    static const mare_dtype floats[] = {MARE_F32, MARE_F32, MARE_F32, MARE_F16, MARE_BF16};
    static const mare_dtype integers[] = {MARE_I32, MARE_I32, MARE_U8, MARE_I8, MARE_BOOL};
    bool is_float = w.single || w.floats || (w.any_dtype && maker_chance(m, 80));
    mare_dtype t = w.single ? MARE_F32 : (is_float ? floats : integers)[maker_below(m, 5)];
    double lo = -2, hi = 2, first, last;
    if (!is_float) {
        dtype_limits(t, &first, &last);
        lo = fmax(first, -9);
        hi = fmin(last, 9);
    }
    int most = w.max_rank < 4 ? w.max_rank : 4;
    int rank = w.min_rank + (int)maker_below(m, (uint32_t)(most - w.min_rank) + 1);
    axis_size size[MAX_DIMS];
    for (int d = 0; d < rank; d++)
        size[d] = maker_size(m);
    return maker_leaf(m, t, rank, size, lo, hi);
}
