// Hyperbolic functions and the error function. Included by math.glsl.

// ---- Hyperbolic functions -------------------------------------------------------------------

#ifdef USE_sinh
float m_sinh(float x) {
    float a = abs(x), z = x * x;
    float p = 2.806280258e-6;
    p = fma(p, z, 0.0001983810197);
    p = fma(p, z, 0.008333339676);
    p = fma(p, z, 0.1666666665);
    float small = x + x * z * p, e = m_exp(a > 80.0 ? 0.5 * a : a);
    float middle = 0.5 * e - 0.5 / e, large = (0.5 * e) * e;
    float y = with_sign(a > 80.0 ? large : middle, x);
    return is_nan(x) || x == 0.0 ? x : a < 1.0 ? small : y;
}
#endif
#ifdef USE_cosh
float m_cosh(float x) {
    float a = abs(x);
    float e = m_exp(a > 80.0 ? 0.5 * a : a);
    float y = 0.5 * e + 0.5 / e, large = (0.5 * e) * e;
    return a > 80.0 ? large : y;
}
#endif
#ifdef USE_tanh
float m_tanh(float x) {
    float a = abs(x), z = x * x;
    float p = 0.002292557699;
    p = fma(p, z, -0.00834378037);
    p = fma(p, z, 0.02176886821);
    p = fma(p, z, -0.05395925338);
    p = fma(p, z, 0.1333330353);
    p = fma(p, z, -0.3333333317);
    float small = x + x * z * p;
    float large = with_sign(1.0 - 2.0 / (m_exp(min(2.0 * a, 40.0)) + 1.0), x);
    return is_nan(x) || x == 0.0 ? x : a < 0.625 ? small : large;
}
#endif
#ifdef USE_asinh
float m_asinh(float x) {
    float a = abs(x), z = min(x * x, 1.0);
    float p = -0.007151518775;
    p = fma(p, z, 0.01532136386);
    p = fma(p, z, -0.02204860851);
    p = fma(p, z, 0.03035464576);
    p = fma(p, z, -0.0446417419);
    p = fma(p, z, 0.07499998273);
    p = fma(p, z, -0.1666666666);
    float small = x + x * z * p;
    bool huge = a > 1e6;
    float l = m_log(huge ? a : a + sqrt(a * a + 1.0));
    float large = with_sign(huge ? l + 0.693147181 : l, x);
    return is_nan(x) || x == 0.0 ? x : a <= 0.5 ? small : large;
}
#endif
#ifdef USE_acosh
float m_acosh(float x) {
    bool huge = x > 1e6;
    float t = huge ? 0.0 : max(x - 1.0, 0.0);
    float near = m_log1p(t + sqrt(t * (t + 2.0))), far = m_log(x) + 0.693147181;
    float y = huge ? far : near;
    return is_nan(x) || x < 1.0 ? make_nan() : y;
}
#endif
#ifdef USE_atanh
float m_atanh(float x) {
    float a = abs(x), z = min(x * x, 1.0);
    float p = 0.1583421655;
    p = fma(p, z, 0.01839805216);
    p = fma(p, z, 0.08805472172);
    p = fma(p, z, 0.08953722127);
    p = fma(p, z, 0.1112012091);
    p = fma(p, z, 0.1428542711);
    p = fma(p, z, 0.2000000346);
    p = fma(p, z, 0.3333333333);
    float small = x + x * z * p;
    float y = with_sign(0.5 * m_log1p(2.0 * min(a, 0.99999994) / (1.0 - min(a, 0.99999994))), x);
    y = a <= 0.5 ? small : a == 1.0 ? with_sign(make_inf(), x) : y;
    return is_nan(x) || a > 1.0 ? make_nan() : x == 0.0 ? x : y;
}
#endif

// ---- The error function ---------------------------------------------------------------------

#ifdef USE_erfc
float erf_poly(float x) {
    float z = x * x;
    float p = 8.72240447e-5;
    p = fma(p, z, -0.0008221290175);
    p = fma(p, z, 0.00520757325);
    p = fma(p, z, -0.02686189263);
    p = fma(p, z, 0.1128373818);
    p = fma(p, z, -0.3761263638);
    p = fma(p, z, 1.128379167);
    return x * p;
}

// exp(-x^2 scale) for scale 1 or 1/2: the square is split so that it carries no rounding.
float gauss(float x, float scale) {
    float h = uintBitsToFloat(floatBitsToUint(x) & 0xfffff000u);
    precise float low = (h - x) * (h + x);
    return exp_of(-h * h * scale, low * scale);
}

// erfc(z) exp(z^2) for z in 0..10.6: Q(t) / (1 + 2 z) with t = (z - 2) / (z + 2).
float erfc_scaled(float z) {
    float t = (z - 2.0) / (z + 2.0);
    float p = 8.403989531e-5;
    p = fma(p, t, 0.0001782086495);
    p = fma(p, t, -0.0004018534859);
    p = fma(p, t, -0.001430577016);
    p = fma(p, t, 0.001250499876);
    p = fma(p, t, 0.008712946244);
    p = fma(p, t, -0.008029727637);
    p = fma(p, t, -0.05421846246);
    p = fma(p, t, 0.1640508716);
    p = fma(p, t, -0.1660304835);
    p = fma(p, t, -0.09276381454);
    p = fma(p, t, 1.276978382);
    return p / (1.0 + 2.0 * z);
}

float m_erfc(float x) {
    float a = min(abs(x), 10.6), far = gauss(a, 1.0) * erfc_scaled(a);
    far = a > 10.5 ? 0.0 : far;
    far = x < 0.0 ? 2.0 - far : far;
    return is_nan(x) ? x : far;
}
#endif
#ifdef USE_erf
float m_erf(float x) {
    float a = abs(x), near = erf_poly(clamp(x, -0.85, 0.85));
    float far = with_sign(1.0 - m_erfc(a), x);
    return is_nan(x) || x == 0.0 ? x : a < 0.85 ? near : far;
}
#endif
#ifdef USE_normcdf
float m_normcdf(float x) {
    float a = min(abs(x), 14.9), z = a * 0.707106781;
    float far = 0.5 * gauss(a, 0.5) * erfc_scaled(z);
    far = z > 10.5 ? 0.0 : far;
    far = x > 0.0 ? 1.0 - far : far;
    return is_nan(x) ? x : far;
}
#endif
