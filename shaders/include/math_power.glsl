// Powers and roots. Included by math.glsl.

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
    float a = abs(x);
    bool tiny = a < 1.1754944e-38;
    a = tiny ? a * 16777216.0 : a;
    // A third of the exponent, then Newton's steps: 3 %, 1e-3, 1e-6, below one ulp.
    float t = uintBitsToFloat(floatBitsToUint(a) / 3u + 0x2a514067u);
    for (int i = 0; i < 4; i++)
        t -= (t - a / (t * t)) * 0.33333333;
    float y = with_sign(tiny ? t * 0.00390625 : t, x);
    return x == 0.0 || !is_finite(x) ? x : y;
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
