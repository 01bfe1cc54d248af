// Logarithms of the probabilities of all beginnings of alignments, and the loss. A workgroup a
// sequence.
//
// Defines: ROOM: two steps stand in shared memory; else all stand in the table. STORE: the table is
// filled; else the loss is the result. Specialisation constant 1: words of shared memory.
#define USE_exp 1
#define USE_log 1
#include "labels.glsl"

#ifdef ROOM
layout(constant_id = 1) const uint WORDS = 1u;
shared float room[WORDS];
#endif
#if defined STORE || !defined ROOM
layout(std430, binding = 3) coherent buffer Table { float table[]; };
#ifndef STORE
layout(std430, binding = 4) writeonly buffer Loss { float loss[]; };
#endif
#else
layout(std430, binding = 3) writeonly buffer Loss { float loss[]; };
#endif

uint half_words() { return 2u * targets + 1u; }

float before(sequence s, uint t, uint u) {
#ifdef ROOM
    return room[((t - 1u) & 1u) * half_words() + u];
#else
    return table[table_first + table_row(s, t - 1u) + u];
#endif
}

void main() {
    uint row = group_index(), lane = gl_LocalInvocationID.x;
    if (row >= count) return;
    sequence s = find_sequence(row);
    float none = -make_inf();
    for (uint t = 0u; t < s.steps; t++) {
        for (uint u = lane; u < s.places; u += gl_WorkGroupSize.x) {
            float a = u < 2u ? 0.0 : none;
            if (t > 0u) {
                a = before(s, t, u);
                float b = none, c = none;
                if (u > 0u) b = before(s, t, u - 1u);
                if (u > 1u && skips(s, u - 2u)) c = before(s, t, u - 2u);
                a = add_logs(a, b, c);
            }
            a += score(s, t, u);
#ifdef ROOM
            room[(t & 1u) * half_words() + u] = a;
#endif
#if defined STORE || !defined ROOM
            table[table_first + table_row(s, t) + u] = a;
#endif
        }
#ifndef ROOM
        memoryBarrierBuffer();
#endif
        barrier();
    }
#ifndef STORE
    if (lane == 0u) {
        float sum = s.targets == 0u ? 0.0 : none;
        if (s.steps > 0u) {
            float a = before(s, s.steps, s.places - 1u), b = none;
            if (s.targets > 0u) b = before(s, s.steps, s.places - 2u);
            sum = add_logs(a, b, none);
        }
        loss[other_first + row] = -sum;
    }
#endif
}
