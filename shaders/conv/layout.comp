// An image [N, C, d, h, w] with its channels last, and room around its pixels: the pixel that stood
// at p stands at start + p of the result; elsewhere there are zeros. An invocation copies BLOCK
// channels of one pixel.
//
// VOLUME: the image has more than one plane. STEP: there is room between the pixels, too; p stands
// at start + p * step. PAIR: there is an even number of channels; two are written at once, as a
// 64-bit integer.
#ifdef PAIR
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
#endif
#include "mare.glsl"

layout(std140, binding = 0) uniform Params {
    uint count;
    int channels, src_first, dst_first;
    ivec3 size; int row; // x, y and z; channels of a pixel of the result
    ivec3 start; int stride_n;
    ivec3 step; int stride_c;
    ivec3 from; int unused;
    ivec3 stride;
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
    int line = int(i) / size.x, rest = line / size.y;
    ivec3 at = ivec3(int(i) - line * size.x, line - rest * size.y, 0);
#ifdef VOLUME
    int plane = rest;
    rest = plane / size.z;
    at.z = plane - rest * size.z;
#endif
    int blocks = (channels + BLOCK - 1) / BLOCK;
    int n = rest / blocks, c = (rest - n * blocks) * BLOCK, end = min(c + BLOCK, channels);

    ivec3 p = at - start;
#ifdef STEP
    ivec3 q = p / step;
    bool inside = all(greaterThanEqual(p, ivec3(0))) && all(lessThan(q, from)) && q * step == p;
#else
    ivec3 q = p;
    bool inside = all(greaterThanEqual(p, ivec3(0))) && all(lessThan(p, from));
#endif
    int to = dst_first + (((n * size.z + at.z) * size.y + at.y) * size.x + at.x) * row;
    int s = src_first;
    if (inside) s += n * stride_n + q.z * stride.z + q.y * stride.y + q.x * stride.x + c * stride_c;
#ifdef PAIR
    for (; c < end; c += 2) {
        uvec2 v = inside ? uvec2(src[s], src[s + stride_c]) : uvec2(0u);
        dst[(to + c) / 2] = packUint2x32(v);
        s += inside ? 2 * stride_c : 0;
    }
#else
    for (; c < end; c++) {
        dst[to + c] = inside ? src[s] : 0u;
        s += inside ? stride_c : 0;
    }
#endif
}
