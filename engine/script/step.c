/* For lua/mare/compile.lua: steps that are noted once and run again, and their numbers. */
#include "script/lib.h"

#include <math.h>

typedef struct step_box {
    mare_step *step;
} step_box;

#define STEP_TYPE "mare.step"

static int step_gc(lua_State *L) {
    step_box *b = lua_touserdata(L, 1);
    mare_step_release(b->step);
    b->step = NULL;
    return 0;
}

/* The tensors in the table at i, as an array on the Lua stack. */
static mare_tensor **tensors_in(lua_State *L, int i, int *n) {
    *n = (int)lua_rawlen(L, i);
    mare_tensor **list = lua_newuserdatauv(L, ((size_t)*n + 1) * sizeof *list, 0);
    for (int k = 0; k < *n; k++) {
        lua_rawgeti(L, i, k + 1);
        list[k] = arg_tensor(L, -1, "a tensor");
        lua_pop(L, 1);
    }
    return list;
}

/* A table of n new tensors, whose handles the array has; it is left on the stack. */
static mare_tensor **results_push(lua_State *L, int n, tensor_box ***boxes) {
    mare_tensor **list = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof *list, 0);
    *boxes = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof **boxes, 0);
    lua_createtable(L, n, 0);
    for (int k = 0; k < n; k++) {
        tensor_push(L);
        (*boxes)[k] = lua_touserdata(L, -1);
        lua_rawseti(L, -2, k + 1);
    }
    return list;
}

static void fill_boxes(tensor_box **boxes, mare_tensor **list, int n) {
    for (int k = 0; k < n; k++)
        boxes[k]->t = list[k];
}

/* ({tensors}): begins to note; false when operations are evaluated one by one. */
static int p_begin(lua_State *L) {
    int n;
    mare_tensor **in = tensors_in(L, 1, &n);
    mare_context *ctx = script_context(L);
    mare_status status = mare_step_begin(ctx, n, in);
    if (status == MARE_E_DEVICE_MEMORY) {
        script_collect(L);
        status = mare_step_begin(ctx, n, in);
    }
    if (status && status != MARE_E_UNSUPPORTED) return script_raise(L);
    lua_pushboolean(L, status == MARE_OK);
    return 1;
}

/* ({tensors}): the step, and the tensors as plain data. */
static int p_finish(lua_State *L) {
    int n;
    mare_tensor **out = tensors_in(L, 1, &n);
    step_box *b = lua_newuserdatauv(L, sizeof *b, 0);
    int at = lua_gettop(L);
    b->step = NULL;
    luaL_setmetatable(L, STEP_TYPE);
    tensor_box **boxes;
    mare_tensor **results = results_push(L, n, &boxes);
    if (mare_step_end(script_context(L), n, out, results, &b->step)) return script_raise(L);
    fill_boxes(boxes, results, n);
    lua_pushvalue(L, at);
    lua_insert(L, -2);
    return 2;
}

static int p_cancel(lua_State *L) {
    mare_step_end(script_context(L), 0, NULL, NULL, NULL);
    return 0;
}

/* (step, {tensors}, {numbers}, n): a table of n results; nil when the step must be noted anew. */
static int p_run(lua_State *L) {
    step_box *b = luaL_checkudata(L, 1, STEP_TYPE);
    int n_in, n_numbers = (int)lua_rawlen(L, 3), n = (int)luaL_checkinteger(L, 4);
    mare_tensor **in = tensors_in(L, 2, &n_in);
    double *numbers = lua_newuserdatauv(L, ((size_t)n_numbers + 1) * sizeof *numbers, 0);
    for (int k = 0; k < n_numbers; k++) {
        lua_rawgeti(L, 3, k + 1);
        numbers[k] = arg_number(L, -1, "a number");
        lua_pop(L, 1);
    }
    tensor_box **boxes;
    mare_tensor **results = results_push(L, n, &boxes);
    bool ran = false;
    script_context(L);
    TRY(L, mare_step_run(b->step, n_in, in, n_numbers, numbers, results, &ran));
    if (!ran) return 0;
    fill_boxes(boxes, results, n);
    script_settle(L);
    return 1;
}

number_box *arg_step_number(lua_State *L, int i) {
    return luaL_testudata(L, i, NUMBER_TYPE);
}

/* (number, value): a number of the step that is being noted. */
static int p_number(lua_State *L) {
    lua_Integer number = luaL_checkinteger(L, 1);
    number_box *b = lua_newuserdatauv(L, sizeof *b, 0);
    *b = (number_box){arg_number(L, 2, "the number"), lua_isinteger(L, 2), (int)number};
    luaL_setmetatable(L, NUMBER_TYPE);
    return 1;
}

static int p_value(lua_State *L) {
    number_box *b = luaL_checkudata(L, 1, NUMBER_TYPE);
    if (b->whole)
        lua_pushinteger(L, (lua_Integer)b->value);
    else
        lua_pushnumber(L, b->value);
    return 1;
}

/* The metatable of numbers, for Lua to put operators in. */
static int p_number_meta(lua_State *L) {
    luaL_getmetatable(L, NUMBER_TYPE);
    return 1;
}

const luaL_Reg step_functions[] = {
    {"begin", p_begin},   {"finish", p_finish}, {"cancel", p_cancel},           {"run", p_run},
    {"number", p_number}, {"value", p_value},   {"number_meta", p_number_meta}, {NULL, NULL},
};

void step_type(lua_State *L, script *s) {
    static const luaL_Reg meta[] = {{"__gc", step_gc}, {NULL, NULL}};
    static const luaL_Reg none[] = {{NULL, NULL}};
    script_new_type(L, s, STEP_TYPE, meta);
    lua_pop(L, 1);
    script_new_type(L, s, NUMBER_TYPE, none);
    lua_pop(L, 1);
}
