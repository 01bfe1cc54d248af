// y = the mean of each window of x.
layout(std430, binding = 1) readonly buffer InX { float X[]; };
layout(std430, binding = 2) writeonly buffer Out { float Y[]; };

#include "window.glsl"

void main() {
    uint i = global_index();
    if (i >= count) return;
    uint image;
    ivec3 o;
    split_windows(i, image, o);
    uint base = image * IMAGE;
    ivec3 from = window_begin(o), n = window_span(o);
    float sum = 0.0;
    for (int a = 0; a < n.x; a++) {
        int d = from.x + a;
        for (int b = 0; b < n.y; b++) {
            int h = from.y + b;
            for (int c = 0; c < n.z; c++) {
                int w = from.z + c;
                if (inside(d, h, w)) sum += X[base + uint((d * H + h) * W + w)];
            }
        }
    }
    Y[i] = sum / window_size(o);
}
