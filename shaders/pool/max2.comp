// Windows of 2 x 2 with stride 2 and no padding, the usual case: an invocation does PER windows of
// a row, read as vectors, with one division. GRAD: writes gx over the windows' elements instead.
#include "mare.glsl"

layout(std140, binding = 0) uniform Params {
    uint count;   // of groups of PER windows
    uint across;  // groups in a row of windows
    uint rows;    // of windows in an image
    uint height;  // of an image
};

#if PER == 2
#define PAIRS vec4
#define WINDOWS vec2
#else
#define PAIRS vec2
#define WINDOWS float
#endif
layout(std430, binding = 1) readonly buffer InX { PAIRS X[]; };
#ifdef GRAD
layout(std430, binding = 2) readonly buffer InG { WINDOWS G[]; };
layout(std430, binding = 3) writeonly buffer Out { PAIRS Y[]; };
#else
layout(std430, binding = 2) writeonly buffer Out { WINDOWS Y[]; };
#endif

// NaN is larger than all, and the first of equals wins.
bool larger(float a, float b) {
    return a > b || ((floatBitsToUint(a) & 0x7fffffffu) > 0x7f800000u &&
                     (floatBitsToUint(b) & 0x7fffffffu) <= 0x7f800000u);
}

// One window, in row-major order: the largest, and which it is.
float largest(vec2 upper, vec2 lower, out uint which) {
    float best = upper.x;
    which = 0u;
    if (larger(upper.y, best)) {
        best = upper.y;
        which = 1u;
    }
    if (larger(lower.x, best)) {
        best = lower.x;
        which = 2u;
    }
    if (larger(lower.y, best)) {
        best = lower.y;
        which = 3u;
    }
    return best;
}

vec4 spread(uint which, float g) {
    return mix(vec4(0.0), vec4(g), equal(uvec4(which), uvec4(0, 1, 2, 3)));
}

void main() {
    uint i = global_index();
    if (i >= count) return;
    uint row = i / across; // of windows, over all images
    uint top = 2u * row;
    if (height != 2u * rows) {
        uint image = row / rows;
        top += image * (height - 2u * rows);
    }
    uint upper = top * across + (i - row * across), lower = upper + across;
    PAIRS a = X[upper], b = X[lower];
    uint k;
#if PER == 2
    float first = largest(a.xy, b.xy, k);
#ifdef GRAD
    vec2 g = G[i];
    vec4 p = spread(k, g.x);
    largest(a.zw, b.zw, k);
    vec4 q = spread(k, g.y);
    Y[upper] = vec4(p.xy, q.xy);
    Y[lower] = vec4(p.zw, q.zw);
#else
    Y[i] = vec2(first, largest(a.zw, b.zw, k));
#endif
#else
    float first = largest(a, b, k);
#ifdef GRAD
    vec4 p = spread(k, G[i]);
    Y[upper] = p.xy;
    Y[lower] = p.zw;
#else
    Y[i] = first;
#endif
#endif
}
