/* x[i] and x[{...}]: one entry a dimension, 1-based; a number selects, a table is a range. */
#include "script/lib.h"

#include <string.h>

typedef struct slices {
    int rank;
    int64_t start[MARE_MAX_DIMS], stop[MARE_MAX_DIMS], step[MARE_MAX_DIMS];
    int kept; /* dimensions that remain */
    int64_t dims[MARE_MAX_DIMS];
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
        s->dims[s->kept++] = 0;
        return;
    }
    int64_t first = position(L, t, axis, part[0]), last = position(L, t, axis, part[1]);
    if (step > 0 ? last < first : last > first)
        script_error(L, "range {%lld, %lld, %lld} runs the other way in dimension %d of shape %s",
                     (long long)part[0], (long long)part[1], (long long)step, axis + 1,
                     tensor_push_shape_text(L, t));
    s->start[axis] = first;
    s->stop[axis] = step > 0 ? last + 1 : last > 0 ? last - 1 : -n - 1;
    s->dims[s->kept++] = (last - first) / step + 1;
}

static void select_one(lua_State *L, mare_tensor *t, int axis, int64_t p, slices *s) {
    s->start[axis] = position(L, t, axis, p);
    s->stop[axis] = s->start[axis] + 1;
    s->step[axis] = 1;
}

static void whole(mare_tensor *t, int axis, slices *s) {
    s->start[axis] = 0;
    s->stop[axis] = mare_tensor_dims(t)[axis];
    s->step[axis] = 1;
    s->dims[s->kept++] = s->stop[axis];
}

/* x[key]: a number selects on the first dimension. */
int tensor_select(lua_State *L) {
    mare_tensor *t = arg_tensor(L, 1, "the tensor");
    slices s = {.rank = mare_tensor_rank(t)};
    int given = 1;
    if (lua_istable(L, 2)) {
        given = (int)luaL_len(L, 2);
        if (given > s.rank)
            return script_error(L, "%d entries for shape %s", given, tensor_push_shape_text(L, t));
        for (int i = 0; i < given; i++) {
            lua_geti(L, 2, i + 1);
            if (lua_istable(L, -1))
                range(L, t, i, &s);
            else
                select_one(L, t, i, arg_integer(L, -1, "an entry of the index"), &s);
            lua_pop(L, 1);
        }
    } else if (lua_type(L, 2) != LUA_TNUMBER) {
        return script_error(L,
                            "a tensor is indexed by a number or by a table with one entry a "
                            "dimension, not by %s",
                            arg_kind(L, 2));
    } else if (s.rank == 0) {
        return script_error(L, "a scalar tensor has no dimension to index");
    } else {
        select_one(L, t, 0, arg_integer(L, 2, "the index"), &s);
    }
    for (int i = given; i < s.rank; i++)
        whole(t, i, &s);
    script_context(L);
    mare_tensor **cut = tensor_push(L);
    TRY(L, mare_slice(t, s.start, s.stop, s.step, cut));
    if (s.kept == s.rank) return 1;
    mare_tensor **out = tensor_push(L);
    TRY(L, mare_reshape(*cut, s.kept, s.dims, out));
    return 1;
}
