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
    VEC(int) donors;   /* inputs that targets replace, and that nothing else of the step keeps */
    storage **stores;  /* room for the inputs, then for what targets get, */
    bool *donated;     /* which of them go with the run, */
    storage **made;    /* what is made, */
    node **nodes;      /* and the new nodes of targets */
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

static bool same_source(const source *a, const source *b) {
    return a->kind == b->kind &&
           (a->kind == FROM_TENSOR ? a->tensor == b->tensor
                                   : a->kind == FROM_IN && a->index == b->index);
}

/* Does a run leave the value of the source nowhere, because its tensor gets another one? */
static bool is_replaced(const mare_step *s, const source *x) {
    bool replaced = false;
    for (size_t i = 0; i < s->results.len; i++)
        if (same_source(&s->results.data[i], x)) return false;
    for (size_t i = 0; i < s->targets.len; i++) {
        const target *t = &s->targets.data[i];
        if (same_source(&t->from, x)) return false;
        if (t->grad) continue;
        replaced |= t->tensor ? x->kind == FROM_TENSOR && t->tensor == x->tensor
                              : x->kind == FROM_IN && t->in == x->index;
    }
    return replaced;
}

static bool add_donors(mare_step *s) {
    const int *donors;
    bool ok = true;
    for (int i = 0, n = trace_donors(s->trace, &donors); i < n && ok; i++)
        if (is_replaced(s, &s->inputs.data[donors[i]])) ok = vec_push(&s->donors, donors[i]);
    return ok;
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
    s->stores = calloc((size_t)n + s->targets.len + 1, sizeof *s->stores);
    s->donated = calloc((size_t)n + 1, sizeof *s->donated);
    s->nodes = calloc(s->targets.len + 1, sizeof *s->nodes);
    trace_seal(s->trace);
    s->made = calloc((size_t)trace_made(s->trace) + 1, sizeof *s->made);
    return ok && s->stores && s->donated && s->nodes && s->made && add_donors(s);
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

/* A new handle for plain data; store: null, or that it takes a reference of. */
static mare_status new_result(mare_context *ctx, storage *store, const form *f, mare_tensor **out) {
    graph_scope_begin(&ctx->graph);
    if (store) store->refs++;
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
    vec_free(&s->donors);
    free(s->in);
    free(s->stores);
    free(s->donated);
    free(s->made);
    free(s->nodes);
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

/* Which inputs the run is the last to need: nobody but the tensor, which gets another value, holds
 * them. */
static void find_donated(mare_step *s, mare_tensor *const *in) {
    for (size_t i = 0; i < s->donors.len; i++) {
        int d = s->donors.data[i];
        const node *n = node_now(&s->inputs.data[d], in);
        bool alone = n->refs == 1 && n->leaf && n->n_in == 0 && n->store->refs == 1;
        for (size_t k = 0; k < s->inputs.len && alone; k++) /* an input may be a tensor we know */
            if ((int)k != d && s->inputs.data[k].kind == FROM_IN) alone = s->stores[k] != n->store;
        s->donated[d] = alone;
    }
}

/* The storage that a source stands for after a run; a new reference. */
static storage *store_of(const mare_step *s, const source *x, mare_tensor *const *in) {
    storage *store = x->kind == FROM_MADE ? s->made[x->index] : node_now(x, in)->store;
    store->refs++;
    return store;
}

static mare_tensor *tensor_of(const target *t, mare_tensor *const *in) {
    return t->tensor ? t->tensor : in[t->in];
}

/* Nobody else saw the node of t's tensor: it stays, with another value. */
static bool node_stays(const target *t, mare_tensor *const *in) {
    const node *n = tensor_of(t, in)->node;
    return !t->grad && n->refs == 1 && n->leaf && n->n_in == 0 && n->store;
}

static void release_nodes(mare_step *s) {
    for (size_t i = 0; i < s->targets.len; i++) {
        node_release(s->nodes[i]);
        s->nodes[i] = NULL;
    }
}

/* All that is made for a run, before it runs: afterwards nothing may fail. */
static mare_status prepare(mare_step *s, mare_tensor *const *in, mare_tensor **results) {
    mare_context *ctx = s->ctx;
    mare_status status = MARE_OK;
    int n = (int)s->results.len, got = 0;
    for (; got < n && !status; got++) {
        results[got] = NULL;
        status = new_result(ctx, NULL, &s->results.data[got].form, &results[got]);
    }
    graph_scope_begin(&ctx->graph);
    for (size_t i = 0; i < s->targets.len && !status; i++) {
        const target *t = &s->targets.data[i];
        const form *f = &t->from.form;
        if (t->from.kind == FROM_NOTHING || node_stays(t, in)) continue;
        node *leaf = node_leaf(&ctx->graph, NULL, f->dtype, &f->shape, &f->view);
        if (!leaf) {
            status = ctx->error.code;
            continue;
        }
        leaf->lo = f->lo;
        leaf->hi = f->hi;
        leaf->requires_grad = !t->grad && f->requires_grad;
        s->nodes[i] = node_retain(leaf);
    }
    graph_scope_end(&ctx->graph);
    if (!status) return MARE_OK;
    release_nodes(s);
    release_all(results, got);
    return status;
}

/* The tensor's value, or gradient, becomes `store`, whose reference is taken over; null: it has
 * none. leaf: its new node, or null: the old one stays. */
static void put(mare_tensor *t, const target *x, storage *store, node *leaf) {
    node *n = t->node;
    const form *f = &x->from.form;
    if (leaf) leaf->store = store;
    if (x->grad) {
        node *old = n->grad;
        n->grad = node_retain(leaf);
        node_release(old);
    } else if (leaf) {
        api_rebind(t, leaf);
    } else {
        storage_release(n->store);
        n->store = store;
        n->view = f->view;
        n->lo = f->lo;
        n->hi = f->hi;
    }
}

static void put_all(mare_step *s, mare_tensor *const *in, mare_tensor **results) {
    for (size_t i = 0; i < s->results.len; i++)
        results[i]->node->store = store_of(s, &s->results.data[i], in);
    for (size_t i = 0; i < s->targets.len;
         i++) /* before the first is put: they may change places */
        s->stores[i] = s->targets.data[i].from.kind == FROM_NOTHING
                           ? NULL
                           : store_of(s, &s->targets.data[i].from, in);
    for (size_t i = 0; i < s->targets.len; i++)
        put(tensor_of(&s->targets.data[i], in), &s->targets.data[i], s->stores[i], s->nodes[i]);
    release_nodes(s);
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
    status = prepare(s, in, results);
    if (status) return status;
    find_donated(s, in);
    status = trace_run(s->trace, s->stores, s->donated, numbers, s->made);
    if (status) {
        release_nodes(s);
        release_all(results, (int)s->results.len);
        return status;
    }
    put_all(s, in, results);
    for (int i = 0; i < trace_made(s->trace); i++)
        storage_release(s->made[i]);
    *ran = true;
    return MARE_OK;
}
