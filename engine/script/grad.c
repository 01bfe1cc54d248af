/* Gradients and parameters. */
#include "script/lib.h"

/* y:backward(grad, {retain_graph = true}); the gradient may be left out. */
static int g_backward(lua_State *L) {
    mare_tensor *y = arg_tensor(L, 1, "the tensor");
    int i = lua_istable(L, 2) ? 2 : 3;
    mare_tensor *grad = i == 3 ? arg_tensor_or_null(L, 2, "the gradient") : NULL;
    arg_options(L, i, "retain_graph");
    bool retain = opt_bool(L, i, "retain_graph", false);
    script_context(L);
    TRY(L, mare_backward(y, grad, retain));
    return 0;
}

/* mare.gradients(y, {xs}, grad): a list like xs. */
static int g_gradients(lua_State *L) {
    mare_tensor *y = arg_tensor(L, 1, "the tensor");
    mare_tensor *grad = arg_tensor_or_null(L, 3, "the gradient");
    arg_end(L, 4);
    if (!lua_istable(L, 2))
        return script_error(L, "argument 2 must be a list of tensors, not %s", arg_kind(L, 2));
    int n = (int)luaL_len(L, 2);
    mare_tensor **xs = lua_newuserdatauv(L, ((size_t)n + 1) * 2 * sizeof *xs, 0);
    mare_tensor **out = xs + n + 1;
    lua_createtable(L, n, 0);
    int list = lua_gettop(L);
    for (int i = 0; i < n; i++) {
        lua_geti(L, 2, i + 1);
        xs[i] = arg_tensor(L, -1, "an entry of the list");
        lua_pop(L, 1);
        out[i] = NULL;
        tensor_push(L);
        lua_rawseti(L, list, i + 1);
    }
    script_context(L);
    TRY(L, mare_gradients(y, grad, n, xs, out));
    for (int i = 0; i < n; i++) {
        lua_rawgeti(L, list, i + 1);
        arg_box(L, -1)->t = out[i];
        lua_pop(L, 1);
    }
    return 1;
}

static int g_detach(lua_State *L) {
    mare_tensor *t = arg_tensor(L, 1, "the tensor");
    arg_end(L, 2);
    script_context(L);
    TRY(L, mare_detach(t, tensor_push(L)));
    return 1;
}

/* p:assign(t): p takes t's value; returns p. */
static int g_assign(lua_State *L) {
    mare_tensor *t = arg_tensor(L, 1, "the tensor"), *value = arg_tensor(L, 2, "the new value");
    arg_end(L, 3);
    script_context(L);
    TRY(L, mare_assign(t, value));
    lua_settop(L, 1);
    return 1;
}

static const luaL_Reg module[] = {{"gradients", g_gradients}, {NULL, NULL}};
static const luaL_Reg methods[] = {
    {"backward", g_backward},
    {"detach", g_detach},
    {"assign", g_assign},
    {NULL, NULL},
};
const script_part grad_part = {NULL, module, methods};
