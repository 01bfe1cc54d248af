/* Elementwise ops on what is special among floats: NaN, infinities, zeros of both signs, the
 * smallest and the largest numbers, in every float dtype and every combination, against the
 * reference in double precision by the rules of IEEE 754. MARE_TEST_OP=name walks one op.
 *
 * Vulkan lets a device flush subnormal numbers of f32 to 0, on the way in and on the way out, and
 * multiply and add in one rounding or two; so either is right here. What a row of one input holds
 * of intermediate results must not overflow when the result does not; rows of several may compute
 * as their expression says, each step in f32. */
#include "graph/expr.h"
#include "graph/math.h"
#include "op_check.h"
#include "ops/row.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SPECIAL = 24, MAX_INPUTS = 3, MAX_FAILURES = 60 };

typedef struct special {
    checker c;
    int failures, values;
} special;

static const struct {
    double least, normal, most; /* above 0 */
} limits[MARE_DTYPES] = {
    [MARE_F32] = {0x1p-149, 0x1p-126, FLT_MAX},
    [MARE_F16] = {0x1p-24, 0x1p-14, 65504},
    [MARE_BF16] = {0x1p-133, 0x1p-126, 0x1.FEp127},
};

/* A float dtype's special values, and some plain ones. */
static int specimens(mare_dtype t, double out[MAX_SPECIAL]) {
    const double above[] = {INFINITY, 0,  limits[t].least, limits[t].normal, limits[t].most, 1, 0.5,
                            2,        3.5};
    int n = 0;
    for (size_t i = 0; i < sizeof above / sizeof *above; i++) {
        out[n++] = above[i];
        out[n++] = -above[i];
    }
    out[n++] = (double)NAN;
    return n;
}

static bool is_tiny(double x) {
    return x != 0 && fabs(x) < 0x1p-126;
}

static double as_stored(mare_dtype t, double x) {
    char packed[4];
    dtype_pack(t, &x, packed, 1);
    dtype_unpack(t, packed, &x, 1);
    return x;
}

/* Is x what the dtype holds of y? */
static bool same(mare_dtype t, double x, double y) {
    double stored = as_stored(t, y);
    if (isnan(y) || isnan(x)) return isnan(x) && isnan(y);
    if (x == stored || (is_tiny(y) && x == 0)) return true;
    if (isinf(x) || isinf(stored)) { /* just past the largest number, infinity is a rounding away */
        double most = limits[t].most;
        return fabs(y) > most && fabs(y) < most * (1 + 1e-5) && signbit(x) == signbit(y);
    }
    double unit = fmax(dtype_roundoff(t), 1e-5);
    double least = t == MARE_F16 ? 0x1p-24 : 0x1p-126;
    return fabs(x - y) <= 2 * unit * fabs(y) + least;
}

/* The reference of n's op, over inputs of which subnormal numbers are flushed where `flush` says.
 */
static void reference(const node *n, double *const *values, int64_t count, unsigned flush,
                      double *out) {
    double *in[MAX_INPUTS] = {0};
    for (int i = 0; i < n->n_in; i++) {
        in[i] = malloc((size_t)count * sizeof(double));
        for (int64_t k = 0; k < count; k++) {
            double x = values[i][k];
            in[i][k] = (flush >> i & 1) && is_tiny(x) ? copysign(0, x) : x;
        }
    }
    n->op->ref(n, (const double *const *)in, out);
    for (int i = 0; i < n->n_in; i++)
        free(in[i]);
}

/* The value of an expression, each step rounded to f32. */
static double stepwise(const expr *x, const double *values) {
    double v[EXPR_MAX_ARGS] = {0};
    if (x->kind == EXPR_NUMBER) return (double)(float)x->number;
    if (x->kind == EXPR_NAME) return values[x->name];
    for (int i = 0; i < x->n; i++)
        v[i] = stepwise(x->arg[i], values);
    double y = x->n == 1   ? x->how->f1(v[0])
               : x->n == 2 ? x->how->f2(v[0], v[1])
                           : x->how->f3(v[0], v[1], v[2]);
    return (double)(float)y;
}

/* Is x a result of o where steps are taken in f32? Each step may flush what is subnormal in its own
 * way, so that of subnormal inputs a composed row may make anything. */
static bool by_steps(const op *o, mare_dtype t, double x, const double *values) {
    static const char *const names[] = {"a", "b", "c"};
    const row *r = (const row *)(const void *)o;
    arena mem = {0};
    const expr *tree;
    bool right = false;
    if (r->inputs > 1 && expr_parse(r->expr, names, r->inputs, &mem, &tree, NULL) == MARE_OK) {
        right = same(t, x, stepwise(tree, values));
        bool fused = strcmp(o->name, "fma") == 0;
        if (fused) right = right || same(t, x, (float)(values[0] * values[1]) + values[2]);
        bool composed = false;
        for (int i = 0; i < tree->n; i++)
            composed = composed || tree->arg[i]->kind == EXPR_CALL;
        for (int i = 0; i < r->inputs; i++)
            right = right || (composed && is_tiny(values[i]));
    }
    arena_free(&mem);
    return right;
}

static void check(special *w, const op *o, mare_dtype t) {
    double one[MAX_SPECIAL];
    int arity = op_map_arity(o), n = specimens(t, one);
    int64_t count = 1;
    for (int i = 0; i < arity; i++)
        count *= n;
    double *values[MAX_INPUTS];
    node *in[MAX_INPUTS];
    shape s = shape_of(1, count);
    for (int i = 0; i < arity; i++) {
        values[i] = arena_alloc(&w->c.mem, (size_t)count * sizeof(double));
        cr_assert_not_null(values[i]);
        int64_t step = 1;
        for (int k = 0; k < i; k++)
            step *= n;
        for (int64_t k = 0; k < count; k++)
            values[i][k] = one[k / step % n];
        in[i] = checker_leaf(&w->c, t, &s, values[i]);
    }
    node *y = op_map(&w->c.g, o->name, in, arity);
    cr_assert_not_null(y, "%s: %s", o->name, w->c.error.text);
    /* A condition has become a bool, in which a subnormal number is not 0 but may be flushed too.
     */
    unsigned ways = t == MARE_F16 ? 1u : 1u << arity;
    double *want[1u << MAX_INPUTS];
    node *inputs = y->in[0];
    if (inputs->dtype == MARE_BOOL)
        for (int64_t k = 0; k < count; k++)
            values[0][k] = values[0][k] != 0;
    for (unsigned f = 0; f < ways; f++) {
        want[f] = malloc((size_t)count * sizeof(double));
        reference(y, values, count, f, want[f]);
    }
    mare_dtype result = y->dtype;
    const double *got = checker_read(&w->c, y);
    cr_assert_not_null(got, "%s: %s", o->name, w->c.error.text);
    for (int64_t k = 0; k < count; k++) {
        bool right = false;
        for (unsigned f = 0; f < ways && !right; f++)
            right = same(result, got[k], want[f][k]);
        double own[MAX_INPUTS] = {0};
        for (int i = 0; i < arity; i++)
            own[i] = values[i][k];
        if (right || by_steps(o, result, got[k], own) || ++w->failures > MAX_FAILURES) continue;
        fprintf(stderr, "%s in %s of", o->name, mare_dtype_name(t));
        for (int i = 0; i < arity; i++)
            fprintf(stderr, " %.9g", values[i][k]);
        fprintf(stderr, ": %.9g on the device, %.9g by the reference\n", got[k], want[0][k]);
    }
    w->values += (int)count;
    for (unsigned f = 0; f < ways; f++)
        free(want[f]);
}

Test(ops_special, walk) {
    static const mare_dtype floats[] = {MARE_F32, MARE_F16, MARE_BF16};
    special w = {0};
    cr_assert(checker_open(&w.c, NULL), "%s", w.c.error.text);
    const char *only = getenv("MARE_TEST_OP");
    int ops = 0;
    for (int i = 0; op_table[i]; i++) {
        const op *o = op_table[i];
        if (!op_map_arity(o) || !op_takes(o, MARE_F32)) continue;
        if (only && *only && strcmp(only, o->name) != 0) continue;
        ops++;
        for (size_t t = 0; t < sizeof floats / sizeof *floats; t++) {
            graph_scope_begin(&w.c.g);
            check(&w, o, floats[t]);
            graph_scope_end(&w.c.g);
            checker_forget(&w.c);
        }
    }
    printf("%d elementwise ops in %zu float dtypes, %d results\n", ops,
           sizeof floats / sizeof *floats, w.values);
    fflush(stdout);
    cr_expect_eq(w.failures, 0, "%d failures", w.failures);
    cr_assert(checker_close(&w.c));
}
