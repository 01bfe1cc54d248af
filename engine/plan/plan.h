/* Plans: an ordered graph becomes launches with barriers and packed memory; plans are cached under
 * the structure of the graph and bound again to new inputs. */
#ifndef MARE_PLAN_PLAN_H
#define MARE_PLAN_PLAN_H

#include "base/text.h"
#include "plan/lower.h"

typedef struct planner planner;
typedef struct plan plan;

mare_status planner_create(graph *g, dev_device *d, kernels *k, planner **out);
void planner_destroy(planner *p);
/* Each new plan is shown as text. */
void planner_set_dump(planner *p, void (*dump)(void *user, const char *text), void *user);

/* Evaluates nodes: afterwards each has its storage. Submits and returns; the device may still be
 * at work. */
mare_status plan_eval(planner *p, node *const *roots, int n);
/* A leaf from host data (contiguous); of integers the range is noted. Call inside a scope. */
node *plan_upload(planner *p, mare_dtype t, const shape *s, const void *data);
/* Evaluates, waits, and copies a node's elements out, contiguous, in its dtype. `bytes` must be
 * their size. Of integers the range is noted. */
mare_status plan_read(planner *p, node *n, void *data, size_t bytes);

/* Builds a plan as data, for caps, with no device. The nodes must stay alive as long as the plan.
 */
mare_status plan_build(graph *g, const dev_caps *caps, node *const *roots, int n, plan **out);
void plan_free(plan *p);
/* The plan as text: launches, bindings, barriers, memory. */
mare_status plan_dump(const plan *p, text *out);

typedef struct plan_info {
    int launches, barriers, buffers;
    uint64_t arena; /* bytes of the packed temporaries */
    uint64_t sum;   /* bytes of all temporaries, unpacked */
    uint64_t bound; /* lower bound: the most bytes alive at once */
} plan_info;
void plan_get_info(const plan *p, plan_info *out);

typedef struct planner_stats {
    uint64_t evals, plans, hits, launches, submits;
} planner_stats;
void planner_get_stats(const planner *p, planner_stats *out);

#endif
