// Merges neighbouring sorted runs of rows, pairs of a key and a place, into runs of twice the
// length. An invocation makes CHUNK pairs in their order: a binary search along the diagonal of the
// two runs tells where they begin (merge path: Odeh, Green, Mwassi, Shmueli, Birk, 2012).
//
// Defines: CHUNK; RESULT when places alone are written, for the last merge; KEPT, the rank of the
// loop over rows; WORDS.
#include "mare.glsl"

layout(std140, binding = 0) uniform Params { uvec4 word[WORDS]; };
layout(std430, binding = 1) readonly buffer InKeys { uint in_key[]; };
layout(std430, binding = 2) readonly buffer InPlaces { uint in_place[]; };
#ifdef RESULT
layout(std430, binding = 3) writeonly buffer Out { int result[]; };
#else
layout(std430, binding = 3) writeonly buffer OutKeys { uint out_key[]; };
layout(std430, binding = 4) writeonly buffer OutPlaces { uint out_place[]; };
#endif
#define W(i) word[(i) / 4][(i) % 4]
#define ROWS W(0)
#define LENGTH W(1) // of a row
#define RUN W(2)    // of a run; CHUNK divides it
#define LIMIT W(3)  // pairs of a row that are made
#define CHUNKS W(4) // of a row
#define OUT_FIRST W(5)
#define OUT_STEP W(6)
#define SIZE(d) W(7 + (d))
#define OUT_STRIDE(d) W(7 + 2 * KEPT + (d))

void main() {
    uint i = global_index();
    uint row = i / CHUNKS;
    uint at = (i - row * CHUNKS) * CHUNK;
    if (row >= ROWS) return;
    uint base = at / (2u * RUN) * (2u * RUN), source = row * LENGTH;
    uint a = source + base, a_end = min(a + RUN, source + LENGTH);
    uint b = a_end, b_end = min(b + RUN, source + LENGTH);
    // The first `diagonal` pairs of the merged run are lo from the first and the rest from the second.
    uint diagonal = at - base, b_count = b_end - b;
    uint lo = diagonal - min(diagonal, b_count), hi = min(diagonal, a_end - a);
    while (lo < hi) {
        uint middle = (lo + hi) / 2u;
        bool low = in_key[a + middle] <= in_key[b + diagonal - 1u - middle];
        lo = low ? middle + 1u : lo;
        hi = low ? hi : middle;
    }
    a += lo;
    b += diagonal - lo;
    uint end = min(min(at + CHUNK, base + 2u * RUN), LIMIT);
#ifdef RESULT
    uint to = OUT_FIRST, rest = row;
#if KEPT > 0
    for (int d = KEPT - 1; d >= 0; d--) {
        uint next = d > 0 ? rest / SIZE(d) : 0u;
        to += (rest - next * SIZE(d)) * OUT_STRIDE(d);
        rest = next;
    }
#endif
#endif
    uint last = source + LENGTH - 1u;
    uint key_a = in_key[min(a, last)], key_b = in_key[min(b, last)];
    for (; at < end; at++) {
        bool first = b >= b_end || (a < a_end && key_a <= key_b);
        uint from = first ? a : b;
#ifdef RESULT
        result[to + at * OUT_STEP] = int(in_place[from]);
#else
        out_key[source + at] = first ? key_a : key_b;
        out_place[source + at] = in_place[from];
#endif
        a += first ? 1u : 0u;
        b += first ? 0u : 1u;
        uint key = in_key[min(first ? a : b, last)];
        key_a = first ? key : key_a;
        key_b = first ? key_b : key;
    }
}
