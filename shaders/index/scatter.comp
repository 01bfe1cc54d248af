// dst[o, row, c] = what the src[o, j, c] whose index is row fold into, always in the same order of j;
// the start of the fold where there is none.
//
// Defines: T; START and FOLD(a, b), the fold; one of
//   SCAN    an invocation an element goes through all indices
//   GROUP   a workgroup a row does, of a list of indices that all o and c share
//   SORTED  an invocation an element looks its run up in sorted indices
#include "mare.glsl"

layout(std140, binding = 0) uniform Params {
    uint count; // of dst; of groups when each group has its own row
    uint rows;  // of dst
    uint picks; // of src
    uint inner;
    uint columns;                              // groups that share a row
    uint index_outer, index_pick, index_inner; // steps through index and order
    uint src_first, index_first, order_first, dst_first;
};
layout(std430, binding = 1) readonly buffer Src { T src[]; };
layout(std430, binding = 2) readonly buffer Index { int index[]; };
#ifdef SORTED
layout(std430, binding = 3) readonly buffer Order { int order[]; };
layout(std430, binding = 4) writeonly buffer Dst { T dst[]; };
#else
layout(std430, binding = 3) writeonly buffer Dst { T dst[]; };
#endif

#ifdef GROUP

// The group reads the indices 32 to an invocation, and notes those of its row as bits; then every
// invocation folds its column.
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
    T value = START;
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
                    value = FOLD(value, src[at + (base + uint(findLSB(bits)) * size + k) * inner]);
        barrier();
    }
    if (c < inner) dst[dst_first + t * inner + c] = value;
}

#else

void main() {
    uint i = global_index();
    if (i >= count) return;
    uint t = i / inner;
    uint c = i - t * inner;
    uint o = t / rows;
    int row = int(t - o * rows);
    uint at = src_first + o * picks * inner + c;
    uint from = index_first + o * index_outer + c * index_inner;
    T value = START;
#ifdef SORTED
    uint low = 0u, high = picks; // the first index that is not below row
    while (low < high) {
        uint middle = (low + high) / 2u;
        bool below = index[from + middle * index_pick] < row;
        low = below ? middle + 1u : low;
        high = below ? high : middle;
    }
    uint place = order_first + o * index_outer + c * index_inner;
    for (uint k = low; k < picks && index[from + k * index_pick] == row; k++) {
        uint j = min(uint(order[place + k * index_pick]), picks - 1u);
        value = FOLD(value, src[at + j * inner]);
    }
#else
    for (uint j = 0u; j < picks; j++)
        if (index[from + j * index_pick] == row) value = FOLD(value, src[at + j * inner]);
#endif
    dst[dst_first + i] = value;
}

#endif
