// gx = sum of gy / size over the windows that hold this element.
layout(std430, binding = 1) readonly buffer InG { float G[]; };
layout(std430, binding = 2) writeonly buffer Out { float Y[]; };

#include "window.glsl"

void main() {
    uint i = global_index();
    if (i >= count) return;
    uint image;
    ivec3 p;
    split_image(i, image, p);
    uint windows = image * WINDOWS;
    float sum = 0.0;
#if PADDED || ADAPTIVE
    EACH_WINDOW(p, {
        float g = G[windows + o] / window_size(at);
        sum += held ? g : 0.0;
    })
    Y[i] = sum;
#else
    EACH_WINDOW(p, {
        float g = G[windows + o];
        sum += held ? g : 0.0;
    })
    Y[i] = sum / window_size(ivec3(0));
#endif
}
