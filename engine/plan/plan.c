#include "plan/internal.h"

#include <string.h>

/* Where the value of each node of the order lies. */
static mare_status lower_nodes(lowering *l, node **order, int n, operand *at, plan_buffer *inputs,
                               int *n_inputs) {
    operand in_small[8], *in = in_small;
    int room = 8;
    mare_status status = MARE_OK;
    for (int i = 0; i < n && !status; i++) {
        node *x = order[i];
        operand *o = &at[i];
        l->node = x;
        *o = (operand){.buffer = -1, .dtype = x->dtype, .shape = x->shape};
        if (x->store) {
            o->buffer = (int)l->buffers.len;
            o->view = x->view;
            inputs[(*n_inputs)++] =
                (plan_buffer){.kind = BUFFER_INPUT, .input = i, .arena = o->buffer};
            if (!vec_push(&l->buffers, 0)) status = error_no_memory(l->error, sizeof(uint64_t));
            continue;
        }
        if (node_is_const(x)) {
            o->constant = x;
            continue;
        }
        const operand *first = x->n_in ? &at[x->in[0]->index] : NULL;
        if (x->op->view && first->constant) {
            /* A view of a constant is the constant in another shape, unless it moves elements in
             * ways that only a copy can; all elements being equal, every view will do. */
            o->constant = first->constant;
            continue;
        }
        if (x->op->view && x->op->view(x, &first->view, &o->view)) {
            o->buffer = first->buffer;
            continue;
        }
        if (x->n_in > room) {
            operand *more = arena_alloc(l->mem, (size_t)x->n_in * sizeof *more);
            if (!more) return error_no_memory(l->error, (size_t)x->n_in * sizeof *more);
            in = more;
            room = x->n_in;
        }
        for (int k = 0; k < x->n_in; k++)
            in[k] = at[x->in[k]->index];
        *o = lower_scratch(l, x->dtype, &x->shape);
        if (l->error->code) return l->error->code;
        if (shape_count(&x->shape) > 0) status = x->op->lower(l, x, in, o);
    }
    return status;
}

/* Copies a launch into the plan's own memory; nodes become places in the order. */
static bool finish_step(plan *p, const launch *x, step *s) {
    *s = (step){
        .origin = (int)x->origin->index,
        .op = x->origin->op,
        .file = x->origin->file,
        .line = x->origin->line,
        .kernel = x->kernel,
        .groups = {x->groups[0], x->groups[1], x->groups[2]},
        .n_words = x->n_params,
        .n_bindings = x->n_bindings,
        .flops = x->flops,
    };
    for (int i = 0; i < x->n_params; i++)
        s->n_patches += x->params[i].from != NULL;
    s->words = arena_alloc(&p->mem, (size_t)x->n_params * sizeof *s->words);
    s->patches = arena_alloc(&p->mem, (size_t)s->n_patches * sizeof *s->patches);
    s->bindings = arena_copy(&p->mem, x->bindings, (size_t)x->n_bindings * sizeof *s->bindings);
    s->kernel.shader = arena_string(&p->mem, x->kernel.shader);
    s->kernel.defines = arena_string(&p->mem, x->kernel.defines);
    s->tune_key = x->tune_key ? arena_string(&p->mem, x->tune_key) : NULL;
    if (!s->words || !s->patches || !s->bindings || !s->kernel.shader || !s->kernel.defines ||
        (x->tune_key && !s->tune_key))
        return false;
    patch *next = s->patches;
    for (int i = 0; i < x->n_params; i++) {
        s->words[i] = x->params[i].value;
        if (x->params[i].from)
            *next++ = (patch){i, (int)x->params[i].from->index, x->params[i].dyn};
    }
    variant **tail = &s->variants;
    for (const variant *v = x->variants; v; v = v->next) {
        variant *copy = arena_copy(&p->mem, v, sizeof *v);
        if (!copy) return false;
        copy->kernel.buffers = x->n_bindings;
        copy->name = arena_string(&p->mem, v->name);
        copy->kernel.shader = arena_string(&p->mem, v->kernel.shader);
        copy->kernel.defines = arena_string(&p->mem, v->kernel.defines);
        if (!copy->name || !copy->kernel.shader || !copy->kernel.defines) return false;
        copy->next = NULL;
        *tail = copy;
        tail = &copy->next;
    }
    return true;
}

static bool finish(plan *p, lowering *l, const operand *at, node *const *roots, int n_roots,
                   const plan_buffer *inputs, int n_inputs) {
    p->n_steps = (int)l->launches.len;
    p->n_buffers = (int)l->buffers.len;
    p->n_roots = n_roots;
    p->steps = arena_alloc(&p->mem, l->launches.len * sizeof *p->steps);
    p->buffers = arena_alloc(&p->mem, l->buffers.len * sizeof *p->buffers);
    p->roots = arena_alloc(&p->mem, (size_t)n_roots * sizeof *p->roots);
    if (!p->steps || !p->buffers || !p->roots) return false;
    for (int i = 0; i < p->n_buffers; i++)
        p->buffers[i] = (plan_buffer){.kind = BUFFER_TEMP, .bytes = l->buffers.data[i]};
    for (int i = 0; i < n_inputs; i++) {
        plan_buffer *b = &p->buffers[inputs[i].arena];
        b->kind = BUFFER_INPUT;
        b->input = inputs[i].input;
    }
    for (int i = 0; i < n_roots; i++) {
        const operand *o = &at[roots[i]->index];
        p->roots[i] = (plan_root){(int)roots[i]->index, o->buffer, o->view};
        if (p->buffers[o->buffer].kind == BUFFER_TEMP) p->buffers[o->buffer].kind = BUFFER_KEPT;
    }
    for (int i = 0; i < p->n_steps; i++)
        if (!finish_step(p, l->launches.data[i], &p->steps[i])) return false;
    return true;
}

mare_status plan_lower(graph *g, const dev_caps *caps, node **order, int n, node *const *roots,
                       int n_roots, plan **out) {
    arena mem = {0};
    mare_error error = {0};
    lowering l = {.caps = caps, .mem = &mem, .error = &error};
    operand *at = arena_alloc(&mem, (size_t)n * sizeof *at);
    plan_buffer *inputs = arena_alloc(&mem, (size_t)n * sizeof *inputs);
    int n_inputs = 0;
    plan *p = calloc(1, sizeof *p);
    mare_status status = MARE_OK;
    if (!at || !inputs || !p)
        status = error_no_memory(&error, (size_t)n * sizeof *at);
    else
        status = lower_nodes(&l, order, n, at, inputs, &n_inputs);
    for (int i = 0; !status && i < n_roots; i++) {
        l.node = roots[i];
        operand *o = &at[roots[i]->index];
        if (o->buffer < 0) status = lower_contiguous(&l, o, o); /* a constant gets memory */
    }
    if (!status && error.code) status = error.code; /* a scratch buffer that could not be had */
    if (!status && !finish(p, &l, at, roots, n_roots, inputs, n_inputs))
        status = error_no_memory(&error, sizeof(step));
    if (status) {
        const node *x = l.node;
        if (x && x->file)
            error_set(g->error, status, "%s (from %s:%d)", error.text, x->file, x->line);
        else
            error_set(g->error, status, "%s", error.text);
        plan_free(p);
        p = NULL;
    } else {
        p->n_nodes = n;
    }
    vec_free(&l.launches);
    vec_free(&l.buffers);
    arena_free(&mem);
    *out = p;
    return status;
}

mare_status plan_build(graph *g, const dev_caps *caps, node *const *roots, int n, plan **out) {
    node **order = NULL;
    int count = 0;
    *out = NULL;
    mare_status status = graph_order(g, roots, n, &order, &count);
    if (!status) status = plan_lower(g, caps, order, count, roots, n, out);
    free(order);
    if (!status) status = plan_pack(*out, caps->allocation, g->error);
    if (!status) status = plan_barriers(*out, g->error);
    if (status) {
        plan_free(*out);
        *out = NULL;
    }
    return status;
}

void plan_free(plan *p) {
    if (!p) return;
    free(p->signature);
    arena_free(&p->mem);
    free(p);
}

void plan_get_info(const plan *p, plan_info *out) {
    *out = p->info;
}
