// dst[o, j, c] = src[o, index[j], c]. Words of any dtype, or groups of four when WORD is uvec4.
#include "mare.glsl"

layout(std140, binding = 0) uniform Params {
    uint count;
    uint rows;   // of src
    uint picks;  // indices
    uint inner;
    uint src_first, index_first, dst_first;
};
layout(std430, binding = 1) readonly buffer Src { WORD src[]; };
layout(std430, binding = 2) readonly buffer Index { int index[]; };
layout(std430, binding = 3) writeonly buffer Dst { WORD dst[]; };

void main() {
    uint i = global_index();
    if (i >= count) return;
    uint t = i / inner;
    uint c = i - t * inner;
    uint o = t / picks;
    uint j = t - o * picks;
    uint row = uint(clamp(index[index_first + j], 0, int(rows) - 1));
    dst[dst_first + i] = src[src_first + (o * rows + row) * inner + c];
}
