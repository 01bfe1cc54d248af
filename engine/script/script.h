/* The Lua side: a Lua state with the module "mare" in it. */
#ifndef MARE_SCRIPT_SCRIPT_H
#define MARE_SCRIPT_SCRIPT_H

#include <lauxlib.h>
#include <lua.h>

/* Makes Mare's modules known to a Lua state of the host's own: afterwards require "mare" works.
 * Nothing is loaded and no device is opened yet. May raise a Lua error (out of memory). */
void script_install(lua_State *L);

/* A new Lua state with the standard libraries and script_install() done; null when the host has no
 * memory left. End it with lua_close(). */
lua_State *script_open(void);

/* lua_pcall with a message handler that adds a traceback. */
int script_pcall(lua_State *L, int arguments, int results);

/* Fit for a signal handler: makes L stop at its next instruction. The function given to
 * mare.on_interrupt runs; when there is none, or it does not return true, the error "interrupted"
 * is raised. */
void script_interrupt(lua_State *L);

#endif
