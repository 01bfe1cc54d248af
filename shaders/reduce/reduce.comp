// out[o, part] = op over the part's elements of input[o, ...]. One workgroup (GROUP) or one
// invocation makes one result; long reductions are cut into parts, which a second launch reduces.
// The parts of argmax and argmin are places: the second launch (PICK) chooses among them by the
// elements there.
//
// BEFORE and AFTER: programs make the elements, or take the results (attach.glsl).
// Defines: KIND_<op>, T; KEPT and REDUCED, the ranks of the loops over results and over what is
// reduced; WORDS.
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
#ifdef BEFORE
#define OUT_BINDING 1
#define SOURCE(i) before(i)
#else
#define OUT_BINDING 2
#define SOURCE(i) source[i]
layout(std430, binding = 1) readonly buffer In { T source[]; };
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
#define KEPT_SIZE(d) W(7 + (d))
#define KEPT_IN(d) W(7 + KEPT + (d))
#define KEPT_OUT(d) W(7 + 2 * KEPT + (d))
#define REDUCED_SIZE(d) W(7 + 3 * KEPT + (d))
#define REDUCED_IN(d) W(7 + 3 * KEPT + REDUCED + (d))

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
void gather(inout Sum a, uint base, uint first, uint end, uint step) {
    uint forward = seek(step);
#if REDUCED > 1
    uint turn[REDUCED], size[REDUCED], carried[REDUCED];
    for (int d = 1; d < REDUCED; d++) {
        turn[d] = coord[d];
        size[d] = REDUCED_SIZE(d);
        carried[d] = REDUCED_IN(d - 1) - size[d] * REDUCED_IN(d);
    }
#endif
    base += seek(first);
    for (uint r = first; r < end; r += step) {
        put(a, SOURCE(base), r);
        base += forward;
#if REDUCED > 1
        bool carry = false;
        for (int d = REDUCED - 1; d > 0; d--) {
            uint c = coord[d] + turn[d] + (carry ? 1u : 0u);
            carry = c >= size[d];
            coord[d] = carry ? c - size[d] : c;
            base += carry ? carried[d] : 0u;
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

#ifdef GROUP
shared Sum sums[gl_WorkGroupSize.x];
#endif

void main() {
#ifdef GROUP
    uint job = group_index(), id = gl_LocalInvocationID.x, step = gl_WorkGroupSize.x;
#else
    uint job = global_index(), id = 0u, step = 1u;
#endif
    uint part = job / RESULTS, o = job - part * RESULTS;
    bool live = part < PARTS;
    uint base, target;
    find(o, base, target);
    Sum a = start();
#ifdef PICK
    if (live) {
        for (uint r = id; r < LENGTH; r += step) {
            uint at = uint(candidate[CANDIDATE_FIRST + o * LENGTH + r]);
            put(a, source[base + seek(at)], at);
        }
    }
#else
    if (live) gather(a, base, part * PART + id, min(LENGTH, (part + 1u) * PART), step);
#endif
#ifdef GROUP
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
    if (id != 0u) return;
    a = sums[0];
#endif
    if (live) WRITE(target + part, RESULT(a));
}
