/* A loop nest over an input and an output, for kernels that walk strided tensors: neighbouring
 * axes that are stepped through evenly become one. */
#ifndef MARE_OPS_LOOP_H
#define MARE_OPS_LOOP_H

#include "plan/lower.h"

typedef struct loop {
    int rank;
    int64_t dim[MAX_DIMS], in[MAX_DIMS], out[MAX_DIMS]; /* sizes; strides in elements */
} loop;

/* Adds an axis inside those so far. */
void loop_add(loop *x, int64_t dim, int64_t in, int64_t out);
int64_t loop_count(const loop *x);
/* o's elements as the two loops walk them (by their input or output strides), for launch_bind(). */
operand loop_operand(const operand *o, const loop *a, const loop *b, bool input);
/* Does o fit one binding of the device, wherever its start falls? */
bool loop_fits(const lowering *l, const operand *o);
/* Rows along one axis: what is left of an op that works on each by itself. */
typedef struct rows {
    operand in, out;
    loop kept; /* over the rows */
    int64_t length, in_step;
    int64_t out_length, out_step;
} rows;

/* The rows of in along an axis, and those of out. */
rows rows_along(const operand *in, const operand *out, int axis);
/* emit() for all rows, in parts that the device can bind: `bytes` are what it needs in one scratch
 * buffer for a row, or 0. A row that does not fit is left to launch_bind() to refuse. */
mare_status rows_lower(lowering *l, const rows *r, int64_t bytes,
                       mare_status (*emit)(lowering *l, const rows *r));
/* The loop as parameter words: sizes, input strides, output strides. */
void loop_words(launch *x, const loop *a, bool with_out);
/* Invocations of a workgroup that makes one result of `length` elements together. */
uint32_t loop_group(const lowering *l, int64_t length);
/* What shaders/include/group.glsl must know of such a workgroup, as defines; of size 0, where
 * invocations work alone, nothing. */
const char *loop_group_defines(const lowering *l, uint32_t size);
/* Can a workgroup of loop_group() do without barriers? */
bool loop_group_free(const lowering *l);
/* Invocations of a workgroup where each of `count` in all works alone, for long. */
uint32_t loop_alone(const lowering *l, int64_t count);
/* Do o's elements at all places of x, by its input or output strides, start at multiples of 4? */
bool loop_fours(const operand *o, const loop *x, bool input);

#endif
