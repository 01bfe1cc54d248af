/* Reverse-mode differentiation: gradients are new nodes of the same graph, made by each op's vjp,
 * so that they are fused, planned and differentiated again like any others. */
#include "graph/graph.h"

#include <string.h>

typedef struct tape {
    VEC(node *) nodes; /* those that require a gradient behind y; inputs before users */
    node **cotangent;  /* d y / d nodes[i], or null */
    node **gx;         /* room for what one vjp returns */
    int max_inputs;
} tape;

static void tape_free(tape *t) {
    vec_free(&t->nodes);
    free(t->cotangent);
    free(t->gx);
}

/* Unlike graph_order(), goes through evaluated nodes, and only where a gradient is required. */
static bool record(graph *g, node *y, tape *t) {
    typedef struct visit {
        node *n;
        int next;
    } visit;
    VEC(visit) stack = {0};
    uint64_t walk = ++g->walks;
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
    t->gx = ok ? calloc((size_t)t->max_inputs + 1, sizeof(node *)) : NULL;
    if (!t->cotangent || !t->gx) error_no_memory(g->error, t->nodes.len * sizeof(node *));
    return t->cotangent && t->gx;
}

/* Fills t->cotangent. `call` names the public call in errors. */
static mare_status run(graph *g, const char *call, node *y, node *gy, tape *t) {
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
    t->cotangent[y->index] = gy;
    for (size_t i = t->nodes.len; i-- > 0;) {
        node *n = t->nodes.data[i];
        if (n->leaf || !t->cotangent[i]) continue;
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
        for (int k = 0; ok && k < n->n_in; k++) {
            node *in = n->in[k];
            if (!gx[k] || !in->requires_grad) continue;
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
    mare_status status = run(g, "grad", y, gy, &t);
    /* ops walk no graph while they build, so the marks of record() still stand */
    for (int i = 0; !status && i < n; i++)
        gx[i] = xs[i]->mark == g->walks ? t.cotangent[xs[i]->index] : NULL;
    tape_free(&t);
    return status;
}

mare_status graph_backward(graph *g, node *y, node *gy, bool retain_graph) {
    tape t = {0};
    g->no_grad++;
    mare_status status = run(g, "backward", y, gy, &t);
    for (size_t i = 0; !status && i < t.nodes.len; i++) {
        node *n = t.nodes.data[i];
        if (!n->leaf) {
            n->spent |= !retain_graph;
            continue;
        }
        node *sum = t.cotangent[i];
        if (!sum) continue;
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
