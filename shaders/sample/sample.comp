layout(std430, binding = 1) readonly buffer InX { float X[]; };
layout(std430, binding = 2) readonly buffer InIndex { int Index[]; };
layout(std430, binding = 3) readonly buffer InW { float W[]; };
layout(std430, binding = 4) writeonly buffer Out { float Y[]; };

#include "sample.glsl"

void main() {
    uint i = global_index();
    if (i >= count) return;
    uint image, channel, k, c;
    split(i, results, image, channel, k, c);
    uint at = image * table + k;
    float sum[PER];
    for (uint q = 0u; q < PER; q++)
        sum[q] = 0.0;
    for (uint t = 0u; t < taps; t++, at += results) {
        uint m = uint(Index[at]);
        if (m < size) {
            float w = W[at];
            for (uint q = 0u; q < PER; q++)
                sum[q] += w * X[(plane(image, channel, q) * size + m) * inner + c];
        }
    }
    for (uint q = 0u; q < PER; q++)
        if (channel + q < channels) Y[(plane(image, channel, q) * results + k) * inner + c] = sum[q];
}
