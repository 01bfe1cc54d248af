/* Movement: shapes, dimensions, joining, indexing by tensors. */
#include "script/lib.h"

#include <string.h>

static int m_reshape(lua_State *L) {
    mare_tensor *t = arg_tensor(L, 1, "the tensor");
    int i = 2;
    int64_t dims[MARE_MAX_DIMS];
    int rank = arg_integers(L, &i, "a dimension", -1, dims);
    arg_end(L, i);
    script_context(L);
    TRY(L, mare_reshape(t, rank, dims, tensor_push(L)));
    return 1;
}

static int permute(lua_State *L, mare_tensor *t, const int *axes) {
    script_context(L);
    TRY(L, mare_permute(t, mare_tensor_rank(t), axes, tensor_push(L)));
    return 1;
}

static int m_permute(lua_State *L) {
    mare_tensor *t = arg_tensor(L, 1, "the tensor");
    int i = 2, axes[MARE_MAX_DIMS], n = arg_axes(L, &i, t, axes);
    arg_end(L, i);
    if (n != mare_tensor_rank(t))
        return script_error(L, "%d dimensions named, shape %s has %d", n,
                            tensor_push_shape_text(L, t), mare_tensor_rank(t));
    return permute(L, t, axes);
}

static int exchange(lua_State *L, mare_tensor *t, int a, int b) {
    int axes[MARE_MAX_DIMS];
    for (int i = 0; i < mare_tensor_rank(t); i++)
        axes[i] = i == a ? b : i == b ? a : i;
    return permute(L, t, axes);
}

static int m_transpose(lua_State *L) {
    mare_tensor *t = arg_tensor(L, 1, "the tensor");
    int a = arg_axis(L, 2, t, 0), b = arg_axis(L, 3, t, 0);
    arg_end(L, 4);
    return exchange(L, t, a, b);
}

static int m_t(lua_State *L) {
    mare_tensor *t = arg_tensor(L, 1, "the tensor");
    arg_end(L, 2);
    if (mare_tensor_rank(t) != 2)
        return script_error(L, "shape %s is no matrix; name two dimensions with transpose",
                            tensor_push_shape_text(L, t));
    return exchange(L, t, 0, 1);
}

/* -1 keeps a dimension as it is. */
static int m_expand(lua_State *L) {
    mare_tensor *t = arg_tensor(L, 1, "the tensor");
    int i = 2, old = mare_tensor_rank(t);
    int64_t dims[MARE_MAX_DIMS];
    int rank = arg_integers(L, &i, "a dimension", -1, dims);
    arg_end(L, i);
    for (int k = 0; k < rank; k++)
        if (dims[k] < 0) {
            if (k - (rank - old) < 0)
                return script_error(L, "dimension %d is new, so -1 says nothing about it", k + 1);
            dims[k] = mare_tensor_dims(t)[k - (rank - old)];
        }
    script_context(L);
    TRY(L, mare_expand(t, rank, dims, tensor_push(L)));
    return 1;
}

static int m_flip(lua_State *L) {
    mare_tensor *t = arg_tensor(L, 1, "the tensor");
    int i = 2, axes[MARE_MAX_DIMS], n = arg_axes(L, &i, t, axes);
    arg_end(L, i);
    if (n == 0) return script_error(L, "name the dimensions to flip");
    script_context(L);
    TRY(L, mare_flip(t, n, axes, tensor_push(L)));
    return 1;
}

/* ---- Dimensions of one --------------------------------------------------------------------- */

static int m_squeeze(lua_State *L) {
    mare_tensor *t = arg_tensor(L, 1, "the tensor");
    const int64_t *old = mare_tensor_dims(t);
    int only = arg_axis_or(L, 2, t, -1), rank = 0;
    arg_end(L, 3);
    if (only >= 0 && old[only] != 1)
        return script_error(L, "dimension %d of shape %s is not 1", only + 1,
                            tensor_push_shape_text(L, t));
    int64_t dims[MARE_MAX_DIMS];
    for (int i = 0; i < mare_tensor_rank(t); i++)
        if (only >= 0 ? i != only : old[i] != 1) dims[rank++] = old[i];
    script_context(L);
    TRY(L, mare_reshape(t, rank, dims, tensor_push(L)));
    return 1;
}

static int m_unsqueeze(lua_State *L) {
    mare_tensor *t = arg_tensor(L, 1, "the tensor");
    int rank = mare_tensor_rank(t), at = arg_axis(L, 2, t, 1);
    arg_end(L, 3);
    if (rank == MARE_MAX_DIMS) return script_error(L, "more than %d dimensions", MARE_MAX_DIMS);
    int64_t dims[MARE_MAX_DIMS];
    for (int i = 0; i <= rank; i++)
        dims[i] = i == at ? 1 : mare_tensor_dims(t)[i - (i > at)];
    script_context(L);
    TRY(L, mare_reshape(t, rank + 1, dims, tensor_push(L)));
    return 1;
}

/* x:flatten(from, to): those dimensions become one; all of them by default. */
static int m_flatten(lua_State *L) {
    mare_tensor *t = arg_tensor(L, 1, "the tensor");
    int old = mare_tensor_rank(t);
    int from = arg_axis_or(L, 2, t, 0), to = arg_axis_or(L, 3, t, old - 1), rank = 0;
    arg_end(L, 4);
    if (from > to && old)
        return script_error(L, "dimension %d stands behind dimension %d", from + 1, to + 1);
    int64_t dims[MARE_MAX_DIMS] = {1};
    for (int i = 0; i < old; i++)
        if (i > from && i <= to)
            dims[rank - 1] *= mare_tensor_dims(t)[i];
        else
            dims[rank++] = mare_tensor_dims(t)[i];
    script_context(L);
    TRY(L, mare_reshape(t, old ? rank : 1, dims, tensor_push(L)));
    return 1;
}

/* ---- Parts and wholes ---------------------------------------------------------------------- */

/* x:narrow(dim, start, length) */
static int m_narrow(lua_State *L) {
    mare_tensor *t = arg_tensor(L, 1, "the tensor");
    int axis = arg_axis(L, 2, t, 0);
    int64_t start = arg_integer(L, 3, "the start"), length = arg_integer(L, 4, "the length");
    arg_end(L, 5);
    int64_t n = mare_tensor_dims(t)[axis];
    if (start < 0) start += n + 1;
    if (start < 1 || length < 0 || start > n + 1 || length > n - start + 1)
        return script_error(L, "%lld elements from %lld on do not lie in dimension %d of shape %s",
                            (long long)length, (long long)start, axis + 1,
                            tensor_push_shape_text(L, t));
    int64_t from[MARE_MAX_DIMS] = {0}, to[MARE_MAX_DIMS], step[MARE_MAX_DIMS];
    for (int i = 0; i < mare_tensor_rank(t); i++) {
        to[i] = mare_tensor_dims(t)[i];
        step[i] = 1;
    }
    from[axis] = start - 1;
    to[axis] = start - 1 + length;
    script_context(L);
    TRY(L, mare_slice(t, from, to, step, tensor_push(L)));
    return 1;
}

typedef mare_status (*joiner)(int, mare_tensor *const *, int, mare_tensor **);

/* ({tensors}, dim) */
static int join(lua_State *L, joiner f, int extra) {
    if (!lua_istable(L, 1))
        return script_error(L, "expected a list of tensors, not %s", arg_kind(L, 1));
    arg_end(L, 3);
    lua_settop(L, 2);
    lua_Integer n = luaL_len(L, 1);
    if (n < 1 || n > 1 << 20)
        return script_error(L, "expected a list of tensors, got one of %d", (int)n);
    mare_tensor **list = lua_newuserdatauv(L, (size_t)n * sizeof *list, 0);
    for (lua_Integer i = 0; i < n; i++) {
        char what[48];
        snprintf(what, sizeof what, "entry %lld of the list", (long long)i + 1);
        lua_geti(L, 1, i + 1);
        list[i] = arg_tensor(L, -1, what); /* alive: the list holds it */
        lua_pop(L, 1);
    }
    int axis = lua_isnoneornil(L, 2) ? 0 : arg_axis(L, 2, list[0], extra);
    script_context(L);
    TRY(L, f((int)n, list, axis, tensor_push(L)));
    return 1;
}

static int m_cat(lua_State *L) {
    return join(L, mare_concat, 0);
}

static int m_stack(lua_State *L) {
    return join(L, mare_stack, 1);
}

static int m_contiguous(lua_State *L) {
    mare_tensor *t = arg_tensor(L, 1, "the tensor");
    arg_end(L, 2);
    script_context(L);
    TRY(L, mare_contiguous(t, tensor_push(L)));
    return 1;
}

/* x:take(index, dim) */
static int m_take(lua_State *L) {
    mare_tensor *t = arg_tensor(L, 1, "the tensor"), *index = arg_tensor(L, 2, "the index");
    int axis = lua_isnoneornil(L, 3) ? 0 : arg_axis(L, 3, t, 0);
    arg_end(L, 4);
    script_context(L);
    TRY(L, mare_take(t, index, axis, tensor_push(L)));
    return 1;
}

/* mare.one_hot(index, classes, options) */
static int m_one_hot(lua_State *L) {
    mare_tensor *index = arg_tensor(L, 1, "the index");
    int64_t classes = arg_integer(L, 2, "the number of classes");
    arg_options(L, 3, "dtype");
    mare_dtype dtype = opt_dtype(L, 3, MARE_F32);
    script_context(L);
    TRY(L, mare_one_hot(index, classes, dtype, tensor_push(L)));
    return 1;
}

static const luaL_Reg both[] = {
    {"reshape", m_reshape},
    {"permute", m_permute},
    {"transpose", m_transpose},
    {"expand", m_expand},
    {"flip", m_flip},
    {"squeeze", m_squeeze},
    {"unsqueeze", m_unsqueeze},
    {"flatten", m_flatten},
    {"narrow", m_narrow},
    {"contiguous", m_contiguous},
    {"take", m_take},
    {"one_hot", m_one_hot},
    {NULL, NULL},
};
static const luaL_Reg module[] = {{"cat", m_cat}, {"stack", m_stack}, {NULL, NULL}};
static const luaL_Reg methods[] = {{"t", m_t}, {NULL, NULL}};
const script_part move_part = {both, module, methods};
