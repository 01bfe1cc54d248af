/* Tensor handles: making, reading, evaluating, differentiating. */
#include "api/api.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 10000 }; /* of a chain of nodes not evaluated; deeper ones are evaluated */

/* ---- Calls -------------------------------------------------------------------------------- */

mare_status api_begin(const char *call, int n, mare_tensor *const *in, mare_context **ctx) {
    *ctx = NULL;
    if (n < 1 || !in || !in[0] || !in[0]->ctx) return MARE_E_ARGUMENT;
    mare_context *c = in[0]->ctx;
    c->error = (mare_error){0};
    for (int i = 1; i < n; i++)
        if (in[i] && in[i]->ctx != c)
            return error_set(&c->error, MARE_E_ARGUMENT, "%s: input %d belongs to another context",
                             call, i + 1);
    graph_scope_begin(&c->graph);
    *ctx = c;
    return MARE_OK;
}

/* MARE_EAGER: evaluates n and refuses values that are not finite. */
static mare_status check_eagerly(mare_context *ctx, node *n) {
    mare_status status = plan_eval(ctx->planner, &n, 1);
    int64_t count = shape_count(&n->shape);
    if (status || !dtype_is_float(n->dtype) || !count) return status;
    size_t bytes = (size_t)count * mare_dtype_size(n->dtype);
    void *data = malloc(bytes);
    double *values = malloc((size_t)count * sizeof *values);
    if (!data || !values) status = error_no_memory(&ctx->error, bytes);
    if (!status) status = plan_read(ctx->planner, n, data, bytes);
    if (!status) {
        dtype_unpack(n->dtype, data, values, count);
        for (int64_t i = 0; i < count && !status; i++)
            if (!isfinite(values[i]))
                status = error_set(&ctx->error, MARE_E_RANGE, "%s: element %lld is %s (from %s:%d)",
                                   n->op->name, (long long)i,
                                   isnan(values[i]) ? "NaN"
                                   : values[i] > 0  ? "inf"
                                                    : "-inf",
                                   n->file ? n->file : "?", n->line);
    }
    free(data);
    free(values);
    return status;
}

static void bind(mare_tensor *t, node *n) {
    t->node = node_retain(n);
    n->handles++;
}

/* A gradient's graph leads back to its leaf. The circle is cut here, when nobody is left to ask. */
static void unbind(node *n) {
    if (--n->handles == 0) {
        node *grad = n->grad;
        n->grad = NULL;
        node_release(grad);
    }
    node_release(n);
}

/* The assignment that waited was done. */
static void settle(mare_tensor *t) {
    node_release(t->before);
    t->before = NULL;
    t->waits = false;
}

/* Moved, not shared: `from`, which its own gradient may reach, must not keep it. */
void api_rebind(mare_tensor *t, node *to) {
    node *from = t->node;
    to->grad = from->grad;
    from->grad = NULL;
    to->hooks = from->hooks;
    memset(&from->hooks, 0, sizeof from->hooks);
    bind(t, to);
    unbind(from);
}

/* The evaluation that t waited for failed: it has the value again that it had before. */
static void undo(mare_tensor *t) {
    if (t->before) api_rebind(t, t->before);
    settle(t);
}

void api_forget(mare_tensor *t) {
    settle(t);
    unbind(t->node);
    t->node = NULL;
    t->ctx = NULL;
}

mare_status api_result(mare_context *ctx, node *n, mare_tensor **out) {
    mare_status status = MARE_OK;
    mare_tensor *t = NULL;
    if (out) *out = NULL;
    if (!n)
        status = ctx->error.code ? ctx->error.code : error_no_memory(&ctx->error, 0);
    else if (!out)
        status = error_set(&ctx->error, MARE_E_ARGUMENT, "no place for the result");
    else if (!n->store && n->depth > MAX_DEPTH)
        status = plan_eval(ctx->planner, &n, 1);
    if (!status && ctx->eager) status = check_eagerly(ctx, n);
    if (!status && !(t = calloc(1, sizeof *t))) status = error_no_memory(&ctx->error, sizeof *t);
    if (!status) {
        *t = (mare_tensor){.refs = 1, .ctx = ctx, .next = ctx->tensors};
        bind(t, n);
        if (t->next) t->next->previous = t;
        ctx->tensors = t;
        *out = t;
    }
    graph_scope_end(&ctx->graph);
    return status;
}

mare_status api_results(mare_context *ctx, node *const *nodes, int n, mare_tensor **out) {
    mare_status status = MARE_OK;
    int made = 0;
    for (; made < n && !status; made++) {
        graph_scope_begin(&ctx->graph); /* api_result() closes one for each handle */
        status = api_result(ctx, nodes[made], &out[made]);
    }
    if (status)
        while (made-- > 0) {
            mare_tensor_release(out[made]);
            out[made] = NULL;
        }
    return status;
}

bool api_shape(mare_context *ctx, const char *call, int rank, const int64_t *dims, bool infer_one,
               shape *out) {
    *out = (shape){.rank = rank};
    if (rank < 0 || rank > MAX_DIMS || (rank && !dims))
        return graph_fail(&ctx->graph, MARE_E_ARGUMENT, "%s: %d dimensions; 0 to %d are possible",
                          call, rank, MAX_DIMS) != NULL;
    int64_t count = 1;
    for (int i = 0; i < rank; i++) {
        out->dim[i] = dims[i];
        if (infer_one && dims[i] == -1) continue;
        if (dims[i] < 0 || dims[i] > INT32_MAX)
            return graph_fail(&ctx->graph, MARE_E_SHAPE, "%s: dimension %d is %lld", call, i + 1,
                              (long long)dims[i]) != NULL;
        if (dims[i] && count > INT64_MAX / 8 / dims[i])
            return graph_fail(&ctx->graph, MARE_E_SHAPE, "%s: the shape has too many elements",
                              call) != NULL;
        count *= dims[i];
    }
    return true;
}

/* ---- Handles ------------------------------------------------------------------------------ */

mare_tensor *mare_tensor_retain(mare_tensor *t) {
    if (t) t->refs++;
    return t;
}

void mare_tensor_release(mare_tensor *t) {
    if (!t || --t->refs > 0) return;
    mare_context *ctx = t->ctx;
    if (ctx) {
        if (t->waits)
            for (size_t i = 0; i < ctx->waiting.len; i++)
                if (ctx->waiting.data[i] == t) {
                    ctx->waiting.data[i] = ctx->waiting.data[--ctx->waiting.len];
                    break;
                }
        if (t->previous)
            t->previous->next = t->next;
        else
            ctx->tensors = t->next;
        if (t->next) t->next->previous = t->previous;
        settle(t);
        unbind(t->node);
    }
    free(t);
}

mare_context *mare_tensor_context(const mare_tensor *t) {
    return t->ctx;
}

mare_dtype mare_tensor_dtype(const mare_tensor *t) {
    return t->node ? t->node->dtype : MARE_F32;
}

int mare_tensor_rank(const mare_tensor *t) {
    return t->node ? t->node->shape.rank : 0;
}

const int64_t *mare_tensor_dims(const mare_tensor *t) {
    static const int64_t none[MAX_DIMS];
    return t->node ? t->node->shape.dim : none;
}

int64_t mare_tensor_count(const mare_tensor *t) {
    return t->node ? shape_count(&t->node->shape) : 0;
}

bool mare_tensor_evaluated(const mare_tensor *t) {
    return t->node && t->node->store;
}

/* ---- Values ------------------------------------------------------------------------------- */

static mare_status begin_new(mare_context *ctx) {
    if (!ctx) return MARE_E_ARGUMENT;
    ctx->error = (mare_error){0};
    graph_scope_begin(&ctx->graph);
    return MARE_OK;
}

mare_status mare_tensor_from(mare_context *ctx, mare_dtype dtype, int rank, const int64_t *dims,
                             const void *data, mare_tensor **out) {
    mare_status status = begin_new(ctx);
    if (status) return status;
    shape s;
    node *n = NULL;
    if (!mare_dtype_size(dtype))
        graph_fail(&ctx->graph, MARE_E_DTYPE, "tensor: %d is no dtype", (int)dtype);
    else if (api_shape(ctx, "tensor", rank, dims, false, &s)) {
        if (!data && shape_count(&s))
            graph_fail(&ctx->graph, MARE_E_ARGUMENT, "tensor: no data");
        else
            n = plan_upload(ctx->planner, dtype, &s, data);
    }
    return api_result(ctx, n, out);
}

mare_status mare_scalar(mare_context *ctx, mare_dtype dtype, double value, mare_tensor **out) {
    mare_status status = begin_new(ctx);
    if (status) return status;
    node *n = mare_dtype_size(dtype)
                  ? node_const(&ctx->graph, dtype, value)
                  : graph_fail(&ctx->graph, MARE_E_DTYPE, "scalar: %d is no dtype", (int)dtype);
    return api_result(ctx, n, out);
}

mare_status mare_full(mare_context *ctx, mare_dtype dtype, int rank, const int64_t *dims,
                      double value, mare_tensor **out) {
    mare_status status = begin_new(ctx);
    if (status) return status;
    shape s;
    node *n = NULL;
    if (api_shape(ctx, "full", rank, dims, false, &s)) n = op_full(&ctx->graph, dtype, &s, value);
    return api_result(ctx, n, out);
}

mare_status mare_arange(mare_context *ctx, mare_dtype dtype, double start, double step, int64_t n,
                        mare_tensor **out) {
    mare_status status = begin_new(ctx);
    if (status) return status;
    return api_result(ctx, op_arange(&ctx->graph, dtype, start, step, n), out);
}

static mare_status draw(mare_context *ctx, const char *call,
                        node *(*build)(graph *, const shape *, double, double), int rank,
                        const int64_t *dims, double a, double b, mare_tensor **out) {
    mare_status status = begin_new(ctx);
    if (status) return status;
    shape s;
    node *n = NULL;
    if (api_shape(ctx, call, rank, dims, false, &s)) n = build(&ctx->graph, &s, a, b);
    return api_result(ctx, n, out);
}

mare_status mare_uniform(mare_context *ctx, int rank, const int64_t *dims, double lo, double hi,
                         mare_tensor **out) {
    return draw(ctx, "uniform", op_uniform, rank, dims, lo, hi, out);
}

mare_status mare_normal(mare_context *ctx, int rank, const int64_t *dims, double mean, double std,
                        mare_tensor **out) {
    return draw(ctx, "normal", op_normal, rank, dims, mean, std, out);
}

mare_status mare_randperm(mare_context *ctx, int64_t n, mare_tensor **out) {
    mare_status status = begin_new(ctx);
    if (status) return status;
    return api_result(ctx, op_randperm(&ctx->graph, n), out);
}

mare_status api_wait_for(mare_tensor *t) {
    if (t->waits || t->node->store) return MARE_OK;
    if (!vec_push(&t->ctx->waiting, t)) return error_no_memory(&t->ctx->error, sizeof t);
    t->waits = true;
    return MARE_OK;
}

mare_status api_eval(mare_context *ctx, int n, node *const *nodes) {
    size_t room = (size_t)n + ctx->waiting.len + 1;
    node **roots = calloc(2 * room, sizeof *roots), **old = roots + room;
    int count = 0;
    for (int i = 0; i < n && roots; i++)
        if (!nodes[i]->store) roots[count++] = nodes[i];
    for (size_t i = 0; i < ctx->waiting.len && roots; i++) {
        const mare_tensor *t = ctx->waiting.data[i];
        if (t->node->store) continue;
        old[count] = t->before;
        roots[count++] = t->node;
    }
    mare_status status =
        roots ? plan_update(ctx->planner, &(plan_wanted){.roots = roots, .old = old, .n = count})
              : error_no_memory(&ctx->error, room * sizeof *roots);
    free(roots);
    for (size_t i = 0; i < ctx->waiting.len; i++)
        (status ? undo : settle)(ctx->waiting.data[i]);
    ctx->waiting.len = 0;
    return status;
}

mare_status mare_eval(mare_context *ctx, int n, mare_tensor *const *tensors) {
    if (!ctx || n < 0 || (n && !tensors)) return MARE_E_ARGUMENT;
    ctx->error = (mare_error){0};
    node **nodes = malloc(((size_t)n + 1) * sizeof *nodes);
    if (!nodes) return error_no_memory(&ctx->error, (size_t)n * sizeof *nodes);
    mare_status status = MARE_OK;
    for (int i = 0; i < n && !status; i++) {
        if (!tensors[i] || tensors[i]->ctx != ctx)
            status = error_set(&ctx->error, MARE_E_ARGUMENT,
                               "eval: tensor %d is not of this context", i + 1);
        else
            nodes[i] = tensors[i]->node;
    }
    if (!status) status = api_eval(ctx, n, nodes);
    free(nodes);
    return status;
}

mare_status mare_wait(mare_context *ctx) {
    if (!ctx) return MARE_E_ARGUMENT;
    ctx->error = (mare_error){0};
    return dev_wait(ctx->device);
}

mare_status mare_tensor_read(mare_tensor *t, void *data, size_t bytes) {
    mare_context *ctx;
    mare_status status = api_begin("read", 1, &t, &ctx);
    if (status) return status;
    if (!t->node->store) status = api_eval(ctx, 1, &t->node);
    if (!status) status = plan_read(ctx->planner, t->node, data, bytes);
    graph_scope_end(&ctx->graph);
    return status;
}

mare_status mare_tensor_doubles(mare_tensor *t, double *out, int64_t n) {
    if (!t || !t->ctx) return MARE_E_ARGUMENT;
    size_t bytes = (size_t)mare_tensor_count(t) * mare_dtype_size(mare_tensor_dtype(t));
    if (n != mare_tensor_count(t))
        return error_set(&t->ctx->error, MARE_E_ARGUMENT, "read: room for %lld of %lld elements",
                         (long long)n, (long long)mare_tensor_count(t));
    void *data = malloc(bytes + 1);
    if (!data) return error_no_memory(&t->ctx->error, bytes);
    mare_status status = mare_tensor_read(t, data, bytes);
    if (!status) dtype_unpack(t->node->dtype, data, out, n);
    free(data);
    return status;
}

mare_status mare_tensor_item(mare_tensor *t, double *out) {
    char dims[SHAPE_TEXT];
    if (!t || !t->ctx) return MARE_E_ARGUMENT;
    if (mare_tensor_count(t) != 1)
        return error_set(&t->ctx->error, MARE_E_SHAPE, "item: %s has %lld elements, not 1",
                         shape_text(&t->node->shape, dims), (long long)mare_tensor_count(t));
    return mare_tensor_doubles(t, out, 1);
}

/* ---- Gradients ---------------------------------------------------------------------------- */

/* A node of t's own over its value, so that what is set on it concerns no other handle: being a
 * leaf is a matter of this handle alone. */
static node *own_leaf(mare_context *ctx, node *value, bool requires_grad) {
    node *n = node_new(&ctx->graph, op_find("detach"), &value, 1, NULL);
    if (!n) return NULL;
    n->leaf = true;
    n->requires_grad = requires_grad;
    return n;
}

mare_status mare_set_requires_grad(mare_tensor *t, bool on) {
    mare_context *ctx;
    mare_status status = api_begin("requires_grad", 1, &t, &ctx);
    if (status) return status;
    node *n = t->node;
    if (on && !dtype_is_float(n->dtype))
        status =
            error_set(&ctx->error, MARE_E_DTYPE, "requires_grad: a tensor of %s has no gradient",
                      mare_dtype_name(n->dtype));
    else if (!on && n->requires_grad && !n->leaf)
        status = error_set(&ctx->error, MARE_E_ARGUMENT,
                           "requires_grad: %s is computed from tensors that require a gradient; "
                           "detach it instead",
                           n->op->name);
    else if (on != n->requires_grad) {
        if (n->handles > 1) {
            node *own = own_leaf(ctx, n, on);
            if (!own)
                status = ctx->error.code;
            else {
                bind(t, own);
                unbind(n);
            }
        } else {
            n->requires_grad = on;
            n->leaf |= on;
        }
    }
    graph_scope_end(&ctx->graph);
    return status;
}

bool mare_requires_grad(const mare_tensor *t) {
    return t->node && t->node->requires_grad;
}

mare_status mare_backward(mare_tensor *y, mare_tensor *grad, bool retain_graph) {
    mare_context *ctx;
    mare_status status = api_begin("backward", 2, (mare_tensor *[]){y, grad}, &ctx);
    if (status) return status;
    status = graph_backward(&ctx->graph, y->node, grad ? grad->node : NULL, retain_graph);
    if (!status) status = api_wait_for(y);
    graph_scope_end(&ctx->graph);
    return status;
}

mare_status mare_grad(mare_tensor *t, mare_tensor **out) {
    mare_context *ctx;
    mare_status status = api_begin("grad", 1, &t, &ctx);
    if (status) return status;
    if (t->node->grad) return api_result(ctx, t->node->grad, out);
    *out = NULL;
    graph_scope_end(&ctx->graph);
    return MARE_OK;
}

/* Refuses a value that cannot take the place of, or be the gradient of, t. */
static mare_status check_like(const char *call, const mare_tensor *t, const mare_tensor *value) {
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    if (shape_equal(&t->node->shape, &value->node->shape) && t->node->dtype == value->node->dtype)
        return MARE_OK;
    return error_set(&t->ctx->error, MARE_E_SHAPE, "%s: %s %s given for %s %s", call,
                     mare_dtype_name(value->node->dtype), shape_text(&value->node->shape, a),
                     mare_dtype_name(t->node->dtype), shape_text(&t->node->shape, b));
}

mare_status mare_set_grad(mare_tensor *t, mare_tensor *grad) {
    mare_context *ctx;
    mare_status status = api_begin("grad", 2, (mare_tensor *[]){t, grad}, &ctx);
    if (status) return status;
    if (grad) status = check_like("grad", t, grad);
    if (!status) {
        node *old = t->node->grad;
        t->node->grad = grad ? node_retain(grad->node) : NULL;
        node_release(old);
    }
    graph_scope_end(&ctx->graph);
    return status;
}

mare_status mare_gradients(mare_tensor *y, mare_tensor *grad, int n, mare_tensor *const *xs,
                           mare_tensor **out) {
    mare_context *ctx;
    mare_status status = api_begin("gradients", 2, (mare_tensor *[]){y, grad}, &ctx);
    if (status) return status;
    node **x = calloc(2 * (size_t)(n > 0 ? n : 0) + 1, sizeof *x), **gx = x + n;
    if (!x) status = error_no_memory(&ctx->error, (size_t)n * sizeof *x);
    for (int i = 0; i < n && !status; i++) {
        if (!xs[i] || xs[i]->ctx != ctx)
            status = error_set(&ctx->error, MARE_E_ARGUMENT,
                               "gradients: input %d is not of this context", i + 1);
        else
            x[i] = xs[i]->node;
    }
    if (!status) status = graph_grad(&ctx->graph, y->node, grad ? grad->node : NULL, x, n, gx);
    for (int i = 0; i < n && !status; i++)
        if (!gx[i]) gx[i] = op_full(&ctx->graph, x[i]->dtype, &x[i]->shape, 0);
    if (!status) status = api_results(ctx, gx, n, out);
    free(x);
    graph_scope_end(&ctx->graph);
    return status;
}

void mare_no_grad(mare_context *ctx, bool off) {
    if (ctx) ctx->graph.no_grad += off ? 1 : -1;
}

mare_status mare_assign(mare_tensor *t, mare_tensor *value) {
    mare_context *ctx;
    mare_status status = api_begin("assign", 2, (mare_tensor *[]){t, value}, &ctx);
    if (status) return status;
    if (!value) status = error_set(&ctx->error, MARE_E_ARGUMENT, "assign: no value given");
    if (!status) status = check_like("assign", t, value);
    if (!status) {
        node *old = t->node, *n = own_leaf(ctx, value->node, t->node->requires_grad);
        if (!n) {
            status = ctx->error.code;
        } else {
            n->lo = value->node->lo;
            n->hi = value->node->hi;
            if (!t->before) t->before = node_retain(old);
            api_rebind(t, n);
            status = api_wait_for(t);
            if (status) undo(t);
        }
    }
    graph_scope_end(&ctx->graph);
    return status;
}

mare_status mare_rebind(mare_tensor *t, mare_tensor *value) {
    mare_context *ctx;
    mare_status status = api_begin("assignment", 2, (mare_tensor *[]){t, value}, &ctx);
    if (status) return status;
    bool parameter = t->node->leaf && t->node->requires_grad;
    if (!value)
        status = error_set(&ctx->error, MARE_E_ARGUMENT, "assignment: no value given");
    else if (parameter && !ctx->graph.no_grad)
        status = error_set(&ctx->error, MARE_E_ARGUMENT,
                           "assignment: a leaf that requires a gradient is written under no_grad");
    else
        status = check_like("assignment", t, value);
    if (!status && !parameter) {
        node *old = t->node;
        bind(t, value->node);
        unbind(old);
    }
    graph_scope_end(&ctx->graph);
    return status || !parameter ? status : mare_assign(t, value);
}
