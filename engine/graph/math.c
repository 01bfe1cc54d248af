#include "graph/math.h"

#include <math.h>
#include <string.h>

static const double PI = 3.14159265358979323846;

#define F1(name, expression)                                                                       \
    static double f_##name(double a) {                                                             \
        return expression;                                                                         \
    }
#define F2(name, expression)                                                                       \
    static double f_##name(double a, double b) {                                                   \
        return expression;                                                                         \
    }
#define I1(name, expression)                                                                       \
    static int32_t i_##name(int32_t a) {                                                           \
        return expression;                                                                         \
    }
#define I2(name, expression)                                                                       \
    static int32_t i_##name(int32_t a, int32_t b) {                                                \
        return expression;                                                                         \
    }

/* Signed overflow wraps around, as on the device. */
static int32_t wrap(uint32_t v) {
    return v <= INT32_MAX ? (int32_t)v : (int32_t)(v - 0x80000000u) + INT32_MIN;
}

F1(neg, -a)
F1(abs, fabs(a))
F1(sign, a > 0 ? 1.0 : a < 0 ? -1.0 : a)
F1(sqrt, sqrt(a))
F1(rsqrt, 1 / sqrt(a))
F1(cbrt, cbrt(a))
F1(exp, exp(a))
F1(exp2, exp2(a))
F1(expm1, expm1(a))
F1(log, log(a))
F1(log2, log2(a))
F1(log10, log10(a))
F1(log1p, log1p(a))
F1(sin, sin(a))
F1(cos, cos(a))
F1(tan, tan(a))
F1(asin, asin(a))
F1(acos, acos(a))
F1(atan, atan(a))
F1(sinh, sinh(a))
F1(cosh, cosh(a))
F1(tanh, tanh(a))
F1(asinh, asinh(a))
F1(acosh, acosh(a))
F1(atanh, atanh(a))
F1(erf, erf(a))
F1(erfc, erfc(a))
F1(normcdf, 0.5 * erfc(-a * 0.70710678118654752440))
F1(floor, floor(a))
F1(ceil, ceil(a))
F1(round, nearbyint(a))
F1(trunc, trunc(a))
F1(isnan, isnan(a) ? 1.0 : 0.0)
F1(isinf, isinf(a) ? 1.0 : 0.0)
F1(isfinite, isfinite(a) ? 1.0 : 0.0)
F1(not, a == 0 ? 1.0 : 0.0)
F1(signbit, signbit(a) ? 1.0 : 0.0)

F2(add, a + b)
F2(sub, a - b)
F2(mul, a *b)
F2(div, a / b)
F2(lt, a < b ? 1.0 : 0.0)
F2(le, a <= b ? 1.0 : 0.0)
F2(gt, a > b ? 1.0 : 0.0)
F2(ge, a >= b ? 1.0 : 0.0)
F2(eq, a == b ? 1.0 : 0.0)
F2(ne, a != b ? 1.0 : 0.0)
F2(and, a != 0 && b != 0 ? 1.0 : 0.0)
F2(or, a != 0 || b != 0 ? 1.0 : 0.0)
F2(xor, (a != 0) != (b != 0) ? 1.0 : 0.0)
F2(minimum, isnan(a) || isnan(b) ? (double)NAN : a < b ? a : b)
F2(maximum, isnan(a) || isnan(b) ? (double)NAN : a > b ? a : b)
F2(pow, pow(a, b))
F2(hypot, hypot(a, b))
F2(atan2, atan2(a, b))

/* The remainder has the divisor's sign, as in Python and Lua. */
static double f_mod(double a, double b) {
    double m = fmod(a, b);
    if (isnan(m)) return m;
    if (m != 0 && (m < 0) != (b < 0)) return isinf(b) ? b : m + b;
    return m == 0 ? copysign(0.0, b) : m;
}

/* The quotient rounded down: exact, by way of the exact remainder. */
static double f_floordiv(double a, double b) {
    if (b == 0 || !isfinite(a) || isnan(b)) return isinf(a) && isinf(b) ? (double)NAN : a / b;
    if (isinf(b)) return a == 0 ? a / b : (a < 0) == (b < 0) ? 0.0 : -1.0;
    return nearbyint((a - f_mod(a, b)) / b);
}

static double f_psi(double x) {
    if (x == 0) return signbit(x) ? (double)INFINITY : -(double)INFINITY;
    if (x < 0 && x == floor(x)) return (double)NAN;
    if (x < 0) return f_psi(1 - x) - PI / tan(PI * (x - nearbyint(x)));
    double sum = 0;
    for (; x < 20; x++)
        sum -= 1 / x;
    double r = 1 / (x * x);
    return sum + log(x) - 0.5 / x -
           r * (1.0 / 12 - r * (1.0 / 120 - r * (1.0 / 252 - r * (1.0 / 240 - r / 132))));
}

/* The sum of (q + k)^-s: terms up to 30, then Euler's and Maclaurin's formula. */
static double f_hurwitz(double s, double q) {
    if (isnan(s) || isnan(q) || s < 1) return (double)NAN;
    if (s == 1 || (q <= 0 && q == floor(q))) return (double)INFINITY;
    if (q < 0) return (double)NAN;
    if (isinf(q)) return 0;
    if (isinf(s)) return pow(q, -s);
    double sum = 0;
    for (; q < 30; q++)
        sum += pow(q, -s);
    static const double b[] = {1.0 / 12, -1.0 / 720, 1.0 / 30240, -1.0 / 1209600, 1.0 / 47900160};
    double term = s * pow(q, -s - 1);
    sum += pow(q, 1 - s) / (s - 1) + 0.5 * pow(q, -s);
    for (int j = 0; j < 5; j++) {
        sum += b[j] * term;
        term *= (s + 2 * j + 1) * (s + 2 * j + 2) / (q * q);
    }
    return sum;
}

/* exp(-|x|) I_n(x): the power series, and from 30 on the asymptotic one. */
static double bessel(int n, double x) {
    double a = fabs(x), term = 1, sum = 0;
    if (isnan(x)) return x;
    if (isinf(x)) return copysign(0.0, n ? x : 1);
    if (a < 30) {
        term = n ? a / 2 : 1;
        for (int k = 1; k < 200 && term > 1e-17 * sum; k++) {
            sum += term;
            term *= a * a / 4 / k / (k + n);
        }
        sum *= exp(-a);
    } else {
        for (int k = 1; k < 20; k++) {
            sum += term;
            term *= -(4.0 * n * n - (2 * k - 1) * (2 * k - 1)) / (k * 8 * a);
        }
        sum /= sqrt(2 * PI * a);
    }
    return n && x < 0 ? -sum : sum;
}

static double f_fma(double a, double b, double c) {
    return fma(a, b, c);
}

static double f_where(double a, double b, double c) {
    return a != 0 ? b : c;
}

I1(neg, wrap(0u - (uint32_t)a))
I1(abs, a < 0 ? wrap(0u - (uint32_t)a) : a)
I1(sign, (a > 0) - (a < 0))
I1(same, a)
I1(zero, ((void)a, 0))
I1(one, ((void)a, 1))
I1(not, a == 0)
I1(bitnot, ~a)
I1(signbit, a < 0)

I2(add, wrap((uint32_t)a + (uint32_t)b))
I2(sub, wrap((uint32_t)a - (uint32_t)b))
I2(mul, wrap((uint32_t)a *(uint32_t)b))
I2(lt, a < b)
I2(le, a <= b)
I2(gt, a > b)
I2(ge, a >= b)
I2(eq, a == b)
I2(ne, a != b)
I2(and, a != 0 && b != 0)
I2(or, a != 0 || b != 0)
I2(xor, (a != 0) != (b != 0))
I2(minimum, a < b ? a : b)
I2(maximum, a > b ? a : b)
I2(bitand, a &b)
I2(bitor, a | b)
I2(bitxor, a ^ b)
/* Counts outside 0..31 shift everything out. */
I2(shl, b >= 0 && b < 32 ? wrap((uint32_t)a << b) : 0)
I2(shr, b >= 0 && b < 32 ? (a < 0 ? ~(~a >> b) : a >> b) : a < 0 ? -1 : 0)

/* Rounded down; 0 when the divisor is 0; the one overflow wraps. */
static int32_t i_floordiv(int32_t a, int32_t b) {
    if (b == 0) return 0;
    if (b == -1) return i_neg(a);
    int32_t q = a / b;
    return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
}

static int32_t i_mod(int32_t a, int32_t b) {
    if (b == 0 || b == -1) return 0;
    int32_t m = a % b;
    return m != 0 && (m < 0) != (b < 0) ? m + b : m;
}

static int32_t i_gcd(int32_t a, int32_t b) {
    uint32_t x = a < 0 ? 0u - (uint32_t)a : (uint32_t)a, y = b < 0 ? 0u - (uint32_t)b : (uint32_t)b;
    while (y) {
        uint32_t rest = x % y;
        x = y;
        y = rest;
    }
    return wrap(x);
}

static int32_t i_fma(int32_t a, int32_t b, int32_t c) {
    return i_add(i_mul(a, b), c);
}

static int32_t i_where(int32_t a, int32_t b, int32_t c) {
    return a != 0 ? b : c;
}

F1(log_gamma, lgamma(a))
F1(i0e, bessel(0, a))
F1(i1e, bessel(1, a))

#define FLOAT1(name)                                                                               \
    { #name, 1, NULL, false, .f1 = f_##name }
#define BOTH1(name, i)                                                                             \
    { #name, 1, NULL, false, .f1 = f_##name, .i1 = i_##i }
#define FLOAT2(name)                                                                               \
    { #name, 2, NULL, false, .f2 = f_##name }
#define INT2(name)                                                                                 \
    { #name, 2, NULL, false, .i2 = i_##name }
#define BOTH2(name)                                                                                \
    { #name, 2, NULL, false, .f2 = f_##name, .i2 = i_##name }
#define SIGN2(name, sign)                                                                          \
    { #name, 2, sign, false, .f2 = f_##name, .i2 = i_##name }
#define COMPARE(name, sign)                                                                        \
    { #name, 2, sign, true, .f2 = f_##name, .i2 = i_##name }

static const struct expr_function functions[] = {
    {"neg", 1, "-", false, .f1 = f_neg, .i1 = i_neg},
    SIGN2(add, "+"),
    SIGN2(sub, "-"),
    SIGN2(mul, "*"),
    {"div", 2, "/", false, .f2 = f_div},
    COMPARE(lt, "<"),
    COMPARE(le, "<="),
    COMPARE(gt, ">"),
    COMPARE(ge, ">="),
    COMPARE(eq, "=="),
    COMPARE(ne, "!="),
    BOTH1(abs, abs),
    BOTH1(sign, sign),
    FLOAT1(sqrt),
    FLOAT1(rsqrt),
    FLOAT1(cbrt),
    FLOAT1(exp),
    FLOAT1(exp2),
    FLOAT1(expm1),
    FLOAT1(log),
    FLOAT1(log2),
    FLOAT1(log10),
    FLOAT1(log1p),
    FLOAT1(sin),
    FLOAT1(cos),
    FLOAT1(tan),
    FLOAT1(asin),
    FLOAT1(acos),
    FLOAT1(atan),
    FLOAT1(sinh),
    FLOAT1(cosh),
    FLOAT1(tanh),
    FLOAT1(asinh),
    FLOAT1(acosh),
    FLOAT1(atanh),
    FLOAT1(erf),
    FLOAT1(erfc),
    FLOAT1(normcdf),
    FLOAT1(log_gamma),
    FLOAT1(psi),
    FLOAT1(i0e),
    FLOAT1(i1e),
    FLOAT2(hurwitz),
    BOTH1(floor, same),
    BOTH1(ceil, same),
    BOTH1(round, same),
    BOTH1(trunc, same),
    BOTH1(isnan, zero),
    BOTH1(isinf, zero),
    BOTH1(isfinite, one),
    BOTH1(not, not ),
    BOTH1(signbit, signbit),
    BOTH2(and),
    BOTH2(or),
    BOTH2(xor),
    BOTH2(minimum),
    BOTH2(maximum),
    BOTH2(mod),
    BOTH2(floordiv),
    /* Mesa 26's lavapipe */
    {"pow", 2, NULL, false, .f2 = f_pow, .apart = true},
    FLOAT2(hypot),
    FLOAT2(atan2),
    {"fma", 3, NULL, false, .f3 = f_fma, .i3 = i_fma},
    {"where", 3, NULL, false, .f3 = f_where, .i3 = i_where},
    {"bitnot", 1, NULL, false, .i1 = i_bitnot},
    INT2(gcd),
    INT2(bitand),
    INT2(bitor),
    INT2(bitxor),
    INT2(shl),
    INT2(shr),
};

const struct expr_function *math_function(int i) {
    return i >= 0 && i < (int)(sizeof functions / sizeof *functions) ? &functions[i] : NULL;
}

const struct expr_function *math_find(const char *name, int arity) {
    const struct expr_function *f;
    for (int i = 0; (f = math_function(i)) != NULL; i++)
        if (f->arity == arity && strcmp(f->name, name) == 0) return f;
    return NULL;
}

bool math_knows(const struct expr_function *f, mare_dtype compute) {
    return compute == MARE_I32 ? f->i1 || f->i2 || f->i3 : f->f1 || f->f2 || f->f3;
}
