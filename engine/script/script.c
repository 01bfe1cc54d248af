/* State of the binding, errors with the script's line, the embedded library. */
#include "base/file.h"
#include "kernel/kernel.h"
#include "script/lib.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <lualib.h>

script *script_of(lua_State *L) {
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* ---- Where the script is ------------------------------------------------------------------- */

/* The innermost Lua function that is not of the embedded library. */
static bool find_caller(lua_State *L, lua_Debug *ar) {
    for (int level = 0; lua_getstack(L, level, ar); level++) {
        lua_getinfo(L, "S", ar);
        if (ar->what[0] == 'C' || strncmp(ar->source, "=mare/", 6) == 0) continue;
        lua_getinfo(L, "l", ar);
        if (ar->currentline > 0) return true;
    }
    return false;
}

void script_push_where(lua_State *L) {
    lua_Debug ar;
    if (find_caller(L, &ar))
        lua_pushfstring(L, "%s:%d: ", ar.short_src, ar.currentline);
    else
        lua_pushliteral(L, "");
}

/* ---- Errors -------------------------------------------------------------------------------- */

int script_error(lua_State *L, const char *fmt, ...) {
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    script_push_where(L);
    lua_pushfstring(L, "%s: %s", lua_tostring(L, lua_upvalueindex(2)), text);
    lua_concat(L, 2);
    return lua_error(L);
}

/* Axes count from 0 in the engine, dimensions from 1 in a script: "axis 0" is "dimension 1". */
static void push_in_lua_words(lua_State *L, const char *text, size_t len) {
    static const char word[] = "axis ";
    const char *end = text + len;
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (const char *at; (at = strstr(text, word)) && at < end;) {
        char *behind;
        long axis = strtol(at + strlen(word), &behind, 10);
        luaL_addlstring(&b, text, (size_t)(at - text));
        text = at + strlen(word);
        if (behind == text || axis < 0) {
            luaL_addstring(&b, word);
        } else {
            char number[48];
            snprintf(number, sizeof number, "dimension %ld", axis + 1);
            luaL_addstring(&b, number);
            text = behind;
        }
    }
    luaL_addlstring(&b, text, (size_t)(end - text));
    luaL_pushresult(&b);
}

static int raise_text(lua_State *L, const char *text) {
    if (!*text) text = "the engine gave no reason (is the host's memory used up?)";
    script_push_where(L);
    /* The engine may have put the same place at the end: " (file:line)". */
    size_t where = lua_rawlen(L, -1), len = strlen(text);
    static const char *const before[] = {" (", " (from "};
    for (size_t i = 0; i < 2 && where > 2; i++) {
        size_t mark = strlen(before[i]), part = mark + where - 2 + 1;
        const char *at = text + len - part;
        if (len > part && strncmp(at, before[i], mark) == 0 &&
            strncmp(at + mark, lua_tostring(L, -1), where - 2) == 0) {
            len -= part;
            break;
        }
    }
    const char *name = lua_tostring(L, lua_upvalueindex(2));
    size_t n = name ? strlen(name) : 0;
    bool named = len > n && strncmp(text, name, n) == 0 && text[n] == ':';
    if (!named && n) {
        lua_pushfstring(L, "%s: ", name);
        lua_concat(L, 2);
    }
    push_in_lua_words(L, text, len);
    lua_concat(L, 2);
    return lua_error(L);
}

int script_raise(lua_State *L) {
    script *s = script_of(L);
    return raise_text(L, s->ctx ? mare_last_error(s->ctx) : s->error.text);
}

int script_raise_error(lua_State *L) {
    return raise_text(L, script_of(L)->error.text);
}

/* ---- The context --------------------------------------------------------------------------- */

/* Dumps go where messages go. */
static void show(void *user, const char *text) {
    (void)user;
    lua_writestringerror("%s", text);
}

void script_explain(script *s, mare_status status) {
    if (status != MARE_E_NO_DEVICE) return;
    error_set(
        &s->error, status,
        "%.600s\nMare needs a Vulkan driver. Without a GPU, the software one will do: install "
        "mesa-vulkan-drivers (Debian, Ubuntu, Fedora), libvulkan_lvp (openSUSE) or "
        "vulkan-swrast (Arch), and the loader: libvulkan1, vulkan-loader or "
        "vulkan-icd-loader. `mare devices` lists what is found.",
        s->error.text);
}

void script_create(lua_State *L, const mare_options *options) {
    script *s = script_of(L);
    mare_options o = *options;
    o.error = s->error.text;
    o.error_size = sizeof s->error.text;
    s->error.text[0] = 0;
    mare_status status = mare_context_create(&o, &s->ctx);
    script_explain(s, status);
    if (status) {
        s->ctx = NULL;
        script_raise_error(L);
    }
    mare_device_info info;
    if (mare_context_device(s->ctx, &info) == MARE_OK)
        memcpy(s->device, info.name, sizeof info.name);
    mare_set_dump(s->ctx, show, NULL);
    s->settled_bytes = s->settled_nodes = 0;
    if (s->tune_next) tune_start(L, s);
    if (!s->profile_next) return;
    s->profile_next = false;
    TRY(L, mare_profile_start(s->ctx));
}

mare_context *script_context(lua_State *L) {
    script *s = script_of(L);
    if (!s->ctx) script_create(L, &(mare_options){0});
    s->running = L;
    lua_Debug ar;
    if (find_caller(L, &ar))
        mare_set_location(s->ctx, ar.short_src, ar.currentline);
    else
        mare_set_location(s->ctx, NULL, 0);
    return s->ctx;
}

void script_destroy_context(script *s) {
    mare_context_destroy(s->ctx);
    s->ctx = NULL;
    s->generation++;
}

static int script_gc(lua_State *L) {
    script *s = lua_touserdata(L, 1);
    if (s->ctx) script_destroy_context(s);
    return 0;
}

/* ---- Collecting ---------------------------------------------------------------------------- */

static void remember(lua_State *L) {
    script *s = script_of(L);
    mare_memory m;
    mare_stats stats;
    mare_memory_stats(s->ctx, &m);
    mare_get_stats(s->ctx, &stats);
    s->settled_bytes = m.used;
    s->settled_nodes = s->young_nodes = stats.nodes;
    s->settled_kib = lua_gc(L, LUA_GCCOUNT);
}

void script_collect(lua_State *L) {
    script *s = script_of(L);
    lua_gc(L, LUA_GCCOLLECT);
    if (!s->ctx) return;
    mare_wait(s->ctx); /* what the device was still using can go, too */
    remember(L);
}

void script_settle(lua_State *L) {
    enum { SLACK_BYTES = 32 << 20, SLACK_NODES = 4096, SLACK_KIB = 1024, YOUNG_NODES = 64 };
    script *s = script_of(L);
    mare_memory m;
    mare_stats stats;
    mare_get_stats(s->ctx, &stats);
    if (stats.nodes > s->young_nodes + YOUNG_NODES) {
        lua_gc(L, LUA_GCSTEP, 0); /* all that is young, in the generational mode */
        mare_get_stats(s->ctx, &stats);
        s->young_nodes = stats.nodes;
    } else if (stats.nodes < s->young_nodes) {
        s->young_nodes = stats.nodes;
    }
    mare_memory_stats(s->ctx, &m);
    if (m.used <= s->settled_bytes + s->settled_bytes / 2 + SLACK_BYTES &&
        stats.nodes <= s->settled_nodes * 2 + SLACK_NODES &&
        lua_gc(L, LUA_GCCOUNT) <= s->settled_kib * 2 + SLACK_KIB)
        return;
    lua_gc(L, LUA_GCCOLLECT);
    remember(L);
}

/* ---- Fields -------------------------------------------------------------------------------- */

void set_string(lua_State *L, const char *name, const char *value) {
    lua_pushstring(L, value);
    lua_setfield(L, -2, name);
}

void set_integer(lua_State *L, const char *name, uint64_t value) {
    lua_pushinteger(L, (lua_Integer)value);
    lua_setfield(L, -2, name);
}

void set_number(lua_State *L, const char *name, double value) {
    lua_pushnumber(L, value);
    lua_setfield(L, -2, name);
}

/* ---- The modules --------------------------------------------------------------------------- */

void script_push_function(lua_State *L, script *s, const char *name, lua_CFunction f) {
    lua_pushlightuserdata(L, s);
    lua_pushstring(L, name);
    lua_pushcclosure(L, f, 2);
}

void script_register(lua_State *L, script *s, const luaL_Reg *functions) {
    for (; functions && functions->name; functions++) {
        const char *name = functions->name; /* events are called what they do: "tostring" */
        script_push_function(L, s, strncmp(name, "__", 2) ? name : name + 2, functions->func);
        lua_setfield(L, -2, name);
    }
}

void script_new_type(lua_State *L, script *s, const char *type, const luaL_Reg *functions) {
    luaL_newmetatable(L, type);
    script_register(L, s, functions);
    lua_pushstring(L, type); /* scripts cannot reach __gc and call it with something else */
    lua_setfield(L, -2, "__metatable");
}

/* The state of the binding is a userdata that the registry holds, so that it ends with the Lua
 * state; the functions know its address. */
static const char state_key = 0;

static script *state(lua_State *L) {
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &state_key) == LUA_TUSERDATA) {
        script *s = lua_touserdata(L, -1);
        lua_pop(L, 1);
        return s;
    }
    lua_pop(L, 1);
    script *s = lua_newuserdatauv(L, sizeof *s, 0);
    memset(s, 0, sizeof *s);
    s->generation = 1;
    lua_newtable(L);
    lua_pushcfunction(L, script_gc);
    lua_setfield(L, -2, "__gc");
    lua_setmetatable(L, -2);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &state_key);
    return s;
}

static void add_private(lua_State *L, script *s, const char *name, const luaL_Reg *functions) {
    lua_newtable(L);
    script_register(L, s, functions);
    lua_setfield(L, -2, name);
}

/* require "mare.core": { api = what becomes the module, methods = of tensors, fs =, edit =,
 * private = }. */
static int open_core(lua_State *L) {
    static const script_part *const parts[] = {
        &tensor_part, &create_part, &map_part,    &move_part, &grad_part, &file_part,
        &array_part,  &loader_part, &system_part, &call_part, &tune_part,
    };
    script *s = state(L);
    lua_newtable(L);
    lua_newtable(L); /* the module */
    lua_pushstring(L, mare_version());
    lua_setfield(L, -2, "version");
    lua_newtable(L); /* methods */
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        lua_pushvalue(L, -2);
        script_register(L, s, parts[i]->both);
        script_register(L, s, parts[i]->module);
        lua_pop(L, 1);
        script_register(L, s, parts[i]->both);
        script_register(L, s, parts[i]->methods);
    }
    call_add(L, s, lua_absindex(L, -2), lua_absindex(L, -1));
    tensor_type(L, s);
    map_add(L, s, lua_absindex(L, -3), lua_absindex(L, -2), lua_absindex(L, -1));
    lua_pop(L, 1);
    array_type(L, s);
    loader_type(L, s);
    edit_type(L, s);
    lua_pop(L, 3);
    lua_setfield(L, -3, "methods");
    lua_setfield(L, -2, "api");
    step_type(L, s);
    add_private(L, s, "fs", fs_functions);
    add_private(L, s, "edit", edit_functions);
    add_private(L, s, "private", private_functions);
    add_private(L, s, "autodiff", autodiff_functions);
    add_private(L, s, "profile", profile_functions);
    add_private(L, s, "kernel", kernel_functions);
    add_private(L, s, "step", step_functions);
    add_private(L, s, "tune", tune_functions);
    return 1;
}

/* Loads lua/<name>.lua, embedded or from $MARE_ROOT; pushes the function, or a text that says why
 * there is none. The chunk's name starts with "=mare/": that is how errors tell the script's own
 * lines from the library's. */
static int load_embedded(lua_State *L, const char *name) {
    const char *path = lua_pushfstring(L, "lua/%s.lua", name);
    size_t len;
    char *owned = NULL;
    const char *text = source_text(path, &len, &owned);
    if (!text) {
        lua_pushfstring(L, "no embedded file '%s'", path);
        return LUA_ERRFILE;
    }
    const char *chunk = lua_pushfstring(L, "=%s.lua", name);
    int status = luaL_loadbufferx(L, text, len, chunk, "t");
    free(owned);
    return status;
}

static int searcher(lua_State *L) {
    const char *module = luaL_checkstring(L, 1);
    if (strcmp(module, "mare") != 0 && strncmp(module, "mare.", 5) != 0) {
        lua_pushnil(L);
        return 1;
    }
    const char *name = strcmp(module, "mare") == 0 ? "mare/init" : luaL_gsub(L, module, ".", "/");
    int status = load_embedded(L, name);
    if (status != LUA_OK && status != LUA_ERRFILE) return lua_error(L);
    if (status == LUA_ERRFILE) return 1;
    lua_pushfstring(L, "=%s.lua", name);
    return 2;
}

void script_install(lua_State *L) {
    state(L); /* made first, it ends last: finalizers of scripts may still use tensors */
    luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
    lua_pushcfunction(L, open_core);
    lua_setfield(L, -2, "mare.core");
    lua_getglobal(L, "package");
    lua_getfield(L, -1, "searchers");
    for (lua_Integer i = luaL_len(L, -1); i >= 2; i--) { /* right behind package.preload */
        lua_geti(L, -1, i);
        lua_seti(L, -2, i + 1);
    }
    lua_pushcfunction(L, searcher);
    lua_seti(L, -2, 2);
    lua_pop(L, 3);
}

static int open_libraries(lua_State *L) {
    luaL_openlibs(L);
    script_install(L);
    return 0;
}

lua_State *script_open(void) {
    lua_State *L = luaL_newstate();
    if (!L) return NULL;
    lua_gc(L, LUA_GCGEN, 0, 0);
    lua_pushcfunction(L, open_libraries);
    if (lua_pcall(L, 0, 0, 0) != LUA_OK) {
        lua_close(L);
        return NULL;
    }
    return L;
}

static int add_traceback(lua_State *L) {
    const char *text = lua_tostring(L, 1);
    if (!text) text = luaL_tolstring(L, 1, NULL);
    luaL_traceback(L, L, text, 1);
    return 1;
}

int script_pcall(lua_State *L, int arguments, int results) {
    int base = lua_gettop(L) - arguments;
    lua_pushcfunction(L, add_traceback);
    lua_insert(L, base);
    int status = lua_pcall(L, arguments, results, base);
    lua_remove(L, base);
    return status;
}

/* ---- Interrupts ---------------------------------------------------------------------------- */

static const char interrupt_key = 0;

static void interrupt_hook(lua_State *L, lua_Debug *ar) {
    (void)ar;
    lua_sethook(L, NULL, 0, 0);
    bool go_on = false;
    if (lua_rawgetp(L, LUA_REGISTRYINDEX, &interrupt_key) == LUA_TFUNCTION) {
        lua_call(L, 0, 1);
        go_on = lua_toboolean(L, -1);
    }
    lua_pop(L, 1);
    if (go_on) return;
    lua_pushliteral(L, "interrupted");
    lua_error(L);
}

void script_interrupt(lua_State *L) {
    lua_sethook(L, interrupt_hook, LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT, 1);
}

static int on_interrupt(lua_State *L) {
    if (!lua_isnoneornil(L, 1) && !lua_isfunction(L, 1))
        return script_error(L, "expected a function or nil, got %s", arg_kind(L, 1));
    lua_settop(L, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &interrupt_key);
    return 0;
}

/* ---- For Lua's side of the binding --------------------------------------------------------- */

static int p_where(lua_State *L) {
    script_push_where(L);
    return 1;
}

/* The text of an embedded file such as "mare/nn.lua"; nil when there is none. */
static int p_source(lua_State *L) {
    const char *path = lua_pushfstring(L, "lua/%s", luaL_checkstring(L, 1));
    size_t len;
    char *owned = NULL;
    const char *text = source_text(path, &len, &owned);
    lua_pushlstring(L, text ? text : "", text ? len : 0);
    free(owned);
    if (!text) lua_pushnil(L);
    return 1;
}

const luaL_Reg private_functions[] = {
    {"where", p_where},
    {"source", p_source},
    {"on_interrupt", on_interrupt},
    {NULL, NULL},
};
