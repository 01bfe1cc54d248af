// What an average divides by: the window's elements, in the image or with its padding.
#include "window.glsl"

int window_size(int y, int x) {
    int h0 = y * SH - PH, w0 = x * SW - PW;
    int h1 = min(h0 + KH, H + PH), w1 = min(w0 + KW, W + PW);
    if (COUNT_PAD == 0) {
        h1 = min(h1, H);
        w1 = min(w1, W);
        h0 = max(h0, 0);
        w0 = max(w0, 0);
    }
    return (h1 - h0) * (w1 - w0);
}
