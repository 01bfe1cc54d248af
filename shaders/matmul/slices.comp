// o[i] = the sum of a[i], a[i + count], a[i + 2 count], ...: the slices of a product, always in one
// order, so that a sum comes out the same at every run.
#include "mare.glsl"

layout(std140, binding = 0) uniform Params {
    uint count, slices, a_first, o_first;
};
layout(std430, binding = 1) readonly buffer A { float a[]; };
layout(std430, binding = 2) writeonly buffer O { float o[]; };

void main() {
    uint i = global_index();
    if (i >= count) return;
    float sum = 0.0;
    for (uint s = 0; s < slices; s++) sum += a[a_first + s * count + i];
    o[o_first + i] = sum;
}
