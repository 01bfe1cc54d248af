/* Functions that make tensors. */
#include "graph/graph.h"
#include "script/lib.h"

#include <math.h>
#include <string.h>

/* A shape from argument *i on, which moves past it, and the options behind it. */
static int shape_and_options(lua_State *L, int *i, int64_t dims[MARE_MAX_DIMS],
                             const char *options) {
    int rank = 0;
    if (!arg_is_options(L, *i)) rank = arg_integers(L, i, "a dimension", 0, dims);
    arg_options(L, *i, options);
    return rank;
}

static int filled(lua_State *L, int i, double value) {
    int64_t dims[MARE_MAX_DIMS];
    int rank = shape_and_options(L, &i, dims, "dtype requires_grad");
    mare_dtype dtype = opt_dtype(L, i, MARE_F32);
    arg_fits(L, dtype, value, "the value");
    mare_context *ctx = script_context(L);
    TRY(L, mare_full(ctx, dtype, rank, dims, value, tensor_push(L)));
    opt_requires_grad(L, i);
    return 1;
}

static int c_zeros(lua_State *L) {
    return filled(L, 1, 0);
}

static int c_ones(lua_State *L) {
    return filled(L, 1, 1);
}

/* mare.full(shape, value, options) */
static int c_full(lua_State *L) {
    if (!lua_istable(L, 1))
        return script_error(L, "the shape must be a table, not %s", arg_kind(L, 1));
    double value = arg_number(L, 2, "the value");
    lua_remove(L, 2);
    return filled(L, 1, value);
}

static int filled_like(lua_State *L, double value) {
    mare_tensor *t = arg_tensor(L, 1, "the tensor");
    arg_options(L, 2, "dtype requires_grad");
    mare_dtype dtype = opt_dtype(L, 2, mare_tensor_dtype(t));
    mare_context *ctx = script_context(L);
    TRY(L, mare_full(ctx, dtype, mare_tensor_rank(t), mare_tensor_dims(t), value, tensor_push(L)));
    opt_requires_grad(L, 2);
    return 1;
}

static int c_zeros_like(lua_State *L) {
    return filled_like(L, 0);
}

static int c_ones_like(lua_State *L) {
    return filled_like(L, 1);
}

/* ---- From values --------------------------------------------------------------------------- */

/* Bytes as they are in memory, with { dtype =, shape = }; without a shape, one dimension. */
static int from_bytes(lua_State *L) {
    size_t len;
    const char *bytes = lua_tolstring(L, 1, &len);
    mare_dtype dtype = opt_dtype(L, 2, MARE_U8);
    size_t size = mare_dtype_size(dtype);
    int64_t dims[MARE_MAX_DIMS] = {(int64_t)(len / size)};
    int rank = 1;
    double count = 1;
    if (lua_istable(L, 2) && lua_getfield(L, 2, "shape") != LUA_TNIL) {
        int at = lua_gettop(L);
        if (!lua_istable(L, at))
            return script_error(L, "shape must be a table, not %s", arg_kind(L, at));
        rank = arg_integers(L, &at, "a dimension", 0, dims);
        for (int i = 0; i < rank; i++)
            count *= (double)dims[i];
    } else {
        count = (double)dims[0];
    }
    if (count * (double)size != (double)len)
        return script_error(L, "%zu bytes do not fill shape %s of %s", len,
                            shape_push_text(L, rank, dims), mare_dtype_name(dtype));
    if (dtype == MARE_BOOL)
        for (size_t i = 0; i < len; i++)
            if ((unsigned char)bytes[i] > 1)
                return script_error(L, "byte %zu is %d, which is no bool", i + 1,
                                    (unsigned char)bytes[i]);
    mare_context *ctx = script_context(L);
    TRY(L, mare_tensor_from(ctx, dtype, rank, dims, bytes, tensor_push(L)));
    opt_requires_grad(L, 2);
    return 1;
}

static int c_tensor(lua_State *L) {
    arg_options(
        L, 2, lua_type(L, 1) == LUA_TSTRING ? "dtype shape requires_grad" : "dtype requires_grad");
    if (lua_type(L, 1) == LUA_TSTRING) return from_bytes(L);
    if (!lua_istable(L, 1) && !lua_isnumber(L, 1) && !lua_isboolean(L, 1))
        return script_error(L, "expected a number, a nested table or a string of bytes, not %s",
                            arg_kind(L, 1));
    bool given = lua_istable(L, 2) && lua_getfield(L, 2, "dtype") != LUA_TNIL;
    mare_dtype dtype = opt_dtype(L, 2, MARE_F32);
    int rank;
    int64_t dims[MARE_MAX_DIMS];
    const void *data = table_pack(L, 1, given, &dtype, &rank, dims);
    mare_context *ctx = script_context(L);
    TRY(L, mare_tensor_from(ctx, dtype, rank, dims, data, tensor_push(L)));
    opt_requires_grad(L, 2);
    return 1;
}

/* mare.arange(stop), (start, stop), (start, stop, step), each with options; stop is excluded. */
static int c_arange(lua_State *L) {
    double part[3] = {0, 0, 1};
    int n = 0;
    bool integers = true;
    for (; n < 3 && lua_type(L, n + 1) == LUA_TNUMBER; n++) {
        part[n] = lua_tonumber(L, n + 1);
        integers = integers && lua_isinteger(L, n + 1);
    }
    if (n == 0) return script_error(L, "stop must be a number, not %s", arg_kind(L, 1));
    if (n == 1) {
        part[1] = part[0];
        part[0] = 0;
    }
    arg_options(L, n + 1, "dtype requires_grad");
    if (part[2] == 0 || part[2] != part[2]) return script_error(L, "the step is %g", part[2]);
    double count = ceil((part[1] - part[0]) / part[2]);
    if (!(count <= INT32_MAX))
        return script_error(L, "%g to %g by %g are too many elements", part[0], part[1], part[2]);
    mare_dtype dtype = opt_dtype(L, n + 1, integers ? MARE_I32 : MARE_F32);
    if (count > 0) {
        arg_fits(L, dtype, part[0], "the start");
        arg_fits(L, dtype, part[0] + (count - 1) * part[2], "the last number");
        arg_fits(L, dtype_is_float(dtype) ? dtype : MARE_I32, part[2], "the step");
    }
    mare_context *ctx = script_context(L);
    TRY(L,
        mare_arange(ctx, dtype, part[0], part[2], count > 0 ? (int64_t)count : 0, tensor_push(L)));
    opt_requires_grad(L, n + 1);
    return 1;
}

/* mare.eye(rows, columns, options): as many columns as rows by default. */
static int c_eye(lua_State *L) {
    int64_t n = arg_integer(L, 1, "the size"), m = n;
    int i = 2;
    if (lua_type(L, 2) == LUA_TNUMBER) m = arg_integer(L, i++, "the number of columns");
    arg_options(L, i, "dtype requires_grad");
    mare_dtype dtype = opt_dtype(L, i, MARE_F32);
    if (n < 0 || m < 0) return script_error(L, "the size is %lld", (long long)(n < 0 ? n : m));
    mare_context *ctx = script_context(L);
    mare_tensor **index = tensor_push(L), **square = tensor_push(L);
    int64_t most = n > m ? n : m;
    TRY(L, mare_arange(ctx, MARE_I32, 0, 1, n, index));
    TRY(L, mare_one_hot(*index, most ? most : 1, dtype, square));
    TRY(L, mare_slice(*square, (int64_t[]){0, 0}, (int64_t[]){n, m}, (int64_t[]){1, 1},
                      tensor_push(L)));
    opt_requires_grad(L, i);
    return 1;
}

/* ---- Random numbers ------------------------------------------------------------------------ */

/* Casts the f32 tensor on the top of the stack when the options ask for another type. */
static int finish_random(lua_State *L, int options) {
    mare_dtype dtype = opt_dtype(L, options, MARE_F32);
    if (!dtype_is_float(dtype))
        return script_error(L, "random numbers are floats, not %s", mare_dtype_name(dtype));
    if (dtype != MARE_F32) {
        mare_tensor *t = arg_tensor(L, -1, "the tensor");
        TRY(L, mare_cast(t, dtype, tensor_push(L)));
    }
    opt_requires_grad(L, options);
    return 1;
}

typedef mare_status (*draw)(mare_context *, int, const int64_t *, double, double, mare_tensor **);

static int drawn(lua_State *L, draw f, int i, double a, double b) {
    int64_t dims[MARE_MAX_DIMS];
    int rank = shape_and_options(L, &i, dims, "dtype requires_grad");
    mare_context *ctx = script_context(L);
    TRY(L, f(ctx, rank, dims, a, b, tensor_push(L)));
    return finish_random(L, i);
}

static int c_rand(lua_State *L) {
    return drawn(L, mare_uniform, 1, 0, 1);
}

static int c_randn(lua_State *L) {
    return drawn(L, mare_normal, 1, 0, 1);
}

/* (shape, a, b, options) with defaults for a and b. */
static int drawn_between(lua_State *L, draw f, const char *a, const char *b) {
    if (!lua_istable(L, 1))
        return script_error(L, "the shape must be a table, not %s", arg_kind(L, 1));
    double v[2] = {0, 1};
    const char *names[2] = {a, b};
    for (int k = 0; k < 2 && !lua_isnoneornil(L, 2) && !lua_istable(L, 2); k++) {
        v[k] = arg_number(L, 2, names[k]);
        lua_remove(L, 2);
    }
    return drawn(L, f, 1, v[0], v[1]);
}

static int c_uniform(lua_State *L) {
    return drawn_between(L, mare_uniform, "the lower bound", "the upper bound");
}

static int c_normal(lua_State *L) {
    return drawn_between(L, mare_normal, "the mean", "the standard deviation");
}

static const luaL_Reg both[] = {
    {"zeros_like", c_zeros_like},
    {"ones_like", c_ones_like},
    {NULL, NULL},
};
static const luaL_Reg module[] = {
    {"tensor", c_tensor},   {"zeros", c_zeros},   {"ones", c_ones}, {"full", c_full},
    {"arange", c_arange},   {"eye", c_eye},       {"rand", c_rand}, {"randn", c_randn},
    {"uniform", c_uniform}, {"normal", c_normal}, {NULL, NULL},
};
const script_part create_part = {both, module, NULL};
