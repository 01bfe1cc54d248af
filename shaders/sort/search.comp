// dst[i] = how many elements of a sorted row come before src[i], or (RIGHT) do not come after it.
//
// Defines: T; RIGHT.
#include "mare.glsl"
#include "bits.glsl"
#include "key.glsl"

layout(std140, binding = 0) uniform Params {
    uint count;
    uint length; // of a sorted row
    uint own;    // elements that are looked for in one row
    uint row_step; // from row to row; 0: there is one
    uint sorted_first, src_first, dst_first;
};
layout(std430, binding = 1) readonly buffer Sorted { T sorted[]; };
layout(std430, binding = 2) readonly buffer Src { T src[]; };
layout(std430, binding = 3) writeonly buffer Dst { int dst[]; };

void main() {
    uint i = global_index();
    if (i >= count) return;
    uint base = sorted_first + i / own * row_step;
    uint key = sort_key(src[src_first + i]), lo = 0u, hi = length;
    while (lo < hi) {
        uint middle = (lo + hi) / 2u;
        uint other = sort_key(sorted[base + middle]);
#ifdef RIGHT
        bool before = other <= key;
#else
        bool before = other < key;
#endif
        lo = before ? middle + 1u : lo;
        hi = before ? hi : middle;
    }
    dst[dst_first + i] = int(lo);
}
