/* Evaluation: a graph's plan is found and run, and its roots get their values. */
#include "plan/check.h"
#include "plan/run.h"

#include <stdlib.h>

static mare_status read_node(void *reader, node *n, void *data, size_t bytes) {
    return plan_read(reader, n, data, bytes);
}

mare_status planner_create(graph *g, dev_device *d, kernels *k, planner **out) {
    planner *p = calloc(1, sizeof *p);
    if (!p) return error_no_memory(g->error, sizeof *p);
    p->g = g;
    p->device = d;
    p->kernels = k;
    p->passes = PASS_ALL;
    planner_set_submit(p, 0);
    dev_set_reclaim(d, run_reclaim, p);
    g->read = read_node;
    g->reader = p;
    *out = p;
    return MARE_OK;
}

void planner_destroy(planner *p) {
    if (!p) return;
    plan_forget_all(p);
    profile_destroy(&p->profile);
    dev_set_reclaim(p->device, NULL, NULL);
    run_reclaim(p);
    vec_free(&p->arenas);
    free(p);
}

void planner_set_passes(planner *p, uint32_t passes) {
    plan_forget_all(p);
    p->passes = passes;
}

void planner_choose_anew(planner *p) {
    plan_forget_all(p);
}

void planner_set_dump(planner *p, uint32_t dumps, void (*dump)(void *user, const char *text),
                      void *user) {
    p->dump = (dumper){dumps, dump, user};
    kernels_set_dump(p->kernels, dumps & DUMP_GLSL ? dump : NULL, user);
}

void planner_set_submit(planner *p, double seconds) {
    p->submit_seconds = seconds > 0 ? seconds : SUBMIT_MS * 1e-3;
}

void planner_set_check(planner *p, bool on) {
    p->check = on;
}

void planner_get_stats(const planner *p, planner_stats *out) {
    *out = p->stats;
}

void planner_get_info(const planner *p, plan_info *out) {
    *out = p->last;
}

/* Does a value that was evaluated let go of the graph behind it? No gradient will ask for that. */
static bool lets_go(const node *n) {
    return !n->requires_grad || n->leaf || n->spent;
}

static void let_go(node *n) {
    if (!lets_go(n)) return;
    for (int i = 0; i < n->n_in; i++)
        node_release(n->in[i]);
    n->n_in = 0;
}

/* Puts before a failure's text what was being done, and where the script asked for it. */
static void name_step(graph *g, const step *s, const node *n) {
    if (n->file)
        error_prefix(g->error, "%s (from %s:%d)", s->op->name, n->file, n->line);
    else
        error_prefix(g->error, "%s", s->op->name);
}

/* Which inputs of x go with this evaluation: old values that nobody else holds, once the roots let
 * go of their graphs, and nodes that only those held are gone. gone: room for one of each node. */
static void find_donated(const plan *x, node *const *order, const plan_wanted *w, int *gone,
                         bool *donated) {
    bool any = false;
    for (int i = 0; i < w->n && w->old; i++) {
        if (!w->old[i] || !graph_listed(w->old[i])) continue;
        gone[w->old[i]->index]++; /* the caller's reference */
        any = true;
    }
    if (!any || !x->info.donated) return;
    for (int i = 0; i < w->n; i++)
        gone[w->roots[i]->index] = -1; /* a root stays */
    for (int i = x->n_nodes - 1; i >= 0; i--) {
        const node *n = order[i];
        bool goes = gone[i] < 0 ? lets_go(n) : gone[i] == n->refs;
        for (int k = 0; goes && !n->store && k < n->n_in; k++)
            if (gone[n->in[k]->index] >= 0) gone[n->in[k]->index]++;
    }
    for (int i = 0; i < x->n_inputs; i++) {
        const node *n = order[x->inputs[i]];
        donated[i] = gone[x->inputs[i]] == n->refs && n->store->refs == 1;
    }
}

/* Runs x on the order that it was found for. */
static mare_status run_order(planner *p, plan *x, node **order, const plan_wanted *w) {
    size_t in = (size_t)x->n_inputs, values = (size_t)x->n_values, roots = (size_t)x->n_roots;
    size_t pointers = (in + roots + 1) * sizeof(storage *), nodes = (size_t)x->n_nodes;
    size_t bytes = pointers + values * sizeof(uint32_t) + nodes * sizeof(int) + in;
    storage **memory = calloc(1, bytes), **out = memory + in;
    if (!memory) return error_no_memory(p->g->error, bytes);
    uint32_t *words = (uint32_t *)(void *)((char *)memory + pointers);
    int *gone = (int *)(void *)(words + values);
    bool *donated = (bool *)(gone + nodes);
    for (int i = 0; i < x->n_inputs; i++)
        memory[i] = order[x->inputs[i]]->store;
    for (int i = 0; i < x->n_values; i++)
        words[i] = order[x->values[i].node]->dyn[x->values[i].dyn];
    find_donated(x, order, w, gone, donated);
    int at;
    mare_status status =
        plan_run(p, x, &(given){.in = memory, .donated = donated, .values = words}, out, &at);
    if (status && at >= 0) name_step(p->g, &x->steps[at], order[x->steps[at].origin]);
    for (int i = 0; i < x->n_roots && !status; i++) {
        node *n = order[x->roots[i].node];
        if (n->store) {
            storage_release(out[i]);
            continue;
        }
        n->store = out[i];
        n->view = x->roots[i].view;
    }
    if (!status && p->trace) trace_note(p, x, order);
    free(memory);
    return status;
}

/* All of it as one plan. */
static mare_status eval_whole(planner *p, const plan_wanted *w) {
    node **order = NULL;
    int n = 0;
    plan *x;
    mare_status status = graph_order(p->g, w->roots, w->n, &order, &n);
    if (!status && p->trace) {
        status = trace_settle(p, order, n, w);
        free(order);
        order = NULL;
        if (!status) status = graph_order(p->g, w->roots, w->n, &order, &n);
    }
    if (!status) status = plan_find(p, order, n, w, &x);
    if (!status) profile_locate(&p->profile, x, order);
    if (!status) status = run_order(p, x, order, w);
    free(order);
    return status;
}

/* Node by node, each compared with its reference. */
static mare_status eval_checked(planner *p, const plan_wanted *w) {
    node **order = NULL;
    int n = 0;
    mare_status status = graph_order(p->g, w->roots, w->n, &order, &n);
    for (int i = 0; i < n && !status; i++) {
        node *x = order[i];
        if (x->store || node_is_const(x)) continue;
        check_inputs in;
        status = check_begin(p, x, &in);
        if (!status) status = eval_whole(p, &(plan_wanted){.roots = &x, .n = 1});
        if (!status && (status = check_end(p, x, &in))) {
            storage_release(x->store); /* a wrong value is no value */
            x->store = NULL;
        }
        check_free(&in);
        if (!status) let_go(x);
    }
    free(order);
    return status ? status : eval_whole(p, w); /* constants among the roots */
}

mare_status plan_update(planner *p, const plan_wanted *w) {
    bool pending = false;
    for (int i = 0; i < w->n; i++)
        pending |= !w->roots[i]->store;
    if (!pending) return MARE_OK;
    p->stats.evals++;
    double start = profile_now(&p->profile);
    mare_status status = p->check ? eval_checked(p, w) : eval_whole(p, w);
    for (int i = 0; !status && i < w->n; i++)
        let_go(w->roots[i]);
    profile_did(&p->profile, MARE_WORK_RECORD, start, NULL);
    return status;
}

mare_status plan_eval(planner *p, node *const *roots, int n) {
    return plan_update(p, &(plan_wanted){.roots = roots, .n = n});
}
