// Multiply-adds in f32 and little else, 128 a round, in eight chains that wait for nothing but
// themselves: what arithmetic can do at best.
#include "mare.glsl"
layout(std140, binding = 0) uniform Params {
    uint rounds;
    float scale, shift;
};
layout(std430, binding = 1) writeonly buffer Out { float result[]; };

#define STEP v = fma(v, vec4(scale), vec4(shift)), w = fma(w, vec4(scale), vec4(shift));
#define STEPS STEP STEP STEP STEP

void main() {
    uint i = global_index();
    vec4 v = vec4(i, i + 1u, i + 2u, i + 3u), w = v + shift;
    for (uint k = 0u; k < rounds; k++) {
        STEPS STEPS STEPS STEPS
    }
    v += w;
    result[i] = v.x + v.y + v.z + v.w;
}
