// y = the largest of each window of x; with TAKE: of v, the element at the place where x is
// largest. PADDED: some window reaches past the image.
layout(std430, binding = 1) readonly buffer InX { float X[]; };
#ifdef TAKE
layout(std430, binding = 2) readonly buffer InV { float V[]; };
layout(std430, binding = 3) writeonly buffer Out { float Y[]; };
#else
layout(std430, binding = 2) writeonly buffer Out { float Y[]; };
#endif

#include "max_window.glsl"

void main() {
    uint i = global_index();
    if (i >= count) return;
    uint image;
    int y, x;
    split(i, uint(OW), uint(OH), image, y, x);
    uint base = image * uint(H * W);
    float value;
    int place = largest(base, y, x, value);
#ifdef TAKE
    value = 0.0;
    if (place >= 0) value = V[base + uint(place)];
#endif
    Y[i] = value;
}
