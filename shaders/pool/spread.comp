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
    split_image(i, image, p);
    int place = (p.x * H + p.y) * W + p.z;
    uint windows = image * WINDOWS;
    float sum = 0.0;
    EACH_WINDOW(p, {
        float g = G[windows + o];
        sum += held && At[windows + o] == place ? g : 0.0;
    })
    Y[i] = sum;
}
