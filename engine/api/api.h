/* What the files of api/ share: contexts and tensor handles. */
#ifndef MARE_API_API_H
#define MARE_API_API_H

#include "ops/ops.h"
#include "plan/plan.h"

struct mare_context {
    mare_error error;
    dev_device *device;
    kernels *kernels;
    planner *planner;
    graph graph;
    VEC(mare_tensor *) waiting; /* evaluated together with the next evaluation */
    mare_tensor *tensors;       /* all handles alive, as a list */
    bool eager;                 /* MARE_EAGER: every operation is evaluated at once */
    bool dump_plans;
    void (*dump)(void *user, const char *text);
    void *dump_user;
};

/* A handle: it names a node, and may be bound to another one by assignment. */
struct mare_tensor {
    int refs;
    mare_context *ctx; /* null once the context was destroyed */
    node *node;
    bool waits; /* is in ctx->waiting */
    mare_tensor *previous, *next;
};

/* A new handle for n (null: the failure in ctx->error), which closes the scope that the caller
 * opened. Under MARE_EAGER the node is evaluated and checked. */
mare_status api_result(mare_context *ctx, node *n, mare_tensor **out);
/* Clears the error and opens a scope for a call with these tensors; they must be of one context.
 * Null entries are allowed past the first. */
mare_status api_begin(const char *call, int n, mare_tensor *const *in, mare_context **ctx);
/* The context goes: the handle lets its node go, and refuses every call from now on. */
void api_forget(mare_tensor *t);
/* The tensor waits for the next evaluation. */
mare_status api_wait_for(mare_tensor *t);
/* Shape of a public call's dims; false after an error. */
bool api_shape(mare_context *ctx, const char *call, int rank, const int64_t *dims, bool infer_one,
               shape *out);

#endif
