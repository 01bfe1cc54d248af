// out = a random order of 0..count-1, with no sorting: a Feistel network, keyed by Philox, permutes
// the numbers of 2 HALF bits; those that land outside are sent through again until they land inside.
#include "mare.glsl"
#include "philox.glsl"

layout(std140, binding = 0) uniform Params {
    uint count, first;
    int stride;
    uint half_bits; // at least 5
    uint key_low, key_high, counter_low, counter_high;
    uint from, part, unused0, unused1;
};
layout(std430, binding = 1) writeonly buffer Out { int result[]; };

uint send(uint x) {
    uint mask = (1u << half_bits) - 1u, left = x >> half_bits, right = x & mask;
    for (uint round = 0u; round < 8u; round++) {
        uvec4 c = uvec4(counter_low, counter_high, right, round + 1u);
        uint next = left ^ (philox(c, uvec2(key_low, key_high)).x & mask);
        left = right;
        right = next;
    }
    return (left << half_bits) | right;
}

void main() {
    uint i = global_index();
    if (i >= part) return;
    uint x = from + i;
    do
        x = send(x);
    while (x >= count);
    result[int(first) + int(i) * stride] = int(x);
}
