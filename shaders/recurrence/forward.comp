// A recurrence: h' = cell(x + b + W h). Weights: W transposed, the bias, the projection transposed,
// the lengths; without GROUP the bias, the lengths and the product at hand.
#include "common.glsl"

layout(std430, binding = 2) buffer Y { float y[]; };
layout(std430, binding = 3) readonly buffer X { float x[]; };
#ifdef BOTH
layout(std430, binding = 4) readonly buffer X2 { float x2[]; };
#endif

float product(place p, uint at) {
#ifdef BOTH
    float value;
    if (p.dir == 1u)
        value = x2[other_dir + at];
    else
        value = x[other_first + at];
    return value;
#else
    return x[other_first + at];
#endif
}

// One unit of R sequences at step t of time. from, to: rows of y. h: where the hidden state before
// begins in shared memory; m: where h, or m, of this step goes.
void unit_step(place p, uint j, uint t, uint from[R], uint to[R], uint h, uint m, bool start) {
    float acc[GATES][R];
    uint step = GATES * hidden;
#ifdef GROUP
    EACH(g, GATES) EACH(r, R) acc[g][r] = 0.0;
    uint at = p.weights + j;
    for (uint k = 0u; k < outputs; k++) {
        float w[GATES];
        EACH(g, GATES) w[g] = weights[at + g * hidden];
        at += step;
        EACH(r, R) {
            float s = room[h + r * outputs + k];
            EACH(g, GATES) acc[g][r] = fma(w[g], s, acc[g][r]);
        }
    }
#else
    EACH(g, GATES) EACH(r, R)
        acc[g][r] = weights[p.weights + product_at + p.row[r] * step + g * hidden + j];
#endif
    float b[ALL_GATES];
    EACH(g, ALL_GATES) b[g] = weights[p.weights + bias_at + g * hidden + j];
    EACH(r, R) {
        bool over = ended(p, r, t);
        uint xat = (t * count + p.row[r]) * step + j;
        float a[GATES];
        EACH(g, GATES) a[g] = product(p, xat + g * hidden) + b[g];
#if CELL == 2
        float before = y[from[r] + C_AT + j];
        float in_gate = sigmoid(a[0] + acc[0][r]), forget = sigmoid(a[1] + acc[1][r]);
        float value = m_tanh(a[2] + acc[2][r]), open = sigmoid(a[3] + acc[3][r]);
        float c = over ? before : fma(forget, before, in_gate * value);
        float gate[4] = float[4](in_gate, forget, value, open);
        float next = open * m_tanh(c);
#else
#ifdef GROUP
        float before = room[h + r * outputs + j];
#else
        float before = y[from[r] + H_AT + j];
#endif
#endif
#if CELL == 0
        float next = m_tanh(a[0] + acc[0][r]);
#elif CELL == 1
        float next = max(a[0] + acc[0][r], 0.0);
        next = is_nan(a[0] + acc[0][r]) ? a[0] + acc[0][r] : next;
#elif CELL == 3
        float reset = sigmoid(a[0] + acc[0][r]), keep = sigmoid(a[1] + acc[1][r]);
        float q = acc[2][r] + b[3], value = m_tanh(fma(reset, q, a[2]));
        float gate[4] = float[4](reset, keep, value, q);
        float next = fma(keep, before - value, value);
#endif
        // A state that ended stays; gates of no step are 0.
#if CELL >= 2
        if (p.own[r]) EACH(g, 4u) {
            y[to[r] + g * hidden + j] = over ? 0.0 : gate[g];
            if (start) y[from[r] + g * hidden + j] = 0.0;
        }
#endif
#if CELL == 2
        if (p.own[r]) y[to[r] + C_AT + j] = c;
#endif
#ifdef PROJECTED
        next = over ? 0.0 : next;
        if (p.own[r]) {
            y[to[r] + M_AT + j] = next;
            if (start) y[from[r] + M_AT + j] = 0.0;
        }
#ifdef GROUP
        room[m + r * hidden + j] = next;
#endif
#else
#if CELL == 2
#ifdef GROUP
        next = over ? room[h + r * outputs + j] : next;
#else
        next = over ? y[from[r] + H_AT + j] : next;
#endif
#else
        next = over ? before : next;
#endif
        if (p.own[r]) y[to[r] + H_AT + j] = next;
#ifdef GROUP
        room[m + r * outputs + j] = next;
#endif
#endif
    }
}

#ifdef PROJECTED
// One output of R sequences.
void project(place p, uint j, uint t, uint from[R], uint to[R], uint h, uint m) {
    float acc[R];
#ifdef GROUP
    EACH(r, R) acc[r] = 0.0;
    uint at = p.weights + projection_at + j;
    for (uint k = 0u; k < hidden; k++) {
        float w = weights[at];
        at += outputs;
        EACH(r, R) acc[r] = fma(w, room[m + r * hidden + k], acc[r]);
    }
#else
    EACH(r, R) acc[r] = weights[p.weights + product_at + p.row[r] * outputs + j];
#endif
    EACH(r, R) {
#ifdef GROUP
        float next = ended(p, r, t) ? room[h + r * outputs + j] : acc[r];
        room[h + r * outputs + j] = next;
#else
        float next = ended(p, r, t) ? y[from[r] + H_AT + j] : acc[r];
#endif
        if (p.own[r]) y[to[r] + H_AT + j] = next;
    }
}
#endif

void rows_at(place p, uint s, out uint t, out uint from[R], out uint to[R]) {
    t = p.back ? last_row - 1u - s : s;
    uint base = y_first + p.dir * y_dir;
    EACH(r, R) {
        from[r] = base + ((p.back ? t + 1u : t) * count + p.row[r]) * WIDTH;
        to[r] = base + ((p.back ? t : t + 1u) * count + p.row[r]) * WIDTH;
    }
}

#ifdef GROUP

void main() {
    place p = find_place(0u);
    if (!p.live) return;
    uint t, from[R], to[R], h = 0u, m = R * outputs;
    rows_at(p, first, t, from, to);
    for (uint k = LANE; k < outputs; k += LANES)
        EACH(r, R) room[r * outputs + k] = y[from[r] + H_AT + k];
    barrier();
    for (uint s = first; s < first + steps; s++) {
        rows_at(p, s, t, from, to);
        for (uint j = LANE; j < hidden; j += LANES)
            unit_step(p, j, t, from, to, h, m, s == 0u);
        barrier();
#ifdef PROJECTED
        for (uint j = LANE; j < outputs; j += LANES)
            project(p, j, t, from, to, h, m);
        barrier();
#else
        uint next = m; // the state just made, and room for the next one
        m = h;
        h = next;
#endif
    }
}

#else

void main() {
    place p = find_place(STAGE == 0 ? hidden : outputs);
    if (!p.live) return;
    uint t, from[R], to[R];
    rows_at(p, first, t, from, to);
#if STAGE == 0
    unit_step(p, p.unit, t, from, to, 0u, 0u, first == 0u);
#else
    project(p, p.unit, t, from, to, 0u, 0u);
#endif
}

#endif
