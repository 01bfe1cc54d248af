/* For lua/mare/kernel.lua: kernels that a script brings along. */
#include "script/lib.h"

/* A kernel lives as long as its context; the number of the context tells whether it still does. */
typedef struct kernel_box {
    mare_kernel *k;
    unsigned generation;
    int inputs, outputs, numbers;
} kernel_box;

static kernel_box *box_at(lua_State *L, int i) {
    luaL_checktype(L, i, LUA_TUSERDATA);
    return lua_touserdata(L, i);
}

/* The names in the list at field `field` of the table at i, at most `most`; the table holds them.
 */
static int names_at(lua_State *L, int i, const char *field, int most, const char **names) {
    lua_getfield(L, i, field);
    int n = (int)luaL_len(L, -1);
    if (n > most) script_error(L, "%d %s are more than %d", n, field, most);
    for (int k = 0; k < n; k++) {
        lua_geti(L, -1, k + 1);
        names[k] = arg_string(L, lua_gettop(L), "a name");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return n;
}

static void dtypes_at(lua_State *L, int i, const char *field, int n, mare_dtype *dtypes) {
    lua_getfield(L, i, field);
    for (int k = 0; k < n; k++) {
        lua_geti(L, -1, k + 1);
        dtypes[k] = arg_dtype(L, lua_gettop(L), "a dtype");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

/* ({ name, glsl, inputs, outputs, numbers, input_dtypes, output_dtypes, workgroup }) */
static int k_create(lua_State *L) {
    const char *in[MARE_KERNEL_INPUTS], *out[MARE_KERNEL_OUTPUTS], *numbers[MARE_KERNEL_NUMBERS];
    mare_dtype in_dtypes[MARE_KERNEL_INPUTS], out_dtypes[MARE_KERNEL_OUTPUTS];
    mare_context *ctx = script_context(L);
    mare_kernel_options o = {.input_names = in,
                             .output_names = out,
                             .number_names = numbers,
                             .input_dtypes = in_dtypes,
                             .output_dtypes = out_dtypes};
    o.inputs = names_at(L, 1, "inputs", MARE_KERNEL_INPUTS, in);
    o.outputs = names_at(L, 1, "outputs", MARE_KERNEL_OUTPUTS, out);
    o.numbers = names_at(L, 1, "numbers", MARE_KERNEL_NUMBERS, numbers);
    dtypes_at(L, 1, "input_dtypes", o.inputs, in_dtypes);
    dtypes_at(L, 1, "output_dtypes", o.outputs, out_dtypes);
    lua_getfield(L, 1, "name");
    lua_getfield(L, 1, "glsl");
    lua_getfield(L, 1, "workgroup");
    o.name = lua_tostring(L, -3);
    o.glsl = lua_tostring(L, -2);
    o.workgroup = (uint32_t)lua_tointeger(L, -1);
    kernel_box *box = lua_newuserdatauv(L, sizeof *box, 0);
    *box = (kernel_box){NULL, script_of(L)->generation, o.inputs, o.outputs, o.numbers};
    TRY(L, mare_kernel_create(ctx, &o, &box->k));
    return 1;
}

/* (box): is its context the present one? */
static int k_alive(lua_State *L) {
    script_context(L);
    lua_pushboolean(L, box_at(L, 1)->generation == script_of(L)->generation);
    return 1;
}

/* (box, {inputs}, {numbers}, {shapes}, threads): the outputs. */
static int k_run(lua_State *L) {
    kernel_box *box = box_at(L, 1);
    mare_tensor *in[MARE_KERNEL_INPUTS], *out[MARE_KERNEL_OUTPUTS] = {0};
    double numbers[MARE_KERNEL_NUMBERS];
    int ranks[MARE_KERNEL_OUTPUTS], total = 0;
    int64_t dims[MARE_KERNEL_OUTPUTS * MARE_MAX_DIMS], threads = luaL_checkinteger(L, 5);
    for (int i = 0; i < box->inputs; i++) {
        lua_geti(L, 2, i + 1);
        in[i] = arg_tensor(L, lua_gettop(L), "an input");
        lua_pop(L, 1);
    }
    for (int i = 0; i < box->numbers; i++) {
        lua_geti(L, 3, i + 1);
        numbers[i] = luaL_checknumber(L, -1);
        lua_pop(L, 1);
    }
    for (int i = 0; i < box->outputs; i++) {
        lua_geti(L, 4, i + 1);
        int at = lua_gettop(L);
        ranks[i] = arg_integers(L, &at, "a dimension", 0, dims + total);
        total += ranks[i];
        lua_pop(L, 1);
    }
    mare_tensor **boxes[MARE_KERNEL_OUTPUTS];
    for (int i = 0; i < box->outputs; i++)
        boxes[i] = tensor_push(L);
    script_context(L);
    TRY(L, mare_kernel_run(box->k, in, numbers, ranks, dims, (uint64_t)threads, out));
    for (int i = 0; i < box->outputs; i++)
        *boxes[i] = out[i];
    return box->outputs;
}

const luaL_Reg kernel_functions[] = {
    {"kernel", k_create}, {"alive", k_alive}, {"run", k_run}, {NULL, NULL}};
