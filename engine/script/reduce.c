/* Reductions, and softmax, which works along a dimension as they do. */
#include "script/lib.h"

#include <string.h>

/* Arguments (x, dims, options): the dimensions are a number or a table of them; none means all.
 * Returns where the options stand. */
static int dims_and_options(lua_State *L, mare_tensor *t, int *n, int axes[MARE_MAX_DIMS],
                            const char *options) {
    int i = 2;
    *n = 0;
    bool absent = lua_isnil(L, 2);
    if (absent)
        i = 3;
    else if (!arg_is_options(L, 2))
        *n = arg_axes(L, &i, t, axes);
    bool none = lua_istable(L, 2) && i == 3 && *n == 0;
    if (none) script_error(L, "an empty list of dimensions; leave it out to reduce over all");
    arg_options(L, i, options);
    return i;
}

static int reduce(lua_State *L, const char *name, double correction, mare_tensor **out, int options,
                  mare_tensor *t, int n, const int *axes) {
    bool keepdim = opt_bool(L, options, "keepdim", false);
    script_context(L);
    TRY(L, mare_reduce(name, t, n, axes, keepdim, correction, out));
    return 1;
}

/* The function's own name is the reduction's. */
static int r_reduce(lua_State *L) {
    mare_tensor *t = arg_tensor(L, 1, "the tensor");
    int n, axes[MARE_MAX_DIMS], i = dims_and_options(L, t, &n, axes, "keepdim");
    const char *name = lua_tostring(L, lua_upvalueindex(2));
    return reduce(L, name, 0, tensor_push(L), i, t, n, axes);
}

static int r_var(lua_State *L) {
    mare_tensor *t = arg_tensor(L, 1, "the tensor");
    int n, axes[MARE_MAX_DIMS], i = dims_and_options(L, t, &n, axes, "keepdim correction");
    double correction = opt_number(L, i, "correction", 1);
    return reduce(L, "var", correction, tensor_push(L), i, t, n, axes);
}

static int r_std(lua_State *L) {
    r_var(L);
    mare_tensor *var = arg_tensor(L, -1, "the variance");
    TRY(L, mare_map("sqrt", 1, &var, tensor_push(L)));
    return 1;
}

/* Along one dimension, or over all elements in their order. */
static int r_arg(lua_State *L) {
    const char *name = lua_tostring(L, lua_upvalueindex(2));
    mare_tensor *t = arg_tensor(L, 1, "the tensor");
    int i = 2, axis = 0;
    bool flat = lua_isnoneornil(L, 2) || arg_is_options(L, 2);
    if (!flat) axis = arg_axis(L, 2, t, 0);
    if (!arg_is_options(L, 2)) i = 3;
    arg_options(L, i, "keepdim");
    bool keepdim = opt_bool(L, i, "keepdim", false);
    if (flat && keepdim) return script_error(L, "keepdim needs a dimension");
    script_context(L);
    if (flat) {
        mare_tensor **line = tensor_push(L);
        TRY(L, mare_reshape(t, 1, (const int64_t[]){mare_tensor_count(t)}, line));
        t = *line;
    }
    TRY(L, mare_arg_reduce(name, t, axis, keepdim, tensor_push(L)));
    return 1;
}

static int r_softmax(lua_State *L) {
    mare_tensor *t = arg_tensor(L, 1, "the tensor");
    int axis = arg_axis_or(L, 2, t, -1);
    arg_end(L, 3);
    script_context(L);
    TRY(L, mare_softmax(t, axis, tensor_push(L)));
    return 1;
}

static int r_log_softmax(lua_State *L) {
    mare_tensor *t = arg_tensor(L, 1, "the tensor");
    int axis = arg_axis_or(L, 2, t, -1);
    arg_end(L, 3);
    script_context(L);
    TRY(L, mare_log_softmax(t, axis, tensor_push(L)));
    return 1;
}

static const luaL_Reg both[] = {
    {"sum", r_reduce}, {"mean", r_reduce},     {"max", r_reduce},
    {"min", r_reduce}, {"prod", r_reduce},     {"logsumexp", r_reduce},
    {"var", r_var},    {"std", r_std},         {"argmax", r_arg},
    {"argmin", r_arg}, {"softmax", r_softmax}, {"log_softmax", r_log_softmax},
    {NULL, NULL},
};
const script_part reduce_part = {both, NULL, NULL};
