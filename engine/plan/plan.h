/* Plans: an ordered graph becomes launches with barriers and packed memory; plans are cached under
 * the structure of the graph and bound again to new inputs. */
#ifndef MARE_PLAN_PLAN_H
#define MARE_PLAN_PLAN_H

#include "base/text.h"
#include "plan/lower.h"

typedef struct planner planner;
typedef struct plan plan;

/* What is done to a graph on its way to launches. Each can be left out; none changes what is
 * computed, only where rounding falls. */
typedef enum plan_pass {
    PASS_SIMPLIFY = 1 << 0, /* common subexpressions, constants folded */
    PASS_FUSE = 1 << 1,     /* elementwise chains become one launch */
    PASS_ATTACH = 1 << 2,   /* chains join the products, reductions and norms beside them */
    PASS_MERGE = 1 << 3,    /* small updates of one form share a launch */
    PASS_INPLACE = 1 << 4,  /* results take the memory of what is read last */
    PASS_REPLAY = 1 << 5,   /* recorded commands are submitted again */
    PASS_DONATE = 1 << 6,   /* in runs of these, new values take the memory of those they replace */
    PASS_ALL = (1 << 7) - 1
} plan_pass;

/* Applies a MARE_PASSES list to a set of passes: comma-separated words, `all`, `none`, `name`
 * and `-name`, from left to right. Names are those above, in small letters. An unknown word is
 * MARE_E_ARGUMENT and lists the known; *passes is then as before. */
mare_status plan_passes_apply(uint32_t *passes, const char *list, mare_error *e);

mare_status planner_create(graph *g, dev_device *d, kernels *k, planner **out);
void planner_destroy(planner *p);

/* What can be shown as text while a plan is made. */
typedef enum plan_dumps {
    DUMP_GRAPH = 1 << 0,  /* the nodes that a plan is made for, before it is made */
    DUMP_PLAN = 1 << 1,   /* plan_dump() of each new plan */
    DUMP_MEMORY = 1 << 2, /* plan_dump_memory() of each new plan */
    DUMP_GLSL = 1 << 3    /* the whole text of each kernel that is made */
} plan_dumps;

/* Reads a MARE_DUMP list: comma-separated words, which are those above in small letters. An unknown
 * word is MARE_E_ARGUMENT and lists the known; *dumps is then as before. */
mare_status plan_dumps_parse(uint32_t *dumps, const char *list, mare_error *e);
/* From now on these are shown, each as one text. */
void planner_set_dump(planner *p, uint32_t dumps, void (*dump)(void *user, const char *text),
                      void *user);

/* Which passes run from now on; all do at first. Plans made before are forgotten. */
void planner_set_passes(planner *p, uint32_t passes);

/* Plans made from here on choose their kernels anew; those made before are forgotten. */
void planner_choose_anew(planner *p);

/* What one submission may take, in seconds; 0: SUBMIT_MS milliseconds, as at first. A launch is
 * never cut. */
enum { SUBMIT_MS = 20 };
void planner_set_submit(planner *p, double seconds);

/* From now on every node is evaluated by itself and compared with its op's reference. */
void planner_set_check(planner *p, bool on);

/* What is asked for: roots; and of each what it takes the place of, old[i], or null. `old` itself
 * may be null: of nothing. */
typedef struct plan_wanted {
    node *const *roots, *const *old;
    int n;
} plan_wanted;

/* Evaluates nodes: afterwards each has its storage. Submits and returns; the device may still be
 * at work. */
mare_status plan_eval(planner *p, node *const *roots, int n);
/* The same for new values of parameters and state: to each old value the caller gives up one
 * reference when all went well. Where nobody else holds it, the new one may take its memory
 * (PASS_DONATE). After a failure old values are as they were, but for those of a lost device. */
mare_status plan_update(planner *p, const plan_wanted *w);
/* A leaf from host data (contiguous); of integers the range is noted. Call inside a scope. */
node *plan_upload(planner *p, mare_dtype t, const shape *s, const void *data);
/* Evaluates, waits, and copies a node's elements out, contiguous, in its dtype. `bytes` must be
 * their size. Of integers the range is noted. */
mare_status plan_read(planner *p, node *n, void *data, size_t bytes);

/* Builds a plan as data, for caps, with no device. The nodes must stay alive as long as the plan.
 */
mare_status plan_build(graph *g, const dev_caps *caps, uint32_t passes, const plan_wanted *w,
                       plan **out);
void plan_free(plan *p);
/* The plan as text: launches, bindings, barriers, memory. */
mare_status plan_dump(const plan *p, text *out);
/* Its memory as text: where each temporary lies and when, and the bytes alive at each step. */
mare_status plan_dump_memory(const plan *p, text *out);

typedef struct plan_info {
    int launches, barriers, buffers;
    uint64_t arena;   /* bytes of the packed temporaries */
    uint64_t sum;     /* bytes of all temporaries, unpacked */
    uint64_t bound;   /* lower bound: the most bytes alive at once */
    uint64_t donated; /* bytes of results that can take the memory of what they replace */
} plan_info;
void plan_get_info(const plan *p, plan_info *out);

typedef struct planner_stats {
    uint64_t evals, plans, hits, launches, submits;
    uint64_t recorded; /* launches whose commands were recorded; others were submitted again */
} planner_stats;
void planner_get_stats(const planner *p, planner_stats *out);
/* Of the plan that ran last; zeros before the first. */
void planner_get_info(const planner *p, plan_info *out);

#endif
