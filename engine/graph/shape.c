#include "graph/graph.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

shape shape_from(const int64_t rank_and_dims[MAX_DIMS + 1]) {
    shape s = {.rank = (int)rank_and_dims[0]};
    for (int i = 0; i < s.rank; i++)
        s.dim[i] = rank_and_dims[i + 1];
    return s;
}

int64_t shape_count(const shape *s) {
    int64_t n = 1;
    for (int i = 0; i < s->rank; i++)
        n *= s->dim[i];
    return n;
}

bool shape_equal(const shape *a, const shape *b) {
    return a->rank == b->rank && memcmp(a->dim, b->dim, (size_t)a->rank * sizeof a->dim[0]) == 0;
}

const char *shape_text(const shape *s, char buf[SHAPE_TEXT]) {
    size_t n = (size_t)snprintf(buf, SHAPE_TEXT, "[");
    for (int i = 0; i < s->rank; i++)
        n += (size_t)snprintf(buf + n, SHAPE_TEXT - n, "%s%lld", i ? ", " : "",
                              (long long)s->dim[i]);
    snprintf(buf + n, SHAPE_TEXT - n, "]");
    return buf;
}

bool shape_broadcast(const shape *a, const shape *b, shape *out) {
    const shape *big = a->rank >= b->rank ? a : b, *small = big == a ? b : a;
    shape s = *big;
    int shift = big->rank - small->rank;
    for (int i = 0; i < small->rank; i++) {
        int64_t x = big->dim[i + shift], y = small->dim[i];
        if (x != y && x != 1 && y != 1) return false;
        s.dim[i + shift] = x == 1 ? y : x;
    }
    *out = s;
    return true;
}

int shape_axis(const shape *s, int axis) {
    if (axis < -s->rank || axis >= s->rank) return -1;
    return axis < 0 ? axis + s->rank : axis;
}

void shape_strides(const shape *s, int64_t stride[MAX_DIMS]) {
    int64_t n = 1;
    for (int i = s->rank - 1; i >= 0; i--) {
        stride[i] = n;
        n *= s->dim[i] > 0 ? s->dim[i] : 1;
    }
}

bool view_contiguous(const shape *s, const view *v) {
    int64_t n = 1;
    if (shape_count(s) == 0) return true;
    for (int i = s->rank - 1; i >= 0; i--) {
        if (s->dim[i] != 1 && v->stride[i] != n) return false;
        n *= s->dim[i];
    }
    return true;
}

/* ---- dtypes ------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    size_t size;
} dtypes[MARE_DTYPES] = {
    [MARE_F32] = {"f32", 4}, [MARE_F16] = {"f16", 2},   [MARE_I32] = {"i32", 4},
    [MARE_U8] = {"u8", 1},   [MARE_BOOL] = {"bool", 1}, [MARE_BF16] = {"bf16", 2},
    [MARE_I8] = {"i8", 1},
};

const char *mare_dtype_name(mare_dtype t) {
    return (unsigned)t < MARE_DTYPES ? dtypes[t].name : "unknown";
}

size_t mare_dtype_size(mare_dtype t) {
    return (unsigned)t < MARE_DTYPES ? dtypes[t].size : 0;
}

bool dtype_is_float(mare_dtype t) {
    return t == MARE_F32 || t == MARE_F16 || t == MARE_BF16;
}

double dtype_roundoff(mare_dtype t) {
    static const int digits[MARE_DTYPES] = {[MARE_F32] = 24, [MARE_F16] = 11, [MARE_BF16] = 8};
    return digits[t] ? ldexp(1, -digits[t]) : 0;
}

mare_dtype dtype_promote(mare_dtype a, mare_dtype b) {
    static const int step[MARE_DTYPES] = {
        [MARE_BOOL] = 0, [MARE_U8] = 1,   [MARE_I8] = 1, [MARE_I32] = 2,
        [MARE_F16] = 3,  [MARE_BF16] = 3, [MARE_F32] = 4};
    if (a != b && step[a] == step[b]) return dtype_is_float(a) ? MARE_F32 : MARE_I32;
    return step[a] >= step[b] ? a : b;
}

void dtype_limits(mare_dtype t, double *lo, double *hi) {
    *lo = t == MARE_I32 ? INT32_MIN : t == MARE_I8 ? INT8_MIN : 0;
    *hi = t == MARE_I32 ? INT32_MAX : t == MARE_I8 ? INT8_MAX : t == MARE_U8 ? UINT8_MAX : 1;
}

/* value as an integer in lo..hi, rounded to nearest even; NaN is 0. */
static int64_t to_int(double value, double lo, double hi) {
    if (isnan(value)) return 0;
    double r = nearbyint(value);
    return (int64_t)(r < lo ? lo : r > hi ? hi : r);
}

uint32_t dtype_word(mare_dtype t, double value) {
    if (dtype_is_float(t)) {
        float f = (float)value;
        uint32_t w;
        memcpy(&w, &f, 4);
        return w;
    }
    if (t == MARE_BOOL) return value != 0;
    double lo, hi;
    dtype_limits(t, &lo, &hi);
    return (uint32_t)(int32_t)to_int(value, lo, hi);
}

double dtype_value(mare_dtype t, uint32_t word) {
    if (dtype_is_float(t)) {
        float f;
        memcpy(&f, &word, 4);
        return f;
    }
    return (double)(int32_t)word;
}

static double from_half(uint16_t h) {
    int e = h >> 10 & 31, m = h & 1023;
    double v = e == 0 ? ldexp(m, -24) : e == 31 ? (m ? NAN : INFINITY) : ldexp(m + 1024, e - 25);
    return h & 0x8000 ? -v : v;
}

static uint16_t to_half(double v) {
    uint16_t sign = signbit(v) ? 0x8000 : 0;
    if (isnan(v)) return sign | 0x7E00;
    v = fabs(v);
    if (v >= 65520) return sign | 0x7C00; /* rounds to infinity */
    int e;
    frexp(v, &e); /* v = f * 2^e, f in [0.5, 1) */
    if (v == 0 || e < -13) return sign | (uint16_t)nearbyint(ldexp(v, 24)); /* subnormal */
    int m = (int)nearbyint(ldexp(v, 11 - e)); /* 1024..2048; 2048 carries into the exponent */
    return sign | (uint16_t)(((e + 14) << 10) + (m - 1024));
}

/* The upper half of the f32 that is nearest to v among those whose lower half is 0, ties to even:
 * 8 digits, as in to_half(), in one rounding. */
static uint16_t to_bfloat(double v) {
    uint16_t sign = signbit(v) ? 0x8000 : 0;
    if (isnan(v)) return sign | 0x7FC0;
    v = fabs(v);
    if (v >= 0x1.FFp127) return sign | 0x7F80; /* rounds to infinity */
    int e;
    frexp(v, &e);
    if (v == 0 || e < -125) return sign | (uint16_t)nearbyint(ldexp(v, 133)); /* subnormal */
    int m = (int)nearbyint(ldexp(v, 8 - e)); /* 128..256; 256 carries into the exponent */
    return sign | (uint16_t)(((e + 126) << 7) + (m - 128));
}

static double from_bfloat(uint16_t h) {
    uint32_t w = (uint32_t)h << 16;
    float f;
    memcpy(&f, &w, 4);
    return f;
}

void dtype_unpack(mare_dtype t, const void *data, double *out, int64_t n) {
    const unsigned char *p = data;
    for (int64_t i = 0; i < n; i++) {
        float f;
        int32_t w;
        uint16_t h;
        switch (t) {
        case MARE_F32:
            memcpy(&f, p + 4 * i, 4);
            out[i] = f;
            break;
        case MARE_F16:
            memcpy(&h, p + 2 * i, 2);
            out[i] = from_half(h);
            break;
        case MARE_BF16:
            memcpy(&h, p + 2 * i, 2);
            out[i] = from_bfloat(h);
            break;
        case MARE_I32:
            memcpy(&w, p + 4 * i, 4);
            out[i] = w;
            break;
        case MARE_U8:
            out[i] = p[i];
            break;
        case MARE_I8:
            out[i] = (signed char)p[i];
            break;
        case MARE_BOOL:
            out[i] = p[i] != 0;
            break;
        }
    }
}

void dtype_pack(mare_dtype t, const double *in, void *data, int64_t n) {
    unsigned char *p = data;
    for (int64_t i = 0; i < n; i++) {
        uint32_t w = t == MARE_F16    ? to_half(in[i])
                     : t == MARE_BF16 ? to_bfloat(in[i])
                                      : dtype_word(t, in[i]);
        if (dtypes[t].size == 2)
            memcpy(p + 2 * i, &(uint16_t){(uint16_t)w}, 2);
        else if (dtypes[t].size == 4)
            memcpy(p + 4 * i, &w, 4);
        else
            p[i] = (unsigned char)w;
    }
}
