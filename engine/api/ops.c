/* The operations of the public API: each begins a call, builds nodes, and hands out a handle. */
#include "api/api.h"

#include <stdlib.h>
#include <string.h>

/* A call with one input and the builder's answer as its result. */
#define CALL(name, a, build)                                                                       \
    mare_context *ctx;                                                                             \
    mare_status status = api_begin(name, 1, &(a), &ctx);                                           \
    if (status) return status;                                                                     \
    graph *g = &ctx->graph;                                                                        \
    (void)g;                                                                                       \
    return api_result(ctx, build, out)

static node *node_of(const mare_tensor *t) {
    return t ? t->node : NULL;
}

mare_status mare_map(const char *name, int n, mare_tensor *const *in, mare_tensor **out) {
    mare_context *ctx;
    mare_status status = api_begin(name, n, in, &ctx);
    if (status) return status;
    node *nodes[3];
    node *result = NULL;
    if (n > 3)
        graph_fail(&ctx->graph, MARE_E_ARGUMENT, "%s: %d inputs; at most 3", name, n);
    else {
        for (int i = 0; i < n; i++)
            nodes[i] = node_of(in[i]);
        result = op_map(&ctx->graph, name, nodes, n);
    }
    return api_result(ctx, result, out);
}

mare_status mare_map_scalar(const char *name, int n, mare_tensor *const *in, double value,
                            mare_tensor **out) {
    mare_context *ctx;
    mare_status status = api_begin(name, n, in, &ctx);
    if (status) return status;
    node *result = NULL;
    if (n == 1)
        result = op_map_scalar(&ctx->graph, name, in[0]->node, value);
    else if (n == 2 && in[1]) {
        node *last = node_const(&ctx->graph, in[1]->node->dtype, value);
        result = op_map3(&ctx->graph, name, in[0]->node, in[1]->node, last);
    } else
        graph_fail(&ctx->graph, MARE_E_ARGUMENT, "%s: %d tensors and a number", name, n);
    return api_result(ctx, result, out);
}

mare_status mare_bernoulli(mare_tensor *p, mare_tensor **out) {
    CALL("bernoulli", p, op_bernoulli(g, p->node));
}

mare_status mare_detach(mare_tensor *t, mare_tensor **out) {
    /* always a node of its own: what is set on the result must not show on t */
    CALL("detach", t, node_new(g, op_find("detach"), &t->node, 1, NULL));
}

mare_status mare_cast(mare_tensor *a, mare_dtype dtype, mare_tensor **out) {
    CALL("cast", a, op_cast(g, a->node, dtype));
}

/* ---- Reductions --------------------------------------------------------------------------- */

mare_status mare_reduce(const char *name, mare_tensor *a, int n, const int *axes, bool keepdim,
                        double correction, mare_tensor **out) {
    if (!name || !a || n < 0 || n > MAX_DIMS || (n && !axes)) return MARE_E_ARGUMENT;
    int64_t dims[MAX_DIMS];
    mare_arg args[4] = {mare_arg_tensor("x", a), mare_arg_number("keepdim", keepdim)};
    int given = 2;
    for (int i = 0; i < n; i++)
        dims[i] = axes[i];
    if (n) args[given++] = mare_arg_integers("dim", n, dims);
    if (strcmp(name, "var") == 0) args[given++] = mare_arg_number("correction", correction);
    return mare_call(a->ctx, name, given, args, 1, out);
}

mare_status mare_arg_reduce(const char *name, mare_tensor *a, int axis, bool keepdim,
                            mare_tensor **out) {
    return mare_reduce(name, a, 1, &axis, keepdim, 0, out);
}

/* ---- Movement ----------------------------------------------------------------------------- */

mare_status mare_reshape(mare_tensor *a, int rank, const int64_t *dims, mare_tensor **out) {
    shape s;
    CALL("reshape", a,
         api_shape(ctx, "reshape", rank, dims, true, &s) ? op_reshape(g, a->node, &s) : NULL);
}

mare_status mare_permute(mare_tensor *a, int n, const int *axes, mare_tensor **out) {
    CALL("permute", a, op_permute(g, a->node, axes, n));
}

mare_status mare_expand(mare_tensor *a, int rank, const int64_t *dims, mare_tensor **out) {
    shape s;
    CALL("expand", a,
         api_shape(ctx, "expand", rank, dims, false, &s) ? op_expand(g, a->node, &s) : NULL);
}

mare_status mare_slice(mare_tensor *a, const int64_t *start, const int64_t *stop,
                       const int64_t *step, mare_tensor **out) {
    CALL("slice", a, op_slice(g, a->node, start, stop, step));
}

mare_status mare_put_slice(mare_tensor *a, const int64_t *start, const int64_t *stop,
                           const int64_t *step, mare_tensor *value, mare_tensor **out) {
    mare_context *ctx;
    mare_status status = api_begin("put_slice", 2, (mare_tensor *[]){a, value}, &ctx);
    if (status) return status;
    return api_result(ctx, op_put_slice(&ctx->graph, a->node, node_of(value), start, stop, step),
                      out);
}

static node *flip(graph *g, node *a, int n, const int *axes) {
    uint32_t mask;
    return op_axes(g, "flip", a, axes, n, &mask) ? op_flip(g, a, mask) : NULL;
}

mare_status mare_flip(mare_tensor *a, int n, const int *axes, mare_tensor **out) {
    CALL("flip", a, flip(g, a->node, n, axes));
}

mare_status mare_pad(mare_tensor *a, const int64_t *before, const int64_t *after, double value,
                     mare_tensor **out) {
    CALL("pad", a, op_pad(g, a->node, before, after, value));
}

static mare_status join(const char *call, node *(*build)(graph *, node *const *, int, int), int n,
                        mare_tensor *const *in, int axis, mare_tensor **out) {
    mare_context *ctx;
    mare_status status = api_begin(call, n, in, &ctx);
    if (status) return status;
    node **nodes = malloc((size_t)n * sizeof *nodes), *result = NULL;
    if (!nodes) error_no_memory(&ctx->error, (size_t)n * sizeof *nodes);
    bool ok = nodes != NULL;
    for (int i = 0; i < n && ok; i++) {
        nodes[i] = node_of(in[i]);
        if (!nodes[i])
            ok = graph_fail(&ctx->graph, MARE_E_ARGUMENT, "%s: input %d is null", call, i + 1) !=
                 NULL;
    }
    if (ok) result = build(&ctx->graph, nodes, n, axis);
    free(nodes);
    return api_result(ctx, result, out);
}

mare_status mare_concat(int n, mare_tensor *const *in, int axis, mare_tensor **out) {
    return join("concat", op_concat, n, in, axis, out);
}

mare_status mare_stack(int n, mare_tensor *const *in, int axis, mare_tensor **out) {
    return join("stack", op_stack, n, in, axis, out);
}

mare_status mare_contiguous(mare_tensor *a, mare_tensor **out) {
    CALL("contiguous", a, op_contiguous(g, a->node));
}

/* ---- Indexing ----------------------------------------------------------------------------- */

bool api_know_range(mare_context *ctx, node *index) {
    if (!index || dtype_is_float(index->dtype) || index->lo <= index->hi) return true;
    size_t bytes = (size_t)shape_count(&index->shape) * mare_dtype_size(index->dtype);
    void *data = malloc(bytes + 1);
    if (!data) {
        error_no_memory(&ctx->error, bytes);
        return false;
    }
    mare_status status = plan_read(ctx->planner, index, data, bytes);
    free(data);
    return status == MARE_OK;
}

/* A call with a tensor and a second one that may hold indices. */
#define CALL_INDEX(name, a, index, build)                                                          \
    mare_context *ctx;                                                                             \
    mare_status status = api_begin(name, 2, (mare_tensor *[]){a, index}, &ctx);                    \
    if (status) return status;                                                                     \
    graph *g = &ctx->graph;                                                                        \
    return api_result(ctx, api_know_range(ctx, node_of(index)) ? build : NULL, out)

mare_status mare_take(mare_tensor *a, mare_tensor *index, int axis, mare_tensor **out) {
    CALL_INDEX("take", a, index, op_take(g, a->node, node_of(index), axis));
}

mare_status mare_one_hot(mare_tensor *index, int64_t classes, mare_dtype dtype, mare_tensor **out) {
    CALL_INDEX("one_hot", index, index, op_one_hot(g, index->node, classes, dtype));
}

mare_status mare_cross_entropy(mare_tensor *logits, mare_tensor *target, double label_smoothing,
                               mare_reduction r, mare_tensor **out) {
    CALL_INDEX("cross_entropy", logits, target,
               op_cross_entropy(g, logits->node, node_of(target),
                                &(class_loss){NULL, NO_CLASS, label_smoothing, (reduction)r}));
}

static node *nll(graph *g, node *log_probs, node *target, reduction r) {
    return op_nll_loss(g, log_probs, target, &(class_loss){NULL, NO_CLASS, 0, r});
}

static node *loss(graph *g, const char *name, node *a, node *target, reduction r) {
    static const struct {
        const char *name;
        node *(*build)(graph *, node *, node *, reduction);
    } losses[] = {{"nll", nll},
                  {"mse", op_mse_loss},
                  {"l1", op_l1_loss},
                  {"bce", op_bce_loss},
                  {"bce_with_logits", op_bce_with_logits}};
    for (size_t i = 0; i < sizeof losses / sizeof *losses; i++)
        if (strcmp(name, losses[i].name) == 0) return losses[i].build(g, a, target, r);
    return graph_fail(g, MARE_E_ARGUMENT, "loss: there is no \"%s\"", name);
}

mare_status mare_loss(const char *name, mare_tensor *a, mare_tensor *target, mare_reduction r,
                      mare_tensor **out) {
    CALL_INDEX(name, a, target, loss(g, name, a->node, node_of(target), (reduction)r));
}

/* ---- Networks ----------------------------------------------------------------------------- */

mare_status mare_matmul(mare_tensor *a, mare_tensor *b, mare_tensor **out) {
    mare_context *ctx;
    mare_status status = api_begin("matmul", 2, (mare_tensor *[]){a, b}, &ctx);
    if (status) return status;
    return api_result(ctx, op_matmul(&ctx->graph, a->node, node_of(b)), out);
}

/* An option left 0 takes its default. */
static void pair(const int64_t *given, int64_t fallback, int64_t *out) {
    for (int i = 0; i < 2; i++)
        out[i] = given && given[i] ? given[i] : fallback;
}

mare_status mare_conv2d(mare_tensor *x, mare_tensor *w, mare_tensor *bias,
                        const mare_conv2d_options *options, mare_tensor **out) {
    mare_context *ctx;
    mare_status status = api_begin("conv2d", 3, (mare_tensor *[]){x, w, bias}, &ctx);
    if (status) return status;
    conv_options o = {.groups = options && options->groups ? options->groups : 1};
    pair(options ? options->stride : NULL, 1, o.stride);
    pair(options ? options->padding : NULL, 0, o.padding);
    pair(options ? options->dilation : NULL, 1, o.dilation);
    return api_result(ctx, op_conv(&ctx->graph, 2, x->node, node_of(w), node_of(bias), &o), out);
}

mare_status mare_pool2d(const char *kind, mare_tensor *x, const mare_pool2d_options *options,
                        mare_tensor **out) {
    mare_context *ctx;
    mare_status status = api_begin("pool2d", 1, &x, &ctx);
    if (status) return status;
    pool_options o = {0};
    node *n = NULL;
    if (!options)
        graph_fail(&ctx->graph, MARE_E_ARGUMENT, "%s_pool2d: no kernel size given", kind);
    else {
        pair(options->kernel, 0, o.kernel);
        for (int i = 0; i < 2; i++)
            o.stride[i] = options->stride[i] ? options->stride[i] : o.kernel[i];
        pair(options->padding, 0, o.padding);
        pair(options->dilation, 1, o.dilation);
        o.ceil_mode = options->ceil_mode;
        o.count_include_pad = !options->exclude_pad;
        if (strcmp(kind, "max") == 0)
            n = op_max_pool(&ctx->graph, x->node, 2, &o);
        else if (strcmp(kind, "avg") == 0)
            n = op_avg_pool(&ctx->graph, x->node, 2, &o);
        else
            graph_fail(&ctx->graph, MARE_E_ARGUMENT, "pool2d: there is no \"%s\"", kind);
    }
    return api_result(ctx, n, out);
}
