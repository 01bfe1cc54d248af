/* Host arrays (mare.array): data in the machine's memory that files are read into and the loader
 * draws from. */
#include "io/digits.h"
#include "io/idx.h"
#include "io/io.h"
#include "script/data.h"

#include <string.h>

io_array *array_push(lua_State *L) {
    io_array *a = lua_newuserdatauv(L, sizeof *a, 0);
    memset(a, 0, sizeof *a);
    luaL_setmetatable(L, ARRAY_TYPE);
    return a;
}

io_array *arg_array(lua_State *L, int i, const char *what) {
    io_array *a = luaL_testudata(L, i, ARRAY_TYPE);
    if (!a) script_error(L, "%s must be a host array, not %s", what, arg_kind(L, i));
    if (!a->data) script_error(L, "%s was closed", what);
    return a;
}

static int array_gc(lua_State *L) {
    io_array_free(lua_touserdata(L, 1));
    return 0;
}

/* Reads a tensor into a new array on the top of the stack. */
void array_from_tensor(lua_State *L, mare_tensor *t, io_array *out) {
    script *s = script_of(L);
    shape sh = {.rank = mare_tensor_rank(t)};
    memcpy(sh.dim, mare_tensor_dims(t), (size_t)sh.rank * sizeof *sh.dim);
    if (io_array_new(out, mare_tensor_dtype(t), &sh, &s->error)) script_raise_error(L);
    TRY(L, mare_tensor_read(t, out->data, io_array_bytes(out)));
}

void tensor_from_array(lua_State *L, const io_array *a) {
    mare_context *ctx = script_context(L);
    TRY(L, mare_tensor_from(ctx, a->dtype, a->shape.rank, a->shape.dim, a->data, tensor_push(L)));
}

/* mare.array(tensor), mare.array(nested table, { dtype = }) */
static int a_new(lua_State *L) {
    script *s = script_of(L);
    if (arg_box(L, 1)) {
        mare_tensor *t = arg_tensor(L, 1, "the tensor");
        arg_end(L, 2);
        script_context(L);
        array_from_tensor(L, t, array_push(L));
        return 1;
    }
    arg_options(L, 2, "dtype");
    if (!lua_istable(L, 1))
        return script_error(L, "expected a tensor or a nested table, not %s", arg_kind(L, 1));
    bool given = lua_istable(L, 2) && lua_getfield(L, 2, "dtype") != LUA_TNIL;
    mare_dtype dtype = opt_dtype(L, 2, MARE_F32);
    shape sh;
    const void *data = table_pack(L, 1, given, &dtype, &sh.rank, sh.dim);
    io_array *a = array_push(L);
    if (io_array_new(a, dtype, &sh, &s->error)) return script_raise_error(L);
    memcpy(a->data, data, io_array_bytes(a));
    return 1;
}

/* a:tensor(from, to): those entries of the first dimension, both ends counted; all by default. */
static int a_tensor(lua_State *L) {
    const io_array *a = arg_array(L, 1, "the array");
    if (lua_isnoneornil(L, 2)) {
        arg_end(L, 3);
        tensor_from_array(L, a);
        return 1;
    }
    int64_t from = arg_integer(L, 2, "the first position");
    int64_t to = lua_isnoneornil(L, 3) ? -1 : arg_integer(L, 3, "the last position");
    arg_end(L, 4);
    int64_t n = a->shape.rank ? a->shape.dim[0] : 0;
    if (from < 0) from += n + 1;
    if (to < 0) to += n + 1;
    if (from < 1 || to > n || to < from - 1)
        return script_error(L, "positions %lld to %lld are out of range in shape %s",
                            (long long)from, (long long)to,
                            shape_push_text(L, a->shape.rank, a->shape.dim));
    io_array part = *a;
    part.shape.dim[0] = to - from + 1;
    part.data = (char *)a->data + (n ? io_array_bytes(a) / (size_t)n * (size_t)(from - 1) : 0);
    tensor_from_array(L, &part);
    return 1;
}

static int a_len(lua_State *L) {
    const io_array *a = arg_array(L, 1, "the array");
    if (a->shape.rank == 0) return script_error(L, "a scalar array has no length");
    lua_pushinteger(L, a->shape.dim[0]);
    return 1;
}

static int a_tostring(lua_State *L) {
    const io_array *a = luaL_checkudata(L, 1, ARRAY_TYPE);
    if (a->data)
        lua_pushfstring(L, "array %s %s", mare_dtype_name(a->dtype),
                        shape_push_text(L, a->shape.rank, a->shape.dim));
    else
        lua_pushliteral(L, "array (closed)");
    return 1;
}

/* a.shape, a.dtype, a:tensor. Upvalue 3: methods. */
static int a_index(lua_State *L) {
    const io_array *a = arg_array(L, 1, "the array");
    const char *name = arg_string(L, 2, "an array's field");
    if (strcmp(name, "shape") == 0) {
        shape_push(L, a->shape.rank, a->shape.dim);
    } else if (strcmp(name, "dtype") == 0) {
        lua_pushstring(L, mare_dtype_name(a->dtype));
    } else {
        lua_pushvalue(L, 2);
        if (lua_rawget(L, lua_upvalueindex(3)) == LUA_TNIL)
            return script_error(L, "a host array has no field or method '%s'", name);
    }
    return 1;
}

void array_type(lua_State *L, script *s) {
    static const luaL_Reg meta[] = {
        {"__gc", array_gc},         {"__close", array_gc}, {"__len", a_len},
        {"__tostring", a_tostring}, {NULL, NULL},
    };
    static const luaL_Reg methods[] = {{"tensor", a_tensor}, {NULL, NULL}};
    script_new_type(L, s, ARRAY_TYPE, meta);
    lua_pushlightuserdata(L, s);
    lua_pushliteral(L, "array");
    lua_newtable(L);
    script_register(L, s, methods);
    lua_pushcclosure(L, a_index, 3);
    lua_setfield(L, -2, "__index");
}

/* ---- Where arrays come from ---------------------------------------------------------------- */

static int a_read_idx(lua_State *L) {
    script *s = script_of(L);
    const char *path = arg_string(L, 1, "the path");
    arg_end(L, 2);
    if (idx_read(path, array_push(L), &s->error)) script_raise_error(L);
    return 1;
}

/* mare.digits(n, seed, { test = false }): images, labels */
static int a_digits(lua_State *L) {
    script *s = script_of(L);
    int64_t n = arg_integer(L, 1, "the number of images");
    int64_t seed = lua_isnoneornil(L, 2) ? 0 : arg_integer(L, 2, "the seed");
    arg_options(L, 3, "test");
    bool test = opt_bool(L, 3, "test", false);
    io_array *images = array_push(L), *labels = array_push(L);
    if (digits_make((uint64_t)seed, test, n, images, labels, &s->error)) script_raise_error(L);
    return 2;
}

static const luaL_Reg module[] = {
    {"array", a_new},
    {"read_idx", a_read_idx},
    {"digits", a_digits},
    {NULL, NULL},
};
const script_part array_part = {NULL, module, NULL};
