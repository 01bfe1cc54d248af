// What the kernels of the CTC loss share: their parameters, and the labels of a sequence. Positions
// u = 0..2 S of an alignment are its targets with a blank before, between and after them.
#include "mare.glsl"

layout(std140, binding = 0) uniform Params {
    uint steps, count, classes;
    uint targets;   // the most of a sequence
    uint blank;
    uint places;    // all targets' places in `numbers`; then the lengths of inputs and targets
    uint joined;    // targets stand one after the other, without padding
    uint numbers_first;
    uint scores_first;
    int step_stride, row_stride, class_stride;
    uint table_first; // of [N, T, 2 targets + 1]
    uint other_first;
    uint grad_first, unused;
};
layout(std430, binding = 1) readonly buffer Numbers { int numbers[]; };

struct sequence {
    uint row, steps, targets, places, start;
};

sequence find_sequence(uint row) {
    sequence s;
    uint lengths = numbers_first + places + count;
    s.row = row;
    s.steps = min(uint(numbers[numbers_first + places + row]), steps);
    s.targets = min(uint(numbers[lengths + row]), targets);
    s.places = 2u * s.targets + 1u;
    s.start = row * targets;
    if (joined != 0u) {
        s.start = 0u;
        for (uint i = 0u; i < row; i++)
            s.start += uint(numbers[lengths + i]);
        s.start = min(s.start, places - min(places, s.targets));
    }
    s.start += numbers_first;
    return s;
}

uint target(sequence s, uint i) { return min(uint(numbers[s.start + i]), classes - 1u); }

uint label(sequence s, uint u) {
    uint l = blank;
    if ((u & 1u) == 1u) l = target(s, u >> 1);
    return l;
}

// May an alignment go from position u to u + 2, leaving out a blank?
bool skips(sequence s, uint u) {
    bool skip = false;
    if ((u & 1u) == 1u && u + 2u < s.places) skip = target(s, u >> 1) != target(s, (u >> 1) + 1u);
    return skip;
}

// Where step t of a sequence stands in a table.
uint table_row(sequence s, uint t) { return (s.row * steps + t) * (2u * targets + 1u); }

#ifdef USE_exp
#include "math.glsl"

float add_logs(float a, float b, float c) {
    float top = max(max(a, b), c);
    float sum = m_exp(a - top) + m_exp(b - top) + m_exp(c - top);
    float y = top + m_log(sum);
    y = isinf(top) ? top : y;
    return is_nan(a) || is_nan(b) || is_nan(c) ? make_nan() : y;
}

layout(std430, binding = 2) readonly buffer Scores { float scores[]; };

float score(sequence s, uint t, uint u) {
    return scores[int(scores_first) + int(t) * step_stride + int(s.row) * row_stride
                  + int(label(s, u)) * class_stride];
}
#endif
