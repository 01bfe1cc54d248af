// Attention in tiles, without the matrix of weights: Dao, Fu, Ermon, Rudra and Re, "FlashAttention",
// 2022; Dao, "FlashAttention-2", 2023. A workgroup has 4 V own rows and goes through the other
// rows, U to an invocation at a time; then each invocation adds the rows of values, weighted, to its
// columns.
//
// KIND_forward: own rows are queries, others keys; out is [.., Ev + 1], with lse in the last column.
// KIND_queries: the gradient of the queries. KIND_keys: own rows are keys, others queries; gradients
// of keys and values, [.., E + Ev].
//
// Defines: LANES, the workgroup's size; U, V; E, EV; CHUNK, columns that an invocation adds up at once; MASK, CAUSAL, DROPOUT; KEYS_AT and VALUES_AT, the bindings of keys and values, when
// they do not lie in one buffer with everything else.
#extension GL_EXT_control_flow_attributes : require
#include "score.glsl"

layout(std430, binding = 1) readonly buffer Data { float data[]; };
layout(std430, binding = 2) writeonly buffer Out { float result[]; };
#ifdef MASK
layout(std430, binding = 3) readonly buffer Mask { float mask[]; };
#endif
#ifdef KEYS_AT
layout(std430, binding = KEYS_AT) readonly buffer Keys { float keys[]; };
layout(std430, binding = VALUES_AT) readonly buffer Values { float values[]; };
#else
#define keys data
#define values data
#endif

#define EACH(i, n) [[unroll]] for (int i = 0; i < n; i++)
#define EACH_ROW EACH(v, V) EACH(r, 4)
#ifdef KIND_forward
const int WIDTH = EV;
#else
const int WIDTH = E;
#endif

shared vec4 weight[LANES * U][V];
#ifdef KIND_keys
shared vec4 weight2[LANES * U][V];
#endif
#ifdef KIND_forward
shared vec4 reduced[LANES][V];
#endif

float larger(float a, float b) { return is_nan(a) || (a > b && !is_nan(b)) ? a : b; }
vec4 larger4(vec4 a, vec4 b) {
    return vec4(larger(a.x, b.x), larger(a.y, b.y), larger(a.z, b.z), larger(a.w, b.w));
}
vec4 exp4(vec4 x) { return vec4(m_exp(x.x), m_exp(x.y), m_exp(x.z), m_exp(x.w)); }

// Four elements of a buffer, at the places p + k.
#define FOUR(buffer, p, k) \
    vec4(buffer[(p).x + (k)], buffer[(p).y + (k)], buffer[(p).z + (k)], buffer[(p).w + (k)])
#ifdef KIND_keys
#define OWN(p, k) FOUR(keys, p, k)
#define OTHER(p) data[p]
#else
#define OWN(p, k) FOUR(data, p, k)
#define OTHER(p) keys[p]
#endif
#ifdef KIND_forward
#define VALUE(p) values[p]
#else
#define VALUE(p) data[p]
#endif

int place(ivec4 step, int first, int batch, int head) {
    return first + batch * step.x + head * step.y;
}

void main() {
    const int lanes = LANES;
    int lane = int(gl_LocalInvocationID.x);
    int blocks = (own_rows + 4 * V - 1) / (4 * V), group = int(group_index());
    if (group >= blocks * heads * batches) return;
    int row0 = group % blocks * (4 * V), head = group / blocks % heads, batch = group / blocks / heads;
    ivec4 rows[V], own[V];
    EACH(v, V) {
        rows[v] = min(row0 + 4 * v + ivec4(0, 1, 2, 3), ivec4(own_rows - 1));
        own[v] = place(own_step, own_first, batch, head) + rows[v] * own_step.z;
    }

    // Columns lane, lane + lanes, ...
    const int COLUMNS = (WIDTH + LANES - 1) / LANES;
    const int CHUNKS = (COLUMNS + CHUNK - 1) / CHUNK;
    vec4 sum[CHUNKS * CHUNK][V];
    EACH(c, CHUNKS * CHUNK) EACH(v, V) sum[c][v] = vec4(0.0);
#ifdef KIND_keys
    const int COLUMNS2 = (EV + LANES - 1) / LANES;
    const int CHUNKS2 = (COLUMNS2 + CHUNK - 1) / CHUNK;
    vec4 sum2[CHUNKS2 * CHUNK][V];
    EACH(c, CHUNKS2 * CHUNK) EACH(v, V) sum2[c][v] = vec4(0.0);
#endif
#ifdef KIND_forward
    vec4 top[V], total[V], fade[V];
    EACH(v, V) top[v] = vec4(-make_inf());
    EACH(v, V) total[v] = vec4(0.0);
#else
    ivec4 own2[V];
    EACH(v, V) own2[v] = place(own2_step, own2_first, batch, head) + rows[v] * own2_step.z;
#endif
#ifdef KIND_queries
    vec4 lse[V], delta[V];
    EACH_ROW {
        int at = (batch * heads + head) * own_rows + rows[v][r];
        lse[v][r] = data[lse_first + at];
        delta[v][r] = data[delta_first + at];
    }
#endif

#ifdef KIND_keys
    for (int turn = 0; turn < repeat; turn++) {
    int other_head = head * repeat + turn, query_head = other_head;
#else
    int other_head = head / repeat, query_head = head;
#endif
    int begin = 0, end = other_rows;
#ifdef CAUSAL
#ifdef KIND_keys
    begin = max(0, row0 - offset) / (lanes * U) * (lanes * U);
#else
    end = min(end, row0 + 4 * V + offset);
#endif
#endif
    int other = place(other_step, other_first, batch, other_head);
    int value = place(value_step, value_first, batch, other_head);
#ifndef KIND_forward
    int other2 = place(other2_step, other2_first, batch, other_head);
#endif
#ifdef KIND_keys
    int value2 = place(value2_step, value2_first, batch, other_head);
#endif
#ifdef MASK
    int mask_at = mask_first + (batch_from + batch) * mask_step.x +
                  (head_from + query_head) * mask_step.y;
#endif
    for (int tile = begin; tile < end; tile += lanes * U) {
        vec4 x[U][V];
        int at[U];
        EACH(u, U) {
            EACH(v, V) x[u][v] = vec4(0.0);
            at[u] = other + min(tile + u * lanes + lane, other_rows - 1) * other_step.z;
        }
        for (int e = 0; e < E; e++) {
            int step = e * own_step.w;
            vec4 a[V];
            EACH(v, V) a[v] = OWN(own[v], step);
            EACH(u, U) {
                float b = OTHER(at[u] + e * other_step.w);
                EACH(v, V) x[u][v] = fma(a[v], vec4(b), x[u][v]);
            }
        }
        EACH(u, U) {
            int j = tile + u * lanes + lane;
            EACH_ROW {
#ifdef KIND_keys
                int query = j, key = rows[v][r];
#else
                int query = rows[v][r], key = j;
#endif
                float y = x[u][v][r] * scale;
#ifdef MASK
                y += mask[mask_at + min(query, queries - 1) * mask_step.z +
                          min(key, n_keys - 1) * mask_step.w];
#endif
                x[u][v][r] = j < other_rows && sees(query, key) ? y : -make_inf();
            }
        }
#ifdef KIND_forward
        EACH(v, V) {
            vec4 most = x[0][v];
            EACH(u, U) most = larger4(most, x[u][v]);
            reduced[lane][v] = most;
        }
        barrier();
        EACH(v, V) {
            vec4 most = top[v], shift;
            for (int i = 0; i < lanes; i++) most = larger4(most, reduced[i][v]);
            // A row that has seen nothing yet has no largest.
            EACH(r, 4) shift[r] = lowest(most[r]) ? 0.0 : most[r];
            fade[v] = exp4(top[v] - shift);
            top[v] = most;
            total[v] *= fade[v];
            EACH(u, U) {
                vec4 p = exp4(x[u][v] - shift);
                total[v] += p;
#ifdef DROPOUT
                EACH(r, 4) p[r] *= keep(batch, query_head, rows[v][r], tile + u * lanes + lane);
#endif
                weight[u * lanes + lane][v] = p;
            }
        }
#else
        vec4 y[U][V]; // gradients of the weights
        EACH(u, U) {
            EACH(v, V) y[u][v] = vec4(0.0);
            at[u] = other2 + min(tile + u * lanes + lane, other_rows - 1) * other2_step.z;
        }
        for (int e = 0; e < EV; e++) {
            int step = e * own2_step.w;
            vec4 a[V];
            EACH(v, V) a[v] = FOUR(data, own2[v], step);
            EACH(u, U) {
                float b = data[at[u] + e * other2_step.w];
                EACH(v, V) y[u][v] = fma(a[v], vec4(b), y[u][v]);
            }
        }
        barrier(); // the weights of the tile before were read
        EACH(u, U) {
            int j = min(tile + u * lanes + lane, other_rows - 1);
#ifdef KIND_keys
            int stat = (batch * heads * repeat + query_head) * other_rows + j;
            vec4 lse = vec4(data[lse_first + stat]), delta = vec4(data[delta_first + stat]);
#endif
            EACH(v, V) {
#ifdef KIND_keys
                vec4 l = lse, d = delta;
#else
                vec4 l = lse[v], d = delta[v];
#endif
                vec4 p = exp4(x[u][v] - l), k = vec4(1.0);
                EACH(r, 4) {
                    p[r] = lowest(l[r]) ? 0.0 : p[r];
#if defined DROPOUT && defined KIND_keys
                    k[r] = keep(batch, query_head, j, rows[v][r]);
#elif defined DROPOUT
                    k[r] = keep(batch, query_head, rows[v][r], j);
#endif
                }
                weight[u * lanes + lane][v] = p * (y[u][v] * k - d) * scale;
#ifdef KIND_keys
                weight2[u * lanes + lane][v] = p * k;
#endif
            }
        }
#endif
        barrier();
        int count = min(lanes * U, end - tile);
        EACH(c, CHUNKS) {
            vec4 s[CHUNK][V];
            int column[CHUNK];
            EACH(i, CHUNK) {
                EACH(v, V) s[i][v] = sum[c * CHUNK + i][v];
#ifdef KIND_forward
                EACH(v, V) s[i][v] *= fade[v];
#endif
                column[i] = value + min((c * CHUNK + i) * lanes + lane, WIDTH - 1) * value_step.w +
                            tile * value_step.z;
            }
            for (int k = 0; k < count; k++) {
                vec4 w[V] = weight[k];
                int row = k * value_step.z;
                EACH(i, CHUNK) {
                    float b = VALUE(column[i] + row);
                    EACH(v, V) s[i][v] = fma(w[v], vec4(b), s[i][v]);
                }
            }
            EACH(i, CHUNK) sum[c * CHUNK + i] = s[i];
        }
#ifdef KIND_keys
        EACH(c, CHUNKS2) {
            vec4 s[CHUNK][V];
            int column[CHUNK];
            EACH(i, CHUNK) {
                s[i] = sum2[c * CHUNK + i];
                column[i] = value2 + min((c * CHUNK + i) * lanes + lane, EV - 1) * value2_step.w +
                            tile * value2_step.z;
            }
            for (int k = 0; k < count; k++) {
                vec4 w[V] = weight2[k];
                int row = k * value2_step.z;
                EACH(i, CHUNK) {
                    float b = data[column[i] + row];
                    EACH(v, V) s[i][v] = fma(w[v], vec4(b), s[i][v]);
                }
            }
            EACH(i, CHUNK) sum2[c * CHUNK + i] = s[i];
        }
#endif
    }
#ifdef KIND_keys
    }
#endif

#ifdef KIND_forward
    const int STRIDE = EV + 1;
    barrier();
    reduced[lane] = total;
    barrier();
    EACH(v, V) {
        total[v] = vec4(0.0);
        for (int i = 0; i < lanes; i++) total[v] += reduced[i][v];
        // Nothing seen: zeros.
        EACH(r, 4) total[v][r] = lowest(top[v][r]) ? 1.0 : total[v][r];
        EACH(c, CHUNKS * CHUNK) sum[c][v] /= total[v];
    }
#elif defined KIND_keys
    const int STRIDE = E + EV;
#else
    const int STRIDE = E;
#endif
    int to = out_first + batch * out_batch + head * out_head + row0 * STRIDE;
    EACH_ROW {
        int row = 4 * v + r;
        if (row0 + row < own_rows) {
            EACH(c, COLUMNS)
                if (c * lanes + lane < WIDTH)
                    result[to + row * STRIDE + c * lanes + lane] = sum[c][v][r];
#ifdef KIND_keys
            EACH(c, COLUMNS2)
                if (c * lanes + lane < EV)
                    result[to + row * STRIDE + E + c * lanes + lane] = sum2[c][v][r];
#endif
#ifdef KIND_forward
            if (lane == 0) result[to + row * STRIDE + EV] = top[v][r] + m_log(total[v][r]);
#endif
        }
    }
}
