/* What the files of api/ share: contexts and tensor handles. */
#ifndef MARE_API_API_H
#define MARE_API_API_H

#include "ops/ops.h"
#include "plan/trace.h"

struct mare_context {
    mare_error error;
    dev_device *device;
    kernels *kernels;
    planner *planner;
    graph graph;
    VEC(mare_tensor *) waiting; /* evaluated together with the next evaluation */
    mare_tensor *tensors;       /* all handles alive, as a list */
    struct mare_kernel *own;    /* kernels that the host defined */
    mare_step *steps;           /* all compiled ones, as a list */
    struct api_noting *noting;  /* a step on its way */
    bool checks;                /* MARE_CHECK */
    bool eager;                 /* MARE_EAGER: every operation is evaluated at once */
    int hooks;                  /* ever added: the newest one's id */
    void (*dump)(void *user, const char *text);
    void *dump_user;
    mare_stats profiled_from; /* when the profile began */
};

/* A handle: it names a node, and may be bound to another one by assignment. */
struct mare_tensor {
    int refs;
    mare_context *ctx; /* null once the context was destroyed */
    node *node;
    bool waits; /* is in ctx->waiting */
    node *
        before; /* of a waiting assignment: what it takes the place of, when it succeeds; or null */
    mare_tensor *previous, *next;
};

/* A new handle for n (null: the failure in ctx->error), which closes the scope that the caller
 * opened. Under MARE_EAGER the node is evaluated and checked. */
mare_status api_result(mare_context *ctx, node *n, mare_tensor **out);
/* Handles for n nodes, all or none; the caller's scope stays open. */
mare_status api_results(mare_context *ctx, node *const *nodes, int n, mare_tensor **out);
/* Indices are checked before they reach the device: an integer node of an unknown range is
 * evaluated. */
bool api_know_range(mare_context *ctx, node *index);
/* Clears the error and opens a scope for a call with these tensors; they must be of one context.
 * Null entries are allowed past the first. */
mare_status api_begin(const char *call, int n, mare_tensor *const *in, mare_context **ctx);
/* The context goes: the handle lets its node go, and refuses every call from now on. */
void api_forget(mare_tensor *t);
/* Frees ctx->own, which no plan and no node refers to any more. */
void api_free_kernels(mare_context *ctx);
/* The random stream was set. */
void api_reseeded(mare_context *ctx);
/* The same for a compiled step; all that it holds is given back. */
void api_forget_step(mare_step *s);
/* Evaluates nodes together with all that waits; after a failure nothing waits any more, or the same
 * failure would meet all that comes. */
mare_status api_eval(mare_context *ctx, int n, node *const *nodes);
/* t names another node; what belongs to a handle and not to its value moves along. */
void api_rebind(mare_tensor *t, node *to);
/* The tensor waits for the next evaluation. */
mare_status api_wait_for(mare_tensor *t);
/* Shape of a public call's dims; false after an error. */
bool api_shape(mare_context *ctx, const char *call, int rank, const int64_t *dims, bool infer_one,
               shape *out);

#endif
