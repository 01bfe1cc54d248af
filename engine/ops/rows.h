/* The elementwise ops: one row each. Included several times with ROW defined.
 *
 * ROW(name, inputs, kind, expression, gradients, low, high, smooth, doc)
 *   kind        what dtypes it takes and gives: see row_kind in elementwise.c
 *   expression  over the inputs a, b, c: see graph/expr.h
 *   gradients   GRAD(of a, of b, of c): expressions over a, b, c, the result y and the gradient g
 *               of the result; null where there is none (steps, conditions)
 *   low, high   what the tests draw inputs from, where the function is defined and, for its
 *               gradient's sake, away from kinks
 *   smooth      the gradient's gradient is checked too
 */

/* ---- Arithmetic --------------------------------------------------------------------------- */

ROW(add, 2, NUMBER, "a + b", GRAD("g", "g"), -3, 3, true, "a + b; integers wrap around")
ROW(sub, 2, NUMBER, "a - b", GRAD("g", "-g"), -3, 3, true, "a - b; integers wrap around")
ROW(mul, 2, NUMBER, "a * b", GRAD("g * b", "g * a"), -3, 3, true, "a b; integers wrap around")
ROW(div, 2, FLOAT, "a / b", GRAD("g / b", "-g * y / b"), 0.5, 3, true,
    "a / b in floats, also of integers")
ROW(floordiv, 2, RATIO, "floordiv(a, b)", GRAD(0, 0), 0, 0, false,
    "a / b rounded down; integers by 0 give 0")
ROW(mod, 2, RATIO, "mod(a, b)", GRAD("g", "-g * floordiv(a, b)"), 0, 0, false,
    "a - b floordiv(a, b), with the sign of b; integers by 0 give 0")
ROW(fmod, 2, RATIO, "where(a < 0, -mod(abs(a), abs(b)), mod(abs(a), abs(b)))",
    GRAD("g", "-g * trunc(a / b)"), 0, 0, false,
    "a - b trunc(a / b), with the sign of a; integers by 0 give 0")
ROW(neg, 1, NUMBER, "-a", GRAD("-g"), -3, 3, true, "-a")
ROW(abs, 1, NUMBER, "abs(a)", GRAD("g * sign(a)"), -3, 3, false, "|a|; gradient 0 at 0")
ROW(sign, 1, NUMBER, "sign(a)", GRAD(0), -3, 3, false, "-1, 0 or 1")
ROW(reciprocal, 1, FLOAT, "1 / a", GRAD("-g * y * y"), 0.5, 3, true, "1 / a")
ROW(square, 1, NUMBER, "a * a", GRAD("2 * g * a"), -3, 3, true, "a a")
ROW(sqrt, 1, FLOAT, "sqrt(a)", GRAD("g / (2 * y)"), 0.2, 3, true, "square root; gradient inf at 0")
ROW(rsqrt, 1, FLOAT, "rsqrt(a)", GRAD("-0.5 * g * y / a"), 0.2, 3, true, "1 / sqrt(a)")
ROW(cbrt, 1, FLOAT, "cbrt(a)", GRAD("g / (3 * y * y)"), 0.2, 3, true, "cube root")
ROW(pow, 2, FLOAT, "pow(a, b)",
    GRAD("where(b == 0, 0, g * b * pow(a, where(b == 0, 1, b) - 1))",
         "zero = (a == 0); where(and(zero, b >= 0), 0, g * y * log(where(zero, 1, a)))"),
    0.3, 2.5, true, "a to the power of b; negative a with whole b; anything to the power of 0 is 1")
ROW(minimum, 2, NUMBER, "minimum(a, b)",
    GRAD("where(a < b, g, where(a == b, 0.5 * g, 0))",
         "where(b < a, g, where(a == b, 0.5 * g, 0))"),
    -3, 3, false, "the smaller; NaN if either is; equal inputs share the gradient")
ROW(maximum, 2, NUMBER, "maximum(a, b)",
    GRAD("where(a > b, g, where(a == b, 0.5 * g, 0))",
         "where(b > a, g, where(a == b, 0.5 * g, 0))"),
    -3, 3, false, "the larger; NaN if either is; equal inputs share the gradient")
ROW(clamp, 3, NUMBER, "minimum(maximum(a, b), c)",
    GRAD("where(and(a >= b, a <= c), g, 0)", "where(and(a < b, b <= c), g, 0)",
         "where(or(a > c, b > c), g, 0)"),
    -3, 3, false, "a held between b and c; c where they cross")
ROW(fma, 3, NUMBER, "fma(a, b, c)", GRAD("g * b", "g * a", "g"), -3, 3, true, "a b + c")
ROW(hypot, 2, FLOAT, "hypot(a, b)",
    GRAD("g * a / where(y == 0, 1, y)", "g * b / where(y == 0, 1, y)"), 0.3, 3, true,
    "sqrt(a a + b b) without overflow; gradient 0 at 0")
ROW(fmin, 2, NUMBER, "where(isnan(a), b, where(isnan(b), a, minimum(a, b)))",
    GRAD("where(or(isnan(b), a < b), g, where(a == b, 0.5 * g, 0))",
         "where(or(isnan(a), b < a), g, where(a == b, 0.5 * g, 0))"),
    -3, 3, false, "the smaller; the other if one is NaN; equal inputs share the gradient")
ROW(fmax, 2, NUMBER, "where(isnan(a), b, where(isnan(b), a, maximum(a, b)))",
    GRAD("where(or(isnan(b), a > b), g, where(a == b, 0.5 * g, 0))",
         "where(or(isnan(a), b > a), g, where(a == b, 0.5 * g, 0))"),
    -3, 3, false, "the larger; the other if one is NaN; equal inputs share the gradient")
ROW(copysign, 2, FLOAT, "where(signbit(a) == signbit(b), a, -a)",
    GRAD("where(signbit(a) == signbit(b), g, -g)", 0), 0.5, 3, true, "|a| with the sign of b")
ROW(heaviside, 2, NUMBER, "where(a == 0, b, where(isnan(a), a, a > 0))",
    GRAD(0, "where(a == 0, g, 0)"), -3, 3, false, "0 below 0, 1 above, b at 0")
ROW(lerp, 3, FLOAT, "where(abs(c) < 0.5, a + c * (b - a), b - (b - a) * (1 - c))",
    GRAD("g * (1 - c)", "g * c", "g * (b - a)"), -3, 3, true, "from a (c = 0) to b (c = 1)")
ROW(deg2rad, 1, FLOAT, "a * 0.017453292519943296", GRAD("g * 0.017453292519943296"), -300, 300,
    true, "degrees in radians")
ROW(rad2deg, 1, FLOAT, "a * 57.295779513082321", GRAD("g * 57.295779513082321"), -3, 3, true,
    "radians in degrees")
ROW(ldexp, 2, FLOAT, "a * exp2(b)", GRAD("g * exp2(b)", "g * y * 0.69314718055994531"), -3, 3, true,
    "a times 2 to the power of b")

/* ---- Exponentials and logarithms ---------------------------------------------------------- */

ROW(exp, 1, FLOAT, "exp(a)", GRAD("g * y"), -3, 3, true, "e to the power of a")
ROW(exp2, 1, FLOAT, "exp2(a)", GRAD("g * y * 0.69314718055994531"), -3, 3, true,
    "2 to the power of a")
ROW(expm1, 1, FLOAT, "expm1(a)", GRAD("g * exp(a)"), -1, 1, true, "exp(a) - 1, exact near 0")
ROW(log, 1, FLOAT, "log(a)", GRAD("g / a"), 0.3, 4, true, "natural logarithm")
ROW(log2, 1, FLOAT, "log2(a)", GRAD("g / (a * 0.69314718055994531)"), 0.3, 4, true,
    "logarithm to base 2")
ROW(log10, 1, FLOAT, "log10(a)", GRAD("g / (a * 2.3025850929940457)"), 0.3, 4, true,
    "logarithm to base 10")
ROW(log1p, 1, FLOAT, "log1p(a)", GRAD("g / (1 + a)"), -0.6, 3, true, "log(1 + a), exact near 0")
ROW(sigmoid, 1, FLOAT, "1 / (1 + exp(-a))", GRAD("g * y * (1 - y)"), -3, 4, true,
    "1 / (1 + exp(-a))")
ROW(log_sigmoid, 1, FLOAT, "minimum(a, 0) - log1p(exp(-abs(a)))", GRAD("g * sigmoid(-a)"), -4, 4,
    true, "log(sigmoid(a)) without overflow")
ROW(softplus, 1, FLOAT, "maximum(a, 0) + log1p(exp(-abs(a)))", GRAD("g * sigmoid(a)"), -4, 4, true,
    "log(1 + exp(a)) without overflow")
ROW(logaddexp, 2, FLOAT,
    "where(a == b, a + 0.69314718055994531, maximum(a, b) + log1p(exp(-abs(a - b))))",
    GRAD("where(a == b, 0.5 * g, g * sigmoid(a - b))",
         "where(a == b, 0.5 * g, g * sigmoid(b - a))"),
    -3, 3, false, "log(exp(a) + exp(b)) without overflow")
ROW(logaddexp2, 2, FLOAT,
    "where(a == b, a + 1, maximum(a, b) + log1p(exp2(-abs(a - b))) * 1.4426950408889634)",
    GRAD("where(a == b, 0.5 * g, g * sigmoid((a - b) * 0.69314718055994531))",
         "where(a == b, 0.5 * g, g * sigmoid((b - a) * 0.69314718055994531))"),
    -3, 3, false, "log2(exp2(a) + exp2(b)) without overflow")
ROW(logit, 1, FLOAT, "where(abs(a - 0.5) < 0.25, 2 * atanh(2 * a - 1), log(a / (1 - a)))",
    GRAD("g / (a * (1 - a))"), 0.1, 0.9, true, "log(a / (1 - a)), the inverse of sigmoid")
ROW(xlogy, 2, FLOAT, "where(and(a == 0, not(isnan(b))), 0, a * log(b))",
    GRAD("where(and(a == 0, b <= 0), 0, g * log(b))", "g * a / b"), 0.3, 3, true,
    "a log(b); 0 where a is 0")
ROW(xlog1py, 2, FLOAT, "where(and(a == 0, not(isnan(b))), 0, a * log1p(b))",
    GRAD("where(and(a == 0, b <= -1), 0, g * log1p(b))", "g * a / (1 + b)"), 0.3, 3, true,
    "a log(1 + b); 0 where a is 0")
ROW(entr, 1, FLOAT, "where(a == 0, 0, where(a < 0, -inf, -a * log(a)))", GRAD("-g * (1 + log(a))"),
    0.3, 3, true, "-a log(a), the entropy of a part; 0 at 0, -inf below")
ROW(log_cosh, 1, FLOAT,
    "s = sinh(0.5 * minimum(abs(a), 2)); where(abs(a) < 2, log1p(2 * s * s), "
    "abs(a) + (log1p(exp(-2 * abs(a))) - 0.69314718055994531))",
    GRAD("g * tanh(a)"), -3, 3, true, "log(cosh(a)) without overflow")

/* ---- Trigonometric and hyperbolic --------------------------------------------------------- */

ROW(sin, 1, FLOAT, "sin(a)", GRAD("g * cos(a)"), -9, 9, true, "sine of radians")
ROW(cos, 1, FLOAT, "cos(a)", GRAD("-g * sin(a)"), -9, 9, true, "cosine of radians")
ROW(tan, 1, FLOAT, "tan(a)", GRAD("g * (1 + y * y)"), -1.2, 1.2, true, "tangent of radians")
ROW(sinc, 1, FLOAT,
    "n = round(a); s = sin(3.1415926535897932 * (a - n)) * (1 - 2 * abs(n - 2 * round(n / 2))); "
    "where(a == 0, 1, where(isinf(a), 0, s / (3.1415926535897932 * a)))",
    GRAD("x = 9.8696044010893586 * a * a; n = round(a); "
         "c = cos(3.1415926535897932 * (a - n)) * (1 - 2 * abs(n - 2 * round(n / 2))); "
         "g * where(abs(a) < 0.25, -a * 9.8696044010893586 * "
         "(1 / 3 - x * (1 / 30 - x * (1 / 840 - x * (1 / 45360 - x / 3991680)))), "
         "(c - y) / where(a == 0, 1, a))"),
    0.3, 2.4, true, "sin(pi a) / (pi a); 1 at 0")
ROW(asin, 1, FLOAT, "asin(a)", GRAD("g * rsqrt((1 - a) * (1 + a))"), -0.8, 0.8, true,
    "inverse sine")
ROW(acos, 1, FLOAT, "acos(a)", GRAD("-g * rsqrt((1 - a) * (1 + a))"), -0.8, 0.8, true,
    "inverse cosine")
ROW(atan, 1, FLOAT, "atan(a)", GRAD("g / (1 + a * a)"), -4, 4, true, "inverse tangent")
ROW(atan2, 2, FLOAT, "atan2(a, b)",
    GRAD("r = a * a + b * b; g * b / where(r == 0, 1, r)",
         "r = a * a + b * b; -g * a / where(r == 0, 1, r)"),
    0.3, 3, true, "angle of the point (b, a); gradient 0 at the origin")
ROW(sinh, 1, FLOAT, "sinh(a)", GRAD("g * cosh(a)"), -3, 3, true, "hyperbolic sine")
ROW(cosh, 1, FLOAT, "cosh(a)", GRAD("g * sinh(a)"), -3, 3, true, "hyperbolic cosine")
ROW(tanh, 1, FLOAT, "tanh(a)", GRAD("g * (1 - y * y)"), -3, 3, true, "hyperbolic tangent")
ROW(asinh, 1, FLOAT, "asinh(a)", GRAD("g / hypot(a, 1)"), -3, 3, true, "inverse hyperbolic sine")
ROW(acosh, 1, FLOAT, "acosh(a)", GRAD("g / (sqrt(a - 1) * sqrt(a + 1))"), 1.3, 4, true,
    "inverse hyperbolic cosine")
ROW(atanh, 1, FLOAT, "atanh(a)", GRAD("g / ((1 - a) * (1 + a))"), -0.8, 0.8, true,
    "inverse hyperbolic tangent")

/* ---- The error function ------------------------------------------------------------------- */

ROW(erf, 1, FLOAT, "erf(a)", GRAD("g * 1.1283791670955126 * exp(-a * a)"), -2.5, 2.5, true,
    "error function")
ROW(erfc, 1, FLOAT, "erfc(a)", GRAD("-g * 1.1283791670955126 * exp(-a * a)"), -2.5, 2.5, true,
    "1 - erf(a), exact for large a")
ROW(normcdf, 1, FLOAT, "normcdf(a)", GRAD("g * 0.39894228040143268 * exp(-0.5 * a * a)"), -3, 3,
    true, "cumulative distribution of the standard normal")

/* The inverse of the normal distribution function at HALF + q, where TAIL is the smaller of that and
 * its rest: Wichura, algorithm AS 241 (PPND7), 1988; seven digits. */
#ifndef NORMAL_QUANTILE
#define NORMAL_QUANTILE(q, tail)                                                                   \
    "q = " q "; r = 0.180625 - q * q; t = sqrt(-log(" tail ")); s = t - 1.6; f = t - 5; "          \
    "near = q * (((59.109374720 * r + 159.29113202) * r + 50.434271938) * r + 3.3871327179) / "    \
    "(((67.187563600 * r + 78.757757664) * r + 17.895169469) * r + 1); "                           \
    "mid = (((0.17023821103 * s + 1.3067284816) * s + 2.7568153900) * s + 1.4234372777) / "        \
    "((0.12021132975 * s + 0.73700164250) * s + 1); "                                              \
    "far = (((0.017337203997 * f + 0.42868294337) * f + 3.0812263860) * f + 6.6579051150) / "      \
    "((0.012258202635 * f + 0.24197894225) * f + 1); "                                             \
    "z = where(abs(q) <= 0.425, near, "                                                            \
    "where(q < 0, -1, 1) * where(t <= 5, mid, where(t == inf, inf, far))); "
#endif
ROW(ndtri, 1, FLOAT, NORMAL_QUANTILE("a - 0.5", "minimum(a, 1 - a)") "z",
    GRAD("g * 2.5066282746310002 * exp(0.5 * y * y)"), 0.02, 0.98, true,
    "the number below which a standard normal one falls with probability a: inverse of normcdf")
ROW(erfinv, 1, FLOAT,
    NORMAL_QUANTILE("0.5 * a", "0.5 * (1 - abs(a))") "z * 0.70710678118654752",
    GRAD("g * 0.88622692545275801 * exp(y * y)"), -0.95, 0.95, true, "inverse of erf")

/* ---- Gamma, zeta, Bessel ------------------------------------------------------------------ */

ROW(lgamma, 1, FLOAT, "log_gamma(a)", GRAD("g * digamma(a)"), 0.3, 9, true,
    "logarithm of |gamma(a)|")
ROW(digamma, 1, FLOAT, "psi(a)", GRAD("g * trigamma(a)"), 0.3, 9, true,
    "derivative of lgamma; NaN at negative whole numbers")
ROW(trigamma, 1, FLOAT,
    "s = sin(3.1415926535897932 * (a - round(a))); "
    "where(a > 0, hurwitz(2, a), "
    "where(s == 0, inf, 9.8696044010893586 / (s * s) - hurwitz(2, 1 - a)))",
    GRAD("left = a <= 0; l = where(left, a, -0.5); f = 3.1415926535897932 * (l - round(l)); "
         "s = sin(f); g * where(left, "
         "-2 * (31.006276680299820 * cos(f) / (s * s * s) + zeta(3, 1 - l)), "
         "-2 * zeta(3, where(left, 1, a)))"),
    0.3, 9, true, "derivative of digamma")
ROW(zeta, 2, ORDER, "hurwitz(a, b)", GRAD(0, "-g * a * zeta(a + 1, b)"), 0.3, 6, true,
    "Hurwitz' zeta function, the sum of (b + k)^-a over k = 0, 1, ...; a > 1, which has no gradient")
ROW(i0e, 1, FLOAT, "i0e(a)", GRAD("g * (i1e(a) - sign(a) * y)"), 0.3, 12, true,
    "exp(-|a|) i0(a)")
ROW(i1e, 1, FLOAT, "i1e(a)",
    GRAD("g * where(a == 0, 0.5, i0e(a) - y * (sign(a) + 1 / where(a == 0, 1, a)))"), 0.3, 12, true,
    "exp(-|a|) i1(a)")
ROW(i0, 1, FLOAT, "i0e(a) * exp(abs(a))", GRAD("g * i1(a)"), 0.3, 5, true,
    "modified Bessel function of the first kind, order 0")
ROW(i1, 1, FLOAT, "i1e(a) * exp(abs(a))",
    GRAD("g * where(a == 0, 0.5, i0(a) - y / where(a == 0, 1, a))"), 0.3, 5, true,
    "modified Bessel function of the first kind, order 1")

/* ---- Rounding ----------------------------------------------------------------------------- */

ROW(floor, 1, NUMBER, "floor(a)", GRAD(0), -5, 5, false, "rounded down")
ROW(ceil, 1, NUMBER, "ceil(a)", GRAD(0), -5, 5, false, "rounded up")
ROW(round, 1, NUMBER, "round(a)", GRAD(0), -5, 5, false, "to the nearest whole, halves to even")
ROW(trunc, 1, NUMBER, "trunc(a)", GRAD(0), -5, 5, false, "rounded toward 0")
ROW(frac, 1, FLOAT, "a - trunc(a)", GRAD("g"), 1.1, 1.9, false, "a - trunc(a)")

/* ---- Comparisons and logic ---------------------------------------------------------------- */

ROW(eq, 2, COMPARE, "a == b", GRAD(0, 0), -2, 2, false, "a equals b")
ROW(ne, 2, COMPARE, "a != b", GRAD(0, 0), -2, 2, false, "a differs from b")
ROW(lt, 2, COMPARE, "a < b", GRAD(0, 0), -2, 2, false, "a less than b")
ROW(le, 2, COMPARE, "a <= b", GRAD(0, 0), -2, 2, false, "a at most b")
ROW(gt, 2, COMPARE, "a > b", GRAD(0, 0), -2, 2, false, "a greater than b")
ROW(ge, 2, COMPARE, "a >= b", GRAD(0, 0), -2, 2, false, "a at least b")
ROW(and, 2, COMPARE, "and(a, b)", GRAD(0, 0), -1, 1, false, "both are not 0")
ROW(or, 2, COMPARE, "or(a, b)", GRAD(0, 0), -1, 1, false, "one or both are not 0")
ROW(xor, 2, COMPARE, "xor(a, b)", GRAD(0, 0), -1, 1, false, "exactly one is not 0")
ROW(not, 1, COMPARE, "not(a)", GRAD(0), -1, 1, false, "is 0")
ROW(isnan, 1, COMPARE, "isnan(a)", GRAD(0), -1, 1, false, "is not a number")
ROW(isinf, 1, COMPARE, "isinf(a)", GRAD(0), -1, 1, false, "is inf or -inf")
ROW(isfinite, 1, COMPARE, "isfinite(a)", GRAD(0), -1, 1, false, "is neither NaN nor infinite")
ROW(isposinf, 1, COMPARE, "and(isinf(a), a > 0)", GRAD(0), -1, 1, false, "is inf")
ROW(isneginf, 1, COMPARE, "and(isinf(a), a < 0)", GRAD(0), -1, 1, false, "is -inf")
ROW(signbit, 1, COMPARE, "signbit(a)", GRAD(0), -1, 1, false, "is below 0, or -0")
ROW(where, 3, SELECT, "where(a, b, c)", GRAD(0, "where(a, g, 0)", "where(a, 0, g)"), -3, 3, true,
    "b where a is not 0, else c; what is not taken matters nowhere, not even NaN")

/* ---- Bits --------------------------------------------------------------------------------- */

ROW(bitand, 2, INTEGER, "bitand(a, b)", GRAD(0, 0), 0, 200, false, "bits set in both")
ROW(bitor, 2, INTEGER, "bitor(a, b)", GRAD(0, 0), 0, 200, false, "bits set in either")
ROW(bitxor, 2, INTEGER, "bitxor(a, b)", GRAD(0, 0), 0, 200, false, "bits set in one of the two")
ROW(bitnot, 1, INTEGER, "bitnot(a)", GRAD(0), 0, 200, false, "all bits turned")
ROW(shl, 2, INTEGER, "shl(a, b)", GRAD(0, 0), 0, 12, false,
    "a shifted left by b bits; 0 for b outside 0..31")
ROW(shr, 2, INTEGER, "shr(a, b)", GRAD(0, 0), 0, 12, false,
    "a shifted right by b bits, copies of the sign coming in; only they remain for b outside 0..31")
ROW(gcd, 2, INTEGER, "gcd(a, b)", GRAD(0, 0), 0, 120, false, "greatest common divisor; of 0 and 0: 0")
ROW(lcm, 2, INTEGER, "d = gcd(a, b); where(d == 0, 0, abs(floordiv(a, d) * b))", GRAD(0, 0), 0, 11,
    false, "least common multiple; 0 if either is 0")

/* ---- Activations -------------------------------------------------------------------------- */

ROW(relu, 1, NUMBER, "maximum(a, 0)", GRAD("where(a > 0, g, 0)"), -3, 3, false,
    "max(a, 0); gradient 0 at 0")
ROW(relu6, 1, NUMBER, "minimum(maximum(a, 0), 6)", GRAD("where(and(a > 0, a < 6), g, 0)"), -3, 9,
    false, "a held between 0 and 6")
ROW(leaky_relu, 2, FLOAT, "where(a > 0, a, a * b)",
    GRAD("where(a > 0, g, g * b)", "where(a > 0, 0, g * a)"), -3, 3, false,
    "a where a > 0, else b a")
ROW(elu, 2, FLOAT, "where(a > 0, a, b * expm1(minimum(a, 0)))",
    GRAD("where(a > 0, g, g * b * exp(minimum(a, 0)))",
         "where(a > 0, 0, g * expm1(minimum(a, 0)))"),
    -3, 3, false, "a where a > 0, else b (exp(a) - 1)")
ROW(selu, 1, FLOAT,
    "1.0507009873554805 * where(a > 0, a, 1.6732632423543772 * expm1(minimum(a, 0)))",
    GRAD("g * where(a > 0, 1.0507009873554805, 1.7580993408473766 * exp(minimum(a, 0)))"), -3, 3,
    false, "elu with the scales of self-normalising networks")
ROW(gelu, 1, FLOAT, "a * normcdf(a)",
    GRAD("g * (normcdf(a) + a * 0.39894228040143268 * exp(-0.5 * a * a))"), -3, 3, true,
    "a times the normal distribution function of a")
/* (1 + tanh(u)) / 2 is sigmoid(2 u), which keeps its digits where tanh(u) nears -1. */
ROW(gelu_tanh, 1, FLOAT, "a / (1 + exp(-1.5957691216057308 * a * (1 + 0.044715 * a * a)))",
    GRAD("s = sigmoid(1.5957691216057308 * a * (1 + 0.044715 * a * a)); "
         "g * s * (1 + a * (1 - s) * 1.5957691216057308 * (1 + 0.134145 * a * a))"),
    -3, 3, true, "gelu, approximated through tanh")
ROW(silu, 1, FLOAT, "a / (1 + exp(-a))", GRAD("s = sigmoid(a); g * s * (1 + a * (1 - s))"), -4, 4,
    true, "a sigmoid(a)")
ROW(mish, 1, FLOAT, "a * tanh(maximum(a, 0) + log1p(exp(-abs(a))))",
    GRAD("t = tanh(softplus(a)); g * (t + a * sigmoid(a) * (1 - t * t))"), -4, 4, true,
    "a tanh(softplus(a))")
ROW(hardtanh, 1, NUMBER, "minimum(maximum(a, -1), 1)", GRAD("where(and(a > -1, a < 1), g, 0)"),
    -0.9, 0.9, false, "a held between -1 and 1")
ROW(hardsigmoid, 1, FLOAT, "minimum(maximum(a + 3, 0), 6) / 6",
    GRAD("where(and(a > -3, a < 3), g / 6, 0)"), -2.9, 2.9, false, "relu6(a + 3) / 6")
ROW(hardswish, 1, FLOAT, "a * (minimum(maximum(a + 3, 0), 6) / 6)",
    GRAD("where(a <= -3, 0, where(a < 3, g * (a / 3 + 0.5), g))"), -2.9, 2.9, false,
    "a relu6(a + 3) / 6")
ROW(softsign, 1, FLOAT, "a / (1 + abs(a))", GRAD("d = 1 + abs(a); g / (d * d)"), 0.1, 3, true,
    "a / (1 + |a|)")
/* A quotient so small that it may be flushed to 0 is a's share of its own. */
ROW(celu, 2, FLOAT,
    "where(or(a > 0, abs(a / b) < 1e-30), a, b * expm1(minimum(a, 0) / b))",
    GRAD("where(a > 0, g, g * exp(minimum(a, 0) / b))",
         "t = minimum(a, 0) / b; where(a > 0, 0, g * (expm1(t) - t * exp(t)))"),
    0.3, 3, false, "a where a > 0, else b (exp(a / b) - 1)")
ROW(threshold, 3, NUMBER, "where(a > b, a, c)",
    GRAD("where(a > b, g, 0)", 0, "where(a > b, 0, g)"), -3, 3, false, "a where a > b, else c")
ROW(hardshrink, 2, NUMBER, "where(abs(a) <= b, 0, a)", GRAD("where(abs(a) <= b, 0, g)", 0), 0.3, 3,
    false, "a, but 0 where it lies between -b and b")
ROW(softshrink, 2, NUMBER, "where(abs(a) <= b, 0, a - b * sign(a))",
    GRAD("where(abs(a) <= b, 0, g)", "where(abs(a) <= b, 0, -g * sign(a))"), 0.3, 3, false,
    "a nearer to 0 by b, and 0 between -b and b")
ROW(tanhshrink, 1, FLOAT, "a - tanh(a)", GRAD("t = tanh(a); g * t * t"), 1, 4, true,
    "a - tanh(a); near 0, where the two cancel, right to the rounding of a")
