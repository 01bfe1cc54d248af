/* Random numbers: the words of the host's generator, the distributions, the quality of orders. All
 * seeds are fixed, so that what passes once always does. */
#include "op_check.h"
#include "ops/ops.h"

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
