// The transpose: an element of the axis adds up the results that looked at it, in the order of
// their taps and places. Lists: where each element's entries begin, then the entries.
layout(std430, binding = 1) readonly buffer InV { float V[]; };
layout(std430, binding = 2) readonly buffer InW { float W[]; };
layout(std430, binding = 3) readonly buffer InLists { int Lists[]; };
layout(std430, binding = 4) writeonly buffer Out { float Y[]; };

#include "sample.glsl"

void main() {
    uint i = global_index();
    if (i >= count) return;
    uint image, channel, m, c;
    split(i, size, image, channel, m, c);
    uint first = image * lists, end = uint(Lists[first + m + 1u]);
    // Compensated: a border may be looked at from everywhere.
    float sum[PER], low[PER];
    for (uint q = 0u; q < PER; q++)
        sum[q] = low[q] = 0.0;
    for (uint j = uint(Lists[first + m]); j < end; j++) {
        uint entry = uint(Lists[first + size + 1u + j]), k = entry % results;
        float w = W[image * table + entry];
        for (uint q = 0u; q < PER; q++) {
            uint p = plane(image, channel, q);
            precise float x = w * V[(p * results + k) * inner + c] - low[q];
            precise float t = sum[q] + x;
            precise float lost = (t - sum[q]) - x;
            sum[q] = t;
            low[q] = lost;
        }
    }
    for (uint q = 0u; q < PER; q++)
        if (channel + q < channels) Y[(plane(image, channel, q) * size + m) * inner + c] = sum[q];
}
