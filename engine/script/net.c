/* Products, convolutions, pooling, losses, normalisation. */
#include "script/lib.h"

#include <string.h>

static int n_matmul(lua_State *L) {
    mare_tensor *a = arg_tensor(L, 1, "argument 1"), *b = arg_tensor(L, 2, "argument 2");
    arg_end(L, 3);
    script_context(L);
    TRY(L, mare_matmul(a, b, tensor_push(L)));
    return 1;
}

/* mare.conv2d(x, w, bias, options) */
static int n_conv2d(lua_State *L) {
    mare_tensor *x = arg_tensor(L, 1, "x"), *w = arg_tensor(L, 2, "the weight");
    mare_tensor *bias = arg_tensor_or_null(L, 3, "the bias");
    arg_options(L, 4, "stride padding dilation groups");
    mare_conv2d_options o = {.groups = opt_integer(L, 4, "groups", 1)};
    opt_pair(L, 4, "stride", 1, o.stride);
    opt_pair(L, 4, "padding", 0, o.padding);
    opt_pair(L, 4, "dilation", 1, o.dilation);
    /* 0 means the default to the engine, but nothing to a script. */
    if (o.groups < 1) return script_error(L, "groups is %lld", (long long)o.groups);
    for (int i = 0; i < 2; i++)
        if (o.stride[i] < 1 || o.dilation[i] < 1)
            return script_error(L, "stride and dilation must be at least 1");
    script_context(L);
    TRY(L, mare_conv2d(x, w, bias, &o, tensor_push(L)));
    return 1;
}

static int pool(lua_State *L, const char *kind, const char *options) {
    mare_tensor *x = arg_tensor(L, 1, "x");
    /* A bare number is the kernel. */
    if (lua_type(L, 2) == LUA_TNUMBER) {
        lua_createtable(L, 0, 1);
        lua_pushvalue(L, 2);
        lua_setfield(L, -2, "kernel");
        lua_replace(L, 2);
    }
    arg_options(L, 2, options);
    mare_pool2d_options o = {.ceil_mode = opt_bool(L, 2, "ceil_mode", false),
                             .exclude_pad = !opt_bool(L, 2, "count_include_pad", true)};
    opt_pair(L, 2, "kernel", 0, o.kernel);
    if (o.kernel[0] < 1 || o.kernel[1] < 1)
        return script_error(L, "the option kernel must be given, at least 1");
    opt_pair(L, 2, "stride", -1, o.stride);
    opt_pair(L, 2, "padding", 0, o.padding);
    opt_pair(L, 2, "dilation", 1, o.dilation);
    for (int i = 0; i < 2; i++) {
        if (o.stride[i] == -1) o.stride[i] = o.kernel[i];
        if (o.stride[i] < 1 || o.dilation[i] < 1)
            return script_error(L, "stride and dilation must be at least 1");
    }
    script_context(L);
    TRY(L, mare_pool2d(kind, x, &o, tensor_push(L)));
    return 1;
}

static int n_max_pool2d(lua_State *L) {
    return pool(L, "max", "kernel stride padding dilation ceil_mode");
}

static int n_avg_pool2d(lua_State *L) {
    return pool(L, "avg", "kernel stride padding ceil_mode count_include_pad");
}

static int n_cross_entropy(lua_State *L) {
    mare_tensor *logits = arg_tensor(L, 1, "the logits"), *target = arg_tensor(L, 2, "the target");
    arg_options(L, 3, "label_smoothing reduction");
    double smoothing = opt_number(L, 3, "label_smoothing", 0);
    mare_reduction r = opt_reduction(L, 3);
    script_context(L);
    TRY(L, mare_cross_entropy(logits, target, smoothing, r, tensor_push(L)));
    return 1;
}

static int loss(lua_State *L, const char *name) {
    mare_tensor *a = arg_tensor(L, 1, "the prediction"), *target = arg_tensor(L, 2, "the target");
    arg_options(L, 3, "reduction");
    mare_reduction r = opt_reduction(L, 3);
    script_context(L);
    TRY(L, mare_loss(name, a, target, r, tensor_push(L)));
    return 1;
}

static int n_nll_loss(lua_State *L) {
    return loss(L, "nll");
}

static int n_mse_loss(lua_State *L) {
    return loss(L, "mse");
}

static int n_l1_loss(lua_State *L) {
    return loss(L, "l1");
}

static int n_bce_loss(lua_State *L) {
    return loss(L, "bce");
}

static int n_bce_with_logits(lua_State *L) {
    return loss(L, "bce_with_logits");
}

/* mare.batch_norm(x, mean, var, gamma, beta, eps) */
static int n_batch_norm(lua_State *L) {
    mare_tensor *x = arg_tensor(L, 1, "x");
    mare_tensor *mean = arg_tensor(L, 2, "the mean"), *var = arg_tensor(L, 3, "the variance");
    mare_tensor *gamma = arg_tensor_or_null(L, 4, "gamma");
    mare_tensor *beta = arg_tensor_or_null(L, 5, "beta");
    double eps = lua_isnoneornil(L, 6) ? 1e-5 : arg_number(L, 6, "eps");
    arg_end(L, 7);
    script_context(L);
    TRY(L, mare_batch_norm(x, mean, var, gamma, beta, eps, tensor_push(L)));
    return 1;
}

static const luaL_Reg both[] = {
    {"matmul", n_matmul},
    {"conv2d", n_conv2d},
    {"max_pool2d", n_max_pool2d},
    {"avg_pool2d", n_avg_pool2d},
    {"cross_entropy", n_cross_entropy},
    {"nll_loss", n_nll_loss},
    {"mse_loss", n_mse_loss},
    {"l1_loss", n_l1_loss},
    {"bce_loss", n_bce_loss},
    {"bce_with_logits", n_bce_with_logits},
    {"batch_norm", n_batch_norm},
    {NULL, NULL},
};
const script_part net_part = {both, NULL, NULL};
