// What all invocations of a workgroup have together; each gets the result. With nothing defined an
// invocation works alone. GROUP: through shared memory. SUBGROUPS, besides: through subgroups first,
// with the extension GL_KHR_shader_subgroup_arithmetic, which the shader names; ONE_SUBGROUP: the
// workgroup is one, and nothing needs a barrier. That is how a CPU works best, where a barrier
// switches between the subgroups' stacks: softmax of 1,024 x 1,024 is 1.8 times as fast by it.
#ifndef GROUP
#define group_total(x) (x)
#define group_largest(x) (x)
#else

// The larger; NaN wins.
float larger_of(float a, float b) { return is_nan(a) || (a > b && !is_nan(b)) ? a : b; }

#ifndef ONE_SUBGROUP
shared vec2 group_values[gl_WorkGroupSize.x];

// Of `n` values, the first ones of group_values.
vec2 joined_values(vec2 mine, uint at, uint n, bool largest) {
    barrier(); // the values of the call before were read
    if (at < n) group_values[at] = mine;
    // A few are quicker read by each invocation than joined in pairs, with a barrier at every turn.
    if (n > 16u) {
        for (uint m = n; m > 1u;) {
            uint half_m = (m + 1u) / 2u;
            barrier();
            if (at + half_m < m) {
                vec2 a = group_values[at], b = group_values[at + half_m];
                group_values[at] = largest ? vec2(larger_of(a.x, b.x), 0.0) : a + b;
            }
            m = half_m;
        }
        barrier();
        return group_values[0];
    }
    barrier();
    vec2 all = group_values[0];
    for (uint i = 1u; i < n; i++) {
        vec2 b = group_values[i];
        all = largest ? vec2(larger_of(all.x, b.x), 0.0) : all + b;
    }
    return all;
}
#endif

#ifdef SUBGROUPS
// Order-preserving words, NaN above all: what subgroupMax() makes of NaN is not said.
float subgroup_largest(float x) {
    uint b = floatBitsToUint(x), key = (b & 0x80000000u) != 0u ? ~b : b | 0x80000000u;
    key = subgroupMax(is_nan(x) ? 0xffffffffu : key);
    return uintBitsToFloat((key & 0x80000000u) != 0u ? key & 0x7fffffffu : ~key);
}
#ifdef ONE_SUBGROUP
#define across_subgroups(x, largest) (x)
#else
// One invocation of each subgroup brings its values.
vec2 across_subgroups(vec2 x, bool largest) {
    uint at = subgroupElect() ? gl_SubgroupID : gl_WorkGroupSize.x;
    return gl_NumSubgroups > 1u ? joined_values(x, at, gl_NumSubgroups, largest) : x;
}
#endif
float group_total(float x) { return across_subgroups(vec2(subgroupAdd(x), 0.0), false).x; }
vec2 group_total(vec2 x) { return across_subgroups(subgroupAdd(x), false); }
float group_largest(float x) { return across_subgroups(vec2(subgroup_largest(x), 0.0), true).x; }
#else
float group_total(float x) {
    return joined_values(vec2(x, 0.0), gl_LocalInvocationID.x, gl_WorkGroupSize.x, false).x;
}
vec2 group_total(vec2 x) {
    return joined_values(x, gl_LocalInvocationID.x, gl_WorkGroupSize.x, false);
}
float group_largest(float x) {
    return joined_values(vec2(x, 0.0), gl_LocalInvocationID.x, gl_WorkGroupSize.x, true).x;
}
#endif
#endif
