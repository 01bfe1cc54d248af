// The weights' gradient: for each entry of the table, the sum over channels (and images that share
// it) of the result's v times the element looked at.
layout(std430, binding = 1) readonly buffer InX { float X[]; };
layout(std430, binding = 2) readonly buffer InV { float V[]; };
layout(std430, binding = 3) readonly buffer InIndex { int Index[]; };
layout(std430, binding = 4) writeonly buffer Out { float Y[]; };

#include "sample.glsl"

void main() {
    uint i = global_index();
    if (i >= count) return;
    uint row = i / results;
    uint k = i - row * results, first = row / taps * channels;
    uint planes = table == 0u ? images * channels : channels;
    uint m = uint(Index[i]);
    float sum = 0.0;
    if (m < size) {
        for (uint p = first; p < first + planes; p++)
            for (uint c = 0u; c < inner; c++)
                sum += X[(p * size + m) * inner + c] * V[(p * results + k) * inner + c];
    }
    Y[i] = sum;
}
