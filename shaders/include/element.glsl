// Elements in memory and in arithmetic, for kernels whose text plan/program.c writes. Values are
// floats (of f32, f16, bf16) or ints (of i32, i8, u8, bool); in memory the narrow ones are packed in
// words. The shader defines W(i), its i-th parameter word.

// ---- Conversions ----------------------------------------------------------------------------

// Toward zero, saturating; NaN is 0.
int to_int(float x) {
    if (is_nan(x)) return 0;
    return x >= 2147483648.0 ? 2147483647 : x < -2147483648.0 ? -2147483647 - 1 : int(x);
}

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
// The upper half of an f32, rounded to the nearest, ties to even.
uint bfloat_bits(float x) {
    uint b = floatBitsToUint(x), h = (b + 0x7fffu + ((b >> 16) & 1u)) >> 16;
    return is_nan(x) ? (b >> 16) | 0x40u : h;
}
uvec2 bfloat_pack(vec4 v) {
    return uvec2(bfloat_bits(v.x) | (bfloat_bits(v.y) << 16),
                 bfloat_bits(v.z) | (bfloat_bits(v.w) << 16));
}
uint byte_pack(uvec4 v) { return v.x | (v.y << 8) | (v.z << 16) | (v.w << 24); }
ivec4 byte_unpack(uint w) {
    return ivec4(w & 255u, (w >> 8) & 255u, (w >> 16) & 255u, w >> 24);
}
ivec4 signed_unpack(uint w) { return ivec4(w << 24, w << 16, w << 8, w) >> 24; }

// ---- Loads ----------------------------------------------------------------------------------

// Four elements in a row; i is a multiple of 4.
vec4 half_unpack(uvec2 w) {
    return vec4(half_value(w.x & 0xffffu), half_value(w.x >> 16), half_value(w.y & 0xffffu),
                half_value(w.y >> 16));
}
vec4 bfloat_unpack(uvec2 w) {
    return uintBitsToFloat(uvec4(w.x << 16, w.x & 0xffff0000u, w.y << 16, w.y & 0xffff0000u));
}
#define ROW_f32(b, i) b.d[(i) >> 2]
#define ROW_i32(b, i) b.d[(i) >> 2]
#define ROW_f16(b, i) half_unpack(b.d[(i) >> 2])
#define ROW_bf16(b, i) bfloat_unpack(b.d[(i) >> 2])
#define ROW_i8(b, i) signed_unpack(b.d[(i) >> 2])
#define ROW_u8(b, i) byte_unpack(b.d[(i) >> 2])
#define ROW_bool(b, i) ROW_u8(b, i)

// One element anywhere.
#define AT_f32(b, i) b.d[i]
#define AT_i32(b, i) b.d[i]
#define AT_f16(b, i) half_value((b.d[(i) >> 1] >> (((i) & 1u) * 16u)) & 0xffffu)
#define AT_bf16(b, i) uintBitsToFloat((b.d[(i) >> 1] >> (((i) & 1u) * 16u)) << 16)
#define AT_i8(b, i) bitfieldExtract(int(b.d[(i) >> 2]), int((i) & 3u) * 8, 8)
#define AT_u8(b, i) int((b.d[(i) >> 2] >> (((i) & 3u) * 8u)) & 255u)
#define AT_bool(b, i) AT_u8(b, i)

#define GATHER(type, at, b, o) type(at(b, (o).x), at(b, (o).y), at(b, (o).z), at(b, (o).w))
#define EACH_f32(b, o) GATHER(vec4, AT_f32, b, o)
#define EACH_i32(b, o) GATHER(ivec4, AT_i32, b, o)
#define EACH_f16(b, o) GATHER(vec4, AT_f16, b, o)
#define EACH_bf16(b, o) GATHER(vec4, AT_bf16, b, o)
#define EACH_i8(b, o) GATHER(ivec4, AT_i8, b, o)
#define EACH_u8(b, o) GATHER(ivec4, AT_u8, b, o)
#define EACH_bool(b, o) EACH_u8(b, o)

// One element for all four.
#define ONE_f32(b, i) vec4(AT_f32(b, i))
#define ONE_i32(b, i) ivec4(AT_i32(b, i))
#define ONE_f16(b, i) vec4(AT_f16(b, i))
#define ONE_bf16(b, i) vec4(AT_bf16(b, i))
#define ONE_i8(b, i) ivec4(AT_i8(b, i))
#define ONE_u8(b, i) ivec4(AT_u8(b, i))
#define ONE_bool(b, i) ONE_u8(b, i)

// A parameter word.
#define WORD_f32(i) vec4(uintBitsToFloat(W(i)))
#define WORD_i32(i) ivec4(int(W(i)))

// ---- Values ---------------------------------------------------------------------------------

// What a number becomes in a dtype, before it is rounded to it.
float value_f32(float x) { return x; }
float value_f32(int x) { return float(x); }
int value_i32(float x) { return to_int(x); }
int value_i32(int x) { return x; }
#define value_f16(x) value_f32(x)
#define value_bf16(x) value_f32(x)
#define value_i8(x) clamp(value_i32(x), -128, 127)
#define value_u8(x) clamp(value_i32(x), 0, 255)
#define value_bool(x) int(truth(x))

// The rounding that storing would do.
#define ROUND_f16(x) half_value(half_bits(x))
#define ROUND_bf16(x) uintBitsToFloat(bfloat_bits(x) << 16)

// ---- Stores ---------------------------------------------------------------------------------

// Four elements in a row, from i on: whole words of narrow dtypes, and of 32 bits no more than COUNT.
#define STORE_f16(b, i, v) b.d[(i) >> 2] = half_pack(v)
#define STORE_bf16(b, i, v) b.d[(i) >> 2] = bfloat_pack(v)
#define STORE_i8(b, i, v) b.d[(i) >> 2] = byte_pack(uvec4(v) & 255u)
#define STORE_u8(b, i, v) b.d[(i) >> 2] = byte_pack(uvec4(v))
#define STORE_bool(b, i, v) STORE_u8(b, i, v)
#ifdef WHOLE // the count is a multiple of 4
#define STORE_WORDS(b, first, i, v) b.d[((first) + (i)) >> 2] = v
#else
// What follows the last element may be another tensor's.
#define STORE_WORDS(b, first, i, v)                                                                \
    if ((i) + 4u <= COUNT) b.d[((first) + (i)) >> 2] = v;                                          \
    else                                                                                           \
        for (uint k = 0u; (i) + k < COUNT; k++) b.d[((first) + (i)) >> 2][k] = v[k]
#endif
#define STORE_EACH(b, places, i, v)                                                                \
    for (uint k = 0u; k < 4u; k++)                                                                 \
        if ((i) + k < COUNT) b.d[places[k]] = v[k]
