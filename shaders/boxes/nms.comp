// The boxes that stay, in the order given; then the first of them again. One group takes the boxes
// one after the other and compares each with those kept so far, side by side.
#include "mare.glsl"

layout(std140, binding = 0) uniform Params {
    uint count;
    float threshold;
};
layout(std430, binding = 1) readonly buffer InBoxes { vec4 Box[]; };
layout(std430, binding = 2) readonly buffer InOrder { int Order[]; };
layout(std430, binding = 3) coherent buffer Out { int Y[]; };

shared uint taken;

float overlap(vec4 a, vec4 b) {
    precise vec2 side = max(min(a.zw, b.zw) - max(a.xy, b.xy), vec2(0.0));
    precise float inter = side.x * side.y;
    precise float joint = (a.z - a.x) * (a.w - a.y) + (b.z - b.x) * (b.w - b.y) - inter;
    return inter / joint;
}

void main() {
    uint lane = gl_LocalInvocationID.x, lanes = gl_WorkGroupSize.x, kept = 0u;
    for (uint i = 0u; i < count; i++) {
        int own = Order[i];
        vec4 box = Box[own];
        if (lane == 0u) taken = 0u;
        barrier();
        uint hit = 0u;
        for (uint k = lane; k < kept; k += lanes)
            if (overlap(Box[Y[k]], box) > threshold) hit = 1u;
        if (hit != 0u) atomicOr(taken, 1u);
        barrier();
        bool stays = taken == 0u;
        if (stays && lane == 0u) Y[kept] = own;
        kept += stays ? 1u : 0u;
        memoryBarrierBuffer();
        barrier();
    }
    for (uint k = kept + lane; k < count; k += lanes)
        Y[k] = Y[0];
}
