// Rows normalised by their mean and variance: one workgroup (GROUP) or one invocation takes one row,
// or one part of a long one. A row is made of runs of neighbours, `jump` elements from one to the
// next.
//
// FOUR: in turns of four elements, whole vec4 of the buffers; lengths and places are counted in fours
// then, and weights too where each element has its own.
//
// Defines: KIND_moments, KIND_norm or KIND_grad, or KIND_parts and KIND_sums, which leave what a part
// of a row adds up to: the moments, and the sums of a gradient; JOIN_parts and JOIN_sums read them
// again, KIND_total to give the sums of whole rows. MOMENTS_AT, SUMS_AT: the moments are there, and
// the sums, without weights. CENTRED: the mean is taken off. RUNS: rows have several runs.
// PER_ELEMENT, PER_RUN or PER_ROW: what has a weight and a bias of its own; GY_AT, WEIGHT_AT,
// BIAS_AT: bindings. AFTER: a program takes the results (attach.glsl). What group.glsl knows.
//
// The work: a norm passes over a row three times (the mean, what the variance is about it, the
// results), a gradient three times over x and twice over gy. 8 and 12 bytes an element reach memory
// as long as a row fits a cache, so a GPU is held up by memory. A CPU is by its driver's loads, each
// of which costs about the same for 4 bytes as for 16: FOUR is 2 to 4 times as fast there. Whole
// vectors by address (lanes.glsl) for the sums were 0.7 times as fast.
#ifdef SUBGROUPS
#extension GL_KHR_shader_subgroup_arithmetic : require
#endif
#include "mare.glsl"
#define USE_rsqrt 1
#ifdef AFTER
#include "attach.glsl"
#else
#include "math.glsl"
#endif
#include "group.glsl"

#if defined KIND_grad && !defined JOIN_sums && !defined MOMENTS_AT && !defined SUMS_AT
#define WITH_SLOPES // a gradient by itself takes the sums along with the moments
#endif

#ifdef FOUR
#define V vec4
#define ADDED(v) ((v.x + v.y) + (v.z + v.w))
#define ELEMENTS(n) float(4u * (n))
#else
#define V float
#define ADDED(v) v
#define ELEMENTS(n) float(n)
#endif

layout(std140, binding = 0) uniform Params {
    uint rows, length, part, parts;
    uint row_step, run, jump;
    uint row_from;          // rows of the tensor before the first one here
    uint groups, weights;   // rows until the weights start again; weights a row
    float eps;
    uint x_first, out_first, gy_first, weight_first, bias_first, moments_first, sums_first;
#ifdef ATTACHED_WORDS
    uvec4 attached[ATTACHED_WORDS];
#endif
};
layout(std430, binding = 1) readonly buffer X { V x[]; };
#if defined KIND_norm || defined KIND_grad
#define RESULT V
#else
#define RESULT float
#endif
#ifdef PER_ELEMENT
#define WEIGHTS V
#else
#define WEIGHTS float
#endif
#ifdef AFTER
ATTACHED_TEXT
void write(uint at, V v) {
#ifdef FOUR
    for (uint k = 0u; k < 4u; k++) after(4u * at + k, v[k]);
#else
    after(at, v);
#endif
}
#else
layout(std430, binding = 2) writeonly buffer Out { RESULT result[]; };
void write(uint at, RESULT v) { result[at] = v; }
#endif
#ifdef WEIGHT_AT
layout(std430, binding = WEIGHT_AT) readonly buffer Weight { WEIGHTS weight[]; };
#endif
#ifdef BIAS_AT
layout(std430, binding = BIAS_AT) readonly buffer Bias { WEIGHTS bias[]; };
#endif
#ifdef GY_AT
layout(std430, binding = GY_AT) readonly buffer Gy { V gy[]; };
#endif
#ifdef JOIN_parts
layout(std430, binding = JOIN_parts) readonly buffer Moments { float part_moments[]; };
#endif
#ifdef MOMENTS_AT
layout(std430, binding = MOMENTS_AT) readonly buffer Given { float given[]; };
#endif
#ifdef SUMS_AT
layout(std430, binding = SUMS_AT) readonly buffer GivenSums { vec2 given_sums[]; };
#endif
#ifdef JOIN_sums
layout(std430, binding = JOIN_sums) readonly buffer Sums { float part_sums[]; };
#endif

#ifdef GROUP
#define STEP gl_WorkGroupSize.x
#define LANE gl_LocalInvocationID.x
#else
#define STEP 1u
#define LANE 0u
#endif

// ---- Walking along a row ----------------------------------------------------------------------

// Element k of a row, where it lies, and the run that it is in.
struct walk {
    uint k, at, run_index, in_run;
};
uint turn_runs, turn_rest; // of a step

walk walk_from(uint row, uint k) {
#ifdef RUNS
    walk w = walk(k, 0u, k / run, 0u);
    w.in_run = k - w.run_index * run;
    w.at = row * row_step + w.run_index * jump + w.in_run;
    turn_runs = STEP / run;
    turn_rest = STEP - turn_runs * run;
    return w;
#else
    return walk(k, row * row_step + k, 0u, 0u);
#endif
}

void next(inout walk w) {
    w.k += STEP;
#ifdef RUNS
    uint c = w.in_run + turn_rest;
    bool carry = c >= run;
    w.in_run = carry ? c - run : c;
    w.run_index += turn_runs + (carry ? 1u : 0u);
    w.at += turn_runs * jump + turn_rest + (carry ? jump - run : 0u);
#else
    w.at += STEP;
#endif
}

// Every so many elements a sum starts anew, so that long ones lose little.
#define BLOCK_END(w, end) min(end, w.k + 64u * STEP)

// ---- Elements ---------------------------------------------------------------------------------

uint weight_base;
uint weight_index(walk w) {
#if defined PER_ELEMENT
    return weight_base + w.k;
#elif defined PER_RUN
    return weight_base + w.run_index;
#else
    return weight_base;
#endif
}

#ifdef GY_AT
V slope(walk w) {
    V g = gy[gy_first + w.at];
#ifdef WEIGHT_AT
    g *= weight[weight_first + weight_index(w)];
#endif
    return g;
}
#endif

// ---- Moments ----------------------------------------------------------------------------------

// The mean is mean + rest, the variance square / n.
struct moments {
    float mean, rest, square;
#ifdef WITH_SLOPES
    vec2 slopes; // sums of slopes, and of slopes times how far x is from `mean`
#endif
};

moments moments_of(uint row, uint from, uint end) {
    float n = ELEMENTS(end - from);
    moments m;
    m.mean = m.rest = 0.0;
#ifdef CENTRED
    V sum = V(0.0);
    for (walk w = walk_from(row, from + LANE); w.k < end;) {
        V s = V(0.0);
        for (uint stop = BLOCK_END(w, end); w.k < stop; next(w)) s += x[x_first + w.at];
        sum += s;
    }
    m.mean = group_total(ADDED(sum)) / n;
#endif
    V away = V(0.0), square = V(0.0), slopes = V(0.0), along = V(0.0);
    for (walk w = walk_from(row, from + LANE); w.k < end;) {
        V a = V(0.0), s = V(0.0), g = V(0.0), p = V(0.0);
        for (uint stop = BLOCK_END(w, end); w.k < stop; next(w)) {
            V d = x[x_first + w.at] - m.mean;
            a += d;
            s += d * d;
#ifdef WITH_SLOPES
            V y = slope(w);
            g += y;
            p += y * d;
#endif
        }
        away += a;
        square += s;
        slopes += g;
        along += p;
    }
#ifdef WITH_SLOPES
    m.slopes = group_total(vec2(ADDED(slopes), ADDED(along)));
#endif
#ifdef CENTRED
    // What rounding left in the mean.
    vec2 sums = group_total(vec2(ADDED(away), ADDED(square)));
    m.rest = sums.x / n;
    m.square = sums.y - m.rest * sums.x;
    m.square = m.square < 0.0 ? 0.0 : m.square;
#else
    m.square = group_total(ADDED(square));
#endif
    return m;
}

float part_size(uint p) { return ELEMENTS(min(part, length - p * part)); }

#ifdef JOIN_parts
moments joined_moments(uint row) {
    uint first = moments_first + row * parts * 3u;
    moments m = moments(part_moments[first], 0.0, 0.0);
    for (uint p = 0u; p < parts; p++) {
        uint at = first + p * 3u;
        m.rest += part_size(p) * ((part_moments[at] - m.mean) + part_moments[at + 1u]);
    }
    m.rest /= ELEMENTS(length);
#ifndef CENTRED
    m.rest = 0.0;
#endif
    for (uint p = 0u; p < parts; p++) {
        uint at = first + p * 3u;
        float d = ((part_moments[at] - m.mean) + part_moments[at + 1u]) - m.rest;
        m.square += part_moments[at + 2u] + part_size(p) * d * d;
    }
    return m;
}
#endif

#ifdef MOMENTS_AT
moments given_moments(uint row) {
    uint at = moments_first + (row_from + row) * 3u;
    return moments(given[at], given[at + 2u], given[at + 1u] * ELEMENTS(length));
}
#endif

#ifdef JOIN_sums
vec2 joined_sums(uint row) {
    vec2 s = vec2(0.0);
    for (uint k = 0u; k < parts; k++) {
        uint at = sums_first + (row * parts + k) * 2u;
        s += vec2(part_sums[at], part_sums[at + 1u]);
    }
    return s;
}
#endif

V normalised(walk w, moments m, float scale) {
    return ((x[x_first + w.at] - m.mean) - m.rest) * scale;
}

#ifdef GY_AT
vec2 sums_of(uint row, uint from, uint end, moments m, float scale) {
    V sum = V(0.0), along = V(0.0);
    for (walk w = walk_from(row, from + LANE); w.k < end;) {
        V s = V(0.0), a = V(0.0);
        for (uint stop = BLOCK_END(w, end); w.k < stop; next(w)) {
            V g = slope(w);
            s += g;
            a += g * normalised(w, m, scale);
        }
        sum += s;
        along += a;
    }
    return group_total(vec2(ADDED(sum), ADDED(along)));
}
#endif

void main() {
#ifdef GROUP
    uint job = group_index();
#else
    uint job = global_index();
#endif
#ifdef KIND_total
    if (job >= rows) return;
    vec2 whole = joined_sums(job);
    result[out_first + job * 2u] = whole.x;
    result[out_first + job * 2u + 1u] = whole.y;
#else
    uint row = job / parts, p = job - row * parts;
    bool live = row < rows, first = live && LANE == 0u;
    uint from = p * part, end = live ? min(length, from + part) : from;
    row = live ? row : 0u;
    weight_base = (row_from + row) % groups * weights;
#if defined JOIN_parts
    moments m = joined_moments(row);
#elif defined MOMENTS_AT
    moments m = given_moments(row);
#else
    moments m = moments_of(row, from, end);
#endif
#ifdef KIND_parts
    if (first) {
        result[out_first + job * 3u] = m.mean;
        result[out_first + job * 3u + 1u] = m.rest;
        result[out_first + job * 3u + 2u] = m.square;
    }
#else
    float n = ELEMENTS(length), variance = m.square / n, scale = m_rsqrt(variance + eps);
#endif
#ifdef KIND_moments
    if (first) {
        float mean = m.mean + m.rest;
        result[out_first + row * 3u] = mean;
        result[out_first + row * 3u + 1u] = variance;
        result[out_first + row * 3u + 2u] = (m.mean - mean) + m.rest; // lost in rounding
    }
#endif
#ifdef KIND_norm
    for (walk w = walk_from(row, from + LANE); w.k < end; next(w)) {
        V y = normalised(w, m, scale);
#ifdef WEIGHT_AT
        y *= weight[weight_first + weight_index(w)];
#endif
#ifdef BIAS_AT
        y += bias[bias_first + weight_index(w)];
#endif
        write(out_first + w.at, y);
    }
#endif
#ifdef KIND_sums
    vec2 s = sums_of(row, from, end, m, scale);
    if (first) {
        result[out_first + job * 2u] = s.x;
        result[out_first + job * 2u + 1u] = s.y;
    }
#endif
#ifdef KIND_grad
#if defined JOIN_sums
    vec2 s = joined_sums(row);
#elif defined SUMS_AT
    vec2 s = given_sums[sums_first / 2u + row_from + row];
#ifdef WEIGHT_AT
    s *= weight[weight_first + weight_base]; // PER_ROW
#endif
#elif defined WITH_SLOPES
    vec2 s = vec2(m.slopes.x, (m.slopes.y - m.rest * m.slopes.x) * scale);
#else
    vec2 s = sums_of(row, from, end, m, scale);
#endif
    s /= n;
#ifndef CENTRED
    s.x = 0.0;
#endif
    for (walk w = walk_from(row, from + LANE); w.k < end; next(w))
        write(out_first + w.at,
              ((slope(w) - s.x) - normalised(w, m, scale) * s.y) * scale);
#endif
#endif
}
