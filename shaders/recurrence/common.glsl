// What both kernels of a recurrence share: see engine/ops/recurrence.h for how results are packed.
//
// With GROUP, a workgroup takes R sequences through all steps of the launch, its lanes sharing the
// units; barriers within it are the only ones. A unit belongs to the same lane in every step, so
// what is carried from step to step unit by unit needs none. Without GROUP, an invocation takes one
// unit of R sequences through one step, whose matrix products come in ready, with the weights.
//
// Defines: CELL (0 tanh, 1 relu, 2 lstm, 3 gru), PROJECTED, LENGTHS, R, GROUP, STAGE (without
// GROUP). Specialisation constant 1: words of shared memory.
#extension GL_EXT_control_flow_attributes : require
#include "mare.glsl"
#define USE_exp 1
#define USE_tanh 1
#include "math.glsl"

#define EACH(i, n) [[unroll]] for (uint i = 0u; i < n; i++)
#if CELL == 2
#define GATES 4u
#define ALL_GATES 4u
#elif CELL == 3
#define GATES 3u
#define ALL_GATES 4u
#else
#define GATES 1u
#define ALL_GATES 1u
#endif

layout(std140, binding = 0) uniform Params {
    uint steps;     // of this launch
    uint first;     // its first step
    uint last_row;  // of a direction: the number of all steps
    uint count;     // sequences
    uint dirs;      // of this launch
    uint reverse;   // it is the reverse direction alone
    uint hidden, outputs;
    uint tiles;     // of R sequences
    uint weights_first, weights_dir; // a direction's weights follow those of the one before
    uint bias_at, projection_at, lengths_at;
    uint y_first, y_dir;
    uint other_first, other_dir; // the gradient's; or the products' of the first and second direction
    uint grad_first, grad_dir;
    uint product_at, kept_at, unused0, unused1;
};
#ifdef GROUP
layout(std430, binding = 1) readonly buffer Weights { float weights[]; };
#else
layout(std430, binding = 1) buffer Weights { float weights[]; };
#endif

#if CELL == 2
#ifdef PROJECTED
#define WIDTH (6u * hidden + outputs)
#else
#define WIDTH (5u * hidden + outputs)
#endif
#define GRAD_WIDTH (5u * hidden + outputs)
#elif CELL == 3
#define WIDTH (4u * hidden + outputs)
#define GRAD_WIDTH (4u * hidden + outputs)
#else
#define WIDTH outputs
#define GRAD_WIDTH (hidden + outputs)
#endif
// Places in a row.
#define C_AT (4u * hidden)
#define M_AT (5u * hidden)
#define H_AT (WIDTH - outputs)
#define DC_AT (4u * hidden)
#define DH_AT (GRAD_WIDTH - outputs)

#ifdef GROUP
layout(constant_id = 1) const uint SHARED = 1u;
shared float room[SHARED];
#define LANE gl_LocalInvocationID.x
#define LANES gl_WorkGroupSize.x
#endif

// Where this invocation, or this group, works.
struct place {
    bool live;
    uint dir;   // of this launch
    bool back;  // it runs in reverse
    uint row[R]; // sequences; past the last one that one again
    bool own[R]; // and is not stored
    uint weights;
    uint unit;
};

// units: how many there are, without GROUP.
place find_place(uint units) {
    place p;
#ifdef GROUP
    uint tile = group_index();
    p.unit = 0u;
#else
    uint i = global_index();
    uint tile = i / units;
    p.unit = i - tile * units;
#endif
    p.live = tile < tiles * dirs;
    p.dir = tile / tiles;
    p.back = p.dir + reverse == 1u;
    uint row = (tile - p.dir * tiles) * R;
    EACH(r, R) {
        p.own[r] = row + r < count;
        p.row[r] = min(row + r, count - 1u);
    }
    p.weights = weights_first + p.dir * weights_dir;
    return p;
}

// Has sequence r ended before step t of time?
bool ended(place p, uint r, uint t) {
#ifdef LENGTHS
    return float(t) >= weights[p.weights + lengths_at + p.row[r]];
#else
    return false;
#endif
}

float sigmoid(float x) { return 1.0 / (1.0 + m_exp(-x)); }
