/* What the files of the Lua binding share.
 *
 * Every bound function is a closure with two upvalues: the script (state of the binding), and the
 * function's name, which starts its error messages. A Lua error leaves a C function by a long jump,
 * so whatever must be given back lives in a userdata on the Lua stack before anything can fail. */
#ifndef MARE_SCRIPT_LIB_H
#define MARE_SCRIPT_LIB_H

#include "base/status.h"
#include "script/script.h"

#include <mare/mare.h>

typedef struct script {
    mare_context *ctx;      /* null until first used */
    lua_State *running;     /* the thread that called the binding last: callbacks run there */
    unsigned generation;    /* number of the context: tensors of a closed one are refused */
    char device[256];       /* its device's name */
    uint64_t settled_bytes; /* device memory and graph nodes that were in use right after the */
    uint64_t settled_nodes; /* last full collection */
    uint64_t young_nodes;   /* nodes after the last collection of any kind */
    int settled_kib;        /* of Lua, after the last full one */
    bool profile_next;      /* the next context begins with a profile */
    bool tidies;            /* tensor_tidy() is on its way */
    bool tune_next;         /* or with a tuning run */
    mare_tune_options tune; /* of that run, or of the one that is on */
    bool telling;           /* a function is called from within the engine */
    mare_error error;       /* of calls that need no context */
} script;

#define TENSOR_TYPE "mare.tensor"
#define ARRAY_TYPE "mare.array"
#define SHAPE_TYPE "mare.shape"

#define NUMBER_TYPE "mare.number"

/* A number of a compiled step, while the step is noted: operations on tensors take it like a Lua
 * number, and each run gives it anew. */
typedef struct number_box {
    double value;
    bool whole; /* an integer of Lua's */
    int number; /* from 0 */
} number_box;

typedef struct tensor_box {
    mare_tensor *t; /* null once closed */
    unsigned generation;
} tensor_box;

/* ---- script.c: state, errors --------------------------------------------------------------- */

script *script_of(lua_State *L);
/* The context, made with the defaults at first use. Also tells it where the script is. */
mare_context *script_context(lua_State *L);
/* Makes the context. */
void script_create(lua_State *L, const mare_options *options);
void script_destroy_context(script *s);
/* Where there is no device, adds what to install to s->error. */
void script_explain(script *s, mare_status status);
/* "file:line: " of the innermost Lua function outside the embedded library, pushed as a string;
 * "" when there is none. */
void script_push_where(lua_State *L);
/* Raises "where: name: text". */
int script_error(lua_State *L, const char *fmt, ...) MARE_PRINTF(2, 3);
/* Raises the text of a failed call: of the context, or of s->error. */
int script_raise(lua_State *L);
int script_raise_error(lua_State *L);
/* A full collection; afterwards the device memory of unreachable tensors is free. */
void script_collect(lua_State *L);
/* After an evaluation: the handles of a step are garbage by its end, and hold the values that its
 * parameters had. Lua itself sees only that they are small. So the young ones are collected, where
 * Lua does that cheaply, and all when device memory, the graph or Lua's own memory has grown well
 * past what was in use after the last full collection. */
void script_settle(lua_State *L);

/* Runs a call that returns a mare_status. Out of device memory: collects and tries once more. */
#define TRY(L, call)                                                                               \
    do {                                                                                           \
        mare_status try_ = (call);                                                                 \
        if (try_ == MARE_E_DEVICE_MEMORY) {                                                        \
            script_collect(L);                                                                     \
            try_ = (call);                                                                         \
        }                                                                                          \
        if (try_) script_raise(L);                                                                 \
    } while (0)

/* Puts functions, each under its name, into the table on the top of the stack. */
void script_register(lua_State *L, script *s, const luaL_Reg *functions);
/* Pushes one function. */
void script_push_function(lua_State *L, script *s, const char *name, lua_CFunction f);
/* A metatable for a new kind of userdata, left on the stack, with `functions` in it. */
void script_new_type(lua_State *L, script *s, const char *type, const luaL_Reg *functions);

/* Puts a field into the table on the top of the stack; a null string is nil. */
void set_string(lua_State *L, const char *name, const char *value);
void set_integer(lua_State *L, const char *name, uint64_t value);
void set_number(lua_State *L, const char *name, double value);

/* ---- args.c: arguments --------------------------------------------------------------------- */

/* What stands at an index, for messages: "a string", "nil", "a tensor". */
const char *arg_kind(lua_State *L, int i);
/* A tensor of the present context, or an error that calls it `what`. */
mare_tensor *arg_tensor(lua_State *L, int i, const char *what);
/* The same, or null for nil and none. */
mare_tensor *arg_tensor_or_null(lua_State *L, int i, const char *what);
tensor_box *arg_box(lua_State *L, int i);         /* null when it is no tensor */
number_box *arg_step_number(lua_State *L, int i); /* null when it is none */
double arg_number(lua_State *L, int i, const char *what);
int64_t arg_integer(lua_State *L, int i, const char *what);
const char *arg_string(lua_State *L, int i, const char *what);
mare_dtype arg_dtype(lua_State *L, int i, const char *what);
/* Can the type hold the value? Floats and bool take all. */
bool value_fits(mare_dtype dtype, double v);
/* Refuses a value that an integer type cannot hold. */
void arg_fits(lua_State *L, mare_dtype dtype, double v, const char *what);
/* A dimension of t, 1-based or negative from the end, as an axis from 0. `extra` more dimensions
 * than t has are allowed (unsqueeze, stack). */
int arg_axis(lua_State *L, int i, mare_tensor *t, int extra);
/* Like arg_axis, with a default. */
int arg_axis_or(lua_State *L, int i, mare_tensor *t, int otherwise);
/* A list of integers: a table or several arguments from *i on; *i moves past them. Returns how many
 * there are, at most MARE_MAX_DIMS. Entries below `least` are refused. */
int arg_integers(lua_State *L, int *i, const char *what, int64_t least, int64_t out[MARE_MAX_DIMS]);
/* A list of dimensions of t, as axes from 0. */
int arg_axes(lua_State *L, int *i, mare_tensor *t, int axes[MARE_MAX_DIMS]);
/* Is there a table with named fields (options) at i? */
bool arg_is_options(lua_State *L, int i);
/* Refuses anything at i but nil, none and a table whose keys are all among `names`, which are
 * separated by spaces. Refuses arguments after i. */
void arg_options(lua_State *L, int i, const char *names);
/* Refuses arguments from i on. */
void arg_end(lua_State *L, int i);
/* Fields of a table of options, with defaults; i may be none. */
double opt_number(lua_State *L, int i, const char *name, double otherwise);
int64_t opt_integer(lua_State *L, int i, const char *name, int64_t otherwise);
bool opt_bool(lua_State *L, int i, const char *name, bool otherwise);
mare_dtype opt_dtype(lua_State *L, int i, mare_dtype otherwise);
/* requires_grad = true in the options at i: marks the tensor on the top of the stack. */
void opt_requires_grad(lua_State *L, int i);

/* ---- tensor.c: the userdata ---------------------------------------------------------------- */

/* Pushes a new tensor; the caller's next call fills what is returned. */
mare_tensor **tensor_push(lua_State *L);
/* (f): calls f and closes all tensors that were pushed meanwhile. */
int tensor_tidy(lua_State *L);
/* Pushes t's shape, or a shape. */
void tensor_push_shape(lua_State *L, const mare_tensor *t);
void shape_push(lua_State *L, int rank, const int64_t *dims);
/* "[2, 3]", pushed. */
const char *shape_push_text(lua_State *L, int rank, const int64_t *dims);
const char *tensor_push_shape_text(lua_State *L, const mare_tensor *t);
/* Pushes the number or boolean that a value of dtype stands for. */
void value_push(lua_State *L, mare_dtype dtype, double value);
/* Every tensor at arguments from..top and in tables there, as an array on the Lua stack. */
mare_tensor **tensor_list(lua_State *L, int from, int *n);

/* ---- table.c: nested tables ---------------------------------------------------------------- */

/* Packs the nested table (number, boolean) at i: *data is a userdata on the top of the stack. */
void *table_pack(lua_State *L, int i, bool has_dtype, mare_dtype *dtype, int *rank,
                 int64_t dims[MARE_MAX_DIMS]);
/* Pushes values as nested tables. */
void table_push(lua_State *L, mare_dtype dtype, int rank, const int64_t *dims, const double *data);
int script_totable(lua_State *L);

/* ---- What the other files add to the tables ------------------------------------------------ */

/* Functions that take a tensor first stand in the module and are methods; others are in the module
 * alone; and a few are methods alone. */
typedef struct script_part {
    const luaL_Reg *both, *module, *methods;
} script_part;
extern const script_part tensor_part, create_part, map_part, move_part, grad_part, file_part,
    array_part, loader_part, system_part, call_part, tune_part;

/* map.c: pushes nothing; adds a function for every elementwise operation to the tables at those
 * indices, and the operators to the metatable. */
void map_add(lua_State *L, script *s, int module, int methods, int metatable);
/* call.c: the same for every call of the engine. */
void call_add(lua_State *L, script *s, int module, int methods);
/* Types of userdata. */
void tensor_type(lua_State *L, script *s);
void array_type(lua_State *L, script *s);
void loader_type(lua_State *L, script *s);
void edit_type(lua_State *L, script *s);
void step_type(lua_State *L, script *s);
/* Functions for Lua's side of the binding alone. */
extern const luaL_Reg edit_functions[], private_functions[], fs_functions[], autodiff_functions[],
    profile_functions[], kernel_functions[], step_functions[], tune_functions[];
/* tune.c: begins the run that waited for the context. */
void tune_start(lua_State *L, script *s);
/* print.c, index.c */
int tensor_tostring(lua_State *L);
int tensor_select(lua_State *L);
int tensor_put(lua_State *L);

#endif
