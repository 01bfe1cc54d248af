/* What steers differentiation: gradients of the host's own, checkpoints. */
#include "ops/internal.h"

#include "base/map.h"

#include <string.h>

/* A value with further inputs beside it, which order it or take its gradient: where in[0] lies. */
static bool value_infer(graph *g, node *n) {
    (void)g;
    op_same_value(n);
    n->shape = n->in[0]->shape;
    return true;
}

static bool value_view(const node *n, const view *in, view *out) {
    (void)n;
    *out = *in;
    return true;
}

static void value_ref(const node *n, const double *const *in, double *out) {
    memcpy(out, in[0], (size_t)shape_count(&n->shape) * sizeof *out);
}

/* ---- custom ------------------------------------------------------------------------------- */

static bool custom_vjp(graph *g, node *n, node *gy, node **gx) {
    (void)g;
    return n->backward->run(n->backward, n, gy, gx + 1);
}

node *op_custom(graph *g, node *y, node *const *in, int n, callback *backward) {
    node **all = y ? malloc(((size_t)n + 1) * sizeof *all) : NULL;
    node *custom = NULL;
    if (all) {
        all[0] = y;
        memcpy(all + 1, in, (size_t)n * sizeof *all);
        custom = node_new(g, &op_desc_custom, all, n + 1, NULL);
    } else if (y) {
        error_no_memory(g->error, (size_t)n * sizeof *all);
    }
    free(all);
    if (custom)
        custom->backward = backward;
    else
        callback_release(backward);
    return custom;
}

/* Twice the input, whose gradient is declared to be what it is. */
static bool twice_run(callback *c, node *n, node *gy, node **gx) {
    (void)c;
    return (gx[0] = op_map_scalar(n->g, "mul", gy, 2)) != NULL;
}

static void twice_destroy(callback *c) {
    (void)c; /* there is one for all */
}

static node *custom_case(graph *g, node **in) {
    static callback twice = {1, twice_run, twice_destroy};
    node *y = op_detach(g, op_map_scalar(g, "mul", in[0], 2));
    twice.refs++;
    return op_custom(g, y, in, 1, &twice);
}

static const op_case custom_cases[] = {
    {.n_in = 1, .in = {SHAPE2(3, 5)}, .lo = -2, .hi = 2, .build = custom_case},
    {0},
};

const op op_desc_custom = {
    .name = "custom",
    .at = OP_HERE,
    .doc = "y, inputs -> y; its gradient is what a function of the host makes of it.",
    .infer = value_infer,
    .vjp = custom_vjp,
    .view = value_view,
    .lower = op_lower_view,
    .ref = value_ref,
    .cases = custom_cases,
    .smooth = true,
};

/* ---- after -------------------------------------------------------------------------------- */

static bool after_vjp(graph *g, node *n, node *gy, node **gx) {
    (void)g, (void)n;
    gx[0] = gy;
    return true;
}

/* a, for users that are to come after `first` is computed. */
static node *after(graph *g, node *a, node *first) {
    return node_new(g, &op_desc_after, (node *[]){a, first}, 2, NULL);
}

static node *after_case(graph *g, node **in) {
    return op_map1(g, "square", after(g, in[0], op_map1(g, "exp", in[1])));
}

static const op_case after_cases[] = {
    {.n_in = 2, .in = {SHAPE2(3, 5), SHAPE1(4)}, .lo = -2, .hi = 2, .build = after_case},
    {0},
};

const op op_desc_after = {
    .name = "after",
    .at = OP_HERE,
    .doc = "a, b -> a; what uses it is computed after b.",
    .infer = value_infer,
    .vjp = after_vjp,
    .view = value_view,
    .lower = op_lower_view,
    .ref = value_ref,
    .cases = after_cases,
    .smooth = true,
};

/* ---- checkpoint --------------------------------------------------------------------------- */

/* Gradient checkpointing (Chen et al. 2016, "Training deep nets with sublinear memory cost"). The
 * result is y, and its inputs are y and what the segment behind y stands on: the nodes made before
 * it, and leaves. The gradient copies the segment, so that no value within it has to wait for the
 * backward pass, and differentiates the copy. */

static uint64_t segment_start(const node *n) {
    return (uint64_t)n->dyn[1] << 32 | n->dyn[0];
}

/* Does the segment stand on n, instead of holding it? What was evaluated and lets no gradient
 * through has let its own inputs go. */
static bool is_boundary(const node *n, uint64_t start) {
    return n->serial <= start || n->leaf || (n->store && !n->requires_grad);
}

/* The nodes of the segment behind y, inputs before users, and what they stand on. */
typedef struct segment {
    VEC(node *) nodes, boundary;
} segment;

static void segment_free(segment *s) {
    vec_free(&s->nodes);
    vec_free(&s->boundary);
}

/* Marks no node: a walk of the whole graph may be going on. */
static bool find_segment(graph *g, node *y, uint64_t start, segment *out) {
    typedef struct visit {
        node *n;
        int next;
    } visit;
    VEC(visit) stack = {0};
    map seen = {0};
    *out = (segment){0};
    bool ok = vec_push(&stack, (visit){y, 0}) && map_put(&seen, (uint64_t)(uintptr_t)y, y);
    while (ok && stack.len) {
        visit *v = &stack.data[stack.len - 1];
        if (v->next == v->n->n_in) {
            ok = vec_push(&out->nodes, v->n);
            stack.len--;
            continue;
        }
        node *in = v->n->in[v->next++];
        uint64_t key = (uint64_t)(uintptr_t)in;
        if (map_get(&seen, key)) continue;
        ok = map_put(&seen, key, in);
        if (ok && is_boundary(in, start))
            ok = vec_push(&out->boundary, in);
        else if (ok)
            ok = vec_push(&stack, (visit){in, 0});
    }
    vec_free(&stack);
    map_free(&seen);
    if (!ok) segment_free(out);
    return ok || error_no_memory(g->error, sizeof(node *)) == MARE_OK;
}

static node *copy_of(const map *copies, node *n) {
    return map_get(copies, (uint64_t)(uintptr_t)n);
}

/* A copy of n over the copies of its inputs: the same random numbers, gradients and place in the
 * script. */
static node *copy_node(graph *g, node *n, const map *copies) {
    node **in = malloc(((size_t)n->n_in + 1) * sizeof *in);
    if (!in) {
        error_no_memory(g->error, sizeof *in);
        return NULL;
    }
    for (int k = 0; k < n->n_in; k++)
        in[k] = copy_of(copies, n->in[k]);
    const char *file = g->file;
    int line = g->line;
    g->file = n->file;
    g->line = n->line;
    node *copy = node_new(g, n->op, in, n->n_in, n->attr);
    g->file = file;
    g->line = line;
    free(in);
    if (!copy) return NULL;
    copy->n_dyn = n->n_dyn;
    memcpy(copy->dyn, n->dyn, sizeof n->dyn);
    copy->lo = n->lo;
    copy->hi = n->hi;
    if (n->backward) {
        copy->backward = n->backward;
        copy->backward->refs++;
    }
    for (size_t i = 0; i < n->hooks.len; i++) {
        if (!vec_push(&copy->hooks, n->hooks.data[i])) {
            error_no_memory(g->error, sizeof(callback *));
            return NULL;
        }
        n->hooks.data[i]->refs++;
    }
    return copy;
}

/* Copies the segment, to be computed after gy; copies maps its nodes and boundary to the copies. */
static bool copy_segment(graph *g, const segment *s, node *gy, map *copies) {
    for (size_t i = 0; i < s->boundary.len; i++) {
        node *n = s->boundary.data[i], *copy = node_is_const(n) ? n : after(g, n, gy);
        if (!copy || !map_put(copies, (uint64_t)(uintptr_t)n, copy)) return false;
    }
    for (size_t i = 0; i < s->nodes.len; i++) {
        node *n = s->nodes.data[i], *copy = copy_node(g, n, copies);
        if (!copy || !map_put(copies, (uint64_t)(uintptr_t)n, copy)) return false;
    }
    return true;
}

static bool checkpoint_vjp(graph *g, node *n, node *gy, node **gx) {
    segment s;
    map copies = {0};
    node **xs = NULL;
    if (!find_segment(g, n->in[0], segment_start(n), &s)) return false;
    int off = g->no_grad, wanted = 0;
    g->no_grad = 0; /* the copy is to be differentiated */
    bool ok = copy_segment(g, &s, gy, &copies);
    g->no_grad = off;
    xs = calloc(2 * (size_t)n->n_in, sizeof *xs);
    if (ok && !xs) ok = error_no_memory(g->error, (size_t)n->n_in * sizeof *xs) == MARE_OK;
    /* A boundary is reached no more when what led to it was evaluated and let go. */
    for (int i = 1; i < n->n_in && ok; i++)
        if (n->in[i]->requires_grad && copy_of(&copies, n->in[i]))
            xs[wanted++] = copy_of(&copies, n->in[i]);
    node **grads = xs + n->n_in;
    if (ok && wanted)
        ok = graph_grad(g, copy_of(&copies, n->in[0]), gy, xs, wanted, grads) == MARE_OK;
    for (int i = 1, k = 0; i < n->n_in && ok; i++)
        if (n->in[i]->requires_grad && copy_of(&copies, n->in[i])) gx[i] = grads[k++];
    free(xs);
    map_free(&copies);
    segment_free(&s);
    return ok;
}

node *op_checkpoint(graph *g, node *y, uint64_t start) {
    segment s;
    if (!y || !y->requires_grad || is_boundary(y, start)) return y;
    if (!find_segment(g, y, start, &s)) return NULL;
    /* The boundary behind y, in one list. */
    node *n = NULL;
    if (vec_reserve(&s.boundary, 1)) {
        memmove(s.boundary.data + 1, s.boundary.data, s.boundary.len * sizeof y);
        s.boundary.data[0] = y;
        n = node_new(g, &op_desc_checkpoint, s.boundary.data, (int)s.boundary.len + 1, NULL);
    } else {
        error_no_memory(g->error, sizeof y);
    }
    segment_free(&s);
    if (!n) return NULL;
    n->n_dyn = 2;
    n->dyn[0] = (uint32_t)start;
    n->dyn[1] = (uint32_t)(start >> 32);
    return n;
}

/* Two checkpoints in a row, over an input used before and within. */
static node *checkpoint_case(graph *g, node **in) {
    node *x = op_map1(g, "sin", in[0]);
    for (int i = 0; i < 2; i++) {
        uint64_t start = g->made;
        node *y = op_map2(g, "mul", op_map1(g, "tanh", x), in[1]);
        x = op_checkpoint(g, op_map2(g, "add", op_map1(g, "exp", y), x), start);
    }
    return x;
}

/* One within another, and an input that reaches the result in both ways. */
static node *nested_case(graph *g, node **in) {
    uint64_t outer = g->made;
    node *x = op_map2(g, "mul", in[0], in[1]);
    uint64_t inner = g->made;
    node *y = op_checkpoint(g, op_map1(g, "exp", op_softmax(g, x, 1)), inner);
    return op_checkpoint(g, op_map2(g, "mul", op_map1(g, "sin", y), in[0]), outer);
}

static const op_case checkpoint_cases[] = {
    {.n_in = 2, .in = {SHAPE2(3, 5), SHAPE1(5)}, .lo = -1, .hi = 1, .build = checkpoint_case},
    {.n_in = 2, .in = {SHAPE2(3, 5), SHAPE1(5)}, .lo = -1, .hi = 1, .build = nested_case},
    {0},
};

const op op_desc_checkpoint = {
    .name = "checkpoint",
    .at = OP_HERE,
    .doc = "y, what it stands on -> y; the gradient computes what is behind y once more.",
    .infer = value_infer,
    .vjp = checkpoint_vjp,
    .view = value_view,
    .lower = op_lower_view,
    .ref = value_ref,
    .cases = checkpoint_cases,
    .smooth = true,
};
