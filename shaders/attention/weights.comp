// Scores of a block of rows, as a matrix product made them, to what the next product takes: a
// workgroup is one subgroup, which has one row. It goes over the row three times, all in the cache:
// for the largest score, for the exponentials and their sum, and for the division.
//
// KIND_forward: rows of queries; x becomes the weights, and lse goes to the last column of the result.
// KIND_queries: y is the gradient of the weights, x becomes that of the scores. KIND_keys: the same in
// rows of keys, which have the queries of `repeat` heads one after the other; y becomes the weights.
//
// Defines: LANES, of the subgroup; EV; MASK, CAUSAL, DROPOUT.
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_vote : require
#include "score.glsl"

layout(std430, binding = 1) buffer X { float x[]; };
#ifdef KIND_forward
layout(std430, binding = 2) writeonly buffer Out { float result[]; };
#define MASK_AT 3
#else
layout(std430, binding = 2) buffer Y { float y[]; };
layout(std430, binding = 3) readonly buffer Lse { float lse[]; };
layout(std430, binding = 4) readonly buffer Delta { float delta[]; };
#define MASK_AT 5
#endif
#ifdef MASK
layout(std430, binding = MASK_AT) readonly buffer Mask { float mask[]; };
#endif

// What the score of a query and a key is after scale and masks.
float score(float raw, int batch, int head, int query, int key) {
    float v = raw * scale;
#ifdef MASK
    v += mask[mask_first + (batch_from + batch) * mask_step.x + (head_from + head) * mask_step.y +
              query * mask_step.z + key * mask_step.w];
#endif
    return sees(query, key) ? v : -make_inf();
}

#ifdef KIND_forward
void weigh(int at, int batch, int head, int query, int lane) {
    float top = -make_inf(), sum = 0.0;
    bool undefined = false;
    for (int j = lane; j < n_keys; j += LANES) {
        float v = score(x[at + j], batch, head, query, j);
        x[at + j] = v;
        undefined = undefined || is_nan(v);
        top = max(top, v);
    }
    undefined = subgroupAny(undefined);
    top = subgroupMax(top);
    // A row that sees nothing has no largest, and weights of 0.
    bool nothing = lowest(top) && !undefined;
    float shift = nothing ? 0.0 : undefined ? make_nan() : top;
    for (int j = lane; j < n_keys; j += LANES) {
        float p = m_exp(x[at + j] - shift);
        sum += p;
        x[at + j] = p * keep(batch, head, query, j);
    }
    sum = nothing ? 1.0 : subgroupAdd(sum);
    for (int j = lane; j < n_keys; j += LANES) x[at + j] /= sum;
    int to = out_first + batch * out_batch + head * out_head + query * (EV + 1) + EV;
    if (lane == 0) result[to] = (nothing ? top : shift) + m_log(sum);
}
#else
void weigh(int at, int batch, int head, int query, int key) {
    int stat = (batch * all_heads + head) * queries + query;
    float l = lse[lse_first + stat], d = delta[delta_first + stat];
    float p = m_exp(score(x[at], batch, head, query, key) - l), k = keep(batch, head, query, key);
    p = lowest(l) ? 0.0 : p;
    x[at] = p * (y[at] * k - d) * scale;
#ifdef KIND_keys
    y[at] = p * k;
#endif
}
#endif

void main() {
    int group = int(group_index()), lane = int(gl_LocalInvocationID.x);
    if (group >= batches * heads * rows) return;
    int row = row_from + group % rows, head = group / rows % heads, batch = group / rows / heads;
#ifdef KIND_forward
    weigh(group * n_keys, batch, head, row, lane);
#elif defined KIND_queries
    for (int j = lane; j < n_keys; j += LANES) weigh(group * n_keys + j, batch, head, row, j);
#else
    for (int turn = 0; turn < repeat; turn++)
        for (int i = lane; i < queries; i += LANES)
            weigh((group * repeat + turn) * queries + i, batch, head * repeat + turn, i, row);
#endif
}
