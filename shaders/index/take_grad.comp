// dst[o, row, c] = sum of src[o, j, c] over the j with index[j] == row, always in the same order.
#include "mare.glsl"

layout(std140, binding = 0) uniform Params {
    uint count; // of dst; of groups when each group has its own row
    uint rows;  // of dst
    uint picks; // indices
    uint inner;
    uint columns; // groups that share a row
    uint src_first, index_first, dst_first;
};
layout(std430, binding = 1) readonly buffer Src { float src[]; };
layout(std430, binding = 2) readonly buffer Index { int index[]; };
layout(std430, binding = 3) writeonly buffer Dst { float dst[]; };

#ifdef SCAN

// An invocation an element, for few indices or short rows.
void main() {
    uint i = global_index();
    if (i >= count) return;
    uint t = i / inner;
    uint c = i - t * inner;
    uint o = t / rows;
    int row = int(t - o * rows);
    uint at = src_first + o * picks * inner + c;
    float sum = 0.0;
    for (uint j = 0u; j < picks; j++)
        if (index[index_first + j] == row) sum += src[at + j * inner];
    dst[dst_first + i] = sum;
}

#else

// A group a row, or a part of a long one. The group reads the indices 32 to an invocation, and
// notes those of its row as bits; then every invocation adds up its column.
shared uint hits[gl_WorkGroupSize.x];
shared uint found;

void main() {
    uint group = group_index();
    if (group >= count) return;
    uint size = gl_WorkGroupSize.x, lane = gl_LocalInvocationID.x;
    uint t = group / columns;
    uint c = (group - t * columns) * size + lane;
    uint o = t / rows;
    int row = int(t - o * rows);
    uint at = src_first + o * picks * inner + c;
    float sum = 0.0;
    for (uint base = 0u; base < picks; base += 32u * size) {
        if (lane == 0u) found = 0u;
        barrier();
        uint bits = 0u, j = base + lane;
        for (uint b = 0u; b < 32u && j < picks; b++, j += size)
            if (index[index_first + j] == row) bits |= 1u << b;
        hits[lane] = bits;
        if (bits != 0u) atomicOr(found, 1u);
        barrier();
        if (found != 0u && c < inner)
            for (uint k = 0u; k < size; k++)
                for (bits = hits[k]; bits != 0u; bits &= bits - 1u)
                    sum += src[at + (base + uint(findLSB(bits)) * size + k) * inner];
        barrier();
    }
    if (c < inner) dst[dst_first + t * inner + c] = sum;
}

#endif
