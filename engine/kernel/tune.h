/* What the parts of the autotuner share. */
#ifndef MARE_KERNEL_TUNE_H
#define MARE_KERNEL_TUNE_H

#include "base/vec.h"
#include "kernel/kernel.h"

struct sqlite3;

typedef struct tune_choice {
    mare_tune_record r;
    bool gone;       /* was taken away */
    bool unsaved;    /* the disk does not know it yet */
    bool passing;    /* holds for this run of the program alone */
    unsigned tuning; /* number of the tuning run that measured it; 0: none did */
} tune_choice;

/* A tuning run; the results stay when it is over. */
typedef struct tune_run {
    bool on;
    unsigned number; /* of those so far */
    mare_tune_options options;
    double spent;
    VEC(mare_tune_record) results;
} tune_run;

typedef struct tuner {
    bool opened;        /* the records on disk were read, or there are none */
    struct sqlite3 *db; /* null: nothing is kept on disk */
    char device[33];    /* hash of device and driver, under which its records stand */
    VEC(tune_choice) choices;
    mare_tuning when;
    double budget, spent; /* seconds, at first use */
    tune_run run;
    double (*clock)(void); /* seconds; a test's own may stand here */
} tuner;

/* ---- records.c: choices of this run and of runs before, from a database on disk that several
 * processes may share. Whatever goes wrong with that one, the tuner goes without: it measures once
 * a run instead of once a machine. */

/* The choice for key from that list, or null. */
const tune_choice *records_find(kernels *k, const char *key, const char *list);
/* Puts choices (their texts are copied) over older ones of the same key and list. On disk, too, at
 * the latest when the records are closed. */
bool records_put(kernels *k, const tune_choice *list, int n);
/* From here on what the record points to is k's own. */
bool records_own(kernels *k, mare_tune_record *r);
void records_close(kernels *k);

/* ---- measure.c */

/* Times the candidates in that order: index of the fastest in *best, and seconds[i] of candidate i,
 * 0 where it failed or was left out, as are all but the first once the clock is past `until`. tell
 * is called after each. A failure is that of the last candidate that was tried, or of memory. */
typedef struct tune_measurement {
    const tune_problem *p;
    const int *order;
    double until;
    double *seconds;
    void (*tell)(kernels *k, const struct tune_measurement *m);
    int best;
} tune_measurement;
mare_status tune_measure(kernels *k, tune_measurement *m);

#endif
