// Whole vectors for software drivers that run each invocation in a lane of the processor's SIMD unit
// (DEV_UNIFORM_LOADS).
//
// Such a driver makes a gather with a check of bounds in each lane of an ordinary load, even when the
// lanes read neighbours. But a load whose address the subgroup shares is one load of the processor,
// unchecked when it is by address; so is a group of them from neighbouring addresses of which each
// lane picks its own: the compiler sees that they are one vector. On one machine a copy that
// loads so is 2 times as fast as with a vec4 an invocation, and a matrix product 4 times.
//
// Two rules. All LANES of the subgroup are active. And a loop that loads so is a do-while: when a
// loop's condition stands at its start, the driver runs its body once more after the last turn, with
// no lane active, and loads from beyond the end.
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#include "address.glsl"
#define LANE gl_SubgroupInvocationID

layout(buffer_reference, std430, buffer_reference_align = 4) readonly buffer Floats { float v[1 << 20]; };
layout(buffer_reference, std430, buffer_reference_align = 4) readonly buffer Ints { int v[1 << 20]; };

// Elements i to i + LANES - 1, one in each lane; i and the address are the subgroup's.
#define LOAD_LANES(name, T, Buffer) \
    T name(Buffer from, int i) { \
        T x = from.v[i]; \
        [[unroll]] for (int lane = 1; lane < LANES; lane++) { \
            T other = from.v[i + lane]; \
            x = LANE == lane ? other : x; \
        } \
        return x; \
    }
LOAD_LANES(load_floats, float, Floats)
LOAD_LANES(load_ints, int, Ints)
