// dst = value everywhere, but src where coordinate = start + c * step with c inside src. Words of
// any dtype. Axes are given outermost first.
#include "mare.glsl"

layout(std140, binding = 0) uniform Params {
    uint count;
    uint dst_first;
    int src_first;
    uint value;
#if RANK > 0
    uvec4 axis[RANK]; // size of dst, start, step, size of src
    ivec4 stride[RANK];
#endif
};
#ifdef EMPTY // src has no elements
layout(std430, binding = 1) writeonly buffer Dst { uint dst[]; };
#else
layout(std430, binding = 1) readonly buffer Src { uint src[]; };
layout(std430, binding = 2) writeonly buffer Dst { uint dst[]; };
#endif

void main() {
    uint i = global_index();
    if (i >= count) return;
#ifdef EMPTY
    dst[dst_first + i] = value;
#else
    uint rest = i;
    int at = src_first;
    bool inside = true;
#if RANK > 0
    for (int d = RANK - 1; d >= 0; d--) {
        uint c = rest;
        if (d > 0) {
            rest = rest / axis[d].x;
            c -= rest * axis[d].x;
        }
        uint p = c - axis[d].y; // wraps before the start, to more than any size
        uint k = axis[d].z == 1u ? p : p / axis[d].z;
        inside = inside && k < axis[d].w && k * axis[d].z == p;
        at += int(k) * stride[d].x;
    }
#endif
    uint word = value;
    if (inside) word = src[at];
    dst[dst_first + i] = word;
#endif
}
