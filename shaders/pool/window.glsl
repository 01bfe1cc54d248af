// The geometry of pooling windows over up to three axes: depth, height, width, in this order; an
// axis that a tensor lacks has size 1. All that is fixed for a layer is a specialisation constant,
// so that small windows unroll.
//
// The work of pooling: an element of the image is read or written once for memory, and once a window
// from caches. A CPU was held up by divisions, by the sizes of axes, and by loops whose turns differ
// from invocation to invocation: without them gradients are 1.5 to 3 times as fast on lavapipe.
//
// ADAPTIVE: as many windows as are asked for share the image.
#include "mare.glsl"
#include "divide.glsl"

layout(constant_id = 1) const int KD = 1;
layout(constant_id = 2) const int KH = 1;
layout(constant_id = 3) const int KW = 1;
layout(constant_id = 4) const int SD = 1; // stride
layout(constant_id = 5) const int SH = 1;
layout(constant_id = 6) const int SW = 1;
layout(constant_id = 7) const int PD = 0; // padding
layout(constant_id = 8) const int PH = 0;
layout(constant_id = 9) const int PW = 0;
layout(constant_id = 10) const int DD = 1; // dilation
layout(constant_id = 11) const int DH = 1;
layout(constant_id = 12) const int DW = 1;
layout(constant_id = 13) const int COUNT_PAD = 0; // averages count the padding
layout(constant_id = 14) const int DIVISOR = 0;   // what averages divide by; 0: the window's size

layout(std140, binding = 0) uniform Params {
    uint count;     // of the elements that are written
    int D, H, W;    // of an image
    int OD, OH, OW; // windows
    uint unused;
    uvec4 by[3]; // what divides by the size of an axis: of the image, of the windows
};

#define IMAGE uint(D * H * W)
#define WINDOWS uint(OD * OH * OW)

// Splits i into image and place, by what divides by the sizes.
void split(uint i, uvec2 depth, uvec2 height, uvec2 width, ivec3 size, out uint image, out ivec3 at) {
    uint t = divided(i, width.x, width.y), r = divided(t, height.x, height.y);
    at.z = int(i) - int(t) * size.z;
    at.y = int(t) - int(r) * size.y;
    image = r;
    at.x = 0;
#if DEEP
    image = divided(r, depth.x, depth.y);
    at.x = int(r) - int(image) * size.x;
#endif
}
void split_image(uint i, out uint image, out ivec3 at) {
    split(i, by[0].xy, by[1].xy, by[2].xy, ivec3(D, H, W), image, at);
}
void split_windows(uint i, out uint image, out ivec3 at) {
    split(i, by[0].zw, by[1].zw, by[2].zw, ivec3(OD, OH, OW), image, at);
}

// Where window o begins along each axis, and how many elements it has there.
ivec3 window_begin(ivec3 o) {
#if ADAPTIVE
    return o * ivec3(D, H, W) / ivec3(OD, OH, OW);
#else
    return o * ivec3(SD, SH, SW) - ivec3(PD, PH, PW);
#endif
}

ivec3 window_span(ivec3 o) {
#if ADAPTIVE
    ivec3 n = ivec3(OD, OH, OW);
    return ((o + 1) * ivec3(D, H, W) + n - 1) / n - window_begin(o);
#else
    return ivec3(KD, KH, KW);
#endif
}

// The windows first.. last (inclusive) that may hold place p. Axis by axis: tools fold arithmetic
// on vectors of specialisation constants wrongly.
int first_on(int p, int k, int stride, int padding, int dilation) {
    int x = p + padding - (k - 1) * dilation;
    return x <= 0 ? 0 : (x + stride - 1) / stride;
}

ivec3 first_window(ivec3 p) {
#if ADAPTIVE
    return p * ivec3(OD, OH, OW) / ivec3(D, H, W);
#else
    return ivec3(first_on(p.x, KD, SD, PD, DD), first_on(p.y, KH, SH, PH, DH),
                 first_on(p.z, KW, SW, PW, DW));
#endif
}

ivec3 last_window(ivec3 p) {
    ivec3 n = ivec3(OD, OH, OW);
#if ADAPTIVE
    return ((p + 1) * n - 1) / ivec3(D, H, W);
#else
    return min((p + ivec3(PD, PH, PW)) / ivec3(SD, SH, SW), n - 1);
#endif
}

// Goes through the windows first_window(p)..last_window(p): use of each one's number among the
// image's, o, its place, at, and held, without which it is none. So many turns at most hold a place
// that they unroll; a branch in them would cost a CPU more than the load that it saves.
#if ADAPTIVE
#define EACH_WINDOW(p, use)                                                                        \
    {                                                                                              \
        ivec3 from = first_window(p), to = last_window(p);                                         \
        const bool held = true;                                                                    \
        for (int a = from.x; a <= to.x; a++)                                                       \
            for (int b = from.y; b <= to.y; b++)                                                   \
                for (int c = from.z; c <= to.z; c++) {                                             \
                    ivec3 at = ivec3(a, b, c);                                                     \
                    uint o = uint((a * OH + b) * OW + c);                                          \
                    use                                                                            \
                }                                                                                  \
    }
#else
#define EACH_WINDOW(p, use)                                                                        \
    {                                                                                              \
        ivec3 from = first_window(p), to = last_window(p);                                         \
        for (int a = 0; a <= (KD - 1) * DD / SD; a++)                                              \
            for (int b = 0; b <= (KH - 1) * DH / SH; b++)                                          \
                for (int c = 0; c <= (KW - 1) * DW / SW; c++) {                                    \
                    ivec3 at = from + ivec3(a, b, c);                                              \
                    bool held = at.x <= to.x && at.y <= to.y && at.z <= to.z;                      \
                    at = held ? at : ivec3(0);                                                     \
                    uint o = uint((at.x * OH + at.y) * OW + at.z);                                 \
                    use                                                                            \
                }                                                                                  \
    }
#endif

// Is this place in the image? Always, unless some window is PADDED.
bool inside(int d, int h, int w) {
#if PADDED
    return d >= 0 && d < D && h >= 0 && h < H && w >= 0 && w < W;
#else
    return true;
#endif
}

// What an average divides by.
float window_size(ivec3 o) {
#if ADAPTIVE
    ivec3 n = window_span(o);
#else
    ivec3 p = ivec3(PD, PH, PW), size = ivec3(D, H, W);
    ivec3 from = window_begin(o), to = min(from + ivec3(KD, KH, KW), size + p);
    if (COUNT_PAD == 0) {
        from = max(from, ivec3(0));
        to = min(to, size);
    }
    ivec3 n = to - from;
    if (DIVISOR != 0) return float(DIVISOR);
#endif
    return float(n.x * n.y * n.z);
}
