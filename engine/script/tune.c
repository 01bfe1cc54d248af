/* Tuning: when it may be done, and for lua/mare/tune.lua: runs and records as tables. */
#include "script/lib.h"

#include <string.h>

/* ---- Policy --------------------------------------------------------------------------------- */

static const char *const policies[] = {"first use", "known", "off", NULL};

/* mare.set_tuning("first use" | "known" | "off"[, seconds]) */
static int s_set_tuning(lua_State *L) {
    const char *word = arg_string(L, 1, "the policy");
    double budget = lua_isnoneornil(L, 2) ? -1 : arg_number(L, 2, "the budget");
    int when = 0;
    while (policies[when] && strcmp(policies[when], word) != 0)
        when++;
    if (!policies[when])
        return script_error(L, "'%s' is none of \"first use\", \"known\" and \"off\"", word);
    if (!lua_isnoneornil(L, 2) && !(budget >= 0))
        return script_error(L, "a budget of %g seconds", budget);
    TRY(L, mare_set_tuning(script_context(L), (mare_tuning)when, budget));
    return 0;
}

/* The policy, and what is left of the budget in seconds. */
static int s_tuning(lua_State *L) {
    double left;
    mare_tuning when = mare_get_tuning(script_context(L), &left);
    lua_pushstring(L, policies[when]);
    lua_pushnumber(L, left);
    return 2;
}

static const luaL_Reg module[] = {
    {"set_tuning", s_set_tuning},
    {"tuning", s_tuning},
    {NULL, NULL},
};
const script_part tune_part = {NULL, module, NULL};

/* ---- Records -------------------------------------------------------------------------------- */

static void push_record(lua_State *L, const mare_tune_record *r) {
    lua_newtable(L);
    set_string(L, "key", r->key);
    set_string(L, "list", r->list[0] ? r->list : NULL);
    set_string(L, "best", r->best);
    set_string(L, "state", mare_tune_state_name(r->state));
    set_number(L, "flops", r->flops);
    set_number(L, "bytes", r->bytes);
    lua_createtable(L, r->n, 0);
    for (int i = 0; i < r->n; i++) {
        const mare_tune_candidate *c = &r->candidates[i];
        lua_createtable(L, 0, 2);
        set_string(L, "name", c->name);
        if (c->seconds > 0) set_number(L, "seconds", c->seconds);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "candidates");
}

static int push_all(lua_State *L, bool (*at)(mare_context *, int, mare_tune_record *)) {
    mare_context *ctx = script_context(L);
    mare_tune_record r;
    lua_newtable(L);
    for (int i = 0; at(ctx, i, &r); i++) {
        push_record(L, &r);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

static int t_list(lua_State *L) {
    return push_all(L, mare_tune_record_at);
}

/* (key, candidate or nil) */
static int t_pin(lua_State *L) {
    const char *key = arg_string(L, 1, "the key");
    const char *candidate = lua_isnoneornil(L, 2) ? NULL : arg_string(L, 2, "the candidate");
    TRY(L, mare_tune_pin(script_context(L), key, candidate));
    return 0;
}

static int t_clear(lua_State *L) {
    TRY(L, mare_tune_clear(script_context(L)));
    return 0;
}

static int t_export(lua_State *L) {
    const char *path = arg_string(L, 1, "the path");
    TRY(L, mare_tune_export(script_context(L), path));
    return 0;
}

/* (path): how many were taken and refused, and why; nil for no reason. */
static int t_import(lua_State *L) {
    const char *path = arg_string(L, 1, "the path");
    mare_tune_import_info info;
    TRY(L, mare_tune_import(script_context(L), path, &info));
    lua_pushinteger(L, info.taken);
    lua_pushinteger(L, info.refused);
    lua_pushstring(L, info.why[0] ? info.why : NULL);
    return 3;
}

/* ---- Runs ----------------------------------------------------------------------------------- */

/* In the registry, under these keys: the function that is told, and the error that it raised. */
static const char told_key = 0, error_key = 0;

static int call_told(lua_State *L) {
    const mare_tune_record *r = lua_touserdata(L, 1);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &told_key) != LUA_TFUNCTION) return 0;
    push_record(L, r);
    lua_call(L, 1, 0);
    return 0;
}

/* An error must not leave by a jump through the engine: it ends the measuring, and is raised by
 * t_end(). */
static bool tell(void *user, const mare_tune_record *r) {
    script *s = user;
    lua_State *L = s->running;
    if (!lua_checkstack(L, 8)) return false;
    lua_pushcfunction(L, call_told);
    lua_pushlightuserdata(L, (void *)(uintptr_t)r);
    s->telling = true;
    bool ok = lua_pcall(L, 1, 0, 0) == LUA_OK;
    s->telling = false;
    if (!ok) lua_rawsetp(L, LUA_REGISTRYINDEX, &error_key);
    s->running = L;
    return ok;
}

void tune_start(lua_State *L, script *s) {
    s->tune_next = false;
    s->tune.user = s;
    TRY(L, mare_tune_begin(s->ctx, &s->tune));
}

/* (budget or nil, force, told or nil, later): begins a run; later: with the context, when there is
 * none yet. */
static int t_begin(lua_State *L) {
    script *s = script_of(L);
    lua_settop(L, 4);
    mare_tune_options o = {.budget = lua_isnil(L, 1) ? -1 : arg_number(L, 1, "the budget"),
                           .force = lua_toboolean(L, 2),
                           .told = lua_isnil(L, 3) ? NULL : tell,
                           .user = s};
    if (s->ctx || !lua_toboolean(L, 4)) TRY(L, mare_tune_begin(script_context(L), &o));
    s->tune_next = !s->ctx;
    s->tune = o;
    lua_pushvalue(L, 3);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &told_key);
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &error_key);
    return 0;
}

/* Ends it. The problems that it met; nil when there was no context. */
static int t_end(lua_State *L) {
    script *s = script_of(L);
    s->tune_next = false;
    if (!s->ctx) return 0;
    if (mare_tune_end(script_context(L))) return script_raise(L);
    lua_pushnil(L);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &told_key);
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &error_key) != LUA_TNIL) {
        lua_pushnil(L);
        lua_rawsetp(L, LUA_REGISTRYINDEX, &error_key);
        return lua_error(L);
    }
    return push_all(L, mare_tune_result_at);
}

const luaL_Reg tune_functions[] = {
    {"tune_list", t_list},     {"tune_pin", t_pin},
    {"tune_clear", t_clear},   {"tune_export", t_export},
    {"tune_import", t_import}, {"tune_begin", t_begin},
    {"tune_end", t_end},       {NULL, NULL},
};
