// For kernels that programs may be attached to (plan/attach.c): T before(uint i) makes the input's
// element i, void after(uint i, T raw) takes the result's. The shader's parameter block ends in
//
//     #ifdef ATTACHED_WORDS
//     uvec4 attached[ATTACHED_WORDS];
//     #endif
//
// and ATTACHED_TEXT, below the block, holds the functions with their storage blocks.
#include "math.glsl"
#include "element.glsl"

#define ATTACHED(i) attached[(i) / 4][(i) % 4]

// n / d for n < 2^31, by a multiplier and a shift.
uint divided(uint n, uint multiplier, uint shift) {
    uint high, low;
    umulExtended(n, multiplier, high, low);
    return (high + n) >> shift;
}
