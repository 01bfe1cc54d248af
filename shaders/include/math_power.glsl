// Powers and roots. Included by math.glsl.

// ---- Powers ---------------------------------------------------------------------------------

#ifdef USE_sqrt
float m_sqrt(float x) { return x == 0.0 || (is_inf(x) && x > 0.0) ? x : sqrt(x); }
#endif
#ifdef USE_rsqrt
float m_rsqrt(float x) {
    float y = is_inf(x) && x > 0.0 ? 0.0 : inversesqrt(x);
    return x == 0.0 ? with_sign(make_inf(), x) : y;
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
    bool far = abs(product) > 150.0;
    float limit = product > 0.0 ? make_inf() : 0.0;
    float power = far ? 1.0 : b;
    product = product_parts(power, high, low);
    precise float tail = low + power * rest;
    float m = exp_rest(exp_reduce(product, n) + tail);
    float y = scale2(1.0 + m, n);
    return far ? limit : y;
}

float m_pow(float a, float b) {
    float x = abs(a);
    bool whole = floor(b) == b, small = abs(b) < 16777216.0;
    bool odd = whole && small && (int(small ? b : 0.0) & 1) != 0;
    bool end = x == 0.0 || !is_finite(x), end_b = !is_finite(b);
    float r = pow_positive(end ? 1.0 : x, end_b ? 1.0 : b);
    r = end ? ((x == 0.0) == (b < 0.0) ? make_inf() : 0.0) : r;
    r = end_b ? ((x > 1.0) == (b > 0.0) ? make_inf() : 0.0) : r;
    r = x == 1.0 ? 1.0 : r;
    r = odd ? with_sign(r, a) : r;
    bool none = is_nan(a) || is_nan(b) || (a < 0.0 && !whole && !is_inf(a));
    r = none ? make_nan() : r;
    return b == 0.0 || a == 1.0 ? 1.0 : r;
}
#endif

#ifdef USE_hypot
float m_hypot(float a, float b) {
    float x = max(abs(a), abs(b)), y = min(abs(a), abs(b));
    float r = y / x;
    float h = x == 0.0 ? 0.0 : x * sqrt(1.0 + r * r);
    h = is_nan(a) || is_nan(b) ? make_nan() : h;
    return is_inf(a) || is_inf(b) ? make_inf() : h;
}
#endif
