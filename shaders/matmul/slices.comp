// o[i] = the sum of a[i], a[i + count], a[i + 2 count], ...: the slices of a product, always in one
// order, so that a sum comes out the same at every run.
// T is float or int. AFTER: a program takes the sums (attach.glsl).
#include "mare.glsl"
#ifdef AFTER
#include "attach.glsl"
#endif

layout(std140, binding = 0) uniform Params {
    uint count, slices, a_first, o_first;
#ifdef ATTACHED_WORDS
    uvec4 attached[ATTACHED_WORDS];
#endif
};
layout(std430, binding = 1) readonly buffer A { T a[]; };
#ifdef AFTER
ATTACHED_TEXT
#else
layout(std430, binding = 2) writeonly buffer O { T o[]; };
#endif

void main() {
    uint i = global_index();
    if (i >= count) return;
    T sum = T(0);
    for (uint s = 0; s < slices; s++) sum += a[a_first + s * count + i];
#ifdef AFTER
    after(o_first + i, sum);
#else
    o[o_first + i] = sum;
#endif
}
