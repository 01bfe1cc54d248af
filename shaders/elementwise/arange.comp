// out[i] = start + (from + i) step.
#include "mare.glsl"
layout(std140, binding = 0) uniform Params {
    uint count, first;
    int stride;
    uint from;
    T start, step;
};
layout(std430, binding = 1) writeonly buffer Out { T result[]; };

void main() {
    uint i = global_index();
    if (i >= count) return;
#ifdef INTS
    result[int(first) + int(i) * stride] = start + int(from + i) * step;
#else
    precise float x = float(from + i) * step;
    result[int(first) + int(i) * stride] = start + x;
#endif
}
