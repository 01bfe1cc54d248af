/* Traces: what a step evaluates, noted while it is built and evaluated once, and done again with
 * other inputs and numbers without its graph. */
#ifndef MARE_PLAN_TRACE_H
#define MARE_PLAN_TRACE_H

#include "plan/plan.h"

typedef struct trace trace;

/* From here on evaluations are noted, and reading a value is MARE_E_ARGUMENT. What is made before
 * counts as input: it is evaluated apart. */
mare_status trace_begin(planner *p);
/* Is a trace on its way? */
bool trace_is_on(const planner *p);
/* Ends it; the caller frees *out. Null: nothing is kept. */
mare_status trace_end(planner *p, trace **out);
void trace_free(trace *t); /* null is allowed */

/* Nodes that the evaluations read and did not make. */
int trace_inputs(const trace *t, node *const **nodes);
/* Which of the values made is n's? -1: none. Only until trace_seal(). */
int trace_find(const trace *t, const node *n);
/* Lets the nodes go. */
void trace_seal(trace *t);
int trace_made(const trace *t);
/* Are its plans those that would be made now? */
bool trace_fits(const trace *t);
/* Inputs whose place a value made takes, which may take their memory. */
int trace_donors(const trace *t, const int **inputs);
/* Does it all again: in[i] in place of the i-th input's storage, and the numbers that constants
 * ask for (node.number - 1). donated[i]: the caller is the last to hold the i-th input, and lets it
 * go when all went well. made[i]: a new reference to each value made; none after a failure. Random
 * numbers are those that the step would have drawn. */
mare_status trace_run(trace *t, storage *const *in, const bool *donated, const double *numbers,
                      storage **made);

#endif
