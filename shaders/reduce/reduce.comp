// out[o, part] = op over the part's elements of input[o, ...]. One workgroup (GROUP) or one
// invocation makes one result; long reductions are cut into parts, which a second launch reduces.
// The parts of argmax and argmin are places: the second launch (PICK) chooses among them by the
// elements there.
//
// FOUR: elements come in turns of four neighbours, all of them for one result. COLUMNS: an invocation
// makes so many times four results, each four of neighbours that it reads at once, and the fours a
// workgroup apart. Both read whole vec4; lengths, parts and steps along the axis that is walked in
// fours are counted so.
//
// The work: 4 bytes an element, and for sums 6 operations that keep what rounding takes away. A GPU is
// held up by memory; a CPU by its driver's loads, each of which costs about the same for 4 bytes as
// for 16, and by the barriers of a workgroup that is more than one subgroup. Down columns it waits for
// memory, since every row is a page of its own: COLUMNS 2 reads 256 bytes of each at once, which is 3
// times as fast as 1 on lavapipe 26.2; 4 is no faster, and compiles for twice as long.
//
// BEFORE and AFTER: programs make the elements, or take the results (attach.glsl).
// Defines: KIND_<op>, T, and T4, its vector; KEPT and REDUCED, the ranks of the loops over results and over what is
// reduced; WORDS.
#ifdef ONE_SUBGROUP
#extension GL_KHR_shader_subgroup_shuffle : require
#endif
#include "mare.glsl"
#if defined BEFORE || defined AFTER
#include "attach.glsl"
#else
#include "bits.glsl"
#endif

layout(std140, binding = 0) uniform Params {
    uvec4 word[WORDS];
#ifdef ATTACHED_WORDS
    uvec4 attached[ATTACHED_WORDS];
#endif
};
#if defined FOUR || defined COLUMNS
#define WIDE 4
#else
#define WIDE 1
#endif
#ifdef COLUMNS
#define FOURS COLUMNS // that an invocation does side by side
#else
#define FOURS 1
#endif
#ifdef BEFORE
#define OUT_BINDING 1
#if WIDE == 4
#define SOURCE(i) T4(before(i), before((i) + 1u), before((i) + 2u), before((i) + 3u))
#else
#define SOURCE(i) before(i)
#endif
#else
#define OUT_BINDING 2
#if WIDE == 4
#define SOURCE(i) source[(i) >> 2]
layout(std430, binding = 1) readonly buffer In { T4 source[]; };
#else
#define SOURCE(i) source[i]
layout(std430, binding = 1) readonly buffer In { T source[]; };
#endif
#endif
#ifdef AFTER
#define WRITE(i, v) after(i, v)
#else
#define WRITE(i, v) result[i] = v
#if defined KIND_argmax || defined KIND_argmin
layout(std430, binding = OUT_BINDING) writeonly buffer Out { int result[]; };
#else
layout(std430, binding = OUT_BINDING) writeonly buffer Out { T result[]; };
#endif
#endif
#if defined BEFORE || defined AFTER
ATTACHED_TEXT
#endif
#ifdef PICK
layout(std430, binding = 3) readonly buffer Candidates { int candidate[]; };
#endif
#define W(i) word[(i) / 4][(i) % 4]
#define RESULTS W(0)   // loop over results
#define LENGTH W(1)    // elements that each takes
#define IN_FIRST W(2)
#define OUT_FIRST W(3)
#define PART W(4)      // elements a part
#define PARTS W(5)
#define CANDIDATE_FIRST W(6)
#define BESIDE W(7)    // from one of COLUMNS to the next, in the output
#define KEPT_SIZE(d) W(8 + (d))
#define KEPT_IN(d) W(8 + KEPT + (d))
#define KEPT_OUT(d) W(8 + 2 * KEPT + (d))
#define REDUCED_SIZE(d) W(8 + 3 * KEPT + (d))
#define REDUCED_IN(d) W(8 + 3 * KEPT + REDUCED + (d))

#include "fold.glsl"

// ---- The walk -------------------------------------------------------------------------------

// Where element r of those reduced lies, from the first on; its coordinates are left in `coord`.
#if REDUCED > 0
uint coord[REDUCED];
#endif
uint seek(uint r) {
    uint place = 0u;
#if REDUCED > 0
    for (int d = REDUCED - 1; d > 0; d--) {
        uint next = r / REDUCED_SIZE(d);
        coord[d] = r - next * REDUCED_SIZE(d);
        place += coord[d] * REDUCED_IN(d);
        r = next;
    }
    coord[0] = r;
    place += r * REDUCED_IN(0);
#endif
    return place;
}

// Puts elements first, first + step, ... below end. Their coordinates are carried along, digit by
// digit: a division for every element would cost more than its load.
void gather(inout Sum a[WIDE * FOURS], uint base[FOURS], uint first, uint end, uint step) {
    uint forward = seek(step);
#if REDUCED > 1
    uint turn[REDUCED], size[REDUCED], carried[REDUCED];
    for (int d = 1; d < REDUCED; d++) {
        turn[d] = coord[d];
        size[d] = REDUCED_SIZE(d);
        carried[d] = REDUCED_IN(d - 1) - size[d] * REDUCED_IN(d);
    }
#endif
    uint at = seek(first);
    for (uint r = first; r < end; r += step) {
#ifdef FOUR
        T4 x = SOURCE(base[0] + at);
        for (int c = 0; c < 4; c++) put(a[c], x[c], 4u * r + uint(c));
#elif defined COLUMNS
        T4 x[FOURS];
        for (int q = 0; q < FOURS; q++) x[q] = SOURCE(base[q] + at);
        for (int i = 0; i < 4 * FOURS; i++) put(a[i], x[i / 4][i % 4], r);
#else
        put(a[0], SOURCE(base[0] + at), r);
#endif
        at += forward;
#if REDUCED > 1
        bool carry = false;
        for (int d = REDUCED - 1; d > 0; d--) {
            uint c = coord[d] + turn[d] + (carry ? 1u : 0u);
            carry = c >= size[d];
            coord[d] = carry ? c - size[d] : c;
            at += carry ? carried[d] : 0u;
        }
#endif
    }
}

void find(uint o, out uint base, out uint target) {
    base = IN_FIRST;
    target = OUT_FIRST;
#if KEPT > 0
    for (int d = KEPT - 1; d >= 0; d--) {
        uint next = d > 0 ? o / KEPT_SIZE(d) : 0u;
        uint c = o - next * KEPT_SIZE(d);
        base += c * KEPT_IN(d);
        target += c * KEPT_OUT(d);
        o = next;
    }
#endif
}

// ---- Joining what the invocations have --------------------------------------------------------

#ifdef ONE_SUBGROUP
// The first invocation gets what all have.
void join_group(inout Sum a) {
    uint id = gl_LocalInvocationID.x;
    for (uint n = gl_WorkGroupSize.x; n > 1u;) {
        uint half_n = (n + 1u) / 2u, from = min(id + half_n, gl_WorkGroupSize.x - 1u);
        Sum b = words_sum(subgroupShuffle(sum_words(a), from));
        if (id + half_n < n) join(a, b);
        n = half_n;
    }
}
#elif defined GROUP
shared Sum sums[gl_WorkGroupSize.x];

void join_group(inout Sum a) {
    uint id = gl_LocalInvocationID.x;
    sums[id] = a;
    for (uint n = gl_WorkGroupSize.x; n > 1u;) {
        uint half_n = (n + 1u) / 2u;
        barrier();
        if (id + half_n < n) {
            Sum b = sums[id];
            join(b, sums[id + half_n]);
            sums[id] = b;
        }
        n = half_n;
    }
    a = sums[0];
}
#endif

void main() {
#ifdef GROUP
    uint job = group_index(), id = gl_LocalInvocationID.x, step = gl_WorkGroupSize.x;
#else
    uint job = global_index(), id = 0u, step = 1u;
#endif
#ifdef COLUMNS
    uint size = gl_WorkGroupSize.x, tiles = (RESULTS + size * FOURS - 1u) / (size * FOURS);
    uint tile = group_index(), part = tile / tiles;
    uint o = (tile - part * tiles) * size * FOURS + gl_LocalInvocationID.x;
#else
    uint part = job / RESULTS, o = job - part * RESULTS, size = 0u;
#endif
    bool live = part < PARTS && o < RESULTS;
    uint base[FOURS], target[FOURS];
    for (uint q = 0u; q < FOURS; q++) find(min(o + q * size, RESULTS - 1u), base[q], target[q]);
    Sum a[WIDE * FOURS];
    for (int i = 0; i < WIDE * FOURS; i++) a[i] = start();
#ifdef PICK
    if (live) {
        for (uint r = id; r < LENGTH; r += step) {
            uint at = uint(candidate[CANDIDATE_FIRST + o * LENGTH + r]);
            put(a[0], source[base[0] + seek(at)], at);
        }
    }
#else
    if (live) gather(a, base, part * PART + id, min(LENGTH, (part + 1u) * PART), step);
#endif
#ifdef FOUR
    join(a[0], a[1]);
    join(a[2], a[3]);
    join(a[0], a[2]);
#endif
#ifdef GROUP
    join_group(a[0]);
    if (id != 0u) return;
#endif
    if (!live) return;
#ifdef COLUMNS
    for (uint q = 0u; q < FOURS && o + q * size < RESULTS; q++)
        for (uint c = 0u; c < 4u; c++)
            WRITE(target[q] + part + c * BESIDE, RESULT(a[4u * q + c]));
#else
    WRITE(target[0] + part, RESULT(a[0]));
#endif
}
