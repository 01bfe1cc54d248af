/* A graph as a list of steps that can be built again and again: on other values, with other sizes,
 * with steps left out. */
#ifndef TESTS_RANDOM_RECIPE_H
#define TESTS_RANDOM_RECIPE_H

#include "op_check.h"

#include <stdio.h>

enum {
    RECIPE_STEPS = 64,
    RECIPE_IN = 4,
    RECIPE_SIZES = 4,
    RECIPE_ROOTS = 4,
    RECIPE_OUT = RECIPE_ROOTS + 2 * RECIPE_STEPS, /* roots, gradients, updates */
    RECIPE_ELEMENTS = 20000                       /* more in one tensor are refused */
};

typedef struct recipe recipe;
typedef struct recipe_step recipe_step;

/* What a step may do, see random_kinds.h. */
typedef struct step_kind {
    const char *name;
    node *(*build)(graph *g, const recipe_step *s, node *const *in);
    bool alias; /* evaluated at once: a view of a leaf, which shares its memory */
} step_kind;

/* The size of an axis. */
enum { SIZE_FIXED = -1, SIZE_NAMED = -2 };
typedef struct axis_size {
    int of;     /* SIZE_FIXED; SIZE_NAMED: one of the recipe's sizes; else that of a step's axis */
    int64_t at; /* the size; which of the sizes; the axis, from the end when negative */
} axis_size;

struct recipe_step {
    int id;                /* its values are drawn by this */
    const step_kind *kind; /* null: a leaf */
    const char *word;      /* which row, which reduction */
    int n_in, in[RECIPE_IN];
    int64_t n[8];
    double x;
    bool varies; /* x is another with the second values */
    /* Of a leaf. */
    int rank;
    axis_size size[MAX_DIMS];
    axis_size limit; /* of a leaf of indices: they are below it; SIZE_FIXED 0: there is none */
    bool held;       /* somebody keeps it while the graph is evaluated: its value must stay */
    /* What comes out: of a leaf, what goes in. */
    mare_dtype dtype;
    double lo, hi;
    shape shape; /* when built last */
};

struct recipe {
    uint64_t seed;
    int64_t size[RECIPE_SIZES];
    int n, n_roots;
    recipe_step step[RECIPE_STEPS];
    int root[RECIPE_ROOTS];
    bool gradient; /* of a weighted sum of the roots by every float leaf: more roots */
    bool update;   /* in their place, the leaves and their velocities after a step with momentum */
};

typedef struct recipe_nodes {
    node *value[RECIPE_STEPS];
    node *root[RECIPE_OUT];
    int n_roots;
} recipe_nodes;

/* Adds step i to nodes, in an open scope. `values`: 0 or 1, which of two sets of values the leaves
 * and numbers get. False where the builders refuse. */
bool recipe_build_step(checker *c, recipe *r, int i, int values, recipe_nodes *nodes);
/* The whole of it. Steps that nothing needs are built, too: dead branches. */
bool recipe_build(checker *c, recipe *r, int values, recipe_nodes *nodes);
void recipe_print(const recipe *r, FILE *f);

/* Makes r smaller as long as fails(arg, r) stays true: fewer roots, leaves in place of steps,
 * smaller sizes, no gradient. */
void recipe_shrink(recipe *r, bool (*fails)(void *arg, recipe *r), void *arg);

#endif
