/* The engine's calls as functions of the module and methods of tensors. Arguments stand in their
 * order; a table of options at the end gives more of them by name. */
#include "ops/call.h"
#include "script/lib.h"

#include <string.h>

/* What the arguments of one call become. */
typedef struct reader {
    lua_State *L;
    const op_call *call;
    mare_arg args[MAX_CALL_ARGS];
    int n;
    mare_tensor *first; /* whose dimensions are meant */
    int64_t integers[MAX_CALL_ARGS][2 * MAX_DIMS];
} reader;

static int axis_at(reader *r, int i, const call_arg *row) {
    if (!r->first) script_error(r->L, "there is no tensor whose dimension it could be");
    return arg_axis(r->L, i, r->first, row->more);
}

/* A list of n pairs at i as the flat list that the engine takes, the last pair first. */
static int pairs_at(reader *r, int i, const call_arg *row, lua_Integer n, int64_t *out) {
    lua_State *L = r->L;
    if (n > MAX_DIMS) script_error(L, "%s has more than %d pairs", row->name, MAX_DIMS);
    for (lua_Integer k = 0; k < n; k++, lua_pop(L, 1)) {
        if (lua_geti(L, i, n - k) != LUA_TTABLE || luaL_len(L, -1) != 2)
            script_error(L, "entry %lld of %s is not {before, after}", (long long)(n - k),
                         row->name);
        for (int e = 0; e < 2; e++, lua_pop(L, 1)) {
            lua_geti(L, -1, e + 1);
            out[2 * k + e] = arg_integer(L, lua_gettop(L), row->name);
        }
    }
    return (int)(2 * n);
}

/* A number, or a list of them, at i; dimensions become axes. */
static int integers_at(reader *r, int i, const call_arg *row, int64_t *out) {
    lua_State *L = r->L;
    bool axes = row->kind == ARG_AXES;
    if (!lua_istable(L, i)) {
        if (!lua_isnumber(L, i))
            script_error(L, "%s must be an integer or a list of them, not %s", row->name,
                         arg_kind(L, i));
        out[0] = axes ? axis_at(r, i, row) : arg_integer(L, i, row->name);
        return 1;
    }
    lua_Integer n = luaL_len(L, i);
    if (n > 2 * MAX_DIMS)
        script_error(L, "%s has %lld entries, more than %d", row->name, (long long)n, 2 * MAX_DIMS);
    bool pairs = !axes && lua_geti(L, i, 1) == LUA_TTABLE;
    if (!axes) lua_pop(L, 1);
    if (pairs) return pairs_at(r, i, row, n, out);
    for (lua_Integer k = 0; k < n; k++) {
        lua_geti(L, i, k + 1);
        int at = lua_gettop(L);
        out[k] = axes ? axis_at(r, at, row) : arg_integer(L, at, row->name);
        lua_pop(L, 1);
    }
    return (int)n;
}

/* The list of tensors at i; the array lives on the Lua stack. */
static mare_arg tensors_at(reader *r, int i, const call_arg *row) {
    lua_State *L = r->L;
    if (!lua_istable(L, i))
        script_error(L, "%s must be a list of tensors, not %s", row->name, arg_kind(L, i));
    lua_Integer n = luaL_len(L, i);
    if (n < 1) script_error(L, "%s is an empty list", row->name);
    mare_tensor **list = lua_newuserdatauv(L, (size_t)n * sizeof *list, 0);
    for (lua_Integer k = 0; k < n; k++) {
        lua_geti(L, i, k + 1);
        list[k] = arg_tensor(L, lua_gettop(L), row->name);
        lua_pop(L, 1);
    }
    return mare_arg_tensors(row->name, (int)n, list);
}

/* A table of integers where a tensor of them is meant; the tensor lives on the Lua stack. */
static mare_tensor *packed_at(reader *r, int i) {
    lua_State *L = r->L;
    mare_dtype dtype = MARE_I32;
    int rank;
    int64_t dims[MARE_MAX_DIMS];
    const void *data = table_pack(L, i, true, &dtype, &rank, dims);
    mare_context *ctx = script_context(L);
    mare_tensor **box = tensor_push(L);
    TRY(L, mare_tensor_from(ctx, dtype, rank, dims, data, box));
    return *box;
}

static mare_arg value_at(reader *r, int i, const call_arg *row, int64_t *room) {
    lua_State *L = r->L;
    switch (row->kind) {
    case ARG_INDEX:
        if (lua_istable(L, i)) return mare_arg_tensor(row->name, packed_at(r, i));
        return mare_arg_tensor(row->name, arg_tensor(L, i, row->name));
    case ARG_TENSOR:
        return mare_arg_tensor(row->name, arg_tensor(L, i, row->name));
    case ARG_TENSORS:
        return tensors_at(r, i, row);
    case ARG_VALUE:
        if (arg_box(L, i)) return mare_arg_tensor(row->name, arg_tensor(L, i, row->name));
        if (lua_type(L, i) != LUA_TNUMBER)
            script_error(L, "%s must be a tensor or a number, not %s", row->name, arg_kind(L, i));
        return mare_arg_number(row->name, lua_tonumber(L, i));
    case ARG_NUMBER:
        if (row->words && lua_type(L, i) == LUA_TSTRING) break;
        return mare_arg_number(row->name, arg_number(L, i, row->name));
    case ARG_INTEGER:
        return mare_arg_number(row->name, (double)arg_integer(L, i, row->name));
    case ARG_BOOL:
        if (!lua_isboolean(L, i))
            script_error(L, "%s must be true or false, not %s", row->name, arg_kind(L, i));
        return mare_arg_number(row->name, lua_toboolean(L, i));
    case ARG_AXIS:
        return mare_arg_number(row->name, axis_at(r, i, row));
    case ARG_AXES:
    case ARG_INTEGERS:
        if (row->words && lua_type(L, i) == LUA_TSTRING) break;
        return mare_arg_integers(row->name, integers_at(r, i, row, room), room);
    case ARG_DTYPE:
        return mare_arg_number(row->name, arg_dtype(L, i, row->name));
    case ARG_CHOICE:
    case ARG_TEXT:
        break;
    }
    return mare_arg_text(row->name, arg_string(L, i, row->name));
}

static void read_one(reader *r, int i, const call_arg *row) {
    if (lua_isnoneornil(r->L, i)) return;
    mare_arg a = value_at(r, i, row, r->integers[r->n]);
    r->args[r->n++] = a;
    if (r->first) return;
    if (a.kind == MARE_ARG_TENSOR) r->first = a.tensor;
    if (a.kind == MARE_ARG_TENSORS) r->first = a.tensors[0];
}

/* The names of all arguments, for messages. */
static void push_names(lua_State *L, const op_call *call) {
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (const call_arg *row = call->args; row->name; row++) {
        if (row != call->args) luaL_addchar(&b, ' ');
        luaL_addstring(&b, row->name);
        if (row->also) {
            luaL_addchar(&b, ' ');
            luaL_addstring(&b, row->also);
        }
    }
    luaL_pushresult(&b);
}

/* An empty table is one of options where no list is expected. */
static bool is_empty_options(lua_State *L, int i, const call_arg *row) {
    if (!lua_istable(L, i) || arg_box(L, i)) return false;
    lua_pushnil(L);
    if (lua_next(L, i)) {
        lua_pop(L, 2);
        return false;
    }
    return !row || (row->kind != ARG_TENSORS && row->kind != ARG_AXES && row->kind != ARG_INTEGERS);
}

/* Upvalues: script, name, the call, the names of its arguments. */
static int run_call(lua_State *L) {
    reader r = {.L = L, .call = lua_touserdata(L, lua_upvalueindex(3))};
    const call_arg *rows = r.call->args;
    int rank = 0, top = lua_gettop(L), named = 0;
    while (rows[rank].name)
        rank++;
    if (top > 0 &&
        (arg_is_options(L, top) || is_empty_options(L, top, top <= rank ? &rows[top - 1] : NULL)))
        named = top;
    int placed = named ? named - 1 : top;
    if (placed > rank) arg_end(L, rank + 1);
    if (named) arg_options(L, named, lua_tostring(L, lua_upvalueindex(4)));
    luaL_checkstack(L, 4 * MAX_CALL_ARGS, "arguments");
    for (int i = 0; i < placed && i < rank; i++)
        read_one(&r, i + 1, &rows[i]);
    for (int i = 0; named && i < rank; i++) {
        if (lua_getfield(L, named, rows[i].name) == LUA_TNIL && rows[i].also)
            lua_getfield(L, named, rows[i].also);
        if (!lua_isnil(L, -1)) {
            if (i < placed && !lua_isnil(L, i + 1))
                return script_error(L, "%s is given twice", rows[i].name);
            read_one(&r, lua_gettop(L), &rows[i]);
        }
    }
    for (int i = 0; i < rank; i++) {
        bool given = rows[i].optional;
        for (int k = 0; k < r.n && !given; k++)
            given = r.args[k].name == rows[i].name;
        if (!given) return script_error(L, "%s is not given", rows[i].name);
    }
    mare_context *ctx = script_context(L);
    mare_tensor **boxes[MAX_CALL_RESULTS], *out[MAX_CALL_RESULTS] = {0};
    int results = op_call_results(r.call);
    for (int i = 0; i < results; i++)
        boxes[i] = tensor_push(L);
    TRY(L, mare_call(ctx, r.call->name, r.n, r.args, results, out));
    for (int i = 0; i < results; i++)
        *boxes[i] = out[i];
    return results;
}

void call_add(lua_State *L, script *s, int module, int methods) {
    const op_call *c;
    for (int i = 0; (c = op_call_at(i)); i++) {
        lua_pushlightuserdata(L, s);
        lua_pushstring(L, c->name);
        lua_pushlightuserdata(L, (void *)(uintptr_t)c);
        push_names(L, c);
        lua_pushcclosure(L, run_call, 4);
        if (c->args->kind == ARG_TENSOR || c->args->kind == ARG_INDEX) {
            lua_pushvalue(L, -1);
            lua_setfield(L, methods, c->name);
        }
        lua_setfield(L, module, c->name);
    }
}

/* ---- The table of calls -------------------------------------------------------------------- */

static const char *const kind_name[] = {
    [ARG_TENSOR] = "tensor",     [ARG_INDEX] = "tensor",  [ARG_TENSORS] = "tensors",
    [ARG_VALUE] = "value",       [ARG_NUMBER] = "number", [ARG_INTEGER] = "integer",
    [ARG_BOOL] = "boolean",      [ARG_AXIS] = "dim",      [ARG_AXES] = "dims",
    [ARG_INTEGERS] = "integers", [ARG_CHOICE] = "choice", [ARG_TEXT] = "string",
    [ARG_DTYPE] = "dtype",
};

/* What an argument is when left out, as Lua writes it; nil when that is the call's own matter. */
static void push_default(lua_State *L, const call_arg *row) {
    switch (row->optional ? row->kind : ARG_TENSOR) {
    case ARG_NUMBER:
        lua_pushnumber(L, row->fallback);
        break;
    case ARG_INTEGER:
        lua_pushinteger(L, (lua_Integer)row->fallback);
        break;
    case ARG_AXIS: /* -1 is the last in both countings */
        lua_pushinteger(L, (lua_Integer)row->fallback + (row->fallback >= 0));
        break;
    case ARG_BOOL:
        lua_pushboolean(L, row->fallback != 0);
        break;
    case ARG_DTYPE:
        lua_pushstring(L, mare_dtype_name((mare_dtype)row->fallback));
        break;
    case ARG_CHOICE:
        lua_pushlstring(L, row->words, strcspn(row->words, " "));
        break;
    default:
        lua_pushnil(L);
        break;
    }
}

/* mare.calls(): every call, as { name, doc, file, line, results, args = { { name, kind, optional,
 * default, words } } }. */
static int m_calls(lua_State *L) {
    const op_call *c;
    lua_newtable(L);
    for (int i = 0; (c = op_call_at(i)); i++) {
        lua_newtable(L);
        lua_pushstring(L, c->name);
        lua_setfield(L, -2, "name");
        lua_pushstring(L, c->doc);
        lua_setfield(L, -2, "doc");
        lua_pushstring(L, c->file);
        lua_setfield(L, -2, "file");
        lua_pushinteger(L, c->line);
        lua_setfield(L, -2, "line");
        lua_pushstring(L, c->results);
        lua_setfield(L, -2, "results");
        lua_newtable(L);
        for (int k = 0; c->args[k].name; k++) {
            const call_arg *row = &c->args[k];
            lua_newtable(L);
            lua_pushstring(L, row->name);
            lua_setfield(L, -2, "name");
            lua_pushstring(L, kind_name[row->kind]);
            lua_setfield(L, -2, "kind");
            lua_pushboolean(L, row->optional);
            lua_setfield(L, -2, "optional");
            lua_pushstring(L, row->words);
            lua_setfield(L, -2, "words");
            push_default(L, row);
            lua_setfield(L, -2, "default");
            lua_rawseti(L, -2, k + 1);
        }
        lua_setfield(L, -2, "args");
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

static const luaL_Reg module[] = {{"calls", m_calls}, {NULL, NULL}};
const script_part call_part = {NULL, module, NULL};
