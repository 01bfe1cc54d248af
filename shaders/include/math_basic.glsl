// The functions of the row language that work on floats and integers alike, and those on bits.
// Included by math.glsl.

#ifdef USE_neg
float m_neg(float a) { return -a; }
int m_neg(int a) { return -a; }
#endif
#ifdef USE_abs
float m_abs(float a) { return abs(a); }
int m_abs(int a) { return a < 0 ? -a : a; }
#endif
#ifdef USE_sign
float m_sign(float a) { return a > 0.0 ? 1.0 : a < 0.0 ? -1.0 : a; }
int m_sign(int a) { return int(a > 0) - int(a < 0); }
#endif
#ifdef USE_floor
float m_floor(float a) { return floor(a); }
int m_floor(int a) { return a; }
#endif
#ifdef USE_ceil
float m_ceil(float a) { return ceil(a); }
int m_ceil(int a) { return a; }
#endif
#ifdef USE_round
float m_round(float a) { return roundEven(a); }
int m_round(int a) { return a; }
#endif
#ifdef USE_trunc
float m_trunc(float a) { return trunc(a); }
int m_trunc(int a) { return a; }
#endif
#ifdef USE_isnan
float m_isnan(float a) { return float(is_nan(a)); }
int m_isnan(int a) { return 0; }
#endif
#ifdef USE_isinf
float m_isinf(float a) { return float(is_inf(a)); }
int m_isinf(int a) { return 0; }
#endif
#ifdef USE_isfinite
float m_isfinite(float a) { return float(is_finite(a)); }
int m_isfinite(int a) { return 1; }
#endif
#ifdef USE_signbit
float m_signbit(float a) { return float(floatBitsToUint(a) >> 31); }
int m_signbit(int a) { return int(a < 0); }
#endif

// A float is false when it is a zero of either sign.
bool truth(float a) { return (floatBitsToUint(a) & 0x7fffffffu) != 0u; }
bool truth(int a) { return a != 0; }
#ifdef USE_not
float m_not(float a) { return float(!truth(a)); }
int m_not(int a) { return int(!truth(a)); }
#endif
#ifdef USE_and
float m_and(float a, float b) { return float(truth(a) && truth(b)); }
int m_and(int a, int b) { return int(truth(a) && truth(b)); }
#endif
#ifdef USE_or
float m_or(float a, float b) { return float(truth(a) || truth(b)); }
int m_or(int a, int b) { return int(truth(a) || truth(b)); }
#endif
#ifdef USE_xor
float m_xor(float a, float b) { return float(truth(a) != truth(b)); }
int m_xor(int a, int b) { return int(truth(a) != truth(b)); }
#endif
#ifdef USE_where
float m_where(float a, float b, float c) { return truth(a) ? b : c; }
int m_where(int a, int b, int c) { return truth(a) ? b : c; }
#endif

// NaN wins, from either side.
#ifdef USE_minimum
float m_minimum(float a, float b) { return is_nan(a) ? a : is_nan(b) ? b : a < b ? a : b; }
int m_minimum(int a, int b) { return min(a, b); }
#endif
#ifdef USE_maximum
float m_maximum(float a, float b) { return is_nan(a) ? a : is_nan(b) ? b : a > b ? a : b; }
int m_maximum(int a, int b) { return max(a, b); }
#endif
#ifdef USE_fma
float m_fma(float a, float b, float c) { return a * b + c; }
int m_fma(int a, int b, int c) { return a * b + c; }
#endif

#ifdef USE_mod
// Mantissa and exponent of a finite positive number: a = m 2^e.
uint split(float a, out int e) {
    uint b = floatBitsToUint(a);
    e = max(int(b >> 23), 1) - 150;
    return (b >> 23) == 0u ? b : (b & 0x7fffffu) | 0x800000u;
}

// The remainder of a / b for finite a >= 0, b > 0: exact, by division of the mantissas.
float remainder(float a, float b) {
    if (a < b) return a;
    int ea, eb;
    uint m = split(a, ea), d = split(b, eb);
    for (m %= d; ea > eb && m != 0u;) {
        int s = min(ea - eb, 8);
        m = (m << s) % d;
        ea -= s;
    }
    // m 2^eb, put together from bits since a product may flush denormals.
    if (m == 0u) return 0.0;
    int up = min(23 - findMSB(m), eb + 149);
    m <<= up;
    eb -= up;
    return uintBitsToFloat(m < 0x800000u ? m : (uint(eb + 150) << 23) | (m & 0x7fffffu));
}

// With the divisor's sign, as in Python and Lua.
float m_mod(float a, float b) {
    bool bad = !is_finite(a) || is_nan(b) || b == 0.0;
    float r = is_inf(b) ? abs(a) : remainder(bad ? 0.0 : abs(a), bad ? 1.0 : abs(b));
    float across = is_inf(b) ? b : with_sign(abs(b) - r, b);
    float y = same_sign(a, b) ? with_sign(r, b) : across;
    y = truth(r) ? y : with_sign(0.0, b);
    return bad ? make_nan() : y;
}
int m_mod(int a, int b) {
    if (b == 0 || b == -1) return 0;
    int r = a - (a / b) * b;
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
#endif

#ifdef USE_floordiv
float m_floordiv(float a, float b) {
    bool one = same_sign(a, b);
    float far = one ? make_inf() : -make_inf();
    float y = roundEven((a - m_mod(a, b)) / b);
    y = is_inf(b) ? (a == 0.0 || one ? 0.0 : -1.0) : y;
    y = is_inf(a) ? far : y;
    y = b == 0.0 ? (a == 0.0 ? make_nan() : far) : y;
    return is_nan(a) || is_nan(b) || (is_inf(a) && is_inf(b)) ? make_nan() : y;
}
// Rounded down; 0 when the divisor is 0.
int m_floordiv(int a, int b) {
    if (b == 0) return 0;
    if (b == -1) return -a;
    int q = a / b, r = a - q * b;
    return r != 0 && (r < 0) != (b < 0) ? q - 1 : q;
}
#endif

#ifdef USE_gcd
// Euclid's.
int m_gcd(int a, int b) {
    uint x = a < 0 ? 0u - uint(a) : uint(a), y = b < 0 ? 0u - uint(b) : uint(b);
    while (y != 0u) {
        uint rest = x % y;
        x = y;
        y = rest;
    }
    return int(x);
}
#endif
#ifdef USE_bitnot
int m_bitnot(int a) { return ~a; }
#endif
#ifdef USE_bitand
int m_bitand(int a, int b) { return a & b; }
#endif
#ifdef USE_bitor
int m_bitor(int a, int b) { return a | b; }
#endif
#ifdef USE_bitxor
int m_bitxor(int a, int b) { return a ^ b; }
#endif
// Counts outside 0..31 shift everything out.
#ifdef USE_shl
int m_shl(int a, int b) { return b >= 0 && b < 32 ? a << b : 0; }
#endif
#ifdef USE_shr
int m_shr(int a, int b) { return a >> (b >= 0 && b < 32 ? b : 31); }
#endif
