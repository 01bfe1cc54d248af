// dst[o, row, c] = what the src[o, j, c] whose index is row fold into, where their order makes no
// difference: sums of integers, bounds, and places that are met once. Floats are compared as
// integers of the same order.
//
// Defines: T; PASS 0 fills, 1 folds, 2 makes floats again; START and ATOMIC (atomicAdd, ..., or =);
// FLOATS; NAN_KEY, what NaN is, so that it wins.
#include "mare.glsl"

layout(std140, binding = 0) uniform Params {
    uint count; // of dst; of src in pass 1
    uint rows;  // of dst
    uint picks; // of src
    uint inner;
    uint index_outer, index_pick, index_inner; // steps through index
    uint src_first, index_first, dst_first;
};
#if PASS == 1
layout(std430, binding = 1) readonly buffer Src { T src[]; };
layout(std430, binding = 2) readonly buffer Index { int index[]; };
layout(std430, binding = 3) buffer Dst { int dst[]; };
#else
layout(std430, binding = 1) buffer Dst { int dst[]; };
#endif

int flip(int bits) { return bits < 0 ? bits ^ 0x7fffffff : bits; }

void main() {
    uint i = global_index();
    if (i >= count) return;
#if PASS == 0
    dst[dst_first + i] = START;
#elif PASS == 1
    uint t = i / inner;
    uint c = i - t * inner;
    uint o = t / picks;
    uint j = t - o * picks;
    uint at = index_first + o * index_outer + j * index_pick + c * index_inner;
    uint row = uint(clamp(index[at], 0, int(rows) - 1));
#ifdef FLOATS
    int bits = floatBitsToInt(src[src_first + i]);
    int value = (bits & 0x7fffffff) > 0x7f800000 ? NAN_KEY : flip(bits);
#else
    int value = src[src_first + i];
#endif
    ATOMIC(dst[dst_first + (o * rows + row) * inner + c], value);
#else
    dst[dst_first + i] = flip(dst[dst_first + i]);
#endif
}
