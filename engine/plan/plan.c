#include "plan/fuse.h"
#include "plan/internal.h"
#include "plan/merge.h"

#include <string.h>

/* Where the value of each node of the order lies. */
static mare_status lower_nodes(fusion *f, operand *at, plan_buffer *inputs, int *n_inputs) {
    lowering *l = f->l;
    mare_status status = MARE_OK;
    for (int i = 0; i < f->n && !status; i++) {
        const node *x = f->order[i];
        at[i] = (operand){.buffer = -1, .dtype = x->dtype, .shape = x->shape};
        if (node_is_const(x)) at[i].constant = x;
        if (!x->store) continue;
        at[i].buffer = (int)l->buffers.len;
        at[i].view = x->view;
        inputs[(*n_inputs)++] =
            (plan_buffer){.kind = BUFFER_INPUT, .input = i, .arena = at[i].buffer};
        if (!vec_push(&l->buffers, 0)) status = error_no_memory(l->error, sizeof(uint64_t));
    }
    for (int u = 0; u < f->n_units && !status; u++) {
        const node *x = f->order[f->units[u].node[0]];
        if (!x->store && !node_is_const(x)) status = lower_unit(f, &f->units[u], at);
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
        .dtype = x->origin->dtype,
        .shape = x->origin->shape,
        .label = arena_string(&p->mem, x->label ? x->label : x->origin->op->name),
        .kernel = x->kernel,
        .groups = {x->groups[0], x->groups[1], x->groups[2]},
        .n_words = x->n_params,
        .n_bindings = x->n_bindings,
        .flops = x->flops,
        .plain_words = x->plain ? x->plain_params : x->n_params,
        .plain_out = x->plain_out,
        .plain_bindings = x->plain ? x->plain_bindings : x->n_bindings,
    };
    for (int i = 0; i < x->n_params; i++)
        s->n_patches += x->params[i].from != NULL;
    s->words = arena_alloc(&p->mem, (size_t)x->n_params * sizeof *s->words);
    s->patches = arena_alloc(&p->mem, (size_t)s->n_patches * sizeof *s->patches);
    s->bindings = arena_copy(&p->mem, x->bindings, (size_t)x->n_bindings * sizeof *s->bindings);
    s->kernel.shader = arena_string(&p->mem, x->kernel.shader);
    s->kernel.defines = arena_string(&p->mem, x->kernel.defines);
    s->kernel.text = x->kernel.text ? arena_string(&p->mem, x->kernel.text) : NULL;
    s->plain = x->plain ? arena_string(&p->mem, x->plain) : s->kernel.defines;
    s->tune_key = x->tune_key ? arena_string(&p->mem, x->tune_key) : NULL;
    if (!s->label || !s->words || !s->patches || !s->bindings || !s->kernel.shader ||
        !s->kernel.defines || !s->plain || (x->kernel.text && !s->kernel.text) ||
        (x->tune_key && !s->tune_key))
        return false;
    patch *next = s->patches;
    for (int i = 0; i < x->n_params; i++) {
        s->words[i] = x->params[i].value;
        if (x->params[i].from)
            *next++ =
                (patch){.word = i, .node = (int)x->params[i].from->index, .dyn = x->params[i].dyn};
    }
    variant **tail = &s->variants;
    for (const variant *v = x->variants; v; v = v->next) {
        variant *copy = arena_copy(&p->mem, v, sizeof *v);
        if (!copy) return false;
        copy->kernel.buffers = x->n_bindings;
        copy->name = arena_string(&p->mem, v->name);
        copy->kernel.shader = arena_string(&p->mem, v->kernel.shader);
        copy->kernel.defines = arena_string(&p->mem, v->kernel.defines);
        copy->plain = v->plain ? arena_string(&p->mem, v->plain) : copy->kernel.defines;
        if (!copy->name || !copy->kernel.shader || !copy->kernel.defines || !copy->plain)
            return false;
        copy->next = NULL;
        *tail = copy;
        tail = &copy->next;
    }
    return true;
}

static bool finish(plan *p, lowering *l, const operand *at, const int *rep, const plan_wanted *w,
                   const plan_buffer *inputs, int n_inputs) {
    p->n_steps = (int)l->launches.len;
    p->n_buffers = (int)l->buffers.len;
    p->n_roots = w->n;
    p->steps = arena_alloc(&p->mem, l->launches.len * sizeof *p->steps);
    p->buffers = arena_alloc(&p->mem, l->buffers.len * sizeof *p->buffers);
    p->roots = arena_alloc(&p->mem, (size_t)w->n * sizeof *p->roots);
    if (!p->steps || !p->buffers || !p->roots) return false;
    for (int i = 0; i < p->n_buffers; i++)
        p->buffers[i] =
            (plan_buffer){.kind = BUFFER_TEMP, .bytes = l->buffers.data[i], .donor = -1};
    for (int i = 0; i < n_inputs; i++) {
        plan_buffer *b = &p->buffers[inputs[i].arena];
        b->kind = BUFFER_INPUT;
        b->input = inputs[i].input;
    }
    for (int i = 0; i < w->n; i++) {
        const operand *o = &at[rep[w->roots[i]->index]];
        p->roots[i] = (plan_root){(int)w->roots[i]->index, o->buffer, o->view};
        if (p->buffers[o->buffer].kind == BUFFER_TEMP) p->buffers[o->buffer].kind = BUFFER_KEPT;
    }
    for (size_t i = 0; i < l->donations.len; i++) {
        plan_buffer *b = &p->buffers[l->donations.data[i].kept];
        if (b->kind != BUFFER_KEPT) continue; /* what was asked for is a copy of it */
        b->donor = l->donations.data[i].input;
        p->info.donated += b->bytes;
    }
    for (int i = 0; i < p->n_steps; i++)
        if (!finish_step(p, l->launches.data[i], &p->steps[i])) return false;
    return true;
}

mare_status plan_lower(graph *g, const dev_caps *caps, uint32_t passes, node **order, int n,
                       const plan_wanted *w, plan **out) {
    arena mem = {0};
    mare_error error = {0};
    lowering l = {.caps = caps, .passes = passes, .mem = &mem, .error = &error};
    operand *at = arena_alloc(&mem, (size_t)n * sizeof *at);
    plan_buffer *inputs = arena_alloc(&mem, (size_t)n * sizeof *inputs);
    int n_inputs = 0;
    fusion f = {0};
    plan *p = calloc(1, sizeof *p);
    mare_status status = MARE_OK;
    if (!at || !inputs || !p)
        status = error_no_memory(&error, (size_t)n * sizeof *at);
    else
        status = plan_fuse(&f, &l, order, n, w);
    if (!status) status = lower_nodes(&f, at, inputs, &n_inputs);
    for (int i = 0; !status && i < w->n; i++) {
        l.node = w->roots[i];
        operand *o = &at[f.rep[w->roots[i]->index]];
        if (o->buffer < 0) status = lower_contiguous(&l, o, o); /* a constant gets memory */
    }
    if (!status && error.code) status = error.code; /* a scratch buffer that could not be had */
    if (!status && passes & PASS_MERGE) status = plan_merge(&l);
    if (!status && !finish(p, &l, at, f.rep, w, inputs, n_inputs))
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
    vec_free(&l.donations);
    arena_free(&mem);
    *out = p;
    return status;
}

mare_status plan_build(graph *g, const dev_caps *caps, uint32_t passes, const plan_wanted *w,
                       plan **out) {
    node **order = NULL;
    int count = 0;
    *out = NULL;
    mare_status status = graph_order(g, w->roots, w->n, &order, &count);
    if (!status) status = plan_lower(g, caps, passes, order, count, w, out);
    free(order);
    if (!status) status = plan_pack(*out, caps->allocation, g->error);
    if (!status) status = plan_barriers(*out, g->error);
    if (status) {
        plan_free(*out);
        *out = NULL;
    }
    return status;
}

static const char *const pass_names[] = {"simplify", "fuse",   "attach", "merge",
                                         "inplace",  "replay", "donate"};

mare_status plan_passes_apply(uint32_t *passes, const char *list, mare_error *e) {
    uint32_t set = *passes;
    for (const char *word = list; *word;) {
        size_t n = strcspn(word, ",");
        bool off = n > 0 && *word == '-';
        const char *name = word + off;
        size_t len = n - off;
        uint32_t named = len == 3 && !memcmp(name, "all", 3) ? PASS_ALL : 0;
        bool none = !off && len == 4 && !memcmp(name, "none", 4);
        for (size_t i = 0; i < sizeof pass_names / sizeof *pass_names; i++)
            if (strlen(pass_names[i]) == len && !memcmp(name, pass_names[i], len)) named = 1u << i;
        if (n && !named && !none)
            return error_set(
                e, MARE_E_ARGUMENT,
                "passes: \"%.*s\" is none of all, none, simplify, fuse, attach, merge, "
                "inplace, replay, donate, nor one of them after a '-'",
                (int)n, word);
        set = none ? 0 : off ? set & ~named : set | named;
        word += n + (word[n] == ',');
    }
    *passes = set;
    return MARE_OK;
}

void plan_free(plan *p) {
    if (!p) return;
    replay_free(p->replay);
    free(p->signature);
    arena_free(&p->mem);
    free(p);
}

void plan_get_info(const plan *p, plan_info *out) {
    *out = p->info;
}
