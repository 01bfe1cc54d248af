/* Profiles: when each launch ran, and what the host did meanwhile. */
#ifndef MARE_PLAN_PROFILE_H
#define MARE_PLAN_PROFILE_H

#include "base/map.h"
#include "plan/plan.h"

/* What one step of a plan launches for one line of the script. */
typedef struct profile_site {
    uint64_t plan; /* hash of the plan, and the step in it */
    int step;
    const char *op, *kernel; /* "copy" and "": between host and device */
    const char *file;
    int line;
    mare_dtype dtype; /* of the result */
    shape shape;
    uint32_t groups[3];
    double bytes, flops; /* of one launch; bytes: of what it binds, read and written */
    uint64_t launches;
    double seconds; /* of all */
} profile_site;

static inline bool profile_is_copy(const profile_site *s) {
    return !s->kernel[0];
}

typedef struct profile_launch {
    uint32_t site, eval; /* evaluations are numbered from 0 */
    double start, end;   /* seconds since the profile's start */
} profile_launch;

/* The host was at something; spans lie beside or within each other. */
typedef struct profile_span {
    mare_work work;
    uint32_t eval;
    double start, end;
    const char *about; /* null, or what it was done for */
} profile_span;

typedef struct profile {
    bool on, stamps;
    double start, wall;
    uint32_t evals;
    arena mem;               /* strings */
    VEC(profile_site) sites; /* all that were ever seen; steps know them by their place */
    map by_key;              /* hash of what makes a site -> its place and one more */
    VEC(profile_launch) launches;
    VEC(profile_span) spans;
    /* After the stop, in the order of their first launch: places of the sites that ran. Launches
     * then hold places in here. */
    VEC(uint32_t) used;
    bool failed; /* the host had no memory for a record */
} profile;

/* Times of what is in a profile that has been stopped: by the host's work, which adds up to wall,
 * and that part of it in which the device did nothing. */
typedef struct profile_sums {
    double busy, copying, longest_gap;
    double host[MARE_WORKS], idle[MARE_WORKS];
} profile_sums;
mare_status profile_sum(const profile *f, mare_error *e, profile_sums *out);

/* Waits for the device; from now on all evaluations are in the profile. Both are MARE_E_ARGUMENT
 * when profiling is on already, or is not. */
mare_status planner_profile_start(planner *p);
mare_status planner_profile_stop(planner *p);
/* The profile that was stopped last; empty when there was none. */
const profile *planner_profile(const planner *p);

#endif
