// The gradient of a recurrence, from the last step to the first: of the gates before their
// activation, of c and of h. Weights: W, the projection, the lengths; without GROUP the lengths, the
// product at hand, and the gates' gradients for the next one.
#include "common.glsl"

layout(std430, binding = 2) readonly buffer Y { float y[]; };
layout(std430, binding = 3) readonly buffer GY { float gy[]; };
layout(std430, binding = 4) buffer Grad { float grad[]; };

// A row of this step and one of the step before, in all three.
struct rows {
    uint t;
    uint y[R], y0[R], g[R], g0[R], o[R], o0[R];
};

rows rows_at(place p, uint s) {
    rows a;
    a.t = p.back ? last_row - 1u - s : s;
    uint now = p.back ? a.t : a.t + 1u, before = p.back ? a.t + 1u : a.t;
    EACH(r, R) {
        uint i = now * count + p.row[r], i0 = before * count + p.row[r];
        a.y[r] = y_first + p.dir * y_dir + i * WIDTH;
        a.y0[r] = y_first + p.dir * y_dir + i0 * WIDTH;
        a.g[r] = other_first + p.dir * other_dir + i * WIDTH;
        a.g0[r] = other_first + p.dir * other_dir + i0 * WIDTH;
        a.o[r] = grad_first + p.dir * grad_dir + i * GRAD_WIDTH;
        a.o0[r] = grad_first + p.dir * grad_dir + i0 * GRAD_WIDTH;
    }
    return a;
}

// Keeps the gradients of the gates' hidden products for carry().
#ifdef GROUP
#define KEEP(r, g, value) room[(r) * GATES * hidden + (g) * hidden + j] = value
#elif CELL == 3
#define KEEP(r, g, value) \
    if (p.own[r]) weights[p.weights + kept_at + (p.row[r] * GATES + (g)) * hidden + j] = value
#else
#define KEEP(r, g, value)
#endif

// The gates of unit j. dh: where the state's gradient is in shared memory, when it is projected.
void unit_step(place p, uint j, rows a, uint dh, bool start) {
#ifdef PROJECTED
    float dm[R];
    EACH(r, R) dm[r] = gy[a.g[r] + M_AT + j];
#ifdef GROUP
    uint at = p.weights + projection_at + j;
    for (uint k = 0u; k < outputs; k++) {
        float w = weights[at];
        at += hidden;
        EACH(r, R) dm[r] = fma(w, room[dh + r * outputs + k], dm[r]);
    }
#else
    EACH(r, R) dm[r] += weights[p.weights + product_at + p.row[r] * hidden + j];
#endif
#endif
    EACH(r, R) {
        bool over = ended(p, r, a.t);
#ifdef PROJECTED
        float d = dm[r];
#else
        float d = grad[a.o[r] + DH_AT + j];
#endif
#if CELL < 2
        float h = y[a.y[r] + j];
        float da[1];
        da[0] = CELL == 0 ? d * (1.0 - h * h) : h > 0.0 ? d : 0.0;
        da[0] = over ? 0.0 : da[0];
        KEEP(r, 0u, da[0]);
#else
        float gate[4], gg[4];
        EACH(g, 4u) {
            gate[g] = y[a.y[r] + g * hidden + j];
            gg[g] = gy[a.g[r] + g * hidden + j];
        }
        float da[4];
#endif
#if CELL == 2
        float tc = m_tanh(y[a.y[r] + C_AT + j]), c0 = y[a.y0[r] + C_AT + j];
        float dc = grad[a.o[r] + DC_AT + j];
        dc = over ? dc : fma(d * gate[3], 1.0 - tc * tc, dc);
        da[0] = fma(dc, gate[2], gg[0]) * gate[0] * (1.0 - gate[0]);
        da[1] = fma(dc, c0, gg[1]) * gate[1] * (1.0 - gate[1]);
        da[2] = fma(dc, gate[0], gg[2]) * (1.0 - gate[2] * gate[2]);
        da[3] = fma(d, tc, gg[3]) * gate[3] * (1.0 - gate[3]);
        EACH(g, 4u) {
            da[g] = over ? 0.0 : da[g];
            KEEP(r, g, da[g]);
        }
        float before = gy[a.g0[r] + C_AT + j] + (over ? dc : dc * gate[1]);
        if (p.own[r]) {
            grad[a.o[r] + DC_AT + j] = dc;
            grad[a.o0[r] + DC_AT + j] = before;
        }
#elif CELL == 3
        float h0 = y[a.y0[r] + H_AT + j];
        da[2] = fma(d, 1.0 - gate[1], gg[2]) * (1.0 - gate[2] * gate[2]);
        da[3] = fma(da[2], gate[0], gg[3]);
        da[0] = fma(da[2], gate[3], gg[0]) * gate[0] * (1.0 - gate[0]);
        da[1] = fma(d, h0 - gate[2], gg[1]) * gate[1] * (1.0 - gate[1]);
        EACH(g, 4u) da[g] = over ? 0.0 : da[g];
        KEEP(r, 0u, da[0]);
        KEEP(r, 1u, da[1]);
        KEEP(r, 2u, da[3]);
#endif
        if (p.own[r]) EACH(g, ALL_GATES) {
            grad[a.o[r] + g * hidden + j] = da[g];
            if (start) grad[a.o0[r] + g * hidden + j] = 0.0;
        }
    }
}

// What goes to output j of the state before.
void carry(place p, uint j, rows a, uint dh) {
    float acc[R];
#ifdef GROUP
    EACH(r, R) acc[r] = 0.0;
    uint at = p.weights + j;
    for (uint k = 0u; k < GATES * hidden; k++) {
        float w = weights[at];
        at += outputs;
        EACH(r, R) acc[r] = fma(w, room[r * GATES * hidden + k], acc[r]);
    }
#else
    EACH(r, R) acc[r] = weights[p.weights + product_at + p.row[r] * outputs + j];
#endif
    EACH(r, R) {
        float d = grad[a.o[r] + DH_AT + j];
#if CELL == 3
        acc[r] = fma(d, y[a.y[r] + hidden + j], acc[r]);
#endif
        acc[r] = gy[a.g0[r] + H_AT + j] + (ended(p, r, a.t) ? d : acc[r]);
        if (p.own[r]) grad[a.o0[r] + DH_AT + j] = acc[r];
#if defined GROUP && defined PROJECTED
        room[dh + r * outputs + j] = acc[r];
#endif
    }
}

#ifdef GROUP

void main() {
    place p = find_place(0u);
    if (!p.live) return;
    uint dh = R * GATES * hidden;
    rows a = rows_at(p, first);
#ifdef PROJECTED
    for (uint k = LANE; k < outputs; k += LANES)
        EACH(r, R) room[dh + r * outputs + k] = grad[a.o[r] + DH_AT + k];
    barrier();
#endif
    for (uint s = first + 1u; s > first + 1u - steps; s--) {
        a = rows_at(p, s - 1u);
        for (uint j = LANE; j < hidden; j += LANES)
            unit_step(p, j, a, dh, s == 1u);
        barrier();
        for (uint j = LANE; j < outputs; j += LANES)
            carry(p, j, a, dh);
        barrier();
    }
}

#else

void main() {
    place p = find_place(STAGE == 0 ? hidden : outputs);
    if (!p.live) return;
    rows a = rows_at(p, first);
#if STAGE == 0
    unit_step(p, p.unit, a, 0u, first == 0u);
#else
    carry(p, p.unit, a, 0u);
#endif
}

#endif
