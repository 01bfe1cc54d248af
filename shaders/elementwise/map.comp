// out[i] = EXPR(a[i], b[i], ...): four consecutive elements an invocation, so that f16, u8 and bool
// are written as whole words.
//
// plan/map.c writes the defines: T and T4, the type of the arithmetic; EXPR and SIGNATURE, the
// function; BUFFERS, the storage blocks; INPUTS, loads into a4, b4, ...; ARGS(k), their k-th
// elements; OUT_<dtype> and, for a strided result, OUT_STRIDED; WORDS, RANK, INNER4.
#include "mare.glsl"
#include "math.glsl"

layout(std140, binding = 0) uniform Params { uvec4 word[WORDS]; };
#define W(i) word[(i) / 4][(i) % 4]
#define COUNT W(0)
#define OUT_FIRST W(1)
#define SIZE(d) W(2 + 3 * (d))

BUFFERS

// ---- Conversions ----------------------------------------------------------------------------

// Toward zero, saturating; NaN is 0.
int to_int(float x) {
    if (is_nan(x)) return 0;
    return x >= 2147483648.0 ? 2147483647 : x < -2147483648.0 ? -2147483647 - 1 : int(x);
}
ivec4 to_int4(vec4 v) { return ivec4(to_int(v.x), to_int(v.y), to_int(v.z), to_int(v.w)); }
ivec4 to_int4(ivec4 v) { return v; }
uvec4 truth4(vec4 v) { return uvec4(truth(v.x), truth(v.y), truth(v.z), truth(v.w)); }
uvec4 truth4(ivec4 v) { return uvec4(truth(v.x), truth(v.y), truth(v.z), truth(v.w)); }

#ifdef COMPUTE_INT
T4 take(vec4 v) { return to_int4(v); }
T4 take(ivec4 v) { return v; }
#else
T4 take(vec4 v) { return v; }
T4 take(ivec4 v) { return vec4(v); }
#endif

float half_value(uint h) {
    uint m = h & 0x3ffu, e = (h >> 10) & 31u;
    float v = e == 0u ? float(m) * 5.9604645e-8
                      : uintBitsToFloat(((e == 31u ? 255u : e + 112u) << 23) | (m << 13));
    return with_sign(v, uintBitsToFloat(h << 16));
}

// Rounded to the nearest, ties to even; too large is infinity.
uint half_bits(float x) {
    uint b = floatBitsToUint(x), a = b & 0x7fffffffu, h;
    if (a > 0x7f800000u) h = 0x7e00u;
    else if (a >= 0x477ff000u) h = 0x7c00u;
    else if (a >= 0x38800000u) h = (a - 0x38000000u + 0xfffu + ((a >> 13) & 1u)) >> 13;
    else if (a < 0x33000000u) h = 0u;
    else {
        uint s = 126u - (a >> 23), m = (a & 0x7fffffu) | 0x800000u; // s in 14..24
        h = (m + ((1u << (s - 1u)) - 1u) + ((m >> s) & 1u)) >> s;
    }
    return h | ((b >> 16) & 0x8000u);
}
uvec2 half_pack(vec4 v) {
    return uvec2(half_bits(v.x) | (half_bits(v.y) << 16), half_bits(v.z) | (half_bits(v.w) << 16));
}
uint byte_pack(uvec4 v) { return v.x | (v.y << 8) | (v.z << 16) | (v.w << 24); }
ivec4 byte_unpack(uint w) {
    return ivec4(w & 255u, (w >> 8) & 255u, (w >> 16) & 255u, w >> 24);
}

// ---- Loads ----------------------------------------------------------------------------------

// Four elements in a row; i is a multiple of 4.
vec4 half_unpack(uvec2 w) {
    return vec4(half_value(w.x & 0xffffu), half_value(w.x >> 16), half_value(w.y & 0xffffu),
                half_value(w.y >> 16));
}
#define ROW_f32(b, i) take(b.d[(i) >> 2])
#define ROW_i32(b, i) take(b.d[(i) >> 2])
#define ROW_f16(b, i) take(half_unpack(b.d[(i) >> 2]))
#define ROW_u8(b, i) take(byte_unpack(b.d[(i) >> 2]))
#define ROW_bool(b, i) ROW_u8(b, i)

// One element anywhere.
#define AT_f32(b, i) b.d[i]
#define AT_i32(b, i) b.d[i]
#define AT_f16(b, i) half_value((b.d[(i) >> 1] >> (((i) & 1u) * 16u)) & 0xffffu)
#define AT_u8(b, i) int((b.d[(i) >> 2] >> (((i) & 3u) * 8u)) & 255u)
#define AT_bool(b, i) AT_u8(b, i)

#define GATHER(type, at, b, o) take(type(at(b, (o).x), at(b, (o).y), at(b, (o).z), at(b, (o).w)))
#define EACH_f32(b, o) GATHER(vec4, AT_f32, b, o)
#define EACH_i32(b, o) GATHER(ivec4, AT_i32, b, o)
#define EACH_f16(b, o) GATHER(vec4, AT_f16, b, o)
#define EACH_u8(b, o) GATHER(ivec4, AT_u8, b, o)
#define EACH_bool(b, o) EACH_u8(b, o)

// One element for all four.
#define ONE_f32(b, i) take(vec4(AT_f32(b, i)))
#define ONE_i32(b, i) take(ivec4(AT_i32(b, i)))
#define ONE_f16(b, i) take(vec4(AT_f16(b, i)))
#define ONE_u8(b, i) take(ivec4(AT_u8(b, i)))
#define ONE_bool(b, i) ONE_u8(b, i)

// A parameter word.
#define WORD_f32(i) take(vec4(uintBitsToFloat(W(i))))
#define WORD_i32(i) take(ivec4(int(W(i))))

#if RANK > 0
// n / SIZE(d), by the multiplier and shift that stand behind the size.
uint quotient(uint n, int d) {
    uint high, low;
    umulExtended(n, W(3 + 3 * d), high, low);
    return (high + n) >> W(4 + 3 * d);
}

#ifdef INNER4 // the four elements stand in one innermost row
uint coord[RANK]; // of the first

void find_coords(uint i) {
    for (int d = RANK - 1; d > 0; d--) {
        uint next = quotient(i, d);
        coord[d] = i - next * SIZE(d);
        i = next;
    }
    coord[0] = i;
}

// Place of the first element, with strides from word s on.
uint place(uint first, int s) {
    for (int d = 0; d < RANK; d++)
        first += coord[d] * W(s + d);
    return first;
}

uvec4 places(uint first, int s) { return place(first, s) + uvec4(0, 1, 2, 3) * W(s + RANK - 1); }
#else
uvec4 coord[RANK];

void find_coords(uint i) {
    // Past the end stands the last element again, so that no load leaves its buffer.
    uvec4 rest = min(uvec4(i) + uvec4(0, 1, 2, 3), uvec4(COUNT - 1u));
    for (int d = RANK - 1; d > 0; d--) {
        uvec4 next = uvec4(quotient(rest.x, d), quotient(rest.y, d), quotient(rest.z, d),
                           quotient(rest.w, d));
        coord[d] = rest - next * SIZE(d);
        rest = next;
    }
    coord[0] = rest;
}

uvec4 places(uint first, int s) {
    uvec4 p = uvec4(first);
    for (int d = 0; d < RANK; d++)
        p += coord[d] * W(s + d);
    return p;
}
#endif
#endif

T apply(SIGNATURE) { return T(EXPR); }

#if defined OUT_f16 || defined OUT_u8 || defined OUT_bool
void store(uint i, T4 r) {
#if defined OUT_f16
    result.d[(OUT_FIRST + i) >> 2] = half_pack(vec4(r));
#elif defined OUT_u8
    result.d[(OUT_FIRST + i) >> 2] = byte_pack(uvec4(clamp(to_int4(r), 0, 255)));
#else
    result.d[(OUT_FIRST + i) >> 2] = byte_pack(truth4(r));
#endif
}
#else
#ifdef OUT_i32
#define OUT4(r) to_int4(r)
#else
#define OUT4(r) vec4(r)
#endif
void store(uint i, T4 r) {
#ifdef OUT_STRIDED
    uvec4 p = places(OUT_FIRST, OUT_STRIDED);
    for (uint k = 0u; k < 4u; k++)
        if (i + k < COUNT) result.d[p[k]] = OUT4(r)[k];
#else
#ifdef WHOLE // the count is a multiple of 4
    result.d[(OUT_FIRST + i) >> 2] = OUT4(r);
#else
    if (i + 4u <= COUNT) {
        result.d[(OUT_FIRST + i) >> 2] = OUT4(r);
        return;
    }
    for (uint k = 0u; i + k < COUNT; k++) // what follows may be another tensor's
        result.d[(OUT_FIRST + i) >> 2][k] = OUT4(r)[k];
#endif
#endif
}
#endif

void main() {
    uint i = global_index() * 4u;
    if (i >= COUNT) return;
#if RANK > 0
    find_coords(i);
#endif
    INPUTS
    store(i, T4(apply(ARGS(0)), apply(ARGS(1)), apply(ARGS(2)), apply(ARGS(3))));
}
