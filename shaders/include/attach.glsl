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
#include "divide.glsl"

#define ATTACHED(i) attached[(i) / 4][(i) % 4]
