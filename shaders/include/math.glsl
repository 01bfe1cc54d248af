// The functions of the row language, to the full accuracy of f32 on every device: Vulkan promises
// little of exp, log, sin and their kin. A shader defines USE_<name> for each m_<name> that it calls.
// Polynomials are Chebyshev fits made for this file, in the forms that the comments give.
#include "bits.glsl"

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

// ---- Exponentials ---------------------------------------------------------------------------

// x * 2^n for n in -252..254, through two exact powers.
float scale2(float x, int n) {
    int h = n >> 1;
    return x * uintBitsToFloat(uint(h + 127) << 23) * uintBitsToFloat(uint(n - h + 127) << 23);
}

#ifdef USE_exp_parts
// exp(x + tail) - 1 = scale * (m + 1) - 1: n and m, with |x - n ln 2| <= ln(2) / 2.
float exp_parts(float x, float tail, out int n) {
    float k = floor(x * 1.44269504 + 0.5);
    n = int(k);
    precise float r = ((x - k * 0.693145751953125) - k * 1.42860682e-6) + tail;
    float p = 0.0001989198131;
    p = p * r + 0.001393454193;
    p = p * r + 0.008333310024;
    p = p * r + 0.04166645681;
    p = p * r + 0.1666666668;
    p = p * r + 0.5000000014;
    precise float m = r + r * r * p;
    return m;
}
#endif

#ifdef USE_exp
float m_exp(float x) {
    if (is_nan(x)) return x;
    int n;
    float m = exp_parts(clamp(x, -110.0, 100.0), 0.0, n);
    return scale2(1.0 + m, n);
}
#endif

#ifdef USE_expm1
float m_expm1(float x) {
    if (is_nan(x)) return x;
    if (x > 80.0) return m_exp(x);
    int n;
    float m = exp_parts(max(x, -40.0), 0.0, n);
    if (n == 0) return x == 0.0 ? x : m;
    float s = scale2(1.0, n);
    return s * m + (s - 1.0);
}
#endif

#ifdef USE_exp2
float m_exp2(float x) {
    if (is_nan(x)) return x;
    float c = clamp(x, -160.0, 130.0);
    float k = floor(c + 0.5), r = c - k;
    float p = 1.529822127e-5;
    p = p * r + 0.0001546261076;
    p = p * r + 0.001333350012;
    p = p * r + 0.009618053734;
    p = p * r + 0.05550410885;
    p = p * r + 0.2402265094;
    p = p * r + 0.6931471806;
    return scale2(1.0 + r * p, int(k));
}
#endif

// ---- Logarithms -----------------------------------------------------------------------------

#if defined USE_log_parts || defined USE_log1p
// log(1 + f) - 2 s = s^3 P(s^2) with s = f / (2 + f).
float log_tail(float s) {
    float z = s * s;
    float p = 0.2334194339;
    p = p * z + 0.2855039696;
    p = p * z + 0.4000012559;
    p = p * z + 0.6666666655;
    return s * z * p;
}

// log(1 + f) for f in -0.3..0.42.
float log_near_one(float f) {
    float s = f / (2.0 + f);
    float h = 0.5 * f * f;
    // f - f^2/2 + s (f^2/2 + tail): the leading terms carry no rounding of s.
    precise float r = f - (h - s * (h + log_tail(s) / s));
    return abs(f) < 1e-4 ? f - h * (1.0 - 0.6666667 * f) : r;
}
#endif

#ifdef USE_log_parts
// x = (1 + f) 2^n with 1 + f in sqrt(1/2)..sqrt(2), for finite x > 0.
float log_parts(float x, out int n) {
    n = 0;
    if (x < 1.1754944e-38) {
        x *= 16777216.0;
        n = -24;
    }
    uint b = floatBitsToUint(x);
    n += int(b >> 23) - 127;
    float m = uintBitsToFloat((b & 0x7fffffu) | 0x3f800000u);
    if (m > 1.41421356) {
        m *= 0.5;
        n++;
    }
    return m - 1.0;
}

// What log, log2 and log10 give outside the finite positive numbers.
bool log_special(float x, out float y) {
    y = x;
    if (is_nan(x)) return true;
    if (x == 0.0) y = -make_inf();
    else if (x < 0.0) y = make_nan();
    return x <= 0.0 || is_inf(x);
}
#endif

#ifdef USE_log
float m_log(float x) {
    float y;
    if (log_special(x, y)) return y;
    int n;
    float f = log_parts(x, n);
    precise float r = float(n) * 0.693145751953125 + (log_near_one(f) + float(n) * 1.42860682e-6);
    return r;
}
#endif

#ifdef USE_log2
float m_log2(float x) {
    float y;
    if (log_special(x, y)) return y;
    int n;
    float f = log_parts(x, n);
    float l = log_near_one(f);
    precise float r = float(n) + (l * 0.44269504 + l); // log2(e) = 1.44269504
    return r;
}
#endif

#ifdef USE_log10
float m_log10(float x) {
    float y;
    if (log_special(x, y)) return y;
    int n;
    float f = log_parts(x, n);
    precise float r = float(n) * 0.30102539 + (log_near_one(f) * 0.43429448 + float(n) * 4.6050390e-6);
    return r;
}
#endif

#ifdef USE_log1p
float m_log1p(float x) {
    if (is_nan(x) || is_inf(x) || x <= -1.0) {
        return x == -1.0 ? -make_inf() : x < -1.0 ? make_nan() : x;
    }
    if (x > -0.29 && x < 0.41) return x == 0.0 ? x : log_near_one(x);
    precise float u = 1.0 + x;
    precise float lost = x > 1.0 ? 1.0 - (u - x) : x - (u - 1.0);
    return m_log(u) + lost / u;
}
#endif

// ---- Powers ---------------------------------------------------------------------------------

#ifdef USE_sqrt
float m_sqrt(float x) { return x == 0.0 || (is_inf(x) && x > 0.0) ? x : sqrt(x); }
#endif
#ifdef USE_rsqrt
float m_rsqrt(float x) {
    if (x == 0.0) return with_sign(make_inf(), x);
    return is_inf(x) && x > 0.0 ? 0.0 : inversesqrt(x);
}
#endif

#ifdef USE_cbrt
float m_cbrt(float x) {
    if (x == 0.0 || !is_finite(x)) return x;
    float a = abs(x), scale = 1.0;
    if (a < 1.1754944e-38) {
        a *= 16777216.0;
        scale = 0.00390625;
    }
    // A third of the exponent, then Newton's steps: 3 %, 1e-3, 1e-6, below one ulp.
    float t = uintBitsToFloat(floatBitsToUint(a) / 3u + 0x2a514067u);
    for (int i = 0; i < 4; i++)
        t -= (t - a / (t * t)) * 0.33333333;
    return with_sign(t * scale, x);
}
#endif

#ifdef USE_pow
// a * b = result + low, exactly, where nothing overflows.
float product_parts(float a, float b, out float low) {
    precise float ca = 4097.0 * a, cb = 4097.0 * b;
    precise float ah = ca - (ca - a), bh = cb - (cb - b);
    precise float al = a - ah, bl = b - bh;
    precise float p = a * b;
    precise float l = ((ah * bh - p) + ah * bl + al * bh) + al * bl;
    low = l;
    return p;
}

float pow_positive(float a, float b) {
    int n;
    float f = log_parts(a, n), d = 2.0 + f, low;
    // log(a) = high + rest, to about 2^-32.
    precise float s = f / d;
    float sd = product_parts(s, d, low);
    precise float d_lost = f - (d - 2.0);
    precise float s_low = ((f - sd) - low - s * d_lost) / d;
    precise float high = float(n) * 0.693145751953125 + 2.0 * s;
    precise float lost = abs(n) > 0 ? 2.0 * s - (high - float(n) * 0.693145751953125) : 0.0;
    precise float rest = lost + (2.0 * s_low + (log_tail(s) + float(n) * 1.42860682e-6));
    precise float sum = high + rest;
    rest = rest - (sum - high);
    high = sum;
    float product = b * high;
    if (abs(product) > 150.0) return product > 0.0 ? make_inf() : 0.0;
    product = product_parts(b, high, low);
    precise float tail = low + b * rest;
    float m = exp_parts(product, tail, n);
    return scale2(1.0 + m, n);
}

float m_pow(float a, float b) {
    if (b == 0.0 || a == 1.0) return 1.0;
    if (is_nan(a) || is_nan(b)) return make_nan();
    float x = abs(a);
    bool whole = floor(b) == b, odd = whole && abs(b) < 16777216.0 && (int(b) & 1) != 0;
    if (a < 0.0 && !whole && !is_inf(a)) return make_nan();
    float r;
    if (is_inf(b)) r = x == 1.0 ? 1.0 : (x > 1.0) == (b > 0.0) ? make_inf() : 0.0;
    else if (x == 0.0 || is_inf(x)) r = (x == 0.0) == (b < 0.0) ? make_inf() : 0.0;
    else r = pow_positive(x, b);
    return odd ? with_sign(r, a) : r;
}
#endif

#ifdef USE_hypot
float m_hypot(float a, float b) {
    if (is_inf(a) || is_inf(b)) return make_inf();
    float x = max(abs(a), abs(b)), y = min(abs(a), abs(b));
    if (is_nan(a) || is_nan(b)) return make_nan();
    if (x == 0.0) return 0.0;
    float r = y / x;
    return x * sqrt(1.0 + r * r);
}
#endif

// ---- Trigonometry ---------------------------------------------------------------------------

#ifdef USE_quadrant
// 2 / pi as a fraction of 224 bits.
const uint two_over_pi[7] = uint[7](0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u,
                                    0x3c439041u, 0xfe5163abu);

// 32 bits of 2 / pi from bit `at` on; zeros before its start.
uint two_over_pi_bits(int at) {
    int w = at >> 5, s = at & 31;
    uint a = w >= 0 ? two_over_pi[w] : 0u, b = w >= -1 ? two_over_pi[w + 1] : 0u;
    return s == 0 ? a : (a << s) | (b >> (32 - s));
}

// x = q pi/2 + r with |r| <= pi/4, nearly; q modulo 4.
float quadrant(float x, out int q) {
    float a = abs(x);
    if (a < 32768.0) {
        float n = floor(x * 0.636619772 + 0.5);
        q = int(n) & 3;
        precise float r = ((x - n * 1.5703125) - n * 0.000483751297) - n * 7.54978995e-8;
        return r;
    }
    // a = m 2^e, so a 2/pi modulo 4 needs the bits of 2/pi from weight 2^(1 - e) down.
    uint b = floatBitsToUint(a), m = (b & 0x7fffffu) | 0x800000u;
    int at = int(b >> 23) - 150 - 2;
    uint h0 = two_over_pi_bits(at), h1 = two_over_pi_bits(at + 32), h2 = two_over_pi_bits(at + 64);
    uint high, low, unused;
    umulExtended(m, h1, high, low);
    uint top = m * h0 + high;
    umulExtended(m, h2, high, unused);
    uint sum = low + high;
    if (sum < low) top++;
    q = int(top >> 30);
    // What is left is a fraction of a quarter turn: 62 bits; rounded to the nearest quarter.
    uint f0 = (top << 2) | (sum >> 30), f1 = sum << 2;
    bool up = (f0 & 0x80000000u) != 0u;
    if (up) {
        q = (q + 1) & 3;
        f0 = ~f0;
        f1 = ~f1;
    }
    float r = (float(f0) * 2.3283064e-10 + float(f1) * 5.4210109e-20) * 1.57079633;
    bool negative = up != (x < 0.0);
    if (x < 0.0) q = -q & 3;
    return negative ? -r : r;
}

float sin_poly(float r) {
    float z = r * r;
    float p = 2.724378141e-6;
    p = p * z - 0.0001984003887;
    p = p * z + 0.008333331785;
    p = p * z - 0.1666666666;
    return r + r * z * p;
}

float cos_poly(float r) {
    float z = r * r;
    float p = -2.729583083e-7;
    p = p * z + 2.480056043e-5;
    p = p * z - 0.00138888876;
    p = p * z + 0.04166666666;
    precise float c = 1.0 - (0.5 * z - z * z * p);
    return c;
}
#endif

#ifdef USE_sin
float m_sin(float x) {
    if (!is_finite(x)) return make_nan();
    int q;
    float r = quadrant(x, q);
    float y = (q & 1) != 0 ? cos_poly(r) : sin_poly(r);
    return x == 0.0 ? x : q >= 2 ? -y : y;
}
#endif
#ifdef USE_cos
float m_cos(float x) {
    if (!is_finite(x)) return make_nan();
    int q;
    float r = quadrant(x, q);
    float y = (q & 1) != 0 ? sin_poly(r) : cos_poly(r);
    return q == 1 || q == 2 ? -y : y;
}
#endif
#ifdef USE_tan
float m_tan(float x) {
    if (!is_finite(x)) return make_nan();
    if (x == 0.0) return x;
    int q;
    float r = quadrant(x, q), s = sin_poly(r), c = cos_poly(r);
    return (q & 1) != 0 ? -c / s : s / c;
}
#endif

#ifdef USE_asin
float asin_poly(float x) {
    float z = x * x;
    float p = 0.03374028051;
    p = p * z + 0.01712158765;
    p = p * z + 0.03110600073;
    p = p * z + 0.0445989884;
    p = p * z + 0.07500095636;
    p = p * z + 0.1666666633;
    return x + x * z * p;
}
float m_asin(float x) {
    float a = abs(x);
    if (is_nan(x) || a > 1.0) return make_nan();
    if (a <= 0.5) return asin_poly(x);
    return with_sign(1.57079633 - 2.0 * asin_poly(sqrt(0.5 * (1.0 - a))), x);
}
#endif
#ifdef USE_acos
float m_acos(float x) {
    if (is_nan(x) || abs(x) > 1.0) return make_nan();
    if (abs(x) <= 0.5) return 1.57079633 - asin_poly(x);
    float y = 2.0 * asin_poly(sqrt(0.5 * (1.0 - abs(x))));
    return x > 0.0 ? y : 3.14159265 - y;
}
#endif

#ifdef USE_atan
float m_atan(float x) {
    if (is_nan(x) || x == 0.0) return x;
    float a = abs(x), base = 0.0;
    if (a > 2.41421356) {
        base = 1.57079633;
        a = is_inf(a) ? 0.0 : -1.0 / a;
    } else if (a > 0.414213562) {
        base = 0.785398163;
        a = (a - 1.0) / (a + 1.0);
    }
    float z = a * a;
    float p = -0.06410030995;
    p = p * z + 0.107309626;
    p = p * z - 0.1426276226;
    p = p * z + 0.1999950569;
    p = p * z - 0.3333333161;
    return with_sign(base + (a + a * z * p), x);
}
#endif
#ifdef USE_atan2
float m_atan2(float y, float x) {
    if (is_nan(x) || is_nan(y)) return make_nan();
    if (is_inf(x) && is_inf(y)) {
        x = with_sign(1.0, x);
        y = with_sign(1.0, y);
    }
    bool left = (floatBitsToUint(x) & 0x80000000u) != 0u;
    float a = abs(x), b = abs(y), t;
    if (b == 0.0 || is_inf(a)) t = 0.0;
    else if (a == 0.0 || is_inf(b)) t = 1.57079633;
    else t = b <= a ? m_atan(b / a) : 1.57079633 - m_atan(a / b);
    return with_sign(left ? 3.14159265 - t : t, y);
}
#endif

// ---- Hyperbolic functions -------------------------------------------------------------------

#ifdef USE_sinh
float m_sinh(float x) {
    float a = abs(x);
    if (is_nan(x) || x == 0.0) return x;
    if (a < 1.0) {
        float z = x * x;
        float p = 2.806280258e-6;
        p = p * z + 0.0001983810197;
        p = p * z + 0.008333339676;
        p = p * z + 0.1666666665;
        return x + x * z * p;
    }
    float e = m_exp(a > 80.0 ? 0.5 * a : a);
    return with_sign(a > 80.0 ? (0.5 * e) * e : 0.5 * e - 0.5 / e, x);
}
#endif
#ifdef USE_cosh
float m_cosh(float x) {
    float a = abs(x);
    if (is_nan(x)) return x;
    float e = m_exp(a > 80.0 ? 0.5 * a : a);
    return a > 80.0 ? (0.5 * e) * e : 0.5 * e + 0.5 / e;
}
#endif
#ifdef USE_tanh
float m_tanh(float x) {
    float a = abs(x);
    if (is_nan(x)) return x;
    if (a < 0.625) {
        float z = x * x;
        float p = 0.002292557699;
        p = p * z - 0.00834378037;
        p = p * z + 0.02176886821;
        p = p * z - 0.05395925338;
        p = p * z + 0.1333330353;
        p = p * z - 0.3333333317;
        return x + x * z * p;
    }
    return with_sign(1.0 - 2.0 / (m_exp(min(2.0 * a, 40.0)) + 1.0), x);
}
#endif
#ifdef USE_asinh
float m_asinh(float x) {
    float a = abs(x);
    if (is_nan(x)) return x;
    if (a <= 0.5) {
        float z = x * x;
        float p = -0.007151518775;
        p = p * z + 0.01532136386;
        p = p * z - 0.02204860851;
        p = p * z + 0.03035464576;
        p = p * z - 0.0446417419;
        p = p * z + 0.07499998273;
        p = p * z - 0.1666666666;
        return x + x * z * p;
    }
    return with_sign(a > 1e6 ? m_log(a) + 0.693147181 : m_log(a + sqrt(a * a + 1.0)), x);
}
#endif
#ifdef USE_acosh
float m_acosh(float x) {
    if (is_nan(x) || x < 1.0) return make_nan();
    float t = x - 1.0;
    return x > 1e6 ? m_log(x) + 0.693147181 : m_log1p(t + sqrt(t * (t + 2.0)));
}
#endif
#ifdef USE_atanh
float m_atanh(float x) {
    float a = abs(x);
    if (is_nan(x) || a > 1.0) return make_nan();
    if (a == 1.0) return with_sign(make_inf(), x);
    if (a <= 0.5) {
        float z = x * x;
        float p = 0.1583421655;
        p = p * z + 0.01839805216;
        p = p * z + 0.08805472172;
        p = p * z + 0.08953722127;
        p = p * z + 0.1112012091;
        p = p * z + 0.1428542711;
        p = p * z + 0.2000000346;
        p = p * z + 0.3333333333;
        return x + x * z * p;
    }
    return with_sign(0.5 * m_log1p(2.0 * a / (1.0 - a)), x);
}
#endif

// ---- The error function ---------------------------------------------------------------------

#ifdef USE_erfc
float erf_poly(float x) {
    float z = x * x;
    float p = 8.72240447e-5;
    p = p * z - 0.0008221290175;
    p = p * z + 0.00520757325;
    p = p * z - 0.02686189263;
    p = p * z + 0.1128373818;
    p = p * z - 0.3761263638;
    p = p * z + 1.128379167;
    return x * p;
}

// exp(-x^2 scale) for scale 1 or 1/2: the square is split so that it carries no rounding.
float gauss(float x, float scale) {
    float h = uintBitsToFloat(floatBitsToUint(x) & 0xfffff000u);
    precise float low = (h - x) * (h + x);
    return m_exp(-h * h * scale) * m_exp(low * scale);
}

// erfc(z) exp(z^2) for z in 0.5..10.6: Q(t) / (1 + 2 z) with t = (z - 5/2) / (z + 5/2).
float erfc_scaled(float z) {
    float t = (z - 2.5) / (z + 2.5);
    float p = -5.361262698e-5;
    p = p * t + 0.0005223194383;
    p = p * t + 0.0004637037275;
    p = p * t - 0.004339546724;
    p = p * t + 0.0009404696372;
    p = p * t + 0.03275345706;
    p = p * t - 0.1029681348;
    p = p * t + 0.1576304592;
    p = p * t - 0.09902449242;
    p = p * t - 0.1223567742;
    p = p * t + 1.264838184;
    return p / (1.0 + 2.0 * z);
}

float m_erfc(float x) {
    if (is_nan(x)) return x;
    float a = abs(x);
    if (a < 0.5) return 1.0 - erf_poly(x);
    float y = a > 10.5 ? 0.0 : gauss(a, 1.0) * erfc_scaled(a);
    return x < 0.0 ? 2.0 - y : y;
}
#endif
#ifdef USE_erf
float m_erf(float x) {
    if (is_nan(x) || x == 0.0) return x;
    return abs(x) < 0.85 ? erf_poly(x) : with_sign(1.0 - m_erfc(abs(x)), x);
}
#endif
#ifdef USE_normcdf
float m_normcdf(float x) {
    if (is_nan(x)) return x;
    float z = abs(x) * 0.707106781;
    if (z < 0.5) return 0.5 + 0.5 * with_sign(erf_poly(z), x);
    float y = z > 10.5 ? 0.0 : 0.5 * gauss(abs(x), 0.5) * erfc_scaled(z);
    return x > 0.0 ? 1.0 - y : y;
}
#endif

#include "math_basic.glsl"
