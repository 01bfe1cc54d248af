/* The row language: one small text that is read three ways.
 *
 *     expression:  [name = expression ;]... sum, compared by < <= > >= == !=
 *     operators:   + - * / and unary -, calls f(x, y), parentheses
 *     words:       the names given to expr_parse(), earlier bindings, numbers, inf, nan
 *
 * "t = exp(a); t / (1 + t)" binds t once. Readings: GLSL text for shaders, which calls the m_...
 * functions of shaders/include/math.glsl; a value on the host, through C's own libm; and graph
 * nodes, by a walk over the tree (op_expr() of ops.h). */
#ifndef MARE_GRAPH_EXPR_H
#define MARE_GRAPH_EXPR_H

#include "base/arena.h"
#include "base/text.h"

enum { EXPR_MAX_ARGS = 3, EXPR_MAX_NAMES = 16 };

typedef enum expr_kind { EXPR_NUMBER, EXPR_NAME, EXPR_CALL } expr_kind;

typedef struct expr_function expr_function;

/* Operators are calls of "add", "sub", "mul", "div", "neg", "lt", "le", "gt", "ge", "eq", "ne".
 * A name that is bound in the text leads to the same node wherever it is used, so that a walk can
 * remember what it has seen: id numbers the nodes, each after its arguments. */
typedef struct expr {
    expr_kind kind;
    double number;            /* EXPR_NUMBER */
    int name;                 /* EXPR_NAME: its place in the list given to expr_parse() */
    const char *call;         /* EXPR_CALL */
    const expr_function *how; /* null: not a function that shaders and the host know */
    int n;
    const struct expr *arg[EXPR_MAX_ARGS];
    int id;
} expr;

/* Parses source over names. The tree lives in mem. Calls of any name are taken, since the reading
 * as graph nodes knows every op; the two others refuse calls without `how`. */
mare_status expr_parse(const char *source, const char *const *names, int n_names, arena *mem,
                       const expr **out, mare_error *e);

/* GLSL for the arithmetic of compute (MARE_F32 or MARE_I32).
 * `names` are what the shader calls the variables. */
mare_status expr_glsl(const expr *x, mare_dtype compute, const char *const *names, text *out,
                      mare_error *e);

/* The value, given those of the names: in double precision for MARE_F32; in 32-bit integers that
 * wrap around for MARE_I32. Everything in x must have a host function: see expr_check(). */
double expr_value(const expr *x, mare_dtype compute, const double *values);
/* True when shaders and the host know every function in x for this arithmetic; otherwise the error
 * names the one that they do not. */
mare_status expr_check(const expr *x, mare_dtype compute, mare_error *e);

/* The i-th function that shaders and the host know, or null past the last (for tests). */
const char *expr_function_name(int i, int *arity, bool *on_float, bool *on_int);

#endif
