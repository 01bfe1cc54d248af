// Exponentials and logarithms. Included by math.glsl.

// ---- Exponentials ---------------------------------------------------------------------------

// x * 2^n for n in -252..254, through two exact powers.
float scale2(float x, int n) {
    int h = n >> 1;
    return x * uintBitsToFloat(uint(h + 127) << 23) * uintBitsToFloat(uint(n - h + 127) << 23);
}

#ifdef USE_exp_parts
// x = n ln 2 + r with |r| <= ln(2) / 2, for |x| up to 150. Added to 1.5 * 2^23, a number is rounded to
// a whole one, which the last bits then hold.
float exp_reduce(float x, out int n) {
    precise float t = fma(x, 1.44269504, 12582912.0), k = t - 12582912.0;
    n = floatBitsToInt(t) - 0x4b400000;
    // The first product is exact. No fma here: as one, some compilers join both into k ln 2.
    precise float r = (x - k * 0.693145751953125) - k * 1.42860682e-6;
    return r;
}

// exp(r) - 1 for what exp_reduce() leaves, and a little more.
float exp_rest(float r) {
    float p = 0.0001989198131;
    p = fma(p, r, 0.001393454193);
    p = fma(p, r, 0.008333310024);
    p = fma(p, r, 0.04166645681);
    p = fma(p, r, 0.1666666668);
    p = fma(p, r, 0.5000000014);
    return fma(r * r, p, r);
}
#endif

#ifdef USE_exp
// exp(x + tail), for a tail that is small beside 1. What would lie below the normal numbers is 0;
// within the bounds the exponent of 1 + m has room for n.
float exp_of(float x, float tail) {
    int n;
    float r = exp_reduce(x, n), m = 1.0 + exp_rest(tail == 0.0 ? r : r + tail);
    float y = uintBitsToFloat(floatBitsToUint(m) + (uint(n) << 23));
    y = x < -87.3365448 ? 0.0 : y;
    y = x > 88.7228394 ? make_inf() : y;
    return is_nan(x) ? x : y;
}
float m_exp(float x) { return exp_of(x, 0.0); }
#endif

#ifdef USE_expm1
float m_expm1(float x) {
    int n;
    float m = exp_rest(exp_reduce(clamp(x, -40.0, 100.0), n));
    float s = scale2(1.0, min(n, 127)), y = s * m + (s - 1.0), large = scale2(1.0 + m, n);
    y = n > 100 ? large : y;
    y = n == 0 ? m : y;
    return is_nan(x) || x == 0.0 ? x : y;
}
#endif

#ifdef USE_exp2
float m_exp2(float x) {
    float c = clamp(x, -160.0, 130.0);
    precise float t = c + 12582912.0;
    float k = t - 12582912.0, r = c - k;
    float p = 1.529822127e-5;
    p = fma(p, r, 0.0001546261076);
    p = fma(p, r, 0.001333350012);
    p = fma(p, r, 0.009618053734);
    p = fma(p, r, 0.05550410885);
    p = fma(p, r, 0.2402265094);
    p = fma(p, r, 0.6931471806);
    float y = scale2(fma(r, p, 1.0), floatBitsToInt(t) - 0x4b400000);
    return is_nan(x) ? x : y;
}
#endif

// ---- Logarithms -----------------------------------------------------------------------------

#if defined USE_log_parts || defined USE_log1p
// log(1 + f) - 2 s = s^3 P(s^2) with s = f / (2 + f).
float log_tail(float s) {
    float z = s * s;
    float p = 0.2334194339;
    p = fma(p, z, 0.2855039696);
    p = fma(p, z, 0.4000012559);
    p = fma(p, z, 0.6666666655);
    return s * z * p;
}

// log(1 + f) for f in -0.3..0.42.
float log_near_one(float f) {
    float s = f / (2.0 + f);
    float h = 0.5 * f * f;
    // f - f^2/2 + s (f^2/2 + tail): the leading terms carry no rounding of s.
    precise float r = f - (h - (s * h + log_tail(s)));
    return r;
}
#endif

#ifdef USE_log_parts
// x = (1 + f) 2^n with 1 + f in sqrt(1/2)..sqrt(2), for finite x > 0.
float log_parts(float x, out int n) {
    bool tiny = x < 1.1754944e-38;
    uint b = floatBitsToUint(tiny ? x * 16777216.0 : x);
    float m = uintBitsToFloat((b & 0x7fffffu) | 0x3f800000u);
    bool upper = m > 1.41421356;
    n = int(b >> 23) - (tiny ? 151 : 127) + (upper ? 1 : 0);
    return (upper ? 0.5 * m : m) - 1.0;
}

// What log, log2 and log10 give outside the finite positive numbers.
bool log_special(float x, out float y) {
    y = x == 0.0 ? -make_inf() : x < 0.0 ? make_nan() : x;
    return is_nan(x) || x <= 0.0 || is_inf(x);
}
#endif

#ifdef USE_log
float m_log(float x) {
    float y;
    bool special = log_special(x, y);
    int n;
    float f = log_parts(special ? 1.0 : x, n);
    precise float r = float(n) * 0.693145751953125 + (log_near_one(f) + float(n) * 1.42860682e-6);
    return special ? y : r;
}
#endif

#ifdef USE_log2
float m_log2(float x) {
    float y;
    bool special = log_special(x, y);
    int n;
    float l = log_near_one(log_parts(special ? 1.0 : x, n));
    precise float r = float(n) + (l * 0.44269504 + l); // log2(e) = 1.44269504
    return special ? y : r;
}
#endif

#ifdef USE_log10
float m_log10(float x) {
    float y;
    bool special = log_special(x, y);
    int n;
    float l = log_near_one(log_parts(special ? 1.0 : x, n));
    precise float r = float(n) * 0.30102539 + (l * 0.43429448 + float(n) * 4.6050390e-6);
    return special ? y : r;
}
#endif

#ifdef USE_log1p
float m_log1p(float x) {
    bool special = is_nan(x) || is_inf(x) || x <= -1.0;
    float v = special ? 1.0 : x;
    precise float u = 1.0 + v;
    precise float lost = v > 1.0 ? 1.0 - (u - v) : v - (u - 1.0);
    float y = m_log(u) + lost / u, near = log_near_one(clamp(v, -0.3, 0.42));
    y = v > -0.29 && v < 0.41 ? near : y;
    float other = x == -1.0 ? -make_inf() : x < -1.0 ? make_nan() : x;
    return special ? other : x == 0.0 ? x : y;
}
#endif
