/* Programs inside other kernels: before them, as what an input is made of, and after them, as what
 * becomes of each result. */
#ifndef MARE_PLAN_ATTACH_H
#define MARE_PLAN_ATTACH_H

#include "plan/program.h"

/* A program and the value that joins it to the kernel: after it, an input; before it, an output.
 * The kernel gives or takes it at places of the program's loop, counted row-major. */
struct attachment {
    const program *p;
    int raw;   /* number of that input or output */
    bool done; /* some launch has taken it over */
};

#endif
