// out = softmax or log_softmax of the input along one axis. One workgroup (GROUP) or one invocation
// takes one row, wherever its elements lie.
//
// Defines: LOG for log_softmax; KEPT, the rank of the loop over rows; WORDS. AFTER: a program takes the
// results (attach.glsl).
#include "mare.glsl"
#define USE_exp 1
#define USE_log 1
#ifdef AFTER
#include "attach.glsl"
#else
#include "math.glsl"
#endif

layout(std140, binding = 0) uniform Params {
    uvec4 word[WORDS];
#ifdef ATTACHED_WORDS
    uvec4 attached[ATTACHED_WORDS];
#endif
};
layout(std430, binding = 1) readonly buffer In { float source[]; };
#ifdef AFTER
ATTACHED_TEXT
#define WRITE(at, v) after(at, v)
#else
#define WRITE(at, v) result[at] = v
layout(std430, binding = 2) writeonly buffer Out { float result[]; };
#endif
#define W(i) word[(i) / 4][(i) % 4]
#define ROWS W(0)
#define LENGTH W(1)
#define IN_FIRST W(2)
#define OUT_FIRST W(3)
#define IN_STEP W(4)
#define OUT_STEP W(5)
#define SIZE(d) W(6 + (d))
#define IN_STRIDE(d) W(6 + KEPT + (d))
#define OUT_STRIDE(d) W(6 + 2 * KEPT + (d))

// The larger; NaN wins.
float larger(float a, float b) { return is_nan(a) || (a > b && !is_nan(b)) ? a : b; }

#ifdef GROUP
shared float values[gl_WorkGroupSize.x];

float tree(float mine, bool maximum) {
    uint id = gl_LocalInvocationID.x;
    barrier(); // the values of the tree before were read
    values[id] = mine;
    for (uint n = gl_WorkGroupSize.x; n > 1u;) {
        uint half_n = (n + 1u) / 2u;
        barrier();
        if (id + half_n < n) {
            float a = values[id], b = values[id + half_n];
            values[id] = maximum ? larger(a, b) : a + b;
        }
        n = half_n;
    }
    barrier();
    return values[0];
}
#define LARGEST(x) tree(x, true)
#define TOTAL(x) tree(x, false)
#else
#define LARGEST(x) (x)
#define TOTAL(x) (x)
#endif

void main() {
#ifdef GROUP
    uint row = group_index(), id = gl_LocalInvocationID.x, step = gl_WorkGroupSize.x;
#else
    uint row = global_index(), id = 0u, step = 1u;
#endif
    bool live = row < ROWS;
    uint from = IN_FIRST, to = OUT_FIRST, length = live ? LENGTH : 0u;
#if KEPT > 0
    for (int d = KEPT - 1; d >= 0; d--) {
        uint next = d > 0 ? row / SIZE(d) : 0u;
        uint c = row - next * SIZE(d);
        from += c * IN_STRIDE(d);
        to += c * OUT_STRIDE(d);
        row = next;
    }
#endif
    float top = -make_inf();
    for (uint k = id; k < length; k += step)
        top = larger(top, source[from + k * IN_STEP]);
    top = LARGEST(top);
    // Compensated, since a row may be long.
    float sum = 0.0, low = 0.0;
    for (uint k = id; k < length; k += step) {
        precise float x = m_exp(source[from + k * IN_STEP] - top) - low;
        precise float t = sum + x;
        precise float lost = (t - sum) - x;
        sum = t;
        low = lost;
    }
    sum = TOTAL(sum);
#ifdef LOG
    float shift = m_log(sum);
    for (uint k = id; k < length; k += step)
        WRITE(to + k * OUT_STEP, (source[from + k * IN_STEP] - top) - shift);
#else
    for (uint k = id; k < length; k += step)
        WRITE(to + k * OUT_STEP, m_exp(source[from + k * IN_STEP] - top) / sum);
#endif
}
