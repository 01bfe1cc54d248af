/* Compiled steps: what a trace reads and makes, tied to the tensors that a host knows. */
#include "api/api.h"

#include <stdlib.h>
#include <string.h>

/* What a tensor was like when the step was noted. */
typedef struct form {
    mare_dtype dtype;
    shape shape;
    view view;
    bool requires_grad;
    int64_t lo, hi;
} form;

typedef enum source_kind {
    FROM_IN,     /* an input of the run */
    FROM_TENSOR, /* a tensor that the step knows: a parameter, state */
    FROM_GRAD,   /* the gradient of one */
    FROM_NODE,   /* a constant value */
    FROM_MADE,   /* what the step makes */
    FROM_NOTHING
} source_kind;

typedef struct source {
    source_kind kind;
    int index;           /* FROM_IN, FROM_MADE */
    mare_tensor *tensor; /* retained */
    node *node;          /* retained */
    form form;
} source;

/* What the step leaves in a tensor, or in its gradient. */
typedef struct target {
    mare_tensor *tensor; /* retained; null: the input `in` of the run */
    int in;
    bool grad;
    source from;
} target;

/* A number that a run gives. Among integers it must be what it was: types and ranges of results
 * depend on it. */
typedef struct number {
    int number;
    bool whole;
    double value;
} number;

/* A tensor as it was at the start. */
typedef struct known {
    mare_tensor *tensor;
    node *node, *grad;
} known;

struct mare_step {
    mare_context *ctx; /* null once it was destroyed */
    mare_step *previous, *next;
    trace *trace;
    bool no_grad;
    int n_in;
    form *in;
    VEC(number) numbers;
    VEC(source) inputs; /* of the trace */
    VEC(source) results;
    VEC(target) targets;
    VEC(source) grads; /* tensors whose gradient is there or not, as form.requires_grad says */
    storage **stores;  /* room for the inputs, */
    storage **made;    /* and for what is made */
};

/* A step on its way. */
struct api_noting {
    VEC(known) known;
    VEC(node *) in; /* retained */
    VEC(number) numbers;
    bool reseeded;
};

/* ---- Beginning ---------------------------------------------------------------------------- */

static void noting_free(mare_context *ctx) {
    struct api_noting *n = ctx->noting;
    if (!n) return;
    ctx->noting = NULL;
    for (size_t i = 0; i < n->known.len; i++) {
        node_release(n->known.data[i].node);
        node_release(n->known.data[i].grad);
        mare_tensor_release(n->known.data[i].tensor);
    }
    for (size_t i = 0; i < n->in.len; i++)
        node_release(n->in.data[i]);
    vec_free(&n->known);
    vec_free(&n->in);
    vec_free(&n->numbers);
    free(n);
}

static bool know(struct api_noting *n, mare_tensor *t) {
    if (!vec_push(&n->known, (known){t, t->node, t->node->grad})) return false;
    mare_tensor_retain(t);
    node_retain(t->node);
    node_retain(t->node->grad);
    return true;
}

mare_status mare_step_begin(mare_context *ctx, int n_in, mare_tensor *const *in) {
    if (!ctx || n_in < 0 || (n_in && !in)) return MARE_E_ARGUMENT;
    if (trace_is_on(ctx->planner))
        return error_set(&ctx->error, MARE_E_ARGUMENT, "step: one is being noted already");
    if (ctx->eager || ctx->checks)
        return error_set(&ctx->error, MARE_E_UNSUPPORTED,
                         "step: operations are evaluated one by one (MARE_EAGER, MARE_CHECK)");
    mare_status status = mare_eval(ctx, n_in, in);
    if (status) return status;
    struct api_noting *n = ctx->noting = calloc(1, sizeof *n);
    bool ok = n != NULL;
    for (int i = 0; i < n_in && ok; i++)
        ok = vec_push(&n->in, in[i]->node) && node_retain(in[i]->node);
    for (mare_tensor *t = ctx->tensors; t && ok; t = t->next)
        ok = know(n, t);
    status = ok ? trace_begin(ctx->planner) : error_no_memory(&ctx->error, sizeof *n);
    if (status) noting_free(ctx);
    return status;
}

mare_status mare_step_number(mare_context *ctx, mare_dtype dtype, double value, int number_,
                             mare_tensor **out) {
    if (!ctx || number_ < 0) return MARE_E_ARGUMENT;
    if (!trace_is_on(ctx->planner))
        return error_set(&ctx->error, MARE_E_ARGUMENT,
                         "step: a number of a step is used outside of it");
    mare_status status = mare_scalar(ctx, dtype, value, out);
    if (status) return status;
    if (!vec_push(&ctx->noting->numbers, (number){number_, !dtype_is_float(dtype), value})) {
        mare_tensor_release(*out);
        return error_no_memory(&ctx->error, sizeof(number));
    }
    (*out)->node->number = number_ + 1;
    return MARE_OK;
}

void api_reseeded(mare_context *ctx) {
    if (ctx->noting) ctx->noting->reseeded = true;
}

/* ---- Ending ------------------------------------------------------------------------------- */

static form form_of(const node *n) {
    return (form){n->dtype, n->shape, n->view, n->requires_grad && n->leaf, n->lo, n->hi};
}

static source source_of(const mare_step *s, node *n) {
    const struct api_noting *was = s->ctx->noting;
    source x = {.kind = FROM_MADE, .index = trace_find(s->trace, n), .form = form_of(n)};
    if (x.index >= 0) return x;
    for (size_t i = 0; i < was->in.len; i++)
        if (was->in.data[i] == n) {
            x.kind = FROM_IN;
            x.index = (int)i;
            return x;
        }
    for (size_t i = 0; i < was->known.len; i++) {
        const known *k = &was->known.data[i];
        if (k->node != n && k->grad != n) continue;
        x.kind = k->node == n ? FROM_TENSOR : FROM_GRAD;
        x.tensor = mare_tensor_retain(k->tensor);
        return x;
    }
    x.kind = FROM_NODE;
    x.node = node_retain(n);
    return x;
}

static bool add_target(mare_step *s, const known *k, bool grad, node *value) {
    target t = {.tensor = k->tensor, .in = -1, .grad = grad, .from = {.kind = FROM_NOTHING}};
    const struct api_noting *was = s->ctx->noting;
    for (size_t i = 0; i < was->in.len; i++)
        if (was->in.data[i] == k->node) {
            t.tensor = NULL;
            t.in = (int)i;
        }
    if (value) t.from = source_of(s, value);
    mare_tensor_retain(t.tensor);
    if (vec_push(&s->targets, t)) return true;
    mare_tensor_release(t.tensor);
    return false;
}

/* A parameter that the step reads: whether it has a gradient is a part of what it does. */
static bool add_grad(mare_step *s, const source *x, const known *k) {
    source g = {.kind = x->kind, .index = x->index, .tensor = x->tensor};
    g.form.requires_grad = k->grad != NULL;
    if (!vec_push(&s->grads, g)) return false;
    mare_tensor_retain(g.tensor);
    return true;
}

static const known *known_of(const struct api_noting *n, const source *x) {
    for (size_t i = 0; i < n->known.len; i++)
        if (x->kind == FROM_TENSOR
                ? n->known.data[i].tensor == x->tensor
                : x->kind == FROM_IN && n->known.data[i].node == n->in.data[x->index])
            return &n->known.data[i];
    return NULL;
}

static bool fill(mare_step *s, int n_out, mare_tensor *const *out) {
    const struct api_noting *was = s->ctx->noting;
    node *const *inputs;
    int n = trace_inputs(s->trace, &inputs);
    bool ok = (s->in = calloc((size_t)s->n_in + 1, sizeof *s->in)) != NULL;
    for (int i = 0; i < s->n_in && ok; i++)
        s->in[i] = form_of(was->in.data[i]);
    for (int i = 0; i < n && ok; i++) {
        ok = vec_push(&s->inputs, source_of(s, inputs[i]));
        const source *x = ok ? &s->inputs.data[i] : NULL;
        const known *k = ok && x->form.requires_grad ? known_of(was, x) : NULL;
        if (k) ok = add_grad(s, x, k);
    }
    for (int i = 0; i < n_out && ok; i++)
        ok = vec_push(&s->results, source_of(s, out[i]->node));
    for (size_t i = 0; i < was->known.len && ok; i++) {
        const known *k = &was->known.data[i];
        node *now = k->tensor->node;
        if (now != k->node) ok = add_target(s, k, false, now);
        if (ok && now->grad != k->grad) ok = add_target(s, k, true, now->grad);
    }
    for (size_t i = 0; i < was->numbers.len && ok; i++)
        ok = vec_push(&s->numbers, was->numbers.data[i]);
    s->stores = calloc((size_t)n + 1, sizeof *s->stores);
    trace_seal(s->trace);
    s->made = calloc((size_t)trace_made(s->trace) + 1, sizeof *s->made);
    return ok && s->stores && s->made;
}

/* All that the step leaves is evaluated: results, tensors that it assigned, gradients. */
static mare_status eval_left(mare_context *ctx, int n_out, mare_tensor *const *out) {
    const struct api_noting *was = ctx->noting;
    VEC(node *) nodes = {0};
    bool ok = true;
    for (int i = 0; i < n_out && ok; i++)
        ok = vec_push(&nodes, out[i]->node);
    for (size_t i = 0; i < was->known.len && ok; i++) {
        const known *k = &was->known.data[i];
        node *now = k->tensor->node, *grad = now->grad;
        if (now != k->node) ok = vec_push(&nodes, now);
        if (grad && grad != k->grad && ok) ok = vec_push(&nodes, grad);
    }
    mare_status status = ok ? api_eval(ctx, (int)nodes.len, nodes.data)
                            : error_no_memory(&ctx->error, sizeof(node *));
    vec_free(&nodes);
    return status;
}

/* A new handle for plain data. */
static mare_status new_result(mare_context *ctx, storage *store, const form *f, mare_tensor **out) {
    graph_scope_begin(&ctx->graph);
    store->refs++;
    node *n = node_leaf(&ctx->graph, store, f->dtype, &f->shape, &f->view);
    if (n) {
        n->lo = f->lo;
        n->hi = f->hi;
    }
    return api_result(ctx, n, out);
}

static void release_all(mare_tensor **list, int n) {
    for (int i = 0; i < n; i++) {
        mare_tensor_release(list[i]);
        list[i] = NULL;
    }
}

static mare_step *step_new(mare_context *ctx) {
    mare_step *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    s->ctx = ctx;
    s->no_grad = ctx->graph.no_grad > 0;
    s->n_in = (int)ctx->noting->in.len;
    s->next = ctx->steps;
    if (s->next) s->next->previous = s;
    return ctx->steps = s;
}

mare_status mare_step_end(mare_context *ctx, int n_out, mare_tensor *const *out,
                          mare_tensor **results, mare_step **step) {
    if (!ctx) return MARE_E_ARGUMENT;
    if (!ctx->noting) return error_set(&ctx->error, MARE_E_ARGUMENT, "step: none is being noted");
    mare_status status = step ? eval_left(ctx, n_out, out) : MARE_OK;
    if (step && !status && ctx->noting->reseeded)
        status = error_set(&ctx->error, MARE_E_ARGUMENT,
                           "step: the random stream was set inside of it; set it outside");
    trace *made = NULL;
    mare_status ended = trace_end(ctx->planner, step && !status ? &made : NULL);
    if (!status) status = ended;
    mare_step *s = NULL;
    if (made) {
        s = step_new(ctx);
        if (s) s->trace = made;
        if (!s) trace_free(made);
        if (!s || !fill(s, n_out, out)) status = error_no_memory(&ctx->error, sizeof *s);
    }
    for (int i = 0; i < n_out && s && !status; i++) {
        results[i] = NULL;
        form f = form_of(out[i]->node);
        status = new_result(ctx, out[i]->node->store, &f, &results[i]);
        if (status) release_all(results, i);
    }
    noting_free(ctx);
    if (status) mare_step_release(s);
    if (step) *step = status ? NULL : s;
    return status;
}

static void free_sources(source *list, size_t n) {
    for (size_t i = 0; i < n; i++) {
        mare_tensor_release(list[i].tensor);
        node_release(list[i].node);
    }
}

void api_forget_step(mare_step *s) {
    if (!s->ctx) return;
    if (s->previous)
        s->previous->next = s->next;
    else
        s->ctx->steps = s->next;
    if (s->next) s->next->previous = s->previous;
    s->ctx = NULL;
    trace_free(s->trace);
    free_sources(s->inputs.data, s->inputs.len);
    free_sources(s->results.data, s->results.len);
    free_sources(s->grads.data, s->grads.len);
    for (size_t i = 0; i < s->targets.len; i++) {
        mare_tensor_release(s->targets.data[i].tensor);
        free_sources(&s->targets.data[i].from, 1);
    }
    vec_free(&s->numbers);
    vec_free(&s->inputs);
    vec_free(&s->results);
    vec_free(&s->grads);
    vec_free(&s->targets);
    free(s->in);
    free(s->stores);
    free(s->made);
}

void mare_step_release(mare_step *s) {
    if (!s) return;
    api_forget_step(s);
    free(s);
}

/* ---- Running ------------------------------------------------------------------------------ */

static bool fits(const node *n, const form *f) {
    return n && n->store && n->dtype == f->dtype && shape_equal(&n->shape, &f->shape) &&
           (n->requires_grad && n->leaf) == f->requires_grad && n->view.offset == f->view.offset &&
           memcmp(n->view.stride, f->view.stride, (size_t)n->shape.rank * sizeof *n->view.stride) ==
               0 &&
           (dtype_is_float(n->dtype) || f->lo > f->hi ||
            (n->lo >= f->lo && n->hi <= f->hi && n->lo <= n->hi));
}

/* The node that a source names now; null when there is none. */
static node *node_now(const source *x, mare_tensor *const *in) {
    switch (x->kind) {
    case FROM_IN:
        return in[x->index]->node;
    case FROM_TENSOR:
        return x->tensor->node;
    case FROM_GRAD:
        return x->tensor->node->grad;
    default:
        return x->node;
    }
}

static bool number_fits(const number *x, const double *numbers, int n) {
    if (x->number >= n) return false;
    return !x->whole || numbers[x->number] == x->value;
}

static bool all_fit(const mare_step *s, mare_tensor *const *in, const double *numbers, int n) {
    if (s->no_grad != (s->ctx->graph.no_grad > 0) || !trace_fits(s->trace)) return false;
    for (size_t i = 0; i < s->numbers.len; i++)
        if (!number_fits(&s->numbers.data[i], numbers, n)) return false;
    for (int i = 0; i < s->n_in; i++)
        if (!fits(in[i]->node, &s->in[i])) return false;
    for (size_t i = 0; i < s->inputs.len; i++) {
        const source *x = &s->inputs.data[i];
        const node *now = node_now(x, in);
        if (!fits(now, &x->form)) return false;
        s->stores[i] = now->store;
    }
    for (size_t i = 0; i < s->grads.len; i++)
        if ((node_now(&s->grads.data[i], in)->grad != NULL) != s->grads.data[i].form.requires_grad)
            return false;
    return true;
}

/* Evaluates inputs and known tensors that wait. */
static mare_status eval_pending(const mare_step *s, mare_tensor *const *in) {
    mare_context *ctx = s->ctx;
    VEC(node *) nodes = {0};
    bool ok = true;
    for (int i = 0; i < s->n_in && ok; i++)
        if (!in[i]->node->store) ok = vec_push(&nodes, in[i]->node);
    for (size_t i = 0; i < s->inputs.len && ok; i++) {
        node *n = node_now(&s->inputs.data[i], in);
        if (n && !n->store) ok = vec_push(&nodes, n);
    }
    mare_status status = MARE_OK;
    if (!ok) status = error_no_memory(&ctx->error, sizeof(node *));
    if (!status && (nodes.len || ctx->waiting.len))
        status = api_eval(ctx, (int)nodes.len, nodes.data);
    vec_free(&nodes);
    return status;
}

/* The storage that a source stands for after a run; a new reference. */
static storage *store_of(const mare_step *s, const source *x, mare_tensor *const *in) {
    storage *store = x->kind == FROM_MADE ? s->made[x->index] : node_now(x, in)->store;
    store->refs++;
    return store;
}

/* t's value, or gradient, becomes `store`, whose reference is taken over; null: it has none. */
static mare_status put(mare_tensor *t, bool grad, storage *store, const form *f) {
    node *n = t->node;
    if (!grad && n->refs == 1 && n->leaf && n->n_in == 0 && n->store) {
        /* Nobody else saw the node: it stays, with another value. */
        storage_release(n->store);
        n->store = store;
        n->view = f->view;
        n->lo = f->lo;
        n->hi = f->hi;
        return MARE_OK;
    }
    graph_scope_begin(&t->ctx->graph);
    node *leaf = store ? node_leaf(n->g, store, f->dtype, &f->shape, &f->view) : NULL;
    bool failed = store && !leaf;
    if (leaf) {
        leaf->lo = f->lo;
        leaf->hi = f->hi;
        leaf->requires_grad = !grad && f->requires_grad;
    }
    if (grad && !failed) {
        node *old = n->grad;
        n->grad = node_retain(leaf);
        node_release(old);
    } else if (!failed) {
        api_rebind(t, leaf);
    }
    graph_scope_end(&t->ctx->graph);
    return failed ? t->ctx->error.code : MARE_OK;
}

static mare_status put_all(mare_step *s, mare_tensor *const *in) {
    size_t n = s->targets.len;
    storage **stores = calloc(n + 1, sizeof *stores);
    if (!stores) return error_no_memory(&s->ctx->error, n * sizeof *stores);
    mare_status status = MARE_OK;
    for (size_t i = 0; i < n; i++) /* before the first is put: they may change places */
        if (s->targets.data[i].from.kind != FROM_NOTHING)
            stores[i] = store_of(s, &s->targets.data[i].from, in);
    for (size_t i = 0; i < n; i++) {
        const target *t = &s->targets.data[i];
        if (status)
            storage_release(stores[i]);
        else
            status = put(t->tensor ? t->tensor : in[t->in], t->grad, stores[i], &t->from.form);
    }
    free(stores);
    return status;
}

mare_status mare_step_run(mare_step *s, int n_in, mare_tensor *const *in, int n_numbers,
                          const double *numbers, mare_tensor **results, bool *ran) {
    if (!s || !s->ctx || !ran || n_in < 0 || (n_in && !in)) return MARE_E_ARGUMENT;
    mare_context *ctx = s->ctx;
    *ran = false;
    ctx->error = (mare_error){0};
    if (trace_is_on(ctx->planner))
        return error_set(&ctx->error, MARE_E_ARGUMENT, "step: run inside of another one");
    if (n_in != s->n_in) return MARE_OK;
    for (int i = 0; i < n_in; i++)
        if (!in[i] || in[i]->ctx != ctx)
            return error_set(&ctx->error, MARE_E_ARGUMENT, "step: input %d is not of this context",
                             i + 1);
    mare_status status = eval_pending(s, in);
    if (status || !all_fit(s, in, numbers, n_numbers)) return status;
    status = trace_run(s->trace, s->stores, numbers, s->made);
    if (status) return status;
    int n = (int)s->results.len, got = 0;
    for (; got < n && !status; got++) {
        const source *x = &s->results.data[got];
        results[got] = NULL;
        storage *store = store_of(s, x, in);
        status = new_result(ctx, store, &x->form, &results[got]);
        storage_release(store);
    }
    if (!status) status = put_all(s, in);
    for (int i = 0; i < trace_made(s->trace); i++)
        storage_release(s->made[i]);
    if (status) release_all(results, got);
    *ran = !status;
    return status;
}
