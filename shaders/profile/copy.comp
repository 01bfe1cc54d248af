// Copies 16 bytes an invocation: what memory can do at best.
#include "mare.glsl"
layout(std140, binding = 0) uniform Params { uint count; };
layout(std430, binding = 1) readonly buffer In { uvec4 source[]; };
layout(std430, binding = 2) writeonly buffer Out { uvec4 target[]; };

void main() {
    uint i = global_index();
    if (i < count) target[i] = source[i];
}
