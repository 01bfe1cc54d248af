/* Walks the registry: every op with every dtype. Where the op takes the dtype, the device agrees
 * with the reference; where it does not, the builder refuses. MARE_TEST_OP=name walks one op. */
#include "op_check.h"
#include "ops/ops.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CASES = 3, LARGEST = 1000 };

typedef struct sweep {
    checker c;
    int failures, compared, refused;
    double worst; /* error over tolerance */
} sweep;

static double clamp(double x, double lo, double hi) {
    return x < lo ? lo : x > hi ? hi : x;
}

/* A dtype's own range, as far as a case's lo..hi leaves it. */
static void range(const op_case *k, int i, mare_dtype t, double *lo, double *hi) {
    static const double least[MARE_DTYPES] = {
        [MARE_F32] = -1e4, [MARE_F16] = -1e4, [MARE_BF16] = -1e4, [MARE_I32] = -1e4,
        [MARE_U8] = 0,     [MARE_BOOL] = 0,   [MARE_I8] = -128};
    static const double most[MARE_DTYPES] = {
        [MARE_F32] = 1e4, [MARE_F16] = 1e4, [MARE_BF16] = 1e4, [MARE_I32] = 1e4,
        [MARE_U8] = 255,  [MARE_BOOL] = 1,  [MARE_I8] = 127};
    bool own = k->lo_in[i] < k->hi_in[i];
    *lo = clamp(own ? k->lo_in[i] : k->lo, least[t], most[t]);
    *hi = clamp(own ? k->hi_in[i] : k->hi, least[t], most[t]);
    /* Whole numbers within the range, not around it; at least one. */
    if (!dtype_is_float(t)) *lo = ceil(*lo);
    if (*hi < *lo) *hi = *lo;
}

static bool is_small(const op_case *k) {
    int64_t count = 0;
    for (int i = 0; i < k->n_in; i++)
        count += shape_count(&k->in[i]);
    return count > 0 && count <= LARGEST;
}

static void fail(sweep *w, const op *o, mare_dtype t, int index, const char *what) {
    w->failures++;
    fprintf(stderr, "%s in %s, case %d: %s\n", o->name, mare_dtype_name(t), index, what);
}

static void compare(sweep *w, const op *o, mare_dtype t, int index, node *y) {
    host_graph h;
    char message[512];
    if (!host_graph_make(&w->c, &y, 1, &h)) {
        fail(w, o, t, index, w->c.error.text);
        return;
    }
    host_graph_run(&w->c, &h, true);
    int64_t count = shape_count(&y->shape);
    const double *ref = h.root[0], *x = checker_read(&w->c, y);
    if (!x) fail(w, o, t, index, w->c.error.text);
    for (int64_t i = 0; x && i < count; i++) {
        if (x[i] == ref[i] || (isnan(x[i]) && isnan(ref[i]))) continue;
        double tolerance = dtype_is_float(y->dtype) ? check_tolerance(&h, ref[i]) : 0;
        double error = fabs(x[i] - ref[i]);
        if (error <= tolerance) {
            w->worst = fmax(w->worst, error / tolerance);
            continue;
        }
        snprintf(message, sizeof message,
                 "element %lld is %.9g on the device, %.9g by the reference, tolerance %.3g",
                 (long long)i, x[i], ref[i], tolerance);
        fail(w, o, t, index, message);
        break;
    }
    w->compared++;
    host_graph_free(&h);
}

static void run_case(sweep *w, const op *o, const op_case *k, int index, mare_dtype t) {
    checker *c = &w->c;
    node *in[MAX_CASE_IN] = {0};
    char message[1200];
    c->error.code = MARE_OK;
    for (int i = 0; i < k->n_in; i++) {
        /* The others hold indices and the like. */
        mare_dtype own = k->dtype[i] == k->dtype[0] ? t : k->dtype[i];
        double lo, hi;
        range(k, i, own, &lo, &hi);
        double *values = checker_draw(c, own, shape_count(&k->in[i]), lo, hi);
        in[i] = checker_leaf(c, own, &k->in[i], values);
        cr_assert_not_null(in[i], "%s", c->error.text);
        /* So that a gradient is asked for in every dtype that has one. */
        if (dtype_is_float(own)) in[i]->requires_grad = true;
    }
    node *y = k->build(&c->g, in);
    bool takes = op_takes(o, t);
    /* Kernels of their own are given words; what the builder of a case does with others is its own
     * affair, but none is to be misread. */
    if (o->dtypes == OWN_DTYPES) takes = y != NULL;
    if (y && takes) {
        compare(w, o, t, index, y);
    } else if (y) {
        fail(w, o, t, index, "is taken, against what the op says of itself");
    } else if (takes) {
        snprintf(message, sizeof message, "is refused, against what the op says of itself: %s",
                 c->error.text);
        fail(w, o, t, index, message);
    } else if (c->error.code != MARE_E_DTYPE) {
        snprintf(message, sizeof message, "is refused, but not for its dtype: %s", c->error.text);
        fail(w, o, t, index, message);
    } else {
        w->refused++;
    }
}

static void run_op(sweep *w, const op *o) {
    int failures = w->failures, done = 0, index = 0;
    bool inputs = false;
    w->compared = w->refused = 0;
    w->worst = 0;
    for (const op_case *k = o->cases; k->build && done < CASES; k++, index++) {
        /* Where floats come first, what holds integers behind them (indices) is told apart. */
        bool mixed = k->n_in > 1 && !dtype_is_float(k->dtype[0]) && op_takes(o, MARE_F32);
        inputs = inputs || (k->n_in > 0 && !mixed);
        if (mixed || !is_small(k)) continue;
        done++;
        for (int t = 0; t < MARE_DTYPES; t++) {
            bool words = mare_dtype_size((mare_dtype)t) == 4;
            if (o->dtypes == OWN_DTYPES && words && (mare_dtype)t != k->dtype[0]) continue;
            graph_scope_begin(&w->c.g);
            run_case(w, o, k, index, (mare_dtype)t);
            graph_scope_end(&w->c.g);
            checker_forget(&w->c);
        }
    }
    if (inputs && done == 0) fail(w, o, MARE_F32, index, "there is no small case");
    printf("%-22s %d cases in %d dtypes: %3d agree, %3d are refused, error at most %.2f of the "
           "tolerance%s\n",
           o->name, done, MARE_DTYPES, w->compared, w->refused, w->worst,
           w->failures > failures ? "  FAILED" : "");
}

Test(ops_dtypes, walk) {
    sweep w = {0};
    cr_assert(checker_open(&w.c, NULL), "%s", w.c.error.text);
    const char *only = getenv("MARE_TEST_OP");
    int ops = 0, compared = 0, refused = 0, dtypes[MARE_DTYPES] = {0};
    double worst = 0;
    for (int i = 0; op_table[i]; i++) {
        if (only && *only && strcmp(only, op_table[i]->name) != 0) continue;
        run_op(&w, op_table[i]);
        ops++;
        for (int t = 0; t < MARE_DTYPES; t++)
            dtypes[t] += op_takes(op_table[i], (mare_dtype)t);
        compared += w.compared;
        refused += w.refused;
        worst = fmax(worst, w.worst);
    }
    for (int t = 0; t < MARE_DTYPES; t++)
        printf("%s: %d ops%s", mare_dtype_name((mare_dtype)t), dtypes[t],
               t < MARE_DTYPES - 1 ? ", " : "\n");
    printf(
        "%d ops in %d dtypes: %d agree with the reference, %d are refused, error at most %.2f of "
        "the tolerance\n",
        ops, MARE_DTYPES, compared, refused, worst);
    fflush(stdout);
    bool clean = checker_close(&w.c);
    cr_assert_gt(ops, 0, "there is no op named %s", only);
    cr_assert_eq(w.failures, 0, "%d failures", w.failures);
    cr_assert(clean);
}
