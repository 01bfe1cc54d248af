/* What the files of plan/ share: the plan itself. */
#ifndef MARE_PLAN_INTERNAL_H
#define MARE_PLAN_INTERNAL_H

#include "plan/profile.h"

typedef enum buffer_kind {
    BUFFER_TEMP,  /* lives in the plan's arena, from its first launch to its last */
    BUFFER_INPUT, /* storage of an evaluated node */
    BUFFER_KEPT   /* becomes storage of a root */
} buffer_kind;

typedef struct plan_buffer {
    buffer_kind kind;
    uint64_t bytes;
    int input;       /* BUFFER_INPUT: place of the node in the order */
    int slot;        /* BUFFER_INPUT: which of the plan's inputs */
    int first, last; /* steps that touch it first and last; first > last: none does */
    int donor;       /* BUFFER_KEPT: the input whose memory it may take at a run, or -1 */
    int arena;       /* BUFFER_TEMP: which arena, and where in it */
    uint64_t offset;
} plan_buffer;

/* Bytes that a temporary takes in its arena. */
static inline uint64_t padded(const plan_buffer *b) {
    enum { ALIGN = 256 };
    return (b->bytes + ALIGN - 1) / ALIGN * ALIGN;
}

/* A parameter word that is read from a node at each run. */
typedef struct patch {
    int word, node, dyn;
    int value; /* which of the plan's values */
} patch;

typedef struct plan_value {
    int node, dyn;
} plan_value;

/* A launch, made ready to be run many times. */
typedef struct step {
    int origin; /* node's place in the order */
    const op *op;
    const char *label; /* the op's name, or names of all that were fused */
    const char *file;  /* script line that made the node, when the plan was built */
    int line;
    mare_dtype dtype; /* of the node */
    shape shape;
    kernel_id kernel;
    uint32_t groups[3];
    int n_words, n_patches, n_bindings;
    uint32_t *words;
    patch *patches;
    binding *bindings;
    bool barrier;      /* wait for the launches before */
    variant *variants; /* until the tuner chose */
    variant *instead;  /* what runs where its choice cannot; null: nothing else */
    const char *plain; /* as in a launch */
    int plain_words, plain_bindings;
    uint64_t plain_out;
    const char *tune_key;
    double flops;
    dev_pipeline *pipeline; /* null until the first run */
} step;

typedef struct plan_root {
    int node; /* place in the order */
    int buffer;
    view view;
} plan_root;

/* Where dumps go, and which (of plan_dumps). */
typedef struct dumper {
    uint32_t dumps;
    void (*show)(void *user, const char *text);
    void *user;
} dumper;

/* Where a plan is cut into submissions (pace.c). */
typedef struct pace {
    double *seconds; /* of each step: guessed, then measured */
    int *cuts;       /* steps that start a submission, the first being 0 */
    int n_cuts;
    double bound; /* seconds a submission that the cuts were made for */
    bool measured;
} pace;

typedef struct replay replay;

struct plan {
    arena mem;
    uint64_t hash, used; /* `used`: the planner's clock at the last run */
    void *signature;
    size_t signature_len;
    int n_steps, n_buffers, n_roots, n_arenas, n_nodes;
    step *steps;
    plan_buffer *buffers;
    plan_root *roots;
    uint64_t *arenas; /* bytes of each */
    int n_inputs, n_values;
    int *inputs;        /* places of the evaluated nodes in the order */
    plan_value *values; /* what the patches read */
    uint64_t runs;
    int pins;       /* traces that hold it */
    bool forgotten; /* by the planner: it goes with the last pin */
    pace pace;
    replay *replay; /* null until it is worth one */
    plan_info info;
};

/* plan.c: from an order to a plan without memory and barriers. */
mare_status plan_lower(graph *g, const dev_caps *caps, uint32_t passes, node **order, int n,
                       const plan_wanted *w, plan **out);
/* memory.c: lifetimes, and places in as few and small arenas as it can. */
mare_status plan_pack(plan *p, uint64_t max_arena, mare_error *e);
/* hazard.c: barriers between steps that touch the same bytes. */
mare_status plan_barriers(plan *p, mare_error *e);
/* find.c: a pinned plan stays when the planner forgets it. */
void plan_pin(plan *p);
void plan_unpin(plan *p);
/* replay.c. Null is allowed. */
void replay_free(replay *y);
/* dump.c: shows what is wanted of a graph about to be planned, and of a new plan. */
void dump_new_graph(const dumper *d, node *const *order, int n, const plan_wanted *w);
void dump_new_plan(const dumper *d, const plan *p);
/* prepare.c: worker threads start on the kernels of a new plan, while it is recorded. */
void plan_prefetch(kernels *k, plan *p);
/* The step's pipeline; before that the choice of its kernel, measured with these parameters when
 * it is not known. */
mare_status step_prepare(kernels *k, step *s, const uint32_t *words, mare_error *e);

/* profile.c. All but the first do nothing while the profile is off. */
void profile_destroy(profile *f);
/* The lines of the script that have this plan run now. */
void profile_locate(const profile *f, plan *x, node *const *order);
/* Around the dispatch of step i. */
mare_status profile_begin(profile *f, dev_recorder *r, const plan *x, int i);
void profile_end(profile *f, dev_recorder *r);
/* Does every launch need a submission of its own, to be timed? */
bool profile_alone(const profile *f);
/* Around the host's work: `start` is what profile_now() gave before it. */
double profile_now(const profile *f);
void profile_did(profile *f, mare_work work, double start, const char *about);

#endif
