// y = the mean of each window of x.
layout(std430, binding = 1) readonly buffer InX { float X[]; };
layout(std430, binding = 2) writeonly buffer Out { float Y[]; };

#include "avg_window.glsl"

void main() {
    uint i = global_index();
    if (i >= count) return;
    uint image;
    int y, x;
    split(i, uint(OW), uint(OH), image, y, x);
    uint base = image * uint(H * W);
    float sum = 0.0;
    for (int j = 0; j < KH; j++) {
        int h = y * SH - PH + j;
        for (int k = 0; k < KW; k++) {
            int w = x * SW - PW + k;
            bool inside = true;
            if (PADDED != 0) inside = h >= 0 && h < H && w >= 0 && w < W;
            if (inside) sum += X[base + uint(h * W + w)];
        }
    }
    Y[i] = sum / float(window_size(y, x));
}
