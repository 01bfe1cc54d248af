/* For lua/mare/profiler.lua: profiles as tables. */
#include "script/lib.h"

/* Starts a profile; (true): with the context, when there is none yet. */
static int p_start(lua_State *L) {
    script *s = script_of(L);
    if (!s->ctx && lua_toboolean(L, 1))
        s->profile_next = true;
    else
        TRY(L, mare_profile_start(script_context(L)));
    return 0;
}

/* { script = seconds, record = seconds, ... } as a field of the table on the top. */
static void set_works(lua_State *L, const char *name, const double seconds[MARE_WORKS]) {
    lua_newtable(L);
    for (int w = 0; w < MARE_WORKS; w++)
        set_number(L, mare_work_name((mare_work)w), seconds[w]);
    lua_setfield(L, -2, name);
}

static void push_site(lua_State *L, const mare_profile_site *x) {
    lua_newtable(L);
    set_string(L, "op", x->op);
    set_string(L, "kernel", x->kernel);
    if (x->file) {
        lua_pushfstring(L, "%s:%d", x->file, x->line);
        lua_setfield(L, -2, "line");
    }
    set_string(L, "dtype", mare_dtype_name(x->dtype));
    shape_push(L, x->rank, x->dims);
    lua_setfield(L, -2, "shape");
    lua_createtable(L, 3, 0);
    for (int i = 0; i < 3; i++) {
        lua_pushinteger(L, x->groups[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "groups");
    set_number(L, "bytes", x->bytes);
    set_number(L, "flops", x->flops);
    set_integer(L, "launches", x->launches);
    set_number(L, "seconds", x->seconds);
}

/* The profile as a table, with its sites; nil when there was no context to profile. */
static int p_stop(lua_State *L) {
    script *s = script_of(L);
    s->profile_next = false;
    if (!s->ctx) return 0;
    mare_profile f;
    mare_context *ctx = script_context(L);
    if (mare_profile_stop(ctx, &f)) return script_raise(L);
    lua_newtable(L);
    lua_pushboolean(L, f.timestamps);
    lua_setfield(L, -2, "timestamps");
    set_number(L, "wall", f.wall);
    set_number(L, "busy", f.busy);
    set_number(L, "copying", f.copying);
    set_number(L, "longest_gap", f.longest_gap);
    set_works(L, "host", f.host);
    set_works(L, "idle", f.idle);
    set_integer(L, "evals", f.evals);
    set_integer(L, "plans", f.plans);
    set_integer(L, "hits", f.hits);
    set_integer(L, "submits", f.submits);
    set_integer(L, "pipelines", f.pipelines);
    set_integer(L, "shaders_compiled", f.shaders_compiled);
    set_integer(L, "tuned", f.tuned);
    set_integer(L, "launches", f.launches);
    lua_newtable(L);
    mare_profile_site site;
    for (size_t i = 0; mare_profile_site_at(ctx, i, &site); i++) {
        push_site(L, &site);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "sites");
    return 1;
}

/* (path): writes the profile stopped last. */
static int p_trace(lua_State *L) {
    const char *path = arg_string(L, 1, "the path");
    TRY(L, mare_profile_trace(script_context(L), path));
    return 0;
}

/* Bytes a second, flops a second. */
static int p_peaks(lua_State *L) {
    double bandwidth, flops;
    TRY(L, mare_device_peaks(script_context(L), &bandwidth, &flops));
    lua_pushnumber(L, bandwidth);
    lua_pushnumber(L, flops);
    return 2;
}

const luaL_Reg profile_functions[] = {
    {"start", p_start}, {"stop", p_stop}, {"trace", p_trace}, {"peaks", p_peaks}, {NULL, NULL},
};
