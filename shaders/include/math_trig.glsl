// Trigonometric functions. Included by math.glsl.

// ---- Trigonometry ---------------------------------------------------------------------------

#ifdef USE_quadrant
// 96 bits of 2 / pi from bit `at` on, for at in -32..103; zeros before its start. The words that they
// lie in are chosen, not indexed: a table makes some drivers compile for seconds.
uvec3 two_over_pi_bits(int at) {
    int w = at >> 5, s = at & 31;
    uvec4 a = w < 0    ? uvec4(0u, 0xa2f9836eu, 0x4e441529u, 0xfc2757d1u)
              : w == 0 ? uvec4(0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u)
              : w == 1 ? uvec4(0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u)
              : w == 2 ? uvec4(0xfc2757d1u, 0xf534ddc0u, 0xdb629599u, 0x3c439041u)
                       : uvec4(0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu);
    return (a.xyz << s) | ((a.yzw >> 1) >> (31 - s));
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
    uvec3 h = two_over_pi_bits(at);
    uint high, low, unused;
    umulExtended(m, h.y, high, low);
    uint top = m * h.x + high;
    umulExtended(m, h.z, high, unused);
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
    p = fma(p, z, -0.0001984003887);
    p = fma(p, z, 0.008333331785);
    p = fma(p, z, -0.1666666666);
    return r + r * z * p;
}

float cos_poly(float r) {
    float z = r * r;
    float p = -2.729583083e-7;
    p = fma(p, z, 2.480056043e-5);
    p = fma(p, z, -0.00138888876);
    p = fma(p, z, 0.04166666666);
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
    p = fma(p, z, 0.01712158765);
    p = fma(p, z, 0.03110600073);
    p = fma(p, z, 0.0445989884);
    p = fma(p, z, 0.07500095636);
    p = fma(p, z, 0.1666666633);
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
    p = fma(p, z, 0.107309626);
    p = fma(p, z, -0.1426276226);
    p = fma(p, z, 0.1999950569);
    p = fma(p, z, -0.3333333161);
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
