/* What evaluation is made of: the planner, finding a plan, running it. */
#ifndef MARE_PLAN_RUN_H
#define MARE_PLAN_RUN_H

#include "plan/internal.h"

struct planner {
    graph *g;
    dev_device *device;
    kernels *kernels;
    map plans;      /* by hash of the signature */
    uint64_t clock; /* counts runs */
    planner_stats stats;
    dumper dump;
    bool check;
    uint32_t passes;
    plan_info last; /* of the plan that ran last */
    profile profile;
    double submit_seconds;    /* what a submission may take */
    VEC(dev_buffer *) arenas; /* kept from run to run, for all plans; entries may be null */
    uint64_t needed;          /* the most bytes of arenas that one plan asked for lately */
    int in_use;               /* how many of them a run on its way has */
    int recordings;           /* of all plans */
    bool running;             /* a plan: who is told of its kernels' tuning runs no other */
    struct trace *trace;      /* being noted; null when none is */
};

/* ---- host.c ------------------------------------------------------------------------------- */

/* Where the buffers of one result of a plan come back to when their storage is let go, to be taken
 * by the next run: so a loop finds its results where they were, and recordings stay right. A few
 * are kept, and count as cached. */
typedef struct home home;
home *home_new(void); /* null when the host has no memory left */
/* Null when none has come back. */
dev_buffer *home_take(home *h);
/* Gives back what came. */
void home_empty(home *h);
/* Nothing comes back from now on. Null is allowed. */
void home_close(home *h);

/* Takes over the buffer's reference; h may be null. Null when the host has no memory left. */
storage *storage_new(dev_buffer *b, home *h);
dev_buffer *storage_buffer(const storage *s);

/* ---- find.c ------------------------------------------------------------------------------- */

/* The plan for this order: from the cache, or made and put there. */
mare_status plan_find(planner *p, node **order, int n, const plan_wanted *w, plan **out);
void plan_forget_all(planner *p);

/* Lets the recordings of the plan go that has not run for the longest, but for those of `but`.
 * False when there is none. */
bool plan_forget_recording(planner *p, const plan *but);

/* ---- pace.c ------------------------------------------------------------------------------- */

/* Cuts x for p's bound, if it is not yet. */
mare_status pace_cut(planner *p, plan *x);
/* Steps first..first + n - 1 took so long together. */
void pace_note(plan *x, int first, int n, double seconds);

/* ---- trace.c ------------------------------------------------------------------------------ */

/* While a trace is on its way. Before a plan is found: what is older than the trace is evaluated.
 */
mare_status trace_settle(planner *p, node *const *order, int n, const plan_wanted *w);
/* An evaluation was done. */
void trace_note(planner *p, plan *x, node **order);
/* MARE_E_ARGUMENT when there is a trace: n's value is asked for. */
mare_status trace_refuse_read(const planner *p, const node *n);

/* ---- run.c -------------------------------------------------------------------------------- */

/* What a run is given. */
typedef struct given {
    storage *const *in;  /* of each input of the plan */
    const bool *donated; /* of each: the caller is the last to hold it, and lets it go if all goes
                            well; null: none is */
    const uint32_t *values;
} given;

/* Runs x. out: a new reference to the storage of each root. After a failure nothing was given out,
 * inputs are as they were, and *at is the step that could not be done, or -1. */
mare_status plan_run(planner *p, plan *x, const given *y, storage **out, int *at);
/* Buffers kept for arenas are given back, but for those of a plan that is being run. */
void run_reclaim(void *planner);

/* A run on its way. */
typedef struct run {
    planner *p;
    plan *x;
    storage *const *in;
    const uint32_t *values;
    storage **kept; /* of each result, by buffer number */
    dev_recorder *recorder;
    int first; /* step in it */
} run;

dev_buffer *run_buffer(const run *r, int buffer);
dev_binding run_binding(const run *r, const binding *b);

/* ---- replay.c ----------------------------------------------------------------------------- */

/* Of a result; null when there is none. */
home *replay_home(const replay *y, int buffer);
/* Buffers that are kept for results are given back. */
void replay_empty(replay *y);

/* Gives x a replay, if it has none. */
mare_status replay_make(planner *p, plan *x);
/* Submits x's recorded commands, with what is new in this run put in. x has a replay. */
mare_status replay_run(run *r);

#endif
