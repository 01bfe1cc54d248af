// Where the largest element of a window stands.
#include "window.glsl"

bool is_nan(float x) { return (floatBitsToUint(x) & 0x7fffffffu) > 0x7f800000u; }

// Place in its image of the first largest element of window (y, x), and its value; a NaN is larger
// than all. -1 and -infinity when the window lies in the padding altogether. X is read from `base`
// on.
int largest(uint base, int y, int x, out float value) {
    int place = -1;
    value = uintBitsToFloat(0xff800000u);
    for (int i = 0; i < KH; i++) {
        int h = y * SH - PH + i * DH;
        for (int j = 0; j < KW; j++) {
            int w = x * SW - PW + j * DW;
            bool inside = true;
            if (PADDED != 0) inside = h >= 0 && h < H && w >= 0 && w < W;
            if (inside) {
                float v = X[base + uint(h * W + w)];
                if (place < 0 || v > value || (is_nan(v) && !is_nan(value))) {
                    place = h * W + w;
                    value = v;
                }
            }
        }
    }
    return place;
}
