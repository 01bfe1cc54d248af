// The functions of the row language, to the full accuracy of f32 on every device: Vulkan promises
// little of exp, log, sin and their kin. A shader defines USE_<name> for each m_<name> that it calls.
// Polynomials are Chebyshev fits made for these files, in the forms that the comments give. Cases
// are chosen by value, not by branches: neighbours that take different ways cost more than both.
#include "bits.glsl"

#ifdef USE_log_gamma
#define USE_log 1
#define USE_sin 1
#endif
#ifdef USE_psi
#define USE_log 1
#define USE_tan 1
#endif
#ifdef USE_hurwitz
#define USE_pow 1
#endif
#ifdef USE_pow
#define USE_log_parts 1
#define USE_exp_parts 1
#endif
#ifdef USE_tan
#define USE_sin 1
#define USE_cos 1
#endif
#if defined USE_sin || defined USE_cos
#define USE_quadrant 1
#endif
#ifdef USE_acos
#define USE_asin 1
#endif
#ifdef USE_atan2
#define USE_atan 1
#endif
#if defined USE_acosh || defined USE_atanh
#define USE_log1p 1
#endif
#if defined USE_asinh || defined USE_acosh || defined USE_log1p
#define USE_log 1
#endif
#if defined USE_log || defined USE_log2 || defined USE_log10
#define USE_log_parts 1
#endif
#if defined USE_erf || defined USE_normcdf
#define USE_erfc 1
#endif
#if defined USE_sinh || defined USE_cosh || defined USE_tanh || defined USE_erfc || defined USE_expm1
#define USE_exp 1
#endif
#ifdef USE_exp
#define USE_exp_parts 1
#endif
#ifdef USE_floordiv
#define USE_mod 1
#endif

#include "math_exp.glsl"
#include "math_power.glsl"
#include "math_trig.glsl"
#include "math_hyper.glsl"
#include "math_special.glsl"
#include "math_basic.glsl"
