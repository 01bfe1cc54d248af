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
/* The loop as parameter words: sizes, input strides, output strides. */
void loop_words(launch *x, const loop *a, bool with_out);
/* Invocations of a workgroup that makes one result of `length` elements together. */
uint32_t loop_group(const lowering *l, int64_t length);

#endif
