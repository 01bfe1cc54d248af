/* The row language: parsing, GLSL, values, errors; and the shader's functions against C's libm over
 * their whole range, special values included. */
#include "graph/expr.h"
#include "op_check.h"
#include "ops/ops.h"
#include "ops/row.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const abc[] = {"a", "b", "c"};

static double value(const char *source, mare_dtype t, double a, double b, double c) {
    arena mem = {0};
    mare_error e = {0};
    const expr *x;
    double v[3] = {a, b, c};
    cr_assert_eq(expr_parse(source, abc, 3, &mem, &x, &e), MARE_OK, "%s", e.text);
    cr_assert_eq(expr_check(x, t, &e), MARE_OK, "%s", e.text);
    double y = expr_value(x, t, v);
    arena_free(&mem);
    return y;
}

Test(expr, values) {
    cr_expect_eq(value("a + b * c", MARE_F32, 1, 2, 3), 7);
    cr_expect_eq(value("(a + b) * -c", MARE_F32, 1, 2, 3), -9);
    cr_expect_eq(value("a - b - c", MARE_F32, 1, 2, 3), -4);
    cr_expect_eq(value("a / b / c", MARE_F32, 12, 2, 3), 2);
    cr_expect_eq(value("--a", MARE_F32, 5, 0, 0), 5);
    cr_expect_eq(value("a < b", MARE_F32, 1, 2, 0), 1);
    cr_expect_eq(value("a + 1 >= b", MARE_F32, 0, 2, 0), 0);
    cr_expect_eq(value("t = a * 2; u = t + 1; t * u", MARE_F32, 3, 0, 0), 42);
    cr_expect_eq(value("t=(a==b);where(t,1.5e1,c)", MARE_F32, 3, 3, 0), 15);
    cr_expect_eq(value("where(a, b, c)", MARE_F32, NAN, 1, 2), 1);
    cr_expect(isinf(value("a + inf", MARE_F32, 1, 0, 0)));
    cr_expect_eq(value("a * b", MARE_I32, 65536, 65537, 0), 65536);
    cr_expect_eq(value("abs(a)", MARE_I32, -2147483648.0, 0, 0), -2147483648.0);
    cr_expect_eq(value("floordiv(a, b)", MARE_I32, -7, 2, 0), -4);
    cr_expect_eq(value("mod(a, b)", MARE_I32, -7, 2, 0), 1);
    cr_expect_eq(value("floordiv(a, b)", MARE_I32, 7, 0, 0), 0);
    cr_expect_eq(value("shr(a, b)", MARE_I32, -7, 40, 0), -1);
}

static void glsl(const char *source, mare_dtype t, const char *want) {
    arena mem = {0};
    mare_error e = {0};
    text out = {0};
    const expr *x;
    cr_assert_eq(expr_parse(source, abc, 3, &mem, &x, &e), MARE_OK, "%s", e.text);
    cr_assert_eq(expr_glsl(x, t, abc, &out, &e), MARE_OK, "%s", e.text);
    cr_expect_str_eq(text_str(&out), want);
    text_free(&out);
    arena_free(&mem);
}

Test(expr, glsl) {
    glsl("a + 2 * b", MARE_F32, "(a + (2.0 * b))");
    glsl("a + 2 * b", MARE_I32, "(a + (2 * b))");
    glsl("-exp(a) < 1e-9", MARE_F32, "float((-m_exp(a)) < 9.99999972e-10)");
    glsl("where(a, inf, 0.1)", MARE_F32, "m_where(a, uintBitsToFloat(0x7f800000u), 0.100000001)");
}

Test(expr, errors) {
    static const char *const bad[] = {"",        "a +",   "a b",        "(a",      "f(a",
                                      "a + zz",  "1.2.3", "a = 2;",     "t = a t", "a < b < c",
                                      "f(a,,b)", "3x",    "f(a,b,c,a)", "a = ",    "@"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        arena mem = {0};
        mare_error e = {0};
        const expr *x;
        cr_expect_eq(expr_parse(bad[i], abc, 3, &mem, &x, &e), MARE_E_ARGUMENT, "%s", bad[i]);
        cr_expect(strstr(e.text, "expression"));
        arena_free(&mem);
    }
    /* Nesting is bounded, whatever the text. */
    size_t n = 100000;
    char *deep = malloc(n + 1);
    memset(deep, '(', n);
    deep[n] = 0;
    arena mem = {0};
    const expr *x;
    cr_expect_eq(expr_parse(deep, abc, 3, &mem, &x, NULL), MARE_E_ARGUMENT);
    memset(deep, '-', n);
    cr_expect_eq(expr_parse(deep, abc, 3, &mem, &x, NULL), MARE_E_ARGUMENT);
    /* Functions that the arithmetic lacks. */
    mare_error e = {0};
    cr_assert_eq(expr_parse("gelu(a) + exp(b)", abc, 3, &mem, &x, &e), MARE_OK);
    cr_expect_eq(expr_check(x, MARE_F32, &e), MARE_E_ARGUMENT);
    cr_expect(strstr(e.text, "gelu"));
    cr_assert_eq(expr_parse("exp(b)", abc, 3, &mem, &x, &e), MARE_OK);
    cr_expect_eq(expr_check(x, MARE_I32, &e), MARE_E_ARGUMENT);
    arena_free(&mem);
    free(deep);
}

/* ---- The shader's functions --------------------------------------------------------------- */

/* Values of every magnitude and sign, where functions change their ways, and what is special. */
static int specimens(float *out) {
    static const float chosen[] = {0,        0.5f,  1,      1.5f,    2,     2.5f,   3,       10,
                                   16777216, 1e5f,  1e10f,  3.4e38f, 0.85f, 0.625f, 0.25f,   100,
                                   88.7f,    87.3f, 103.9f, 9.2f,    5.5f,  1e-20f, 1.2e-38f};
    int n = 0;
    for (size_t i = 0; i < sizeof chosen / sizeof *chosen; i++) {
        out[n++] = chosen[i];
        out[n++] = -chosen[i];
        out[n++] = nextafterf(chosen[i], 1e38f);
        out[n++] = -nextafterf(chosen[i], 0);
    }
    for (double m = 1e-12; m < 1e12; m *= 1.618) {
        out[n++] = (float)m;
        out[n++] = (float)-m;
    }
    for (int i = -200; i <= 200; i++)
        out[n++] = (float)i * 0.0531f;
    out[n++] = INFINITY;
    out[n++] = -INFINITY;
    out[n++] = NAN;
    /* Devices may flush numbers below the normal ones to 0. */
    int kept = 0;
    for (int i = 0; i < n; i++)
        if (out[i] == 0 || !(fabsf(out[i]) < 1.17549435e-38f)) out[kept++] = out[i];
    return kept;
}

/* Is y the f32 that the reference rounds to, within ulps? Results below the normal numbers may be
 * flushed to 0. */
static bool close_to(double y, double ref, double ulps) {
    if (isnan(ref)) return isnan(y);
    if (isnan(y)) return false;
    float want = (float)ref;
    if (isinf(want) || isinf(y)) return y == want || fabs(ref) > 3.402e38;
    double unit = fmax(ldexp(1, ilogb(ref == 0 ? 1e-45 : ref) - 23), 1.2e-38);
    return fabs(y - ref) <= ulps * unit;
}

Test(expr, functions_on_the_device) {
    static checker c;
    float one[2048];
    int n = specimens(one), failures = 0;
    cr_assert(checker_open(&c, NULL), "%s", c.error.text);
    for (int i = 0, arity; i >= 0; i++) {
        bool floats, ints;
        const char *name = expr_function_name(i, &arity, &floats, &ints);
        if (!name) break;
        if (!floats || arity > 2 || !op_find(name)) continue;
        graph_scope_begin(&c.g);
        int step = arity == 1 ? 1 : 7, m = arity == 1 ? n : 0;
        for (int k = 0; arity == 2 && k < n; k += step)
            m++;
        int64_t count = arity == 1 ? n : (int64_t)m * m;
        double *in[2] = {calloc((size_t)count, sizeof(double)),
                         calloc((size_t)count, sizeof(double))};
        for (int64_t k = 0; k < count; k++) {
            in[0][k] = one[arity == 1 ? k : k / m * step];
            in[1][k] = one[arity == 1 ? k : k % m * step];
        }
        shape s = shape_of(1, count);
        node *x[2] = {checker_leaf(&c, MARE_F32, &s, in[0]), checker_leaf(&c, MARE_F32, &s, in[1])};
        node *y = op_map(&c.g, name, x, arity);
        cr_assert(y, "%s", c.error.text);
        /* Before the device evaluates: a value lets go of what it came from. */
        double *want = calloc((size_t)count, sizeof(double));
        const double *const refs[2] = {in[0], in[1]};
        y->op->ref(y, refs, want);
        double *got = checker_read(&c, y);
        cr_assert(got, "%s", c.error.text);
        for (int64_t k = 0; k < count; k++)
            if (!close_to(got[k], want[k], 4) && ++failures < 60)
                cr_log_error("%s(%.9g, %.9g) = %.9g, not %.9g", name, in[0][k], in[1][k], got[k],
                             want[k]);
        free(in[0]);
        free(in[1]);
        free(want);
        graph_scope_end(&c.g);
        checker_forget(&c);
    }
    cr_expect_eq(failures, 0, "%d failures", failures);
    checker_close(&c);
}

/* Functions whose zeros left of 0 allow no relative bound: where they are positive numbers' alone.
 */
Test(expr, special_functions_on_the_device) {
    static const char *const names[] = {"lgamma", "digamma", "trigamma", "i0", "i1"};
    static checker c;
    double x[400];
    int n = 0, failures = 0;
    for (double v = 1e-3; v < 80; v *= 1.07)
        x[n++] = (float)v;
    for (double v = 0.05; v < 9; v += 0.05)
        x[n++] = (float)v;
    cr_assert(checker_open(&c, NULL), "%s", c.error.text);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        double want[400];
        const double *const refs[1] = {x};
        graph_scope_begin(&c.g);
        shape s = shape_of(1, n);
        node *leaf = checker_leaf(&c, MARE_F32, &s, x), *y = op_map(&c.g, names[i], &leaf, 1);
        cr_assert(y, "%s", c.error.text);
        y->op->ref(y, refs, want);
        double *got = checker_read(&c, y);
        cr_assert(got, "%s", c.error.text);
        for (int k = 0; k < n; k++)
            if (!close_to(got[k], want[k], 6) && ++failures < 60)
                cr_log_error("%s(%.9g) = %.9g, not %.9g", names[i], x[k], got[k], want[k]);
        graph_scope_end(&c.g);
        checker_forget(&c);
    }
    cr_expect_eq(failures, 0, "%d failures", failures);
    checker_close(&c);
}
