/* Random numbers: the words of the host's generator, the distributions, the quality of orders. All
 * seeds are fixed, so that what passes once always does. */
#include "op_check.h"
#include "op_refused.h"
#include "ops/call.h"
#include "ops/ops.h"
#include "plan/lower.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MANY = 1000000 };

static checker c;

static void open_checker(void) {
    cr_assert(checker_open(&c, NULL), "%s", c.error.text);
    c.g.random = (rng){.seed = 0x123456789abcdefu, .next = 7};
}

static void close_checker(void) {
    cr_expect(checker_close(&c));
}

TestSuite(random, .init = open_checker, .fini = close_checker);

static const double *read_values(node *n) {
    cr_assert_not_null(n, "%s", c.error.text);
    const double *x = checker_read(&c, n);
    cr_assert_not_null(x, "%s", c.error.text);
    return x;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double uniform_cdf(double x) {
    return x < 0 ? 0 : x > 1 ? 1 : x;
}
static double normal_cdf(double x) {
    return 0.5 * erfc(-x * 0.70710678118654752);
}

/* MANY independent numbers of mean 0 or 1/2, with a known variance and fourth central moment. */
static void check_distribution(const char *name, const double *values, double mean, double variance,
                               double fourth, double (*cdf)(double)) {
    double *x = malloc(MANY * sizeof *x), m = 0, v = 0, lag = 0, distance = 0, n = MANY;
    cr_assert_not_null(x);
    memcpy(x, values, MANY * sizeof *x);
    for (int i = 0; i < MANY; i++) {
        m += (x[i] - mean) / n;
        v += (x[i] - mean) * (x[i] - mean) / n;
    }
    cr_expect_lt(fabs(m), 5 * sqrt(variance / n), "%s: the mean is off by %g", name, m);
    cr_expect_lt(fabs(v - variance), 5 * sqrt((fourth - variance * variance) / n),
                 "%s: variance %.9g, not %.9g", name, v, variance);
    /* Neighbours, and neighbours of neighbours, know nothing of each other. */
    for (int step = 1; step <= 4; step++) {
        lag = 0;
        for (int i = 0; i + step < MANY; i++)
            lag += (x[i] - mean) * (x[i + step] - mean) / (variance * n);
        cr_expect_lt(fabs(lag), 5 / sqrt(n), "%s: correlation %g at distance %d", name, lag, step);
    }
    qsort(x, MANY, sizeof *x, ascending);
    for (int i = 0; i < MANY; i++) {
        double p = cdf(x[i]);
        distance = fmax(distance, fmax(fabs(p - i / n), fabs((i + 1) / n - p)));
    }
    /* Kolmogorov: beyond 1.95 / sqrt(n) in one of a thousand draws. */
    cr_expect_lt(distance, 1.95 / sqrt(n), "%s: the distribution is off by %g", name, distance);
    free(x);
}

Test(random, uniform_is_the_hosts) {
    graph_scope_begin(&c.g);
    rng host = c.g.random;
    const int64_t sizes[] = {1, 7, 4096, 70001};
    for (int k = 0; k < 4; k++) {
        shape s = shape_of(1, sizes[k]);
        const double *x = read_values(op_uniform(&c.g, &s, 0, 1));
        uint32_t key[2] = {(uint32_t)host.seed, (uint32_t)(host.seed >> 32)}, w[4];
        int64_t wrong = 0;
        for (int64_t i = 0; i < sizes[k]; i++) {
            uint64_t at = host.next + (uint64_t)i / 4;
            philox4x32((uint32_t[4]){(uint32_t)at, (uint32_t)(at >> 32), 0, 0}, key, w);
            wrong += x[i] != (w[i % 4] >> 8) / 16777216.0;
        }
        cr_expect_eq(wrong, 0, "%lld of %lld numbers differ", (long long)wrong,
                     (long long)sizes[k]);
        host.next += (uint64_t)(sizes[k] + 3) / 4;
        cr_expect_eq(host.next, c.g.random.next);
    }
    graph_scope_end(&c.g);
}

Test(random, uniform_distribution) {
    graph_scope_begin(&c.g);
    shape s = shape_of(2, 1000, 1000);
    node *u = op_uniform(&c.g, &s, 0, 1), *range = op_uniform(&c.g, &s, -3, 5);
    check_distribution("uniform", read_values(u), 0.5, 1 / 12.0, 1 / 80.0, uniform_cdf);
    const double *x = read_values(range);
    double lo = x[0], hi = x[0];
    for (int i = 0; i < MANY; i++) {
        lo = fmin(lo, x[i]);
        hi = fmax(hi, x[i]);
    }
    cr_expect(lo >= -3 && lo < -2.999 && hi <= 5 && hi > 4.999, "%g to %g", lo, hi);
    graph_scope_end(&c.g);
}

Test(random, normal_distribution) {
    graph_scope_begin(&c.g);
    shape s = shape_of(1, MANY);
    node *z = op_normal(&c.g, &s, 0, 1), *moved = op_normal(&c.g, &s, 100, 0.5);
    const double *x = read_values(z);
    check_distribution("normal", x, 0, 1, 3, normal_cdf);
    int far = 0;
    for (int i = 0; i < MANY; i++)
        far += fabs(x[i]) > 4;
    cr_expect(far > 63 - 40 && far < 63 + 40, "%d beyond 4 sigma", far);
    const double *y = read_values(moved);
    double sum = 0;
    for (int i = 0; i < MANY; i++)
        sum += y[i] / MANY;
    cr_expect_float_eq(sum, 100, 5 * 0.5 / sqrt(MANY));
    graph_scope_end(&c.g);
}

/* ---- Philox itself ------------------------------------------------------------------------ */

/* The vectors that Random123 publishes for philox4x32-10: counter, key, result. */
static const uint32_t known[3][10] = {
    {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
    {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d, 0x41c83b0e,
     0xa20bc7c6, 0x6d5451fd},
    {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb,
     0x5001e420, 0x24126ea1},
};

/* The shader's words as they come: whole numbers of all 32 bits, at counters with upper words. */
static bool words_infer(graph *g, node *n) {
    (void)g;
    n->dtype = MARE_I32;
    n->shape = shape_of(1, 4);
    return true;
}

static mare_status words_lower(lowering *l, const node *n, const operand *in, const operand *out) {
    const uint32_t *k = known[n->dyn[0]];
    (void)in;
    launch *x = lower_launch(l, "random/draw.comp",
                             lower_text(l, "WHOLE 1\nUPPER uvec2(0x%xu, 0x%xu)\n", k[2], k[3]));
    uint32_t first;
    mare_status s = launch_bind(l, x, out, WRITE, &first);
    const uint32_t words[12] = {4, first, 0, 0, k[4], k[5], k[0], k[1]};
    launch_spec(x, lower_workgroup(l));
    for (int i = 0; i < 12; i++)
        launch_u32(x, words[i]);
    return s ? s : launch_groups(l, x, 1);
}

static const op words_op = {
    .name = "words", .attr_size = sizeof(uint32_t), .infer = words_infer, .lower = words_lower};

Test(random, known_words) {
    for (uint32_t k = 0; k < 3; k++) {
        uint32_t w[4];
        philox4x32(known[k], known[k] + 4, w);
        cr_expect_eq(memcmp(w, known[k] + 6, sizeof w), 0, "host, vector %u", k);
        graph_scope_begin(&c.g);
        node *n = node_new(&c.g, &words_op, NULL, 0, &k);
        n->n_dyn = 1;
        n->dyn[0] = k;
        const double *x = read_values(n);
        for (int i = 0; i < 4; i++)
            cr_expect_eq((uint32_t)(int32_t)x[i], known[k][6 + i], "shader, vector %u", k);
        graph_scope_end(&c.g);
    }
}

/* ---- Made of uniform numbers -------------------------------------------------------------- */

static node *call(const char *name, const call_value *v) {
    node *out[MAX_CALL_RESULTS] = {0};
    c.error.code = MARE_OK;
    return op_call_find(name)->build(&c.g, v, out) ? out[0] : NULL;
}

#define SIZE                                                                                       \
    {                                                                                              \
        .n = 1, .integers = { MANY }                                                               \
    }
#define NUMBER(x)                                                                                  \
    { .number = x }
#define VALUES(...)                                                                                \
    (const call_value[MAX_CALL_ARGS]) {                                                            \
        __VA_ARGS__                                                                                \
    }

static double exponential_cdf(double x) {
    return x < 0 ? 0 : 1 - exp(-x);
}
static double gumbel_cdf(double x) {
    return exp(-exp(-x));
}

Test(random, exponential_distribution) {
    graph_scope_begin(&c.g);
    node *e = call("exponential", VALUES(SIZE, NUMBER(1)));
    check_distribution("exponential", read_values(e), 1, 1, 9, exponential_cdf);
    const double *x = read_values(call("exponential", VALUES(SIZE, NUMBER(4))));
    double sum = 0;
    for (int i = 0; i < MANY; i++)
        sum += x[i] / MANY;
    cr_expect_float_eq(sum, 0.25, 5 * 0.25 / sqrt(MANY));
    refused(&c, call("exponential", VALUES(SIZE, NUMBER(0))), MARE_E_ARGUMENT, "lambd 0");
    graph_scope_end(&c.g);
}

Test(random, gumbel_distribution) {
    graph_scope_begin(&c.g);
    node *n = call("gumbel", VALUES(SIZE, NUMBER(0), NUMBER(1)));
    double variance = 1.6449340668482264;
    check_distribution("gumbel", read_values(n), 0.57721566490153286, variance,
                       5.4 * variance * variance, gumbel_cdf);
    refused(&c, call("gumbel", VALUES(SIZE, NUMBER(0), NUMBER(-1))), MARE_E_ARGUMENT, "scale -1");
    graph_scope_end(&c.g);
}

static double cut[2]; /* where the normal distribution ends */
static double cut_cdf(double x) {
    double low = normal_cdf(cut[0]), all = normal_cdf(cut[1]) - low;
    return x <= cut[0] ? 0 : x >= cut[1] ? 1 : (normal_cdf(x) - low) / all;
}

Test(random, truncated_normal_distribution) {
    const double cuts[4][2] = {{-1, 2}, {-3, -2}, {1.5, 4}, {-0.1, 0.1}};
    for (int k = 0; k < 4; k++) {
        graph_scope_begin(&c.g);
        memcpy(cut, cuts[k], sizeof cut);
        double moment[3] = {0}, mean = 0, step = (cut[1] - cut[0]) / 100000;
        for (int turn = 0; turn < 2; turn++) /* the mean, then what lies around it */
            for (int i = 0; i < 100000; i++) {
                double from = cut[0] + i * step, share = cut_cdf(from + step) - cut_cdf(from);
                double away = from + step / 2 - mean;
                moment[0] += turn ? 0 : share * away;
                moment[1] += turn ? share * away * away : 0;
                moment[2] += turn ? share * away * away * away * away : 0;
                if (!turn && i == 99999) mean = moment[0];
            }
        node *n = call("trunc_normal",
                       VALUES(SIZE, NUMBER(0), NUMBER(1), NUMBER(cut[0]), NUMBER(cut[1])));
        const double *x = read_values(n);
        check_distribution("trunc_normal", x, mean, moment[1], moment[2], cut_cdf);
        for (int i = 0; i < MANY; i++)
            cr_assert(x[i] >= (float)cut[0] && x[i] <= (float)cut[1], "%g", x[i]);
        graph_scope_end(&c.g);
        checker_forget(&c);
    }
    graph_scope_begin(&c.g);
    refused(&c, call("trunc_normal", VALUES(SIZE, NUMBER(0), NUMBER(1), NUMBER(2), NUMBER(2))),
            MARE_E_ARGUMENT, "no range");
    refused(&c, call("trunc_normal", VALUES(SIZE, NUMBER(0), NUMBER(1), NUMBER(40), NUMBER(41))),
            MARE_E_ARGUMENT, "too far");
    graph_scope_end(&c.g);
}

Test(random, bernoulli) {
    graph_scope_begin(&c.g);
    const double p[] = {0, 0.125, 0.5, 0.875, 1};
    const mare_dtype type[] = {MARE_F32, MARE_F16};
    shape column = shape_of(2, 5, 1), wide = shape_of(2, 5, 100000LL);
    for (int k = 0; k < 2; k++) {
        node *y = op_bernoulli(&c.g, op_expand(&c.g, checker_leaf(&c, type[k], &column, p), &wide));
        cr_assert(y && y->dtype == MARE_BOOL && shape_equal(&y->shape, &wide));
        const double *x = read_values(y);
        for (int r = 0; r < 5; r++) {
            double sum = 0;
            for (int i = 0; i < 100000; i++)
                sum += x[r * 100000 + i];
            cr_expect(fabs(sum / 1e5 - p[r]) <= 5 * sqrt(p[r] * (1 - p[r]) / 1e5),
                      "%g of probability %g", sum / 1e5, p[r]);
        }
    }
    cr_expect_null(op_bernoulli(&c.g, NULL));
    graph_scope_end(&c.g);
}

Test(random, seeds_repeat) {
    graph_scope_begin(&c.g);
    shape s = shape_of(1, 1000);
    rng start = c.g.random;
    const double *a = read_values(op_normal(&c.g, &s, 0, 1));
    const double *next = read_values(op_normal(&c.g, &s, 0, 1));
    c.g.random = start;
    const double *again = read_values(op_normal(&c.g, &s, 0, 1));
    c.g.random = (rng){start.seed + ((uint64_t)1 << 32), start.next};
    const double *other = read_values(op_normal(&c.g, &s, 0, 1));
    cr_expect_eq(memcmp(a, again, 1000 * sizeof *a), 0);
    int same = 0, alike = 0;
    for (int i = 0; i < 1000; i++) {
        same += a[i] == next[i];
        alike += a[i] == other[i];
    }
    cr_expect_lt(same, 3);
    cr_expect_lt(alike, 3);
    graph_scope_end(&c.g);
}

/* ---- randperm ----------------------------------------------------------------------------- */

Test(random, permutations) {
    const int64_t sizes[] = {0, 1, 2, 3, 1000, 1024, 1025, 65537};
    for (int k = 0; k < 8; k++) {
        int64_t n = sizes[k];
        graph_scope_begin(&c.g);
        node *first = op_randperm(&c.g, n), *second = op_randperm(&c.g, n);
        cr_assert(first && second, "%s", c.error.text);
        cr_assert_eq(first->dtype, MARE_I32);
        const double *x = read_values(first), *y = read_values(second);
        unsigned char *seen = calloc((size_t)n + 1, 1);
        int64_t fixed = 0, same = 0;
        for (int64_t i = 0; i < n; i++) {
            cr_assert(x[i] >= 0 && x[i] < (double)n && !seen[(int)x[i]], "%lld numbers: %g at %lld",
                      (long long)n, x[i], (long long)i);
            seen[(int)x[i]] = 1;
            fixed += x[i] == (double)i;
            same += x[i] == y[i];
        }
        if (n >= 1000) /* of each there is one, give or take */
            cr_expect(fixed < 8 && same < 8, "%lld in place, %lld as before", (long long)fixed,
                      (long long)same);
        free(seen);
        graph_scope_end(&c.g);
        checker_forget(&c);
    }
    graph_scope_begin(&c.g);
    cr_expect_null(op_randperm(&c.g, -1));
    cr_expect(strstr(c.error.text, "randperm") && strstr(c.error.text, "-1"), "%s", c.error.text);
    c.error.code = MARE_OK;
    cr_expect_null(op_randperm(&c.g, ((int64_t)1 << 30) + 1));
    cr_expect_eq(c.error.code, MARE_E_ARGUMENT);
    c.error.code = MARE_OK;
    graph_scope_end(&c.g);
}

static double chi_square(const int *count, int n, double expected) {
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (count[i] - expected) * (count[i] - expected) / expected;
    return sum;
}

/* ---- Choices ------------------------------------------------------------------------------ */

/* count[i] of `draws` against weights; df: the classes that can be, less one. */
static void check_shares(const char *what, const double *x, int draws, const double *weight, int n,
                         double most) {
    int count[16] = {0};
    double sum = 0, chi = 0;
    for (int i = 0; i < draws; i++) {
        cr_assert(x[i] >= 0 && x[i] < n, "%s: class %g", what, x[i]);
        count[(int)x[i]]++;
    }
    for (int i = 0; i < n; i++)
        sum += weight[i];
    for (int i = 0; i < n; i++) {
        double expected = draws * weight[i] / sum;
        if (expected > 0)
            chi += (count[i] - expected) * (count[i] - expected) / expected;
        else
            cr_expect_eq(count[i], 0, "%s: class %d of weight 0, %d times", what, i, count[i]);
    }
    cr_expect_lt(chi, most, "%s: chi square %g", what, chi);
}

Test(random, whole_numbers) {
    const double even[13] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    graph_scope_begin(&c.g);
    node *n = op_randint(&c.g, &(shape){1, {130000}}, -3, 10);
    cr_assert(n->lo == -3 && n->hi == 9 && n->dtype == MARE_I32);
    const double *x = read_values(op_map_scalar(&c.g, "add", n, 3));
    check_shares("randint", x, 130000, even, 13, 32.9);
    refused(&c, op_randint(&c.g, &(shape){1, {3}}, 5, 5), MARE_E_ARGUMENT, "from 5 to below 5");
    refused(&c, op_randint(&c.g, &(shape){1, {3}}, 0, (int64_t)1 << 32), MARE_E_ARGUMENT,
            "randint");
    graph_scope_end(&c.g);
}

Test(random, choices) {
    enum { N = 60000 };
    const double weight[6] = {0, 1, 3, 0, 2, 0.5}, few[4] = {0.5, 0, 1, 2};
    shape six = shape_of(1, 6), row = shape_of(2, 1, 4), rows = shape_of(2, (int64_t)N, 4);
    graph_scope_begin(&c.g);
    node *w = checker_leaf(&c, MARE_F32, &six, weight);
    node *n = call("multinomial", VALUES({.tensor = w}, {.integer = N}, {.integer = 1}));
    check_shares("with replacement", read_values(n), N, weight, 6, 16.3);

    /* Pairs of different classes, by their order. */
    node *four = op_expand(&c.g, checker_leaf(&c, MARE_F32, &row, few), &rows);
    n = call("multinomial", VALUES({.tensor = four}, {.integer = 2}, {.integer = 0}));
    double pair[16] = {0}, *which = malloc(N * sizeof *which);
    const double *x = read_values(n);
    for (int i = 0; i < N; i++)
        which[i] = 4 * x[2 * i] + x[2 * i + 1];
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 4; j++)
            if (i != j) pair[4 * i + j] = few[i] * few[j] / (3.5 - few[i]);
    check_shares("without replacement", which, N, pair, 16, 20.5);
    free(which);

    node *logits = op_map1(&c.g, "log", four);
    n = call("categorical", VALUES({.tensor = logits}));
    check_shares("categorical", read_values(n), N, few, 4, 13.8);

    n = call("multinomial", VALUES({.tensor = w}, {.integer = 6}, {.integer = 0}));
    x = read_values(n);
    cr_expect(x[4] == 0 && x[5] == 3, "what weighs nothing comes last: %g, %g", x[4], x[5]);
    refused(&c, call("multinomial", VALUES({.tensor = w}, {.integer = 7}, {.integer = 0})),
            MARE_E_ARGUMENT, "7 samples without replacement");
    graph_scope_end(&c.g);
}

Test(random, gumbel_softmax) {
    enum { N = 60000 };
    const double weight[3] = {1, 2, 4};
    shape row = shape_of(2, 1, 3), rows = shape_of(2, (int64_t)N, 3);
    graph_scope_begin(&c.g);
    node *leaf = checker_leaf(&c, MARE_F32, &row, weight), *gx[2] = {0};
    leaf->requires_grad = true;
    node *a = op_map1(&c.g, "log", op_expand(&c.g, leaf, &rows)), *y[2];
    rng start = c.g.random;
    for (int hard = 0; hard < 2; hard++) { /* with the same noise */
        c.g.random = start;
        y[hard] = call("gumbel_softmax",
                       VALUES({.tensor = a}, NUMBER(0.5), {.integer = hard}, {.integer = 1}));
        cr_assert_not_null(y[hard], "%s", c.error.text);
        node *gy = op_cast(&c.g, op_arange(&c.g, MARE_I32, 0, 1, 3), MARE_F32);
        gy = op_expand(&c.g, gy, &rows);
        cr_assert_eq(graph_grad(&c.g, y[hard], gy, &leaf, 1, &gx[hard]), MARE_OK);
    }
    node *all[] = {y[0], y[1], gx[0], gx[1]};
    cr_assert_eq(plan_eval(c.planner, all, 4), MARE_OK, "%s", c.error.text);
    const double *soft = read_values(y[0]), *hard = read_values(y[1]);
    double *which = calloc(N, sizeof *which);
    for (int i = 0; i < 3 * N; i++) {
        cr_assert(hard[i] == 0 || hard[i] == 1, "%g", hard[i]);
        which[i / 3] += hard[i] * (i % 3);
        cr_assert(hard[i] == 0 || soft[i] >= 1 / 3.0, "%g", soft[i]);
    }
    check_shares("gumbel_softmax", which, N, weight, 3, 13.8);
    const double *p = read_values(gx[0]), *q = read_values(gx[1]);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(p[i], q[i], "the gradient passes straight through");
    free(which);
    graph_scope_end(&c.g);
}

/* ---- The same numbers everywhere ---------------------------------------------------------- */

static void draw_all(checker *d, node *out[6]) {
    shape s = shape_of(2, 37, 211);
    graph *g = &d->g;
    g->random = (rng){.seed = 99, .next = 0xfffffff0u};
    out[0] = op_uniform(g, &s, 0, 1);
    out[1] = op_normal(g, &s, 0, 1);
    out[2] = op_randint(g, &s, 0, 1000000);
    out[3] = op_dropout(g, op_full(g, MARE_F32, &s, 1), 0.3);
    out[4] = op_randperm(g, 37 * 211);
    out[5] = op_bernoulli(g, op_full(g, MARE_F32, &s, 0.4));
}

Test(random, any_capabilities) {
    const char *const caps[] = {"phone", "baseline", "workgroup=32", "binding=4096"};
    node *here[6], *there[6];
    graph_scope_begin(&c.g);
    draw_all(&c, here);
    const double *expected[6];
    for (int i = 0; i < 6; i++)
        expected[i] = read_values(here[i]);
    for (int k = 0; k < 4; k++) {
        checker d = {0};
        cr_assert(checker_open(&d, caps[k]), "%s", d.error.text);
        graph_scope_begin(&d.g);
        draw_all(&d, there);
        for (int i = 0; i < 6; i++) {
            const double *x = checker_read(&d, there[i]);
            cr_assert_not_null(x, "%s", d.error.text);
            cr_expect_eq(memcmp(x, expected[i], 37 * 211 * sizeof *x), 0, "%s, draw %d", caps[k],
                         i);
        }
        graph_scope_end(&d.g);
        cr_expect(checker_close(&d));
    }
    graph_scope_end(&c.g);
}

Test(random, dropout_share) {
    graph_scope_begin(&c.g);
    shape s = shape_of(1, MANY);
    node *one = op_full(&c.g, MARE_F32, &s, 1);
    const double *x = read_values(op_dropout(&c.g, one, 0.3));
    double dropped = 0;
    for (int i = 0; i < MANY; i++) {
        cr_assert(x[i] == 0 || fabs(x[i] - 1 / 0.7) < 1e-6, "%g", x[i]);
        dropped += x[i] == 0;
    }
    cr_expect_float_eq(dropped / MANY, 0.3, 5 * sqrt(0.21 / MANY));
    refused(&c, op_dropout(&c.g, one, 1.5), MARE_E_ARGUMENT, "p 1.5");
    refused(&c, op_dropout(&c.g, one, NAN), MARE_E_ARGUMENT, "not in 0..1");
    /* alpha_dropout keeps mean 0 and variance 1. */
    node *z = op_normal(&c.g, &s, 0, 1);
    z = call("alpha_dropout", VALUES({.tensor = z}, NUMBER(0.4), {.integer = 1}));
    double sum = 0, squares = 0;
    x = read_values(z);
    for (int i = 0; i < MANY; i++) {
        sum += x[i] / MANY;
        squares += x[i] * x[i] / MANY;
    }
    cr_expect_float_eq(sum, 0, 0.005);
    cr_expect_float_eq(squares, 1, 0.01);
    graph_scope_end(&c.g);
}

enum { DRAWS = 2000 };

/* Bounds that chance passes in one of a thousand draws. */
Test(random, orders_are_fair) {
    int at[8][8] = {{0}}, follows[8][8] = {{0}}, orders[24] = {0}, odd = 0;
    for (int k = 0; k < DRAWS; k++) {
        graph_scope_begin(&c.g);
        node *n[2] = {op_randperm(&c.g, 8), op_randperm(&c.g, 4)};
        cr_assert_eq(plan_eval(c.planner, n, 2), MARE_OK, "%s", c.error.text);
        const double *x = read_values(n[0]), *y = read_values(n[1]);
        int swaps = 0, order = 0;
        for (int i = 0; i < 8; i++) {
            at[(int)x[i]][i]++;
            if (i) follows[(int)x[i - 1]][(int)x[i]]++;
            for (int j = 0; j < i; j++)
                swaps += x[j] > x[i];
        }
        odd += swaps & 1;
        for (int i = 0; i < 4; i++) {
            int smaller = 0;
            for (int j = i + 1; j < 4; j++)
                smaller += y[j] < y[i];
            order = order * (4 - i) + smaller;
        }
        orders[order]++;
        graph_scope_end(&c.g);
        checker_forget(&c);
    }
    /* Where the first number goes, where any goes, who follows whom, which order, its parity. */
    double first = chi_square(at[0], 8, DRAWS / 8.0), all = chi_square(at[0], 64, DRAWS / 8.0);
    double pairs = chi_square(follows[0], 64, DRAWS / 8.0) - 8 * DRAWS / 8.0; /* no diagonal */
    double which = chi_square(orders, 24, DRAWS / 24.0);
    cr_expect_lt(first, 24.3, "%g, 7 degrees of freedom", first);
    cr_expect_lt(all, 85.4, "%g, 49 degrees of freedom", all);
    cr_expect_lt(pairs, 95, "%g, about 55 degrees of freedom", pairs);
    cr_expect_lt(which, 49.7, "%g, 23 degrees of freedom", which);
    cr_expect_lt(fabs(odd - DRAWS / 2.0), 5 * sqrt(DRAWS) / 2, "%d odd orders", odd);
}

/* A long order hides where its numbers come from: blocks of positions hold numbers of all sizes,
 * neighbours are far apart. */
Test(random, long_orders_are_fair) {
    enum { N = 65536 };
    int block[16][16] = {{0}};
    double lag = 0, runs = 0;
    graph_scope_begin(&c.g);
    const double *x = read_values(op_randperm(&c.g, N));
    for (int i = 0; i < N; i++)
        block[i / (N / 16)][(int)x[i] / (N / 16)]++;
    for (int i = 0; i + 1 < N; i++) {
        lag += (x[i] - (N - 1) / 2.0) * (x[i + 1] - (N - 1) / 2.0) / (N / 12.0 * N) / N;
        runs += x[i + 1] > x[i];
    }
    double blocks = chi_square(block[0], 256, N / 256.0);
    cr_expect(blocks < 295 && blocks > 165, "%g, 225 degrees of freedom", blocks);
    cr_expect_lt(fabs(lag), 5 / sqrt(N), "neighbours: correlation %g", lag);
    cr_expect_lt(fabs(runs - N / 2.0), 5 * sqrt(N / 12.0), "%g rises", runs);
    graph_scope_end(&c.g);
}
