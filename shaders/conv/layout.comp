// An image [N, C, h, w] with its channels last, and room around and between its pixels: the pixel
// that stood at p stands at start + p * step of the result; elsewhere there are zeros. An invocation
// copies BLOCK channels of one pixel.
//
// PAIR: there is an even number of channels; two are written at once, as a 64-bit integer.
#ifdef PAIR
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
#endif
#include "mare.glsl"

layout(std140, binding = 0) uniform Params {
    uint count;
    int channels, src_first, dst_first;
    ivec2 size, start; // x and y
    ivec2 step, from;
    int stride_x, stride_y, stride_c, stride_n;
};
layout(std430, binding = 1) readonly buffer Src { uint src[]; };
#ifdef PAIR
layout(std430, binding = 2) writeonly buffer Dst { uint64_t dst[]; };
#else
layout(std430, binding = 2) writeonly buffer Dst { uint dst[]; };
#endif

void main() {
    uint i = global_index();
    if (i >= count) return;
    int pixel = int(i) / size.x, x = int(i) - pixel * size.x;
    int row = pixel / size.y, y = pixel - row * size.y;
    int blocks = (channels + BLOCK - 1) / BLOCK;
    int n = row / blocks, c = (row - n * blocks) * BLOCK, end = min(c + BLOCK, channels);

    ivec2 p = ivec2(x, y) - start, q = p / step;
    bool inside = all(greaterThanEqual(p, ivec2(0))) && all(lessThan(q, from)) && q * step == p;
    int to = dst_first + ((n * size.y + y) * size.x + x) * channels;
    int at = src_first;
    if (inside) at += n * stride_n + q.y * stride_y + q.x * stride_x + c * stride_c;
#ifdef PAIR
    for (; c < end; c += 2) {
        uvec2 v = inside ? uvec2(src[at], src[at + stride_c]) : uvec2(0u);
        dst[(to + c) / 2] = packUint2x32(v);
        at += inside ? 2 * stride_c : 0;
    }
#else
    for (; c < end; c++) {
        dst[to + c] = inside ? src[at] : 0u;
        at += inside ? stride_c : 0;
    }
#endif
}
