/* Elementwise operations, made from the engine's table, and the operators. */
#include "graph/graph.h"
#include "script/lib.h"

#include <math.h>
#include <string.h>

enum { MAP_MAX = 3 };

/* The element type of a Lua number among tensors whose promoted type is t: an integer keeps t where
 * t can hold it, a fraction keeps a float type, and otherwise becomes f32. */
static mare_dtype number_dtype(lua_State *L, int i, mare_dtype t) {
    if (t == MARE_F32 || t == MARE_F16) return t;
    if (!lua_isinteger(L, i)) return MARE_F32;
    lua_Integer v = lua_tointeger(L, i);
    if (v < INT32_MIN || v > INT32_MAX)
        script_error(L, "number %lld does not fit i32", (long long)v);
    return t == MARE_U8 && v >= 0 && v <= 255 ? MARE_U8 : MARE_I32;
}

/* Applies an operation to arguments 1..n; among booleans alone, `of_bools` in its place. */
static int apply(lua_State *L, int n, const char *name, const char *of_bools) {
    mare_tensor *in[MAP_MAX];
    mare_dtype t = MARE_BOOL;
    int numbers = 0;
    for (int i = 0; i < n; i++) {
        static const char *const what[] = {"argument 1", "argument 2", "argument 3"};
        in[i] = NULL;
        if (lua_type(L, i + 1) == LUA_TNUMBER) {
            numbers++;
        } else if (!arg_box(L, i + 1)) {
            return script_error(L, "%s must be a tensor or a number, not %s", what[i],
                                arg_kind(L, i + 1));
        } else {
            in[i] = arg_tensor(L, i + 1, what[i]);
            t = dtype_promote(t, mare_tensor_dtype(in[i]));
        }
    }
    if (numbers == n) t = MARE_F32;
    mare_context *ctx = script_context(L);
    for (int i = 0; i < n && numbers; i++)
        if (!in[i]) {
            mare_tensor **scalar = tensor_push(L);
            TRY(L, mare_scalar(ctx, number_dtype(L, i + 1, t), lua_tonumber(L, i + 1), scalar));
            in[i] = *scalar;
        }
    if (of_bools && t == MARE_BOOL && !numbers) name = of_bools;
    TRY(L, mare_map(name, n, in, tensor_push(L)));
    /* The scalars are the node's now. */
    for (int i = n + 1; numbers && i < lua_gettop(L); i++) {
        tensor_box *b = arg_box(L, i);
        if (b) {
            mare_tensor_release(b->t);
            b->t = NULL;
        }
    }
    return 1;
}

/* Upvalues: script, name, the operation's name, number of inputs. */
static int map_function(lua_State *L) {
    int n = (int)lua_tointeger(L, lua_upvalueindex(4));
    if (lua_gettop(L) != n)
        return script_error(L, "takes %d argument%s, not %d", n, n == 1 ? "" : "s", lua_gettop(L));
    return apply(L, n, lua_tostring(L, lua_upvalueindex(3)), NULL);
}

/* Upvalue 5: the operation among booleans, or nil. */
static int map_operator(lua_State *L) {
    int n = (int)lua_tointeger(L, lua_upvalueindex(4));
    lua_settop(L, n); /* Lua gives unary operators their operand twice */
    return apply(L, n, lua_tostring(L, lua_upvalueindex(3)), lua_tostring(L, lua_upvalueindex(5)));
}

static void push_map(lua_State *L, script *s, const char *name, const char *row, int n,
                     lua_CFunction f, const char *of_bools) {
    lua_pushlightuserdata(L, s);
    lua_pushstring(L, name);
    lua_pushstring(L, row);
    lua_pushinteger(L, n);
    lua_pushstring(L, of_bools);
    lua_pushcclosure(L, f, 5);
}

/* Lua's own words cannot be names of methods. */
static const char *map_name(const char *row) {
    static const char *const words[][2] = {
        {"and", "logical_and"},
        {"or", "logical_or"},
        {"not", "logical_not"},
        {"xor", "logical_xor"},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(row, words[i][0]) == 0) return words[i][1];
    return row;
}

/* mare.ops(): every operation of the engine, as { name, doc, inputs }; inputs is 0 where it is not
 * elementwise. */
static int m_ops(lua_State *L) {
    const char *name, *doc;
    int n;
    lua_newtable(L);
    for (int i = 0; mare_op_info(i, &name, &doc, &n); i++) {
        lua_createtable(L, 0, 3);
        lua_pushstring(L, n ? map_name(name) : name);
        lua_setfield(L, -2, "name");
        lua_pushstring(L, doc);
        lua_setfield(L, -2, "doc");
        lua_pushinteger(L, n);
        lua_setfield(L, -2, "inputs");
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

void map_add(lua_State *L, script *s, int module, int methods, int metatable) {
    static const struct {
        const char *event, *op;
        int n;
        const char *of_bools;
    } operators[] = {
        {"__add", "add", 2, NULL},      {"__sub", "sub", 2, NULL},
        {"__mul", "mul", 2, NULL},      {"__div", "div", 2, NULL},
        {"__unm", "neg", 1, NULL},      {"__pow", "pow", 2, NULL},
        {"__mod", "mod", 2, NULL},      {"__idiv", "floordiv", 2, NULL},
        {"__band", "bitand", 2, "and"}, {"__bor", "bitor", 2, "or"},
        {"__bxor", "bitxor", 2, "xor"}, {"__shl", "shl", 2, NULL},
        {"__shr", "shr", 2, NULL},      {"__bnot", "bitnot", 1, "not"},
    };
    const char *row;
    int n;
    for (int i = 0; mare_op_info(i, &row, NULL, &n); i++) {
        if (n < 1 || n > MAP_MAX) continue;
        const char *name = map_name(row);
        push_map(L, s, name, row, n, map_function, NULL);
        lua_pushvalue(L, -1);
        lua_setfield(L, module, name);
        lua_setfield(L, methods, name);
    }
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        push_map(L, s, operators[i].op, operators[i].op, operators[i].n, map_operator,
                 operators[i].of_bools);
        lua_setfield(L, metatable, operators[i].event);
    }
}

/* ---- Casts --------------------------------------------------------------------------------- */

static int cast(lua_State *L, mare_dtype dtype) {
    mare_tensor *t = arg_tensor(L, 1, "the tensor");
    script_context(L);
    TRY(L, mare_cast(t, dtype, tensor_push(L)));
    return 1;
}

static int m_to(lua_State *L) {
    mare_dtype dtype = arg_dtype(L, 2, "the element type");
    arg_end(L, 3);
    return cast(L, dtype);
}

static int m_float(lua_State *L) {
    return cast(L, MARE_F32);
}

static int m_half(lua_State *L) {
    return cast(L, MARE_F16);
}

static int m_int(lua_State *L) {
    return cast(L, MARE_I32);
}

static int m_bool(lua_State *L) {
    return cast(L, MARE_BOOL);
}

static int m_byte(lua_State *L) {
    return cast(L, MARE_U8);
}

static const luaL_Reg methods[] = {
    {"to", m_to},     {"float", m_float}, {"half", m_half}, {"int", m_int},
    {"bool", m_bool}, {"byte", m_byte},   {NULL, NULL},
};
static const luaL_Reg module[] = {{"ops", m_ops}, {NULL, NULL}};
const script_part map_part = {NULL, module, methods};
