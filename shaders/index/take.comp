// dst[o, j, c] = src[o, index[j], c]; EACH: of an index for each element. Words of any dtype, or
// groups of four when WORD is uvec4. PART: src has some of the rows that there are; what is picked
// from others is left alone.
//
// The work: an index, and an element read where it says and written. The division of places by sizes
// cost a CPU more than all of it.
#include "mare.glsl"
#include "divide.glsl"

layout(std140, binding = 0) uniform Params {
    uint count;
    uint rows;   // of src
    uint picks;  // indices
    uint inner;
    uint src_first, index_first, dst_first;
    uint row;   // of all, which src begins with
    uint limit; // rows that there are
    uint inner_multiplier, inner_shift, picks_multiplier, picks_shift; // what divides by them
};
layout(std430, binding = 1) readonly buffer Src { WORD src[]; };
layout(std430, binding = 2) readonly buffer Index { int index[]; };
layout(std430, binding = 3) writeonly buffer Dst { WORD dst[]; };

void main() {
    uint i = global_index();
    if (i >= count) return;
    uint t = divided(i, inner_multiplier, inner_shift);
    uint c = i - t * inner;
    uint o = divided(t, picks_multiplier, picks_shift);
    uint j = t - o * picks;
#ifdef EACH
    j = i;
#endif
    uint r = uint(clamp(index[index_first + j], 0, int(limit) - 1)) - row;
#ifdef PART
    if (r >= rows) return;
#endif
    dst[dst_first + i] = src[src_first + (o * rows + r) * inner + c];
}
