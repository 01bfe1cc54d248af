// What the kernels of attention share: parameters, and which keys a query sees.
//
// The weight of key j for query i is p = exp(x - lse) with x = scale q k + mask: softmax over the
// keys that the query sees, since lse is the logarithm of the sum of exp(x). Rows of queries, keys
// and the like lie in buffers with strides {batch, head, row, column}.
#include "mare.glsl"
#define USE_exp 1
#define USE_log 1
#include "math.glsl"
#ifdef DROPOUT
#include "philox.glsl"
#endif

layout(std140, binding = 0) uniform Params {
    int batches, heads, own_rows, other_rows; // heads: of the own rows, here
    int repeat;                               // query heads a key head
    int head_from, batch_from, all_heads;     // where these query heads are among all
    int queries, quads, offset, out_first;    // quads: fours of keys; offset: of a causal mask
    int out_batch, out_head, lse_first, delta_first;
    int own_first, other_first, own2_first, other2_first;
    int value_first, value2_first, mask_first;
    float scale;
    ivec4 own_step, other_step, own2_step, other2_step, value_step, value2_step, mask_step;
    ivec4 mask_size;
    uint key_low, key_high, counter_low, counter_high;
    uint threshold;                           // of dropout, over 2^24
    float kept;                               // 1 / (1 - p)
    int n_keys, row_from;                     // row_from: the first own row of a block, of
    int rows, unused0, unused1, unused2;      // so many
};

// Is x minus infinity?
bool lowest(float x) { return is_inf(x) && x < 0.0; }

bool sees(int query, int key) {
#ifdef CAUSAL
    return key <= query + offset;
#else
    return true;
#endif
}

// 0 where a weight is dropped, else 1 / (1 - p). Weights take words from the stream as `uniform`
// does, in rows of whole fours.
float keep(int batch, int head, int query, int key) {
#ifdef DROPOUT
    uint row = uint(((batch_from + batch) * all_heads + head_from + head) * queries + query);
    uint high, low;
    umulExtended(row, uint(quads), high, low);
    uint at = low + uint(key >> 2);
    high += at < low ? 1u : 0u;
    uint counter = counter_low + at;
    high += counter_high + (counter < at ? 1u : 0u);
    uvec4 w = philox(uvec4(counter, high, 0u, 0u), uvec2(key_low, key_high));
    return (w[key & 3] >> 8) >= threshold ? kept : 0.0;
#else
    return 1.0;
#endif
}
