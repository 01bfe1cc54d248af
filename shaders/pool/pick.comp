// y = the element of v that each window points at.
layout(std430, binding = 1) readonly buffer InAt { int At[]; };
layout(std430, binding = 2) readonly buffer InV { float V[]; };
layout(std430, binding = 3) writeonly buffer Out { float Y[]; };

#include "window.glsl"

void main() {
    uint i = global_index();
    if (i >= count) return;
    Y[i] = V[i / WINDOWS * IMAGE + uint(At[i])];
}
