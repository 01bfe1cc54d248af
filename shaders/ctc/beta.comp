// In place of the table of beginnings (alpha.comp): the probability that an alignment of the
// sequence is at position u at step t. A workgroup a sequence.
//
// Defines: ROOM: two steps of the endings stand in shared memory; else all in a table of their own.
// Specialisation constant 1: words of shared memory.
#define USE_exp 1
#define USE_log 1
#include "labels.glsl"

layout(std430, binding = 3) buffer Table { float table[]; };
#ifdef ROOM
layout(constant_id = 1) const uint WORDS = 1u;
shared float room[WORDS];
#else
layout(std430, binding = 4) coherent buffer Endings { float endings[]; };
#endif

uint place_of(sequence s, uint t, uint u) {
#ifdef ROOM
    return (t & 1u) * (2u * targets + 1u) + u;
#else
    return other_first + table_row(s, t) + u;
#endif
}

// The ending's probability with that of its first step.
float after(sequence s, uint t, uint u) {
#ifdef ROOM
    return room[place_of(s, t + 1u, u)];
#else
    return endings[place_of(s, t + 1u, u)];
#endif
}

void main() {
    uint row = group_index(), lane = gl_LocalInvocationID.x;
    if (row >= count) return;
    sequence s = find_sequence(row);
    float none = -make_inf(), all = none;
    if (s.steps > 0u) {
        uint last = table_first + table_row(s, s.steps - 1u) + s.places - 1u;
        float b = none;
        if (s.targets > 0u) b = table[last - 1u];
        all = add_logs(table[last], b, none);
    }
    barrier(); // before the last step is overwritten
    for (uint t = s.steps - 1u; t < s.steps; t--) {
        for (uint u = lane; u < s.places; u += gl_WorkGroupSize.x) {
            float a = u + 2u >= s.places ? 0.0 : none;
            if (t + 1u < s.steps) {
                a = after(s, t, u);
                float b = none, c = none;
                if (u + 1u < s.places) b = after(s, t, u + 1u);
                if (skips(s, u)) c = after(s, t, u + 2u);
                a = add_logs(a, b, c);
            }
            uint i = table_first + table_row(s, t) + u;
            // Infeasible sequences have no such probability: 0.
            float p = m_exp(table[i] + a - all);
            table[i] = isinf(all) ? 0.0 : p;
            a += score(s, t, u);
#ifdef ROOM
            room[place_of(s, t, u)] = a;
#else
            endings[place_of(s, t, u)] = a;
#endif
        }
#ifndef ROOM
        memoryBarrierBuffer();
#endif
        barrier();
    }
}
