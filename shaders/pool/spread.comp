// gx = sum of gy over the windows that point at this element.
layout(std430, binding = 1) readonly buffer InAt { int At[]; };
layout(std430, binding = 2) readonly buffer InG { float G[]; };
layout(std430, binding = 3) writeonly buffer Out { float Y[]; };

#include "window.glsl"

void main() {
    uint i = global_index();
    if (i >= count) return;
    uint image;
    ivec3 p;
    split(i, D, H, W, image, p);
    int place = (p.x * H + p.y) * W + p.z;
    uint windows = image * WINDOWS;
    ivec3 from = first_window(p), to = last_window(p);
    float sum = 0.0;
    for (int a = from.x; a <= to.x; a++)
        for (int b = from.y; b <= to.y; b++)
            for (int c = from.z; c <= to.z; c++) {
                uint o = windows + uint((a * OH + b) * OW + c);
                if (At[o] == place) sum += G[o];
            }
    Y[i] = sum;
}
