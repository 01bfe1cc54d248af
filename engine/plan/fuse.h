/* What becomes one launch. A fusion looks at an ordered graph and says which nodes stand for others
 * (simplify.c), which elementwise nodes are computed together, and in which order the pieces run.
 */
#ifndef MARE_PLAN_FUSE_H
#define MARE_PLAN_FUSE_H

#include "plan/plan.h"
#include "plan/program.h"

/* Nodes that are computed by one launch (or several parts of one): a chain, or a node by itself. */
typedef struct unit {
    int n;
    const int *node; /* places in the order, inputs before users */
} unit;

typedef struct fusion {
    lowering *l;
    node **order;
    int n;
    int *rep;    /* the node that stands for node i */
    int *source; /* i, or the node that the view i shows element by element in the same order */
    int *level;  /* see find_levels() */
    int *chain;  /* of an elementwise node: the first of those that it is computed with; else -1 */
    int *group;  /* the unit that it is in: its chain's, or that of a launch it joins; else -1 */
    int *uses;   /* how often each value is asked for: by nodes, by the caller (twice) */
    bool *uniform;  /* made of numbers alone: all elements are equal, users compute them anew */
    bool *fusible;  /* an elementwise node that may share a unit */
    bool *computed; /* by some unit */
    bool *stored;   /* its value is needed in memory */
    unit *units;    /* in the order that they run in */
    int n_units;
    int *donor;   /* of a value that takes the place of an evaluated one: that one; else -1 */
    int *base;    /* i, or the node whose memory the view i may show */
    int *last;    /* of a base: the unit that reads its memory last, or -1 */
    bool *pinned; /* of a base: its memory is asked for by the caller */
} fusion;

/* Fills f for an order; everything lives in l->mem. MARE_E_HOST_MEMORY, or MARE_OK. */
mare_status plan_fuse(fusion *f, lowering *l, node **order, int n, const plan_wanted *w);
/* Input k of node i: the node that stands for it. */
int fusion_input(const fusion *f, int i, int k);
/* Is member m of a chain read outside it? */
bool fusion_is_output(const fusion *f, const int *member, int n, int m);
/* Buffers that a chain binds: values from outside, and those of its own that are read outside. Of
 * *operands, numbers count too. */
int fusion_buffers(const fusion *f, const int *member, int n, int *operands);
/* Are the shapes the same but for axes of one element? */
bool same_loop(const shape *a, const shape *b);
/* join.c: chains join the launches beside them; `member` has room for all nodes. */
void plan_join(fusion *f, int *member);
/* simplify.c: fills f->rep; false when the host has no memory left. */
bool plan_simplify(fusion *f);
/* schedule.c: puts the units in order, and notes until when memory is read. unit_of: of each node,
 * or -1. False when the host has no memory left. */
bool plan_schedule(fusion *f, const int *unit_of, const plan_wanted *w);
/* The node that stands for input k of i. */
int fusion_input(const fusion *f, int i, int k);
/* Does i find the value of s, which it reads, in its own unit? */
bool fusion_inside(const fusion *f, int i, int s);
/* Launches for a unit; at: where each stored value lies. */
mare_status lower_unit(fusion *f, const unit *u, operand *at);
/* Does this node's value come without a launch of its own: is it a number? */
bool node_is_number(const node *n);

#endif
