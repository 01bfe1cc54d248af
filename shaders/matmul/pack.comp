// A factor of a product as vectors.comp reads it: panels of W columns, in which the steps of k lie one
// behind the other. Columns past the end are copies of the last. A workgroup is one subgroup, which
// packs STEPS steps of PANELS panels: several where neighbours lie along n, so that it reads whole lines
// of the cache; else one, whose columns' lines it goes along.
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
    int panels = (N + W - 1) / W, strips = (panels + PANELS - 1) / PANELS;
    int blocks = (K + STEPS - 1) / STEPS, g = int(group_index());
    if (g >= blocks * strips * batches) return;
    int rest = g / blocks, k0 = (g - rest * blocks) * STEPS, matrix = rest / strips;
    int panel0 = (rest - matrix * strips) * PANELS, panel_end = min(panel0 + PANELS, panels);
    int from = b_first, lane = int(LANE), left = matrix;
    for (int i = 0; i < batch_digits; i++) {
        from += left % batch[i].x * batch[i].y;
        left /= batch[i].x;
    }
    int k = k0, end = min(k0 + STEPS, K);
    do {
        int row = from + k_address(k), panel = panel0;
        do {
            int col0 = panel * W, to = ((matrix * panels + panel) * K + k) * W + lane;
#if B_ALONG_N
            if (col0 + W <= N) {
                Ints whole = Ints(address[0] + uint64_t(row + col0) * 4);
                EACH(c, W / LANES) o[to + c * LANES] = load_ints(whole, c * LANES);
            } else
#endif
            {
                EACH(c, W / LANES)
                    o[to + c * LANES] = b[row + min(col0 + c * LANES + lane, N - 1) * b_n];
            }
            panel++;
        } while (panel < panel_end);
        k++;
    } while (k < end);
}
