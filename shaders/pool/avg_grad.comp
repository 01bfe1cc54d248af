// gx = sum of gy / size over the windows that hold this element.
layout(std430, binding = 1) readonly buffer InG { float G[]; };
layout(std430, binding = 2) writeonly buffer Out { float Y[]; };

#include "avg_window.glsl"

void main() {
    uint i = global_index();
    if (i >= count) return;
    uint image;
    int h, w;
    split(i, uint(W), uint(H), image, h, w);
    uint windows = image * uint(OH * OW);
    int y1 = last_window(h, SH, PH, OH), x1 = last_window(w, SW, PW, OW);
    int x0 = first_window(w, KW, SW, PW, 1);
    float sum = 0.0;
    for (int y = first_window(h, KH, SH, PH, 1); y <= y1; y++)
        for (int x = x0; x <= x1; x++)
            sum += G[windows + uint(y * OW + x)] / float(window_size(y, x));
    Y[i] = sum;
}
