/* mare.loader: batches out of host arrays, assembled ahead by worker threads. */
#include "io/loader.h"
#include "script/data.h"

#include <math.h>
#include <string.h>

#define LOADER_TYPE "mare.loader"

typedef struct feed {
    loader *l; /* null once closed */
    int count; /* arrays */
} feed;

static feed *arg_feed(lua_State *L) {
    feed *f = luaL_testudata(L, 1, LOADER_TYPE);
    if (!f) script_error(L, "expected a loader, not %s", arg_kind(L, 1));
    return f;
}

static int feed_close(lua_State *L) {
    feed *f = arg_feed(L);
    loader_destroy(f->l);
    f->l = NULL;
    return 0;
}

/* { array, dtype =, scale =, shift =, sample_shape = } at the top of the stack. */
static void source(lua_State *L, int number, loader_source *out) {
    int at = lua_gettop(L);
    char what[48];
    snprintf(what, sizeof what, "array %d", number);
    if (!lua_istable(L, at)) {
        *out = (loader_source){.array = arg_array(L, at, what), .scale = 1};
        out->dtype = out->array->dtype;
        return;
    }
    lua_pushnil(L);
    while (lua_next(L, at)) {
        static const char known[] = " dtype scale shift sample_shape ";
        char name[40];
        if (lua_type(L, -2) == LUA_TSTRING) {
            snprintf(name, sizeof name, " %s ", lua_tostring(L, -2));
            if (!strstr(known, name))
                script_error(L, "%s: unknown option '%s' (options:%s)", what, lua_tostring(L, -2),
                             known);
        } else if (!lua_isinteger(L, -2) || lua_tointeger(L, -2) != 1) {
            script_error(L, "%s: expected { array, options }", what);
        }
        lua_pop(L, 1);
    }
    lua_geti(L, at, 1);
    out->array = arg_array(L, -1, what);
    out->dtype = opt_dtype(L, at, out->array->dtype);
    out->scale = (float)opt_number(L, at, "scale", 1);
    out->shift = (float)opt_number(L, at, "shift", 0);
    if (out->scale == 0 && out->shift == 0) script_error(L, "%s: scale and shift are both 0", what);
    if (!isfinite(out->scale) || !isfinite(out->shift))
        script_error(L, "%s: scale and shift must be finite", what);
    if (lua_getfield(L, at, "sample_shape") != LUA_TNIL) {
        int i = lua_gettop(L);
        if (!lua_istable(L, i)) script_error(L, "%s: sample_shape must be a table", what);
        out->sample.rank = arg_integers(L, &i, "sample_shape", 0, out->sample.dim);
        out->reshape = true;
    }
    lua_settop(L, at);
}

/* The option indices: a table of positions from 1, or an integer tensor, whose numbers, being data,
 * count from 0. Leaves a userdata on the stack. */
static const int64_t *subset(lua_State *L, int i, int64_t *count) {
    *count = 0;
    if (lua_getfield(L, i, "indices") == LUA_TNIL) return NULL;
    if (arg_box(L, -1)) {
        mare_tensor *t = arg_tensor(L, -1, "indices");
        mare_dtype dtype = mare_tensor_dtype(t);
        if (dtype_is_float(dtype) || dtype == MARE_BOOL)
            script_error(L, "indices must be integers, not %s", mare_dtype_name(dtype));
        *count = mare_tensor_count(t);
        double *values = lua_newuserdatauv(L, ((size_t)*count + 1) * sizeof *values, 0);
        int64_t *out = lua_newuserdatauv(L, ((size_t)*count + 1) * sizeof *out, 0);
        script_context(L);
        TRY(L, mare_tensor_doubles(t, values, *count));
        for (int64_t k = 0; k < *count; k++)
            out[k] = (int64_t)values[k];
        return out;
    }
    if (!lua_istable(L, -1))
        script_error(L, "indices must be a table or a tensor, not %s", arg_kind(L, -1));
    int list = lua_gettop(L);
    *count = luaL_len(L, list);
    int64_t *out = lua_newuserdatauv(L, ((size_t)*count + 1) * sizeof *out, 0);
    for (int64_t k = 0; k < *count; k++) {
        lua_geti(L, list, k + 1);
        int64_t p = arg_integer(L, -1, "an entry of indices");
        if (p < 1)
            script_error(L, "indices[%lld] is %lld; positions in a table count from 1",
                         (long long)k + 1, (long long)p);
        out[k] = p - 1;
        lua_pop(L, 1);
    }
    return out;
}

static int feed_new(lua_State *L) {
    script *s = script_of(L);
    arg_options(L, 1,
                "arrays batch shuffle seed epoch start_batch workers prefetch drop_last "
                "indices");
    if (!lua_istable(L, 1)) return script_error(L, "expected a table of options");
    lua_settop(L, 1);
    feed *f = lua_newuserdatauv(L, sizeof *f, 1);
    *f = (feed){0};
    luaL_setmetatable(L, LOADER_TYPE);
    if (lua_getfield(L, 1, "arrays") != LUA_TTABLE)
        return script_error(L, "the option arrays must be a list of { array, options }");
    lua_Integer n = luaL_len(L, 3);
    if (n < 1 || n > LOADER_MAX_SOURCES)
        return script_error(L, "%d arrays; 1 to %d are possible", (int)n, LOADER_MAX_SOURCES);
    loader_source sources[LOADER_MAX_SOURCES] = {0};
    lua_createtable(L, (int)n, 0); /* keeps the arrays alive as long as the loader */
    for (int i = 0; i < n; i++) {
        lua_geti(L, 3, i + 1);
        source(L, i + 1, &sources[i]);
        if (lua_istable(L, -1)) lua_geti(L, -1, 1);
        lua_rawseti(L, 4, i + 1);
        lua_settop(L, 4);
    }
    lua_setiuservalue(L, 2, 1);
    int64_t prefetch = opt_integer(L, 1, "prefetch", 0), workers = opt_integer(L, 1, "workers", 2);
    loader_options o = {
        .batch = opt_integer(L, 1, "batch", 1),
        .shuffle = opt_bool(L, 1, "shuffle", false),
        .seed = (uint64_t)opt_integer(L, 1, "seed", 0),
        .epoch = (uint64_t)opt_integer(L, 1, "epoch", 0),
        .drop_last = opt_bool(L, 1, "drop_last", false),
        .workers = workers < INT32_MIN || workers > INT32_MAX ? -1 : (int)workers,
        .prefetch = prefetch < INT32_MIN || prefetch > INT32_MAX ? -1 : (int)prefetch,
        .start = opt_integer(L, 1, "start_batch", 0), /* how many are left out */
    };
    o.subset = subset(L, 1, &o.subset_count);
    if (loader_create(sources, (int)n, &o, &f->l, &s->error)) {
        f->l = NULL;
        return script_raise_error(L);
    }
    f->count = (int)n;
    lua_settop(L, 2);
    return 1;
}

/* The next batch's tensors; nil after the last. */
static int feed_next(lua_State *L) {
    script *s = script_of(L);
    feed *f = arg_feed(L);
    if (!f->l) return script_error(L, "the loader was closed");
    const io_array *arrays;
    if (loader_next(f->l, &arrays, &s->error)) return script_raise_error(L);
    if (!arrays) {
        lua_pushnil(L);
        return 1;
    }
    luaL_checkstack(L, f->count, "arrays");
    for (int i = 0; i < f->count; i++)
        tensor_from_array(L, &arrays[i]);
    script_settle(L);
    return f->count;
}

static int feed_step(lua_State *L) {
    lua_settop(L, 0);
    lua_pushvalue(L, lua_upvalueindex(3));
    return feed_next(L);
}

/* for x, y in loader:iter() do. The loader is no to-be-closed value of the loop: Lua 5.4.4 closes
 * wrong variables in loops that have one, a break, and a closure over a variable of the loop. */
static int feed_iter(lua_State *L) {
    arg_feed(L);
    lua_settop(L, 1);
    lua_pushlightuserdata(L, script_of(L));
    lua_pushliteral(L, "loader");
    lua_pushvalue(L, 1);
    lua_pushcclosure(L, feed_step, 3);
    return 1;
}

static int feed_len(lua_State *L) {
    feed *f = arg_feed(L);
    if (!f->l) return script_error(L, "the loader was closed");
    lua_pushinteger(L, loader_batches(f->l));
    return 1;
}

void loader_type(lua_State *L, script *s) {
    static const luaL_Reg meta[] = {
        {"__gc", feed_close}, {"__close", feed_close}, {"__len", feed_len}, {NULL, NULL}};
    static const luaL_Reg methods[] = {
        {"next", feed_next}, {"close", feed_close}, {"iter", feed_iter}, {NULL, NULL}};
    script_new_type(L, s, LOADER_TYPE, meta);
    lua_newtable(L);
    script_register(L, s, methods);
    lua_setfield(L, -2, "__index");
}

static const luaL_Reg module[] = {{"loader", feed_new}, {NULL, NULL}};
const script_part loader_part = {NULL, module, NULL};
