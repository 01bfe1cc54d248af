// gx = sum of gy / size over the windows that hold this element.
layout(std430, binding = 1) readonly buffer InG { float G[]; };
layout(std430, binding = 2) writeonly buffer Out { float Y[]; };

#include "window.glsl"

void main() {
    uint i = global_index();
    if (i >= count) return;
    uint image;
    ivec3 p;
    split(i, D, H, W, image, p);
    uint windows = image * WINDOWS;
    ivec3 from = first_window(p), to = last_window(p);
    float sum = 0.0;
    for (int a = from.x; a <= to.x; a++)
        for (int b = from.y; b <= to.y; b++)
            for (int c = from.z; c <= to.z; c++)
                sum += G[windows + uint((a * OH + b) * OW + c)] / window_size(ivec3(a, b, c));
    Y[i] = sum;
}
