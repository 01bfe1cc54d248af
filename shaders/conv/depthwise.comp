// Convolutions of one channel a group: y [n, g o + k, ...] sums over taps x [n, g, ...] times
// w [g o + k, 0, ...]. The images are read where they lie; pixels outside of x are 0.
//
// A workgroup makes LANES * POINTS neighbouring pixels a turn, in `block` turns, of one channel of y
// (KIND_forward) or of x (KIND_input); or one tap of w (KIND_weight), over all images. STEPPED: a stride
// is not 1. VOLUME: there is more than one plane. LINES: a turn stays in one line, for processors that
// divide lane by lane.
//
// Work: 2 flops a tap and pixel, for one element of x, which the taps beside share: the limit is the
// cache's. As a matrix product of one column, whose image is laid out first, it took 3 times as long
// on Mesa 26's software driver. There a branch a tap costs more than a load that is not used, and a
// division lane by lane as much as all of a pixel's taps: LINES made it 1.8 times as fast.
#extension GL_EXT_control_flow_attributes : require
#include "mare.glsl"

layout(std140, binding = 0) uniform Params {
    int rows, blocks, filters, groups;       // filters: of a group
    ivec3 x_step; int x_first;               // x, y and z first, here and below
    ivec3 y_step; int y_first;
    ivec3 w_step; int w_first;
    int images, x_image, x_channel, y_image;
    int y_channel, w_filter, block, unused1;
    ivec3 x_size; int unused2;
    ivec3 y_size; int unused3;
    ivec3 taps; int unused4;
    ivec3 stride; int unused5;
    ivec3 padding; int unused6;
    ivec3 dilation; int unused7;
};
#ifdef KIND_input
layout(std430, binding = 1) writeonly buffer X { T x[]; };
#else
layout(std430, binding = 1) readonly buffer X { T x[]; };
#endif
#ifdef KIND_forward
layout(std430, binding = 2) writeonly buffer Y { T y[]; };
#else
layout(std430, binding = 2) readonly buffer Y { T y[]; };
#endif
#ifdef KIND_weight
layout(std430, binding = 3) writeonly buffer W { T w[]; };
shared T partial[LANES];
#else
layout(std430, binding = 3) readonly buffer W { T w[]; };
#endif

#define EACH(i, n) [[unroll]] for (int i = 0; i < n; i++)

int at(ivec3 p, ivec3 step) { return p.x * step.x + p.y * step.y + p.z * step.z; }
// A negative place is a large unsigned one. VOLUME: there is more than one plane.
bool inside(ivec3 p, ivec3 size) {
    bool y = uint(p.x) < uint(size.x) && uint(p.y) < uint(size.y);
#ifdef VOLUME
    y = y && uint(p.z) < uint(size.z);
#endif
    return y;
}
ivec3 pixel(int index, ivec3 size) {
    int line = index / size.x, plane = line / size.y;
    return ivec3(index - line * size.x, line - plane * size.y, plane);
}
#ifdef LINES
int line_turns(ivec3 size) { return (size.x + LANES * POINTS - 1) / (LANES * POINTS); }
int turns(ivec3 size) { return line_turns(size) * size.y * size.z; }
#else
int turns(ivec3 size) { return (size.x * size.y * size.z + LANES * POINTS - 1) / (LANES * POINTS); }
#endif

// The i-th pixel of a lane in a turn; false past the end, where it is one of the last line's.
bool point(int turn, int i, int lane, ivec3 size, out ivec3 p) {
#ifdef LINES
    int line = turn / line_turns(size), plane = line / size.y;
    int first = (turn - line * line_turns(size)) * LANES * POINTS;
    p = ivec3(first + i * LANES + lane, line - plane * size.y, plane);
    bool there = p.x < size.x;
    p.x = min(p.x, size.x - 1);
    return there;
#else
    int index = (turn * POINTS + i) * LANES + lane, last = size.x * size.y * size.z - 1;
    p = pixel(min(index, last), size);
    return index <= last;
#endif
}

#ifdef KIND_forward
void make(int row, int turn, int lane) {
    int channel = row % (groups * filters), image = row / (groups * filters);
    int from = x_first + image * x_image + channel / filters * x_channel;
    int weights = w_first + channel * w_filter;
    ivec3 own[POINTS], corner[POINTS];
    bool there[POINTS];
    int place[POINTS];
    T sum[POINTS];
    EACH(i, POINTS) {
        there[i] = point(turn, i, lane, y_size, own[i]);
        corner[i] = own[i] * stride - padding;
        place[i] = from + at(corner[i], x_step);
        sum[i] = T(0);
    }
    ivec3 tap;
    for (tap.z = 0; tap.z < taps.z; tap.z++)
        for (tap.y = 0; tap.y < taps.y; tap.y++)
            for (tap.x = 0; tap.x < taps.x; tap.x++) {
                T factor = w[weights + at(tap, w_step)];
                ivec3 reach = tap * dilation;
                int offset = at(reach, x_step);
                EACH(i, POINTS) {
                    // Every lane loads: a branch costs a driver that runs lanes as a vector more.
                    bool seen = inside(corner[i] + reach, x_size);
                    T value = x[seen ? place[i] + offset : from];
                    sum[i] += seen ? factor * value : T(0);
                }
            }
    int to = y_first + image * y_image + channel * y_channel;
    EACH(i, POINTS) if (there[i]) y[to + at(own[i], y_step)] = sum[i];
}
#elif defined KIND_input
void make(int row, int turn, int lane) {
    int group = row % groups, image = row / groups;
    ivec3 own[POINTS], corner[POINTS];
    bool there[POINTS];
    int place[POINTS];
    T sum[POINTS];
    EACH(i, POINTS) {
        there[i] = point(turn, i, lane, x_size, own[i]);
        corner[i] = own[i] + padding;
        place[i] = at(corner[i], y_step);
        sum[i] = T(0);
    }
    ivec3 tap;
    for (int k = 0; k < filters; k++) {
        int channel = group * filters + k;
        int from = y_first + image * y_image + channel * y_channel;
        int weights = w_first + channel * w_filter;
        for (tap.z = 0; tap.z < taps.z; tap.z++)
            for (tap.y = 0; tap.y < taps.y; tap.y++)
                for (tap.x = 0; tap.x < taps.x; tap.x++) {
                    T factor = w[weights + at(tap, w_step)];
                    ivec3 reach = tap * dilation;
                    int offset = at(reach, y_step);
                    EACH(i, POINTS) {
                        ivec3 p = corner[i] - reach;
#ifdef STEPPED
                        ivec3 q = p / stride; // towards 0: of p below it, no place
                        bool seen = q * stride == p && inside(q, y_size);
                        T value = y[from + (seen ? at(q, y_step) : 0)];
#else
                        bool seen = inside(p, y_size);
                        T value = y[from + (seen ? place[i] - offset : 0)];
#endif
                        sum[i] += seen ? factor * value : T(0);
                    }
                }
    }
    int to = x_first + image * x_image + group * x_channel;
    EACH(i, POINTS) if (there[i]) x[to + at(own[i], x_step)] = sum[i];
}
#else
void make(int row, int lane) {
    int all_taps = taps.x * taps.y * taps.z, channel = row / all_taps;
    ivec3 tap = pixel(row - channel * all_taps, taps);
    ivec3 shift = tap * dilation - padding;
    T sum = T(0);
    for (int image = 0; image < images; image++) {
        int from_x = x_first + image * x_image + channel / filters * x_channel;
        int from_y = y_first + image * y_image + channel * y_channel;
        for (int turn = 0; turn < turns(y_size); turn++) EACH(i, POINTS) {
            ivec3 q;
            bool there = point(turn, i, lane, y_size, q);
            ivec3 p = q * stride + shift;
            bool seen = there && inside(p, x_size);
            T product = x[from_x + (seen ? at(p, x_step) : 0)] * y[from_y + at(q, y_step)];
            sum += seen ? product : T(0);
        }
    }
    partial[lane] = sum;
    barrier();
    if (lane > 0) return;
    sum = partial[0];
    for (int i = 1; i < LANES; i++) sum += partial[i];
    w[w_first + channel * w_filter + at(tap, w_step)] = sum;
}
#endif

void main() {
    int group = int(group_index()), lane = int(gl_LocalInvocationID.x);
    if (group >= rows * blocks) return;
    int row = group / blocks, begin = (group - row * blocks) * block;
#ifdef KIND_weight
    make(row, lane);
#else
#ifdef KIND_forward
    int end = min(begin + block, turns(y_size));
#else
    int end = min(begin + block, turns(x_size));
#endif
    for (int turn = begin; turn < end; turn++) make(row, turn, lane);
#endif
}
