// y = the largest of each window of x; with AT: its place in the image instead. NaN is larger than
// all, and the first of equals wins. A window that lies in the padding altogether gives -infinity
// and place 0.
layout(std430, binding = 1) readonly buffer InX { float X[]; };
#ifdef AT
layout(std430, binding = 2) writeonly buffer Out { int Y[]; };
#else
layout(std430, binding = 2) writeonly buffer Out { float Y[]; };
#endif

#include "window.glsl"

bool is_nan(float x) { return (floatBitsToUint(x) & 0x7fffffffu) > 0x7f800000u; }

void main() {
    uint i = global_index();
    if (i >= count) return;
    uint image;
    ivec3 o;
    split_windows(i, image, o);
    uint base = image * IMAGE;
    ivec3 from = window_begin(o), n = window_span(o);
    int place = -1;
    float value = uintBitsToFloat(0xff800000u);
    for (int a = 0; a < n.x; a++) {
        int d = from.x + a * DD;
        for (int b = 0; b < n.y; b++) {
            int h = from.y + b * DH;
            for (int c = 0; c < n.z; c++) {
                int w = from.z + c * DW;
                if (inside(d, h, w)) {
                    int p = (d * H + h) * W + w;
                    float v = X[base + uint(p)];
                    if (place < 0 || v > value || (is_nan(v) && !is_nan(value))) {
                        place = p;
                        value = v;
                    }
                }
            }
        }
    }
#ifdef AT
    Y[i] = max(place, 0);
#else
    Y[i] = value;
#endif
}
