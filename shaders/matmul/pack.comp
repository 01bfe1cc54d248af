// The right factor of a product as vectors.comp reads it: panels of W columns, in which the steps of k
// lie one behind the other. Columns past the end are copies of the last. A workgroup is one subgroup,
// which packs STEPS steps of a panel.
//
// K_DIGITS: of k, that have a stride each. B_ALONG_N: b's neighbours lie along n.
#include "lanes.glsl"
#include "mare.glsl"

layout(std140, binding = 0) uniform Params {
    int N, K, b_first, b_n;
    ivec4 k_size, b_k; // the inner digit first
    int batches, batch_digits, unused0, unused1;
    ivec4 batch[6]; // size and stride; the innermost digit first
};
layout(std430, binding = 1) readonly buffer B { int b[]; };
layout(std430, binding = 2) writeonly buffer O { int o[]; };

#define EACH(i, n) [[unroll]] for (int i = 0; i < n; i++)

int k_address(int k) {
#if K_DIGITS > 1
    int address = 0;
    EACH(i, K_DIGITS - 1) {
        int rest = k / k_size[i];
        address += (k - rest * k_size[i]) * b_k[i];
        k = rest;
    }
    return address + k * b_k[K_DIGITS - 1];
#else
    return k * b_k.x;
#endif
}

void main() {
    uint blocks = uint(K + STEPS - 1) / STEPS, panels = uint(N + W - 1) / W;
    uint g = group_index();
    if (g >= blocks * panels * uint(batches)) return;
    uint column_tile = g / blocks;
    int k0 = int(g - column_tile * blocks) * STEPS;
    int rest = int(column_tile / panels), col0 = int(column_tile % panels) * W;
    int from = b_first, lane = int(LANE);
    for (int i = 0; i < batch_digits; i++) {
        from += rest % batch[i].x * batch[i].y;
        rest /= batch[i].x;
    }
    int to = (int(column_tile) * K + k0) * W;
    int steps = min(STEPS, K - k0);
#if B_ALONG_N
    if (col0 + W <= N) {
        int i = 0;
        do {
            Ints row = Ints(address[0] + uint64_t(from + k_address(k0 + i) + col0) * 4);
            EACH(c, W / LANES) o[to + i * W + c * LANES + lane] = load_ints(row, c * LANES);
            i++;
        } while (i < steps);
        return;
    }
#endif
    int column[W / LANES];
    EACH(c, W / LANES) column[c] = from + min(col0 + c * LANES + lane, N - 1) * b_n;
    for (int i = 0; i < steps; i++) {
        int row = k_address(k0 + i);
        EACH(c, W / LANES) o[to + i * W + c * LANES + lane] = b[row + column[c]];
    }
}
