// out = softmax or log_softmax of the input along one axis. One workgroup (GROUP) or one invocation
// takes one row, wherever its elements lie; in turns of four elements:
//
// FOUR: of neighbours in the row, whose elements follow one another; whole vec4 of the buffers but
// for, with PEEL, what lies before the first and behind the last. COLUMNS: of four rows that lie side
// by side, which an invocation does at once.
//
// Defines: LOG for log_softmax; KEPT, the rank of the loop over rows; WORDS; what group.glsl knows.
// AFTER: a program takes the results (attach.glsl).
//
// The work: three passes over a row, for its largest element, the sum of exponentials, and the
// results; 8 bytes an element reach memory, the rest stays in caches as long as a row fits there. A
// GPU is held up by memory; a CPU by exp (25 operations) and by its driver's loads, each of which
// costs about the same for 4 bytes as for 16. So there FOUR is 2 to 3 times as fast as one element a
// turn, and KEEP, which stores the exponentials for the last pass to scale, 1.2 times as fast as
// making them again. Rows of 1,024: a subgroup a row is 1.2 times as fast as an invocation a row; of
// 64 it is 0.7 times. Whole vectors by address (lanes.glsl) were 0.7 times as fast: what they load
// lies a word a lane, and is stored so.
#ifdef SUBGROUPS
#extension GL_KHR_shader_subgroup_arithmetic : require
#endif
#include "mare.glsl"
#define USE_exp 1
#define USE_log 1
#ifdef AFTER
#include "attach.glsl"
#else
#include "math.glsl"
#endif
#include "group.glsl"

layout(std140, binding = 0) uniform Params {
    uvec4 word[WORDS];
#ifdef ATTACHED_WORDS
    uvec4 attached[ATTACHED_WORDS];
#endif
};

#if defined FOUR || defined COLUMNS
#define V vec4
#define EACH(f, v) vec4(f((v).x), f((v).y), f((v).z), f((v).w))
#define PLACE(at) (at) >> 2
#define ONE(b, at) b[(at) >> 2][(at) & 3u]
#else
#define V float
#define EACH(f, v) f(v)
#define PLACE(at) at
#define ONE(b, at) b[at]
#endif
layout(std430, binding = 1) readonly buffer In { V source[]; };
#ifdef AFTER
ATTACHED_TEXT
#define WRITE_ONE(at, v) after(at, v)
void write(uint at, V v) {
#if defined FOUR || defined COLUMNS
    for (uint k = 0u; k < 4u; k++) after(at + k, v[k]);
#else
    after(at, v);
#endif
}
#else
layout(std430, binding = 2) buffer Out { V result[]; };
#define WRITE_ONE(at, v) ONE(result, at) = v
void write(uint at, V v) { result[PLACE(at)] = v; }
#endif

#define W(i) word[(i) / 4][(i) % 4]
#define ROWS W(0) // COLUMNS: fours of them
#define LENGTH W(1)
#define IN_FIRST W(2)
#define OUT_FIRST W(3)
#define IN_STEP W(4)
#define OUT_STEP W(5)
#define SIZE(d) W(6 + (d))
#define IN_STRIDE(d) W(6 + KEPT + (d))
#define OUT_STRIDE(d) W(6 + 2 * KEPT + (d))

// NaN may be lost: its exponential makes the sum NaN.
#define LARGER(a, b) ((b) > (a) ? (b) : (a))
#if defined FOUR || defined COLUMNS
vec4 larger(vec4 a, vec4 b) { return mix(a, b, greaterThan(b, a)); }
#endif
float larger(float a, float b) { return LARGER(a, b); }

// Adds x to sum and keeps what rounding took away for the next, since a row may be long.
void add(inout V sum, inout V lost, V x) {
    precise V y = x - lost;
    precise V t = sum + y;
    precise V l = (t - sum) - y;
    sum = t;
    lost = l;
}

// Of the whole row.
#ifdef FOUR
#define ROW_LARGEST(v) V(group_largest(larger(larger(v.x, v.y), larger(v.z, v.w))))
#define ROW_TOTAL(v) V(group_total((v.x + v.y) + (v.z + v.w)))
#elif defined COLUMNS
#define ROW_LARGEST(v) v
#define ROW_TOTAL(v) v
#else
#define ROW_LARGEST(v) group_largest(v)
#define ROW_TOTAL(v) group_total(v)
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
    uint in_step = IN_STEP, out_step = OUT_STEP, turns = length, begin = 0u;
#ifdef FOUR
#ifdef PEEL
    begin = min((0u - from) & 3u, length);
#endif
    in_step = out_step = 4u;
    turns = (length - begin) / 4u;
#endif
#ifdef PEEL // the elements before the first whole vec4 and behind the last
#define EDGES(k, statement)                                                                        \
    for (uint n = id, k; n < length - 4u * turns; n += step) {                                     \
        k = n < begin ? n : n + 4u * turns;                                                        \
        statement;                                                                                 \
    }
#else
#define EDGES(k, statement)
#endif
    uint from4 = from + begin, to4 = to + begin;

    V top = V(-make_inf()), sum = V(0.0), lost = V(0.0);
    for (uint k = id; k < turns; k += step) top = larger(top, source[PLACE(from4 + k * in_step)]);
    EDGES(k, top.x = larger(top.x, ONE(source, from + k)))
    top = ROW_LARGEST(top);
    for (uint k = id; k < turns; k += step) {
        V x = source[PLACE(from4 + k * in_step)] - top;
        V e = EACH(m_exp, x);
        add(sum, lost, e);
#ifdef KEEP
        write(to4 + k * out_step, e);
#endif
    }
    EDGES(k, sum.x += m_exp(ONE(source, from + k) - top.x))
    sum = ROW_TOTAL(sum);
#ifdef LOG
    V shift = EACH(m_log, sum);
    for (uint k = id; k < turns; k += step)
        write(to4 + k * out_step, (source[PLACE(from4 + k * in_step)] - top) - shift);
    EDGES(k, WRITE_ONE(to + k, (ONE(source, from + k) - top.x) - shift.x))
#else
    V scale = 1.0 / sum;
    for (uint k = id; k < turns; k += step) {
#ifdef KEEP
        V e = result[PLACE(to4 + k * out_step)];
#else
        V x = source[PLACE(from4 + k * in_step)] - top;
        V e = EACH(m_exp, x);
#endif
        write(to4 + k * out_step, e * scale);
    }
    EDGES(k, WRITE_ONE(to + k, m_exp(ONE(source, from + k) - top.x) * scale.x))
#endif
}
