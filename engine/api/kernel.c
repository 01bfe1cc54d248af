/* Kernels of the host's own. */
#include "api/api.h"
#include "ops/user_kernel.h"

#include <stdlib.h>

struct mare_kernel {
    user_kernel *k;
    mare_context *ctx;
    struct mare_kernel *next; /* of ctx->own */
};

void api_free_kernels(mare_context *ctx) {
    while (ctx->own) {
        mare_kernel *k = ctx->own;
        ctx->own = k->next;
        user_kernel_free(k->k);
        free(k);
    }
}

/* The options as a definition; counts that are out of range are left to user_kernel_new(). */
static user_kernel definition(const mare_kernel_options *o) {
    user_kernel k = {.op.name = o->name,
                     .n_in = o->inputs,
                     .n_out = o->outputs,
                     .n_numbers = o->numbers,
                     .glsl = o->glsl,
                     .workgroup = o->workgroup};
    for (int i = 0; i < o->inputs && i < MARE_KERNEL_INPUTS && o->input_names; i++)
        k.in[i] = (user_tensor){o->input_names[i], o->input_dtypes ? o->input_dtypes[i] : MARE_F32};
    for (int i = 0; i < o->outputs && i < MARE_KERNEL_OUTPUTS && o->output_names; i++)
        k.out[i] =
            (user_tensor){o->output_names[i], o->output_dtypes ? o->output_dtypes[i] : MARE_F32};
    for (int i = 0; i < o->numbers && i < MARE_KERNEL_NUMBERS && o->number_names; i++)
        k.numbers[i] = o->number_names[i];
    return k;
}

/* Makes its pipeline. */
static mare_status compile(mare_context *ctx, const user_kernel *k) {
    kernel_id id;
    dev_pipeline *pipeline;
    if (!user_kernel_id(&ctx->graph, k, dev_get_caps(ctx->device), &id)) return ctx->error.code;
    return kernel_get(ctx->kernels, &id, &pipeline);
}

mare_status mare_kernel_create(mare_context *ctx, const mare_kernel_options *options,
                               mare_kernel **out) {
    if (!ctx || !options || !out) return MARE_E_ARGUMENT;
    ctx->error = (mare_error){0};
    *out = NULL;
    user_kernel given = definition(options);
    user_kernel *k = user_kernel_new(&ctx->graph, &given);
    if (!k) return ctx->error.code;
    for (mare_kernel *old = ctx->own; old; old = old->next)
        if (user_kernel_same(old->k, k)) {
            user_kernel_free(k);
            *out = old;
            return MARE_OK;
        }
    mare_status status = compile(ctx, k);
    mare_kernel *made = status ? NULL : malloc(sizeof *made);
    if (!made) {
        user_kernel_free(k);
        return status ? status : error_no_memory(&ctx->error, sizeof *made);
    }
    *made = (mare_kernel){k, ctx, ctx->own};
    *out = ctx->own = made;
    return MARE_OK;
}

mare_status mare_kernel_run(mare_kernel *kernel, mare_tensor *const *in, const double *numbers,
                            const int *ranks, const int64_t *dims, uint64_t threads,
                            mare_tensor **out) {
    if (!kernel || !out || !ranks) return MARE_E_ARGUMENT;
    mare_context *ctx = kernel->ctx;
    const user_kernel *k = kernel->k;
    ctx->error = (mare_error){0};
    if ((k->n_in && !in) || (k->n_numbers && !numbers))
        return error_set(&ctx->error, MARE_E_ARGUMENT, "%s: inputs or numbers are missing",
                         k->op.name);
    node *nodes[MARE_KERNEL_INPUTS], *made[MARE_KERNEL_OUTPUTS] = {0};
    shape shapes[MARE_KERNEL_OUTPUTS];
    for (int i = 0; i < k->n_in; i++) {
        if (!in[i] || in[i]->ctx != ctx)
            return error_set(&ctx->error, MARE_E_ARGUMENT, "%s: %s is not of this context",
                             k->op.name, k->in[i].name);
        nodes[i] = in[i]->node;
    }
    graph_scope_begin(&ctx->graph);
    bool ok = true;
    for (int i = 0; i < k->n_out && ok; i++) {
        ok = api_shape(ctx, k->op.name, ranks[i], dims, false, &shapes[i]);
        if (ok && dims) dims += ranks[i];
    }
    ok = ok && op_user_kernel(&ctx->graph, k, nodes, numbers, shapes, threads, made);
    mare_status status = ok                ? api_results(ctx, made, k->n_out, out)
                         : ctx->error.code ? ctx->error.code
                                           : error_no_memory(&ctx->error, 0);
    graph_scope_end(&ctx->graph);
    return status;
}
