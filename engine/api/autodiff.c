/* Functions of the host in the backward pass, and gradient checkpoints. */
#include "api/api.h"

#include <stdlib.h>
#include <string.h>

/* ---- Callbacks ---------------------------------------------------------------------------- */

typedef struct host_callback {
    callback base;
    mare_context *ctx;
    mare_vjp f;
    int id;
} host_callback;

/* Calls the host with gy and takes n gradients out of its handles; those it leaves null stay so. */
static bool call_host(host_callback *c, node *gy, int n, node **gx) {
    mare_context *ctx = c->ctx;
    mare_tensor *grad = NULL, **out = calloc((size_t)n + 1, sizeof *out);
    mare_status status = out ? MARE_OK : error_no_memory(&ctx->error, (size_t)n * sizeof *out);
    graph_scope_begin(&ctx->graph);
    if (!status)
        status = api_result(ctx, gy, &grad);
    else
        graph_scope_end(&ctx->graph);
    if (!status) {
        status = c->f.run(c->f.user, grad, n, out);
        if (status && !ctx->error.code)
            error_set(&ctx->error, status, "backward: the host's function failed");
    }
    for (int i = 0; !status && i < n; i++) {
        if (out[i] && out[i]->ctx != ctx)
            status = error_set(&ctx->error, MARE_E_ARGUMENT,
                               "backward: gradient %d belongs to another context", i + 1);
        else if (out[i])
            gx[i] = out[i]->node;
    }
    /* The nodes outlive their handles to the end of the scope. */
    for (int i = 0; i < n && out; i++) {
        if (out[i] && !status && !vec_push(&ctx->graph.fresh, node_retain(out[i]->node))) {
            node_release(out[i]->node);
            status = error_no_memory(&ctx->error, sizeof(node *));
        }
        mare_tensor_release(out[i]);
    }
    mare_tensor_release(grad);
    free(out);
    return !status;
}

static bool run_backward(callback *c, node *n, node *gy, node **gx) {
    return call_host((host_callback *)c, gy, n->n_in - 1, gx);
}

static bool run_hook(callback *c, node *n, node *gy, node **gx) {
    (void)n;
    return call_host((host_callback *)c, gy, 1, gx);
}

static void destroy_callback(callback *c) {
    mare_vjp f = ((host_callback *)c)->f;
    free(c);
    if (f.destroy) f.destroy(f.user);
}

/* Null after an error; f is taken over all the same. */
static host_callback *new_callback(mare_context *ctx, const mare_vjp *f,
                                   bool (*run)(callback *, node *, node *, node **)) {
    host_callback *c = malloc(sizeof *c);
    if (c) {
        *c = (host_callback){{1, run, destroy_callback}, ctx, *f, 0};
        return c;
    }
    error_no_memory(&ctx->error, sizeof *c);
    if (f->destroy) f->destroy(f->user);
    return NULL;
}

mare_status mare_custom(mare_tensor *y, int n, mare_tensor *const *in, const mare_vjp *f,
                        mare_tensor **out) {
    mare_context *ctx;
    if (!f || !f->run || n < 0 || (n && !in)) return MARE_E_ARGUMENT;
    mare_status status = api_begin("custom", 1, &y, &ctx);
    if (status) return status;
    node **nodes = malloc(((size_t)n + 1) * sizeof *nodes), *made = NULL;
    if (!nodes) error_no_memory(&ctx->error, (size_t)n * sizeof *nodes);
    for (int i = 0; nodes && i < n; i++) {
        if (!in[i] || in[i]->ctx != ctx) {
            graph_fail(&ctx->graph, MARE_E_ARGUMENT, "custom: input %d is not of this context",
                       i + 1);
            free(nodes);
            nodes = NULL;
        } else {
            nodes[i] = in[i]->node;
        }
    }
    if (nodes) {
        host_callback *c = new_callback(ctx, f, run_backward);
        if (c) made = op_custom(&ctx->graph, y->node, nodes, n, &c->base);
    } else if (f->destroy) {
        f->destroy(f->user);
    }
    free(nodes);
    return api_result(ctx, made, out);
}

/* ---- Hooks -------------------------------------------------------------------------------- */

mare_status mare_add_hook(mare_tensor *t, const mare_vjp *f, int *id) {
    mare_context *ctx;
    if (!f || !f->run) return MARE_E_ARGUMENT;
    mare_status status = api_begin("hook", 1, &t, &ctx);
    if (status) return status;
    host_callback *c = new_callback(ctx, f, run_hook);
    if (!c) {
        status = ctx->error.code;
    } else if (!t->node->requires_grad) {
        status = error_set(&ctx->error, MARE_E_ARGUMENT, "hook: the tensor requires no gradient");
    } else if (!vec_push(&t->node->hooks, &c->base)) {
        status = error_no_memory(&ctx->error, sizeof(callback *));
    } else {
        c->id = ++ctx->hooks;
        if (id) *id = c->id;
    }
    if (status && c) callback_release(&c->base);
    graph_scope_end(&ctx->graph);
    return status;
}

void mare_remove_hook(mare_tensor *t, int id) {
    if (!t || !t->ctx) return;
    node *n = t->node;
    for (size_t i = 0; i < n->hooks.len; i++) {
        host_callback *c = (host_callback *)n->hooks.data[i];
        if (c->id != id) continue;
        n->hooks.len--;
        memmove(&n->hooks.data[i], &n->hooks.data[i + 1], (n->hooks.len - i) * sizeof(callback *));
        callback_release(&c->base);
        return;
    }
}

bool mare_grad_enabled(const mare_context *ctx) {
    return ctx && ctx->graph.no_grad == 0;
}

/* ---- Checkpoints -------------------------------------------------------------------------- */

uint64_t mare_checkpoint_start(mare_context *ctx) {
    return ctx ? ctx->graph.made : 0;
}

mare_status mare_checkpoint(mare_tensor *y, uint64_t start, mare_tensor **out) {
    mare_context *ctx;
    mare_status status = api_begin("checkpoint", 1, &y, &ctx);
    if (status) return status;
    return api_result(ctx, op_checkpoint(&ctx->graph, y->node, start), out);
}
