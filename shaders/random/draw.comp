// Random numbers: element 4 i + k comes from word k of Philox at counter + i. Uniform in [0, 1) from
// 24 bits, or NORMAL by Box and Muller from pairs of words.
#include "mare.glsl"
#include "philox.glsl"
#ifdef NORMAL
#define USE_log 1
#define USE_sin 1
#define USE_cos 1
#endif
#include "math.glsl"

layout(std140, binding = 0) uniform Params {
    uint count, first;
    int stride;
    uint from; // counters that lie before this launch's
    uint key_low, key_high, counter_low, counter_high;
};
layout(std430, binding = 1) writeonly buffer Out { float result[]; };

#ifdef NORMAL
vec2 box_muller(uvec2 w) {
    // 1 to 2^24 over 2^24: exact, and never 0.
    float u = float((w.x >> 8) + 1u) * 5.9604645e-8;
    float r = sqrt(-2.0 * m_log(u));
    float angle = float(w.y >> 8) * 3.74507028e-7; // 2 pi / 2^24
    return vec2(r * m_cos(angle), r * m_sin(angle));
}
#endif

void main() {
    uint i = global_index();
    if (i * 4u >= count) return;
    uint low = counter_low + from, carry = low < from ? 1u : 0u, at = low + i;
    carry += at < i ? 1u : 0u;
    uvec4 w = philox(uvec4(at, counter_high + carry, 0u, 0u), uvec2(key_low, key_high));
#ifdef NORMAL
    vec4 v = vec4(box_muller(w.xy), box_muller(w.zw));
#else
    vec4 v = vec4(w >> 8u) * 5.9604645e-8;
#endif
    for (uint k = 0u; k < 4u && i * 4u + k < count; k++)
        result[int(first) + int(i * 4u + k) * stride] = v[k];
}
