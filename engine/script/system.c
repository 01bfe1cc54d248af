/* The context, devices, memory, random state, and what a script needs of the system. */
#define _POSIX_C_SOURCE 200809L
#include "base/file.h"
#include "script/lib.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- Devices and context ------------------------------------------------------------------- */

static void push_info(lua_State *L, const mare_device_info *d) {
    lua_newtable(L);
    set_string(L, "name", d->name);
    set_string(L, "driver", d->driver);
    set_string(L, "type", d->type);
    char version[48];
    snprintf(version, sizeof version, "%u.%u.%u", d->api_version >> 22,
             (d->api_version >> 12) & 0x3ff, d->api_version & 0xfff);
    set_string(L, "api_version", version);
    set_integer(L, "memory", d->memory);
    set_integer(L, "workgroup", d->workgroup);
    set_integer(L, "shared", d->shared);
    set_integer(L, "push_constants", d->push_constants);
    set_integer(L, "storage_buffers", d->storage_buffers);
    set_integer(L, "binding", d->binding);
    set_integer(L, "groups", d->groups);
    set_integer(L, "subgroup", d->subgroup);
    lua_newtable(L);
    for (const char *p = d->features; *p;) {
        size_t n = strcspn(p, " ");
        lua_pushlstring(L, p, n);
        lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
        p += n + strspn(p + n, " ");
    }
    lua_setfield(L, -2, "features");
}

static int s_devices(lua_State *L) {
    enum { MOST = 64 };
    script *s = script_of(L);
    int n = 0;
    mare_device_info *infos = lua_newuserdatauv(L, MOST * sizeof *infos, 0);
    s->error.text[0] = 0;
    mare_status status = mare_devices(infos, MOST, &n, s->error.text, sizeof s->error.text);
    script_explain(s, status);
    if (status) script_raise_error(L);
    if (n > MOST) n = MOST;
    lua_createtable(L, n, 0);
    for (int i = 0; i < n; i++) {
        push_info(L, &infos[i]);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

static int s_device(lua_State *L) {
    mare_device_info info;
    TRY(L, mare_context_device(script_context(L), &info));
    push_info(L, &info);
    return 1;
}

/* mare.init{ device =, caps =, memory_cap =, seed =, submit_ms = } */
static int s_init(lua_State *L) {
    script *s = script_of(L);
    arg_options(L, 1, "device caps memory_cap seed submit_ms");
    lua_settop(L, 1);
    if (s->ctx)
        return script_error(L,
                            "there is a context already (on %s); call mare.init before the first "
                            "tensor is made, or mare.close() first",
                            s->device);
    mare_options o = {.memory_cap = (uint64_t)opt_integer(L, 1, "memory_cap", 0),
                      .seed = (uint64_t)opt_integer(L, 1, "seed", 0)};
    if (opt_integer(L, 1, "memory_cap", 0) < 0) return script_error(L, "memory_cap is negative");
    o.submit_ms = opt_number(L, 1, "submit_ms", 0);
    if (!(o.submit_ms >= 0)) return script_error(L, "submit_ms is %g", o.submit_ms);
    if (lua_istable(L, 1)) {
        if (lua_getfield(L, 1, "device") == LUA_TNUMBER) lua_tostring(L, -1);
        if (!lua_isnil(L, -1)) o.device = arg_string(L, -1, "device");
        if (lua_getfield(L, 1, "caps") != LUA_TNIL) o.caps = arg_string(L, -1, "caps");
    }
    script_create(L, &o);
    return 0;
}

/* Gives the device back. Tensors that are left answer with an error. */
static int s_close(lua_State *L) {
    script *s = script_of(L);
    if (s->telling) return script_error(L, "an evaluation is under way");
    if (s->ctx) script_destroy_context(s);
    return 0;
}

static int s_memory(lua_State *L) {
    mare_memory m;
    mare_memory_stats(script_context(L), &m);
    lua_newtable(L);
    set_integer(L, "used", m.used);
    set_integer(L, "cached", m.cached);
    set_integer(L, "peak", m.peak);
    set_integer(L, "cap", m.cap);
    return 1;
}

static int s_set_memory_cap(lua_State *L) {
    int64_t bytes = arg_integer(L, 1, "the number of bytes");
    if (bytes < 0) return script_error(L, "%lld bytes", (long long)bytes);
    mare_memory_set_cap(script_context(L), (uint64_t)bytes);
    return 0;
}

static int s_set_submit_ms(lua_State *L) {
    double ms = arg_number(L, 1, "the number of milliseconds");
    if (!(ms >= 0)) return script_error(L, "%g milliseconds", ms);
    mare_set_submit_ms(script_context(L), ms);
    return 0;
}

static int s_reset_peak(lua_State *L) {
    mare_memory_reset_peak(script_context(L));
    return 0;
}

static int s_trim(lua_State *L) {
    script_context(L);
    script_collect(L);
    mare_memory_trim(script_of(L)->ctx);
    return 0;
}

static int s_stats(lua_State *L) {
    mare_stats s;
    mare_get_stats(script_context(L), &s);
    lua_newtable(L);
    set_integer(L, "evals", s.evals);
    set_integer(L, "plans", s.plans);
    set_integer(L, "hits", s.hits);
    set_integer(L, "launches", s.launches);
    set_integer(L, "submits", s.submits);
    set_integer(L, "recorded", s.recorded);
    set_integer(L, "shaders_compiled", s.shaders_compiled);
    set_integer(L, "shaders_from_disk", s.shaders_from_disk);
    set_integer(L, "pipelines", s.pipelines);
    set_integer(L, "tuned", s.tuned);
    set_integer(L, "nodes", s.nodes);
    set_integer(L, "validation", (uint64_t)s.validation);
    return 1;
}

static int s_plan(lua_State *L) {
    mare_plan p;
    mare_get_plan(script_context(L), &p);
    lua_newtable(L);
    set_integer(L, "launches", p.launches);
    set_integer(L, "barriers", p.barriers);
    set_integer(L, "arena", p.arena);
    set_integer(L, "sum", p.sum);
    set_integer(L, "bound", p.bound);
    set_integer(L, "donated", p.donated);
    return 1;
}

static int s_set_passes(lua_State *L) {
    TRY(L, mare_set_passes(script_context(L), arg_string(L, 1, "the list of passes")));
    return 0;
}

static int s_synchronize(lua_State *L) {
    TRY(L, mare_wait(script_context(L)));
    return 0;
}

/* ---- Random state -------------------------------------------------------------------------- */

static int s_manual_seed(lua_State *L) {
    int64_t seed = arg_integer(L, 1, "the seed");
    mare_random_set(script_context(L), (uint64_t)seed, 0);
    return 0;
}

static int s_rng_state(lua_State *L) {
    uint64_t seed, position;
    mare_random_get(script_context(L), &seed, &position);
    lua_newtable(L);
    set_integer(L, "seed", seed);
    set_integer(L, "position", position);
    return 1;
}

static int s_set_rng_state(lua_State *L) {
    if (!lua_istable(L, 1))
        return script_error(L, "expected a table of seed and position, not %s", arg_kind(L, 1));
    arg_options(L, 1, "seed position");
    if (lua_getfield(L, 1, "seed") == LUA_TNIL || lua_getfield(L, 1, "position") == LUA_TNIL)
        return script_error(L, "seed and position must both be given");
    uint64_t seed = (uint64_t)arg_integer(L, -2, "seed");
    mare_random_set(script_context(L), seed, (uint64_t)arg_integer(L, -1, "position"));
    return 0;
}

static const luaL_Reg module[] = {
    {"init", s_init},
    {"close", s_close},
    {"devices", s_devices},
    {"device", s_device},
    {"memory", s_memory},
    {"set_memory_cap", s_set_memory_cap},
    {"set_submit_ms", s_set_submit_ms},
    {"reset_peak_memory", s_reset_peak},
    {"trim_memory", s_trim},
    {"stats", s_stats},
    {"plan", s_plan},
    {"set_passes", s_set_passes},
    {"synchronize", s_synchronize},
    {"manual_seed", s_manual_seed},
    {"rng_state", s_rng_state},
    {"set_rng_state", s_set_rng_state},
    {NULL, NULL},
};
const script_part system_part = {NULL, module, NULL};

/* ---- mare.fs ------------------------------------------------------------------------------- */

static int f_exists(lua_State *L) {
    lua_pushboolean(L, file_exists(arg_string(L, 1, "the path")));
    return 1;
}

/* "file", "folder", "other", or nil when there is nothing. */
static int f_kind(lua_State *L) {
    struct stat st;
    if (stat(arg_string(L, 1, "the path"), &st) != 0) return 0;
    lua_pushstring(L, S_ISREG(st.st_mode) ? "file" : S_ISDIR(st.st_mode) ? "folder" : "other");
    return 1;
}

static int f_mkdir(lua_State *L) {
    script *s = script_of(L);
    if (file_make_dir(arg_string(L, 1, "the path"), &s->error)) script_raise_error(L);
    return 0;
}

static int f_read(lua_State *L) {
    script *s = script_of(L);
    const char *path = arg_string(L, 1, "the path");
    void *data;
    size_t len;
    /* Lua's memory is taken before the file's, which a Lua error would lose. */
    struct stat st;
    size_t room = stat(path, &st) == 0 && S_ISREG(st.st_mode) ? (size_t)st.st_size : 0;
    luaL_Buffer b;
    char *to = luaL_buffinitsize(L, &b, room);
    if (file_read(path, 0, &data, &len, &s->error)) return script_raise_error(L);
    if (len > room) len = room; /* it has grown meanwhile */
    memcpy(to, data, len);
    free(data);
    luaL_pushresultsize(&b, len);
    return 1;
}

/* Whole or not at all: through a temporary file in the same folder. */
static int f_write(lua_State *L) {
    script *s = script_of(L);
    const char *path = arg_string(L, 1, "the path"), *data = arg_string(L, 2, "the text");
    if (file_write(path, data, lua_rawlen(L, 2), &s->error)) script_raise_error(L);
    return 0;
}

static int f_remove(lua_State *L) {
    const char *path = arg_string(L, 1, "the path");
    if (unlink(path) != 0 && errno != ENOENT)
        return script_error(L, "cannot remove %s: %s", path, strerror(errno));
    return 0;
}

/* Is standard output ("stdout", the default), "stdin" or "stderr" a terminal? */
static int f_isatty(lua_State *L) {
    static const char *const names[] = {"stdin", "stdout", "stderr", NULL};
    lua_pushboolean(L, isatty(luaL_checkoption(L, 1, "stdout", names)));
    return 1;
}

static int f_terminal_width(lua_State *L) {
    struct winsize w;
    const char *columns = getenv("COLUMNS");
    int width = columns ? atoi(columns) : 0;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0) width = w.ws_col;
    lua_pushinteger(L, width > 0 ? width : 80);
    return 1;
}

/* Seconds of a clock that never goes back. */
static int f_time(lua_State *L) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    lua_pushnumber(L, (double)t.tv_sec + (double)t.tv_nsec * 1e-9);
    return 1;
}

static int f_getenv(lua_State *L) {
    lua_pushstring(L, getenv(arg_string(L, 1, "the name")));
    return 1;
}

const luaL_Reg fs_functions[] = {
    {"exists", f_exists}, {"kind", f_kind},
    {"mkdir", f_mkdir},   {"read", f_read},
    {"write", f_write},   {"remove", f_remove},
    {"isatty", f_isatty}, {"terminal_width", f_terminal_width},
    {"time", f_time},     {"getenv", f_getenv},
    {NULL, NULL},
};
