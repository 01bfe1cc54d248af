// dst = value everywhere, but src where coordinate = start + c * step with c inside src. Words of any
// dtype, four an invocation. Axes are given outermost first. WHOLE: dst is whole uvec4.
//
// The work: a word written and at most one read. What a CPU is slow at is finding the place: one
// division an axis for four elements, by multiplication, and no branch; that alone made a pad of
// images 8 times as fast on lavapipe.
#include "mare.glsl"
#include "divide.glsl"

layout(std140, binding = 0) uniform Params {
    uint count;
    uint dst_first;
    int src_first;
    uint value;
#if RANK > 0
    uvec4 axis[RANK];   // size of dst, start, step, size of src
    uvec4 stride[RANK]; // of src; what divides by the size of dst
#endif
};
#ifdef WHOLE
#define DST uvec4
#else
#define DST uint
#endif
#ifdef EMPTY // src has no elements
layout(std430, binding = 1) writeonly buffer Dst { DST dst[]; };
#else
layout(std430, binding = 1) readonly buffer Src { uint src[]; };
layout(std430, binding = 2) writeonly buffer Dst { DST dst[]; };
#endif

void main() {
    uint i = global_index() * 4u;
    if (i >= count) return;
    uvec4 words = uvec4(value);
#ifndef EMPTY
    uint c[RANK + 1], rest = i;
    for (int d = RANK - 1; d > 0; d--) {
        uint next = divided(rest, stride[d].y, stride[d].z);
        c[d] = rest - next * axis[d].x;
        rest = next;
    }
    c[0] = rest;
    for (uint k = 0u; k < 4u; k++) {
        bool inside = i + k < count;
        uint at = uint(src_first);
        for (int d = 0; d < RANK; d++) {
            uint p = c[d] - axis[d].y; // wraps before the start, to more than any size
#ifdef STEPS
            uint s = p / axis[d].z;
            inside = inside && s * axis[d].z == p;
#else
            uint s = p;
#endif
            inside = inside && s < axis[d].w;
            at += s * stride[d].x;
        }
        uint word = src[inside ? at : uint(src_first)];
        words[k] = inside ? word : value;
        bool carry = true; // on to the next element
        for (int d = RANK - 1; d >= 0; d--) {
            c[d] += carry ? 1u : 0u;
            carry = carry && d > 0 && c[d] == axis[d].x;
            c[d] = carry ? 0u : c[d];
        }
    }
#endif
#ifdef WHOLE
    dst[(dst_first + i) >> 2] = words;
#else
    for (uint k = 0u; k < 4u && i + k < count; k++) dst[dst_first + i + k] = words[k];
#endif
}
