/* The autotuner's memory: choices of this run and of runs before, from a database on disk. */
#ifndef MARE_KERNEL_TUNE_H
#define MARE_KERNEL_TUNE_H

#include "base/vec.h"
#include "kernel/kernel.h"

struct sqlite3;

typedef struct tune_choice {
    const char *key;
    const char *list; /* hash of the candidates, 32 hex digits; "" for a pin */
    const char *best;
    double seconds, flops;
} tune_choice;

typedef struct tuner {
    bool opened;        /* the records on disk were read, or there are none */
    struct sqlite3 *db; /* null: nothing is kept on disk */
    char device[33];    /* hash of device and driver, under which its records stand */
    VEC(tune_choice) choices;
} tuner;

void tune_close(tuner *t);
/* Times the candidates (measure.c): index of the fastest and its seconds, or -1. */
int tune_measure(kernels *k, const tune_problem *p, double *seconds);

#endif
