/* For lua/mare/autograd.lua: functions of a script in the backward pass, checkpoints. */
#include "script/lib.h"

#include <stdlib.h>

/* ---- Callbacks ----------------------------------------------------------------------------- */

/* A Lua function that makes gradients; the registry holds it. */
typedef struct lua_vjp {
    script *s;
    lua_State *main;
    int ref;
} lua_vjp;

/* What run() hands to the protected part. */
typedef struct vjp_call {
    lua_vjp *v;
    mare_tensor *grad;
    int n;
    mare_tensor **out;
} vjp_call;

/* Upvalues as every function of the binding has them; argument: the vjp_call. */
static int call_function(lua_State *L) {
    vjp_call *c = lua_touserdata(L, 1);
    luaL_checkstack(L, c->n + 8, "gradients");
    lua_rawgeti(L, LUA_REGISTRYINDEX, c->v->ref);
    *tensor_push(L) = mare_tensor_retain(c->grad);
    lua_call(L, 1, c->n);
    for (int i = 0; i < c->n; i++) {
        int at = lua_gettop(L) - c->n + 1 + i;
        if (lua_isnil(L, at)) continue;
        if (!arg_box(L, at))
            return script_error(L, "gradient %d must be a tensor or nil, not %s", i + 1,
                                arg_kind(L, at));
        c->out[i] = mare_tensor_retain(arg_tensor(L, at, "the gradient"));
    }
    return 0;
}

static mare_status run(void *user, mare_tensor *grad, int n, mare_tensor **out) {
    lua_vjp *v = user;
    lua_State *L = v->s->running;
    vjp_call c = {v, grad, n, out};
    mare_status status = MARE_OK;
    if (!lua_checkstack(L, 8)) return MARE_E_HOST_MEMORY;
    lua_pushlightuserdata(L, v->s);
    lua_pushliteral(L, "backward");
    lua_pushcclosure(L, call_function, 2);
    lua_pushlightuserdata(L, &c);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        const char *why = lua_tostring(L, -1);
        status =
            mare_fail(v->s->ctx, MARE_E_ARGUMENT, why ? why : "backward: an error without text");
        lua_pop(L, 1);
    }
    v->s->running = L; /* what it called may have been called by a coroutine */
    return status;
}

static void destroy(void *user) {
    lua_vjp *v = user;
    luaL_unref(v->main, LUA_REGISTRYINDEX, v->ref);
    free(v);
}

/* The function at i as a callback. */
static mare_vjp new_vjp(lua_State *L, int i) {
    luaL_checktype(L, i, LUA_TFUNCTION);
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
    lua_State *main = lua_tothread(L, -1);
    lua_pop(L, 1);
    lua_pushvalue(L, i);
    int ref = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_vjp *v = malloc(sizeof *v);
    if (!v) {
        luaL_unref(L, LUA_REGISTRYINDEX, ref);
        script_error(L, "the host has no memory left");
        return (mare_vjp){0};
    }
    *v = (lua_vjp){script_of(L), main, ref};
    return (mare_vjp){run, destroy, v};
}

/* (y, {inputs}, f): y, whose gradient f(gy) gives as one result for each input. */
static int a_custom(lua_State *L) {
    mare_tensor *y = arg_tensor(L, 1, "the result");
    luaL_checktype(L, 2, LUA_TTABLE);
    int n = (int)luaL_len(L, 2);
    mare_tensor **in = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof *in, 0);
    for (int i = 0; i < n; i++) {
        lua_geti(L, 2, i + 1);
        in[i] = arg_tensor(L, -1, "an input");
        lua_pop(L, 1);
    }
    script_context(L);
    mare_tensor **out = tensor_push(L);
    mare_vjp f = new_vjp(L, 3);
    if (mare_custom(y, n, in, &f, out)) script_raise(L);
    return 1;
}

/* (t, f): f(gradient) may return another; gives the number for unhook. */
static int a_hook(lua_State *L) {
    mare_tensor *t = arg_tensor(L, 1, "the tensor");
    int id;
    script_context(L);
    mare_vjp f = new_vjp(L, 2);
    if (mare_add_hook(t, &f, &id)) script_raise(L);
    lua_pushinteger(L, id);
    return 1;
}

static int a_unhook(lua_State *L) {
    mare_remove_hook(arg_tensor(L, 1, "the tensor"), (int)luaL_checkinteger(L, 2));
    return 0;
}

/* ---- What is recorded ---------------------------------------------------------------------- */

/* Switches gradients off, or on again. */
static int a_no_grad(lua_State *L) {
    mare_no_grad(script_context(L), lua_toboolean(L, 1));
    return 0;
}

static int a_enabled(lua_State *L) {
    lua_pushboolean(L, mare_grad_enabled(script_context(L)));
    return 1;
}

static int a_start(lua_State *L) {
    lua_pushinteger(L, (lua_Integer)mare_checkpoint_start(script_context(L)));
    return 1;
}

/* (y, start) */
static int a_checkpoint(lua_State *L) {
    mare_tensor *y = arg_tensor(L, 1, "the result");
    uint64_t start = (uint64_t)luaL_checkinteger(L, 2);
    script_context(L);
    TRY(L, mare_checkpoint(y, start, tensor_push(L)));
    return 1;
}

const luaL_Reg autodiff_functions[] = {
    {"custom", a_custom},         {"hook", a_hook},       {"unhook", a_unhook},
    {"no_grad", a_no_grad},       {"enabled", a_enabled}, {"start", a_start},
    {"checkpoint", a_checkpoint}, {"tidy", tensor_tidy},  {NULL, NULL},
};
