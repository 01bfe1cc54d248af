// Elementwise work: for every place of a loop, values of the inputs there go through a text of
// statements, and some come out. Four consecutive places an invocation, so that dtypes of less than a
// word are written as whole words.
//
// plan/map.c writes the defines: BUFFERS, the storage blocks; VECTORS, x0, x1, ... of the inputs and
// y0, y1, ... of the results; LOADS; SIGNATURE and BODY, the function that makes the results at one
// place; APPLY(k), its call for the k-th of the four; STORES; WORDS, RANK, INNER4, WHOLE. Of PARTS
// loops in one launch, each has its own workgroups, blocks and parameter words.
//
// The work: each element of an input is read and of a result written once, so memory is the limit on
// every device as long as a statement costs less than that: an add runs at the rate of a copy, also
// on lavapipe, where a load costs about the same for 4 bytes as for 16. Beyond it lie the functions
// of math.glsl on a CPU: exp comes to 0.7 of a copy, gelu to 0.45; and operands that are strided along
// the innermost axis, four loads instead of one, for which copies have movement/transpose.comp.
#include "mare.glsl"
#include "math.glsl"

#if PARTS > 1
#define HEAD ((PARTS + 3) / 4) // where each part's workgroups end
layout(std140, binding = 0) uniform Params { uvec4 word[HEAD + PARTS * WORDS]; };
uint base; // of the part's words
#define W(i) word[base + uint((i) / 4)][(i) % 4]
#else
layout(std140, binding = 0) uniform Params { uvec4 word[WORDS]; };
#define W(i) word[(i) / 4][(i) % 4]
#endif
#define COUNT W(0)
#define SIZE(d) W(1 + 3 * (d))

BUFFERS

#include "element.glsl"

#if RANK > 0
#include "divide.glsl"
// n / SIZE(d), by the words that stand behind the size.
uint quotient(uint n, int d) { return divided(n, W(2 + 3 * d), W(3 + 3 * d)); }

#ifdef INNER4 // the four elements stand in one innermost row
uint coord[RANK]; // of the first

void find_coords(uint i) {
    for (int d = RANK - 1; d > 0; d--) {
        uint next = quotient(i, d);
        coord[d] = i - next * SIZE(d);
        i = next;
    }
    coord[0] = i;
}

// Place of the first element, with strides from word s on.
uint place(uint first, int s) {
    for (int d = 0; d < RANK; d++)
        first += coord[d] * W(s + d);
    return first;
}

uvec4 places(uint first, int s) { return place(first, s) + uvec4(0, 1, 2, 3) * W(s + RANK - 1); }
#else
uvec4 coord[RANK];

void find_coords(uint i) {
    // Past the end stands the last element again, so that no load leaves its buffer.
    uvec4 rest = min(uvec4(i) + uvec4(0, 1, 2, 3), uvec4(COUNT - 1u));
    for (int d = RANK - 1; d > 0; d--) {
        uvec4 next = uvec4(quotient(rest.x, d), quotient(rest.y, d), quotient(rest.z, d),
                           quotient(rest.w, d));
        coord[d] = rest - next * SIZE(d);
        rest = next;
    }
    coord[0] = rest;
}

uvec4 places(uint first, int s) {
    uvec4 p = uvec4(first);
    for (int d = 0; d < RANK; d++)
        p += coord[d] * W(s + d);
    return p;
}
#endif
#endif

void apply(SIGNATURE) { BODY }

void main() {
#if PARTS > 1
    uint group = group_index(), part = 0u, start = 0u;
    for (; part < PARTS - 1u && group >= word[part / 4u][part % 4u]; part++)
        start = word[part / 4u][part % 4u];
    base = uint(HEAD) + part * uint(WORDS);
    uint i = ((group - start) * gl_WorkGroupSize.x + gl_LocalInvocationID.x) * 4u;
#else
    uint i = global_index() * 4u;
#endif
    if (i >= COUNT) return;
#if RANK > 0
    find_coords(i);
#endif
    VECTORS
    LOADS
    APPLY(0);
    APPLY(1);
    APPLY(2);
    APPLY(3);
    STORES
}
