/* The Lua state inside a program, and the binary from outside: arguments, exit codes, REPL. */
#define _XOPEN_SOURCE 700
#include "script/script.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <lualib.h>

#define BINARY TEST_BUILD "/mare"

/* ---- Embedding ----------------------------------------------------------------------------- */

/* Runs code, and expects its first result to be this text (an error's text where it fails). */
static void check(lua_State *L, const char *code, const char *expected) {
    int status = luaL_loadbufferx(L, code, strlen(code), "=test", "t");
    if (status == LUA_OK) status = lua_pcall(L, 0, 1, 0);
    const char *got = luaL_tolstring(L, -1, NULL);
    cr_assert(strstr(got, expected), "expected \"%s\" in \"%s\" (status %d)", expected, got,
              status);
    lua_settop(L, 0);
}

Test(script, state) {
    lua_State *L = script_open();
    cr_assert(L);
    check(L, "return require('mare').version", "0.");
    check(L, "return rawget(_G, 'mare')", "nil");
    check(L, "return (require('mare').tensor{1, 2} + 1):sum():item()", "5.0");
    check(L, "local m = require 'mare'\nreturn m.zeros(2, 3):matmul(m.zeros(4, 5))",
          "test:2: matmul: ");
    check(L, "return require 'mare.none'", "no embedded file 'lua/mare/none.lua'");
    check(L, "return require 'mare.../init'", "not found");
    lua_close(L);
}

Test(script, states_side_by_side) {
    lua_State *a = script_open(), *b = script_open();
    cr_assert(a && b);
    check(a, "m = require 'mare' m.manual_seed(3) x = m.randn(3) return x:sum():item()", "");
    check(b, "m = require 'mare' m.manual_seed(4) return m.rng_state().seed", "4");
    check(a, "return m.rng_state().seed", "3");
    lua_close(b);
    check(a, "return (x - x):sum():item()", "0.0");
    lua_close(a);
}

Test(script, state_of_the_host) {
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    script_install(L);
    check(L, "return require('mare').is_tensor(3)", "false");
    check(L, "return require('string') == string", "true");
    lua_close(L);
}

/* Coroutines have stacks of their own, and tensors are shared by them. */
Test(script, coroutines) {
    lua_State *L = script_open();
    check(L,
          "local m = require 'mare'\n"
          "local co = coroutine.wrap(function(x)\n"
          "  while true do x = coroutine.yield(x + 1) end\n"
          "end)\n"
          "return co(co(m.tensor(1))):item()",
          "3.0");
    check(L,
          "local m = require 'mare'\n"
          "return select(2, coroutine.resume(coroutine.create(function()\n"
          "  return m.zeros(2):reshape(3)\n"
          "end)))",
          "test:3: reshape: ");
    lua_close(L);
}

/* Whatever stands where a tensor should, the answer is an error. */
Test(script, strange_arguments) {
    lua_State *L = script_open();
    check(L,
          "local m = require 'mare'\n"
          "local core = require 'mare.core'\n"
          "local values = { n = 12, nil, true, 0, -1, 1.5, 1e300, 'x', {}, {{}}, print,\n"
          "                 m.tensor{1, 2}, m.array{1} }\n"
          "local skip = { close = 1, init = 1, set_memory_cap = 1, save = 1, save_npy = 1,\n"
          "               imwrite = 1, on_interrupt = 1, no_grad = 1 }\n"
          "local calls = 0\n"
          "for _, t in ipairs { core.api, core.methods } do\n"
          "  for name, f in pairs(t) do\n"
          "    if type(f) == 'function' and not skip[name] then\n"
          "      for i = 1, values.n do\n"
          "        for j = 1, values.n do\n"
          "          local ok, e = pcall(f, values[i], values[j], values[i])\n"
          "          if not ok and type(e) ~= 'string' then error(name) end\n"
          "          calls = calls + 1\n"
          "        end\n"
          "      end\n"
          "    end\n"
          "  end\n"
          "end\n"
          "return calls > 10000 and (m.ones(2) + 1):sum():item()",
          "4.0");
    lua_close(L);
}

static int interrupt(lua_State *L) {
    script_interrupt(L);
    return 0;
}

Test(script, interrupts) {
    lua_State *L = script_open();
    lua_pushcfunction(L, interrupt);
    lua_setglobal(L, "interrupt");
    check(L, "interrupt() while true do end", "interrupted");
    check(L,
          "local ok, e = pcall(function() interrupt() while true do end end) return 'saved ' .. e",
          "saved interrupted");
    check(L,
          "local m = require 'mare' local n = 0\n"
          "m.on_interrupt(function() n = n + 1 return true end)\n"
          "interrupt() local s = 0 for i = 1, 1000 do s = s + i end\n"
          "m.on_interrupt(nil) return n .. ' ' .. s",
          "1 500500");
    check(L, "return require('mare').on_interrupt(3)", "expected a function or nil");
    lua_close(L);
}

/* ---- The binary ---------------------------------------------------------------------------- */

typedef struct result {
    int code; /* exit code, or -1 */
    char text[1 << 18];
} result;

/* Runs a shell command, in which $M is the binary; output and errors together. */
static result shell(const char *fmt, ...) {
    result r = {.code = -1};
    char command[4096];
    int n = snprintf(command, sizeof command, "exec 2>&1; M='%s'; ", BINARY);
    va_list args;
    va_start(args, fmt);
    vsnprintf(command + n, sizeof command - (size_t)n, fmt, args);
    va_end(args);
    FILE *f = popen(command, "r");
    cr_assert(f);
    size_t len = fread(r.text, 1, sizeof r.text - 1, f);
    r.text[len] = 0;
    int status = pclose(f);
    if (WIFEXITED(status)) r.code = WEXITSTATUS(status);
    return r;
}

#define EXPECT(r, exit_code, part)                                                                 \
    do {                                                                                           \
        result r_ = (r);                                                                           \
        cr_assert(r_.code == (exit_code), "exit code %d: %s", r_.code, r_.text);                   \
        cr_assert(strstr(r_.text, part), "no \"%s\" in: %s", part, r_.text);                       \
    } while (0)

Test(binary, words_and_options) {
    EXPECT(shell("$M --version"), 0, "mare 0.");
    EXPECT(shell("$M --help"), 0, "usage: mare");
    EXPECT(shell("$M --nonsense"), 2, "unknown option '--nonsense'");
    EXPECT(shell("$M -e"), 2, "-e wants code");
    EXPECT(shell("$M devices --xml"), 2, "devices does not take '--xml'");
    EXPECT(shell("$M ops softmax more"), 2, "ops does not take 'more'");
    EXPECT(shell("$M devices"), 0, "Vulkan 1.");
    EXPECT(shell("$M devices --json"), 0, "\"api_version\": \"1.");
    EXPECT(shell("$M ops"), 0, "matmul");
    EXPECT(shell("$M ops"), 0, "logical_and ");
}

Test(binary, code) {
    EXPECT(shell("$M -e 'print(1 + 1, ...)' a 'b c'"), 0, "2\ta\tb c\n");
    EXPECT(shell("$M -e 'print((mare.ones(2) + 1):sum():item())'"), 0, "4.0\n");
    EXPECT(shell("$M -e 'x = = 1'"), 1, "(command line):1: ");
    EXPECT(shell("$M -e 'error(\"boom\")'"), 1, "mare: (command line):1: boom\nstack traceback:");
    EXPECT(shell("$M -e 'error({})'"), 1, "mare: table: ");
    EXPECT(shell("$M -e 'error(setmetatable({}, { __tostring = error }))'"), 1, "mare: ");
    EXPECT(shell("$M -e 'os.exit(7)'"), 7, "");
    EXPECT(shell("echo 'print(#arg, ...)' | $M - x"), 0, "1\tx\n");
}

Test(binary, scripts) {
    char folder[] = "/tmp/mare-script-XXXXXX";
    cr_assert(mkdtemp(folder));
    EXPECT(shell("cd %s; echo 'print(arg[0], #arg, ...)' > a.lua; $M a.lua 1 2", folder), 0,
           "a.lua\t2\t1\t2\n");
    EXPECT(shell("cd %s; printf 'local a\\n\\nlocal = 3\\n' > b.lua; $M b.lua", folder), 1,
           "mare: b.lua:3: ");
    EXPECT(shell("cd %s; printf 'local m = require \"mare\"\\nlocal function f()\\n"
                 "  return m.zeros(2, 3) + m.zeros(4, 5)\\nend\\nf()\\n' > c.lua; $M c.lua",
                 folder),
           1, "mare: c.lua:3: ");
    EXPECT(shell("cd %s; $M c.lua", folder), 1, "[2, 3]");
    EXPECT(shell("cd %s; $M c.lua", folder), 1, "c.lua:5: in main chunk");
    EXPECT(shell("cd %s; $M none.lua", folder), 1, "none.lua");
    EXPECT(shell("cd %s; printf '\\033Lua' > d.lua; $M d.lua", folder), 1, "binary chunk");
    /* A script finds the modules that lie beside it. */
    EXPECT(shell("echo 'return 42' > %s/part.lua; echo 'print(require \"part\")' > %s/e.lua;"
                 "cd /; $M %s/e.lua",
                 folder, folder, folder),
           0, "42");
    /* A slash-bang line is no part of the script. */
    EXPECT(shell("cd %s; printf '#!/usr/bin/env mare\\nprint(5)\\n' > f.lua; $M f.lua", folder), 0,
           "5\n");
    shell("rm -r %s", folder);
}

/* The library's own lines never stand in for the script's. */
Test(binary, library_from_the_tree) {
    char folder[] = "/tmp/mare-root-XXXXXX";
    cr_assert(mkdtemp(folder));
    shell("cp -r '%s/lua' '%s/shaders' %s/", TEST_ROOT, TEST_ROOT, folder);
    shell("echo 'return { answer = 42 }' > %s/lua/mare/extra.lua", folder);
    EXPECT(shell("MARE_ROOT=%s $M -e 'print(mare.extra.answer)'", folder), 0, "42\n");
    EXPECT(shell("MARE_ROOT= $M -e 'print(mare.extra)'"), 0, "nil\n");
    shell("echo 'return = 1' > %s/lua/mare/extra.lua", folder);
    EXPECT(shell("MARE_ROOT=%s $M -e 'print(mare.extra.answer)'", folder), 1, "mare/extra.lua:1: ");
    shell("rm -r %s", folder);
}

/* A whole script, each launch compared with its reference: right, and with a shader made wrong. */
Test(binary, checked_launches) {
    char folder[] = "/tmp/mare-root-XXXXXX";
    cr_assert(mkdtemp(folder));
    const char *code = "local w = mare.randn(4, 3)\n"
                       "w.requires_grad = true\n"
                       "w:softmax(2):max(1):sum():backward()\n"
                       "print(w.grad:abs():sum():item() > 0)";
    EXPECT(shell("MARE_CHECK=1 $M -e '%s'", code), 0, "true\n");
    shell("cp -r '%s/lua' '%s/shaders' %s/", TEST_ROOT, TEST_ROOT, folder);
    shell("sed -i 's/sum = ROW_TOTAL(sum);/sum = ROW_TOTAL(sum) * 1.001;/' "
          "%s/shaders/softmax/softmax.comp",
          folder);
    EXPECT(shell("MARE_ROOT=%s $M -e '%s'", folder, code), 0, "true\n");
    EXPECT(shell("MARE_ROOT=%s MARE_CHECK=1 $M -e '%s'", folder, code), 1,
           "check: softmax: element 0 of [4, 3] is ");
    EXPECT(shell("MARE_ROOT=%s MARE_CHECK=1 $M -e '%s'", folder, code), 1,
           "by the reference (from (command line):3)");
    shell("rm -r %s", folder);
}

/* Kernels of a script's own: compared with their references, kept on disk, shown and profiled. */
Test(binary, own_kernels) {
    char folder[] = "/tmp/mare-kernel-XXXXXX";
    cr_assert(mkdtemp(folder));
    shell("cat > %s/own.lua <<'end'\n"
          "local mare = require 'mare'\n"
          "local third = mare.kernel { name = 'third', inputs = { 'x' }, outputs = { 'y' },\n"
          "    glsl = 'y[i] = x[i] / ' .. arg[1] .. ';',\n"
          "    reference = function(x) return x / 3 end }\n"
          "print('sum', third(mare.ones(6)):sum():item(), mare.stats().shaders_compiled > 0)\n"
          "end",
          folder);
    EXPECT(shell("cd %s; MARE_CACHE=$PWD/cache $M own.lua 3.0", folder), 0, "sum\t2.0\ttrue\n");
    EXPECT(shell("cd %s; MARE_CACHE=$PWD/cache $M own.lua 3.0", folder), 0, "sum\t2.0\tfalse\n");
    EXPECT(shell("cd %s; MARE_CACHE=$PWD/other $M own.lua 6.0", folder), 0, "sum\t1.0\ttrue\n");
    EXPECT(shell("cd %s; MARE_CHECK=1 $M own.lua 3.0", folder), 0, "sum\t2.0\t");
    EXPECT(shell("cd %s; MARE_CHECK=1 $M own.lua 6.0", folder), 1,
           "own.lua:5: third: element 1 of y is 0.166666");
    EXPECT(shell("cd %s; MARE_DUMP=glsl $M own.lua 3.0", folder), 0, "y[i] = x[i] / 3.0;");
    EXPECT(shell("cd %s; $M profile own.lua 3.0 | grep -E '^third +1 '", folder), 0, "third");
    EXPECT(shell("cd %s; $M own.lua '3.0 +'", folder), 1,
           "own.lua:2: kernel: shader third: third:1");
    shell("rm -r %s", folder);
}

/* The table of operations, made from what the engine is made of. */
Test(binary, table_of_operations) {
    EXPECT(shell("$M ops"), 0, "engine/ops/rows.h:");
    EXPECT(shell("$M ops | grep '^matmul '"), 0, "matmul/rows.comp");
    EXPECT(shell("$M ops | grep '^bitand '"), 0, "integers none");
    EXPECT(shell("$M ops softmax"), 0, "mare.softmax(x, { dim=-1 })");
    EXPECT(shell("$M ops softmax"), 0, "engine/ops/softmax.c:");
    EXPECT(shell("$M ops --markdown"), 0, "| `mare.softmax(x, { dim=-1 })` | ");
    EXPECT(shell("$M ops nonsense"), 1, "there is no operation 'nonsense'");
}

/* A script under a tuning run: its own output first, then what was measured, however it ends. */
Test(binary, tunes) {
    char folder[] = "/tmp/mare-tune-XXXXXX";
    cr_assert(mkdtemp(folder));
    shell("cd %s; echo 'local mare = require \"mare\"; local x = mare.ones(64, 64)\n"
          "print(x:matmul(x):sum():item(), ...)' > ok.lua; (cat ok.lua; echo 'os.exit(3)') > "
          "exit.lua; (cat ok.lua; echo 'error \"boom\"') > bad.lua; echo 'print(1)' > none.lua",
          folder);
    setenv("MARE_TUNE", "off", 1);
#define TUNE "cd %s; MARE_CACHE=$PWD/cache $M tune "
    EXPECT(shell(TUNE "--budget 0 ok.lua 1 --force", folder), 0, "262144.0\t1\t--force\n");
    EXPECT(shell(TUNE "--budget 0 ok.lua", folder), 0, "\n1 problem: 1 left\n");
    EXPECT(shell(TUNE "ok.lua", folder), 0, "\n1 problem: 1 measured\n");
    EXPECT(shell(TUNE "bad.lua", folder), 1, "\n1 problem: 1 known\n");
    EXPECT(shell(TUNE "--force --export t.json exit.lua", folder), 3, "records: t.json\n");
    EXPECT(shell("cd %s; cat t.json", folder), 0, "\"matmul/f32/64x64x64/");
    EXPECT(shell(TUNE "none.lua", folder), 0, "nothing to tune");
    EXPECT(shell(TUNE "--budget -1 ok.lua", folder), 1, "the budget is a number of seconds");
    EXPECT(shell(TUNE "--budget", folder), 2, "tune does not take '--budget' alone");
    EXPECT(shell(TUNE "--fast ok.lua", folder), 2, "tune does not take '--fast'\n");
    EXPECT(shell(TUNE, folder), 2, "tune wants a script");
#undef TUNE
    unsetenv("MARE_TUNE");
    shell("rm -r %s", folder);
}

/* A script under a profile: its own output first, then the report, however it ends. */
Test(binary, profiles) {
    char folder[] = "/tmp/mare-profile-XXXXXX";
    cr_assert(mkdtemp(folder));
    const char *net = "local mare = require \"mare\"\n"
                      "local x = mare.eval(mare.ones(4, 4))\n"
                      "for _ = 1, 3 do\n"
                      "    mare.eval(x:exp())\n"
                      "end\n";
    shell("cd %s; printf '%%s' '%s' > net.lua; (cat net.lua; echo 'print(arg[0], ...)') > ok.lua;"
          "(cat net.lua; echo 'error \"boom\"') > bad.lua; (cat net.lua; echo 'os.exit(3)') > "
          "exit.lua;"
          "(cat net.lua; echo 'mare.close() print(\"closed\")') > close.lua;"
          "(echo 'require(\"mare\").init { seed = 3 }'; cat net.lua) > init.lua; echo > none.lua",
          folder, net);
    EXPECT(shell("cd %s; $M profile ok.lua 1 --trace", folder), 0, "ok.lua\t1\t--trace\n");
    EXPECT(shell("cd %s; $M profile ok.lua | grep -E '^exp +3 '", folder), 0, "exp");
    EXPECT(shell("cd %s; $M profile ok.lua | grep -E '^ok.lua:4 +3 '", folder), 0, "ok.lua:4");
    EXPECT(shell("cd %s; $M profile - < ok.lua", folder), 0, "\nlaunches 4, evaluations 4, ");
    EXPECT(shell("cd %s; $M profile init.lua", folder), 0, "\ninit.lua:5 ");
    EXPECT(shell("cd %s; $M profile close.lua", folder), 0, "plans made 2, found 2");
    EXPECT(shell("cd %s; $M profile close.lua | tail -n 1", folder), 0, "closed\n");
    EXPECT(shell("cd %s; $M profile exit.lua", folder), 3, "\nexp ");
    EXPECT(shell("cd %s; $M profile bad.lua", folder), 1, "bad.lua:6: boom\nstack traceback:");
    EXPECT(shell("cd %s; $M profile bad.lua", folder), 1, "\nbad.lua:4 ");
    EXPECT(shell("cd %s; $M profile none.lua", folder), 0, "nothing to profile");
    EXPECT(shell("cd %s; $M profile --trace t.json ok.lua; head -n 1 t.json", folder), 0,
           "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n");
    EXPECT(shell("cd %s; MARE_CAPS=-timestamps $M profile ok.lua", folder), 0,
           "The device has no timestamps: ");
    EXPECT(shell("$M profile"), 2, "profile wants a script");
    EXPECT(shell("$M profile --trace"), 2, "profile does not take '--trace' alone");
    EXPECT(shell("$M profile --track x y"), 2, "profile does not take '--track'");
    EXPECT(shell("cd %s; $M profile --trace none/t.json ok.lua", folder), 1, "no folder none");
    shell("rm -r %s", folder);
}

Test(binary, without_a_device) {
    const char *none = "VK_DRIVER_FILES=/nonexistent VK_ICD_FILENAMES=/nonexistent";
    EXPECT(shell("%s $M -e 'print(1)'", none), 0, "1\n");
    EXPECT(shell("%s $M -e 'mare.zeros(2)'", none), 1, "install mesa-vulkan-drivers");
    EXPECT(shell("%s $M devices", none), 1, "install mesa-vulkan-drivers");
    EXPECT(shell("%s $M ops", none), 0, "matmul");
    EXPECT(shell("MARE_DEVICE=nonsense $M -e 'mare.zeros(2)'"), 1, "nonsense");
}

/* ---- The REPL ------------------------------------------------------------------------------ */

Test(binary, repl_from_a_pipe) {
    EXPECT(shell("printf '1 + 1\\n' | $M"), 0, "2\n");
    EXPECT(shell("printf 'x = 3\\nx * 2, \"a\"\\n' | $M"), 0, "6\ta\n");
    EXPECT(shell("printf 'for i = 1, 2 do\\nprint(i)\\nend\\n1 +\\n2' | $M"), 0, "1\n2\n3\n");
    EXPECT(shell("printf 'nil\\n' | $M"), 0, "nil\n");
    EXPECT(shell("printf 'mare.tensor{1, 2}\\n' | $M"), 0, "[1.0, 2.0]  f32 [2]");
    EXPECT(shell("printf 'help(\"sum\")\\n' | $M"), 0, "mare.sum(x");
    EXPECT(shell("printf 'help(mare.nonsense)\\n' | $M"), 0, "nothing is known about nil");
    EXPECT(shell("printf 'help(\"nonsense\")\\n' | $M"), 0, "nothing is known about nonsense");
    EXPECT(shell("printf 'error(\"boom\")\\nprint(\"on\")\\n' | $M"), 1, "stdin:1: boom");
    EXPECT(shell("printf 'error(\"boom\")\\nprint(\"on\")\\n' | $M"), 1, "on\n");
    EXPECT(shell("printf 'x = = 1\\n' | $M"), 1, "stdin:1: ");
    EXPECT(shell("printf 'for i = 1, 2 do\\n' | $M"), 1, "<eof>");
    EXPECT(
        shell("printf 'setmetatable({}, { __tostring = function() error(\"no\") end })\\n' | $M"),
        1, "no");
    EXPECT(shell("$M < /dev/null"), 0, "");
}

/* Types keys into the binary on a terminal of its own, each when the prompt is there; gives what
 * was shown. Ends it with Ctrl-D. */
static void type_in_terminal(const char *const *keys, char *shown, size_t size) {
    int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    cr_assert(terminal >= 0 && grantpt(terminal) == 0 && unlockpt(terminal) == 0);
    const char *name = ptsname(terminal);
    cr_assert(name);
    pid_t child = fork();
    if (child == 0) {
        setsid();
        int fd = open(name, O_RDWR); /* becomes the controlling terminal */
        for (int i = 0; i < 3; i++)
            dup2(fd, i);
        close(terminal);
        setenv("TERM", "xterm", 1);
        execl(BINARY, "mare", (char *)NULL);
        _exit(127);
    }
    size_t len = 0, seen = 0;
    const char *last = "";
    for (;;) {
        struct pollfd wait = {.fd = terminal, .events = POLLIN};
        if (poll(&wait, 1, 5000) == 0) { /* keys are lost while the terminal changes modes */
            cr_assert(write(terminal, last, strlen(last)) == (ssize_t)strlen(last));
            continue;
        }
        ssize_t n = len + 1 < size ? read(terminal, shown + len, size - 1 - len) : 0;
        if (n <= 0) break;
        len += (size_t)n;
        shown[len] = 0;
        if (!strstr(shown + seen, "mare> ") && !strstr(shown + seen, "... ")) continue;
        seen = len;
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
        last = *keys ? *keys++ : "\x04";
        cr_assert(write(terminal, last, strlen(last)) == (ssize_t)strlen(last));
    }
    close(terminal);
    int status = 0;
    waitpid(child, &status, 0);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %d: %s", status, shown);
}

Test(binary, repl_in_a_terminal, .timeout = 60) {
    char folder[] = "/tmp/mare-state-XXXXXX";
    static char shown[1 << 16];
    cr_assert(mkdtemp(folder));
    setenv("XDG_STATE_HOME", folder, 1);
    /* A line, a block in two lines, a line given up, and an endless loop that Ctrl-C ends. */
    type_in_terminal((const char *const[]){"6 * 7\n", "for i = 1, 2 do\n", "print('n' .. i) end\n",
                                           "given up\x03", "'still ' .. 'here'\n", NULL},
                     shown, sizeof shown);
    cr_assert(strstr(shown, "42") && strstr(shown, "n2") && strstr(shown, "still here"), "%s",
              shown);
    /* The next one has the history: up, up, and the line that came before the last is run again. */
    type_in_terminal((const char *const[]){"\x10\x10\x10\n", NULL}, shown, sizeof shown);
    cr_assert(strstr(shown, "42"), "%s", shown);
    result history = shell("cat %s/mare/history", folder);
    cr_assert(strstr(history.text, "still"), "%s", history.text);
    cr_assert(!strstr(history.text, "given"), "%s", history.text);
    shell("rm -r %s", folder);
}

/* ---- Ctrl-C -------------------------------------------------------------------------------- */

static void wait_a_little(void) {
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
}

/* Runs code in the binary; at each line "ready" sends SIGINT. Returns what waitpid said. */
static int interrupted(const char *code, char *text, size_t size) {
    int to[2];
    cr_assert(pipe(to) == 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(to[1], STDOUT_FILENO);
        dup2(to[1], STDERR_FILENO);
        close(to[0]);
        execl(BINARY, "mare", "-e", code, (char *)NULL);
        _exit(127);
    }
    close(to[1]);
    size_t len = 0, seen = 0;
    ssize_t n;
    while (len + 1 < size && (n = read(to[0], text + len, size - 1 - len)) > 0) {
        len += (size_t)n;
        text[len] = 0;
        for (char *at; (at = strstr(text + seen, "ready\n")); seen = (size_t)(at - text) + 6) {
            wait_a_little();
            kill(child, SIGINT);
        }
    }
    close(to[0]);
    int status = 0;
    waitpid(child, &status, 0);
    return status;
}

Test(binary, interrupt) {
    char text[4096];
    int status =
        interrupted("io.stdout:setvbuf('no') print('ready') while true do end", text, sizeof text);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    cr_assert(strstr(text, "mare: interrupted\nstack traceback:"), "%s", text);
    status = interrupted("io.stdout:setvbuf('no') print('ready')\n"
                         "local ok, e = pcall(function() while true do end end) print('saved', e)",
                         text, sizeof text);
    cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    cr_assert(strstr(text, "saved\tinterrupted"), "%s", text);
}

Test(binary, second_interrupt_ends) {
    char text[4096];
    int status = interrupted("io.stdout:setvbuf('no') mare.on_interrupt(function() print('ready') "
                             "return true end) print('ready') while true do end",
                             text, sizeof text);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT, "status %d: %s", status, text);
}
