/* MARE_CHECK: every node is evaluated by itself and compared with its op's reference on the host.
 */
#ifndef MARE_PLAN_CHECK_H
#define MARE_PLAN_CHECK_H

#include "plan/plan.h"

/* The most elements that may be summed into one of n's. A product of two contracts what both have
 * and the result lacks: for matrices, the root is exact. */
double check_terms(const node *n);

/* What a node's reference is given: its inputs' values before the device computes it. */
typedef struct check_inputs {
    double **value;
    int n;
} check_inputs;

/* Reads the inputs of n, which are evaluated. */
mare_status check_begin(planner *p, node *n, check_inputs *in);
/* Compares n, now evaluated, with its reference: MARE_E_SHADER with the element that differs. An
 * op without a reference is left alone. */
mare_status check_end(planner *p, node *n, const check_inputs *in);
void check_free(check_inputs *in);

#endif
