/* The binary: arguments, a Lua state, a script or the REPL. */
#include "script/script.h"

#include <locale.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <lualib.h>

enum { EXIT_USAGE = 2 };

static const char usage[] =
    "usage: mare                        read and run lines (with history and editing)\n"
    "       mare script.lua [args...]   run a script\n"
    "       mare - [args...]            run what comes on standard input\n"
    "       mare -e 'code' [args...]    run code\n"
    "       mare profile [--trace FILE] script.lua [args...]\n"
    "                                   run it, then tell where the time went; FILE is for\n"
    "                                   Perfetto or chrome://tracing\n"
    "       mare tune [--budget SECONDS] [--force] [--export FILE] script.lua [args...]\n"
    "                                   run it, measuring the kernels that it can use\n"
    "       mare devices [--json]       list the Vulkan devices\n"
    "       mare ops [--markdown|NAME]  list the operations, or tell of one\n"
    "       mare --version | --help\n"
    "\n"
    "environment: MARE_DEVICE   index, name or type of the device to use\n"
    "             MARE_CAPS     capabilities to switch off and limits to clamp\n"
    "             MARE_TUNE     when to measure kernels: first use, 20s, known, off\n"
    "             MARE_PASSES   passes to leave out: -fuse,-merge, or none\n"
    "             MARE_VALIDATE=1, MARE_EAGER=1, MARE_CHECK=1\n"
    "                           for looking into a problem\n"
    "             MARE_DUMP     what to print: any of graph,plan,memory,glsl\n"
    "             MARE_CACHE    folder for compiled shaders\n";

/* The handler can know the state only through a global. */
static lua_State *volatile running;

/* The first Ctrl-C is an error in the script, the second ends the process. */
static void on_sigint(int signal_number) {
    signal(signal_number, SIG_DFL);
    if (running) script_interrupt(running);
}

/* Given to the REPL, which outlives an interrupt. */
static int arm_interrupt(lua_State *L) {
    (void)L;
    signal(SIGINT, on_sigint);
    return 0;
}

static int fail(lua_State *L) {
    const char *text = lua_tostring(L, -1);
    fflush(stdout);
    fprintf(stderr, "mare: %s\n", text ? text : "an error that is no text");
    return EXIT_FAILURE;
}

/* The global arg, as in the lua binary, and the arguments on the stack. */
static int push_arguments(lua_State *L, int argc, char **argv, int script) {
    lua_newtable(L);
    for (int i = 0; i < argc; i++) {
        lua_pushstring(L, argv[i]);
        lua_rawseti(L, -2, i - script);
    }
    lua_setglobal(L, "arg");
    luaL_checkstack(L, argc, "too many arguments");
    for (int i = script + 1; i < argc; i++)
        lua_pushstring(L, argv[i]);
    return argc > script ? argc - script - 1 : 0;
}

/* Runs the chunk on the top of the stack. */
static int run(lua_State *L, int load_status, int argc, char **argv, int script) {
    if (load_status != LUA_OK) return fail(L);
    int n = push_arguments(L, argc, argv, script);
    return script_pcall(L, n, 0) == LUA_OK ? EXIT_SUCCESS : fail(L);
}

/* The script's own folder comes first in the search for modules. */
static void search_beside(lua_State *L, const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash) return;
    lua_getglobal(L, "package");
    lua_pushlstring(L, path, (size_t)(slash - path + 1));
    const char *folder = lua_tostring(L, -1);
    lua_getfield(L, -2, "path");
    lua_pushfstring(L, "%s?.lua;%s?/init.lua;%s", folder, folder, lua_tostring(L, -1));
    lua_setfield(L, -4, "path");
    lua_pop(L, 3);
}

/* Calls require(module)[name](text, arm_interrupt), which returns an exit code. */
static int call(lua_State *L, const char *module, const char *name, const char *text) {
    lua_getglobal(L, "require");
    lua_pushstring(L, module);
    if (script_pcall(L, 1, 1) != LUA_OK) return fail(L);
    lua_getfield(L, -1, name);
    lua_pushstring(L, text);
    lua_pushcfunction(L, arm_interrupt);
    if (script_pcall(L, 2, 1) != LUA_OK) return fail(L);
    return (int)lua_tointeger(L, -1);
}

/* For code on the command line the module is there without a require. */
static int run_code(lua_State *L, int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "mare: -e wants code\n%s", usage);
        return EXIT_USAGE;
    }
    lua_getglobal(L, "require");
    lua_pushliteral(L, "mare");
    if (script_pcall(L, 1, 1) != LUA_OK) return fail(L);
    lua_setglobal(L, "mare");
    int status = luaL_loadbufferx(L, argv[2], strlen(argv[2]), "=(command line)", "t");
    return run(L, status, argc, argv, 2);
}

/* Runs the script that argv[at] names; "-" is standard input. */
static int run_script(lua_State *L, int argc, char **argv, int at) {
    const char *path = strcmp(argv[at], "-") == 0 ? NULL : argv[at];
    if (path) search_beside(L, path);
    return run(L, luaL_loadfilex(L, path, "t"), argc, argv, at);
}

/* A script between the start of a profile and its report, which is printed after an error too. */
static int run_profiled(lua_State *L, int argc, char **argv) {
    const char *trace = NULL;
    int at = 2;
    for (; at < argc && argv[at][0] == '-' && argv[at][1]; at += 2) {
        if (strcmp(argv[at], "--trace") != 0 || at + 1 == argc) {
            fprintf(stderr, "mare: profile does not take '%s'%s\n%s", argv[at],
                    at + 1 == argc ? " alone" : "", usage);
            return EXIT_USAGE;
        }
        trace = argv[at + 1];
    }
    if (at >= argc) {
        fprintf(stderr, "mare: profile wants a script\n%s", usage);
        return EXIT_USAGE;
    }
    int begun = call(L, "mare.profiler", "begin", trace);
    if (begun != EXIT_SUCCESS) return begun;
    int code = run_script(L, argc, argv, at);
    int told = call(L, "mare.profiler", "finish", NULL);
    return code != EXIT_SUCCESS ? code : told;
}

/* A script under a tuning run. Its options are handed on as lines. */
static int run_tuned(lua_State *L, int argc, char **argv) {
    int at = 2;
    luaL_Buffer words;
    luaL_buffinit(L, &words);
    while (at < argc && argv[at][0] == '-' && argv[at][1]) {
        bool force = strcmp(argv[at], "--force") == 0;
        bool known = force || !strcmp(argv[at], "--budget") || !strcmp(argv[at], "--export");
        if (!known || (!force && at + 1 == argc)) {
            fprintf(stderr, "mare: tune does not take '%s'%s\n%s", argv[at], known ? " alone" : "",
                    usage);
            return EXIT_USAGE;
        }
        for (int end = at + (force ? 1 : 2); at < end; at++) {
            luaL_addstring(&words, argv[at]);
            luaL_addchar(&words, '\n');
        }
    }
    luaL_pushresult(&words);
    if (at >= argc) {
        fprintf(stderr, "mare: tune wants a script\n%s", usage);
        return EXIT_USAGE;
    }
    int begun = call(L, "mare.tune", "begin", lua_tostring(L, -1));
    if (begun != EXIT_SUCCESS) return begun;
    int code = run_script(L, argc, argv, at);
    int told = call(L, "mare.tune", "finish", NULL);
    return code != EXIT_SUCCESS ? code : told;
}

static int dispatch(lua_State *L, int argc, char **argv) {
    const char *word = argc > 1 ? argv[1] : NULL;
    if (!word) return call(L, "mare.repl", "run", NULL);
    if (strcmp(word, "-e") == 0) return run_code(L, argc, argv);
    if (strcmp(word, "-") == 0) return run_script(L, argc, argv, 1);
    if (strcmp(word, "profile") == 0) return run_profiled(L, argc, argv);
    if (strcmp(word, "tune") == 0) return run_tuned(L, argc, argv);
    if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        fputs(usage, stdout);
        return EXIT_SUCCESS;
    }
    bool devices = strcmp(word, "devices") == 0, version = strcmp(word, "--version") == 0;
    if (devices || version || strcmp(word, "ops") == 0) {
        const char *option = argc > 2 ? argv[2] : NULL;
        bool known = !option || (devices ? strcmp(option, "--json") == 0 : !version);
        if (argc > 3 || !known) {
            fprintf(stderr, "mare: %s does not take '%s'\n%s", word, argv[argc - 1], usage);
            return EXIT_USAGE;
        }
        return call(L, "mare.cli", version ? "version" : word, option);
    }
    if (word[0] == '-') {
        fprintf(stderr, "mare: unknown option '%s'\n%s", word, usage);
        return EXIT_USAGE;
    }
    return run_script(L, argc, argv, 1);
}

typedef struct command {
    int argc;
    char **argv;
    int result;
} command;

/* Runs protected, so that even a lack of memory outside of the script is an error and no abort. */
static int protected_dispatch(lua_State *L) {
    command *c = lua_touserdata(L, 1);
    lua_settop(L, 0);
    c->result = dispatch(L, c->argc, c->argv);
    return 0;
}

int main(int argc, char **argv) {
    setlocale(LC_CTYPE, "");
    lua_State *L = script_open();
    if (!L) {
        fprintf(stderr, "mare: the host has no memory left\n");
        return EXIT_FAILURE;
    }
    running = L;
    signal(SIGINT, on_sigint);
    command c = {argc, argv, EXIT_FAILURE};
    lua_pushcfunction(L, protected_dispatch);
    lua_pushlightuserdata(L, &c);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) fail(L);
    running = NULL;
    lua_close(L);
    return c.result;
}
