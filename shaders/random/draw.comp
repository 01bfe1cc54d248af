// Random numbers: element 4 i + k comes from word k of Philox at counter + i. Uniform in [0, 1) from
// 24 bits; NORMAL by Box and Muller from pairs of words; WHOLE numbers low .. low + span - 1 (span 0:
// 2^32) from the upper bits of word times span; DROPOUT: x / (1 - p), or 0 with probability p. FOURS:
// buffers are whole vec4.
//
// The work: 4 bytes written an element, or 4 more read; Philox takes a quarter of 20 multiplications of
// 32 bits to 64, and NORMAL a logarithm, a sine and a cosine for two. On a CPU these decide; the turn
// that Box and Muller need is split into quarters as a whole number, exactly, which spares sine and
// cosine what they do for any angle: 2.2 times as fast on lavapipe.
#include "mare.glsl"
#include "philox.glsl"
#ifdef NORMAL
#define USE_log 1
#define USE_quadrant 1 // for sin_poly() and cos_poly()
#endif
#include "math.glsl"

#ifndef UPPER
#define UPPER uvec2(0u) // the counter's upper words
#endif

layout(std140, binding = 0) uniform Params {
    uint count, first, x_first;
    uint from; // counters that lie before this launch's
    uint key_low, key_high, counter_low, counter_high;
    uint low, span;
    float p;
};
#ifdef WHOLE
#define ONE int
#define FOUR ivec4
#else
#define ONE float
#define FOUR vec4
#endif
#ifdef FOURS
#define STORED FOUR
#else
#define STORED ONE
#endif
#ifdef DROPOUT
layout(std430, binding = 1) readonly buffer X { STORED x[]; };
layout(std430, binding = 2) writeonly buffer Out { STORED result[]; };
#else
layout(std430, binding = 1) writeonly buffer Out { STORED result[]; };
#endif

#ifdef NORMAL
vec2 box_muller(uvec2 w) {
    // 1 to 2^24 over 2^24: exact, and never 0.
    float u = float((w.x >> 8) + 1u) * 5.9604645e-8;
    float r = sqrt(-2.0 * m_log(u));
    // A turn has 2^24 steps: the nearest quarter, and what is left to it.
    uint turn = w.y >> 8, quarter = (turn + 0x200000u) >> 22;
    float angle = float(int(turn) - int(quarter << 22)) * 3.74507028e-7; // 2 pi / 2^24
    float a = cos_poly(angle), b = sin_poly(angle);
    bool odd = (quarter & 1u) != 0u;
    float c = odd ? b : a, s = odd ? a : b;
    c = quarter == 1u || quarter == 2u ? -c : c;
    s = (quarter & 2u) != 0u ? -s : s;
    return vec2(r * c, r * s);
}
#endif

void main() {
    uint i = global_index();
    if (i * 4u >= count) return;
    uint lower = counter_low + from, carry = lower < from ? 1u : 0u, at = lower + i;
    carry += at < i ? 1u : 0u;
    uvec4 w = philox(uvec4(at, counter_high + carry, UPPER), uvec2(key_low, key_high));
#ifdef NORMAL
    vec4 v = vec4(box_muller(w.xy), box_muller(w.zw));
#elif defined WHOLE
    uvec4 high, rest;
    umulExtended(w, uvec4(span), high, rest);
    ivec4 v = ivec4((span == 0u ? w : high) + low);
#else
    vec4 v = vec4(w >> 8u) * 5.9604645e-8;
#endif
#ifdef FOURS
#ifdef DROPOUT
    v = mix(x[x_first / 4u + i] / (1.0 - p), vec4(0.0), lessThan(v, vec4(p)));
#endif
    result[first / 4u + i] = v;
#else
    for (uint k = 0u; k < 4u && i * 4u + k < count; k++) {
#ifdef DROPOUT
        float kept = x[x_first + i * 4u + k] / (1.0 - p);
        result[first + i * 4u + k] = v[k] < p ? 0.0 : kept;
#else
        result[first + i * 4u + k] = v[k];
#endif
    }
#endif
}
