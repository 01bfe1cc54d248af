// gx = sum of gy over the windows in which this element of x is the first largest.
layout(std430, binding = 1) readonly buffer InX { float X[]; };
layout(std430, binding = 2) readonly buffer InG { float G[]; };
layout(std430, binding = 3) writeonly buffer Out { float Y[]; };

#include "max_window.glsl"

void main() {
    uint i = global_index();
    if (i >= count) return;
    uint image;
    int h, w;
    split(i, uint(W), uint(H), image, h, w);
    uint base = image * uint(H * W);
    uint windows = image * uint(OH * OW);
    int y1 = last_window(h, SH, PH, OH), x1 = last_window(w, SW, PW, OW);
    int x0 = first_window(w, KW, SW, PW, DW);
    float sum = 0.0;
    for (int y = first_window(h, KH, SH, PH, DH); y <= y1; y++) {
        for (int x = x0; x <= x1; x++) {
            float value;
            // A dilated window may step over this element: then its largest is another one.
            if (largest(base, y, x, value) == h * W + w) sum += G[windows + uint(y * OW + x)];
        }
    }
    Y[i] = sum;
}
