/* What the tests of ops share: a device with a planner, leaves that the host knows the values of,
 * and the evaluation of a graph on the host by the references of its ops. */
#ifndef TESTS_OP_CHECK_H
#define TESTS_OP_CHECK_H

#include "base/map.h"
#include "plan/plan.h"

/* MARE_CAPS, MARE_DEVICE, MARE_PASSES and MARE_VALIDATE of the environment count here as in the
 * library. */
typedef struct checker {
    mare_error error;
    dev_device *device;
    kernels *kernels;
    graph g;
    planner *planner;
    rng random;
    map values;   /* node -> double *, of leaves */
    map compiled; /* hashes of the kernels that were found valid */
    arena mem;    /* values; given back by checker_forget() */
} checker;

/* more_caps: more of the text of MARE_CAPS, or null. False with the reason in c->error. */
bool checker_open(checker *c, const char *more_caps);
/* False when the validation layer, if it is on, had something to say: it is printed. */
bool checker_close(checker *c);
/* Forgets the values of leaves. */
void checker_forget(checker *c);

/* n values between lo and hi: a different one each, in random order; integers in lo..hi inclusive
 * for integer dtypes. As dtype t holds them. */
double *checker_draw(checker *c, mare_dtype t, int64_t n, double lo, double hi);
/* A leaf with these values. */
node *checker_leaf(checker *c, mare_dtype t, const shape *s, const double *values);
/* A leaf over part of another leaf's memory, as an evaluated view is. v must be evaluated. */
node *checker_alias(checker *c, node *v, const double *values);
/* Evaluates n on the device and reads it. */
double *checker_read(checker *c, node *n);

/* A graph to be evaluated on the host, again and again. Must be made before the device evaluates.
 */
typedef struct host_graph {
    node **order;
    int n, n_roots;
    int *in;        /* places of the inputs, node after node */
    double **value; /* of each node */
    double **root;  /* of each root */
    int nodes;      /* computing ones, views aside */
    double sums;    /* the most elements that flow into one, in any node: see check_tolerance() */
    double peak;    /* the largest finite magnitude in the last run */
    double unit;    /* the unit roundoff of the narrowest float dtype in it */
    double shake;   /* 0, or: the result of each computing node is moved at random, by up to so many
                       of its roundings */
} host_graph;

bool host_graph_make(checker *c, node *const *roots, int n, host_graph *h);
void host_graph_free(host_graph *h);
/* Runs every op's reference in double. With `rounded`, each result is rounded to its dtype, as the
 * device stores it. */
void host_graph_run(checker *c, host_graph *h, bool rounded);

/* The difference that rounding may make between a device and the reference, for an element of value
 * ref in a result:
 *
 *     u * (8 * nodes + sums) * (|ref| + scale)
 *
 * u is the unit roundoff of the narrowest float dtype in the graph (2^-24; f16 2^-11; bf16 2^-8);
 * each computing node may lose 8 u (Vulkan's functions keep to 4 or better), a sum of k terms k u.
 * Where anything is summed, terms may cancel, and what is lost is lost of them: scale is the
 * largest magnitude in the whole graph, inputs included. Otherwise it is 1 at most: functions near
 * a root lose the rounding of their arguments. */
double check_tolerance(const host_graph *h, double ref);

/* Lowers all of h for a device of these capabilities, and checks what comes out: every kernel and
 * variant compiles to valid SPIR-V and keeps the limits. False with a reason in message. */
bool check_launches(checker *c, const host_graph *h, const dev_caps *caps, char *message,
                    size_t size);

#endif
