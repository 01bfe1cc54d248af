// The gradient of attention's additive mask: an invocation an element, which goes through all
// weights that the element was added to. The mask is stretched along dimensions of 1.
#include "score.glsl"

layout(std430, binding = 1) readonly buffer Data { float data[]; };
layout(std430, binding = 2) writeonly buffer Out { float result[]; };
layout(std430, binding = 3) readonly buffer Mask { float mask[]; };

void main() {
    int i = int(global_index());
    if (i >= mask_size.x * mask_size.y * mask_size.z * mask_size.w) return;
    ivec4 size = ivec4(batches, heads, own_rows, other_rows), from, to;
    int rest = i;
    for (int d = 3; d >= 0; d--) {
        int c = rest % mask_size[d];
        rest /= mask_size[d];
        from[d] = mask_size[d] == 1 ? 0 : c;
        to[d] = mask_size[d] == 1 ? size[d] : c + 1;
    }
    float sum = 0.0;
    for (int b = from.x; b < to.x; b++)
    for (int h = from.y; h < to.y; h++)
    for (int q = from.z; q < to.z; q++) {
        int stat = (b * heads + h) * own_rows + q;
        float lse = data[lse_first + stat], delta = data[delta_first + stat];
        int own = own_first + b * own_step.x + h * own_step.y + q * own_step.z;
        int own2 = own2_first + b * own2_step.x + h * own2_step.y + q * own2_step.z;
        float part = 0.0;
        for (int k = from.w; k < to.w; k++) {
            if (!sees(q, k) || lowest(lse)) continue;
            int other = other_first + b * other_step.x + h / repeat * other_step.y + k * other_step.z;
            int other2 =
                other2_first + b * other2_step.x + h / repeat * other2_step.y + k * other2_step.z;
            float x = 0.0, y = 0.0;
            for (int e = 0; e < E; e++)
                x = fma(data[own + e * own_step.w], data[other + e * other_step.w], x);
            for (int e = 0; e < EV; e++)
                y = fma(data[own2 + e * own2_step.w], data[other2 + e * other2_step.w], y);
            int at = mask_first + b * mask_step.x + h * mask_step.y + q * mask_step.z +
                     k * mask_step.w;
            float p = m_exp(x * scale + mask[at] - lse);
            part += p * (y * keep(b, h, q, k) - delta);
        }
        sum += part;
    }
    result[out_first + i] = sum;
}
