/* Elementwise work as data: what is computed at each place of a loop. A program reads inputs there,
 * runs statements over them, and writes some of their values. Fusion (plan/fuse.c) makes programs
 * of whole chains, lower_map() one of a single expression; plan/map.c launches them. */
#ifndef MARE_PLAN_PROGRAM_H
#define MARE_PLAN_PROGRAM_H

#include "base/text.h"
#include "plan/lower.h"

/* A value of a program: an input ("x3" in GLSL) or what a statement gave ("v3"). Of a float dtype
 * it is a float there, of others an int. */
typedef struct value {
    enum { VALUE_INPUT, VALUE_STATEMENT } kind;
    int i;
} value;

typedef struct statement {
    const char *glsl;   /* an expression in the arithmetic of `compute` */
    mare_dtype compute; /* MARE_F32 or MARE_I32 */
    mare_dtype dtype;   /* what it becomes */
    bool read;          /* by a later statement: it is rounded to its dtype first */
} statement;

typedef struct program_out {
    value from;
    operand to; /* of the loop's shape; row-major, or of 4-byte elements */
} program_out;

enum { MAX_ELEMENT_INPUTS = 3 }; /* of an elementwise node */
enum { PROGRAM_OPERANDS = 60 };  /* inputs and outputs of one */

typedef struct program {
    lowering *l;
    VEC(operand) in;     /* stretched to the loop's shape; constants have no buffer */
    VEC(statement) body; /* in order */
    VEC(program_out) out;
} program;

void program_free(program *p);
mare_dtype program_dtype(const program *p, value v);
/* An input, of a shape that stretches to `to`, which the loop's shape equals but for axes of one
 * element. False after an error, in l->error. */
bool program_input(program *p, const operand *o, const shape *to, value *out);
/* The statement `dtype = glsl in the arithmetic of compute`. glsl (kept by reference) is over the
 * names that program_name() gives for this arithmetic. */
bool program_statement(program *p, const char *glsl, mare_dtype compute, mare_dtype dtype,
                       value *out);
/* The GLSL of v in the arithmetic of compute: text of the lowering, null after an error. */
const char *program_name(program *p, value v, mare_dtype compute);
bool program_output(program *p, value v, const operand *to);

/* The statements as GLSL on one line, ending in assignments of the outputs to y0, y1, ... */
void program_body(const program *p, text *out);
/* "USE_<name> 1" lines for each m_<name> that the statements call. */
void program_uses(const program *p, text *out);

/* What a program takes of a kernel's room: storage buffers, and parameter words beside those of the
 * loop. */
int program_buffers(const program *p);

/* Launches that run p (plan/map.c). Work over the device's limits is split into several. */
mare_status lower_program(const program *p);

#endif
