/* What decoders of sequences need beside attention: rotary positions, a cache of keys and values.
 */
#include "ops/internal.h"

#include <math.h>

/* ---- Rotary positions --------------------------------------------------------------------- */

/* cos and sin of the angles [.., L, E / 2], to stretch along x. */
static bool angles(graph *g, const node *x, node *positions, const call_value *v, node **cosine,
                   node **sine) {
    int64_t half = x->shape.dim[x->shape.rank - 1] / 2, length = x->shape.dim[x->shape.rank - 2];
    node *at = positions ? op_cast(g, positions, MARE_F32) : op_arange(g, MARE_F32, 0, 1, length);
    if (v[2].integer) at = op_map_scalar(g, "add", at, (double)v[2].integer);
    node *turns = op_arange(g, MARE_F32, 0, -log(v[3].number) / (double)half, half);
    node *angle = op_map2(g, "mul", op_unsqueeze(g, at, -1), op_map1(g, "exp", turns));
    *cosine = op_map1(g, "cos", angle);
    *sine = op_map1(g, "sin", angle);
    return *cosine && *sine;
}

static bool build_rope(graph *g, const call_value *v, node **out) {
    static const char *const names[] = {"a", "b", "c", "s"};
    char s[SHAPE_TEXT], t[SHAPE_TEXT];
    node *x = v[0].tensor, *positions = v[1].tensor, *cosine, *sine;
    bool interleaved = v[4].integer;
    int rank = x->shape.rank;
    int64_t width = rank ? x->shape.dim[rank - 1] : 1;
    if (!dtype_is_float(x->dtype) || rank < 2 || rank >= MAX_DIMS || width % 2 || width == 0)
        return graph_fail(g, MARE_E_SHAPE,
                          "rope: floats [.., L, E] with an even E are needed, not %s %s",
                          mare_dtype_name(x->dtype), shape_text(&x->shape, s)) != NULL;
    if (!(v[3].number > 0) || !isfinite(v[3].number))
        return graph_fail(g, MARE_E_ARGUMENT, "rope: base is %g", v[3].number) != NULL;
    if (positions) {
        shape want = x->shape, both;
        want.rank--;
        if (!shape_broadcast(&positions->shape, &want, &both) || !shape_equal(&both, &want))
            return graph_fail(g, MARE_E_SHAPE, "rope: positions %s do not stretch to %s",
                              shape_text(&positions->shape, s), shape_text(&want, t)) != NULL;
    }
    if (!angles(g, x, positions, v, &cosine, &sine)) return false;
    /* Pairs lie along one axis of two. */
    shape pairs = x->shape;
    pairs.dim[rank - 1] = interleaved ? width / 2 : 2;
    pairs.dim[pairs.rank++] = interleaved ? 2 : width / 2;
    int axis = interleaved ? rank : rank - 1;
    node *split = op_reshape(g, op_cast(g, x, MARE_F32), &pairs);
    node *part[2], *nodes[4] = {NULL, NULL, cosine, sine};
    for (int i = 0; i < 2; i++)
        nodes[i] = op_squeeze(g, op_narrow(g, split, axis, i, 1), axis);
    part[0] = op_expr(g, "a * c - b * s", names, nodes, 4);
    part[1] = op_expr(g, "a * s + b * c", names, nodes, 4);
    node *y = op_reshape(g, op_stack(g, part, 2, axis), &x->shape);
    return y && (out[0] = op_float_like(g, y, x)) != NULL;
}

/* ---- A cache of keys or values ------------------------------------------------------------ */

static bool build_kv_cache_update(graph *g, const call_value *v, node **out) {
    char s[SHAPE_TEXT], t[SHAPE_TEXT];
    node *cache = v[0].tensor, *fresh = v[1].tensor;
    int64_t at = v[2].integer;
    int rank = cache->shape.rank, axis = rank - 2;
    bool fits = rank >= 2 && fresh->shape.rank == rank;
    for (int d = 0; fits && d < rank; d++)
        fits = d == axis || cache->shape.dim[d] == fresh->shape.dim[d];
    if (!fits)
        return graph_fail(g, MARE_E_SHAPE,
                          "kv_cache_update: new rows %s do not fit a cache %s, [.., S, E]",
                          shape_text(&fresh->shape, s), shape_text(&cache->shape, t)) != NULL;
    int64_t length = fresh->shape.dim[axis], room = cache->shape.dim[axis];
    if (at < 0 || length > room || at > room - length)
        return graph_fail(g, MARE_E_RANGE,
                          "kv_cache_update: %lld rows from %lld on are outside a cache %s",
                          (long long)length, (long long)at, shape_text(&cache->shape, s)) != NULL;
    fresh = op_cast(g, fresh, cache->dtype);
    if (length == 1) { /* the place is a number of the plan, which serves every step */
        node *places = op_unsqueeze(g, op_arange(g, MARE_I32, 0, 1, room), 1);
        node *here = op_map2(g, "eq", places, node_const(g, MARE_I32, (double)at));
        return (out[0] = op_map3(g, "where", here, fresh, cache)) != NULL;
    }
    node *parts[3] = {op_narrow(g, cache, axis, 0, at), fresh,
                      op_narrow(g, cache, axis, at + length, room - at - length)};
    return (out[0] = op_concat(g, parts, 3, axis)) != NULL;
}

/* ---- Calls -------------------------------------------------------------------------------- */

static const call_arg rope_args[] = {
    NEED_TENSOR("x"),          TENSOR_OPT("positions"),       INTEGER_OPT("offset", 0),
    NUMBER_OPT("base", 10000), FLAG_OPT("interleaved", true), END_ARGS};
static const call_arg cache_args[] = {NEED_TENSOR("cache"), NEED_TENSOR("new"),
                                      NEED_INTEGER("position"), END_ARGS};

const op_call op_calls_decode[] = {
    {"rope",
     "Rotary position embedding (Su et al. 2021): x [.., L, E] with each pair i of a row turned by "
     "position * base^(-2 i / E). Pairs are neighbours, or with interleaved=false the elements i "
     "and i + E / 2. Positions (0 to L - 1, or a tensor that stretches to [.., L]) start at "
     "offset.",
     rope_args, NULL, build_rope, OP_AT},
    {"kv_cache_update",
     "A cache [.., S, E] of keys or values with new [.., L, E] in the rows from position (counted "
     "from 0) on. Attention over the rows so far: scaled_dot_product_attention with is_causal and "
     "causal_offset = position.",
     cache_args, NULL, build_kv_cache_update, OP_AT},
    {0},
};
