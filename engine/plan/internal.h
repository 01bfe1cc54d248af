/* What the files of plan/ share: the plan itself. */
#ifndef MARE_PLAN_INTERNAL_H
#define MARE_PLAN_INTERNAL_H

#include "plan/plan.h"

typedef enum buffer_kind {
    BUFFER_TEMP,  /* lives in the plan's arena, from its first launch to its last */
    BUFFER_INPUT, /* storage of an evaluated node */
    BUFFER_KEPT   /* becomes storage of a root */
} buffer_kind;

typedef struct plan_buffer {
    buffer_kind kind;
    uint64_t bytes;
    int input;       /* BUFFER_INPUT: place of the node in the order */
    int first, last; /* steps that touch it first and last; first > last: none does */
    int arena;       /* BUFFER_TEMP: which arena, and where in it */
    uint64_t offset;
} plan_buffer;

/* A parameter word that is read from a node at each run. */
typedef struct patch {
    int word, node, dyn;
} patch;

/* A launch, made ready to be run many times. */
typedef struct step {
    int origin; /* node's place in the order */
    const op *op;
    const char *file; /* script line that made the node, when the plan was built */
    int line;
    kernel_id kernel;
    uint32_t groups[3];
    int n_words, n_patches, n_bindings;
    uint32_t *words;
    patch *patches;
    binding *bindings;
    bool barrier;      /* wait for the launches before */
    variant *variants; /* until the tuner chose */
    const char *tune_key;
    double flops;
    dev_pipeline *pipeline; /* null until the first run */
} step;

typedef struct plan_root {
    int node; /* place in the order */
    int buffer;
    view view;
} plan_root;

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
    plan_info info;
};

/* plan.c: from an order to a plan without memory and barriers. */
mare_status plan_lower(graph *g, const dev_caps *caps, node **order, int n, node *const *roots,
                       int n_roots, plan **out);
/* memory.c: lifetimes, and places in as few and small arenas as it can. */
mare_status plan_pack(plan *p, uint64_t max_arena, mare_error *e);
/* hazard.c: barriers between steps that touch the same bytes. */
mare_status plan_barriers(plan *p, mare_error *e);

#endif
