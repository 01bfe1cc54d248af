// From a row of keys and their stable order: where the entries of each key 0..size begin, then the
// order itself. LAST: of each key 0..size-1, the last entry instead, and `keys` when it has none.
#include "mare.glsl"

layout(std140, binding = 0) uniform Params {
    uint count;
    uint keys; // of a row
    uint size;
};
layout(std430, binding = 1) readonly buffer InKeys { int Key[]; };
layout(std430, binding = 2) readonly buffer InOrder { int Order[]; };
layout(std430, binding = 3) writeonly buffer Out { int Y[]; };

// How many of a row's keys are less.
uint below(uint first, int key) {
    uint lo = 0u, hi = keys;
    while (lo < hi) {
        uint mid = (lo + hi) / 2u;
        bool less = Key[first + uint(Order[first + mid])] < key;
        lo = less ? mid + 1u : lo;
        hi = less ? hi : mid;
    }
    return lo;
}

void main() {
    uint i = global_index();
    if (i >= count) return;
#ifdef LAST
    uint row = i / size;
    int m = int(i - row * size);
    uint first = row * keys, end = below(first, m + 1);
    int entry = end > 0u ? Order[first + end - 1u] : 0;
    Y[i] = end > 0u && Key[first + uint(entry)] == m ? entry : int(keys);
#else
    uint length = size + 1u + keys, row = i / length;
    uint m = i - row * length, first = row * keys;
    if (m > size)
        Y[i] = Order[first + m - size - 1u];
    else
        Y[i] = int(below(first, int(m)));
#endif
}
