/* The tensor userdata: its life, properties, values. */
#include "graph/graph.h"
#include "script/lib.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char tidy_key = 0; /* in the registry: the tensors pushed while script.tidies */

mare_tensor **tensor_push(lua_State *L) {
    const script *s = script_of(L);
    tensor_box *b = lua_newuserdatauv(L, sizeof *b, 0);
    b->t = NULL;
    b->generation = s->generation;
    luaL_setmetatable(L, TENSOR_TYPE);
    if (s->tidies) {
        lua_rawgetp(L, LUA_REGISTRYINDEX, &tidy_key);
        lua_pushvalue(L, -2);
        lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
        lua_pop(L, 1);
    }
    return &b->t;
}

static int tensor_gc(lua_State *L) {
    tensor_box *b = lua_touserdata(L, 1);
    if (b) {
        mare_tensor_release(b->t);
        b->t = NULL;
    }
    return 0;
}

int tensor_tidy(lua_State *L) {
    script *s = script_of(L);
    if (s->tidies) return script_error(L, "called inside of itself");
    lua_settop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, 2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &tidy_key);
    lua_insert(L, 1);
    s->tidies = true;
    int status = lua_pcall(L, 0, 0, 0);
    s->tidies = false;
    for (lua_Integer i = 1, n = (lua_Integer)lua_rawlen(L, 1); i <= n; i++) {
        lua_rawgeti(L, 1, i);
        tensor_box *b = lua_touserdata(L, -1);
        mare_tensor_release(b->t);
        b->t = NULL;
        lua_pop(L, 1);
    }
    return status ? lua_error(L) : 0;
}

/* ---- Shapes -------------------------------------------------------------------------------- */

void shape_push(lua_State *L, int rank, const int64_t *dims) {
    lua_createtable(L, rank, 0);
    for (int i = 0; i < rank; i++) {
        lua_pushinteger(L, dims[i]);
        lua_rawseti(L, -2, i + 1);
    }
    luaL_setmetatable(L, SHAPE_TYPE);
}

void tensor_push_shape(lua_State *L, const mare_tensor *t) {
    shape_push(L, mare_tensor_rank(t), mare_tensor_dims(t));
}

const char *shape_push_text(lua_State *L, int rank, const int64_t *dims) {
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    luaL_addchar(&b, '[');
    for (int i = 0; i < rank; i++) {
        char number[32];
        snprintf(number, sizeof number, "%s%lld", i ? ", " : "", (long long)dims[i]);
        luaL_addstring(&b, number);
    }
    luaL_addchar(&b, ']');
    luaL_pushresult(&b);
    return lua_tostring(L, -1);
}

const char *tensor_push_shape_text(lua_State *L, const mare_tensor *t) {
    return shape_push_text(L, mare_tensor_rank(t), mare_tensor_dims(t));
}

static int shape_tostring(lua_State *L) {
    int64_t dims[MARE_MAX_DIMS];
    int n = (int)luaL_len(L, 1);
    for (int i = 0; i < n && i < MARE_MAX_DIMS; i++) {
        lua_geti(L, 1, i + 1);
        dims[i] = lua_tointeger(L, -1);
        lua_pop(L, 1);
    }
    shape_push_text(L, n < MARE_MAX_DIMS ? n : MARE_MAX_DIMS, dims);
    return 1;
}

static int shape_concat(lua_State *L) {
    luaL_tolstring(L, 1, NULL);
    luaL_tolstring(L, 2, NULL);
    lua_concat(L, 2);
    return 1;
}

/* Also against a plain table: x.shape == {2, 3} is false in Lua only for different types. */
static int shape_eq(lua_State *L) {
    lua_Integer n = luaL_len(L, 1);
    bool equal = n == luaL_len(L, 2);
    for (lua_Integer i = 1; equal && i <= n; i++) {
        lua_geti(L, 1, i);
        lua_geti(L, 2, i);
        equal = lua_compare(L, -1, -2, LUA_OPEQ);
        lua_pop(L, 2);
    }
    lua_pushboolean(L, equal);
    return 1;
}

/* ---- Properties ---------------------------------------------------------------------------- */

static int get_shape(lua_State *L) {
    tensor_push_shape(L, arg_tensor(L, 1, "the tensor"));
    return 1;
}

static int get_dtype(lua_State *L) {
    lua_pushstring(L, mare_dtype_name(mare_tensor_dtype(arg_tensor(L, 1, "the tensor"))));
    return 1;
}

static int get_ndim(lua_State *L) {
    lua_pushinteger(L, mare_tensor_rank(arg_tensor(L, 1, "the tensor")));
    return 1;
}

static int get_grad(lua_State *L) {
    mare_tensor *t = arg_tensor(L, 1, "the tensor");
    mare_tensor **out = tensor_push(L);
    TRY(L, mare_grad(t, out));
    if (!*out) lua_pushnil(L);
    return 1;
}

static int get_requires_grad(lua_State *L) {
    lua_pushboolean(L, mare_requires_grad(arg_tensor(L, 1, "the tensor")));
    return 1;
}

static int set_grad(lua_State *L) {
    mare_tensor *t = arg_tensor(L, 1, "the tensor");
    TRY(L, mare_set_grad(t, arg_tensor_or_null(L, 2, "the gradient")));
    return 0;
}

static int set_requires_grad(lua_State *L) {
    mare_tensor *t = arg_tensor(L, 1, "the tensor");
    if (!lua_isboolean(L, 2))
        return script_error(L, "expected true or false, not %s", arg_kind(L, 2));
    TRY(L, mare_set_requires_grad(t, lua_toboolean(L, 2)));
    return 0;
}

static const luaL_Reg getters[] = {
    {"shape", get_shape},
    {"dtype", get_dtype},
    {"ndim", get_ndim},
    {"grad", get_grad},
    {"requires_grad", get_requires_grad},
    {NULL, NULL},
};

static const luaL_Reg setters[] = {
    {"grad", set_grad},
    {"requires_grad", set_requires_grad},
    {NULL, NULL},
};

/* t.name, t:name(...), t[3], t[{...}]. Upvalue 3: methods, 4: getters. */
static int tensor_index(lua_State *L) {
    if (lua_type(L, 2) != LUA_TSTRING) return tensor_select(L);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(3)) != LUA_TNIL) return 1;
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(4)) == LUA_TNIL)
        return script_error(L, "a tensor has no field or method '%s'", lua_tostring(L, 2));
    lua_pushvalue(L, 1);
    lua_call(L, 1, 1);
    return 1;
}

/* t.grad = x, t[{...}] = x. Upvalue 3: setters. */
static int tensor_newindex(lua_State *L) {
    if (lua_type(L, 2) != LUA_TSTRING) return tensor_put(L);
    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(3)) == LUA_TNIL)
        return script_error(L, "a tensor's field '%s' cannot be set (only grad, requires_grad)",
                            lua_tostring(L, 2));
    lua_pushvalue(L, 1);
    lua_pushvalue(L, 3);
    lua_call(L, 2, 0);
    return 0;
}

static int tensor_len(lua_State *L) {
    mare_tensor *t = arg_tensor(L, 1, "the tensor");
    if (mare_tensor_rank(t) == 0) return script_error(L, "a scalar tensor has no length");
    lua_pushinteger(L, mare_tensor_dims(t)[0]);
    return 1;
}

/* ---- Sizes --------------------------------------------------------------------------------- */

static int t_size(lua_State *L) {
    mare_tensor *t = arg_tensor(L, 1, "the tensor");
    arg_end(L, 3);
    if (lua_isnoneornil(L, 2))
        tensor_push_shape(L, t);
    else
        lua_pushinteger(L, mare_tensor_dims(t)[arg_axis(L, 2, t, 0)]);
    return 1;
}

static int t_numel(lua_State *L) {
    lua_pushinteger(L, mare_tensor_count(arg_tensor(L, 1, "the tensor")));
    return 1;
}

static int t_evaluated(lua_State *L) {
    lua_pushboolean(L, mare_tensor_evaluated(arg_tensor(L, 1, "the tensor")));
    return 1;
}

static int t_is_tensor(lua_State *L) {
    lua_pushboolean(L, arg_box(L, 1) != NULL);
    return 1;
}

static int t_is_floating_point(lua_State *L) {
    lua_pushboolean(L, dtype_is_float(mare_tensor_dtype(arg_tensor(L, 1, "the tensor"))));
    return 1;
}

/* ---- Values -------------------------------------------------------------------------------- */

void value_push(lua_State *L, mare_dtype dtype, double value) {
    if (dtype == MARE_BOOL)
        lua_pushboolean(L, value != 0);
    else if (dtype_is_float(dtype))
        lua_pushnumber(L, value);
    else
        lua_pushinteger(L, (lua_Integer)value);
}

static int t_item(lua_State *L) {
    mare_tensor *t = arg_tensor(L, 1, "the tensor");
    arg_end(L, 2);
    double value;
    if (mare_tensor_count(t) != 1)
        return script_error(L, "shape %s has %lld elements, not one", tensor_push_shape_text(L, t),
                            (long long)mare_tensor_count(t));
    script_context(L);
    TRY(L, mare_tensor_item(t, &value));
    value_push(L, mare_tensor_dtype(t), value);
    script_settle(L);
    return 1;
}

/* The elements as the bytes they are in memory. */
static int t_tobytes(lua_State *L) {
    mare_tensor *t = arg_tensor(L, 1, "the tensor");
    arg_end(L, 2);
    size_t bytes = (size_t)mare_tensor_count(t) * mare_dtype_size(mare_tensor_dtype(t));
    luaL_Buffer b;
    char *data = luaL_buffinitsize(L, &b, bytes);
    script_context(L);
    TRY(L, mare_tensor_read(t, data, bytes));
    luaL_pushresultsize(&b, bytes);
    script_settle(L);
    return 1;
}

/* ---- Evaluation ---------------------------------------------------------------------------- */

/* Puts every tensor at i, and in tables there, into the list table at `list`; `seen` are the tables
 * already visited. */
static void gather(lua_State *L, int i, int list, int seen, int depth) {
    enum { DEEPEST = 200 };
    if (arg_box(L, i)) {
        arg_tensor(L, i, "the tensor");
        lua_pushvalue(L, i);
        lua_rawseti(L, list, (lua_Integer)lua_rawlen(L, list) + 1);
        return;
    }
    if (!lua_istable(L, i)) {
        if (depth == 0 && !lua_isnil(L, i))
            script_error(L, "expected a tensor or a table of tensors, not %s", arg_kind(L, i));
        return;
    }
    lua_pushvalue(L, i);
    bool known = lua_rawget(L, seen) != LUA_TNIL;
    lua_pop(L, 1);
    if (known) return;
    lua_pushvalue(L, i);
    lua_pushboolean(L, true);
    lua_rawset(L, seen);
    if (depth == DEEPEST) script_error(L, "tables nested more than %d deep", DEEPEST);
    luaL_checkstack(L, 8, "nested tables");
    lua_pushnil(L);
    while (lua_next(L, i)) {
        gather(L, lua_gettop(L), list, seen, depth + 1);
        lua_pop(L, 1);
    }
}

mare_tensor **tensor_list(lua_State *L, int from, int *n) {
    int top = lua_gettop(L);
    lua_newtable(L);
    lua_newtable(L);
    for (int i = from; i <= top; i++)
        gather(L, i, top + 1, top + 2, 0);
    *n = (int)lua_rawlen(L, top + 1);
    mare_tensor **list = lua_newuserdatauv(L, ((size_t)*n + 1) * sizeof *list, 0);
    for (int i = 0; i < *n; i++) {
        lua_rawgeti(L, top + 1, i + 1);
        list[i] = arg_box(L, -1)->t;
        lua_pop(L, 1);
    }
    return list;
}

/* mare.eval(a, b, {more}), x:eval(): evaluates together what was not yet, returns its arguments. */
static int t_eval(lua_State *L) {
    int top = lua_gettop(L), n;
    mare_tensor **list = tensor_list(L, 1, &n);
    mare_context *ctx = script_context(L);
    TRY(L, mare_eval(ctx, n, list));
    lua_settop(L, top);
    script_settle(L);
    return top;
}

static const luaL_Reg both[] = {
    {"size", t_size},
    {"numel", t_numel},
    {"dim", get_ndim},
    {"item", t_item},
    {"tobytes", t_tobytes},
    {"totable", script_totable},
    {"evaluated", t_evaluated},
    {"eval", t_eval},
    {"is_floating_point", t_is_floating_point},
    {NULL, NULL},
};
static const luaL_Reg module[] = {{"is_tensor", t_is_tensor}, {NULL, NULL}};
const script_part tensor_part = {both, module, NULL};

/* Leaves the metatable on the stack; the methods are right below it when it is called. */
void tensor_type(lua_State *L, script *s) {
    static const luaL_Reg meta[] = {
        {"__gc", tensor_gc},   {"__close", tensor_gc},
        {"__len", tensor_len}, {"__tostring", tensor_tostring},
        {NULL, NULL},
    };
    static const luaL_Reg shape_meta[] = {
        {"__tostring", shape_tostring},
        {"__concat", shape_concat},
        {"__eq", shape_eq},
        {NULL, NULL},
    };
    int methods = lua_gettop(L);
    script_new_type(L, s, SHAPE_TYPE, shape_meta);
    lua_pop(L, 1);
    script_new_type(L, s, TENSOR_TYPE, meta);
    lua_pushlightuserdata(L, s);
    lua_pushliteral(L, "index");
    lua_pushvalue(L, methods);
    lua_newtable(L);
    script_register(L, s, getters);
    lua_pushcclosure(L, tensor_index, 4);
    lua_setfield(L, -2, "__index");
    lua_pushlightuserdata(L, s);
    lua_pushliteral(L, "assignment");
    lua_newtable(L);
    script_register(L, s, setters);
    lua_pushcclosure(L, tensor_newindex, 3);
    lua_setfield(L, -2, "__newindex");
}
