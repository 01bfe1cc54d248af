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
    GRAD("where(a == b, 0.5 * g, g * sigmoid(a - b))", "where(a == b, 0.5 * g, g * sigmoid(b - a))"),
    -3, 3, false, "log(exp(a) + exp(b)) without overflow")

/* ---- Trigonometric and hyperbolic --------------------------------------------------------- */

ROW(sin, 1, FLOAT, "sin(a)", GRAD("g * cos(a)"), -9, 9, true, "sine of radians")
ROW(cos, 1, FLOAT, "cos(a)", GRAD("-g * sin(a)"), -9, 9, true, "cosine of radians")
ROW(tan, 1, FLOAT, "tan(a)", GRAD("g * (1 + y * y)"), -1.2, 1.2, true, "tangent of radians")
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
ROW(asinh, 1, FLOAT, "asinh(a)", GRAD("g / hypot(a, 1)"), -3, 3, true,
    "inverse hyperbolic sine")
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
ROW(gelu_tanh, 1, FLOAT,
    "0.5 * a * (1 + tanh(0.79788456080286536 * a * (1 + 0.044715 * a * a)))",
    GRAD("t = tanh(0.79788456080286536 * a * (1 + 0.044715 * a * a)); "
         "g * 0.5 * ((1 + t) + a * (1 - t * t) * 0.79788456080286536 * (1 + 0.134145 * a * a))"),
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
ROW(hardswish, 1, FLOAT, "a * minimum(maximum(a + 3, 0), 6) / 6",
    GRAD("where(a <= -3, 0, where(a < 3, g * (a / 3 + 0.5), g))"), -2.9, 2.9, false,
    "a relu6(a + 3) / 6")
ROW(softsign, 1, FLOAT, "a / (1 + abs(a))", GRAD("d = 1 + abs(a); g / (d * d)"), 0.1, 3, true,
    "a / (1 + |a|)")
