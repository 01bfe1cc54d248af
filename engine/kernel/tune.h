/* What the parts of the autotuner share. */
#ifndef MARE_KERNEL_TUNE_H
#define MARE_KERNEL_TUNE_H

#include "base/vec.h"
#include "kernel/kernel.h"

struct sqlite3;

typedef struct tune_choice {
    const char *key;
    const char *list; /* hash of the candidates, 32 hex digits; "" for a pin */
    const char *best; /* null: was taken away */
    double seconds, flops;
    bool unsaved; /* the disk does not know it yet */
} tune_choice;

typedef struct tuner {
    bool opened;        /* the records on disk were read, or there are none */
    struct sqlite3 *db; /* null: nothing is kept on disk */
    char device[33];    /* hash of device and driver, under which its records stand */
    VEC(tune_choice) choices;
} tuner;

/* ---- records.c: choices of this run and of runs before, from a database on disk that several
 * processes may share. Whatever goes wrong with that one, the tuner goes without: it measures once
 * a run instead of once a machine. */

/* The choice for key from that list, or null. */
const tune_choice *records_find(kernels *k, const char *key, const char *list);
/* Puts a choice (its texts are copied) over an older one of the same key and list; a null best
 * takes that one away. On disk, too, at the latest when the records are closed. */
bool records_put(kernels *k, const tune_choice *c);
void records_close(kernels *k);

/* ---- measure.c */

/* Times the candidates: index of the fastest and its seconds, or -1. */
int tune_measure(kernels *k, const tune_problem *p, double *seconds);

#endif
