// Sorts pieces of rows in shared memory: pairs of a key and the place that it came from, in the
// order of both, so that equal keys keep theirs. A workgroup sorts TILE pairs, one or more segments;
// a row is one segment or several, of which the first KEEP pairs each are passed on. The network is
// Batcher's bitonic sort (1968) in its form without descending halves.
//
// Defines: TILE, SEGMENT (powers of two); SOURCE when the elements are read (of type T, FLOATS or
// INTS) and keys made of them, else pairs are read; RESULT when places alone are written; DESCENDING;
// KEPT, the rank of the loop over rows; WORDS.
#include "mare.glsl"
#include "bits.glsl"
#include "key.glsl"

layout(std140, binding = 0) uniform Params { uvec4 word[WORDS]; };
#ifdef SOURCE
layout(std430, binding = 1) readonly buffer In { T source[]; };
#define NEXT 2
#else
layout(std430, binding = 1) readonly buffer InKeys { uint in_key[]; };
layout(std430, binding = 2) readonly buffer InPlaces { uint in_place[]; };
#define NEXT 3
#endif
#ifdef RESULT
layout(std430, binding = NEXT) writeonly buffer Out { int result[]; };
#else
layout(std430, binding = NEXT) writeonly buffer OutKeys { uint out_key[]; };
layout(std430, binding = NEXT + 1) writeonly buffer OutPlaces { uint out_place[]; };
#endif
#define W(i) word[(i) / 4][(i) % 4]
#define ROWS W(0)
#define LENGTH W(1)     // pairs that a row has
#define SEGMENTS W(2)   // of a row
#define KEEP W(3)       // pairs of a segment that are passed on
#define OUT_LENGTH W(4) // of a row
#define IN_FIRST W(5)
#define IN_STEP W(6)
#define OUT_FIRST W(7)
#define OUT_STEP W(8)
#define SIZE(d) W(9 + (d))
#define IN_STRIDE(d) W(9 + KEPT + (d))
#define OUT_STRIDE(d) W(9 + 2 * KEPT + (d))

shared uint keys[TILE];
shared uint places[TILE];

// Where the row's elements begin in the source and in the result.
void find(uint row, out uint from, out uint to) {
    from = IN_FIRST;
    to = OUT_FIRST;
#if KEPT > 0
    for (int d = KEPT - 1; d >= 0; d--) {
        uint next = d > 0 ? row / SIZE(d) : 0u;
        uint c = row - next * SIZE(d);
        from += c * IN_STRIDE(d);
        to += c * OUT_STRIDE(d);
        row = next;
    }
#endif
}

void order(uint a, uint b) {
    uint ka = keys[a], kb = keys[b], pa = places[a], pb = places[b];
    if (kb < ka || (kb == ka && pb < pa)) {
        keys[a] = kb;
        keys[b] = ka;
        places[a] = pb;
        places[b] = pa;
    }
}

void main() {
    uint id = gl_LocalInvocationID.x, step = gl_WorkGroupSize.x;
    uint first = group_index() * (TILE / SEGMENT);
    for (uint t = id; t < TILE; t += step) {
        uint segment = first + t / SEGMENT;
        uint row = segment / SEGMENTS;
        uint at = (segment - row * SEGMENTS) * SEGMENT + t % SEGMENT;
        uint key = 0xffffffffu, place = 0xffffffffu;
        if (row < ROWS && at < LENGTH) {
#ifdef SOURCE
            uint from, to;
            find(row, from, to);
            key = sort_key(source[from + at * IN_STEP]);
            place = at;
#else
            key = in_key[row * LENGTH + at];
            place = in_place[row * LENGTH + at];
#endif
        }
        keys[t] = key;
        places[t] = place;
    }
    for (uint size = 2u; size <= SEGMENT; size *= 2u) {
        barrier();
        for (uint c = id; c < TILE / 2u; c += step) { // both halves from their middle outwards
            uint half_size = size / 2u, off = c % half_size, base = c / half_size * size;
            order(base + off, base + size - 1u - off);
        }
        for (uint gap = size / 4u; gap > 0u; gap /= 2u) {
            barrier();
            for (uint c = id; c < TILE / 2u; c += step) {
                uint a = c / gap * gap * 2u + c % gap;
                order(a, a + gap);
            }
        }
    }
    barrier();
    for (uint t = id; t < TILE; t += step) {
        uint segment = first + t / SEGMENT, i = t % SEGMENT;
        uint row = segment / SEGMENTS, part = segment - row * SEGMENTS;
        if (row < ROWS && i < KEEP && part * SEGMENT + i < LENGTH) {
            uint at = part * KEEP + i;
#ifdef RESULT
            uint from, to;
            find(row, from, to);
            result[to + at * OUT_STEP] = int(places[t]);
#else
            out_key[row * OUT_LENGTH + at] = keys[t];
            out_place[row * OUT_LENGTH + at] = places[t];
#endif
        }
    }
}
