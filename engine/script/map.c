/* Elementwise operations, made from the engine's table, and the operators. */
#include "graph/graph.h"
#include "script/lib.h"

#include <math.h>
#include <string.h>

enum { MAP_MAX = 3 };

/* The element type of a Lua number among tensors whose promoted type is t: an integer keeps t where
 * t can hold it, a fraction keeps a float type, and otherwise becomes f32. */
static mare_dtype number_dtype(lua_State *L, int i, mare_dtype t) {
    const number_box *b = arg_step_number(L, i);
    if (dtype_is_float(t)) return t;
    if (b ? !b->whole : !lua_isinteger(L, i)) return MARE_F32;
    lua_Integer v = b ? (lua_Integer)b->value : lua_tointeger(L, i);
    if (v < INT32_MIN || v > INT32_MAX)
        script_error(L, "number %lld does not fit i32", (long long)v);
    return t != MARE_BOOL && value_fits(t, (double)v) ? t : MARE_I32;
}

static mare_status make_scalar(lua_State *L, int i, mare_dtype t, mare_tensor **out) {
    const number_box *b = arg_step_number(L, i);
    mare_dtype dtype = number_dtype(L, i, t);
    mare_context *ctx = script_of(L)->ctx;
    if (b) return mare_step_number(ctx, dtype, b->value, b->number, out);
    return mare_scalar(ctx, dtype, lua_tonumber(L, i), out);
}

/* Applies an operation to arguments 1..n; among booleans alone, `of_bools` in its place. */
static int apply(lua_State *L, int n, const char *name, const char *of_bools) {
    mare_tensor *in[MAP_MAX];
    mare_dtype t = MARE_BOOL;
    int numbers = 0;
    for (int i = 0; i < n; i++) {
        static const char *const what[] = {"argument 1", "argument 2", "argument 3"};
        in[i] = NULL;
        if (lua_type(L, i + 1) == LUA_TNUMBER || arg_step_number(L, i + 1)) {
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
    script_context(L);
    for (int i = 0; i < n && numbers; i++)
        if (!in[i]) {
            mare_tensor **scalar = tensor_push(L);
            TRY(L, make_scalar(L, i + 1, t, scalar));
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

/* mare.ops(): every operation of the engine, as { name, doc, inputs, derivatives, dtypes, file,
 * line }; inputs is 0 where it is not elementwise. mare.ops(true): the names of its kernels, too.
 */
static int m_ops(lua_State *L) {
    bool kernels = lua_toboolean(L, 1);
    char names[1024];
    mare_op o;
    lua_newtable(L);
    for (int i = 0; mare_op_at(i, &o); i++) {
        lua_createtable(L, 0, 8);
        lua_pushstring(L, o.elementwise ? map_name(o.name) : o.name);
        lua_setfield(L, -2, "name");
        lua_pushstring(L, o.doc);
        lua_setfield(L, -2, "doc");
        lua_pushinteger(L, o.elementwise);
        lua_setfield(L, -2, "inputs");
        lua_pushinteger(L, o.derivatives);
        lua_setfield(L, -2, "derivatives");
        lua_pushstring(L, o.file);
        lua_setfield(L, -2, "file");
        lua_pushinteger(L, o.line);
        lua_setfield(L, -2, "line");
        lua_newtable(L);
        for (int t = 0, n = 0; t < MARE_DTYPES; t++)
            if (o.dtypes >> t & 1) {
                lua_pushstring(L, mare_dtype_name((mare_dtype)t));
                lua_rawseti(L, -2, ++n);
            }
        lua_setfield(L, -2, "dtypes");
        if (kernels && mare_op_kernels(i, names, sizeof names) == MARE_OK) {
            lua_pushstring(L, names);
            lua_setfield(L, -2, "kernels");
        }
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
    mare_op o;
    for (int i = 0; mare_op_at(i, &o); i++) {
        if (o.elementwise < 1 || o.elementwise > MAP_MAX) continue;
        const char *name = map_name(o.name);
        push_map(L, s, name, o.name, o.elementwise, map_function, NULL);
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

static int m_bfloat16(lua_State *L) {
    return cast(L, MARE_BF16);
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

static int m_char(lua_State *L) {
    return cast(L, MARE_I8);
}

static const luaL_Reg methods[] = {
    {"to", m_to},   {"float", m_float}, {"half", m_half}, {"bfloat16", m_bfloat16},
    {"int", m_int}, {"char", m_char},   {"byte", m_byte}, {"bool", m_bool},
    {NULL, NULL},
};
static const luaL_Reg module[] = {{"ops", m_ops}, {NULL, NULL}};
const script_part map_part = {NULL, module, methods};
