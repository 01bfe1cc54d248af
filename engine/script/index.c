/* x[key], and x[key] = value. A key is a number, a tensor of indices or a mask for the first
 * dimension (a mask: for the first ones), or a table with one entry a dimension, 1-based: a number
 * selects, a table is a range, and one entry may be a tensor. */
#include "script/lib.h"

#include <string.h>

typedef struct slices {
    int rank;
    int64_t start[MARE_MAX_DIMS], stop[MARE_MAX_DIMS], step[MARE_MAX_DIMS];
    int64_t dims[MARE_MAX_DIMS]; /* of the slice, with 1 for dimensions that go */
    bool gone[MARE_MAX_DIMS];
    int axis;           /* that a tensor indexes; -1: none */
    mare_tensor *index; /* integers, of any shape */
} slices;

/* Position p of n, from 1 or from -1 at the end, as 0..n-1. */
static int64_t position(lua_State *L, mare_tensor *t, int axis, int64_t p) {
    int64_t n = mare_tensor_dims(t)[axis];
    if (p == 0 || p > n || p < -n)
        script_error(L, "position %lld is out of range in dimension %d of shape %s", (long long)p,
                     axis + 1, tensor_push_shape_text(L, t));
    return p > 0 ? p - 1 : p + n;
}

/* The range {first, last, step} on the top of the stack; {} is everything. Both ends count. */
static void range(lua_State *L, mare_tensor *t, int axis, slices *s) {
    int64_t n = mare_tensor_dims(t)[axis], part[3] = {1, n, 1};
    lua_Integer len = luaL_len(L, -1);
    if (len == 1 || len > 3)
        script_error(L,
                     "a range is {first, last}, {first, last, step} or {}; this one has %d "
                     "entries in dimension %d",
                     (int)len, axis + 1);
    for (int i = 0; i < len; i++) {
        lua_geti(L, -1, i + 1);
        part[i] = arg_integer(L, -1, "a range's entry");
        lua_pop(L, 1);
    }
    int64_t step = part[2];
    if (step == 0) script_error(L, "a range's step is 0 in dimension %d", axis + 1);
    s->step[axis] = step;
    bool empty =
        step > 0 && (len == 0 ? n == 0 : part[0] > 0 && part[1] == part[0] - 1 && part[1] <= n);
    if (empty) {
        s->start[axis] = s->stop[axis] = 0;
        s->dims[axis] = 0;
        return;
    }
    int64_t first = position(L, t, axis, part[0]), last = position(L, t, axis, part[1]);
    if (step > 0 ? last < first : last > first)
        script_error(L, "range {%lld, %lld, %lld} runs the other way in dimension %d of shape %s",
                     (long long)part[0], (long long)part[1], (long long)step, axis + 1,
                     tensor_push_shape_text(L, t));
    s->start[axis] = first;
    s->stop[axis] = step > 0 ? last + 1 : last > 0 ? last - 1 : -n - 1;
    s->dims[axis] = (last - first) / step + 1;
}

static void select_one(lua_State *L, mare_tensor *t, int axis, int64_t p, slices *s) {
    s->start[axis] = position(L, t, axis, p);
    s->stop[axis] = s->start[axis] + 1;
    s->step[axis] = s->dims[axis] = 1;
    s->gone[axis] = true;
}

static void whole(mare_tensor *t, int axis, slices *s) {
    s->start[axis] = 0;
    s->stop[axis] = s->dims[axis] = mare_tensor_dims(t)[axis];
    s->step[axis] = 1;
}

/* ---- Tensors as keys ----------------------------------------------------------------------- */

static mare_tensor *call(lua_State *L, const char *name, int n, const mare_arg *args) {
    mare_context *ctx = script_context(L);
    mare_tensor **out = tensor_push(L);
    TRY(L, mare_call(ctx, name, n, args, 1, out));
    return *out;
}

static mare_tensor *reshape(lua_State *L, mare_tensor *t, int rank, const int64_t *dims) {
    mare_tensor **out = tensor_push(L);
    TRY(L, mare_reshape(t, rank, dims, out));
    return *out;
}

static mare_tensor *expand(lua_State *L, mare_tensor *t, int rank, const int64_t *dims) {
    mare_tensor **out = tensor_push(L);
    TRY(L, mare_expand(t, rank, dims, out));
    return *out;
}

static mare_tensor *slice(lua_State *L, mare_tensor *t, const slices *s) {
    mare_tensor **out = tensor_push(L);
    TRY(L, mare_slice(t, s->start, s->stop, s->step, out));
    return *out;
}

static mare_tensor *flat(lua_State *L, mare_tensor *t) {
    return reshape(L, t, 1, (int64_t[]){mare_tensor_count(t)});
}

/* Where a mask is true, as a list of indices. */
static mare_tensor *places(lua_State *L, mare_tensor *mask) {
    mare_arg arg = mare_arg_tensor("x", flat(L, mask));
    return flat(L, call(L, "nonzero", 1, &arg));
}

static bool is_mask(const mare_tensor *t) {
    return mare_tensor_dtype(t) == MARE_BOOL;
}

/* The dims of a mask are the first ones of t. */
static void check_mask(lua_State *L, mare_tensor *t, mare_tensor *mask, int axis) {
    int rank = mare_tensor_rank(mask);
    bool fits = axis + rank <= mare_tensor_rank(t);
    for (int i = 0; fits && i < rank; i++)
        fits = mare_tensor_dims(mask)[i] == mare_tensor_dims(t)[axis + i];
    if (!fits)
        script_error(L, "a mask of shape %s does not fit dimension %d of shape %s",
                     tensor_push_shape_text(L, mask), axis + 1, tensor_push_shape_text(L, t));
}

static void tensor_entry(lua_State *L, mare_tensor *t, int axis, mare_tensor *index, slices *s) {
    if (s->index) script_error(L, "one entry of an index may be a tensor, not two");
    whole(t, axis, s);
    s->axis = axis;
    s->index = index;
    if (!is_mask(index)) return;
    if (mare_tensor_rank(index) != 1)
        script_error(L, "a mask for one dimension must be a vector, not of shape %s",
                     tensor_push_shape_text(L, index));
    check_mask(L, t, index, axis);
    s->index = places(L, index);
}

/* Reads the key at 2; what it makes stays on the Lua stack. */
static slices read_key(lua_State *L, mare_tensor *t) {
    slices s = {.rank = mare_tensor_rank(t), .axis = -1};
    int given = 1;
    script_context(L);
    if (arg_box(L, 2)) {
        mare_tensor *index = arg_tensor(L, 2, "the index");
        if (s.rank == 0) script_error(L, "a scalar tensor has no dimension to index");
        tensor_entry(L, t, 0, index, &s);
    } else if (lua_istable(L, 2)) {
        given = (int)luaL_len(L, 2);
        if (given > s.rank)
            script_error(L, "%d entries for shape %s", given, tensor_push_shape_text(L, t));
        for (int i = 0; i < given; i++) {
            lua_geti(L, 2, i + 1);
            if (arg_box(L, -1)) {
                tensor_entry(L, t, i, arg_tensor(L, -1, "an entry of the index"), &s);
                continue; /* it stays on the stack */
            }
            if (lua_istable(L, -1))
                range(L, t, i, &s);
            else
                select_one(L, t, i, arg_integer(L, -1, "an entry of the index"), &s);
            lua_pop(L, 1);
        }
    } else if (lua_type(L, 2) != LUA_TNUMBER) {
        script_error(L,
                     "a tensor is indexed by a number, by a tensor or by a table with one entry a "
                     "dimension, not by %s",
                     arg_kind(L, 2));
    } else if (s.rank == 0) {
        script_error(L, "a scalar tensor has no dimension to index");
    } else {
        select_one(L, t, 0, arg_integer(L, 2, "the index"), &s);
    }
    for (int i = given; i < s.rank; i++)
        whole(t, i, &s);
    return s;
}

/* The dims of what the key names: all dims of an index in place of its axis. kept: without those
 * that go. */
static int named_dims(lua_State *L, const slices *s, bool kept, int64_t out[MARE_MAX_DIMS]) {
    int rank = 0, more = s->index ? mare_tensor_rank(s->index) : 0;
    if (s->rank - (s->axis >= 0) + more > MARE_MAX_DIMS)
        script_error(L, "the result has more than %d dimensions", MARE_MAX_DIMS);
    for (int i = 0; i < s->rank; i++) {
        if (i == s->axis)
            for (int k = 0; k < more; k++)
                out[rank++] = mare_tensor_dims(s->index)[k];
        else if (!kept || !s->gone[i])
            out[rank++] = s->dims[i];
    }
    return rank;
}

/* A mask over the first dimensions of t, as a key alone. */
static mare_tensor *leading_mask(lua_State *L, mare_tensor *t) {
    mare_tensor *mask = arg_box(L, 2) ? arg_tensor(L, 2, "the index") : NULL;
    if (!mask || !is_mask(mask)) return NULL;
    check_mask(L, t, mask, 0);
    return mask;
}

/* t with the dimensions of a mask as one. */
static int rows_of(mare_tensor *t, mare_tensor *mask, int64_t dims[MARE_MAX_DIMS + 1]) {
    int rank = 0;
    dims[rank++] = mare_tensor_count(mask);
    for (int i = mare_tensor_rank(mask); i < mare_tensor_rank(t); i++)
        dims[rank++] = mare_tensor_dims(t)[i];
    return rank;
}

/* ---- Reading ------------------------------------------------------------------------------- */

static mare_tensor *take(lua_State *L, mare_tensor *t, mare_tensor *index, int axis) {
    mare_tensor **out = tensor_push(L);
    TRY(L, mare_take(t, index, axis, out));
    return *out;
}

/* x[key] */
int tensor_select(lua_State *L) {
    mare_tensor *t = arg_tensor(L, 1, "the tensor"), *mask = leading_mask(L, t);
    int64_t dims[MARE_MAX_DIMS + 1];
    luaL_checkstack(L, 20, "index");
    if (mask && mare_tensor_rank(mask) != 1) {
        int rank = rows_of(t, mask, dims);
        script_context(L);
        if (rank > MARE_MAX_DIMS) script_error(L, "more than %d dimensions", MARE_MAX_DIMS);
        take(L, reshape(L, t, rank, dims), places(L, mask), 0);
        return 1;
    }
    slices s = read_key(L, t);
    mare_tensor *cut = slice(L, t, &s);
    int all = named_dims(L, &s, false, dims);
    if (s.index) cut = take(L, cut, s.index, s.axis);
    int rank = named_dims(L, &s, true, dims);
    if (rank != all) reshape(L, cut, rank, dims);
    return 1;
}

/* ---- Writing ------------------------------------------------------------------------------- */

/* What is assigned, at 3: a tensor, or a number or boolean in t's dtype. */
static mare_tensor *value_at(lua_State *L, mare_tensor *t) {
    if (arg_box(L, 3)) return arg_tensor(L, 3, "the value");
    double v = lua_isboolean(L, 3) ? lua_toboolean(L, 3) : arg_number(L, 3, "the value");
    arg_fits(L, mare_tensor_dtype(t), v, "the value");
    mare_context *ctx = script_context(L);
    mare_tensor **out = tensor_push(L);
    TRY(L, mare_scalar(ctx, mare_tensor_dtype(t), v, out));
    return *out;
}

static mare_tensor *index_copy(lua_State *L, mare_tensor *t, int axis, mare_tensor *index,
                               mare_tensor *value) {
    mare_arg args[] = {mare_arg_tensor("x", t), mare_arg_number("dim", axis),
                       mare_arg_tensor("index", index), mare_arg_tensor("source", value)};
    return call(L, "index_copy", 4, args);
}

/* One value, or one for each row that lacks the mask's dimensions: no need to know the places. */
static mare_tensor *fill_mask(lua_State *L, mare_tensor *t, mare_tensor *mask, mare_tensor *value) {
    int64_t dims[MARE_MAX_DIMS];
    for (int i = 0; i < mare_tensor_rank(t); i++)
        dims[i] = i < mare_tensor_rank(mask) ? mare_tensor_dims(mask)[i] : 1;
    mare_tensor *wide = reshape(L, mask, mare_tensor_rank(t), dims), **same = tensor_push(L);
    TRY(L, mare_cast(value, mare_tensor_dtype(t), same));
    mare_tensor *in[] = {wide, *same, t}, **out = tensor_push(L);
    TRY(L, mare_map("where", 3, in, out));
    return *out;
}

/* x[mask] = value: one value, values for every place, or a row for all of them. */
static mare_tensor *put_mask(lua_State *L, mare_tensor *t, mare_tensor *mask, mare_tensor *value) {
    int rest = mare_tensor_rank(t) - mare_tensor_rank(mask);
    int64_t dims[MARE_MAX_DIMS + 1];
    if (mare_tensor_rank(value) <= rest) {
        expand(L, value, rest, mare_tensor_dims(t) + mare_tensor_rank(mask)); /* or it is refused */
        return fill_mask(L, t, mask, value);
    }
    int rank = rows_of(t, mask, dims);
    if (rank > MARE_MAX_DIMS) script_error(L, "more than %d dimensions", MARE_MAX_DIMS);
    mare_tensor *rows = reshape(L, t, rank, dims), *index = places(L, mask);
    dims[0] = mare_tensor_count(index);
    mare_tensor *y = index_copy(L, rows, 0, index, expand(L, value, rank, dims));
    return reshape(L, y, mare_tensor_rank(t), mare_tensor_dims(t));
}

/* The part that s names, with value at the places of its index. */
static mare_tensor *put_index(lua_State *L, mare_tensor *t, const slices *s, mare_tensor *value) {
    int64_t dims[MARE_MAX_DIMS];
    for (int i = 0; i < s->rank; i++)
        dims[i] = i == s->axis ? mare_tensor_count(s->index) : s->dims[i];
    mare_tensor *source = reshape(L, value, s->rank, dims);
    return index_copy(L, slice(L, t, s), s->axis, flat(L, s->index), source);
}

/* x[key] = value: x stands for a new tensor afterwards. */
int tensor_put(lua_State *L) {
    mare_tensor *t = arg_tensor(L, 1, "the tensor"), *mask = leading_mask(L, t), *y;
    luaL_checkstack(L, 30, "index");
    if (mask) {
        script_context(L);
        y = put_mask(L, t, mask, value_at(L, t));
    } else {
        int64_t dims[MARE_MAX_DIMS];
        slices s = read_key(L, t);
        int rank = named_dims(L, &s, true, dims);
        mare_tensor *value = value_at(L, t);
        if (s.index || mare_tensor_rank(value) > 0) value = expand(L, value, rank, dims);
        if (s.index)
            value = put_index(L, t, &s, value);
        else if (mare_tensor_rank(value) > 0)
            value = reshape(L, value, s.rank, s.dims);
        mare_tensor **out = tensor_push(L);
        TRY(L, mare_put_slice(t, s.start, s.stop, s.step, value, out));
        y = *out;
    }
    TRY(L, mare_rebind(t, y));
    return 0;
}
