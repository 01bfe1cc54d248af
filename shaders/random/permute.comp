// out = a random order of 0..count-1, with no sorting: a Feistel network permutes the numbers of 2 HALF
// bits; those that land outside are sent through again until they land inside. The keys of its rounds
// come from Philox; between them a half is mixed by the finaliser of MurmurHash3 (Appleby).
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

uint mix_bits(uint x) {
    x = (x ^ (x >> 16)) * 0x85EBCA6Bu;
    x = (x ^ (x >> 13)) * 0xC2B2AE35u;
    return x ^ (x >> 16);
}

// Two rounds, each of which takes the next key.
uvec2 rounds(uvec2 halves, uvec2 key, uint mask) {
    uint next = halves.x ^ (mix_bits(halves.y ^ key.x) & mask);
    return uvec2(next, halves.y ^ (mix_bits(next ^ key.y) & mask));
}

void main() {
    uint i = global_index();
    if (i >= part) return;
    uint mask = (1u << half_bits) - 1u, x = from + i;
    uvec4 early = philox(uvec4(counter_low, counter_high, 0u, 1u), uvec2(key_low, key_high));
    uvec4 late = philox(uvec4(counter_low, counter_high, 0u, 2u), uvec2(key_low, key_high));
    do {
        uvec2 halves = uvec2(x >> half_bits, x & mask);
        halves = rounds(halves, early.xy, mask);
        halves = rounds(halves, early.zw, mask);
        halves = rounds(halves, late.xy, mask);
        halves = rounds(halves, late.zw, mask);
        x = (halves.x << half_bits) | halves.y;
    } while (x >= count);
    result[int(first) + int(i) * stride] = int(x);
}
