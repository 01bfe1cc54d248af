/* Reverse-mode differentiation: gradients are new nodes of the same graph, made by each op's vjp,
 * so that they are fused, planned and differentiated again like any others. */
#include "graph/graph.h"

#include <string.h>

enum { ASKED = 1, LEADS_ON = 2 };

typedef struct tape {
    VEC(node *) nodes; /* those that require a gradient behind y; inputs before users */
    node **cotangent;  /* d y / d nodes[i], or null */
    uint8_t *needed;   /* of nodes[i]: is its gradient asked for, or one behind it? */
    node **gx;         /* room for what one vjp returns */
    int max_inputs;
    uint64_t walk; /* nodes of the tape have this mark, and their place as index */
} tape;

static void tape_free(tape *t) {
    vec_free(&t->nodes);
    free(t->cotangent);
    free(t->needed);
    free(t->gx);
}

/* Unlike graph_order(), goes through evaluated nodes, and only where a gradient is required. */
static bool record(graph *g, node *y, tape *t) {
    typedef struct visit {
        node *n;
        int next;
    } visit;
    VEC(visit) stack = {0};
    uint64_t walk = t->walk = ++g->walks;
    y->mark = walk;
    bool ok = vec_push(&stack, (visit){y, 0});
    while (ok && stack.len) {
        visit *v = &stack.data[stack.len - 1];
        if (v->n->leaf || v->next == v->n->n_in) {
            v->n->index = t->nodes.len;
            ok = vec_push(&t->nodes, v->n);
            if (v->n->n_in > t->max_inputs) t->max_inputs = v->n->n_in;
            stack.len--;
            continue;
        }
        node *in = v->n->in[v->next++];
        if (!in->requires_grad || in->mark == walk) continue;
        in->mark = walk;
        ok = vec_push(&stack, (visit){in, 0});
    }
    vec_free(&stack);
    t->cotangent = ok ? calloc(t->nodes.len, sizeof(node *)) : NULL;
    t->needed = ok ? calloc(t->nodes.len, sizeof *t->needed) : NULL;
    t->gx = ok ? calloc((size_t)t->max_inputs + 1, sizeof(node *)) : NULL;
    if (!t->cotangent || !t->needed || !t->gx)
        return error_no_memory(g->error, t->nodes.len * sizeof(node *)) == MARE_OK;
    return true;
}

/* What a callback runs may walk other graphs; afterwards the tape's nodes are marked again. */
static void mark_again(graph *g, tape *t) {
    if (g->walks == t->walk) return;
    t->walk = ++g->walks;
    for (size_t i = 0; i < t->nodes.len; i++) {
        t->nodes.data[i]->mark = t->walk;
        t->nodes.data[i]->index = i;
    }
}

/* Which of the n nodes xs are on the tape, and what leads to them; with none named, to any leaf. A
 * graph that was let go may lead anywhere: whoever would go through it fails. */
static void find_needed(tape *t, node *const *xs, int n) {
    for (int i = 0; i < n; i++)
        if (xs[i]->mark == t->walk) t->needed[xs[i]->index] = ASKED;
    for (size_t i = 0; i < t->nodes.len; i++) {
        const node *x = t->nodes.data[i];
        if (x->leaf) {
            if (n == 0) t->needed[i] = ASKED;
            continue;
        }
        bool leads = x->spent && (n == 0 || (x->n_in == 0 && !t->needed[i]));
        for (int k = 0; k < x->n_in && !leads; k++)
            leads = x->in[k]->requires_grad && t->needed[x->in[k]->index];
        if (leads) t->needed[i] |= LEADS_ON;
    }
}

/* The hooks on n's gradient may put another in its place. */
static bool run_hooks(graph *g, node *n, node **gy) {
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    for (size_t i = 0; i < n->hooks.len; i++) {
        callback *hook = n->hooks.data[i];
        node *changed = *gy;
        hook->refs++;
        bool ok = hook->run(hook, n, *gy, &changed);
        callback_release(hook);
        if (!ok || !changed) return false;
        if (!shape_equal(&changed->shape, &n->shape) || changed->dtype != n->dtype)
            return graph_fail(g, MARE_E_SHAPE, "hook: a gradient %s %s is returned for %s %s",
                              mare_dtype_name(changed->dtype), shape_text(&changed->shape, a),
                              mare_dtype_name(n->dtype), shape_text(&n->shape, b)) != NULL;
        *gy = changed;
    }
    return true;
}

/* Fills t->cotangent, as far as it leads to one of the n nodes xs (none: to any leaf). `call` names
 * the public call in errors. */
static mare_status run(graph *g, const char *call, node *y, node *gy, node *const *xs, int n_xs,
                       tape *t) {
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    if (!y->requires_grad)
        return error_set(g->error, MARE_E_ARGUMENT,
                         "%s: the result does not depend on anything that requires a gradient",
                         call);
    if (!gy) {
        if (shape_count(&y->shape) != 1)
            return error_set(g->error, MARE_E_SHAPE,
                             "%s: a result of shape %s needs the gradient of each element given",
                             call, shape_text(&y->shape, a));
        gy = g->full(g, y->dtype, &y->shape, 1);
        if (!gy) return g->error->code;
    } else if (!shape_equal(&gy->shape, &y->shape) || gy->dtype != y->dtype) {
        return error_set(g->error, MARE_E_SHAPE, "%s: gradient %s %s given for a result %s %s",
                         call, mare_dtype_name(gy->dtype), shape_text(&gy->shape, a),
                         mare_dtype_name(y->dtype), shape_text(&y->shape, b));
    }
    if (!record(g, y, t)) return g->error->code;
    find_needed(t, xs, n_xs);
    t->cotangent[y->index] = gy;
    for (size_t i = t->nodes.len; i-- > 0;) {
        node *n = t->nodes.data[i];
        if (!t->cotangent[i] || !t->needed[i]) continue;
        if (!run_hooks(g, n, &t->cotangent[i])) return g->error->code;
        mark_again(g, t);
        if (!(t->needed[i] & LEADS_ON)) continue;
        if (n->spent)
            return error_set(g->error, MARE_E_ARGUMENT,
                             "%s: the graph behind %s was let go by an earlier backward; "
                             "ask that one to retain it",
                             call, n->op->name);
        node **gx = memset(t->gx, 0, (size_t)n->n_in * sizeof(node *));
        const char *file = g->file;
        int line = g->line;
        g->file = n->file; /* a gradient belongs to the line that made the value */
        g->line = n->line;
        bool ok = n->op->vjp(g, n, t->cotangent[i], gx);
        mark_again(g, t);
        for (int k = 0; ok && k < n->n_in; k++) {
            node *in = n->in[k];
            if (!gx[k] || !in->requires_grad || !t->needed[in->index]) continue;
            if (!shape_equal(&gx[k]->shape, &in->shape) || gx[k]->dtype != in->dtype) {
                error_set(g->error, MARE_E_SHAPE,
                          "%s: the gradient of input %d of %s is %s %s, not %s %s", call, k + 1,
                          n->op->name, mare_dtype_name(gx[k]->dtype), shape_text(&gx[k]->shape, a),
                          mare_dtype_name(in->dtype), shape_text(&in->shape, b));
                ok = false;
                break;
            }
            node **sum = &t->cotangent[in->index];
            *sum = *sum ? g->add(g, *sum, gx[k]) : gx[k];
            ok = *sum != NULL;
        }
        g->file = file;
        g->line = line;
        if (!ok) return g->error->code;
    }
    return MARE_OK;
}

mare_status graph_grad(graph *g, node *y, node *gy, node *const *xs, int n, node **gx) {
    for (int i = 0; i < n; i++)
        if (!xs[i]->requires_grad)
            return error_set(g->error, MARE_E_ARGUMENT,
                             "grad: input %d does not require a gradient", i + 1);
    tape t = {0};
    mare_status status = run(g, "grad", y, gy, xs, n, &t);
    for (int i = 0; !status && i < n; i++)
        gx[i] = xs[i]->mark == t.walk ? t.cotangent[xs[i]->index] : NULL;
    tape_free(&t);
    return status;
}

/* Nothing will go through n again, nor call what the host has there. */
static void spend(node *n) {
    n->spent = true;
    while (n->hooks.len)
        callback_release(n->hooks.data[--n->hooks.len]);
    callback_release(n->backward);
    n->backward = NULL;
}

mare_status graph_backward(graph *g, node *y, node *gy, bool retain_graph) {
    tape t = {0};
    g->no_grad++;
    mare_status status = run(g, "backward", y, gy, NULL, 0, &t);
    for (size_t i = 0; !status && i < t.nodes.len; i++) {
        node *n = t.nodes.data[i];
        if (!n->leaf) {
            if (!retain_graph) spend(n);
            continue;
        }
        node *sum = t.cotangent[i];
        /* A gradient may lead back to its leaf; where no tensor names it, nobody would part them.
         */
        if (!sum || !n->handles) continue;
        if (n->grad) sum = g->add(g, n->grad, sum);
        if (!sum) {
            status = g->error->code;
            break;
        }
        node_retain(sum);
        node_release(n->grad);
        n->grad = sum;
    }
    g->no_grad--;
    tape_free(&t);
    return status;
}
