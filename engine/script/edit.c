/* Reading a line with editing and history, for the REPL. */
#include "script/lib.h"

#include <errno.h>
#include <histedit.h>
#include <string.h>

#define EDIT_TYPE "mare.edit"

typedef struct editor {
    EditLine *line;
    History *history;
    const char *prompt;
    bool cancelled;
} editor;

static char *prompt(EditLine *e) {
    editor *ed = NULL;
    el_get(e, EL_CLIENTDATA, &ed);
    return (char *)(size_t)(ed && ed->prompt ? ed->prompt : "");
}

/* Ctrl-C: gives the line up. */
static unsigned char cancel(EditLine *e, int key) {
    (void)key;
    editor *ed = NULL;
    el_get(e, EL_CLIENTDATA, &ed);
    if (ed) ed->cancelled = true;
    return CC_EOF;
}

static int edit_close(lua_State *L) {
    editor *e = lua_touserdata(L, 1);
    if (e->line) el_end(e->line);
    if (e->history) history_end(e->history);
    e->line = NULL;
    e->history = NULL;
    return 0;
}

/* edit.open(history file or nil) */
static int edit_open(lua_State *L) {
    const char *path = lua_isnoneornil(L, 1) ? NULL : arg_string(L, 1, "the history's path");
    editor *e = lua_newuserdatauv(L, sizeof *e, 0);
    *e = (editor){0};
    luaL_setmetatable(L, EDIT_TYPE);
    HistEvent ev;
    e->history = history_init();
    e->line = el_init("mare", stdin, stdout, stderr);
    if (!e->history || !e->line) return script_error(L, "the terminal cannot be used");
    history(e->history, &ev, H_SETSIZE, 2000);
    history(e->history, &ev, H_SETUNIQUE, 1);
    if (path) history(e->history, &ev, H_LOAD, path);
    el_set(e->line, EL_CLIENTDATA, e);
    el_set(e->line, EL_PROMPT, prompt);
    el_set(e->line, EL_EDITOR, "emacs");
    el_set(e->line, EL_HIST, history, e->history);
    el_set(e->line, EL_ADDFN, "mare-cancel", "Give the line up", cancel);
    el_source(e->line, NULL);
    /* While a line is edited, keys are keys and no signals. */
    el_set(e->line, EL_SETTY, "-d", "-isig", NULL);
    el_set(e->line, EL_BIND, "^C", "mare-cancel", NULL);
    el_set(e->line, EL_BIND, "^R", "em-inc-search-prev", NULL);
    return 1;
}

static editor *arg_editor(lua_State *L) {
    editor *e = luaL_checkudata(L, 1, EDIT_TYPE);
    if (!e->line) script_error(L, "the editor was closed");
    return e;
}

/* e:read(prompt): the line without its end; nil at the end of input; false after Ctrl-C. */
static int edit_read(lua_State *L) {
    editor *e = arg_editor(L);
    e->prompt = arg_string(L, 2, "the prompt");
    e->cancelled = false;
    int n = 0;
    const char *text = el_gets(e->line, &n);
    e->prompt = NULL;
    if (e->cancelled) {
        el_reset(e->line);
        lua_pushboolean(L, false);
    } else if (!text || n <= 0) {
        lua_pushnil(L);
    } else {
        while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
            n--;
        lua_pushlstring(L, text, (size_t)n);
    }
    return 1;
}

/* e:add(text): to the history. e:save(path) */
static int edit_add(lua_State *L) {
    HistEvent ev;
    editor *e = arg_editor(L);
    history(e->history, &ev, H_ENTER, arg_string(L, 2, "the text"));
    return 0;
}

static int edit_save(lua_State *L) {
    HistEvent ev;
    editor *e = arg_editor(L);
    lua_pushboolean(L, history(e->history, &ev, H_SAVE, arg_string(L, 2, "the path")) >= 0);
    return 1;
}

void edit_type(lua_State *L, script *s) {
    static const luaL_Reg meta[] = {{"__gc", edit_close}, {"__close", edit_close}, {NULL, NULL}};
    static const luaL_Reg methods[] = {
        {"read", edit_read},
        {"add", edit_add},
        {"save", edit_save},
        {NULL, NULL},
    };
    script_new_type(L, s, EDIT_TYPE, meta);
    lua_newtable(L);
    script_register(L, s, methods);
    lua_setfield(L, -2, "__index");
}

const luaL_Reg edit_functions[] = {{"open", edit_open}, {NULL, NULL}};
