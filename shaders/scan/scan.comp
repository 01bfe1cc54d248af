// out[p] = op over the elements 0..p of a row. A workgroup (GROUP) or an invocation takes one block
// of a row: OWN elements an invocation. Of a row of several blocks, first the sum of each is made
// (TOTALS), these sums are scanned themselves (SUMS is read and written in place of elements), and
// then every block begins with the sum of those before it (CARRY).
//
// Defines: KIND_<op>, T (see fold.glsl); KEPT, the rank of the loop over rows; WORDS.
#include "mare.glsl"
#ifdef KIND_logsumexp
#define USE_exp 1
#define USE_log 1
#include "math.glsl"
#else
#include "bits.glsl"
#endif
#include "fold.glsl"

layout(std140, binding = 0) uniform Params { uvec4 word[WORDS]; };
#ifdef SUMS
layout(std430, binding = 1) readonly buffer In { uvec2 source[]; };
#else
layout(std430, binding = 1) readonly buffer In { T source[]; };
#endif
#if defined SUMS || defined TOTALS
layout(std430, binding = 2) writeonly buffer Out { uvec2 result[]; };
#elif defined ARG
layout(std430, binding = 2) writeonly buffer Out { int result[]; };
#else
layout(std430, binding = 2) writeonly buffer Out { T result[]; };
#endif
#ifdef CARRY
layout(std430, binding = 3) readonly buffer Carry { uvec2 before[]; };
#endif
#define W(i) word[(i) / 4][(i) % 4]
#define ROWS W(0)
#define LENGTH W(1) // of a row
#define BLOCKS W(2) // of a row
#define OWN W(3)    // elements of an invocation
#define IN_FIRST W(4)
#define IN_STEP W(5)
#define OUT_FIRST W(6)
#define OUT_STEP W(7)
#define SIZE(d) W(8 + (d))
#define IN_STRIDE(d) W(8 + KEPT + (d))
#define OUT_STRIDE(d) W(8 + 2 * KEPT + (d))

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

void take(inout Sum a, uint from, uint p) {
#ifdef SUMS
    join(a, words_sum(source[from + p * IN_STEP]));
#else
    put(a, source[from + p * IN_STEP], p);
#endif
}

#ifdef GROUP
shared Sum sums[gl_WorkGroupSize.x];
#endif

void main() {
#ifdef GROUP
    uint job = group_index(), id = gl_LocalInvocationID.x, size = gl_WorkGroupSize.x;
#else
    uint job = global_index(), id = 0u, size = 1u;
#endif
    uint block = job / ROWS, row = job - block * ROWS;
    bool live = block < BLOCKS;
    uint from, to;
    find(row, from, to);
    uint first = (block * size + id) * OWN;
    uint end = live ? min(first + OWN, LENGTH) : first;
#if defined GROUP || defined TOTALS
    Sum own = start();
    for (uint p = first; p < end; p++)
        take(own, from, p);
#endif
#ifdef GROUP
    // The sums of all invocations up to each (Hillis and Steele, 1986).
    sums[id] = own;
    for (uint n = 1u; n < size; n *= 2u) {
        barrier();
        Sum a = sums[id];
        if (id >= n) {
            a = sums[id - n];
            join(a, sums[id]);
        }
        barrier();
        sums[id] = a;
    }
    barrier();
#endif
#ifdef TOTALS
#ifdef GROUP
    own = sums[id];
#endif
    if (live && id == size - 1u) result[row * BLOCKS + block] = sum_words(own);
#else
    Sum a = start();
#ifdef CARRY
    if (live && block > 0u) a = words_sum(before[row * BLOCKS + block - 1u]);
#endif
#ifdef GROUP
    if (id > 0u) join(a, sums[id - 1u]);
#endif
    for (uint p = first; p < end; p++) {
        take(a, from, p);
#ifdef SUMS
        result[to + p * OUT_STEP] = sum_words(a);
#else
        result[to + p * OUT_STEP] = RESULT(a);
#endif
    }
#endif
}
