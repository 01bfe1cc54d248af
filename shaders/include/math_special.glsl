// Gamma, its logarithm's derivatives, the zeta function of Hurwitz, modified Bessel functions.
// Included by math.glsl.

#if defined USE_log_gamma || defined USE_psi
// How far x lies above the nearest whole number: functions of pi x need no more.
float off_whole(float x) { return x - roundEven(x); }
#endif

#ifdef USE_log_gamma
// For x > 0. Within 0.5..2.5 a polynomial next to each of the zeros, 1 and 2; what lies below comes
// by one step up, above by steps down, from 8 on by Stirling's series.
float log_gamma_positive(float x) {
    bool below = x < 0.5;
    float y = below ? x + 1.0 : min(x, 8.0), product = below ? x : 1.0;
    for (int k = 0; k < 6; k++) {
        bool down = y > 2.5;
        y = down ? y - 1.0 : y;
        product = down ? product * y : product;
    }
    float t = y - 1.0, p = -0.1672973275;
    p = fma(p, t, 0.179739271);
    p = fma(p, t, -0.05830213639);
    p = fma(p, t, 0.06530930569);
    p = fma(p, t, -0.1165793696);
    p = fma(p, t, 0.1310955096);
    p = fma(p, t, -0.1436529157);
    p = fma(p, t, 0.1691345196);
    p = fma(p, t, -0.2073982079);
    p = fma(p, t, 0.270594282);
    p = fma(p, t, -0.4006855205);
    p = fma(p, t, 0.8224669122);
    p = fma(p, t, -0.5772156649);
    float s = y - 2.0, q = -0.0002505620215;
    q = fma(q, s, 0.0005702512503);
    q = fma(q, s, -0.001187484814);
    q = fma(q, s, 0.002878868684);
    q = fma(q, s, -0.007385920885);
    q = fma(q, s, 0.02058162544);
    q = fma(q, s, -0.06735229409);
    q = fma(q, s, 0.322467018);
    q = fma(q, s, 0.4227843351);
    float shift = m_log(product), r = 1.0 / max(x, 8.0), r2 = r * r;
    float near = (y < 1.5 ? p * t : q * s) + (below ? -shift : shift);
    float far = (x - 0.5) * (m_log(x) - 1.0) +
        (0.418938533 + r * (0.0833333333 - r2 * (0.00277777778 - r2 * 0.000793650794)));
    return is_inf(x) ? x : x < 8.0 ? near : far;
}
float m_log_gamma(float x) {
    bool left = x <= 0.0;
    float y = log_gamma_positive(left ? 1.0 - x : x), f = off_whole(x);
    float back = m_log(3.14159265 / abs(m_sin(3.14159265 * f))) - y;
    back = f == 0.0 ? make_inf() : back;
    return is_nan(x) ? x : is_inf(x) ? make_inf() : left ? back : y;
}
#endif

#ifdef USE_psi
// For x > 0. A polynomial on 1..2, times the distance from the zero there; steps up and down to
// it; from 8 on the asymptotic series.
float psi_positive(float x) {
    bool below = x < 1.0;
    float y = below ? x + 1.0 : min(x, 8.0), sum = below ? -1.0 / x : 0.0;
    for (int k = 0; k < 7; k++) {
        bool down = y > 2.0;
        y = down ? y - 1.0 : y;
        sum += down ? 1.0 / y : 0.0;
    }
    float t = y - 1.5, p = 0.01090258867;
    p = fma(p, t, -0.01637362026);
    p = fma(p, t, 0.017114989);
    p = fma(p, t, -0.02578688363);
    p = fma(p, t, 0.04085002674);
    p = fma(p, t, -0.06205598039);
    p = fma(p, t, 0.09498468507);
    p = fma(p, t, -0.1483988614);
    p = fma(p, t, 0.240542535);
    p = fma(p, t, -0.4236274975);
    p = fma(p, t, 0.951055876);
    precise float high = y - 1.46163213, off = high - 1.243815e-8; // not summed up beforehand
    float near = off * p + sum, r = 1.0 / max(x, 8.0), r2 = r * r;
    float far = m_log(x) -
        r * (0.5 + r * (0.0833333333 - r2 * (0.00833333333 - r2 * (0.00396825397 - r2 / 240.0))));
    return is_inf(x) ? x : x < 8.0 ? near : far;
}
float m_psi(float x) {
    bool left = x < 0.0;
    float y = psi_positive(left ? 1.0 - x : x), f = off_whole(x);
    float back = f == 0.0 ? make_nan() : y - 3.14159265 / m_tan(3.14159265 * f);
    return is_nan(x) ? x : x == 0.0 ? with_sign(make_inf(), same_sign(x, 1.0) ? -1.0 : 1.0)
        : left ? back : y;
}
#endif

#ifdef USE_hurwitz
// The sum of (q + k)^-s over k = 0, 1, ...: ten terms and the formula of Euler and Maclaurin.
float m_hurwitz(float s, float q) {
    bool whole = q == floor(q), pole = s == 1.0 || (q <= 0.0 && whole), far = is_inf(q);
    bool bad = is_nan(s) || is_nan(q) || s < 1.0 || q < 0.0;
    // Of larger orders nothing but the first term is left; the cases told apart are set aside.
    float n = bad || pole ? 2.0 : min(s, 1.0e6), a = bad || pole || far ? 1.0 : q;
    float w = a + 10.0, end = pow_positive(w, -n), r = 1.0 / w, r2 = r * r;
    float tail = n * r * (0.0833333333 - (n + 1.0) * (n + 2.0) * r2 * (0.00138888889 -
        (n + 3.0) * (n + 4.0) * r2 * (3.30687831e-5 - (n + 5.0) * (n + 6.0) * r2 * 8.26719577e-7)));
    float sum = end * w / (n - 1.0) + end * (0.5 + tail);
    for (int k = 9; k >= 0; k--)
        sum += pow_positive(a + float(k), -n);
    sum = far ? 0.0 : sum;
    return is_nan(s) || is_nan(q) || s < 1.0 ? make_nan()
        : pole ? make_inf() : q < 0.0 ? make_nan() : sum;
}
#endif

// exp(-|x|) I(x): polynomials in |x| / 4 - 1 up to 8, then in 16 / |x| - 1 over sqrt(|x|).
#ifdef USE_i0e
float m_i0e(float x) {
    float a = abs(x), t = min(a, 8.0) * 0.25 - 1.0, p = -0.0008179725461;
    p = fma(p, t, 0.00197830876);
    p = fma(p, t, -0.0008991624062);
    p = fma(p, t, 0.001240379473);
    p = fma(p, t, -0.007766332662);
    p = fma(p, t, 0.01450777764);
    p = fma(p, t, -0.01909066415);
    p = fma(p, t, 0.02862528436);
    p = fma(p, t, -0.0431948777);
    p = fma(p, t, 0.05732588823);
    p = fma(p, t, -0.06950006318);
    p = fma(p, t, 0.07916705743);
    p = fma(p, t, -0.08496741818);
    p = fma(p, t, 0.08735404008);
    p = fma(p, t, -0.08904328936);
    p = fma(p, t, 0.09451522841);
    p = fma(p, t, -0.1130043278);
    p = fma(p, t, 0.2070019237);
    float u = 16.0 / max(a, 8.0) - 1.0, q = 3.363580224e-8;
    q = fma(q, u, 1.091023294e-7);
    q = fma(q, u, 3.038330909e-7);
    q = fma(q, u, 1.475475636e-6);
    q = fma(q, u, 1.114154219e-5);
    q = fma(q, u, 0.0001362174078);
    q = fma(q, u, 0.003360552031);
    q = fma(q, u, 0.4021765094);
    return is_nan(x) ? x : a < 8.0 ? p : q / sqrt(a);
}
#endif
#ifdef USE_i1e
float m_i1e(float x) {
    float a = abs(x), t = min(a, 8.0) * 0.25 - 1.0, p = -0.0001193158151;
    p = fma(p, t, 0.0003070296457);
    p = fma(p, t, -0.000221153768);
    p = fma(p, t, 0.0004129778383);
    p = fma(p, t, -0.001666236555);
    p = fma(p, t, 0.003358929887);
    p = fma(p, t, -0.005457398639);
    p = fma(p, t, 0.009369502835);
    p = fma(p, t, -0.0155984901);
    p = fma(p, t, 0.02376165918);
    p = fma(p, t, -0.03366601115);
    p = fma(p, t, 0.04465968645);
    p = fma(p, t, -0.05528056338);
    p = fma(p, t, 0.06376886448);
    p = fma(p, t, -0.06848258648);
    p = fma(p, t, 0.06805754492);
    p = fma(p, t, -0.06112433815);
    p = fma(p, t, 0.04468771022);
    float u = 16.0 / max(a, 8.0) - 1.0, q = -3.785602479e-8;
    q = fma(q, u, -1.231841967e-7);
    q = fma(q, u, -3.548195417e-7);
    q = fma(q, u, -1.825006939e-6);
    q = fma(q, u, -1.503704714e-5);
    q = fma(q, u, -0.0002192373854);
    q = fma(q, u, -0.009749577241);
    q = fma(q, u, 0.3893984591);
    return is_nan(x) ? x : with_sign(a < 8.0 ? p * a : q / sqrt(a), x);
}
#endif
