/* Arguments of the bound functions: what they are, and errors that say what was expected. */
#include "graph/graph.h"
#include "script/lib.h"

#include <math.h>
#include <string.h>

tensor_box *arg_box(lua_State *L, int i) {
    return luaL_testudata(L, i, TENSOR_TYPE);
}

const char *arg_kind(lua_State *L, int i) {
    switch (lua_type(L, i)) {
    case LUA_TNONE:
    case LUA_TNIL:
        return "nil";
    case LUA_TBOOLEAN:
        return "a boolean";
    case LUA_TNUMBER:
        return "a number";
    case LUA_TSTRING:
        return "a string";
    case LUA_TTABLE:
        return "a table";
    case LUA_TFUNCTION:
        return "a function";
    case LUA_TTHREAD:
        return "a coroutine";
    default:
        break;
    }
    if (luaL_testudata(L, i, TENSOR_TYPE)) return "a tensor";
    if (arg_step_number(L, i))
        return "a number that a compiled step gets anew each time (it goes into operations on "
               "tensors alone)";
    if (luaL_testudata(L, i, ARRAY_TYPE)) return "a host array";
    return "a userdata";
}

mare_tensor *arg_tensor(lua_State *L, int i, const char *what) {
    tensor_box *b = arg_box(L, i);
    if (!b) script_error(L, "%s must be a tensor, not %s", what, arg_kind(L, i));
    if (!b->t) script_error(L, "%s was closed", what);
    if (b->generation != script_of(L)->generation)
        script_error(L, "%s belongs to a context that was closed", what);
    return b->t;
}

mare_tensor *arg_tensor_or_null(lua_State *L, int i, const char *what) {
    return lua_isnoneornil(L, i) ? NULL : arg_tensor(L, i, what);
}

double arg_number(lua_State *L, int i, const char *what) {
    if (lua_type(L, i) != LUA_TNUMBER)
        script_error(L, "%s must be a number, not %s", what, arg_kind(L, i));
    return lua_tonumber(L, i);
}

int64_t arg_integer(lua_State *L, int i, const char *what) {
    int ok;
    if (lua_type(L, i) != LUA_TNUMBER)
        script_error(L, "%s must be an integer, not %s", what, arg_kind(L, i));
    lua_Integer v = lua_tointegerx(L, i, &ok);
    if (!ok) script_error(L, "%s must be an integer, not %g", what, lua_tonumber(L, i));
    return v;
}

const char *arg_string(lua_State *L, int i, const char *what) {
    if (lua_type(L, i) != LUA_TSTRING)
        script_error(L, "%s must be a string, not %s", what, arg_kind(L, i));
    return lua_tostring(L, i);
}

mare_dtype arg_dtype(lua_State *L, int i, const char *what) {
    const char *name = arg_string(L, i, what);
    for (int d = 0; d < MARE_DTYPES; d++)
        if (strcmp(name, mare_dtype_name((mare_dtype)d)) == 0) return (mare_dtype)d;
    script_error(L, "%s '%s' is none of f32, f16, bf16, i32, i8, u8, bool", what, name);
    return MARE_F32;
}

bool value_fits(mare_dtype dtype, double v) {
    if (dtype_is_float(dtype) || dtype == MARE_BOOL) return true;
    double lo, hi;
    dtype_limits(dtype, &lo, &hi);
    return v >= lo && v <= hi && v == floor(v);
}

void arg_fits(lua_State *L, mare_dtype dtype, double v, const char *what) {
    if (!value_fits(dtype, v))
        script_error(L, "%s is %g, which is no %s", what, v, mare_dtype_name(dtype));
}

/* ---- Dimensions ---------------------------------------------------------------------------- */

static int axis_of(lua_State *L, int64_t d, mare_tensor *t, int extra) {
    int rank = mare_tensor_rank(t) + extra;
    if (d == 0) script_error(L, "dimensions count from 1, or from -1 at the end; got 0");
    if (d > rank || d < -rank)
        script_error(L, "dimension %lld is out of range for shape %s", (long long)d,
                     tensor_push_shape_text(L, t));
    return (int)(d > 0 ? d - 1 : d + rank);
}

int arg_axis(lua_State *L, int i, mare_tensor *t, int extra) {
    return axis_of(L, arg_integer(L, i, "the dimension"), t, extra);
}

int arg_axis_or(lua_State *L, int i, mare_tensor *t, int otherwise) {
    if (lua_isnoneornil(L, i)) return otherwise;
    return arg_axis(L, i, t, 0);
}

static int64_t list_entry(lua_State *L, int i, const char *what, int64_t least) {
    int64_t v = arg_integer(L, i, what);
    if (v < least)
        script_error(L, "%s must be at least %lld, got %lld", what, (long long)least, (long long)v);
    return v;
}

int arg_integers(lua_State *L, int *i, const char *what, int64_t least,
                 int64_t out[MARE_MAX_DIMS]) {
    int n = 0;
    if (lua_istable(L, *i)) {
        lua_Integer len = luaL_len(L, *i);
        if (len > MARE_MAX_DIMS)
            script_error(L, "%lld dimensions are more than %d", (long long)len, MARE_MAX_DIMS);
        for (; n < len; n++) {
            lua_geti(L, *i, n + 1);
            out[n] = list_entry(L, -1, what, least);
            lua_pop(L, 1);
        }
        ++*i;
        return n;
    }
    while (lua_type(L, *i) == LUA_TNUMBER) {
        if (n == MARE_MAX_DIMS) script_error(L, "more than %d dimensions", MARE_MAX_DIMS);
        out[n++] = list_entry(L, *i, what, least);
        ++*i;
    }
    if (n == 0 && !lua_isnoneornil(L, *i))
        script_error(L, "%s must be an integer or a list of them, not %s", what, arg_kind(L, *i));
    return n;
}

int arg_axes(lua_State *L, int *i, mare_tensor *t, int axes[MARE_MAX_DIMS]) {
    int64_t dims[MARE_MAX_DIMS];
    int n = arg_integers(L, i, "the dimension", INT64_MIN, dims);
    for (int k = 0; k < n; k++)
        axes[k] = axis_of(L, dims[k], t, 0);
    return n;
}

/* ---- Options ------------------------------------------------------------------------------- */

bool arg_is_options(lua_State *L, int i) {
    if (!lua_istable(L, i)) return false;
    lua_pushnil(L);
    if (!lua_next(L, i)) return false;
    bool named = lua_type(L, -2) == LUA_TSTRING;
    lua_pop(L, 2);
    return named;
}

static bool listed(const char *names, const char *name) {
    size_t n = strlen(name);
    for (const char *p = names; (p = strstr(p, name)); p += n)
        if ((p == names || p[-1] == ' ') && (p[n] == ' ' || p[n] == 0)) return n > 0;
    return false;
}

void arg_end(lua_State *L, int i) {
    for (; i <= lua_gettop(L); i++)
        if (!lua_isnil(L, i)) script_error(L, "one argument too many: %s", arg_kind(L, i));
}

void arg_options(lua_State *L, int i, const char *names) {
    arg_end(L, i + 1);
    if (lua_isnoneornil(L, i)) return;
    if (!lua_istable(L, i))
        script_error(L, "expected a table of options (%s), not %s", names, arg_kind(L, i));
    lua_pushnil(L);
    while (lua_next(L, i)) {
        if (lua_type(L, -2) != LUA_TSTRING)
            script_error(L, "the table of options has an entry without a name (options: %s)",
                         names);
        if (!listed(names, lua_tostring(L, -2)))
            script_error(L, "unknown option '%s' (options: %s)", lua_tostring(L, -2), names);
        lua_pop(L, 1);
    }
}

/* Pushes the option and answers whether it is there. */
static bool option(lua_State *L, int i, const char *name) {
    if (!lua_istable(L, i)) {
        lua_pushnil(L);
        return false;
    }
    return lua_getfield(L, i, name) != LUA_TNIL;
}

double opt_number(lua_State *L, int i, const char *name, double otherwise) {
    double v = option(L, i, name) ? arg_number(L, -1, name) : otherwise;
    lua_pop(L, 1);
    return v;
}

int64_t opt_integer(lua_State *L, int i, const char *name, int64_t otherwise) {
    int64_t v = option(L, i, name) ? arg_integer(L, -1, name) : otherwise;
    lua_pop(L, 1);
    return v;
}

bool opt_bool(lua_State *L, int i, const char *name, bool otherwise) {
    bool v = otherwise;
    if (option(L, i, name)) {
        if (!lua_isboolean(L, -1))
            script_error(L, "%s must be true or false, not %s", name, arg_kind(L, -1));
        v = lua_toboolean(L, -1);
    }
    lua_pop(L, 1);
    return v;
}

mare_dtype opt_dtype(lua_State *L, int i, mare_dtype otherwise) {
    mare_dtype v = option(L, i, "dtype") ? arg_dtype(L, -1, "dtype") : otherwise;
    lua_pop(L, 1);
    return v;
}

void opt_requires_grad(lua_State *L, int i) {
    if (opt_bool(L, i, "requires_grad", false))
        TRY(L, mare_set_requires_grad(arg_tensor(L, -1, "the tensor"), true));
}
