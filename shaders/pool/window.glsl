// The geometry of pooling windows. All that is fixed for a layer is a specialisation constant, so
// that small windows unroll.
#include "mare.glsl"

layout(constant_id = 1) const int KH = 1;
layout(constant_id = 2) const int KW = 1;
layout(constant_id = 3) const int SH = 1; // stride
layout(constant_id = 4) const int SW = 1;
layout(constant_id = 5) const int PH = 0; // padding
layout(constant_id = 6) const int PW = 0;
layout(constant_id = 7) const int DH = 1; // dilation
layout(constant_id = 8) const int DW = 1;
layout(constant_id = 9) const int COUNT_PAD = 0; // averages count the padding

layout(std140, binding = 0) uniform Params {
    uint count; // of the elements that are written
    int H, W;   // of an image
    int OH, OW; // windows
};

// Splits i into image, row, column.
void split(uint i, uint width, uint height, out uint image, out int row, out int column) {
    uint t = i / width;
    column = int(i - t * width);
    image = t / height;
    row = int(t - image * height);
}

// The windows first.. last (inclusive) along one axis that may hold position p.
int first_window(int p, int K, int S, int P, int D) {
    int x = p + P - (K - 1) * D;
    return x <= 0 ? 0 : (x + S - 1) / S;
}

int last_window(int p, int S, int P, int windows) { return min((p + P) / S, windows - 1); }
