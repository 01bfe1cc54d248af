/* Host arrays among the files of the binding. */
#ifndef MARE_SCRIPT_DATA_H
#define MARE_SCRIPT_DATA_H

#include "io/io.h"
#include "script/lib.h"

/* Pushes a new array, empty until it is filled. */
io_array *array_push(lua_State *L);
io_array *arg_array(lua_State *L, int i, const char *what);
/* Evaluates and reads a tensor into an array that belongs to a userdata. */
void array_from_tensor(lua_State *L, mare_tensor *t, io_array *out);
/* Pushes a tensor with the array's elements. */
void tensor_from_array(lua_State *L, const io_array *a);

#endif
