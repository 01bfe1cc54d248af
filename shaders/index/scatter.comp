// dst[o, row, c] = what the src[o, j, c] whose index is row fold into, always in the same order of j;
// the start of the fold where there is none.
//
// Defines: T; START and FOLD(a, b), the fold; one of
//   SCAN    an invocation an element goes through all indices
//   GROUP   a workgroup a row does, of a list of indices that all o and c share
//   SORTED  an invocation an element looks its run up in sorted indices
//   STARTS  looks where each row's run of a sorted list begins, for RUNS: dst is that list of places
//   RUNS    an invocation an element, or four (T is a vector), goes through its row's run
//
// The work: an element of dst is written, and those of src are read, once; what decides is how the
// ones that meet are found. SCAN reads picks indices an element, GROUP picks a row, SORTED log(picks)
// an element, RUNS two: on lavapipe that is 30 times as fast as SORTED for 50,257 rows of 128.
#include "mare.glsl"
#include "divide.glsl"

layout(std140, binding = 0) uniform Params {
    uint count; // of dst; of groups when each group has its own row
    uint rows;  // of dst
    uint picks; // of src
    uint inner;
    uint columns;                              // groups that share a row
    uint index_outer, index_pick, index_inner; // steps through index and order
    uint src_first, index_first, order_first, dst_first;
    uint inner_multiplier, inner_shift, rows_multiplier, rows_shift; // what divides by them
};
layout(std430, binding = 1) readonly buffer Src { T src[]; };
layout(std430, binding = 2) readonly buffer Index { int index[]; };
#if defined SORTED || defined RUNS
layout(std430, binding = 3) readonly buffer Order { int order[]; };
layout(std430, binding = 4) writeonly buffer Dst { T dst[]; };
#elif defined STARTS
layout(std430, binding = 3) writeonly buffer Dst { int dst[]; };
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
    uint o = divided(t, rows_multiplier, rows_shift);
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

// The first of sorted indices, `step` apart, that is not below row.
uint lower_bound(uint from, uint step, int row) {
    uint low = 0u, high = picks;
    while (low < high) {
        uint middle = (low + high) / 2u;
        bool below = index[from + middle * step] < row;
        low = below ? middle + 1u : low;
        high = below ? high : middle;
    }
    return low;
}

void main() {
    uint i = global_index();
    if (i >= count) return;
#ifdef STARTS
    dst[dst_first + i] = int(lower_bound(index_first, 1u, int(i)));
#else
    uint t = divided(i, inner_multiplier, inner_shift);
    uint c = i - t * inner;
    uint o = divided(t, rows_multiplier, rows_shift);
    int row = int(t - o * rows);
    uint at = src_first + o * picks * inner + c;
    uint from = index_first + o * index_outer + c * index_inner;
    T value = START;
#ifdef RUNS
    uint end = uint(index[index_first + uint(row) + 1u]);
    for (uint k = uint(index[index_first + uint(row)]); k < end; k++) {
        uint j = min(uint(order[order_first + k]), picks - 1u);
        value = FOLD(value, src[at + j * inner]);
    }
#elif defined SORTED
    uint place = order_first + o * index_outer + c * index_inner;
    for (uint k = lower_bound(from, index_pick, row);
         k < picks && index[from + k * index_pick] == row; k++) {
        uint j = min(uint(order[place + k * index_pick]), picks - 1u);
        value = FOLD(value, src[at + j * inner]);
    }
#else
    for (uint j = 0u; j < picks; j++)
        if (index[from + j * index_pick] == row) value = FOLD(value, src[at + j * inner]);
#endif
    dst[dst_first + i] = value;
#endif
}

#endif
